"""Agents that are interrupted: scripts, so that no interrupt hits the test runner.

`once URL GATE`: steps with action 7, waits to be interrupted, steps with action 9.
`soak URL ROUNDS SEED`: has itself interrupted at random instants of steps and resets.
`hang URL GATE CLOSED`: steps for ever.

They print a line of JSON for each thing that happens.
"""

import json
import random
import signal
import sys
import time
from typing import Any

import capenv
from capenv.errors import Disconnected

LONGEST = 1.5
"""Of the time that a step takes, the latest instant of an interrupt."""


def tell(*what: Any) -> None:
    print(json.dumps(what), flush=True)


def once(url: str, gate: str) -> None:
    env = capenv.make(url, gate=gate)
    env.reset()
    try:
        env.step(7)
    except KeyboardInterrupt:
        tell("interrupted")
    tell(*env.step(9)[0].tolist())
    tell(*env.step(11)[0].tolist())
    env.close()


def hang(url: str, gate: str, closed: str) -> None:
    env = capenv.make(url, gate=gate, closed=closed)
    env.reset()
    env.step(7)


def soak(url: str, rounds: str, seed: str) -> None:
    chance = random.Random(int(seed))
    env = capenv.make(url)
    env.reset()
    begin = time.perf_counter()
    for action in range(100):
        env.step(action)
    usual = (time.perf_counter() - begin) / 100
    counts = {"interrupted": 0, "disconnected": 0, "wrong": 0, "steps": 0}
    env.reset()
    steps = 0  # that have surely been made in this episode
    for number in range(int(rounds)):
        resets = chance.random() < 0.2
        acted = False
        try:
            signal.setitimer(signal.ITIMER_REAL, max(1e-6, chance.uniform(0, LONGEST * usual)))
            if resets:
                env.reset()
            else:
                env.step(2 * number)
            acted = True
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            counts["interrupted"] += 1
        except Disconnected:
            pass
        signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            made, echoed = env.step(2 * number + 1)[0].tolist()
        except Disconnected:
            counts["disconnected"] += 1
            env.reset()
            made, echoed = env.step(2 * number + 1)[0].tolist()
            steps = 0
        counts["steps"] += 1
        # The number is that of our own step; those before it were made, some interrupted.
        fewest = 1 if resets else steps + 1 + acted
        counts["wrong"] += echoed != 2 * number + 1 or made < fewest or made > steps + 2
        steps = made
    tell(counts)
    env.close()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A timer for the instant, and the very signal that Ctrl-C is.
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    {"once": once, "soak": soak, "hang": hang}[sys.argv[1]](*sys.argv[2:])
