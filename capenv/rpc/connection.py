"""One connection between two vats: messages in, events out, messages out.

It knows no clock, no socket and no user code. A driver feeds it the messages that arrive, takes the
events, carries them out by the verbs below, and sends what `data_to_send` returns, in that order.
Nothing here waits, and nothing a peer sends raises: a broken rule ends the connection with a
`Closed` event and an `Abort` to the peer.

The rules are those of `rpc.capnp`; each place names the message and field that asks for it.
"""

import logging
from collections.abc import Callable, Sequence
from typing import assert_never

from capenv.errors import (
    CapenvError,
    Disconnected,
    Overloaded,
    ProtocolError,
    RemoteError,
    Unimplemented,
    from_wire,
    to_wire,
)
from capenv.link import Buffer
from capenv.rpc import messages as wire
from capenv.rpc.answer import GONE, Answer
from capenv.rpc.answers import Answers, wire_exception
from capenv.rpc.capability import (
    Broken,
    Capability,
    Content,
    Promise,
    Route,
)
from capenv.rpc.decoding import decode
from capenv.rpc.drops import DroppedImport, DroppedPath, Drops
from capenv.rpc.embargoes import Embargoes
from capenv.rpc.encoding import echo
from capenv.rpc.events import CallReceived, Closed, Event, Released
from capenv.rpc.exports import Export
from capenv.rpc.limits import Limits
from capenv.rpc.messages import ImportedTarget, Message, MessageTarget, PromisedAnswer
from capenv.rpc.outbox import Outbox
from capenv.rpc.pointers import Segments
from capenv.rpc.question import Question
from capenv.rpc.questions import Questions
from capenv.rpc.references import References, points_back
from capenv.rpc.repeats import Repeat, Repeats
from capenv.rpc.tables import RemoteTable
from capenv.rpc.turn import FOREIGN, Call, Turn

_log = logging.getLogger("capenv.rpc")


