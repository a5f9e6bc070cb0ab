"""Arrays arrive bit for bit, whatever their layout in memory; lies about their size are refused."""

from typing import Any

import numpy as np
import pytest
from exactness import identical, new, sent
from hypothesis import given
from hypothesis import strategies as st
from strategies import NAMES, arrays

from capenv.errors import ProtocolError
from capenv.schema import values as schema_values
from capenv.values import DTYPES, read_tensor, write_tensor


def round_trip(array: Any) -> Any:
    builder = new("Tensor")
    write_tensor(builder, array)
    return read_tensor(sent(builder, "Tensor"))


def test_every_dtype_of_the_schema_is_numpys() -> None:
    assert [dtype.name for dtype in DTYPES] == NAMES
    assert dict(schema_values.DType.schema.enumerants) == {name: i for i, name in enumerate(NAMES)}


@given(arrays())
def test_round_trip(array: Any) -> None:
    arrived = round_trip(array)
    assert identical(arrived, array)
    assert arrived.flags.writeable
    assert arrived.flags.c_contiguous


@given(arrays(), st.integers(0, 2))
def test_any_layout_in_memory(array: Any, how: int) -> None:
    odd = [array.T, array[..., ::-1] if array.ndim else array, np.asfortranarray(array)][how]
    assert identical(round_trip(odd), np.array(odd, order="C"))
    swapped = odd.astype(odd.dtype.newbyteorder(">"))
    assert identical(round_trip(swapped), swapped.astype(swapped.dtype.newbyteorder("=")))


def test_large_and_read_only() -> None:
    array = np.arange(100_000, dtype=np.float32).reshape(10, 10_000)
    array.flags.writeable = False
    assert identical(round_trip(array), array)
    assert identical(round_trip(array[:, ::2]), np.ascontiguousarray(array[:, ::2]))


@pytest.mark.parametrize(
    ("dtype", "shape", "data", "reason"),
    [
        (11, [2], b"\0" * 15, "15 bytes of data"),
        (5, [2**40, 2**40], b"", "0 bytes of data"),
        (5, [2**63, 2], b"", "0 bytes of data"),
        (5, [1] * 33, b"\0", "33 dimensions"),
        (5, [0, 2**63], b"", "cannot be read"),
        (0, [2], b"\1\2", "neither 0 nor 1"),
    ],
)
def test_lies_are_refused(dtype: int, shape: list[int], data: bytes, reason: str) -> None:
    builder = new("Tensor")
    builder.dtype, builder.shape, builder.data = dtype, shape, data
    with pytest.raises(ProtocolError, match=reason):
        read_tensor(sent(builder, "Tensor"))


def test_unknown_dtype_is_refused() -> None:
    builder = new("Tensor")
    write_tensor(builder, np.float64(1))
    segment = bytearray(builder.to_segments()[0])
    segment[8] = 12
    reader = schema_values.Tensor.from_segments([bytes(segment)])
    with pytest.raises(ProtocolError, match="unknown number 12"):
        read_tensor(reader)


@pytest.mark.parametrize("array", [np.array(["x"]), np.array([object()]), np.array([1j])])
def test_dtypes_that_have_no_place(array: Any) -> None:
    with pytest.raises(TypeError, match="has no place on the wire"):
        write_tensor(new("Tensor"), array)
