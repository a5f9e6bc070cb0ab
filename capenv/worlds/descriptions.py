"""Frozen values: what is told of hosts, environments, worlds and sessions, and what a session returns."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs
import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import VectorizeMode
from gymnasium.vector import AutoresetMode

MAX_NAME: Final = 64
"""Characters of a name that near matches are sought for: looking takes longer the longer it is."""


@attrs.frozen
class Setting:
    """One setting that an environment may be created with."""

    name: str
    type: str = ""
    """As its author wrote it, for people: "bool", "str | None"; empty if nothing was said."""
    required: bool = False
    default: Any = None
    """What it is when it is not given; None too where the default cannot be told to a peer."""


@attrs.frozen(eq=False)
class EnvironmentDescription:
    """What an environment is, or, of a world, what it became with its settings."""

    id: str
    observation_space: gymnasium.Space[Any] | None
    """None where the environment cannot be made without settings: its worlds tell."""
    action_space: gymnasium.Space[Any] | None
    seats: tuple[str, ...] = ("agent",)
    settings: tuple[Setting, ...] = ()
    metadata: Mapping[str, Any] = attrs.Factory(dict)
    """Gymnasium's `Env.metadata`, with `render_modes` and `render_fps`."""
    max_episode_steps: int | None = None
    """Steps after which an episode is truncated."""
    nondeterministic: bool = False
    """Whether equal seeds and actions may give different episodes."""


@attrs.frozen
class HostDescription:
    """What a host is."""

    environments: tuple[str, ...]
    """Ids of its environments, in the order they were added."""
    implementation: str
    """Who made it, such as "capenv 0.1.0"."""
    version: tuple[int, int]
    """Major and minor version of the interfaces it speaks."""


@attrs.frozen
class Seat:
    """A place in a world that one agent may take."""

    name: str
    taken: bool


@attrs.frozen(eq=False)
class WorldDescription:
    """What a world is."""

    environment: EnvironmentDescription
    settings: Mapping[str, Any]
    """As it was created with."""
    seats: tuple[Seat, ...]


@attrs.frozen(eq=False)
class SessionDescription:
    """What a session is."""

    environment: EnvironmentDescription
    seat: str
    render_mode: str | None
    restored: bool
    """Whether the session outlives who uses it, because it has a URL of its own."""


@attrs.frozen
class VectorOptions:
    """How many environments are to be stepped as one, and in what way."""

    num_envs: int
    vectorization_mode: VectorizeMode | None = None
    """Gymnasium's; None is the environment's own entry point where that can do it, or else SYNC."""
    autoreset_mode: AutoresetMode | None = None
    """Gymnasium's; None is that of the entry point, or else NEXT_STEP."""


@attrs.frozen(eq=False)
class VectorDescription:
    """What a vector session is."""

    environment: EnvironmentDescription
    """With the spaces of one sub-environment."""
    num_envs: int
    observation_space: gymnasium.Space[Any]
    action_space: gymnasium.Space[Any]
    """Those of all sub-environments together."""
    autoreset_mode: AutoresetMode
    render_mode: str | None


@attrs.frozen(eq=False)
class VectorTimeStep:
    """What `step` of a vector session returns, as Gymnasium's `VectorEnv.step` does."""

    observations: Any
    """An element of the batched observation space."""
    rewards: npt.NDArray[Any]
    terminations: npt.NDArray[np.bool_]
    truncations: npt.NDArray[np.bool_]
    """Each of the shape (num_envs,)."""
    infos: dict[str, Any]

    def __iter__(self) -> Iterator[Any]:
        return iter(
            (self.observations, self.rewards, self.terminations, self.truncations, self.infos)
        )


@attrs.frozen(eq=False)
class ResetResult:
    """What `reset` returns. Unpacks as Gymnasium's pair: ``observation, info = result``."""

    observation: Any
    """An element of the observation space."""
    info: dict[str, Any]
    seed: int | None = None
    """The environment's `np_random_seed`; None where it keeps none."""

    def __iter__(self) -> Iterator[Any]:
        return iter((self.observation, self.info))


@attrs.frozen(eq=False)
class TimeStep:
    """What `step` returns. Unpacks as Gymnasium's five: ``observation, reward, ... = timestep``."""

    observation: Any
    """An element of the observation space."""
    reward: Any
    """A float, or a number of whatever type the environment returns."""
    terminated: bool
    """Whether the episode ended by its own rules."""
    truncated: bool
    """Whether the episode was cut short, as by a time limit."""
    info: dict[str, Any]

    def __iter__(self) -> Iterator[Any]:
        return iter((self.observation, self.reward, self.terminated, self.truncated, self.info))
