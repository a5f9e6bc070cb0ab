"""Elements of spaces (observations and actions) as `values.capnp` elements."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from gymnasium import spaces

from capenv.errors import OutsideSpace, ProtocolError
from capenv.schema import values as schema_values
from capenv.values import trees
from capenv.values.layouts import Layout, layout_of
from capenv.values.leaves import ArrayMember, DiscreteMember, Fixed, Member, NotMemberError
from capenv.values.members import Branch, DictMember, TupleMember, member_of
from capenv.values.naming import pointer
from capenv.values.pruning import UnrepresentableError
from capenv.values.reading import Budget, Reading
from capenv.values.spaces import write_space

Space = spaces.Space[Any]
Slots: TypeAlias = Callable[[int], memoryview]
"""Return the frame in a slot of shared memory."""
Lend: TypeAlias = Callable[[bytes | bytearray | memoryview], int | None]
"""Copy a frame into a slot of shared memory and return its number; None if there is no slot."""
_INT64 = 1 << 63
_Slot = tuple[Fixed | None, int]
"""A leaf's member and offset; no member if it always rides beside."""


class ElementCodec:
    """Writes and reads the elements of one space. It keeps no state: threads may share it."""

    def __init__(self, space: Space, what: str = "value") -> None:
        """Prepare for a space. `what` is the word for its elements in errors, such as "action".

        Raises:
            UnsupportedSpace: The space has no description on the wire: see `write_space`.
        """
        write_space(schema_values.Space.new_message(), space)
        self.space = space
        self.layout: Layout = layout_of(space)
        self._what = what
        self._root = member_of(space)
        self._slots: list[_Slot] = [
            (_fixed(member), leaf.offset)
            for member, leaf in zip(_leaf_members(self._root), self.layout.leaves, strict=True)
        ]
        # The commonest spaces are one leaf that fills the frame: it needs no buffer of its own.
        sole = _fixed(self._root)
        self._sole = sole if sole is not None and sole.size == self.layout.frame_size else None

    def write(
        self, builder: Any, element: Any, *, check: bool = True, lend: Lend | None = None
    ) -> None:
        """Fill an `Element` builder with the packed form of an element; its frame may be lent.

        The receiver gets the very same types, but where the space has a Tuple, a list or array
        becomes a tuple.

        Unless `check`, leaves may be anything that can be sent, and arrive as they are.

        Raises:
            OutsideSpace: It is not an element of the space, or holds what has no representation.
        """
        frame, beside = self.pack(element, check=check)
        packed = builder.init("packed")
        if beside:
            entries = packed.init("beside", len(beside))
            for place, (index, value) in enumerate(beside):
                entry = entries[place]
                entry.leaf = index
                self._write_beside(entry.init("value"), index, value)
        slot = None if lend is None or not len(frame) else lend(frame)
        if slot is None:
            packed.frame = memoryview(frame) if isinstance(frame, bytearray) else frame
        else:
            packed.slot = slot + 1

    def pack(
        self, element: Any, *, check: bool = True
    ) -> tuple[bytes | bytearray | memoryview, list[tuple[int, Any]]]:
        """Return the frame of an element, and index and value of each leaf that rides beside it.

        The frame may be a view of the element's own memory. It is empty where every leaf rides
        beside.

        Raises:
            OutsideSpace: It is not an element of the space.
        """
        try:
            if self._sole is not None:
                value = self._sole.admit(element, check)
                return (
                    (self._sole.dump(value), []) if self._sole.fits(value) else (b"", [(0, value)])
                )
            leaves: list[Any] = []
            _admit_leaves(self._root, element, check, leaves)
        except NotMemberError as error:
            raise self._outside(error) from None
        frame = bytearray(self.layout.frame_size)
        beside = []
        for index, ((member, offset), value) in enumerate(zip(self._slots, leaves, strict=True)):
            if member is not None and member.fits(value):
                member.pack(frame, offset, value)
            else:
                beside.append((index, value))
        return b"" if len(beside) == len(leaves) else frame, beside

    def pack_repeatedly(
        self, element: Any
    ) -> tuple[tuple[()] | tuple[int], bytes | bytearray | memoryview] | None:
        """Return an element as one integer and no frame, or as none and the frame; None if it is neither.

        Raises:
            OutsideSpace: It is not an element of the space.
        """
        frame = self.frame(element)
        if frame is not None:
            return (), frame
        if self._sole is None:
            return None
        value = self._admit(self._sole, element, True)
        return ((value,), b"") if type(value) is int and -_INT64 <= value < _INT64 else None

    def frame(self, element: Any, check: bool = True) -> bytes | bytearray | memoryview | None:
        """Return the frame of an element, as `pack` does; None if it is none, or if parts ride beside."""
        if self._sole is not None:
            return self._sole.frame(element, check) or None
        try:
            frame, beside = self.pack(element, check=check)
        except OutsideSpace:
            return None
        return None if beside else frame or None

    @staticmethod
    def write_value(builder: Any, element: Any) -> None:
        """Fill an `Element` builder with an element whose space is not known yet.

        Raises:
            OutsideSpace: It holds what has no representation.
        """
        try:
            trees.write_value(builder.init("value"), element)
        except UnrepresentableError as error:
            raise OutsideSpace(f"no space has such an element: {error}") from error

    def read(self, reader: Any, *, check: bool = True, slots: Slots | None = None) -> Any:
        """Return the element of an `Element` reader, in new and writable memory, or of one of the `slots`.

        Unless `check`, neither bounds nor the types of leaves beside the frame are checked.

        Raises:
            OutsideSpace: It is well-formed, and not an element of the space.
            ProtocolError: It is malformed.
        """
        with Reading(f"the {self._what}"):
            if reader._which_str() == "value":
                return self._conform(trees.read_value(reader.value), check)
            packed = reader.packed
            beside = self._read_beside(packed.beside) if packed._has("beside") else {}
            if not packed.slot:
                return self.unpack(bytearray(packed.frame), beside, check=check)
            if slots is None:
                raise ProtocolError(f"the {self._what} is in memory that is not shared")
            return self.unpack(slots(packed.slot - 1), beside, check=check)

    def unpack(
        self, frame: bytearray | memoryview, beside: Mapping[int, Any], *, check: bool = True
    ) -> Any:
        """Return the element of a frame and the leaves beside it. Its arrays view the frame.

        Raises:
            OutsideSpace: It is not an element of the space.
            ProtocolError: The frame is not as long as the layout says, or holds a bool that is
                neither 0 nor 1.
        """
        is_whole = len(frame) == self.layout.frame_size
        if not is_whole and (len(frame) or len(beside) != len(self._slots)):
            raise ProtocolError(
                f"the {self._what} has a frame of {len(frame)} bytes and {len(beside)} leaves beside"
                f" it, where the layout has {self.layout.frame_size} bytes, {len(self._slots)} leaves"
            )
        if self._sole is not None and not beside:
            return self._admit(self._sole, self._sole.unpack(frame, 0), check)
        leaves = self._unpack_leaves(frame, beside)
        if check or beside:
            return self._conform(_assemble(self._root, leaves), check)
        return _assemble(self._root, leaves)

    def unpack_frame(self, frame: bytearray | memoryview, *, check: bool = False) -> Any:
        """Return the element of a frame of the right length with nothing beside it, as `unpack` does."""
        if self._sole is not None:
            element = self._sole.unpack(frame, 0)
            return self._admit(self._sole, element, True) if check else element
        return self.unpack(frame, {}, check=check)

    def _unpack_leaves(
        self, frame: bytearray | memoryview, beside: Mapping[int, Any]
    ) -> Iterator[Any]:
        for index, (member, offset) in enumerate(self._slots):
            if index in beside:
                yield beside[index]
            elif member is None:
                raise ProtocolError(
                    f"the {self._what} has nothing at {self.layout.leaves[index].path or '/'}"
                )
            else:
                yield member.unpack(frame, offset)

    def _read_beside(self, reader: Any) -> dict[int, Any]:
        if len(reader) > len(self._slots):
            raise ProtocolError(f"the {self._what} has more leaves beside the frame than its space")
        budget = Budget()
        beside: dict[int, Any] = {}
        last = -1
        for entry in reader:
            index = entry.leaf
            if not last < index < len(self._slots):
                raise ProtocolError(f"the {self._what} has the leaf {index} beside it after {last}")
            beside[index] = trees.read_value(entry.value, budget)
            last = index
        return beside

    def _write_beside(self, builder: Any, index: int, value: Any) -> None:
        try:
            trees.write_value(builder, value)
        except UnrepresentableError as error:
            where = self.layout.leaves[index].path or "/"
            raise OutsideSpace(f"the {self._what} at {where} cannot be sent: {error}") from error

    def _conform(self, element: Any, check: bool) -> Any:
        return self._admit(self._root, element, check)

    def _admit(self, member: Member, element: Any, check: bool) -> Any:
        try:
            return member.admit(element, check)
        except NotMemberError as error:
            raise self._outside(error) from None

    def _outside(self, error: NotMemberError) -> OutsideSpace:
        where = f" at {pointer(*error.path)}" if error.path else ""
        return OutsideSpace(f"the {self._what}{where} {error.reason}")


def _fixed(member: Member) -> Fixed | None:
    return member if isinstance(member, ArrayMember | DiscreteMember) else None


def _leaf_members(member: Member) -> Iterator[Member]:
    if isinstance(member, TupleMember | DictMember):
        for child in member.children:
            yield from _leaf_members(child)
    else:
        yield member


def _admit_leaves(member: Member, value: Any, check: bool, leaves: list[Any]) -> None:
    if not isinstance(member, TupleMember | DictMember):
        leaves.append(member.admit(value, check))
        return
    for key, child, part in zip(member.keys, member.children, member.split(value), strict=True):
        try:
            _admit_leaves(child, part, check, leaves)
        except NotMemberError as error:
            error.path.insert(0, key)
            raise


def _assemble(member: Member | Branch, leaves: Iterator[Any]) -> Any:
    if isinstance(member, TupleMember | DictMember):
        return member.join([_assemble(child, leaves) for child in member.children])
    return next(leaves)
