"""One connection run by Trio: a nursery with one reader, one writer and a task for each call that waits."""

import logging
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, assert_never
from weakref import WeakKeyDictionary

import trio

from capenv.errors import CapenvError, Disconnected, Overloaded, ProtocolError
from capenv.link import Buffer, Link
from capenv.responses import Response, StreamResponse, own_copy
from capenv.rpc.answer import Answer
from capenv.rpc.capability import Broken, Capability, Content, Hosted, Promise
from capenv.rpc.connection import Connection
from capenv.rpc.events import CallCanceled, CallReceived, Closed, Event, Released, Returned
from capenv.rpc.framing import MessageReader
from capenv.rpc.interface import Interface, Method
from capenv.rpc.limits import Limits
from capenv.rpc.outbox import kept
from capenv.rpc.servant import Reply, Servant, TailCall, resolution, told_of
from capenv.rpc.streams import Incoming, Outgoing, Streamed
from capenv.rpc.turn import Turn
from capenv.stubs import Stub
from capenv.vat_repeats import VatRepeats

_log = logging.getLogger("capenv.vat")
_FAREWELL_SECONDS = 1.0
_PROMPT_MESSAGES = 8
"""So many first messages of a connection are answered one by one: behind the hello and in the same flight
may come the making of a world, which takes long, and hello has a deadline."""
_PROMPT_BYTES = 16 << 10
"""So little is taken by any socket at once: more might wait for a peer that itself waits to send."""


