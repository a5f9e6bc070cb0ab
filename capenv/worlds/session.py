"""A session: the authority to act in one seat, and what it may do when."""

import enum
import logging
import numbers
from collections.abc import Callable, Mapping
from typing import Any, Final

import gymnasium

from capenv.errors import EnvironmentFailed, ResetNeeded, SessionClosed
from capenv.worlds.descriptions import (
    EnvironmentDescription,
    ResetResult,
    SessionDescription,
    TimeStep,
)
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


class Session:
    """The authority to act in one seat of a world."""

    def __init__(
        self,
        environment: EnvironmentDescription,
        seat: str,
        env: gymnasium.Env[Any, Any],
        vacate: Callable[[], None],
        check_observations: bool = True,
    ) -> None:
        self._check_observations = check_observations
        self._over = False
        """Whether the episode has ended."""
        self._beyond = False
        """Whether the last step was one after that."""
        self._environment = environment
        self._seat = seat
        self._env = env
        self._vacate = vacate
        self._state = SessionState.JOINED
        self.restored = False
        """Whether it has a URL of its own, so that it outlives who uses it."""

    @property
    def description(self) -> SessionDescription:
        """What the session is."""
        self._check_open()
        return SessionDescription(
            self._environment, self._seat, self._env.render_mode, self.restored
        )

    @property
    def check_observations(self) -> bool:
        """Whether it is an error if the last observation is outside its space's bounds.

        It is none in a step after the episode's end, which Gymnasium lets an agent take but does not
        define: CartPole then leaves its bounds.
        """
        return self._check_observations and not self._beyond

    def reset(
        self, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> ResetResult:
        """Begin an episode.

        Raises:
            EnvironmentFailed: the environment raised; another reset may work.
            SessionClosed: the session was left.
        """
        self._check_open()
        result = self._run("reset", lambda: self._env.reset(seed=seed, options=_mutable(options)))
        match result:
            case (observation, dict() as info):
                self._state = TRANSITIONS[self._state, SessionInput.RESET]
                self._over = self._beyond = False
                return ResetResult(observation, info, self._np_random_seed())
            case _:
                raise self._failed("reset", "it did not return an observation and an info dict")

    def step(self, action: Any) -> TimeStep:
        """Act, once an episode was begun. The action must be an element of the action space.

        Raises:
            ResetNeeded: no episode was begun, or the environment raised since.
            EnvironmentFailed: the environment raises now.
            SessionClosed: the session was left.
        """
        if self._state is not SessionState.PLAYING:
            self._check_playing("step")
        try:
            result = self._env.step(action)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise self._raised("step", error) from error
        match result:
            case (observation, reward, terminated, truncated, dict() as info):
                if terminated is not False:
                    terminated = self._truth("terminated", terminated)
                if truncated is not False:
                    truncated = self._truth("truncated", truncated)
                self._beyond, self._over = self._over, self._over or terminated or truncated
                return TimeStep(observation, reward, terminated, truncated, info)
            case _:
                raise self._failed(
                    "step", "it did not return observation, reward, terminated, truncated, info"
                )

    def render(self) -> Any:
        """Return what Gymnasium's render returns in the world's render mode.

        Raises:
            ResetNeeded, EnvironmentFailed, SessionClosed: as for `step`.
        """
        self._check_playing("render")
        return self._run("render", self._env.render)

    def fail(self) -> None:
        """Take notice that what the environment returned could not be used: a reset is needed."""
        self._state = TRANSITIONS[self._state, SessionInput.FAILURE]

    def leave(self) -> None:
        """Give the seat up. Idempotent."""
        if self._state is SessionState.LEFT:
            return
        self._state = TRANSITIONS[self._state, SessionInput.LEAVE]
        self._vacate()

    def _check_open(self) -> None:
        if self._state is SessionState.LEFT:
            raise SessionClosed(
                "the session was left, or its world was destroyed; join a world anew"
            )

    def _check_playing(self, what: str) -> None:
        self._check_open()
        if self._state is SessionState.JOINED:
            raise ResetNeeded(f"{what} before the first reset; call reset to begin an episode")
        if self._state is SessionState.FAILED:
            raise ResetNeeded(f"{what} after the environment failed; call reset to begin again")

    def _run(self, what: str, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise self._raised(what, error) from error

    def _raised(self, what: str, error: BaseException) -> EnvironmentFailed:
        _log.error("%s failed in %s", self._environment.id, what, exc_info=error)
        return self._failed(what, told(error))

    def _truth(self, name: str, value: Any) -> bool:
        try:
            return bool(value)
        except Exception:
            raise self._failed(
                "step", f"its {name} is no bool, but of the type {type(value).__name__}"
            ) from None

    def _failed(self, what: str, reason: str) -> EnvironmentFailed:
        self.fail()
        advice = "another reset may work" if what == "reset" else "reset begins a new episode"
        return EnvironmentFailed(f"{self._environment.id} failed in {what}: {reason} ({advice})")

    def _np_random_seed(self) -> int | None:
        # Not the property: it would make a generator, and so change what a later reset gives.
        seed = getattr(self._env.unwrapped, "_np_random_seed", None)
        return int(seed) if isinstance(seed, numbers.Integral) else None


def _mutable(options: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if options is None else dict(options)
