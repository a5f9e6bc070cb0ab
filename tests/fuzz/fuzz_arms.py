"""Messages of every arm of `rpc.capnp`, with ids that may well be in use."""

import struct
from collections.abc import Callable
from random import Random

import attrs
from fuzz_probe import PROBE

from capenv.errors import CapenvError
from capenv.remote.interfaces import ENVIRONMENT, GATE, HOST, SESSION, WORLD
from capenv.rpc.builder import capability_pointer, struct_pointer
from capenv.rpc.decoding import decode
from capenv.rpc.encoding import encode
from capenv.rpc.framing import frame
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
    WireException,
)

_METHODS = [
    method
    for interface in (GATE, HOST, ENVIRONMENT, WORLD, SESSION, PROBE)
    for method in interface.methods.values()
]
# Of an id most conversations use few; then come those that peers choose by themselves.
_IDS: tuple[int, ...] = (*range(6), *range(6), 7, 9, 12, 20, 1 << 30, 1 << 31, (1 << 32) - 1)
_TAGS = (0, 7, 9, 10, 11, 12, 14, 15, 0xFFFF)
"""obsoleteSave, obsoleteDelete, Provide, Accept, Join, and what newer versions may have."""


def arm(random: Random) -> bytes:
    """Return a framed message of some arm."""
    return framed(random.choice(_ARMS)(random))


def framed(message: Message | bytes) -> bytes:
    """Return a message as it is on the wire."""
    return message if isinstance(message, bytes) else b"".join(frame(encode(message)))


def flood(random: Random, message: bytes, limits: Limits) -> list[bytes]:
    """Return one call many times over, as questions of their own: more than may be in flight.

    They are finished at once perhaps, or all wait for the answer of a first that never comes.
    """
    try:
        call = decode([bytearray(message[8:])], limits)
    except CapenvError:
        return [message]
    if not isinstance(call, Call):
        return [message] * 3
    messages: list[Message] = []
    if call.interface_id == PROBE.id and random.random() < 0.5:
        messages.append(attrs.evolve(call, question_id=99, method_id=PROBE["hang"].id))
        call = attrs.evolve(call, target=PromisedAnswer(99, (0,)))
    finish = random.choice((None, True, False))
    for question_id in range(100, 100 + 2 * limits.answers):
        messages.append(attrs.evolve(call, question_id=question_id))
        if finish is not None:
            messages.append(Finish(question_id, finish))
    return [framed(message) for message in messages]


def _id(random: Random) -> int:
    return random.choice(_IDS)


def _answer(random: Random) -> PromisedAnswer:
    path = tuple(random.choice((0, 0, 1, 2, 0xFFFF)) for _ in range(random.choice((0, 1, 1, 2, 9))))
    return PromisedAnswer(_id(random), path)


def _target(random: Random) -> MessageTarget:
    return ImportedTarget(_id(random)) if random.random() < 0.5 else _answer(random)


def _descriptor(random: Random) -> Descriptor:
    match random.randrange(5):
        case 0:
            return NoCapability()
        case 1:
            return SenderHosted(_id(random))
        case 2:
            return SenderHosted(_id(random), promise=True)
        case 3:
            return ReceiverHosted(_id(random))
        case _:
            return ReceiverAnswer(_answer(random))


def _payload(random: Random) -> Payload:
    """Return a struct of three capability pointers, some of them to entries that are not there."""
    table = [_descriptor(random) for _ in range(random.choice((0, 1, 1, 2, 40)))]
    if random.random() < 0.3:
        return Payload([bytearray(capability_pointer(0).to_bytes(8, "little"))], table)
    words = [struct_pointer(0, 1, 3), random.getrandbits(64)]
    words += [random.choice((0, capability_pointer(i), capability_pointer(0))) for i in range(3)]
    return Payload([bytearray(struct.pack("<5Q", *words))], table)


def _exception(random: Random) -> WireException:
    reason = random.choice(
        ("", "why", "UnknownToken: x", "Traceback (most recent call last)\n", "é" * 5000)
    )
    return WireException(random.choice((0, 1, 2, 3, 9)), reason)


def _call(random: Random) -> Message:
    method = random.choice(_METHODS)
    flags = (random.random() < 0.1, random.random() < 0.2, random.random() < 0.2)
    return Call(
        _id(random), _target(random), method.interface_id, method.id, _payload(random), *flags
    )


def _return(random: Random) -> Message:
    outcomes: tuple[Outcome, ...] = (
        Results(_payload(random)),
        _exception(random),
        Canceled(),
        ResultsSentElsewhere(),
        TakeFromOtherQuestion(_id(random)),
    )
    flags = random.random() < 0.5, random.random() < 0.5
    return Return(_id(random), random.choice(outcomes), *flags)


def _resolve(random: Random) -> Message:
    return Resolve(
        _id(random), _exception(random) if random.random() < 0.3 else _descriptor(random)
    )


def _disembargo(random: Random) -> Message:
    context = random.choice((SenderLoopback, ReceiverLoopback))(_id(random))
    return Disembargo(_target(random), context)


def _unimplemented(random: Random) -> Message:
    """Return what says that one of ours, of any arm, was not understood."""
    inner = random.choice(_ARMS)(random)
    segments = [bytearray(s) for s in encode(inner)] if not isinstance(inner, bytes) else []
    return Unimplemented(Unknown(0, segments or [bytearray(8)]))


def _raw(random: Random) -> bytes:
    """Return a message of an arm that the encoder has not: the tag, and a body of three words."""
    body = [random.choice((0, 1, 1 << 32, 3, random.getrandbits(64))) for _ in range(3)]
    words = [struct_pointer(0, 1, 1), random.choice(_TAGS), struct_pointer(0, 1, 2), *body]
    return struct.pack("<II6Q", 0, len(words), *words)


_ARMS: tuple[Callable[[Random], Message | bytes], ...] = (
    _call,
    _call,
    _return,
    _return,
    _resolve,
    _disembargo,
    _unimplemented,
    _raw,
    lambda random: Bootstrap(_id(random)),
    lambda random: Finish(_id(random), random.random() < 0.5, random.random() < 0.5),
    lambda random: Release(_id(random), random.choice((0, 1, 1, 2, (1 << 32) - 1))),
    lambda random: Abort(_exception(random)) if random.random() < 0.2 else _call(random),
)
