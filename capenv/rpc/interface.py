"""Interfaces of a loaded schema: the ids of their methods, and the structs of params and results."""

import functools
import keyword
import re
from collections.abc import Mapping
from typing import Any, Final

import attrs
import capnp
from capnp.lib.capnp import _StructModule

from capenv.errors import ProtocolError
from capenv.rpc.builder import capability_pointer
from capenv.rpc.capability import Capability, Content
from capenv.rpc.limits import DEFAULT, Limits
from capenv.rpc.pointers import Segments, Struct, follow

_STREAM_RESULT: Final = 0x995F9A3377C0B16E  # StreamResult of /capnp/stream.capnp
_USUAL_WORDS: Final = 1024
_SPARE_WORDS: Final = 4096
_NO_UNION: Final = 0xFFFF  # Field.noDiscriminant of schema.capnp
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TAKEN: Final = frozenset(
    [*keyword.kwlist, "call", "capability", "fault", "interface", "released", "stream", "streams"]
)
"""Names that a method cannot have in Python: its words, and what servants and stubs have themselves."""


class StructType:
    """A struct of a schema: builds content of its type and reads it."""

    __slots__ = ("_interfaces", "_keep", "_module", "_schema", "_slots", "name")

    def __init__(self, schema: Any, keep: object = None) -> None:
        """Take a schema of pycapnp's; `keep` is what must live as long: the module that it was loaded in."""
        self.name: str = schema.node.displayName
        self._schema = schema
        self._keep = keep
        self._interfaces: dict[str, Interface | None] = {}
        self._module = _StructModule(schema, self.name)
        self._slots: dict[str, int] = {
            field.proto.name: field.proto.slot.offset
            for field in schema.fields_list
            if field.proto.which() == "slot"
        }

    def new(self, size: int = 0) -> Any:
        """Return a builder of the struct; `size` bytes beside the usual fit into one segment."""
        if size:
            return self._module.new_message(num_first_segment_words=(size >> 3) + _USUAL_WORDS)
        return self._module.new_message()

    def content(
        self, builder: Any = None, capabilities: Mapping[str, Capability | None] | None = None
    ) -> Content:
        """Return what a builder holds, with capabilities in the named fields of the root.

        pycapnp writes a capability only inside its own RPC, so the pointers are set here: the fields
        are left null in the builder, and a capability's index is its place in the table.
        """
        builder = self._module.new_message() if builder is None else builder
        segments = [bytearray(segment) for segment in builder.to_segments()]
        if not capabilities:
            return Content(segments)
        root = follow(segments, 0, 0)
        table: list[Capability | None] = []
        for name, capability in capabilities.items():
            slot = root.slot(self._slots[name]) if isinstance(root, Struct) else None
            if slot is None:
                raise TypeError(f"{self.name} has no pointer field {name}")
            assert isinstance(root, Struct)  # it has the slot
            self._mark(segments[root.segment], root, name)
            if capability is not None:
                pointer = capability_pointer(len(table)).to_bytes(8, "little")
                segments[slot[0]][slot[1] << 3 : (slot[1] + 1) << 3] = pointer
                table.append(capability)
        return Content(segments, table)

    def interface(self, name: str) -> "Interface | None":
        """Return the interface of the named field; None if it is no interface, or there is none."""
        if name not in self._interfaces:
            known = self._type(name) == "interface"
            field = self._schema.fields[name] if known else None
            self._interfaces[name] = Interface(field, self._keep) if known else None
        return self._interfaces[name]

    def _mark(self, segment: bytearray, root: Struct, name: str) -> None:
        """Note that the named field is the one that a union holds, if it is of one."""
        member: int = self._schema.fields[name].proto.discriminantValue
        if member != _NO_UNION:
            place = (root.start << 3) + 2 * self._schema.node.struct.discriminantOffset
            segment[place : place + 2] = member.to_bytes(2, "little")

    def has(self, name: str) -> bool:
        """Return whether there is a field of that name."""
        return name in self._schema.fields

    @property
    def names(self) -> list[str]:
        """The names of the fields."""
        return list(self._schema.fields)

    def __str__(self) -> str:
        return self.name.rpartition(":")[2].replace("$Params", "").replace("$Results", " results")

    def refers(self, name: str) -> bool:
        """Return whether the named field holds a capability: an interface, or an AnyPointer of the root."""
        return self.interface(name) is not None or self._type(name) == "anyPointer"

    def _type(self, name: str) -> str:
        field = self._schema.fields.get(name)
        if field is None or field.proto.which() != "slot":
            return ""
        which: str = field.proto.slot.type.which()
        return which

    def read(self, segments: Segments, limits: Limits = DEFAULT) -> Any:
        """Return a reader of content of this type.

        What is wrong with peer data shows only when a field is read, as `capnp.KjException`.
        """
        words = sum(len(segment) for segment in segments) >> 3
        most = limits.traversal_factor * words + _SPARE_WORDS
        try:
            return self._module.from_segments(
                segments, traversal_limit_in_words=most, nesting_limit=limits.nesting
            )
        except (capnp.KjException, ValueError) as error:
            raise ProtocolError(f"content that is no {self.name}") from error

    def capability(self, content: Content, name: str) -> Capability | None:
        """Return the capability in the named field of the root, None if it is null.

        Raises:
            ProtocolError: there is something else.
        """
        return content.capability(self._slots[name])

    def slot(self, name: str) -> int:
        """Return the index of the named field among the root's pointers."""
        return self._slots[name]


