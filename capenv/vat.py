"""The Trio driver: a connection is a nursery with one reader, one writer and a task for each call
that has to wait.
"""

import logging
from collections.abc import Callable, Coroutine, Generator
from typing import Any, assert_never

import trio

from capenv.errors import CapenvError, Disconnected, ProtocolError
from capenv.link import Link, Listener
from capenv.rpc.answers import Answer
from capenv.rpc.capability import Capability, Content, Hosted, Pipelined
from capenv.rpc.connection import Connection
from capenv.rpc.events import CallCanceled, CallReceived, Closed, Event, Released, Returned
from capenv.rpc.framing import MessageReader
from capenv.rpc.interface import Method
from capenv.rpc.limits import Limits
from capenv.rpc.questions import Question
from capenv.rpc.servant import Reply, Servant

_log = logging.getLogger("capenv.vat")
_FAREWELL_SECONDS = 1.0
_QUEUED_BYTES = 64 << 20
_PROMPT_MESSAGES = 8
"""So many first messages of a connection are answered one by one: behind the hello and in the same flight
may come the making of a world, which takes long, and hello has a deadline."""
_PROMPT_BYTES = 16 << 10
"""So little is taken by any socket at once: more might wait for a peer that itself waits to send."""


class Response:
    """A call that has been made. Await it for its content; what it will hold can be called at once."""

    def __init__(
        self,
        connection: "VatConnection",
        question: Question,
        method: Method | None,
        *,
        keep: bool = False,
    ) -> None:
        self._connection = connection
        self._question = question
        self._method = method
        self._keep = keep

    def __await__(self) -> Generator[Any, Any, Content]:
        return self._wait().__await__()

    async def _wait(self) -> Content:
        await self._connection.wait(self._question, keep=self._keep)
        outcome = self._question.outcome
        if isinstance(outcome, Content):
            return outcome
        assert outcome is not None
        raise _own_copy(outcome)

    def kept(self) -> "Response":
        """Return the same response, still wanted when all who await it are cancelled."""
        return Response(self._connection, self._question, self._method, keep=True)

    def pipeline(self, name: str) -> Pipelined:
        """Return the capability that will be in the named field of the results, to be called now."""
        if self._method is None:
            raise TypeError("only the results of a method have named fields")
        return self._question.pipeline(self._method.results.slot(name))

    def root(self) -> Pipelined:
        """Return the capability that the results will be: of a bootstrap."""
        return self._question.pipeline()


