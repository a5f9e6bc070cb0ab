"""What passes between the two ends of a vector session: both directions of each of its messages."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from capenv.errors import BadSettings, ProtocolError
from capenv.remote.alike_steps import AlikeVectorSteps, VectorStep
from capenv.remote.interfaces import VECTOR_SESSION
from capenv.remote.outlines import NotAlikeError
from capenv.remote.session_messages import check_seed, write_options
from capenv.remote.step_shapes import action_shape, padded
from capenv.remote.told_infos import InfoWriter, write_observation
from capenv.rpc.capability import Content
from capenv.rpc.patterns import Fields
from capenv.values import (
    ElementCodec,
    Reading,
    array_bytes,
    check_bools,
    dtype_ordinal,
    read_map,
    read_tensor,
    read_value,
    write_value,
)
from capenv.worlds import ResetResult, VectorDescription, VectorTimeStep

_RESET, _STEP = VECTOR_SESSION["reset"], VECTOR_SESSION["step"]


class VectorMessages:
    """Writes and reads the params and results of one vector session's methods."""

    step = _STEP
    asked = staticmethod(action_shape)

    def __init__(self, description: VectorDescription) -> None:
        self._id = description.environment.id
        self._num_envs = description.num_envs
        self._observations = ElementCodec(description.observation_space, "observations")
        self._actions = ElementCodec(description.action_space, "actions")
        self._infos = InfoWriter(self._id)
        self.pack_action = self._actions.pack_repeatedly
        """Returns fields and frame of the params of `step`, None where they are of no such shape."""

    # From the agent.

    def write_step(self, actions: Any) -> Content:
        """Return the params of `step`.

        Raises:
            OutsideSpace: the actions are not an element of the action space.
        """
        params = _STEP.params.new(self._actions.layout.frame_size)
        self._actions.write(params.init("actions"), actions)
        return _STEP.params.content(params)

    def told(self, results: Content) -> AlikeVectorSteps | None:
        """Return what knows results of `step` that are like these; None if there is no knowing them."""
        like = VectorTimeStep(*self.read_step_results(results))
        try:
            return AlikeVectorSteps(results, like, self._observations, self._num_envs)
        except (NotAlikeError, ProtocolError):
            return None

    @Reading("a timestep of a vector")
    def read_step_results(self, content: Content) -> VectorStep:
        """Return the results of `step`."""
        reader = _STEP.results.read(content.segments)
        rewards = read_tensor(reader.rewards)
        terminations, truncations = (
            self._bools(reader.terminations),
            self._bools(reader.truncations),
        )
        if rewards.shape != (self._num_envs,):
            raise ProtocolError(f"rewards of the shape {rewards.shape} for {self._num_envs}")
        observations = self._observations.read(reader.observations, check=False)
        return observations, rewards, terminations, truncations, read_map(reader.infos)

    def _bools(self, data: bytes) -> npt.NDArray[np.bool_]:
        if len(data) != self._num_envs:
            raise ProtocolError(f"{len(data)} ends of episodes for {self._num_envs}")
        check_bools(data)
        return np.frombuffer(bytearray(data), np.bool_)

    @Reading("the results of a reset of a vector")
    def read_reset_result(self, content: Content) -> ResetResult:
        """Return the results of `reset`."""
        reader = _RESET.results.read(content.segments)
        observations = self._observations.read(reader.observations, check=False)
        return ResetResult(observations, read_map(reader.infos))

    # From the worlds.

    @Reading("actions")
    def read_step(self, reader: Any) -> Any:
        """Return the actions in the params of `step`.

        Raises:
            OutsideSpace: they are not an element of the action space.
        """
        return self._actions.read(reader.actions)

    def unpack_action(self, fields: Fields, frame: memoryview) -> Any:
        """Return the actions in fields and frame of the params of `step`.

        Raises:
            OutsideSpace: they are not an element of the action space.
        """
        if len(fields) > 0:
            return self._actions.unpack(bytearray(), {0: fields[0]})
        return self._actions.unpack_frame(bytearray(frame), check=True)

    def write_reset_result(self, result: ResetResult, check: bool) -> Content:
        """Return the results of `reset`. `check`: whether observations must be within their bounds.

        Raises:
            EnvironmentFailed: the observations are not an element of their space.
        """
        builder = _RESET.results.new(self._observations.layout.frame_size)
        write_observation(
            builder.init("observations"),
            self._observations,
            result.observation,
            check=check,
            of=f"{self._id} failed in reset",
        )
        self._infos.write(builder, "infos", result.info)
        return _RESET.results.content(builder)

    def write_time_step(self, timestep: VectorTimeStep, check: bool) -> Content:
        """Return the results of `step`. `check`: whether observations must be within their bounds.

        Raises:
            EnvironmentFailed: the observations are not an element of their space.
        """
        builder = _STEP.results.new(
            self._observations.layout.frame_size + 16 * padded(self._num_envs)
        )
        # What has a place of its own first, and then what changes from step to step, in the order that
        # patterns ask for: numbers, and one run of bytes.
        observations, rewards = builder.init("observations"), builder.init("rewards")
        rewards.dtype = dtype_ordinal(timestep.rewards.dtype)
        rewards.init("shape", 1)[0] = self._num_envs
        self._infos.write(builder, "infos", timestep.infos)
        write_observation(
            observations,
            self._observations,
            timestep.observations,
            check=check,
            of=f"{self._id} failed in step",
        )
        rewards.data = array_bytes(timestep.rewards)
        builder.terminations = timestep.terminations.tobytes()
        builder.truncations = timestep.truncations.tobytes()
        return _STEP.results.content(builder)


def write_reset(seed: int | list[int | None] | None, options: Mapping[str, Any] | None) -> Content:
    """Return the params of `reset`.

    Raises:
        BadSettings: an option cannot be told to a peer.
    """
    params = _RESET.params.new()
    write_value(params.init("seed"), seed)
    write_options(params, options)
    return _RESET.params.content(params)


@Reading("a reset of a vector")
def read_reset(
    reader: Any, num_envs: int
) -> tuple[int | list[int | None] | None, dict[str, Any] | None]:
    """Return seed and options from the params of `reset`.

    Raises:
        BadSettings: a seed is too large or negative, or there are not as many as sub-environments.
    """
    seed, options = read_value(reader.seed), read_value(reader.options)
    seeds = seed if isinstance(seed, list) else [seed]
    if not all(isinstance(s, int | None) for s in seeds) or not isinstance(options, dict | None):
        raise ValueError("a seed that is no integer, or options that are no map")
    if isinstance(seed, list) and len(seed) != num_envs:
        raise BadSettings(f"there are {len(seed)} seeds for {num_envs} environments; give one each")
    for one in seeds:
        check_seed(one)
    return seed, options
