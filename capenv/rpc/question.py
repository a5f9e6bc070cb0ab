"""A call that went out over a connection."""

import enum
import functools
import weakref
from typing import TYPE_CHECKING, Final

from capenv.rpc.capability import Pipelined
from capenv.rpc.drops import DroppedPath, Drops

if TYPE_CHECKING:
    from capenv.rpc.answer import Answer
    from capenv.rpc.turn import Peer


class QuestionState(enum.Enum):
    """How far a question is."""

    RESERVED = enum.auto()
    """Set apart for a call that is made again and again (`capenv.rpc.repeats`)."""
    ASKED = enum.auto()
    """Neither returned nor finished."""
    CANCELED = enum.auto()
    """We sent Finish and still await the Return: the id is not free before it."""
    RETURNED = enum.auto()
    """Returned, but calls still go its way, or its results are still on theirs: no Finish yet."""
    DONE = enum.auto()
    """Returned, and finished if that was needed: the id is free."""


class QuestionInput(enum.Enum):
    """What happens to a question."""

    ASK = enum.auto()
    RETURN = enum.auto()
    RETURN_NO_FINISH_NEEDED = enum.auto()
    FINISH = enum.auto()
    DISCONNECT = enum.auto()


TRANSITIONS: Final = {
    (QuestionState.RESERVED, QuestionInput.ASK): QuestionState.ASKED,
    (QuestionState.RESERVED, QuestionInput.DISCONNECT): QuestionState.DONE,
    (QuestionState.ASKED, QuestionInput.RETURN): QuestionState.RETURNED,
    (QuestionState.ASKED, QuestionInput.RETURN_NO_FINISH_NEEDED): QuestionState.DONE,
    (QuestionState.ASKED, QuestionInput.FINISH): QuestionState.CANCELED,
    (QuestionState.ASKED, QuestionInput.DISCONNECT): QuestionState.DONE,
    (QuestionState.CANCELED, QuestionInput.RETURN): QuestionState.DONE,
    (QuestionState.CANCELED, QuestionInput.RETURN_NO_FINISH_NEEDED): QuestionState.DONE,
    (QuestionState.CANCELED, QuestionInput.DISCONNECT): QuestionState.DONE,
    (QuestionState.RETURNED, QuestionInput.FINISH): QuestionState.DONE,
    (QuestionState.RETURNED, QuestionInput.DISCONNECT): QuestionState.DONE,
}


class Question:
    """A call that went out over a connection, and the answer that it carries the call for."""

    __slots__ = (
        "__weakref__",
        "_drops",
        "_paths",
        "answer",
        "connection",
        "exports",
        "id",
        "keeps_results",
        "state",
    )

    def __init__(self, connection: "Peer", drops: "Drops", answer: "Answer | None") -> None:
        """Carry a call on for an answer, or with None for nobody: the peer keeps the results itself."""
        self.connection = connection
        self.id = -1
        self.state = QuestionState.ASKED
        self.answer = answer
        self.keeps_results = False
        """Whether the peer was asked to keep the results (`Call.sendResultsTo.yourself`)."""
        self.exports: list[int] = []
        """Exports named in the params: one reference each, for `Return.releaseParamCaps`."""
        self._paths: dict[tuple[int, ...], weakref.ref[Pipelined]] = {}
        self._drops = drops

    def fire(self, event: QuestionInput) -> None:
        """Move on; a KeyError is a mistake of ours."""
        self.state = TRANSITIONS[self.state, event]

    def path(self, transform: tuple[int, ...] = ()) -> Pipelined:
        """Return the way to a path of pointer fields in the results. While it is held no Finish is sent."""
        known = self._paths.get(transform)
        found = None if known is None else known()
        if found is None:
            found = Pipelined(self, transform)
            # Noted by a weak reference's callback, not by __del__: see `Imports`.
            noted = functools.partial(self._drop, weakref.ref(self), transform, self._drops)
            self._paths[transform] = weakref.ref(found, noted)
        return found

    @property
    def travelled(self) -> bool:
        """Whether somebody holds a way into the results."""
        return any(path() is not None for path in self._paths.values())

    def forget(self, transform: tuple[int, ...]) -> None:
        """Take notice that a way was dropped."""
        known = self._paths.get(transform)
        if known is not None and known() is None:
            del self._paths[transform]

    @staticmethod
    def _drop(
        question: "weakref.ref[Question]", transform: tuple[int, ...], drops: "Drops", _: object
    ) -> None:
        if (known := question()) is not None:
            drops.note(DroppedPath(known, transform))
