"""Turns of a vat: what follows from a message, a call or an answer, until nothing more follows.

Everything that waits for something else is carried out here, one thing after the other: what follows from
a thing comes right behind it, as if it were called there, so that calls keep their order. But none runs
within another, so that a chain of promises, however long, nests nothing.
"""

from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import attrs

from capenv.errors import CapenvError, Overloaded, RemoteError, Unimplemented
from capenv.rpc.capability import Broken, Capability, Content, Hosted, Promise, Route, innermost

if TYPE_CHECKING:
    from capenv.rpc.answer import Answer
    from capenv.rpc.events import Event
    from capenv.rpc.limits import Limits
    from capenv.rpc.question import Question


Result = TypeVar("Result")


class Peer(Protocol):
    """What a connection is to the other connections of its vat."""

    limits: "Limits"
    turn: "Turn"

    @property
    def clogged(self) -> bool:
        """Whether more waits to be sent than should."""

    def refused(self, error: Overloaded) -> Overloaded:
        """Take notice that the peer passed a bound, and return why a call of its fails."""

    def handle(self, event: "Event") -> None:
        """Have the driver carry out what happened."""

    def wake(self) -> None:
        """Tell the driver that there is something to send."""

    def start(self, servant: object, call: "Call") -> None:
        """Have a call that was made over this connection carried out by an object of this vat."""

    def send(self, route: Route, call: "Call") -> None:
        """Send a call to the peer, or settle its answer with the reason why it cannot be sent."""

    def settle(self, answer: "Answer", outcome: Content | CapenvError) -> None:
        """Give an outcome to the answer of a call that was made over this connection."""

    def abandon(self, question: "Question") -> None:
        """Want no answer of a question that went over this connection any more."""

    def embargo(self, promise: Promise, target: Capability) -> None:
        """Have calls on a promise wait until those that went over this connection have come back."""


@attrs.frozen(eq=False)
class Call:
    """A call on its way to whoever carries it out."""

    answer: "Answer"
    interface_id: int
    method_id: int
    content: Content
    no_promise_pipelining: bool = False


