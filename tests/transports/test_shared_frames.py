"""Frames in shared memory: nobody writes where somebody reads, and nobody is believed."""

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capenv.errors import Overloaded, ProtocolError
from capenv.transports.shared_frames import (
    MOST_BYTES,
    MOST_TOGETHER,
    BorrowedFrames,
    SharedFrames,
    received,
    shareable,
    stride_of,
)

SIZE = 5000


def pair() -> tuple[SharedFrames, BorrowedFrames]:
    shared = SharedFrames(SIZE)
    return shared, BorrowedFrames(os.dup(shared.descriptor), shared.slots, SIZE)


@given(
    acts=st.lists(
        st.tuples(st.sampled_from(["array", "part", "memoryview", "nothing"]), st.integers(0, 9)),
        max_size=60,
    )
)
def test_what_is_kept_never_changes(acts: list[tuple[str, int]]) -> None:
    """Each frame is of a number of its own, and whoever keeps a piece of one finds that number."""
    shared, borrowed = pair()
    kept: dict[int, tuple[Any, int]] = {}
    for number, (act, place) in enumerate(acts, 1):
        shared.free(borrowed.freed())
        slot = shared.lend(bytes([number % 251]) * SIZE)
        if slot is None:
            assert len(kept) == shared.slots, "there is a slot for each that is not read"
            kept.pop(next(iter(kept)))
            continue
        array = np.ndarray((SIZE,), np.uint8, borrowed.view(slot))
        assert set(array) == {number % 251}
        match act:
            case "array":
                kept[place] = array, number
            case "part":
                kept[place] = array[7:99].reshape(2, -1)[1], number
            case "memoryview":
                kept[place] = memoryview(array)[5:], number
        del array
        for piece, of in kept.values():
            assert set(bytes(piece)) == {of % 251}
    shared.close()
    for piece, of in kept.values():
        assert set(bytes(piece)) == {of % 251}, "also when its owner has let go"


def test_a_slot_that_is_read_is_not_taken_from_the_peer() -> None:
    shared, borrowed = pair()
    slot = shared.lend(bytes(SIZE))
    assert slot is not None
    array = np.ndarray((SIZE,), np.uint8, borrowed.view(slot))
    for lie in (slot, -1, shared.slots, 255):
        with pytest.raises(ProtocolError, match="cannot be"):
            borrowed.view(lie)
    del array
    borrowed.view(slot)
    shared.close()


def test_memory_that_could_be_taken_away_is_not_mapped() -> None:
    """A file that is made shorter kills whoever reads it."""
    unsealed = os.memfd_create("unsealed", os.MFD_ALLOW_SEALING)
    os.ftruncate(unsealed, 2 * stride_of(SIZE))
    with pytest.raises(ProtocolError, match="not sealed"):
        BorrowedFrames(unsealed, 2, SIZE)
    shared = SharedFrames(SIZE)
    for slots, size in ((shared.slots, SIZE * 2), (1, SIZE), (0, SIZE), (200, SIZE), (8, 1 << 40)):
        with pytest.raises(ProtocolError):
            BorrowedFrames(os.dup(shared.descriptor), slots, size)
    with pytest.raises(OSError, match="not permitted"):
        os.ftruncate(shared.descriptor, 0)
    read, write = os.pipe()
    os.close(write)
    with pytest.raises(ProtocolError, match="no memory"):
        BorrowedFrames(read, 2, SIZE)
    shared.close()
    shared.close()


def test_descriptors_that_nobody_asked_for_are_closed() -> None:
    first, second = os.pipe()
    assert received([first, second]) == first
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(second)
    os.close(first)
    with pytest.raises(ProtocolError, match="without a descriptor"):
        received([])


def test_a_process_shares_no_more_than_it_may() -> None:
    size = MOST_BYTES // 8
    many: list[SharedFrames] = []
    while len(many) < MOST_TOGETHER // (8 * size):
        many.append(SharedFrames(size))
    with pytest.raises(Overloaded):
        SharedFrames(size)
    many.pop().close()
    many.append(SharedFrames(size))
    for frames in many:
        frames.close()


def test_what_is_worth_sharing() -> None:
    assert not shareable(0)
    assert not shareable(28_224)
    assert shareable(1920 * 1080 * 3)
    assert not shareable(1 << 30)


def test_what_a_fork_reads_is_never_written_again() -> None:
    shared, borrowed = pair()
    slot = shared.lend(bytes([3]) * SIZE)
    assert slot is not None
    array = np.ndarray((SIZE,), np.uint8, borrowed.view(slot))
    read, write = os.pipe()
    go, begin = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(go, 1)
        os.write(write, bytes([int(array[0])]))
        os._exit(0)
    del array
    for number in range(4, 30):
        shared.free(borrowed.freed())
        other = shared.lend(bytes([number]) * SIZE)
        assert other != slot
    os.write(begin, b"x")
    os.waitpid(child, 0)
    assert os.read(read, 1) == bytes([3])
    shared.close()
    for descriptor in (read, write, go, begin):
        os.close(descriptor)
