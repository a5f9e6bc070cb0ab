"""Steps that are repeated from patterns: the same as all others, whatever the bytes say."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from exactness import identical
from faithful_repeats import Outcome, Reciting, Wire, hosted, play, recorded, without_patterns
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from capenv.remote.repeated_steps import RepeatedSteps

ACTIONS = [np.int64(1), np.int64(2), np.int64(3), np.int64(0)]
FRAMES, INTEGERS = tuple(ACTIONS), tuple(int(action) for action in ACTIONS)


@functools.cache
def conversation(kinds: str) -> Wire:
    return recorded(actions(kinds))[0]


def actions(kinds: str) -> tuple[object, ...]:
    return FRAMES if kinds == "frames" else INTEGERS


kinds = st.sampled_from(["frames", "integers"])
changes = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 255)), max_size=3)


def changed(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    out = bytearray(data)
    for place, by in changes:
        out[place % len(out)] ^= by
    return bytes(out)


@given(kinds=kinds, changes=changes)
def test_a_host_answers_changed_calls_as_if_it_had_no_patterns(
    kinds: str, changes: list[tuple[int, int]]
) -> None:
    asked = conversation(kinds).asked
    asked = [*asked[:-1], changed(asked[-1], changes), asked[-1]]
    assert hosted(asked) == without_patterns(lambda: hosted(asked))


@given(kinds=kinds, changes=changes)
def test_an_agent_takes_changed_answers_as_if_it_had_no_patterns(
    kinds: str, changes: list[tuple[int, int]]
) -> None:
    told = conversation(kinds).told
    told = [*told[:-1], changed(told[-1], changes)]

    def outcomes() -> list[Outcome]:
        answers: Iterator[bytes] = iter(told)
        return play(lambda _: next(answers, b""), actions(kinds))

    ours, plain = outcomes(), without_patterns(outcomes)
    assert all(a.same(b) for a, b in zip(ours, plain, strict=True)), (ours, plain)


@pytest.mark.parametrize("kinds", ["frames", "integers"])
def test_steps_are_repeated(kinds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what is compared above are two ways indeed."""
    repeated: list[object] = []
    carry_out = RepeatedSteps.__call__

    def counting(steps: RepeatedSteps, fields: Any, frame: memoryview) -> Any:
        repeated.append(steps)
        return carry_out(steps, fields, frame)

    monkeypatch.setattr(RepeatedSteps, "__call__", counting)
    hosted(conversation(kinds).asked)
    assert len(repeated) == 3, "all but the first of four steps"


@pytest.mark.parametrize("kind", [np.int64, int])
def test_whatever_a_step_returns_or_raises_comes_through(kind: type) -> None:
    """Infos, truncations, failures and what follows them, in the midst of steps that are alike."""
    _, taken = recorded([kind(step % 5) for step in range(16)])
    for step, outcome in enumerate(taken, 1):
        match step:
            case 13:
                assert outcome.failure.startswith("EnvironmentFailed: only failed in step")
            case 14 | 15 | 16:
                assert outcome.failure.startswith("ResetNeeded")
            case _:
                observation, reward, terminated, truncated, info = outcome.result
                expected = np.arange(6, dtype=np.float32) * step + (step - 1) % 5
                assert np.array_equal(observation, expected)
                assert observation.flags.writeable
                assert reward == step / 3
                assert not terminated
                assert not truncated
                assert info == ({"steps": 11} if step == 11 else {})


# What environments return: the same keys and types at nearly every step, and other numbers.
LEAVES = {
    "bool": st.booleans(),
    "int": st.integers(-(2**70), 2**70) | st.integers(-9, 9),
    "float": st.floats(),
    "float32": st.floats(width=32).map(np.float32),
    "float64": st.floats().map(np.float64),
    "int64": st.integers(-(2**63), 2**63 - 1).map(np.int64),
    "bool_": st.booleans().map(np.bool_),
    "none": st.none(),
    "text": st.sampled_from(["won", "lost"]),
    "bytes": st.binary(max_size=2),
    "array": st.lists(st.integers(0, 255), min_size=3, max_size=3).map(
        lambda numbers: np.array(numbers, np.uint8)
    ),
    "flags": st.lists(st.booleans(), min_size=2, max_size=2).map(np.array),
    "empty": st.just(np.zeros(0)),
    "list": st.lists(st.integers(0, 3), max_size=2),
}
KINDS = st.recursive(
    st.sampled_from(sorted(LEAVES)),
    lambda kinds: st.dictionaries(st.sampled_from("abc"), kinds, max_size=3),
    max_leaves=6,
)
REWARDS = st.sampled_from(["float", "int", "float32", "float64", "int64", "bool"])


