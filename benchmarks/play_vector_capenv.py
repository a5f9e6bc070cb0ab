"""capenv.make_vec: all environments behind one URL, stepped in one message."""

import environments
import trio
import vector_playing
import worker

import capenv


def client(name: str, server_core: int, mode: str) -> None:
    num_envs, _ = environments.parse(name)
    with worker.server() as server:
        env = capenv.make_vec(server.address, num_envs, vectorization_mode=mode)
        vector_playing.play(name, env, f"Unix socket, capenv.make_vec, {mode}", server.pid)


def serve(name: str, mode: str) -> None:
    _, environment = environments.parse(name)
    host = capenv.Host()
    host.add(environment)
    trio.run(_serve, host)


async def _serve(host: capenv.Host) -> None:
    async with capenv.serve(host) as server:
        worker.announce(server.url())
        await trio.lowlevel.wait_readable(0)  # stdin ends with the client


if __name__ == "__main__":
    worker.main(client, serve)
