"""Environment steps per second of many CartPoles stepped as one: in this process, in others, behind a URL.

All are timed in one run and in turns, so that they meet the same machine::

    python benchmarks/vector.py
    python benchmarks/vector.py --quick --only EnvPool --json -
"""

from typing import Annotated

import command
import contenders
import environments
import report
import typer
from report import Column
from settings import measure_all

_QUICK_ROUNDS, _QUICK_STEPS = 3, 50

_COLUMNS = [
    Column("median µs", lambda figures: f"{figures.median_us:,.1f}"),
    Column("p99 µs", lambda figures: f"{figures.p99_us:,.1f}"),
    Column("env steps/s", lambda figures: f"{figures.steps_per_second:,.0f}"),
    Column(
        "× SyncVectorEnv",
        lambda figures: "" if figures.ratio is None else f"{1 / figures.ratio:.2f}",
    ),
]


def vector(
    rounds: command.Rounds = 20,
    steps: Annotated[
        int,
        typer.Option(
            min=10, help="Per round and contender, unless a quarter of a second ends first."
        ),
    ] = 200,
    only: command.Only = None,
    quick: command.Quick = False,
    json_path: command.JsonPath = None,
) -> None:
    """Time steps of 64 and of 1024 CartPoles, on one core and across two.

    AsyncVectorEnv and EnvPool may use both cores where there are two.
    """
    if quick:
        rounds, steps = _QUICK_ROUNDS, _QUICK_STEPS
    chosen = command.chosen(contenders.VECTORS, only)
    measurements = measure_all(
        chosen, dict.fromkeys((environments.SMALL_VECTOR, environments.LARGE_VECTOR), steps), rounds
    )
    command.publish(
        {"steps_per_round": steps, **report.as_dict(measurements, rounds)},
        lambda console: report.show(measurements, _COLUMNS, console),
        json_path,
    )


if __name__ == "__main__":
    command.run(vector)
