"""Objects that answer calls: Python methods under the names of a schema's."""

import reprlib
from collections.abc import Awaitable, Mapping
from typing import Any, ClassVar, TypeAlias

import attrs
import capnp

from capenv.errors import CapenvError, ProtocolError, Unimplemented
from capenv.rpc.capability import Capability, Content, Hosted
from capenv.rpc.interface import Interface, Method, StructType, python_name
from capenv.rpc.limits import DEFAULT
from capenv.rpc.repeats import Repeatable


@attrs.frozen(eq=False)
class TailCall:
    """A reply that is whatever another call will be answered."""

    target: Capability
    method: Method
    content: Content


Reply: TypeAlias = Content | TailCall | Awaitable[Content | TailCall]


class Request:
    """One call as its handler sees it."""

    __slots__ = ("connection", "content", "method")

    def __init__(self, method: Method, content: Content, connection: Any = None) -> None:
        self.method = method
        self.content = content
        self.connection = connection
        """What it came over, of which `stub` makes stubs."""

    @property
    def params(self) -> Any:
        """The reader of the params; its fields raise `capnp.KjException` where the peer wrote rubbish."""
        limits = DEFAULT if self.connection is None else self.connection.limits
        return self.method.params.read(self.content.segments, limits)

    def capability(self, name: str) -> Capability | None:
        """Return the capability in a field of the params."""
        return self.method.params.capability(self.content, name)

    def stub(self, name: str) -> Any:
        """Return the object in a field of the params as a stub, None if it is null."""
        interface, capability = self.method.params.interface(name), self.capability(name)
        if self.connection is None:
            raise Unimplemented("this object lives where nothing can wait")
        return None if capability is None else self.connection.stub(interface, capability)

    def results(self) -> Any:
        """Return a builder of the results, to be given to `reply`."""
        return self.method.results.new()

    def reply(self, results: Any = None, /, **fields: Any) -> Content:
        """Return the results as content, with values or references in the named fields.

        A reference is a capability, a stub, or an object of this side.
        """
        return filled(self.method.results, fields, results)

    def tail_call(self, target: Capability, method: Method, content: Content) -> TailCall:
        """Return a reply that is whatever the call of another method will be answered.

        Called on an object of the caller's, it keeps the results from travelling here and back.
        """
        return TailCall(target, method, content)


class Servant:
    """Base of objects that a peer may call.

    A subclass names its `interface` and has a method for each of the interface's, in Python's
    spelling (`createWorld` is `create_world`), which takes a `Request` and returns its reply: at once,
    or as an awaitable where it must wait. A method that it has not is answered as unimplemented. A name
    that is Python's or this class's own gets an underscore: `pass` is `pass_`, `call` is `call_`.

    To fail, raise one of `capenv.errors`, or a class of your own that derives from `CapenvError`: its text
    reaches the caller, as a `RemoteError`. Of any other exception only the class name does, and the rest is
    logged here: it might hold what the caller has no business knowing.
    """

    interface: ClassVar[Interface]
    stream: object = None
    """What the driver keeps of streaming calls on this object."""
    _handlers: ClassVar[dict[tuple[int, int], tuple[Method, str]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "interface" in dir(cls):
            cls.interface = Interface.of(cls.interface)
            cls._handlers = {
                key: (method, python_name(method.name))
                for key, method in cls.interface.by_id.items()
                if hasattr(cls, python_name(method.name))
            }

    def call(
        self, interface_id: int, method_id: int, content: Content, connection: Any = None
    ) -> Reply:
        """Start the method, and return its reply.

        What the method raises, here or when its reply is awaited, is to be passed through `fault`.

        Raises:
            Unimplemented: there is no such method.
        """
        known = self._handlers.get((interface_id, method_id))
        if known is None:
            raise Unimplemented(
                f"{type(self).__name__} has no method {method_id} of interface {interface_id:#x};"
                " perhaps its implementation is older than yours"
            )
        method, name = known
        reply: Reply = getattr(self, name)(Request(method, content, connection))
        return reply

    def repeatable(
        self, interface_id: int, method_id: int, params: Content, results: Content
    ) -> Repeatable | None:
        """Return how to carry out calls like one that was answered at once; None if that is not known.

        It saves the readers and builders of calls that come again and again, and changes nothing else.
        """
        return None

    @classmethod
    def fault(cls, interface_id: int, method_id: int, error: Exception) -> Exception:
        """Return what an exception that a method raised means: of reading params, that they are no good."""
        if not isinstance(error, capnp.KjException | UnicodeDecodeError):
            return error
        method, _ = cls._handlers[interface_id, method_id]
        return ProtocolError(f"the params of {method} cannot be read")

    @classmethod
    def streams(cls, interface_id: int, method_id: int) -> bool:
        """Return whether a method is a streaming one."""
        known = cls._handlers.get((interface_id, method_id))
        return known is not None and known[0].streaming

    def released(self) -> None:
        """Take notice that a peer holds no more references to this."""


def told_of(error: Exception | SystemExit) -> Exception:
    """Return an exception to answer a call with: a vat goes on where a method wants to exit."""
    return error if isinstance(error, Exception) else RuntimeError(f"the method exited: {error}")


def filled(kind: StructType, fields: Mapping[str, Any], builder: Any = None) -> Content:
    """Return content with values in the named fields, and references in those of an interface.

    Raises:
        TypeError: there is no such field, or it takes no such value.
    """
    builder = kind.new() if builder is None else builder
    references: dict[str, Capability | None] = {}
    for name, value in fields.items():
        if kind.refers(name):
            references[name] = reference(value)
            continue
        if not kind.has(name):
            raise TypeError(f"{kind} has no field {name}; it has {', '.join(kind.names) or 'none'}")
        try:
            setattr(builder, name, value)
        except (capnp.KjException, AttributeError, TypeError, ValueError) as error:
            if _holds_reference(value):
                why = "a reference stands only in a field of the params or results themselves"
            else:
                why = str(error).partition("\n")[0].rpartition(": ")[2]
            raise TypeError(
                f"{kind}: {name} does not take {reprlib.repr(value)} ({why})"
            ) from error
    return kind.content(builder, references)


def _holds_reference(value: Any) -> bool:
    match value:
        case dict():
            return any(map(_holds_reference, value.values()))
        case list() | tuple():
            return any(map(_holds_reference, value))
        case _:
            return isinstance(value, Servant | Capability) or isinstance(
                getattr(value, "capability", None), Capability
            )


def reference(value: Any) -> Capability | None:
    """Return the reference that a value is or stands for: an object of this side, a stub, a proxy.

    Raises:
        TypeError: it is none.
    """
    if value is None or isinstance(value, Capability):
        return value
    if isinstance(value, Servant):
        return Hosted(value)
    if isinstance(capability := getattr(value, "capability", None), Capability):
        return capability
    raise TypeError(f"{type(value).__name__} is no object to refer to")


def resolution(target: Any) -> Capability | CapenvError:
    """Return what a promise may be resolved to: the reference that a value stands for, or an error.

    Raises:
        TypeError: it is neither.
    """
    found = target if isinstance(target, CapenvError) else reference(target)
    if found is None:
        raise TypeError("a promise is resolved to an object, or to a CapenvError")
    return found
