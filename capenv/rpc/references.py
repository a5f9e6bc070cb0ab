"""References across the wire: which capability each descriptor stands for, and how each is described."""

from collections.abc import Callable, Sequence
from typing import Final, assert_never

from capenv.errors import CapenvError, Overloaded, RemoteError, Unimplemented
from capenv.rpc.answers import Answer, AnswerState
from capenv.rpc.capability import (
    Broken,
    Capability,
    Content,
    Hosted,
    Imported,
    Pipelined,
    innermost,
)
from capenv.rpc.exports import Exports
from capenv.rpc.imports import Imports
from capenv.rpc.limits import Limits
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
from capenv.rpc.questions import Question
from capenv.rpc.tables import LocalTable, RemoteTable

_ENVELOPE_BYTES: Final = 1 << 16
"""What a message may need beside the content that it carries: its header and its capability table."""


class References:
    """The exports and imports of one connection, and every capability that passes either way."""

    def __init__(
        self,
        questions: LocalTable[Question],
        answers: RemoteTable[Answer],
        limits: Limits,
        released: Callable[[object], None],
    ) -> None:
        """Stand between the tables; `released` is told of each servant that the peer holds no more."""
        self.imports = Imports()
        self.exports = Exports(limits.exports)
        self._questions = questions
        self._answers = answers
        self._limits = limits
        self._released = released

    def receive(self, payload: Payload) -> Content:
        """Return a payload that arrived as content, each of its descriptors counted."""
        if not payload.table:
            return Content(payload.segments)
        return Content(payload.segments, [self.capability(entry) for entry in payload.table])

    def capability(self, descriptor: Descriptor) -> Capability | None:
        """Return what a descriptor that arrived stands for (`CapDescriptor`)."""
        match descriptor:
            case NoCapability():
                return None
            case SenderHosted(id=import_id):
                return self.imports.add(import_id)
            case ReceiverHosted(id=export_id):
                return self.exports.find(export_id) or _unknown()
            case ReceiverAnswer(answer=promised):
                answer = self._answers.find(promised.question_id)
                if answer is None or answer.state is not AnswerState.RETURNED:
                    return _unknown()
                return answer.capability(promised.transform)
            case UnknownDescriptor():
                return Broken(Unimplemented("a capability of a kind unknown here"))
            case _:
                assert_never(descriptor)

    def describe(self, content: Content) -> tuple[Payload, list[int]]:
        """Return the payload, with its capability table as of now, and the exports it counts.

        Raises:
            CapenvError: one of the capabilities is broken, or belongs to another connection.
            Overloaded: a peer with our limits would take it for an attack and hang up.
        """
        size = sum(map(len, content.segments))
        if size > self._limits.message_bytes - _ENVELOPE_BYTES:
            self.discard(content)
            raise Overloaded(
                f"a message of {size:,} bytes is more than the {self._limits.message_bytes:,} that a peer"
                " takes; send less at once"
            )
        if not content.capabilities:
            return Payload(content.segments), []
        exports: list[int] = []
        table: list[Descriptor] = []
        try:
            for capability in content.capabilities:
                table.append(self._descriptor(capability, exports))
        except CapenvError:
            for export_id in exports:
                self.exports.release(export_id, 1)
            self.discard(content)
            raise
        return Payload(content.segments, table), exports

    def route(self, capability: Capability) -> MessageTarget:
        """Return the name by which the peer knows an object of its own, or of results it owes us.

        Raises:
            Unimplemented: it is another peer's, who alone knows what its ids mean.
        """
        match capability:
            case Imported(id=import_id) if self.imports.find(import_id) is capability:
                return ImportedTarget(import_id)
            case Pipelined(question=asked) if self._questions.find(asked.id) is asked:
                return PromisedAnswer(asked.id, capability.transform)
            case _:
                raise Unimplemented("a capability of another connection cannot be used on this")

    def release(self, export_ids: Sequence[int], count: int = 1) -> None:
        """Take back `count` references to each of the exports (`Release.referenceCount`).

        Raises:
            ProtocolError: the peer does not hold that many.
        """
        for export_id in export_ids:
            servant = self.exports.release(export_id, count)
            if servant is not None:
                self._released(servant)

    def discard(self, outcome: Content | CapenvError) -> None:
        """Tell of the objects in content that will not be sent, if the peer has no reference to them."""
        if isinstance(outcome, Content):
            for capability in outcome.capabilities:
                if isinstance(capability, Hosted) and not self.exports.holds(capability):
                    self._released(capability.servant)

    def _descriptor(self, capability: Capability | None, exports: list[int]) -> Descriptor:
        match None if capability is None else innermost(capability):
            case None:
                return NoCapability()
            case Hosted() as hosted:
                exports.append(self.exports.add(hosted))
                return SenderHosted(exports[-1])
            case Broken(error=error):
                raise error
            case peers:
                route = self.route(peers)
                if isinstance(route, ImportedTarget):
                    return ReceiverHosted(route.id)
                return ReceiverAnswer(route)


def _unknown() -> Broken:
    return Broken(RemoteError("a reference to something that is not there (any more)"))
