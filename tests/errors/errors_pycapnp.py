"""A peer that speaks Cap'n Proto RPC, by pycapnp's own, and has another bootstrap interface than ours."""

import asyncio
import os
import sys

import capnp

with open(os.path.join(os.path.dirname(__file__), "errors_greeter.capnp")) as _:
    greeter = capnp.load(_.name)


class Greeter(greeter.Greeter.Server):  # type: ignore[misc]  # made by pycapnp
    async def greet(self, name: str, _context: object, **_: object) -> str:
        return f"hello {name}"


async def _serve(path: str) -> None:
    async def attend(stream: object) -> None:
        await capnp.TwoPartyServer(stream, bootstrap=Greeter()).on_disconnect()

    server = await capnp.AsyncIoStream.create_unix_server(attend, path)
    print("ready", flush=True)
    async with server:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        os._exit(0)


if __name__ == "__main__":
    asyncio.run(capnp.run(_serve(sys.argv[1])))
