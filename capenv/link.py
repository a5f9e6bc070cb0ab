"""What a byte stream must offer, and the addresses where one is found.

Transports implement these; the drivers (`capenv.vat`, `capenv.blocking`) use nothing else of them.
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias

import attrs

Buffer: TypeAlias = bytes | bytearray | memoryview


@attrs.frozen
class UnixAddress:
    """A socket in the file system."""

    path: str

    def __str__(self) -> str:
        return self.path


@attrs.frozen
class TcpAddress:
    """A TCP port. Port 0, to listen at, is any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attrs.frozen
class MemoryAddress:
    """A name within this process."""

    name: str

    def __str__(self) -> str:
        return self.name


Address: TypeAlias = UnixAddress | TcpAddress | MemoryAddress


class Attached(bytes):
    """Bytes with which descriptors travel, where the link passes any. They are this object's own."""

    descriptors: tuple[int, ...] = ()

    @classmethod
    def to(cls, data: Buffer, descriptors: Sequence[int]) -> "Attached":
        """Return bytes with copies of descriptors attached."""
        attached = cls(data)
        attached.descriptors = tuple(os.dup(descriptor) for descriptor in descriptors)
        return attached

    def __del__(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


class Link(Protocol):
    """A byte stream under Trio. One task sends, one receives."""

    passes_descriptors: bool
    """Whether the descriptors of `Attached` bytes reach the peer."""

    async def send(self, buffers: Sequence[Buffer]) -> None:
        """Send every byte of the buffers, in order.

        Cancelled or failed, it may have sent any part of them: the link is of no more use.

        Raises:
            Disconnected: the peer is gone.
        """

    def send_now(self, buffers: Sequence[Buffer]) -> Sequence[Buffer]:
        """Send what is taken at once and return the rest. Not while `send` is under way.

        Raises:
            Disconnected: the peer is gone.
        """

    def receive_soon(self, buffer: memoryview) -> int | None:
        """Put bytes at the start of `buffer` that come within a moment, and return how many, or None.

        No checkpoint: nothing else runs meanwhile. To be called behind an answer that the peer waits for.

        Raises:
            Disconnected: the link broke.
        """

    async def receive_into(self, buffer: memoryview) -> int:
        """Wait for bytes and put them at the start of `buffer`; return how many, 0 at the end.

        Raises:
            Disconnected: the link broke.
        """

    async def aclose(self) -> None:
        """Close both directions at once. Idempotent."""


class BlockingLink(Protocol):
    """A byte stream without an event loop.

    `send_some` and `receive_some` are each a single system call behind a wait, so that a signal
    handler's exception (KeyboardInterrupt) either comes before the call or finds its count in `counts`.
    """

    passes_descriptors: bool
    """Whether descriptors that the peer attached are received."""
    descriptors: list[int]
    """Those that were received, to be taken out by who expects them."""

    def send_some(
        self, buffers: Sequence[Buffer], counts: list[int], timeout: float | None
    ) -> None:
        """Send some of the bytes and append how many to `counts`.

        Raises:
            Disconnected: the peer is gone.
            DeadlineExceeded: nothing could be sent within `timeout` seconds.
        """

    def receive_some(self, buffer: memoryview, counts: list[int], timeout: float | None) -> None:
        """Wait for bytes, put them at the start of `buffer` and append how many to `counts`; 0 at the end.

        Raises:
            Disconnected: the link broke.
            DeadlineExceeded: nothing came within `timeout` seconds.
        """

    def exchange(self, request: Buffer, buffer: memoryview, counts: list[int]) -> None:
        """Send a message and wait a moment for the answer, which is put at the start of `buffer`.

        What was sent and what was received is appended to `counts`; either may be missing or less than
        there is to come.

        Raises:
            Disconnected: the link broke.
        """

    def receive_more(self, buffer: memoryview, counts: list[int]) -> None:
        """Wait for all the bytes that `buffer` holds, while they come, and append to `counts` how many did.

        Raises:
            Disconnected: the link broke.
        """

    def close(self) -> None:
        """Close both directions at once; in a fork, whose parent's the link is, neither. Idempotent."""


class Listener(Protocol):
    """Where links are accepted."""

    @property
    def address(self) -> Address:
        """Where it listens: with the port that was chosen, when any was asked for."""

    async def serve(self, handler: Callable[[Link], Awaitable[None]]) -> None:
        """Run `handler` in a task of its own for every link accepted, until cancelled."""


Listening: TypeAlias = AbstractAsyncContextManager[Listener]
