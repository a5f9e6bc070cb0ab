"""Hypothesis strategies: spaces of every kind, their elements, arrays, and self-described values."""

import string
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.spaces import GraphInstance
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

NAMES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
NAMES += ["float16", "float32", "float64"]
DTYPES = [np.dtype(name) for name in NAMES]
INTEGERS = [dtype for dtype in DTYPES if dtype.kind in "iu"]

dtypes = st.sampled_from(DTYPES)
shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
keys = st.text(max_size=5) | st.sampled_from(["a/b", "~", "", "~1", "é", "nul\0"])


@st.composite
def arrays(draw: st.DrawFn, shape: Any = shapes) -> np.ndarray[Any, Any]:
    """Arrays of any bits: signalling NaNs too."""
    dtype = draw(dtypes)
    if isinstance(shape, st.SearchStrategy):
        shape = draw(shape)
    size = int(np.prod(shape, dtype=np.int64))
    if dtype.kind == "b":
        return draw(hnp.arrays(dtype, shape))
    data = draw(st.binary(min_size=size * dtype.itemsize, max_size=size * dtype.itemsize))
    return np.frombuffer(bytearray(data), dtype).reshape(shape)


scalars = arrays(shape=()).map(lambda array: array.reshape(-1)[0])


def _graphs(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(GraphInstance, children, st.none() | children, st.none() | children)


def values(max_leaves: int = 12) -> st.SearchStrategy[Any]:
    """Whatever the wire knows: None, numbers, texts, bytes, arrays, and trees of them."""
    leaves = (
        st.none()
        | st.booleans()
        | st.integers(-(2**80), 2**80)
        | st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 0])
        | st.floats()
        | st.text(max_size=20)
        | st.binary(max_size=20)
        | arrays()
        | scalars
    )
    return st.recursive(
        leaves,
        lambda children: (
            st.lists(children, max_size=4)
            | st.lists(children, max_size=4).map(tuple)
            | st.dictionaries(keys, children, max_size=4)
            | _graphs(children)
        ),
        max_leaves=max_leaves,
    )


@st.composite
def boxes(draw: st.DrawFn) -> spaces.Box:
    dtype = draw(dtypes)
    shape = draw(shapes)
    if dtype.kind == "f":
        numbers = st.floats(width=dtype.itemsize * 8, allow_nan=False)
    elif dtype.kind == "b":
        numbers = st.booleans()
    else:
        info = np.iinfo(dtype)
        numbers = st.integers(int(info.min), int(info.max)) | st.sampled_from(
            [int(info.min), int(info.max)]
        )
    if draw(st.booleans()):
        ends = sorted([draw(numbers), draw(numbers)])
        low, high = (np.full(shape, end, dtype) for end in ends)
    else:
        one, other = (draw(hnp.arrays(dtype, shape, elements=numbers)) for _ in range(2))
        low, high = np.asarray(np.minimum(one, other)), np.asarray(np.maximum(one, other))
    return spaces.Box(low, high, shape, dtype.type)


@st.composite
def discretes(draw: st.DrawFn) -> spaces.Discrete[Any]:
    dtype = draw(st.sampled_from(INTEGERS))
    info = np.iinfo(dtype)
    most = min(int(info.max), 2**63 - 1)
    n = draw(st.integers(1, min(most, 1000)) | st.just(most))
    start = draw(st.integers(int(info.min), most - n + 1) | st.just(0 if n == most else most - n))
    return spaces.Discrete(n, start=start, dtype=dtype.type)


@st.composite
def multi_discretes(draw: st.DrawFn) -> spaces.MultiDiscrete[Any]:
    dtype = draw(st.sampled_from(INTEGERS))
    shape = draw(shapes)
    nvec = draw(hnp.arrays(dtype, shape, elements=st.integers(1, 60)))
    start = draw(hnp.arrays(dtype, shape, elements=st.integers(0 if dtype.kind == "u" else -9, 9)))
    return spaces.MultiDiscrete(nvec, dtype=dtype.type, start=start)


multi_binaries = st.builds(
    spaces.MultiBinary,
    st.integers(1, 9) | st.lists(st.integers(1, 3), min_size=1, max_size=3),
)


@st.composite
def texts(draw: st.DrawFn) -> spaces.Text:
    least = draw(st.integers(0, 4))
    most = least + draw(st.integers(0, 5))
    characters = draw(
        st.text(string.printable, min_size=1)
        | st.frozensets(st.characters(codec="utf-8"), min_size=1, max_size=20)
    )
    return spaces.Text(most, min_length=least, charset=characters)


single = boxes() | discretes() | multi_discretes() | multi_binaries | texts()


def _composite(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(children, min_size=1, max_size=3)
    flat = boxes() | discretes()
    return (
        st.builds(spaces.Tuple, st.lists(children, max_size=3))
        | st.builds(spaces.Dict, st.lists(st.tuples(keys, children), max_size=3, unique_by=_key))
        | st.builds(spaces.Sequence, children, stack=st.booleans())
        | st.builds(spaces.OneOf, several)
        | st.builds(spaces.Graph, flat, st.none() | flat)
    )


def _key(pair: tuple[str, Any]) -> str:
    return pair[0]


def any_space(max_leaves: int = 6) -> st.SearchStrategy[Any]:
    """Spaces of every kind, nested."""
    return st.recursive(single, _composite, max_leaves=max_leaves)


@st.composite
def elements(draw: st.DrawFn, space: spaces.Space[Any]) -> Any:
    """Elements of a space: samples, and the ends of its bounds."""
    match space:
        case spaces.Box():
            low, high = space.low, space.high
            flags = draw(hnp.arrays(np.bool_, space.shape))
            return np.where(flags, low, high).astype(space.dtype)
        case spaces.Discrete():
            value = int(space.start) + draw(st.sampled_from([0, int(space.n) - 1]))
            scalar = space.dtype.type(value)
            return draw(st.sampled_from([scalar, value, np.asarray(scalar)]))
        case spaces.MultiDiscrete():
            flags = draw(hnp.arrays(np.bool_, space.shape))
            return np.where(flags, space.start, space.start + (space.nvec - 1)).astype(space.dtype)
        case spaces.MultiBinary():
            return draw(hnp.arrays(draw(dtypes), space.shape, elements=st.integers(0, 1)))
        case spaces.Text():
            lengths = {"min_size": space.min_length, "max_size": space.max_length}
            return draw(st.text(st.sampled_from(space.character_list), **lengths))
        case spaces.Tuple():
            return tuple(draw(elements(subspace)) for subspace in space.spaces)
        case spaces.Dict():
            return {name: draw(elements(subspace)) for name, subspace in space.spaces.items()}
        case spaces.Sequence(stack=False):
            return tuple(draw(st.lists(elements(space.feature_space), max_size=3)))
        case spaces.OneOf():
            index = draw(st.integers(0, len(space.spaces) - 1))
            kind = draw(st.sampled_from([int, np.int64]))
            return (kind(index), draw(elements(space.spaces[index])))
        case _:
            return sampled(space, draw(st.integers(0, 2**16)))


def sampled(space: spaces.Space[Any], seed: int) -> Any:
    """A sample that depends on the seed alone."""
    space.seed(seed)
    with np.errstate(all="ignore"):
        return space.sample()
