"""Nobody there, somebody else there, another version there: who connects is told which."""

import contextlib
import http.server
import math
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from errors_process import HERE, SECONDS, HostProcess

import capenv
from capenv import transports, vat
from capenv.errors import (
    CapenvError,
    DeadlineExceeded,
    LinkError,
    NotCapenv,
    NothingListening,
    UnknownToken,
    VersionMismatch,
)
from capenv.link import UnixAddress
from capenv.remote import handshake
from capenv.remote.blocking_session import BlockingSession
from capenv.remote.interfaces import GATE, check_version
from capenv.rpc.capability import Content
from capenv.rpc.servant import Request, Servant
from capenv.sharing import CapabilityTable
from capenv.url import CapabilityURL

SECRET = "A" * 43
ADVICE = "; check the URL, and that the server is a capenv one"


def url_of(path: Path | str) -> str:
    return f"capnp://insecure@{path}/{SECRET}"


def blocking(url: str) -> None:
    """Connect as an agent without an event loop."""
    capenv.make(url).close()


def under_trio(url: str) -> None:
    """Connect as one under Trio."""

    async def connect() -> None:
        async with capenv.connect(url):
            pass

    trio.run(connect)


connecting = pytest.mark.parametrize("connect", [blocking, under_trio])
Connect = Callable[[str], None]


def failure(connect: Connect, url: str, kind: type[CapenvError]) -> str:
    """Return the text of the failure to connect."""
    with pytest.raises(kind) as raised:
        connect(url)
    assert type(raised.value) is kind
    assert SECRET not in str(raised.value)
    return str(raised.value)


@contextlib.contextmanager
def listening(attend: Callable[[socket.socket], None], path: Path) -> Iterator[None]:
    """Attend to every caller, one after the other, with a function."""
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen()

        def run() -> None:
            while True:
                try:
                    stream, _ = door.accept()
                except OSError:
                    return
                with stream, contextlib.suppress(OSError):
                    attend(stream)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            door.shutdown(socket.SHUT_RDWR)
            thread.join(SECONDS)


