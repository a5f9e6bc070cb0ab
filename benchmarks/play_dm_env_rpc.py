"""dm_env_rpc: gRPC over a Unix socket, in a virtual environment of its own.

The client is `Connection.send` with packing and unpacking. The package's `DmEnvAdaptor`, which an agent
would rather use, adds some 100 µs to that, so this is dm_env_rpc at its best.
"""

import importlib.metadata
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import environments
import grpc
import numpy as np
import worker
from dm_env_rpc.v1 import connection as connections
from dm_env_rpc.v1 import dm_env_rpc_pb2, dm_env_rpc_pb2_grpc
from dm_env_rpc.v1.tensor_utils import pack_tensor, unpack_tensor
from gymnasium.spaces import Discrete

_ACTION, _OBSERVATION, _REWARD = 1, 1, 2
_SPECS = dm_env_rpc_pb2.ActionObservationSpecs(
    actions={
        _ACTION: dm_env_rpc_pb2.TensorSpec(name="action", dtype=dm_env_rpc_pb2.DataType.INT64)
    },
    observations={
        _OBSERVATION: dm_env_rpc_pb2.TensorSpec(
            name="observation", shape=[4], dtype=dm_env_rpc_pb2.DataType.FLOAT
        ),
        _REWARD: dm_env_rpc_pb2.TensorSpec(name="reward", dtype=dm_env_rpc_pb2.DataType.DOUBLE),
    },
)
# Messages of 4 MiB would break the stream by default.
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_UNIX = grpc.LocalConnectionType.UDS


def client(environment: str, server_core: int) -> None:
    with (
        worker.server() as address,
        connections.create_secure_channel_and_connect(
            address, grpc.local_channel_credentials(_UNIX), timeout=10
        ) as connection,
    ):
        connection.send(dm_env_rpc_pb2.JoinWorldRequest())

        def step(action: np.int64) -> bool:
            response = connection.send(
                dm_env_rpc_pb2.StepRequest(
                    actions={_ACTION: pack_tensor(action)},
                    requested_observations=[_OBSERVATION, _REWARD],
                )
            )
            unpack_tensor(response.observations[_OBSERVATION])
            unpack_tensor(response.observations[_REWARD])
            return bool(response.state != dm_env_rpc_pb2.EnvironmentStateType.RUNNING)

        versions = " ".join(
            f"{name} {importlib.metadata.version(name)}" for name in ("dm-env-rpc", "grpcio")
        )
        # The step after an episode's end begins the next one.
        worker.play(
            Discrete(2).sample,
            step,
            lambda: step(np.int64(0)),
            f"{versions}, Connection.send, Unix socket",
        )


class _Environment(dm_env_rpc_pb2_grpc.EnvironmentServicer):  # type: ignore[misc]  # is not typed
    def __init__(self, environment: str) -> None:
        self._name = environment

    def Process(  # noqa: N802
        self, request_iterator: Iterator[Any], context: grpc.ServicerContext
    ) -> Iterator[Any]:
        """Play one agent's world, from its joining to the end of its stream."""
        env = environments.make(self._name)
        running = False
        for request in request_iterator:
            if not request.HasField("step"):
                yield dm_env_rpc_pb2.EnvironmentResponse(
                    join_world=dm_env_rpc_pb2.JoinWorldResponse(specs=_SPECS)
                )
                continue
            reward: Any = 0.0
            if running:
                action = unpack_tensor(request.step.actions[_ACTION])
                observation, reward, terminated, truncated, _ = env.step(action)
                running = not (terminated or truncated)
            else:
                observation, _ = env.reset()
                running = True
            state = dm_env_rpc_pb2.EnvironmentStateType
            yield dm_env_rpc_pb2.EnvironmentResponse(
                step=dm_env_rpc_pb2.StepResponse(
                    state=state.RUNNING if running else state.TERMINATED,
                    observations={
                        _OBSERVATION: pack_tensor(observation),
                        _REWARD: pack_tensor(reward),
                    },
                )
            )


def serve(environment: str) -> None:
    with worker.socket_path() as path, ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool, options=_OPTIONS)
        dm_env_rpc_pb2_grpc.add_EnvironmentServicer_to_server(_Environment(environment), server)
        server.add_secure_port(f"unix:{path}", grpc.local_server_credentials(_UNIX))
        server.start()
        worker.announce(f"unix:{path}")
        sys.stdin.read()  # stdin ends with the client
        server.stop(grace=None).wait()


if __name__ == "__main__":
    worker.main(client, serve)
