"""Our Trio client plays Cap'n Proto's own C++ server."""

import subprocess
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from cpp_probe import SECONDS, capability, numbers, read
from rpc_probe import KINDS, Probe, params, text_of
from rpc_schema import PROBE

from capenv.errors import CapenvError, Disconnected, RemoteError, Unimplemented
from capenv.link import UnixAddress
from capenv.responses import Response
from capenv.rpc.capability import Capability, Hosted, Promise
from capenv.transports import connect
from capenv.vat_connection import VatConnection


class Caller:
    """A connection to the C++ server, and its bootstrap."""

    def __init__(self, connection: VatConnection) -> None:
        self.connection = connection
        self.root: Capability = connection.bootstrap().root()
        self.mine = Probe("mine")
        self.mine.connection = connection

    def call(
        self,
        method: str,
        capabilities: dict[str, Capability] | None = None,
        target: Capability | None = None,
        **fields: Any,
    ) -> Response:
        return self.connection.call(
            target or self.root, PROBE[method], params(method, capabilities, **fields)
        )

    def echoes(self, target: Capability, *between: int) -> list[Response]:
        return [self.call("echo", target=target, text=str(n)) for n in range(*between)]

    async def later(self, probe: Capability) -> Capability:
        return capability("later", "probe", await self.call("later", {"probe": probe}))

    async def seen(self, target: Capability) -> list[str]:
        return list(read("seen", await self.call("seen", target=target)).texts)

    async def child(self, name: str) -> Capability:
        return capability("child", "child", await self.call("child", name=name))


TrioTest = Callable[[Caller], Awaitable[None]]
WithTrio = Callable[[TrioTest], None]


@pytest.fixture
def with_trio(address: UnixAddress) -> WithTrio:
    """What runs a test with a caller."""

    def with_trio(test: TrioTest) -> None:
        async def run() -> None:
            with trio.fail_after(SECONDS):
                connection = VatConnection(await connect(address))
                async with trio.open_nursery() as nursery:
                    await nursery.start(connection.run)
                    await test(Caller(connection))
                    nursery.cancel_scope.cancel()
                assert connection.core.idle

        trio.run(run)

    return with_trio


async def texts_of(calls: list[Response]) -> list[str]:
    return [text_of(await call) for call in calls]


def test_calls_and_pipelines(with_trio: WithTrio) -> None:
    @with_trio
    async def _(caller: Caller) -> None:
        second = caller.call("child", name="second")
        third = caller.call("child", target=second.pipeline("child"), name="third")
        name = caller.call("name", target=third.pipeline("child"))
        assert text_of(await caller.call("echo", text="hello")) == "hello"
        assert read("name", await name).name == "third"
        later = capability("child", "child", await second)
        assert read("name", await caller.call("name", target=later)).name == "second"


def test_capabilities_go_there_and_back(with_trio: WithTrio) -> None:
    @with_trio
    async def _(caller: Caller) -> None:
        mine = caller.mine
        back = await caller.call("callBack", {"target": Hosted(mine)}, text="hi")
        assert read("callBack", back).text == "hi"
        assert mine.log == ["hi"]
        await caller.call("keep", {"probe": Hosted(mine)})
        kept = capability("kept", "probe", await caller.call("kept"))
        assert isinstance(kept, Hosted)
        assert kept.servant is mine
        before = mine.releases
        await caller.call("drop")
        await caller.call("slow", text="the release has come before this")
        assert mine.releases == before + 1


def test_what_an_answer_will_hold_can_be_passed_on(with_trio: WithTrio) -> None:
    @with_trio
    async def _(caller: Caller) -> None:
        child = caller.call("child", name="second").pipeline("child")
        back = await caller.call("callBack", {"target": child}, text="on")
        assert read("callBack", back).text == "on"
        assert await caller.seen(child) == ["on"]


def test_calls_that_come_back_keep_their_order(with_trio: WithTrio) -> None:
    @with_trio
    async def _(caller: Caller) -> None:
        answer = caller.call("same", {"probe": Hosted(caller.mine)})
        same = answer.pipeline("probe")
        calls = caller.echoes(same, 10)
        await answer
        calls += caller.echoes(same, 10, 20)
        await trio.sleep(0.01)
        calls += caller.echoes(same, 20, 30)
        assert await texts_of(calls) == numbers(30)
        assert caller.mine.log == numbers(30)


def test_calls_on_a_promise_that_becomes_ours_keep_their_order(with_trio: WithTrio) -> None:
    @with_trio
    async def _(caller: Caller) -> None:
        promised = await caller.later(Hosted(caller.mine))
        calls = caller.echoes(promised, 10)
        settled = caller.call("settle")
        for number in range(10, 100):
            calls += caller.echoes(promised, number, number + 1)
            await trio.sleep(0)
        await settled
        calls += caller.echoes(promised, 100, 110)
        assert await texts_of(calls) == numbers(110)
        assert caller.mine.log == numbers(110)


def test_calls_on_a_promise_that_becomes_theirs_keep_their_order(with_trio: WithTrio) -> None:
    @with_trio
    async def _(caller: Caller) -> None:
        child = await caller.child("second")
        promised = await caller.later(child)
        calls = caller.echoes(promised, 10)
        settled = caller.call("settle")
        for number in range(10, 100):
            calls += caller.echoes(promised, number, number + 1)
            await trio.sleep(0)
        await settled
        calls += caller.echoes(promised, 100, 110)
        assert await texts_of(calls) == numbers(110)
        assert await caller.seen(child) == numbers(110)


