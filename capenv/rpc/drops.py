"""Notes of references that died."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from capenv.rpc.question import Question

Dropped: TypeAlias = "tuple[int, int] | tuple[Question, tuple[int, ...]]"
"""Id and generation of an import, or a question and the path to which a way is held no more."""


class Drops:
    """What was dropped since the driver asked.

    A reference may die in any thread and at any moment, even between two lines of this package, so its
    death is only noted; the driver's side does the rest.
    """

    def __init__(self) -> None:
        self._notes: deque[Dropped] = deque()
        self.on_drop: Callable[[], None] | None = None
        """Called in whatever thread dropped a reference; must be safe there, and quick."""

    def note(self, dropped: Dropped) -> None:
        """Note a death."""
        self._notes.append(dropped)
        if self.on_drop is not None:
            self.on_drop()

    def take(self) -> Iterator[Dropped]:
        """Take the notes out, those too that are made meanwhile."""
        while self._notes:
            yield self._notes.popleft()

    def clear(self) -> None:
        """Forget every note."""
        self._notes.clear()

    def __bool__(self) -> bool:
        return bool(self._notes)