class VatConnection:
    """One connection run by Trio. Make it, then `run` it in a task."""

    def __init__(
        self,
        link: Link,
        bootstrap: Servant | None = None,
        limits: Limits | None = None,
        *,
        farewell: str = "the peer ended the connection",
    ) -> None:
        """Take over a link.

        Args:
            link: the byte stream, which this closes in the end.
            bootstrap: the object that the peer gets first; None offers nothing.
            limits: bounds on what the peer may make this side hold.
            farewell: what the peer is told when `run` is cancelled.
        """
        self._farewell = farewell
        self.core = Connection(None if bootstrap is None else Hosted(bootstrap), limits)
        self._link = link
        self._wake = trio.Event()
        self._writing = trio.CancelScope(shield=True)
        self._drained = trio.Event()
        self._unsent = 0
        self._pumping = False
        self._nursery: trio.Nursery | None = None
        self._started: trio.Event | None = None

    # Calls.

    def bootstrap(self) -> Response:
        """Ask for the peer's first capability."""
        question = self.core.bootstrap()
        self._pump()
        return Response(self, question, None)

    def call(self, target: Capability, method: Method, content: Content) -> Response:
        """Call a method. The call is on its way when this returns, whether or not it is awaited."""
        question = self.core.call(target, method.interface_id, method.id, content)
        self._pump()
        return Response(self, question, method)

    async def wait(self, question: Question, *, keep: bool = False) -> None:
        """Wait for a question's outcome.

        Once the last who waited is cancelled, so is the question, unless it is to be kept.
        """
        if question.outcome is not None:
            await trio.lowlevel.checkpoint()
            return
        if question.waiter is None:
            question.waiter = trio.Event()
        assert isinstance(question.waiter, trio.Event)
        try:
            await question.waiter.wait()
        except trio.Cancelled:
            if not keep and not question.waiter.statistics().tasks_waiting:
                self.core.cancel(question)
                self._pump()
            raise

    # The life of the connection.

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read, write and serve until either side ends the connection; then return.

        Cancelling this ends the connection, after a moment to tell the peer.
        """
        token = trio.lowlevel.current_trio_token()
        self.core.imports.on_drop = lambda: _run_soon(token, self._wake_up)
        try:
            async with trio.open_nursery() as writer:
                writer.start_soon(self._write)
                try:
                    async with trio.open_nursery() as self._nursery:
                        task_status.started()
                        await self._read()
                        self._nursery.cancel_scope.cancel()
                finally:
                    self._nursery = None
                    self.close(Disconnected(self._farewell))
                    self._writing.deadline = trio.current_time() + _FAREWELL_SECONDS
        finally:
            self.core.imports.on_drop = None
            with trio.CancelScope(shield=True):
                await self._link.aclose()

    def close(self, reason: CapenvError) -> None:
        """End the connection: every call in flight fails on both sides, with `reason`."""
        self.core.abort(reason)
        self._pump()

    async def _read(self) -> None:
        reader = MessageReader(self.core.limits)
        prompt = _PROMPT_MESSAGES
        while self.core.closed is None:
            try:
                count = await self._link.receive_into(reader.buffer())
                if count == 0:
                    self.core.disconnect(Disconnected("the peer closed the connection"))
                messages = reader.received(count) if count else []
            except Disconnected as error:
                self.core.disconnect(error)
                messages = []
            except ProtocolError as error:
                self.core.abort(error)
                messages = []
            for segments in messages:
                self.core.receive(segments)
                self._pump()
                if prompt and self._unsent + self.core.bytes_to_send < _PROMPT_BYTES:
                    prompt -= 1
                    await self._drain(0)
            self._pump()
            # A peer that asks and does not read gets no more answers made.
            await self._drain(_QUEUED_BYTES)

    async def _drain(self, most: int) -> None:
        """Wait until no more than `most` bytes are left to send."""
        while self._unsent + self.core.bytes_to_send > most and not self.core.closed:
            self._drained = trio.Event()
            await self._drained.wait()

    async def _write(self) -> None:
        # Shielded, because a message cut short would leave the peer unable to read what follows.
        # It ends once the connection has and all is sent, or the farewell is over.
        with self._writing:
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                try:
                    await self._flush()
                except Disconnected as error:
                    self.core.disconnect(error)
                    self._pump()
                    return
                if self.core.closed is not None:
                    return

    async def _flush(self) -> None:
        while self.core.has_data_to_send:
            data = self.core.data_to_send()
            self._unsent = sum(len(buffer) for buffer in data)
            await self._link.send(data)
            self._unsent = 0
            self._drained.set()

    def _wake_up(self) -> None:
        self._wake.set()

    # Events.

    def _pump(self) -> None:
        # A method that calls something itself comes here again: the loop it was started from goes on,
        # so that no other method starts in its midst.
        if not self._pumping:
            self._pumping = True
            try:
                while (event := self.core.next_event()) is not None:
                    self._handle(event)
            finally:
                self._pumping = False
        if self.core.has_data_to_send or self.core.closed is not None:
            self._wake.set()

    def _handle(self, event: Event) -> None:
        match event:
            case CallReceived():
                self._start(event)
            case Returned(question=question):
                if isinstance(question.waiter, trio.Event):
                    question.waiter.set()
            case CallCanceled(answer=answer):
                if isinstance(answer.task, trio.CancelScope):
                    answer.task.cancel()
            case Released(servant=servant):
                if isinstance(servant, Servant):
                    _release(servant)
            case Closed():
                self._drained.set()
                if self._nursery is not None:
                    self._nursery.cancel_scope.cancel()
            case _:
                assert_never(event)

    def _start(self, call: CallReceived) -> None:
        # Trio starts tasks in any order, and calls must start in theirs: behind one whose task has
        # not begun, a call waits in a task of its own.
        before, reply = self._started, None
        if before is None or before.is_set():
            before = None
            try:
                reply = _begin(call)
            except Exception as error:
                self._fail(call.answer, error)
                return
            if isinstance(reply, Content):
                self.core.respond(call.answer, reply)
                return
        if self._nursery is None:
            _discard(reply)
            self._fail(call.answer, Disconnected("the connection is not running"))
            return
        self._started = trio.Event()
        call.answer.task = trio.CancelScope()
        self._nursery.start_soon(self._run_handler, call, reply, before, self._started)

    async def _run_handler(
        self,
        call: CallReceived,
        reply: Reply | None,
        before: trio.Event | None,
        started: trio.Event,
    ) -> None:
        answer = call.answer
        assert isinstance(answer.task, trio.CancelScope)
        try:
            if before is not None:
                try:
                    await before.wait()
                finally:
                    started.set()
            started.set()
            with answer.task:
                try:
                    if before is not None:
                        reply = _begin(call)
                    assert reply is not None, "the method returned nothing"
                    content = reply if isinstance(reply, Content) else await reply
                    self.core.respond(answer, content)
                except Exception as error:
                    self._fail(answer, error)
            if answer.task.cancelled_caught:
                self.core.fail(answer, Disconnected("the call was canceled"))
        except trio.Cancelled:
            # The connection ends, which tells the peer why; a call of our own learns it here.
            if answer.local is not None:
                self.core.fail(answer, Disconnected("the connection has ended"))
            raise
        finally:
            self._pump()

    def _fail(self, answer: Answer, error: Exception) -> None:
        if not isinstance(error, CapenvError):
            _log.error("a call failed with an internal error", exc_info=error)
        self.core.fail(answer, error)


async def serve(
    listener: Listener,
    bootstrap: Callable[[Callable[[], None]], Servant],
    limits: Limits | None = None,
) -> None:
    """Run a connection for every link accepted, each with a bootstrap object of its own.

    `bootstrap` makes one, and is given what the object calls once the peer has shown that it may be
    here: a peer that has not within `Limits.handshake_seconds` is sent away. Cancelled, this tells every
    peer that the server ends.
    """
    patience = (limits or Limits()).handshake_seconds

    async def handle(link: Link) -> None:
        admitted = trio.Event()
        connection = VatConnection(
            link, bootstrap(admitted.set), limits, farewell="the server is shutting down"
        )

        async def expect_admission() -> None:
            with trio.move_on_after(patience):
                await admitted.wait()
            if not admitted.is_set():
                connection.close(
                    Disconnected(f"no valid token came within {patience:g} seconds; connect again")
                )

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(expect_admission)
                await connection.run()
                nursery.cancel_scope.cancel()
        except trio.Cancelled:
            raise
        except Exception as error:
            _log.error("a connection ended by an internal error", exc_info=error)

    await listener.serve(handle)


def _release(servant: Servant) -> None:
    try:
        servant.released()
    except (Exception, SystemExit) as error:
        _log.error("an object failed to take notice of its release", exc_info=error)


def _own_copy(error: CapenvError) -> CapenvError:
    """Return a fresh exception: one that is raised twice gathers the tracebacks of both."""
    return type(error)(*error.args)


def _begin(call: CallReceived) -> Reply:
    assert isinstance(call.servant, Servant)
    return call.servant.call(call.interface_id, call.method_id, call.content)


def _discard(reply: object) -> None:
    if isinstance(reply, Coroutine):
        reply.close()


def _run_soon(token: trio.lowlevel.TrioToken, function: Callable[[], None]) -> None:
    try:
        token.run_sync_soon(function, idempotent=True)
    except trio.RunFinishedError:
        pass
