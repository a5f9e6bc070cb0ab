"""Running what an environment's author wrote: whatever it raises, the host goes on."""

from collections.abc import Callable
from typing import Final, TypeVar

Result = TypeVar("Result")

_TRACEBACK: Final = "Traceback (most recent call last)"


class EnvironmentRaisedError(Exception):
    """The environment raised its cause. The text says what, in one line, without any traceback."""


def guarded(act: Callable[[], Result]) -> Result:
    """Return what `act` returns.

    Raises:
        EnvironmentRaisedError: it raised, or wanted to exit. Only an interrupt passes as it is.
    """
    try:
        return act()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise EnvironmentRaisedError(told(error)) from error


def told(error: BaseException) -> str:
    """Return what an environment raised, in one line, without any traceback."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:
        return name
    # Worker pools put the tracebacks of other processes into their texts: they are the host's affair.
    text = " ".join(text.partition(_TRACEBACK)[0].split())
    return f"{name}: {text}" if text else name
