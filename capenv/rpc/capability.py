"""References to objects: where a call on one goes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from capenv.errors import CapenvError, ProtocolError
from capenv.rpc.builder import capability_pointer
from capenv.rpc.pointers import CapabilityPointer, List, Segments, Struct, follow

if TYPE_CHECKING:
    from capenv.rpc.questions import Question


class Capability:
    """A reference to an object. Equal references are one object."""

    __slots__ = ("__weakref__",)


class Hosted(Capability):
    """An object of our own. The core hands it to the driver and asks nothing of it."""

    __slots__ = ("servant",)

    def __init__(self, servant: object) -> None:
        self.servant = servant


class Imported(Capability):
    """An object that the peer hosts. Dropping the last reference to this gives it back."""

    __slots__ = ("id",)

    def __init__(self, id: int) -> None:  # noqa: A002
        self.id = id


class Pipelined(Capability):
    """A capability in results that have not arrived: calls on it travel behind the question.

    `resolution` is what it turned out to be, once the results are there.
    """

    __slots__ = ("question", "resolution", "transform")

    def __init__(self, question: "Question", transform: tuple[int, ...]) -> None:
        self.question = question
        self.transform = transform
        self.resolution: Capability | None = None


class Broken(Capability):
    """A reference that came to nothing; every call on it fails with `error`."""

    __slots__ = ("error",)

    def __init__(self, error: CapenvError) -> None:
        self.error = error


def innermost(capability: Capability) -> Capability:
    """Return what a capability has turned out to be, as far as is known."""
    while isinstance(capability, Pipelined) and capability.resolution is not None:
        capability = capability.resolution
    return capability


@attrs.frozen(eq=False)
class Content:
    """The params or results of a call: a message of its own, and the capabilities its pointers index."""

    segments: Segments
    capabilities: Sequence[Capability | None] = ()

    @classmethod
    def of(cls, capability: Capability) -> "Content":
        """Return content whose root is a bare capability, as a Bootstrap's results are."""
        return cls([bytearray(capability_pointer(0).to_bytes(8, "little"))], [capability])

    def capability(self, *path: int) -> Capability | None:
        """Return the capability at a path of pointer fields and list indexes from the root.

        Raises:
            ProtocolError: something else is there, or the pointer names no entry of the table.
        """
        target = follow(self.segments, 0, 0)
        for step in path:
            match target:
                case None:
                    return None
                case Struct():
                    target = target.pointer(step)
                case List():
                    slot = target.slot(step)
                    target = None if slot is None else follow(self.segments, *slot)
                case CapabilityPointer():
                    raise ProtocolError("a path leads through a capability")
        match target:
            case None:
                return None
            case CapabilityPointer(index=index) if index < len(self.capabilities):
                return self.capabilities[index]
            case CapabilityPointer():
                raise ProtocolError("a capability pointer names no entry of the message's table")
            case _:
                raise ProtocolError("something else is where a capability is due")
