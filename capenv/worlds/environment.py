"""An environment: a named maker of worlds, with what can be told before one is made."""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

import gymnasium
from gymnasium import VectorizeMode
from gymnasium.vector import AutoresetMode

from capenv.errors import BadSettings, EnvironmentFailed, UnsupportedSpace
from capenv.values import ElementCodec
from capenv.values.naming import brief
from capenv.worlds.descriptions import MAX_NAME, EnvironmentDescription, Setting, VectorOptions
from capenv.worlds.guard import EnvironmentRaisedError, guarded
from capenv.worlds.vector import AnyVectorEnv, VectorSession, synchronous
from capenv.worlds.world import World

Result = TypeVar("Result")

MAX_NUM_ENVS: Final = 4096
"""Sub-environments of one vector: what a peer may make a host hold."""


class Environment:
    """A maker of worlds."""

    def __init__(
        self,
        id: str,  # noqa: A002
        factory: Callable[..., Any] | str | None = None,
        *,
        check_observations: bool = True,
    ) -> None:
        """Name an environment.

        Args:
            id: what it is called on the host.
            factory: an id registered with Gymnasium, or a callable that returns a `gymnasium.Env`;
                None for the registered id that is `id` itself.
            check_observations: whether an observation outside the bounds of its space is an error.
        """
        self.id = id
        self._check_observations = check_observations
        self._vector_entry_point: Callable[..., Any] | None = None
        match factory:
            case None | str():
                name = factory or id
                self._make, self._signature = _registered(name)
                self._vector_entry_point = _vector_entry_point(name)
            case _:
                self._make, self._signature = factory, _settings_of(factory)
        self.settings, self._open = self._signature
        """What may be set; whether the maker takes other settings too."""

    @functools.cached_property
    def description(self) -> EnvironmentDescription:
        """What the environment is. The first time, a world is made with the default settings and closed.

        Raises:
            UnsupportedSpace: one of its spaces cannot be told to a peer.
            EnvironmentFailed: it could not be made.
        """
        if any(setting.required for setting in self.settings):
            return EnvironmentDescription(self.id, None, None, settings=self.settings)
        world = self.create_world({})
        try:
            return world.description.environment
        finally:
            world.destroy()

    def create_world(self, settings: Mapping[str, Any]) -> World:
        """Make a world.

        Raises:
            BadSettings: a setting is unknown or missing.
            EnvironmentFailed: the maker raised, or made something else.
            UnsupportedSpace: one of its spaces cannot be told to a peer.
        """
        self._check(settings)
        env = self._made(lambda: self._make(**settings))
        if not isinstance(env, gymnasium.Env):
            raise EnvironmentFailed(
                f"the maker of {self.id} returned {type(env).__name__}, not a gymnasium.Env"
            )
        try:
            _check_render_mode(env, settings.get("render_mode"))
            return World(self._describe(env), settings, env, self._check_observations)
        except BaseException:
            with suppress(EnvironmentRaisedError):
                guarded(env.close)
            raise

    def create_vector(self, options: VectorOptions, settings: Mapping[str, Any]) -> VectorSession:
        """Make a session of many worlds, at most `MAX_NUM_ENVS`, that are stepped as one.

        Raises:
            BadSettings: a setting is unknown or missing, or the environment cannot be stepped so.
            EnvironmentFailed: the maker raised, or made something else.
            UnsupportedSpace: one of its spaces cannot be told to a peer.
        """
        self._check(settings)
        num_envs, vectorization_mode = options.num_envs, options.vectorization_mode
        autoreset_mode = options.autoreset_mode
        if not 0 < num_envs <= MAX_NUM_ENVS:
            raise BadSettings(f"num_envs is {num_envs}; give a number from 1 to {MAX_NUM_ENVS}")
        if vectorization_mode not in (None, VectorizeMode.SYNC, VectorizeMode.VECTOR_ENTRY_POINT):
            raise BadSettings(
                "the vectorization_mode is neither 'sync' nor 'vector_entry_point'; give one of these"
            )
        env = None
        if vectorization_mode is not VectorizeMode.SYNC:
            insist = vectorization_mode is not None
            env = self._from_entry_point(num_envs, settings, autoreset_mode, insist=insist)
        if env is None:
            mode = autoreset_mode or AutoresetMode.NEXT_STEP
            env = self._made(lambda: synchronous(lambda: self._make(**settings), num_envs, mode))
        try:
            _check_render_mode(env, settings.get("render_mode"))
            self._check_spaces(env)
            description = self._describe(env, "single_")
            return VectorSession(description, env, self._check_observations)
        except BaseException:
            with suppress(EnvironmentRaisedError):
                guarded(env.close)
            raise

    def _from_entry_point(
        self,
        num_envs: int,
        settings: Mapping[str, Any],
        autoreset_mode: AutoresetMode | None,
        *,
        insist: bool,
    ) -> AnyVectorEnv | None:
        """Make a vector environment by the entry point; None where it cannot do what is asked."""
        entry_point = self._vector_entry_point
        if entry_point is None:
            if insist:
                raise BadSettings(f"{self.id} has no vector entry point; ask for mode 'sync'")
            return None
        known, takes_others = _settings_of(entry_point)
        unknown = set(settings) - {setting.name for setting in known}
        if unknown and not takes_others:
            if insist:
                raise BadSettings(
                    f"the vector entry point of {self.id} has no setting {brief(min(unknown))};"
                    " ask for mode 'sync'"
                )
            return None
        env: AnyVectorEnv = self._made(lambda: entry_point(num_envs=num_envs, **settings))
        mode = env.metadata.get("autoreset_mode")
        if isinstance(mode, AutoresetMode) and autoreset_mode in (None, mode):
            return env
        with suppress(EnvironmentRaisedError):
            guarded(env.close)
        if insist:
            raise BadSettings(
                f"the vector entry point of {self.id} has another autoreset_mode; ask for mode 'sync'"
            )
        return None

    def _made(self, make: Callable[[], Result]) -> Result:
        try:
            return guarded(make)
        except EnvironmentRaisedError as error:
            raise EnvironmentFailed(f"{self.id} could not be made: {error}") from error.__cause__

    def _check_spaces(self, env: Any, prefix: str = "") -> None:
        for name in ("observation_space", "action_space"):
            space = getattr(env, prefix + name, None)
            if not isinstance(space, gymnasium.Space):
                raise EnvironmentFailed(
                    f"{self.id} cannot be offered: it has no {name}; give it one"
                )
            try:
                ElementCodec(space)
            except UnsupportedSpace as error:
                raise UnsupportedSpace(
                    f"{self.id} cannot be offered: of its {name}, {error}; wrap it so that it has one"
                    " of Gymnasium's own"
                ) from None

    def _describe(self, env: Any, prefix: str = "") -> EnvironmentDescription:
        self._check_spaces(env, prefix)
        spec = env.spec
        return EnvironmentDescription(
            id=self.id,
            observation_space=getattr(env, f"{prefix}observation_space"),
            action_space=getattr(env, f"{prefix}action_space"),
            settings=self.settings,
            metadata=dict(env.metadata),
            max_episode_steps=None if spec is None else _steps(spec.max_episode_steps),
            nondeterministic=False if spec is None else spec.nondeterministic,
        )

    def _check(self, settings: Mapping[str, Any]) -> None:
        known = [setting.name for setting in self.settings]
        for name in settings:
            if name not in known and not self._open:
                near = difflib.get_close_matches(name[:MAX_NAME], known, 1)
                hint = (
                    f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known) or 'none'}"
                )
                raise BadSettings(f"{self.id} has no setting {brief(name)}; {hint}")
        for setting in self.settings:
            if setting.required and setting.name not in settings:
                kind = f" ({setting.type})" if setting.type else ""
                raise BadSettings(
                    f"{self.id} needs the setting {setting.name!r}{kind}; give it one"
                )


