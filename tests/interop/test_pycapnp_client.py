"""pycapnp's own C++-backed RPC calls our Trio server."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from rpc_probe import Probe

from capenv.errors import Disconnected
from capenv.link import UnixAddress
from capenv.transports import listen
from capenv.vat import VatConnection

PEER = str(Path(__file__).parent / "pycapnp_probe.py")


class Served:
    """A probe that one caller is served, and what became of it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.probe = Probe()
        self.connection: VatConnection | None = None

    def run(self, scenario: str, on_line: Callable[[str], None] = lambda line: None) -> Any:
        """Serve one caller that does this; return what it says of it at last."""
        return trio.run(self._run, scenario, on_line)

    async def _run(self, scenario: str, on_line: Callable[[str], None]) -> Any:
        with trio.fail_after(60):
            async with listen(UnixAddress(self.path)) as listener, trio.open_nursery() as nursery:
                ended = trio.Event()

                async def handle(link: Any) -> None:
                    self.connection = self.probe.connection = VatConnection(link, self.probe)
                    await self.connection.run()
                    ended.set()

                nursery.start_soon(listener.serve, handle)
                caller = await trio.lowlevel.open_process(
                    [sys.executable, PEER, "call", self.path, scenario],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
                assert caller.stdout is not None
                assert caller.stderr is not None
                told, errors = b"", b""

                async def listen_to_errors() -> None:
                    nonlocal errors
                    async for chunk in caller.stderr:
                        errors += chunk

                nursery.start_soon(listen_to_errors)
                async with caller.stdout:
                    async for chunk in caller.stdout:
                        told += chunk
                        on_line(chunk.decode())
                await caller.wait()
                await ended.wait()
                nursery.cancel_scope.cancel()
        assert caller.returncode == 0, errors.decode()
        assert self.connection is not None
        assert self.connection.core.idle
        return json.loads(told.splitlines()[-1])


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(str(tmp_path / "probe"))


def test_calls_and_pipelines(served: Served) -> None:
    assert served.run("basics") == ["hello", "second", "third"]


def test_calls_start_in_their_order(served: Served) -> None:
    expected = [str(number) for number in range(40)]
    assert served.run("order") == expected
    assert served.probe.log == expected


def test_a_capability_of_the_caller_is_called_back_and_returned_and_released(
    served: Served,
) -> None:
    assert served.run("callbacks") == ["back", "mine", ["back"], 0, 1]


def test_errors(served: Served) -> None:
    fell, secret, missing, still = served.run("errors")
    assert "EnvironmentFailed: it fell over" in fell[1]
    assert "ValueError" in secret[1]
    assert "swordfish" not in secret[1]
    assert missing[0] == "UNIMPLEMENTED"
    assert still == "still there"


def test_a_canceled_call_stops_its_handler(served: Served) -> None:
    assert served.run("cancels") == [1, 0]


def test_objects_are_released_when_the_caller_drops_them(served: Served) -> None:
    assert served.run("releases") == ["0", "1", "2", "3", "4"]
    assert [child.releases for child in served.probe.children] == [1] * 5


def test_thirty_megabytes_there_and_back(served: Served) -> None:
    assert served.run("data") == [30 << 20, True]


def test_the_caller_learns_why_we_close(served: Served) -> None:
    def close(line: str) -> None:
        if line.strip() == "hanging":
            assert served.connection is not None
            served.connection.close(Disconnected("closing time"))

    kind, reason = served.run("disconnect", close)
    assert kind == "DISCONNECTED"
    assert "closing time" in reason
    assert served.probe.hanging == 0


def test_a_caller_that_leaves_leaves_nothing_behind(served: Served) -> None:
    assert served.run("leave") == "left"
    assert served.probe.hanging == 0
    assert served.probe.releases == 1
