"""Links on sockets, whatever their family."""

import array
import contextlib
import errno
import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final, NoReturn

import trio

from capenv.errors import DeadlineExceeded, Disconnected
from capenv.link import Attached, Buffer
from capenv.transports.patience import BusyPolling, Lingering, Patience, timeval

MAX_BUFFERS: Final = 1024
"""How many buffers Linux takes in one sendmsg: IOV_MAX."""
KNOCK_PAUSE: Final = 0.01
"""Seconds before another try at a listener whose queue is full."""
SLICE: Final = 0.02
"""Seconds that a receive waits in the system, before it looks at deadlines and at other threads."""
MAX_WAIT: Final = 3600.0
"""Seconds of one poll, whose argument is a C int of milliseconds."""
_STEADY: Final = 1 << 17
"""Bytes from which on sending waits for a peer that reads: about what a socket holds."""
_MOST_DESCRIPTORS: Final = 4
"""Descriptors that were received and that nobody has taken; of more the first are closed."""
_ANCILLARY: Final = socket.CMSG_SPACE(_MOST_DESCRIPTORS * array.array("i").itemsize)
_STEADY_SECONDS: Final = 0.01
_FLOOD: Final = 4096
"""Bytes in one receive, behind which more are likely to be there already."""
_AT_ONCE: Final = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
CLOSED_HERE: Final = "the connection was closed on this side; connect again"


