"""Gymnasium spaces as `values.capnp` spaces: all ten kinds, equal after the round trip."""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import capnp
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from capenv.errors import ProtocolError, UnsupportedSpace
from capenv.values.naming import brief, pointer
from capenv.values.reading import Budget, Reading
from capenv.values.tensors import (
    dtype_ordinal,
    has_dtype,
    read_dtype,
    read_shape,
    read_tensor,
    write_tensor,
)

Space = spaces.Space[Any]


def write_space(builder: Any, space: Space) -> None:
    """Fill a `Space` builder.

    Raises:
        UnsupportedSpace: The space, or one inside it, is not of Gymnasium's own ten kinds, has a
            dtype or bounds that the schema has no place for, or is too large or nested too deeply.
    """
    _write(builder, space, "", 0, Budget())


def read_space(reader: Any) -> Space:
    """Return the space of a `Space` reader.

    Raises:
        ProtocolError: It is malformed, too large, nested too deeply, or refused by Gymnasium.
    """
    with Reading("a space"):
        return _read(reader, 0, Budget())


def _write(builder: Any, space: Space, path: str, depth: int, budget: Budget) -> None:
    # Exactly of the type: a subclass may contain something else, and the peer could not know.
    write = _WRITERS.get(type(space))
    if write is None:
        raise _unsupported(space, path, "use one of Gymnasium's own spaces")
    try:
        budget.nodes(1, depth)
        write(builder, space, path, depth, budget)
    except (TypeError, ValueError, capnp.KjException) as error:
        # pycapnp reports an integer out of range, or a None, as a KjException.
        if isinstance(error, UnsupportedSpace):
            raise
        raise _unsupported(space, path, str(error).partition("\nstack:")[0]) from error


def _unsupported(space: Space, path: str, reason: str) -> UnsupportedSpace:
    kind = f"{type(space).__module__}.{type(space).__qualname__}"
    text = brief(space)
    return UnsupportedSpace(
        f"the space at {path or '/'}, {text} (a {kind}), has no description on the wire: {reason}"
    )


def _write_box(builder: Any, space: spaces.Box, path: str, depth: int, budget: Budget) -> None:
    dtype = _check_dtype(space.dtype)
    budget.spend(_box_bytes(space.shape, dtype))
    box = builder.init("box")
    box.shape = list(space.shape)
    write_tensor(box.init("low"), _squeezed(space.low))
    write_tensor(box.init("high"), _squeezed(space.high))


def _read_box(reader: Any, depth: int, budget: Budget) -> spaces.Box:
    shape = read_shape(reader.shape)
    low, high = read_tensor(reader.low), read_tensor(reader.high)
    budget.spend(_box_bytes(shape, low.dtype))
    if low.dtype != high.dtype or low.shape not in ((), shape) or high.shape not in ((), shape):
        raise ProtocolError(
            f"a box of shape {shape} has bounds of dtypes {low.dtype} and {high.dtype},"
            f" shapes {low.shape} and {high.shape}"
        )
    return spaces.Box(_bound(low), _bound(high), shape, low.dtype.type)


def _box_bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Return what Gymnasium keeps of a box: two bounds, and of each element whether it has them."""
    return math.prod(shape) * 2 * (dtype.itemsize + 1)


def _squeezed(bound: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a bound as an array of shape () where all its elements are the same, bit for bit."""
    flat = np.ascontiguousarray(bound).reshape(-1)
    if flat.size == 0:
        return bound
    words = flat.view(f"u{flat.itemsize}")
    return flat[0].reshape(()) if (words == words[0]).all() else bound


def _bound(tensor: npt.NDArray[Any]) -> Any:
    # Gymnasium takes a scalar for a whole bound, but not a numpy bool.
    if tensor.ndim:
        return tensor
    return int(tensor) if tensor.dtype == np.bool_ else tensor[()]


def _write_discrete(
    builder: Any, space: spaces.Discrete[Any], path: str, depth: int, budget: Budget
) -> None:
    discrete = builder.init("discrete")
    discrete.dtype = dtype_ordinal(_check_dtype(space.dtype))
    discrete.n = int(space.n)
    discrete.start = int(space.start)


def _read_discrete(reader: Any, depth: int, budget: Budget) -> spaces.Discrete[Any]:
    dtype = read_dtype(reader.dtype)
    return spaces.Discrete(reader.n, start=reader.start, dtype=dtype.type)


def _write_multi_discrete(
    builder: Any, space: spaces.MultiDiscrete[Any], path: str, depth: int, budget: Budget
) -> None:
    budget.spend(space.nvec.nbytes)
    multi_discrete = builder.init("multiDiscrete")
    multi_discrete.dtype = dtype_ordinal(_check_dtype(space.dtype))
    write_tensor(multi_discrete.init("nvec"), space.nvec)
    write_tensor(multi_discrete.init("start"), space.start)


def _read_multi_discrete(reader: Any, depth: int, budget: Budget) -> spaces.MultiDiscrete[Any]:
    dtype = read_dtype(reader.dtype)
    nvec, start = read_tensor(reader.nvec), read_tensor(reader.start)
    budget.spend(nvec.nbytes)
    if not dtype == nvec.dtype == start.dtype:
        raise ProtocolError(
            f"a MultiDiscrete of dtype {dtype} has counts of {nvec.dtype}, starts of {start.dtype}"
        )
    return spaces.MultiDiscrete(nvec, dtype=dtype.type, start=start)


def _write_multi_binary(
    builder: Any, space: spaces.MultiBinary, path: str, depth: int, budget: Budget
) -> None:
    budget.spend(math.prod(space.shape))
    multi_binary = builder.init("multiBinary")
    multi_binary.shape = list(space.shape)
    multi_binary.flat = isinstance(space.n, int)


