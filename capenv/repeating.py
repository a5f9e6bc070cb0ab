"""The blocking driver, for calls that are made again and again."""

from typing import TypeAlias

from capenv.blocking import SLICE_SECONDS, BlockingConnection
from capenv.errors import DeadlineExceeded, Disconnected
from capenv.link import BlockingLink, Buffer
from capenv.rpc.answer import Answer
from capenv.rpc.capability import Capability, Content
from capenv.rpc.interface import Method
from capenv.rpc.limits import Limits
from capenv.rpc.patterns import Fields, Pattern, Shape
from capenv.rpc.repeats import Example, RepeatedCall
from capenv.rpc.servant import Servant

Results: TypeAlias = tuple[Fields, bytearray | memoryview]
"""Fields and frame of results, in memory of their own."""


class RepeatingConnection(BlockingConnection):
    """A blocking connection that can repeat calls.

    One repeated call at a time is in **flight**: it is in no table, and nobody but its caller expects the
    answer. Whatever else happens meanwhile lands it first, as an ordinary call that is under way. So also an
    interrupt leaves the connection whole: the flight is landed by the next who uses it.
    """

    def __init__(
        self, link: BlockingLink, bootstrap: Servant | None = None, limits: Limits | None = None
    ) -> None:
        super().__init__(link, bootstrap, limits)
        self._flight: RepeatedCall | None = None
        self._request: Buffer = b""
        self._target = memoryview(b"")
        """Where the answer to the call in flight goes."""
        self._moved: list[int] = []
        """Bytes of the flight's request that were sent, and of its answer that have come, time by time."""
        self._awaited: Answer | None = None
        self._returned = b""

    def example(
        self, target: Capability, method: Method, content: Content
    ) -> tuple[Content, Example]:
        """Call a method as `ask` does; return its results, and what it takes to repeat the call.

        Raises:
            CapenvError: the call failed.
        """
        with self._interrupts:
            answer = self.call(target, method, content)
        return self.finish(answer, target, method, content)

    def finish(
        self, answer: Answer, target: Capability, method: Method, content: Content
    ) -> tuple[Content, Example]:
        """Wait for a call that was made; return what `example` does.

        Raises:
            CapenvError: the call failed.
        """
        self._returned, self._awaited = b"", answer
        try:
            with self._interrupts:
                results = self.wait(answer)
        finally:
            self._awaited = None
        return results, Example(target, method, content, self._returned)

    def repeated(self, example: Example, params: Shape, results: Shape) -> RepeatedCall | None:
        """Return a call as one to be repeated, where it differs as the shapes say; None if it cannot be."""
        with self._interrupts, self._lock, self._change:
            return example.repeated(self.core.reserve, params, results)

    def repeat(
        self, call: RepeatedCall, fields: Fields, frame: Buffer
    ) -> tuple[Fields, bytearray | memoryview] | Content:
        """Make a call again, with these fields and this frame in its params.

        Return fields and frame of the results, in memory of their own, or results of another shape: then the
        call is of no more use. An interrupt leaves the connection whole, as it does in `ask`.

        Raises:
            CapenvError: the call failed, and is of no more use.
        """
        request = call.due + call.request.join(fields, frame)
        if not self._lock.acquire(False):
            return self._repeat_in_earnest(call, request)
        try:
            # All that need not be called is not: this is what the speed of a step hangs on.
            buffer = self._reader.free_chunk()
            if (
                self._flight is not None
                or self._unsent
                or self._changing
                or buffer is None
                or not self.core.quiet
            ):
                return self._repeat_in_earnest(call, request)
            if call.pool is not None:
                buffer = call.take_buffer()
            moved = self._moved
            moved.clear()
            call.wanted, call.answer = False, None
            self._request, self._target = request, buffer
            self._flight = call
            try:
                self._link.exchange(request, buffer, moved)
            except Disconnected:
                pass  # it is found again, and said, in earnest
            return self._results(call) or self._go_on(call)
        finally:
            self._lock.release()

    def launch(self, call: RepeatedCall, fields: Fields, frame: Buffer) -> None:
        """Make a call again as `repeat` does, but do not wait: `collect` does."""
        request = call.due + call.request.join(fields, frame)
        with self._interrupts, self._lock:
            with self._change:
                pass  # nothing else is in flight
            call.wanted, call.answer = True, None
            buffer = self._reader.free_chunk()
            if self._unsent or buffer is None or not self.core.quiet:
                call.answer = self._begin(call, request)
                return
            self._moved.clear()
            self._request = request
            self._target = buffer if call.pool is None else call.take_buffer()
            self._flight = call
            try:
                self._link.send_some([request], self._moved, 0.0)
            except (DeadlineExceeded, Disconnected):
                pass

    def collect(self, call: RepeatedCall) -> Results | Content:
        """Wait for the results of a call that was launched, and return what `repeat` does."""
        with self._interrupts, self._lock:
            moved = self._moved
            while self._flight is call and moved == [len(self._request)]:
                try:
                    self._link.receive_some(self._target, moved, SLICE_SECONDS)
                except DeadlineExceeded:
                    self._let_others()
                except Disconnected:
                    break
            if self._flight is call:
                return self._results(call) or self._land_and_wait(call)
            assert call.answer is not None, "it was not launched"
            return self.wait(call.answer)

    def _results(self, call: RepeatedCall) -> Results | None:
        """Return fields and frame of what came for the call in flight, if that is what it should be."""
        response, moved, buffer = call.response, self._moved, self._target
        if call.pool is not None:
            try:
                self._receive_rest(response, buffer, moved)
            except Disconnected:
                return None
        if sum(moved[1:]) != response.size or moved[0] != len(self._request):
            return None
        fields = response.read(buffer)
        if fields is None:
            return None
        frame = call.frame or bytearray(buffer[response.frame_start : response.frame_stop])
        self._flight = call.frame = None
        call.due = call.finish
        self._bytes_sent += len(self._request)
        self._bytes_received += response.size
        return fields, frame

    def _receive_rest(self, response: Pattern, buffer: memoryview, moved: list[int]) -> None:
        """Receive the rest of long results where it belongs, as far as it comes without a pause."""
        came = sum(moved[1:])
        if came < response.frame_start or response.read(buffer) is None:
            return
        while 0 < came < response.size:
            self._link.receive_more(buffer[came:], moved)
            if came == (came := sum(moved[1:])):
                return

    def _repeat_in_earnest(self, call: RepeatedCall, request: bytes) -> Content:
        with self._interrupts:
            with self._lock:
                answer = self._begin(call, request)
            return self.wait(answer)

    def _begin(self, call: RepeatedCall, request: bytes) -> Answer:
        """Make a call in the ordinary way, in the question and with the message that are there for it."""
        with self._change:
            answer = self.core.begin(call.question)
            self._unsent.extend(self.core.data_to_send())
            if answer.outcome is None:
                self._unsent.append(request)
            return answer

    def _go_on(self, call: RepeatedCall) -> Content:
        """Land the call in flight, and wait for it."""
        with self._interrupts:
            return self._land_and_wait(call)

    def _land_and_wait(self, call: RepeatedCall) -> Content:
        call.wanted = True
        with self._change:
            pass  # landed by entering
        assert call.answer is not None
        return self.wait(call.answer)

    def _land(self) -> None:
        """Make an ordinary call of the one in flight. Within a change."""
        call, self._flight = self._flight, None
        sent = self._moved[0] if self._moved else 0
        if call is None or not (sent or call.wanted):
            return
        call.answer = answer = self.core.begin(call.question)
        if sent < len(self._request):
            self._unsent.append(memoryview(self._request)[sent:])
        self._bytes_sent += sent
        if len(self._moved) > 1:
            self._take_over(self._target, sum(self._moved[1:]))
        call.frame = None
        if not call.wanted:
            self.core.cancel(answer)

    def _take_over(self, data: memoryview, count: int) -> None:
        """Take what was received at the start of `data`, wherever that is."""
        buffer = self._reader.buffer()
        while count > len(buffer):
            buffer[:] = data[: len(buffer)]
            data, count = data[len(buffer) :], count - len(buffer)
            self._take(len(buffer))
            buffer = self._reader.buffer()
        buffer[:count] = data[:count]
        self._take(count)

    def _shown(self, chunk: memoryview, start: int, stop: int) -> bool:
        if self._awaited is not None and self._awaited.outcome is None:
            self._returned = bytes(chunk[start:stop])  # whose answer it is shows when it is taken
        return False
