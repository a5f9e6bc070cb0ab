"""Links within this process, between any of its threads, by name."""

import errno
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from capenv.errors import AddressInUse, LinkError, NothingListening
from capenv.link import Listener, MemoryAddress
from capenv.transports.listener import SocketListener
from capenv.transports.sockets import BlockingSocketLink, SocketLink, admitted, admitted_blocking

# A caller makes a socket pair, and passes one end through the listener's bell. So the queue of
# callers is the kernel's: bounded, safe between threads, and pollable like any other door.
_bells: dict[str, socket.socket] = {}
_lock = threading.Lock()


async def open_memory(address: MemoryAddress) -> SocketLink:
    """Connect.

    Raises:
        NothingListening: nobody in this process has the name.
    """
    return SocketLink(await admitted(lambda: _knock(address)))


def open_memory_blocking(address: MemoryAddress, timeout: float | None) -> BlockingSocketLink:
    """Connect as `open_memory` does, within `timeout` seconds.

    Raises:
        DeadlineExceeded: the server was too busy for so long.
    """
    return BlockingSocketLink(admitted_blocking(lambda: _knock(address), timeout))


@asynccontextmanager
async def listen_memory(address: MemoryAddress) -> AsyncIterator[Listener]:
    """Listen under a name.

    Raises:
        AddressInUse: somebody in this process has it.
    """
    bell, door = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with bell, door:
        bell.setblocking(False)
        door.setblocking(False)
        with _lock:
            if address.name in _bells:
                raise AddressInUse(f"{address} is taken in this process; choose another name")
            _bells[address.name] = bell
        listener = SocketListener(address, door, _accept)
        try:
            yield listener
        finally:
            with _lock:
                del _bells[address.name]
            listener.close()


def _accept(door: socket.socket) -> socket.socket:
    descriptors = socket.recv_fds(door, 1, 1)[1]
    if not descriptors:  # lost, because this process has none left to give
        raise OSError(errno.EMFILE, "no descriptor is left for the caller")
    return socket.socket(fileno=descriptors[0])


def _knock(address: MemoryAddress) -> socket.socket | None:
    """Try to connect at once; return None while the listener's queue is full."""
    with _lock:
        bell = _bells.get(address.name)
        if bell is None:
            raise NothingListening(
                f"nothing listens at {address} in this process; start a server or check the name"
            )
        near, far = socket.socketpair()
        with far:
            try:
                socket.send_fds(bell, [b"\0"], [far.fileno()])
            except BlockingIOError:
                near.close()
                return None
            except OSError as error:
                near.close()
                raise LinkError(f"cannot connect to {address}: {error.strerror}") from error
    return near
