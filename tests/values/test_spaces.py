"""Spaces are equal after the round trip, and their bounds exact; others are refused by name."""

from typing import Any

import numpy as np
import pytest
from exactness import identical, mutated, new, sent
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import any_space, sampled

from capenv.errors import ProtocolError, UnsupportedSpace
from capenv.values import MAX_DEPTH, check_layout, layout_of, read_space, write_layout, write_space


def round_trip(space: Any) -> Any:
    builder = new("Space")
    write_space(builder, space)
    return read_space(sent(builder, "Space"))


def described(space: Any) -> Any:
    """Return all there is to know of a space, for exact comparison."""
    match space:
        case spaces.Box():
            return ("box", space.dtype, space.low, space.high)
        case spaces.Discrete():
            return ("discrete", space.dtype, space.n, space.start)
        case spaces.MultiDiscrete():
            return ("multi", space.dtype, space.nvec, space.start)
        case spaces.MultiBinary():
            return ("binary", space.n)
        case spaces.Text():
            return ("text", space.min_length, space.max_length, space.character_list)
        case spaces.Dict():
            return {name: described(subspace) for name, subspace in space.spaces.items()}
        case spaces.Sequence():
            return ("sequence", described(space.feature_space), space.stack)
        case spaces.Graph():
            return ("graph", described(space.node_space), described(space.edge_space))
        case None:
            return None
        case _:
            return (type(space).__name__, [described(subspace) for subspace in space.spaces])


@given(any_space())
def test_round_trip(space: Any) -> None:
    arrived = round_trip(space)
    assert arrived == space
    assert type(arrived) is type(space)
    assert identical(described(arrived), described(space))


@given(any_space(), st.integers(0, 2**16))
def test_samples_are_the_same(space: Any, seed: int) -> None:
    try:
        there = sampled(space, seed)
    except (ValueError, TypeError, OverflowError, RuntimeWarning):
        return  # Gymnasium cannot sample every space that it can make
    assert identical(sampled(round_trip(space), seed), there)


@given(any_space())
def test_layout_is_the_same(space: Any) -> None:
    layout = layout_of(space)
    assert layout_of(round_trip(space)) == layout
    builder = new("Layout")
    write_layout(builder, layout)
    check_layout(sent(builder, "Layout"), layout)
    end = 0
    for leaf in layout.leaves:
        if leaf.fixed:
            assert leaf.dtype is not None
            assert leaf.offset % leaf.dtype.itemsize == 0
            assert leaf.offset >= end
            end = leaf.offset + leaf.dtype.itemsize * int(np.prod(leaf.shape, dtype=np.int64))
    assert layout.frame_size % 8 == 0
    assert end <= layout.frame_size < end + 8


def test_layout_by_example() -> None:
    space = spaces.Dict(
        {
            "a/b": spaces.Box(0, 255, (3,), np.uint8),
            "c": spaces.Tuple([spaces.Discrete(2), spaces.Text(3)]),
        }
    )
    layout = layout_of(space)
    assert layout.frame_size == 16
    told = [(leaf.path, leaf.fixed, leaf.offset, leaf.shape) for leaf in layout.leaves]
    assert told == [("/a~1b", True, 0, (3,)), ("/c/0", True, 8, ()), ("/c/1", False, 0, ())]


@pytest.mark.parametrize("field", ["path", "fixed", "offset", "shape", "dtype"])
def test_another_layout_is_refused(field: str) -> None:
    layout = layout_of(spaces.Tuple([spaces.Box(0, 1, (2,)), spaces.Text(3)]))
    builder = new("Layout")
    write_layout(builder, layout)
    lie: Any = {"path": "/x", "fixed": False, "offset": 4, "shape": [3], "dtype": "int32"}[field]
    setattr(builder.leaves[0], field, lie)
    with pytest.raises(ProtocolError, match="differs from the space's at the leaf /0"):
        check_layout(sent(builder, "Layout"), layout)
    with pytest.raises(ProtocolError, match="2 leaves in 8 bytes, the space has 1"):
        check_layout(sent(builder, "Layout"), layout_of(spaces.Discrete(2)))


