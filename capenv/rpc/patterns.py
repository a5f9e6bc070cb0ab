"""Messages that are alike: written and read by comparing what is always the same.

Whoever makes one call again and again sends the same bytes, but for some numbers and a run of bytes whose
places never change. What differs is put into a copy of the message, or taken out of one that is equal in
all the rest: the same bytes on the wire as if they were built and read, for a fraction of the work.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import attrs

from capenv.link import Buffer

Fields: TypeAlias = Sequence[Any]
"""The numbers in which one message differs from another."""

Frame: TypeAlias = Buffer | tuple[Buffer, ...]
"""A run of bytes, whole or in pieces."""

HEADER: Final = 8
"""Bytes before the one segment of a message."""


@attrs.frozen
class Shape:
    """Where contents differ that are of one segment and otherwise alike."""

    fields: tuple[tuple[int, str], ...] = ()
    """Byte and format (as of `struct`, little-endian) of every number, in the order of their places."""
    frame: tuple[int, int] = (0, 0)
    """First byte of the run of bytes, behind all fields, and its length."""

    def moved(self, distance: int) -> "Shape":
        """Return the shape of what stands so many bytes further on."""
        fields = tuple((place + distance, code) for place, code in self.fields)
        return Shape(fields, (self.frame[0] + distance, self.frame[1]))


class Pattern:
    """A whole message, its header included, in which fields and a frame differ from time to time."""

    __slots__ = (
        "_constants",
        "_head",
        "_pack",
        "_places",
        "_tail",
        "_unpack",
        "frame_start",
        "frame_stop",
        "size",
    )

    def __init__(self, message: Buffer, shape: Shape) -> None:
        """Take a message as an example. The fields of a shape without a frame may lie anywhere."""
        start, length = shape.frame
        self.size = len(message)
        """Bytes."""
        self.frame_start = start if length else self.size
        self.frame_stop = start + length if length else self.size
        self._head = bytearray(message[: self.frame_start])
        self._tail = bytes(message[self.frame_stop :])
        self._pack = _runs(shape.fields)
        at, pieces = 0, []
        for place, code in shape.fields:
            pieces.append(f"{place - at}s{code}")
            at = place + struct.calcsize("<" + code)
        pieces.append(f"{self.frame_start - at}s")
        reader = struct.Struct("<" + "".join(pieces))
        self._unpack = reader.unpack_from
        self._constants = reader.unpack_from(self._head)[::2]

    def write(self, fields: Fields, *frame: Buffer) -> list[Buffer]:
        """Return the buffers of the message with these fields and this frame, which is not copied."""
        for pack, at, first, last in self._pack:
            pack(self._head, at, *fields[first:last])
        return [bytes(self._head), *frame, self._tail]

    def join(self, fields: Fields, frame: Buffer) -> bytes:
        """Return the message with these fields and this frame."""
        for pack, at, first, last in self._pack:
            pack(self._head, at, *fields[first:last])
        return b"".join((self._head, frame, self._tail))

    def read(self, message: Buffer, start: int = 0) -> Fields | None:
        """Return the fields of the message that begins there, and is as long; None if it is another."""
        values = self._unpack(message, start)
        if values[::2] != self._constants:
            return None
        if self._tail and message[start + self.frame_stop : start + self.size] != self._tail:
            return None
        return values[1::2]


def _runs(
    fields: tuple[tuple[int, str], ...],
) -> list[tuple[Callable[..., None], int, int, int]]:
    """Return what packs each run of adjacent fields: into where, and the first and last but one of them."""
    runs: list[tuple[Callable[..., None], int, int, int]] = []
    codes, start, end, first = "<", 0, -1, 0
    for index, (place, code) in enumerate([*fields, (-1, "")]):
        if place != end:
            if len(codes) > 1:
                runs.append((struct.Struct(codes).pack_into, start, first, index))
            codes, start, first = "<", place, index
        codes += code
        end = start + struct.calcsize(codes)
    return runs


def header(segment: Buffer) -> bytes:
    """Return what goes before the one segment of a message."""
    return struct.pack("<II", 0, len(segment) >> 3)


def framed(segment: Buffer) -> bytes:
    """Return a message of one segment as it goes over the wire."""
    return header(segment) + bytes(segment)


def sole(segments: Sequence[Buffer]) -> bool:
    """Return whether a message is of one segment, with more than a root pointer in it."""
    return len(segments) == 1 and len(segments[0]) > 8
