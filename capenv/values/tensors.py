"""Numpy arrays as `values.capnp` tensors. Little-endian and row-major, bit for bit."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from capenv.errors import ProtocolError
from capenv.schema import values as schema_values
from capenv.values.reading import Reading

_ORDINALS: dict[str, int] = dict(schema_values.DType.schema.enumerants)
DTYPES: tuple[np.dtype[Any], ...] = tuple(
    np.dtype(name) for name in sorted(_ORDINALS, key=_ORDINALS.__getitem__)
)
"""The dtypes of the wire, in the order of their ordinals: numpy has the same names as `DType`."""

MAX_RANK = 32
"""Dimensions of an array: what every supported numpy can hold."""

_ORDINAL_OF = {dtype: ordinal for ordinal, dtype in enumerate(DTYPES)}
_TINY = 512
"""Bytes up to which copying an array is cheaper than making a view of it."""


def has_dtype(dtype: np.dtype[Any]) -> bool:
    """Return whether arrays of `dtype`, in either byte order, can be sent."""
    return dtype.newbyteorder("=") in _ORDINAL_OF


def dtype_ordinal(dtype: np.dtype[Any]) -> int:
    """Return the ordinal of a dtype, whatever its byte order.

    Raises:
        TypeError: The schema has no such dtype.
    """
    try:
        return _ORDINAL_OF[dtype.newbyteorder("=")]
    except KeyError:
        raise TypeError(f"numpy's dtype {dtype} has no place on the wire") from None


def read_dtype(reader: Any) -> np.dtype[Any]:
    """Return the numpy dtype that a `DType` field says.

    Raises:
        ProtocolError: The peer knows a dtype that this side does not.
    """
    ordinal: int = reader.raw
    if ordinal >= len(DTYPES):
        raise ProtocolError(f"a tensor has a dtype of unknown number {ordinal}")
    return DTYPES[ordinal]


def read_shape(reader: Any) -> tuple[int, ...]:
    """Return a shape that the peer sent. Its product may be of any size.

    Raises:
        ProtocolError: It has more than `MAX_RANK` dimensions.
    """
    if len(reader) > MAX_RANK:
        raise ProtocolError(f"an array has {len(reader)} dimensions, more than {MAX_RANK}")
    return tuple(reader)


def array_bytes(array: npt.NDArray[Any]) -> bytes | memoryview:
    """Return the bytes of an array, little-endian and row-major; of a large one a view."""
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.nbytes <= _TINY:
        return array.tobytes()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def check_bools(data: bytes | bytearray | memoryview) -> None:
    """Check bytes that are to be read as numpy bools: numpy misbehaves on any but 0 and 1.

    Raises:
        ProtocolError: There is another one.
    """
    if bytes(data).translate(None, b"\0\1"):
        raise ProtocolError("a bool is neither 0 nor 1")


def write_tensor(builder: Any, array: npt.NDArray[Any] | np.generic) -> None:
    """Fill a `Tensor` builder with an array of any layout in memory, or a numpy scalar.

    Raises:
        TypeError: The schema has no such dtype, or there are more than `MAX_RANK` dimensions.
    """
    if array.ndim > MAX_RANK:
        raise TypeError(f"an array of more than {MAX_RANK} dimensions has no place on the wire")
    builder.dtype = dtype_ordinal(array.dtype)
    if array.ndim:
        builder.shape = list(array.shape)
    builder.data = array_bytes(np.asarray(array))


def read_tensor(reader: Any) -> npt.NDArray[Any]:
    """Return a `Tensor` as a new array: writable, C-contiguous, native.

    Raises:
        ProtocolError: Its data is not as long as its shape and dtype say, or it is malformed.
    """
    with Reading("a tensor"):
        dtype = read_dtype(reader.dtype)
        shape = read_shape(reader.shape)
        data = reader.data
        if math.prod(shape) * dtype.itemsize != len(data):
            raise ProtocolError(
                f"a tensor of shape {shape} and dtype {dtype} has {len(data)} bytes of data"
            )
        if dtype == np.bool_:
            check_bools(data)
        return np.ndarray(shape, dtype, bytearray(data))
