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
KINDS = ("FAILED", "OVERLOADED", "DISCONNECTED", "UNIMPLEMENTED")
hanging = released = 0


class Probe(probe.Probe.Server):
    def __init__(self, name: str) -> None:
        self.label = name
        self.kept_probe: Any = None
        self.log: list[str] = []
        self.promises: list[Promise] = []

    def __del__(self) -> None:
        global released
        released += 1

    async def echo(self, text, **_) -> str:
        self.log.append(text)
        return text

    async def slow(self, text, **_) -> str:
        self.log.append(text)
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

    async def same(self, probe, _context, **_) -> None:
        _context.results.probe = probe

    async def later(self, probe, _context, **_) -> None:
        promise = Promise(probe)
        self.promises.append(promise)
        _context.results.probe = promise.client()

    async def settle(self, **_) -> None:
        for promise in self.promises:
            promise.settle()
        self.promises.clear()

    async def breakAll(self, reason, **_) -> None:  # noqa: N802
        for promise in self.promises:
            promise.fail(reason)
        self.promises.clear()

    async def tail(self, target, text, _context, **_) -> None:
        # The call and the Return that names it are sent here and now. What tail_call returns tells
        # when the target's host has said resultsSentElsewhere, and to learn that aborts the process
        # (capnproto 1.4 makes an empty value of it, pycapnp chains on that): so it is let go of before.
        # Hence the target must be the caller's: of an object here, that would cancel the call.
        _context.tail_call(target.echo_request(text=text)).cancel()

    async def seen(self, _context, **_) -> None:
        _context.results.texts = self.log

    async def failAs(self, kind, reason, **_) -> None:  # noqa: N802
        raise capnp.KjException(reason, type=KINDS[kind])  # which arrives as FAILED all the same

    async def write(self, text, **_) -> None:
        self.log.append(text)
        await asyncio.sleep(0)
        if text == "bad":
            raise capnp.KjException("a bad text")


class Promise(probe.Probe.Server):
    """A reference that is settled later.

    pycapnp has no such thing, but what is pipelined on a call of one's own object is one: a call of
    `kept`, which this answers once it is settled.
    """

    def __init__(self, probe: Any) -> None:
        self.probe = probe
        self.settled = asyncio.get_running_loop().create_future()

    def client(self) -> Any:
        return probe.Probe._new_client(self).kept().probe

    def settle(self) -> None:
        self.settled.set_result(self.probe)

    def fail(self, reason: str) -> None:
        self.settled.set_exception(capnp.KjException(reason))

    async def kept(self, _context, **_) -> None:
        _context.results.probe = await self.settled
        self.probe = None


