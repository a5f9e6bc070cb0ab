"""The peers of `probe.capnp` written with pycapnp's own C++-backed RPC, and nothing of capenv.

Arguments: `serve` or `call`, the path of a Unix socket, and for `call` what to do with the probe there.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import capnp

SITE_PACKAGES = str(Path(capnp.__file__).parent.parent)
probe = capnp.SchemaParser().load(
    str(Path(__file__).parent / "probe.capnp"), imports=[SITE_PACKAGES]
)
TRAVERSAL_LIMIT = 32 << 20  # words: room for two large messages
hanging = released = 0


class Probe(probe.Probe.Server):
    def __init__(self, name: str) -> None:
        self.label = name
        self.kept_probe: Any = None
        self.log: list[str] = []

    def __del__(self) -> None:
        global released
        released += 1

    async def echo(self, text, **_) -> str:
        self.log.append(text)
        return text

    async def slow(self, text, **_) -> str:
        await asyncio.sleep(0)
        return text

    async def name(self, **_) -> str:
        return self.label

    async def child(self, name, _context, **_) -> None:
        _context.results.child = Probe(name)

    async def callBack(self, target, text, **_) -> str:  # noqa: N802
        return (await target.echo(text)).text

    async def keep(self, probe, **_) -> None:
        self.kept_probe = probe

    async def kept(self, _context, **_) -> None:
        _context.results.probe = self.kept_probe

    async def drop(self, **_) -> None:
        self.kept_probe = None

    async def fail(self, reason, **_) -> None:
        raise capnp.KjException(reason)

    async def hang(self, **_) -> None:
        global hanging
        hanging += 1
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            hanging -= 1

    async def counts(self, _context, **_) -> None:
        _context.results.hanging = hanging
        _context.results.released = released

    async def data(self, data, _context, **_) -> None:
        _context.results.data = data


async def serve(path: str) -> None:
    async def connected(stream: Any) -> None:
        server = capnp.TwoPartyServer(
            stream, bootstrap=Probe("first"), traversal_limit_in_words=TRAVERSAL_LIMIT
        )
        await server.on_disconnect()

    server = await capnp.AsyncIoStream.create_unix_server(connected, path)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


class Caller:
    """Every scenario a method; what it returns is printed as JSON."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.root = client.bootstrap().cast_as(probe.Probe)

    async def basics(self) -> Any:
        echo = (await self.root.echo("hello")).text
        name = (await self.root.child("second").child.name()).name
        child = (await self.root.child("third")).child
        return [echo, name, (await child.name()).name]

    async def order(self) -> Any:
        calls = [(self.root.slow if n % 2 else self.root.echo)(str(n)) for n in range(40)]
        return [(await call).text for call in calls]

    async def callbacks(self) -> Any:
        mine = Probe("mine")
        text = (await self.root.callBack(mine, "back")).text
        await self.root.keep(mine)
        kept = (await self.root.kept()).probe
        name = (await kept.name()).name
        del kept
        log = mine.log
        del mine
        before = released
        await self.root.drop()
        await self.root.echo("the release has come before this")
        return [text, name, log, before, released]

    async def errors(self) -> Any:
        told = []
        for call in (self.root.fail("it fell over"), self.root.fail("secret"), self.root.missing()):
            try:
                await call
            except capnp.KjException as error:
                told.append([error.type, error.description])
        return [*told, (await self.root.echo("still there")).text]

    async def cancels(self) -> Any:
        counts = []
        call = asyncio.ensure_future(_awaited(self.root.hang()))
        await self.root.slow("")
        counts.append((await self.root.counts()).hanging)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await self.root.slow("")
        counts.append((await self.root.counts()).hanging)
        return counts

    async def releases(self) -> Any:
        children = [(await self.root.child(str(n))).child for n in range(5)]
        names = [(await child.name()).name for child in children]
        del children
        await self.root.slow("")
        return names

    async def data(self) -> Any:
        data = bytes(range(256)) * (30 * 4096)
        return [len(data), (await self.root.data(data)).data == data]

    async def disconnect(self) -> Any:
        call = asyncio.ensure_future(_awaited(self.root.hang()))
        await self.root.slow("")
        print("hanging", flush=True)
        try:
            await call
        except capnp.KjException as error:
            return [error.type, error.description]

    async def leave(self) -> Any:
        call = asyncio.ensure_future(_awaited(self.root.hang()))
        await self.root.slow("")
        call.cancel()
        return "left"


async def _awaited(promise: Any) -> Any:
    return await promise


async def call(path: str, scenario: str) -> None:
    stream = await capnp.AsyncIoStream.create_unix_connection(path)
    client = capnp.TwoPartyClient(stream, traversal_limit_in_words=TRAVERSAL_LIMIT)
    print(json.dumps(await getattr(Caller(client), scenario)()), flush=True)


if __name__ == "__main__":
    work = {"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
    asyncio.run(capnp.run(work))
