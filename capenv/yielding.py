"""A lock that whoever holds it for long lets others have in between."""

import threading
from collections import deque
from types import TracebackType

_MOMENT = 0.0005


class YieldingLock:
    """A re-entrant lock, in ``with`` blocks."""

    __slots__ = ("_condition", "_lock", "_wanting", "acquire", "release")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.acquire, self.release = self._lock.acquire, self._lock.release
        """Those of any lock, for who cannot wait: `acquire(False)`."""
        self._condition = threading.Condition(self._lock)
        self._wanting: deque[None] = deque()  # appending and popping are atomic, as counting is not

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self._wanting.append(None)
            try:
                self._lock.acquire()
            finally:
                self._wanting.pop()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()

    @property
    def wanted(self) -> bool:
        """Whether another thread waits for it."""
        return bool(self._wanting)

    def let_others(self) -> None:
        """Give it up for a moment, however often this thread holds it, and take it again."""
        self._condition.wait(_MOMENT)
