"""Plain TCP: nothing is encrypted, so servers stay on loopback."""

import errno
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from capenv.errors import AddressInUse, DeadlineExceeded, LinkError, NothingListening
from capenv.link import Listener, TcpAddress
from capenv.transports.listener import SocketListener
from capenv.transports.sockets import BlockingSocketLink, SocketLink


async def open_tcp(address: TcpAddress) -> SocketLink:
    """Connect.

    Raises:
        NothingListening: the host is unknown or out of reach, or nobody is at the port.
    """
    try:
        opened = await trio.open_tcp_stream(address.host, address.port)
    except (OSError, UnicodeError) as error:
        raise _no_answer(address, error) from error
    return SocketLink(_caller(socket.socket(fileno=opened.socket.detach()), address))


def open_tcp_blocking(address: TcpAddress, timeout: float | None) -> BlockingSocketLink:
    """Connect, within `timeout` seconds for each address of the host once its name is resolved.

    Raises:
        NothingListening: the host is unknown or out of reach, or nobody is at the port.
        DeadlineExceeded: no answer in time.
    """
    try:
        stream = socket.create_connection((address.host, address.port), timeout)
    except (OSError, UnicodeError) as error:
        if timeout is not None and isinstance(error, TimeoutError | BlockingIOError):
            raise DeadlineExceeded(
                f"{address} did not answer within {timeout:g} seconds"
            ) from error
        raise _no_answer(address, error) from error
    return BlockingSocketLink(_caller(stream, address))


@asynccontextmanager
async def listen_tcp(address: TcpAddress) -> AsyncIterator[Listener]:
    """Listen on loopback; port 0 takes any free one.

    Raises:
        AddressInUse: somebody listens there.
        LinkError: the host is unknown, or not loopback.
    """
    host = await _loopback(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as door:
        try:
            # Without this the port stays taken for a minute after its last server.
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.setblocking(False)
            door.bind((host, address.port))
            door.listen(socket.SOMAXCONN)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AddressInUse(
                    f"somebody already listens at {address}; choose another port, or 0 for any"
                ) from error
            raise LinkError(f"cannot listen at {address}: {error.strerror}") from error
        host, port = door.getsockname()[:2]
        listener = SocketListener(TcpAddress(host, port), door, _accept)
        try:
            yield listener
        finally:
            listener.close()


def _accept(door: socket.socket) -> socket.socket:
    return _prompt(door.accept()[0])


def _prompt(stream: socket.socket) -> socket.socket:
    """Have small messages sent at once."""
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def _caller(stream: socket.socket, address: TcpAddress) -> socket.socket:
    """Return the connected socket, made ready.

    Raises:
        NothingListening: it is connected to itself, which TCP does when the port asked for is free
            and happens to be given to the caller.
    """
    try:
        if stream.getsockname() != stream.getpeername():
            return _prompt(stream)
    except OSError as error:
        stream.close()
        raise _no_answer(address, error) from error
    stream.close()
    raise _no_answer(address, None)


def _no_answer(address: TcpAddress, error: OSError | UnicodeError | None) -> NothingListening:
    if isinstance(error, socket.gaierror | UnicodeError):  # the latter from encoding the name
        return NothingListening(f"the host of {address} is unknown; check its name")
    return NothingListening(f"nothing listens at {address}; start a server there or check the port")


async def _loopback(address: TcpAddress) -> str:
    """Return the IP address to bind, after a look at every one that the host has.

    Raises:
        LinkError: the host is unknown, or not loopback.
    """
    try:
        found = await trio.socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise LinkError(f"the host of {address} is unknown; listen at 127.0.0.1") from error
    hosts = [str(place[0]) for *_, place in found]
    if not all(ipaddress.ip_address(host).is_loopback for host in hosts):
        raise LinkError(
            f"plain TCP beyond loopback is not encrypted; listen at 127.0.0.1, not at {address}, "
            "and reach it through a tunnel such as ssh -L"
        )
    return hosts[0]
