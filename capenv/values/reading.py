"""Reading what a peer sent: one kind of error, and bounds on depth, memory and work."""

from contextlib import ContextDecorator
from types import TracebackType

import attrs

from capenv.errors import CapenvError, ProtocolError

MAX_DEPTH = 16
"""Levels of nesting of a space or value. Each takes up to three of the 64 pointers that Cap'n Proto
follows by default, and the message around it takes some too."""

MAX_BYTES = 2**28
"""Bytes of memory that one space, or one self-described value, may come to."""

NODE_BYTES = 1024
"""Bytes that every space and value counts for, however small: there are at most 2**18."""


class OverBudgetError(ValueError):
    """A space or value is nested too deeply or is too large."""


@attrs.define
class Budget:
    """What is left of `MAX_BYTES` while one space or value is read, or is prepared for sending.

    Without it a message of a few bytes could name an array of terabytes, or point a million times
    at the same megabyte.
    """

    left: int = MAX_BYTES

    def spend(self, size: int) -> None:
        """Take `size` bytes.

        Raises:
            OverBudgetError: There are not so many left.
        """
        if size > self.left:
            raise OverBudgetError(f"more than {MAX_BYTES} bytes")
        self.left -= size

    def nodes(self, count: int, depth: int) -> None:
        """Take what `count` spaces or values at `depth` levels of nesting count for.

        Raises:
            OverBudgetError: There is not so much left, or they are nested too deeply.
        """
        if depth > MAX_DEPTH:
            raise OverBudgetError(f"nested more than {MAX_DEPTH} levels deep")
        if count * NODE_BYTES > self.left:
            raise OverBudgetError(f"more than {MAX_BYTES // NODE_BYTES} values")
        self.left -= count * NODE_BYTES


class Reading(ContextDecorator):
    """A context, or a decorator, in which whatever fails is the peer's fault: a ProtocolError.

    pycapnp checks a message only as its fields are read, and reports faults as `KjException`,
    `UnicodeDecodeError` and `RuntimeError`; numpy and Gymnasium add theirs. capenv's own errors
    pass.
    """

    def __init__(self, what: str) -> None:
        """Name what is read, such as "a tensor"."""
        self._what = what

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Raise a ProtocolError in the place of any exception that is not capenv's own."""
        if isinstance(error, Exception) and not isinstance(error, CapenvError):
            # A KjException's text ends in the addresses of its stack.
            reason = " ".join(str(error).partition("\nstack:")[0].split())
            text = f"{self._what} cannot be read ({type(error).__name__}: {reason[:200]})"
            raise ProtocolError(text) from error
