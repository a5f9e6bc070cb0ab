"""Our peers of the probes written with pycapnp, and what their tests share."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import trio
from rpc_probe import ECHO, Probe, params, text_of, text_params
from rpc_schema import PROBE, rpc

from capenv.blocking import BlockingConnection
from capenv.errors import EnvironmentFailed
from capenv.link import Buffer, Link, UnixAddress
from capenv.responses import Response
from capenv.rpc.capability import Capability, Content
from capenv.rpc.servant import Request
from capenv.transports import connect, listen
from capenv.vat_connection import VatConnection

PYCAPNP = str(Path(__file__).parent / "pycapnp_probe.py")
CAPENV = str(Path(__file__).parent / "capenv_probe.py")
SECONDS = 60
MEGABYTES = bytes(range(256)) * (30 * 4096)
"""Thirty of them."""


@contextmanager
def running(peer: str, *arguments: str, says: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a peer as a process of its own, which has said this, and is killed in the end."""
    path = os.pathsep.join(path for path in sys.path if path)  # it may import what the tests do
    with subprocess.Popen(
        [sys.executable, peer, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == f"{says}\n"
            yield process
        finally:
            process.kill()


async def lines(output: trio.abc.ReceiveStream) -> AsyncGenerator[str, None]:
    """Yield what a process prints, line by line and without their ends."""
    text = b""
    async for chunk in output:
        *complete, text = (text + chunk).split(b"\n")
        for line in complete:
            yield line.decode()


def read(method: str, content: Content) -> Any:
    return PROBE[method].results.read(content.segments)


def capability(method: str, name: str, content: Content) -> Capability:
    found = PROBE[method].results.capability(content, name)
    assert found is not None
    return found


# Our client.


def ask(
    connection: BlockingConnection,
    target: Capability,
    method: str,
    capabilities: dict[str, Capability] | None = None,
    **fields: Any,
) -> Content:
    question = connection.call(target, PROBE[method], params(method, capabilities, **fields))
    return connection.wait(question, SECONDS)


class Caller:
    """Calls of probes over one connection."""

    def __init__(self, connection: VatConnection) -> None:
        self.connection = connection
        self.root = connection.bootstrap().root()

    def call(
        self,
        target: Capability,
        method: str,
        capabilities: dict[str, Capability] | None = None,
        **fields: Any,
    ) -> Response:
        content = params(method, capabilities, **fields)
        return self.connection.call(target, PROBE[method], content)

    def echo(self, target: Capability, numbers: range) -> list[Response]:
        """Call `echo` once with each number."""
        return [self.connection.call(target, ECHO, text_params(str(n))) for n in numbers]

    async def child(self, name: str) -> Capability:
        """Return an object of the peer's."""
        return capability("child", "child", await self.call(self.root, "child", name=name))

    async def seen(self, target: Capability) -> list[str]:
        return list(read("seen", await self.call(target, "seen")).texts)

    async def there_and_back(self) -> None:
        """Wait until the peer has done what it was sent, and what it sent before is here."""
        await self.call(self.root, "slow", text="there and back")

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait for what comes of messages that are on their way."""
        while not happened():
            await self.there_and_back()


@asynccontextmanager
async def connected(address: UnixAddress) -> AsyncIterator[Caller]:
    """Run a connection to the peer at an address."""
    connection = VatConnection(await connect(address))
    async with trio.open_nursery() as nursery:
        await nursery.start(connection.run)
        yield Caller(connection)
        nursery.cancel_scope.cancel()
    assert connection.core.idle


def with_trio(address: UnixAddress, test: Callable[[Caller], Awaitable[None]]) -> None:
    """Run a test with a connection to the peer at an address."""

    async def run() -> None:
        with trio.fail_after(SECONDS):
            async with connected(address) as caller:
                await test(caller)

    trio.run(run)


async def texts_of(calls: Sequence[Response]) -> list[str]:
    """Wait for calls whose results have a text."""
    return [text_of(await call) for call in calls]


def texts(numbers: range) -> list[str]:
    return [str(number) for number in numbers]


class Failing(Probe):
    """A probe whose `echo` fails."""

    def echo(self, request: Request) -> Content:
        raise EnvironmentFailed("it went boom")


class Hanging(Probe):
    """A probe whose `echo` never answers, and tells what becomes of it."""

    def __init__(self, name: str = "mine") -> None:
        super().__init__(name)
        self.started = trio.Event()
        self.canceled = trio.Event()

    async def echo(self, request: Request) -> Content:  # type: ignore[override]
        self.started.set()
        try:
            await trio.sleep_forever()
        finally:
            self.canceled.set()
        raise AssertionError


# Our server.


class Recorded:
    """A link that keeps what is sent over it."""

    passes_descriptors = False

    def __init__(self, link: Link) -> None:
        self.sent = b""
        self._link = link
        self.receive_into, self.aclose = link.receive_into, link.aclose

    async def send(self, buffers: Sequence[Buffer]) -> None:
        self.sent += b"".join(bytes(buffer) for buffer in buffers)
        await self._link.send(buffers)

    def send_now(self, buffers: Sequence[Buffer]) -> Sequence[Buffer]:
        return buffers

    def receive_soon(self, buffer: memoryview) -> int | None:
        return None


class Served:
    """A probe that one caller is served, and what became of it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.probe = Probe()
        self.connection: VatConnection | None = None
        self.link: Recorded | None = None
        self.told: list[str] = []
        self.errors = ""

    def sent(self) -> list[Any]:
        """Return the messages that the caller was sent, as pycapnp reads them."""
        assert self.link is not None
        return list(rpc.Message.read_multiple_bytes(self.link.sent))

    def run(self, scenario: str, on_line: Callable[[str], None] = lambda line: None) -> Any:
        """Serve one caller that does this; return what it says of it at last."""
        assert trio.run(self._run, scenario, on_line, False) == 0, self.errors
        return json.loads(self.told[-1])

    def run_until_killed(self, scenario: str, on_line: Callable[[str], None]) -> None:
        """Serve one caller that does this, and is killed once it says anything."""
        assert trio.run(self._run, scenario, on_line, True) == -signal.SIGKILL, self.errors

    async def _run(self, scenario: str, on_line: Callable[[str], None], kill: bool) -> int | None:
        with trio.fail_after(SECONDS):
            async with (
                listen(UnixAddress(self.path)) as listener,
                trio.open_nursery() as nursery,
            ):
                ended = trio.Event()

                async def handle(link: Link) -> None:
                    self.link = Recorded(link)
                    self.connection = self.probe.connection = VatConnection(self.link, self.probe)
                    await self.connection.run()
                    ended.set()

                nursery.start_soon(listener.serve, handle)
                caller = await trio.lowlevel.open_process(
                    [sys.executable, PYCAPNP, "call", self.path, scenario],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
                assert caller.stdout is not None
                assert caller.stderr is not None

                nursery.start_soon(self._hear, caller.stderr)
                async with caller.stdout:
                    async for line in lines(caller.stdout):
                        self.told.append(line)
                        on_line(line)
                        if kill:
                            caller.kill()
                await caller.wait()
                await ended.wait()
                nursery.cancel_scope.cancel()
        assert self.connection is not None
        assert self.connection.core.idle
        return caller.returncode

    async def _hear(self, errors: trio.abc.ReceiveStream) -> None:
        async for chunk in errors:
            self.errors += chunk.decode()
