"""Listening and connecting: who gets an address, and what the others are told."""

import errno
import fcntl
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from capenv.errors import AddressInUse, DeadlineExceeded, LinkError, NothingListening
from capenv.link import Address, Link, MemoryAddress, TcpAddress, UnixAddress
from capenv.transports import connect, connect_blocking, listen
from capenv.transports.listener import SocketListener
from capenv.transports.unix import MAX_PATH


async def echo(link: Link) -> None:
    buffer = memoryview(bytearray(100))
    while count := await link.receive_into(buffer):
        await link.send([buffer[:count]])


async def assert_served(address: Address) -> None:
    """Have a server at the address, if there is one, echo a few bytes."""
    link = await connect(address, 10)
    await link.send([b"hello"])
    buffer = memoryview(bytearray(10))
    assert await link.receive_into(buffer) == 5
    await link.aclose()


async def assert_listens(address: Address) -> Address:
    """Listen, serve one caller, and stop."""
    with trio.fail_after(30):
        async with listen(address) as listener, trio.open_nursery() as nursery:
            nursery.start_soon(listener.serve, echo)
            await assert_served(listener.address)
            nursery.cancel_scope.cancel()
    return listener.address


async def refusal(address: Address) -> LinkError:
    with pytest.raises(LinkError) as caught:
        async with listen(address):
            pass
    return caught.value


@pytest.fixture
def here(tmp_path: Path) -> UnixAddress:
    return UnixAddress(str(tmp_path / "x.sock"))


@pytest.fixture(params=["unix", "tcp", "memory"])
def address(request: pytest.FixtureRequest, here: UnixAddress) -> Address:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    choices: dict[str, Address] = {
        "unix": here,
        "tcp": TcpAddress("127.0.0.1", port),
        "memory": MemoryAddress("listening"),
    }
    return choices[request.param]


async def crowd(address: Address, links: list[Link]) -> None:
    """Connect 400 times."""
    while len(links) < 400:
        links.append(await connect(address, 1))


def leave_stale(address: UnixAddress) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(address.path)
        door.listen()


def test_an_address_can_be_had_again_at_once(address: Address) -> None:
    for _ in range(3):
        assert trio.run(assert_listens, address) == address


def test_a_live_server_keeps_its_address(address: Address) -> None:
    async def main() -> None:
        async with listen(address) as listener, trio.open_nursery() as nursery:
            nursery.start_soon(listener.serve, echo)
            assert isinstance(await refusal(address), AddressInUse)
            await assert_served(address)
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_nobody_answers(address: Address) -> None:
    with pytest.raises(NothingListening, match="start a server"):
        trio.run(connect, address)
    with pytest.raises(NothingListening, match="start a server"):
        connect_blocking(address, 1.0)


def test_callers_never_accepted_see_the_end(address: Address) -> None:
    async def main() -> None:
        async with listen(address):
            link = connect_blocking(address, 1.0)
        counts: list[int] = []
        try:
            link.receive_some(memoryview(bytearray(1)), counts, 10.0)
        except LinkError:
            counts.append(0)
        assert counts == [0]
        link.close()

    trio.run(main)


def test_a_listener_serves_from_another_thread(address: Address) -> None:
    listening, done = threading.Event(), threading.Event()

    async def serve() -> None:
        async with listen(address) as listener, trio.open_nursery() as nursery:
            nursery.start_soon(listener.serve, echo)
            listening.set()
            await trio.to_thread.run_sync(done.wait)
            nursery.cancel_scope.cancel()

    server = threading.Thread(target=trio.run, args=(serve,))
    server.start()
    try:
        assert listening.wait(30)
        links = [connect_blocking(address, 10.0) for _ in range(20)]
        for number, link in enumerate(links):
            buffer, counts = memoryview(bytearray(10)), list[int]()
            link.send_some([bytes([number])], [], 10.0)
            link.receive_some(buffer, counts, 10.0)
            assert (counts, buffer[0]) == ([1], number)
            link.close()
    finally:
        done.set()
        server.join()


