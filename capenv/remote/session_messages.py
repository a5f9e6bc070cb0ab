"""What passes between the two ends of a session: both directions of each of its messages."""

from collections.abc import Mapping
from typing import Any, Final

from capenv.errors import BadSettings, EnvironmentFailed, ProtocolError
from capenv.link import Buffer
from capenv.remote.alike_steps import AlikeSteps, Step
from capenv.remote.interfaces import SESSION
from capenv.remote.outlines import NotAlikeError
from capenv.remote.step_shapes import action_shape
from capenv.remote.told_infos import InfoWriter, write_observation
from capenv.rpc.capability import Content
from capenv.rpc.interface import Method
from capenv.rpc.patterns import Fields
from capenv.transports.shared_frames import BorrowedFrames, SharedFrames
from capenv.values import (
    ElementCodec,
    Reading,
    UnrepresentableError,
    read_map,
    read_value,
    write_value,
)
from capenv.worlds import EnvironmentDescription, ResetResult, TimeStep

_SEED_LIMIT: Final = 1 << 128
"""What numpy draws a seed from by itself. It takes larger ones, and a time that grows with their square."""

_RESET, _STEP = SESSION["reset"], SESSION["step"]


class SessionMessages:
    """Writes and reads the params and results of one session's methods."""

    def __init__(self, environment: EnvironmentDescription) -> None:
        assert environment.observation_space is not None
        assert environment.action_space is not None
        self._id = environment.id
        self._observations = ElementCodec(environment.observation_space, "observation")
        self._actions = ElementCodec(environment.action_space, "action")
        self._infos = InfoWriter(environment.id)
        self.borrowed: BorrowedFrames | None = None
        self.shared: SharedFrames | None = None
        """Memory that both ends share, if they do: as the agent has it, and as the world has."""

    @property
    def frame_bytes(self) -> int:
        """The length of an observation's frame."""
        return self._observations.layout.frame_size

    # From the agent.

    def pack_action(self, action: Any) -> tuple[Fields, Buffer] | None:
        """Return fields and frame of the params of `step`, None where they are of no such shape.

        Raises:
            OutsideSpace: the action is not an element of the action space.
        """
        packed = self._actions.pack_repeatedly(action)
        if packed is None:
            return None
        freed = 0 if self.borrowed is None else self.borrowed.freed()
        return (freed, *packed[0]), packed[1]

    def write_step(self, action: Any) -> Content:
        """Return the params of `step`.

        Raises:
            OutsideSpace: the action is not an element of the action space.
        """
        params = _STEP.params.new()
        params.freed = 0 if self.borrowed is None else self.borrowed.freed()
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

    step = _STEP
    asked = staticmethod(action_shape)

    def told(self, results: Content, timestep: TimeStep | None = None) -> AlikeSteps | None:
        """Return what knows results of `step` that are like these; None if there is no knowing them.

        `timestep` is what they say, if that is known.
        """
        try:
            return AlikeSteps(
                results,
                timestep or self.read_time_step(results),
                self._observations,
                self.borrowed,
                self.shared,
            )
        except (NotAlikeError, ProtocolError):
            return None

    def read_step_results(self, content: Content) -> Step:
        """Return the results of `step` as Gymnasium does."""
        timestep = self.read_time_step(content)
        return (
            timestep.observation,
            timestep.reward,
            timestep.terminated,
            timestep.truncated,
            timestep.info,
        )

    @Reading("a timestep")
    def read_time_step(self, content: Content) -> TimeStep:
        """Return the results of `step`."""
        reader = _STEP.results.read(content.segments)
        exact = reader._has("exactReward")
        slots = None if self.borrowed is None else self.borrowed.view
        return TimeStep(
            self._observations.read(reader.observation, check=False, slots=slots),
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
        if self.shared is not None:
            self.shared.free(reader.freed)
        return self._actions.read(reader.action)

    def unpack_action(self, fields: Fields, frame: memoryview) -> Any:
        """Return the action in fields and frame of the params of `step`.

        Raises:
            OutsideSpace: it is not an element of the action space.
        """
        if self.shared is not None:
            self.shared.free(fields[0])
        if len(fields) > 1:
            return self._actions.unpack(bytearray(), {0: fields[1]})
        return self._actions.unpack_frame(bytearray(frame), check=True)

    def write_reset_result(self, builder: Any, result: ResetResult, check: bool) -> Content:
        """Return the results of `reset`. `check`: whether the observation must be within its bounds.

        Raises:
            EnvironmentFailed: the observation is not an element of its space.
        """
        write_observation(
            builder.init("observation"),
            self._observations,
            result.observation,
            check=check,
            of=f"{self._id} failed in reset",
        )
        self._infos.write(builder, "info", result.info)
        write_value(builder.init("seed"), result.seed)
        return _RESET.results.content(builder)

    def write_time_step(self, timestep: TimeStep, check: bool) -> Content:
        """Return the results of `step`. `check`: whether the observation must be within its bounds.

        Raises:
            EnvironmentFailed: the observation is not an element of its space, or the reward no number.
        """
        builder = _STEP.results.new(self._observations.layout.frame_size)
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
        self._infos.write(builder, "info", timestep.info)
        # Last, so that all that changes from step to step is in the order that patterns ask for.
        write_observation(
            builder.init("observation"),
            self._observations,
            timestep.observation,
            check=check,
            of=f"{self._id} failed in step",
            lend=None if self.shared is None else self.shared.lend,
        )
        return _STEP.results.content(builder)


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
    params = _RESET.params.new()
    params.hasSeed = seed is not None
    write_value(params.init("seed"), None if seed is None else int(seed))
    write_options(params, options)
    return _RESET.params.content(params)


def write_options(params: Any, options: Mapping[str, Any] | None) -> None:
    """Fill the `options` of a reset's params.

    Raises:
        BadSettings: an option cannot be told to a peer.
    """
    if not isinstance(options, Mapping | None):
        raise BadSettings(
            f"the options are of the type {type(options).__name__}; give a dict or None"
        )
    try:
        write_value(params.init("options"), None if options is None else dict(options))
    except UnrepresentableError as error:
        raise BadSettings(
            f"an option cannot be sent: {error}; only numbers, text, bytes, arrays, lists and maps of"
            " these can"
        ) from None


def check_seed(seed: Any) -> None:
    """Check a seed that a peer gave.

    Raises:
        BadSettings: it is an integer, and too large or negative.
    """
    if isinstance(seed, int) and not 0 <= seed < _SEED_LIMIT:
        raise BadSettings("a seed is an integer from 0 to 2**128 - 1; give another")


@Reading("a reset")
def read_reset(reader: Any) -> tuple[int | None, dict[str, Any] | None]:
    """Return seed and options from the params of `reset`."""
    seed = read_value(reader.seed) if reader.hasSeed else None
    check_seed(seed)
    options = read_value(reader.options)
    if not isinstance(seed, int | None) or not isinstance(options, dict | None):
        raise ValueError("a seed that is no integer, or options that are no map")
    return seed, options


def write_rendering(method: Method, rendering: Any) -> Content:
    """Return the results of `render`, of either kind of session.

    Raises:
        EnvironmentFailed: it is nothing that can be sent.
    """
    builder = method.results.new()
    try:
        write_value(builder.init("rendering"), rendering)
    except UnrepresentableError as error:
        raise EnvironmentFailed(f"what render returned cannot be sent: {error}") from None
    return method.results.content(builder)


@Reading("a rendering")
def read_rendering(method: Method, content: Content) -> Any:
    """Return the results of `render`, of either kind of session."""
    return read_value(method.results.read(content.segments).rendering)
