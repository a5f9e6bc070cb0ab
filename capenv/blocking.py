"""The blocking driver: a connection on a plain socket, without an event loop or a thread.

For the agent that calls and waits. Objects of this side answer the peer's calls only while a call of
ours is waited for, and must answer at once.
"""

import logging
import os
import time
from collections import deque
from collections.abc import Coroutine
from weakref import WeakKeyDictionary

import attrs

from capenv.errors import CapenvError, DeadlineExceeded, Disconnected, ProtocolError, Unimplemented
from capenv.interrupts import Interrupts
from capenv.link import BlockingLink, Buffer
from capenv.rpc.answer import Answer
from capenv.rpc.capability import Capability, Content, Hosted
from capenv.rpc.connection import Connection
from capenv.rpc.events import CallReceived, Released, Returned
from capenv.rpc.framing import MessageReader
from capenv.rpc.interface import Method
from capenv.rpc.limits import Limits
from capenv.rpc.servant import Servant, TailCall
from capenv.rpc.streams import Outgoing, Streamed
from capenv.yielding import YieldingLock

_log = logging.getLogger("capenv.blocking")
_FAREWELL_SECONDS = 1.0
SLICE_SECONDS = 0.02


@attrs.frozen
class Statistics:
    """What passed over a connection so far."""

    bytes_sent: int
    bytes_received: int


