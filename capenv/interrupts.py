"""Keeping Ctrl-C out of the moments in which a change must not be left half done."""

import importlib
import threading
from collections.abc import Callable
from signal import SIGINT
from types import FrameType, TracebackType
from typing import Any, Final

# The functions of `signal` themselves turn numbers into enums and back, which takes ten times as long.
_signal: Final[Any] = importlib.import_module("_signal")
_SIGINT: Final = int(SIGINT)


class Interrupts:
    """Puts off SIGINT while `held`, within a ``with`` block of its own.

    For the length of the block a handler of ours stands before the one that there was. Outside of
    `held` it passes a signal on at once; within, when `let_go` is called. Python runs signal handlers in
    the main thread alone, so in any other the block does nothing. It may be entered again and again,
    but not within itself.
    """

    __slots__ = ("_handler", "_pending", "_previous", "held")

    def __init__(self) -> None:
        self.held = False
        """Whether a change is going on."""
        self._pending: tuple[int, FrameType | None] | None = None
        self._previous: Callable[[int, FrameType | None], object] | None = None
        self._handler = self._handle  # one object, to be recognised

    def __enter__(self) -> None:
        if threading.get_ident() != threading.main_thread().ident:
            return
        previous = _signal.getsignal(_SIGINT)
        # Ours is there already where an interrupt came between entering and leaving.
        if callable(previous) and previous != self._handler:
            self._previous = previous
            _signal.signal(_SIGINT, self._handler)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._previous is not None and threading.get_ident() == threading.main_thread().ident:
            _signal.signal(_SIGINT, self._previous)
            self._previous = None

    def let_go(self) -> None:
        """End the change, and pass on the signal that came within it."""
        self.held = False
        if self._pending is not None and self._previous is not None:
            pending, self._pending = self._pending, None
            self._previous(*pending)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.held:
            self._pending = number, frame
        elif self._previous is not None:
            self._previous(number, frame)
