"""Sockets in the file system.

Only their owner may connect: the socket's mode is 0600 from the moment that it exists.
"""

import errno
import fcntl
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from capenv.errors import AddressInUse, LinkError, NothingListening
from capenv.link import Listener, UnixAddress
from capenv.transports.listener import SocketListener
from capenv.transports.sockets import BlockingSocketLink, SocketLink, admitted, admitted_blocking

MAX_PATH: Final = 107
"""Bytes of a socket's path: sun_path, less the final NUL."""
LOCK_TRIES: Final = 50
LOCK_PAUSE: Final = 0.1
"""Seconds between two tries to lock the directory."""


async def open_unix(address: UnixAddress) -> SocketLink:
    """Connect.

    Raises:
        NothingListening: there is no socket, or nobody behind it.
        LinkError: the path is too long, or forbidden.
    """
    return SocketLink(await admitted(lambda: _knock(address)))


def open_unix_blocking(address: UnixAddress, timeout: float | None) -> BlockingSocketLink:
    """Connect as `open_unix` does, within `timeout` seconds.

    Raises:
        DeadlineExceeded: the server was too busy for so long.
    """
    return BlockingSocketLink(admitted_blocking(lambda: _knock(address), timeout))


@asynccontextmanager
async def listen_unix(address: UnixAddress) -> AsyncIterator[Listener]:
    """Listen, taking over what a dead server left; remove the socket in the end.

    Raises:
        AddressInUse: a server lives there, or something that is no socket.
        LinkError: the path is too long, its directory is missing, or it is forbidden.
    """
    _check_length(address)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        async with _directory_locked(address):
            _clear(address)
            made = _bind(door, address)
        listener = SocketListener(address, door, _accept)
        try:
            yield listener
        finally:
            # Before the door is closed, which keeps the inode and so its number from being reused.
            _unlink_if(address.path, made)
            listener.close()
    finally:
        door.close()


def _accept(door: socket.socket) -> socket.socket:
    return door.accept()[0]


def _knock(address: UnixAddress) -> socket.socket | None:
    """Try to connect at once; return None while the server's queue is full."""
    _check_length(address)
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.setblocking(False)
        stream.connect(address.path)
    except OSError as error:
        stream.close()
        match error.errno:
            case errno.EAGAIN:
                return None
            case errno.ENOENT | errno.ENOTDIR | errno.ECONNREFUSED:
                raise NothingListening(
                    f"nothing listens at {address}; start a server there or check the path"
                ) from error
        raise LinkError(f"cannot connect to {address}: {error.strerror}") from error
    except BaseException:
        stream.close()
        raise
    return stream


@asynccontextmanager
async def _directory_locked(address: UnixAddress) -> AsyncIterator[None]:
    """Hold the lock of the socket's directory.

    Between finding a socket dead and binding anew another server might do the same, and lose its
    fresh socket to us. The directory serves as the lock because a lock file beside the socket would
    stay behind, and would be one more name to take care of.
    """
    directory = os.path.dirname(address.path) or "."
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise LinkError(
            f"cannot listen in {directory}: {error.strerror}; create it or choose another directory"
        ) from error
    try:
        for _ in range(LOCK_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await trio.sleep(LOCK_PAUSE)
            except OSError as error:
                raise LinkError(
                    f"cannot lock {directory}: {error.strerror}; choose a directory on a local disk"
                ) from error
        else:
            raise LinkError(
                f"{directory} stays locked by another process; choose another directory"
            )
        yield
    finally:
        os.close(descriptor)


def _clear(address: UnixAddress) -> None:
    """Make the path free, if what is there is a socket that nobody serves."""
    try:
        found = os.lstat(address.path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise LinkError(f"cannot listen at {address}: {error.strerror}") from error
    if not stat.S_ISSOCK(found.st_mode):
        raise AddressInUse(f"{address} exists and is no socket; remove it or choose another path")
    try:
        if caller := _knock(address):
            caller.close()
    except NothingListening:
        _unlink_if(address.path, found)
        return
    except LinkError:
        pass  # forbidden, so somebody else's
    raise AddressInUse(f"a server already listens at {address}; stop it or choose another path")


def _bind(door: socket.socket, address: UnixAddress) -> os.stat_result:
    """Listen, and return what identifies the file."""
    try:
        # Linux gives the file the mode of the socket: unlike the umask, that is ours alone, and
        # unlike chmod it leaves no moment in which others may open it.
        os.fchmod(door.fileno(), 0o600)
        door.setblocking(False)
        door.bind(address.path)
        door.listen(socket.SOMAXCONN)
        return os.lstat(address.path)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(f"somebody else took {address}; choose another path") from error
        raise LinkError(f"cannot listen at {address}: {error.strerror}") from error


def _unlink_if(path: str, made: os.stat_result) -> None:
    """Remove the file if it is still the one."""
    try:
        if os.path.samestat(os.lstat(path), made):
            os.unlink(path)
    except OSError:
        pass  # gone, or out of reach: nothing of ours is left to remove


def _check_length(address: UnixAddress) -> None:
    if len(os.fsencode(address.path)) > MAX_PATH:
        raise LinkError(
            f"the path of a Unix socket has at most {MAX_PATH} bytes; "
            f"choose a shorter one than {address}"
        )
