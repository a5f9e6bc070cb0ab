"""Promises whose calls wait until those that went the long way have come back (`Disembargo`)."""

from capenv.errors import CapenvError
from capenv.rpc.capability import Broken, Capability, Promise
from capenv.rpc.tables import LocalTable
from capenv.rpc.turn import Turn


class Embargoes:
    """Promises by the id of their embargo, and what each turned out to be."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._table: LocalTable[tuple[Promise, Capability]] = LocalTable("embargoes")

    def begin(self, promise: Promise, target: Capability) -> int:
        """Have calls wait from now on; return the id for `Disembargo.context.senderLoopback`."""
        promise.route = None
        self._turn.owns(promise)
        return self._table.add((promise, target))

    def lift(self, embargo_id: int) -> None:
        """Let the calls go, as `Disembargo.context.receiverLoopback` says.

        Raises:
            ProtocolError: there is no such embargo.
        """
        self._table.get(embargo_id)
        promise, target = self._table.remove(embargo_id)
        self._turn.resolve(promise, target)

    def fail(self, embargo_id: int, error: CapenvError) -> None:
        """Fail the calls that wait: the others will not come back.

        Raises:
            ProtocolError: there is no such embargo.
        """
        self._table.get(embargo_id)
        promise, _ = self._table.remove(embargo_id)
        self._turn.resolve(promise, Broken(error))

    def drain(self) -> list[Promise]:
        """Take every promise out."""
        return [promise for promise, _ in self._table.drain()]

    def __len__(self) -> int:
        return len(self._table)
