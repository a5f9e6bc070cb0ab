"""Our blocking client plays Cap'n Proto's own C++ server."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from cpp_probe import SECONDS, capability, numbers, read
from rpc_probe import ECHO, KINDS, Probe, params, text_of, text_params
from rpc_schema import PROBE

from capenv.blocking import BlockingConnection
from capenv.errors import CapenvError, DeadlineExceeded, Disconnected, RemoteError, Unimplemented
from capenv.link import UnixAddress
from capenv.rpc.capability import Capability, Content, Hosted
from capenv.transports import connect_blocking


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
