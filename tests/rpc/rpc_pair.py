"""Two connections joined by byte pipes that split anywhere, and contents made by hand."""

import struct
from collections.abc import Iterator, Sequence

from capenv.errors import Disconnected
from capenv.rpc.builder import capability_pointer
from capenv.rpc.capability import Capability, Content, Hosted
from capenv.rpc.connection import Connection
from capenv.rpc.decoding import decode
from capenv.rpc.events import Event
from capenv.rpc.framing import MessageReader, Segment
from capenv.rpc.limits import Limits
from capenv.rpc.messages import Message
from capenv.rpc.pointers import Struct, follow

SLOTS = 2
"""Capabilities that the root of `numbered` content has room for."""


class Thing:
    """An object to call: of one side, with a name for error messages."""

    def __init__(self, side: int, name: str = "") -> None:
        self.side = side
        self.name = name

    def __repr__(self) -> str:
        return f"<thing {self.name} of {self.side}>"


def numbered(number: int, capabilities: Sequence[Capability | None] = ()) -> Content:
    """Return content that holds a number, and capabilities in its pointer fields."""
    words = [capability_pointer(index) for index in range(len(capabilities))]
    words += [0] * (SLOTS - len(words))
    root = 1 << 32 | SLOTS << 48
    return Content([bytearray(struct.pack(f"<{2 + SLOTS}Q", root, number, *words))], capabilities)


def number_of(content: Content) -> int:
    root = follow(content.segments, 0, 0)
    assert isinstance(root, Struct)
    return root.u64(0)


class Pair:
    """Two connections. Side 0 and side 1 each offer a thing to begin with."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.offered = [Thing(0, "offered"), Thing(1, "offered")]
        self.cores = [Connection(Hosted(thing), limits) for thing in self.offered]
        self.readers = [MessageReader(core.limits) for core in self.cores]
        self.pipes = [bytearray(), bytearray()]
        """Bytes on their way to each side."""

    def collect(self, side: int) -> None:
        """Put what a side wants to send on its way."""
        for buffer in self.cores[side].data_to_send():
            self.pipes[1 - side] += buffer

    def deliver(self, side: int, limit: int = 1 << 30) -> bool:
        """Let at most `limit` of the bytes on their way to a side arrive."""
        self.collect(1 - side)
        pipe, reader = self.pipes[side], self.readers[side]
        buffer = reader.buffer()
        count = min(limit, len(pipe), len(buffer))
        if not count:
            return False
        buffer[:count] = pipe[:count]
        del pipe[:count]
        for segments in reader.received(count):
            self.cores[side].receive(segments)
        return True

    def settle(self) -> None:
        """Deliver until nothing is on its way."""
        while self.deliver(0) | self.deliver(1):
            pass

    def lose(self) -> None:
        """Cut the link."""
        for side in (0, 1):
            self.collect(side)
            self.pipes[side].clear()
            self.cores[side].disconnect(Disconnected("the cable was pulled"))

    def events(self, side: int) -> Iterator[Event]:
        """Take a side's events."""
        while (event := self.cores[side].next_event()) is not None:
            yield event


def sent_messages(core: Connection) -> list[Message]:
    """Take what a connection wants to send, as messages."""
    reader = MessageReader(core.limits)
    stream = b"".join(bytes(buffer) for buffer in core.data_to_send())
    messages: list[Message] = []
    while stream:
        buffer = reader.buffer()
        count = min(len(stream), len(buffer))
        buffer[:count] = stream[:count]
        stream = stream[count:]
        messages += [decode(segments, core.limits) for segments in reader.received(count)]
    assert not reader.mid_message
    return messages


def whole(segments: Sequence[Segment]) -> list[bytes]:
    """Return segments as the wire has them, their pieces put together."""
    return [
        b"".join(map(bytes, segment)) if isinstance(segment, tuple) else bytes(segment)
        for segment in segments
    ]
