"""Whatever an environment over whatever spaces is given and returns, it is the same over the wire."""

import copy
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from exactness import identical
from faithful_generated import Plan, Planned, current, infos, plans
from gymnasium.utils.passive_env_checker import data_shares_objects
from hypothesis import given
from hypothesis import strategies as st
from strategies import sampled

import capenv


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    host = capenv.Host()
    host.add("planned", Planned)
    with capenv.serve(host, listen="capnp://memory@faithful-generated") as server:
        yield server.url("planned")


@given(plan=plans(), seed=st.none() | st.integers(0, 2**31 - 1) | st.just(2**127), options=infos)
def test_all_that_passes_is_identical(
    url: str, plan: Plan, seed: int | None, options: dict[str, Any]
) -> None:
    current[0] = plan
    with capenv.make(url) as env:
        planned = Planned.latest
        for ours, theirs in (
            (env.observation_space, plan.observation_space),
            (env.action_space, plan.action_space),
        ):
            assert ours == theirs
            assert identical(sampled(ours, 5), sampled(copy.deepcopy(theirs), 5))
        returned: list[Any] = [env.reset(seed=seed, options=options)]
        for action, (observation, reward, terminated, truncated, info) in zip(
            plan.actions, plan.steps, strict=True
        ):
            timestep = env.step(action)
            theirs = (observation, reward, bool(terminated), bool(truncated), info)
            assert identical(timestep, theirs)
            returned.append((timestep[0], timestep[4]))
        returned.append(env.reset())

    assert identical(planned.given, [(seed, options), *plan.actions, (None, None)])
    # What the first calls returned was not touched by the later ones.
    expected = [plan.resets[0], *((step[0], step[4]) for step in plan.steps), plan.resets[1]]
    assert identical(returned, expected)
    for one, other in combinations(returned, 2):
        assert not data_shares_objects(one, other)
    for array in arrays(returned):
        assert array.flags.writeable
        assert array.flags.owndata or array.base is not None


def arrays(value: Any) -> Iterator[np.ndarray[Any, Any]]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from arrays(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from arrays(item)
