"""Large observations: through shared memory and through the socket, kept or not, always their own."""

import os
import random
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import capenv
from capenv.remote.servants import SessionServant
from capenv.remote.session_messages import SessionMessages
from capenv.remote.step_calls import StepCalls
from capenv.transports.shared_frames import SharedFrames

SHAPE = (300, 500, 3)


class Screen(gymnasium.Env[Any, Any]):
    """Shows a number, in one array that it draws on again and again."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0, 255, SHAPE, np.uint8)
        self.action_space = spaces.Discrete(256)
        self._screen = np.zeros(SHAPE, np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._screen[:] = 0
        return self._screen, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._screen[:] = action
        return self._screen, 1.0, False, False, {}


@pytest.fixture(scope="module", params=["unix", "tcp"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    host = capenv.Host()
    host.add("screen", Screen)
    listen = None if request.param == "unix" else "capnp://insecure@127.0.0.1:0"
    with capenv.serve(host, listen=listen) if listen else capenv.serve(host) as server:
        yield server.url()


@pytest.mark.parametrize("kept", [0, 1, 6, 7, 8, 9, 20])
def test_frames_that_are_kept_stay_what_they_were(url: str, kept: int) -> None:
    """Fewer and more than there are slots to share, or buffers to use again."""
    chance = random.Random(kept)
    env = capenv.make(url)
    env.reset()
    frames: list[tuple[Any, int]] = []
    for step in range(150):
        number = step % 251 + 1
        observation, *_ = env.step(number)
        assert observation.shape == SHAPE
        assert (observation == number).all()
        assert observation.flags.writeable
        if kept:
            frames.append((observation if step % 3 else observation[10:, ::2], number))
            if len(frames) > kept:
                frames.pop(chance.randrange(len(frames)))
        assert all(frame.flat[0] == frame.flat[-1] == of for frame, of in frames)
    assert all((frame == of).all() for frame, of in frames)
    env.close()
    assert all((frame == of).all() for frame, of in frames), "also behind the session"


def test_writing_into_a_frame_is_ones_own_affair(url: str) -> None:
    env = capenv.make(url)
    env.reset()
    for step in range(30):
        observation, *_ = env.step(step)
        assert (observation == step).all()
        observation += 1
    env.close()


def test_memory_is_shared_over_a_unix_socket_and_nowhere_else(url: str) -> None:
    env = capenv.make(url)
    assert (_messages(env).borrowed is not None) == ("127.0.0.1" not in url)
    env.close()


def test_no_descriptor_stays(url: str) -> None:
    counts = []
    for _ in range(15):
        env = capenv.make(url)
        env.reset()
        env.step(1)
        env.close()
        del env
        counts.append(len(os.listdir("/proc/self/fd")))
    assert counts[-1] <= min(counts[:3]) + 5, "the host's side lets go of the last a little later"


def _messages(env: Any) -> SessionMessages:
    messages: SessionMessages = env._session._messages
    return messages


def test_no_slot_is_written_while_it_is_read(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner poisons every slot as soon as it may, and no frame of the agent's shows it."""
    free = SharedFrames.free

    def poisoning(self: SharedFrames, slots: int) -> None:
        freed = self._lent & slots
        free(self, slots)
        for slot in range(self.slots):
            if freed >> slot & 1:
                self._memory[slot][:] = 0xEE

    monkeypatch.setattr(SharedFrames, "free", poisoning)
    env = capenv.make(url)
    env.reset()
    last: Any = None
    for step in range(60):
        observation, *_ = env.step(step)
        assert (observation == step).all()
        assert last is None or (last == step - 1).all()
        last = observation
    env.close()


@pytest.mark.parametrize("kept", [1, 3])
def test_steps_that_share_are_repeated_at_both_ends(
    url: str, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    general: list[str] = []
    for owner, name in ((StepCalls, "_in_general"), (SessionServant, "_answer_step")):
        original = getattr(owner, name)

        def counting(*arguments: Any, original: Any = original, name: str = name) -> Any:
            general.append(name)
            return original(*arguments)

        monkeypatch.setattr(owner, name, counting)
    env = capenv.make(url)
    env.reset()
    frames: list[Any] = []
    for step in range(60):
        frames = [*frames, env.step(step)[0]][-kept:]
    assert len(general) <= 4, "the first step and the one by which the host learns"
    env.close()
