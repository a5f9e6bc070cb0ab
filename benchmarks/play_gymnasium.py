"""Gymnasium's AsyncVectorEnv: one environment in one subprocess, observations in shared memory."""

import os
from typing import Any

import environments
import gymnasium
import worker
from gymnasium.vector import AsyncVectorEnv


def client(environment: str, server_core: int) -> None:
    env = AsyncVectorEnv([lambda: environments.make(environment)])
    (process,) = env.processes
    assert process.pid is not None
    os.sched_setaffinity(process.pid, {server_core})

    def step(actions: Any) -> tuple[Any, bool]:
        observations, _, terminated, truncated, _ = env.step(actions)
        return observations[0], bool(terminated[0] or truncated[0])

    detail = f"gymnasium {gymnasium.__version__}, one environment, shared memory"
    worker.play(environment, env.action_space.sample, step, env.reset, detail, process.pid)
    env.close()


if __name__ == "__main__":
    worker.main(client)
