"""The awaitable twins: each object described, used before it is there, shared and let go."""

import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

import gymnasium
import pytest
import trio
from exactness import identical
from faithful_flights import Watched

import capenv
from capenv import transports
from capenv.errors import (
    BadSettings,
    CapenvError,
    OutsideSpace,
    ResetNeeded,
    SeatTaken,
    SessionClosed,
    UnknownEnvironment,
    UnknownSeat,
    UnknownToken,
    URLError,
)

PATIENCE = 30.0


class Mortal(gymnasium.Env[Any, Any]):
    """An environment that says when it is closed."""

    observation_space = action_space = gymnasium.spaces.Discrete(3)
    closed: trio.Event

    def __init__(self) -> None:
        self.closed = Mortal.closed = trio.Event()

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return 0, {}

    def step(self, action: Any) -> Any:
        return action, 0.0, False, False, {}

    def close(self) -> None:
        self.closed.set()


def under_trio(test: Callable[..., Awaitable[None]]) -> Callable[[], None]:
    @wraps(test)
    def run() -> None:
        async def patiently() -> None:
            with trio.fail_after(PATIENCE):
                await test()

        trio.run(patiently)

    del run.__wrapped__  # pytest would take its parameters for fixtures
    return run


@asynccontextmanager
async def served() -> AsyncIterator[tuple[capenv.Host, capenv.Server]]:
    host = capenv.Host()
    host.add("CartPole-v1")
    host.add("FrozenLake-v1")
    host.add("mortal", Mortal)
    async with capenv.serve(host, "capnp://memory@faithful-proxies") as server:
        yield host, server


@under_trio
async def test_every_level_is_described() -> None:
    async with served() as (_, server), capenv.connect(server.url()) as host:
        assert isinstance(host, capenv.RemoteHost)
        told = await host.describe()
        assert told.environments == ("CartPole-v1", "FrozenLake-v1", "mortal")
        assert told.implementation.startswith("capenv ")

        lake = host.environment("FrozenLake-v1")
        environment = await lake.describe()
        assert environment.id == "FrozenLake-v1"
        assert environment.observation_space == gymnasium.spaces.Discrete(16)
        assert environment.metadata == gymnasium.make("FrozenLake-v1").metadata
        assert environment.max_episode_steps == 100
        assert {setting.name for setting in environment.settings} >= {"map_name", "is_slippery"}

        world = lake.create_world(map_name="8x8")
        described = await world.describe()
        assert described.environment.observation_space == gymnasium.spaces.Discrete(64)
        assert described.settings == {"map_name": "8x8"}
        assert described.seats == (capenv.Seat("agent", False),)

        session = world.join()
        described = await session.describe()
        assert described.seat == "agent"
        assert described.environment.observation_space == gymnasium.spaces.Discrete(64)
        assert described.render_mode is None
        assert not described.restored
        assert (await world.describe()).seats == (capenv.Seat("agent", True),)


@under_trio
async def test_results_are_those_of_the_environment() -> None:
    local = gymnasium.make("CartPole-v1", disable_env_checker=True)
    async with served() as (_, server), capenv.connect(server.url("CartPole-v1")) as environment:
        session = environment.create_world().join()
        observation, info = await session.reset(seed=1)
        assert identical((observation, info), local.reset(seed=1))
        for action in (0, 1, 1, 0):
            timestep = await session.step(action)
            observation, reward, terminated, truncated, info = timestep
            assert identical((observation, reward, terminated, truncated, info), local.step(action))
            assert timestep.observation is observation
    local.close()


@under_trio
async def test_a_chain_is_one_flight() -> None:
    links: list[Watched] = []

    async def connect(*arguments: Any) -> Watched:
        links.append(Watched(await original(*arguments)))
        return links[0]

    original = transports.connect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transports, "connect", connect)
        async with served() as (_, server), capenv.connect(server.url()) as host:
            before = len(links[0].flights)
            session = host.environment("FrozenLake-v1").create_world(map_name="8x8").join()
            reset = session.reset(seed=1)
            steps = [session.step(action) for action in (1, 2, 1)]
            timesteps = [await step for step in steps]
            # Environment, world, session, reset and three steps: sent before the first answer came.
            assert links[0].flights[before - 1 :] == [7, 0]
            with gymnasium.make("FrozenLake-v1", map_name="8x8") as local:
                assert identical(tuple(await reset), local.reset(seed=1))
                for action, timestep in zip((1, 2, 1), timesteps, strict=True):
                    assert identical(tuple(timestep), local.step(action))


@under_trio
async def test_with_the_kind_known_everything_is_one_flight() -> None:
    links: list[Watched] = []

    async def connect(*arguments: Any) -> Watched:
        links.append(Watched(await original(*arguments)))
        return links[0]

    original = transports.connect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transports, "connect", connect)
        async with served() as (_, server):
            url = server.url("FrozenLake-v1")
            async with capenv.connect(url, kind="environment") as environment:
                session = environment.create_world().join()
                reset, step = session.reset(seed=1), session.step(1)
                timestep = await step
                # Hello, restore, world, session, reset and step: with the bootstrap, in one flight.
                assert links[0].flights == [6, 0]
                with gymnasium.make("FrozenLake-v1") as local:
                    assert identical(tuple(await reset), local.reset(seed=1))
                    assert identical(tuple(timestep), local.step(1))


