"""What many sessions cost one server: memory while they are idle, and steps per second while they are busy.

The client is capenv's asynchronous one, on a core of its own where there are two::

    python benchmarks/sessions.py
    python benchmarks/sessions.py --quick --json -
"""

import os
import statistics
from typing import Annotated, Any

import command
import environments
import play_capenv
import session_load
import trio
import typer
import worker
from placement import placements
from rich.console import Console
from rich.table import Table
from session_load import Load

_BUSY = [2**exponent for exponent in range(10)]
_SHARE_AT = 256
"""Busy sessions for which it is told what is left of the best rate."""
_QUICK_ROUNDS, _QUICK_SECONDS = 1, 0.1


def sessions(
    count: Annotated[int, typer.Option("--sessions", min=max(_BUSY), help="Opened in all.")] = 1000,
    connections: Annotated[int, typer.Option(min=1, help="Over which they are spread.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="How often each number is busy.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.01, help="For how long each time.")] = 0.5,
    quick: command.Quick = False,
    json_path: command.JsonPath = None,
) -> None:
    """Open many sessions of CartPole over a few connections, and step some of them all at once."""
    if quick:
        rounds, seconds = _QUICK_ROUNDS, _QUICK_SECONDS
    place = placements()[-1]
    os.sched_setaffinity(0, {place.client})
    arguments = (environments.CART_POLE, str(place.client), str(place.server))
    with (
        command.progress(rounds * len(_BUSY)) as bar,
        worker.server(play_capenv.__file__, arguments) as server,
    ):
        bar.describe(f"{count:,} sessions")
        plan = session_load.Plan(count, connections, _BUSY, rounds, seconds)
        load = trio.run(session_load.measure, server, plan, bar.advance)
    figures = {
        "environment": environments.CART_POLE,
        "placement": place.name,
        "sessions": count,
        "connections": connections,
        **_figures(load),
    }
    command.publish(figures, lambda console: _show(figures, console), json_path)


def _figures(load: Load) -> dict[str, Any]:
    rates = {busy: statistics.median(some) for busy, some in load.steps_per_second.items()}
    best = max(rates.values())
    return {
        "bytes_per_idle_session": load.bytes_per_session,
        "ms_to_open_a_session": load.seconds_per_session * 1e3,
        "busy": [
            {"sessions": busy, "steps_per_second": rate, "share_of_best": rate / best}
            for busy, rate in rates.items()
        ],
        f"share_of_best_at_{_SHARE_AT}": rates[_SHARE_AT] / best,
    }


def _show(figures: dict[str, Any], console: Console) -> None:
    title = f"{figures['environment']}, {figures['placement']}"
    table = Table(title=title, title_justify="left")
    for heading in ("busy sessions", "steps/s of all", "of the best"):
        table.add_column(heading, justify="right")
    for row in figures["busy"]:
        rate, share = row["steps_per_second"], row["share_of_best"]
        table.add_row(f"{row['sessions']}", f"{rate:,.0f}", f"{share:.0%}")
    console.print(table)
    console.print(
        f"each of {figures['sessions']:,} idle sessions over {figures['connections']} connections takes"
        f" {figures['bytes_per_idle_session'] / 1024:.1f} KiB of the server's memory, and took"
        f" {figures['ms_to_open_a_session']:.1f} ms to open;"
        f" {_SHARE_AT} busy ones reach {figures[f'share_of_best_at_{_SHARE_AT}']:.0%} of the best rate",
        highlight=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    command.run(sessions)
