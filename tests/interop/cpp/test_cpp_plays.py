"""Cap'n Proto's own C++ client plays our Trio server, and its own."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio
from cpp_probe import SECONDS
from rpc_probe import Probe

from capenv.errors import Disconnected
from capenv.link import UnixAddress
from capenv.transports import listen
from capenv.vat_connection import VatConnection

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
