"""A virtual environment for the contenders whose dependencies may clash with capenv's."""

import functools
import importlib.metadata
import subprocess
import sys
from pathlib import Path

_PATH = Path(__file__).parents[1] / "build" / "benchmark-venv"
_PYTHON = _PATH / "bin" / "python"
_READY = _PATH / ".ready"
_REQUIREMENTS = [
    "dm-env-rpc",
    "grpcio",
    # The environments themselves, as they are here.
    *(f"{name}=={importlib.metadata.version(name)}" for name in ("gymnasium", "numpy")),
]


def python() -> str:
    """Return the virtual environment's Python; the first time, set it up from the package index.

    Raises:
        OSError: that failed.
    """
    if (failure := _set_up()) is not None:
        raise OSError(failure)
    return str(_PYTHON)


@functools.cache
def _set_up() -> str | None:
    """Set it up, unless that is done; return why it failed. It is tried once per run."""
    if _READY.exists() and _READY.read_text().split() == _REQUIREMENTS:
        return None
    print(f"setting up {_PATH} (once; a minute or two)", file=sys.stderr)
    pip = [str(_PYTHON), "-m", "pip", "install", "--disable-pip-version-check"]
    for command in ([sys.executable, "-m", "venv", "--clear", str(_PATH)], [*pip, *_REQUIREMENTS]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            output = (done.stderr or done.stdout).strip()
            return output.rpartition("\n")[2] or f"{command[0]} failed"
    _READY.write_text("\n".join(_REQUIREMENTS))
    return None
