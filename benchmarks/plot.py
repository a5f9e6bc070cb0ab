"""One picture of what step.py and vector.py found, of client and server on a core each where there are two.

::

    python benchmarks/plot.py build/benchmarks/step.json build/benchmarks/vector.json docs/speed.png
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import attrs
import command
import environments
import matplotlib
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine

_INCHES, _DPI = (10.0, 9.9), 100
_HEIGHTS = (2, 0.85)
# Okabe and Ito's colours, which nobody confuses; whoever is not capenv keeps to the background.
_OURS, _OURS_TOO, _FLOOR, _OTHERS = "#0072B2", "#56B4E9", "#E69F00", "#B4B8BD"
_FIRST_OF_OURS = ("capenv", "capenv, entry point")
_TEXT = "#222222"
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "ytick.major.size": 0,
    "xtick.labelsize": 9.5,
}
_HEADINGS = {
    environments.NULL: "4 numbers: float32[4]",
    environments.PIXELS: "28 kB: uint8[84, 84, 4]",
    environments.FLOATS: "113 kB: float32[84, 84, 4]",
    environments.SCREEN: "6.2 MB: uint8[1080, 1920, 3]",
    environments.SMALL_VECTOR: "64 CartPoles",
    environments.LARGE_VECTOR: "1,024 CartPoles",
}


@attrs.frozen
class Quantity:
    """What the bars of some panels show."""

    key: str
    """Its name in the figures."""
    heading: str
    limits: tuple[float, float]
    ticks: tuple[float, ...]
    bars: int
    """As many as a panel has room for, so that all are of one width."""
    tell: Callable[[float], str]


def _duration(microseconds: float) -> str:
    if microseconds < 1_000:
        return f"{microseconds:.0f} µs"
    return (
        f"{microseconds / 1e3:.2g} ms" if microseconds < 100e3 else f"{microseconds / 1e3:.0f} ms"
    )


def _rate(per_second: float) -> str:
    return f"{per_second / 1e3:,.0f} k" if per_second < 1e6 else f"{per_second / 1e6:.3g} M"


_TIME = Quantity(
    "median_us",
    "Median time of a step whose environment does nothing, {placement}: less is better.\n"
    "Dashed: a blocking ping-pong of as many bytes on a Unix socket.\n"
    "capenv has long frames in memory that both processes share, as AsyncVectorEnv has all.",
    (10, 4e5),
    (10, 100, 1e3, 10e3, 100e3),
    9,
    _duration,
)
_SPEED = Quantity(
    "steps_per_second",
    "Environment steps per second of many that are stepped as one: more is better.\n"
    "Dashed: Gymnasium's SyncVectorEnv in the agent's own process.",
    (3e3, 1e8),
    (1e4, 1e5, 1e6, 1e7),
    6,
    _rate,
)


def plot(
    step: Annotated[Path, typer.Argument(exists=True, help="What step.py wrote.")],
    vector: Annotated[Path, typer.Argument(exists=True, help="What vector.py wrote.")],
    picture: Annotated[Path, typer.Argument(help="The PNG to write.")],
) -> None:
    """Draw the medians of steps, and the environment steps per second of vectors."""
    steps, vector_steps = json.loads(step.read_text()), json.loads(vector.read_text())
    with matplotlib.rc_context(_STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
        figure = Figure(_INCHES, _DPI, facecolor="white", layout=layout)
        halves: Any = figure.subfigures(2, height_ratios=_HEIGHTS, hspace=0.03)
        upper, lower = halves
        _draw(upper, steps, [environments.NULL, *environments.FRAMES], _TIME)
        _draw(lower, vector_steps, [environments.SMALL_VECTOR, environments.LARGE_VECTOR], _SPEED)
        picture.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(picture)


def _draw(
    figure: SubFigure, found: dict[str, Any], names: Sequence[str], quantity: Quantity
) -> None:
    """Draw a panel for each environment, two beside each other."""
    placement = found["results"][-1]["placement"]
    figure.suptitle(quantity.heading.format(placement=placement), x=0.01, ha="left", fontsize=11.5)
    panels = figure.subplots(len(names) // 2, 2)
    for panel, name in zip(panels.flat, names, strict=True):
        panel.set_title(_HEADINGS[name], loc="left", fontweight="bold", fontsize=11)
        _draw_panel(panel, _results(found["results"], name, placement), found["floor"], quantity)


def _draw_panel(
    panel: Axes, results: Sequence[dict[str, Any]], floor: str, quantity: Quantity
) -> None:
    """Draw a bar for each contender, the first on top, and a line where the floor ends."""
    names = [result["contender"] for result in results]
    values = [result[quantity.key] for result in results]
    bars = panel.barh(names, values, 0.78, color=[_colour(name, floor) for name in names])
    white = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
    panel.bar_label(bars, [quantity.tell(value) for value in values], padding=4, bbox=white)
    for name, value in zip(names, values, strict=True):
        if name == floor:
            panel.axvline(value, color=_FLOOR, linewidth=1.5, linestyle="--", zorder=0)
    panel.set_xscale("log")
    panel.set_xlim(*quantity.limits)
    panel.set_xticks(quantity.ticks, [quantity.tell(tick) for tick in quantity.ticks])
    panel.minorticks_off()
    panel.set_ylim(quantity.bars - 0.4, -0.6)
    for label in panel.get_yticklabels():
        if label.get_text().startswith("capenv"):
            label.set_fontweight("bold")


def _results(
    results: Sequence[dict[str, Any]], environment: str, placement: str
) -> list[dict[str, Any]]:
    """Return those that were measured there."""
    setting = (environment, placement)
    here = [one for one in results if (one["environment"], one["placement"]) == setting]
    return [one for one in here if "missing" not in one]


def _colour(name: str, floor: str) -> str:
    if name == floor:
        return _FLOOR
    if name in _FIRST_OF_OURS:
        return _OURS
    return _OURS_TOO if name.startswith("capenv") else _OTHERS


if __name__ == "__main__":
    command.run(plot)
