"""Whether arrays are within the bounds of Box, MultiDiscrete and MultiBinary spaces, quickly."""

from collections.abc import Callable
from operator import le
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

Array = npt.NDArray[Any]
_TINY = 8
"""Elements up to which a Python loop is faster than numpy."""
_FALSE = b"\0"


def bounds_of(space: spaces.Space[Any]) -> tuple[Array, Array]:
    """Return the least and the greatest element of a Box, MultiDiscrete or MultiBinary space."""
    if isinstance(space, spaces.Box):
        return space.low, space.high
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + (space.nvec - 1)
    return np.zeros(space.shape or (), np.int8), np.ones(space.shape or (), np.int8)


def bounds_check(low: Array, high: Array) -> Callable[[Array], bool] | None:
    """Return a function that tells whether an array of the bounds' shape is within them.

    Bounds that no value of the dtype can break are not looked at, so NaN passes where there are no
    others; None stands for a function that would always return True.
    """
    if low.size == 0:
        return None
    least, greatest = _limits(low.dtype)
    below, above = bool((low > least).any()), bool((high < greatest).any())
    if not (below or above):
        return None
    if low.size <= _TINY:
        return _tiny_check(low, high)
    if (low == low.flat[0]).all() and (high == high.flat[0]).all():
        return _uniform_check(low.flat[0] if below else None, high.flat[0] if above else None)
    return _general_check(low if below else None, high if above else None)


def first_outside(array: Array, low: Array, high: Array) -> tuple[int, ...]:
    """Return the index of the first element that is not within the bounds."""
    with np.errstate(invalid="ignore"):
        outside = ~((array >= low) & (array <= high))
    return tuple(int(index) for index in np.argwhere(outside)[0])


def _limits(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    if dtype.kind == "f":
        return -np.inf, np.inf
    if dtype.kind == "b":
        return False, True
    info = np.iinfo(dtype)
    return info.min, info.max


def _tiny_check(low: Array, high: Array) -> Callable[[Array], bool]:
    lows, highs = low.reshape(-1).tolist(), high.reshape(-1).tolist()

    def check(array: Array) -> bool:
        values = array.reshape(-1).tolist()
        return all(map(le, lows, values)) and all(map(le, values, highs))

    return check


def _uniform_check(low: Any, high: Any) -> Callable[[Array], bool]:
    # The extremes of an array with a NaN are NaN, which is within nothing.
    def check(array: Array) -> bool:
        return bool((low is None or array.min() >= low) and (high is None or array.max() <= high))

    return check


def _general_check(low: Array | None, high: Array | None) -> Callable[[Array], bool]:
    # Looking for a zero in the bytes of an array of bools takes half as long as its `all`.
    def check(array: Array) -> bool:
        return (low is None or _FALSE not in (array >= low).tobytes()) and (
            high is None or _FALSE not in (array <= high).tobytes()
        )

    return check
