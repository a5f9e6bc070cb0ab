"""What every link does, whatever its transport and whoever drives it."""

import signal
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from capenv.errors import DeadlineExceeded, Disconnected
from capenv.link import (
    Address,
    BlockingLink,
    Buffer,
    Link,
    MemoryAddress,
    TcpAddress,
    UnixAddress,
)
from capenv.transports import connect, connect_blocking, listen
from capenv.transports.sockets import BlockingSocketLink, SocketLink, unsent

PATIENCE = 30.0


class Threaded:
    """A blocking link, used from Trio."""

    def __init__(self, link: BlockingLink) -> None:
        self.link = link

    async def send(self, buffers: Sequence[Buffer]) -> None:
        def send_all() -> None:
            rest = buffers
            while rest:
                counts: list[int] = []
                self.link.send_some(rest, counts, PATIENCE)
                rest = unsent(rest, counts[0])

        await trio.to_thread.run_sync(send_all)

    async def receive_into(self, buffer: memoryview) -> int:
        counts: list[int] = []
        await trio.to_thread.run_sync(self.link.receive_some, buffer, counts, PATIENCE)
        return counts[0]

    async def aclose(self) -> None:
        self.link.close()


@pytest.fixture(scope="module", params=["unix", "tcp", "memory"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Address:
    directory: Path = tmp_path_factory.mktemp("links")
    choices: dict[str, Address] = {
        "unix": UnixAddress(str(directory / "x.sock")),
        "tcp": TcpAddress("127.0.0.1", 0),
        "memory": MemoryAddress("links"),
    }
    return choices[request.param]


async def open_trio(address: Address) -> Link:
    return await connect(address, PATIENCE)


async def open_threaded(address: Address) -> Link:
    return Threaded(await trio.to_thread.run_sync(connect_blocking, address, PATIENCE))


Opener = Callable[[Address], Awaitable[Link]]
both = pytest.mark.parametrize("opener", [open_trio, open_threaded])


@asynccontextmanager
async def linked(address: Address, opener: Opener) -> AsyncIterator[tuple[Link, Link]]:
    """Both ends of one link."""
    accepted, arrivals = trio.open_memory_channel[Link](1)

    async def keep(link: Link) -> None:
        await accepted.send(link)
        await trio.sleep_forever()

    with trio.fail_after(PATIENCE):
        async with listen(address) as listener, trio.open_nursery() as nursery:
            nursery.start_soon(listener.serve, keep)
            near = await opener(listener.address)
            try:
                yield near, await arrivals.receive()
            finally:
                await near.aclose()
                nursery.cancel_scope.cancel()


async def read(link: Link, size: int, at_once: int = 65536) -> bytes:
    """Read `size` bytes, giving way between any two reads."""
    data, buffer = bytearray(), memoryview(bytearray(at_once))
    while len(data) < size:
        count = await link.receive_into(buffer[: size - len(data)])
        assert count
        data += buffer[:count]
        await trio.lowlevel.checkpoint()
    return bytes(data)


async def send_often(link: Link) -> None:
    """Send until a peer that is gone must have been noticed."""
    for _ in range(10):
        await link.send([bytes(1000)])


async def carry(source: Link, sink: Link, buffers: Sequence[Buffer], at_once: int = 65536) -> None:
    whole = b"".join(buffers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.send, buffers)
        assert await read(sink, len(whole), at_once) == whole


@both
@settings(deadline=None, max_examples=15)
@given(batches=st.lists(st.lists(st.binary(max_size=50), max_size=8), max_size=4))
def test_bytes_arrive_in_order(
    address: Address, opener: Opener, batches: list[list[bytes]]
) -> None:
    async def main() -> None:
        async with linked(address, opener) as (near, far):
            for batch in batches:
                await carry(near, far, batch, at_once=7)
                await carry(far, near, [memoryview(bytearray(part)) for part in batch])

    trio.run(main)


@both
def test_more_buffers_than_the_system_takes(address: Address, opener: Opener) -> None:
    buffers = [bytes([number % 256]) * (number % 3) for number in range(5000)]

    async def main() -> None:
        async with linked(address, opener) as (near, far):
            await carry(near, far, buffers)
            await carry(far, near, buffers)

    trio.run(main)


@both
def test_a_slow_reader_gets_everything(address: Address, opener: Opener) -> None:
    piece = bytes(range(251)) * 1000
    buffers = [piece[shift:] + piece[:shift] for shift in range(20)]

    async def main() -> None:
        async with linked(address, opener) as (near, far):
            await carry(near, far, buffers, at_once=8192)
            await carry(far, near, buffers, at_once=8192)

    trio.run(main)


@both
def test_closing_ends_the_stream_after_what_was_sent(address: Address, opener: Opener) -> None:
    async def main() -> None:
        async with linked(address, opener) as (near, far):
            await far.send([b"last"])
            await far.aclose()
            await far.aclose()
            assert await read(near, 4) == b"last"
            assert await near.receive_into(memoryview(bytearray(4))) == 0
            with pytest.raises(Disconnected):
                await send_often(near)
        async with linked(address, opener) as (near, far):
            await near.aclose()
            await near.aclose()
            assert await far.receive_into(memoryview(bytearray(4))) == 0

    trio.run(main)


@both
def test_a_closed_link_is_of_no_more_use(address: Address, opener: Opener) -> None:
    async def main() -> None:
        async with linked(address, opener) as (near, _):
            await near.aclose()
            with pytest.raises(Disconnected, match="on this side"):
                await near.send([b"x"])
            with pytest.raises(Disconnected, match="on this side"):
                await near.receive_into(memoryview(bytearray(4)))

    trio.run(main)


@both
def test_closing_wakes_the_peer_that_sends(address: Address, opener: Opener) -> None:
    async def main() -> None:
        async with linked(address, opener) as (near, far), trio.open_nursery() as nursery:

            async def flood() -> None:
                with pytest.raises(Disconnected):
                    await near.send([bytes(20_000_000)])

            nursery.start_soon(flood)
            await read(far, 1000)
            await far.aclose()

    trio.run(main)


def test_closing_wakes_the_receiver_here(address: Address) -> None:
    async def main() -> None:
        async with linked(address, open_trio) as (near, _), trio.open_nursery() as nursery:

            async def listening() -> None:
                with pytest.raises(Disconnected, match="on this side"):
                    await near.receive_into(memoryview(bytearray(4)))

            nursery.start_soon(listening)
            await trio.testing.wait_all_tasks_blocked()
            await near.aclose()

    trio.run(main)


def test_a_cancelled_receive_takes_nothing(address: Address) -> None:
    async def main() -> None:
        async with linked(address, open_trio) as (near, far):
            with trio.CancelScope() as scope:
                scope.cancel()
                await near.receive_into(memoryview(bytearray(4)))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(near.receive_into, memoryview(bytearray(4)))
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            await far.send([b"abc"])
            with trio.CancelScope() as scope:
                scope.cancel()
                await near.receive_into(memoryview(bytearray(4)))
            assert scope.cancelled_caught
            assert await read(near, 3) == b"abc"

    trio.run(main)


def test_receiving_lets_others_run_in_a_flood(address: Address) -> None:
    async def main() -> None:
        async with linked(address, open_trio) as (near, far):
            await far.send([bytes(100)])
            for _ in range(100):
                with trio.testing.assert_checkpoints():
                    await near.receive_into(memoryview(bytearray(1)))

    trio.run(main)


def fill(link: BlockingLink, sent: list[int], timeout: float) -> NoReturn:
    while True:
        link.send_some([bytes(10000)], sent, timeout)


@pytest.fixture
def blocking_pair() -> Iterator[tuple[BlockingSocketLink, socket.socket]]:
    near, far = socket.socketpair()
    with closing(BlockingSocketLink(near)) as link, far:
        yield link, far


def test_deadlines(blocking_pair: tuple[BlockingSocketLink, socket.socket]) -> None:
    link, far = blocking_pair
    buffer = memoryview(bytearray(100))
    counts: list[int] = []
    for timeout in (0.0, 0.01):
        with pytest.raises(DeadlineExceeded, match=f"{timeout:g} seconds"):
            link.receive_some(buffer, counts, timeout)
    assert counts == []
    far.sendall(b"abc")
    link.receive_some(buffer, counts, 0.0)
    assert (counts, bytes(buffer[:3])) == ([3], b"abc")
    far.sendall(b"abc")
    link.receive_some(buffer, counts, None)
    assert counts == [3, 3]

    sent: list[int] = []
    for timeout in (0.0, 0.01):
        with pytest.raises(DeadlineExceeded, match=f"{timeout:g} seconds"):
            fill(link, sent, timeout)
    total = sum(sent)
    while total:
        total -= len(far.recv(total))
    link.send_some([b"more"], sent, 0.0)
    assert far.recv(10) == b"more"


def test_a_reset_is_told(blocking_pair: tuple[BlockingSocketLink, socket.socket]) -> None:
    link, far = blocking_pair
    link.send_some([b"unread"], [], 1.0)
    far.close()
    with pytest.raises(Disconnected, match="reset"):
        link.receive_some(memoryview(bytearray(4)), [], 1.0)


def test_a_reset_is_told_under_trio() -> None:
    async def main() -> None:
        near, far = socket.socketpair()
        link = SocketLink(near)
        await link.send([b"unread"])
        far.close()
        with pytest.raises(Disconnected, match="reset"):
            await link.receive_into(memoryview(bytearray(4)))
        await link.aclose()

    trio.run(main)


class Interrupted(KeyboardInterrupt):
    pass


def test_an_interrupt_loses_no_bytes(
    blocking_pair: tuple[BlockingSocketLink, socket.socket],
) -> None:
    link, far = blocking_pair
    whole = b"".join(number.to_bytes(4) for number in range(100_000))
    armed, interrupted = False, threading.Event()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal armed
        if armed:
            armed = False
            interrupted.set()
            raise Interrupted

    def feed() -> None:
        interrupted.wait()  # the first comes while there is nothing to receive
        for start in range(0, len(whole), 250):
            far.sendall(whole[start : start + 250])
        far.shutdown(socket.SHUT_WR)

    data, buffer, interrupts, ended = bytearray(), memoryview(bytearray(400)), 0, False
    feeder = threading.Thread(target=feed)
    feeder.start()
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    try:
        while not ended:
            counts: list[int] = []
            try:
                armed = True
                link.receive_some(buffer, counts, PATIENCE)
                armed = False
            except Interrupted:
                interrupts += 1
            for count in counts:
                data += buffer[:count]
                ended = count == 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        feeder.join()
    assert data == whole
    assert interrupts


@given(st.lists(st.binary(max_size=5)), st.data())
def test_unsent_is_the_rest(buffers: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(buffers)
    sent = data.draw(st.integers(0, len(whole)))
    assert b"".join(unsent(buffers, sent)) == whole[sent:]
