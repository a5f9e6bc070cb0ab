"""What the server under fuzz serves: a trivial environment with every sort of space, behind real tokens."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from capenv.remote.servants import GateServant, Target
from capenv.rpc.limits import Limits
from capenv.sharing import CapabilityTable
from capenv.worlds import Host

_KEY = bytes(range(32))
KINDS = ("host", "environment", "world", "session")
"""What a token may name."""


_PLAIN = spaces.Box(-1, 1, (4,)), spaces.Discrete(3)
_RICH = (
    spaces.Dict(
        {
            "image": spaces.Box(0, 255, (4, 4), np.uint8),
            "gear": spaces.MultiDiscrete([3, 4]),
            "lamps": spaces.MultiBinary(5),
            "note": spaces.Text(6),
            "bag": spaces.Sequence(spaces.Discrete(4)),
            "net": spaces.Graph(spaces.Box(0, 1, (2,)), spaces.Discrete(3)),
            "either": spaces.OneOf((spaces.Discrete(2), spaces.Box(0, 1, (1,)))),
        },
        seed=1,
    ),
    spaces.Tuple((spaces.Discrete(3), spaces.Box(-1, 1, (2,)))),
)
_SEEN = _PLAIN[0].sample() * 0, _RICH[0].sample()


class Trivial(gymnasium.Env[Any, Any]):
    """Returns the same observation for ever: what it costs is the library's own work."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012  Gymnasium's own name and form
    render_mode = "rgb_array"

    def __init__(self, kinds: tuple[spaces.Space[Any], spaces.Space[Any]], seen: Any) -> None:
        self.observation_space, self.action_space = kinds
        self._seen = seen

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return self._seen, {"seed": seed, "options": options}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        return self._seen, np.float32(0.5), False, False, {"lives": 3, "path": [1, "two"]}

    def render(self) -> Any:
        return np.zeros((2, 2, 3), np.uint8)


def plain(speed: float = 1.0) -> Trivial:
    """Make the environment with one box to see and one number to choose."""
    return Trivial(_PLAIN, _SEEN[0])


def rich(label: str = "", depth: int = 1) -> Trivial:
    """Make the environment that shows something of every sort of space."""
    return Trivial(_RICH, _SEEN[1])


HOST = Host()
HOST.add("plain", plain)
HOST.add("rich", rich)

_TABLE: CapabilityTable[str] = CapabilityTable()
# Every run must write the same tokens, or a failure could not be played again.
_TABLE._key = _KEY
TOKENS = {kind: _TABLE.secret(kind, kind) for kind in KINDS}


def _restore(token: bytes) -> Target:
    """Return what a token names, made anew: no connection finds what another left behind."""
    kind = _TABLE.restore(token)
    if kind == "host":
        return HOST
    environment = HOST.environment("rich")
    if kind == "environment":
        return environment
    if kind == "world":
        return environment.create_world({})
    session = HOST.environment("plain").create_world({}).join()
    session.restored = True
    return session


def gate(limits: Limits) -> GateServant:
    """Return the bootstrap object of one connection."""
    return GateServant(_restore, limits.message_bytes)


ACTIONS: dict[str, Any] = {"plain": np.int64(1), "rich": (np.int64(1), np.zeros(2, np.float32))}
"""What the environments take."""
