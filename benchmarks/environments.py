"""The environments that every contender steps: the same ones, made in the same way."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

NULL = "Null-v0"
CART_POLE = "CartPole-v1"

Observation = NDArray[np.float32]
Env = gymnasium.Env[Observation, np.int64]


class Null(Env):
    """Does nothing, in no time: all that its step takes is the contender's own."""

    def __init__(self) -> None:
        self.observation_space = Box(-1.0, 1.0, (4,), np.float32)
        self.action_space = Discrete(2)
        self._observation = np.zeros(4, np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode, which never ends."""
        super().reset(seed=seed)
        return self._observation, {}

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Return the same as ever."""
        return self._observation, 1.0, False, False, {}


gymnasium.register(NULL, lambda **_: Null())


def make(name: str) -> Env:
    """Make an environment, with the wrappers that capenv's host gives it."""
    env: Env = gymnasium.make(name, disable_env_checker=True)
    return env
