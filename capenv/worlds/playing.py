"""What plays: episodes begin and fail, and nothing an environment's author wrote reaches anybody else."""

import enum
import logging
from collections.abc import Callable
from typing import Any, Final

from capenv.errors import EnvironmentFailed, ResetNeeded, SessionClosed
from capenv.worlds.guard import told

_log = logging.getLogger("capenv.worlds")


class SessionState(enum.Enum):
    """What a session waits for."""

    JOINED = enum.auto()
    """No episode was begun."""
    PLAYING = enum.auto()
    """An episode was begun. Gymnasium lets an agent step on after its end, and some environments go on."""
    FAILED = enum.auto()
    """The environment raised; a reset may mend it."""
    LEFT = enum.auto()
    """The seat was given up."""


class SessionInput(enum.Enum):
    """What happens to a session."""

    RESET = enum.auto()
    FAILURE = enum.auto()
    LEAVE = enum.auto()


TRANSITIONS: Final = {
    (SessionState.JOINED, SessionInput.RESET): SessionState.PLAYING,
    (SessionState.JOINED, SessionInput.FAILURE): SessionState.FAILED,
    (SessionState.JOINED, SessionInput.LEAVE): SessionState.LEFT,
    (SessionState.PLAYING, SessionInput.RESET): SessionState.PLAYING,
    (SessionState.PLAYING, SessionInput.FAILURE): SessionState.FAILED,
    (SessionState.PLAYING, SessionInput.LEAVE): SessionState.LEFT,
    (SessionState.FAILED, SessionInput.RESET): SessionState.PLAYING,
    (SessionState.FAILED, SessionInput.FAILURE): SessionState.FAILED,
    (SessionState.FAILED, SessionInput.LEAVE): SessionState.LEFT,
}


class Playing:
    """Base of sessions, of one environment or of many."""

    _again = "reset begins a new episode"
    _closed = "the session was left, or its world was destroyed; join a world anew"

    def __init__(self, id: str) -> None:  # noqa: A002
        """Begin; `id` is the environment's."""
        self._id = id
        self._state = SessionState.JOINED

    def fail(self) -> None:
        """Take notice that what the environment returned could not be used: a reset is needed."""
        self._state = TRANSITIONS[self._state, SessionInput.FAILURE]

    def _check_open(self) -> None:
        if self._state is SessionState.LEFT:
            raise SessionClosed(self._closed)

    def _check_playing(self, what: str) -> None:
        self._check_open()
        if self._state is SessionState.JOINED:
            raise ResetNeeded(f"{what} before the first reset; call reset to begin an episode")
        if self._state is SessionState.FAILED:
            raise ResetNeeded(f"{what} after the environment failed; call reset to begin again")

    def _run(self, what: str, act: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return act(*arguments)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            _log.error("%s failed in %s", self._id, what, exc_info=error)
            raise self._failed(what, told(error)) from error

    def _failed(self, what: str, reason: str) -> EnvironmentFailed:
        self.fail()
        advice = "another reset may work" if what == "reset" else self._again
        return EnvironmentFailed(f"{self._id} failed in {what}: {reason} ({advice})")
