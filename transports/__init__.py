"""Byte streams between peers, by the form of the address.

`connect` and `listen` run under Trio; `connect_blocking` needs no event loop.
"""

import math
from typing import assert_never

import trio

from capenv.errors import DeadlineExceeded
from capenv.link import (
    Address,
    BlockingLink,
    Link,
    Listening,
    MemoryAddress,
    TcpAddress,
    UnixAddress,
)
from capenv.transports.memory import listen_memory, open_memory, open_memory_blocking
from capenv.transports.tcp import listen_tcp, open_tcp, open_tcp_blocking
from capenv.transports.unix import listen_unix, open_unix, open_unix_blocking

__all__ = ["connect", "connect_blocking", "listen"]


async def connect(address: Address, timeout: float | None = None) -> Link:
    """Connect to `address` within `timeout` seconds.

    Raises:
        NothingListening: nobody answers there.
        DeadlineExceeded: no answer in time.
        LinkError: the address cannot be used.
    """
    with trio.move_on_after(math.inf if timeout is None else timeout):
        match address:
            case UnixAddress():
                return await open_unix(address)
            case TcpAddress():
                return await open_tcp(address)
            case MemoryAddress():
                return await open_memory(address)
            case _:
                assert_never(address)
    raise DeadlineExceeded(f"{address} did not answer within {timeout:g} seconds")


def connect_blocking(address: Address, timeout: float | None = None) -> BlockingLink:
    """Connect to `address` within `timeout` seconds, without an event loop.

    Raises:
        NothingListening: nobody answers there.
        DeadlineExceeded: no answer in time.
        LinkError: the address cannot be used.
    """
    match address:
        case UnixAddress():
            return open_unix_blocking(address, timeout)
        case TcpAddress():
            return open_tcp_blocking(address, timeout)
        case MemoryAddress():
            return open_memory_blocking(address, timeout)
        case _:
            assert_never(address)


def listen(address: Address) -> Listening:
    """Return an async context manager that listens at `address` and yields the listener.

    Raises, on entering:
        AddressInUse: somebody else serves there.
        LinkError: the address cannot be used.
    """
    match address:
        case UnixAddress():
            return listen_unix(address)
        case TcpAddress():
            return listen_tcp(address)
        case MemoryAddress():
            return listen_memory(address)
        case _:
            assert_never(address)
