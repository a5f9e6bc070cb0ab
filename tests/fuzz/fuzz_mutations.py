"""Ways to meddle with a conversation: with its messages, their order and the stream they come in."""

import struct
from collections.abc import Sequence
from random import Random

import attrs
from fuzz_arms import arm, flood
from fuzz_flows import LIMITS
from fuzz_spoils import ANYHOW, HEADER, ON_WORDS

from capenv.rpc.pointers import Struct, follow

_CALL, _RETURN = 2, 3  # the tags in Message
_QUESTION_WORD = 3
"""Of a Call: behind the root pointer and the two words of the Message."""


@attrs.frozen
class Piece:
    """A message on its way, or several sound ones, and whether somebody meddled with it."""

    data: bytes
    mutated: bool


def spoil(random: Random, message: bytes, other: bytes) -> bytes:
    """Return a message with one to three changes, anywhere in it."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        if len(message) < 3 * HEADER:
            break
        where = range(HEADER, len(message) - 7, 8)
        message = bytes(random.choice(ANYHOW)(random, bytearray(message), where, other))
    return message


def spoil_body(random: Random, message: bytes, other: bytes) -> list[Piece]:
    """Return a message with changes in the params or results alone, which mostly fail a call alone.

    A call comes several times perhaps, as questions of their own.
    """
    # The encoder puts the envelope before the body: the root pointer, the Message and the Call or Return.
    tag = message[HEADER + 8]
    where = range(_body_of(message, tag), len(message) - 7, 8)
    if message[0] or not where:
        return [Piece(message, False)]
    copies = []
    for copy in range(random.choice((1, 4, 8, 24)) if tag == _CALL else 1):
        data = bytearray(message)
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            random.choice(ON_WORDS)(random, data, where, other)
        if copy:
            question_id = 1000 + random.getrandbits(16)
            struct.pack_into("<I", data, HEADER + 8 * _QUESTION_WORD, question_id)
        copies.append(Piece(bytes(data), True))
    return copies


def _body_of(message: bytes, tag: int) -> int:
    """Return the byte where the params or results of a message begin; its end where there are none."""
    if message[0] or tag not in (_CALL, _RETURN):
        return len(message)
    root = follow([memoryview(message)[HEADER:]], 0, 0)
    assert isinstance(root, Struct)
    body = root.struct(0).struct(1 if tag == _CALL else 0).pointer(0)
    return HEADER + 8 * body.start if isinstance(body, Struct) else len(message)


def meddle(
    random: Random, messages: Sequence[bytes], first: int, others: Sequence[bytes]
) -> list[Piece]:
    """Return a conversation that is sound up to `first` and changed here and there from then on.

    Some conversations are sound, with messages of every arm between. In others changes to bodies are the
    most, as a connection lives on after them.
    """
    rate, gentle = random.choice((0.5, 0.9, 1.0)), random.choice((0.5, 0.9, 0.97, 1.0))
    rest = list(messages[first:])
    if random.random() < 0.1:
        random.shuffle(rest)
    pieces = [Piece(b"".join(messages[:first]), False)] if first else []
    if random.random() < 0.3:
        for message in rest:
            pieces += [Piece(arm(random), True) for _ in range(random.choice((0, 1, 2)))]
            pieces.append(Piece(message, False))
        return pieces
    for message in rest:
        if random.random() > rate:
            pieces.append(Piece(message, False))
        elif random.random() < gentle:
            pieces += spoil_body(random, message, random.choice(others))
        else:
            pieces += _rough(random, message, random.choice(others))
    return pieces


def _rough(random: Random, message: bytes, other: bytes) -> list[Piece]:
    match random.randrange(20):
        case 0:
            return []  # lost
        case 1:
            return [Piece(message, False), Piece(message, True)]
        case 2:
            return [Piece(other, True)]
        case 3 | 4:
            return [Piece(arm(random), True), Piece(message, False)]
        case 5 if random.random() < 0.2:
            return [Piece(each, True) for each in flood(random, message, LIMITS)]
        case _:
            return [Piece(spoil(random, message, other), True)]


def split(random: Random, data: bytes) -> list[bytes]:
    """Cut a stream where no message ends, as a network may."""
    if random.random() < 0.9:
        return [data]
    size = random.choice((7, 8, 60, 200, 500))
    if len(data) < 100:
        size = random.choice((1, 3, size))
    return [data[start : start + size] for start in range(0, len(data), size)]
