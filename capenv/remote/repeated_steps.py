"""Steps of one session that are asked for again and again, in messages that are alike."""

from collections.abc import Callable

from capenv.link import Buffer
from capenv.remote.session_messages import SessionMessages
from capenv.rpc.capability import Content
from capenv.rpc.patterns import Fields, Shape
from capenv.worlds import Session, TimeStep


class RepeatedSteps:
    """Carries steps out: `capenv.rpc.repeats.Repeatable`."""

    def __init__(
        self,
        session: Session,
        messages: SessionMessages,
        answer: Callable[[TimeStep], Content],
        params: Shape,
        results: Shape,
    ) -> None:
        """Step a session; `answer` is for timesteps that are of another shape."""
        self.params = params
        self.results = results
        self._session = session
        self._messages = messages
        self._answer = answer

    def __call__(self, fields: Fields, frame: memoryview) -> tuple[Fields, Buffer] | Content:
        """Take the action in fields and frame, and return those of the timestep."""
        timestep = self._session.step(self._messages.unpack_action(fields, frame))
        packed = self._messages.pack_time_step(timestep, self._session.check_observations)
        return self._answer(timestep) if packed is None else packed
