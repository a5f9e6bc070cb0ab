"""Calls made again and again: ours, and the peer's.

The first is made and answered like any other. From what passed, patterns are made of the messages that
would pass next time; whoever knows them needs no tables, for such a call is answered before anything else
happens. Wherever something is not as expected the call becomes an ordinary one.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

import attrs

from capenv.buffers import BufferPool
from capenv.rpc.answer import Answer
from capenv.rpc.capability import Capability, Content, Hosted, Imported, innermost
from capenv.rpc.encoding import encode
from capenv.rpc.events import CallReceived
from capenv.rpc.exports import Export, Exports
from capenv.rpc.framing import CHUNK
from capenv.rpc.interface import Method
from capenv.rpc.messages import Call, Finish, ImportedTarget, Message, Payload, Results, Return
from capenv.rpc.patterns import HEADER, Fields, Frame, Pattern, Shape, framed, sole
from capenv.rpc.pointers import Struct, follow
from capenv.rpc.question import Question
from capenv.rpc.tables import RemoteTable

_KEY: Final = 96
"""Bytes at the start of a call, header and envelope and target, that tell one from another."""
_MOST_BYTES: Final = 16 << 20
"""Memory for the patterns of one peer's calls."""
_PATTERN_BYTES: Final = 2048
"""What a pair of patterns takes beside the messages."""
_RETURN, _CALL = 3, 2


class Repeatable(Protocol):
    """How to carry out calls that differ in their numbers and frame alone."""

    params: Shape
    results: Shape

    def __call__(self, fields: Fields, frame: memoryview) -> "tuple[Fields, Frame] | Content":
        """Carry out a call, and return fields and frame of the results, or results of another shape.

        The frame given is memory of the connection's, for as long as this runs; the frame returned, whole
        or in pieces, is not changed before it is sent or copied.
        """


class RepeatedCall:
    """A call of ours, in a question that is set apart for it."""

    __slots__ = (
        "answer",
        "due",
        "finish",
        "frame",
        "pool",
        "question",
        "request",
        "response",
        "target",
        "wanted",
    )

    def __init__(
        self,
        target: Imported,
        question: Question,
        request: Pattern,
        response: Pattern,
        *,
        finish_needed: bool,
    ) -> None:
        self.target = target  # held, as the messages name it
        self.question = question
        self.request = request
        self.response = response
        self.pool = BufferPool(response.size) if response.size > CHUNK else None
        """Where results lie that are too long for a reader's chunk."""
        self.frame: memoryview | None = None
        """Where in the buffer that was taken the frame will be."""
        self.wanted = False
        """Whether somebody still waits for what is in flight, if it has to land."""
        self.answer: Answer | None = None
        """What it then became."""
        self.due = b""
        """The Finish of the last such call, which goes out before the next."""
        finish = encode(Finish(question.id, release_result_caps=False))[0]
        assert isinstance(finish, bytearray)
        self.finish = framed(finish) if finish_needed else b""
        """What is due once such a call was answered."""

    def take_buffer(self) -> memoryview:
        """Return memory for results, of whose frame arrays can be made."""
        assert self.pool is not None
        start, stop = self.response.frame_start, self.response.frame_stop
        buffer, self.frame = self.pool.take(start, stop - start)
        return buffer


@attrs.frozen(eq=False)
class Example:
    """A call that was made in the ordinary way, and what came back: enough to repeat it."""

    target: Capability
    method: Method
    params: Content
    returned: bytes
    """The whole message of the Return."""

    def repeated(
        self, reserve: Callable[[], Question | None], params: Shape, results: Shape
    ) -> RepeatedCall | None:
        """Return the call in a question of its own; None where it cannot be repeated.

        Args:
            reserve: sets a question apart.
            params: where the params differ from time to time.
            results: where the results do.
        """
        if not self.returned:
            return None
        target = innermost(self.target)
        segments = [memoryview(bytearray(self.returned))[HEADER:]]
        root = follow(segments, 0, 0)
        if (
            not isinstance(target, Imported)
            or not sole(self.params.segments)
            or not isinstance(root, Struct)
            or root.u16(0) != _RETURN
            or (question := reserve()) is None
        ):
            return None
        returned = root.struct(0)
        segments[0][returned.start << 3 : (returned.start << 3) + 4] = question.id.to_bytes(
            4, "little"
        )
        call = Call(
            question.id,
            ImportedTarget(target.id),
            self.method.interface_id,
            self.method.id,
            Payload(self.params.segments),
        )
        request = _pattern(call, self.params, params)
        response = Pattern(framed(segments[0]), results.moved(HEADER))
        finish_needed = not returned.bit(33)  # Return.noFinishNeeded
        return RepeatedCall(target, question, request, response, finish_needed=finish_needed)


