"""The benchmark's side of a worker: the process, and the line protocol spoken with it."""

import json
import os
import select
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs
from contenders import Contender
from placement import Placement

_HERE = Path(__file__).parent
_START = 60.0
"""Seconds to be ready in, of which one or two are needed."""
_TURN = 0.25
"""Seconds after which no further step of a turn begins, so that whoever is slow makes no round long."""
_ANSWER = 30.0
"""Seconds for a turn, of which a hundredth is needed."""
_LEAVE = 5.0
"""Seconds to end in."""


class WorkerFailed(Exception):
    """A worker could not be started, or did not answer. The text is the last line that it wrote."""


@attrs.frozen
class Turn:
    """What a contender took for the steps of one round."""

    times: list[float]
    """Seconds of each."""
    faults: dict[str, int]
    """Minor page faults meanwhile, of "client" and "server"."""


class WorkerProcess:
    """A contender's client, and below it its server. ``with`` ends both."""

    def __init__(self, contender: Contender, environment: str, placement: Placement) -> None:
        cores = (str(placement.client), str(placement.server))
        try:
            python = contender.python()
        except OSError as error:
            raise WorkerFailed(str(error)) from error
        script = [
            str(_HERE / contender.script),
            "client",
            environment,
            *cores,
            *contender.arguments,
        ]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed with the worker
        self._process = subprocess.Popen(
            [python, *script],
            env={**os.environ, **contender.variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,  # Ctrl-C is for us alone, who end it in order
        )

    def ready(self) -> str:
        """Wait until it is; return what exactly it measures.

        Raises:
            WorkerFailed: it never will be.
        """
        return str(self._answer(_START)["ready"])

    def time(self, steps: int) -> Turn:
        """Return what so many steps took, or as many as fit.

        Raises:
            WorkerFailed: it did not answer.
        """
        assert self._process.stdin is not None
        asked = json.dumps({"steps": steps, "seconds": _TURN})
        try:
            print(asked, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            pass  # it has ended; why is found below
        return Turn(**self._answer(_ANSWER))

    def __enter__(self) -> "WorkerProcess":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._process.communicate(timeout=_LEAVE)  # closes its stdin, which ends it
        except subprocess.TimeoutExpired:
            pass
        finally:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # nobody is left, as it should be
            self._process.wait()
            self._errors.close()

    def _answer(self, patience: float) -> dict[str, Any]:
        output = self._process.stdout
        assert output is not None
        # An answer is one line and the only one, so none is ever left in the buffer.
        readable, _, _ = select.select([output], [], [], patience)
        if not readable:
            raise WorkerFailed(f"no answer within {patience:.0f} seconds")
        line = output.readline()
        if not line:
            self._errors.seek(0)
            raise WorkerFailed(_last_line(self._errors.read()))
        answer: dict[str, Any] = json.loads(line)
        return answer


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "it ended without a word"
