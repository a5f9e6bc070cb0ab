"""Ctrl-C in the middle of a step, and agents killed there: the next answer is that of the next question."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from errors_process import HERE, SECONDS, Gate, HostProcess

import capenv


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    with contextlib.closing(Gate(tmp_path / "gate")) as gate:
        yield gate


@contextlib.contextmanager
def agent(*arguments: str) -> "Iterator[subprocess.Popen[str]]":
    """Run one of the scripts in `errors_interrupted.py`."""
    command = [sys.executable, "-W", "error", str(HERE / "errors_interrupted.py"), *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        # One that hangs is killed, and then says nothing.
        watchdog = threading.Timer(SECONDS, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.kill()


def heard(process: "subprocess.Popen[str]") -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def test_the_step_after_an_interrupted_one_gets_its_own_answer(
    host: HostProcess, gate: Gate
) -> None:
    with agent("once", host.urls["Numbered"], gate.path) as process:
        gate.wait_entered()
        process.send_signal(signal.SIGINT)
        assert heard(process) == ["interrupted"]
        for _ in range(3):
            gate.let_go()
        assert heard(process) == [2, 9], "the interrupted step was made, and its answer is nobody's"
        assert heard(process) == [3, 11]
        _, errors = process.communicate(timeout=SECONDS)
        assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize("seed", ["1", "2"])
def test_interrupts_at_random_instants(host: HostProcess, seed: str) -> None:
    rounds = 400
    with agent("soak", host.urls["Numbered"], str(rounds), seed) as process:
        output, errors = process.communicate(timeout=SECONDS)
    assert errors == ""
    (counts,) = json.loads(output)
    assert counts["steps"] == rounds
    assert counts["wrong"] == 0
    assert counts["interrupted"] > rounds // 10
    assert counts["disconnected"] == 0


def test_an_agent_killed_in_the_middle_of_a_step_leaves_nothing_behind(
    host: HostProcess, gate: Gate, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    with agent("hang", host.urls["Numbered"], gate.path, str(closed)) as process:
        gate.wait_entered()
        process.kill()
        process.wait(SECONDS)
    gate.let_go()
    # The host answers others as soon as the step is over, and by then has noticed, or soon will.
    deadline = time.monotonic() + SECONDS
    while not closed.exists():
        assert time.monotonic() < deadline, "the host keeps the world of the dead"
        capenv.make(host.urls["Numbered"]).close()
    assert closed.read_text() in ("", "closed")
