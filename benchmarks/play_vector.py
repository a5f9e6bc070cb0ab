"""Gymnasium's own vector environments, without capenv."""

import environments
import gymnasium
import vector_playing
import worker
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv


def client(name: str, server_core: int, mode: str) -> None:
    num_envs, environment = environments.parse(name)
    makers = [lambda: environments.make(environment)] * num_envs
    env: VectorEnv
    match mode:
        case "sync":
            env, how = SyncVectorEnv(makers), "in this process"
        case "async":
            worker.use_both_cores(server_core)
            env, how = AsyncVectorEnv(makers), "a process for each environment, shared memory"
        case _:
            env = gymnasium.make_vec(environment, num_envs, vectorization_mode=mode)
            how = "in this process, CartPole's own numpy implementation"
    vector_playing.play(name, env, f"gymnasium {gymnasium.__version__}, {how}")


if __name__ == "__main__":
    worker.main(client)
