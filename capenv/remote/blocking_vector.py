"""One vector session stepped without an event loop: what the vector adapter drives."""

from collections.abc import Callable, Mapping
from typing import Any

from capenv.errors import CapenvError, ProtocolError
from capenv.remote import descriptions, handshake, session_messages, vector_messages
from capenv.remote.alike_steps import VectorStep
from capenv.remote.blocking_opening import open_session
from capenv.remote.interfaces import PLAYABLE, VECTOR_SESSION
from capenv.remote.step_calls import StepCalls
from capenv.remote.vector_messages import VectorMessages
from capenv.repeating import RepeatingConnection
from capenv.rpc.capability import Capability
from capenv.url import CapabilityURL
from capenv.worlds import ResetResult, VectorDescription, VectorOptions

_CLOSE_SECONDS = 1.0


class BlockingVectorSession:
    """A vector session and the connection it rides on."""

    def __init__(
        self,
        connection: RepeatingConnection,
        capability: Capability,
        description: VectorDescription,
    ) -> None:
        self.connection = connection
        self.description = description
        self._capability = capability
        self._messages = VectorMessages(description)
        steps = StepCalls[VectorStep](connection, capability, self._messages)
        self.step: Callable[[Any], VectorStep] = steps.step
        """`VectorSession.step`."""
        self.launch: Callable[[Any], None] = steps.launch
        """`VectorSession.step`, whose results `collect` returns."""
        self.collect: Callable[[], VectorStep] = steps.collect
        self.forget: Callable[[], None] = steps.forget

    @classmethod
    def open(
        cls,
        url: CapabilityURL,
        id: str,  # noqa: A002
        options: VectorOptions,
        settings: Mapping[str, Any],
        timeout: float = handshake.TIMEOUT,
    ) -> "BlockingVectorSession":
        """Connect and get a session: one round trip once the connection stands.

        Raises:
            NothingListening, NotCapenv, VersionMismatch: nobody is there to talk to.
            UnknownToken, UnknownEnvironment, BadSettings, EnvironmentFailed: no session is to be had.
        """
        method = PLAYABLE["playVector"]
        params = method.params.new()
        params.id = id
        descriptions.write_vector_options(params.init("options"), options)
        descriptions.write_settings(params, settings)
        opened = open_session(url, method, method.params.content(params), timeout)
        with opened.closing_on_error():
            description = descriptions.read_vector(opened.results.description)
            if description.num_envs != options.num_envs:
                raise ProtocolError(
                    f"the host made {description.num_envs} environments, not {options.num_envs}"
                )
            return cls(opened.connection, opened.session, description)

    def reset(
        self, seed: int | list[int | None] | None, options: Mapping[str, Any] | None
    ) -> ResetResult:
        """`VectorSession.reset`."""
        params = vector_messages.write_reset(seed, options)
        content = self.connection.ask(self._capability, VECTOR_SESSION["reset"], params)
        return self._messages.read_reset_result(content)

    def render(self) -> Any:
        """`VectorSession.render`."""
        method = VECTOR_SESSION["render"]
        content = self.connection.ask(self._capability, method, method.params.content())
        return session_messages.read_rendering(method, content)

    def close(self) -> None:
        """Leave the session and close the connection. Idempotent."""
        try:
            if self.connection.connected:
                method = VECTOR_SESSION["leave"]
                self.connection.ask(
                    self._capability, method, method.params.content(), _CLOSE_SECONDS
                )
        except CapenvError:
            pass  # the closing of the connection tells the host as well
        finally:
            self.connection.close()

    def abandon(self) -> None:
        """Close the connection without a word; the host notices. Never waits or raises."""
        self.connection.abandon()
