"""Self-described values as `values.capnp` trees; the exact Python and numpy types are restored."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from gymnasium.spaces import GraphInstance

from capenv.errors import ProtocolError
from capenv.values.pruning import object_array, plain, prune
from capenv.values.reading import Budget, Reading
from capenv.values.tensors import read_tensor, write_tensor

_INT64 = range(-(2**63), 2**63)
_Data = TypeVar("_Data", str, bytes)


def write_value(builder: Any, value: Any) -> None:
    """Fill a `Value` builder.

    Raises:
        UnrepresentableError: The value, or one inside it, has no representation: see `plain`.
    """
    write = _WRITERS.get(type(value))
    if write is None or write in _NESTED:
        _write(builder, plain(value))
    else:
        write(builder, value)


def write_info(builder: Any, field: str, info: Mapping[str, Any]) -> list[str]:
    """Fill the `List(Entry)` field of a builder with what can be represented of `info`.

    Returns the JSON pointers of what was dropped because it cannot: see `prune`.
    """
    kept, dropped = prune(info)
    if kept:
        _write_entries(builder.init(field, len(kept)), kept)
    return dropped


def read_value(reader: Any, budget: Budget | None = None) -> Any:
    """Return the value of a `Value` reader, of the very type that was written.

    Raises:
        ProtocolError: It is malformed, nested too deeply, or larger than `budget`.
    """
    with Reading("a value"):
        return _read(reader, 0, budget or Budget())


def read_map(reader: Any) -> dict[str, Any]:
    """Return the dict of a `List(Entry)` reader.

    Raises:
        ProtocolError: It is malformed, has a key twice, is nested too deeply or too large.
    """
    with Reading("a map"):
        return _read_entries(reader, 0, Budget())


def _write(builder: Any, value: Any) -> None:
    write = _WRITERS.get(type(value))
    if write is None:  # a numpy scalar
        write_tensor(builder.init("scalar"), value)
    else:
        write(builder, value)


def _write_none(builder: Any, value: None) -> None:
    builder.none = value


def _write_bool(builder: Any, value: bool) -> None:
    builder.bool = value


def _write_int(builder: Any, value: int) -> None:
    if value in _INT64:
        builder.int = value
    else:
        builder.bigInt = _big_int_bytes(value)


def _write_float(builder: Any, value: float) -> None:
    builder.float = value


def _write_text(builder: Any, value: str) -> None:
    builder.text = value


def _write_bytes(builder: Any, value: bytes) -> None:
    builder.bytes = value


def _write_array(builder: Any, value: np.ndarray[Any, Any]) -> None:
    if value.dtype == object:
        _write_items(builder.init("objects", len(value)), list(value))
    else:
        write_tensor(builder.init("tensor"), value)


def _write_list(builder: Any, value: list[Any]) -> None:
    _write_items(builder.init("list", len(value)), value)


def _write_tuple(builder: Any, value: tuple[Any, ...]) -> None:
    _write_items(builder.init("tuple", len(value)), value)


def _write_dict(builder: Any, value: dict[str, Any]) -> None:
    _write_entries(builder.init("map", len(value)), value)


def _write_graph(builder: Any, value: GraphInstance) -> None:
    graph = builder.init("graph")
    for name, part in zip(("nodes", "edges", "edgeLinks"), value, strict=True):
        _write(graph.init(name), part)


def _write_items(builder: Any, items: Sequence[Any]) -> None:
    for index, item in enumerate(items):
        _write(builder[index], item)


def _write_entries(builder: Any, mapping: Mapping[str, Any]) -> None:
    for index, (key, value) in enumerate(mapping.items()):
        entry = builder[index]
        entry.key = key
        _write(entry.init("value"), value)


_NESTED = {_write_text, _write_array, _write_list, _write_tuple, _write_dict, _write_graph}
"""The writers of what must be looked into first."""

_WRITERS: dict[type, Callable[[Any, Any], None]] = {
    type(None): _write_none,
    bool: _write_bool,
    int: _write_int,
    float: _write_float,
    str: _write_text,
    bytes: _write_bytes,
    np.ndarray: _write_array,
    list: _write_list,
    tuple: _write_tuple,
    dict: _write_dict,
    GraphInstance: _write_graph,
}


def _read(reader: Any, depth: int, budget: Budget) -> Any:
    match reader._which_str():
        case "none":
            return None
        case "bool":
            return reader.bool
        case "int":
            return reader.int
        case "float":
            return reader.float
        case "text":
            return _spent(reader.text, budget)
        case "bytes":
            return _spent(reader.bytes, budget)
        case "tensor":
            return _read_array(reader.tensor, budget)
        case "scalar":
            return _read_scalar(reader.scalar)
        case "list":
            return _read_items(reader.list, depth, budget)
        case "tuple":
            return tuple(_read_items(reader.tuple, depth, budget))
        case "map":
            return _read_entries(reader.map, depth, budget)
        case "bigInt":
            return _read_big_int(_spent(reader.bigInt, budget))
        case "graph":
            return _read_graph(reader.graph, depth, budget)
        case "objects":
            return object_array(_read_items(reader.objects, depth, budget))
        case other:
            raise ProtocolError(f"a value is of the unknown kind {other}")


def _spent(data: _Data, budget: Budget) -> _Data:
    budget.spend(len(data))
    return data


def _read_array(reader: Any, budget: Budget) -> np.ndarray[Any, Any]:
    array = read_tensor(reader)
    budget.spend(array.nbytes)
    return array


def _read_scalar(reader: Any) -> np.generic:
    array: np.ndarray[Any, Any] = read_tensor(reader)
    if array.ndim:
        raise ProtocolError(f"a numpy scalar has the shape {array.shape}")
    scalar: np.generic = array.reshape(-1)[0]
    return scalar


def _read_items(reader: Any, depth: int, budget: Budget) -> list[Any]:
    budget.nodes(len(reader), depth + 1)
    return [_read(item, depth + 1, budget) for item in reader]


def _read_entries(reader: Any, depth: int, budget: Budget) -> dict[str, Any]:
    budget.nodes(len(reader), depth + 1)
    entries: dict[str, Any] = {}
    for entry in reader:
        key = _spent(entry.key, budget)
        if key in entries:
            raise ProtocolError(f"a map has the key {key[:80]!r} twice")
        entries[key] = _read(entry.value, depth + 1, budget)
    return entries


def _read_graph(reader: Any, depth: int, budget: Budget) -> GraphInstance:
    budget.nodes(3, depth + 1)
    parts = (reader.nodes, reader.edges, reader.edgeLinks)
    return GraphInstance(*(_read(part, depth + 1, budget) for part in parts))


def _big_int_bytes(value: int) -> bytes:
    # One bit is the sign's; ~value has as many others as a negative value needs.
    bits = (value if value >= 0 else ~value).bit_length() + 1
    return value.to_bytes((bits + 7) // 8, "little", signed=True)


def _read_big_int(data: bytes) -> int:
    value = int.from_bytes(data, "little", signed=True)
    if value in _INT64 or len(data) != len(_big_int_bytes(value)):
        raise ProtocolError(f"an integer of {len(data)} bytes would fit in fewer")
    return value