def infos(kind: Any) -> st.SearchStrategy[Any]:
    if isinstance(kind, str):
        return LEAVES[kind]
    return st.fixed_dictionaries({key: infos(its) for key, its in kind.items()})


OBSERVATIONS = [
    (spaces.Discrete(9), st.integers(0, 8)),
    (spaces.Discrete(9), st.integers(0, 8).map(np.int64)),
    (spaces.Text(4), st.sampled_from(["ab", "ba"])),
    (
        spaces.Tuple((spaces.Discrete(5), spaces.Box(0.0, 1.0, (2,)), spaces.Discrete(3))),
        st.tuples(
            st.integers(0, 4),
            st.floats(0, 1, width=32).map(lambda x: np.full(2, x, np.float32)),
            st.integers(0, 2).map(np.int64),
        ),
    ),
    (
        spaces.MultiBinary(3),
        st.lists(st.integers(0, 1), min_size=3, max_size=3).map(
            lambda bits: np.array(bits, np.int8)
        ),
    ),
]


@given(data=st.data())
def test_every_number_is_that_of_its_step(data: st.DataObject) -> None:
    space, observations = data.draw(st.sampled_from(OBSERVATIONS))
    info = data.draw(st.dictionaries(st.sampled_from("xyz"), KINDS, max_size=3))
    reward = data.draw(REWARDS)
    steps = [
        (
            data.draw(observations),
            data.draw(LEAVES[reward].filter(lambda x: -(2**60) < x < 2**60 or x != x)),
            data.draw(st.booleans()),
            data.draw(st.booleans()),
            data.draw(infos(info if data.draw(st.integers(0, 5)) else {"other": "int"})),
        )
        for _ in range(data.draw(st.integers(3, 6)))
    ]
    _, outcomes = recorded([1] * len(steps), lambda: Reciting(space, steps))
    for outcome, step in zip(outcomes, steps, strict=True):
        assert not outcome.failure
        assert identical(tuple(outcome.result), step)


class Acting(Reciting):
    """Takes actions of some space, and observes them."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        super().__init__(spaces.Discrete(9), [(0, 0.0, False, False, {})])
        self.action_space = space

    def step(self, action: Any) -> Any:
        return 0, 0.0, False, False, {"action": repr(action)}


@pytest.mark.parametrize(
    ("space", "actions"),
    [
        (spaces.Tuple((spaces.Discrete(5),)), [(1,), (2,), (np.int64(3),), (4,), (0,)]),
        (spaces.Dict(a=spaces.Discrete(5)), [{"a": 1}, {"a": 2}, {"a": np.int64(3)}, {"a": 4}]),
        (spaces.Tuple((spaces.Discrete(5), spaces.Discrete(3))), [(1, 2), (2, 1), (3, 0), (4, 1)]),
        (spaces.Discrete(5), [1, 2, np.int64(3), 4, np.int64(1), 0]),
        (spaces.Text(3), ["ab", "ba", "cd", "ab"]),
        (
            spaces.Box(-1.0, 1.0, (2,)),
            [np.zeros(2, np.float32), np.ones(2, np.float32), [0.5, 0.5]],
        ),
        (spaces.MultiDiscrete([3, 3]), [np.array([1, 2]), np.array([0, 1]), np.array([2, 2])]),
    ],
)
def test_actions_arrive_as_what_they_are(space: spaces.Space[Any], actions: list[Any]) -> None:
    _, outcomes = recorded(actions * 2, lambda: Acting(space))
    _, plain = without_patterns(lambda: recorded(actions * 2, lambda: Acting(space)))
    assert all(a.same(b) for a, b in zip(outcomes, plain, strict=True)), (outcomes, plain)
    assert not any(outcome.failure for outcome in outcomes)
