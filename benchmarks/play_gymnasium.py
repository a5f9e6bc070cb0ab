"""Gymnasium's AsyncVectorEnv: one environment in one subprocess, observations in shared memory."""

import os
from typing import Any

import environments
import gymnasium
import worker
from gymnasium.vector import AsyncVectorEnv


def client(environment: str, server_core: int) -> None:
    env = AsyncVectorEnv([lambda: environments.make(environment)])
    for process in env.processes:
        assert process.pid is not None
        os.sched_setaffinity(process.pid, {server_core})

    def step(actions: Any) -> bool:
        _, _, terminated, truncated, _ = env.step(actions)
        return bool(terminated[0] or truncated[0])

    detail = f"gymnasium {gymnasium.__version__}, one environment, shared memory"
    worker.play(env.action_space.sample, step, env.reset, detail)
    env.close()


if __name__ == "__main__":
    worker.main(client)
