"""What is an element of each kind of space, and how its fixed leaves are put in a frame."""

import math
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import gymnasium.vector.utils as batching
import numpy as np
from gymnasium import spaces
from gymnasium.spaces import GraphInstance

from capenv.values.bounds import bounds_check, bounds_of, first_outside
from capenv.values.naming import brief
from capenv.values.tensors import array_bytes, check_bools, has_dtype

Space = spaces.Space[Any]
_BREADTH = "biuf"
"""Kinds of dtypes; a Python number of one may be converted to its own kind or one further on."""


class NotMemberError(Exception):
    """A value is not an element of a space: where in it, from the outermost key on, and why."""

    def __init__(self, reason: str, *path: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = list(path)


class Member(Protocol):
    """The elements of one space."""

    def admit(self, value: Any, check: bool) -> Any:
        """Return a value as an element of the space; Python sequences and numbers become arrays.

        Unless `check`, what a leaf does not contain is returned as it is.

        Raises:
            NotMemberError: It is none.
        """


class Fixed(Member, Protocol):
    """The elements of a space that has a place in the frame."""

    size: int
    """Bytes."""

    def fits(self, value: Any) -> bool:
        """Return whether a value is exactly of the type that the frame holds."""

    def dump(self, value: Any) -> bytes | memoryview:
        """Return the bytes of a value that fits."""

    def pack(self, frame: bytearray, offset: int, value: Any) -> None:
        """Put a value that fits into the frame."""

    def unpack(self, frame: bytearray | memoryview, offset: int) -> Any:
        """Return the value in the frame; an array is a view of it. A bool neither 0 nor 1: ProtocolError."""


class ArrayMember:
    """Elements of a Box, MultiDiscrete or MultiBinary."""

    def __init__(self, space: spaces.Box | spaces.MultiDiscrete[Any] | spaces.MultiBinary) -> None:
        self._space = space
        self._dtype: np.dtype[Any] = space.dtype
        self._shape = space.shape
        self._is_bool = space.dtype == np.bool_
        self._low, self._high = bounds_of(space)
        self._is_inside = bounds_check(self._low, self._high)
        self.size = math.prod(space.shape) * space.dtype.itemsize

    def fits(self, value: Any) -> bool:
        return (
            type(value) is np.ndarray and value.dtype == self._dtype and value.shape == self._shape
        )

    def dump(self, value: Any) -> bytes | memoryview:
        return array_bytes(value)

    def pack(self, frame: bytearray, offset: int, value: Any) -> None:
        np.ndarray(self._shape, self._dtype, frame, offset)[...] = value

    def unpack(self, frame: bytearray | memoryview, offset: int) -> Any:
        if self._is_bool:
            check_bools(frame[offset : offset + self.size])
        return np.ndarray(self._shape, self._dtype, frame, offset)

    def admit(self, value: Any, check: bool) -> Any:
        if not self.fits(value):
            value = self._converted(value, check)
        if check and self._is_inside is not None and not self._is_inside(value):
            index = first_outside(np.asarray(value), self._low, self._high)
            worst = np.asarray(value)[index]
            raise NotMemberError(f"is {worst}, outside {brief(self._space)}", *index)
        return value

    def _converted(self, value: Any, check: bool) -> Any:
        try:
            if not isinstance(value, np.ndarray | np.generic):
                value = self._array(value)
            self._check_type(value)
        except NotMemberError:
            if check:
                raise
        return value

    def _array(self, value: Any) -> Any:
        """Return what Gymnasium takes a Python sequence or number for, if nothing is lost by it."""
        try:
            array = np.asarray(value)
            kind, own = array.dtype.kind, self._dtype.kind
            if array.size and _BREADTH.index(kind) // 2 > _BREADTH.index(own) // 2:
                raise ValueError
            with np.errstate(all="ignore"):
                return np.asarray(value, self._dtype)
        except Exception:
            raise NotMemberError(
                f"is {brief(value)}, a {type(value).__name__}, not an element of {brief(self._space)}"
            ) from None

    def _check_type(self, value: Any) -> None:
        if value.shape != self._shape:
            raise NotMemberError(
                f"has the shape {value.shape}, not {self._shape} as {brief(self._space)}"
            )
        # A MultiBinary contains zeros and ones of any dtype.
        is_binary = isinstance(self._space, spaces.MultiBinary)
        if not has_dtype(value.dtype) or not (is_binary or np.can_cast(value.dtype, self._dtype)):
            raise NotMemberError(
                f"has the dtype {value.dtype}, which is not in {brief(self._space)}"
            )


class DiscreteMember:
    """Elements of a Discrete."""

    def __init__(self, space: spaces.Discrete[Any]) -> None:
        self._space = space
        self._dtype: np.dtype[Any] = space.dtype
        self._type = space.dtype.type
        self._range = range(int(space.start), int(space.start) + int(space.n))
        self.size = space.dtype.itemsize

    def fits(self, value: Any) -> bool:
        return type(value) is self._type

    def dump(self, value: Any) -> bytes | memoryview:
        data: bytes = value.tobytes()
        return data

    def pack(self, frame: bytearray, offset: int, value: Any) -> None:
        frame[offset : offset + self.size] = value.tobytes()

    def unpack(self, frame: bytearray | memoryview, offset: int) -> Any:
        return np.ndarray((), self._dtype, frame, offset)[()]

    def admit(self, value: Any, check: bool) -> Any:
        if not check:
            return value
        if type(value) is not self._type and not isinstance(value, int):
            self._check_type(value)
        if int(value) not in self._range:
            raise NotMemberError(f"is {brief(value)}, outside {brief(self._space)}")
        return value

    def _check_type(self, value: Any) -> None:
        is_integer = (
            isinstance(value, np.ndarray | np.generic)
            and value.shape == ()
            and value.dtype.kind in "iu"
        )
        if not (is_integer and np.can_cast(value.dtype, self._dtype)):
            raise NotMemberError(
                f"is {brief(value)}, a {type(value).__name__}, not an element of {brief(self._space)}"
            )


class TextMember:
    """Elements of a Text."""

    def __init__(self, space: spaces.Text) -> None:
        self._space = space

    def admit(self, value: Any, check: bool) -> Any:
        if check and not self._space.contains(value):
            raise NotMemberError(f"is {brief(value)}, outside {brief(self._space)}")
        return value


class TupleMember:
    """Elements of a Tuple: the parts of a tuple, list or array."""

    def __init__(self, space: spaces.Tuple) -> None:
        self.keys: tuple[Any, ...] = tuple(range(len(space.spaces)))
        self.children = tuple(member_of(subspace) for subspace in space.spaces)

    def split(self, value: Any) -> Iterable[Any]:
        is_array = isinstance(value, np.ndarray) and value.ndim > 0
        if not (is_array or isinstance(value, tuple | list)):
            raise NotMemberError(f"is {brief(value)}, not a tuple")
        if len(value) != len(self.keys):
            raise NotMemberError(f"has {len(value)} parts instead of {len(self.keys)}")
        parts: Iterable[Any] = value
        return parts

    def join(self, parts: list[Any]) -> Any:
        return tuple(parts)

    def admit(self, value: Any, check: bool) -> Any:
        return admit_parts(self, value, check)


class DictMember:
    """Elements of a Dict."""

    def __init__(self, space: spaces.Dict) -> None:
        self.keys: tuple[Any, ...] = tuple(space.spaces)
        self.children = tuple(member_of(subspace) for subspace in space.spaces.values())

    def split(self, value: Any) -> Iterable[Any]:
        if not isinstance(value, dict):
            raise NotMemberError(f"is {brief(value)}, not a dict")
        if missing := [key for key in self.keys if key not in value]:
            raise NotMemberError(f"has no key {brief(missing[0])}")
        if len(value) != len(self.keys):
            extra = next(key for key in value if key not in self.keys)
            raise NotMemberError(f"has the key {brief(extra)}, which its space has not")
        return [value[key] for key in self.keys]

    def join(self, parts: list[Any]) -> Any:
        return dict(zip(self.keys, parts, strict=True))

    def admit(self, value: Any, check: bool) -> Any:
        return admit_parts(self, value, check)


Branch = TupleMember | DictMember


def admit_parts(branch: Branch, value: Any, check: bool) -> Any:
    """Return a Tuple's or Dict's element whose parts were admitted. Raises NotMemberError."""
    parts = []
    for key, child, part in zip(branch.keys, branch.children, branch.split(value), strict=True):
        parts.append(_admit_at(key, child, part, check))
    return branch.join(parts)


def _admit_at(key: object, member: Member, value: Any, check: bool) -> Any:
    try:
        return member.admit(value, check)
    except NotMemberError as error:
        error.path.insert(0, key)
        raise


class SequenceMember:
    """Elements of a Sequence: tuples, or stacked batches whose rows are looked at and left as they are."""

    def __init__(self, space: spaces.Sequence) -> None:
        self._space = space
        self._feature = member_of(space.feature_space)

    def admit(self, value: Any, check: bool) -> Any:
        if self._space.stack:
            if check:
                for index, row in enumerate(_rows(self._space.stacked_feature_space, value)):
                    _admit_at(index, self._feature, row, check)
            return value
        if isinstance(value, tuple):
            return tuple(
                _admit_at(index, self._feature, item, check) for index, item in enumerate(value)
            )
        if check:
            raise NotMemberError(f"is {brief(value)}, not a tuple")
        return value


class GraphMember:
    """Elements of a Graph: a GraphInstance of batches of nodes and edges."""

    def __init__(self, space: spaces.Graph) -> None:
        self._space = space
        self._node = member_of(space.node_space)
        self._edge = None if space.edge_space is None else member_of(space.edge_space)

    def admit(self, value: Any, check: bool) -> Any:
        if not check:
            return value
        if not isinstance(value, GraphInstance):
            raise NotMemberError(f"is {brief(value)}, not a GraphInstance")
        nodes = _rows(self._space.batch_node_space, value.nodes)
        for index, node in enumerate(nodes):
            _admit_at("nodes", _Indexed(self._node, index), node, check)
        if value.edges is None and value.edge_links is None:
            return value
        if self._edge is None or value.edges is None or value.edge_links is None:
            raise NotMemberError(
                "has edges without links, links without edges, or should have none"
            )
        edges = _rows(self._space.batch_edge_space, value.edges)
        for index, edge in enumerate(edges):
            _admit_at("edges", _Indexed(self._edge, index), edge, check)
        self._check_links(value.edge_links, len(nodes), len(edges))
        return value

    def _check_links(self, links: Any, nodes: int, edges: int) -> None:
        if not isinstance(links, np.ndarray) or links.dtype.kind not in "iu":
            raise NotMemberError("is not an array of integers", "edge_links")
        if links.shape != (edges, 2):
            raise NotMemberError(f"has the shape {links.shape}, not {(edges, 2)}", "edge_links")
        if not ((links >= 0) & (links < nodes)).all():
            raise NotMemberError(f"links more than the {nodes} nodes", "edge_links")


class _Indexed:
    """A member at an index, for the path of its error."""

    def __init__(self, member: Member, index: int) -> None:
        self._member = member
        self._index = index

    def admit(self, value: Any, check: bool) -> Any:
        return _admit_at(self._index, self._member, value, check)


class OneOfMember:
    """Elements of a OneOf: which space, and an element of that."""

    def __init__(self, space: spaces.OneOf) -> None:
        self._members = tuple(member_of(subspace) for subspace in space.spaces)

    def admit(self, value: Any, check: bool) -> Any:
        is_pair = (
            isinstance(value, tuple)
            and len(value) == 2
            and isinstance(value[0], np.int64 | int)
            and 0 <= value[0] < len(self._members)
        )
        if is_pair:
            index, part = value
            return (index, _admit_at(1, self._members[index], part, check))
        if check:
            raise NotMemberError(
                f"is {brief(value)}, not a number less than {len(self._members)} and an element"
            )
        return value


def _rows(batch: Space, value: Any) -> list[Any]:
    """Return the elements in a batch."""
    try:
        return list(batching.iterate(batch, value))
    except Exception as error:
        # Gymnasium takes a batch apart without looking: anything may come of it.
        raise NotMemberError(f"is {brief(value)}, not a batch") from error


def member_of(space: Space) -> Member:
    """Return what knows the elements of a space.

    Raises:
        TypeError: The space is not of one of Gymnasium's ten kinds.
    """
    for kind, make in _MEMBERS:
        if isinstance(space, kind):
            return make(space)
    raise TypeError(f"{brief(space)} is not one of Gymnasium's own spaces")


_MEMBERS: tuple[tuple[type, Callable[[Any], Member]], ...] = (
    (spaces.Box, ArrayMember),
    (spaces.Discrete, DiscreteMember),
    (spaces.MultiDiscrete, ArrayMember),
    (spaces.MultiBinary, ArrayMember),
    (spaces.Text, TextMember),
    (spaces.Tuple, TupleMember),
    (spaces.Dict, DictMember),
    (spaces.Sequence, SequenceMember),
    (spaces.Graph, GraphMember),
    (spaces.OneOf, OneOfMember),
)
