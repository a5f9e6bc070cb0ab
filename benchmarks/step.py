"""What one lockstep step costs: capenv, a raw socket, AsyncVectorEnv, pycapnp's RPC, dm_env_rpc, a WebSocket.

All are timed in one run and in turns, so that they meet the same machine::

    python benchmarks/step.py
    python benchmarks/step.py --quick --only capenv --environment Screen-v0 --json -
"""

from typing import Annotated

import command
import contenders
import environments
import report
import typer
from report import Column, Figures
from settings import measure_all

_QUICK_ROUNDS, _QUICK_STEPS = 3, 100
_SHARES = {environments.SCREEN: 20}
"""Where a step is long a round has fewer: one of so many."""
_FAULTS = 1.0
"""Page faults per step that are worth telling of."""


def _faults(figures: Figures) -> str:
    client, server = figures.client_faults, figures.server_faults
    return f"{client:,.0f} + {server:,.0f}" if client + server >= _FAULTS else ""


_COLUMNS = [
    Column("median µs", lambda figures: f"{figures.median_us:,.1f}"),
    Column("p99 µs", lambda figures: f"{figures.p99_us:,.1f}"),
    Column("steps/s", lambda figures: f"{figures.steps_per_second:,.0f}"),
    Column("× raw", lambda figures: "" if figures.ratio is None else f"{figures.ratio:.1f}"),
    Column("faults/step", _faults, lambda figures: _faults(figures) != ""),
]


def step(
    rounds: command.Rounds = 20,
    steps: Annotated[
        int,
        typer.Option(
            min=20,
            help="Per round and contender, unless a quarter of a second ends first; of screens a 20th.",
        ),
    ] = 500,
    environment: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"One of {', '.join(environments.ALL)}; repeatable."),
    ] = None,
    only: command.Only = None,
    quick: command.Quick = False,
    json_path: command.JsonPath = None,
) -> None:
    """Time one lockstep step of every contender, on one core and across two."""
    if quick:
        rounds, steps = _QUICK_ROUNDS, _QUICK_STEPS
    names = environment or environments.ALL
    for name in names:
        command.check("--environment", name, environments.ALL)
    chosen = command.chosen(contenders.STEPS, only)
    counts = {name: steps // _SHARES.get(name, 1) for name in names}
    measurements = measure_all(chosen, counts, rounds)
    command.publish(
        {"steps_per_round": counts, **report.as_dict(measurements, rounds)},
        lambda console: report.show(measurements, _COLUMNS, console),
        json_path,
    )


if __name__ == "__main__":
    command.run(step)
