"""Our Trio client and our blocking client call a server of pycapnp's own C++-backed RPC."""

import subprocess

import attrs
import pytest
import trio
from pycapnp_peers import MEGABYTES, SECONDS, Caller, ask, capability, read, with_trio
from pycapnp_probe import Probe as PycapnpProbe
from rpc_probe import Probe, params, text_of
from rpc_schema import PROBE

from capenv.blocking import BlockingConnection
from capenv.errors import DeadlineExceeded, Disconnected, RemoteError, Unimplemented
from capenv.link import UnixAddress
from capenv.rpc.capability import Capability, Hosted

UNKNOWN = attrs.evolve(PROBE["missing"], id=99)
"""A method that the server's schema has not: one without an implementation fails in pycapnp's own way."""


def test_it_has_every_method_but_one() -> None:
    assert {name for name in PROBE.methods if not hasattr(PycapnpProbe, name)} == {"missing"}


# The blocking client.


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
    root = blocking.bootstrap().pipeline()
    assert read("data", ask(blocking, root, "data", data=MEGABYTES)).data == MEGABYTES


def test_a_blocking_client_notices_that_the_server_died(
    blocking: BlockingConnection, process: "subprocess.Popen[str]"
) -> None:
    root = blocking.bootstrap().pipeline()
    ask(blocking, root, "echo", text="hello")
    process.kill()
    with pytest.raises(Disconnected):
        ask(blocking, root, "hang")


# The Trio client.


def test_calls_and_pipelines(address: UnixAddress) -> None:
    async def test(caller: Caller) -> None:
        child = caller.call(caller.root, "child", name="second")
        name = caller.call(child.pipeline("child"), "name")
        assert text_of(await caller.call(caller.root, "echo", text="hello")) == "hello"
        assert read("name", await name).name == "second"
        later = capability("child", "child", await child)
        assert read("name", await caller.call(later, "name")).name == "second"

    with_trio(address, test)


def test_capabilities_go_there_and_back(address: UnixAddress) -> None:
    async def test(caller: Caller) -> None:
        mine = Probe("mine")
        back = caller.call(caller.root, "callBack", {"target": Hosted(mine)}, text="hi")
        assert read("callBack", await back).text == "hi"
        assert mine.log == ["hi"]
        await caller.call(caller.root, "keep", {"probe": Hosted(mine)})
        kept = await caller.call(caller.root, "kept")
        assert isinstance(capability("kept", "probe", kept), Hosted)
        before = mine.releases
        await caller.call(caller.root, "drop")
        await caller.there_and_back()
        assert mine.releases == before + 1

    with_trio(address, test)


def test_a_canceled_call_is_canceled_there(address: UnixAddress) -> None:
    async def test(caller: Caller) -> None:
        with trio.move_on_after(0.05):
            await caller.call(caller.root, "hang")
        await caller.there_and_back()
        assert read("counts", await caller.call(caller.root, "counts")).hanging == 0

    with_trio(address, test)


def test_errors(address: UnixAddress) -> None:
    async def test(caller: Caller) -> None:
        with pytest.raises(RemoteError, match="it fell over"):
            await caller.call(caller.root, "fail", reason="it fell over")
        with pytest.raises(Unimplemented):
            await caller.connection.call(caller.root, UNKNOWN, params("missing"))
        assert text_of(await caller.call(caller.root, "echo", text="here")) == "here"

    with_trio(address, test)


def test_what_is_dropped_is_released_there_without_another_call(address: UnixAddress) -> None:
    async def test(caller: Caller) -> None:
        child = await caller.child("second")
        counts = await caller.call(caller.root, "counts")
        before = read("counts", counts).released
        del child
        while read("counts", counts).released != before + 1:
            counts = await caller.call(caller.root, "counts")

    with_trio(address, test)


def test_thirty_megabytes(address: UnixAddress) -> None:
    async def test(caller: Caller) -> None:
        content = await caller.call(caller.root, "data", data=MEGABYTES)
        assert read("data", content).data == MEGABYTES

    with_trio(address, test)


def test_a_server_that_died_is_noticed(
    address: UnixAddress, process: "subprocess.Popen[str]"
) -> None:
    async def test(caller: Caller) -> None:
        hanging = caller.call(caller.root, "hang")
        await caller.there_and_back()
        process.kill()
        with pytest.raises(Disconnected):
            await hanging

    with_trio(address, test)
