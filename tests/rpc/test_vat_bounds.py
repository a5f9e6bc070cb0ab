"""What the Trio driver puts up with, over real sockets."""

import logging
import socket
import threading

import pytest
import trio
import trio.testing
from rpc_probe import Probe, params, socket_pair, two_vats
from rpc_schema import PROBE
from rpc_trio import running, trio_test

from capenv.blocking import BlockingConnection
from capenv.errors import (
    Disconnected,
    Overloaded,
    ProtocolError,
)
from capenv.rpc.capability import Content
from capenv.rpc.connection import Connection
from capenv.rpc.limits import Limits
from capenv.rpc.servant import Request
from capenv.rpc.turn import Turn
from capenv.transports.sockets import SocketLink
from capenv.vat_connection import VatConnection


@trio_test
async def test_a_peer_that_asks_and_does_not_read_is_not_served_without_end() -> None:
    near, far = socket.socketpair()
    limits = Limits(queued_bytes=4 << 20, call_bytes=8 << 20, answers=30)
    vat = VatConnection(SocketLink(near), Probe(), limits)
    link = SocketLink(far)
    asker = Connection()
    root = asker.bootstrap().pipeline()
    unsent: list[int] = []

    async def ask() -> None:
        while True:
            content = params("data", data=bytes(1 << 20))
            asker.call(root, PROBE["data"].interface_id, PROBE["data"].id, content)
            await link.send(asker.data_to_send())
            await trio.lowlevel.checkpoint()
            unsent.append(vat.core.bytes_to_send)

    async with trio.open_nursery() as nursery:
        await nursery.start(vat.run)
        with pytest.raises(Disconnected):
            await ask()
    assert isinstance(vat.core.closed, ProtocolError)
    assert "60 calls in flight" in str(vat.core.closed)
    assert 2 << 20 < max(unsent) < 6 << 20, "4 MiB, and the answer that passed the bound"
    await link.aclose()


@trio_test
async def test_two_that_ask_each_other_too_much_both_get_their_answers() -> None:
    limits = Limits(queued_bytes=1 << 20)
    async with two_vats(Probe(), Probe(), limits=limits) as vats, trio.open_nursery() as nursery:

        async def ask(vat: VatConnection) -> None:
            root = vat.bootstrap().root()
            for _ in range(3):
                data = bytes(50 << 10)
                responses = [
                    vat.call(root, PROBE["data"], params("data", data=data)) for _ in range(10)
                ]
                responses += [
                    vat.call(root, PROBE["slow"], params("slow", text="x" * (40 << 10)))
                    for _ in range(10)
                ]
                for response in responses:
                    await response

        for vat in vats:
            nursery.start_soon(ask, vat)


@trio_test
async def test_calls_that_a_peer_does_not_take_are_refused_here() -> None:
    near, far = socket.socketpair()
    vat = VatConnection(SocketLink(near), None, Limits(queued_bytes=1 << 20))
    async with trio.open_nursery() as nursery:
        await nursery.start(vat.run)
        root = vat.bootstrap().root()
        responses = [
            vat.call(root, PROBE["data"], params("data", data=bytes(1 << 18))) for _ in range(9)
        ]
        with pytest.raises(Overloaded, match="does not read as fast"):
            await responses[-1]
        nursery.cancel_scope.cancel()
    far.close()


@trio_test
async def test_a_stranger_gets_a_reason_and_is_hung_up_on() -> None:
    near, far = socket.socketpair()
    stranger = SocketLink(far)
    async with trio.open_nursery() as nursery:
        vat = VatConnection(SocketLink(near), Probe())
        nursery.start_soon(vat.run)
        await stranger.send([b"GET / HTTP/1.1\r\n\r\n"])
        received = b""
        buffer = bytearray(1000)
        while count := await stranger.receive_into(memoryview(buffer)):
            received += buffer[:count]
        assert b"does not speak Cap'n Proto" in received
    await stranger.aclose()


def test_a_peer_that_says_nothing_at_all_is_let_go() -> None:
    async def test() -> None:
        limits = Limits(idle_seconds=50)
        async with two_vats(theirs=Probe(), limits=limits) as (ours, theirs):
            root = ours.bootstrap().root()
            for _ in range(3):
                await trio.sleep(40)
                await ours.call(root, PROBE["name"], params("name"))
            begin = trio.current_time()
            while theirs.core.closed is None:
                await trio.sleep(1)
            assert trio.current_time() - begin >= 49
            assert "nothing was heard for 50 seconds" in str(theirs.core.closed)

    # Nothing waits in earnest, but time passes for what is on its way.
    trio.run(test, clock=trio.testing.MockClock(rate=2000))


def test_what_passes_a_bound_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        limits = Limits(answers=3)  # of which the bootstrap is one
        async with two_vats(theirs=Probe(), limits=limits) as (ours, _):
            ours.core.limits = Limits()
            root = ours.bootstrap().root()
            calls = [ours.call(root, PROBE["hang"], params("hang")) for _ in range(4)]
            for call in calls[2:]:
                with pytest.raises(Overloaded, match="more than 3 calls in flight"):
                    await call

    with caplog.at_level(logging.WARNING, "capenv.rpc"):
        running(test)
    assert [record.getMessage() for record in caplog.records if record.name == "capenv.rpc"] == [
        "a peer passed a bound, and so may others of its calls: more than 3 calls in flight"
    ]


def test_a_connection_that_ends_by_a_broken_rule_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        near, far = socket.socketpair()
        vat = VatConnection(SocketLink(near), Probe())
        async with trio.open_nursery() as nursery:
            await nursery.start(vat.run)
            far.send(b"\xff" * 8)
            await trio.testing.wait_all_tasks_blocked()
        far.close()

    with caplog.at_level(logging.WARNING, "capenv.vat"):
        running(test)
    (record,) = caplog.records
    assert "a connection ended because of what came over it: a message of" in record.getMessage()


def test_calls_that_were_held_are_started_though_the_writer_has_nothing_to_do() -> None:
    """A peer that reads as fast as it is answered leaves nothing for the writer, which else starts them."""
    link, far = socket_pair()
    limits = Limits(queued_bytes=1 << 20)

    class Big(Probe):
        def data(self, request: Request) -> Content:
            return request.reply(data=bytes(700_000))

    async def serve() -> None:
        await VatConnection(SocketLink(far), Big(), limits).run()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    connection = BlockingConnection(link)
    root = connection.wait(connection.bootstrap()).capability()
    assert root is not None
    content = params("data", data=b"")
    for _ in range(3):
        answers = [connection.call(root, PROBE["data"], content) for _ in range(40)]
        assert all(len(connection.wait(answer, 60).segments) for answer in answers)
    connection.close()
    thread.join(10)
    assert not thread.is_alive()


@trio_test
async def test_a_call_that_comes_again_is_not_answered_behind_the_end() -> None:
    """Nor does another method start within one that is answered at once."""
    turn = Turn()
    events: list[str] = []

    def act() -> str:
        events.append("begins")
        turn.carry_out(lambda: events.append("asked"))
        assert not turn.free
        events.append("ends")
        return "done"

    assert turn.alone(act) == "done"
    assert turn.free
    assert events == ["begins", "asked", "ends"]
    near, far = socket.socketpair()
    vat = VatConnection(SocketLink(near), Probe())
    assert vat._may_answer()
    vat.core.disconnect(Disconnected("gone"))
    assert not vat._may_answer()
    near.close()
    far.close()
