"""Calls that go out over a connection: the `questions` table of `rpc.capnp`."""

from capenv.errors import (
    CapenvError,
    Disconnected,
    Overloaded,
    ProtocolError,
    RemoteError,
    from_wire,
)
from capenv.rpc.answer import Answer
from capenv.rpc.answers import Answers, Outcome
from capenv.rpc.capability import Route
from capenv.rpc.drops import Drops
from capenv.rpc.messages import (
    Bootstrap,
    Canceled,
    Finish,
    Results,
    ResultsSentElsewhere,
    Return,
    TakeFromOtherQuestion,
    WireException,
)
from capenv.rpc.messages import Call as CallMessage
from capenv.rpc.outbox import Outbox
from capenv.rpc.question import Question, QuestionInput, QuestionState
from capenv.rpc.references import References
from capenv.rpc.tables import LocalTable
from capenv.rpc.turn import Call, Peer, Turn


class Questions:
    """The calls of one connection that the peer owes a Return."""

    def __init__(
        self,
        connection: Peer,
        references: References,
        answers: Answers,
        outbox: Outbox,
        drops: Drops,
        turn: Turn,
    ) -> None:
        self._connection = connection
        self._references = references
        self._answers = answers
        self._outbox = outbox
        self._drops = drops
        self._turn = turn
        self._table: LocalTable[Question] = LocalTable("questions")
        self._reserved = 0

    def reserve(self) -> Question:
        """Set a question apart for a call that is made again and again.

        Raises:
            Overloaded: too many calls await their answers.
        """
        self._check_room()
        question = Question(self._connection, self._drops, None)
        question.state = QuestionState.RESERVED
        question.id = self._table.add(question)
        self._reserved += 1
        return question

    def begin(self, question: Question, answer: Answer) -> None:
        """Take a call as made in a question that was set apart, which from now on is like any other."""
        question.fire(QuestionInput.ASK)
        self._reserved -= 1
        question.answer = answer
        answer.carry(question, self._turn)

    def bootstrap(self, answer: Answer) -> None:
        """Ask for the peer's first capability (`Bootstrap`)."""
        question = self._add(answer)
        self._outbox.send(Bootstrap(question.id))
        answer.carry(question, self._turn)

    def send(self, route: Route, call: Call) -> None:
        """Send a call (`Call`). One that cannot be sent is answered at once, by its failure."""
        answer = call.answer
        try:
            self._check_room()
            target = self._references.route(route)
            described = self._references.describe(call.content)
        except CapenvError as error:
            answer.connection.settle(answer, error)
            return
        # A call of the peer's own that goes back to it: the peer keeps the results.
        tail = (
            answer.connection is self._connection
            and answer.id is not None
            and not answer.keeps_results
            and not answer.sends_no_return
        )
        question = self._add(None if tail else answer)
        question.keeps_results = tail
        question.exports = described.exports
        route.called = True
        self._outbox.send(
            CallMessage(
                question.id,
                target,
                call.interface_id,
                call.method_id,
                described.payload,
                results_to_yourself=tail,
                no_promise_pipelining=call.no_promise_pipelining,
            )
        )
        self._references.tell_broken(described)
        if tail:
            self._answers.redirect(answer, question)
        answer.carry(question, self._turn)

    def receive_return(self, message: Return) -> None:
        """`Return`: the outcome of a question."""
        question = self._asked(message.answer_id)
        self._take_back(question, released=message.release_param_caps)
        canceled = question.state is QuestionState.CANCELED
        outcome: Outcome | Answer | None = None
        match message.outcome:
            case TakeFromOtherQuestion(question_id=answer_id) if not question.keeps_results:
                outcome = self._answers.take(answer_id)
            case _ if canceled:
                pass  # Finish.releaseResultCaps gave back whatever the results hold: nothing is imported
            case ResultsSentElsewhere() if question.keeps_results:
                pass
            case Results(payload=payload) if not question.keeps_results:
                outcome = self._references.receive(payload)
            case WireException(kind=kind, reason=reason):
                outcome = from_wire(kind, reason)
            case Canceled():
                outcome = RemoteError("the peer canceled a call that we still wanted")
            case _:
                raise ProtocolError("results are not where we asked for them")
        self._returned(question, no_finish_needed=message.no_finish_needed)
        if canceled:
            return
        match outcome:
            case Answer() as kept:
                self._answers.give(kept, question)
            case None:
                self._turn.post(self.finish_unused, question)
            case _:
                self.conclude(question, outcome)

    def receive_unimplemented(self, question_id: int, error: CapenvError) -> None:
        """Take notice that the peer cannot do such a call (`Message.unimplemented`)."""
        question = self._asked(question_id)
        self._take_back(question, released=True)  # the peer took nothing out of the message
        canceled = question.state is QuestionState.CANCELED
        self._returned(question, no_finish_needed=True)
        if not canceled:
            self.conclude(question, error)

    def conclude(self, question: Question, outcome: Outcome) -> None:
        """Pass an outcome on to whom it is for; then finish the question, unless calls still go its way."""
        answer, question.answer = question.answer, None
        if answer is not None:
            self._turn.post(answer.connection.settle, answer, outcome)
        self._turn.post(self.finish_unused, question)

    def finish_unused(self, question: Question) -> None:
        """Send the `Finish` that is due once nobody goes a way into the results of a question any more."""
        if question.answer is not None or question.travelled:
            return
        match question.state:
            case QuestionState.RETURNED:
                question.fire(QuestionInput.FINISH)
                self._table.remove(question.id)
                self._outbox.send(Finish(question.id, release_result_caps=False))
            case QuestionState.ASKED if question.keeps_results:
                self.cancel(question)

    def cancel(self, question: Question) -> None:
        """Want no answer any more (`Finish`). Idempotent."""
        question.answer = None
        match question.state:
            case QuestionState.ASKED:
                question.fire(QuestionInput.FINISH)
                self._outbox.send(Finish(question.id, release_result_caps=True))
            case QuestionState.RETURNED:
                question.fire(QuestionInput.FINISH)
                self._table.remove(question.id)
                self._outbox.send(Finish(question.id, release_result_caps=False))

    def drain(self) -> list[Question]:
        """Take every question out."""
        self._reserved = 0
        return self._table.drain()

    def disconnect(self, questions: list[Question], error: CapenvError) -> None:
        """Take notice that nobody answers the questions any more."""
        for question in questions:
            question.fire(QuestionInput.DISCONNECT)
            answer, question.answer = question.answer, None
            if answer is not None:
                lost = Disconnected(str(error))
                self._turn.post(answer.connection.settle, answer, lost)

    def _asked(self, question_id: int) -> Question:
        question = self._table.get(question_id)
        match question.state:
            case QuestionState.RETURNED:
                raise ProtocolError("the peer answered a question twice")
            case QuestionState.RESERVED:
                raise ProtocolError("the peer answered a question that was not asked")
            case _:
                return question

    def _check_room(self) -> None:
        if len(self._table) >= self._connection.limits.questions:
            raise Overloaded("too many calls await their answers; await some first")

    def _add(self, answer: Answer | None) -> Question:
        question = Question(self._connection, self._drops, answer)
        question.id = self._table.add(question)
        return question

    def _take_back(self, question: Question, *, released: bool) -> None:
        exports, question.exports = question.exports, []
        if released:
            self._references.release(exports)

    def _returned(self, question: Question, *, no_finish_needed: bool) -> None:
        if no_finish_needed or question.state is QuestionState.CANCELED:
            question.fire(QuestionInput.RETURN_NO_FINISH_NEEDED)
            self._table.remove(question.id)
        else:
            question.fire(QuestionInput.RETURN)

    def __len__(self) -> int:
        return len(self._table) - self._reserved
