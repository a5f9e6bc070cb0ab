"""References to objects: where a call on one goes."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import attrs

from capenv.errors import CapenvError, ProtocolError
from capenv.rpc.builder import capability_pointer
from capenv.rpc.pointers import CapabilityPointer, List, Segments, Struct, follow

if TYPE_CHECKING:
    from capenv.rpc.question import Question
    from capenv.rpc.turn import Call, Peer, Turn


Watcher = TypeVar("Watcher")


class Capability:
    """A reference to an object. Equal references are one object."""

    __slots__ = ("__weakref__",)


class Hosted(Capability):
    """An object of our own. The core hands it to the driver and asks nothing of it."""

    __slots__ = ("descriptor", "servant")

    def __init__(self, servant: object, descriptor: int | None = None) -> None:
        """Offer an object; a descriptor travels with every reference to it, over links that pass any."""
        self.servant = servant
        self.descriptor = descriptor


class Route(Capability):
    """A way to an object in another vat, over one connection, which calls go whatever is known by then."""

    __slots__ = ("called", "connection")

    def __init__(self, connection: "Peer") -> None:
        self.connection = connection
        self.called = False
        """Whether a call went this way: one that goes a shorter way might overtake it."""


class Imported(Route):
    """An object that the peer hosts. Dropping the last reference to this gives it back."""

    __slots__ = ("id",)

    def __init__(self, connection: "Peer", id: int) -> None:  # noqa: A002
        super().__init__(connection)
        self.id = id


class Pipelined(Route):
    """What is at a path in the results of a question, which the peer has or will have."""

    __slots__ = ("question", "transform")

    def __init__(self, question: "Question", transform: tuple[int, ...]) -> None:
        super().__init__(question.connection)
        self.question = question
        self.transform = transform


class Promise(Capability):
    """A reference to something not known yet: of results to come, of the peer's, or made by you.

    One that you make goes into params and results as any capability does; `resolve` of a connection
    says what it is.
    """

    __slots__ = ("_watchers", "resolution", "route", "turn", "waiting")

    def __init__(self, route: Route | None = None) -> None:
        self.route = route
        """The way that calls go meanwhile. Without one they wait: it is of this vat, or embargoed."""
        self.resolution: Capability | None = None
        """What it turned out to be."""
        self.waiting: list[Call] = []
        self._watchers: WeakKeyDictionary[Any, Callable[[Any], None]] | None = None
        self.turn: Turn | None = None
        """The vat that it belongs to, once it has been used."""

    def watch(self, watcher: Watcher, tell: Callable[[Watcher], None]) -> None:
        """Have `tell(watcher)` called once this is resolved, if somebody else holds the watcher by then."""
        if self._watchers is None:
            self._watchers = WeakKeyDictionary()
        self._watchers[watcher] = tell

    def tell_watchers(self) -> None:
        """Tell of the resolution."""
        watchers, self._watchers = self._watchers, None
        for watcher, tell in [] if watchers is None else list(watchers.items()):
            tell(watcher)


class Broken(Capability):
    """A reference that came to nothing; every call on it fails with `error`."""

    __slots__ = ("error",)

    def __init__(self, error: CapenvError) -> None:
        self.error = error


def innermost(capability: Capability) -> Capability:
    """Return what a capability has turned out to be, as far as is known."""
    found = capability
    while isinstance(found, Promise) and found.resolution is not None:
        found = found.resolution
    if found is not capability and isinstance(capability, Promise):
        capability.resolution = found  # what a chain of promises led through is kept by nobody
    return found


@attrs.frozen(eq=False)
class Content:
    """The params or results of a call: a message of its own, and the capabilities its pointers index."""

    segments: Segments
    capabilities: Sequence[Capability | None] = ()
    shortcuts: bool | frozenset[int] = False
    """Which of the capabilities, or whether all, are nearer by than the promises for them led: they are of
    this vat, or of the peer's by way of this vat."""

    @classmethod
    def of(cls, capability: Capability) -> "Content":
        """Return content whose root is a bare capability, as a Bootstrap's results are."""
        return cls([bytearray(capability_pointer(0).to_bytes(8, "little"))], [capability])

    def capability(self, *path: int) -> Capability | None:
        """Return the capability at a path of pointer fields and list indexes from the root.

        Raises:
            ProtocolError: something else is there, or the pointer names no entry of the table.
        """
        index = self.index(*path)
        return None if index is None else self.capabilities[index]

    def shortens(self, index: int) -> bool:
        """Return whether the capability of that index is one of the `shortcuts`."""
        if isinstance(self.shortcuts, bool):
            return self.shortcuts
        return index in self.shortcuts

    def index(self, *path: int) -> int | None:
        """Return the index of the capability at a path from the root, None where nothing is.

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
                return index
            case CapabilityPointer():
                raise ProtocolError("a capability pointer names no entry of the message's table")
            case _:
                raise ProtocolError("something else is where a capability is due")
