"""Connecting without an event loop, to whatever has sessions to give."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from capenv import transports
from capenv.errors import CapenvError
from capenv.remote import handshake
from capenv.remote.interfaces import GATE
from capenv.repeating import RepeatingConnection
from capenv.rpc.capability import Capability, Content, innermost
from capenv.rpc.interface import Method
from capenv.url import CapabilityURL
from capenv.values import Reading


@attrs.frozen(eq=False)
class Opened:
    """A connection, and the session that it was made for."""

    connection: RepeatingConnection
    session: Capability
    results: Any
    """The reader of what the call for a session returned."""

    @contextmanager
    def closing_on_error(self) -> Iterator[None]:
        """Close the connection if what stands in the block fails; what cannot be read is a ProtocolError."""
        try:
            with Reading("the results of play"):
                yield
        except BaseException:
            self.connection.close()
            raise


def open_session(
    url: CapabilityURL, method: Method, params: Content, timeout: float = handshake.TIMEOUT
) -> Opened:
    """Connect and call for a session: one round trip once the connection stands.

    Args:
        url: of what has the method.
        method: one that returns a `session`, with whatever describes it.
        params: its params.
        timeout: seconds to be answered in; the making of an environment may take longer.

    Raises:
        NothingListening, NotCapenv, VersionMismatch: nobody is there to talk to.
        UnknownToken: the URL's secret is wrong or was revoked.
        CapenvError: there is no session to be had.
    """
    deadline = time.monotonic() + timeout
    connection = RepeatingConnection(transports.connect_blocking(url.address, timeout))
    try:
        gate = connection.bootstrap().pipeline()
        hello = connection.call(gate, GATE["hello"], handshake.hello_params())
        restore = connection.call(gate, GATE["restore"], handshake.restore_params(url))
        restored = restore.pipeline(GATE["restore"].results.slot("capability"))
        play = connection.call(restored, method, params)
        session = play.pipeline(method.results.slot("session"))
        try:
            handshake.read_hello(connection.wait(hello, deadline - time.monotonic()))
        except CapenvError as error:
            raise handshake.hello_error(error, url, connection.core.closed) from None
        connection.wait(restore, deadline - time.monotonic())
        content = connection.wait(play)  # no deadline: an environment may take its time to be made
        return Opened(connection, innermost(session), method.results.read(content.segments))
    except BaseException:
        connection.close()
        raise