@connecting
def test_no_socket_there(connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "nowhere"
    assert failure(connect, url_of(path), NothingListening) == (
        f"nothing listens at {path}; start a server there or check the path"
    )


@connecting
def test_a_socket_whose_server_is_dead(connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "left"
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
    assert failure(connect, url_of(path), NothingListening) == (
        f"nothing listens at {path}; start a server there or check the path"
    )


@connecting
def test_a_port_where_nobody_listens(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    url = f"capnp://insecure@127.0.0.1:{port}/{SECRET}"
    assert failure(connect, url, NothingListening) == (
        f"nothing listens at 127.0.0.1:{port}; start a server there or check the port"
    )


@connecting
def test_a_host_name_that_nobody_has(connect: Connect) -> None:
    url = f"capnp://insecure@no-such-host.invalid:7000/{SECRET}"
    assert failure(connect, url, NothingListening) == (
        "the host of no-such-host.invalid:7000 is unknown; check its name"
    )


@connecting
def test_a_path_too_long_for_a_socket(connect: Connect) -> None:
    assert "107 bytes; choose a shorter one" in failure(connect, url_of("/" + "x" * 200), LinkError)


@connecting
def test_an_ssh_server(connect: Connect, tmp_path: Path) -> None:
    def attend(stream: socket.socket) -> None:
        stream.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
        stream.recv(1)

    with listening(attend, tmp_path / "ssh"):
        assert failure(connect, url_of(tmp_path / "ssh"), NotCapenv) == (
            f"what listens at {tmp_path / 'ssh'} is no capenv host: it speaks something else{ADVICE}"
        )


@connecting
def test_a_web_server(connect: Connect) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 0.1

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            port = server.server_port
            text = failure(connect, f"capnp://insecure@127.0.0.1:{port}/{SECRET}", NotCapenv)
        finally:
            server.shutdown()
            thread.join(SECONDS)
    # It reads our first message as the beginning of a long line, and answers or waits.
    assert text.startswith(f"what listens at 127.0.0.1:{port} is no capenv host: it ")
    assert text.endswith(ADVICE)


@connecting
def test_one_that_hangs_up(connect: Connect, tmp_path: Path) -> None:
    def attend(stream: socket.socket) -> None:
        stream.recv(1)

    with listening(attend, tmp_path / "door"):
        text = failure(connect, url_of(tmp_path / "door"), NotCapenv)
    assert text.startswith(f"what listens at {tmp_path / 'door'} is no capenv host: it hung up (")
    assert text.endswith(ADVICE)


def test_one_that_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "silent"
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen()
        url = CapabilityURL.parse(url_of(path))
        said = "says no hello: it is busy, or no capenv host; try again, or check the URL"
        with pytest.raises(NotCapenv, match=said):
            BlockingSession.open(url, timeout=0.05)

        async def connect() -> None:
            async with capenv.connect(url, timeout=0.05):
                pass

        with pytest.raises(NotCapenv, match=said):
            trio.run(connect)


def test_one_whose_queue_is_full(tmp_path: Path) -> None:
    path = tmp_path / "crowded"
    with contextlib.ExitStack() as stack:
        door = stack.enter_context(socket.socket(socket.AF_UNIX))
        door.bind(str(path))
        door.listen(0)
        waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
        waiting.connect(str(path))
        with pytest.raises(DeadlineExceeded, match=r"too busy to answer within 0.05 seconds"):
            BlockingSession.open(CapabilityURL.parse(url_of(path)), timeout=0.05)


@connecting
def test_a_cap_n_proto_peer_of_another_interface(connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "greeter"
    command = [sys.executable, str(HERE / "errors_pycapnp.py"), str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as peer:
        assert peer.stdout is not None
        assert peer.stdout.readline() == "ready\n"
        text = failure(connect, url_of(path), NotCapenv)
        assert peer.stdin is not None
        peer.stdin.close()
    assert text == (
        f"what listens at {path} is no capenv host: it speaks Cap'n Proto, but has no gate{ADVICE}"
    )


class NewerGate(Servant):
    """The gate of a server from the future; how it takes a client of today is its choice."""

    interface = GATE

    def __init__(self, refuses: bool) -> None:
        self._refuses = refuses

    def hello(self, request: Request) -> Content:
        if self._refuses:
            raise VersionMismatch(
                "the client speaks version 1.0 of capenv's interfaces and the server 2.0; upgrade the"
                " client"
            )
        results = request.results()
        results.version.major, results.version.minor = 2, 0
        return request.reply(results)

    def restore(self, request: Request) -> Content:
        raise AssertionError("restore comes after a hello that succeeds")


@connecting
@pytest.mark.parametrize("refuses", [True, False])
def test_a_version_that_we_do_not_speak(connect: Connect, refuses: bool, tmp_path: Path) -> None:
    ready, done = threading.Event(), []

    async def serve() -> None:
        async with transports.listen(UnixAddress(str(tmp_path / "newer"))) as listener:
            with trio.CancelScope() as scope:
                token = trio.lowlevel.current_trio_token()
                done.append(lambda: token.run_sync_soon(scope.cancel))
                ready.set()
                await vat.serve(listener, lambda greeted: NewerGate(refuses))

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    assert ready.wait(SECONDS)
    try:
        text = failure(connect, url_of(tmp_path / "newer"), VersionMismatch)
    finally:
        done[0]()
        thread.join(SECONDS)
    speaks = (
        "the client speaks version 1.0 of capenv's interfaces and the server 2.0"
        if refuses
        else "the server speaks version 2.0 of capenv's interfaces and the client 1.0"
    )
    assert text == f"{speaks}; upgrade the client"


def test_whoever_is_older_is_to_be_upgraded() -> None:
    check_version(1, 7, "client")
    for major, who, whom in (
        (0, "client", "client"),
        (2, "client", "server"),
        (0, "server", "server"),
    ):
        with pytest.raises(VersionMismatch, match=f"the {who} speaks.*; upgrade the {whom}$"):
            check_version(major, 0, who)


@connecting
def test_a_wrong_secret(connect: Connect, host: HostProcess) -> None:
    url = host.urls["host"].rpartition("/")[0] + f"/{SECRET}"
    text = failure(connect, url, UnknownToken)
    assert text == (
        "the secret in this URL opens nothing here: it is mistyped, was revoked, or its server was"
        " started anew; ask for a new URL"
    )
    blocking(host.urls["Numbered"])  # the right one still does


@connecting
def test_a_secret_of_an_earlier_server(connect: Connect, tmp_path: Path) -> None:
    listen = f"capnp://insecure@{tmp_path / 'socket'}"
    with HostProcess(tmp_path, listen) as earlier:
        url = earlier.urls["Numbered"]
        connect(url)
    with HostProcess(tmp_path, listen):
        assert "its server was started anew; ask for a new URL" in failure(
            connect, url, UnknownToken
        )


def test_a_revoked_secret() -> None:
    table: CapabilityTable[str] = CapabilityTable()
    secret = table.secret("game", "target")
    assert table.restore(secret) == "target"
    table.revoke("game")
    with pytest.raises(UnknownToken, match="was revoked"):
        table.restore(secret)


def test_the_patience_of_who_connects_is_bounded() -> None:
    assert 0 < handshake.TIMEOUT < math.inf


def test_a_failed_connection_leaves_no_descriptor_behind(tmp_path: Path) -> None:
    with HostProcess(tmp_path) as host:
        wrong = host.urls["host"].rpartition("/")[0] + f"/{SECRET}"
        before = os.listdir("/proc/self/fd")
        for _ in range(5):
            failure(blocking, wrong, UnknownToken)
        assert len(os.listdir("/proc/self/fd")) == len(before)