class BlockingConnection:
    """One connection, which several threads may use: whoever waits lets the others in between.

    A KeyboardInterrupt while waiting leaves the connection whole: what was sent in part is completed
    by the next call, and an answer that comes late goes to the question that it answers. `ask` keeps
    one out of the few instructions in which the tables change, where it would end the connection.
    """

    def __init__(
        self, link: BlockingLink, bootstrap: Servant | None = None, limits: Limits | None = None
    ) -> None:
        self.core = Connection(None if bootstrap is None else Hosted(bootstrap), limits)
        self._link = link
        self._process = os.getpid()
        self._reader = MessageReader(self.core.limits, self._shown)
        self._unsent: deque[Buffer] = deque()
        self._sent: list[int] = []
        self._received: list[int] = []
        self._changing = False
        self._answering = False
        self._interrupts = Interrupts()
        self._change = _Change(self)
        self._lock = YieldingLock()
        self._streams: WeakKeyDictionary[Capability, Outgoing] = WeakKeyDictionary()
        self._flight: object = None
        """A call that is under way outside of the tables."""
        self._bytes_sent = 0
        self._bytes_received = 0

    @property
    def connected(self) -> bool:
        """Whether the connection stands, as far as is known, and no interrupt left it unusable.

        A fork has none: the connection is its parent's.
        """
        return self.core.closed is None and not self._changing and self._process == os.getpid()

    def bootstrap(self) -> Answer:
        """Ask for the peer's first capability."""
        with self._lock, self._change:
            return self.core.bootstrap()

    def call(self, target: Capability, method: Method, content: Content) -> Answer:
        """Make a call, to be sent with the next `wait`."""
        with self._lock, self._change:
            return self.core.call(target, method.interface_id, method.id, content)

    def ask(
        self, target: Capability, method: Method, content: Content, timeout: float | None = None
    ) -> Content:
        """Call a method and return its results.

        An interrupt (Ctrl-C) in the meantime leaves the connection whole, whenever it comes.

        Raises:
            DeadlineExceeded: no answer within `timeout` seconds; the call is canceled.
            CapenvError: the call failed.
        """
        if (
            self._answering
        ):  # a method of ours calls back: the guard is up, and must stay so behind it
            return self.wait(self.call(target, method, content), timeout)
        with self._interrupts:
            return self.wait(self.call(target, method, content), timeout)

    def stream(
        self, target: Capability, method: Method, content: Content, timeout: float | None = None
    ) -> None:
        """Make a streaming call; wait only while more than `Limits.stream_window` bytes are on their way.

        The first failure ends the stream: this and every later one on `target` raises it.

        Raises:
            DeadlineExceeded: the peer took no more within `timeout` seconds; the call is made all the same.
            CapenvError: a call on the stream failed.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._interrupts, self._lock:
            self._carry_out_events()
            stream = self._streams.setdefault(target, Outgoing())
            if stream.error is None:
                size = sum(map(len, content.segments))
                with self._change:
                    answer = self.core.call(
                        target, method.interface_id, method.id, content, no_promise_pipelining=True
                    )
                    stream.sent(size)
                    answer.waiter = Streamed(stream, size)
                self._send(deadline)
                while stream.in_flight > self.core.limits.stream_window and stream.error is None:
                    self._receive(deadline)
                    self._carry_out_events()
                    self._send(deadline)
        if stream.error is not None:
            raise type(stream.error)(*stream.error.args)

    def start(self, target: Capability, method: Method, content: Content) -> Answer:
        """Make a call, and send as much of it as is taken at once."""
        with self._interrupts:
            answer = self.call(target, method, content)
            try:
                self.flush(0.0)
            except CapenvError:
                pass  # a `wait` says so
            return answer

    def cancel(self, answer: Answer) -> None:
        """Want no answer any more."""
        with self._lock, self._change:
            self.core.cancel(answer)

    def wait(self, answer: Answer, timeout: float | None = None) -> Content:
        """Send what is to be sent and return the results of a call.

        Raises:
            DeadlineExceeded: no answer within `timeout` seconds; the call is canceled.
            CapenvError: the call failed.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            try:
                self._carry_out_events()
                while answer.outcome is None:
                    self._send(deadline)
                    if answer.outcome is None:
                        self._receive(deadline)
                    self._carry_out_events()
            except BaseException:
                if not self._changing:
                    self.cancel(answer)
                raise
            outcome = answer.outcome
        if isinstance(outcome, Content):
            return outcome
        raise type(outcome)(*outcome.args)

    def statistics(self) -> Statistics:
        """Return what passed so far."""
        return Statistics(self._bytes_sent, self._bytes_received)

    @property
    def passes_descriptors(self) -> bool:
        """Whether descriptors that the peer attaches are received."""
        return self._link.passes_descriptors

    def take_descriptors(self) -> list[int]:
        """Take the descriptors that have been received, to be closed by whoever takes them."""
        taken = self._link.descriptors[:]
        del self._link.descriptors[:]
        return taken

    def flush(self, timeout: float | None = None) -> None:
        """Send what is to be sent, as far as the peer takes it within `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            self._send(deadline)

    def close(self) -> None:
        """End the connection. Idempotent."""
        try:
            if self._process == os.getpid():
                self.flush(timeout=0.1)
        except (CapenvError, OSError):
            pass
        self.core.disconnect(Disconnected("this side closed the connection"))
        self._link.close()
        if not self._changing:
            self._carry_out_events()

    def abandon(self) -> None:
        """Close the link without a word. Never waits or raises: fit for a finalizer."""
        self._link.close()

    def _send(self, deadline: float | None) -> None:
        self._account_sent()
        with self._change:
            self._unsent.extend(self.core.data_to_send())
        while self._unsent:
            try:
                self._link.send_some(self._unsent_buffers(), self._sent, _left(deadline))
            except Disconnected as error:
                self._hear_farewell()
                self._lose(error)
                return
            self._account_sent()

    def _unsent_buffers(self) -> list[Buffer]:
        return list(self._unsent)

    def _account_sent(self) -> None:
        with self._change:
            while self._sent:
                count = self._sent.pop()
                self._bytes_sent += count
                while count:
                    first = self._unsent.popleft()
                    if count < len(first):
                        self._unsent.appendleft(memoryview(first)[count:])
                        break
                    count -= len(first)

    def _receive(self, deadline: float | None) -> None:
        if not self._received:
            try:
                self._link.receive_some(self._reader.buffer(), self._received, _slice(deadline))
            except DeadlineExceeded:
                _left(deadline)  # has it passed, or was it a slice of the wait?
                self._let_others()
                return
            except Disconnected as error:
                self._lose(error)
                return
        with self._change:
            self._take(self._received.pop())
        self._let_others()

    def _take(self, count: int) -> None:
        self._bytes_received += count
        if count == 0:
            self.core.disconnect(Disconnected("the peer closed the connection"))
        try:
            for segments in self._reader.received(count):
                self.core.receive(segments)
        except ProtocolError as error:
            self.core.abort(error)

    def _shown(self, chunk: memoryview, start: int, stop: int) -> bool:
        """Look at a message that has come, before it is taken."""
        return False

    def _land(self) -> None:
        """Make an ordinary call of one that is under way outside of the tables. Within a change."""

    def _let_others(self) -> None:
        """Let other threads make their calls and take their answers."""
        if self._lock.wanted:
            self._interrupts.held = True
            try:
                self._lock.let_others()
            finally:
                self._interrupts.let_go()

    def _hear_farewell(self) -> None:
        """Read what the peer said before it went away: it tells more than a broken pipe."""
        try:
            while self.core.closed is None:
                self._receive(time.monotonic() + _FAREWELL_SECONDS)
        except DeadlineExceeded:
            pass

    def _lose(self, error: Disconnected) -> None:
        with self._change:
            self.core.disconnect(error)
            self._unsent.clear()

    def _carry_out_events(self) -> None:
        # Methods of ours run between changes, so that they may call, and be interrupted.
        while True:
            with self._change:
                event = self.core.next_event()
            match event:
                case None:
                    return
                case CallReceived():
                    self._answer(event)
                case Returned(answer=Answer(waiter=Streamed(stream=stream, size=size)) as answer):
                    stream.returned(size, answer.outcome)
                case Released(servant=Servant() as servant):
                    try:
                        servant.released()
                    except Exception as error:
                        _log.error("an object failed to take notice of its release", exc_info=error)
                case _:
                    pass  # outcomes are with their questions, and nothing here runs to be canceled

    def _answer(self, call: CallReceived) -> None:
        outermost, self._answering = not self._answering, True
        try:
            self._carry_out(call)
        finally:
            self._answering = not outermost

    def _carry_out(self, call: CallReceived) -> None:
        try:
            assert isinstance(call.servant, Servant)
            reply = call.servant.call(call.interface_id, call.method_id, call.content)
            if isinstance(reply, Coroutine):
                reply.close()
            if not isinstance(reply, Content | TailCall):
                raise Unimplemented("this object lives where nothing can wait")
        except Exception as raised:
            assert isinstance(call.servant, Servant)
            error = call.servant.fault(call.interface_id, call.method_id, raised)
            with self._change:
                self.core.fail(call.answer, error)
            if not isinstance(error, CapenvError):
                _log.error("a call failed with an internal error", exc_info=error)
        except BaseException as interrupt:
            with self._change:
                self.core.fail(call.answer, interrupt)
            raise
        else:
            with self._change:
                if isinstance(reply, Content):
                    self.core.respond(call.answer, reply)
                else:
                    target, method, content = reply.target, reply.method, reply.content
                    self.core.tail_call(
                        call.answer, target, method.interface_id, method.id, content
                    )


class _Change:
    """A stretch in which tables change. An interrupt in it ends the connection: half a change is worse."""

    __slots__ = ("_connection",)

    def __init__(self, connection: BlockingConnection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        if self._connection._changing:
            self._connection.core.closed = self._connection.core.closed or Disconnected(
                "an interrupt came at a moment that left the connection unusable; connect again"
            )
            raise Disconnected(str(self._connection.core.closed))
        self._connection._interrupts.held = True
        self._connection._changing = True
        if self._connection._flight is not None:
            self._connection._land()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Errors of ours are raised in an orderly way; anything else may have left half a change.
        if kind is None or issubclass(kind, CapenvError | TypeError):
            self._connection._changing = False
        self._connection._interrupts.let_go()


def _slice(deadline: float | None) -> float:
    """Return how long to wait for bytes before looking whether another thread wants something."""
    left = _left(deadline)
    return SLICE_SECONDS if left is None else min(left, SLICE_SECONDS)


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded("no answer came in the time given")
    return left
