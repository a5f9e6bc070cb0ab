"""The `capenv` command: its options, and how failures reach a person."""

import importlib.metadata
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from capenv.cli import bench as benching
from capenv.cli import demo as demonstration
from capenv.cli import info as informing
from capenv.cli import play as playing
from capenv.cli import serve as serving
from capenv.errors import CapenvError

app = typer.Typer(
    help="Reinforcement-learning environments as capabilities over Cap'n Proto RPC.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"capenv {importlib.metadata.version('capenv')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and end."
        ),
    ] = False,
) -> None:
    """Reinforcement-learning environments as capabilities over Cap'n Proto RPC."""


Url = Annotated[str, typer.Argument(metavar="URL", help="The whole capability URL.")]
Id = Annotated[
    str | None,
    typer.Option("--id", help="Which environment, where the URL names a host of several."),
]


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (CapenvError, ValueError, OSError) as error:
        Console(stderr=True, highlight=False).print(
            f"[bold red]error:[/] {type(error).__name__}: ", end=""
        )
        print(" ".join(str(error).split()), file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command()
def serve(
    ids: Annotated[
        list[str],
        typer.Argument(
            metavar="ID...", help="Environments registered with Gymnasium; module:ID imports one."
        ),
    ],
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where: capnp://insecure@/path or capnp://insecure@127.0.0.1:PORT;"
            " a fresh Unix socket if left out.",
        ),
    ] = None,
    url_file: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Write the lines here too, once the server answers."),
    ] = None,
) -> None:
    """Serve environments until Ctrl-C; print a line ID<TAB>URL for each."""
    with _failures():
        serving.run(ids, listen, url_file)


@app.command()
def info(
    url: Url,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what a URL names: spaces, seats, settings, versions."""
    with _failures():
        description = informing.describe(url)
        if as_json:
            print(json.dumps(description, indent=2))
        else:
            informing.show(description, Console())


@app.command()
def run(
    url: Url,
    id: Id = None,  # noqa: A002
    episodes: Annotated[int | None, typer.Option(min=1, help="Default: 10.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many in all.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the environment and of the agent.")
    ] = None,
) -> None:
    """Play with a random agent."""
    with _failures():
        playing.run(url, id, episodes, steps, seed, Console())


@app.command()
def bench(
    url: Url,
    id: Id = None,  # noqa: A002
    steps: Annotated[int, typer.Option(min=100, help="How many to time.")] = 5000,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Time steps against a raw socket ping-pong in the same run."""
    with _failures():
        result = benching.measure(url, id, steps, Console(stderr=True))
        if as_json:
            print(json.dumps(result, indent=2))
        else:
            benching.show(result, Console())


@app.command()
def demo() -> None:
    """Watch two agents play CartPole in another process."""
    with _failures():
        demonstration.run(Console())
