"""Vats joined by byte pipes that split, delay and cut anywhere."""

from collections.abc import Iterator, Sequence

from rpc_pair import Thing

from capenv.errors import Disconnected
from capenv.rpc.capability import Hosted
from capenv.rpc.connection import Connection
from capenv.rpc.events import Event
from capenv.rpc.framing import MessageReader
from capenv.rpc.turn import Turn

LINKS = {
    "two": [(0, 1)],
    "three in a row": [(0, 1), (1, 2)],
    "three in a ring": [(0, 1), (1, 2), (2, 0)],
}
"""Who is joined to whom."""


class End:
    """One vat's end of a link."""

    def __init__(self, vat: int, core: Connection) -> None:
        self.vat = vat
        self.core = core
        self.other: End = self
        self.reader = MessageReader(core.limits)
        self.arriving = bytearray()

    def collect(self) -> None:
        """Put what this end wants to send on its way."""
        for buffer in self.core.data_to_send():
            self.other.arriving += buffer

    def deliver(self, limit: int = 1 << 30) -> bool:
        """Let at most `limit` of the bytes on their way to this end arrive."""
        self.other.collect()
        buffer = self.reader.buffer()
        count = min(limit, len(self.arriving), len(buffer))
        if not count:
            return False
        buffer[:count] = self.arriving[:count]
        del self.arriving[:count]
        for segments in self.reader.received(count):
            self.core.receive(segments)
        return True

    def lose(self) -> None:
        """Cut the link at both ends."""
        for end in (self, self.other):
            end.collect()
        for end in (self, self.other):
            end.arriving.clear()
            end.core.disconnect(Disconnected("the cable was pulled"))


class Network:
    """Vats, each of which offers a thing to begin with."""

    def __init__(self, links: Sequence[tuple[int, int]]) -> None:
        self.count = 1 + max(max(link) for link in links)
        self.offered = [Thing(vat, "offered") for vat in range(self.count)]
        self.turns = [Turn() for _ in range(self.count)]
        self.ends: list[End] = []
        for link in links:
            pair = [
                End(vat, Connection(Hosted(self.offered[vat]), turn=self.turns[vat]))
                for vat in link
            ]
            pair[0].other, pair[1].other = pair[1], pair[0]
            self.ends += pair

    def events(self) -> Iterator[tuple[End, Event]]:
        """Take the events of every vat, in the order in which they happened there."""
        ends = {id(end.core): end for end in self.ends}
        for turn in self.turns:
            while (told := turn.next_event()) is not None:
                connection, event = told
                yield ends[id(connection)], event

    def ends_of(self, vat: int) -> list[End]:
        """Return a vat's ends of its links."""
        return [end for end in self.ends if end.vat == vat]

    def settle(self) -> None:
        """Deliver until nothing is on its way."""
        moved = True
        while moved:
            moved = False
            for end in self.ends:
                moved |= end.core.closed is None and end.deliver()

    def busy(self) -> list[End]:
        """Return the ends to which something is on its way."""
        return [
            end
            for end in self.ends
            if end.core.closed is None and (end.arriving or end.other.core.has_data_to_send)
        ]

    @property
    def quiet(self) -> bool:
        """Whether nothing is on its way."""
        return not any(end.arriving or end.core.has_data_to_send for end in self.ends)