def _steps(limit: Any) -> int | None:
    """Return a limit of steps.

    Raises:
        BadSettings: it is none that can be told to a peer (`EnvironmentDescription.maxEpisodeSteps`).
    """
    if limit is None or (isinstance(limit, int) and 0 < limit < 1 << 64):
        return limit
    raise BadSettings("max_episode_steps is a positive integer of at most 64 bits; give another")


def _check_render_mode(env: Any, mode: Any) -> None:
    """Raise BadSettings if the environment has no such mode; by itself it might only warn its host."""
    modes: list[str] = list(env.metadata.get("render_modes") or ())
    # Gymnasium makes lists of frames of any mode, and windows of arrays.
    known = [
        *modes,
        *(f"{name}_list" for name in modes),
        *(["human"] if "rgb_array" in modes else []),
    ]
    if mode is not None and (not isinstance(mode, str) or mode not in known):
        raise BadSettings(
            f"there is no render_mode {brief(mode)}; it has {', '.join(modes) or 'none'}"
        )


def _registered(id: str) -> tuple[Callable[..., Any], tuple[tuple[Setting, ...], bool]]:  # noqa: A002
    """Return the maker of a registered environment, and its settings."""
    try:
        # Finds "module:id" too, and says what is near when there is no such id.
        spec = gymnasium.spec(id) if ":" not in id else _imported_spec(id)
        entry_point = spec.entry_point
        creator = (
            gymnasium.envs.registration.load_env_creator(entry_point)
            if isinstance(entry_point, str)
            else entry_point
        )
    except (gymnasium.error.Error, ImportError, AttributeError) as error:
        raise EnvironmentFailed(f"Gymnasium cannot make {id}: {error}") from error
    settings, takes_others = _settings_of(creator) if creator else ((), True)
    defaults = dict(spec.kwargs)
    described = [
        Setting(
            s.name, s.type, s.required and s.name not in defaults, defaults.pop(s.name, s.default)
        )
        for s in settings
    ]
    described += [Setting(name, "", False, default) for name, default in defaults.items()]
    if spec.max_episode_steps is not None:
        described.append(Setting("max_episode_steps", "int", False, spec.max_episode_steps))
    # The passive checker only warns, into a log that no agent sees.
    make = functools.partial(gymnasium.make, id, disable_env_checker=True)
    return make, (tuple(described), takes_others)


