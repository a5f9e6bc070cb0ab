"""The probe of `tests/rpc` as a process of its own, for tests that kill it.

Arguments: `serve` or `hang`, and the path of a Unix socket.
"""

import sys
from typing import Any

import trio
from pycapnp_peers import connected
from rpc_probe import Probe

from capenv.link import UnixAddress
from capenv.rpc.capability import Hosted
from capenv.transports import listen
from capenv.vat_connection import VatConnection


async def serve(path: str) -> None:
    async def handle(link: Any) -> None:
        probe = Probe()
        probe.connection = VatConnection(link, probe)
        await probe.connection.run()

    async with listen(UnixAddress(path)) as listener:
        print("ready", flush=True)
        await listener.serve(handle)


async def hang(path: str) -> None:
    """Never end, with objects of both sides in use."""
    async with connected(UnixAddress(path)) as caller:
        child = await caller.child("held")
        mine = Hosted(Probe("mine"))
        await caller.call(caller.root, "keep", {"probe": mine})
        hanging = caller.call(child, "hang")
        later = caller.call(caller.root, "later", {"probe": mine})
        waiting = caller.echo(later.pipeline("probe"), range(3))
        await caller.there_and_back()
        print("hanging", flush=True)
        await hanging
        await waiting[0]


if __name__ == "__main__":
    trio.run({"serve": serve, "hang": hang}[sys.argv[1]], sys.argv[2])
