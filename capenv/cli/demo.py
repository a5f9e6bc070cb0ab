"""`capenv demo`: a host in another process, and two agents that reach it by nothing but a URL."""

import functools
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from capenv.adapters.gymnasium import make
from capenv.cli.play import Episode, play_episode, progress
from capenv.errors import CapenvError
from capenv.url import CapabilityURL

_ID = "CartPole-v1"
_LIMIT = 500  # CartPole-v1 truncates an episode here


def balance(observation: Any) -> int:
    """Push the cart to the side to which the pole is falling or about to fall."""
    position, velocity, angle, angular_velocity = observation
    lean = 0.05 * position + 0.1 * velocity + angle + 0.5 * angular_velocity
    return int(lean > 0)


def run(console: Console) -> None:
    """Play CartPole in another process, balancing beside random."""
    signal.signal(signal.SIGTERM, _end)
    console.print(f"starting a host of {_ID} in another process …")
    command = [sys.executable, "-m", "capenv", "serve", _ID]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as host:
        try:
            assert host.stdout is not None
            assert host.stderr is not None
            line = host.stdout.readline()
            if not line:
                raise CapenvError(f"the host did not start: {host.stderr.read().strip()[-500:]}")
            url = line.rstrip("\n").split("\t")[1]
            console.print(f"it runs as process {host.pid} at {CapabilityURL.parse(url)}\n")
            played = _play(url, console)
        finally:
            host.terminate()
            host.communicate()
    console.print(_table(played))
    console.print(
        "\n[bold]what to type next[/]\n"
        "  capenv serve CartPole-v1 --url-file /tmp/urls    # a host of your own\n"
        '  capenv info "$(cut -f2 /tmp/urls)"                # what it offers\n'
        '  capenv run "$(cut -f2 /tmp/urls)"                 # a random agent\n'
        "  README.md                                         # an agent of your own, in ten lines",
        highlight=False,
    )


def _end(number: int, _: object) -> None:
    """End as a signal would, but not without the host."""
    sys.exit(128 + number)


def _play(url: str, console: Console) -> dict[str, Episode]:
    env = make(url)
    try:
        env.action_space.seed(1)
        agents: dict[str, Callable[[Any], Any]] = {
            "random": lambda observation: env.action_space.sample(),
            "balancing": balance,
        }
        played: dict[str, Episode] = {}
        with progress(console) as bar:
            for name, policy in agents.items():
                task = bar.add_task(f"{name:>9} agent", total=_LIMIT)
                advance = functools.partial(bar.advance, task, 1)
                played[name] = play_episode(env, policy, 1, on_step=advance)
        return played
    finally:
        env.close()


def _table(played: dict[str, Episode]) -> Table:
    table = Table("agent", "return", "steps", "steps/s", title=f"{_ID}, one episode each")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, episode in played.items():
        rate = f"{episode.length / episode.seconds:,.0f}"
        table.add_row(name, f"{episode.returns:g}", str(episode.length), rate)
    return table