def test_a_promise_of_theirs_breaks(with_trio: WithTrio) -> None:
    @with_trio
    async def _(caller: Caller) -> None:
        promised = await caller.later(Hosted(caller.mine))
        before = caller.call("echo", target=promised, text="before")
        await caller.call("breakAll", reason="broken on purpose")
        with pytest.raises(RemoteError, match="broken on purpose"):
            await before
        with pytest.raises(RemoteError, match="broken on purpose"):
            await caller.call("echo", target=promised, text="after")
        assert caller.mine.log == []


def test_they_call_a_promise_that_becomes_ours(with_trio: WithTrio) -> None:
    @with_trio
    async def _(caller: Caller) -> None:
        promise = Promise()
        back = [caller.call("callBack", {"target": promise}, text=text) for text in numbers(10)]
        await caller.call("slow", text="their calls have been made")
        assert caller.mine.log == []
        caller.connection.resolve(promise, Hosted(caller.mine))
        assert await texts_of(back) == numbers(10)
        assert caller.mine.log == numbers(10)


def test_they_call_a_promise_that_becomes_theirs(with_trio: WithTrio) -> None:
    @with_trio
    async def _(caller: Caller) -> None:
        child = await caller.child("second")
        promise = Promise()
        back = [caller.call("callBack", {"target": promise}, text=text) for text in numbers(10)]
        await caller.call("slow", text="their calls have been made")
        caller.connection.resolve(promise, child)
        assert await texts_of(back) == numbers(10)
        assert await caller.seen(child) == numbers(10)


def test_a_promise_of_ours_that_they_keep_becomes_ours(with_trio: WithTrio) -> None:
    @with_trio
    async def _(caller: Caller) -> None:
        promise = Promise()
        await caller.call("keep", {"probe": promise})
        caller.connection.resolve(promise, Hosted(caller.mine))
        kept = capability("kept", "probe", await caller.call("kept"))
        assert text_of(await caller.call("echo", target=kept, text="hi")) == "hi"
        assert caller.mine.log == ["hi"]


def test_a_promise_of_ours_breaks(with_trio: WithTrio) -> None:
    @with_trio
    async def _(caller: Caller) -> None:
        promise = Promise()
        back = caller.call("callBack", {"target": promise}, text="hi")
        await caller.call("slow", text="their call has been made")
        caller.connection.resolve(promise, RemoteError("broken on purpose"))
        with pytest.raises(RemoteError, match="broken on purpose"):
            await back


def test_tail_calls(with_trio: WithTrio) -> None:
    @with_trio
    async def _(caller: Caller) -> None:
        child = await caller.child("second")
        for target in (Hosted(caller.mine), child):
            tail = await caller.call("tail", {"target": target}, text="t")
            assert read("tail", tail).text == "t"
        assert caller.mine.log == ["t"]
        assert await caller.seen(child) == ["t"]


def test_a_stream(with_trio: WithTrio) -> None:
    # More than any window has room for, so that some writes wait for others.
    texts = [f"{number} {'.' * 2000}" for number in range(200)]

    @with_trio
    async def _(caller: Caller) -> None:
        for text in texts:
            await caller.call("write", text=text)
        assert await caller.seen(caller.root) == texts


def test_a_stream_breaks(with_trio: WithTrio) -> None:
    @with_trio
    async def _(caller: Caller) -> None:
        async def write() -> None:
            for text in ("good", "bad", "more", "more"):
                await caller.call("write", text=text)
            await caller.seen(caller.root)

        with pytest.raises(RemoteError, match="a bad text was written"):
            await write()


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_errors(with_trio: WithTrio, kind: int) -> None:
    @with_trio
    async def _(caller: Caller) -> None:
        with pytest.raises(CapenvError, match="a good reason") as caught:
            await caller.call("failAs", kind=kind, reason="a good reason")
        assert type(caught.value) is KINDS[kind]
        with pytest.raises(Unimplemented):
            await caller.call("missing")
        assert text_of(await caller.call("echo", text="here")) == "here"


def test_a_canceled_call_is_canceled_there(with_trio: WithTrio) -> None:
    @with_trio
    async def _(caller: Caller) -> None:
        with trio.move_on_after(0.05):
            await caller.call("hang")
        await caller.call("slow", text="")
        assert read("counts", await caller.call("counts")).hanging == 0


def test_what_is_dropped_is_released_there_without_another_call(with_trio: WithTrio) -> None:
    @with_trio
    async def _(caller: Caller) -> None:
        child = await caller.call("child", name="second")
        before = read("counts", await caller.call("counts")).released
        del child
        while read("counts", await caller.call("counts")).released != before + 1:
            pass


def test_thirty_megabytes(with_trio: WithTrio) -> None:
    data = bytes(range(256)) * (30 * 4096)

    @with_trio
    async def _(caller: Caller) -> None:
        assert read("data", await caller.call("data", data=data)).data == data


def test_a_server_that_died_is_noticed(
    with_trio: WithTrio, process: "subprocess.Popen[str]"
) -> None:
    @with_trio
    async def _(caller: Caller) -> None:
        hanging = caller.call("hang")
        await caller.call("slow", text="")
        process.kill()
        with pytest.raises(Disconnected):
            await hanging
