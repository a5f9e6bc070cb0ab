"""How elements of a space are packed into a frame; both peers derive the same from the space."""

import math
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np
from gymnasium import spaces

from capenv.errors import ProtocolError
from capenv.values.naming import pointer
from capenv.values.reading import Reading
from capenv.values.tensors import dtype_ordinal, read_dtype, read_shape

Space = spaces.Space[Any]
_FIXED = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


@attrs.frozen
class Leaf:
    """One part of an element that has a place in the frame, or always rides beside it."""

    path: str
    """Where it is in the element, as a JSON pointer; "" is the element itself."""
    fixed: bool
    """Whether it has a place in the frame."""
    dtype: np.dtype[Any] | None
    """None unless fixed, as the shape and offset are () and 0."""
    shape: tuple[int, ...]
    offset: int
    """Bytes from the start of the frame, a multiple of the dtype's size."""
    space: Space = attrs.field(eq=False)


@attrs.frozen
class Layout:
    """The frame of one space, and where its leaves are."""

    frame_size: int
    """Bytes, a multiple of 8."""
    leaves: tuple[Leaf, ...]


def layout_of(space: Space) -> Layout:
    """Return the layout of a space.

    Box, Discrete, MultiDiscrete and MultiBinary spaces, alone or under Tuples and Dicts, are fixed
    leaves, one after another in the space's order, each aligned to the size of its dtype. Any other
    space that is not inside one is a leaf that rides beside.

    Raises:
        TypeError: A fixed leaf has a dtype that the schema does not know.
    """
    leaves: list[Leaf] = []
    offset = 0
    for path, subspace in _walk(space, ""):
        if not isinstance(subspace, _FIXED):
            leaves.append(Leaf(path, False, None, (), 0, subspace))
            continue
        dtype = subspace.dtype
        dtype_ordinal(dtype)
        offset = _round_up(offset, dtype.itemsize)
        leaf = Leaf(path, True, dtype, subspace.shape or (), offset, subspace)
        leaves.append(leaf)
        offset += dtype.itemsize * math.prod(leaf.shape)
    return Layout(_round_up(offset, 8), tuple(leaves))


def write_layout(builder: Any, layout: Layout) -> None:
    """Fill a `Layout` builder."""
    builder.frameSize = layout.frame_size
    leaves = builder.init("leaves", len(layout.leaves))
    for index, leaf in enumerate(layout.leaves):
        entry = leaves[index]
        entry.path = leaf.path
        entry.fixed = leaf.fixed
        entry.offset = leaf.offset
        if leaf.dtype is not None:
            entry.dtype = dtype_ordinal(leaf.dtype)
            entry.shape = list(leaf.shape)


def check_layout(reader: Any, layout: Layout) -> None:
    """Check that a peer's `Layout` is the one that follows from the space.

    Raises:
        ProtocolError: It is another one, or malformed.
    """
    with Reading("a layout"):
        if reader.frameSize != layout.frame_size or len(reader.leaves) != len(layout.leaves):
            raise ProtocolError(
                f"a layout has {len(reader.leaves)} leaves in {reader.frameSize} bytes,"
                f" the space has {len(layout.leaves)} in {layout.frame_size}"
            )
        for entry, leaf in zip(reader.leaves, layout.leaves, strict=True):
            told = (entry.path, entry.fixed, entry.offset, read_shape(entry.shape))
            dtype = read_dtype(entry.dtype) if leaf.fixed else None
            if told != (leaf.path, leaf.fixed, leaf.offset, leaf.shape) or dtype != leaf.dtype:
                raise ProtocolError(
                    f"a layout differs from the space's at the leaf {leaf.path or '/'}"
                )


def _walk(space: Space, path: str) -> Iterator[tuple[str, Space]]:
    match space:
        case spaces.Tuple():
            for index, subspace in enumerate(space.spaces):
                yield from _walk(subspace, f"{path}/{index}")
        case spaces.Dict():
            for name, subspace in space.spaces.items():
                yield from _walk(subspace, path + pointer(name))
        case _:
            yield path, space


def _round_up(offset: int, multiple: int) -> int:
    return -(-offset // multiple) * multiple
