"""One connection between two vats: messages in, events out, messages out.

It knows no clock, no socket and no user code. A driver feeds it the messages that arrive, takes the
events, carries them out by the verbs below, and sends what `data_to_send` returns, in that order.
Nothing here waits, and nothing a peer sends raises: a broken rule ends the connection with a
`Closed` event and an `Abort` to the peer.

The rules are those of `rpc.capnp`; each place names the message and field that asks for it.
"""

from collections import deque
from collections.abc import Sequence
from typing import assert_never

from capenv.errors import (
    CapenvError,
    Disconnected,
    Kind,
    Overloaded,
    ProtocolError,
    RemoteError,
    from_wire,
    to_wire,
)
from capenv.errors import Unimplemented as UnimplementedError
from capenv.link import Buffer
from capenv.rpc.answers import Answer, AnswerInput, AnswerState, QueuedCall
from capenv.rpc.capability import (
    Broken,
    Capability,
    Content,
    Hosted,
    Imported,
    Pipelined,
    innermost,
)
from capenv.rpc.decoding import decode
from capenv.rpc.encoding import echo, encode
from capenv.rpc.events import CallCanceled, CallReceived, Closed, Event, Released, Returned
from capenv.rpc.framing import frame
from capenv.rpc.limits import Limits
from capenv.rpc.messages import (
    Abort,
    Bootstrap,
    Call,
    Canceled,
    Disembargo,
    Finish,
    ImportedTarget,
    Message,
    PromisedAnswer,
    Release,
    Resolve,
    Results,
    ResultsSentElsewhere,
    Return,
    TakeFromOtherQuestion,
    Unimplemented,
    Unknown,
    WireException,
)
from capenv.rpc.pointers import Segments
from capenv.rpc.questions import Question, QuestionInput, QuestionState, resolve_pipelined
from capenv.rpc.references import References
from capenv.rpc.tables import LocalTable, RemoteTable


