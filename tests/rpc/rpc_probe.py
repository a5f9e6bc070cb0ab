"""Probe: one object whose methods are every way to answer a call. The same as the peers of tests/interop."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from rpc_schema import PROBE

from capenv.errors import (
    CapenvError,
    Disconnected,
    EnvironmentFailed,
    Overloaded,
    RemoteError,
    Unimplemented,
)
from capenv.rpc.capability import Capability, Content, Hosted, Promise
from capenv.rpc.servant import Reply, Request, Servant
from capenv.transports.sockets import BlockingSocketLink, SocketLink
from capenv.vat_connection import VatConnection

ECHO = PROBE["echo"]
KINDS: tuple[type[CapenvError], ...] = (RemoteError, Overloaded, Disconnected, Unimplemented)
"""By their numbers in `Exception.Type` of `rpc.capnp`."""
WRITE_SECONDS = 0.002


class Probe(Servant):
    """A probe that runs under Trio, and tells what happened to it."""

    interface = PROBE

    def __init__(self, name: str = "first") -> None:
        self.label = name
        self.log: list[str] = []
        self.children: list[Probe] = []
        self.hanging = 0
        self.releases = 0
        self.held: Capability | None = None
        self.connection: VatConnection | None = None
        self.pending: list[tuple[Promise, Capability]] = []
        """What `later` answered with, and was given."""

    def echo(self, request: Request) -> Content:
        text = request.params.text
        self.log.append(text)
        return request.reply(_text(request, text))

    async def slow(self, request: Request) -> Content:
        text = request.params.text
        self.log.append(text)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        return request.reply(_text(request, text))

    def name(self, request: Request) -> Content:
        results = request.results()
        results.name = self.label
        return request.reply(results)

    def child(self, request: Request) -> Content:
        child = Probe(request.params.name)
        child.connection, child.log = self.connection, self.log
        self.children.append(child)
        return request.reply(child=Hosted(child))

    async def call_back(self, request: Request) -> Content:
        content = await request.connection.call(
            request.capability("target"), ECHO, text_params(request.params.text)
        )
        return request.reply(_text(request, ECHO.results.read(content.segments).text))

    def keep(self, request: Request) -> Content:
        self.held = request.capability("probe")
        return request.reply()

    def kept(self, request: Request) -> Content:
        return request.reply(probe=self.held)

    def drop(self, request: Request) -> Content:
        self.held = None
        return request.reply()

    def fail(self, request: Request) -> Content:
        if request.params.reason == "secret":
            raise ValueError("the password is swordfish")
        raise EnvironmentFailed(request.params.reason)

    async def hang(self, request: Request) -> Content:
        self.hanging += 1
        try:
            await trio.sleep_forever()
        finally:
            self.hanging -= 1
        raise AssertionError

    def counts(self, request: Request) -> Content:
        results = request.results()
        results.hanging = self.hanging
        results.released = sum(child.releases for child in self.children)
        return request.reply(results)

    def data(self, request: Request) -> Content:
        results = request.results()
        results.data = request.params.data
        return request.reply(results)

    def same(self, request: Request) -> Content:
        return request.reply(probe=request.capability("probe"))

    def later(self, request: Request) -> Content:
        probe = request.capability("probe")
        assert probe is not None
        promise = Promise()
        self.pending.append((promise, probe))
        return request.reply(probe=promise)

    def settle(self, request: Request) -> Content:
        assert self.connection is not None
        for promise, probe in self.pending:
            self.connection.resolve(promise, probe)
        self.pending.clear()
        return request.reply()

    def break_all(self, request: Request) -> Content:
        assert self.connection is not None
        for promise, _ in self.pending:
            self.connection.resolve(promise, RemoteError(request.params.reason))
        self.pending.clear()
        return request.reply()

    def tail(self, request: Request) -> Reply:
        target = request.capability("target")
        assert target is not None
        return request.tail_call(target, ECHO, text_params(request.params.text))

    def seen(self, request: Request) -> Content:
        results = request.results()
        results.texts = self.log
        return request.reply(results)

    def fail_as(self, request: Request) -> Content:
        raise KINDS[request.params.kind](request.params.reason)

    async def write(self, request: Request) -> Content:
        text = request.params.text
        self.log.append(text)
        await trio.sleep(WRITE_SECONDS)
        if text == "bad":
            raise RemoteError("a bad text was written")
        return request.reply()

    def released(self) -> None:
        self.releases += 1


def _text(request: Request, text: str) -> Any:
    results = request.results()
    results.text = text
    return results


def text_params(text: str) -> Content:
    builder = ECHO.params.new()
    builder.text = text
    return ECHO.params.content(builder)


def text_of(content: Content) -> str:
    text: str = ECHO.results.read(content.segments).text
    return text


def params(
    method: str, capabilities: dict[str, Capability] | None = None, **fields: Any
) -> Content:
    """Return params of a method of `Probe`."""
    kind = PROBE[method].params
    builder = kind.new()
    for name, value in fields.items():
        setattr(builder, name, value)
    return kind.content(builder, capabilities)


@asynccontextmanager
async def two_vats(
    ours: Probe | None = None, theirs: Probe | None = None, **options: Any
) -> AsyncIterator[tuple[VatConnection, VatConnection]]:
    """Run two connections, joined by a real socket pair."""
    near, far = socket.socketpair()
    mine = VatConnection(SocketLink(near), ours, **options)
    other = VatConnection(SocketLink(far), theirs, **options)
    for probe, connection in ((ours, mine), (theirs, other)):
        if probe is not None:
            probe.connection = connection
    async with trio.open_nursery() as nursery:
        await nursery.start(mine.run)
        await nursery.start(other.run)
        yield mine, other
        nursery.cancel_scope.cancel()


def socket_pair() -> tuple[BlockingSocketLink, socket.socket]:
    """Return a blocking link and the peer's end of it."""
    near, far = socket.socketpair()
    return BlockingSocketLink(near), far
