"""Tables of ids: those we choose and those the peer chooses."""

import heapq
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from capenv.errors import Overloaded, ProtocolError

Entry = TypeVar("Entry")

ID_LIMIT: Final = 1 << 30
"""Ids from here on are set apart by newer versions of the protocol (`Call.onlyPromisePipeline`)."""


class LocalTable(Generic[Entry]):
    """Entries under ids that we choose, lowest free first, so that ids stay small."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._entries: dict[int, Entry] = {}
        self._free: list[int] = []
        self._next = 0

    def add(self, entry: Entry, limit: int = ID_LIMIT) -> int:
        """Store an entry and return its id.

        Raises:
            Overloaded: there are `limit` entries already.
        """
        if len(self._entries) >= limit:
            raise Overloaded(f"there are {limit} {self._what} already; wait for some to end")
        if self._free:
            key = heapq.heappop(self._free)
        else:
            key, self._next = self._next, self._next + 1
        self._entries[key] = entry
        return key

    def get(self, key: int) -> Entry:
        """Return the entry; a `ProtocolError` if there is none."""
        try:
            return self._entries[key]
        except KeyError:
            raise ProtocolError(f"the peer named an id not among our {self._what}") from None

    def find(self, key: int) -> Entry | None:
        """Return the entry, or None."""
        return self._entries.get(key)

    def remove(self, key: int) -> Entry:
        """Take the entry out; its id may be used again."""
        entry = self._entries.pop(key)
        heapq.heappush(self._free, key)
        return entry

    def drain(self) -> list[Entry]:
        """Take every entry out."""
        entries = list(self._entries.values())
        self._entries.clear()
        self._free.clear()
        self._next = 0
        return entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())


class RemoteTable(Generic[Entry]):
    """Entries under ids that the peer chooses."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._entries: dict[int, Entry] = {}

    def add(self, key: int, entry: Entry) -> None:
        """Store an entry; a `ProtocolError` if the id is in use."""
        if key in self._entries:
            raise ProtocolError(f"the peer used an id again that is among its {self._what}")
        self._entries[key] = entry

    def find(self, key: int) -> Entry | None:
        """Return the entry, or None."""
        return self._entries.get(key)

    def __contains__(self, key: int) -> bool:
        return key in self._entries

    def remove(self, key: int) -> Entry:
        """Take the entry out."""
        return self._entries.pop(key)

    def drain(self) -> list[Entry]:
        """Take every entry out."""
        entries = list(self._entries.values())
        self._entries.clear()
        return entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())
