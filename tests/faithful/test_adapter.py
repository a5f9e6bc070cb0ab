"""Besides trajectories: a remote environment is in a user's hands what a local one is."""

import copy
import gc
import json
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from exactness import identical
from faithful_play import Twins
from gymnasium import wrappers
from gymnasium.envs.registration import EnvSpec

import capenv
from capenv.errors import BadSettings, ResetNeeded, SeatTaken, SessionClosed

Env = gymnasium.Env[Any, Any]


def local_twin(name: str, **settings: Any) -> Env:
    return gymnasium.make(name, disable_env_checker=True, **settings)


def episode(env: Env, seed: int = 5, steps: int = 8) -> list[Any]:
    """Return all that an environment returns for one seed and the actions that follow from it."""
    env.action_space.seed(seed)
    returned: list[Any] = [env.reset(seed=seed)]
    for _ in range(steps):
        returned.append(env.step(env.action_space.sample()))
        if returned[-1][2] or returned[-1][3]:
            break
    return returned


def secret(url: str) -> str:
    return url.rpartition("/")[2]


# Rendering.


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("CartPole-v1", "rgb_array"),
        ("FrozenLake-v1", "rgb_array"),
        ("Taxi-v4", "rgb_array"),
        ("ale_py:ALE/Pong-v5", "rgb_array"),
        ("FrozenLake-v1", "ansi"),
        ("Taxi-v4", "ansi"),
        ("CliffWalking-v1", "ansi"),
        ("CartPole-v1", "rgb_array_list"),
        ("FrozenLake-v1", "ansi_list"),
        ("CartPole-v1", None),
    ],
)
def test_frames_are_the_same(name: str, mode: str | None, urls: dict[str, str]) -> None:
    with (
        local_twin(name, render_mode=mode) as local,
        capenv.make(urls[name], render_mode=mode) as ours,
    ):
        assert ours.render_mode == local.render_mode == mode
        assert ours.metadata == local.metadata
        pair = Twins(local, ours)
        pair.reset(seed=2)
        for _ in range(3):
            pair.step(local.action_space.sample())
        with quiet():  # Gymnasium warns of render without a mode
            theirs = local.render()
        frame = ours.render()
        assert identical(frame, theirs)
        if mode == "rgb_array":
            assert frame.dtype == np.uint8
            assert frame.ndim == 3
            assert frame.flags.writeable


def quiet() -> Any:
    return warnings.catch_warnings(action="ignore")


def test_human_is_a_window_here(urls: dict[str, str]) -> None:
    with capenv.make(urls["CartPole-v1"], render_mode="human") as env:
        assert env.render_mode == "human"
        assert identical(
            [timestep[0] for timestep in episode(env, steps=2)],
            [timestep[0] for timestep in episode(local_twin("CartPole-v1"), steps=2)],
        )
        assert env.render() is None
        with env.spec.make() as again:
            assert again.render_mode == "human"


def test_a_frame_is_kept(urls: dict[str, str]) -> None:
    with capenv.make(urls["CartPole-v1"], render_mode="rgb_array") as env:
        env.reset(seed=1)
        first = env.render()
        kept = first.copy()
        for action in (0, 0, 0, 1, 0):
            env.step(action)
            assert not np.shares_memory(env.render(), first)
        assert identical(first, kept)


# The specification.


def test_the_specification_makes_it_again(urls: dict[str, str]) -> None:
    settings = {"map_name": "8x8", "is_slippery": False}
    with capenv.make(urls["FrozenLake-v1"], **settings) as env:
        assert env.spec is not None
        for spec in (env.spec, EnvSpec.from_json(env.spec.to_json()), copy.deepcopy(env.spec)):
            with spec.make() as again:
                assert again.observation_space.n == 64
                assert identical(episode(again), episode(env))
        assert json.loads(env.spec.to_json())["kwargs"]["map_name"] == "8x8"


def test_the_specification_through_gymnasium(urls: dict[str, str]) -> None:
    with gymnasium.make("capenv:Remote-v0", url=urls["FrozenLake-v1"], map_name="8x8") as env:
        assert env.spec is not None
        with gymnasium.make(env.spec) as again, gymnasium.make(env.spec, map_name="4x4") as other:
            assert again.observation_space.n == 64
            assert other.observation_space.n == 16
            assert identical(episode(again), episode(env))


def test_wrappers_are_in_the_specification(urls: dict[str, str]) -> None:
    env = wrappers.TimeAwareObservation(
        wrappers.TimeLimit(capenv.make(urls["CartPole-v1"]), max_episode_steps=3)
    )
    with env, env.spec.make() as again:
        assert identical(episode(again), episode(env))


