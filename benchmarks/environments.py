"""The environments that every contender steps: the same ones, made in the same way."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

NULL = "Null-v0"
CART_POLE = "CartPole-v1"
PIXELS = "Pixels-v0"
FLOATS = "Floats-v0"
SCREEN = "Screen-v0"

_SPACES: "dict[str, Box[Any]]" = {
    NULL: Box(-1.0, 1.0, (4,), np.float32),
    PIXELS: Box(0, 255, (84, 84, 4), np.uint8),
    FLOATS: Box(0.0, 1.0, (84, 84, 4), np.float32),
    SCREEN: Box(0, 255, (1080, 1920, 3), np.uint8),
}
FRAMES = (PIXELS, FLOATS, SCREEN)
ALL = (NULL, CART_POLE, *FRAMES)
# Many, stepped as one.
SMALL_VECTOR, LARGE_VECTOR = (f"{num_envs} {CART_POLE}" for num_envs in (64, 1024))

Observation = NDArray[Any]
Env = gymnasium.Env[Observation, np.int64]


class Null(Env):
    """Does nothing, in no time: all that its step takes is the contender's own.

    It returns two observations by turns, so that a stale one shows.
    """

    def __init__(self, name: str) -> None:
        self.observation_space = _SPACES[name]
        self.action_space = Discrete(2)
        self._observations = _pair(self.observation_space)
        self._turn = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode, which never ends."""
        super().reset(seed=seed)
        self._turn = 0
        return self._observations[0], {}

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Return the observation whose turn it is."""
        self._turn ^= 1
        return self._observations[self._turn], 1.0, False, False, {}


for _name in _SPACES:
    gymnasium.register(_name, partial(Null, _name))


def make(name: str) -> Env:
    """Make an environment, with the wrappers that capenv's host gives it."""
    env: Env = gymnasium.make(name, disable_env_checker=True)
    return env


def parse(name: str) -> tuple[int, str]:
    """Return how many environments a name speaks of, one where it says nothing, and of which id."""
    num_envs, _, environment = name.rpartition(" ")
    return int(num_envs or 1), environment


def observation_space(name: str) -> "Box[Any]":
    """Return the observation space, for a client whose server does not tell it."""
    env = make(name)
    assert isinstance(env.observation_space, Box)
    env.close()
    return env.observation_space


def check(name: str, observations: Sequence[Observation]) -> None:
    """Check those of the first steps of an episode, all kept until now, as far as they are known beforehand.

    Raises:
        ValueError: they are not what the environment returned.
    """
    if name not in _SPACES:
        return
    pair = _pair(_SPACES[name])
    for number, observation in enumerate(observations, start=1):
        right = pair[number % 2]
        if observation.dtype != right.dtype or not np.array_equal(observation, right):
            raise ValueError(f"step {number} of {name} returned another observation than it should")


def _pair(space: "Box[Any]") -> tuple[Observation, Observation]:
    random = np.random.default_rng(0)
    if space.dtype == np.uint8:
        first, second = (random.integers(0, 256, space.shape, np.uint8) for _ in range(2))
    else:
        first, second = (random.random(space.shape, np.float32) for _ in range(2))
    return first, second
