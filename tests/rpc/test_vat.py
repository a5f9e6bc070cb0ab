"""The Trio driver, over real sockets."""

import gc
import logging
import socket

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from rpc_probe import ECHO, Probe, params, text_of, text_params, two_vats
from rpc_schema import PROBE
from rpc_trio import running, trio_test

from capenv.errors import (
    CapenvError,
    Disconnected,
    EnvironmentFailed,
    RemoteError,
    Unimplemented,
)
from capenv.link import MemoryAddress
from capenv.rpc.capability import Content, Hosted
from capenv.rpc.events import CallReceived
from capenv.rpc.servant import Request
from capenv.transports import connect, listen
from capenv.transports.sockets import SocketLink
from capenv.vat import serve
from capenv.vat_connection import VatConnection


@trio_test
async def test_calls_pipelines_and_children() -> None:
    async with two_vats(theirs=Probe()) as (ours, _):
        root = ours.bootstrap().root()
        child = ours.call(root, PROBE["child"], params("child", name="second"))
        name = await ours.call(child.pipeline("child"), PROBE["name"], params("name"))
        assert PROBE["name"].results.read(name.segments).name == "second"
        found = PROBE["child"].results.capability(await child, "child")
        assert found is not None
        name = await ours.call(found, PROBE["name"], params("name"))
        assert PROBE["name"].results.read(name.segments).name == "second"


@given(
    kinds=st.lists(st.sampled_from(["echo", "slow"]), min_size=1, max_size=12),
    together=st.booleans(),
    pipelined=st.booleans(),
)
def test_calls_start_in_the_order_they_were_made(
    kinds: list[str], together: bool, pipelined: bool
) -> None:
    async def test() -> None:
        probe = Probe()
        async with two_vats(theirs=probe) as (ours, _):
            target = ours.bootstrap().root()
            if pipelined:
                child = ours.call(target, PROBE["child"], params("child", name="second"))
                target = child.pipeline("child")
            responses = []
            for number, kind in enumerate(kinds):
                responses.append(ours.call(target, PROBE[kind], params(kind, text=str(number))))
                if not together:
                    await trio.testing.wait_all_tasks_blocked()
            assert [text_of(await response) for response in responses] == [
                str(number) for number in range(len(kinds))
            ]
        assert probe.log == [str(number) for number in range(len(kinds))]

    running(test)


@trio_test
async def test_a_canceled_caller_cancels_the_handler_and_nothing_else() -> None:
    probe = Probe()
    async with two_vats(theirs=probe) as (ours, theirs):
        root = ours.bootstrap().root()
        other = ours.call(root, PROBE["hang"], params("hang"))
        with trio.move_on_after(1) as scope:
            await ours.call(root, PROBE["hang"], params("hang"))
        assert scope.cancelled_caught
        assert text_of(await ours.call(root, ECHO, text_params("still there"))) == "still there"
        await trio.testing.wait_all_tasks_blocked()
        assert probe.hanging == 1
        del other
    assert probe.hanging == 0
    assert theirs.core.idle


@trio_test
async def test_a_call_is_canceled_when_the_last_who_waits_for_it_is() -> None:
    probe = Probe()
    async with two_vats(theirs=probe) as (ours, _), trio.open_nursery() as nursery:
        response = ours.call(ours.bootstrap().root(), PROBE["hang"], params("hang"))

        async def one() -> None:
            await response

        nursery.start_soon(one)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0):
            await response
        await trio.testing.wait_all_tasks_blocked()
        assert probe.hanging == 1
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
            assert probe.hanging == 0
            with pytest.raises(RemoteError, match="canceled"):
                await response


@trio_test
async def test_a_kept_response_outlives_whoever_gives_up_on_it() -> None:
    probe = Probe()
    async with two_vats(theirs=probe) as (ours, _):
        response = ours.call(ours.bootstrap().root(), PROBE["hang"], params("hang"))
        with trio.move_on_after(1):
            await response.kept()
        assert probe.hanging == 1


@trio_test
async def test_a_response_that_nobody_awaits_hurts_nobody() -> None:
    probe = Probe()
    async with two_vats(theirs=probe) as (ours, theirs):
        root = ours.bootstrap().root()
        for kind in ("echo", "slow"):
            ours.call(root, PROBE[kind], params(kind, text="unheard"))
        ours.call(root, PROBE["child"], params("child", name="unwanted"))
        assert text_of(await ours.call(root, ECHO, text_params("heard"))) == "heard"
        del root
        await trio.testing.wait_all_tasks_blocked()
        assert ours.core.idle
        assert theirs.core.idle


