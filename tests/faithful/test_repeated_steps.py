"""Steps that are repeated from patterns: the same as all others, whatever the bytes say."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from faithful_repeats import Outcome, Wire, hosted, play, recorded, without_patterns
from hypothesis import given
from hypothesis import strategies as st

from capenv.remote.repeated_steps import RepeatedSteps

ACTIONS = [np.int64(1), np.int64(2), np.int64(3), np.int64(0)]
FRAMES, INTEGERS = tuple(ACTIONS), tuple(int(action) for action in ACTIONS)


@functools.cache
def conversation(kinds: str) -> Wire:
    return recorded(FRAMES if kinds == "frames" else INTEGERS)


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
    steps = [kind(step % 5) for step in range(16)]
    told = iter(recorded(steps).told)
    taken = play(lambda _: next(told, b""), steps)
    for step, outcome in enumerate(taken, 1):
        match step:
            case 13:
                assert outcome.failure.startswith("EnvironmentFailed: counting failed in step")
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
