"""dm_env_rpc as an agent uses it: through its `DmEnvAdaptor`, over gRPC on a Unix socket."""

from typing import Any

import dm_env_rpc_server
import numpy as np
import play_dm_env_rpc
import worker
from dm_env_rpc.v1 import dm_env_adaptor
from gymnasium.spaces import Discrete


def client(environment: str, server_core: int) -> None:
    with worker.server() as server, dm_env_rpc_server.connect(server) as connection:
        env = dm_env_adaptor.join_world(connection, world_name="", join_world_settings={})

        def step(action: np.int64) -> tuple[Any, bool]:
            timestep = env.step({"action": action})
            return timestep.observation["observation"], timestep.last()

        detail = f"{play_dm_env_rpc.versions()}, DmEnvAdaptor, Unix socket"
        worker.play(environment, Discrete(2).sample, step, env.reset, detail, server.pid)
        env.close()


if __name__ == "__main__":
    worker.main(client, dm_env_rpc_server.serve)
