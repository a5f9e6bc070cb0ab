"""Environments that get into every kind of trouble, and the script that serves them.

The host runs until its standard input ends, so that it cannot outlive the test that started it.
"""

import json
import logging
import os
import sys
from typing import Any

import gymnasium
import numpy as np
import trio
from gymnasium import spaces

import capenv


class Numbered(gymnasium.Env[Any, Any]):
    """Numbers its steps and echoes the action, so that an answer tells which question it answers.

    With `gate`, the name of a directory with the pipes `entered` and `leave`, a step writes a byte to
    the one and waits for a byte from the other. With `closed`, the name of a file, it leaves word there
    that it was closed.
    """

    observation_space = spaces.Box(-1, 2**40, (2,), np.int64)
    action_space = spaces.Discrete(2**30)

    def __init__(self, gate: str | None = None, closed: str | None = None) -> None:
        self._gate = gate
        self._closed = closed
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        return np.array([0, -1]), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self._gate is not None:
            with open(f"{self._gate}/entered", "wb") as entered:
                entered.write(b".")
            with open(f"{self._gate}/leave", "rb", buffering=0) as leave:
                leave.read(1)
        self._steps += 1
        return np.array([self._steps, action]), float(self._steps), False, False, {}

    def close(self) -> None:
        if self._closed is not None:
            with open(self._closed, "w") as file:
                file.write("closed")


class Troubled(gymnasium.Env[Any, Any]):
    """Fails in the way it is told by its setting, or by an option of reset; action 0 always succeeds."""

    observation_space = spaces.Dict(
        {"place": spaces.Box(-1.0, 1.0, (2,), np.float32), "lamps": spaces.MultiBinary(3)}
    )
    action_space = spaces.Discrete(2)

    def __init__(self, trouble: str = "") -> None:
        self._trouble = trouble
        if trouble == "making":
            raise RuntimeError("no such level")

    def _observation(self) -> dict[str, Any]:
        return {"place": np.zeros(2, np.float32), "lamps": np.zeros(3, np.int8)}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, Any]:
        super().reset(seed=seed)
        self._trouble = (options or {}).get("trouble", self._trouble)
        match self._trouble:
            case "raising in reset":
                raise RuntimeError("the level has no start")
            case "malformed reset":
                return self._observation()  # type: ignore[return-value]  # that is the trouble
            case "outside in reset":
                return {**self._observation(), "place": np.full(2, 7, np.float32)}, {}
        return self._observation(), {}

    def step(self, action: Any) -> Any:
        if action == 0:
            return self._observation(), 0.0, False, False, {}
        match self._trouble:
            case "raising":
                raise RuntimeError("the wheel\nfell off")
            case "raising nothing":
                raise AssertionError
            case "exiting":
                sys.exit("enough")
            case "malformed":
                return self._observation(), 0.0, False
            case "undecided":
                return self._observation(), 0.0, np.array([True, False]), False, {}
            case "outside":
                return (
                    {**self._observation(), "place": np.full(2, 7, np.float32)},
                    0.0,
                    False,
                    False,
                    {},
                )
            case "shapeless":
                return {**self._observation(), "lamps": np.zeros(4, np.int8)}, 0.0, False, False, {}
            case "no reward":
                return self._observation(), None, False, False, {}
            case "written reward":
                return self._observation(), "1.5", False, False, {}
            case "endless reward":
                return self._observation(), 10**400, False, False, {}
            case "objects in info":
                info = {"count": 3, "engine": object(), "nested": {"lock": object(), "kept": "yes"}}
                return self._observation(), 0.0, False, False, info
        return self._observation(), 0.0, False, False, {}

    def render(self) -> Any:
        raise RuntimeError("no paint")


class Unfit(spaces.Space[Any]):
    """A space of nobody's kind."""


class Odd(gymnasium.Env[Any, Any]):
    """Has a space that cannot be told."""

    observation_space = spaces.Dict({"fine": spaces.Discrete(2), "odd": Unfit()})
    action_space = spaces.Discrete(2)


def needy(size: int, colour: str = "red") -> gymnasium.Env[Any, Any]:
    """Has a setting that must be given."""
    return Numbered()


def make_host() -> capenv.Host:
    host = capenv.Host()
    host.add("Numbered", Numbered)
    host.add("Troubled", Troubled)
    host.add("Needy", needy)
    host.add("CartPole-v1")
    host.add("FrozenLake-v1")
    return host


async def _serve(listen: str | None) -> None:
    host = make_host()
    async with capenv.serve(host, listen) as server:
        world = host.create_world("Numbered")
        session_world = host.create_world("Numbered")
        session_world.hold()
        urls = {
            "host": server.url(),
            "world": server.url(world),
            "session": server.url(session_world.join()),
            **{environment.id: server.url(environment.id) for environment in host},
        }
        print(json.dumps(urls), flush=True)
        while True:
            await trio.lowlevel.wait_readable(sys.stdin)
            match os.read(0, 1):
                case b"":
                    return
                case b"d":
                    world.destroy()
                    print("destroyed", flush=True)


if __name__ == "__main__":
    logging.basicConfig(level="INFO", format="%(levelname)s %(name)s: %(message)s")
    trio.run(_serve, sys.argv[1] if len(sys.argv) > 1 else None)
