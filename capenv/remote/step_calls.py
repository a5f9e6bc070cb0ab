"""The steps of one session, as its agent asks for them: made again and again, in messages that are alike."""

from collections.abc import Callable
from typing import Any, Final, Generic, Protocol, TypeVar

import attrs

from capenv.errors import CapenvError
from capenv.link import Buffer
from capenv.remote.alike_steps import Alike
from capenv.repeating import RepeatingConnection
from capenv.rpc.answer import Answer
from capenv.rpc.capability import Capability, Content
from capenv.rpc.interface import Method
from capenv.rpc.patterns import Fields, Shape
from capenv.rpc.repeats import Example, RepeatedCall

Step = TypeVar("Step")
Step_co = TypeVar("Step_co", covariant=True)

_WORTH: Final = 8
"""Repetitions that pay for learning how to repeat a call."""
_MOST: Final = 256
"""Steps in which nothing is learned, after what was learned before had not been worth it."""


class StepMessages(Protocol[Step_co]):
    """Both messages of a step, as the agent sees them."""

    step: Method

    def pack_action(self, action: Any) -> tuple[Fields, Buffer] | None:
        """Return fields, at most one, and frame of the params; None if they are of no such shape."""

    def write_step(self, action: Any) -> Content:
        """Return the params."""

    def asked(self, params: Content) -> Shape | None:
        """Return where params like these differ."""

    def told(self, results: Content) -> Alike[Any, Step_co] | None:
        """Return what knows results that are like these."""

    def read_step_results(self, results: Content) -> Step_co:
        """Return what any results say."""


@attrs.frozen
class _Known(Generic[Step]):
    call: RepeatedCall
    unpack: Callable[[Fields, bytearray | memoryview], Step]


@attrs.frozen
class _Launched(Generic[Step]):
    kind: int | None
    call: _Known[Step] | Answer
    params: Content | None = None


class StepCalls(Generic[Step]):
    """Asks for steps: in general once, and then by repeating that call."""

    def __init__(
        self, connection: RepeatingConnection, capability: Capability, messages: StepMessages[Step]
    ) -> None:
        self._connection = connection
        self._capability = capability
        self._messages = messages
        self._pack = messages.pack_action
        self._calls: dict[int, _Known[Step]] = {}
        """By the number of fields that an action is: one more for a Python integer than for a frame."""
        self._uses = 0
        self._pause = 1
        self._left = 0
        self._launched: _Launched[Step] | None = None

    def step(self, action: Any) -> Step:
        """Act, and return what came of it."""
        packed = self._pack(action)
        if packed is None:
            return self._in_general(action, None)
        fields, frame = packed
        known = self._calls.get(len(fields))
        if known is None:
            return self._in_general(action, len(fields))
        try:
            answer = self._connection.repeat(known.call, fields, frame)
        except BaseException:
            self._calls.pop(len(fields), None)
            raise
        if isinstance(answer, Content):
            return self._spent(len(fields), answer)
        self._uses += 1
        return known.unpack(*answer)

    def launch(self, action: Any) -> None:
        """Act, and do not wait for what comes of it: `collect` does."""
        packed = self._pack(action)
        kind = None if packed is None else len(packed[0])
        known = None if kind is None else self._calls.get(kind)
        try:
            if packed is not None and known is not None:
                self._connection.launch(known.call, *packed)
                self._launched = _Launched(kind, known)
            else:
                params = self._messages.write_step(action)
                answer = self._connection.start(self._capability, self._messages.step, params)
                self._launched = _Launched(kind, answer, params)
        except BaseException:
            self.forget()
            raise

    def forget(self) -> None:
        """Want no more of what may have been launched, nor of what is known: an interrupt came."""
        launched, self._launched = self._launched, None
        for known in self._calls.values():
            known.call.wanted = False
        self._calls.clear()
        if launched is not None and isinstance(launched.call, Answer):
            self._connection.cancel(launched.call)

    def collect(self) -> Step:
        """Return what came of what was launched."""
        launched, self._launched = self._launched, None
        assert launched is not None, "nothing was launched"
        known = launched.call
        if isinstance(known, Answer):
            assert launched.params is not None
            step = self._messages.step
            content, example = self._connection.finish(
                known, self._capability, step, launched.params
            )
            self._learn(launched.kind, launched.params, content, example)
            return self._messages.read_step_results(content)
        assert launched.kind is not None
        try:
            answer = self._connection.collect(known.call)
        except CapenvError:
            self._calls.pop(launched.kind, None)
            raise
        if isinstance(answer, Content):
            return self._spent(launched.kind, answer)
        self._uses += 1
        return known.unpack(*answer)

    def _in_general(self, action: Any, kind: int | None) -> Step:
        params, step = self._messages.write_step(action), self._messages.step
        if kind is None or self._left:
            content = self._connection.ask(self._capability, step, params)
            self._left = max(self._left - 1, 0)
        else:
            content, example = self._connection.example(self._capability, step, params)
            self._learn(kind, params, content, example)
        return self._messages.read_step_results(content)

    def _learn(self, kind: int | None, params: Content, results: Content, example: Example) -> None:
        """Know a call again that was made in general."""
        if kind is None or self._left:
            self._left = max(self._left - 1, 0)
            return
        asked, told = self._messages.asked(params), self._messages.told(results)
        if asked is None or told is None:
            self._learn_later()
            return
        self._uses = 0
        call = self._connection.repeated(example, asked, told.shape)
        if call is not None:
            self._calls[kind] = _Known(call, told.unpack)

    def _spent(self, kind: int, answer: Content) -> Step:
        """Take results of another shape, after which the call cannot be repeated."""
        self._calls.pop(kind, None)
        self._learn_later()
        return self._messages.read_step_results(answer)

    def _learn_later(self) -> None:
        self._pause = 1 if self._uses >= _WORTH else min(2 * self._pause, _MOST)
        self._left = self._pause - 1
