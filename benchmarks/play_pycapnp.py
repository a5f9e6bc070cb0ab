"""pycapnp's own RPC, on asyncio at both ends: what Cap'n Proto costs in Python without capenv."""

import asyncio
import importlib.metadata
import time
from pathlib import Path
from typing import Any

import capnp
import environments
import numpy as np
import worker
from gymnasium.spaces import Discrete

_schema = capnp.load(str(Path(__file__).parent / "echo.capnp"))


def client(environment: str, server_core: int) -> None:
    with worker.server() as path:
        asyncio.run(capnp.run(_play(path)))


async def _play(path: str) -> None:
    """Do as `worker.play` does; only here a step is awaited."""
    stream = await capnp.AsyncIoStream.create_unix_connection(path)
    stepper = capnp.TwoPartyClient(stream).bootstrap().cast_as(_schema.Stepper)
    space = Discrete(2)
    await stepper.reset()
    detail = f"pycapnp {importlib.metadata.version('pycapnp')}, asyncio, Unix socket"
    for steps in worker.requests(detail):
        times: list[float] = []
        for _ in range(steps):
            action = space.sample()
            begin = time.perf_counter()
            response = await stepper.step(action=action.tobytes())
            np.frombuffer(response.observation, np.float32)
            _ = response.reward
            done = response.terminated or response.truncated
            times.append(time.perf_counter() - begin)
            if done:
                await stepper.reset()
        worker.answer(times)


class _Stepper(_schema.Stepper.Server):  # type: ignore[name-defined,misc]  # made by the load
    def __init__(self, environment: str) -> None:
        self._env = environments.make(environment)

    async def reset(self, **_: Any) -> bytes:
        observation, _info = self._env.reset()
        return observation.tobytes()

    async def step(self, action: bytes, **_: Any) -> tuple[bytes, float, bool, bool]:
        observation, reward, terminated, truncated, _info = self._env.step(
            np.frombuffer(action, np.int64)[0]
        )
        return observation.tobytes(), float(reward), terminated, truncated


def serve(environment: str) -> None:
    asyncio.run(capnp.run(_serve(environment)))


async def _serve(environment: str) -> None:
    async def accept(stream: Any) -> None:
        await capnp.TwoPartyServer(stream, bootstrap=_Stepper(environment)).on_disconnect()

    with worker.socket_path() as path:
        listener = await capnp.AsyncIoStream.create_unix_server(accept, path)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(0, ended.set)  # stdin ends with the client
        worker.announce(path)
        await ended.wait()
        listener.close()


if __name__ == "__main__":
    worker.main(client, serve)