@pytest.mark.parametrize(
    "make", [capenv.make, lambda url: gymnasium.make("capenv:Remote-v0", url=url)]
)
def test_the_secret_is_not_shown(make: Any, urls: dict[str, str], capsys: Any) -> None:
    url = urls["CartPole-v1"]
    with make(url) as env, wrappers.TimeLimit(env, 5) as wrapped:
        for shown in (env, env.spec, env.spec.kwargs, wrapped, wrapped.spec):
            for text in (str(shown), repr(shown), f"{shown}"):
                assert secret(url) not in text
        env.spec.pprint()
        wrapped.spec.pprint()
        env.close()
        with pytest.raises(SessionClosed) as raised:
            env.step(0)
        assert secret(url) not in str(raised.value)
    assert secret(url) not in capsys.readouterr().out


def test_nondeterministic_environments_say_so() -> None:
    gymnasium.register("Random-v0", lambda: gymnasium.make("CartPole-v1"), nondeterministic=True)
    host = capenv.Host()
    host.add("Random-v0")
    try:
        with capenv.serve(host) as server:
            url = server.url("Random-v0")
            with capenv.make(url) as env, gymnasium.make("capenv:Remote-v0", url=url) as made:
                assert env.spec.nondeterministic
                assert made.spec.nondeterministic
    finally:
        del gymnasium.registry["Random-v0"]


# Random numbers.


def test_np_random_seed_is_the_environments(urls: dict[str, str]) -> None:
    with local_twin("CartPole-v1") as local, capenv.make(urls["CartPole-v1"]) as env:
        for seed in (3, None, 2**100, None):
            env.reset(seed=seed)
            local.reset(seed=seed)
            assert env.np_random_seed == local.np_random_seed
            assert isinstance(env.np_random, np.random.Generator)


def test_np_random_seed_asked_for_before_the_first_reset(urls: dict[str, str]) -> None:
    with capenv.make(urls["CartPole-v1"]) as env, local_twin("CartPole-v1") as local:
        seed = env.np_random_seed
        pair = [env.reset(), env.reset()]
        assert env.np_random_seed == seed
        assert identical(pair, [local.reset(seed=seed), local.reset()])


@pytest.mark.parametrize("seed", [-1, "1", 1.5, np.int64(1)])
def test_bad_seeds_are_gymnasiums_error(seed: Any, urls: dict[str, str]) -> None:
    texts = []
    for env in (capenv.make(urls["CartPole-v1"]), local_twin("CartPole-v1")):
        with env, pytest.raises(gymnasium.error.Error) as raised:
            env.reset(seed=seed)
        texts.append(str(raised.value))
    assert texts[0] == texts[1]


def test_an_environment_whose_seed_is_unknown() -> None:
    class Unseeded(gymnasium.Env[Any, Any]):
        observation_space = action_space = gymnasium.spaces.Discrete(2)

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            self.np_random = np.random.default_rng(1)
            return 0, {}

    host = capenv.Host()
    host.add("unseeded", Unseeded)
    with capenv.serve(host) as server, capenv.make(server.url()) as env:
        env.reset()
        assert env.np_random_seed == Unseeded.np_random_seed.__get__(env.unwrapped) == -1
        env.reset(seed=4)


# The life of an environment.


def test_order_is_enforced_as_gymnasium_does(urls: dict[str, str]) -> None:
    for env in (
        capenv.make(urls["CartPole-v1"], render_mode="rgb_array"),
        local_twin("CartPole-v1"),
    ):
        with env:
            with pytest.raises(gymnasium.error.ResetNeeded):
                env.step(0)
            with pytest.raises(gymnasium.error.ResetNeeded):
                env.render()
    assert issubclass(ResetNeeded, capenv.CapenvError)


def test_closing(urls: dict[str, str]) -> None:
    env = capenv.make(urls["CartPole-v1"])
    before = episode(env)
    env.close()
    env.close()
    with pytest.raises(SessionClosed):
        env.step(0)
    with pytest.raises(SessionClosed):
        env.render()
    # Gymnasium's own environments play again after close, and users' tests rely on it.
    assert identical(episode(env), before)
    env.close()
    assert env.spec is not None
    with env.spec.make() as again:
        assert identical(again.reset(seed=5), before[0])


