"""A small share of the fuzzing, and that it would notice."""

import os
import subprocess
import sys
from pathlib import Path

import fuzz_bounds
import fuzz_corpus
import fuzz_receive
import pytest

from capenv.errors import ProtocolError
from capenv.remote.servants import SessionServant
from capenv.rpc import decoding, pointers
from capenv.rpc.connection import Connection
from capenv.rpc.pointers import Segments, Struct, Target

PROGRAM = Path(fuzz_receive.__file__)


@pytest.fixture(autouse=True)
def _recorded() -> None:
    """Record the conversations before any fault is put in."""
    fuzz_corpus.flows()


def failing(tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int = 1) -> str:
    """Run until something is found; return what was said."""
    arguments = ["--messages", "3000", "--seed", str(seed), "--reports", str(tmp_path)]
    assert fuzz_receive.main(arguments) == 1
    return capsys.readouterr().err


def test_nothing_breaks(tmp_path: Path) -> None:
    # In a process of its own: what aborts one must not take the other tests along.
    ended = subprocess.run(
        [sys.executable, str(PROGRAM), "--messages", "5000", "--reports", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "mutated messages" in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_it_is_the_same_each_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for _ in range(2):
        assert fuzz_receive.main(["--messages", "500", "--reports", str(tmp_path)]) == 0
        said.append(capsys.readouterr().out.splitlines()[2:5])
    assert said[0] == said[1]


def test_a_missing_bounds_check_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    follow = pointers.follow

    def careless(segments: Segments, segment: int, word: int) -> Target:
        try:
            return follow(segments, segment, word)
        except ProtocolError as error:
            if "a struct lies outside" not in str(error):
                raise
            return Struct(segments, segment, len(segments[segment]) >> 3, 9, 9)

    monkeypatch.setattr(pointers, "follow", careless)
    monkeypatch.setattr(decoding, "follow", careless)
    said = failing(tmp_path, capsys)
    assert "FAILED: connection" in said
    assert "error: unpack_from requires a buffer" in said


def test_a_failure_is_played_again_by_its_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise LookupError("a fault that was put in")

    monkeypatch.setattr(SessionServant, "step", broken)
    said = failing(tmp_path, capsys)
    assert "LookupError: a fault that was put in" in said
    (report,) = tmp_path.glob("failure-*.txt")
    lines = report.read_text().splitlines()
    arguments = lines[0].split()[2:]
    assert "LookupError: a fault that was put in" in lines
    assert fuzz_receive.main([*arguments, "--reports", str(tmp_path)]) == 1
    monkeypatch.undo()
    assert fuzz_receive.main([*arguments, "--reports", str(tmp_path)]) == 0


def test_a_hang_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def spin(_: Connection) -> None:
        while True:
            pass

    monkeypatch.setattr(fuzz_bounds, "MESSAGE_SECONDS", 0.1)
    monkeypatch.setattr(Connection, "next_event", spin)
    assert "HangError" in failing(tmp_path, capsys)


def test_an_unbounded_table_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = Connection.receive

    def hoarding(self: Connection, segments: Segments) -> None:
        receive(self, segments)
        self.__dict__.setdefault("hoard", []).extend([segments] * 50)

    monkeypatch.setattr(Connection, "receive", hoarding)
    assert "connection.hoard holds" in failing(tmp_path, capsys)
