"""Reading raw Cap'n Proto words: pointers, structs and lists, every bound checked.

pycapnp reads message bodies; this reads what it cannot: the envelopes of RPC messages without its
cost, and the indexes of capability pointers, which it keeps to itself.
The encoding is https://capnproto.org/encoding.html.
"""

import struct
from collections.abc import Sequence
from typing import Final, TypeAlias

from capenv.errors import ProtocolError

Segments: TypeAlias = Sequence[bytearray | memoryview]
"""The segments of one message, each a whole number of 8-byte words."""

_U16 = struct.Struct("<H").unpack_from
_U32 = struct.Struct("<I").unpack_from
_U64 = struct.Struct("<Q").unpack_from

# Size in bits of a list's elements by the size code of its pointer; 7 is a list of structs.
_ELEMENT_BITS: Final = (0, 1, 8, 16, 32, 64, 64)
_BYTE, _POINTER, _COMPOSITE = 2, 6, 7


class Struct:
    """A struct in a message. What lies past its end reads as zero or null, as the encoding asks."""

    __slots__ = ("_pointers", "data_words", "pointer_count", "segment", "segments", "start")

    def __init__(
        self, segments: Segments, segment: int, start: int, data_words: int, pointer_count: int
    ) -> None:
        self.segments = segments
        self.segment = segment
        self.start = start
        self.data_words = data_words
        self._pointers = start + data_words
        self.pointer_count = pointer_count

    def bit(self, index: int) -> bool:
        """Return the bit at `index`."""
        if index >= self.data_words << 6:
            return False
        return bool(
            self.segments[self.segment][(self.start << 3) + (index >> 3)] >> (index & 7) & 1
        )

    def u16(self, index: int) -> int:
        """Return the 16-bit field at `index`, in units of its size."""
        if index >= self.data_words << 2:
            return 0
        value: int = _U16(self.segments[self.segment], (self.start << 3) + (index << 1))[0]
        return value

    def u32(self, index: int) -> int:
        """Return the 32-bit field at `index`, in units of its size."""
        if index >= self.data_words << 1:
            return 0
        value: int = _U32(self.segments[self.segment], (self.start << 3) + (index << 2))[0]
        return value

    def u64(self, index: int) -> int:
        """Return the 64-bit field at `index`, in units of its size."""
        if index >= self.data_words:
            return 0
        value: int = _U64(self.segments[self.segment], (self.start + index) << 3)[0]
        return value

    def slot(self, index: int) -> tuple[int, int] | None:
        """Return the segment and word of the pointer field at `index`; None past the struct's end."""
        return (self.segment, self._pointers + index) if index < self.pointer_count else None

    def pointer(self, index: int) -> "Struct | List | CapabilityPointer | None":
        """Return what the pointer field at `index` points to; None for null."""
        if index >= self.pointer_count:
            return None
        return follow(self.segments, self.segment, self._pointers + index)

    def struct(self, index: int) -> "Struct":
        """Return the struct at the pointer field; an empty one for null."""
        match self.pointer(index):
            case None:
                return Struct(self.segments, self.segment, self.start, 0, 0)
            case Struct() as found:
                return found
            case _:
                raise ProtocolError("a pointer leads to a list where a struct is due")

    def structs(self, index: int, limit: int) -> "list[Struct]":
        """Return the structs of the list at the pointer field, at most `limit` of them."""
        match self.pointer(index):
            case None:
                return []
            case List(code=code) as found if code == _COMPOSITE:
                if found.count > limit:
                    raise ProtocolError(f"a list of {found.count} where at most {limit} may be")
                return [found.struct(i) for i in range(found.count)]
            case _:
                raise ProtocolError("a pointer leads elsewhere where a list of structs is due")

    def text(self, index: int) -> str:
        """Return the text at the pointer field, without its final zero; "" for null."""
        match self.pointer(index):
            case None:
                return ""
            case List(code=code) as found if code == _BYTE:
                begin = found.start << 3
                data = bytes(self.segments[found.segment][begin : begin + found.count])
                return data.removesuffix(b"\0").decode("utf-8", "replace")
            case _:
                raise ProtocolError("a pointer leads elsewhere where text is due")