class Connection:
    """The state of one connection."""

    def __init__(self, bootstrap: Hosted | None = None, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.closed: CapenvError | None = None
        """Why the connection ended, once it has."""
        self._bootstrap = bootstrap
        self._questions: LocalTable[Question] = LocalTable("questions")
        self._answers: RemoteTable[Answer] = RemoteTable("questions")
        self._events: deque[Event] = deque()
        self._references = References(
            self._questions,
            self._answers,
            self.limits,
            lambda servant: self._events.append(Released(servant)),
        )
        self.imports = self._references.imports
        self._outbox: list[Buffer] = []
        self.bytes_to_send = 0
        """How much `data_to_send` would return: what a peer that does not read makes us hold."""

    # What the driver asks.

    def receive(self, segments: Segments) -> None:
        """Take one message that arrived. Its memory is the connection's from now on."""
        if self.closed is not None:
            return
        try:
            self._dispatch(decode(segments, self.limits), segments)
        except ProtocolError as error:
            self.abort(error)

    def next_event(self) -> Event | None:
        """Take the next event, or None."""
        return self._events.popleft() if self._events else None

    def data_to_send(self) -> list[Buffer]:
        """Take the buffers that are to be sent, in order."""
        if self.imports.pending:
            for import_id, count in self.imports.releases():
                self._send(Release(import_id, count))
        data, self._outbox, self.bytes_to_send = self._outbox, [], 0
        return data

    @property
    def has_data_to_send(self) -> bool:
        """Whether `data_to_send` would return anything."""
        return bool(self._outbox) or self.imports.pending

    @property
    def idle(self) -> bool:
        """Whether every table is empty: no call in flight, no reference held by either side."""
        return not (
            len(self._questions)
            or len(self._answers)
            or len(self._references.exports)
            or len(self.imports)
        )

    # What the driver does.

    def bootstrap(self) -> Question:
        """Ask for the peer's first capability, which will be the root of the results (`Bootstrap`)."""
        if self.closed is not None:
            return self._answered(Question(), Disconnected(str(self.closed)))
        question = Question()
        question.id = self._questions.add(question)
        self._send(Bootstrap(question.id))
        return question

    def call(
        self, target: Capability, interface_id: int, method_id: int, content: Content
    ) -> Question:
        """Call a method. A call that cannot even be sent is answered at once, by its failure."""
        question = Question()
        target = innermost(target)
        match target:
            case Broken(error=error):
                return self._answered(question, error)
            case Hosted(servant=servant):
                question.local = Answer(-1, local=question)
                self._events.append(
                    CallReceived(question.local, servant, interface_id, method_id, content)
                )
                return question
            case Pipelined(question=Question(local=Answer() as local), transform=transform):
                question.local = Answer(-1, local=question)
                local.queue.append(
                    QueuedCall(question.local, transform, interface_id, method_id, content)
                )
                return question
            case Imported() | Pipelined():
                pass
            case _:
                raise TypeError(f"{type(target).__name__} is no capability to call")
        if self.closed is not None:
            return self._answered(question, Disconnected(str(self.closed)))
        try:
            route = self._references.route(target)
            payload, question.exports = self._references.describe(content)
            question.id = self._questions.add(question)
        except CapenvError as error:
            return self._answered(question, error)
        self._send(Call(question.id, route, interface_id, method_id, payload))
        return question

    def cancel(self, question: Question) -> None:
        """Want no answer any more (`Finish`). What was pipelined on it is broken. Idempotent."""
        if question.outcome is not None:
            return
        question.fire(QuestionInput.FINISH)
        local = question.local
        self._settle(question, RemoteError("the call was canceled"))
        self._events.append(Returned(question))
        if local is not None:
            self._stop(local)
        else:
            self._send(Finish(question.id, release_result_caps=True))

    def respond(self, answer: Answer, content: Content) -> None:
        """Answer a call with its results (`Return.results`)."""
        self._return(answer, content)

    def fail(self, answer: Answer, error: BaseException) -> None:
        """Answer a call with an exception (`Return.exception`)."""
        self._return(
            answer, error if isinstance(error, CapenvError) else from_wire(*to_wire(error))
        )

    def abort(self, error: CapenvError) -> None:
        """End the connection and tell the peer why (`Abort`)."""
        if self.closed is None:
            self._send(Abort(_wire_exception(error)))
            self.disconnect(error)

    def disconnect(self, error: CapenvError) -> None:
        """Take the link as lost: empty every table first, then tell of each thing lost."""
        if self.closed is not None:
            return
        self.closed = error
        questions, answers = self._questions.drain(), self._answers.drain()
        servants = self._references.exports.drain()
        self.imports.drain()
        for question in questions:
            canceled = question.state is QuestionState.CANCELED
            question.fire(QuestionInput.DISCONNECT)
            question.forwarding = None
            if not canceled:
                self._settle(question, Disconnected(str(error)))
                self._events.append(Returned(question))
        for answer in answers:
            running = answer.state is AnswerState.RUNNING
            answer.fire(AnswerInput.DISCONNECT)
            answer.carrier = None
            if running:
                self._events.append(CallCanceled(answer))
        self._events.extend(Released(servant) for servant in servants)
        self._events.append(Closed(error))

    # Messages that arrive.

    def _dispatch(self, message: Message, segments: Segments) -> None:
        match message:
            case Call():
                self._receive_call(message)
            case Return():
                self._receive_return(message)
            case Finish():
                self._receive_finish(message)
            case Release(id=export_id, reference_count=count):
                self._references.release([export_id], count)
            case Bootstrap(question_id=question_id):
                self._receive_bootstrap(question_id)
            case Resolve(resolution=resolution):
                # Calls go on through the promise, whose host passes them on: no reference is due.
                if not isinstance(resolution, WireException):
                    self._references.capability(resolution)
            case Abort(exception=exception):
                self.disconnect(from_wire(exception.kind, exception.reason))
            case Unimplemented(message=inner):
                self._receive_unimplemented(inner)
            case Disembargo() | Unknown():
                self._post(echo(segments))
            case _:
                assert_never(message)

    def _receive_bootstrap(self, question_id: int) -> None:
        answer = self._begin(question_id)
        if self._bootstrap is None:
            self.fail(answer, RemoteError("this vat offers nothing to connect to"))
            return
        self.respond(answer, Content.of(self._bootstrap))

    def _receive_call(self, call: Call) -> None:
        if call.results_to_yourself:
            raise ProtocolError(
                "results kept for the caller's own question are not spoken here yet"
            )
        match call.target:
            case ImportedTarget(id=export_id):
                target: Capability = self._references.exports.get(export_id)
            case PromisedAnswer() as promised:
                known = self._answers.find(promised.question_id)
                if known is None or known.state is AnswerState.FINISHED:
                    # C++ 1.4 and Rust answer with an exception rather than end the connection.
                    target = Broken(RemoteError("a call on the results of a call that has ended"))
                elif known.state is AnswerState.RUNNING:
                    self._queue(known, promised.transform, call)
                    return
                else:
                    target = known.capability(promised.transform)
            case _:
                assert_never(call.target)
        content = self._references.receive(call.params)
        answer = self._begin(call.question_id)
        self._deliver(answer, target, call.interface_id, call.method_id, content)

    def _queue(self, known: Answer, transform: tuple[int, ...], call: Call) -> None:
        content = self._references.receive(call.params)
        answer = self._begin(call.question_id)
        if len(known.queue) >= self.limits.pipelined_calls:
            self.fail(answer, Overloaded("too many calls wait for one answer"))
            return
        known.queue.append(
            QueuedCall(answer, transform, call.interface_id, call.method_id, content)
        )

    def _begin(self, question_id: int) -> Answer:
        answer = Answer(question_id)
        self._answers.add(question_id, answer)
        if len(self._answers) > self.limits.answers:
            raise ProtocolError(f"more than {self.limits.answers} calls in flight")
        return answer

    def _deliver(
        self,
        answer: Answer,
        target: Capability,
        interface_id: int,
        method_id: int,
        content: Content,
    ) -> None:
        if answer.state is AnswerState.FINISHED:
            self.fail(answer, RemoteError("the call was canceled"))
            return
        target = innermost(target)
        match target:
            case Hosted(servant=servant):
                self._events.append(CallReceived(answer, servant, interface_id, method_id, content))
            case Broken(error=error):
                self.fail(answer, error)
            case _:
                # The peer's own object, given back to it: the call goes back the way it came.
                carrier = self.call(target, interface_id, method_id, content)
                if carrier.outcome is None:
                    answer.carrier, carrier.forwarding = carrier, answer
                else:
                    self._return(answer, carrier.outcome)

    def _receive_return(self, message: Return) -> None:
        question = self._questions.get(message.answer_id)
        if message.release_param_caps:
            self._references.release(question.exports)
        if question.state is QuestionState.CANCELED:
            # Finish.releaseResultCaps gave back whatever the results hold: nothing is imported.
            question.fire(QuestionInput.RETURN)
            self._questions.remove(question.id)
            return
        outcome: Content | CapenvError
        match message.outcome:
            case Results(payload=payload):
                outcome = self._references.receive(payload)
            case WireException(kind=kind, reason=reason):
                outcome = from_wire(kind, reason)
            case Canceled():
                outcome = RemoteError("the peer canceled a call that we still wanted")
            case ResultsSentElsewhere() | TakeFromOtherQuestion():
                raise ProtocolError("results were sent where we did not ask for them")
            case _:
                assert_never(message.outcome)
        question.fire(QuestionInput.RETURN)
        # What is pipelined resolves first: nothing may name this question after its Finish.
        self._settle(question, outcome)
        self._questions.remove(question.id)
        if not message.no_finish_needed:
            self._send(Finish(question.id, release_result_caps=False))
        self._tell(question, outcome)

    def _receive_finish(self, finish: Finish) -> None:
        answer = self._answers.find(finish.question_id)
        if answer is None:
            return  # we returned with noFinishNeeded, and the peer does not know that flag
        if answer.state is AnswerState.RETURNED:
            if finish.release_result_caps:
                self._references.release(answer.exports)
            answer.fire(AnswerInput.FINISH)
            self._answers.remove(answer.id)
            return
        if answer.state is AnswerState.FINISHED:
            raise ProtocolError("the peer finished a question twice")
        self._stop(answer)

    def _receive_unimplemented(self, message: Message | None) -> None:
        match message:
            case Call(question_id=question_id) | Bootstrap(question_id=question_id):
                question = self._questions.get(question_id)
                self._references.release(
                    question.exports
                )  # the peer took nothing out of the message
                canceled = question.state is QuestionState.CANCELED
                question.fire(QuestionInput.RETURN)
                self._questions.remove(question_id)
                if not canceled:
                    error = UnimplementedError("the peer cannot do such a call")
                    self._settle(question, error)
                    self._tell(question, error)
            case _:
                raise ProtocolError("the peer does not understand a message that every peer must")

    # Ends of calls.

    def _answered(self, question: Question, error: CapenvError) -> Question:
        question.fire(QuestionInput.DISCONNECT)
        self._settle(question, error)
        self._events.append(Returned(question))
        return question

    def _settle(self, question: Question, outcome: Content | CapenvError) -> None:
        question.outcome, question.local = outcome, None
        for pipelined in list((question.pipelined or {}).values()):
            resolve_pipelined(pipelined, outcome)

    def _tell(self, question: Question, outcome: Content | CapenvError) -> None:
        """Pass an outcome on to whom it is for: the peer, if the question carried on a call of its."""
        if question.forwarding is None:
            self._events.append(Returned(question))
        else:
            answer, question.forwarding = question.forwarding, None
            answer.carrier = None
            self._return(answer, outcome)

    def _stop(self, answer: Answer) -> None:
        """Take an answer as wanted no more, and tell whoever works for it."""
        answer.fire(AnswerInput.FINISH)
        if answer.carrier is None:
            self._events.append(CallCanceled(answer))
        else:
            carrier, answer.carrier = answer.carrier, None
            carrier.forwarding = None
            self.cancel(carrier)
            self._return(answer, RemoteError("the call was canceled"))

    def _return(self, answer: Answer, outcome: Content | CapenvError) -> None:
        wanted = answer.state is AnswerState.RUNNING
        match answer.state:
            case AnswerState.DONE:  # the connection has ended
                self._references.discard(outcome)
                return
            case AnswerState.RETURNED:
                raise AssertionError("a call was answered twice")
            case _ if answer.local is not None:
                answer.fire(AnswerInput.RETURN)
                if wanted:
                    answer.local.fire(QuestionInput.RETURN)
                    self._settle(answer.local, outcome)
                    self._tell(answer.local, outcome)
            case AnswerState.FINISHED:
                # Results may not follow a Finish: we would have to know its releaseResultCaps.
                answer.fire(AnswerInput.RETURN)
                self._answers.remove(answer.id)
                self._send(Return(answer.id, Canceled()))
            case AnswerState.RUNNING:
                outcome = self._send_return(answer, outcome)
        answer.outcome = outcome
        queue, answer.queue = answer.queue, []
        for call in queue:
            target = answer.capability(call.transform)
            self._deliver(call.answer, target, call.interface_id, call.method_id, call.content)
        if not wanted:
            self._references.discard(outcome)

    def _send_return(self, answer: Answer, outcome: Content | CapenvError) -> Content | CapenvError:
        if isinstance(outcome, Content):
            try:
                payload, answer.exports = self._references.describe(outcome)
            except CapenvError as error:
                return self._send_return(answer, error)
        else:
            answer.fire(AnswerInput.RETURN)
            self._send(Return(answer.id, _wire_exception(outcome)))
            return outcome
        if payload.table:
            answer.fire(AnswerInput.RETURN)
            self._send(Return(answer.id, Results(payload)))
        else:
            # Return.noFinishNeeded: nothing to release and nothing to pipeline on.
            answer.fire(AnswerInput.RETURN_NO_FINISH_NEEDED)
            self._answers.remove(answer.id)
            self._send(Return(answer.id, Results(payload), no_finish_needed=True))
        return outcome

    def _send(self, message: Message) -> None:
        self._post(encode(message))

    def _post(self, segments: Sequence[Buffer]) -> None:
        buffers = frame(segments)
        self._outbox += buffers
        self.bytes_to_send += sum(map(len, buffers))


def _wire_exception(error: CapenvError) -> WireException:
    kind, reason = to_wire(error)
    return WireException(Kind(kind), reason)
