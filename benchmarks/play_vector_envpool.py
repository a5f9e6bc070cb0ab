"""EnvPool: CartPole in C++, stepped by threads of this process."""

import environments
import envpool
import vector_playing
import worker


def client(name: str, server_core: int) -> None:
    num_envs, environment = environments.parse(name)
    worker.use_both_cores(server_core)
    env = envpool.make_gymnasium(environment, num_envs=num_envs)
    vector_playing.play(name, env, f"envpool {envpool.__version__}, in this process, C++ threads")


if __name__ == "__main__":
    worker.main(client)