class List:
    """A list in a message."""

    __slots__ = ("_data_words", "_pointer_count", "code", "count", "segment", "segments", "start")

    def __init__(
        self,
        segments: Segments,
        segment: int,
        start: int,
        code: int,
        count: int,
        data_words: int = 0,
        pointer_count: int = 0,
    ) -> None:
        self.segments = segments
        self.segment = segment
        self.start = start
        self.code = code
        self.count = count
        self._data_words = data_words
        self._pointer_count = pointer_count

    def struct(self, index: int) -> Struct:
        """Return the element at `index` of a list of structs."""
        words = self._data_words + self._pointer_count
        return Struct(
            self.segments,
            self.segment,
            self.start + index * words,
            self._data_words,
            self._pointer_count,
        )

    def slot(self, index: int) -> tuple[int, int] | None:
        """Return the segment and word of the element at `index` of a list of pointers."""
        if self.code != _POINTER:
            raise ProtocolError("a list of something else where pointers are due")
        return (self.segment, self.start + index) if index < self.count else None


class CapabilityPointer:
    """A pointer to an entry of the message's capability table."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index


Target: TypeAlias = Struct | List | CapabilityPointer | None


def follow(segments: Segments, segment: int, word: int) -> Target:
    """Return what the pointer at a word leads to; None for null.

    Raises:
        ProtocolError: it leads out of the message, or is no pointer.
    """
    if segment >= len(segments):
        raise ProtocolError("a pointer names a segment that the message has not")
    data = segments[segment]
    if word < 0 or (word + 1) << 3 > len(data):
        raise ProtocolError("a pointer lies outside its segment")
    pointer: int = _U64(data, word << 3)[0]
    if pointer == 0:
        return None
    base = word + 1
    if pointer & 3 == 2:
        segment, base, pointer = _follow_far(segments, pointer)
        data = segments[segment]
    match pointer & 3:
        case 0:
            start = base + offset_of(pointer)
            data_words, pointer_count = pointer >> 32 & 0xFFFF, pointer >> 48
            if start < 0 or (start + data_words + pointer_count) << 3 > len(data):
                raise ProtocolError("a struct lies outside its segment")
            return Struct(segments, segment, start, data_words, pointer_count)
        case 1:
            return _list(segments, segment, base + offset_of(pointer), pointer)
        case _ if pointer & 0xFFFFFFFF == 3:
            return CapabilityPointer(pointer >> 32)
        case _:
            raise ProtocolError("a pointer of an unknown kind")


def offset_of(pointer: int) -> int:
    """Return how many words after the word behind it a near pointer leads."""
    offset = (pointer & 0xFFFFFFFF) >> 2
    return offset - (1 << 30) if offset & 1 << 29 else offset


def _follow_far(segments: Segments, pointer: int) -> tuple[int, int, int]:
    """Return segment, base word and pointer word that a far pointer's landing pad stands for."""
    segment, pad, double = pointer >> 32, (pointer & 0xFFFFFFFF) >> 3, pointer & 4
    if segment >= len(segments):
        raise ProtocolError("a far pointer names a segment that the message has not")
    data = segments[segment]
    if (pad + (2 if double else 1)) << 3 > len(data):
        raise ProtocolError("a landing pad lies outside its segment")
    landing: int = _U64(data, pad << 3)[0]
    if not double:
        if landing & 3 == 2:
            raise ProtocolError("a landing pad leads to another")
        return segment, pad + 1, landing
    tag: int = _U64(data, (pad + 1) << 3)[0]
    segment = landing >> 32
    if landing & 7 != 2 or segment >= len(segments):
        raise ProtocolError("a double landing pad leads nowhere")
    if tag & 3 == 2 or (tag & 3 != 3 and offset_of(tag) != 0):
        raise ProtocolError("a double landing pad has a bad tag")
    return segment, (landing & 0xFFFFFFFF) >> 3, tag


def _list(segments: Segments, segment: int, start: int, pointer: int) -> List:
    words_available = len(segments[segment]) >> 3
    code, count = pointer >> 32 & 7, pointer >> 35
    if code != _COMPOSITE:
        words = count * _ELEMENT_BITS[code] + 63 >> 6
        if start < 0 or start + words > words_available:
            raise ProtocolError("a list lies outside its segment")
        return List(segments, segment, start, code, count)
    # Of a list of structs the pointer counts the words; a tag before them counts the elements.
    if start < 0 or start + 1 + count > words_available:
        raise ProtocolError("a list lies outside its segment")
    tag: int = _U64(segments[segment], start << 3)[0]
    elements = (tag & 0xFFFFFFFF) >> 2
    data_words, pointer_count = tag >> 32 & 0xFFFF, tag >> 48
    if tag & 3 or elements * (data_words + pointer_count) > count:
        raise ProtocolError("a list of structs overruns its words")
    return List(segments, segment, start + 1, code, elements, data_words, pointer_count)
