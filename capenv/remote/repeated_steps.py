"""Steps of one session that are asked for again and again, in messages that are alike."""

from collections.abc import Callable
from typing import Any

from capenv.rpc.capability import Content
from capenv.rpc.patterns import Fields, Frame, Shape


class RepeatedSteps:
    """Carries steps out: `capenv.rpc.repeats.Repeatable`."""

    def __init__(
        self,
        unpack: Callable[[Fields, memoryview], Any],
        step: Callable[[Any], Any],
        pack: Callable[[Any, bool], tuple[Fields, Frame] | None],
        answer: Callable[[Any], Content],
        checks: Callable[[], bool],
        params: Shape,
        results: Shape,
    ) -> None:
        """Step a session.

        Args:
            unpack: returns the action in fields and frame.
            step: takes it.
            pack: returns fields and frame of what came of it, None where it is of another shape.
            answer: returns results of any shape.
            checks: says whether observations must be within their bounds.
            params: where the params differ from step to step.
            results: where the results do.
        """
        self.params = params
        self.results = results
        self._unpack, self._step, self._pack = unpack, step, pack
        self._answer, self._checks = answer, checks

    def __call__(self, fields: Fields, frame: memoryview) -> tuple[Fields, Frame] | Content:
        """Take the action in fields and frame, and return those of the timestep."""
        timestep = self._step(self._unpack(fields, frame))
        packed = self._pack(timestep, self._checks())
        return self._answer(timestep) if packed is None else packed
