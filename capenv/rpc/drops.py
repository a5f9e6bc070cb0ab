"""Notes of references that died."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import attrs

if TYPE_CHECKING:
    from capenv.rpc.question import Question


@attrs.frozen
class DroppedImport:
    """An import that nobody holds any more, unless it was received again since: `generation` tells."""

    id: int
    generation: int


@attrs.frozen(eq=False)
class DroppedPath:
    """A question, and the path into its results to which a way is held no more."""

    question: "Question"
    transform: tuple[int, ...]


Dropped: TypeAlias = DroppedImport | DroppedPath


class Drops:
    """What was dropped since the driver asked.

    A reference may die in any thread and at any moment, even between two lines of this package, so its
    death is only noted; the driver's side does the rest.
    """

    def __init__(self) -> None:
        self.notes: deque[Dropped] = deque()
        self.on_drop: Callable[[], None] | None = None
        """Called in whatever thread dropped a reference; must be safe there, and quick."""

    def note(self, dropped: Dropped) -> None:
        """Note a death."""
        self.notes.append(dropped)
        if self.on_drop is not None:
            self.on_drop()

    def take(self) -> Iterator[Dropped]:
        """Take the notes out, those too that are made meanwhile."""
        while self.notes:
            yield self.notes.popleft()

    def clear(self) -> None:
        """Forget every note."""
        self.notes.clear()

    def __bool__(self) -> bool:
        return bool(self.notes)
