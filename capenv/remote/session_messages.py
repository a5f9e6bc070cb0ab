"""What passes between the two ends of a session: both directions of each of its messages."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from capenv.errors import BadSettings, EnvironmentFailed, SpaceError
from capenv.link import Buffer
from capenv.remote.interfaces import SESSION
from capenv.remote.step_shapes import TERMINATED, TRUNCATED
from capenv.rpc.capability import Content
from capenv.rpc.patterns import Fields
from capenv.values import (
    ElementCodec,
    Reading,
    UnrepresentableError,
    read_map,
    read_value,
    write_info,
    write_value,
)
from capenv.worlds import EnvironmentDescription, ResetResult, TimeStep

_SEED_LIMIT: Final = 1 << 128
"""What numpy draws a seed from by itself. It takes larger ones, and a time that grows with their square."""

_WARNINGS: Final = 1000
"""After so many names of what an info could not tell, no more are told of: they may change at every step."""

_log = logging.getLogger("capenv.remote")
_RESET, _STEP, _RENDER = SESSION["reset"], SESSION["step"], SESSION["render"]


class SessionMessages:
    """Writes and reads the params and results of one session's methods."""

    def __init__(self, environment: EnvironmentDescription) -> None:
        assert environment.observation_space is not None
        assert environment.action_space is not None
        self._id = environment.id
        self._observations = ElementCodec(environment.observation_space, "observation")
        self._actions = ElementCodec(environment.action_space, "action")
        self.pack_action = self._actions.pack_repeatedly
        """Returns fields and frame of the params of `step`, None where they are of no such shape."""
        self.unpack_observation = self._observations.unpack_frame
        """Returns the observation in a frame."""
        self._warned: set[str] = set()

    # From the agent.

    def write_step(self, action: Any) -> Content:
        """Return the params of `step`.

        Raises:
            OutsideSpace: the action is not an element of the action space.
        """
        params = _STEP.params.new()
        self._actions.write(params.init("action"), action)
        return _STEP.params.content(params)

    @Reading("the results of a reset")
    def read_reset_result(self, content: Content) -> ResetResult:
        """Return the results of `reset`."""
        reader = _RESET.results.read(content.segments)
        return ResetResult(
            self._observations.read(reader.observation, check=False),
            read_map(reader.info),
            read_value(reader.seed),
        )

    @Reading("a timestep")
    def read_time_step(self, content: Content) -> TimeStep:
        """Return the results of `step`."""
        reader = _STEP.results.read(content.segments)
        exact = reader._has("exactReward")
        return TimeStep(
            self._observations.read(reader.observation, check=False),
            read_value(reader.exactReward) if exact else reader.reward,
            reader.terminated,
            reader.truncated,
            read_map(reader.info),
        )

    # From the world.

    @Reading("an action")
    def read_step(self, reader: Any) -> Any:
        """Return the action in the params of `step`.

        Raises:
            OutsideSpace: it is not an element of the action space.
        """
        return self._actions.read(reader.action)

    def unpack_action(self, fields: Fields, frame: memoryview) -> Any:
        """Return the action in fields and frame of the params of `step`.

        Raises:
            OutsideSpace: it is not an element of the action space.
        """
        if fields:
            return self._actions.admit(fields[0])
        return self._actions.unpack_frame(bytearray(frame), check=True)

    def pack_time_step(self, timestep: TimeStep, check: bool) -> tuple[Fields, Buffer] | None:
        """Return fields and frame of the results of `step`, None where they are of no such shape.

        The frame may be a view of the observation's own memory.
        """
        if timestep.info or type(timestep.reward) is not float:
            return None
        frame = self._observations.frame(timestep.observation, check)
        if frame is None:
            return None
        ends = timestep.terminated * TERMINATED | timestep.truncated * TRUNCATED
        return (timestep.reward, ends), frame

    def write_reset_result(self, builder: Any, result: ResetResult, check: bool) -> Content:
        """Return the results of `reset`. `check`: whether the observation must be within its bounds.

        Raises:
            EnvironmentFailed: the observation is not an element of its space.
        """
        self._write_observation(builder, "reset", result.observation, check)
        self._write_info(builder, result.info)
        write_value(builder.init("seed"), result.seed)
        return _RESET.results.content(builder)

    def write_time_step(self, timestep: TimeStep, check: bool) -> Content:
        """Return the results of `step`. `check`: whether the observation must be within its bounds.

        Raises:
            EnvironmentFailed: the observation is not an element of its space, or the reward no number.
        """
        builder = _STEP.results.new(self._observations.layout.frame_size)
        self._write_observation(builder, "step", timestep.observation, check)
        if type(timestep.reward) is float:
            builder.reward = timestep.reward
        else:
            try:
                if isinstance(timestep.reward, str | bytes):
                    raise TypeError("float would read it")
                builder.reward = float(timestep.reward)
                write_value(builder.init("exactReward"), timestep.reward)
            except (TypeError, ValueError, OverflowError, UnrepresentableError):
                raise EnvironmentFailed(
                    f"{self._id} failed in step: its reward is no number that can be sent, but of"
                    f" the type {type(timestep.reward).__name__} (reset begins a new episode)"
                ) from None
        builder.terminated = timestep.terminated
        builder.truncated = timestep.truncated
        self._write_info(builder, timestep.info)
        return _STEP.results.content(builder)

    def _write_observation(self, builder: Any, what: str, observation: Any, check: bool) -> None:
        try:
            self._observations.write(builder.init("observation"), observation, check=check)
        except SpaceError as error:
            raise EnvironmentFailed(
                f"{self._id} failed in {what}: {error} (reset begins a new episode;"
                " its host can offer it with check_observations=False)"
            ) from error

    def _write_info(self, builder: Any, info: Mapping[str, Any]) -> None:
        if not info:
            return
        dropped = set(write_info(builder, "info", info)) - self._warned
        if dropped and len(self._warned) < _WARNINGS:
            self._warned |= dropped
            _log.warning(
                "%s: the info %s cannot be sent and is left out",
                self._id,
                ", ".join(sorted(dropped)),
            )


