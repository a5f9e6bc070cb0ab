"""Many environments stepped as one: of one host, in one message, or of several hosts at the same time."""

import numpy as np
from gymnasium.wrappers.vector import RecordEpisodeStatistics

import capenv

STEPS = 600


def main() -> None:
    host, other = capenv.Host(), capenv.Host()
    for one in (host, other):
        one.add("CartPole-v1")
    with capenv.serve(host) as server, capenv.serve(other) as second:
        url = server.url("CartPole-v1")
        play("one host", url)
        play("two hosts", [url, second.url("CartPole-v1")])


def play(where: str, url: str | list[str]) -> None:
    envs = RecordEpisodeStatistics(capenv.make_vec(url, num_envs=16))
    observations, _ = envs.reset(seed=1)
    returns: list[float] = []
    for _ in range(STEPS):
        # Push the cart to where the pole leans.
        actions = (observations[:, 2] + observations[:, 3] > 0).astype(np.int64)
        observations, _, _, _, infos = envs.step(actions)
        if "episode" in infos:
            returns += infos["episode"]["r"][infos["_episode"]].tolist()
    envs.close()
    print(f"{where}: {len(returns)} episodes, mean return {np.mean(returns):.0f}")


if __name__ == "__main__":
    main()
