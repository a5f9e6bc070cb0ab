"""Calls that we made: the `questions` table of `rpc.capnp`."""

import enum
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from capenv.errors import CapenvError
from capenv.rpc.capability import Broken, Content, Pipelined

if TYPE_CHECKING:
    from capenv.rpc.answers import Answer


class QuestionState(enum.Enum):
    """How far a question is."""

    ASKED = enum.auto()
    """Neither returned nor finished."""
    CANCELED = enum.auto()
    """We sent Finish and still await the Return: the id is not free before it."""
    DONE = enum.auto()
    """Returned, and finished if that was needed: the id is free."""


class QuestionInput(enum.Enum):
    """What happens to a question."""

    RETURN = enum.auto()
    FINISH = enum.auto()
    DISCONNECT = enum.auto()


TRANSITIONS: Final = {
    (QuestionState.ASKED, QuestionInput.RETURN): QuestionState.DONE,
    (QuestionState.ASKED, QuestionInput.FINISH): QuestionState.CANCELED,
    (QuestionState.ASKED, QuestionInput.DISCONNECT): QuestionState.DONE,
    (QuestionState.CANCELED, QuestionInput.RETURN): QuestionState.DONE,
    (QuestionState.CANCELED, QuestionInput.DISCONNECT): QuestionState.DONE,
}


class Question:
    """A call of ours. `outcome` is set once, when it is answered, canceled or cut off."""

    __slots__ = ("exports", "forwarding", "id", "local", "outcome", "pipelined", "state", "waiter")

    def __init__(self) -> None:
        self.id = -1
        self.state = QuestionState.ASKED
        self.outcome: Content | CapenvError | None = None
        self.exports: list[int] = []
        """Exports named in the params: one reference each, for `Return.releaseParamCaps`."""
        self.pipelined: WeakValueDictionary[tuple[int, ...], Pipelined] | None = None
        """One reference per path: two would have two queues and could lose the order of calls."""
        self.forwarding: Answer | None = None
        """The peer's call that this one carries on, if it is not ours."""
        self.local: Answer | None = None
        """The answer awaited, if the call is on an object of our own or on what such a call returns."""
        self.waiter: object = None
        """Whatever the driver keeps here."""

    def fire(self, event: QuestionInput) -> None:
        """Move on; a KeyError is a mistake of ours."""
        self.state = TRANSITIONS[self.state, event]

    def pipeline(self, *transform: int) -> Pipelined:
        """Return the capability that will be at this path of pointer fields in the results."""
        if self.pipelined is None:
            self.pipelined = WeakValueDictionary()
        found = self.pipelined.get(transform)
        if found is None:
            found = self.pipelined[transform] = Pipelined(self, transform)
            resolve_pipelined(found, self.outcome)
        return found


def resolve_pipelined(pipelined: Pipelined, outcome: Content | CapenvError | None) -> None:
    """Set what a pipelined capability turned out to be, if the outcome is there."""
    match outcome:
        case None:
            return
        case Content():
            try:
                found = outcome.capability(*pipelined.transform)
            except CapenvError as error:
                found = Broken(error)
            pipelined.resolution = found or Broken(CapenvError("the capability called is null"))
        case error:
            pipelined.resolution = Broken(error)
