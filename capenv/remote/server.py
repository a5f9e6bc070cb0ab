"""Serving a host: the capability table, the URLs, and the life of the listener."""

import functools
import logging
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from types import TracebackType
from typing import assert_never

import trio

from capenv import transports, vat
from capenv.link import Address, Listener, MemoryAddress, UnixAddress
from capenv.remote.servants import GateServant, Target
from capenv.rpc.limits import Limits
from capenv.sharing import CapabilityTable
from capenv.url import CapabilityURL, Insecure, Memory
from capenv.worlds import Host, Session, World

_log = logging.getLogger("capenv.remote")


class Server:
    """A host being served. `url` names what it offers."""

    def __init__(self, host: Host, listener: Listener, limits: Limits) -> None:
        self._host = host
        self._listener = listener
        self._limits = limits
        self._table: CapabilityTable[Target] = CapabilityTable()
        memory = isinstance(listener.address, MemoryAddress)
        self._locator = CapabilityURL(Memory() if memory else Insecure(), listener.address)

    def url(self, target: str | World | Session | None = None) -> str:
        """Return the whole capability URL, with its secret, of something this server offers.

        Whoever has it may use it: hand it over as you would a password.

        Args:
            target: the id of an environment, a world or a session made here, or None for the whole host.
                A world or session with a URL lives until it is destroyed or left.

        Raises:
            UnknownEnvironment: there is no environment of that id.
        """
        name, capability = self._named(target)
        return self._locator.with_secret(self._table.secret(name, capability)).reveal()

    def __repr__(self) -> str:
        return f"<Server at {self._locator}>"

    def _named(self, target: str | World | Session | None) -> tuple[str, Target]:
        match target:
            case None:
                return "host", self._host
            case str():
                environment = self._host.environment(target)
                return f"environment {environment.id}", environment
            case World():
                name = f"world {id(target)}"
                if not self._table.holds(name):
                    target.hold()
                return name, target
            case Session():
                target.restored = True
                return f"session {id(target)}", target
            case _:
                assert_never(target)

    def _release(self) -> None:
        """Let go of what only its URL kept."""
        for target in self._table.drain():
            match target:
                case World():
                    target.release()
                case Session():
                    target.leave()
                case _:
                    pass

    async def _run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        def gate(admit: Callable[[], None]) -> GateServant:
            return GateServant(self._table.restore, self._limits.message_bytes, admit)

        task_status.started()
        await vat.serve(self._listener, gate, self._limits)


@asynccontextmanager
async def _serving(host: Host, listen: str | None, limits: Limits) -> AsyncIterator[Server]:
    for environment in host:
        environment.description  # noqa: B018  raises now rather than for the first agent
    async with AsyncExitStack() as stack:
        if listen is None:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="capenv-"))
            address: Address = UnixAddress(os.path.join(directory, "host"))
        else:
            address = CapabilityURL.parse_locator(listen).address
        listener = await stack.enter_async_context(transports.listen(address))
        server = Server(host, listener, limits)
        failure: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(server._run)
                _log.info("serving %s at %s", ", ".join(env.id for env in host), listener.address)
                try:
                    yield server
                except trio.Cancelled:
                    raise
                except BaseException as error:
                    failure = error  # raised outside, where no nursery wraps it in a group
                nursery.cancel_scope.cancel()
        finally:
            server._release()
            if failure is not None:
                raise failure


class Serving:
    """A server to be: ``async with`` it under Trio, or ``with`` it in a script or a notebook."""

    def __init__(self, host: Host, listen: str | None, limits: Limits) -> None:
        self._open = functools.partial(_serving, host, listen, limits)
        self._stack = AsyncExitStack()
        self._thread: _ServerThread | None = None

    async def __aenter__(self) -> Server:
        return await self._stack.enter_async_context(self._open())

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, traceback)

    def __enter__(self) -> Server:
        self._thread = _ServerThread(self)
        return self._thread.start()

    def __exit__(self, *_: object) -> None:
        assert self._thread is not None
        self._thread.stop()


class _ServerThread:
    """Trio in a thread of its own, because a script or a notebook keeps the main one."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._ready = threading.Event()
        self._server: Server | None = None
        self._error: BaseException | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._stop: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name="capenv-server", daemon=True)

    def start(self) -> Server:
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error
        assert self._server is not None
        return self._server

    def stop(self) -> None:
        assert self._token is not None
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._stop)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        done = trio.Event()
        self._stop = done.set
        async with self._serving as self._server:
            self._ready.set()
            await done.wait()


def serve(host: Host, listen: str | None = None, *, limits: Limits | None = None) -> Serving:
    """Serve a host.

    ::

        async with capenv.serve(host, listen="capnp://insecure@127.0.0.1:0") as server:
            print(server.url("my-game"))
            await trio.sleep_forever()

    In a script or a notebook the same with a plain ``with``: the server then runs in a thread of its own.

    Args:
        host: what to offer.
        listen: where: ``capnp://insecure@/path/to/socket``, ``capnp://insecure@127.0.0.1:7000`` (port 0:
            any free one) or ``capnp://memory@name``; None: a Unix socket in a fresh temporary directory.
        limits: bounds on what a peer may make this one hold.

    Raises:
        AddressInUse: somebody else serves there.
        URLError: `listen` is no address.
        UnsupportedSpace, EnvironmentFailed: an environment cannot be offered.
    """
    return Serving(host, listen, limits or Limits())
