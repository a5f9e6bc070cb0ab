"""Environments that vectors are made of, and a host of them in a thread of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

import capenv


class Rich(gymnasium.Env[Any, Any]):
    """Has leaves of every kind, and infos of every kind, some of them only now and then."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 30}

    def __init__(self, render_mode: str | None = None, length: int = 5) -> None:
        self.render_mode = render_mode
        self.observation_space = spaces.Dict(
            image=spaces.Box(0, 255, (3, 4), np.uint8),
            flags=spaces.MultiBinary(3),
            pair=spaces.Tuple((spaces.Discrete(7), spaces.Box(-1.0, 1.0, (2,), np.float64))),
            word=spaces.Text(8),
        )
        self.action_space = spaces.Dict(
            push=spaces.Box(-1.0, 1.0, (2,), np.float32), kind=spaces.Discrete(3)
        )
        self._length = length
        self._steps = 0

    def _observe(self) -> dict[str, Any]:
        return {
            "image": self.np_random.integers(0, 256, (3, 4), np.uint8),
            "flags": self.np_random.integers(0, 2, 3, np.int8),
            "pair": (np.int64(self._steps % 7), self.np_random.uniform(-1, 1, 2)),
            "word": "x" * (self._steps % 8 + 1),
        }

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        return self._observe(), {"begun": (options or {}).get("as", "plain")}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        info: dict[str, Any] = {"push": float(action["push"][0]), "kind": int(action["kind"])}
        if self._steps % 2:
            info["odd"] = {"steps": self._steps, "name": f"step {self._steps}"}
        end = self.np_random.random() < 0.2
        return self._observe(), float(self._steps), bool(end), self._steps >= self._length, info

    def render(self) -> Any:
        return np.full((2, 2, 3), self._steps, np.uint8)


class Moody(gymnasium.Env[Any, Any]):
    """Raises when asked to."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0.0, 1.0, (1,))
        self.action_space = spaces.Discrete(3)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if action == 1:
            raise ValueError("in a mood")
        outside = action == 2
        return np.full(1, 2.0 if outside else 0.5, np.float32), 0.0, False, False, {}


@contextmanager
def serving(host: capenv.Host) -> Iterator[capenv.Server]:
    """Serve a host from a thread."""
    with capenv.serve(host) as server:
        yield server


def rich_host() -> capenv.Host:
    host = capenv.Host()
    host.add("CartPole-v1")
    host.add("Pendulum-v1")
    host.add("rich", Rich)
    host.add("moody", Moody)
    return host
