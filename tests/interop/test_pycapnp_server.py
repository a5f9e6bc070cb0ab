"""Our Trio client and our blocking client call a server of pycapnp's own C++-backed RPC."""

import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from rpc_probe import ECHO, Probe, params, text_of, text_params
from rpc_schema import PROBE

from capenv.blocking import BlockingConnection
from capenv.errors import DeadlineExceeded, Disconnected, RemoteError, Unimplemented
from capenv.link import UnixAddress
from capenv.rpc.capability import Capability, Content, Hosted
from capenv.transports import connect, connect_blocking
from capenv.vat import VatConnection

PEER = str(Path(__file__).parent / "pycapnp_probe.py")
SECONDS = 60
UNKNOWN = attrs.evolve(PROBE["missing"], id=99)
"""A method that the server's schema has not: one without an implementation fails in pycapnp's own way."""


@pytest.fixture
def process(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, PEER, "serve", str(tmp_path / "probe")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield server
        server.kill()


@pytest.fixture
def address(process: "subprocess.Popen[str]", tmp_path: Path) -> UnixAddress:
    return UnixAddress(str(tmp_path / "probe"))


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
    assert read("name", ask(blocking, child, "name")).name == "second"
    later = capability("child", "child", blocking.wait(question, SECONDS))
    assert read("name", ask(blocking, later, "name")).name == "second"


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


def test_blocking_errors(blocking: BlockingConnection) -> None:
    root = blocking.bootstrap().pipeline()
    with pytest.raises(RemoteError, match="it fell over"):
        ask(blocking, root, "fail", reason="it fell over")
    with pytest.raises(Unimplemented):
        blocking.wait(blocking.call(root, UNKNOWN, params("missing")), SECONDS)
    broken = blocking.call(root, PROBE["fail"], params("fail", reason="on the way")).pipeline(0)
    with pytest.raises(RemoteError):
        ask(blocking, broken, "name")
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
        capability("child", "child", ask(blocking, root, "child", name=str(n))) for n in range(5)
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


def with_trio(
    address: UnixAddress, test: Callable[[VatConnection, Capability], Awaitable[None]]
) -> None:
    async def run() -> None:
        with trio.fail_after(SECONDS):
            connection = VatConnection(await connect(address))
            async with trio.open_nursery() as nursery:
                await nursery.start(connection.run)
                await test(connection, connection.bootstrap().root())
                nursery.cancel_scope.cancel()
            assert connection.core.idle

    trio.run(run)


def test_calls_and_pipelines(address: UnixAddress) -> None:
    async def test(connection: VatConnection, root: Capability) -> None:
        child = connection.call(root, PROBE["child"], params("child", name="second"))
        name = connection.call(child.pipeline("child"), PROBE["name"], params("name"))
        echo = connection.call(root, ECHO, text_params("hello"))
        assert text_of(await echo) == "hello"
        assert read("name", await name).name == "second"
        later = capability("child", "child", await child)
        assert read("name", await connection.call(later, PROBE["name"], params("name"))).name == (
            "second"
        )

    with_trio(address, test)


def test_capabilities_go_there_and_back(address: UnixAddress) -> None:
    async def test(connection: VatConnection, root: Capability) -> None:
        mine = Probe("mine")
        passed: dict[str, Capability] = {"target": Hosted(mine)}
        back = connection.call(root, PROBE["callBack"], params("callBack", passed, text="hi"))
        assert read("callBack", await back).text == "hi"
        assert mine.log == ["hi"]
        await connection.call(root, PROBE["keep"], params("keep", {"probe": Hosted(mine)}))
        kept = await connection.call(root, PROBE["kept"], params("kept"))
        assert isinstance(capability("kept", "probe", kept), Hosted)
        before = mine.releases
        await connection.call(root, PROBE["drop"], params("drop"))
        await connection.call(root, PROBE["slow"], params("slow", text=""))
        assert mine.releases == before + 1

    with_trio(address, test)


def test_a_canceled_call_is_canceled_there(address: UnixAddress) -> None:
    async def test(connection: VatConnection, root: Capability) -> None:
        with trio.move_on_after(0.05):
            await connection.call(root, PROBE["hang"], params("hang"))
        await connection.call(root, PROBE["slow"], params("slow", text=""))
        counts = await connection.call(root, PROBE["counts"], params("counts"))
        assert read("counts", counts).hanging == 0

    with_trio(address, test)


def test_errors(address: UnixAddress) -> None:
    async def test(connection: VatConnection, root: Capability) -> None:
        with pytest.raises(RemoteError, match="it fell over"):
            await connection.call(root, PROBE["fail"], params("fail", reason="it fell over"))
        with pytest.raises(Unimplemented):
            await connection.call(root, UNKNOWN, params("missing"))
        assert text_of(await connection.call(root, ECHO, text_params("here"))) == "here"

    with_trio(address, test)


def test_what_is_dropped_is_released_there_without_another_call(address: UnixAddress) -> None:
    async def test(connection: VatConnection, root: Capability) -> None:
        child = await connection.call(root, PROBE["child"], params("child", name="second"))
        counts = await connection.call(root, PROBE["counts"], params("counts"))
        before = read("counts", counts).released
        del child
        while read("counts", counts).released != before + 1:
            counts = await connection.call(root, PROBE["counts"], params("counts"))

    with_trio(address, test)


def test_thirty_megabytes(address: UnixAddress) -> None:
    data = bytes(range(256)) * (30 * 4096)

    async def test(connection: VatConnection, root: Capability) -> None:
        content = await connection.call(root, PROBE["data"], params("data", data=data))
        assert read("data", content).data == data

    with_trio(address, test)


def test_a_server_that_died_is_noticed(
    address: UnixAddress, process: "subprocess.Popen[str]"
) -> None:
    async def test(connection: VatConnection, root: Capability) -> None:
        hanging = connection.call(root, PROBE["hang"], params("hang"))
        await connection.call(root, PROBE["slow"], params("slow", text=""))
        process.kill()
        with pytest.raises(Disconnected):
            await hanging

    with_trio(address, test)
