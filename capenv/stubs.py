"""Objects of other vats under the names of a schema: what you call, without a class written for it."""

from collections.abc import Generator
from typing import Any, Protocol

import capnp

from capenv.errors import ProtocolError
from capenv.responses import Response
from capenv.rpc.capability import Capability, Content
from capenv.rpc.interface import Interface, Method, StructType, python_name
from capenv.rpc.limits import Limits
from capenv.rpc.servant import filled


class Caller(Protocol):
    """What calls go over."""

    @property
    def limits(self) -> Limits:
        """Bounds on what the peer may make this side do."""

    def call(self, target: Capability, method: Method, content: Content) -> Response:
        """Call a method."""

    def stub(self, interface: Interface, capability: Capability) -> "Stub":
        """Return a stub of an object."""


class Stub:
    """An object of another vat. Its methods are the interface's, in Python's spelling.

    They take the fields of the params by keyword: numbers, texts, lists and dicts as pycapnp takes them,
    and for an interface a stub, an object of your own (`Servant`), or None. They return a `Call`.
    """

    def __init__(self, connection: Caller, interface: Interface, capability: Capability) -> None:
        self.capability = capability
        self._connection = connection
        self._interface = interface
        self._methods = {python_name(name): method for name, method in interface.methods.items()}

    def __getattr__(self, name: str) -> Any:
        method = self.__dict__.get("_methods", {}).get(name)
        if method is None:
            raise AttributeError(f"{self!r} has no method {name}")

        def call(**fields: Any) -> "Call":
            response = self._connection.call(self.capability, method, filled(method.params, fields))
            return Call(self._connection, method, response)

        return call

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._methods]

    def __repr__(self) -> str:
        return f"<Stub of {self.__dict__.get('_interface')}>"


class Call:
    """A call that has been made. Await it for its results; objects in them can be called at once.

    Awaiting one of a streaming method waits only until the next may be sent.
    """

    def __init__(self, connection: Caller, method: Method, response: Response) -> None:
        self._connection = connection
        self._method = method
        self._response = response

    def __await__(self) -> Generator[Any, Any, "Results"]:
        content = yield from self._response.__await__()
        return Results(self._connection, self._method.results, content)

    def __getattr__(self, name: str) -> Stub:
        found = self._method.results.interface(name)
        if found is None:
            raise AttributeError(
                f"the results of {self._method} have no object {name} to call ahead of time"
            )
        return self._connection.stub(found, self._response.pipeline(name))


class Results:
    """What a call returned: its fields by their names in the schema, objects among them as stubs."""

    def __init__(self, connection: Caller, kind: StructType, content: Content) -> None:
        self._connection = connection
        self._kind = kind
        self._content = content
        self._reader = kind.read(content.segments, connection.limits)

    def __getattr__(self, name: str) -> Any:
        interface = self._kind.interface(name)
        if interface is not None:
            capability = self._kind.capability(self._content, name)
            return None if capability is None else self._connection.stub(interface, capability)
        try:
            return getattr(self._reader, name)
        except (capnp.KjException, UnicodeDecodeError) as error:
            raise ProtocolError(
                f"the peer returned a {self._kind.name} that cannot be read"
            ) from error

    def __repr__(self) -> str:
        return f"<Results {self._kind.name}>"
