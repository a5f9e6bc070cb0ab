"""The figures, as tables for people and as JSON for programs."""

import os
import platform
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from contenders import RAW
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
    ratio: float | None
    """The median of the rounds' ratios of its median to the floor's; None without a floor."""


def summarise(measurement: Measurement, floor: Measurement) -> Figures:
    """Reduce the durations to figures."""
    times = np.concatenate(measurement.rounds)
    ratios = [
        np.median(ours) / np.median(raw)
        for ours, raw in zip(measurement.rounds, floor.rounds, strict=False)
    ]
    return Figures(
        median_us=float(np.median(times)) * 1e6,
        p99_us=float(np.percentile(times, 99)) * 1e6,
        steps_per_second=len(times) / float(times.sum()),
        ratio=float(np.median(ratios)) if ratios and floor.missing is None else None,
    )


def show(measurements: Sequence[Measurement], console: Console) -> None:
    """Print a table per placement, and what exactly was measured."""
    for placement in dict.fromkeys(m.placement for m in measurements):
        table = Table("environment", "contender", title=placement, title_justify="left")
        for column in ("median µs", "p99 µs", "steps/s", "× raw"):
            table.add_column(column, justify="right", no_wrap=True)
        here = [m for m in measurements if m.placement == placement]
        for environment in dict.fromkeys(m.environment for m in here):
            table.add_section()
            heading = environment
            for measurement in (m for m in here if m.environment == environment):
                table.add_row(heading, *_cells(measurement, _floor(here, measurement)))
                heading = ""
        console.print(table)
    for name, detail in dict.fromkeys((m.contender, m.detail) for m in measurements if m.detail):
        console.print(f"{name}: {detail}", highlight=False, soft_wrap=True)


def as_json(measurements: Sequence[Measurement], rounds: int, steps: int) -> dict[str, Any]:
    """Return everything but the single durations."""
    return {
        "machine": {
            "cores": os.cpu_count(),
            "load_average": os.getloadavg()[0],
            "python": platform.python_version(),
        },
        "rounds": rounds,
        "steps_per_round": steps,
        "results": [_entry(m, _floor(measurements, m)) for m in measurements],
    }


def _floor(measurements: Sequence[Measurement], other: Measurement) -> Measurement:
    return next(
        m
        for m in measurements
        if m.contender == RAW.name
        and (m.environment, m.placement) == (other.environment, other.placement)
    )


def _cells(measurement: Measurement, floor: Measurement) -> list[str | Text]:
    if measurement.missing is not None:
        return [Text(f"{measurement.contender}\nmissing: {measurement.missing}", "red")]
    figures = summarise(measurement, floor)
    return [
        measurement.contender,
        f"{figures.median_us:.1f}",
        f"{figures.p99_us:.1f}",
        f"{figures.steps_per_second:,.0f}",
        "" if figures.ratio is None else f"{figures.ratio:.1f}",
    ]


def _entry(measurement: Measurement, floor: Measurement) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "contender": measurement.contender,
        "environment": measurement.environment,
        "placement": measurement.placement,
    }
    if measurement.missing is not None:
        return entry | {"missing": measurement.missing}
    return entry | {
        "detail": measurement.detail,
        **attrs.asdict(summarise(measurement, floor)),
        "round_medians_us": [float(np.median(times)) * 1e6 for times in measurement.rounds],
    }
