"""Environments that do what Hypothesis says: any spaces, observations, rewards and infos."""

import copy
import warnings
from functools import partial
from typing import Any

import attrs
import gymnasium
import numpy as np
from hypothesis import reject
from hypothesis import strategies as st
from strategies import any_space, elements, keys, sampled, values

numbers = (
    st.floats()
    | st.integers(-(2**70), 2**70)
    | st.booleans()
    | st.floats().map(np.float64)
    | st.floats(width=32).map(np.float32)
    | st.integers(-128, 127).map(np.int8)
    | st.booleans().map(np.bool_)
)
infos = st.dictionaries(keys, values(6), max_size=3)
flags = st.booleans() | st.booleans().map(np.bool_)


@attrs.frozen(eq=False)
class Plan:
    """What an environment returns, step by step, and the actions it is to be given."""

    observation_space: gymnasium.Space[Any]
    action_space: gymnasium.Space[Any]
    resets: list[tuple[Any, dict[str, Any]]]
    """Observation and info of each reset."""
    steps: list[tuple[Any, Any, Any, Any, dict[str, Any]]]
    """What each step returns."""
    actions: list[Any]


def contains(space: gymnasium.Space[Any], value: Any) -> bool:
    with warnings.catch_warnings(action="ignore"):  # of numbers that are no arrays
        return space.contains(value)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Plans over spaces of every kind."""
    observation_space, action_space = draw(any_space()), draw(any_space())
    try:
        for space in (observation_space, action_space):
            contains(space, sampled(space, 0))
    except (OverflowError, ValueError):
        # Gymnasium can neither sample where bounds are too far apart, nor take empty Dicts off a stack.
        reject()
    # Gymnasium's own samples of stacked texts may have lost a NUL at their end.
    observations = elements(observation_space).filter(partial(contains, observation_space))
    actions = elements(action_space).filter(partial(contains, action_space))
    step = st.tuples(observations, numbers, flags, flags, infos)
    return Plan(
        observation_space,
        action_space,
        draw(st.lists(st.tuples(observations, infos), min_size=2, max_size=2)),
        draw(st.lists(step, min_size=3, max_size=3)),
        draw(st.lists(actions, min_size=3, max_size=3)),
    )


TRIVIAL = Plan(
    gymnasium.spaces.Discrete(1), gymnasium.spaces.Discrete(1), [(np.int64(0), {})], [], []
)
current = [TRIVIAL]
"""The plan that the next environment follows: its spaces can be no setting."""


class Planned(gymnasium.Env[Any, Any]):
    """An environment that follows the current plan, and keeps what it was given."""

    latest: "Planned"

    def __init__(self) -> None:
        plan = current[0]
        self.observation_space = copy.deepcopy(plan.observation_space)
        self.action_space = copy.deepcopy(plan.action_space)
        self._resets = iter(plan.resets)
        self._steps = iter(plan.steps)
        self.given: list[Any] = []
        Planned.latest = self

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.given.append((seed, options))
        return copy.deepcopy(next(self._resets))

    def step(self, action: Any) -> Any:
        self.given.append(action)
        return copy.deepcopy(next(self._steps))
