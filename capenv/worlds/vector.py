"""Many environments of one kind stepped as one, and the session that steps them."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from capenv.values.tensors import has_dtype
from capenv.worlds.descriptions import (
    EnvironmentDescription,
    ResetResult,
    VectorDescription,
    VectorTimeStep,
)
from capenv.worlds.guard import EnvironmentRaisedError, guarded
from capenv.worlds.playing import TRANSITIONS, Playing, SessionInput, SessionState

_log = logging.getLogger("capenv.worlds")
AnyVectorEnv = VectorEnv[Any, Any, Any]


class VectorSession(Playing):
    """The authority to act in all the sub-environments of one vector environment, which it closes."""

    _again = "reset begins new episodes"
    _closed = "the session was left; make the vector environment anew"

    def __init__(
        self,
        environment: EnvironmentDescription,
        env: AnyVectorEnv,
        check_observations: bool = True,
    ) -> None:
        super().__init__(environment.id)
        self._check_observations = check_observations
        self._environment = environment
        self._env = env

    @property
    def description(self) -> VectorDescription:
        """What the session is."""
        self._check_open()
        return VectorDescription(
            self._environment,
            self._env.num_envs,
            self._env.observation_space,
            self._env.action_space,
            self._env.metadata["autoreset_mode"],
            self._env.render_mode,
        )

    def check_observations(self) -> bool:
        """Return whether observations outside the bounds of their space are an error."""
        return self._check_observations

    def reset(
        self,
        seed: int | list[int | None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> ResetResult:
        """Begin episodes: of all sub-environments, or of those that `options["reset_mask"]` chooses.

        Raises:
            EnvironmentFailed: the environment raised; another reset may work.
            SessionClosed: the session was left.
        """
        self._check_open()
        mine = None if options is None else dict(options)  # Gymnasium takes the mask out
        result = self._run("reset", lambda: self._env.reset(seed=seed, options=mine))  # type: ignore[arg-type]
        match result:
            case (observations, dict() as infos):
                self._state = TRANSITIONS[self._state, SessionInput.RESET]
                return ResetResult(observations, infos)
            case _:
                raise self._failed("reset", "it did not return observations and an infos dict")

    def step(self, actions: Any) -> VectorTimeStep:
        """Act in every sub-environment. The actions must be an element of the batched action space.

        Raises:
            ResetNeeded: no episode was begun, or the environment raised since.
            EnvironmentFailed: the environment raises now.
            SessionClosed: the session was left.
        """
        self._check_playing("step")
        result = self._run("step", self._env.step, actions)
        match result:
            case (observations, rewards, terminations, truncations, dict() as infos):
                return VectorTimeStep(
                    observations,
                    self._for_each("rewards", rewards, "fiu"),
                    self._for_each("terminations", terminations, "b"),
                    self._for_each("truncations", truncations, "b"),
                    infos,
                )
            case _:
                raise self._failed(
                    "step",
                    "it did not return observations, rewards, terminations, truncations, infos",
                )

    def render(self) -> Any:
        """Return what the vector environment's render returns.

        Raises:
            ResetNeeded, EnvironmentFailed, SessionClosed: as for `step`.
        """
        self._check_playing("render")
        return self._run("render", self._env.render)

    def leave(self) -> None:
        """End every sub-environment. Idempotent."""
        if self._state is SessionState.LEFT:
            return
        self._state = TRANSITIONS[self._state, SessionInput.LEAVE]
        try:
            guarded(self._env.close)
        except EnvironmentRaisedError as error:
            _log.error("%s failed in close", self._id, exc_info=error.__cause__)

    def _for_each(self, name: str, value: Any, kinds: str) -> npt.NDArray[Any]:
        array = value if type(value) is np.ndarray else np.asarray(value)
        known = array.dtype.kind in kinds and has_dtype(array.dtype)
        if array.shape != (self._env.num_envs,) or not known:
            raise self._failed(
                "step",
                f"its {name} are of shape {array.shape} and dtype {array.dtype}, and not one number"
                f" for each of {self._env.num_envs} sub-environments",
            )
        return array


def synchronous(
    make: Callable[[], gymnasium.Env[Any, Any]], num_envs: int, mode: AutoresetMode
) -> AnyVectorEnv:
    """Return environments that are stepped one after the other. If one cannot be made none stays."""
    made: list[gymnasium.Env[Any, Any]] = []

    def make_one() -> gymnasium.Env[Any, Any]:
        made.append(make())
        return made[-1]

    try:
        return SyncVectorEnv([make_one] * num_envs, copy=False, autoreset_mode=mode)
    except BaseException:
        for env in made:
            env.close()
        raise
