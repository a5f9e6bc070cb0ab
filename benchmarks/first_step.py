"""How many round trips go by until the first step is there, over a connection that takes its time.

A relay between client and server delays each direction; its own connection stands at once, so what is left
is what capenv waits for: restore, create, join, reset and step::

    python benchmarks/first_step.py
    python benchmarks/first_step.py --delay-ms 100 --json -
"""

import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import attrs
import command
import environments
import numpy as np
import play_capenv
import relay
import trio
import typer
import worker
from placement import placements
from rich.console import Console
from rich.table import Table

import capenv
from capenv.link import TcpAddress, UnixAddress
from capenv.url import CapabilityURL

_QUICK_TIMES = 2
_ACTION = np.int64(0)
Phases = dict[str, float]
"""Seconds, by what went on."""


def first_step(
    times: Annotated[int, typer.Option(min=1, help="Of each; one more warms up.")] = 10,
    delay_ms: Annotated[float, typer.Option(min=1, help="Of each direction.")] = 25.0,
    quick: command.Quick = False,
    json_path: command.JsonPath = None,
) -> None:
    """Time the way to the first step, in round trips."""
    if quick:
        times = _QUICK_TIMES
    place = placements()[-1]
    cores = (str(place.client), str(place.server))
    found: dict[str, list[Phases]] = {name: [] for name in _CLIENTS}
    with (
        command.progress((times + 1) * len(_CLIENTS)) as bar,
        worker.server(play_capenv.__file__, (environments.CART_POLE, *cores)) as server,
    ):
        url = CapabilityURL.parse(server.address)
        assert isinstance(url.address, UnixAddress)
        arguments = (str(url.address.path), *cores, str(delay_ms / 1e3))
        with worker.server(relay.__file__, arguments) as relaying:
            address = TcpAddress("127.0.0.1", int(relaying.address))
            delayed = attrs.evolve(url, address=address).reveal()
            for number in range(times + 1):
                for name, play in _CLIENTS.items():
                    phases = play(delayed)
                    if number:
                        found[name].append(phases)
                    bar.advance()
    figures = {
        "environment": environments.CART_POLE,
        "round_trip_ms": 2 * delay_ms,
        "times": times,
        "results": [_result(name, some, 2 * delay_ms) for name, some in found.items()],
    }
    command.publish(figures, lambda console: _show(figures, console), json_path)


def _make(url: str) -> Phases:
    begin = time.perf_counter()
    env = capenv.make(url)
    made = time.perf_counter()
    env.reset(seed=1)
    reset = time.perf_counter()
    env.step(_ACTION)
    stepped = time.perf_counter()
    env.close()
    return {"make": made - begin, "reset": reset - made, "step": stepped - reset}


def _chain(url: str) -> Phases:
    return {"all in one chain": trio.run(_play, url, None)}


def _chain_at_once(url: str) -> Phases:
    return {"all in one chain": trio.run(_play, url, "environment")}


async def _play(url: str, kind: str | None) -> float:
    begin = time.perf_counter()
    async with capenv.connect(url, kind=kind) as environment:
        session = environment.create_world().join()
        session.reset(seed=1)
        await session.step(_ACTION)
        return time.perf_counter() - begin


_CLIENTS: dict[str, Callable[[str], Phases]] = {
    "capenv.make(url)": _make,
    "capenv.connect(url)": _chain,
    "capenv.connect(url, kind=...)": _chain_at_once,
}


def _result(name: str, found: list[Phases], round_trip_ms: float) -> dict[str, Any]:
    def round_trips(seconds: list[float]) -> float:
        return statistics.median(seconds) * 1e3 / round_trip_ms

    return {
        "client": name,
        "round_trips": round_trips([sum(phases.values()) for phases in found]),
        "phases": {phase: round_trips([phases[phase] for phases in found]) for phase in found[0]},
    }


def _show(figures: dict[str, Any], console: Console) -> None:
    title = f"to the first step, in round trips of {figures['round_trip_ms']:g} ms"
    table = Table("client", "what", title=title, title_justify="left")
    for heading in ("round trips", "in all"):
        table.add_column(heading, justify="right")
    for result in figures["results"]:
        name, total = result["client"], f"{result['round_trips']:.2f}"
        for phase, count in result["phases"].items():
            table.add_row(name, phase, f"{count:.2f}", total)
            name = total = ""
        table.add_section()
    console.print(table)


if __name__ == "__main__":
    command.run(first_step)