def test_a_handler_that_ends_closes_its_link_and_one_that_raises_is_heard(
    here: UnixAddress,
) -> None:
    async def main() -> None:
        async def brief(link: Link) -> None:
            pass

        async def broken(link: Link) -> None:
            raise LookupError

        async with listen(here) as listener:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listener.serve, brief)
                link = await connect(here, 10)
                assert await link.receive_into(memoryview(bytearray(1))) == 0
                await link.aclose()
                nursery.cancel_scope.cancel()
            link = await connect(here, 10)
            with pytest.RaisesGroup(LookupError):
                await listener.serve(broken)
            await link.aclose()

    trio.run(main)


def test_a_shortage_of_descriptors_passes() -> None:
    troubles = [errno.EMFILE, errno.ENFILE, errno.ECONNABORTED]

    def accept(door: socket.socket) -> socket.socket:
        if troubles:
            raise OSError(troubles.pop(), "trouble")
        return door.accept()[0]

    async def main() -> None:
        with socket.socket() as door:
            door.bind(("127.0.0.1", 0))
            door.listen()
            door.setblocking(False)
            listener = SocketListener(TcpAddress(*door.getsockname()), door, accept)
            async with trio.open_nursery() as nursery:
                link = connect_blocking(listener.address, 1.0)

                async def handler(_: Link) -> None:
                    nursery.cancel_scope.cancel()

                await listener.serve(handler)
            assert trio.current_time() > 0.29
            link.close()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_only_the_owner_may_connect_to_a_unix_socket(here: UnixAddress) -> None:
    async def main() -> None:
        async with listen(here):
            assert stat.S_IMODE(os.stat(here.path).st_mode) == 0o600
        assert not os.path.exists(here.path)

    before = os.umask(0)
    try:
        trio.run(main)
    finally:
        os.umask(before)
    assert not os.listdir(os.path.dirname(here.path))


SERVER = """
import sys, trio
from capenv.errors import AddressInUse
from capenv.link import UnixAddress
from capenv.transports import listen

async def main():
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        async with listen(UnixAddress(sys.argv[1])):
            print("serving", flush=True)
            await trio.sleep_forever()
    except AddressInUse:
        print("refused", flush=True)

trio.run(main)
"""


@contextmanager
def servers(address: UnixAddress, count: int) -> Iterator[list[str]]:
    """Run servers that all listen at once, and kill them; yield what they said."""
    command = [sys.executable, "-P", "-c", SERVER, address.path]
    with ExitStack() as stack:
        started = []
        for _ in range(count):
            server = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
            )
            stack.enter_context(server)
            stack.callback(server.kill)
            assert server.stdin
            assert server.stdout
            started.append((server.stdin, server.stdout))
        for _, output in started:
            assert output.readline() == "ready\n"
        for begin, _ in started:
            begin.write("\n")
        yield [output.readline() for _, output in started]


def test_a_killed_server_is_taken_over_by_exactly_one(here: UnixAddress) -> None:
    with servers(here, 1) as said:
        assert said == ["serving\n"]
        assert isinstance(trio.run(refusal, here), AddressInUse)
    assert os.path.exists(here.path)
    with pytest.raises(NothingListening):
        connect_blocking(here, 1.0)
    with servers(here, 3) as said:
        assert sorted(said) == ["refused\n", "refused\n", "serving\n"]
        connect_blocking(here, 1.0).close()
    trio.run(assert_listens, here)


