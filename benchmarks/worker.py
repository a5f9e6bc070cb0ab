"""A worker's own side: its place, its server, and the line protocol that it obeys.

Every contender plays in a worker process, so that all are alike and can be timed in turns. The worker
says ``{"ready": DETAIL}`` and then answers each line ``{"steps": N}`` with ``{"times": [SECONDS, ...]}``.
It ends with its stdin, and its server likewise: nothing outlives step.py, however that ends.

It needs the standard library alone, because some contender lives in a virtual environment of its own.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def main(
    client: Callable[[str, int], None], serve: Callable[[str], None] = lambda environment: None
) -> None:
    """Be the client or the server, as the command line says: ROLE ENVIRONMENT CLIENT_CORE SERVER_CORE."""
    role, environment, client_core, server_core = sys.argv[1:]
    # Before gRPC starts its threads, which stay where they are born.
    os.sched_setaffinity(0, {int(client_core if role == "client" else server_core)})
    if role == "client":
        client(environment, int(server_core))
    else:
        serve(environment)


@contextmanager
def server(script: str = sys.argv[0]) -> Iterator[str]:
    """Start a contender's server, on its core; yield the address that it announces."""
    command = [sys.executable, script, "server", *sys.argv[2:]]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            if not address:
                raise SystemExit(process.wait())  # it has said why
            yield address
        finally:
            process.stdin.close()


@contextmanager
def socket_path() -> Iterator[str]:
    """Yield a path for a Unix socket, in a directory that goes afterwards."""
    with tempfile.TemporaryDirectory(prefix="capenv-benchmark-") as directory:
        yield os.path.join(directory, "socket")


def announce(address: str) -> None:
    """Tell the client that started this server where it listens."""
    print(address, flush=True)


def requests(detail: str) -> Iterator[int]:
    """Say that this worker is ready; yield how many steps to time, until nobody asks any more."""
    _say({"ready": detail})
    for line in sys.stdin:
        yield json.loads(line)["steps"]


def answer(times: list[float]) -> None:
    """Give back the durations that were asked for."""
    _say({"times": times})


def play(
    sample: Callable[[], Any],
    step: Callable[[Any], bool],
    reset: Callable[[], object],
    detail: str,
) -> None:
    """Time steps as they are asked for. What draws actions and begins episodes is not timed.

    Args:
        sample: draws an action.
        step: takes it, and says whether the episode ended.
        reset: begins an episode.
        detail: what is measured.
    """
    reset()
    for steps in requests(detail):
        times: list[float] = []
        for action in [sample() for _ in range(steps)]:
            begin = time.perf_counter()
            done = step(action)
            times.append(time.perf_counter() - begin)
            if done:
                reset()
        answer(times)


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)
