"""An agent written with pycapnp's own C++-backed RPC: it plays a capenv session and prints what it got.

Arguments: the path of the Unix socket, the secret in hexadecimal, and how many steps to play.
"""

import asyncio
import json
import sys
from pathlib import Path

import capnp

import capenv.schema

SCHEMA = Path(capenv.schema.__file__).parent
host = capnp.load(str(SCHEMA / "host.capnp"))


async def main(path: str, secret: str, steps: int) -> None:
    stream = await capnp.AsyncIoStream.create_unix_connection(path)
    gate = capnp.TwoPartyClient(stream).bootstrap().cast_as(host.Gate)

    # All of this is in flight before the first answer is back.
    hello = gate.hello(
        version={"major": 1, "minor": 0}, implementation={"name": "pycapnp agent", "version": "1"}
    )
    restored = gate.restore(token=bytes.fromhex(secret))
    play = restored.capability.cast_as(host.Playable).play(id="", settings=[])
    session = play.session
    reset = session.reset(hasSeed=True, seed={"int": 1}, options={"none": None})

    greeting = await hello
    description = (await play).description
    frames = [(await reset).observation.packed.frame.hex()]
    rewards = []
    for number in range(steps):
        # The layout has one leaf, an int64: the action is its eight bytes.
        action = {"packed": {"frame": (number % 2).to_bytes(8, "little")}}
        timestep = await session.step(action=action)
        frames.append(timestep.observation.packed.frame.hex())
        rewards.append(timestep.reward)
    try:
        await session.step(action={"packed": {"frame": (7).to_bytes(8, "little")}})
        refused = ""
    except capnp.KjException as error:
        refused = error.description
    await session.leave()
    print(
        json.dumps(
            {
                "server": greeting.implementation.name,
                "id": description.environment.id,
                "layout": [leaf.path for leaf in description.actionLayout.leaves],
                "frames": frames,
                "rewards": rewards,
                "refused": refused,
            }
        )
    )


asyncio.run(capnp.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