@under_trio
async def test_with_the_kind_known_what_is_wrong_is_said_by_what_is_awaited() -> None:
    async with served() as (_, server):
        url = server.url("mortal")
        wrong = capenv.CapabilityURL.parse(url).with_secret(b"x" * 32).reveal()
        async with capenv.connect(wrong, kind="environment") as environment:
            with pytest.raises(UnknownToken):
                await environment.create_world().join()
        async with capenv.connect(url, kind="session") as session:
            with pytest.raises(CapenvError):
                await session.reset()
        with pytest.raises(URLError, match="no kind 'thing'"):
            async with capenv.connect(url, kind="thing"):
                pass


@under_trio
async def test_what_is_not_there_fails_all_that_follows() -> None:
    async with served() as (_, server), capenv.connect(server.url()) as host:
        missing = host.environment("FrozenLake-v2")
        session = missing.create_world().join()
        reset = session.reset()
        for following in (missing, session, reset, session.step(0), session.leave()):
            with pytest.raises(UnknownEnvironment, match="did you mean FrozenLake-v1"):
                await following
        with pytest.raises(BadSettings, match="has no setting 'extra'"):
            await host.create_world("mortal", extra=1).join()
        with pytest.raises(UnknownSeat):
            await host.create_world("mortal").join("back")


@under_trio
async def test_actions_are_checked_here_when_the_space_is_known_and_there_when_not() -> None:
    async with served() as (_, server), capenv.connect(server.url("mortal")) as environment:
        session = environment.create_world().join()
        early = session.step(0)
        outside = session.step(3)
        with pytest.raises(ResetNeeded):
            await early
        with pytest.raises(OutsideSpace):
            await outside
        await session.reset()
        with pytest.raises(OutsideSpace):
            session.step(3)
        assert (await session.step(2)).observation == 2


@under_trio
async def test_a_seat_is_taken_until_it_is_left() -> None:
    async with served() as (_, server), capenv.connect(server.url("mortal")) as environment:
        world = await environment.create_world()
        first = await world.join()
        with pytest.raises(SeatTaken):
            await world.join()
        await first.leave()
        await first.leave()
        with pytest.raises(SessionClosed):
            await first.reset()
        second = await world.join()
        assert tuple(await second.reset()) == (0, {})
        del second  # letting go leaves too
        gc.collect()
        await world.describe()
        assert await world.join()


@under_trio
async def test_a_destroyed_world_is_closed_for_everyone() -> None:
    async with served() as (_, server), capenv.connect(server.url("mortal")) as environment:
        world = await environment.create_world()
        session = await world.join()
        await world.destroy()
        assert Mortal.closed.is_set()
        with pytest.raises(SessionClosed):
            await session.reset()
        with pytest.raises(SessionClosed):
            await world.join()
        await world.destroy()


@under_trio
async def test_a_world_ends_when_the_last_reference_is_dropped() -> None:
    async with served() as (_, server), capenv.connect(server.url("mortal")) as environment:
        world = await environment.create_world()
        closed = Mortal.closed
        session = await world.join()
        del world
        gc.collect()
        await session.reset()
        assert not closed.is_set()
        del session
        gc.collect()
        await closed.wait()


@under_trio
async def test_a_world_ends_with_the_connection() -> None:
    async with served() as (_, server):
        async with capenv.connect(server.url("mortal")) as environment:
            session = environment.create_world().join()
            await session.reset()
            closed = Mortal.closed
        await closed.wait()


@under_trio
async def test_a_session_with_a_url_is_shared_and_outlives_who_uses_it() -> None:
    async with served() as (host, server):
        url = server.url(host.create_world("mortal").join())
        async with capenv.connect(url) as one, capenv.connect(url) as other:
            assert (await one.describe()).restored
            await one.reset()
            assert (await other.step(2)).observation == 2
        async with capenv.connect(url) as later:
            assert (await later.step(1)).observation == 1
        assert not Mortal.closed.is_set()


@under_trio
async def test_a_world_with_a_url_outlives_who_uses_it() -> None:
    async with served() as (host, server):
        url = server.url(host.create_world("mortal"))
        closed = Mortal.closed
        for _ in range(2):
            async with capenv.connect(url) as world:
                assert isinstance(world, capenv.RemoteWorld)
                session = await world.join()
                await session.reset()
                await session.leave()
        assert not closed.is_set()


@under_trio
async def test_giving_up_on_a_step_gives_up_on_nothing_else() -> None:
    async with served() as (_, server), capenv.connect(server.url("CartPole-v1")) as environment:
        session = environment.create_world().join()
        session.reset(seed=1)
        step = session.step(0)
        with trio.move_on_after(0) as scope:  # before the seat itself is known to be ours
            await step
        assert scope.cancelled_caught
        assert (await session.step(1)).reward == 1.0
        assert (await session.describe()).seat == "agent"
