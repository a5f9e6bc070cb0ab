"""One session played without an event loop: what the Gymnasium adapter drives."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from capenv.blocking import Statistics
from capenv.errors import CapenvError, Overloaded, ProtocolError, Unimplemented
from capenv.remote import descriptions, handshake, session_messages
from capenv.remote.alike_steps import Step
from capenv.remote.blocking_opening import open_session
from capenv.remote.interfaces import PLAYABLE, SESSION
from capenv.remote.session_messages import SessionMessages
from capenv.remote.step_calls import StepCalls
from capenv.repeating import RepeatingConnection
from capenv.rpc.capability import Capability
from capenv.transports.shared_frames import BorrowedFrames, received, shareable
from capenv.url import CapabilityURL
from capenv.worlds import ResetResult, SessionDescription

_CLOSE_SECONDS = 1.0


class BlockingSession:
    """A session and the connection it rides on."""

    def __init__(
        self,
        connection: RepeatingConnection,
        capability: Capability,
        description: SessionDescription,
    ) -> None:
        self.description = description
        self.connection = connection
        self._capability = capability
        self._memory: Capability | None = None
        """Held for as long as it is shared."""
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
        method = PLAYABLE["play"]
        params = method.params.new()
        params.id = id
        descriptions.write_settings(params, settings or {})
        opened = open_session(url, method, method.params.content(params), timeout)
        with opened.closing_on_error():
            description = descriptions.read_session(opened.results.description)
            session = cls(opened.connection, opened.session, description)
        session._share_frames()
        return session

    def _share_frames(self) -> None:
        """Have long observations in memory that both processes share, if that can be."""
        if not (self.connection.passes_descriptors and shareable(self._messages.frame_bytes)):
            return
        method = SESSION["shareFrames"]
        try:
            content = self.connection.ask(self._capability, method, method.params.content())
            self._memory = method.results.capability(content, "memory")
            told = method.results.read(content.segments)
            descriptor = received(self.connection.take_descriptors())
            if told.frameBytes != self._messages.frame_bytes:
                os.close(descriptor)
                raise ProtocolError("memory was shared for frames of another length")
            self._messages.borrowed = BorrowedFrames(descriptor, told.slots, told.frameBytes)
        except (Overloaded, Unimplemented):
            pass  # then they travel
        except BaseException:
            self.connection.close()
            raise

    def reset(self, seed: int | None, options: Mapping[str, Any] | None) -> ResetResult:
        """`Session.reset`."""
        params = session_messages.write_reset(seed, options)
        content = self.connection.ask(self._capability, SESSION["reset"], params)
        return self._messages.read_reset_result(content)

    def render(self) -> Any:
        """`Session.render`."""
        method = SESSION["render"]
        content = self.connection.ask(self._capability, method, method.params.content())
        return session_messages.read_rendering(method, content)

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
            if self._messages.borrowed is not None:
                self._messages.borrowed.close()

    def abandon(self) -> None:
        """Close the connection without a word; the host notices. Never waits or raises."""
        self.connection.abandon()
