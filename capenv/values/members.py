"""What is an element of each kind of space."""

from collections.abc import Callable, Iterable
from typing import Any

import gymnasium.vector.utils as batching
import numpy as np
from gymnasium import spaces
from gymnasium.spaces import GraphInstance

from capenv.values.leaves import ArrayMember, DiscreteMember, Member, NotMemberError, TextMember
from capenv.values.naming import brief

Space = spaces.Space[Any]


class TupleMember:
    """Elements of a Tuple: the parts of a tuple, list or array."""

    def __init__(self, space: spaces.Tuple[Any]) -> None:
        self.keys: tuple[Any, ...] = tuple(range(len(space.spaces)))
        self.children = tuple(member_of(subspace) for subspace in space.spaces)

    def split(self, value: Any) -> Iterable[Any]:
        """Return the parts. Raises NotMemberError."""
        is_array = isinstance(value, np.ndarray) and value.ndim > 0
        if not (is_array or isinstance(value, tuple | list)):
            raise NotMemberError(f"is {brief(value)}, not a tuple")
        if len(value) != len(self.keys):
            raise NotMemberError(f"has {len(value)} parts instead of {len(self.keys)}")
        parts: Iterable[Any] = value
        return parts

    def join(self, parts: list[Any]) -> Any:
        """Return the tuple of parts."""
        return tuple(parts)

    def admit(self, value: Any, check: bool) -> Any:
        """Return a tuple of the subspaces' elements."""
        return admit_parts(self, value, check)


class DictMember:
    """Elements of a Dict."""

    def __init__(self, space: spaces.Dict) -> None:
        self.keys: tuple[Any, ...] = tuple(space.spaces)
        self.children = tuple(member_of(subspace) for subspace in space.spaces.values())

    def split(self, value: Any) -> Iterable[Any]:
        """Return the parts in the space's order. Raises NotMemberError."""
        if not isinstance(value, dict):
            raise NotMemberError(f"is {brief(value)}, not a dict")
        if missing := [key for key in self.keys if key not in value]:
            raise NotMemberError(f"has no key {brief(missing[0])}")
        if len(value) != len(self.keys):
            extra = next(key for key in value if key not in self.keys)
            raise NotMemberError(f"has the key {brief(extra)}, which its space has not")
        return [value[key] for key in self.keys]

    def join(self, parts: list[Any]) -> Any:
        """Return the dict of parts, in the space's order."""
        return dict(zip(self.keys, parts, strict=True))

    def admit(self, value: Any, check: bool) -> Any:
        """Return a dict of the subspaces' elements."""
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
    """Elements of a Sequence: tuples, or stacked batches, which are left as they are."""

    def __init__(self, space: spaces.Sequence) -> None:
        self._space = space
        self._feature = member_of(space.feature_space)
        self._taken_apart = not _has_hollow(space.feature_space)

    def admit(self, value: Any, check: bool) -> Any:
        """Return a tuple of the subspace's elements, or a batch of them."""
        if self._space.stack:
            if check and self._taken_apart:
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
        """Return a GraphInstance of the subspaces' elements."""
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
        """Return an element."""
        return _admit_at(self._index, self._member, value, check)


class OneOfMember:
    """Elements of a OneOf: which space, and an element of that."""

    def __init__(self, space: spaces.OneOf[Any]) -> None:
        self._members = tuple(member_of(subspace) for subspace in space.spaces)

    def admit(self, value: Any, check: bool) -> Any:
        """Return a pair of a number and an element of that subspace."""
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


def _has_hollow(space: Space) -> bool:
    """Return whether there is a Tuple or Dict of nothing within: Gymnasium takes no batch of such apart."""
    match space:
        case spaces.Tuple(spaces=inner):
            return not inner or any(map(_has_hollow, inner))
        case spaces.Dict(spaces=inner):
            return not inner or any(map(_has_hollow, inner.values()))
        case _:
            return False


def _rows(batch: Space, value: Any) -> list[Any]:
    """Return the elements in a batch."""
    if isinstance(value, dict | tuple) and not value:
        return []  # of a space without leaves, whose batches Gymnasium cannot take apart
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
