"""capenv: its blocking client, and its server under Trio, on a Unix socket."""

from typing import Any

import environments
import trio
import worker

import capenv


def client(environment: str, server_core: int) -> None:
    with worker.server() as url:
        env = capenv.make(url)

        def step(action: Any) -> bool:
            _, _, terminated, truncated, _ = env.step(action)
            return bool(terminated or truncated)

        worker.play(env.action_space.sample, step, env.reset, "Unix socket, capenv.make")
        env.close()


def serve(environment: str) -> None:
    host = capenv.Host()
    host.add(environment, lambda: environments.make(environment))
    trio.run(_serve, host)


async def _serve(host: capenv.Host) -> None:
    async with capenv.serve(host) as server:
        worker.announce(server.url())
        await trio.lowlevel.wait_readable(0)  # stdin ends with the client


if __name__ == "__main__":
    worker.main(client, serve)
