"""Hosts and other peers in processes of their own."""

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

SECONDS = 30.0
"""After which something that should have happened is taken to hang."""
HERE = Path(__file__).parent


class HostProcess:
    """`errors_environments.py` in a process, its log in a file."""

    def __init__(self, directory: Path, listen: str | None = None) -> None:
        self.directory = directory
        self.log_path = directory / "log"
        command = [sys.executable, "-W", "error", str(HERE / "errors_environments.py")]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                command + ([listen] if listen else []),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        line = self._line()
        if not line:
            self.__exit__(None, None, None)
            raise RuntimeError(self.log)
        self.urls: dict[str, str] = json.loads(line)

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def destroy_world(self) -> None:
        """Have the host destroy the world that has a URL."""
        assert self.process.stdin is not None
        self.process.stdin.write("d")
        self.process.stdin.flush()
        assert self._line() == "destroyed\n"

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


class Gate:
    """Where a `Numbered` environment waits in its steps until it is let go on."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.path = str(directory)
        for name in ("entered", "leave"):
            os.mkfifo(directory / name)
        # Both ends of both, so that nobody waits in open, and no end is seen between two bytes.
        self._entered = os.open(directory / "entered", os.O_RDWR)
        self._leave = os.open(directory / "leave", os.O_RDWR)

    def wait_entered(self) -> None:
        """Wait until a step waits here."""
        assert select.select([self._entered], [], [], SECONDS)[0], "no step came"
        assert os.read(self._entered, 1) == b"."

    def let_go(self) -> None:
        """Let one step go on: the one that waits, or the next to come."""
        os.write(self._leave, b".")

    def close(self) -> None:
        os.close(self._entered)
        os.close(self._leave)
