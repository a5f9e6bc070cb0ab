"""One connection between two vats: messages in, events out, messages out.

It knows no clock, no socket and no user code. A driver feeds it the messages that arrive, takes the
events, carries them out by the verbs below, and sends what `data_to_send` returns, in that order.
Nothing here waits, and nothing a peer sends raises: a broken rule ends the connection with a
`Closed` event and an `Abort` to the peer.

The rules are those of `rpc.capnp`; each place names the message and field that asks for it.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, assert_never

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
from capenv.rpc.builder import capability_pointer
from capenv.rpc.capability import Broken, Capability, Content, Hosted, Imported, Pipelined
from capenv.rpc.decoding import decode
from capenv.rpc.encoding import echo, encode
from capenv.rpc.events import CallCanceled, CallReceived, Closed, Event, Released, Returned
from capenv.rpc.exports import Exports
from capenv.rpc.framing import frame
from capenv.rpc.imports import Imports
from capenv.rpc.limits import Limits
from capenv.rpc.messages import (
    Abort,
    Bootstrap,
    Call,
    Canceled,
    Descriptor,
    Disembargo,
    Finish,
    ImportedTarget,
    Message,
    MessageTarget,
    NoCapability,
    Payload,
    PromisedAnswer,
    ReceiverAnswer,
    ReceiverHosted,
    Release,
    Resolve,
    Results,
    ResultsSentElsewhere,
    Return,
    SenderHosted,
    TakeFromOtherQuestion,
    Unimplemented,
    Unknown,
    UnknownDescriptor,
    WireException,
)
from capenv.rpc.pointers import Segments
from capenv.rpc.questions import Question, QuestionInput, QuestionState, resolve_pipelined
from capenv.rpc.tables import LocalTable, RemoteTable

_ENVELOPE_BYTES: Final = 1 << 16
"""What a message may need beside the content that it carries: its header and its capability table."""


class Connection:
    """The state of one connection."""

    def __init__(self, bootstrap: Hosted | None = None, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.closed: CapenvError | None = None
        """Why the connection ended, once it has."""
        self.imports = Imports()
        self._bootstrap = bootstrap
        self._questions: LocalTable[Question] = LocalTable("questions")
        self._answers: RemoteTable[Answer] = RemoteTable("questions")
        self._exports = Exports(self.limits.exports)
        self._events: deque[Event] = deque()
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
            len(self._questions) or len(self._answers) or len(self._exports) or len(self.imports)
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
        target = _innermost(target)
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
            route = self._route(target)
            payload, question.exports = self._describe(content)
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
        servants = self._exports.drain()
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
                self._release_export(export_id, count)
            case Bootstrap(question_id=question_id):
                self._receive_bootstrap(question_id)
            case Resolve(resolution=resolution):
                # Calls go on through the promise, whose host passes them on: no reference is due.
                if not isinstance(resolution, WireException):
                    self._receive_capability(resolution)
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
        self.respond(answer, capability_content(self._bootstrap))

    def _receive_call(self, call: Call) -> None:
        if call.results_to_yourself:
            raise ProtocolError(
                "results kept for the caller's own question are not spoken here yet"
            )
        match call.target:
            case ImportedTarget(id=export_id):
                target: Capability = self._exports.get(export_id)
            case PromisedAnswer() as promised:
                known = self._answers.find(promised.question_id)
                if known is None or known.state is AnswerState.FINISHED:
                    # C++ 1.4 and Rust answer with an exception rather than end the connection.
                    target = Broken(RemoteError("a call on the results of a call that has ended"))
                elif known.state is AnswerState.RUNNING:
                    self._queue(known, promised.transform, call)
                    return
                else:
                    target = _at(known, promised.transform)
            case _:
                assert_never(call.target)
        content = self._receive_payload(call.params)
        answer = self._begin(call.question_id)
        self._deliver(answer, target, call.interface_id, call.method_id, content)

    def _queue(self, known: Answer, transform: tuple[int, ...], call: Call) -> None:
        content = self._receive_payload(call.params)
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
        target = _innermost(target)
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
            self._release_exports(question.exports)
        if question.state is QuestionState.CANCELED:
            # Finish.releaseResultCaps gave back whatever the results hold: nothing is imported.
            question.fire(QuestionInput.RETURN)
            self._questions.remove(question.id)
            return
        outcome: Content | CapenvError
        match message.outcome:
            case Results(payload=payload):
                outcome = self._receive_payload(payload)
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
                self._release_exports(answer.exports)
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
                self._release_exports(question.exports)  # the peer took nothing out of the message
                canceled = question.state is QuestionState.CANCELED
                question.fire(QuestionInput.RETURN)
                self._questions.remove(question_id)
                if not canceled:
                    error = UnimplementedError("the peer cannot do such a call")
                    self._settle(question, error)
                    self._tell(question, error)
            case _:
                raise ProtocolError("the peer does not understand a message that every peer must")

    def _release_export(self, export_id: int, count: int) -> None:
        servant = self._exports.release(export_id, count)
        if servant is not None:
            self._events.append(Released(servant))

    def _release_exports(self, export_ids: Sequence[int]) -> None:
        for export_id in export_ids:
            self._release_export(export_id, 1)

    # Capabilities across the wire.

    def _receive_payload(self, payload: Payload) -> Content:
        if not payload.table:
            return Content(payload.segments)
        return Content(payload.segments, [self._receive_capability(d) for d in payload.table])

    def _receive_capability(self, descriptor: Descriptor) -> Capability | None:
        match descriptor:
            case NoCapability():
                return None
            case SenderHosted(id=import_id):
                return self.imports.add(import_id)
            case ReceiverHosted(id=export_id):
                return self._exports.find(export_id) or _unknown_reference()
            case ReceiverAnswer(answer=promised):
                answer = self._answers.find(promised.question_id)
                if answer is None or answer.state is not AnswerState.RETURNED:
                    return _unknown_reference()
                return _at(answer, promised.transform)
            case UnknownDescriptor():
                return Broken(UnimplementedError("a capability of a kind unknown here"))
            case _:
                assert_never(descriptor)

    def _describe(self, content: Content) -> tuple[Payload, list[int]]:
        """Return the payload, with its capability table as of now, and the exports it counts.

        Raises:
            CapenvError: one of the capabilities is broken, or belongs to another connection.
            Overloaded: a peer with our limits would take it for an attack and hang up.
        """
        size = sum(map(len, content.segments))
        if size > self.limits.message_bytes - _ENVELOPE_BYTES:
            self._discard(content)
            raise Overloaded(
                f"a message of {size:,} bytes is more than the {self.limits.message_bytes:,} that a peer"
                " takes; send less at once"
            )
        if not content.capabilities:
            return Payload(content.segments), []
        exports: list[int] = []
        table: list[Descriptor] = []
        try:
            for capability in content.capabilities:
                table.append(self._descriptor(capability, exports))
        except CapenvError:
            for export_id in exports:
                self._exports.release(export_id, 1)
            self._discard(content)
            raise
        return Payload(content.segments, table), exports

    def _descriptor(self, capability: Capability | None, exports: list[int]) -> Descriptor:
        match None if capability is None else _innermost(capability):
            case None:
                return NoCapability()
            case Hosted() as hosted:
                exports.append(self._exports.add(hosted))
                return SenderHosted(exports[-1])
            case Broken(error=error):
                raise error
            case peers:
                route = self._route(peers)
                if isinstance(route, ImportedTarget):
                    return ReceiverHosted(route.id)
                return ReceiverAnswer(route)

    def _route(self, capability: Capability) -> MessageTarget:
        """Return the name by which the peer knows an object of its own, or of results it owes us.

        Raises:
            Unimplemented: it is another peer's, who alone knows what its ids mean.
        """
        match capability:
            case Imported(id=import_id) if self.imports.find(import_id) is capability:
                return ImportedTarget(import_id)
            case Pipelined(question=asked) if self._questions.find(asked.id) is asked:
                return PromisedAnswer(asked.id, capability.transform)
            case _:
                raise UnimplementedError(
                    "a capability of another connection cannot be used on this"
                )

    def _discard(self, outcome: Content | CapenvError) -> None:
        """Tell of the objects in content that will not be sent, if the peer has no reference to them."""
        if isinstance(outcome, Content):
            for capability in outcome.capabilities:
                if isinstance(capability, Hosted) and not self._exports.holds(capability):
                    self._events.append(Released(capability.servant))

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
                self._discard(outcome)
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
            target = _at(answer, call.transform)
            self._deliver(call.answer, target, call.interface_id, call.method_id, call.content)
        if not wanted:
            self._discard(outcome)

    def _send_return(self, answer: Answer, outcome: Content | CapenvError) -> Content | CapenvError:
        if isinstance(outcome, Content):
            try:
                payload, answer.exports = self._describe(outcome)
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


def capability_content(capability: Capability) -> Content:
    """Return content whose root is a bare capability, as a Bootstrap's results are."""
    return Content([bytearray(capability_pointer(0).to_bytes(8, "little"))], [capability])


def _innermost(capability: Capability) -> Capability:
    while isinstance(capability, Pipelined) and capability.resolution is not None:
        capability = capability.resolution
    return capability


def _at(answer: Answer, transform: Sequence[int]) -> Capability:
    """Return the capability at a path in an answer's results, as they were when it was returned."""
    match answer.outcome:
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


def _unknown_reference() -> Broken:
    return Broken(RemoteError("a reference to something that is not there (any more)"))


def _wire_exception(error: CapenvError) -> WireException:
    kind, reason = to_wire(error)
    return WireException(Kind(kind), reason)