def test_of_threads_that_take_over_exactly_one_wins(here: UnixAddress) -> None:
    racers = 4
    start, told = threading.Barrier(racers, timeout=30), threading.Barrier(racers, timeout=30)
    outcomes: list[bool] = []

    async def race() -> None:
        start.wait()
        try:
            async with listen(here):
                outcomes.append(True)
                told.wait()
        except AddressInUse:
            outcomes.append(False)
            told.wait()

    for _ in range(20):
        leave_stale(here)
        outcomes.clear()
        threads = [threading.Thread(target=trio.run, args=(race,)) for _ in range(racers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == [False] * (racers - 1) + [True]


def test_a_directory_that_stays_locked_is_given_up(here: UnixAddress) -> None:
    descriptor = os.open(os.path.dirname(here.path), os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        error = trio.run(refusal, here, clock=trio.testing.MockClock(autojump_threshold=0))
        assert "locked" in str(error)
    finally:
        os.close(descriptor)


def test_what_is_no_socket_is_left_alone(here: UnixAddress) -> None:
    path = Path(here.path)
    path.write_text("precious")
    error = trio.run(refusal, here)
    assert isinstance(error, AddressInUse)
    assert "no socket" in str(error)
    assert path.read_text() == "precious"
    path.unlink()
    path.symlink_to("elsewhere")
    assert isinstance(trio.run(refusal, here), AddressInUse)
    assert path.is_symlink()


def test_what_took_the_place_of_the_socket_is_left_alone(here: UnixAddress) -> None:
    async def main() -> None:
        async with listen(here):
            os.unlink(here.path)
            leave_stale(here)
        assert os.path.exists(here.path)

    trio.run(main)


def test_paths_that_cannot_be(tmp_path: Path) -> None:
    longest = UnixAddress(str(tmp_path / "x").ljust(MAX_PATH, "x"))
    trio.run(assert_listens, longest)
    longer = UnixAddress(longest.path + "x")
    assert f"{MAX_PATH} bytes" in str(trio.run(refusal, longer))
    with pytest.raises(LinkError, match=f"{MAX_PATH} bytes"):
        connect_blocking(longer, 1.0)
    missing = trio.run(refusal, UnixAddress(str(tmp_path / "missing" / "x.sock")))
    assert "create it" in str(missing)


def test_a_full_queue_is_waited_for(here: UnixAddress) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(here.path)
        door.listen(0)
        queued = connect_blocking(here, 1.0)
        with pytest.raises(DeadlineExceeded, match=r"0\.03 seconds"):
            connect_blocking(here, 0.03)

        async def main() -> None:
            with pytest.raises(DeadlineExceeded, match="5 seconds"):
                await connect(here, 5)
            assert isinstance(await refusal(here), AddressInUse)
            door.accept()[0].close()
            await (await connect(here, 5)).aclose()

        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
        queued.close()


def test_the_queue_in_memory_has_an_end() -> None:
    async def main() -> None:
        address = MemoryAddress("crowded")
        links: list[Link] = []
        async with listen(address):
            with pytest.raises(DeadlineExceeded):
                await crowd(address, links)
        assert len(links) > 100
        for link in links:
            assert await link.receive_into(memoryview(bytearray(1))) == 0
            await link.aclose()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_free_port_is_chosen_and_told() -> None:
    address = trio.run(assert_listens, TcpAddress("127.0.0.1", 0))
    assert isinstance(address, TcpAddress)
    assert address.port
    named = trio.run(assert_listens, TcpAddress("localhost", 0))
    assert isinstance(named, TcpAddress)
    assert named.host in ("127.0.0.1", "::1")


def sends_at_once(link: object) -> bool:
    stream: socket.socket = vars(link)["_socket"]
    return stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_tcp_sends_at_once() -> None:
    async def main() -> None:
        async with (
            listen(TcpAddress("127.0.0.1", 0)) as listener,
            trio.open_nursery() as nursery,
        ):

            async def handler(link: Link) -> None:
                assert sends_at_once(link)
                nursery.cancel_scope.cancel()

            blocking = connect_blocking(listener.address, 1.0)
            assert sends_at_once(blocking)
            blocking.close()
            link = await connect(listener.address, 1.0)
            assert sends_at_once(link)
            await link.aclose()
            await listener.serve(handler)

    trio.run(main)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_plain_tcp_stays_on_loopback(host: str) -> None:
    assert "not encrypted" in str(trio.run(refusal, TcpAddress(host, 0)))


@pytest.mark.parametrize("host", ["nowhere", "a..b"])
def test_a_host_unknown(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = socket.getaddrinfo

    def look_up(name: str | bytes | None, *rest: object, **more: object) -> object:
        if name in ("nowhere", b"nowhere"):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return found(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    address = TcpAddress(host, 1)
    assert "unknown" in str(trio.run(refusal, address))
    with pytest.raises(NothingListening, match="unknown"):
        trio.run(connect, address)
    with pytest.raises(NothingListening, match="unknown"):
        connect_blocking(address, 1.0)
