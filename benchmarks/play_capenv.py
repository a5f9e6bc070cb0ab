"""capenv: its blocking client, and its server under Trio, on a Unix socket."""

import os
from typing import Any

import environments
import trio
import worker

import capenv


def client(environment: str, server_core: int) -> None:
    with worker.server() as server:
        env = capenv.make(server.address)

        def step(action: Any) -> tuple[Any, bool]:
            observation, _, terminated, truncated, _ = env.step(action)
            return observation, bool(terminated or truncated)

        waits = "sleeps" if os.environ.get("CAPENV_BUSY_POLL") == "0" else "polls, then sleeps"
        detail = f"Unix socket, capenv.make; who waits {waits}"
        worker.play(environment, env.action_space.sample, step, env.reset, detail, server.pid)
        env.close()


def serve(environment: str) -> None:
    host = capenv.Host()
    host.add(environment, lambda: environments.make(environment))
    trio.run(_serve, host, environment)


async def _serve(host: capenv.Host, environment: str) -> None:
    async with capenv.serve(host) as server:
        worker.announce(server.url(environment))
        await trio.lowlevel.wait_readable(0)  # stdin ends with the client


if __name__ == "__main__":
    worker.main(client, serve)
