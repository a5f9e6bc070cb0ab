"""What can be represented on the wire, and what is left of a value when the rest is dropped."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import GraphInstance

from capenv.values.naming import pointer
from capenv.values.reading import Budget, OverBudgetError
from capenv.values.tensors import MAX_RANK, has_dtype


class UnrepresentableError(TypeError):
    """A value cannot be represented on the wire. The text names its path and its type."""


def plain(value: Any) -> Any:
    """Return a value as the plain types that the wire knows.

    These are None, bool, int, float, str, bytes, numpy arrays and scalars, arrays of one dimension of
    these, list, tuple, dict with str keys, and GraphInstance. Their subclasses become them: an IntEnum an
    int, a namedtuple a tuple, any Mapping a dict.

    Raises:
        UnrepresentableError: The value, or one inside it, is none of them.
    """
    return _Pruner(dropped=None).plain(value, "", 0)


def prune(mapping: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return what `plain` makes of a mapping but for what has no representation, and where it was.

    An unrepresentable entry of a mapping, on any level, is dropped alone; one in a list, tuple or
    graph takes that with it.
    """
    pruner = _Pruner(dropped=[])
    kept = pruner.entries(mapping, "", 0)
    return kept, pruner.dropped or []


class _Pruner:
    def __init__(self, dropped: list[str] | None) -> None:
        self.dropped = dropped
        self._budget = Budget()

    def plain(self, value: Any, path: str, depth: int) -> Any:
        try:
            return self._plain(value, path, depth)
        except OverBudgetError as error:
            raise UnrepresentableError(f"the value at {path or '/'} is {error}") from None

    def entries(self, mapping: Mapping[str, Any], path: str, depth: int) -> dict[str, Any]:
        self._budget.nodes(len(mapping), depth + 1)
        kept: dict[str, Any] = {}
        for key, value in mapping.items():
            where = path + pointer(key)
            try:
                kept[self._key(key, where)] = self.plain(value, where, depth + 1)
            except UnrepresentableError:
                if self.dropped is None:
                    raise
                self.dropped.append(where)
        return kept

    def _plain(self, value: Any, path: str, depth: int) -> Any:
        match value:
            case None | bool():
                return value
            # Before int, float, str and bytes: some numpy scalars are subclasses of them.
            case np.str_() | np.bytes_():
                return self._plain(value.item(), path, depth)
            case np.ma.MaskedArray():
                raise _unrepresentable(value, path)
            case np.generic() | np.ndarray():
                return self._numpy(value, path, depth)
            case int():
                self._budget.spend(value.bit_length() // 8)
                return int(value)
            case float():
                return float(value)
            case str():
                return self._text(value, path)
            case bytes() | bytearray():
                self._budget.spend(len(value))
                return bytes(value)
            case GraphInstance():
                return GraphInstance(*self._items(value, path, depth))
            case tuple():
                return tuple(self._items(value, path, depth))
            case list():
                return self._items(value, path, depth)
            case Mapping():
                return self.entries(value, path, depth)
            case _:
                raise _unrepresentable(value, path)

    def _key(self, key: Any, path: str) -> str:
        if not isinstance(key, str):
            raise UnrepresentableError(f"the key at {path} is a {type(key).__name__}, not a str")
        return self._text(key, path)

    def _text(self, text: str, path: str) -> str:
        try:
            self._budget.spend(len(text) if text.isascii() else len(text.encode()))
        except UnicodeEncodeError:
            raise UnrepresentableError(f"the str at {path or '/'} holds lone surrogates") from None
        return str(text)

    def _numpy(self, value: Any, path: str, depth: int) -> Any:
        if value.dtype == object and value.ndim == 1:
            return object_array(self._items(list(value), path, depth))
        if not has_dtype(value.dtype) or value.ndim > MAX_RANK:
            raise _unrepresentable(value, path)
        self._budget.spend(value.nbytes)
        return np.asarray(value) if isinstance(value, np.ndarray) else value

    def _items(self, items: list[Any] | tuple[Any, ...], path: str, depth: int) -> list[Any]:
        self._budget.nodes(len(items), depth + 1)
        return [self.plain(item, f"{path}/{index}", depth + 1) for index, item in enumerate(items)]


def object_array(items: list[Any]) -> np.ndarray[Any, Any]:
    """Return an array of one dimension of Python objects."""
    array = np.empty(len(items), object)
    for index, item in enumerate(items):  # at once, numpy would make an array of arrays
        array[index] = item
    return array


def _unrepresentable(value: Any, path: str) -> UnrepresentableError:
    kind = type(value).__name__
    if isinstance(value, np.ndarray | np.generic):
        kind += f" of dtype {value.dtype}"
    return UnrepresentableError(f"the value at {path or '/'} is a {kind}")
