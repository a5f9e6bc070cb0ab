"""Memory that is used again: never while anything can still read it."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from capenv.buffers import BufferPool

SIZE = 4096


@given(
    acts=st.lists(
        st.tuples(
            st.sampled_from(["array", "slice", "view", "memoryview", "nothing"]), st.integers(0, 20)
        ),
        max_size=60,
    )
)
def test_what_is_kept_never_changes(acts: list[tuple[str, int]]) -> None:
    """Each buffer is filled with a number of its own; whoever still has a piece of it finds that number."""
    pool = BufferPool(SIZE)
    kept: dict[int, tuple[Any, int]] = {}
    for number, (act, place) in enumerate(acts, 1):
        memory, frame = pool.take(64, SIZE - 128)
        memory[:] = bytes([number % 251]) * SIZE  # as receiving does, over whatever was there
        array = np.ndarray((SIZE - 128,), np.uint8, frame)
        match act:
            case "array":
                kept[place] = array, number
            case "slice":
                kept[place] = array[7:99].reshape(2, -1), number
            case "view":
                kept[place] = array.view(np.float32)[3:], number
            case "memoryview":
                kept[place] = memoryview(array)[5:], number
            case _:
                kept.pop(place, None)
        del memory, frame, array
        for piece, of in kept.values():
            assert set(bytes(piece)) == {of % 251}


def test_what_nobody_keeps_is_used_again() -> None:
    pool = BufferPool(SIZE)
    seen = set()
    for _ in range(100):
        _memory, frame = pool.take(0, SIZE)
        array = np.ndarray((SIZE,), np.uint8, frame)
        seen.add(array.ctypes.data)
        del _memory, frame, array
    assert len(seen) == 1


def test_one_step_behind_takes_two() -> None:
    """As an agent has that compares an observation with the one before."""
    pool = BufferPool(SIZE)
    seen, last = set(), None
    for _ in range(100):
        frame = pool.take(0, SIZE)[1]
        array = np.ndarray((SIZE,), np.uint8, frame)
        del frame
        seen.add(array.ctypes.data)
        assert last is None or array.ctypes.data != last.ctypes.data
        last = array
    assert len(seen) == 2
