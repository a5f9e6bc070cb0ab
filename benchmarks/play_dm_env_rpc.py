"""dm_env_rpc at its best: `Connection.send` with packing and unpacking, over gRPC on a Unix socket."""

import importlib.metadata
import os
from typing import Any

import dm_env_rpc_server
import numpy as np
import worker
from dm_env_rpc.v1 import dm_env_rpc_pb2
from dm_env_rpc.v1.tensor_utils import pack_tensor, unpack_tensor
from dm_env_rpc_server import ACTION, OBSERVATION, REWARD
from gymnasium.spaces import Discrete


def client(environment: str, server_core: int) -> None:
    with worker.server() as server, dm_env_rpc_server.connect(server) as connection:
        connection.send(dm_env_rpc_pb2.JoinWorldRequest())

        def step(action: np.int64) -> tuple[Any, bool]:
            response = connection.send(
                dm_env_rpc_pb2.StepRequest(
                    actions={ACTION: pack_tensor(action)},
                    requested_observations=[OBSERVATION, REWARD],
                )
            )
            observation = unpack_tensor(response.observations[OBSERVATION])
            unpack_tensor(response.observations[REWARD])
            return observation, response.state != dm_env_rpc_pb2.EnvironmentStateType.RUNNING

        def reset() -> None:
            connection.send(dm_env_rpc_pb2.ResetRequest())
            step(np.int64(0))  # which begins an episode

        tuned = ", malloc tuned" if "MALLOC_TRIM_THRESHOLD_" in os.environ else ""
        detail = f"{versions()}, Connection.send, Unix socket{tuned}"
        worker.play(environment, Discrete(2).sample, step, reset, detail, server.pid)


def versions() -> str:
    """Return whose figures these are."""
    return " ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("dm-env-rpc", "grpcio")
    )


if __name__ == "__main__":
    worker.main(client, dm_env_rpc_server.serve)
