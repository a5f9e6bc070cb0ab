"""What fails, and what ends in the midst of calls, with pycapnp's own C++-backed RPC."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from pycapnp_peers import (
    CAPENV,
    PYCAPNP,
    SECONDS,
    Caller,
    Failing,
    Served,
    capability,
    connected,
    read,
    running,
    with_trio,
)
from rpc_probe import KINDS, Probe

from capenv.errors import Disconnected, EnvironmentFailed, RemoteError
from capenv.link import UnixAddress
from capenv.rpc.capability import Hosted


@pytest.fixture
def ours(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A server of ours in a process of its own."""
    with running(CAPENV, "serve", str(tmp_path / "ours"), says="ready") as server:
        yield server


# The kinds of exceptions.


def test_the_caller_learns_the_kind(served: Served) -> None:
    told = served.run("kinds")
    assert [kind for kind, _ in told] == ["FAILED", "OVERLOADED", "DISCONNECTED", "UNIMPLEMENTED"]
    for number, (_, reason) in enumerate(told):
        assert f"reason {number}" in reason


def test_a_server_of_pycapnp_knows_but_one_kind(address: UnixAddress) -> None:
    async def test(caller: Caller) -> None:
        for number in range(len(KINDS)):
            with pytest.raises(RemoteError, match=f"^reason {number}$") as caught:
                await caller.call(caller.root, "failAs", kind=number, reason=f"reason {number}")
            assert type(caught.value) is RemoteError

    with_trio(address, test)


def test_a_server_of_pycapnp_passes_every_kind_on(address: UnixAddress) -> None:
    async def test(caller: Caller) -> None:
        await caller.call(caller.root, "keep", {"probe": Hosted(Probe("mine"))})
        async with connected(address) as other:
            kept = other.call(other.root, "kept").pipeline("probe")
            for number, kind in enumerate(KINDS):
                with pytest.raises(kind, match=f"reason {number}") as caught:
                    await other.call(kept, "failAs", kind=number, reason=f"reason {number}")
                assert type(caught.value) is kind

    with_trio(address, test)


def test_an_object_of_ours_fails_where_pycapnp_calls_it(address: UnixAddress) -> None:
    async def test(caller: Caller) -> None:
        target = Hosted(Failing("mine"))
        with pytest.raises(EnvironmentFailed, match=r"^it went boom$"):
            await caller.call(caller.root, "callBack", {"target": target}, text="boom")

    with_trio(address, test)


def test_an_object_of_the_caller_fails_where_we_call_it(served: Served) -> None:
    kind, reason = served.run("callback_fails")
    assert kind == "FAILED"
    assert "it went boom" in reason


# A process is killed in the midst of calls.


def test_the_server_is_killed_with_a_promise_unsettled(
    address: UnixAddress, process: "subprocess.Popen[str]"
) -> None:
    async def test(caller: Caller) -> None:
        mine = Probe("mine")
        await caller.call(caller.root, "keep", {"probe": Hosted(mine)})
        later = await caller.call(caller.root, "later", {"probe": Hosted(mine)})
        promise = capability("later", "probe", later)
        (waiting,) = caller.echo(promise, range(1))
        streaming = caller.call(caller.root, "write", text="in flight")
        same = caller.call(caller.root, "same", {"probe": Hosted(mine)}).pipeline("probe")
        hanging = caller.call(same, "hang")
        await caller.until(lambda: mine.hanging == 1)
        process.kill()
        for call in (waiting, hanging, caller.call(promise, "name")):
            with pytest.raises(Disconnected):
                await call
        try:
            await streaming  # it may have been answered, or not be waited for
        except Disconnected:
            pass
        assert mine.log == []
        while mine.hanging or not mine.releases:
            await trio.lowlevel.checkpoint()

    with_trio(address, test)


def test_a_caller_of_ours_is_killed(address: UnixAddress) -> None:
    async def counts(caller: Caller) -> tuple[int, int]:
        found = read("counts", await caller.call(caller.root, "counts"))
        return found.hanging, found.released

    async def test(caller: Caller) -> None:
        with running(CAPENV, "hang", address.path, says="hanging"):
            hanging, before = await counts(caller)
            assert hanging == 1
        while await counts(caller) != (0, before + 1):  # its child is released
            pass
        # What it had given away is broken for those who still hold it.
        kept = caller.call(caller.root, "kept").pipeline("probe")
        with pytest.raises(Disconnected):
            await caller.call(kept, "name")

    with_trio(address, test)


def test_a_caller_of_pycapnp_is_killed(served: Served) -> None:
    told: list[tuple[str, int]] = []
    served.run_until_killed("hang", lambda line: told.append((line, served.probe.hanging)))
    assert told == [("hanging", 1)]
    assert served.probe.hanging == 0
    assert served.probe.releases == 1


@pytest.mark.parametrize("scenario", ["disconnect", "promised_disconnect"])
def test_a_server_of_ours_is_killed(
    ours: "subprocess.Popen[str]", tmp_path: Path, scenario: str
) -> None:
    path = str(tmp_path / "ours")
    with running(PYCAPNP, "call", path, scenario, says="hanging") as caller:
        ours.kill()
        told, _ = caller.communicate(timeout=SECONDS)
    assert caller.returncode == 0
    assert "DISCONNECTED" in told
    assert "FAILED" not in told
