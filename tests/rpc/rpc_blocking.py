"""Blocking connections to a probe that runs under Trio, or to a peer that a test plays."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import trio
from rpc_probe import ECHO, Probe, socket_pair, text_of, text_params

from capenv.blocking import BlockingConnection
from capenv.rpc.capability import Capability, Hosted
from capenv.rpc.connection import Connection
from capenv.rpc.framing import MessageReader
from capenv.transports.sockets import SocketLink
from capenv.vat_connection import VatConnection


@contextlib.contextmanager
def served(probe: Probe | None = None, bootstrap: Any = None) -> Iterator[BlockingConnection]:
    """Return a connection to a probe that another thread runs under Trio."""
    link, far = socket_pair()
    probe = probe or Probe()

    async def serve() -> None:
        probe.connection = VatConnection(SocketLink(far), probe)
        await probe.connection.run()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    connection = BlockingConnection(link, bootstrap)
    try:
        yield connection
    finally:
        connection.close()
        thread.join(10)
        assert not thread.is_alive()


def root_of(connection: BlockingConnection) -> Capability:
    found = connection.wait(connection.bootstrap()).capability()
    assert found is not None
    return found


def echo(connection: BlockingConnection, root: Capability, text: str) -> str:
    return text_of(connection.wait(connection.call(root, ECHO, text_params(text))))


class Peer:
    """The far end of a link, played by the test itself, one message at a time."""

    def __init__(self, far: socket.socket, probe: Probe) -> None:
        self.socket = far
        self.core = Connection(Hosted(probe))
        self.reader = MessageReader(self.core.limits)

    def take(self) -> None:
        """Receive once, without answering."""
        count = self.socket.recv_into(self.reader.buffer())
        for segments in self.reader.received(count):
            self.core.receive(segments)

    def give(self) -> None:
        """Send what is to be sent."""
        self.socket.sendall(b"".join(bytes(buffer) for buffer in self.core.data_to_send()))


@contextlib.contextmanager
def played() -> Iterator[tuple[BlockingConnection, Peer, Capability]]:
    """Return a connection, its peer, and the peer's first object."""
    link, far = socket_pair()
    connection, peer = BlockingConnection(link), Peer(far, Probe())
    question = connection.bootstrap()
    connection.flush()
    peer.take()
    peer.give()
    root = connection.wait(question).capability()
    assert root is not None
    try:
        yield connection, peer, root
    finally:
        connection.close()
        far.close()


def answer_all(peer: Peer) -> None:
    while (event := peer.core.next_event()) is not None:
        if hasattr(event, "servant") and hasattr(event, "content"):
            text = ECHO.params.read(event.content.segments).text
            results = ECHO.results.new()
            results.text = text
            peer.core.respond(event.answer, ECHO.results.content(results))
