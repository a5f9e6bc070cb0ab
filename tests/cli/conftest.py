"""The command line as a person or a script runs it: in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SECONDS = 60.0
"""After which a command that should have ended is taken to hang."""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def capenv(*arguments: str, warnings: str = "error") -> list[str]:
    return [sys.executable, "-W", warnings, "-m", "capenv", *arguments]


@pytest.fixture(scope="session")
def run() -> Run:
    """Run a command to its end."""

    def run(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            capenv(*arguments),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            **options,
        )

    return run


@pytest.fixture(scope="session")
def start() -> Callable[..., "subprocess.Popen[str]"]:
    """Start a command whose output is read as it comes."""

    def start(*arguments: str, warnings: str = "error") -> "subprocess.Popen[str]":
        command = capenv(*arguments, warnings=warnings)
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


@pytest.fixture(scope="session")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What `capenv serve` printed: URLs by their ids."""
    log = tmp_path_factory.mktemp("serve") / "log"
    with (
        open(log, "wb") as errors,
        subprocess.Popen(
            capenv("serve", "CartPole-v1", "FrozenLake-v1"),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as server,
    ):
        try:
            assert server.stdout is not None
            lines = [server.stdout.readline().rstrip("\n") for _ in range(2)]
            yield dict(line.split("\t") for line in lines)
        finally:
            server.terminate()


@pytest.fixture
def complaint() -> Callable[["subprocess.CompletedProcess[str]"], str]:
    """Return the one line that a failed command wrote, after a look at how it failed."""

    def complaint(ended: "subprocess.CompletedProcess[str]") -> str:
        assert ended.returncode == 1, ended
        assert ended.stdout == ""
        (line,) = ended.stderr.splitlines()
        assert line.startswith("error: ")
        return line.removeprefix("error: ")

    return complaint


@pytest.fixture
def running() -> Callable[[int], bool]:
    """Return whether a process runs, and is no mere corpse."""

    def running(number: int) -> bool:
        try:
            state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        return state != "Z" and os.path.exists(f"/proc/{number}")

    return running
