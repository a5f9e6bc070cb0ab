"""Batches of several vectors as one, and one as several: by the space of a single sub-environment."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

Space = gymnasium.Space[Any]
_ARRAYS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def split(single: Space, batch: Any, sizes: Sequence[int]) -> list[Any]:
    """Return the parts, of these sizes, of a batch of elements of a space."""
    match single:
        case spaces.Dict():
            parts = {k: split(space, batch[k], sizes) for k, space in single.spaces.items()}
            return [{key: parts[key][i] for key in parts} for i in range(len(sizes))]
        case spaces.Tuple():
            columns = [split(s, b, sizes) for s, b in zip(single.spaces, batch, strict=True)]
            return [tuple(column[i] for column in columns) for i in range(len(sizes))]
        case _:
            starts = [sum(sizes[:index]) for index in range(len(sizes))]
            return [batch[start : start + n] for start, n in zip(starts, sizes, strict=True)]


def join(single: Space, batches: Sequence[Any]) -> Any:
    """Return several batches of elements of a space as one."""
    match single:
        case spaces.Dict():
            return {
                key: join(space, [batch[key] for batch in batches])
                for key, space in single.spaces.items()
            }
        case spaces.Tuple():
            return tuple(
                join(space, [batch[index] for batch in batches])
                for index, space in enumerate(single.spaces)
            )
        case _ if isinstance(single, _ARRAYS):
            return np.concatenate(batches)
        case _:
            return tuple(element for batch in batches for element in batch)


def arranged(single: Space, batch: Any) -> Any:
    """Return a batch with the keys in the order that they have in the space of one sub-environment.

    Gymnasium sorts those of the batched space, and yet returns batches in this order.
    """
    match single:
        case spaces.Dict():
            if not isinstance(batch, dict):
                return batch
            known = {k: arranged(s, batch[k]) for k, s in single.spaces.items() if k in batch}
            return {**known, **{key: batch[key] for key in batch if key not in known}}
        case spaces.Tuple():
            if not isinstance(batch, tuple) or len(batch) != len(single.spaces):
                return batch
            return tuple(arranged(s, b) for s, b in zip(single.spaces, batch, strict=True))
        case _:
            return batch


def join_infos(infos: Sequence[dict[str, Any]], sizes: Sequence[int]) -> dict[str, Any]:
    """Return the infos of several vectors as those of one: arrays joined, and filled where one has none."""
    joined: dict[str, Any] = {}
    for key in dict.fromkeys(key for info in infos for key in info):
        values = [info.get(key) for info in infos]
        known: Any = next((value for value in values if value is not None), None)
        if all(isinstance(value, dict | None) for value in values) and known is not None:
            joined[key] = join_infos([value or {} for value in values], sizes)
        elif known is not None and _alike(values, sizes):
            joined[key] = np.concatenate(
                [
                    _nothing(known, size) if value is None else value
                    for value, size in zip(values, sizes, strict=True)
                ]
            )
        else:
            joined[key] = values
    return joined


def _alike(values: Sequence[Any], sizes: Sequence[int]) -> bool:
    """Return whether values are arrays, with a row for each environment, that can be joined."""
    arrays = [value for value in values if value is not None]
    rows = all(
        isinstance(value, np.ndarray) and value.shape[:1] == (size,)
        for value, size in zip(values, sizes, strict=True)
        if value is not None
    )
    return bool(arrays) and rows and len({array.shape[1:] for array in arrays}) == 1


def _nothing(like: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    fill = None if like.dtype == object else 0
    return np.full((size, *like.shape[1:]), fill, like.dtype)
