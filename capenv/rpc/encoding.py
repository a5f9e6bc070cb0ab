"""Messages to Cap'n Proto: an envelope built around the body that it carries.

A body arrives as a message of its own whose root pointer is word 0 of segment 0. Where it is of one
segment, as nearly all are, the envelope takes the place of that word: the root pointer moves into the
envelope's `content`, and the rest of the body follows as it is, copied only if it is short.

Into a body of several segments far pointers lead, which say where in its segment a thing is. So nothing of
it moves: the envelope is appended to a copy of the first segment. A long one is not copied; then the envelope
becomes a segment of its own, behind the others, and only a new word 0 goes out before the rest.
Struct sizes and field places are those of the `rpc.capnp` that ships with pycapnp; a test compares.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias, assert_never

from capenv.rpc.builder import Builder, far_pointer, moved
from capenv.rpc.framing import Segment
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
    ReceiverLoopback,
    Release,
    Resolve,
    Results,
    ResultsSentElsewhere,
    Return,
    SenderHosted,
    SenderLoopback,
    TakeFromOtherQuestion,
    Unimplemented,
    Unknown,
    UnknownDescriptor,
    WireException,
)
from capenv.rpc.pointers import Segments, offset_of

# The words of data and of pointers in each struct of rpc.capnp.
_MESSAGE = (1, 1)
_COPIED: Final = 8192
"""Bytes of a first segment that take longer to send in two pieces than to copy."""
_MANY: Final = 500
"""Segments that a body may have and still get one more: peers refuse 512."""
_EMPTY: Final = 0xFFFFFFFC
"""The pointer to a struct of no size."""
_NOTHING: Final = (bytearray(8),)
_Enveloped: TypeAlias = Abort | Bootstrap | Call | Disembargo | Finish | Release | Resolve | Return
_SIZES: dict[type, tuple[int, int, int]] = {  # tag in Message, words of data, pointers
    Abort: (1, 1, 2),
    Call: (2, 3, 3),
    Return: (3, 2, 1),
    Finish: (4, 1, 0),
    Resolve: (5, 1, 1),
    Release: (6, 1, 0),
    Bootstrap: (8, 1, 1),
    Disembargo: (13, 1, 1),
}


def encode(message: Message) -> Sequence[Segment]:
    """Return the segments of a message."""
    body: Segments
    match message:
        case Unimplemented(message=Unknown(segments=body)) | Unknown(segments=body):
            return _echoed(body)
        case Unimplemented():
            return _echoed(_NOTHING)
        case Call(params=payload) | Return(outcome=Results(payload=payload)):
            body = payload.segments
        case _:
            body = _NOTHING
    if len(body) == 1:
        envelope = _envelope(message, int.from_bytes(body[0][:8], "little"))
        if len(body[0]) <= _COPIED:
            return [envelope + body[0][8:]]
        return [(envelope, memoryview(body[0])[8:])]
    return _appended(message, body)


def _envelope(message: _Enveloped, root: int) -> bytearray:
    """Return the start of a segment whose rest is a body, without its root pointer, which is given."""
    builder = Builder(bytearray(8))
    place = _place(builder, message)
    slot = _write(builder, place, message, root)
    if slot is not None and root != _EMPTY:
        # The body's word 1 follows the envelope: all that the root pointer leads to is so much further on.
        distance = len(builder.segment) // 8 - 1
        builder.word(slot, moved(builder.at(slot), -distance))
    return builder.segment


def _echoed(message: Segments) -> Sequence[Segment]:
    """Return the segments of an `Unimplemented` about a message that was not understood."""
    segments: list[Segment] = [bytearray(message[0]), *message[1:]]
    builder = Builder(bytearray(message[0]))
    envelope = builder.struct(0, *_MESSAGE)  # Unimplemented has tag 0
    root = int.from_bytes(message[0][:8], "little")
    builder.word(envelope + 1, moved(root, envelope + 1))
    segments[0] = builder.segment
    return segments


def _appended(message: _Enveloped, body: Segments) -> Sequence[Segment]:
    """Return the segments of a message whose body is of several."""
    if len(body[0]) > _COPIED and len(body) < _MANY:
        return _spliced(message, body)
    builder = Builder(bytearray(body[0]))
    _write(builder, _place(builder, message), message, int.from_bytes(body[0][:8], "little"))
    return [builder.segment, *body[1:]]


def _spliced(message: _Enveloped, body: Segments) -> Sequence[Segment]:
    """Return the segments of a message, none of its body copied."""
    first, last = memoryview(body[0]), len(body)
    root = int.from_bytes(first[:8], "little")
    # The root pointer, then the landing pad by which the envelope points back into the first segment.
    segment = bytearray(24)
    builder = Builder(segment)
    if root & 2 or root in (0, _EMPTY):
        content = root  # absolute, or nowhere
    else:
        start = 1 + offset_of(root)
        builder.word(1, far_pointer(0, start))
        builder.word(2, root & ~0xFFFFFFFC)
        content = far_pointer(last, 1) | 4
    _write(builder, _place(builder, message), message, content)
    return [(far_pointer(last, 0).to_bytes(8, "little"), first[8:]), *body[1:], segment]


def _place(builder: Builder, message: _Enveloped) -> int:
    """Append the `Message` that word 0 points to, and in it the struct of its kind; return its place."""
    envelope = builder.struct(0, *_MESSAGE)
    tag, data_words, pointers = _SIZES[type(message)]
    builder.u16(envelope, 0, tag)
    return builder.struct(envelope + 1, data_words, pointers)


def _write(
    builder: Builder,
    place: int,
    message: _Enveloped,
    content: int,
) -> int | None:
    """Fill the struct of a message; return the word that holds the content's pointer, if there is one."""
    match message:
        case Bootstrap(question_id=question_id):
            builder.u32(place, 0, question_id)
        case Call():
            return _write_call(builder, place, message, content)
        case Return():
            return _write_return(builder, place, message, content)
        case Finish():
            builder.u32(place, 0, message.question_id)
            # Booleans whose default is true are stored inverted.
            builder.bit(place, 32, not message.release_result_caps)
            builder.bit(place, 33, not message.early_cancellation_workaround)
        case Resolve(promise_id=promise_id, resolution=WireException() as exception):
            builder.u32(place, 0, promise_id)
            builder.u16(place, 2, 1)
            _write_exception(builder, builder.struct(place + 1, 1, 2), exception)
        case Resolve(promise_id=promise_id, resolution=descriptor):
            assert not isinstance(descriptor, WireException)
            builder.u32(place, 0, promise_id)
            _write_descriptor(builder, builder.struct(place + 1, 1, 1), descriptor)
        case Release(id=export_id, reference_count=count):
            builder.u32(place, 0, export_id)
            builder.u32(place, 1, count)
        case Disembargo(target=target, context=context):
            _write_target(builder, place + 1, target)
            builder.u32(place, 0, context.embargo_id)
            match context:
                case SenderLoopback():
                    builder.u16(place, 2, 0)
                case ReceiverLoopback():
                    builder.u16(place, 2, 1)
                case _:
                    assert_never(context)
        case Abort(exception=exception):
            _write_exception(builder, place, exception)
        case _:
            assert_never(message)
    return None