class SocketLink:
    """A byte stream under Trio. One task sends, one receives.

    `send` is no checkpoint while the system takes the bytes at once; `receive_into` always is.
    """

    def __init__(self, stream: socket.socket) -> None:
        self._socket = stream
        self.passes_descriptors = stream.family == socket.AF_UNIX
        self._flooded = False
        self._sending = Patience()
        self._writable = select.poll()
        self._writable.register(stream, select.POLLOUT)
        self._busy = BusyPolling.on(stream)
        self._lingering = Lingering(stream)

    async def send(self, buffers: Sequence[Buffer]) -> None:
        """Send every byte of the buffers, in order.

        Raises:
            Disconnected: the peer is gone.
        """
        try:
            rest = buffers
            while rest:
                try:
                    sent = self._send(rest)
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self._socket)
                else:
                    rest = unsent(rest, sent)
        except (OSError, trio.ClosedResourceError) as error:
            raise disconnected(error) from error

    async def receive_into(self, buffer: memoryview) -> int:
        """Wait for bytes and put them at the start of `buffer`; return how many, 0 at the end.

        Cancelled, it has taken nothing.

        Raises:
            Disconnected: the link broke.
        """
        if self._socket.fileno() < 0:
            await trio.lowlevel.checkpoint()
            raise Disconnected(CLOSED_HERE)
        try:
            if self._flooded:  # then going through the poller would double the cost
                await trio.lowlevel.checkpoint_if_cancelled()
                try:
                    count = self._socket.recv_into(buffer, 0, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    pass
                else:
                    await trio.lowlevel.cancel_shielded_checkpoint()  # let others run
                    return count
            while True:
                await trio.lowlevel.wait_readable(self._socket)
                try:
                    count = self._socket.recv_into(buffer, 0, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    continue
                self._flooded = count >= _FLOOD
                self._lingering.begin()
                return count
        except (OSError, trio.ClosedResourceError) as error:
            raise disconnected(error) from error

    def send_now(self, buffers: Sequence[Buffer]) -> Sequence[Buffer]:
        """Send what the system takes at once and return the rest. Not while `send` is under way.

        Of much at a time it takes as much as the peer reads without a pause, for ten milliseconds at most. A
        peer that pauses is waited for the more seldom the more often it does.

        Raises:
            Disconnected: the peer is gone.
        """
        try:
            if len(buffers) == 1 and type(buffers[0]) is not Attached:
                sent = self._socket.send(buffers[0], _AT_ONCE)
                return () if sent == len(buffers[0]) else unsent(buffers, sent)
            steady = sum(map(len, buffers)) >= _STEADY and self._sending.worth_it()
            end = time.perf_counter() + _STEADY_SECONDS if steady else 0.0
            while buffers:
                try:
                    buffers = unsent(buffers, self._send(buffers))
                except BlockingIOError:
                    if not steady:
                        raise
                    if time.perf_counter() > end or not self._writable.poll(1):
                        self._sending.in_vain()
                        return buffers
            if steady:
                self._sending.paid()
        except BlockingIOError:
            pass
        except OSError as error:
            raise disconnected(error) from error
        return buffers

    def _send(self, buffers: Sequence[Buffer]) -> int:
        """Send some of the bytes, and with those that have any their descriptors."""
        batch = buffers[:MAX_BUFFERS]
        attached = [index for index, buffer in enumerate(batch) if type(buffer) is Attached]
        ancillary: list[tuple[int, int, Any]] = []
        if attached and self.passes_descriptors:
            batch = batch[: attached[0]] or batch[: attached[1] if len(attached) > 1 else None]
            if isinstance(first := batch[0], Attached):
                numbers = array.array("i", first.descriptors)
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)]
        return self._socket.sendmsg(batch, ancillary, _AT_ONCE)

    def receive_soon(self, buffer: memoryview) -> int | None:
        """Put bytes at the start of `buffer` that come within a moment, and return how many, or None.

        No checkpoint: nothing else runs meanwhile. To be called behind an answer that the peer waits for.

        Raises:
            Disconnected: the link broke.
        """
        counts: list[int] = []
        if self._lingering.exhausted():
            return None
        try:
            if self._busy is not None and self._busy.receive(buffer, counts):
                return counts[0]
            return self._lingering.receive(buffer)
        except OSError as error:
            raise disconnected(error) from error

    async def aclose(self) -> None:
        """Close both directions at once. Idempotent, and no checkpoint."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            shut(self._socket)


class BlockingSocketLink:
    """A byte stream without an event loop."""

    # Sending never waits: poll does. Receiving waits for a slice of time in the system itself, which saves
    # a call for every answer. A signal handler's exception can rise from either wait, when no byte has
    # moved, or between two bytecodes. So that none of those lies between moving the bytes and noting
    # their count, list.extend makes the system call, through map, and stores its result before it
    # returns to the interpreter.

    def __init__(self, stream: socket.socket) -> None:
        stream.setblocking(True)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval(SLICE))
        self._socket = stream
        self._send, self._receive_into = stream.send, stream.recv_into
        self._busy = BusyPolling.on(stream)
        self.passes_descriptors = stream.family == socket.AF_UNIX
        self.descriptors: list[int] = []
        self._message: dict[int, tuple[Any, ...]] = {}
        self._process = os.getpid()
        # One each, since a poll object serves one thread at a time.
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(stream, select.POLLIN)
        self._writable.register(stream, select.POLLOUT)

    def send_some(
        self, buffers: Sequence[Buffer], counts: list[int], timeout: float | None
    ) -> None:
        """Send some of the bytes and append how many to `counts`.

        Raises:
            Disconnected: the peer is gone.
            DeadlineExceeded: nothing could be sent within `timeout` seconds.
        """
        batch = buffers[:MAX_BUFFERS]
        deadline = deadline_of(timeout)
        while True:
            try:
                counts.extend(map(self._socket.sendmsg, (batch,), ((),), (_AT_ONCE,)))
                return
            except BlockingIOError:
                pass
            except OSError as error:
                raise disconnected(error) from error
            if not wait(self._writable, deadline):
                raise DeadlineExceeded(f"the peer took no bytes within {timeout:g} seconds")

    def receive_some(self, buffer: memoryview, counts: list[int], timeout: float | None) -> None:
        """Wait for bytes, put them at the start of `buffer` and append how many; 0 at the end.

        Raises:
            Disconnected: the link broke.
            DeadlineExceeded: nothing came within `timeout` seconds.
        """
        deadline = deadline_of(timeout)
        if self._socket.fileno() < 0:  # its old number may be another's, for which poll would wait
            raise Disconnected(CLOSED_HERE)
        # By poll, which knows after a signal how long is left; `exchange` has no deadline, and is faster.
        while True:
            if not wait(self._readable, deadline):
                raise DeadlineExceeded(f"nothing came from the peer within {timeout:g} seconds")
            try:
                if self.passes_descriptors:
                    self._receive_message(buffer, counts)
                else:
                    counts.extend(map(self._receive_into, (buffer,)))
                return
            except BlockingIOError:
                pass
            except OSError as error:
                self._raise(error)

    def _receive_message(self, buffer: memoryview, counts: list[int]) -> None:
        """Receive bytes, and the descriptors that came with them."""
        self._keep_descriptors()
        # As above, with `setdefault` as what keeps a thing and returns it.
        received = map(self._socket.recvmsg_into, ((buffer,),), (_ANCILLARY,))
        counts.extend(map(itemgetter(0), map(self._message.setdefault, (0,), received)))
        self._keep_descriptors()

    def _keep_descriptors(self) -> None:
        """Take the descriptors out of the message that was received."""
        for _, ancillary, _, _ in [*self._message.values()]:
            for level, kind, data in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    numbers = array.array("i")
                    numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
                    self.descriptors.extend(numbers)
        self._message.clear()
        while len(self.descriptors) > _MOST_DESCRIPTORS:
            os.close(self.descriptors.pop(0))

    def exchange(self, request: Buffer, buffer: memoryview, counts: list[int]) -> None:
        """Send a message and wait a slice of time for the answer.

        What was sent and what was received is appended to `counts`; either may be missing or less than
        there is to come.

        Raises:
            Disconnected: the link broke.
        """
        try:
            counts.extend(map(self._send, (request,), (_AT_ONCE,)))
            if counts[0] == len(request) and not (
                self._busy and self._busy.receive(buffer, counts)
            ):
                counts.extend(map(self._receive_into, (buffer,)))
        except BlockingIOError:
            pass
        except OSError as error:
            self._raise(error)

    def receive_more(self, buffer: memoryview, counts: list[int]) -> None:
        """Wait for all the bytes that `buffer` holds, while they come, and append to `counts` how many did.

        Raises:
            Disconnected: the link broke.
        """
        try:
            counts.extend(map(self._receive_into, (buffer,), (0,), (socket.MSG_WAITALL,)))
        except BlockingIOError:
            pass
        except OSError as error:
            self._raise(error)

    def _raise(self, error: OSError) -> NoReturn:
        """Raise what the system said as `Disconnected`, and as it is what a signal handler raised."""
        if error.errno is None:
            raise error
        raise disconnected(error) from error

    def close(self) -> None:
        """Close both directions at once; in a fork, whose parent's the link is, neither. Idempotent."""
        while self.descriptors:
            os.close(self.descriptors.pop())
        if os.getpid() == self._process:
            shut(self._socket)
        else:
            self._socket.close()