@attrs.frozen(eq=False)
class Repeat:
    """A call of the peer's that is known to come again."""

    answer_id: int
    export: Export
    servant: Any
    interface_id: int
    method_id: int
    request: Pattern
    response: Pattern
    act: Repeatable


class Repeats:
    """The calls of one peer that are known to come again, by how their messages begin."""

    def __init__(self, exports: Exports, answers: RemoteTable[Answer]) -> None:
        self._exports = exports
        self._answers = answers
        self._known: dict[bytes, Repeat] = {}
        self._gone = 0
        self._bytes = 0

    def find(self, chunk: memoryview, start: int, stop: int) -> tuple[Repeat, Fields] | None:
        """Return what the message at a place in a chunk repeats, if it does and may, and its fields."""
        repeat = self._known.get(bytes(chunk[start : start + _KEY]))
        if (
            repeat is None
            or repeat.request.size != stop - start
            or repeat.answer_id in self._answers
            or (fields := repeat.request.read(chunk, start)) is None
        ):
            return None
        if self._gone != self._exports.gone:
            # Its id may stand for another object by now.
            self._gone = self._exports.gone
            known = self._known.items()
            self._known = {key: r for key, r in known if self._exports.current(r.export)}
            return self.find(chunk, start, stop)
        return repeat, fields

    def learn(
        self, message: bytes, received: CallReceived, results: Content, act: Repeatable
    ) -> None:
        """Know a call again that was answered at once, and in the ordinary way."""
        params = received.content
        segments = [memoryview(message)[HEADER:]]
        root = follow(segments, 0, 0)
        if (
            not _KEY < len(message) <= CHUNK
            or not isinstance(root, Struct)
            or root.u16(0) != _CALL
            or not sole(params.segments)
            or not sole(results.segments)
            or params.capabilities
            or results.capabilities
        ):
            return
        call = root.struct(0)
        target = call.struct(0)
        if target.u16(2) or call.u16(3) or call.bit(130):
            return  # no import, or the results are to be kept, or not to be returned
        export = self._exports.find(target.u32(0))
        if export is None or not isinstance(export.target, Hosted):
            return
        shape = act.params.moved(HEADER)
        if any(place < _KEY for place, _ in shape.fields) or (
            shape.frame[1] and shape.frame[0] < _KEY
        ):
            return
        answer_id = call.u32(0)
        returned = Return(answer_id, Results(Payload(results.segments)), no_finish_needed=True)
        response = _pattern(returned, results, act.results)
        request = Pattern(message, shape)
        self._bytes += (
            2 * len(message) + 2 * min(response.frame_start, response.size) + _PATTERN_BYTES
        )
        if self._bytes > _MOST_BYTES:  # whoever never makes a call twice gets no faster
            self._known.clear()
            self._bytes = 0
        self._known[message[:_KEY]] = Repeat(
            answer_id,
            export,
            received.servant,
            received.interface_id,
            received.method_id,
            request,
            response,
            act,
        )


def _pattern(message: Message, content: Content, shape: Shape) -> Pattern:
    """Return the pattern of messages around contents of a shape."""
    (buffer,) = encode(message)
    whole = b"".join(buffer) if isinstance(buffer, tuple) else buffer
    # All of the body but its root pointer stands at the end of the message.
    return Pattern(framed(whole), shape.moved(HEADER + len(whole) - len(content.segments[0])))
