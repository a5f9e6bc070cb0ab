"""A session: the authority to act in one seat, and what it may do when."""

import numbers
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium

from capenv.worlds.descriptions import (
    EnvironmentDescription,
    ResetResult,
    SessionDescription,
    TimeStep,
)
from capenv.worlds.playing import TRANSITIONS, Playing, SessionInput, SessionState


class Session(Playing):
    """The authority to act in one seat of a world."""

    def __init__(
        self,
        environment: EnvironmentDescription,
        seat: str,
        env: gymnasium.Env[Any, Any],
        vacate: Callable[[], None],
        check_observations: bool = True,
    ) -> None:
        super().__init__(environment.id)
        self._check_observations = check_observations
        self._over = False
        """Whether the episode has ended."""
        self._beyond = False
        """Whether the last step was one after that."""
        self._environment = environment
        self._seat = seat
        self._env = env
        self._vacate = vacate
        self.restored = False
        """Whether it has a URL of its own, so that it outlives who uses it."""

    @property
    def description(self) -> SessionDescription:
        """What the session is."""
        self._check_open()
        return SessionDescription(
            self._environment, self._seat, self._env.render_mode, self.restored
        )

    def check_observations(self) -> bool:
        """Return whether it is an error if the last observation is outside its space's bounds.

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
        result = self._run("step", self._env.step, action)
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

    def leave(self) -> None:
        """Give the seat up. Idempotent."""
        if self._state is SessionState.LEFT:
            return
        self._state = TRANSITIONS[self._state, SessionInput.LEAVE]
        self._vacate()

    def _truth(self, name: str, value: Any) -> bool:
        try:
            return bool(value)
        except Exception:
            raise self._failed(
                "step", f"its {name} is no bool, but of the type {type(value).__name__}"
            ) from None

    def _np_random_seed(self) -> int | None:
        # Not the property: it would make a generator, and so change what a later reset gives.
        seed = getattr(self._env.unwrapped, "_np_random_seed", None)
        return int(seed) if isinstance(seed, numbers.Integral) else None


def _mutable(options: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if options is None else dict(options)
