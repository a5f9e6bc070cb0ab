"""What the commands have in common: their options, how far they are, and where the figures go."""

import json
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from contenders import Contender
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

Rounds = Annotated[int, typer.Option(min=1, help="How many count; one more warms up.")]
Quick = Annotated[bool, typer.Option("--quick", help="Only a look, to see that it works.")]
Only = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Measure this one and the floor; may be given again."),
]
JsonPath = Annotated[
    Path | None,
    typer.Option("--json", metavar="PATH", help="Write the figures there; - for stdout."),
]

_WIDTH = 110
"""Columns of a table that goes into a file."""


def run(command: Callable[..., None]) -> None:
    """Be the command that this function is, as its parameters say."""
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command()(command)
    app()


def chosen(contenders: Sequence[Contender], only: list[str] | None) -> Sequence[Contender]:
    """Return the floor and those of these names; all where there are none."""
    names = [contender.name for contender in contenders]
    for name in only or ():
        check("--only", name, names)
    return [c for c in contenders if not only or c is contenders[0] or c.name in only]


def check(option: str, given: str, known: Sequence[str]) -> None:
    """End the command if an option is none of those known."""
    if given not in known:
        text = f"there is no {given!r}; name one of: {'; '.join(known)}"
        raise typer.BadParameter(text, param_hint=option)


class Bar:
    """How far a command is. Drawn only when told: a thread that draws would take part in what is timed."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def describe(self, what: str) -> None:
        """Say what goes on now."""
        self._progress.update(self._task, description=what, refresh=True)

    def advance(self) -> None:
        """Take notice that one more is done."""
        self._progress.advance(self._task)
        self._progress.refresh()


@contextmanager
def progress(total: int) -> Iterator[Bar]:
    """Show a bar, on stderr, as long as the block lasts. Ctrl-C there ends the command."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, auto_refresh=False
    ) as shown:
        try:
            yield Bar(shown, shown.add_task("", total=total))
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except BaseExceptionGroup as group:  # as Trio's nurseries have it
            if group.split(KeyboardInterrupt)[1] is not None:
                raise
            raise typer.Exit(130) from None


def publish(
    figures: dict[str, Any], show: Callable[[Console], None], json_path: Path | None
) -> None:
    """Show the figures; write them where that was asked for."""
    machine = {
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
    }
    text = json.dumps({"machine": machine, **figures}, indent=2)
    if json_path == Path("-"):
        print(text)
        return
    console = Console()
    show(console if console.is_terminal else Console(width=_WIDTH))
    if json_path is not None:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(text + "\n")
