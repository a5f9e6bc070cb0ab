"""What a host puts up with: silence, rubbish, and others at its address; its other agents go on."""

import contextlib
import logging
import os
import socket
import stat
import traceback
from pathlib import Path

import pytest
import trio
import trio.testing
from errors_environments import Numbered
from errors_process import SECONDS, HostProcess

import capenv
from capenv import transports
from capenv.errors import AddressInUse, Disconnected
from capenv.link import MemoryAddress
from capenv.url import CapabilityURL
from capenv.vat_connection import VatConnection


def numbered() -> capenv.Host:
    host = capenv.Host()
    host.add("Numbered", Numbered)
    return host


def test_a_peer_that_says_nothing_is_sent_away() -> None:
    async def main() -> None:
        limits = capenv.Limits(handshake_seconds=5)
        async with capenv.serve(numbered(), "capnp://memory@silence", limits=limits) as server:  # noqa: SIM117
            async with capenv.connect(server.url("Numbered")) as environment:
                begin = trio.current_time()
                silent = VatConnection(await transports.connect(MemoryAddress("silence")))
                await silent.run()  # until the host ends it
                assert trio.current_time() - begin == pytest.approx(5, abs=0.1)
                assert isinstance(silent.core.closed, Disconnected)
                assert str(silent.core.closed) == (
                    "no valid token came within 5 seconds; connect again"
                )
                # One that was let in may be silent for as long as it likes.
                await trio.sleep(1000)
                assert (await environment.describe()).id == "Numbered"

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.05))


@pytest.mark.parametrize(
    "rubbish",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        bytes(range(256)) * 64,
        b"\0" * 4096,
        b"\xff" * 4096,
        b"\0\0\0\0\xff\xff\xff\xff",
        b"\0\0\0\0\1\0\0\0" + b"\xff" * 8,
    ],
    ids=["http", "ramp", "zeros", "ones", "huge", "wild pointer"],
)
def test_a_peer_that_sends_rubbish_is_sent_away(host: HostProcess, rubbish: bytes) -> None:
    address = CapabilityURL.parse(host.urls["host"]).address
    with contextlib.closing(capenv.make(host.urls["Numbered"])) as env:
        env.reset()
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(SECONDS)
            stream.connect(str(address))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                stream.sendall(rubbish)
                stream.shutdown(socket.SHUT_WR)
                while stream.recv(4096):
                    pass
        assert list(env.step(7)[0]) == [1, 7]
    assert "internal error" not in host.log


def test_a_socket_that_a_dead_host_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with HostProcess(tmp_path, f"capnp://insecure@{path}") as dead:
        dead.process.kill()
        dead.process.wait(SECONDS)
    assert stat.S_ISSOCK(path.stat().st_mode)
    with capenv.serve(numbered(), f"capnp://insecure@{path}") as server:
        capenv.make(server.url()).close()
    assert not path.exists()


def test_an_address_where_a_host_lives_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listen = f"capnp://insecure@{path}"
    with capenv.serve(numbered(), listen) as server:
        env = capenv.make(server.url())
        env.reset()
        with pytest.raises(AddressInUse) as raised, capenv.serve(numbered(), listen):
            pass
        assert str(raised.value) == (
            f"a server already listens at {path}; stop it or choose another path"
        )
        assert list(env.step(7)[0]) == [1, 7]
        env.close()


def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "diary"
    path.write_text("dear diary")
    with (
        pytest.raises(AddressInUse, match="exists and is no socket; remove it or choose another"),
        capenv.serve(numbered(), f"capnp://insecure@{path}"),
    ):
        pass
    assert path.read_text() == "dear diary"


def test_a_port_and_a_name_that_are_taken() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as door,
        pytest.raises(AddressInUse, match="choose another port, or 0 for any"),
        capenv.serve(numbered(), f"tcp:127.0.0.1:{door.getsockname()[1]}"),
    ):
        pass
    with (
        capenv.serve(numbered(), "memory:taken"),
        pytest.raises(AddressInUse, match="taken is taken in this process; choose another name"),
        capenv.serve(numbered(), "memory:taken"),
    ):
        pass


def test_the_secret_shows_nowhere(
    host: HostProcess, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    url = host.urls["Numbered"]
    secret = url.rpartition("/")[2]
    shown: list[str] = []

    def fails(act: object, *arguments: object, **settings: object) -> None:
        with pytest.raises(Exception) as raised:  # noqa: PT011  whatever: it is its text that counts
            act(*arguments, **settings)  # type: ignore[operator]
        shown.append("".join(traceback.format_exception(raised.value)))
        shown.append(repr(raised.value))

    with caplog.at_level(logging.DEBUG):
        env = capenv.make(url)
        fails(env.step, 0)
        env.reset()
        fails(env.step, -1)
        fails(env.reset, options={"x": object()})
        fails(capenv.make, url, "Other")
        fails(capenv.make, url, unknown=1)
        fails(capenv.make, url + "=")
        fails(capenv.make, url.replace("insecure", "secure"))
        fails(capenv.make, url[:-4] + "AAAA")
        fails(capenv.make, f"capnp://insecure@{tmp_path}/nowhere/{secret}")
        shown += [str(env), repr(env), str(env.spec), repr(env.spec), repr(env.spec.kwargs)]
        shown += [str(CapabilityURL.parse(url)), repr(CapabilityURL.parse(url))]
        env.close()
        fails(env.step, 0)
    shown += [caplog.text, host.log]
    for process in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            shown.append(Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace"))
    # All but the last characters, which one of the URLs above changes.
    assert not [text for text in shown if secret[:-4] in text]
