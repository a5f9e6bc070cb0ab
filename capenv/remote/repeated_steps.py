"""Steps of one session that are asked for again and again, in messages that are alike."""

from collections.abc import Callable
from typing import Any

from capenv.remote.alike_steps import Alike
from capenv.rpc.capability import Content
from capenv.rpc.patterns import Fields, Frame, Shape
from capenv.worlds import Session, VectorSession


class RepeatedSteps:
    """Carries steps out: `capenv.rpc.repeats.Repeatable`."""

    def __init__(
        self,
        session: Session | VectorSession,
        unpack: Callable[[Fields, memoryview], Any],
        answer: Callable[[Any], Content],
        params: Shape,
        told: Alike[Any, Any],
    ) -> None:
        """Step a session.

        Args:
            session: of one environment or of many.
            unpack: returns the action in fields and frame.
            answer: returns results of any shape.
            params: where the params differ from step to step.
            told: knows the results that are alike.
        """
        self.params = params
        self.results = told.shape
        self._unpack, self._pack, self._answer = unpack, told.pack, answer
        self._step, self._checks = session.step, session.check_observations

    def __call__(self, fields: Fields, frame: memoryview) -> tuple[Fields, Frame] | Content:
        """Take the action in fields and frame, and return those of the timestep."""
        timestep = self._step(self._unpack(fields, frame))
        packed = self._pack(timestep, self._checks())
        return self._answer(timestep) if packed is None else packed
