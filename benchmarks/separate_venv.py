"""Virtual environments for the contenders whose dependencies may clash with capenv's."""

import importlib.metadata
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_BUILD = Path(__file__).parents[1] / "build"
# The environments themselves, as they are here.
_SAME = [f"{name}=={importlib.metadata.version(name)}" for name in ("gymnasium", "numpy")]


class SeparateVenv:
    """A virtual environment that is set up when it is first asked for."""

    def __init__(self, name: str, requirements: Sequence[str]) -> None:
        self._path = _BUILD / name
        self._python = str(self._path / "bin" / "python")
        self._requirements = [*requirements, *_SAME]
        self._failure: str | None = None

    def python(self) -> str:
        """Return its Python; the first time, set it up from the package index.

        Raises:
            OSError: that failed. It is tried once per run.
        """
        ready = self._path / ".ready"
        if self._failure is None and not (
            ready.exists() and ready.read_text().split() == self._requirements
        ):
            print(f"setting up {self._path} (once; a minute or two)", file=sys.stderr)
            self._failure = self._set_up()
            if self._failure is None:
                ready.write_text("\n".join(self._requirements))
        if self._failure is not None:
            raise OSError(self._failure)
        return self._python

    def _set_up(self) -> str | None:
        """Return why it failed."""
        create = [sys.executable, "-m", "venv", "--clear", str(self._path)]
        pip = [self._python, "-m", "pip", "install", "--disable-pip-version-check"]
        for command in (create, [*pip, *self._requirements]):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                output = (done.stderr or done.stdout).strip()
                return output.rpartition("\n")[2] or f"{command[0]} failed"
        return None


RPC = SeparateVenv("benchmark-venv", ["dm-env-rpc", "grpcio", "websockets"])
ENVPOOL = SeparateVenv("benchmark-venv-envpool", ["envpool"])
