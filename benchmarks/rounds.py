"""Timing the contenders in turns, because a machine's speed drifts."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import attrs
from contenders import Contender
from placement import Placement
from worker_process import Turn, WorkerFailed, WorkerProcess


@attrs.define
class Measurement:
    """What one contender took in one setting."""

    contender: str
    environment: str
    placement: str
    detail: str = ""
    rounds: list[Turn] = attrs.field(factory=list)
    missing: str | None = None
    """Why there are none."""


def measure(
    contenders: Sequence[Contender],
    environment: str,
    placement: Placement,
    rounds: int,
    steps: int,
    advance: Callable[[], None],
) -> list[Measurement]:
    """Time `steps` steps of every contender, or as many as fit in a turn, in each of so many rounds.

    Args:
        contenders: who takes part.
        environment: which they all step.
        placement: the cores that they all use.
        rounds: how many count. One before them warms up.
        steps: of each contender in a round.
        advance: called after every round.
    """
    measurements = [Measurement(c.name, environment, placement.name) for c in contenders]
    with ExitStack() as stack:
        workers: list[tuple[WorkerProcess, Measurement]] = []
        for contender, measurement in zip(contenders, measurements, strict=True):
            try:
                worker = stack.enter_context(WorkerProcess(contender, environment, placement))
                workers.append((worker, measurement))
            except WorkerFailed as failure:
                measurement.missing = str(failure)
        playing: list[tuple[WorkerProcess, Measurement]] = []
        for worker, measurement in workers:
            try:
                measurement.detail = worker.ready()
                playing.append((worker, measurement))
            except WorkerFailed as failure:
                measurement.missing = str(failure)
        for number in range(rounds + 1):
            for worker, measurement in list(playing):
                try:
                    turn = worker.time(steps)
                except WorkerFailed as failure:
                    measurement.missing = str(failure)
                    playing.remove((worker, measurement))
                else:
                    if number:
                        measurement.rounds.append(turn)
            playing = playing[1:] + playing[:1]  # so that nobody always follows the same one
            advance()
    return measurements
