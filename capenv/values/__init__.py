"""Numpy arrays, Gymnasium spaces and elements, and info trees, as Cap'n Proto structs."""

from capenv.values.elements import ElementCodec, Lend, Slots
from capenv.values.layouts import Layout, Leaf, check_layout, layout_of, write_layout
from capenv.values.pruning import UnrepresentableError
from capenv.values.reading import MAX_BYTES, MAX_DEPTH, Reading
from capenv.values.spaces import read_space, write_space
from capenv.values.tensors import (
    DTYPES,
    array_bytes,
    check_bools,
    dtype_ordinal,
    read_dtype,
    read_tensor,
    write_tensor,
)
from capenv.values.trees import read_map, read_value, write_info, write_value

__all__ = [
    "DTYPES",
    "MAX_BYTES",
    "MAX_DEPTH",
    "ElementCodec",
    "Layout",
    "Leaf",
    "Lend",
    "Reading",
    "Slots",
    "UnrepresentableError",
    "array_bytes",
    "check_bools",
    "check_layout",
    "dtype_ordinal",
    "layout_of",
    "read_dtype",
    "read_map",
    "read_space",
    "read_tensor",
    "read_value",
    "write_info",
    "write_layout",
    "write_space",
    "write_tensor",
    "write_value",
]
