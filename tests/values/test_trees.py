"""Self-described values keep their exact types; what cannot be represented is refused or dropped by name."""

import enum
import struct
from collections import OrderedDict, defaultdict, namedtuple
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from exactness import identical, mutated, new, sent
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import keys, values

from capenv.errors import ProtocolError
from capenv.schema import values as schema_values
from capenv.values import (
    MAX_DEPTH,
    UnrepresentableError,
    read_map,
    read_value,
    write_info,
    write_value,
)


class Subarray(np.ndarray[Any, Any]):
    pass


class Direction(enum.IntEnum):
    LEFT = 1


Pair = namedtuple("Pair", "x y")


def round_trip(value: Any) -> Any:
    builder = new("Value")
    write_value(builder, value)
    return read_value(sent(builder, "Value"))


def info_round_trip(info: Any) -> tuple[dict[str, Any], list[str]]:
    builder = new("Value")
    dropped = write_info(builder, "map", info)
    return read_map(sent(builder, "Value").map if info else []), dropped


@given(values())
def test_round_trip(value: Any) -> None:
    assert identical(round_trip(value), value)


@given(st.dictionaries(keys, values(6), min_size=1))
def test_info_round_trip(info: dict[str, Any]) -> None:
    kept, dropped = info_round_trip(info)
    assert identical(kept, info)
    assert dropped == []


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Direction.LEFT, 1),
        (np.str_("x"), "x"),
        (np.bytes_(b"x"), b"x"),
        (bytearray(b"x"), b"x"),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(list, a=[]), {"a": []}),
        (Pair(1, 2), (1, 2)),
        (np.array([1, 2], ">i4"), np.array([1, 2], "<i4")),
        (np.zeros(1, np.int8).view(Subarray), np.zeros(1, np.int8)),
    ],
)
def test_subclasses_become_plain(value: Any, plain: Any) -> None:
    assert identical(round_trip(value), plain)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1j, "the value at / is a complex"),
        (datetime.now(UTC), "the value at / is a datetime"),
        ([{"a/b": {1}}], "the value at /0/a~1b is a set"),
        ({"x": np.array([[None]])}, "the value at /x is a ndarray of dtype object"),
        ({"x": np.array([None, 1j])}, "the value at /x/1 is a complex"),
        (np.ma.MaskedArray([1]), "is a MaskedArray of dtype int64"),
        (np.longdouble(1), "is a longdouble of dtype longdouble|is a .*128"),
        ({1: 2}, "the key at /1 is a int, not a str"),
        ("\ud800", "the str at / holds lone surrogates"),
        ({"\ud800": 1}, "lone surrogates"),
        ([None] * (2**18 + 1), "more than 262144 values"),
    ],
)
def test_unrepresentable(value: Any, message: str) -> None:
    with pytest.raises(UnrepresentableError, match=message):
        write_value(new("Value"), value)


def test_info_drops_the_smallest_thing() -> None:
    info = {
        "fine": 1,
        "odd": object(),
        "nested": {"fine": 2.0, "odd": 1j, "deeper": [{"fine": "x", "odd": {1, 2}}, None]},
        "list": [1, object()],
        "tuple": (1, [2, object()]),
        7: "key",
    }
    kept, dropped = info_round_trip(info)
    assert kept == {"fine": 1, "nested": {"fine": 2.0, "deeper": [{"fine": "x"}, None]}}
    assert dropped == ["/odd", "/nested/odd", "/nested/deeper/0/odd", "/list", "/tuple", "/7"]


def test_nesting_is_bounded() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH):
        deep = {"x": deep}
    assert round_trip(deep) == deep
    with pytest.raises(UnrepresentableError, match="nested more than 16 levels deep"):
        round_trip([deep])


def test_a_value_inside_itself_ends() -> None:
    info: dict[str, Any] = {"a": 1}
    info["self"] = info
    kept, dropped = info_round_trip(info)
    assert kept["self"]["a"] == 1
    assert dropped == ["/self" * MAX_DEPTH]


def test_deeper_than_this_side_goes_is_refused() -> None:
    builder = new("Value")
    inner = builder
    for _ in range(MAX_DEPTH + 2):
        inner = inner.init("list", 1)[0]
    with pytest.raises(ProtocolError, match="nested more than 16 levels deep"):
        read_value(sent(builder, "Value"))


def test_a_long_list_of_nothing_is_refused() -> None:
    # A list of structs of no size takes no room in the message, however long it is.
    builder = new("Value")
    builder.init("list", 0)
    words = list(struct.unpack("<5Q", builder.to_segments()[0]))
    count = 2**29 - 1
    words[4] = count << 2
    reader = schema_values.Value.from_segments(
        [struct.pack("<5Q", *words)], traversal_limit_in_words=2**62
    )
    assert len(reader.list) == count
    with pytest.raises(ProtocolError, match="more than 262144 values"):
        read_value(reader)


def test_duplicate_keys_are_refused() -> None:
    builder = new("Value")
    entries = builder.init("map", 2)
    entries[0].key = entries[1].key = "a"
    with pytest.raises(ProtocolError, match="the key 'a' twice"):
        read_value(sent(builder, "Value"))


@pytest.mark.parametrize("data", [b"", b"\1", b"\0" * 9, b"\xff" * 9, b"\0" * 8 + b"\1\0"])
def test_an_integer_that_fits_in_fewer_bytes_is_refused(data: bytes) -> None:
    builder = new("Value")
    builder.bigInt = data
    with pytest.raises(ProtocolError, match="would fit in fewer"):
        read_value(sent(builder, "Value"))


def test_a_numpy_scalar_has_no_shape() -> None:
    builder = new("Value")
    tensor = builder.init("scalar")
    tensor.dtype, tensor.shape, tensor.data = "uint8", [1], b"\0"
    with pytest.raises(ProtocolError, match="a numpy scalar has the shape"):
        read_value(sent(builder, "Value"))


@given(values(), st.integers(0, 2**32))
@settings(max_examples=500)
def test_any_bytes_are_a_value_or_a_protocol_error(value: Any, seed: int) -> None:
    builder = new("Value")
    write_value(builder, value)
    reader = mutated(builder, "Value", seed)
    try:
        read_value(reader)
    except ProtocolError:
        pass
