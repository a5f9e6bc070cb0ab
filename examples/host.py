"""A host that offers two environments, and an agent in the same script that plays one by its URL."""

from typing import Any

import gymnasium
import numpy as np

import capenv


class Walk(gymnasium.Env[np.ndarray[Any, Any], np.int64]):
    """Walk right to the end of a line."""

    def __init__(self, length: int = 5) -> None:
        self.length = length
        self.observation_space = gymnasium.spaces.Box(0, length, (1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)
        self.place = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.place = 0
        return np.array([self.place], np.float32), {}

    def step(self, action: np.int64) -> Any:
        self.place = max(0, self.place + (1 if action else -1))
        arrived = self.place == self.length
        return np.array([self.place], np.float32), float(arrived), arrived, False, {}


def main() -> None:
    host = capenv.Host()
    host.add("CartPole-v1")  # an id registered with Gymnasium
    host.add("walk", Walk)  # a callable that returns a gymnasium.Env

    with capenv.serve(host, listen="capnp://insecure@127.0.0.1:0") as server:
        url = server.url("walk")  # whoever has this may play
        play(url)


def play(url: str) -> None:
    env = capenv.make(url, length=3)
    observation, _ = env.reset(seed=1)
    done, steps, total = False, 0, 0.0
    while not done:
        observation, reward, terminated, truncated, _ = env.step(1)
        done = terminated or truncated
        steps, total = steps + 1, total + float(reward)
    env.close()
    print(f"{steps} steps, return {total}, the last observation {observation}")


if __name__ == "__main__":
    main()
