"""Cap'n Proto's own C++ RPC plays our Trio server, and our clients play its server.

Its peer is built from `cpp/`, which needs a compiler and Cap'n Proto's headers (Debian: g++, capnproto,
libcapnp-dev, pkg-config). Where they are absent the tests are skipped, or with CAPENV_REQUIRE_CPP set fail.
"""

import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from rpc_probe import ECHO, KINDS, Probe, params, text_of, text_params
from rpc_schema import PROBE

from capenv.blocking import BlockingConnection
from capenv.errors import CapenvError, DeadlineExceeded, Disconnected, RemoteError, Unimplemented
from capenv.link import UnixAddress
from capenv.rpc.capability import Capability, Content, Hosted, Promise
from capenv.transports import connect, connect_blocking, listen
from capenv.vat_connection import Response, VatConnection

CPP = Path(__file__).parent / "cpp"
SECONDS = 60
SCENARIOS = (
    "echo",
    "name",
    "pipelines",
    "call-back",
    "call-back-answer",
    "call-back-promise",
    "keep",
    "same-in-order",
    "later-in-order",
    "later-ours",
    "later-theirs",
    "break-all",
    "tail-ours",
    "tail-theirs",
    "tail-fails",
    "cancel",
    "fail-as",
    "missing",
    "stream",
    "stream-breaks",
    "much-data",
    "release",
    "cut-off",
)


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program, built from its source."""
    lacking = [tool for tool in ("capnp", "g++", "pkg-config") if shutil.which(tool) is None]
    if not lacking and subprocess.run(["pkg-config", "--exists", "capnp-rpc"]).returncode:
        lacking = ["the headers of capnp-rpc"]
    if lacking:
        reason = f"the C++ peer cannot be built without {' and '.join(lacking)}"
        if os.environ.get("CAPENV_REQUIRE_CPP"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("cpp")
    built = subprocess.run([str(CPP / "build"), str(folder)], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return str(folder / "probe_peer")


@pytest.fixture
def process(peer: str, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """The C++ server."""
    command = [peer, "serve", str(tmp_path / "probe")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield server
        server.kill()


@pytest.fixture
def address(process: "subprocess.Popen[str]", tmp_path: Path) -> UnixAddress:
    return UnixAddress(str(tmp_path / "probe"))


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


# The peer itself.


def test_every_scenario_is_played(peer: str) -> None:
    told = subprocess.run([peer, "scenarios"], capture_output=True, text=True)
    assert tuple(told.stdout.split()) == SCENARIOS


def test_it_plays_with_itself(peer: str, address: UnixAddress) -> None:
    told = subprocess.run(
        [peer, "play", address.path], capture_output=True, text=True, timeout=SECONDS
    )
    expected = [f"ok {scenario}" for scenario in SCENARIOS if scenario != "cut-off"]
    assert told.stdout.splitlines() == expected
    assert told.returncode == 0


# Its client plays our Trio server.


async def play(peer: str, address: UnixAddress, scenario: str, probe: Probe) -> list[str]:
    """Serve one caller that plays a scenario; return the lines that it prints."""
    async with listen(address) as listener, trio.open_nursery() as nursery:
        connections: list[VatConnection] = []
        ended = trio.Event()

        async def handle(link: Any) -> None:
            probe.connection = VatConnection(link, probe)
            connections.append(probe.connection)
            await probe.connection.run()
            ended.set()

        nursery.start_soon(listener.serve, handle)
        caller = await trio.lowlevel.open_process(
            [peer, "play", address.path, scenario], stdout=subprocess.PIPE
        )
        assert caller.stdout is not None
        told = b""
        async with caller.stdout:
            async for chunk in caller.stdout:
                told += chunk
                if told == b"hanging\n":
                    connections[0].close(Disconnected("closing time"))
        await caller.wait()
        await ended.wait()
        nursery.cancel_scope.cancel()
    assert [connection.core.idle for connection in connections] == [True]
    return told.decode().splitlines()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_it_plays_our_server(peer: str, tmp_path: Path, scenario: str) -> None:
    probe = Probe()

    async def run() -> list[str]:
        with trio.fail_after(SECONDS):
            return await play(peer, UnixAddress(str(tmp_path / "ours")), scenario, probe)

    lines = trio.run(run)
    assert lines == (["hanging"] if scenario == "cut-off" else []) + [f"ok {scenario}"]
    assert probe.hanging == 0
    assert probe.releases == 1
    assert [child.releases for child in probe.children] == [1] * len(probe.children)


# Our clients play its server.


def read(method: str, content: Content) -> Any:
    return PROBE[method].results.read(content.segments)


def capability(method: str, name: str, content: Content) -> Capability:
    found = PROBE[method].results.capability(content, name)
    assert found is not None
    return found


# The blocking client.


@pytest.fixture
def blocking(address: UnixAddress) -> Iterator[BlockingConnection]:
    connection = BlockingConnection(connect_blocking(address))
    yield connection
    connection.close()
    assert connection.core.idle


def ask(
    connection: BlockingConnection,
    target: Capability,
    method: str,
    capabilities: dict[str, Capability] | None = None,
    **fields: Any,
) -> Content:
    question = connection.call(target, PROBE[method], params(method, capabilities, **fields))
    return connection.wait(question, SECONDS)


def test_blocking_calls_and_pipelines(blocking: BlockingConnection) -> None:
    root = blocking.bootstrap().pipeline()
    assert read("echo", ask(blocking, root, "echo", text="hello")).text == "hello"
    question = blocking.call(root, PROBE["child"], params("child", name="second"))
    child = question.pipeline(PROBE["child"].results.slot("child"))
    inner = blocking.call(child, PROBE["child"], params("child", name="third"))
    third = inner.pipeline(PROBE["child"].results.slot("child"))
    assert read("name", ask(blocking, third, "name")).name == "third"
    second = capability("child", "child", blocking.wait(question, SECONDS))
    assert read("name", ask(blocking, second, "name")).name == "second"


def test_blocking_capabilities_go_there_and_back(blocking: BlockingConnection) -> None:
    root, mine = blocking.bootstrap().pipeline(), Probe("mine")
    passed: dict[str, Capability] = {"target": Hosted(mine)}
    assert read("callBack", ask(blocking, root, "callBack", passed, text="hi")).text == "hi"
    assert mine.log == ["hi"]
    ask(blocking, root, "keep", {"probe": Hosted(mine)})
    kept = capability("kept", "probe", ask(blocking, root, "kept"))
    assert isinstance(kept, Hosted)
    assert kept.servant is mine
    before = mine.releases
    ask(blocking, root, "drop")
    ask(blocking, root, "slow", text="the release has come before this")
    assert mine.releases == before + 1


def test_blocking_calls_that_come_back_keep_their_order(blocking: BlockingConnection) -> None:
    root, mine = blocking.bootstrap().pipeline(), Probe("mine")
    question = blocking.call(root, PROBE["same"], params("same", {"probe": Hosted(mine)}))
    same = question.pipeline(PROBE["same"].results.slot("probe"))
    calls = [blocking.call(same, ECHO, text_params(text)) for text in numbers(10)]
    blocking.wait(question, SECONDS)
    calls += [blocking.call(same, ECHO, text_params(text)) for text in numbers(20)[10:]]
    assert [text_of(blocking.wait(call, SECONDS)) for call in calls] == numbers(20)
    assert mine.log == numbers(20)


def test_blocking_calls_on_a_promise_keep_their_order(blocking: BlockingConnection) -> None:
    root, mine = blocking.bootstrap().pipeline(), Probe("mine")
    promised = capability("later", "probe", ask(blocking, root, "later", {"probe": Hosted(mine)}))
    calls = [blocking.call(promised, ECHO, text_params(text)) for text in numbers(10)]
    settled = blocking.call(root, PROBE["settle"], params("settle"))
    calls += [blocking.call(promised, ECHO, text_params(text)) for text in numbers(20)[10:]]
    blocking.wait(settled, SECONDS)
    calls += [blocking.call(promised, ECHO, text_params(text)) for text in numbers(30)[20:]]
    assert [text_of(blocking.wait(call, SECONDS)) for call in calls] == numbers(30)
    assert mine.log == numbers(30)


def test_a_promise_breaks_for_the_blocking(blocking: BlockingConnection) -> None:
    root = blocking.bootstrap().pipeline()
    passed: dict[str, Capability] = {"probe": Hosted(Probe("mine"))}
    promised = capability("later", "probe", ask(blocking, root, "later", passed))
    before = blocking.call(promised, ECHO, text_params("before"))
    ask(blocking, root, "breakAll", reason="broken on purpose")
    with pytest.raises(RemoteError, match="broken on purpose"):
        blocking.wait(before, SECONDS)
    with pytest.raises(RemoteError, match="broken on purpose"):
        ask(blocking, promised, "echo", text="after")


def test_blocking_tail_calls(blocking: BlockingConnection) -> None:
    root, mine = blocking.bootstrap().pipeline(), Probe("mine")
    child = capability("child", "child", ask(blocking, root, "child", name="second"))
    for target in (Hosted(mine), child):
        assert read("tail", ask(blocking, root, "tail", {"target": target}, text="t")).text == "t"
    assert mine.log == ["t"]
    assert list(read("seen", ask(blocking, child, "seen")).texts) == ["t"]


def test_a_blocking_stream(blocking: BlockingConnection) -> None:
    root = blocking.bootstrap().pipeline()
    writes = [
        blocking.call(root, PROBE["write"], params("write", text=text)) for text in numbers(200)
    ]
    assert list(read("seen", ask(blocking, root, "seen")).texts) == numbers(200)
    for write in writes:
        blocking.wait(write, SECONDS)


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_blocking_errors(blocking: BlockingConnection, kind: int) -> None:
    root = blocking.bootstrap().pipeline()
    with pytest.raises(CapenvError, match="a good reason") as caught:
        ask(blocking, root, "failAs", kind=kind, reason="a good reason")
    assert type(caught.value) is KINDS[kind]
    with pytest.raises(Unimplemented):
        ask(blocking, root, "missing")
    assert read("echo", ask(blocking, root, "echo", text="still there")).text == "still there"


def test_a_blocking_deadline_cancels(blocking: BlockingConnection) -> None:
    root = blocking.bootstrap().pipeline()
    question = blocking.call(root, PROBE["hang"], params("hang"))
    with pytest.raises(DeadlineExceeded):
        blocking.wait(question, 0.05)
    ask(blocking, root, "slow", text="")
    assert read("counts", ask(blocking, root, "counts")).hanging == 0


def test_blocking_objects_are_released(blocking: BlockingConnection) -> None:
    root = blocking.bootstrap().pipeline()
    children = [
        capability("child", "child", ask(blocking, root, "child", name=name)) for name in numbers(5)
    ]
    before = read("counts", ask(blocking, root, "counts")).released
    del children
    ask(blocking, root, "slow", text="")
    assert read("counts", ask(blocking, root, "counts")).released == before + 5


def test_blocking_thirty_megabytes(blocking: BlockingConnection) -> None:
    data = bytes(range(256)) * (30 * 4096)
    root = blocking.bootstrap().pipeline()
    assert read("data", ask(blocking, root, "data", data=data)).data == data


def test_a_blocking_client_notices_that_the_server_died(
    blocking: BlockingConnection, process: "subprocess.Popen[str]"
) -> None:
    root = blocking.bootstrap().pipeline()
    ask(blocking, root, "echo", text="hello")
    process.kill()
    with pytest.raises(Disconnected):
        ask(blocking, root, "hang")


# The Trio client.


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