def test_order_of_a_dict() -> None:
    space = spaces.Dict([("b", spaces.Discrete(2)), ("a", spaces.Discrete(3))])
    assert list(round_trip(space).spaces) == ["b", "a"]


class MyBox(spaces.Box):
    pass


deep: Any = spaces.Discrete(2)
for _ in range(MAX_DEPTH + 1):
    deep = spaces.Tuple([deep])


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (MyBox(0, 1, (2,)), r"the space at /, Box\(0.0, 1.0, \(2,\), float32\) \(a .*MyBox\)"),
        (spaces.Dict({"x": spaces.Tuple([MyBox(0, 1)])}), "the space at /x/0, .*MyBox"),
        (spaces.Dict([(1, spaces.Discrete(2))]), "its key 1 is not a str"),
        (spaces.Box(0, 1, (2,), np.longdouble), "float128|longdouble"),
        (spaces.Box(0, 1, (2,), ">f4"), ">f4"),
        (spaces.Discrete(2**63, dtype=np.uint64), "the space at /, Discrete"),
        (spaces.Text(3, charset="\ud800"), "surrogates"),
        (deep, "nested more than 16 levels deep"),
        (spaces.Sequence(MyBox(0, 1)), "the space at /element"),
    ],
)
def test_unsupported(space: Any, message: str) -> None:
    with pytest.raises(UnsupportedSpace, match=message):
        write_space(new("Space"), space)


def box(shape: list[int], low: Any, high: Any) -> Any:
    from capenv.values import write_tensor

    builder = new("Space")
    inner = builder.init("box")
    inner.shape = shape
    write_tensor(inner.init("low"), low)
    write_tensor(inner.init("high"), high)
    return builder


def test_a_space_larger_than_memory_is_refused() -> None:
    for shape in ([10**12], [2**32, 2**32], [2**30]):
        with pytest.raises(ProtocolError, match="more than 268435456 bytes"):
            read_space(sent(box(shape, np.float32(0), np.float32(1)), "Space"))


def test_many_spaces_share_one_bound() -> None:
    builder = new("Space")
    items = builder.init("tuple", 300)
    for index in range(300):
        inner = items[index].init("multiBinary")
        inner.shape = [2**22]
    with pytest.raises(ProtocolError, match="more than 268435456 bytes"):
        read_space(sent(builder, "Space"))


@pytest.mark.parametrize(
    ("shape", "low", "high"),
    [
        ([2], np.float32(2), np.float32(1)),
        ([2], np.float32(np.nan), np.float32(1)),
        ([2], np.float32(0), np.float64(1)),
        ([2], np.zeros(3, np.float32), np.ones(3, np.float32)),
        ([2**63, 0], np.float32(0), np.float32(1)),
    ],
)
def test_boxes_that_make_no_sense(shape: list[int], low: Any, high: Any) -> None:
    with pytest.raises(ProtocolError):
        read_space(sent(box(shape, low, high), "Space"))


@pytest.mark.parametrize("n", [0, -1, 300])
def test_discretes_that_make_no_sense(n: int) -> None:
    builder = new("Space")
    discrete = builder.init("discrete")
    discrete.n, discrete.dtype = n, "uint8"
    with pytest.raises(ProtocolError):
        read_space(sent(builder, "Space"))


def test_nothing_is_a_protocol_error() -> None:
    for kind in ("tuple", "oneOf", "dict"):
        builder = new("Space")
        builder.init(kind, 1)
        with pytest.raises(ProtocolError):
            read_space(sent(builder, "Space"))
    with pytest.raises(ProtocolError):
        read_space(sent(new("Space"), "Space"))


@given(any_space(), st.integers(0, 2**32))
@settings(max_examples=500)
def test_any_bytes_are_a_space_or_a_protocol_error(space: Any, seed: int) -> None:
    builder = new("Space")
    write_space(builder, space)
    reader = mutated(builder, "Space", seed)
    try:
        read_space(reader)
    except ProtocolError:
        pass
