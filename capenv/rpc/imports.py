"""References that we hold to the peer's objects: the `imports` table of `rpc.capnp`."""

import functools
import weakref
from collections import deque
from collections.abc import Callable, Iterator

import attrs

from capenv.rpc.capability import Imported


@attrs.define(eq=False)
class Import:
    """One object of the peer's and how many references to it the peer counts for us."""

    reference: weakref.ref[Imported]
    generation: int
    count: int = 1


class Imports:
    """Objects of the peer's by the id it gave them.

    A reference may die in any thread and at any moment, even between two lines of this file, so its
    death is only noted; `releases` does the rest, when the driver asks. It is noted by the callback of
    a weak reference, not by `__del__`: while that runs, another thread could still get hold of the object.
    """

    def __init__(self) -> None:
        self._entries: dict[int, Import] = {}
        self._dropped: deque[tuple[int, int]] = deque()
        self._generation = 0
        self.on_drop: Callable[[], None] | None = None
        """Called in whatever thread dropped a reference; must be safe there, and quick."""

    def add(self, import_id: int) -> Imported:
        """Count one more reference, as each descriptor received does, and return it."""
        entry = self._entries.get(import_id)
        if entry is not None:
            entry.count += 1
            if (known := entry.reference()) is not None:
                return known
        self._generation += 1
        reference = Imported(import_id)
        noted = functools.partial(self._drop, import_id, self._generation)
        if entry is None:
            self._entries[import_id] = Import(weakref.ref(reference, noted), self._generation)
        else:
            # The old reference died and its note is still in the queue: the count passes to the new one.
            entry.reference, entry.generation = weakref.ref(reference, noted), self._generation
        return reference

    def releases(self) -> Iterator[tuple[int, int]]:
        """Take out the imports dropped since; yield the id and reference count of each."""
        while self._dropped:
            import_id, generation = self._dropped.popleft()
            entry = self._entries.get(import_id)
            if entry is not None and entry.generation == generation:
                del self._entries[import_id]
                yield import_id, entry.count

    def find(self, import_id: int) -> Imported | None:
        """Return the reference we hold, or None."""
        entry = self._entries.get(import_id)
        return None if entry is None else entry.reference()

    def drain(self) -> None:
        """Forget every import."""
        self._entries.clear()
        self._dropped.clear()

    def _drop(self, import_id: int, generation: int, _: object) -> None:
        self._dropped.append((import_id, generation))
        if self.on_drop is not None:
            self.on_drop()

    @property
    def pending(self) -> bool:
        """Whether `releases` has something to yield."""
        return bool(self._dropped)

    def __len__(self) -> int:
        return len(self._entries)
