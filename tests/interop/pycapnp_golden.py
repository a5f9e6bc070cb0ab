"""The callers of the golden traces (tests/rpc/golden_traces.py) with pycapnp's own C++-backed RPC.

Arguments: the path of a Unix socket, and the name of a trace.
"""

import asyncio
import sys
from typing import Any

import capnp
from pycapnp_probe import Probe, probe


async def echo(root: Any) -> None:
    same = root.same(Probe("mine"))
    promise = same.probe
    one = promise.echo("1")
    await same
    await asyncio.gather(one, promise.echo("2"), promise.echo("3"))


async def lazy(root: Any) -> None:
    promise = (await root.later(Probe("mine"))).probe
    one = promise.echo("1")
    await root.settle()
    await one
    await root.echo("0")  # the promise is held till the Resolve is there


async def tail(root: Any) -> None:
    await root.tail(Probe("mine"), "1")


async def cancel(root: Any) -> None:
    hang = asyncio.ensure_future(_awaited(root.hang()))
    await root.echo("1")
    hang.cancel()
    await asyncio.gather(hang, return_exceptions=True)
    await root.echo("2")


async def _awaited(promise: Any) -> Any:
    return await promise


async def call(path: str, trace: str) -> None:
    stream = await capnp.AsyncIoStream.create_unix_connection(path)
    print("connected", flush=True)
    client = capnp.TwoPartyClient(stream)
    root = client.bootstrap().cast_as(probe.Probe)
    await globals()[trace](root)
    del root
    await client.on_disconnect()  # whatever rides along is sent before the test hangs up


if __name__ == "__main__":
    asyncio.run(capnp.run(call(*sys.argv[1:])))
