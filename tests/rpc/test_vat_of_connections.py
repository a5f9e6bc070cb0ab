"""The Trio driver: what a first version got wrong."""

import socket
from typing import Any

import pytest
import trio
from rpc_probe import ECHO, Probe, params, text_of, text_params
from rpc_schema import PROBE
from rpc_trio import trio_test

from capenv.errors import CapenvError
from capenv.rpc.capability import Hosted
from capenv.rpc.limits import Limits
from capenv.rpc.turn import Turn
from capenv.transports.sockets import SocketLink
from capenv.vat_connection import VatConnection


def linked(ours: Any = None, theirs: Any = None, limits: Any = None, turn: Any = None) -> Any:
    near, far = socket.socketpair()
    mine = VatConnection(SocketLink(near), ours, limits, turn=turn)
    return mine, VatConnection(SocketLink(far), theirs, limits)


@trio_test
async def test_a_stream_goes_on_for_others_when_a_peer_leaves_in_its_midst() -> None:
    shared, turn = Probe(), Turn()
    first, first_peer = linked(shared, turn=turn)
    second, second_peer = linked(shared, turn=turn)
    async with trio.open_nursery() as nursery:
        for connection in (first, first_peer, second, second_peer):
            await nursery.start(connection.run)
        there = first_peer.bootstrap().root()
        for _ in range(5):
            first_peer.call(there, PROBE["write"], params("write", text="x"))
        while not shared.log:
            await trio.lowlevel.checkpoint()
        first_peer.close(CapenvError("bye"))
        with trio.fail_after(5):
            there = second_peer.bootstrap().root()
            assert text_of(await second_peer.call(there, ECHO, text_params("hi"))) == "hi"
        nursery.cancel_scope.cancel()


@trio_test
async def test_a_call_held_back_when_the_connection_ends_fails() -> None:
    mine, other = linked(Probe(), Probe(), Limits(queued_bytes=100_000))
    async with trio.open_nursery() as nursery:
        await nursery.start(mine.run)
        # The other side does not run: it reads nothing.
        root = mine.bootstrap().root()
        for _ in range(9):
            mine.call(root, ECHO, text_params("x" * 50_000))
            await trio.lowlevel.checkpoint()
            await trio.sleep(0.01)
        assert mine._full()
        target = Hosted(Probe())
        # Not refused for being over the limit itself: a call on an object of our own, by way of a promise.
        answer = mine.core.call(target, ECHO.interface_id, ECHO.id, text_params("y"))
        mine._pump()
        assert answer.outcome is None
        mine.close(CapenvError("bye"))
        with trio.fail_after(50):
            await mine.wait(answer)
        assert isinstance(answer.outcome, CapenvError)
        await other._link.aclose()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("ticks", range(8))
def test_a_local_call_while_the_connection_is_being_cancelled_fails_alone(ticks):
    async def main():
        mine, other = linked(Probe(), Probe())
        scope = trio.CancelScope()

        async def run(task_status=trio.TASK_STATUS_IGNORED):
            with scope:
                await mine.run(task_status)

        async with trio.open_nursery() as nursery:
            await nursery.start(run)
            await nursery.start(other.run)
            await mine.bootstrap()
            scope.cancel()
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
            mine.call(Hosted(Probe()), PROBE["slow"], text_params("y"))
            await trio.sleep(0.01)
            nursery.cancel_scope.cancel()

    trio.run(main)


@trio_test
async def test_calls_of_one_reference_start_in_order_whichever_way_they_came() -> None:
    # Within one batch of messages: a call that waits for its task, one that came back, one held up here.
    turn = Turn()
    target = Probe()
    a, a_peer = linked(Probe(), Probe(), turn=turn)
    b, b_peer = linked(Probe(), Probe(), turn=turn)
    async with trio.open_nursery() as nursery:
        for connection in (a, a_peer, b, b_peer):
            await nursery.start(connection.run)
        hosted = Hosted(target)
        # As the core tells them in one turn: over a, a call that takes a task, then one on the target;
        # over b, behind it, another on the target.
        a.core.call(Hosted(Probe()), PROBE["slow"].interface_id, PROBE["slow"].id, text_params("0"))
        one = a.core.call(hosted, ECHO.interface_id, ECHO.id, text_params("1"))
        two = b.core.call(hosted, ECHO.interface_id, ECHO.id, text_params("2"))
        a._pump()
        await a.wait(one)
        await b.wait(two)
        assert target.log == ["1", "2"]
        nursery.cancel_scope.cancel()
