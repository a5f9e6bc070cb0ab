"""The same seeds and actions give the same bits, from a process of its own and from this one."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from exactness import identical
from faithful_names import NAMES
from faithful_play import Twins

import capenv

STEPS = {"ale_py:ALE/Pong-v5": 60}
"""Fewer where they are dear: others take the default."""


def twins(name: str, urls: dict[str, str], **settings: Any) -> Twins:
    # The checker only warns; what passes it is the same.
    local = gymnasium.make(name, disable_env_checker=True, **settings)
    remote = capenv.make(urls[name], **settings)
    for space, other in (
        (local.action_space, remote.action_space),
        (local.observation_space, remote.observation_space),
    ):
        assert space == other
        space.seed(11)
        other.seed(11)
        assert identical(space.sample(), other.sample())
    return Twins(local, remote)


@pytest.mark.parametrize("name", NAMES)
def test_trajectories_are_identical(name: str, urls: dict[str, str]) -> None:
    pair = twins(name, urls)
    steps = STEPS.get(name, 300)
    with pair.local, pair.remote:
        pair.reset(seed=7)
        pair.play(steps)
        pair.reset()  # continues the generator that the seed began
        pair.play(steps // 3)
        pair.reset(seed=7, options={})
        pair.play(steps // 3)
        pair.reset(seed=2**31 - 1)
        pair.play(steps // 3)


def test_a_list_is_as_good_an_action_as_it_is_locally(urls: dict[str, str]) -> None:
    pair = twins("Pendulum-v1", urls)
    with pair.local, pair.remote:
        pair.reset(seed=7)
        for torque in (0.5, -0.3, 2, 1e-9):
            pair.step([torque])
            pair.step(np.array([torque]))  # float64


def drift(pair: Twins) -> None:
    """Go on far out of the space's bounds."""
    for _ in range(200):
        pair.step(1)


def test_steps_after_the_end_are_what_they_are_locally(urls: dict[str, str]) -> None:
    pair = twins("CartPole-v1", urls)
    with pair.local, pair.remote:
        pair.reset(seed=7)
        while not pair.over:
            pair.step(1)
        with pytest.warns(UserWarning, match="already returned terminated"):  # from the local one
            drift(pair)
        assert pair.local.unwrapped.state[0] > 4.8
        pair.reset(seed=7)
        pair.step(1)


# ALE draws its seeds where np_random_seed does not tell of them.
@pytest.mark.parametrize("name", [name for name in NAMES if "ALE" not in name])
def test_a_seed_that_the_environment_drew_gives_its_episode_again(
    name: str, urls: dict[str, str]
) -> None:
    played = []
    with capenv.make(urls[name]) as drawn:
        first = drawn.reset()
        seed = drawn.np_random_seed
        drawn.action_space.seed(3)
        ended = False
        while not ended and len(played) < 10:
            action = drawn.action_space.sample()
            played.append((action, timestep := drawn.step(action)))
            ended = timestep[2] or timestep[3]
    with gymnasium.make(name, disable_env_checker=True) as local:
        assert identical(local.reset(seed=seed), first)
        for action, timestep in played:
            assert identical(local.step(action), timestep)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("FrozenLake-v1", {"map_name": "8x8", "is_slippery": False}),
        ("FrozenLake-v1", {"desc": ["SFF", "FHF", "FFG"]}),
        ("Blackjack-v1", {"natural": True, "sab": False}),
        ("Pendulum-v1", {"g": 9.81}),
        ("Acrobot-v1", {"max_episode_steps": 20}),
        ("CartPole-v1", {"sutton_barto_reward": True}),
        ("Taxi-v4", {"is_rainy": True, "fickle_passenger": True}),
        ("InvertedPendulum-v5", {"reset_noise_scale": 0.1}),
        ("ale_py:ALE/Pong-v5", {"obs_type": "ram", "frameskip": (2, 5)}),
    ],
)
def test_settings_make_the_same_world(
    name: str, settings: dict[str, Any], urls: dict[str, str]
) -> None:
    pair = twins(name, urls, **settings)
    with pair.local, pair.remote:
        pair.reset(seed=1)
        pair.play(100)


def test_options_reach_the_environment(urls: dict[str, str]) -> None:
    pair = twins("CartPole-v1", urls)
    with pair.local, pair.remote:
        pair.reset(seed=1, options={"low": -0.2, "high": 0.3})
        pair.play(50)


def test_every_action_of_a_batch_of_episodes_may_be_followed_by_a_reset(
    urls: dict[str, str],
) -> None:
    pair = twins("CartPole-v1", urls)
    with pair.local, pair.remote:
        for seed in range(20):
            pair.reset(seed=seed)
            for _ in range(3):
                pair.step(pair.local.action_space.sample())
