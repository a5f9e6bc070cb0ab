"""Objects that we gave references to: the `exports` table of `rpc.capnp`."""

from capenv.errors import ProtocolError
from capenv.rpc.capability import Capability, Hosted
from capenv.rpc.tables import LocalTable


class Export:
    """One thing and how many references to it the peer holds."""

    __slots__ = ("__weakref__", "id", "key", "promised", "references", "servant", "target")

    def __init__(self, target: Capability, *, promised: bool) -> None:
        self.id = -1
        self.key = identity(target)
        self.target = target
        """Where the peer's calls go. What a promise turned out to be stands here once the peer was told,
        and stays, whatever is learned later (`Resolve.cap`)."""
        self.promised = promised
        """Whether a `Resolve` is due."""
        self.references = 0
        self.servant = target.servant if isinstance(target, Hosted) else None
        """The object of this vat that the peer holds by this export."""


def identity(capability: Capability) -> int:
    """Return what tells one thing from another, for as long as somebody holds it."""
    return id(capability.servant if isinstance(capability, Hosted) else capability)


class Exports:
    """Things by id. One thing has one id, for as long as the peer holds a reference."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._table: LocalTable[Export] = LocalTable("exports")
        self._known: dict[int, Export] = {}
        """By the identity of what was exported, which the export keeps alive."""
        self.gone = 0
        """How many have been let go."""

    def add(self, capability: Capability, *, promise: bool = False) -> Export:
        """Count one more reference and return the export (`CapDescriptor.senderHosted`).

        Raises:
            Overloaded: the peer holds too many things.
        """
        export = self._known.get(identity(capability))
        if export is None:
            export = Export(capability, promised=promise)
            export.id = self._table.add(export, self._limit)
            self._known[export.key] = export
        export.references += 1
        return export

    def get(self, export_id: int) -> Export:
        """Return the export; a `ProtocolError` if there is none of that id."""
        return self._table.get(export_id)

    def find(self, export_id: int) -> Export | None:
        """Return the export, or None."""
        return self._table.find(export_id)

    def holds(self, capability: Capability) -> bool:
        """Return whether the peer has a reference to the thing."""
        return identity(capability) in self._known

    def release(self, export_id: int, count: int = 1) -> Export | None:
        """Take `count` references back; return the export when they were the last.

        Raises:
            ProtocolError: the peer does not hold that many (`Release.referenceCount`).
        """
        export = self._table.get(export_id)
        if count > export.references:
            raise ProtocolError("the peer released more references than it held")
        export.references -= count
        if export.references:
            return None
        self._table.remove(export_id)
        self._forget(export)
        self.gone += 1
        return export

    def follow(self, export: Export, promise: Capability) -> None:
        """Have a promise's export stand for the promise that it was resolved to."""
        self._forget(export)
        export.target, export.key = promise, identity(promise)
        if self.current(export):
            self._known.setdefault(export.key, export)

    def settle(self, export: Export, target: Capability) -> None:
        """Freeze what a promise turned out to be. Its id is not sent again (`Resolve.promiseId`)."""
        self._forget(export)
        export.target, export.promised = target, False

    def current(self, export: Export) -> bool:
        """Return whether the peer holds references to the export."""
        return self._table.find(export.id) is export

    def _forget(self, export: Export) -> None:
        if self._known.get(export.key) is export:
            del self._known[export.key]

    def counts(self) -> dict[int, int]:
        """Return how many references the peer holds, by the ids of the exports."""
        return {export.id: export.references for export in self._table}

    def drain(self) -> list[Export]:
        """Take every export out and return them."""
        self._known.clear()
        return self._table.drain()

    def __len__(self) -> int:
        return len(self._table)