class VatConnection:
    """One connection run by Trio. Make it, then `run` it in a task."""

    def __init__(
        self,
        link: Link,
        bootstrap: Servant | None = None,
        limits: Limits | None = None,
        *,
        turn: Turn | None = None,
        farewell: str = "the peer ended the connection",
    ) -> None:
        """Take over a link.

        Args:
            link: the byte stream, which this closes in the end.
            bootstrap: the object that the peer gets first; None offers nothing.
            limits: bounds on what the peer may make this side hold.
            turn: shared by the connections of one vat, between which capabilities may pass.
            farewell: what the peer is told when `run` is cancelled.
        """
        self._farewell = farewell
        self.core = Connection(None if bootstrap is None else Hosted(bootstrap), limits, turn)
        self.core.handle = self._handle
        self.core.wake = self._wake_up
        self._link = link
        self._wake = trio.Event()
        self._writing = trio.CancelScope(shield=True)
        self._drained = trio.Event()
        self._heard = 0.0
        self._unsent = 0
        self._rest: list[Buffer] = []
        self._taking = False
        self._repeats = VatRepeats(
            self.core, self._may_answer, self._finish, partial(self._send_now, borrowed=True)
        )
        self._held: deque[CallReceived] = deque()
        self._streams: WeakKeyDictionary[Capability, Outgoing] = WeakKeyDictionary()
        self._acknowledged = trio.Event()
        self._nursery: trio.Nursery | None = None

    @property
    def limits(self) -> Limits:
        """Bounds on what the peer may make this side hold and do."""
        return self.core.limits

    @property
    def passes_descriptors(self) -> bool:
        """Whether descriptors reach the peer: over a Unix socket."""
        return self._link.passes_descriptors

    # Calls.

    def bootstrap(self) -> Response:
        """Ask for the peer's first capability."""
        answer = self.core.bootstrap()
        self._pump()
        return Response(self, answer, None)

    def call(self, target: Capability, method: Method, content: Content) -> Response:
        """Call a method. The call is on its way when this returns, whether or not it is awaited.

        Of a streaming method, awaiting the response waits only while more than `Limits.stream_window`
        bytes are on their way. The first failure ends the stream, and every later call on `target` fails
        with it.
        """
        stream = self._streams.get(target)
        if stream is not None and stream.error is not None:
            target = Broken(own_copy(stream.error))
        elif self._full():
            target = Broken(
                Overloaded("the peer does not read as fast as is called; await some answers first")
            )
        answer = self.core.call(
            target, method.interface_id, method.id, content, no_promise_pipelining=method.streaming
        )
        response = Response(self, answer, method)
        if method.streaming:
            if stream is None:
                stream = self._streams[target] = Outgoing()
            size = sum(map(len, content.segments))
            stream.sent(size)
            answer.waiter = Streamed(stream, size)
            response = StreamResponse(self, answer, stream)
        self._pump()
        return response

    async def wait(self, answer: Answer, *, keep: bool = False) -> None:
        """Wait for an answer's outcome.

        Once the last who waited is cancelled, so is the call, unless it is to be kept.
        """
        if answer.outcome is not None:
            await trio.lowlevel.checkpoint()
            return
        if answer.waiter is None:
            answer.waiter = trio.Event()
        assert isinstance(answer.waiter, trio.Event)
        try:
            await answer.waiter.wait()
        except trio.Cancelled:
            if not keep and not answer.waiter.statistics().tasks_waiting:
                self.core.cancel(answer)
                self._pump()
            raise

    async def wait_for_window(self, stream: Outgoing) -> None:
        """Wait while more is on its way on a stream than its window, and it goes well."""
        await trio.lowlevel.checkpoint()
        while stream.in_flight > self.core.limits.stream_window and stream.error is None:
            await self._acknowledged.wait()

    def stub(self, interface: Interface, capability: Capability) -> Stub:
        """Return an object that the peer offers, or any other, under the names of its interface."""
        return Stub(self, interface, capability)

    def resolve(self, promise: Promise, target: Any) -> None:
        """Say what a promise of this side is, or why it came to nothing.

        Args:
            promise: one that you made.
            target: an object of this side, a stub or a proxy; or a `CapenvError`.

        Raises:
            TypeError: the target is none of these.
            ValueError: it was resolved before, or is the peer's to resolve.
        """
        self.core.resolve(promise, resolution(target))
        self._pump()

    # The life of the connection.

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read, write and serve until either side ends the connection; then return.

        Cancelling this ends the connection, after a moment to tell the peer.
        """
        self._heard = trio.current_time()
        token = trio.lowlevel.current_trio_token()
        self.core.drops.on_drop = lambda: _run_soon(token, self._wake_up)
        try:
            async with trio.open_nursery() as writer:
                writer.start_soon(self._write)
                try:
                    async with trio.open_nursery() as nursery:
                        self._nursery = nursery
                        try:
                            if self.limits.idle_seconds is not None:
                                nursery.start_soon(self._end_if_idle, self.limits.idle_seconds)
                            task_status.started()
                            await self._read()
                            nursery.cancel_scope.cancel()
                        finally:
                            self._nursery = None  # before it is closed to new tasks
                finally:
                    self.close(Disconnected(self._farewell))
                    self._writing.deadline = trio.current_time() + _FAREWELL_SECONDS
        finally:
            self.core.drops.on_drop = None
            with trio.CancelScope(shield=True):
                await self._link.aclose()

    def close(self, reason: CapenvError) -> None:
        """End the connection: every call in flight fails on both sides, with `reason`."""
        self.core.abort(reason)
        self._pump()

    async def _read(self) -> None:
        reader = MessageReader(self.core.limits, self._repeats.answer)
        prompt = _PROMPT_MESSAGES
        while self.core.closed is None:
            try:
                buffer, between = reader.buffer(), not reader.mid_message
                count = await self._link.receive_into(buffer)
                self._heard = trio.current_time()
                while between and self._repeats.answer(buffer, 0, count):
                    if self.core.turn.has_events:
                        self._pump()
                    self._send_now()
                    soon = self._link.receive_soon(buffer)
                    if soon is None:
                        break
                    count = soon
                else:
                    between = False
                if between:
                    continue
                self._taking = True
                if count == 0:
                    self.core.disconnect(Disconnected("the peer closed the connection"))
                for segments in reader.received(count):
                    self.core.receive(segments)
                    self._pump()
                    self._repeats.learn(segments)
                    if prompt and self._unsent + self.core.bytes_to_send < _PROMPT_BYTES:
                        prompt -= 1
                        self._taking = False
                        self._send_now()
                        await self._drain()
                        self._taking = True
            except Disconnected as error:
                self.core.disconnect(error)
            except ProtocolError as error:
                self.core.abort(error)
            finally:
                self._taking = False
            self._send_now()
            while self._held and not self._unsent and self.core.closed is None:
                self.core.turn.carry_out(self._start_held)
                self._send_now()
            if self.core.turn.has_events:
                self._pump()

    def _may_answer(self) -> bool:
        """Return whether nothing waits that a call answered at once would overtake."""
        core = self.core
        return not self._held and core.closed is None and core.turn.free and not self._full()

    def _send_now(self, *, borrowed: bool = False) -> None:
        """Send what is taken at once, if the writer is idle, and leave the rest to it.

        What is borrowed may change as soon as this returns: of that the rest is copied.
        """
        if self._unsent or not self.core.has_data_to_send:
            if borrowed:
                self.core.keep_data_to_send()
            return
        try:
            rest = self._link.send_now(self.core.data_to_send())
        except Disconnected as error:
            self.core.disconnect(error)
            return
        if rest:
            self._rest = kept(rest) if borrowed else list(rest)
            self._unsent = sum(map(len, rest))
            self._wake.set()

    async def _end_if_idle(self, seconds: float) -> None:
        while (left := self._heard + seconds - trio.current_time()) > 0:
            await trio.sleep(left)
        self.close(Disconnected(f"nothing was heard for {seconds:g} seconds; connect again"))

    async def _drain(self) -> None:
        """Wait until nothing is left to send."""
        while self._unsent + self.core.bytes_to_send and not self.core.closed:
            self._drained = trio.Event()
            await self._drained.wait()

    async def _write(self) -> None:
        # Shielded, because a message cut short would leave the peer unable to read what follows.
        # It ends once the connection has and all is sent, or the farewell is over.
        with self._writing:
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                self._pump()
                try:
                    await self._flush()
                except Disconnected as error:
                    self.core.disconnect(error)
                    self._pump()
                    return
                if self.core.closed is not None:
                    return

    async def _flush(self) -> None:
        while self._rest or self.core.has_data_to_send:
            data, self._rest = self._rest or self.core.data_to_send(), []
            self._unsent = sum(map(len, data))
            await self._link.send(data)
            self._unsent = 0
            self._drained.set()
            self.core.turn.carry_out(self._start_held)

    def _wake_up(self) -> None:
        if not self._taking:  # when it has taken all that came, the reader sends what it can itself
            self._wake.set()

    # Events.

    def _pump(self) -> None:
        self.core.turn.carry_out()

    def _start_held(self) -> None:
        while self._held and not self._full():
            self._start(self._held.popleft())

    def _full(self) -> bool:
        return self._unsent + self.core.bytes_to_send > self.core.limits.queued_bytes

    def _handle(self, event: Event) -> None:
        match event:
            case CallReceived() if self._held or self._full():
                # A peer that asks and does not read gets no more answers made; all else it says is
                # heard, or two that ask each other too much would wait for ever.
                self._held.append(event)
            case CallReceived():
                self._start(event)
            case Returned(answer=answer):
                match answer.waiter:
                    case trio.Event() as waiter:
                        waiter.set()
                    case Streamed(stream=stream, size=size):
                        stream.returned(size, answer.outcome)
                        self._acknowledged.set()
                        self._acknowledged = trio.Event()
            case CallCanceled(answer=answer):
                if isinstance(answer.task, trio.CancelScope):
                    answer.task.cancel()
            case Released(servant=servant):
                if isinstance(servant, Servant):
                    _release(servant)
            case Closed(error=error):
                held, self._held = self._held, deque()
                for call in held:  # of a peer's own nobody hears it
                    self.core.fail(call.answer, Disconnected(str(error)))
                if isinstance(error, ProtocolError):
                    _log.warning("a connection ended because of what came over it: %s", error)
                self._wake.set()
                self._drained.set()
                if self._nursery is not None:
                    self._nursery.cancel_scope.cancel()
            case _:
                assert_never(event)

    def _start(self, call: CallReceived) -> None:
        # Trio starts tasks in any order, and calls must start in theirs: behind one whose task has
        # not begun, a call waits in a task of its own.
        if not call.answer.wanted:
            self.core.fail(call.answer, Disconnected("the call was canceled"))
            return
        if self._waits_for_stream(call):
            return
        before, reply = self.core.turn.started, None
        assert before is None or isinstance(before, trio.Event)
        if before is None or before.is_set():
            before = None
            try:
                reply = _begin(call, self)
            except (Exception, SystemExit) as error:
                self._finish(call, told_of(error))
                return
            if isinstance(reply, Content | TailCall):
                self._finish(call, reply)
                if isinstance(reply, Content):
                    self._repeats.answered(call, reply)
                return
        if self._nursery is None:
            _discard(reply)
            self._finish(call, Disconnected("the connection is not running"))
            return
        self.core.turn.started = started = trio.Event()
        call.answer.task = trio.CancelScope()
        self._nursery.start_soon(self._run_handler, call, reply, before, started)

    async def _run_handler(
        self,
        call: CallReceived,
        reply: Reply | None,
        before: trio.Event | None,
        started: trio.Event,
    ) -> None:
        scope = call.answer.task
        assert isinstance(scope, trio.CancelScope)
        outcome: Content | TailCall | Exception | None = None
        try:
            if before is not None:
                try:
                    await before.wait()
                finally:
                    self._started(started)
            self._started(started)
            with scope:
                try:
                    if before is not None:
                        # Not in its midst either may another method start.
                        begun: list[Reply] = []
                        self.core.turn.carry_out(lambda: begun.append(_begin(call, self)))
                        (reply,) = begun
                    assert reply is not None, "the method returned nothing"
                    result = reply if isinstance(reply, Content | TailCall) else await reply
                    if not isinstance(result, Content | TailCall):
                        raise TypeError(f"the method returned a {type(result).__name__}, no reply")
                    outcome = result
                except (Exception, SystemExit) as error:
                    outcome = told_of(error)
            if scope.cancelled_caught:
                outcome = Disconnected("the call was canceled")
        finally:
            if outcome is not None:
                self._finish(call, outcome)
            elif call.answer.id is None:
                self._finish(call, Disconnected("the connection has ended"))
            else:
                # The connection ends, which tells the peer why; others may wait for the object all the same.
                self._go_on_with_stream(call, None)
            self._pump()

    def _started(self, started: trio.Event) -> None:
        started.set()
        if self.core.turn.started is started:
            self.core.turn.started = None

    def _finish(self, call: CallReceived, outcome: Content | TailCall | Exception) -> None:
        if isinstance(outcome, Exception):
            assert isinstance(call.servant, Servant)
            raised, outcome = (
                outcome,
                call.servant.fault(call.interface_id, call.method_id, outcome),
            )
            if outcome is not raised:
                _log.warning(
                    "%s, or %r is at fault: %s", outcome, call.servant, _first_line(raised)
                )
        match outcome:
            case Content():
                self.core.respond(call.answer, outcome)
            case TailCall(target=target, method=method, content=content):
                call.answer.task = None
                self.core.tail_call(call.answer, target, method.interface_id, method.id, content)
            case CapenvError():
                self.core.fail(call.answer, outcome)
            case error:
                _log.error("a call failed with an internal error", exc_info=error)
                self.core.fail(call.answer, error)
        self._go_on_with_stream(call, outcome)

    # Streams that arrive.

    def _waits_for_stream(self, call: CallReceived) -> bool:
        """Return whether a call has to wait for a streaming one on the same object, or fails with it."""
        servant = call.servant
        assert isinstance(servant, Servant)
        if servant.stream is None:
            if not servant.streams(call.interface_id, call.method_id):
                return False
            servant.stream = Incoming()
        stream = servant.stream
        assert isinstance(stream, Incoming)
        if stream.error is not None:
            self.core.fail(call.answer, stream.error)
            return True
        if stream.busy:
            stream.waiting.append((self, call))
            return True
        stream.busy = servant.streams(call.interface_id, call.method_id)
        return False

    def _go_on_with_stream(self, call: CallReceived, outcome: object) -> None:
        """Let the calls go on that waited for a streaming one to end."""
        assert isinstance(call.servant, Servant)
        stream = call.servant.stream
        if not isinstance(stream, Incoming) or not call.servant.streams(
            call.interface_id, call.method_id
        ):
            return
        stream.busy = False
        if isinstance(outcome, Exception) and call.answer.outcome is not None:
            stream.error = outcome
        if stream.going_on:
            return  # called from the loop below
        stream.going_on = True
        try:
            while stream.waiting and not stream.busy:
                connection, waiting = stream.waiting.popleft()
                connection._start(waiting)
        finally:
            stream.going_on = False


def _release(servant: Servant) -> None:
    try:
        servant.released()
    except (Exception, SystemExit) as error:
        _log.error("an object failed to take notice of its release", exc_info=error)


def _begin(call: CallReceived, connection: VatConnection) -> Reply:
    assert isinstance(call.servant, Servant)
    return call.servant.call(call.interface_id, call.method_id, call.content, connection)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _discard(reply: object) -> None:
    if isinstance(reply, Coroutine):
        reply.close()


def _run_soon(token: trio.lowlevel.TrioToken, function: Callable[[], None]) -> None:
    try:
        token.run_sync_soon(function, idempotent=True)
    except trio.RunFinishedError:
        pass
