"""Calls that the peer made: the `answers` table of `rpc.capnp`."""

import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import attrs

from capenv.errors import CapenvError, RemoteError
from capenv.rpc.capability import Broken, Capability, Content

if TYPE_CHECKING:
    from capenv.rpc.questions import Question


class AnswerState(enum.Enum):
    """How far an answer is."""

    RUNNING = enum.auto()
    """Neither returned nor finished."""
    FINISHED = enum.auto()
    """The peer wants nothing more; a Return is owed all the same."""
    RETURNED = enum.auto()
    """Returned, and kept for pipelined calls until the Finish."""
    DONE = enum.auto()
    """Both; the peer may use the id again."""


class AnswerInput(enum.Enum):
    """What happens to an answer."""

    RETURN = enum.auto()
    RETURN_NO_FINISH_NEEDED = enum.auto()
    FINISH = enum.auto()
    DISCONNECT = enum.auto()


TRANSITIONS: Final = {
    (AnswerState.RUNNING, AnswerInput.RETURN): AnswerState.RETURNED,
    (AnswerState.RUNNING, AnswerInput.RETURN_NO_FINISH_NEEDED): AnswerState.DONE,
    (AnswerState.RUNNING, AnswerInput.FINISH): AnswerState.FINISHED,
    (AnswerState.RUNNING, AnswerInput.DISCONNECT): AnswerState.DONE,
    (AnswerState.FINISHED, AnswerInput.RETURN): AnswerState.DONE,
    (AnswerState.FINISHED, AnswerInput.DISCONNECT): AnswerState.DONE,
    (AnswerState.RETURNED, AnswerInput.FINISH): AnswerState.DONE,
    (AnswerState.RETURNED, AnswerInput.DISCONNECT): AnswerState.DONE,
}


@attrs.frozen(eq=False)
class QueuedCall:
    """A call on something in results that are not there yet."""

    answer: "Answer"
    transform: tuple[int, ...]
    interface_id: int
    method_id: int
    content: Content


class Answer:
    """A call of the peer's, or, with `local`, one of ours on an object of our own."""

    __slots__ = ("carrier", "exports", "id", "local", "outcome", "queue", "state", "task")

    def __init__(self, id: int, local: "Question | None" = None) -> None:  # noqa: A002
        self.id = id
        self.local = local
        self.state = AnswerState.RUNNING
        self.outcome: Content | CapenvError | None = None
        """What was returned, as it was then: pipelined calls go to exactly that."""
        self.exports: list[int] = []
        """Exports named in the results: one reference each, for `Finish.releaseResultCaps`."""
        self.queue: list[QueuedCall] = []
        """Calls that came before the results they are meant for."""
        self.carrier: Question | None = None
        """The question that carries this call on, if it was sent back to the peer."""
        self.task: object = None
        """Whatever the driver keeps here."""

    def fire(self, event: AnswerInput) -> None:
        """Move on; a KeyError is a mistake of ours."""
        self.state = TRANSITIONS[self.state, event]

    def capability(self, transform: Sequence[int]) -> Capability:
        """Return the capability at a path in the results, as they were when they were returned."""
        match self.outcome:
            case Content() as content:
                try:
                    found = content.capability(*transform)
                except CapenvError as error:
                    return Broken(error)
                return found or Broken(RemoteError("the capability called is null"))
            case CapenvError() as error:
                return Broken(error)
            case None:
                raise AssertionError("the results are not there")
