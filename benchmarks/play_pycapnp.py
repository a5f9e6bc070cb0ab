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
from page_faults import PageFaults

_schema = capnp.load(str(Path(__file__).parent / "echo.capnp"))


def client(environment: str, server_core: int) -> None:
    with worker.server() as server:
        asyncio.run(capnp.run(_play(environment, server)))


class _Client:
    """Steps the server's environment."""

    def __init__(self, stepper: Any, environment: str) -> None:
        self._stepper = stepper
        self._space = environments.observation_space(environment)

    async def reset(self) -> None:
        await self._stepper.reset()

    async def step(self, action: np.int64) -> tuple[Any, bool]:
        response = await self._stepper.step(action=action.tobytes())
        observation = np.frombuffer(response.observation, self._space.dtype)
        _ = response.reward
        return observation.reshape(self._space.shape), response.terminated or response.truncated


async def _play(environment: str, server: worker.Server) -> None:
    """Do as `worker.play` does; only here a step is awaited."""
    stream = await capnp.AsyncIoStream.create_unix_connection(server.address)
    env = _Client(capnp.TwoPartyClient(stream).bootstrap().cast_as(_schema.Stepper), environment)
    space = Discrete(2)
    await env.reset()
    environments.check(
        environment, [(await env.step(space.sample()))[0] for _ in range(worker.CHECKED)]
    )
    await env.reset()
    detail = f"pycapnp {importlib.metadata.version('pycapnp')}, asyncio, Unix socket"
    for steps, seconds in worker.requests(detail):
        times: list[float] = []
        actions = [space.sample() for _ in range(steps)]
        faults = PageFaults(server.pid)
        end = time.perf_counter() + seconds
        for action in actions:
            begin = time.perf_counter()
            _observation, done = await env.step(action)
            now = time.perf_counter()
            times.append(now - begin)
            if done:
                await env.reset()
            if now > end:
                break
        worker.answer(times, faults)


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
