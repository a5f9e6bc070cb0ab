"""Cap'n Proto to messages: the envelope read, the body cut free.

The inverse of `capenv.rpc.encoding`: word 0 of the received segment 0 is pointed at the body's
content, so that the body is a message of its own again, without a copy.
"""

import struct
from typing import Final

from capenv.errors import ProtocolError
from capenv.rpc.builder import moved
from capenv.rpc.limits import Limits
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
    Outcome,
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
from capenv.rpc.pointers import Segments, Struct, follow

_U64 = struct.Struct("<Q")
_NESTED_UNIMPLEMENTED: Final = "an Unimplemented about an Unimplemented"


def decode(segments: Segments, limits: Limits) -> Message:
    """Return the message in `segments`, which must be writable and are the message's from now on.

    Raises:
        ProtocolError: it is no message of `rpc.capnp`, or passes a limit.
    """
    match follow(segments, 0, 0):
        case Struct() as root:
            return _decode(root, segments, limits)
        case _:
            raise ProtocolError("a message without a root struct")


def _decode(root: Struct, segments: Segments, limits: Limits) -> Message:
    body = root.struct(0)
    match root.u16(0):
        case 0:
            return _unimplemented(body, segments, limits)
        case 1:
            return Abort(_exception(body))
        case 2:
            return _call(body, segments, limits)
        case 3:
            return _return(body, segments, limits)
        case 4:
            return Finish(body.u32(0), not body.bit(32), not body.bit(33))
        case 5:
            return _resolve(body, segments, limits)
        case 6:
            return Release(body.u32(0), body.u32(1))
        case 8:
            return Bootstrap(body.u32(0))
        case 13:
            return _disembargo(body, segments, limits)
        case tag:
            return Unknown(tag, segments)


def _unimplemented(body: Struct, segments: Segments, limits: Limits) -> Unimplemented:
    # A message of zeros reads as Unimplemented of Unimplemented of ...; one level is all there may be.
    if body.pointer_count == 0:
        return Unimplemented(None)
    if body.u16(0) == 0:
        raise ProtocolError(_NESTED_UNIMPLEMENTED)
    return Unimplemented(_decode(body, segments, limits))


def _call(body: Struct, segments: Segments, limits: Limits) -> Call | Unknown:
    destination = body.u16(3)
    target = _target(body.struct(0), limits)
    if destination > 1 or target is None:  # sendResultsTo.thirdParty, or newer than we know
        return Unknown(2, segments)
    return Call(
        question_id=body.u32(0),
        target=target,
        interface_id=body.u64(1),
        method_id=body.u16(2),
        params=_payload(body.struct(1), segments, limits),
        results_to_yourself=destination == 1,
        no_promise_pipelining=body.bit(129),
        only_promise_pipeline=body.bit(130),
    )


def _return(body: Struct, segments: Segments, limits: Limits) -> Return | Unknown:
    outcome: Outcome
    match body.u16(3):
        case 0:
            outcome = Results(_payload(body.struct(0), segments, limits))
        case 1:
            outcome = _exception(body.struct(0))
        case 2:
            outcome = Canceled()
        case 3:
            outcome = ResultsSentElsewhere()
        case 4:
            outcome = TakeFromOtherQuestion(body.u32(2))
        case _:  # acceptFromThirdParty, or newer than we know
            return Unknown(3, segments)
    return Return(body.u32(0), outcome, not body.bit(32), body.bit(33))


def _resolve(body: Struct, segments: Segments, limits: Limits) -> Resolve | Unknown:
    match body.u16(2):
        case 0:
            return Resolve(body.u32(0), _descriptor(body.struct(0), limits))
        case 1:
            return Resolve(body.u32(0), _exception(body.struct(0)))
        case _:
            return Unknown(5, segments)


def _disembargo(body: Struct, segments: Segments, limits: Limits) -> Disembargo | Unknown:
    target = _target(body.struct(0), limits)
    match body.u16(2):
        case 0 if target is not None:
            return Disembargo(target, SenderLoopback(body.u32(0)))
        case 1 if target is not None:
            return Disembargo(target, ReceiverLoopback(body.u32(0)))
        case _:
            return Unknown(13, segments)


def _payload(payload: Struct, segments: Segments, limits: Limits) -> Payload:
    table = [_descriptor(entry, limits) for entry in payload.structs(1, limits.capabilities)]
    _make_root(segments, payload.slot(0))
    return Payload(segments, table)


def _make_root(segments: Segments, slot: tuple[int, int] | None) -> None:
    """Point word 0 of segment 0 at what the pointer in `slot` points to."""
    if slot is None:
        _U64.pack_into(segments[0], 0, 0)
        return
    segment, word = slot
    pointer: int = _U64.unpack_from(segments[segment], word << 3)[0]
    if segment == 0:
        pointer = moved(pointer, -word)
    elif pointer & 3 < 2 and pointer != 0:
        # A near pointer elsewhere serves as the landing pad of a far one.
        pointer = 2 | word << 3 | segment << 32
    _U64.pack_into(segments[0], 0, pointer)


def _descriptor(body: Struct, limits: Limits) -> Descriptor:
    match body.u16(0):
        case 0:
            return NoCapability()
        case 1:
            return SenderHosted(body.u32(1))
        case 2:
            return SenderHosted(body.u32(1), promise=True)
        case 3:
            return ReceiverHosted(body.u32(1))
        case 4:
            answer = _promised_answer(body.struct(0), limits)
            return UnknownDescriptor(4) if answer is None else ReceiverAnswer(answer)
        case 5:  # thirdPartyHosted: a level 1 peer uses the vine (ThirdPartyCapDescriptor.vineId)
            return SenderHosted(body.struct(0).u32(0))
        case tag:
            return UnknownDescriptor(tag)


def _target(body: Struct, limits: Limits) -> MessageTarget | None:
    match body.u16(2):
        case 0:
            return ImportedTarget(body.u32(0))
        case 1:
            return _promised_answer(body.struct(0), limits)
        case _:
            return None


def _promised_answer(body: Struct, limits: Limits) -> PromisedAnswer | None:
    """Return None when the path has a step of a kind unknown to us."""
    steps: list[int] = []
    for operation in body.structs(0, limits.transform):
        match operation.u16(0):
            case 0:  # noop
                pass
            case 1:  # getPointerField
                steps.append(operation.u16(1))
            case _:
                return None
    return PromisedAnswer(body.u32(0), tuple(steps))


def _exception(body: Struct) -> WireException:
    return WireException(body.u16(2), body.text(0))
