"""Gymnasium's own checkers find nothing in a remote environment that they do not find in the local one."""

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import pytest
from faithful_names import NAMES
from gymnasium.utils.env_checker import check_env

import capenv

Env = gymnasium.Env[Any, Any]

MAKERS: dict[str, Callable[[str], Env]] = {
    "capenv.make": capenv.make,
    "gymnasium.make": lambda url: gymnasium.make("capenv:Remote-v0", url=url),
}


@contextmanager
def complaints() -> Iterator[set[str]]:
    """Gather the warnings given, without the environments' names and addresses."""
    found: set[str] = set()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield found
    for warning in caught:
        found.add(re.sub(r"<.*>|0x[0-9a-f]+", "…", str(warning.message)))


def checked(make: Callable[[], Env], *, renders: bool) -> set[str]:
    with complaints() as found, make() as env:
        check_env(env.unwrapped, skip_render_check=not renders)
    return found


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("name", NAMES)
def test_check_env_finds_nothing_more(name: str, maker: str, urls: dict[str, str]) -> None:
    # MuJoCo ends the process where there is no screen, so its render modes cannot be tried here.
    renders = not name.startswith("Inverted")
    remote = checked(lambda: MAKERS[maker](urls[name]), renders=renders)
    local = checked(lambda: gymnasium.make(name, disable_env_checker=True), renders=renders)
    assert remote == local


@pytest.mark.parametrize("name", NAMES)
def test_the_passive_checker_finds_nothing_more(name: str, urls: dict[str, str]) -> None:
    found = []
    for make in (
        lambda: gymnasium.make("capenv:Remote-v0", url=urls[name], disable_env_checker=False),
        lambda: gymnasium.make(name, disable_env_checker=False),
    ):
        with complaints() as given, make() as env:
            env.reset(seed=1)
            env.action_space.seed(1)
            for _ in range(20):
                if any(env.step(env.action_space.sample())[2:4]):
                    env.reset()
        found.append(given)
    remote, local = found
    assert remote == local


@pytest.mark.parametrize("name", ["FrozenLake-v1", "Blackjack-v1", "Pendulum-v1"])
def test_checkers_find_nothing_in_a_rendering_one(name: str, urls: dict[str, str]) -> None:
    modes = {"render_mode": "rgb_array"}
    remote = checked(lambda: capenv.make(urls[name], **modes), renders=True)
    local = checked(lambda: gymnasium.make(name, **modes), renders=True)
    assert remote == local
