"""The figures of a measurement, as tables for people and as a dict for programs."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import environments
import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rounds import Measurement


@attrs.frozen
class Figures:
    """What is said of one contender in one setting."""

    median_us: float
    p99_us: float
    steps_per_second: float
    """Of environments: the step of a vector is as many as there are environments in it."""
    ratio: float | None
    """The median of the rounds' ratios of its median to the floor's; None without a floor."""
    client_faults: float
    """Minor page faults of the client's process per step."""
    server_faults: float


@attrs.frozen
class Column:
    """What a table tells of the figures."""

    heading: str
    cell: Callable[[Figures], str]
    wanted: Callable[[Figures], bool] = lambda figures: True
    """Whether these figures are a reason to have the column."""


def summarise(measurement: Measurement, floor: Measurement) -> Figures:
    """Reduce the durations to figures."""
    num_envs, _ = environments.parse(measurement.environment)
    rounds = [turn.times for turn in measurement.rounds]
    times = np.concatenate(rounds)
    ratios = [
        np.median(ours) / np.median(theirs.times)
        for ours, theirs in zip(rounds, floor.rounds, strict=False)
    ]
    faults = {
        who: sum(turn.faults[who] for turn in measurement.rounds) / len(times)
        for who in ("client", "server")
    }
    return Figures(
        median_us=float(np.median(times)) * 1e6,
        p99_us=float(np.percentile(times, 99)) * 1e6,
        steps_per_second=num_envs * len(times) / float(times.sum()),
        ratio=float(np.median(ratios)) if ratios and floor.missing is None else None,
        client_faults=faults["client"],
        server_faults=faults["server"],
    )


def show(measurements: Sequence[Measurement], columns: Sequence[Column], console: Console) -> None:
    """Print a table per placement, and what exactly was measured."""
    for placement in dict.fromkeys(m.placement for m in measurements):
        here = [m for m in measurements if m.placement == placement]
        figures = {id(m): summarise(m, _floor(here, m)) for m in here if m.missing is None}
        shown = [column for column in columns if any(map(column.wanted, figures.values()))]
        table = Table("environment", "contender", title=placement, title_justify="left")
        table.columns[1].no_wrap = True
        for column in shown:
            table.add_column(column.heading, justify="right", no_wrap=True)
        for environment in dict.fromkeys(m.environment for m in here):
            table.add_section()
            heading = environment
            for measurement in (m for m in here if m.environment == environment):
                cells = [Text("missing", "red")]
                if measurement.missing is None:
                    cells = [Text(column.cell(figures[id(measurement)])) for column in shown]
                table.add_row(heading, measurement.contender, *cells)
                heading = ""
        console.print(table)
    details = sorted({(m.contender, m.detail) for m in measurements if m.detail})
    for name, detail in details:
        console.print(f"{name}: {detail}", highlight=False, soft_wrap=True)
    for name, why in sorted({(m.contender, m.missing) for m in measurements if m.missing}):
        console.print(f"{name} is missing: {why}", style="red", highlight=False, soft_wrap=True)


def as_dict(measurements: Sequence[Measurement], rounds: int) -> dict[str, Any]:
    """Return everything but the single durations."""
    return {
        "rounds": rounds,
        "floor": measurements[0].contender,
        "results": [_entry(m, _floor(measurements, m)) for m in measurements],
    }


def _floor(measurements: Sequence[Measurement], other: Measurement) -> Measurement:
    """Return the first contender's in the same setting."""
    setting = (other.environment, other.placement)
    return next(m for m in measurements if (m.environment, m.placement) == setting)


def _entry(measurement: Measurement, floor: Measurement) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "contender": measurement.contender,
        "environment": measurement.environment,
        "placement": measurement.placement,
    }
    if measurement.missing is not None:
        return entry | {"missing": measurement.missing}
    rounds = [turn.times for turn in measurement.rounds]
    return entry | {
        "detail": measurement.detail,
        **attrs.asdict(summarise(measurement, floor)),
        "steps": sum(map(len, rounds)),
        "round_medians_us": [float(np.median(times)) * 1e6 for times in rounds],
    }
