"""Messages to Cap'n Proto: an envelope built behind the body that it carries.

A body arrives as a message of its own whose root pointer is word 0 of segment 0. The envelope is
appended to a copy of that segment, word 0 is pointed at it, and the old root moves into the envelope's
`content`: nothing of the body moves, so its other segments go out as they are.

A long first segment is not copied either: the envelope becomes a segment of its own, behind the others, and
only a new word 0 goes out before the rest of the first.
Struct sizes and field places are those of the `rpc.capnp` that ships with pycapnp; a test compares.
"""

from collections.abc import Sequence
from typing import Final, assert_never

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
    match message:
        case Call(params=payload) | Return(outcome=Results(payload=payload)):
            if len(payload.segments[0]) > _COPIED and len(payload.segments) < _MANY:
                return _spliced(message, payload.segments)
            segments: list[Segment] = [bytearray(payload.segments[0]), *payload.segments[1:]]
        case Unimplemented(message=Unknown(segments=inner)) | Unknown(segments=inner):
            segments = [bytearray(inner[0]), *inner[1:]]
        case _:
            segments = [bytearray(8)]
    body = segments[0]
    assert isinstance(body, bytearray)
    builder = Builder(body)
    content = int.from_bytes(body[:8], "little")
    envelope = builder.struct(0, *_MESSAGE)
    if isinstance(message, Unimplemented | Unknown):
        # The old root is the very message that was not understood; Unimplemented has tag 0.
        builder.word(envelope + 1, moved(content, envelope + 1))
        return segments
    tag, data_words, pointers = _SIZES[type(message)]
    builder.u16(envelope, 0, tag)
    place = builder.struct(envelope + 1, data_words, pointers)
    _write(builder, place, message, content)
    return segments


def _spliced(message: Call | Return, body: Segments) -> Sequence[Segment]:
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
    envelope = builder.struct(0, *_MESSAGE)
    tag, data_words, pointers = _SIZES[type(message)]
    builder.u16(envelope, 0, tag)
    place = builder.struct(envelope + 1, data_words, pointers)
    _write(builder, place, message, content)
    return [(far_pointer(last, 0).to_bytes(8, "little"), first[8:]), *body[1:], segment]


def _write(
    builder: Builder,
    place: int,
    message: Bootstrap | Call | Return | Finish | Resolve | Release | Disembargo | Abort,
    content: int,
) -> None:
    match message:
        case Bootstrap(question_id=question_id):
            builder.u32(place, 0, question_id)
        case Call():
            _write_call(builder, place, message, content)
        case Return():
            _write_return(builder, place, message, content)
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


def _write_call(builder: Builder, place: int, call: Call, content: int) -> None:
    builder.u32(place, 0, call.question_id)
    builder.u16(place, 2, call.method_id)
    builder.u16(place, 3, call.results_to_yourself)
    builder.u64(place, 1, call.interface_id)
    builder.bit(place, 129, call.no_promise_pipelining)
    builder.bit(place, 130, call.only_promise_pipeline)
    _write_target(builder, place + 3, call.target)
    _write_payload(builder, place + 4, call.params, content)


def _write_return(builder: Builder, place: int, message: Return, content: int) -> None:
    builder.u32(place, 0, message.answer_id)
    builder.bit(place, 32, not message.release_param_caps)
    builder.bit(place, 33, message.no_finish_needed)
    match message.outcome:
        case Results(payload=payload):
            builder.u16(place, 3, 0)
            _write_payload(builder, place + 2, payload, content)
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


def _write_payload(builder: Builder, slot: int, payload: Payload, content: int) -> None:
    place = builder.struct(slot, 0, 2)
    builder.word(place, moved(content, place))
    if payload.table:
        places = builder.structs(place + 1, len(payload.table), 1, 1)
        for entry, descriptor in zip(places, payload.table, strict=True):
            _write_descriptor(builder, entry, descriptor)


def _write_descriptor(builder: Builder, place: int, descriptor: Descriptor) -> None:
    match descriptor:
        case NoCapability():
            pass
        case SenderHosted(id=export_id, promise=promise):
            builder.u16(place, 0, 2 if promise else 1)
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
