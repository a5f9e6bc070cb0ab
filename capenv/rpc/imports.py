"""References that we hold to the peer's objects: the `imports` table of `rpc.capnp`."""

import functools
import weakref
from typing import TYPE_CHECKING

import attrs

from capenv.errors import ProtocolError
from capenv.rpc.capability import Capability, Imported, Promise
from capenv.rpc.drops import DroppedImport, Drops

if TYPE_CHECKING:
    from capenv.rpc.turn import Peer


@attrs.define(eq=False)
class Import:
    """One object of the peer's and how many references to it the peer counts for us."""

    reference: weakref.ref[Imported]
    generation: int
    count: int = 1
    unresolved: bool = False
    """Whether a `Resolve` is due."""
    promise: weakref.ref[Promise] | None = None


class Imports:
    """Objects of the peer's by the id it gave them.

    The death of a reference is noted by the callback of a weak reference, not by `__del__`: while that
    runs, another thread could still get hold of the object.
    """

    def __init__(self, connection: "Peer", drops: Drops) -> None:
        self._connection = connection
        self._drops = drops
        self._entries: dict[int, Import] = {}
        self._generation = 0

    def add(self, import_id: int, *, promise: bool = False) -> Capability:
        """Count one more reference, as each descriptor received does, and return it.

        Of a promise (`CapDescriptor.senderPromise`) this is one that `resolve` resolves.
        """
        entry = self._entries.get(import_id)
        reference = None if entry is None else entry.reference()
        if entry is not None:
            entry.count += 1
        if entry is None or reference is None:
            self._generation += 1
            reference = Imported(self._connection, import_id)
            noted = functools.partial(self._drop, self._drops, import_id, self._generation)
            if entry is None:
                if len(self._entries) >= self._connection.limits.imports:
                    raise ProtocolError("the peer gives out more references than can be held")
                entry = Import(weakref.ref(reference, noted), self._generation)
                entry.unresolved = promise
                self._entries[import_id] = entry
            else:
                # The old reference died and its note is still in the queue: the count passes to the new one.
                entry.reference, entry.generation = weakref.ref(reference, noted), self._generation
        if not promise or not entry.unresolved:
            return reference
        known = None if entry.promise is None else entry.promise()
        if known is None:
            known = Promise(reference)
            entry.promise = weakref.ref(known)
        return known

    def resolve(self, import_id: int) -> Promise | None:
        """Take note of a `Resolve`, and return the promise that it resolves if somebody holds it.

        Raises:
            ProtocolError: it is no promise, or was resolved before.
        """
        entry = self._entries.get(import_id)
        if entry is None:
            return None  # let go already, while the Resolve was under way
        if not entry.unresolved:
            raise ProtocolError("the peer resolved what is no promise, or was resolved before")
        entry.unresolved = False
        return None if entry.promise is None else entry.promise()

    def release(self, import_id: int, generation: int) -> int:
        """Forget an import that was dropped; return its count, 0 if it was received again since."""
        entry = self._entries.get(import_id)
        if entry is None or entry.generation != generation:
            return 0
        del self._entries[import_id]
        return entry.count

    def find(self, import_id: int) -> Imported | None:
        """Return the reference we hold, or None."""
        entry = self._entries.get(import_id)
        return None if entry is None else entry.reference()

    def counts(self) -> dict[int, int]:
        """Return how many references the peer counts for us, by the ids of what it exports."""
        return {import_id: entry.count for import_id, entry in self._entries.items()}

    def drain(self) -> list[Promise]:
        """Forget every import; return the promises that nothing resolves any more."""
        promises = [
            entry.promise() for entry in self._entries.values() if entry.promise is not None
        ]
        self._entries.clear()
        return [promise for promise in promises if promise is not None]

    @staticmethod
    def _drop(drops: Drops, import_id: int, generation: int, _: object) -> None:
        drops.note(DroppedImport(import_id, generation))

    def __len__(self) -> int:
        return len(self._entries)
