"""Memory that is used again once nothing refers to it any more: fresh memory costs more than filling it."""

import ctypes
import sys
from collections import deque
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_KEPT: Final = 8
"""Buffers of one pool that are watched; one that is held for longer is let go of."""
_ALONE: Final = 2
"""References to what nobody else holds: the pool's own, and the argument of `getrefcount`."""


class BufferPool:
    """Buffers of one size, for arrays that somebody else may keep for as long as they like."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._slots: deque[tuple[npt.NDArray[np.uint8], list[Any]]] = deque(maxlen=_KEPT)

    def take(self, start: int, length: int) -> tuple[memoryview, memoryview]:
        """Return a buffer, and a view of `length` bytes from `start` on to make arrays of.

        The buffer is taken again once the arrays made of the view, and all that was made of these, are
        gone. It is to be written to before any is made, and never after.
        """
        for _ in range(len(self._slots)):
            memory, lent = self._slots[0]
            if sys.getrefcount(lent[0]) <= _ALONE:
                break
            self._slots.rotate(-1)
        else:
            memory, lent = np.empty(self._size, np.uint8), [None]
            self._slots.append((memory, lent))
        # Whatever makes an array of a view refers to the object that the view is of: to this one.
        view = (ctypes.c_ubyte * length).from_buffer(memory.data, start)
        lent[0] = view
        return memory.data, memoryview(view).cast("B")
