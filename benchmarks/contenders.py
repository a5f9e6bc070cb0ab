"""Who is compared."""

import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import separate_venv

_HERE = Path(__file__).parent


def _this_python() -> str:
    return sys.executable


@attrs.frozen
class Contender:
    """One way to step an environment in another process."""

    name: str
    script: Path
    python: Callable[[], str] = _this_python
    """Returns the interpreter to run the script with. Raises OSError where there is none."""


RAW = Contender("raw", _HERE / "play_raw.py")
"""The floor, which the others are divided by."""

ALL = (
    RAW,
    Contender("capenv", _HERE / "play_capenv.py"),
    Contender("AsyncVectorEnv", _HERE / "play_gymnasium.py"),
    Contender("pycapnp", _HERE / "play_pycapnp.py"),
    Contender("dm_env_rpc", _HERE / "play_dm_env_rpc.py", separate_venv.python),
)


def choose(names: list[str]) -> tuple[Contender, ...]:
    """Return the floor and those of these names; all where there are none.

    Raises:
        ValueError: nobody is called that.
    """
    known = [contender.name for contender in ALL]
    for name in names:
        if name not in known:
            raise ValueError(f"there is no {name!r}; name one of {', '.join(known)}")
    return tuple(c for c in ALL if not names or c is RAW or c.name in names)
