"""`capenv run`: a random agent, a live progress bar, and a table of what it got."""

import time
from collections.abc import Callable
from typing import Any

import attrs
import gymnasium
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from capenv.adapters.gymnasium import make

_EPISODES = 10


@attrs.frozen
class Episode:
    """One episode, as far as it was played."""

    returns: float
    length: int
    seconds: float
    complete: bool


def play_episode(
    env: gymnasium.Env[Any, Any],
    policy: Callable[[Any], Any],
    seed: int | None,
    most_steps: int | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> Episode:
    """Play an episode to its end, or for `most_steps`; `on_step` is called after each step."""
    begin = time.perf_counter()
    observation, _ = env.reset(seed=seed)
    returns, length, done = 0.0, 0, False
    while not done and (most_steps is None or length < most_steps):
        observation, reward, terminated, truncated, _ = env.step(policy(observation))
        returns += float(reward)
        length += 1
        done = terminated or truncated
        on_step()
    return Episode(returns, length, time.perf_counter() - begin, done)


def run(
    url: str,
    id: str | None,  # noqa: A002
    episodes: int | None,
    steps: int | None,
    seed: int | None,
    console: Console,
) -> None:
    """Play `episodes` episodes, or `steps` steps, whichever is first over."""
    if episodes is None and steps is None:
        episodes = _EPISODES
    env = make(url, id)
    env.action_space.seed(seed)
    played: list[Episode] = []
    try:
        with progress(console) as bar:
            by_steps = episodes is None
            task = bar.add_task(
                "steps" if by_steps else "episodes", total=steps if by_steps else episodes
            )
            while (episodes is None or len(played) < episodes) and (
                left := _left(steps, played)
            ) != 0:
                played.append(
                    play_episode(
                        env,
                        lambda observation: env.action_space.sample(),
                        seed if not played else None,
                        left,
                        lambda: bar.advance(task, 1 if by_steps else 0),
                    )
                )
                if not by_steps:
                    bar.advance(task)
    finally:
        env.close()
    console.print(table(played))


def progress(console: Console) -> Progress:
    """Return a progress bar, still where the output is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def table(played: list[Episode]) -> Table:
    """Return a table of episodes, with their means."""
    rows = Table("episode", "return", "length", "steps/s", "", title="random agent")
    for column in rows.columns[:4]:
        column.justify = "right"
    for number, episode in enumerate(played, 1):
        rate = episode.length / episode.seconds
        rows.add_row(
            str(number),
            f"{episode.returns:g}",
            str(episode.length),
            f"{rate:,.0f}",
            "" if episode.complete else "cut short",
        )
    rows.add_section()
    seconds = sum(episode.seconds for episode in played)
    rows.add_row(
        "mean",
        f"{np.mean([episode.returns for episode in played]):g}",
        f"{np.mean([episode.length for episode in played]):g}",
        f"{sum(episode.length for episode in played) / seconds:,.0f}",
        "",
    )
    return rows


def _left(steps: int | None, played: list[Episode]) -> int | None:
    return None if steps is None else steps - sum(episode.length for episode in played)
