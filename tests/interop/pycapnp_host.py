"""A host written with pycapnp's own C++-backed RPC and nothing of capenv but its schemas.

It offers one counter: the action adds 0, 1 or 2, and the observation is the sum as a float32.
Arguments: the path of the Unix socket to listen at, and the one secret in hexadecimal that opens it.
It prints "ready" once it listens, and a line for every session that ends.
"""

import asyncio
import struct
import sys
from pathlib import Path

import capnp

import capenv.schema

SCHEMA = Path(capenv.schema.__file__).parent
host = capnp.load(str(SCHEMA / "host.capnp"))
GOAL = 5


class Session(host.Session.Server):
    def __init__(self) -> None:
        self.sum = 0

    def __del__(self) -> None:
        print("session ended", flush=True)

    async def reset(self, hasSeed, seed, options, _context, **_) -> None:
        self.sum = seed.int if hasSeed else 0
        _context.results.observation.packed.frame = struct.pack("<f", self.sum) + bytes(4)

    async def step(self, action, _context, **_) -> None:
        (added,) = struct.unpack("<q", action.packed.frame)
        self.sum += added
        _context.results.observation.packed.frame = struct.pack("<f", self.sum) + bytes(4)
        _context.results.reward = float(added)
        _context.results.terminated = self.sum >= GOAL
        entries = _context.results.init("info", 1)
        entries[0].key = "sum"
        entries[0].value.int = self.sum

    async def leave(self, _context, **_) -> None:
        pass


class Environment(host.Environment.Server):
    async def play(self, id, settings, _context, **_) -> None:
        if len(settings):
            raise capnp.KjException("BadSettings: the counter has no settings")
        _context.results.session = Session()
        description = _context.results.description
        description.seat = "agent"
        describe(description.environment)
        layout(description.observationLayout, "float32", (1,))
        layout(description.actionLayout, "int64", ())

    async def describe(self, _context, **_) -> None:
        describe(_context.results.description)


class Gate(host.Gate.Server):
    def __init__(self, secret: bytes) -> None:
        self.secret = secret

    async def hello(self, version, implementation, _context, **_) -> None:
        _context.results.version = {"major": 1, "minor": 0}
        _context.results.implementation = {"name": "pycapnp host", "version": "1"}

    async def restore(self, token, _context, **_) -> None:
        if token != self.secret:
            raise capnp.KjException("UnknownToken: this secret opens nothing here")
        _context.results.capability = Environment()
        _context.results.kind = "environment"


def describe(description) -> None:
    description.id = "counter"
    description.seats = ["agent"]
    box = description.observationSpace.init("box")
    box.shape = [1]
    for name, bound in (("low", 0.0), ("high", 100.0)):
        tensor = box.init(name)
        tensor.dtype = "float32"
        tensor.data = struct.pack("<f", bound)
    description.actionSpace.init("discrete").n = 3


def layout(builder, dtype: str, shape: tuple[int, ...]) -> None:
    builder.frameSize = 8
    (leaf,) = builder.init("leaves", 1)
    leaf.fixed = True
    leaf.dtype = dtype
    leaf.shape = list(shape)


async def main(path: str, secret: bytes) -> None:
    async def serve(stream) -> None:
        await capnp.TwoPartyServer(stream, bootstrap=Gate(secret)).on_disconnect()

    server = await capnp.AsyncIoStream.create_unix_server(serve, path)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(capnp.run(main(sys.argv[1], bytes.fromhex(sys.argv[2]))))
