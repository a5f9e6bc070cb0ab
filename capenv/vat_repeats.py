"""A peer's calls that come again and again, answered by the Trio driver before they are looked at closely."""

from collections.abc import Callable
from typing import Final

from capenv.rpc.capability import Content
from capenv.rpc.connection import Connection
from capenv.rpc.events import CallReceived
from capenv.rpc.framing import CHUNK
from capenv.rpc.pointers import Segments
from capenv.rpc.repeats import Repeat
from capenv.rpc.servant import Servant, told_of

_JOINED_BYTES: Final = 1 << 15
"""So little is copied rather than sent in pieces."""


class VatRepeats:
    """Answers calls of one connection that are like others, and learns which those are."""

    def __init__(
        self,
        core: Connection,
        may_answer: Callable[[], bool],
        finish: Callable[[CallReceived, Content | Exception], None],
        send_now: Callable[[], None],
    ) -> None:
        """Answer calls.

        Args:
            core: that they come over.
            may_answer: says whether nothing waits that a call would overtake.
            finish: answers a call in the ordinary way.
            send_now: sends what is borrowed, or copies it, before it may change.
        """
        self._core = core
        self._may_answer = may_answer
        self._finish = finish
        self._send_now = send_now
        self._shown = b""
        self._answered: tuple[CallReceived, Content] | None = None

    def answer(self, chunk: memoryview, start: int, stop: int) -> bool:
        """Answer the call at a place in a chunk, if it is known and may be answered; say whether it was."""
        found = self._core.repeats.find(chunk, start, stop)
        if found is None or not self._may_answer() or found[0].servant.stream is not None:
            self._shown = bytes(chunk[start:stop]) if stop - start <= CHUNK else b""
            return False
        repeat, fields = found
        request, response = repeat.request, repeat.response
        frame = chunk[start + request.frame_start : start + request.frame_stop]
        try:
            outcome = self._core.turn.alone(repeat.act, fields, frame)
        except (Exception, SystemExit) as error:
            self._answer_ordinarily(repeat, told_of(error))
            return True
        if isinstance(outcome, Content):
            self._answer_ordinarily(repeat, outcome)
            return True
        fields, results = outcome
        if isinstance(results, tuple):
            self._core.post(response.write(fields, *results))
            self._send_now()
        elif len(results) <= _JOINED_BYTES:
            self._core.post([response.join(fields, results)])
        else:
            self._core.post(response.write(fields, results))
            self._send_now()
        return True

    def answered(self, call: CallReceived, results: Content) -> None:
        """Take notice of a call that was answered at once, in the ordinary way."""
        self._answered = call, results

    def learn(self, segments: Segments) -> None:
        """Know the call again that these were the message of, if it has just been answered."""
        answered, self._answered = self._answered, None
        if answered is None or not self._shown:
            return
        call, results = answered
        if call.content.segments is not segments:
            return
        assert isinstance(call.servant, Servant)
        act = call.servant.repeatable(call.interface_id, call.method_id, call.content, results)
        if act is not None:
            self._core.repeats.learn(self._shown, call, results, act)

    def _answer_ordinarily(self, repeat: Repeat, outcome: Content | Exception) -> None:
        self._finish(self._core.received_repeat(repeat), outcome)