def _write_call(builder: Builder, place: int, call: Call, content: int) -> int:
    builder.u32(place, 0, call.question_id)
    builder.u16(place, 2, call.method_id)
    builder.u16(place, 3, call.results_to_yourself)
    builder.u64(place, 1, call.interface_id)
    builder.bit(place, 129, call.no_promise_pipelining)
    builder.bit(place, 130, call.only_promise_pipeline)
    _write_target(builder, place + 3, call.target)
    return _write_payload(builder, place + 4, call.params, content)


def _write_return(builder: Builder, place: int, message: Return, content: int) -> int | None:
    builder.u32(place, 0, message.answer_id)
    builder.bit(place, 32, not message.release_param_caps)
    builder.bit(place, 33, message.no_finish_needed)
    match message.outcome:
        case Results(payload=payload):
            builder.u16(place, 3, 0)
            return _write_payload(builder, place + 2, payload, content)
        case WireException() as exception:
            builder.u16(place, 3, 1)
            _write_exception(builder, builder.struct(place + 2, 1, 2), exception)
        case Canceled():
            builder.u16(place, 3, 2)
        case ResultsSentElsewhere():
            builder.u16(place, 3, 3)
        case TakeFromOtherQuestion(question_id=question_id):
            builder.u16(place, 3, 4)
            builder.u32(place, 2, question_id)
        case _:
            assert_never(message.outcome)
    return None


def _write_payload(builder: Builder, slot: int, payload: Payload, content: int) -> int:
    place = builder.struct(slot, 0, 2)
    builder.word(place, content if content == _EMPTY else moved(content, place))
    if payload.table:
        places = builder.structs(place + 1, len(payload.table), 1, 1)
        for entry, descriptor in zip(places, payload.table, strict=True):
            _write_descriptor(builder, entry, descriptor)
    return place


def _write_descriptor(builder: Builder, place: int, descriptor: Descriptor) -> None:
    match descriptor:
        case NoCapability():
            pass
        case SenderHosted(id=export_id, promise=promise, attached=attached):
            builder.u16(place, 0, 2 if promise else 1)
            builder.u16(place, 1, attached ^ 0xFF)  # a default is stored as zero
            builder.u32(place, 1, export_id)
        case ReceiverHosted(id=import_id):
            builder.u16(place, 0, 3)
            builder.u32(place, 1, import_id)
        case ReceiverAnswer(answer=answer):
            builder.u16(place, 0, 4)
            _write_promised_answer(builder, place + 1, answer)
        case UnknownDescriptor():
            raise AssertionError("a descriptor of an unknown kind is never sent")
        case _:
            assert_never(descriptor)


def _write_target(builder: Builder, slot: int, target: MessageTarget) -> None:
    place = builder.struct(slot, 1, 1)
    match target:
        case ImportedTarget(id=import_id):
            builder.u32(place, 0, import_id)
        case PromisedAnswer():
            builder.u16(place, 2, 1)
            _write_promised_answer(builder, place + 1, target)
        case _:
            assert_never(target)


def _write_promised_answer(builder: Builder, slot: int, answer: PromisedAnswer) -> None:
    place = builder.struct(slot, 1, 1)
    builder.u32(place, 0, answer.question_id)
    if answer.transform:
        operations = builder.structs(place + 1, len(answer.transform), 1, 0)
        for operation, pointer_field in zip(operations, answer.transform, strict=True):
            builder.u16(operation, 0, 1)  # getPointerField
            builder.u16(operation, 1, pointer_field)


def _write_exception(builder: Builder, place: int, exception: WireException) -> None:
    builder.u16(place, 2, exception.kind)
    builder.text(place + 1, exception.reason)


def echo(segments: Segments) -> Sequence[Segment]:
    """Return the segments of an `Unimplemented` that holds a whole received message."""
    return encode(Unimplemented(Unknown(0, segments)))
