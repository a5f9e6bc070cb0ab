"""Playing a local environment and its remote twin in lockstep."""

from typing import Any

import gymnasium
import numpy as np
from exactness import identical


class Twins:
    """A local and a remote environment that are to do the same, whatever is done to them."""

    def __init__(self, local: gymnasium.Env[Any, Any], remote: gymnasium.Env[Any, Any]) -> None:
        self.local = local
        self.remote = remote
        self.steps = 0
        self.over = False

    def reset(self, **arguments: Any) -> None:
        """Reset both."""
        theirs = self.local.reset(**arguments)
        ours = self.remote.reset(**arguments)
        assert identical(theirs, ours)
        self.over = False

    def step(self, action: Any) -> None:
        """Step both. Whatever the environment's flags are, the remote ones are bools."""
        observation, reward, terminated, truncated, info = self.local.step(action)
        theirs = (observation, reward, bool(terminated), bool(truncated), info)
        ours = self.remote.step(action)
        assert identical(theirs, ours), f"after {self.steps} steps"
        self.steps += 1
        self.over = bool(terminated or truncated)

    def play(self, steps: int) -> int:
        """Take random steps, and reset without a seed whenever an episode is over; return how often."""
        episodes = 0
        for _ in range(steps):
            self.step(either(self.local.action_space.sample(), self.steps))
            if self.over:
                self.reset()
                episodes += 1
        return episodes


def either(action: Any, turn: int) -> Any:
    """Return a Discrete's action as numpy gives it, or every other time as a Python int."""
    return action.item() if turn % 2 and isinstance(action, np.integer) else action