def _read_multi_binary(reader: Any, depth: int, budget: Budget) -> spaces.MultiBinary:
    shape = read_shape(reader.shape)
    budget.spend(math.prod(shape))
    if not reader.flat:
        return spaces.MultiBinary(shape)
    if len(shape) != 1:
        raise ProtocolError(f"a flat MultiBinary has the shape {shape}")
    return spaces.MultiBinary(shape[0])


def _write_text(builder: Any, space: spaces.Text, path: str, depth: int, budget: Budget) -> None:
    text = builder.init("text")
    text.minLength = space.min_length
    text.maxLength = space.max_length
    # Sampling depends on the order of the characters.
    text.characters = "".join(space.character_list)


def _read_text(reader: Any, depth: int, budget: Budget) -> spaces.Text:
    return spaces.Text(reader.maxLength, min_length=reader.minLength, charset=reader.characters)


def _write_tuple(
    builder: Any,
    space: spaces.Tuple[Any] | spaces.OneOf[Any],
    path: str,
    depth: int,
    budget: Budget,
) -> None:
    kind = "tuple" if isinstance(space, spaces.Tuple) else "oneOf"
    items = builder.init(kind, len(space.spaces))
    for index, subspace in enumerate(space.spaces):
        _write(items[index], subspace, f"{path}/{index}", depth + 1, budget)


def _read_tuple(reader: Any, depth: int, budget: Budget) -> spaces.Tuple[Any]:
    return spaces.Tuple(_read_items(reader, depth, budget))


def _read_one_of(reader: Any, depth: int, budget: Budget) -> spaces.OneOf[Any]:
    return spaces.OneOf(_read_items(reader, depth, budget))


def _read_items(reader: Any, depth: int, budget: Budget) -> list[Space]:
    return [_read(item, depth + 1, budget) for item in reader]


def _write_dict(builder: Any, space: spaces.Dict, path: str, depth: int, budget: Budget) -> None:
    entries = builder.init("dict", len(space.spaces))
    for entry, (name, subspace) in zip(entries, space.spaces.items(), strict=True):
        if not isinstance(name, str):
            raise TypeError(f"its key {name!r} is not a str")
        entry.name = name
        _write(entry.init("space"), subspace, path + pointer(name), depth + 1, budget)


def _read_dict(reader: Any, depth: int, budget: Budget) -> spaces.Dict:
    # Gymnasium sorts the keys of a plain dict.
    entries: OrderedDict[str, Space] = OrderedDict()
    for entry in reader:
        name = entry.name
        if name in entries:
            raise ProtocolError(f"a Dict has the key {name[:80]!r} twice")
        entries[name] = _read(entry.space, depth + 1, budget)
    return spaces.Dict(entries)


def _write_sequence(
    builder: Any, space: spaces.Sequence, path: str, depth: int, budget: Budget
) -> None:
    sequence = builder.init("sequence")
    sequence.stack = space.stack
    element = sequence.init("element")
    before = budget.left
    _write(element, space.feature_space, path + "/element", depth + 1, budget)
    _spend_again(budget, before, space.stack)


def _read_sequence(reader: Any, depth: int, budget: Budget) -> spaces.Sequence:
    stack = reader.stack
    before = budget.left
    element = _read(reader.element, depth + 1, budget)
    _spend_again(budget, before, stack)
    return spaces.Sequence(element, stack=stack)


def _write_graph(builder: Any, space: spaces.Graph, path: str, depth: int, budget: Budget) -> None:
    graph = builder.init("graph")
    before = budget.left
    _write(graph.init("nodes"), space.node_space, path + "/nodes", depth + 1, budget)
    if space.edge_space is not None:
        graph.hasEdges = True
        _write(graph.init("edges"), space.edge_space, path + "/edges", depth + 1, budget)
    _spend_again(budget, before, True)


def _read_graph(reader: Any, depth: int, budget: Budget) -> spaces.Graph:
    before = budget.left
    nodes = _read(reader.nodes, depth + 1, budget)
    edges = _read(reader.edges, depth + 1, budget) if reader.hasEdges else None
    _spend_again(budget, before, True)
    return spaces.Graph(nodes, edges)


def _spend_again(budget: Budget, before: int, copied: bool) -> None:
    """Take once more what was taken since `before`: Gymnasium keeps a batch of the subspaces."""
    if copied:
        budget.spend(before - budget.left)


def _check_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if not (has_dtype(dtype) and dtype.isnative):
        raise TypeError(f"its dtype is {dtype.str}")
    return dtype


def _read(reader: Any, depth: int, budget: Budget) -> Space:
    budget.nodes(1, depth)
    kind = reader._which_str()
    return _READERS[kind](getattr(reader, kind), depth, budget)


_WRITERS: dict[type, Callable[[Any, Any, str, int, Budget], None]] = {
    spaces.Box: _write_box,
    spaces.Discrete: _write_discrete,
    spaces.MultiDiscrete: _write_multi_discrete,
    spaces.MultiBinary: _write_multi_binary,
    spaces.Text: _write_text,
    spaces.Tuple: _write_tuple,
    spaces.OneOf: _write_tuple,
    spaces.Dict: _write_dict,
    spaces.Sequence: _write_sequence,
    spaces.Graph: _write_graph,
}

_READERS: dict[str, Callable[[Any, int, Budget], Space]] = {
    "box": _read_box,
    "discrete": _read_discrete,
    "multiDiscrete": _read_multi_discrete,
    "multiBinary": _read_multi_binary,
    "text": _read_text,
    "tuple": _read_tuple,
    "oneOf": _read_one_of,
    "dict": _read_dict,
    "sequence": _read_sequence,
    "graph": _read_graph,
}
