"""Calls that the peer made: the `answers` table of `rpc.capnp`. And how any answer gets its outcome."""

from collections.abc import Callable
from typing import Final, TypeAlias

import attrs

from capenv.errors import CapenvError, Kind, Overloaded, ProtocolError, RemoteError, to_wire
from capenv.rpc.answer import Answer, AnswerInput, AnswerState
from capenv.rpc.capability import Content
from capenv.rpc.events import CallCanceled, Event, Returned
from capenv.rpc.limits import Limits
from capenv.rpc.messages import (
    Canceled,
    Finish,
    Results,
    ResultsSentElsewhere,
    Return,
    TakeFromOtherQuestion,
    WireException,
)
from capenv.rpc.outbox import Outbox
from capenv.rpc.question import Question
from capenv.rpc.references import References
from capenv.rpc.tables import RemoteTable
from capenv.rpc.turn import Peer, Turn

Outcome: TypeAlias = Content | CapenvError
Conclude: TypeAlias = Callable[[Question, Outcome], None]

_ONLY_PIPELINED: Final = 1 << 31
"""Questions under ids from here on may go without a Return (`Call.onlyPromisePipeline`)."""


class Answers:
    """The calls of one connection that are owed an outcome."""

    def __init__(
        self,
        connection: Peer,
        table: RemoteTable[Answer],
        references: References,
        outbox: Outbox,
        turn: Turn,
        conclude: Conclude,
    ) -> None:
        """Give a connection's answers their outcomes; `conclude` is told of those that a question took."""
        self._connection = connection
        self._limits: Limits = connection.limits
        self._table = table
        self._references = references
        self._outbox = outbox
        self._turn = turn
        self._conclude = conclude
        self._held_bytes = 0

    def begin(
        self, question_id: int, *, keeps_results: bool = False, only_pipelined: bool = False
    ) -> Answer:
        """Enter a call of the peer's.

        Raises:
            ProtocolError: the id is in use, or there are twice as many calls as allowed.
        """
        answer = Answer(self._connection, question_id)
        answer.keeps_results = keeps_results
        # Not honoured together with `yourself`, as in C++.
        answer.sends_no_return = (
            only_pipelined and not keeps_results and question_id >= _ONLY_PIPELINED
        )
        self._table.add(question_id, answer)
        if len(self._table) > 2 * self._limits.answers:
            raise ProtocolError(f"more than {2 * self._limits.answers} calls in flight")
        return answer

    def admit(self, answer: Answer, params_size: int) -> Overloaded | None:
        """Count the params of a call among those held, or return why the call is refused."""
        if len(self._table) > self._limits.answers:
            return Overloaded(f"more than {self._limits.answers} calls in flight")
        if self._held_bytes + params_size > self._limits.call_bytes:
            return Overloaded(
                f"the calls in flight hold more than {self._limits.call_bytes:,} bytes; await some"
            )
        self._hold(answer, params_size)
        return None

    def _hold(self, answer: Answer, size: int) -> None:
        self._held_bytes += size - answer.held_size
        answer.held_size = size

    def find(self, question_id: int) -> Answer | None:
        """Return the answer, or None."""
        return self._table.find(question_id)

    def settle(self, answer: Answer, outcome: Outcome) -> None:
        """Give an answer of this connection its outcome: exactly once."""
        answer.carrier = None
        self._hold(answer, 0)
        match answer.state:
            case AnswerState.RUNNING if answer.id is None:
                answer.fire(AnswerInput.RETURN_NO_FINISH_NEEDED)
                answer.keep_promises(self._turn, outcome)
                self._tell(Returned(answer))
            case AnswerState.RUNNING:
                self._return(answer, outcome)
            case AnswerState.FINISHED:
                answer.fire(AnswerInput.RETURN)
                if answer.id is not None:
                    self._table.remove(answer.id)
                    if not answer.sends_no_return:
                        # No results may follow a Finish: we would have to know its releaseResultCaps.
                        self._outbox.send(Return(answer.id, Canceled()))
                self._references.discard(outcome)
            case AnswerState.DONE:  # the connection has ended
                self._references.discard(outcome)
            case AnswerState.RETURNED:
                raise AssertionError("a call was answered twice")

    def redirect(self, answer: Answer, question: Question) -> None:
        """Have the peer take the results of a call on an object of its own from itself."""
        assert answer.id is not None
        self._hold(answer, 0)
        answer.fire(AnswerInput.RETURN)
        answer.tail = question.path()
        self._outbox.send(Return(answer.id, TakeFromOtherQuestion(question.id)))

    def take(self, answer_id: int) -> Answer:
        """Return an answer that was kept here for the peer to take, as it now does, once.

        Raises:
            ProtocolError: there is none such (`Return.takeFromOtherQuestion`).
        """
        answer = self._table.find(answer_id)
        if answer is None or not answer.keeps_results or answer.taken:
            raise ProtocolError("the peer took results from where none were kept for it")
        answer.taken = True
        return answer

    def give(self, answer: Answer, question: Question) -> None:
        """Make what an answer will be, or is, the outcome of a question of ours."""
        if answer.outcome is not None:
            self._conclude(question, _nearer(answer.outcome))
        elif answer.wanted:
            answer.taker = question
        else:
            self._conclude(question, RemoteError("the peer canceled a call that we still wanted"))

    def receive_finish(self, finish: Finish) -> None:
        """`Finish`: the peer wants no more of an answer, and pipelines nothing on it any more."""
        answer = self._table.find(finish.question_id)
        if answer is None:
            return  # we returned with noFinishNeeded, and the peer does not know that flag
        match answer.state:
            case AnswerState.RETURNED:
                exports, answer.exports = answer.exports, []
                if finish.release_result_caps:
                    self._references.release(exports)
                answer.fire(AnswerInput.FINISH)
                self._table.remove(finish.question_id)
                answer.tail, answer.frozen, answer.outcome = None, [], None
                self._hold(answer, 0)
            case AnswerState.FINISHED:
                raise ProtocolError("the peer finished a question twice")
            case _:
                self.stop(answer, RemoteError("the call was canceled"))

    def cancel(self, answer: Answer) -> None:
        """Want no outcome of a call of our own any more."""
        error = RemoteError("the call was canceled")
        answer.outcome = error
        self.stop(answer, error)
        self._tell(Returned(answer))

    def stop(self, answer: Answer, error: CapenvError) -> None:
        """Take an answer as wanted no more, and tell whoever works for it."""
        answer.fire(AnswerInput.FINISH)
        self._abandon(answer, error)

    def disconnect(self, answers: list[Answer], error: CapenvError) -> None:
        """Take notice that nobody hears the answers of the peer's calls any more."""
        for answer in answers:
            running = answer.wanted
            answer.fire(AnswerInput.DISCONNECT)
            if running:
                self._abandon(answer, error)
            answer.tail, answer.frozen = None, []

    def _abandon(self, answer: Answer, error: CapenvError) -> None:
        answer.break_promises(self._turn, error)
        taker, answer.taker = answer.taker, None
        if taker is not None:
            self._conclude(taker, error)
        carrier, answer.carrier = answer.carrier, None
        if carrier is not None:
            carrier.connection.abandon(carrier)
        elif not self._turn.withdraw(answer):
            self._tell(CallCanceled(answer))
            return
        self._turn.post(self.settle, answer, error)

    def _return(self, answer: Answer, outcome: Outcome) -> None:
        assert answer.id is not None
        described = None
        outcome = answer.keep_promises(self._turn, outcome)
        if isinstance(outcome, Content) and not (answer.keeps_results or answer.sends_no_return):
            try:
                described = self._references.describe(outcome)
            except Overloaded as error:
                answer.outcome = outcome = self._connection.refused(error)
            except CapenvError as error:
                answer.outcome = outcome = error
        if answer.sends_no_return:
            answer.fire(AnswerInput.RETURN)
        elif answer.keeps_results:
            answer.fire(AnswerInput.RETURN)
            self._outbox.send(Return(answer.id, ResultsSentElsewhere()))
            taker, answer.taker = answer.taker, None
            if taker is not None:
                self._conclude(taker, _nearer(outcome))
        elif described is None:
            assert isinstance(outcome, CapenvError)
            answer.fire(AnswerInput.RETURN)
            self._outbox.send(Return(answer.id, wire_exception(outcome)))
        elif described.payload.table:
            answer.fire(AnswerInput.RETURN)
            answer.exports, answer.frozen = described.exports, described.frozen
            self._outbox.send(Return(answer.id, Results(described.payload)))
            self._references.tell_broken(described)
        else:
            # Return.noFinishNeeded: nothing to release and nothing to pipeline on.
            answer.fire(AnswerInput.RETURN_NO_FINISH_NEEDED)
            self._table.remove(answer.id)
            results = Results(described.payload)
            self._outbox.send(Return(answer.id, results, no_finish_needed=True))
            return
        if isinstance(outcome, Content):
            self._hold(answer, sum(map(len, outcome.segments)))

    def _tell(self, event: Event) -> None:
        self._turn.tell(self._connection, event)


def wire_exception(error: CapenvError) -> WireException:
    """Return how an exception is told to the peer."""
    kind, reason = to_wire(error)
    return WireException(Kind(kind), reason)


def _nearer(outcome: Outcome) -> Outcome:
    """Return an outcome that was kept here, whose capabilities were to be had by way of the peer till now."""
    return attrs.evolve(outcome, shortcuts=True) if isinstance(outcome, Content) else outcome
