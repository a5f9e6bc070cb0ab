"""The Trio driver: a vat is a nursery of connections that share its objects."""

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any

import attrs
import trio

from capenv import transports
from capenv.errors import Disconnected
from capenv.link import Link, Listener
from capenv.rpc.capability import Promise
from capenv.rpc.interface import Interface
from capenv.rpc.limits import Limits
from capenv.rpc.servant import Servant, resolution
from capenv.rpc.turn import Turn
from capenv.stubs import Stub
from capenv.url import CapabilityURL
from capenv.vat_connection import VatConnection

_log = logging.getLogger("capenv.vat")
_SECONDS = 10.0


class Vat:
    """One peer of the protocol, for interfaces of your own: it offers objects, and calls those of others.

    ::

        async with capenv.Vat() as vat:
            at = await vat.listen(Greeter(), "capnp://insecure@127.0.0.1:0")
            greeter = await vat.connect(at, GREETER)
            print((await greeter.greet(name="you")).text)

    What one connection of a vat brings may be passed on over another. Leaving the block ends all of them.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        """Make one; `limits` bounds what each peer may make this side hold."""
        self._limits = limits
        self.turn = Turn()
        self._stack = AsyncExitStack()
        self._nursery: trio.Nursery | None = None

    async def __aenter__(self) -> "Vat":
        self._nursery = await self._stack.enter_async_context(trio.open_nursery())
        self._stack.callback(self._nursery.cancel_scope.cancel)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        try:
            return await self._stack.__aexit__(kind, error, traceback)
        except BaseExceptionGroup as group:
            if error is not None and _only(group) is error:
                return False  # as it was raised: only the nursery wraps it in a group
            raise

    async def listen(self, servant: Servant, at: str) -> str:
        """Offer an object to everyone who connects, and return where.

        There is no secret: whoever reaches the address may call the object. For what only some may
        have, offer a gate that asks for a token, as `capenv.serve` does.

        Args:
            servant: the object.
            at: an address without a secret: `capnp://insecure@127.0.0.1:0`, `capnp://insecure@/run/my.sock`
                or `capnp://memory@name`.

        Raises:
            URLError: the address is no good.
            AddressInUse: somebody listens there.
        """
        _check(servant)
        locator = CapabilityURL.parse_locator(at)
        opened = await self._running().start(self._listen, servant, locator)
        assert isinstance(opened, CapabilityURL)
        return str(opened)

    async def connect(
        self,
        at: str,
        interface: Any,
        offering: Servant | None = None,
        timeout: float = _SECONDS,
    ) -> Stub:
        """Connect, and return a stub of the first object that is offered there.

        Args:
            at: an address without a secret, of any Cap'n Proto RPC peer.
            interface: of the object: an `Interface`, or what a loaded schema has of it.
            offering: the object of this side that the peer may ask for in turn.
            timeout: seconds to reach it.

        Raises:
            URLError: the address is no good.
            NothingListening: nobody is there.
        """
        interface = Interface.of(interface)
        if offering is not None:
            _check(offering)
        locator = CapabilityURL.parse_locator(at)
        link = await transports.connect(locator.address, timeout)
        connection = VatConnection(link, offering, self._limits, turn=self.turn)
        await self._running().start(_run, connection)
        return connection.stub(interface, connection.bootstrap().root())

    def resolve(self, promise: Promise, target: Any) -> None:
        """Say what a promise that you made is, or why it came to nothing.

        Args:
            promise: one that you made, and gave away or not.
            target: an object of yours, a stub or a proxy; or a `CapenvError`.

        Raises:
            ValueError: it was resolved before, or is not of this vat.
            TypeError: the target is none of these.
        """
        self.turn.keep(promise, resolution(target))
        self.turn.carry_out()

    def _running(self) -> trio.Nursery:
        if self._nursery is None:
            raise RuntimeError("a vat is used within its `async with` block")
        return self._nursery

    async def _listen(
        self,
        servant: Servant,
        locator: CapabilityURL,
        task_status: trio.TaskStatus[CapabilityURL] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        async with transports.listen(locator.address) as listener:

            async def handle(link: Link) -> None:
                await _run(VatConnection(link, servant, self._limits, turn=self.turn))

            task_status.started(attrs.evolve(locator, address=listener.address))
            await listener.serve(handle)


async def _run(
    connection: VatConnection, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run a connection; whatever goes wrong within it, the vat and its other connections go on."""
    try:
        await connection.run(task_status)
    except Exception as error:
        _log.error("a connection ended by an internal error", exc_info=error)


def _check(servant: object) -> None:
    if not isinstance(servant, Servant) or not hasattr(servant, "interface"):
        raise TypeError(
            f"{servant!r} is no object to offer: give an object of a class that derives from Servant and"
            " names its interface"
        )


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """Return the exception in a group that holds no other."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        if len(found.exceptions) != 1:
            return None
        (found,) = found.exceptions
    return found


async def serve(
    listener: Listener,
    bootstrap: Callable[[Callable[[], None]], Servant],
    limits: Limits | None = None,
) -> None:
    """Run a connection for every link accepted, each with a bootstrap object of its own.

    `bootstrap` makes one, and is given what the object calls once the peer has shown that it may be
    here: a peer that has not within `Limits.handshake_seconds` is sent away. Cancelled, this tells every
    peer that the server ends.
    """
    patience = (limits or Limits()).handshake_seconds
    turn = Turn()

    async def handle(link: Link) -> None:
        admitted = trio.Event()
        connection = VatConnection(
            link,
            bootstrap(admitted.set),
            limits,
            turn=turn,
            farewell="the server is shutting down",
        )

        async def expect_admission() -> None:
            with trio.move_on_after(patience):
                await admitted.wait()
            if not admitted.is_set():
                connection.close(
                    Disconnected(f"no valid token came within {patience:g} seconds; connect again")
                )

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(expect_admission)
                await connection.run()
                nursery.cancel_scope.cancel()
        except trio.Cancelled:
            raise
        except Exception as error:
            _log.error("a connection ended by an internal error", exc_info=error)

    await listener.serve(handle)
