"""The accept loop."""

import errno
import socket
from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

from capenv.link import Address, Link
from capenv.transports.sockets import SocketLink

ACCEPT_PAUSE: Final = 0.1
"""Seconds to leave others for giving back what accepting ran out of, file descriptors above all."""

_BROKEN = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP})


@attrs.frozen(eq=False)
class SocketListener:
    """Where links are accepted."""

    address: Address
    """Where it listens: with the port that was chosen, when any was asked for."""
    _door: socket.socket
    """Readable when somebody waits to be accepted."""
    _accept: Callable[[socket.socket], socket.socket]
    """Takes the next caller from the door, without blocking."""

    async def serve(self, handler: Callable[[Link], Awaitable[None]]) -> None:
        """Run `handler` in a task of its own for every link accepted, until cancelled.

        The link is closed when its handler ends. An exception that a handler lets out ends the
        others and leaves this method: handlers catch what concerns their link alone.
        """
        async with trio.open_nursery() as nursery:
            while True:
                await trio.lowlevel.wait_readable(self._door)
                try:
                    stream = self._accept(self._door)
                except BlockingIOError:
                    continue
                except OSError as error:
                    if error.errno in _BROKEN:
                        raise
                    # One caller's bad luck, or a shortage that will pass: serve the others.
                    await trio.sleep(ACCEPT_PAUSE)
                else:
                    nursery.start_soon(_attend, handler, SocketLink(stream))

    def close(self) -> None:
        """Stop listening. Idempotent."""
        if self._door.fileno() >= 0:
            trio.lowlevel.notify_closing(self._door)
            self._door.close()


async def _attend(handler: Callable[[Link], Awaitable[None]], link: SocketLink) -> None:
    try:
        await handler(link)
    finally:
        await link.aclose()
