"""Calls that have been made, to be awaited."""

from collections.abc import Generator
from typing import Any, Protocol

from capenv.errors import CapenvError
from capenv.rpc.answer import Answer
from capenv.rpc.capability import Capability, Content
from capenv.rpc.interface import Method
from capenv.rpc.streams import Outgoing


class Waiting(Protocol):
    """What waits for answers: a connection."""

    async def wait(self, answer: Answer, *, keep: bool = False) -> None:
        """Wait for an outcome."""

    async def wait_for_window(self, stream: Outgoing) -> None:
        """Wait until the next streaming call may be sent."""


class Response:
    """A call that has been made. Await it for its content; what it will hold can be called at once."""

    def __init__(
        self,
        connection: Waiting,
        answer: Answer,
        method: Method | None,
        *,
        keep: bool = False,
    ) -> None:
        self._connection = connection
        self._answer = answer
        self._method = method
        self._keep = keep

    def __await__(self) -> Generator[Any, Any, Content]:
        return self._wait().__await__()

    async def _wait(self) -> Content:
        await self._connection.wait(self._answer, keep=self._keep)
        outcome = self._answer.outcome
        if isinstance(outcome, Content):
            return outcome
        assert outcome is not None
        raise own_copy(outcome)

    def kept(self) -> "Response":
        """Return the same response, still wanted when all who await it are cancelled."""
        return Response(self._connection, self._answer, self._method, keep=True)

    def pipeline(self, name: str) -> Capability:
        """Return the capability that will be in the named field of the results, to be called now."""
        if self._method is None:
            raise TypeError("only the results of a method have named fields")
        return self._answer.pipeline(self._method.results.slot(name))

    def root(self) -> Capability:
        """Return the capability that the results will be: of a bootstrap."""
        return self._answer.pipeline()


class StreamResponse(Response):
    """A streaming call that has been made. Await it to learn when the next one may be."""

    def __init__(self, connection: Waiting, answer: Answer, stream: Outgoing) -> None:
        super().__init__(connection, answer, None)
        self._stream = stream

    def kept(self) -> Response:
        """Return this: giving up the wait for a stream's window gives up no call."""
        return self

    async def _wait(self) -> Content:
        await self._connection.wait_for_window(self._stream)
        if self._stream.error is not None:
            raise own_copy(self._stream.error)
        return Content([bytearray(8)])


def own_copy(error: CapenvError) -> CapenvError:
    """Return a fresh exception: one that is raised twice gathers the tracebacks of both."""
    return type(error)(*error.args)
