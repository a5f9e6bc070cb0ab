"""Objects that we gave references to: the `exports` table of `rpc.capnp`."""

import attrs

from capenv.errors import ProtocolError
from capenv.rpc.capability import Hosted
from capenv.rpc.tables import LocalTable


@attrs.define(eq=False)
class Export:
    """One object and how many references to it the peer holds."""

    servant: object
    references: int = 0


class Exports:
    """Objects by id. One object has one id, for as long as the peer holds a reference."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._table: LocalTable[Export] = LocalTable("exports")
        self._ids: dict[int, int] = {}
        """By the identity of the servant, which the table keeps alive."""

    def add(self, capability: Hosted) -> int:
        """Count one more reference and return the export's id (`CapDescriptor.senderHosted`)."""
        servant = capability.servant
        export_id = self._ids.get(id(servant))
        if export_id is None:
            export_id = self._table.add(Export(servant), self._limit)
            self._ids[id(servant)] = export_id
        self._table.get(export_id).references += 1
        return export_id

    def holds(self, capability: Hosted) -> bool:
        """Return whether the peer has a reference to the object."""
        return id(capability.servant) in self._ids

    def get(self, export_id: int) -> Hosted:
        """Return the object; a `ProtocolError` if there is none of that id."""
        return Hosted(self._table.get(export_id).servant)

    def find(self, export_id: int) -> Hosted | None:
        """Return the object, or None."""
        export = self._table.find(export_id)
        return None if export is None else Hosted(export.servant)

    def release(self, export_id: int, count: int) -> object | None:
        """Take `count` references back; return the servant when they were the last.

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
        del self._ids[id(export.servant)]
        return export.servant

    def drain(self) -> list[object]:
        """Take every object out and return their servants."""
        self._ids.clear()
        return [export.servant for export in self._table.drain()]

    def __contains__(self, servant: object) -> bool:
        return id(servant) in self._ids

    def __len__(self) -> int:
        return len(self._table)
