"""Who is compared."""

import functools
import sys
from collections.abc import Callable, Collection, Mapping, Sequence

import attrs
import separate_venv
from environments import ALL, FRAMES, SCREEN, SMALL_VECTOR

_MALLOC = {
    f"MALLOC_{name}_": str(1 << 30) for name in ("TRIM_THRESHOLD", "MMAP_THRESHOLD", "TOP_PAD")
}
"""Makes glibc keep the memory of a freed message for the next one."""


def _this_python() -> str:
    return sys.executable


@attrs.frozen
class Contender:
    """One way to step an environment, in a process of its own."""

    name: str
    script: str
    """The file beside this one that plays it."""
    python: Callable[[], str] = _this_python
    """Returns the interpreter to run the script with. Raises OSError where there is none."""
    arguments: tuple[str, ...] = ()
    """What the script is told beside the environment."""
    variables: Mapping[str, str] = attrs.field(factory=dict)
    """Environment variables of client and server."""
    environments: Collection[str] | None = None
    """Those that it steps; None: all."""

    def steps(self, environment: str) -> bool:
        """Return whether it takes part there."""
        return self.environments is None or environment in self.environments


_dm_env_rpc = functools.partial(
    Contender, script="play_dm_env_rpc.py", python=separate_venv.RPC.python
)
# The first of each is the floor, which the others are divided by.
STEPS: Sequence[Contender] = (
    Contender("raw", "play_raw.py"),
    Contender("capenv", "play_capenv.py", variables={"CAPENV_BUSY_POLL": "1"}),
    Contender("capenv, sleeping", "play_capenv.py", variables={"CAPENV_BUSY_POLL": "0"}),
    Contender("AsyncVectorEnv", "play_gymnasium.py"),
    Contender("pycapnp", "play_pycapnp.py"),
    _dm_env_rpc("dm_env_rpc"),
    _dm_env_rpc("dm_env_rpc adaptor", script="play_dm_env_rpc_adaptor.py"),
    _dm_env_rpc("dm_env_rpc, malloc tuned", variables=_MALLOC, environments=FRAMES),
    Contender(
        "JSON WebSocket",
        "play_websocket.py",
        separate_venv.RPC.python,
        # A screen takes it more than a second.
        environments=set(ALL) - {SCREEN},
    ),
)
VECTORS: Sequence[Contender] = (
    Contender("SyncVectorEnv", "play_vector.py", arguments=("sync",)),
    Contender(
        "AsyncVectorEnv", "play_vector.py", arguments=("async",), environments=[SMALL_VECTOR]
    ),
    Contender(
        "capenv, sync", "play_vector_capenv.py", arguments=("sync",), environments=[SMALL_VECTOR]
    ),
    Contender("EnvPool", "play_vector_envpool.py", separate_venv.ENVPOOL.python),
    Contender("entry point, local", "play_vector.py", arguments=("vector_entry_point",)),
    Contender("capenv, entry point", "play_vector_capenv.py", arguments=("vector_entry_point",)),
)
