"""The driver too keeps nothing: calls, streams, cancellations and failures between two vats under Trio."""

from typing import Any

import pytest
import trio
from rpc_probe import ECHO, Probe, params, text_of, text_params, two_vats
from rpc_schema import PROBE
from rpc_soak import Memory

from capenv import vat_connection
from capenv.errors import EnvironmentFailed, RemoteError
from capenv.responses import Response
from capenv.rpc.capability import Capability, Hosted
from capenv.rpc.streams import Outgoing
from capenv.vat_connection import VatConnection

WARM_UP, ROUNDS = 20, 60
CALLS = 17
"""In a round."""
OBJECTS = ROUNDS // 3
BLOCKS = ROUNDS


async def a_round(mine: VatConnection, theirs: Probe) -> None:
    """Make calls of every kind, with objects of both sides, and let go of all."""
    root = mine.bootstrap().root()

    def call(called: Capability, method: str, **given: Any) -> Response:
        probes = {name: value for name, value in given.items() if not isinstance(value, str)}
        texts = {name: value for name, value in given.items() if isinstance(value, str)}
        return mine.call(called, PROBE[method], params(method, probes, **texts))

    ours = Hosted(Probe("ours"))
    child = call(root, "child", name="child").pipeline("child")
    assert text_of(await call(root, "callBack", target=ours, text="back")) == "back"
    assert text_of(await call(root, "tail", target=ours, text="tail")) == "tail"
    later = call(root, "later", probe=ours).pipeline("probe")
    before = mine.call(later, ECHO, text_params("before"))
    await call(root, "settle")
    assert text_of(await before) == "before"
    assert text_of(await mine.call(later, ECHO, text_params("after"))) == "after"
    await call(root, "keep", probe=child)
    await call(root, "drop")
    for text in ("good", "good", "bad"):
        await call(child, "write", text=text)
    with pytest.raises(RemoteError, match="a bad text"):
        await call(child, "seen")
    with pytest.raises(EnvironmentFailed):
        await call(root, "fail", reason="it fell over")
    with trio.move_on_after(0.001):
        await call(root, "hang")
    await call(root, "slow", text="what was let go of is there")
    theirs.log.clear()
    theirs.children.clear()


async def held_after() -> Memory:
    theirs = Probe("theirs")
    async with two_vats(None, theirs) as (mine, _):
        for _ in range(WARM_UP):
            await a_round(mine, theirs)
        before = Memory.now()
        for _ in range(ROUNDS):
            await a_round(mine, theirs)
        after = Memory.now()
    print(f"{ROUNDS * CALLS} calls:", before, after)
    return Memory(after.objects - before.objects, after.blocks - before.blocks, 0)


def test_the_driver_keeps_nothing() -> None:
    more = trio.run(held_after)
    assert more.objects <= OBJECTS
    assert more.blocks <= BLOCKS


def test_streams_that_are_kept_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Outgoing] = []

    def keeping() -> Outgoing:
        kept.append(Outgoing())
        return kept[-1]

    monkeypatch.setattr(vat_connection, "Outgoing", keeping)
    assert trio.run(held_after).objects > OBJECTS
