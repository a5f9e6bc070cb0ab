"""Many sessions of one server, over a few connections of the asynchronous client."""

import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import trio
import worker

import capenv

_WARM_UP = 20
"""Sessions before those that are measured: the first ones cost what all share."""
_STEPS = 3
"""Steps that each session has behind it when it is idle."""
_SETTLE_SHARE = 0.2
"""How much of the time that is measured goes by before it."""
_ACTIONS = np.int64(0), np.int64(1)


@attrs.frozen
class Plan:
    """What is measured."""

    sessions: int
    connections: int
    """Over which the sessions are spread evenly."""
    busy: Sequence[int]
    """How many are stepped all at once, one number after the other."""
    rounds: int
    """How often all these numbers come."""
    seconds: float
    """For how long each time."""


@attrs.frozen
class Load:
    """What sessions cost their server, and what they get done."""

    bytes_per_session: float
    seconds_per_session: float
    """To create a world, join it, reset it and take the first steps, one after the other."""
    steps_per_second: dict[int, list[float]]
    """Of all together, by how many are busy, in each round."""


async def measure(server: worker.Server, plan: Plan, advance: Callable[[], None]) -> Load:
    """Open sessions, and then step some of them, all at once.

    Args:
        server: whose address is the capability URL of an environment.
        plan: how many, how long.
        advance: called after each time that some were busy.
    """
    async with _connected(server.address, plan.connections) as environments:
        sessions: list[capenv.RemoteSession] = []

        async def open_some(count: int) -> None:
            for _ in range(count):
                sessions.append(await _open(environments[len(sessions) % plan.connections]))

        await open_some(_WARM_UP)
        before, begin = _resident(server.pid), time.perf_counter()
        await open_some(plan.sessions)
        load = Load(
            bytes_per_session=(_resident(server.pid) - before) / plan.sessions,
            seconds_per_session=(time.perf_counter() - begin) / plan.sessions,
            steps_per_second={count: [] for count in plan.busy},
        )
        for _ in range(plan.rounds):
            for count, rates in load.steps_per_second.items():
                rates.append(await _rate(sessions[:count], plan.seconds))
                advance()
        return load


@asynccontextmanager
async def _connected(
    url: str, connections: int
) -> AsyncIterator[Sequence[capenv.RemoteEnvironment]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(capenv.connect(url)) for _ in range(connections)]


async def _open(environment: capenv.RemoteEnvironment) -> capenv.RemoteSession:
    session = environment.create_world().join()
    await session.reset(seed=1)
    for number in range(_STEPS):
        await session.step(_ACTIONS[number % 2])
    return session


async def _rate(sessions: Sequence[capenv.RemoteSession], seconds: float) -> float:
    """Return how many steps per second they take together."""
    steps = 0
    busy = True

    async def play(session: capenv.RemoteSession) -> None:
        nonlocal steps
        number = 0
        while busy:
            timestep: Any = await session.step(_ACTIONS[number % 2])
            number += 1
            steps += 1
            if timestep.terminated or timestep.truncated:
                await session.reset()

    async with trio.open_nursery() as nursery:
        for session in sessions:
            nursery.start_soon(play, session)
        await trio.sleep(seconds * _SETTLE_SHARE)
        before, begin = steps, time.perf_counter()
        await trio.sleep(seconds)
        rate = (steps - before) / (time.perf_counter() - begin)
        busy = False
    return rate


def _resident(pid: int) -> int:
    """Return a process's memory, in bytes."""
    pages = Path("/proc", str(pid), "statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