def unsent(buffers: Sequence[Buffer], sent: int) -> Sequence[Buffer]:
    """Return what remains of the buffers after their first `sent` bytes."""
    for index, buffer in enumerate(buffers):
        if sent < len(buffer):
            return [memoryview(buffer)[sent:], *buffers[index + 1 :]]
        sent -= len(buffer)
    return ()


def disconnected(error: OSError | trio.ClosedResourceError) -> Disconnected:
    """Return the exception that says why a link is of no more use."""
    if isinstance(error, trio.ClosedResourceError) or error.errno == errno.EBADF:
        return Disconnected(CLOSED_HERE)
    return Disconnected(f"the connection broke ({error.strerror}); connect again")


def shut(stream: socket.socket) -> None:
    """Close a socket so that whoever waits for it, here or at the peer, wakes."""
    with contextlib.suppress(OSError):  # already closed, here or by the peer
        stream.shutdown(socket.SHUT_RDWR)
    stream.close()


def deadline_of(timeout: float | None) -> float | None:
    """Return when `timeout` seconds from now will have passed."""
    return None if timeout is None else time.monotonic() + timeout


def wait(poll: select.poll, deadline: float | None) -> bool:
    """Wait until the poll object has an event; return False if the deadline passes first."""
    while True:
        remaining = MAX_WAIT if deadline is None else max(deadline - time.monotonic(), 0.0)
        if poll.poll(min(remaining, MAX_WAIT) * 1000):
            return True
        if deadline is not None and remaining <= MAX_WAIT:
            return False


async def admitted(knock: Callable[[], socket.socket | None]) -> socket.socket:
    """Knock until there is a socket: `knock` returns None while the listener's queue is full."""
    while (stream := knock()) is None:
        await trio.sleep(KNOCK_PAUSE)
    return stream


def admitted_blocking(
    knock: Callable[[], socket.socket | None], timeout: float | None
) -> socket.socket:
    """Knock until there is a socket.

    Raises:
        DeadlineExceeded: the listener's queue was full for `timeout` seconds.
    """
    deadline = deadline_of(timeout)
    while (stream := knock()) is None:
        if deadline is not None and time.monotonic() >= deadline:
            raise DeadlineExceeded(
                f"the listener was too busy to answer within {timeout:g} seconds"
            )
        time.sleep(KNOCK_PAUSE)
    return stream
