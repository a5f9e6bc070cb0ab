"""The steps of one session, as its agent asks for them: made again and again, in messages that are alike."""

from typing import Any, Final

from capenv.blocking import BlockingConnection
from capenv.remote.interfaces import SESSION
from capenv.remote.session_messages import SessionMessages
from capenv.remote.step_shapes import TERMINATED, TRUNCATED, action_shape, time_step_shape
from capenv.rpc.capability import Capability, Content
from capenv.rpc.repeats import RepeatedCall

Step = tuple[Any, Any, bool, bool, dict[str, Any]]
"""What Gymnasium's step returns."""

_STEP: Final = SESSION["step"]
_WORTH: Final = 8
"""Repetitions that pay for learning how to repeat a call."""
_MOST: Final = 256
"""Steps in which nothing is learned, after what was learned before had not been worth it."""


class StepCalls:
    """Asks for steps: in general once, and then by repeating that call."""

    def __init__(
        self, connection: BlockingConnection, capability: Capability, messages: SessionMessages
    ) -> None:
        self._connection = connection
        self._capability = capability
        self._messages = messages
        self._pack, self._unpack = messages.pack_action, messages.unpack_observation
        self._calls: list[RepeatedCall | None] = [None, None]
        """By the number of fields that an action is: none for a frame, one for a Python integer."""
        self._uses = 0
        self._pause = 1
        self._left = 0

    def step(self, action: Any) -> Step:
        """`Session.step`."""
        packed = self._pack(action)
        if packed is None:
            return self._in_general(action, None)
        fields, frame = packed
        call = self._calls[len(fields)]
        if call is None:
            return self._in_general(action, len(fields))
        try:
            answer = self._connection.repeat(call, fields, frame)
        except BaseException:
            self._calls[len(fields)] = None
            raise
        if isinstance(answer, Content):
            self._calls[len(fields)] = None
            self._learn_later()
            return tuple(self._messages.read_time_step(answer))
        (reward, ends), frame = answer
        self._uses += 1
        return self._unpack(frame), reward, ends & TERMINATED != 0, ends & TRUNCATED != 0, {}

    def _in_general(self, action: Any, kind: int | None) -> Step:
        params = self._messages.write_step(action)
        if kind is None or self._left:
            self._left = max(self._left - 1, 0)
            content = self._connection.ask(self._capability, _STEP, params)
        else:
            content, example = self._connection.example(self._capability, _STEP, params)
            asked, told = action_shape(params), time_step_shape(content)
            if asked is None or told is None:
                self._learn_later()
            else:
                self._uses = 0
                self._calls[kind] = self._connection.repeated(example, asked, told)
        return tuple(self._messages.read_time_step(content))

    def _learn_later(self) -> None:
        """Take notice that what was learned is of no more use."""
        self._pause = 1 if self._uses >= _WORTH else min(2 * self._pause, _MOST)
        self._left = self._pause - 1