def _vector_entry_point(id: str) -> Callable[..., Any] | None:  # noqa: A002
    """Return what makes a vector environment of a registered one, if there is such."""
    spec = gymnasium.spec(id.rpartition(":")[2])
    entry_point = spec.vector_entry_point
    # As for Gymnasium's own make_vec: such wrappers cannot be put around it.
    if entry_point is None or spec.additional_wrappers:
        return None
    creator = (
        gymnasium.envs.registration.load_env_creator(entry_point)
        if isinstance(entry_point, str)
        else entry_point
    )
    defaults = dict(spec.kwargs)
    if spec.max_episode_steps is not None:
        defaults["max_episode_steps"] = spec.max_episode_steps
    return functools.partial(creator, **defaults)


def _imported_spec(id: str) -> gymnasium.envs.registration.EnvSpec:  # noqa: A002
    module, _, name = id.partition(":")
    __import__(module)
    return gymnasium.spec(name)


def _settings_of(factory: Callable[..., Any]) -> tuple[tuple[Setting, ...], bool]:
    """Return the settings in a callable's signature, and whether it takes any others."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return (), True
    named = tuple(
        Setting(
            parameter.name,
            _type_name(parameter.annotation),
            parameter.default is parameter.empty,
            None if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    )
    return named, any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _type_name(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    if isinstance(annotation, str):
        return annotation
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
