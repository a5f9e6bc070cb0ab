"""A driver without sockets, clock or tasks: the receive path from bytes to methods and back to bytes.

It does what `capenv.vat` and `capenv.blocking` do, and raises what they would only log. Of a connection
it uses the verbs and events that every driver does.
"""

from collections.abc import Callable, Coroutine
from typing import Any, assert_never

from fuzz_probe import Probe, Wait

from capenv.errors import CapenvError, Disconnected, ProtocolError
from capenv.rpc.answer import Answer
from capenv.rpc.capability import Content, Hosted
from capenv.rpc.connection import Connection
from capenv.rpc.decoding import decode
from capenv.rpc.events import CallCanceled, CallReceived, Closed, Event, Released, Returned
from capenv.rpc.framing import MessageReader
from capenv.rpc.limits import Limits
from capenv.rpc.servant import Servant, TailCall


class FaultError(Exception):
    """What a peer must not be able to bring about."""


class Peer:
    """One side of a connection. `sent` is what it wrote, `failures` how the calls on it failed."""

    def __init__(
        self,
        bootstrap: Servant,
        limits: Limits,
        returned: Callable[[Answer], None] = lambda question: None,
    ) -> None:
        self.core = Connection(Hosted(bootstrap), limits)
        self.failures: dict[str, int] = {}
        self._returned = returned
        self._limits = limits
        self._reader = MessageReader(limits)
        self._check = MessageReader(limits)
        self._tasks: dict[Answer, tuple[CallReceived, Coroutine[Wait, None, Content]]] = {}
        self._waiting: dict[Answer, Wait] = {}
        if isinstance(bootstrap, Probe):
            bootstrap.connection = self.core

    # Bytes.

    def take(self, data: bytes | memoryview) -> bool:
        """Take bytes off the stream; return whether the connection stands."""
        data = memoryview(data)
        while len(data) and self.core.closed is None:
            buffer = self._reader.buffer()
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            data = data[count:]
            try:
                for segments in self._reader.received(count):
                    self.core.receive(segments)
                    self.pump()
                    self._wake(None)
            except ProtocolError as error:
                self.core.abort(error)
        self.pump()
        return self.core.closed is None

    def flush(self) -> bytes:
        """Return the bytes to send, after a check that a peer could read them."""
        data = b"".join(self.core.data_to_send())
        self._read_back(data)
        return data

    def end(self) -> CapenvError:
        """Take the link as lost, and return why the connection ended, now or earlier.

        Raises:
            FaultError: something of it is left.
        """
        self.core.disconnect(Disconnected("the peer closed the connection"))
        self.pump()
        closed = self.core.closed
        if not isinstance(closed, CapenvError):
            raise FaultError(f"the connection ended with {closed!r}, which is no CapenvError")
        for answer, (_, task) in list(self._tasks.items()):
            task.close()
            self.core.fail(answer, closed)
        self._tasks.clear()
        self._waiting.clear()
        self.pump()
        self.flush()
        if not self.core.idle:
            raise FaultError("a connection that has ended holds something still")
        if self._tasks:
            raise FaultError("a connection that has ended started a call")
        return closed

    # Events.

    def pump(self) -> None:
        """Carry out what has happened."""
        while (event := self.core.next_event()) is not None:
            self._handle(event)

    def _handle(self, event: Event) -> None:
        match event:
            case CallReceived(answer=answer):
                self._start(event)
                if len(self._tasks) > self._limits.answers:
                    raise FaultError(f"{len(self._tasks)} calls run at once")
            case CallCanceled(answer=answer):
                known = self._tasks.pop(answer, None)
                if known is not None:
                    self._waiting.pop(answer, None)
                    known[1].close()
                    self.core.fail(answer, Disconnected("the call was canceled"))
            case Returned(answer=question):
                if not isinstance(question.outcome, Content | CapenvError):
                    raise FaultError(f"a question returned with {question.outcome!r}")
                self._returned(question)
                self._wake(question)
            case Released(servant=servant):
                assert isinstance(servant, Servant)
                servant.released()
            case Closed(error=error):
                if error is not self.core.closed:
                    raise FaultError("a connection closed for two reasons")
            case _:
                assert_never(event)

    def _start(self, call: CallReceived) -> None:
        assert isinstance(call.servant, Servant)
        try:
            reply = call.servant.call(call.interface_id, call.method_id, call.content)
        except Exception as error:
            self._failed(call, error)
            return
        if isinstance(reply, Content):
            self.core.respond(call.answer, reply)
        elif isinstance(reply, TailCall):
            method = reply.method
            self.core.tail_call(
                call.answer, reply.target, method.interface_id, method.id, reply.content
            )
        else:
            assert isinstance(reply, Coroutine)
            self._tasks[call.answer] = call, reply
            self._resume(call.answer)

    def _wake(self, question: Answer | None) -> None:
        """Let the methods go on that wait for a question, or with None for another message."""
        for answer in [a for a, wait in self._waiting.items() if wait.question is question]:
            if self._waiting.pop(answer, None) is not None:
                self._resume(answer)
        if question is None:
            self.pump()

    def _resume(self, answer: Answer) -> None:
        try:
            self._waiting[answer] = self._tasks[answer][1].send(None)
        except StopIteration as stop:
            del self._tasks[answer]
            self.core.respond(answer, stop.value)
        except Exception as error:
            self._failed(self._tasks.pop(answer)[0], error)

    def _failed(self, call: CallReceived, error: Exception) -> None:
        assert isinstance(call.servant, Servant)
        told = call.servant.fault(call.interface_id, call.method_id, error)
        if not isinstance(told, CapenvError):
            raise error
        self._fail(call.answer, told)

    def _fail(self, answer: Answer, error: CapenvError) -> None:
        name = type(error).__name__
        self.failures[name] = self.failures.get(name, 0) + 1
        self.core.fail(answer, error)

    def _read_back(self, data: bytes) -> None:
        view = memoryview(data)
        while len(view):
            buffer: Any = self._check.buffer()
            count = min(len(buffer), len(view))
            buffer[:count] = view[:count]
            view = view[count:]
            for segments in self._check.received(count):
                decode(segments, self._limits)
        if self._check.mid_message:
            raise FaultError("what it wrote breaks off inside a message")
