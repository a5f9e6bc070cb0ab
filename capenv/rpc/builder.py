"""Writing raw Cap'n Proto words: the envelopes of RPC messages, around bodies that are already there."""

import struct
from typing import Final

_U16 = struct.Struct("<H").pack_into
_U32 = struct.Struct("<I").pack_into
_U64 = struct.Struct("<Q").pack_into
_MASK: Final = (1 << 64) - 1


def struct_pointer(offset: int, data_words: int, pointer_count: int) -> int:
    """Return the word that points to a struct `offset` words after the word behind it."""
    return (offset << 2) & 0xFFFFFFFC | data_words << 32 | pointer_count << 48


def capability_pointer(index: int) -> int:
    """Return the word that points to an entry of the capability table."""
    return 3 | index << 32


def far_pointer(segment: int, word: int) -> int:
    """Return the word that points to a landing pad."""
    return 2 | word << 3 | segment << 32


def moved(pointer: int, distance: int) -> int:
    """Return what a pointer word must read after it moved `distance` words on in its segment.

    Near pointers are relative to where they stand; far and capability pointers are not.
    """
    if pointer == 0 or pointer & 2:
        return pointer
    offset = ((pointer & 0xFFFFFFFF) >> 2) - distance
    return pointer & 0xFFFFFFFF_00000003 | (offset << 2) & 0xFFFFFFFC


class Builder:
    """Appends structs, lists and texts to one segment. Places are word indexes."""

    __slots__ = ("segment",)

    def __init__(self, segment: bytearray) -> None:
        self.segment = segment

    def struct(self, slot: int, data_words: int, pointer_count: int) -> int:
        """Append a struct of zeros, point the word at `slot` to it and return its place."""
        place = self._append(data_words + pointer_count)
        pointer = struct_pointer(place - slot - 1, data_words, pointer_count)
        _U64(self.segment, slot << 3, pointer)
        return place

    def structs(self, slot: int, count: int, data_words: int, pointer_count: int) -> range:
        """Append a list of structs of zeros, point the word at `slot` to it; return their places."""
        size = data_words + pointer_count
        tag = self._append(1 + count * size)
        _U64(self.segment, tag << 3, struct_pointer(count, data_words, pointer_count))
        _U64(self.segment, slot << 3, 1 | (tag - slot - 1) << 2 | 7 << 32 | count * size << 35)
        return range(tag + 1, tag + 1 + count * size, size)

    def text(self, slot: int, text: str) -> None:
        """Append a text and point the word at `slot` to it."""
        # A path that is no UTF-8 has surrogates in it: sending its error must not fail.
        data = text.encode(errors="replace") + b"\0"
        place = self._append(len(data) + 7 >> 3)
        self.segment[place << 3 : (place << 3) + len(data)] = data
        _U64(self.segment, slot << 3, 1 | (place - slot - 1) << 2 | 2 << 32 | len(data) << 35)

    def at(self, place: int) -> int:
        """Return the word at `place`."""
        return int.from_bytes(self.segment[place << 3 : (place + 1) << 3], "little")

    def word(self, place: int, value: int) -> None:
        """Set the word at `place`."""
        _U64(self.segment, place << 3, value & _MASK)

    def bit(self, struct: int, index: int, value: bool) -> None:
        """Set or clear a bit of a struct's data."""
        byte = (struct << 3) + (index >> 3)
        self.segment[byte] = self.segment[byte] & ~(1 << (index & 7)) | value << (index & 7)

    def u16(self, struct: int, index: int, value: int) -> None:
        """Set the 16-bit field at `index` of a struct's data, in units of its size."""
        _U16(self.segment, (struct << 3) + (index << 1), value)

    def u32(self, struct: int, index: int, value: int) -> None:
        """Set the 32-bit field at `index` of a struct's data, in units of its size."""
        _U32(self.segment, (struct << 3) + (index << 2), value)

    def u64(self, struct: int, index: int, value: int) -> None:
        """Set the 64-bit field at `index` of a struct's data, in units of its size."""
        _U64(self.segment, (struct + index) << 3, value)

    def _append(self, words: int) -> int:
        place = len(self.segment) >> 3
        self.segment += bytes(words << 3)
        return place