class Connection:
    """The state of one connection."""

    def __init__(
        self,
        bootstrap: Capability | None = None,
        limits: Limits | None = None,
        turn: Turn | None = None,
    ) -> None:
        """Begin.

        Args:
            bootstrap: what the peer gets first; None offers nothing.
            limits: bounds on what the peer may make this side hold.
            turn: of the vat. Capabilities may pass between connections that share one.
        """
        self.limits = limits or Limits()
        self.turn = turn or Turn()
        self.closed: CapenvError | None = None
        """Why the connection ended, once it has."""
        self.handle: Callable[[Event], None] = _ignore
        """The driver's: carries out an event, when `Turn.carry_out` comes to it."""
        self.wake: Callable[[], None] = _sleep
        """The driver's: called when there is something to send."""
        self.drops: Drops = Drops()
        """References to the peer's objects that were dropped, and are to be given back."""
        self._bootstrap = bootstrap
        self._overloaded = False
        self._outbox = Outbox(self, self.turn)
        self._forced = 0
        """Bytes that messages of the peer made us send, though too much waited to be sent already."""
        self._embargoes = Embargoes(self.turn)
        self._answer_table: RemoteTable[Answer] = RemoteTable("questions")
        self.references = References(
            self, self._answer_table, self.drops, self.turn, self._release_servant, self._resolved
        )
        self._answers = Answers(
            self,
            self._answer_table,
            self.references,
            self._outbox,
            self.turn,
            lambda question, outcome: self._questions.conclude(question, outcome),
        )
        self._questions = Questions(
            self, self.references, self._answers, self._outbox, self.drops, self.turn
        )
        self.repeats = Repeats(self.references.exports, self._answer_table)
        """Calls of the peer's that are known to come again."""

    # What the driver asks.

    def receive(self, segments: Segments) -> None:
        """Take one message that arrived. Its memory is the connection's from now on."""
        if self.closed is not None:
            return
        waiting = self._outbox.bytes
        try:
            self._dispatch(decode(segments, self.limits), segments)
        except ProtocolError as error:
            self.abort(error)
        self.turn.run()
        # What answers a message by itself no driver can put off.
        self._forced += self._outbox.bytes - waiting if waiting > self.limits.queued_bytes else 0
        if self._forced > self.limits.queued_bytes:
            self.abort(ProtocolError("the peer asks on and on and does not read the answers"))

    def next_event(self) -> Event | None:
        """Take the next event, or None. For the only connection of a vat; of others `turn` has the events."""
        told = self.turn.next_event()
        return None if told is None else told[1]

    def data_to_send(self) -> list[Buffer]:
        """Take the buffers that are to be sent, in order."""
        if self.drops:
            self._take_drops()
        self._forced = 0
        return self._outbox.take()

    def keep_data_to_send(self) -> None:
        """Copy what is to be sent, where it is memory that may change."""
        self._outbox.keep()

    @property
    def has_data_to_send(self) -> bool:
        """Whether `data_to_send` would return anything."""
        return bool(self._outbox) or bool(self.drops)

    @property
    def quiet(self) -> bool:
        """Whether the connection stands, and nothing is to be done or sent."""
        return self.closed is None and not (
            self._outbox.bytes or self.drops.notes or self.turn.events
        )

    @property
    def bytes_to_send(self) -> int:
        """How much `data_to_send` would return: what a peer that does not read makes us hold."""
        return self._outbox.bytes

    @property
    def clogged(self) -> bool:
        """Whether more waits to be sent than should (`Limits.queued_bytes`)."""
        return self._outbox.bytes > self.limits.queued_bytes

    @property
    def idle(self) -> bool:
        """Whether every table is empty: no call in flight, no reference held by either side."""
        return not (
            len(self._questions)
            or len(self._answer_table)
            or len(self.references.exports)
            or len(self.references.imports)
            or len(self._embargoes)
        )

    # What the driver does.

    def bootstrap(self) -> Answer:
        """Ask for the peer's first capability, which will be the root of the results (`Bootstrap`)."""
        answer = Answer(self)
        if self.closed is not None:
            self.settle(answer, Disconnected(str(self.closed)))
        else:
            self._questions.bootstrap(answer)
        self.turn.run()
        return answer

    def call(
        self,
        target: Capability,
        interface_id: int,
        method_id: int,
        content: Content,
        *,
        no_promise_pipelining: bool = False,
    ) -> Answer:
        """Call a method. A call that cannot even be sent is answered at once, by its failure.

        `no_promise_pipelining` says that nothing will be called on its results (`Call.noPromisePipelining`).
        """
        if not isinstance(target, Capability):
            raise TypeError(f"{type(target).__name__} is no capability to call")
        answer = Answer(self)
        call = Call(answer, interface_id, method_id, content, no_promise_pipelining)
        self.turn.post(self.turn.deliver, target, call)
        self.turn.run()
        return answer

    def reserve(self) -> Question | None:
        """Set a question apart for a call that is made again and again; None where there is no room."""
        try:
            return None if self.closed is not None else self._questions.reserve()
        except Overloaded:
            return None

    def begin(self, question: Question) -> Answer:
        """Take a call as made in a question that was set apart, and return what it will be answered."""
        answer = Answer(self)
        if self.closed is not None:
            self.settle(answer, Disconnected(str(self.closed)))
        else:
            self._questions.begin(question, answer)
        self.turn.run()
        return answer

    def received_repeat(self, repeat: Repeat) -> CallReceived:
        """Take a repeated call of the peer's as an ordinary one, to be answered like one."""
        answer = self._answers.begin(repeat.answer_id)
        return CallReceived(
            answer, repeat.servant, repeat.interface_id, repeat.method_id, Content(())
        )

    def post(self, buffers: Sequence[Buffer]) -> None:
        """Have a whole message sent."""
        self._outbox.append(buffers)

    def cancel(self, answer: Answer) -> None:
        """Want no outcome of a call of our own (`Finish`). What was pipelined on it is broken. Idempotent."""
        if answer.outcome is None:
            self._answers.cancel(answer)
            self.turn.run()

    def respond(self, answer: Answer, content: Content) -> None:
        """Answer a call with its results (`Return.results`)."""
        self.turn.post(answer.connection.settle, answer, content)
        self.turn.run()

    def fail(self, answer: Answer, error: BaseException) -> None:
        """Answer a call with an exception (`Return.exception`)."""
        told = error if isinstance(error, CapenvError) else from_wire(*to_wire(error))
        self.turn.post(answer.connection.settle, answer, told)
        self.turn.run()

    def tail_call(
        self,
        answer: Answer,
        target: Capability,
        interface_id: int,
        method_id: int,
        content: Content,
    ) -> None:
        """Answer a call with whatever another call will be answered (`Return.takeFromOtherQuestion`)."""
        call = Call(answer, interface_id, method_id, content)
        self.turn.post(self.turn.deliver, target, call)
        self.turn.run()

    def resolve(self, promise: Promise, target: Capability | CapenvError) -> None:
        """Say what a promise of this vat is, or why it came to nothing (`Resolve`).

        Raises:
            ValueError: it was resolved before, or is the peer's to resolve.
        """
        self.turn.keep(promise, target)

    def abort(self, error: CapenvError) -> None:
        """End the connection and tell the peer why (`Abort`)."""
        if self.closed is None:
            self._outbox.send(wire.Abort(wire_exception(error)))
            self.disconnect(error)

    def disconnect(self, error: CapenvError) -> None:
        """Take the link as lost: empty every table first, then tell of each thing lost."""
        if self.closed is not None:
            return
        self.closed = error
        questions, answers = self._questions.drain(), self._answer_table.drain()
        promises, let_go = self.references.drain()
        promises += self._embargoes.drain()
        self.drops.clear()
        self._questions.disconnect(questions, error)
        self._answers.disconnect(answers, error)
        for promise in promises:
            self.turn.post(self.turn.resolve, promise, Broken(Disconnected(str(error))))
        self.turn.post(let_go)
        self.turn.post(self._tell, Closed(error))
        self.turn.run()

    # What the other connections of the vat ask, and this one of itself: see `turn.Peer`.

    def start(self, servant: object, call: Call) -> None:
        """Have a call that was made over this connection carried out by an object of this vat."""
        if self.closed is not None:
            self.settle(call.answer, Disconnected(str(self.closed)))
            return
        self._tell(
            CallReceived(call.answer, servant, call.interface_id, call.method_id, call.content)
        )

    def send(self, route: Route, call: Call) -> None:
        """Send a call to the peer, or settle its answer with the reason why it cannot be sent."""
        answer = call.answer
        if self.closed is not None:
            answer.connection.settle(answer, Disconnected(str(self.closed)))
        elif self.turn is not answer.connection.turn:
            answer.connection.settle(answer, Unimplemented(FOREIGN))
        elif answer.id is not None and answer.connection.clogged:
            error = Overloaded("the caller does not read its answers as fast as it asks")
            answer.connection.settle(answer, answer.connection.refused(error))
        else:
            self._questions.send(route, call)

    def refused(self, error: Overloaded) -> Overloaded:
        """Take notice that the peer passed a bound, and return why a call of its fails."""
        if not self._overloaded:
            _log.warning("a peer passed a bound, and so may others of its calls: %s", error)
        self._overloaded = True
        return error

    def settle(self, answer: Answer, outcome: Content | CapenvError) -> None:
        """Give an outcome to the answer of a call that was made over this connection."""
        self._answers.settle(answer, outcome)

    def abandon(self, question: Question) -> None:
        """Want no answer of a question that went over this connection any more."""
        if self.closed is None:
            self._questions.cancel(question)

    def embargo(self, promise: Promise, target: Capability) -> None:
        """Have calls on a promise wait until those that went over this connection have come back."""
        route = promise.route
        try:
            assert route is not None
            named = self.references.route(route)
        except RemoteError:  # the peer has forgotten the results that the way led through
            self.turn.resolve(promise, target)
            return
        context = wire.SenderLoopback(self._embargoes.begin(promise, target))
        self._outbox.send(wire.Disembargo(named, context))

    # Messages that arrive.

    def _dispatch(self, message: Message, segments: Segments) -> None:
        match message:
            case wire.Call():
                self._receive_call(message)
            case wire.Return():
                self._questions.receive_return(message)
            case wire.Finish():
                self._answers.receive_finish(message)
            case wire.Release(id=export_id, reference_count=count):
                self.references.release([export_id], count)
            case wire.Bootstrap(question_id=question_id):
                answer = self._answers.begin(question_id)
                if self._bootstrap is None:
                    self.fail(answer, RemoteError("this vat offers nothing to connect to"))
                else:
                    self.respond(answer, Content.of(self._bootstrap))
            case wire.Resolve():
                self._receive_resolve(message)
            case wire.Disembargo():
                self._receive_disembargo(message)
            case wire.Abort(exception=exception):
                self.disconnect(from_wire(exception.kind, exception.reason))
            case wire.Unimplemented(message=inner):
                self._receive_unimplemented(inner)
            case wire.Unknown():
                self._outbox.post(echo(segments))
            case _:
                assert_never(message)

    def _receive_call(self, call: wire.Call) -> None:
        target = self._target(call.target)
        content = self.references.receive(call.params)
        answer = self._answers.begin(
            call.question_id,
            keeps_results=call.results_to_yourself,
            only_pipelined=call.only_promise_pipeline,
        )
        error = self._answers.admit(answer, sum(map(len, content.segments)))
        if error is not None:
            target, content = Broken(self.refused(error)), Content(())
        received = Call(answer, call.interface_id, call.method_id, content)
        self.turn.post(self.turn.deliver, target, received)

    def _target(self, target: MessageTarget) -> Capability:
        match target:
            case ImportedTarget(id=export_id):
                return self.references.exports.get(export_id).target
            case PromisedAnswer(question_id=question_id, transform=transform):
                answer = self._answers.find(question_id)
                if answer is None:
                    # C++ 1.4 and Rust answer with an exception rather than end the connection.
                    return Broken(RemoteError(GONE))
                return answer.target(transform)
            case _:
                assert_never(target)

    def _receive_resolve(self, resolve: wire.Resolve) -> None:
        # The descriptor first: of a promise that we let go, what it is must be let go all the same.
        shortens = False
        target: Capability | None
        match resolve.resolution:
            case wire.WireException(kind=kind, reason=reason):
                target = Broken(from_wire(kind, reason))
            case descriptor:
                target = self.references.capability(descriptor)
                shortens = points_back(descriptor)
        if target is None:
            raise ProtocolError("the peer resolved a promise to nothing")
        promise = self.references.imports.resolve(resolve.promise_id)
        if promise is not None:
            self.turn.fulfil(promise, target, shortens=shortens)

    def _receive_disembargo(self, message: wire.Disembargo) -> None:
        match message.context:
            case wire.ReceiverLoopback(embargo_id=embargo_id):
                self._embargoes.lift(embargo_id)
            case wire.SenderLoopback(embargo_id=embargo_id):
                # Everything called on the target before has been sent on its way back already.
                target = self._target(message.target)
                if not isinstance(target, Route) or target.connection is not self:
                    raise ProtocolError("a Disembargo of what does not lead back to its sender")
                back = wire.ReceiverLoopback(embargo_id)
                self._outbox.send(wire.Disembargo(self.references.name(target), back))
            case _:
                assert_never(message.context)

    def _receive_unimplemented(self, message: Message | None) -> None:
        match message:
            case wire.Call(question_id=question_id) | wire.Bootstrap(question_id=question_id):
                error = Unimplemented("the peer cannot do such a call")
                self._questions.receive_unimplemented(question_id, error)
            case wire.Resolve(resolution=resolution):
                # As if it had let go of what the promise was resolved to at once.
                if isinstance(resolution, wire.SenderHosted):
                    self.references.release([resolution.id])
            case wire.Disembargo(context=wire.SenderLoopback(embargo_id=embargo_id)):
                error = Unimplemented("the peer does not say when calls may overtake others")
                self._embargoes.fail(embargo_id, error)
            case _:
                raise ProtocolError("the peer does not understand a message that every peer must")

    # What follows from elsewhere.

    def _resolved(self, export: Export) -> None:
        """Send the one `Resolve` that is due for a promise."""
        if self.closed is not None:
            return
        target = export.target
        if isinstance(target, Broken):
            self._outbox.send(wire.Resolve(export.id, wire_exception(target.error)))
            return
        try:
            descriptor, described = self.references.describe_one(target)
        except CapenvError as error:
            export.target = Broken(error)
            self._outbox.send(wire.Resolve(export.id, wire_exception(error)))
            return
        self._outbox.send(wire.Resolve(export.id, descriptor))
        self.references.tell_broken(described)

    def _take_drops(self) -> None:
        for dropped in self.drops.take():
            match dropped:
                case DroppedPath(question=question, transform=transform):
                    question.forget(transform)
                    if self.closed is None:
                        self._questions.finish_unused(question)
                case DroppedImport(id=import_id, generation=generation):
                    count = self.references.imports.release(import_id, generation)
                    if count:
                        self._outbox.send(wire.Release(import_id, count))
                case _:
                    assert_never(dropped)
        self.turn.run()

    def _release_servant(self, servant: object) -> None:
        self._tell(Released(servant))

    def _tell(self, event: Event) -> None:
        self.turn.tell(self, event)


def _ignore(event: Event) -> None:
    """Stand in for a driver that takes the events itself."""


def _sleep() -> None:
    """Stand in for a driver that asks for itself whether there is something to send."""
