"""How all who step many environments as one are timed."""

from typing import Any

import environments
import numpy as np
import worker


def play(name: str, env: Any, detail: str, server_pid: int | None = None) -> None:
    """Time the steps of a vector environment, and close it."""
    num_envs, _ = environments.parse(name)
    random = np.random.default_rng(0)

    def step(actions: Any) -> tuple[Any, bool]:
        return env.step(actions)[0], False  # whose episode ended begins another one itself

    def sample() -> Any:
        return random.integers(0, 2, num_envs)

    worker.play(name, sample, step, env.reset, detail, server_pid)
    env.close()
