"""The server of both contenders that speak dm_env_rpc, written as its own examples are."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import environments
import grpc
import worker
from dm_env_rpc.v1 import connection as connections
from dm_env_rpc.v1 import dm_env_rpc_pb2, dm_env_rpc_pb2_grpc
from dm_env_rpc.v1.tensor_utils import np_type_to_data_type, pack_tensor, unpack_tensor

ACTION, OBSERVATION, REWARD = 1, 1, 2

_Response = dm_env_rpc_pb2.EnvironmentResponse
_RUNNING = dm_env_rpc_pb2.EnvironmentStateType.RUNNING
_TERMINATED = dm_env_rpc_pb2.EnvironmentStateType.TERMINATED
# Messages of 4 MiB would break the stream by default.
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_UNIX = grpc.LocalConnectionType.UDS


def connect(server: worker.Server) -> AbstractContextManager[Any]:
    """Return a `Connection` with such a server."""
    connection: AbstractContextManager[Any] = connections.create_secure_channel_and_connect(
        server.address, grpc.local_channel_credentials(_UNIX), timeout=10
    )
    return connection


def serve(environment: str) -> None:
    with worker.socket_path() as path, ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool, options=_OPTIONS)
        dm_env_rpc_pb2_grpc.add_EnvironmentServicer_to_server(_Servicer(environment), server)
        server.add_secure_port(f"unix:{path}", grpc.local_server_credentials(_UNIX))
        server.start()
        worker.announce(f"unix:{path}")
        sys.stdin.read()  # stdin ends with the client
        server.stop(grace=None).wait()


class _Servicer(dm_env_rpc_pb2_grpc.EnvironmentServicer):  # type: ignore[misc]  # is not typed
    def __init__(self, environment: str) -> None:
        self._environment = environment

    def Process(  # noqa: N802
        self, request_iterator: Iterator[Any], context: grpc.ServicerContext
    ) -> Iterator[Any]:
        """Play one agent's world, from its joining to the end of its stream."""
        world = _World(self._environment)
        for request in request_iterator:
            match request.WhichOneof("payload"):
                case "step":
                    yield _Response(step=world.step(request.step))
                case "reset":
                    world.running = False
                    yield _Response(reset=dm_env_rpc_pb2.ResetResponse(specs=world.specs))
                case "join_world":
                    yield _Response(join_world=dm_env_rpc_pb2.JoinWorldResponse(specs=world.specs))
                case "leave_world":
                    yield _Response(leave_world=dm_env_rpc_pb2.LeaveWorldResponse())


class _World:
    """An environment, as the protocol has it: the step after an episode's end begins the next one."""

    def __init__(self, environment: str) -> None:
        self.running = False
        self._env = environments.make(environment)
        space = self._env.observation_space
        assert space.dtype is not None
        spec, data_type = dm_env_rpc_pb2.TensorSpec, dm_env_rpc_pb2.DataType
        observation = spec(
            name="observation", shape=space.shape, dtype=np_type_to_data_type(space.dtype)
        )
        self.specs = dm_env_rpc_pb2.ActionObservationSpecs(
            actions={ACTION: spec(name="action", dtype=data_type.INT64)},
            observations={
                OBSERVATION: observation,
                REWARD: spec(name="reward", dtype=data_type.DOUBLE),
            },
        )

    def step(self, request: Any) -> Any:
        """Return the response to a StepRequest."""
        reward: Any = 0.0
        if self.running:
            action = unpack_tensor(request.actions[ACTION])
            observation, reward, terminated, truncated, _ = self._env.step(action)
            self.running = not (terminated or truncated)
        else:
            observation, _ = self._env.reset()
            self.running = True
        return dm_env_rpc_pb2.StepResponse(
            state=_RUNNING if self.running else _TERMINATED,
            observations={OBSERVATION: pack_tensor(observation), REWARD: pack_tensor(reward)},
        )