def test_one_never_closed_goes_quietly(urls: dict[str, str]) -> None:
    gc.collect()
    descriptors = len(os.listdir("/proc/self/fd"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            env = capenv.make(urls["CartPole-v1"])
            env.reset()
            del env
            gc.collect()
    assert not caught
    assert len(os.listdir("/proc/self/fd")) == descriptors


# Copies.


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize("wrapped", [False, True])
def test_copies_play_on_their_own(copied: Any, wrapped: bool, urls: dict[str, str]) -> None:
    settings = {"map_name": "8x8", "render_mode": "ansi"}
    with capenv.make(urls["FrozenLake-v1"], **settings) as env:
        if wrapped:
            env = wrappers.TimeLimit(env, 3)
        alone = episode(local_twin("FrozenLake-v1", **settings), steps=3 if wrapped else 8)
        env.reset(seed=5)
        with copied(env) as other:
            assert other.observation_space == env.observation_space
            assert other.render_mode == "ansi"
            returned = episode(other)
            # The original is where it was: nobody else stepped it.
            env.action_space.seed(5)
            continued = [env.step(env.action_space.sample()) for _ in alone[1:]]
        if wrapped:
            alone[-1] = (*alone[-1][:3], True, alone[-1][4])
        assert identical(returned, alone)
        assert identical(continued, alone[1:])


def test_a_copy_of_a_closed_one_connects(urls: dict[str, str]) -> None:
    env = capenv.make(urls["CartPole-v1"])
    env.close()
    with copy.deepcopy(env) as other:
        assert len(episode(other)) > 1


def test_vectors_of_it(urls: dict[str, str]) -> None:
    make = {"num_envs": 2, "vectorization_mode": "sync"}
    remote = gymnasium.make_vec("capenv:Remote-v0", url=urls["CartPole-v1"], **make)
    local = gymnasium.make_vec("CartPole-v1", **make)
    with_seed = [env.reset(seed=1) for env in (remote, local)]
    assert identical(*with_seed)
    for _ in range(40):
        actions = local.action_space.sample()
        assert identical(remote.step(actions), local.step(actions))
    remote.close()
    local.close()


# Wrappers.


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env: wrappers.RecordEpisodeStatistics(env, buffer_length=2),
        lambda env: wrappers.TimeLimit(env, 5),
        lambda env: wrappers.FrameStackObservation(env, 3),
        lambda env: wrappers.Autoreset(env),
        lambda env: wrappers.ClipReward(env, -0.5, 0.5),
        lambda env: wrappers.NormalizeObservation(env),
        lambda env: wrappers.OrderEnforcing(wrappers.PassiveEnvChecker(env)),
    ],
)
def test_wrappers_on_top(wrap: Any, urls: dict[str, str]) -> None:
    local, remote = wrap(local_twin("CartPole-v1")), wrap(capenv.make(urls["CartPole-v1"]))
    with local, remote:
        theirs, ours = episode(local, steps=40), episode(remote, steps=40)
    for returned in (theirs, ours):
        for timestep in returned:
            timestep[-1].get("episode", {}).pop("t", None)  # by the clock
    assert identical(ours, theirs)


def test_frames_collected(urls: dict[str, str]) -> None:
    settings: dict[str, Any] = {"render_mode": "rgb_array"}
    pair = [
        wrappers.AddRenderObservation(env)
        for env in (
            local_twin("CartPole-v1", **settings),
            capenv.make(urls["CartPole-v1"], **settings),
        )
    ]
    with pair[0] as local, pair[1] as remote:
        assert identical(episode(remote), episode(local))


# What a URL may name.


@pytest.fixture
def host() -> capenv.Host:
    host = capenv.Host()
    host.add("CartPole-v1")
    host.add("FrozenLake-v1")
    return host


@pytest.fixture
def server(host: capenv.Host) -> Iterator[capenv.Server]:
    with capenv.serve(host) as server:
        yield server


def test_every_kind_of_url_plays(host: capenv.Host, server: capenv.Server) -> None:
    expected = episode(local_twin("FrozenLake-v1"))
    world = host.create_world("FrozenLake-v1")
    seated = host.create_world("FrozenLake-v1").join()
    for env in (
        capenv.make(server.url(), "FrozenLake-v1"),
        capenv.make(server.url("FrozenLake-v1")),
        capenv.make(server.url(world)),
        capenv.make(server.url(seated)),
    ):
        for _ in range(2):
            assert identical(episode(env), expected)
            env.close()  # and reset connects again
        copied = copy.deepcopy(env)
        assert identical(episode(copied), expected)
        copied.close()


def test_a_world_that_renders_is_copied_too(host: capenv.Host, server: capenv.Server) -> None:
    # Its mode was chosen when it was made: an agent that comes back must not choose again.
    world = host.create_world("FrozenLake-v1", {"render_mode": "ansi"})
    env = capenv.make(server.url(world))
    assert env.render_mode == "ansi"
    env.reset(seed=1)
    text = env.render()
    with pytest.raises(SeatTaken):
        copy.deepcopy(env)
    env.close()
    with copy.deepcopy(env) as other:
        other.reset(seed=1)
        assert other.render() == text
    env.reset(seed=1)
    assert env.render() == text
    env.close()
    with pytest.raises(BadSettings):
        capenv.make(server.url(world), render_mode="rgb_array")


_FORKED = """
import os, sys
import capenv

env = capenv.make(sys.argv[1])
env.reset(seed=1)
if not (child := os.fork()):
    match sys.argv[2]:
        case "closes":
            env.close()
        case "drops":
            env.__del__()
        case "plays on":
            env.reset(seed=1)
            env.step(0)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
env.step(0)
"""


@pytest.mark.parametrize("deed", ["closes", "drops", "plays on"])
def test_a_fork_leaves_the_connection_to_its_parent(deed: str, urls: dict[str, str]) -> None:
    subprocess.run(
        [sys.executable, "-c", _FORKED, urls["CartPole-v1"], deed], check=True, timeout=60
    )
