"""`capenv bench`: the time of a step against that of a raw socket ping-pong of the same bytes.

Both are measured in turns within one run, because a machine's speed drifts.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from capenv.adapters.gymnasium import RemoteEnv
from capenv.cli.play import progress
from capenv.errors import Disconnected

_ROUNDS = 20
_PERCENTILES = (50, 90, 99)
_ECHO = """
import socket, sys
s = socket.socket(fileno=int(sys.argv[1]))
request, response = int(sys.argv[2]), bytes(int(sys.argv[3]))
while True:
    got = 0
    while got < request:
        data = s.recv(request - got)
        if not data:
            sys.exit()
        got += len(data)
    s.sendall(response)
"""


def measure(url: str, id: str | None, steps: int, console: Console) -> dict[str, Any]:  # noqa: A002
    """Return percentiles in microseconds and rates per second of steps and of raw ping-pongs."""
    env = RemoteEnv(url, id)
    try:
        env.action_space.seed(0)
        env.reset(seed=0)
        request, response = _message_sizes(env)
        ours, theirs = socket.socketpair()
        command = [
            sys.executable,
            "-c",
            _ECHO,
            str(theirs.fileno()),
            str(request),
            str(response),
        ]
        # A session of its own keeps Ctrl-C from it; it ends with the closing of our socket.
        with (
            theirs,
            subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True),
            ours,
        ):
            theirs.close()
            step_times: list[float] = []
            raw_times: list[float] = []
            each = max(1, steps // _ROUNDS)
            with progress(console) as bar:
                task = bar.add_task("rounds", total=_ROUNDS + 1)
                for round_number in range(_ROUNDS + 1):
                    raw_round = _time(lambda: _ping_pong(ours, request, response), each)
                    step_round = _time_steps(env, each)
                    if round_number:  # the first warms up
                        raw_times += raw_round
                        step_times += step_round
                    bar.advance(task)
    finally:
        env.close()
    raw, step = _summary(raw_times), _summary(step_times)
    return {
        "request_bytes": request,
        "response_bytes": response,
        "step": step,
        "raw_ping_pong": raw,
        "ratio": step["p50_us"] / raw["p50_us"],
    }


def show(result: dict[str, Any], console: Console) -> None:
    """Print the result as a table."""
    table = Table("", *(f"p{p} µs" for p in _PERCENTILES), "per second")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, key in (("step", "step"), ("raw ping-pong", "raw_ping_pong")):
        values = result[key]
        times = [f"{values[f'p{p}_us']:.1f}" for p in _PERCENTILES]
        table.add_row(name, *times, f"{values['per_second']:,.0f}")
    console.print(table)
    console.print(
        f"a step takes {result['ratio']:.2f} times a raw ping-pong of its"
        f" {result['request_bytes']} + {result['response_bytes']} bytes"
    )


def _message_sizes(env: RemoteEnv) -> tuple[int, int]:
    before = env.statistics()
    count = 0
    done = False
    while not done and count < 100:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        done = terminated or truncated
        count += 1
    after = env.statistics()
    env.reset()
    return (
        (after.bytes_sent - before.bytes_sent) // count,
        (after.bytes_received - before.bytes_received) // count,
    )


def _time_steps(env: RemoteEnv, count: int) -> list[float]:
    times: list[float] = []
    for _ in range(count):
        action = env.action_space.sample()
        begin = time.perf_counter()
        _, _, terminated, truncated, _ = env.step(action)
        times.append(time.perf_counter() - begin)
        if terminated or truncated:
            env.reset()
    return times


def _time(act: Callable[[], None], count: int) -> list[float]:
    times: list[float] = []
    for _ in range(count):
        begin = time.perf_counter()
        act()
        times.append(time.perf_counter() - begin)
    return times


def _ping_pong(connection: socket.socket, request: int, response: int) -> None:
    connection.sendall(bytes(request))
    got = 0
    while got < response:
        count = len(connection.recv(response - got))
        if count == 0:
            raise Disconnected("the echo that steps are compared with ended; try again")
        got += count


def _summary(times: list[float]) -> dict[str, float]:
    summary = {f"p{p}_us": float(np.percentile(times, p)) * 1e6 for p in _PERCENTILES}
    return summary | {"per_second": len(times) / sum(times)}