@attrs.frozen(eq=False)
class Method:
    """One method of an interface."""

    interface_id: int
    id: int
    name: str
    """As the schema spells it: `createWorld`."""
    params: StructType
    results: StructType
    streaming: bool
    """Whether the schema says `-> stream`."""

    def __str__(self) -> str:
        return self.name


class Interface:
    """One interface of a schema, with the methods that it inherits."""

    def __init__(self, module: Any, keep: object = None) -> None:
        """Take an interface of a loaded schema.

        `keep` is what must live as long, if it is not `module` itself: pycapnp frees what was loaded with
        the module that it was loaded in.
        """
        schema = getattr(module, "schema", None)
        if schema is None or schema.node.which() != "interface":
            raise TypeError(
                f"{module!r} is no interface of a loaded schema; give one, as schema.Room"
            )
        keep = (module, keep)
        self.id: int = schema.node.id
        self.name: str = schema.node.displayName.rpartition(":")[2]
        self.methods: dict[str, Method] = {}
        """By their names in the schema; of two inherited ones of a name, the later."""
        self.by_id: dict[tuple[int, int], Method] = {}
        for ancestor in _lineage(schema):
            # `schema.methods` maps names to methods, inherited ones too; the node lists its own.
            for ordinal, node in enumerate(ancestor.node.interface.methods):
                method = _method(ancestor, ordinal, node.name, keep)
                self.methods[node.name] = self.by_id[method.interface_id, method.id] = method

    @classmethod
    def of(cls, given: Any) -> "Interface":
        """Return an interface, given so or as what a loaded schema has of it."""
        return given if isinstance(given, cls) else cls(given)

    def __repr__(self) -> str:
        return f"<Interface {self.name}>"

    def __getitem__(self, name: str) -> Method:
        return self.methods[name]

    def __str__(self) -> str:
        return self.name


def _lineage(schema: Any) -> list[Any]:
    lineage: list[Any] = []
    for ancestor in schema.superclasses:
        lineage += _lineage(ancestor)
    return [*lineage, schema]


def _method(schema: Any, ordinal: int, name: str, keep: object) -> Method:
    method = schema.methods[name]
    return Method(
        interface_id=schema.node.id,
        id=ordinal,
        name=name,
        params=StructType(method.param_type, keep),
        results=StructType(method.result_type, keep),
        streaming=method.result_type.node.id == _STREAM_RESULT,
    )


@functools.cache
def python_name(name: str) -> str:
    """Return a schema's name as Python spells it: createWorld, create_world; getURL, get_url; call, call_."""
    spelled = _WORD.sub("_", name).lower()
    return f"{spelled}_" if spelled in _TAKEN else spelled
