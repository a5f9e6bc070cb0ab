"""Waiting for bytes without going to sleep at once, where that costs more than it saves."""

import os
import socket
import struct
import time
from typing import ClassVar, Final

import trio

BUSY: Final = "CAPENV_BUSY_POLL"
"""The environment variable that forbids busy-polling, set to 0."""
_BUSY_SECONDS: Final = 200e-6
"""Seconds of one busy poll: waking up on another core takes 50 microseconds, and then there is work to do."""
_STALL_SECONDS: Final = 25e-6
"""Seconds between two looks that show that others want this core: each look takes one or two millionths."""
_LINGER_SECONDS: Final = 1e-3
_LINGER_SECONDS_IN_A_ROW: Final = 2e-3
"""Seconds after which whoever lingers lets others run, however well it goes."""
_ALONE: Final = 2
"""Receives of one socket in a row, by which it is taken for the only one."""
_MOST: Final = 1024
"""Receives that are not waited for in such a way, at most, after it had been in vain."""


class Patience:
    """Whether a way to wait has been worth it lately: each time in vain it is tried less often."""

    __slots__ = ("_pause", "_skip")

    def __init__(self) -> None:
        self._pause = 1
        self._skip = 0

    def worth_it(self) -> bool:
        """Return whether to try."""
        if self._skip:
            self._skip -= 1
            return False
        return True

    def paid(self) -> None:
        """Take notice that it was worth it."""
        self._pause = self._pause + 1 >> 1

    def in_vain(self) -> None:
        """Take notice that it was not."""
        self._pause = min(2 * self._pause, _MOST)
        self._skip = self._pause


class BusyPolling:
    """Polls a socket for a moment before its owner goes to sleep.

    This saves the waking up, where the peer answers from another core; it is in vain where the peer needs
    this core to answer, or longer, and is then seldom tried.
    """

    __slots__ = ("_patience", "_receive_into")

    def __init__(self, stream: socket.socket) -> None:
        self._receive_into = stream.recv_into
        self._patience = Patience()

    @staticmethod
    def on(stream: socket.socket) -> "BusyPolling | None":
        """Return what polls a socket; None where that is forbidden, or there is one core only."""
        if os.environ.get(BUSY) == "0" or (os.cpu_count() or 1) < 2:
            return None
        return BusyPolling(stream)

    def receive(self, buffer: memoryview, counts: list[int]) -> bool:
        """Receive what comes within a moment and append its length to `counts`; return whether any did.

        Raises:
            OSError: what the system says, but that nothing is there.
        """
        patience = self._patience
        if not patience.worth_it():
            return False
        now = end = 0.0
        while True:
            try:
                counts.extend(map(self._receive_into, (buffer,), (0,), (socket.MSG_DONTWAIT,)))
            except BlockingIOError:
                before, now = now, time.perf_counter()
                if not end:
                    end = now + _BUSY_SECONDS
                elif now - before > _STALL_SECONDS:
                    patience.in_vain()
                if now > end:
                    patience.in_vain()
                    return False
            else:
                if end:  # else it was there already
                    stalled = time.perf_counter() - now > _STALL_SECONDS
                    (patience.in_vain if stalled else patience.paid)()
                return True


class Lingering:
    """Waits for more on a socket for a moment, before an event loop is gone back to.

    Nothing else of the loop runs meanwhile. So it is done by the only socket over which anything came lately;
    for as little as the system's clock allows, 1 to 8 milliseconds at most; for two in a row, if something
    comes; and the more seldom the more often it was in vain.
    """

    __slots__ = ("_alone", "_patience", "_since", "_socket")

    _latest: ClassVar[trio.lowlevel.RunVar["Lingering | None"]] = trio.lowlevel.RunVar(
        "capenv.lingering", None
    )

    def __init__(self, stream: socket.socket) -> None:
        """Take a socket whose every other use says that it does not block (`MSG_DONTWAIT`)."""
        stream.setblocking(True)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval(_LINGER_SECONDS))
        self._socket = stream
        self._patience = Patience()
        self._since = 0.0
        self._alone = 0

    def begin(self) -> None:
        """Take notice that the loop has just run, and something came."""
        self._since = time.perf_counter()
        if self._latest.get() is self:
            self._alone += 1
        else:
            self._latest.set(self)
            self._alone = 0

    def exhausted(self) -> bool:
        """Return whether the loop has not run for so long that it must."""
        return time.perf_counter() - self._since > _LINGER_SECONDS_IN_A_ROW

    def receive(self, buffer: memoryview) -> int | None:
        """Receive what comes within a moment and return its length, or None.

        Raises:
            OSError: what the system says, but that nothing is there.
        """
        if self._alone < _ALONE or not self._patience.worth_it():
            return None
        try:
            count = self._socket.recv_into(buffer)
        except BlockingIOError:
            self._patience.in_vain()
            return None
        self._patience.paid()
        return count


def timeval(seconds: float) -> bytes:
    """Return a time as the system's own struct of seconds and microseconds."""
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))