async def serve(path: str) -> None:
    first = Probe("first")

    async def connected(stream: Any) -> None:
        server = capnp.TwoPartyServer(
            stream, bootstrap=first, traversal_limit_in_words=TRAVERSAL_LIMIT
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

    async def same(self) -> Any:
        mine = Probe("mine")
        same = self.root.same(mine)
        promise = same.probe
        calls = [promise.echo(str(n)) for n in range(5)]
        await same
        calls += [promise.echo(str(n)) for n in range(5, 10)]
        return [await texts_of(calls), mine.log]

    async def later(self) -> Any:
        """Call a promise before and after it comes, is being settled, and is settled to an object of ours."""
        mine = Probe("mine")
        return [await self._around_settle(mine), mine.log]

    async def same_busy(self) -> Any:
        mine = Probe("mine")
        same = self.root.same(mine)
        return [await self._busy(same.probe, _awaited(same)), mine.log]

    async def later_busy(self) -> Any:
        mine = Probe("mine")
        later = self.root.later(mine)
        promise = later.probe
        await later
        return [await self._busy(promise, _awaited(self.root.settle())), mine.log]

    async def _busy(self, promise: Any, resolved: Any) -> list[str]:
        """Call without a pause while the promise is resolved: calls are on their way at that moment."""
        resolving, calls, more = asyncio.ensure_future(resolved), [], 50
        while more:
            more -= resolving.done()
            calls.append(promise.echo(str(len(calls))))
            await asyncio.sleep(0)
        return await texts_of(calls)

    async def later_theirs(self) -> Any:
        child = self.root.child("theirs").child
        texts = await self._around_settle(child)
        return [texts, list((await child.seen()).texts)]

    async def _around_settle(self, target: Any) -> list[str]:
        later = self.root.later(target)
        promise = later.probe
        calls = [promise.echo(str(n)) for n in range(5)]
        await later
        calls += [promise.echo(str(n)) for n in range(5, 10)]
        settle = self.root.settle()
        calls += [promise.echo(str(n)) for n in range(10, 15)]
        await settle
        calls += [promise.echo(str(n)) for n in range(15, 20)]
        return await texts_of(calls)

    async def broken(self) -> Any:
        mine = Probe("mine")
        promise = (await self.root.later(mine)).probe
        before = promise.echo("before")
        await self.root.breakAll("it broke")
        return [await failure_of(before), await failure_of(promise.echo("after")), mine.log]

    async def ours_later(self) -> Any:
        """Give away a promise of ours, have it called, and settle it to an object of ours."""
        mine = Probe("mine")
        return [await self._around_ours(mine), mine.log]

    async def ours_later_theirs(self) -> Any:
        child = (await self.root.child("theirs")).child
        texts = await self._around_ours(child)
        return [texts, list((await child.seen()).texts)]

    async def _around_ours(self, target: Any) -> list[str]:
        promise = Promise(target)
        client = promise.client()
        await self.root.keep(client)
        calls = [self.root.callBack(client, str(n)) for n in range(5)]
        await self.root.name()  # their calls are here
        promise.settle()
        calls += [self.root.callBack(client, str(n)) for n in range(5, 10)]
        return await texts_of(calls)

    async def ours_kept(self) -> Any:
        """Give away a promise of ours, get it back, and call what comes back all the while."""
        mine = Probe("mine")
        return [await self._around_kept(mine), mine.log]

    async def ours_kept_theirs(self) -> Any:
        child = (await self.root.child("theirs")).child
        texts = await self._around_kept(child)
        return [texts, list((await child.seen()).texts)]

    async def _around_kept(self, target: Any) -> list[str]:
        promise = Promise(target)
        await self.root.keep(promise.client())
        kept = self.root.kept()
        again = kept.probe
        calls = [again.echo(str(n)) for n in range(5)]
        await kept
        calls += [again.echo(str(n)) for n in range(5, 10)]
        await self.root.name()  # the calls before have come back
        promise.settle()
        calls += [again.echo(str(n)) for n in range(10, 15)]
        await self.root.name()  # they know to what it is settled
        calls += [again.echo(str(n)) for n in range(15, 20)]
        return await texts_of(calls)

    async def ours_broken(self) -> Any:
        promise = Promise(None)
        call = self.root.callBack(promise.client(), "never")
        await self.root.name()  # their call is here
        promise.fail("it broke")
        return await failure_of(call)

    async def tail(self) -> Any:
        mine = Probe("mine")
        calls = [self.root.tail(mine, str(n)) for n in range(10)]
        return [await texts_of(calls), mine.log]

    async def tail_theirs(self) -> Any:
        child = (await self.root.child("theirs")).child
        return await texts_of([self.root.tail(child, str(n)) for n in range(10)])

    async def tail_promises(self) -> Any:
        """Have a promise tail-called, which is settled to an object of ours and to one of theirs."""
        mine, child = Probe("mine"), (await self.root.child("theirs")).child
        promises = [self.root.later(target).probe for target in (mine, child)]
        calls = [self.root.tail(promise, "through") for promise in promises]
        await self.root.settle()
        return [await texts_of(calls), mine.log]

    async def tail_fails(self) -> Any:
        return [await failure_of(self.root.tail(Hanging("cancels"), "boom"))]

    async def tail_canceled(self) -> Any:
        return await self._cancel(lambda mine: self.root.tail(mine, "hang"))

    async def reflected_canceled(self) -> Any:
        def call(mine: Any) -> Any:
            promise = self.root.same(mine).probe
            return promise.echo("hang")

        return await self._cancel(call)

    async def _cancel(self, make: Any) -> Any:
        """Cancel a call once it has come back to an object of ours, and wait till that one is told."""
        mine = Hanging("mine")
        call = asyncio.ensure_future(_awaited(make(mine)))
        await mine.started.wait()
        call.cancel()
        await mine.canceled.wait()
        return (await self.root.echo("still there")).text

    async def writes(self) -> Any:
        writes = [self.root.write(str(n)) for n in range(200)]
        seen = self.root.seen()
        for write in writes:
            await write
        return list((await seen).texts)

    async def bad_write(self) -> Any:
        child = self.root.child("theirs").child
        good, bad, seen = child.write("good"), child.write("bad"), child.seen()
        await good
        failures = [await failure_of(bad), await failure_of(seen)]
        return [*failures, (await self.root.echo("still there")).text]

    async def kinds(self) -> Any:
        return [await failure_of(self.root.failAs(n, f"reason {n}")) for n in range(len(KINDS))]

    async def callback_fails(self) -> Any:
        return await failure_of(self.root.callBack(Hanging("fails"), "boom"))

    async def reflected_data(self) -> Any:
        data = bytes(range(256)) * (30 * 4096)
        promise = self.root.later(Probe("mine")).probe
        call = promise.data(data)
        await self.root.settle()
        return [len(data), (await call).data == data]

    async def promised_disconnect(self) -> Any:
        """Hold a promise, with calls that wait for it, when the peer dies."""
        promise = (await self.root.later(Probe("mine"))).probe
        call = asyncio.ensure_future(failure_of(promise.echo("never")))
        await self.root.slow("")
        print("hanging", flush=True)
        return [await call, await failure_of(promise.echo("too late"))]

    async def hang(self) -> Any:
        """Never end, with objects of both sides in use."""
        mine = Hanging("mine")
        await self.root.keep(mine)
        calls = [self.root.hang(), self.root.callBack(mine, "hang"), self.root.later(mine).probe]
        await mine.started.wait()
        print("hanging", flush=True)
        await calls[0]

    async def leave(self) -> Any:
        call = asyncio.ensure_future(_awaited(self.root.hang()))
        await self.root.slow("")
        call.cancel()
        return "left"


class Hanging(Probe):
    """A probe whose `echo` raises for "boom", and for "hang" never answers but tells what becomes of it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.started = asyncio.Event()
        self.canceled = asyncio.Event()

    async def echo(self, text, **_) -> str:
        if text == "boom":
            raise capnp.KjException("it went boom")
        self.started.set()
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            self.canceled.set()


async def texts_of(calls: list[Any]) -> list[str]:
    return [(await call).text for call in calls]


async def failure_of(call: Any) -> list[str]:
    try:
        await call
    except capnp.KjException as error:
        return [error.type, error.description]
    return []


async def _awaited(promise: Any) -> Any:
    return await promise


async def call(path: str, scenario: str) -> None:
    stream = await capnp.AsyncIoStream.create_unix_connection(path)
    client = capnp.TwoPartyClient(stream, traversal_limit_in_words=TRAVERSAL_LIMIT)
    print(json.dumps(await getattr(Caller(client), scenario)()), flush=True)


if __name__ == "__main__":
    work = {"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
    asyncio.run(capnp.run(work))
