"""The results to come of one call, for who made it and for who has to produce them."""

import enum
from typing import TYPE_CHECKING, Final

import attrs

from capenv.errors import CapenvError, Overloaded, RemoteError
from capenv.rpc.capability import Broken, Capability, Content, Pipelined, Promise

if TYPE_CHECKING:
    from capenv.rpc.exports import Export
    from capenv.rpc.question import Question
    from capenv.rpc.turn import Peer, Turn


GONE: Final = "the call that was made on returned no object there, or its results were given back"
"""Why a call on results fails: those without objects are forgotten when they are returned."""


class AnswerState(enum.Enum):
    """How far an answer is."""

    RUNNING = enum.auto()
    """Neither returned nor finished."""
    FINISHED = enum.auto()
    """Nobody wants it any more; of a peer's call a Return is owed all the same."""
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


class Answer:
    """What one call will return.

    For a call of the peer's, under the id that it chose (`Call.questionId`). For a call of our own, which
    has no id here, `outcome` is what its caller waits for: set once, when it is answered, canceled or
    cut off.
    """

    __slots__ = (
        "__weakref__",
        "carrier",
        "connection",
        "exports",
        "frozen",
        "held_size",
        "id",
        "keeps_results",
        "outcome",
        "promises",
        "sends_no_return",
        "state",
        "tail",
        "taken",
        "taker",
        "task",
        "waiter",
        "waits_for",
    )

    def __init__(self, connection: "Peer", id: int | None = None) -> None:  # noqa: A002
        self.connection = connection
        self.id = id
        self.state = AnswerState.RUNNING
        self.outcome: Content | CapenvError | None = None
        self.held_size = 0
        """Bytes of params that are held until there is an outcome, and then of results until the Finish."""
        self.promises: dict[tuple[int, ...], Promise] = {}
        """One reference per path, until the results are there: two could lose the order of calls."""
        self.carrier: Question | None = None
        """The question that carries the call on to another vat."""
        self.waits_for: Promise | None = None
        """The promise that the call waits for."""
        self.exports: list[int] = []
        """Exports named in the results: one reference each, for `Finish.releaseResultCaps`."""
        self.frozen: list[Capability | Export | None] = []
        """Where calls on each capability of the results go, as the peer was told (`Disembargo`)."""
        self.tail: Pipelined | None = None
        """The peer's own results that it was told to take (`Return.takeFromOtherQuestion`)."""
        self.keeps_results = False
        """Whether the results stay here, to be taken (`Call.sendResultsTo.yourself`)."""
        self.taken = False
        """Whether the peer took them."""
        self.taker: Question | None = None
        """The question of ours whose results these will be."""
        self.sends_no_return = False
        """Whether the peer only makes pipelined calls (`Call.onlyPromisePipeline`)."""
        self.task: object = None
        """Whatever the driver that carries it out keeps here."""
        self.waiter: object = None
        """Whatever the driver that waits for it keeps here."""

    def fire(self, event: AnswerInput) -> None:
        """Move on; a KeyError is a mistake of ours."""
        self.state = TRANSITIONS[self.state, event]

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for an outcome."""
        return self.state is AnswerState.RUNNING

    def pipeline(self, *transform: int) -> Capability:
        """Return the capability at a path of pointer fields in the results, whether or not they are there."""
        if self.outcome is not None:
            return self.capability(transform)
        found = self.promises.get(transform)
        if found is None:
            if len(self.promises) >= self.connection.limits.pipelined_calls:
                return Broken(Overloaded("too many capabilities of one answer are awaited"))
            carrier = self.carrier
            found = Promise(None if carrier is None else carrier.path(transform))
            self.promises[transform] = found
        return found

    def capability(self, transform: tuple[int, ...]) -> Capability:
        """Return the capability at a path in the results, which are there."""
        match self.outcome:
            case Content() as content:
                try:
                    found = content.capability(*transform)
                except CapenvError as error:
                    return Broken(error)
                return found or _null()
            case CapenvError() as error:
                return Broken(error)
            case None:
                raise AssertionError("the results are not there")

    def target(self, transform: tuple[int, ...]) -> Capability:
        """Return where a call of the peer's on a path in the results goes (`PromisedAnswer`).

        Once the results were returned this is what the peer was told then, whatever was learned since: or
        its later calls could overtake these, which is the Tribble 4-way race (`Disembargo`).
        """
        if self.state is AnswerState.RUNNING:
            return self.pipeline(*transform)
        if self.state is not AnswerState.RETURNED:
            return Broken(RemoteError(GONE))
        if self.tail is not None:
            return self.tail.question.path(transform)
        if not self.frozen or not isinstance(self.outcome, Content):
            return self.capability(transform)
        try:
            index = self.outcome.index(*transform)
        except CapenvError as error:
            return Broken(error)
        frozen = None if index is None else self.frozen[index]
        match frozen:
            case None:
                return _null()
            case Capability():
                return frozen
            case export:
                return export.target

    def carry(self, question: "Question", turn: "Turn") -> None:
        """Have the call carried on by a question: calls on its results travel behind it."""
        self.carrier = question
        for transform, promise in self.promises.items():
            turn.route(promise, question.path(transform))

    def keep_promises(self, turn: "Turn", outcome: Content | CapenvError) -> Content | CapenvError:
        """Set the outcome, say what each capability awaited turned out to be, and return the outcome.

        What is under embargo stands in the results itself: a call on them must not overtake those that
        were made on the promise, though whoever makes it learns of the results only now.
        """
        self.outcome = outcome
        promises, self.promises = self.promises, {}
        embargoed: dict[int, Promise] = {}
        for transform, promise in promises.items():
            found = self.capability(transform)
            if isinstance(found, Broken) or not isinstance(outcome, Content):
                turn.resolve(promise, found)
                continue
            index = outcome.index(*transform)
            assert index is not None
            turn.fulfil(promise, found, shortens=outcome.shortens(index))
            if promise.resolution is None:
                embargoed[index] = promise
        if embargoed and isinstance(outcome, Content):
            known = enumerate(outcome.capabilities)
            capabilities = [embargoed.get(index, capability) for index, capability in known]
            self.outcome = attrs.evolve(outcome, capabilities=capabilities)
        return self.outcome

    def break_promises(self, turn: "Turn", error: CapenvError) -> None:
        """Say that nothing awaited will be there."""
        promises, self.promises = self.promises, {}
        for promise in promises.values():
            turn.resolve(promise, Broken(error))


def _null() -> Broken:
    return Broken(RemoteError("the capability called is null"))
