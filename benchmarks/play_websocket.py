"""JSON over a WebSocket, in the manner of Gymie: a blocking client, and a server on asyncio.

A request is ``{"method": METHOD, "params": {...}}``; the answer to a step is
``[observation, reward, terminated, truncated, info]``, with the observation as nested lists.
"""

import asyncio
import importlib.metadata
import json
from collections.abc import Callable
from typing import Any

import environments
import numpy as np
import worker
from gymnasium.spaces import Discrete
from websockets.asyncio.server import ServerConnection, unix_serve
from websockets.sync.client import unix_connect


def client(environment: str, server_core: int) -> None:
    space = environments.observation_space(environment)
    with (
        worker.server() as server,
        unix_connect(server.address, compression=None, max_size=None) as connection,
    ):

        def call(method: str, **params: Any) -> Any:
            connection.send(json.dumps({"method": method, "params": params}))
            return json.loads(connection.recv())

        def step(action: np.int64) -> tuple[Any, bool]:
            observation, _, terminated, truncated, _ = call("step", action=int(action))
            return np.array(observation, space.dtype), terminated or truncated

        version = importlib.metadata.version("websockets")
        detail = f"in the manner of Gymie, by websockets {version}, Unix socket, no compression"
        worker.play(
            environment, Discrete(2).sample, step, lambda: call("reset"), detail, server.pid
        )


class _Endpoint:
    """What a connection may call."""

    def __init__(self, environment: str) -> None:
        self._env = environments.make(environment)

    def reset(self) -> Any:
        observation, _ = self._env.reset()
        return observation.tolist()

    def step(self, action: int) -> Any:
        observation, reward, terminated, truncated, info = self._env.step(np.int64(action))
        return observation.tolist(), float(reward), terminated, truncated, info


def serve(environment: str) -> None:
    asyncio.run(_serve(environment))


async def _serve(environment: str) -> None:
    async def answer(connection: ServerConnection) -> None:
        endpoint = _Endpoint(environment)
        methods: dict[str, Callable[..., Any]] = {"reset": endpoint.reset, "step": endpoint.step}
        async for text in connection:
            request = json.loads(text)
            result = methods[request["method"]](**request["params"])
            await connection.send(json.dumps(result))

    with worker.socket_path() as path:
        async with unix_serve(answer, path, compression=None, max_size=None):
            ended = asyncio.Event()
            asyncio.get_running_loop().add_reader(0, ended.set)  # stdin ends with the client
            worker.announce(path)
            await ended.wait()


if __name__ == "__main__":
    worker.main(client, serve)