@trio_test
async def test_a_capability_passed_is_called_back_and_released() -> None:
    mine, probe = Probe("mine"), Probe()
    async with two_vats(mine, probe) as (ours, theirs):
        root = ours.bootstrap().root()
        passed = {"target": Hosted(mine)}
        content = await ours.call(root, PROBE["callBack"], params("callBack", passed, text="hi"))
        assert text_of(content) == "hi"
        assert mine.log == ["hi"]
        await ours.call(root, PROBE["keep"], params("keep", {"probe": Hosted(mine)}))
        assert mine.releases == 1
        kept = await ours.call(root, PROBE["kept"], params("kept"))
        held = PROBE["kept"].results.capability(kept, "probe")
        assert isinstance(held, Hosted)
        assert held.servant is mine
        await ours.call(root, PROBE["drop"], params("drop"))
        await trio.testing.wait_all_tasks_blocked()
        assert mine.releases == 2
        assert len(theirs.core.references.imports) == 0


@trio_test
async def test_what_is_dropped_is_released_at_once() -> None:
    probe = Probe()
    async with two_vats(theirs=probe) as (ours, _):
        content = await ours.bootstrap()
        assert probe.releases == 0
        del content
        await trio.testing.wait_all_tasks_blocked()
        assert probe.releases == 1


@trio_test
async def test_errors_keep_their_class_and_keep_their_secrets() -> None:
    async with two_vats(theirs=Probe()) as (ours, _):
        root = ours.bootstrap().root()
        failure = ours.call(root, PROBE["fail"], params("fail", reason="it fell over"))
        for _ in range(2):
            with pytest.raises(EnvironmentFailed, match=r"^it fell over$"):
                await failure
        with pytest.raises(Unimplemented, match="no method 11"):
            await ours.call(root, PROBE["missing"], params("missing"))


def test_an_internal_error_is_logged_here_and_told_by_its_class_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        async with two_vats(theirs=Probe()) as (ours, _):
            with pytest.raises(RemoteError, match="ValueError") as caught:
                await ours.call(
                    ours.bootstrap().root(), PROBE["fail"], params("fail", reason="secret")
                )
            assert "swordfish" not in str(caught.value)

    with caplog.at_level(logging.ERROR, "capenv.vat"):
        running(test)
    assert "swordfish" in caplog.text


class Careless(Probe):
    """Makes the mistakes that a method can make."""

    def echo(self, request: Request) -> Content:
        return None  # type: ignore[return-value]

    async def slow(self, request: Request) -> Content:
        return None  # type: ignore[return-value]

    def released(self) -> None:
        raise ValueError("a mistake")


def test_a_mistake_in_a_servant_fails_its_call_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with two_vats(theirs=Careless()) as (ours, theirs):
            root = ours.bootstrap().root()
            for kind in ("echo", "slow"):
                with pytest.raises(RemoteError, match="internal"):
                    await ours.call(root, PROBE[kind], params(kind, text=""))
            await ours.call(root, PROBE["name"], params("name"))
            del root
            await trio.testing.wait_all_tasks_blocked()
            assert theirs.core.closed is None

    with caplog.at_level(logging.CRITICAL, "capenv.vat"):
        running(test)


@trio_test
async def test_a_lost_link_fails_what_rode_on_it_and_nothing_else() -> None:
    probe = Probe()
    async with two_vats(theirs=Probe()) as (bystander, _):
        async with trio.open_nursery() as nursery:
            near, far = socket.socketpair()
            ours = VatConnection(SocketLink(near), None)
            theirs = VatConnection(SocketLink(far), probe)
            await nursery.start(ours.run)
            await nursery.start(theirs.run)
            root = ours.bootstrap().root()
            other = bystander.call(bystander.bootstrap().root(), ECHO, text_params("fine"))
            hanging = ours.call(root, PROBE["hang"], params("hang"))
            await trio.testing.wait_all_tasks_blocked()
            near.shutdown(socket.SHUT_RDWR)
            with pytest.raises(Disconnected):
                await hanging
            with pytest.raises(Disconnected):
                await ours.call(root, ECHO, text_params("too late"))
        # Both have ended by themselves, and with them what they were doing.
        assert probe.hanging == 0
        assert ours.core.idle
        assert theirs.core.idle
        assert text_of(await other) == "fine"


@trio_test
async def test_the_reason_of_a_close_reaches_the_peer() -> None:
    async with two_vats(theirs=Probe()) as (ours, theirs):
        hanging = ours.call(ours.bootstrap().root(), PROBE["hang"], params("hang"))
        await trio.testing.wait_all_tasks_blocked()
        theirs.close(Disconnected("closing time"))
        with pytest.raises(Disconnected, match="closing time"):
            await hanging


