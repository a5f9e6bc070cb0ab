"""Push mutated messages through the whole receive path, and see that nothing breaks.

    python tests/fuzz/fuzz_receive.py --messages 200000 --seed 1

Both sides of a connection are under fuzz in turn: a server whose objects are capenv's own and an
environment's, and a client that reads what it is told. It ends with 1 and writes what led there when a
message raises anything but a capenv error, hangs, or makes the process hold too much.
"""

import argparse
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fuzz_corpus import flows
from fuzz_run import FoundError, Fuzzer, Tally

_EVERY = 100
"""Connections between two looks at the clock."""


def main(arguments: list[str] | None = None) -> int:
    """Run as the command line says; return the exit status."""
    options = _options(arguments)
    # Environments that fail are reported there, with all of the peer's rubbish.
    log = logging.getLogger("capenv")
    usual = log.level
    log.setLevel(logging.CRITICAL)
    try:
        return _fuzz(options)
    finally:
        log.setLevel(usual)


def _fuzz(options: argparse.Namespace) -> int:
    fuzzer = Fuzzer(options.seed, flows(), options.reports)
    begun = time.monotonic()
    try:
        with fuzzer.watch.armed():
            if options.connection is not None:
                fuzzer.run(options.connection)
            elif sys.stderr.isatty():
                _run_shown(fuzzer, options.messages, options.seconds)
            else:
                _run(fuzzer, options.messages, options.seconds, lambda: None)
        fuzzer.finish()
    except FoundError as found:
        print(f"FAILED: {found}", file=sys.stderr)
        return 1
    print(_summary(fuzzer, time.monotonic() - begun))
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fuzz what capenv receives.")
    parser.add_argument("--messages", type=int, default=200_000, help="mutated messages to push")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="stop after so long, whatever is left")
    parser.add_argument("--connection", type=int, help="play only this one, as a failure says")
    parser.add_argument("--reports", type=Path, default=Path(".fuzz"), help="where failures go")
    return parser.parse_args(arguments)


def _run(fuzzer: Fuzzer, messages: int, seconds: float | None, advance: Callable[[], None]) -> None:
    end = None if seconds is None else time.monotonic() + seconds
    connection = 0
    while fuzzer.tally.mutated < messages:
        fuzzer.run(connection)
        connection += 1
        if connection % _EVERY == 0:
            advance()
            if end is not None and time.monotonic() > end:
                break


def _run_shown(fuzzer: Fuzzer, messages: int, seconds: float | None) -> None:
    from rich.console import Console  # of the extra `cli`: a run without a terminal needs it not
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=messages)
        _run(
            fuzzer,
            messages,
            seconds,
            lambda: progress.update(task, completed=fuzzer.tally.mutated),
        )


def _summary(fuzzer: Fuzzer, seconds: float) -> str:
    tally, watch = fuzzer.tally, fuzzer.watch
    rate = tally.mutated / max(seconds, 1e-9)
    slowest, largest = watch.slowest, watch.largest
    lines = (
        f"seed {fuzzer.seed}: {tally.mutated} mutated messages on {tally.connections} connections",
        f"time: {seconds:.1f} s, {rate:.0f} mutated messages a second",
        f"connections ended: {_counts(tally.ended)}",
        f"calls failed: {_counts(tally.calls_failed)}",
        f"results not read: {_counts(tally.unread)}",
        f"slowest message: {slowest.amount * 1000:.1f} ms (connection {slowest.connection})",
        f"most allocated: {largest.amount / 2**20:.1f} MiB (connection {largest.connection})",
        _memory(tally),
    )
    return "\n".join(lines)


def _counts(counts: dict[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {count}" for name, count in ordered) or "none"


def _memory(tally: Tally) -> str:
    warm = f"{tally.warm_bytes >> 20} MiB once warm, " if tally.warm_bytes else ""
    return f"memory: {warm}{tally.end_bytes >> 20} MiB at the end, {tally.most_bytes >> 20} MiB at most"


if __name__ == "__main__":
    sys.exit(main())
