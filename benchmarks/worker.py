"""A worker's own side: its place, its server, and the line protocol that it obeys.

Every contender plays in a worker process, so that all are alike and can be timed in turns. The worker
says ``{"ready": DETAIL}`` and then answers each line ``{"steps": N, "seconds": S}``, which asks for N steps
or as many as fit, with ``{"times": [SECONDS, ...], "faults": {"client": N, "server": N}}``.
It ends with its stdin, and its server likewise: nothing outlives a benchmark, however that ends.

It needs no more than the environments do, because some contender lives in a virtual environment of its own.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import environments
from page_faults import PageFaults

CHECKED = 4
"""Steps whose observations are checked before any is timed."""


class Server(NamedTuple):
    """A contender's server process."""

    address: str
    pid: int


class Asked(NamedTuple):
    """What is to be timed: so many steps, or as many as fit in so many seconds."""

    steps: int
    seconds: float


def main(
    client: Callable[..., None], serve: Callable[..., None] = lambda environment: None
) -> None:
    """Be the client or the server, as the command line says.

    It is ROLE ENVIRONMENT CLIENT_CORE SERVER_CORE ARGUMENT...; the client is called with the environment,
    the server's core and the arguments, the server with the environment and the arguments.
    """
    role, environment, client_core, server_core, *arguments = sys.argv[1:]
    # Before gRPC starts its threads, which stay where they are born.
    os.sched_setaffinity(0, {int(client_core if role == "client" else server_core)})
    if role == "client":
        client(environment, int(server_core), *arguments)
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
        serve(environment, *arguments)


@contextmanager
def server(
    script: str = sys.argv[0], arguments: Sequence[str] = tuple(sys.argv[2:])
) -> Iterator[Server]:
    """Start a contender's server, on its core; yield it when it has announced its address."""
    command = [sys.executable, script, "server", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            if not address:
                raise SystemExit(process.wait())  # it has said why
            yield Server(address, process.pid)
        finally:
            process.stdin.close()


@contextmanager
def socket_path() -> Iterator[str]:
    """Yield a path for a Unix socket, in a directory that goes afterwards."""
    with tempfile.TemporaryDirectory(prefix="capenv-benchmark-") as directory:
        yield os.path.join(directory, "socket")


def use_both_cores(server_core: int) -> None:
    """Let this client, and whatever it starts from now on, run on its server's core too."""
    os.sched_setaffinity(0, {*os.sched_getaffinity(0), server_core})


def announce(address: str) -> None:
    """Tell the client that started this server where it listens."""
    print(address, flush=True)


def requests(detail: str) -> Iterator[Asked]:
    """Say that this worker is ready; yield what to time, until nobody asks any more."""
    _say({"ready": detail})
    for line in sys.stdin:
        yield Asked(**json.loads(line))


def answer(times: list[float], faults: PageFaults) -> None:
    """Give back the durations that were asked for, and the page faults meanwhile."""
    _say({"faults": faults.so_far(), "times": times})


def play(
    environment: str,
    sample: Callable[[], Any],
    step: Callable[[Any], tuple[Any, bool]],
    reset: Callable[[], object],
    detail: str,
    server_pid: int | None = None,
) -> None:
    """Time steps as they are asked for. What draws actions and begins episodes is not timed.

    Args:
        environment: what is stepped.
        sample: draws an action.
        step: takes it; returns the observation, which is checked unless it is None, and whether the
            episode ended.
        reset: begins an episode.
        detail: what is measured.
        server_pid: whose page faults are counted beside this process's own.
    """
    reset()
    observations = [step(sample())[0] for _ in range(CHECKED)]
    environments.check(environment, [one for one in observations if one is not None])
    reset()
    for steps, seconds in requests(detail):
        times: list[float] = []
        actions = [sample() for _ in range(steps)]
        faults = PageFaults(server_pid)
        end = time.perf_counter() + seconds
        for action in actions:
            begin = time.perf_counter()
            # The observation before this one is let go of within the step, as an agent's loop does it.
            _observation, done = step(action)
            now = time.perf_counter()
            times.append(now - begin)
            if done:
                reset()
            if now > end:
                break
        answer(times, faults)


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)