def write_unknown_step(action: Any) -> Content:
    """Return the params of `step` for an action space that is not known yet."""
    params = _STEP.params.new()
    ElementCodec.write_value(params.init("action"), action)
    return _STEP.params.content(params)


def write_reset(seed: int | None, options: Mapping[str, Any] | None) -> Content:
    """Return the params of `reset`.

    Raises:
        BadSettings: an option cannot be told to a peer.
    """
    if not isinstance(options, Mapping | None):
        raise BadSettings(
            f"the options are of the type {type(options).__name__}; give a dict or None"
        )
    params = _RESET.params.new()
    params.hasSeed = seed is not None
    write_value(params.init("seed"), None if seed is None else int(seed))
    try:
        write_value(params.init("options"), None if options is None else dict(options))
    except UnrepresentableError as error:
        raise BadSettings(
            f"an option cannot be sent: {error}; only numbers, text, bytes, arrays, lists and maps of"
            " these can"
        ) from None
    return _RESET.params.content(params)


@Reading("a reset")
def read_reset(reader: Any) -> tuple[int | None, dict[str, Any] | None]:
    """Return seed and options from the params of `reset`."""
    seed = read_value(reader.seed) if reader.hasSeed else None
    if isinstance(seed, int) and not 0 <= seed < _SEED_LIMIT:
        raise BadSettings("a seed is an integer from 0 to 2**128 - 1; give another")
    options = read_value(reader.options)
    if not isinstance(seed, int | None) or not isinstance(options, dict | None):
        raise ValueError("a seed that is no integer, or options that are no map")
    return seed, options


def write_rendering(builder: Any, rendering: Any) -> Content:
    """Return the results of `render`.

    Raises:
        EnvironmentFailed: it is nothing that can be sent.
    """
    try:
        write_value(builder.init("rendering"), rendering)
    except UnrepresentableError as error:
        raise EnvironmentFailed(f"what render returned cannot be sent: {error}") from None
    return _RENDER.results.content(builder)


@Reading("a rendering")
def read_rendering(content: Content) -> Any:
    """Return the results of `render`."""
    return read_value(_RENDER.results.read(content.segments).rendering)
