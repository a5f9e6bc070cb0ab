"""Between a byte stream and whole messages.

A frame is the segment count less one and each segment's words, all 32-bit, padded to a word, then
the segments (https://capnproto.org/encoding.html#serialization-over-a-stream).
"""

import itertools
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

import numpy as np

from capenv.errors import ProtocolError
from capenv.link import Buffer
from capenv.rpc.limits import Limits
from capenv.rpc.pointers import Segments

CHUNK: Final = 1 << 16
"""Bytes of the memory into which a reader takes messages that are not longer."""
_ONE_SEGMENT = struct.Struct("<II")
_U32 = struct.Struct("<I").unpack_from


Segment: TypeAlias = Buffer | tuple[Buffer, ...]
"""A segment that is to be sent, whole or in pieces."""
Express: TypeAlias = Callable[[memoryview, int, int], bool]
"""Shown a message from a place to a place in a chunk, says whether it has dealt with it."""


def frame(segments: Sequence[Segment]) -> list[Buffer]:
    """Return the buffers that carry a message: a header, then its segments, none of them copied."""
    if len(segments) == 1 and not isinstance(segments[0], tuple):
        return [_ONE_SEGMENT.pack(0, len(segments[0]) >> 3), segments[0]]
    pieces = [segment if isinstance(segment, tuple) else (segment,) for segment in segments]
    sizes = [sum(map(len, segment)) >> 3 for segment in pieces]
    header = struct.pack(f"<{len(sizes) + 1}I", len(sizes) - 1, *sizes)
    # An empty segment is in the header alone: a driver need not know buffers that never get sent.
    return [header + bytes(len(header) & 4), *filter(len, itertools.chain(*pieces))]


class MessageReader:
    """Cuts a byte stream into messages.

    The driver receives into `buffer()` and reports how much came to `received`. A message is copied
    once out of the chunk it came in, or, when it is larger than a chunk, received where it stays.
    Each message's memory is its own and writable. Of what a header announces, only what has come
    takes up memory: the rest is address space.
    """

    def __init__(self, limits: Limits, express: Express | None = None) -> None:
        """Begin. `express` is shown every message where it lies, and may take it from there."""
        self._limits = limits
        self._express = express
        self._chunk = memoryview(bytearray(CHUNK))
        self._start = 0
        self._filled = 0
        self._large: memoryview | None = None
        self._large_filled = 0

    def buffer(self) -> memoryview:
        """Return the memory to receive into next; never empty."""
        if self._large is not None:
            return self._large[self._large_filled :]
        if self._start:
            self._compact()
        return self._chunk[self._filled :]

    def free_chunk(self) -> memoryview | None:
        """Return `buffer()` if the stream stands between messages: then it is always the same."""
        if self._start != self._filled or self._large is not None:
            return None
        self._start = self._filled = 0
        return self._chunk

    @property
    def mid_message(self) -> bool:
        """Whether the stream would break off inside a message if it ended now."""
        return self._filled > self._start or self._large is not None

    def received(self, count: int) -> Iterator[Segments]:
        """Take `count` bytes as received into `buffer()`; yield the messages now complete.

        All are to be taken before more is received, or none any more.

        Raises:
            ProtocolError: a header asks for more than the limits allow. Nothing was allocated for it.
        """
        if self._large is None:
            self._filled += count
            return self._cut()
        self._large_filled += count
        if self._large_filled < len(self._large):
            return iter(())
        message, self._large = self._large, None
        size = self._size(message, len(message))
        assert size is not None
        if self._express is not None and self._express(message, 0, len(message)):
            return iter(())
        return iter([_segments(message, size[0])])

    def _cut(self) -> Iterator[Segments]:
        chunk = self._chunk
        while self._start < self._filled:
            start = self._start
            size = self._size(chunk[start:], self._filled - start)
            if size is None:
                break
            header, total = size
            if total > self._filled - start:
                if total > CHUNK:
                    # Not a bytearray, which writes zeros to all of it.
                    self._large = np.empty(total, np.uint8).data
                    self._large_filled = self._filled - start
                    self._large[: self._large_filled] = chunk[start : self._filled]
                    self._start = self._filled
                break
            self._start = start + total
            if self._express is None or not self._express(chunk, start, start + total):
                yield _segments(memoryview(bytearray(chunk[start : start + total])), header)

    def _compact(self) -> None:
        rest = self._filled - self._start
        if rest:
            self._chunk[:rest] = bytes(self._chunk[self._start : self._filled])
        self._start, self._filled = 0, rest

    def _size(self, data: memoryview, available: int) -> tuple[int, int] | None:
        """Return the bytes of the header and of the whole message; None while the header is short."""
        if available < 4:
            return None
        count = _U32(data, 0)[0] + 1
        if count > self._limits.segments:
            raise ProtocolError(
                f"a message of {count} segments, more than the {self._limits.segments} allowed;"
                " perhaps the peer does not speak Cap'n Proto"
            )
        header = (4 + 4 * count + 7) & ~7
        if available < header:
            return None
        total = header + 8 * sum(struct.unpack_from(f"<{count}I", data, 4))
        if total > self._limits.message_bytes:
            raise ProtocolError(
                f"a message of {total} bytes, more than the {self._limits.message_bytes} allowed;"
                " perhaps the peer does not speak Cap'n Proto"
            )
        return header, total


def _segments(message: memoryview, header: int) -> Segments:
    count: int = _U32(message, 0)[0] + 1
    if count == 1:
        return [message[header:]]
    segments: list[memoryview] = []
    start = header
    for words in struct.unpack_from(f"<{count}I", message, 4):
        segments.append(message[start : start + 8 * words])
        start += 8 * words
    return segments
