"""References across the wire: which capability each descriptor stands for, and how each is described."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, assert_never

from capenv.errors import CapenvError, Overloaded, RemoteError, Unimplemented
from capenv.rpc.answer import Answer
from capenv.rpc.capability import (
    Broken,
    Capability,
    Content,
    Hosted,
    Imported,
    Pipelined,
    Promise,
    Route,
    innermost,
)
from capenv.rpc.drops import Drops
from capenv.rpc.exports import Export, Exports
from capenv.rpc.imports import Imports
from capenv.rpc.messages import (
    Descriptor,
    ImportedTarget,
    MessageTarget,
    NoCapability,
    Payload,
    PromisedAnswer,
    ReceiverAnswer,
    ReceiverHosted,
    SenderHosted,
    UnknownDescriptor,
)
from capenv.rpc.question import QuestionState
from capenv.rpc.tables import RemoteTable
from capenv.rpc.turn import FOREIGN, Turn

if TYPE_CHECKING:
    from capenv.rpc.turn import Peer

_ENVELOPE_BYTES: Final = 1 << 16
"""What a message may need beside the content that it carries: its header and its capability table."""


class Described:
    """A payload as it is sent: described as of now, its exports counted, its promises frozen."""

    __slots__ = ("broken", "descriptors", "exports", "frozen", "payload")

    def __init__(self, content: Content) -> None:
        self.payload = Payload(content.segments)
        self.exports: list[int] = []
        self.descriptors: list[int] = []
        """What travels with the message (`CapDescriptor.attachedFd`)."""
        self.frozen: list[Capability | Export | None] = []
        """Where calls on each capability go from now on (`Answer.frozen`)."""
        self.broken: list[Export] = []
        """Exports of references that came to nothing, of which a `Resolve` is to tell right behind."""


class References:
    """The exports and imports of one connection, and every capability that passes either way."""

    def __init__(
        self,
        connection: "Peer",
        answers: RemoteTable[Answer],
        drops: Drops,
        turn: Turn,
        released: Callable[[object], None],
        resolved: Callable[[Export], None],
    ) -> None:
        """Stand between the tables.

        Args:
            connection: that they are of.
            answers: the calls of the peer's.
            drops: where the death of references is noted.
            turn: of the vat.
            released: told of each servant that no peer holds any more.
            resolved: told of each export that was a promise and is so no more, to send a `Resolve`.
        """
        self._connection = connection
        self._answers = answers
        self._limits = connection.limits
        self._turn = turn
        self._released = released
        self._resolved = resolved
        self.imports = Imports(connection, drops)
        self.exports = Exports(self._limits.exports)

    # What arrives.

    def receive(self, payload: Payload) -> Content:
        """Return a payload that arrived as content, each of its descriptors counted."""
        if not payload.table:
            return Content(payload.segments)
        shortcuts = frozenset(i for i, entry in enumerate(payload.table) if points_back(entry))
        found = [self.capability(entry) for entry in payload.table]
        return Content(payload.segments, found, shortcuts)

    def capability(self, descriptor: Descriptor) -> Capability | None:
        """Return what a descriptor that arrived stands for (`CapDescriptor`)."""
        match descriptor:
            case NoCapability():
                return None
            case SenderHosted(id=import_id, promise=promise):
                return self.imports.add(import_id, promise=promise)
            case ReceiverHosted(id=export_id):
                export = self.exports.find(export_id)
                return _unknown() if export is None else export.target
            case ReceiverAnswer(answer=promised):
                answer = self._answers.find(promised.question_id)
                return _unknown() if answer is None else answer.target(promised.transform)
            case UnknownDescriptor():
                return Broken(Unimplemented("a capability of a kind unknown here"))
            case _:
                assert_never(descriptor)

    def release(self, export_ids: Sequence[int], count: int = 1) -> None:
        """Take back `count` references to each of the exports (`Release.referenceCount`).

        Raises:
            ProtocolError: the peer does not hold that many.
        """
        for export_id in export_ids:
            export = self.exports.release(export_id, count)
            if export is not None:
                self._let_go(export)

    # What is sent.

    def describe(self, content: Content) -> Described:
        """Return content as it is to be sent, with its capability table as of now.

        A reference that came to nothing is told of as one: whoever gets it has the rest all the same.

        Raises:
            Unimplemented: one of the capabilities belongs to another vat.
            Overloaded: a peer with our limits would take it for an attack and hang up.
        """
        size = sum(map(len, content.segments))
        if size > self._limits.message_bytes - _ENVELOPE_BYTES:
            self.discard(content)
            raise Overloaded(
                f"a message of {size:,} bytes is more than the {self._limits.message_bytes:,} that a peer"
                " takes; send less at once"
            )
        described = Described(content)
        if not content.capabilities:
            return described
        try:
            table = [self._describe(capability, described) for capability in content.capabilities]
        except CapenvError:
            for export_id in described.exports:
                if (export := self.exports.release(export_id)) is not None:
                    self._uncount(export)
            self.discard(content)
            raise
        described.payload = Payload(content.segments, table, described.descriptors)
        return described

    def describe_one(self, capability: Capability) -> tuple[Descriptor, Described]:
        """Return how one capability is described, as `describe` does all of a content."""
        described = Described(Content(()))
        return self._describe(capability, described), described

    def tell_broken(self, described: Described) -> None:
        """Send a `Resolve` of each reference just described that had come to nothing."""
        for export in described.broken:
            self.exports.settle(export, export.target)
            self._resolved(export)

    def route(self, route: Route) -> MessageTarget:
        """Return the name by which the peer knows an object of its own, or of results it owes us.

        Raises:
            RemoteError: the way leads through the results of a call that has ended.
        """
        if isinstance(route, Pipelined) and route.question.state not in (
            QuestionState.ASKED,
            QuestionState.RETURNED,
        ):
            raise RemoteError("a reference into the results of a call that has ended")
        return self.name(route)

    @staticmethod
    def name(route: Route) -> MessageTarget:
        """Return the name that the peer once knew something by, though it might know it no more."""
        match route:
            case Imported(id=import_id):
                return ImportedTarget(import_id)
            case Pipelined(question=question, transform=transform):
                return PromisedAnswer(question.id, transform)
            case _:
                raise TypeError(f"{type(route).__name__} is no way that a peer knows")

    def discard(self, outcome: Content | CapenvError) -> None:
        """Tell of the objects in content that will not be sent, if no peer has a reference to them."""
        if isinstance(outcome, Content):
            for capability in outcome.capabilities:
                if (
                    isinstance(capability, Hosted)
                    and not self._turn.holders[id(capability.servant)]
                ):
                    self._released(capability.servant)

    def drain(self) -> tuple[list[Promise], Callable[[], None]]:
        """Empty both tables; return the promises of the peer's, and what tells of the exports let go."""
        promises, exports = self.imports.drain(), self.exports.drain()

        def tell() -> None:
            for export in exports:
                self._let_go(export)

        return promises, tell

    def _describe(self, capability: Capability | None, described: Described) -> Descriptor:
        if capability is None:
            described.frozen.append(None)
            return NoCapability()
        inner = innermost(capability)
        way = inner.route if isinstance(inner, Promise) and inner.route is not None else inner
        if isinstance(way, Route) and way.connection is self._connection:
            try:
                target = self.route(way)
            except RemoteError as error:
                return self._export(Broken(error), described)
            described.frozen.append(way)
            return _receivers(target)
        if isinstance(way, Route) and way.connection.turn is not self._turn:
            raise Unimplemented(FOREIGN)
        return self._export(inner, described)

    def _export(self, capability: Capability, described: Described) -> Descriptor:
        promised = isinstance(capability, Promise | Broken)
        if isinstance(capability, Promise) and not self._turn.owns(capability):
            raise Unimplemented(FOREIGN)
        export = self.exports.add(capability, promise=promised)
        described.exports.append(export.id)
        described.frozen.append(export if promised else capability)
        if export.references == 1:
            match capability:
                case Hosted(servant=servant):
                    self._turn.holders[id(servant)] += 1
                case Promise():
                    capability.watch(export, self._follow)
                case Broken():
                    described.broken.append(export)
        if isinstance(capability, Hosted) and capability.descriptor is not None:
            described.descriptors.append(capability.descriptor)
            return SenderHosted(export.id, attached=len(described.descriptors) - 1)
        return SenderHosted(export.id, promise=promised)

    def _follow(self, export: Export) -> None:
        """Take notice that the promise which was exported is resolved."""
        inner = innermost(export.target)
        if isinstance(inner, Promise):
            way = inner.route
            if way is None or way.connection is not self._connection:
                # To the peer it is as much our promise as the one before.
                self.exports.follow(export, inner)
                inner.watch(export, self._follow)
                return
            inner = way
        self.exports.settle(export, inner)
        if self.exports.current(export):
            self._resolved(export)

    def _let_go(self, export: Export) -> None:
        if self._uncount(export):
            self._released(export.servant)

    def _uncount(self, export: Export) -> bool:
        """Take notice that the peer holds an export no more; return whether no peer holds its servant."""
        if export.servant is None:
            return False
        holders, key = self._turn.holders, id(export.servant)
        holders[key] -= 1
        if holders[key]:
            return False
        del holders[key]
        return True


def points_back(descriptor: Descriptor) -> bool:
    """Return whether a descriptor that arrived is of something that the peer has from us."""
    return isinstance(descriptor, ReceiverHosted | ReceiverAnswer)


def _receivers(target: MessageTarget) -> Descriptor:
    return (
        ReceiverHosted(target.id) if isinstance(target, ImportedTarget) else ReceiverAnswer(target)
    )


def _unknown() -> Broken:
    return Broken(RemoteError("a reference to something that is not there (any more)"))
