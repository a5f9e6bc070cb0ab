"""Ways to spoil one message. Everything follows from a `Random`."""

import struct
from collections.abc import Callable
from random import Random

from capenv.rpc.builder import capability_pointer, struct_pointer

HEADER = 8
"""Bytes of the header of a message of one segment, as nearly all are."""
_MASK = (1 << 64) - 1
_WORDS = (
    0,
    1,
    _MASK,
    1 << 63,
    struct_pointer(-1, 0, 0),
    struct_pointer(-1, 1, 1),
    struct_pointer(0, 0xFFFF, 0xFFFF),
    struct_pointer(0x1FFFFFFF, 1, 1),
    struct_pointer(-0x20000000, 1, 1),
    1 | 2 << 32 | 0x1FFFFFFF << 35,  # bytes without end
    1 | 0x1FFFFFFF << 35,  # as many elements of no size
    1 | 6 << 32 | 0x1FFFFFFF << 35,  # pointers without end
    1 | 7 << 32 | 1 << 35,  # structs, of which the next word tells the count
    0x1FFFFFFF << 2,  # that word: as many structs of no size
    0x3FFFFFFC,
    2,  # far pointers: to the start, elsewhere, past the end, double
    2 | 1 << 32,
    2 | 0x1FFFFFFF << 3,
    6,
    6 | 1 << 3,
    capability_pointer(0),
    capability_pointer(1),
    capability_pointer(0xFFFFFFFF),
    7,  # pointers of no kind
    0xFFFFFFFF,
)
Spoil = Callable[[Random, bytearray, range, bytes], bytes | bytearray]
"""From a sound message, the places of its words that may change, and another to take parts from."""


def _pointer(random: Random, message: bytearray, where: range) -> int:
    """Return where some word begins that may be a pointer to a struct or list."""
    place = random.choice(where)
    for start in range(place, where[-1] + 1, 8):
        if message[start] > 0 and message[start] & 3 < 2:
            return start
    return place


def _flip(random: Random, message: bytearray, where: range, _: bytes) -> bytearray:
    for _bit in range(random.choice((1, 1, 2, 4))):
        bit = random.randrange(64)
        message[random.choice(where) + (bit >> 3)] ^= 1 << (bit & 7)
    return message


def _replace(random: Random, message: bytearray, where: range, _: bytes) -> bytearray:
    struct.pack_into("<Q", message, random.choice(where), random.choice(_WORDS))
    return message


def _replace_pointer(random: Random, message: bytearray, where: range, _: bytes) -> bytearray:
    struct.pack_into("<Q", message, _pointer(random, message, where), random.choice(_WORDS))
    return message


def _bend(random: Random, message: bytearray, where: range, _: bytes) -> bytearray:
    """Change where a pointer leads, or what it says is there."""
    place = _pointer(random, message, where)
    (pointer,) = struct.unpack_from("<Q", message, place)
    change = random.choice(
        (1 << 2, -1 << 2, 1 << 32, 1 << 33, 1 << 35, -1 << 35, 1 << 48, 1 << 52, 1)
    )
    struct.pack_into("<Q", message, place, (pointer + change * random.randint(1, 4)) & _MASK)
    return message


def _small(random: Random, message: bytearray, where: range, _: bytes) -> bytearray:
    """Set a number: an id, a tag, a method."""
    place = random.choice(where) + random.choice((0, 2, 4, 6))
    struct.pack_into("<H", message, place, random.choice((*range(9), 0xFFFF)))
    return message


def _copy(random: Random, message: bytearray, where: range, other: bytes) -> bytearray:
    """Put words of another message, or of this, somewhere."""
    source = other if random.random() < 0.5 else bytes(message)
    begin = random.randrange(HEADER, max(HEADER + 8, len(source)), 8)
    words = source[begin : begin + 8 * random.choice((1, 2, 8))]
    place = random.choice(where)
    end = min(place + len(words), where[-1] + 8)
    message[place:end] = words[: end - place]
    return message


def _shorten(random: Random, message: bytearray, where: range, _: bytes) -> bytearray:
    """Take words off the end, in the header too."""
    del message[max(16, random.choice(where)) :]
    struct.pack_into("<I", message, 4, (len(message) - HEADER) >> 3)
    return message


def _lengthen(random: Random, message: bytearray, where: range, other: bytes) -> bytearray:
    """Append words, in the header too."""
    message += other[HEADER : HEADER + 8 * random.choice((1, 8, 100))]
    del message[len(message) & ~7 :]
    struct.pack_into("<I", message, 4, (len(message) - HEADER) >> 3)
    return message


def _far(random: Random, message: bytearray, where: range, _: bytes) -> bytes | bytearray:
    """Spell a pointer as a far one, which changes nothing: in this segment, or double in another."""
    place = _pointer(random, message, where)
    (pointer,) = struct.unpack_from("<Q", message, place)
    if struct.unpack_from("<I", message)[0] or pointer & 3 > 1:
        return message
    word, words = (place - HEADER) >> 3, (len(message) - HEADER) >> 3
    offset = pointer >> 2 & 0x3FFFFFFF
    target = word + 1 + (offset - (1 << 30) if offset & 1 << 29 else offset)
    if random.random() < 0.5:
        near = pointer & ~0xFFFFFFFC | ((target - words - 1) << 2 & 0xFFFFFFFC)
        struct.pack_into("<Q", message, place, 2 | words << 3)
        struct.pack_into("<I", message, 4, words + 1)
        return bytes(message) + struct.pack("<Q", near)
    struct.pack_into("<Q", message, place, 6 | 1 << 32)
    pads = struct.pack("<QQ", 2 | max(target, 0) << 3, pointer & ~0xFFFFFFFC)
    return struct.pack("<IIII", 1, words, 2, 0) + message[HEADER:] + pads


def _split_segment(random: Random, message: bytearray, where: range, _: bytes) -> bytes | bytearray:
    """Let a second segment begin in the midst of the first."""
    words = (len(message) - HEADER) >> 3
    if struct.unpack_from("<I", message)[0]:
        return message
    first = random.randrange(words)
    return struct.pack("<IIII", 1, first, words - first, 0) + message[HEADER:]


def _header(random: Random, message: bytearray, where: range, _: bytes) -> bytearray:
    """Lie about the segments: what follows is read at the wrong places."""
    place, values = random.choice(((0, (1, 15, 16, 511, 512)), (4, (0, 1, 1 << 15, 1 << 20))))
    struct.pack_into("<I", message, place, random.choice((*values, (1 << 32) - 1)))
    return message


def _break_off(random: Random, message: bytearray, where: range, _: bytes) -> bytearray:
    """Lose bytes on the way."""
    del message[random.randrange(1, len(message)) :]
    return message


ON_WORDS: tuple[Spoil, ...] = (_flip, _replace, _replace_pointer, _bend, _small, _copy)
"""What leaves the message as long as it is, and changes nothing but the given words."""
ANYHOW: tuple[Spoil, ...] = (
    *ON_WORDS * 3,
    *(_far, _shorten, _lengthen, _split_segment) * 2,
    _header,
    _break_off,
)
