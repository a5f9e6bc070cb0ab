"""Frames in memory that two processes of one machine share, so that they need not travel.

The owner makes the memory, **sealed** so that nobody can take it away from under the other's feet, and passes
its descriptor over a Unix socket. A frame lies in one of its slots; which one is told, and that it is read no
more is told back. The owner only ever writes: whatever the borrower does with the memory is its own loss.
"""

import ctypes
import fcntl
import mmap
import os
import sys
import weakref
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from capenv.errors import Overloaded, ProtocolError
from capenv.link import Buffer

MOST_SLOTS: Final = 8
MOST_BYTES: Final = 256 << 20
"""Memory that one session shares at most."""
MOST_TOGETHER: Final = 2 << 30
"""Memory that all sessions of one process share at most."""
MOST_SHARING: Final = 128
"""Sessions of one process that share memory at most: each takes a few descriptors."""
LEAST_BYTES: Final = 128 << 10
"""Frames that are shorter travel faster than they are shared."""
_PAGE: Final = 4096
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_ALONE: Final = 2
"""References to what nobody else holds: the list's, and the argument of `getrefcount`."""


class SharedFrames:
    """Slots that this side writes frames into."""

    _made = 0
    """Bytes of all that there are in this process."""
    _count = 0

    def __init__(self, frame_bytes: int) -> None:
        """Make memory for frames of a size, which must be `shareable`.

        Raises:
            Overloaded: this process shares too much already.
        """
        self.slots = min(MOST_SLOTS, MOST_BYTES // stride_of(frame_bytes))
        self._stride = stride_of(frame_bytes)
        size = self._size = self.slots * self._stride
        if SharedFrames._made + size > MOST_TOGETHER or SharedFrames._count >= MOST_SHARING:
            raise Overloaded("this process shares as much memory as it may")
        try:
            flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
            self.descriptor = os.memfd_create("capenv-frames", flags)
        except OSError as error:
            raise Overloaded(f"no memory can be shared ({error.strerror})") from error
        SharedFrames._made += size
        SharedFrames._count += 1
        try:
            os.ftruncate(self.descriptor, size)
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, _SEALS)
            memory = np.frombuffer(mmap.mmap(self.descriptor, size), np.uint8)
        except BaseException:
            self.close()
            raise
        self._memory = [
            memory[slot * self._stride : slot * self._stride + frame_bytes]
            for slot in range(self.slots)
        ]
        self._lent = 0

    def lend(self, frame: Buffer) -> int | None:
        """Copy a frame into a slot that nobody reads, and return its number; None if all are read."""
        for slot in range(len(self._memory)):
            if not self._lent >> slot & 1:
                self._lent |= 1 << slot
                self._memory[slot][:] = np.frombuffer(frame, np.uint8)
                return slot
        return None

    @property
    def free_slots(self) -> bool:
        """Whether there is a slot that nobody reads."""
        return self._lent + 1 < 1 << self.slots

    def free(self, slots: int) -> None:
        """Take notice that slots, a bit each, are read no more."""
        self._lent &= ~slots

    def close(self) -> None:
        """Let go of the memory. What is lent stays with who reads it. Idempotent."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            SharedFrames._made -= self._size
            SharedFrames._count -= 1
            os.close(descriptor)
            self._memory = []
            self._lent = -1


class BorrowedFrames:
    """Slots that the peer writes frames into."""

    def __init__(self, descriptor: int, slots: int, frame_bytes: int) -> None:
        """Map the memory of a descriptor, which this closes.

        Raises:
            ProtocolError: it is not the sealed memory that it should be.
        """
        try:
            size = slots * stride_of(frame_bytes)
            if not 0 < slots <= MOST_SLOTS or size > MOST_BYTES:
                raise ProtocolError(f"{slots} slots of {frame_bytes:,} bytes were shared")
            try:
                seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
                whole = seals & _SEALS == _SEALS and os.fstat(descriptor).st_size == size
                if not whole:
                    raise ProtocolError(
                        "the memory that was shared is not sealed, or not as long as told"
                    )
                self._memory: mmap.mmap | None = mmap.mmap(descriptor, size)
            except OSError as error:
                raise ProtocolError(f"what was shared is no memory ({error.strerror})") from error
        finally:
            os.close(descriptor)
        self._stride, self._kind = stride_of(frame_bytes), ctypes.c_ubyte * frame_bytes
        self._views: list[Any] = [None] * slots
        self._forked: list[Any] = []
        """What a fork may read for ever."""
        _BORROWED.add(self)

    def keep_for_fork(self) -> None:
        """Take no slot as free any more that is read now: the fork's arrays are of the same memory."""
        self._forked += self._views

    def close(self) -> None:
        """Let go of the memory, but for what is still read."""
        self._views.clear()
        self._memory = None

    def view(self, slot: int) -> memoryview:
        """Return the frame in a slot, to make arrays of: it is the peer's again once they are gone.

        Raises:
            ProtocolError: there is no such slot, or it is still read here.
        """
        if self._memory is None or slot < 0 or not self.freed() >> slot & 1:
            raise ProtocolError(f"a frame is said to be in the slot {slot}, where it cannot be")
        # Whatever makes an array of a view refers to the object that the view is of: to this one.
        view = self._kind.from_buffer(self._memory, slot * self._stride)
        self._views[slot] = view
        return memoryview(view).cast("B")

    def freed(self) -> int:
        """Return the slots, a bit each, that nothing here reads.

        To be told with a request whose answer is the only one awaited: of two the first might be in a slot
        that the second takes for free.
        """
        views, slots = self._views, 0
        for slot in range(len(views)):
            if views[slot] is not None and sys.getrefcount(views[slot]) <= _ALONE:
                views[slot] = None
            if views[slot] is None:
                slots |= 1 << slot
        return slots


_BORROWED: Final[weakref.WeakSet[BorrowedFrames]] = weakref.WeakSet()


def _keep_for_fork() -> None:
    for frames in list(_BORROWED):
        frames.keep_for_fork()


os.register_at_fork(before=_keep_for_fork)


def shareable(frame_bytes: int) -> bool:
    """Return whether frames of a size are worth sharing, and two of them are not too much."""
    return frame_bytes >= LEAST_BYTES and 2 * stride_of(frame_bytes) <= MOST_BYTES


def stride_of(frame_bytes: int) -> int:
    """Return from where to where slots are: each begins a page."""
    return -(-frame_bytes // _PAGE) * _PAGE


def received(descriptors: Sequence[int]) -> int:
    """Return the one descriptor that came with a message, and close any others.

    Raises:
        ProtocolError: there is none.
    """
    for other in descriptors[1:]:
        os.close(other)
    if not descriptors:
        raise ProtocolError("memory was shared without a descriptor")
    return descriptors[0]