@trio_test
async def test_canceling_run_in_the_midst_of_a_message_ends_both_sides() -> None:
    near, far = socket.socketpair()
    ours = VatConnection(SocketLink(near))
    scope = trio.CancelScope()

    async def run(task_status: trio.TaskStatus[None]) -> None:
        with scope:
            await ours.run(task_status)

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        root = ours.bootstrap().root()
        call = ours.call(root, PROBE["data"], params("data", data=bytes(8 << 20)))
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        with pytest.raises(Disconnected):
            await call
    # Nobody read, so the farewell was given up, and the link is closed.
    assert near.fileno() == -1
    far.close()


@trio_test
async def test_a_method_is_not_interrupted_by_another() -> None:
    class Reentrant(Probe):
        def echo(self, request: Request) -> Content:
            text = request.params.text
            self.log.append(f"begin {text}")
            assert self.connection is not None
            if self.held is not None:
                self.connection.call(self.held, ECHO, text_params("progress"))
            self.log.append(f"end {text}")
            return request.reply()

    probe, mine = Reentrant(), Probe()
    async with two_vats(mine, probe) as (ours, _):
        root = ours.bootstrap().root()
        await ours.call(root, PROBE["keep"], params("keep", {"probe": Hosted(mine)}))
        first = ours.call(root, PROBE["slow"], params("slow", text="0"))
        # All of these wait for one answer, and so start in one go.
        child = ours.call(root, PROBE["child"], params("child", name="second"))
        echoes = [ours.call(root, ECHO, text_params(str(n))) for n in range(300)]
        for response in (first, child, *echoes):
            await response
    expected = [f"{what} {n}" for n in range(300) for what in ("begin", "end")]
    assert probe.log == ["0", *expected]


@trio_test
async def test_a_call_on_an_object_of_our_own_ends_with_the_connection() -> None:
    probe = Probe()
    async with two_vats(theirs=Probe()) as (ours, _):
        own = ours.call(Hosted(probe), PROBE["hang"], params("hang"))
        behind = ours.call(Hosted(probe), PROBE["slow"], params("slow", text="behind"))
        ours.close(Disconnected("closing time"))
        for response in (own, behind):
            with pytest.raises(CapenvError):
                await response
    assert probe.hanging == 0


@trio_test
async def test_a_canceled_call_on_an_object_of_our_own_stops() -> None:
    probe = Probe()
    async with two_vats(theirs=Probe()) as (ours, _):
        with trio.move_on_after(1):
            await ours.call(Hosted(probe), PROBE["hang"], params("hang"))
        await trio.testing.wait_all_tasks_blocked()
        assert probe.hanging == 0


@trio_test
async def test_a_server_tells_its_peers_that_it_ends() -> None:
    address = MemoryAddress("test_vat")
    async with listen(address) as listener, trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def serving() -> None:
            with scope:
                await serve(listener, Probe)

        nursery.start_soon(serving)
        connection = VatConnection(await connect(address))
        await nursery.start(connection.run)
        hanging = connection.call(connection.bootstrap().root(), PROBE["hang"], params("hang"))
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        with pytest.raises(Disconnected, match="shutting down"):
            await hanging


def test_nothing_is_left_of_a_connection() -> None:
    async def test() -> None:
        async with two_vats(Probe(), Probe()) as (ours, _):
            await ours.call(ours.bootstrap().root(), PROBE["slow"], params("slow", text="x"))

    running(test)
    gc.collect()
    assert not [found for found in gc.get_objects() if isinstance(found, CallReceived)]


class Leaving(Probe):
    def echo(self, request: Request) -> Content:
        raise SystemExit("bye")

    async def slow(self, request: Request) -> Content:
        raise SystemExit("bye")


def test_a_method_that_exits_fails_its_call_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with two_vats(theirs=Leaving()) as (ours, _):
            root = ours.bootstrap().root()
            for kind in ("echo", "slow"):
                with pytest.raises(RemoteError, match="internal"):
                    await ours.call(root, PROBE[kind], params(kind, text=""))
            await ours.call(root, PROBE["name"], params("name"))

    with caplog.at_level(logging.CRITICAL, "capenv.vat"):
        running(test)


@trio_test
async def test_a_streaming_call_that_is_kept_is_one_that_is_awaited() -> None:
    probe = Probe()
    async with two_vats(theirs=probe) as (ours, _):
        root = ours.bootstrap().root()
        await ours.call(root, PROBE["write"], params("write", text="kept")).kept()
        await ours.call(root, PROBE["name"], params("name"))
    assert probe.log == ["kept"]
