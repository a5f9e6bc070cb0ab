"""Values that are alike but for their numbers: an info that has the same keys and types at every step."""

import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

import numpy as np

from capenv.rpc.pointers import List, Struct
from capenv.values import check_bools

_MOST: Final = 256
"""Numbers in one value. More would take longer to compare than to read."""
ARMS: Final = {
    0: "none",
    1: "bool",
    2: "int",
    3: "float",
    4: "text",
    5: "bytes",
    6: "tensor",
    7: "scalar",
    10: "map",
}
"""The arms of `Value`, by their discriminants, that have outlines; a test compares, and the places below."""
WORD: Final = 8
BOOL_BYTE: Final = 2
_INT64: Final = range(-(1 << 63), 1 << 63)
_BYTE: Final = 2
TENSOR_DATA: Final = 1
ENTRY_VALUE: Final = 1

Places = list[tuple[int, str]]
"""Where numbers are in a message, and their formats, as of `capenv.rpc.patterns.Shape`."""


class NotAlikeError(Exception):
    """A value differs from time to time in more than its numbers, or there is no telling."""


class Outline(Protocol):
    """A value without its numbers."""

    def take(self, value: Any, numbers: list[Any]) -> bool:
        """Append the numbers of a value; return whether it has this outline."""

    def give(self, numbers: Iterator[Any]) -> Any:
        """Return the value that has these numbers next.

        Raises:
            ProtocolError: one of them stands for no value.
        """


def outline_of(value: Any, told: Struct, places: Places) -> Outline:
    """Return the outline of a value that a `Value` struct tells of, and add where its numbers are.

    Raises:
        NotAlikeError: there is none.
    """
    if len(places) > _MOST:
        raise NotAlikeError
    start, arm = told.start << 3, ARMS.get(told.u16(0))
    if arm in ("bool", "int", "float") and told.data_words < 2:
        raise NotAlikeError  # zeros at the end were left out, and with them the place
    match arm:
        case "none" | "text" | "bytes":
            return _Constant(value)
        case "bool":
            places.append((start + BOOL_BYTE, "B"))
            return _Number(bool)
        case "int":
            places.append((start + WORD, "q"))
            return _Integer()
        case "float":
            places.append((start + WORD, "d"))
            return _Number(float)
        case "scalar":
            return _array(np.asarray(value), told, places, scalar=True)
        case "tensor":
            return _array(value, told, places, scalar=False)
        case "map":
            return outline_of_map(value, told.pointer(0), places)
        case _:
            raise NotAlikeError


def outline_of_map(value: Mapping[str, Any], told: object, places: Places) -> Outline:
    """Return the outline of a map that a list of `Entry` tells of, and add where its numbers are.

    Raises:
        NotAlikeError: there is none.
    """
    if not isinstance(told, List) or told.count != len(value):
        raise NotAlikeError
    entries = [told.struct(index).struct(ENTRY_VALUE) for index in range(told.count)]
    parts = zip(value.values(), entries, strict=True)
    return _Map(tuple(value), [outline_of(part, entry, places) for part, entry in parts])


class _Constant:
    def __init__(self, value: Any) -> None:
        self._value = value

    def take(self, value: Any, numbers: list[Any]) -> bool:
        return type(value) is type(self._value) and bool(value == self._value)

    def give(self, numbers: Iterator[Any]) -> Any:
        return self._value


class _Number:
    def __init__(self, kind: type[bool] | type[float]) -> None:
        self._kind = kind

    def take(self, value: Any, numbers: list[Any]) -> bool:
        numbers.append(value)
        return type(value) is self._kind

    def give(self, numbers: Iterator[Any]) -> Any:
        # Of the byte that holds a bool the other bits are nobody's.
        return next(numbers) if self._kind is float else bool(next(numbers) & 1)


class _Integer:
    def take(self, value: Any, numbers: list[Any]) -> bool:
        numbers.append(value)
        return type(value) is int and value in _INT64

    def give(self, numbers: Iterator[Any]) -> Any:
        return next(numbers)


class _Array:
    def __init__(self, like: np.ndarray[Any, Any], scalar: bool) -> None:
        self._dtype, self._shape = like.dtype, like.shape
        self._type = like.dtype.type if scalar else np.ndarray
        self._scalar = scalar

    def take(self, value: Any, numbers: list[Any]) -> bool:
        if (
            type(value) is not self._type
            or value.dtype != self._dtype
            or value.shape != self._shape
        ):
            return False
        numbers.append(value.tobytes())
        return True

    def give(self, numbers: Iterator[Any]) -> Any:
        data = next(numbers)
        if self._dtype == np.bool_:
            check_bools(data)
        array = np.ndarray(self._shape, self._dtype, bytearray(data))
        return array[()] if self._scalar else array


class _Map:
    def __init__(self, keys: tuple[str, ...], parts: list[Outline]) -> None:
        self._keys, self._parts = keys, parts

    def take(self, value: Any, numbers: list[Any]) -> bool:
        if type(value) is not dict or tuple(value) != self._keys:
            return False
        parts = zip(self._parts, value.values(), strict=True)
        return all(part.take(its, numbers) for part, its in parts)

    def give(self, numbers: Iterator[Any]) -> Any:
        return {key: part.give(numbers) for key, part in zip(self._keys, self._parts, strict=True)}


def _array(value: np.ndarray[Any, Any], told: Struct, places: Places, *, scalar: bool) -> Outline:
    tensor = told.pointer(0)
    if not isinstance(tensor, Struct):
        raise NotAlikeError
    match tensor.pointer(TENSOR_DATA):
        case List(code=code, start=start, count=count) if code == _BYTE and count == value.nbytes:
            if count:
                places.append((start << 3, f"{count}s"))
                return _Array(value, scalar)
    raise NotAlikeError


def in_order(places: Places) -> bool:
    """Return whether each number is behind the one before, as a pattern needs it."""
    end = 0
    for place, code in places:
        if place < end:
            return False
        end = place + struct.calcsize("<" + code)
    return True