class Turn:
    """The turns of one vat. Its connections share one, and capabilities may pass between them."""

    def __init__(self) -> None:
        self._work: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._posted: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._running = False
        self.events: deque[tuple[Peer, Event]] = deque()
        self._carrying_out = False
        self._stirred: dict[Peer, None] = {}
        self.started: object = None
        """What the drivers keep of the call started last, to start the next behind it."""
        self.holders: Counter[int] = Counter()
        """How many connections have a servant, by its identity, among their exports."""

    def post(self, act: Callable[..., None], *arguments: Any) -> None:
        """Have something done in this turn, behind what the thing now being done posted before."""
        self._posted.append((act, arguments))

    def run(self) -> None:
        """Do all there is to do. Within itself this does nothing: what is to be done will be."""
        if self._running:
            return
        self._running = True
        try:
            while self._posted or self._work:
                while self._posted:
                    self._work.appendleft(self._posted.pop())
                act, arguments = self._work.popleft()
                act(*arguments)
        finally:
            self._running = False

    def tell(self, connection: Peer, event: "Event") -> None:
        """Note what happened on a connection. A vat has one queue, or calls would lose their order."""
        self.events.append((connection, event))

    @property
    def free(self) -> bool:
        """Whether nothing is being carried out or waits to be, so that a call may be answered at once."""
        return not (self._carrying_out or self.events or self.started)

    @property
    def has_events(self) -> bool:
        """Whether there is an event to take."""
        return bool(self.events)

    def next_event(self) -> "tuple[Peer, Event] | None":
        """Take the next event, and the connection that it is of."""
        return self.events.popleft() if self.events else None

    def stir(self, connection: Peer) -> None:
        """Note that a connection has bytes to send."""
        self._stirred[connection] = None

    def carry_out(self, first: Callable[[], None] | None = None) -> None:
        """Have the drivers carry out all that happened, and wake those that have something to send.

        Within itself this does nothing but `first`: a method that calls something itself comes here again,
        and the loop that it was started from goes on, so that no other method starts in its midst.
        """
        if self._carrying_out:
            if first is not None:
                first()
            return
        self._carrying_out = True
        try:
            if first is not None:
                first()
            while (told := self.next_event()) is not None:
                connection, event = told
                connection.handle(event)
        finally:
            self._carrying_out = False
        stirred, self._stirred = list(self._stirred), {}
        for connection in stirred:
            connection.wake()

    def alone(self, act: Callable[..., Result], *arguments: Any) -> Result:
        """Return what `act` does, within which no method starts: whatever should waits for `carry_out`."""
        self._carrying_out = True
        try:
            return act(*arguments)
        finally:
            self._carrying_out = False

    def deliver(self, target: Capability, call: Call) -> None:
        """Bring a call to whoever carries it out, or to where it waits. To be posted."""
        answer = call.answer
        answer.waits_for = None
        if not answer.wanted:
            answer.connection.settle(answer, RemoteError("the call was canceled"))
            return
        target = innermost(target)
        if isinstance(target, Promise):
            if target.route is None:
                self._wait(target, call)
                return
            target = target.route
        match target:
            case Hosted(servant=servant):
                answer.connection.start(servant, call)
            case Route(connection=connection):
                connection.send(target, call)
            case Broken(error=error):
                answer.connection.settle(answer, error)
            case _:
                error = RemoteError(f"{type(target).__name__} is no capability to call")
                answer.connection.settle(answer, error)

    def _wait(self, promise: Promise, call: Call) -> None:
        answer = call.answer
        if not self.owns(promise):
            answer.connection.settle(answer, Unimplemented(FOREIGN))
        elif len(promise.waiting) >= answer.connection.limits.pipelined_calls:
            error = Overloaded("too many calls wait for one promise")
            answer.connection.settle(answer, answer.connection.refused(error))
        else:
            promise.waiting.append(call)
            answer.waits_for = promise

    def withdraw(self, answer: "Answer") -> bool:
        """Take a call away from where it waits, and return whether it did."""
        promise, answer.waits_for = answer.waits_for, None
        if promise is None:
            return False
        left = [call for call in promise.waiting if call.answer is not answer]
        withdrawn = len(left) < len(promise.waiting)
        promise.waiting = left
        return withdrawn

    def owns(self, promise: Promise) -> bool:
        """Return whether a promise is this vat's. One that has not been used becomes so."""
        if promise.turn is None:
            promise.turn = self
        return promise.turn is self

    def resolve(self, promise: Promise, target: Capability) -> None:
        """Say what a promise is. Calls that waited go there, in their order."""
        if promise.resolution is not None:
            return
        target = innermost(target)
        if target is promise:
            target = Broken(RemoteError("a promise that was resolved to itself"))
        promise.resolution, promise.route = target, None
        waiting, promise.waiting = promise.waiting, []
        for call in waiting:
            self.post(self.deliver, target, call)
        promise.tell_watchers()

    def keep(self, promise: Promise, target: Capability | CapenvError) -> None:
        """Say what a promise of a program of this vat is, or why it came to nothing.

        Raises:
            ValueError: it was resolved before, or is the peer's to resolve.
        """
        if promise.resolution is not None or promise.route is not None or not self.owns(promise):
            raise ValueError("the promise was resolved before, or is not of this vat")
        known = target if isinstance(target, Capability) else Broken(target)
        self.post(self.resolve, promise, known)
        self.run()

    def fulfil(self, promise: Promise, target: Capability, *, shortens: bool) -> None:
        """Resolve a promise of results or of a peer's; after an embargo where the new way is shorter.

        `Disembargo` in rpc.capnp says why: calls that went the long way are still under way.
        """
        route = promise.route
        if overtakes(promise, target, shortens=shortens):
            assert route is not None
            route.connection.embargo(promise, target)
            return
        if route is not None and route.called:
            # Those calls may still be under way when what this now is turns out to be nearer by.
            inner = innermost(target)
            way = inner.route if isinstance(inner, Promise) else inner
            if isinstance(way, Route):
                way.called = True
        self.resolve(promise, target)

    def route(self, promise: Promise, route: Route) -> None:
        """Have calls on a promise take a route from now on, first those that waited."""
        promise.route = route
        waiting, promise.waiting = promise.waiting, []
        for call in waiting:
            self.post(self.deliver, route, call)


def overtakes(promise: Promise, target: Capability, *, shortens: bool) -> bool:
    """Return whether calls on what a promise turned out to be could overtake those made on the promise."""
    called = promise.route is not None and promise.route.called
    return shortens and called and not isinstance(target, Broken)


FOREIGN = "a capability of another vat, or of a connection that shares nothing with this one"
"""Why some capabilities cannot be used on a connection."""
