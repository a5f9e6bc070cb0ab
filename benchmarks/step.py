"""What one lockstep step costs: capenv, a raw socket, AsyncVectorEnv, pycapnp's RPC and dm_env_rpc.

All are timed in one run and in turns, so that they meet the same machine::

    python benchmarks/step.py
    python benchmarks/step.py --quick --only capenv --json -
"""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import contenders
import report
import typer
from environments import CART_POLE, NULL
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rounds import Measurement, measure
from worker_process import Placement

_QUICK = (3, 100)

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def step(
    rounds: Annotated[int, typer.Option(min=1, help="How many count; one more warms up.")] = 20,
    steps: Annotated[int, typer.Option(min=10, help="Per round and contender.")] = 500,
    quick: Annotated[
        bool, typer.Option("--quick", help="A look: {} rounds of {} steps.".format(*_QUICK))
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Measure this one and raw; may be given again."),
    ] = None,
    json_path: Annotated[
        Path | None,
        typer.Option("--json", metavar="PATH", help="Write the figures there; - for stdout."),
    ] = None,
) -> None:
    """Time one lockstep step of every contender, on one core and across two."""
    try:
        chosen = contenders.choose(only or [])
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--only") from None
    if quick:
        rounds, steps = _QUICK
    try:
        measurements = _measure(chosen, rounds, steps)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    text = json.dumps(report.as_json(measurements, rounds, steps), indent=2)
    if json_path == Path("-"):
        print(text)
    else:
        report.show(measurements, Console())
        if json_path is not None:
            json_path.write_text(text + "\n")


def _measure(
    chosen: tuple[contenders.Contender, ...], rounds: int, steps: int
) -> list[Measurement]:
    placements = _placements()
    settings = [(place, environment) for place in placements for environment in (NULL, CART_POLE)]
    measurements: list[Measurement] = []
    # It draws only when told, between rounds: a thread that draws would take part in what is timed.
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        auto_refresh=False,
    ) as progress:
        task = progress.add_task("rounds", total=len(settings) * (rounds + 1))

        def advance() -> None:
            progress.advance(task)
            progress.refresh()

        for place, environment in settings:
            progress.update(task, description=f"{environment}, {place.name}", refresh=True)
            measurements += measure(chosen, environment, place, rounds, steps, advance)
    return measurements


def _placements() -> list[Placement]:
    cores = sorted(os.sched_getaffinity(0))
    placements = [Placement("both ends on one core", cores[0], cores[0])]
    if len(cores) > 1:
        placements.append(Placement("client and server on a core each", cores[0], cores[1]))
    else:
        print("this process may use one core only: nothing is measured across two", file=sys.stderr)
    return placements


if __name__ == "__main__":
    app()
