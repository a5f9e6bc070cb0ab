"""One session played without an event loop: what the Gymnasium adapter drives."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from capenv import transports
from capenv.blocking import BlockingConnection, Statistics
from capenv.errors import CapenvError
from capenv.remote import descriptions, handshake, session_messages
from capenv.remote.interfaces import GATE, PLAYABLE, SESSION
from capenv.remote.session_messages import SessionMessages
from capenv.remote.step_calls import Step, StepCalls
from capenv.rpc.capability import Capability, innermost
from capenv.url import CapabilityURL
from capenv.values import Reading
from capenv.worlds import ResetResult, SessionDescription

_CLOSE_SECONDS = 1.0


class BlockingSession:
    """A session and the connection it rides on."""

    def __init__(
        self,
        connection: BlockingConnection,
        capability: Capability,
        description: SessionDescription,
    ) -> None:
        self.description = description
        self.connection = connection
        self._capability = capability
        self._messages = SessionMessages(description.environment)
        self.step: Callable[[Any], Step] = StepCalls(connection, capability, self._messages).step
        """`Session.step`."""

    @classmethod
    def open(
        cls,
        url: CapabilityURL,
        id: str = "",  # noqa: A002
        settings: Mapping[str, Any] | None = None,
        timeout: float = handshake.TIMEOUT,
    ) -> "BlockingSession":
        """Connect and get a session: one round trip once the connection stands.

        Raises:
            NothingListening, NotCapenv, VersionMismatch: nobody is there to talk to.
            UnknownToken, UnknownEnvironment, BadSettings, SeatTaken, EnvironmentFailed: no session is
                to be had.
        """
        deadline = time.monotonic() + timeout
        link = transports.connect_blocking(url.address, timeout)
        connection = BlockingConnection(link)
        try:
            return cls._open(connection, url, id, settings or {}, deadline)
        except BaseException:
            connection.close()
            raise

    @classmethod
    def _open(
        cls,
        connection: BlockingConnection,
        url: CapabilityURL,
        id: str,  # noqa: A002
        settings: Mapping[str, Any],
        deadline: float,
    ) -> "BlockingSession":
        gate = connection.bootstrap().pipeline()
        hello = connection.call(gate, GATE["hello"], handshake.hello_params())
        restore = connection.call(gate, GATE["restore"], handshake.restore_params(url))
        restored = restore.pipeline(GATE["restore"].results.slot("capability"))
        method = PLAYABLE["play"]
        params = method.params.new()
        params.id = id
        descriptions.write_settings(params, settings)
        play = connection.call(restored, method, method.params.content(params))
        session = play.pipeline(method.results.slot("session"))
        try:
            handshake.read_hello(connection.wait(hello, deadline - time.monotonic()))
        except CapenvError as error:
            raise handshake.hello_error(error, url, connection.core.closed) from None
        connection.wait(restore, deadline - time.monotonic())
        # An environment may take its time to be made: no deadline from here on.
        content = connection.wait(play)
        description = _read_play(content)
        return cls(connection, innermost(session), description)

    def reset(self, seed: int | None, options: Mapping[str, Any] | None) -> ResetResult:
        """`Session.reset`."""
        params = session_messages.write_reset(seed, options)
        content = self.connection.ask(self._capability, SESSION["reset"], params)
        return self._messages.read_reset_result(content)

    def render(self) -> Any:
        """`Session.render`."""
        method = SESSION["render"]
        content = self.connection.ask(self._capability, method, method.params.content())
        return session_messages.read_rendering(content)

    @property
    def connected(self) -> bool:
        """Whether the connection stands, as far as is known."""
        return self.connection.connected

    def statistics(self) -> Statistics:
        """Return what passed over the connection so far."""
        return self.connection.statistics()

    def close(self) -> None:
        """Leave the session, unless it has a URL of its own, and close the connection. Idempotent."""
        try:
            if self.connected and not self.description.restored:
                method = SESSION["leave"]
                params = method.params.content()
                self.connection.ask(self._capability, method, params, _CLOSE_SECONDS)
        except CapenvError:
            pass  # the closing of the connection tells the host as well
        finally:
            self.connection.close()

    def abandon(self) -> None:
        """Close the connection without a word; the host notices. Never waits or raises."""
        self.connection.abandon()


@Reading("the results of play")
def _read_play(content: Any) -> SessionDescription:
    return descriptions.read_session(PLAYABLE["play"].results.read(content.segments).description)
