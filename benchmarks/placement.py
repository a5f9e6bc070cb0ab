"""Where the two ends run: on one core, or on a core each."""

import os
import sys

import attrs

ONE_CORE = "both ends on one core"
TWO_CORES = "client and server on a core each"


@attrs.frozen
class Placement:
    """Which core the client stays on, and which the server."""

    name: str
    client: int
    server: int


def placements() -> list[Placement]:
    """Return those that this machine allows, the one with the most cores last."""
    cores = sorted(os.sched_getaffinity(0))
    possible = [Placement(ONE_CORE, cores[0], cores[0])]
    if len(cores) > 1:
        possible.append(Placement(TWO_CORES, cores[0], cores[1]))
    else:
        print("this process may use one core only: nothing is measured across two", file=sys.stderr)
    return possible
