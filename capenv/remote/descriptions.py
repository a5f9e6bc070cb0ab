"""Descriptions to and from the structs of `schema/host.capnp`."""

from collections.abc import Mapping
from typing import Any, Final

from gymnasium import VectorizeMode
from gymnasium.vector import AutoresetMode

from capenv.errors import BadSettings
from capenv.remote.interfaces import IMPLEMENTATION, VERSION, implementation_version
from capenv.values import (
    Reading,
    UnrepresentableError,
    check_layout,
    layout_of,
    read_map,
    read_space,
    read_value,
    write_info,
    write_layout,
    write_space,
    write_value,
)
from capenv.worlds import (
    EnvironmentDescription,
    Host,
    HostDescription,
    Seat,
    SessionDescription,
    Setting,
    VectorDescription,
    VectorOptions,
    WorldDescription,
)

_MODES: Final = {
    "nextStep": AutoresetMode.NEXT_STEP,
    "sameStep": AutoresetMode.SAME_STEP,
    "disabled": AutoresetMode.DISABLED,
}
_MODE_NAMES: Final = {mode: name for name, mode in _MODES.items()}
_VECTORIZATIONS: Final = {
    "any": None,
    "sync": VectorizeMode.SYNC,
    "vectorEntryPoint": VectorizeMode.VECTOR_ENTRY_POINT,
}
_VECTORIZATION_NAMES: Final = {mode: name for name, mode in _VECTORIZATIONS.items()}


def write_settings(builder: Any, settings: Mapping[str, Any]) -> None:
    """Fill the `settings` of a builder.

    Raises:
        BadSettings: one of them cannot be told to a peer.
    """
    if dropped := write_info(builder, "settings", settings):
        raise BadSettings(
            f"the setting {dropped[0].lstrip('/')!r} cannot be sent: only numbers, text, bytes, arrays, lists"
            " and maps of these can"
        )


@Reading("settings")
def read_settings(reader: Any) -> dict[str, Any]:
    """Return the `settings` of a reader."""
    return read_map(reader.settings)


def write_host(builder: Any, host: Host) -> None:
    """Fill a `HostDescription`."""
    environments = builder.init("environments", len(host))
    for index, environment in enumerate(host):
        environments[index] = environment.id
    builder.implementation.name = IMPLEMENTATION
    builder.implementation.version = implementation_version()
    builder.version.major, builder.version.minor = VERSION


@Reading("the description of a host")
def read_host(reader: Any) -> HostDescription:
    """Return a `HostDescription`."""
    return HostDescription(
        tuple(reader.environments),
        f"{reader.implementation.name} {reader.implementation.version}",
        (reader.version.major, reader.version.minor),
    )


def write_environment(builder: Any, description: EnvironmentDescription) -> None:
    """Fill an `EnvironmentDescription`."""
    builder.id = description.id
    if description.observation_space is not None and description.action_space is not None:
        write_space(builder.init("observationSpace"), description.observation_space)
        write_space(builder.init("actionSpace"), description.action_space)
    seats = builder.init("seats", len(description.seats))
    for index, seat in enumerate(description.seats):
        seats[index] = seat
    settings = builder.init("settings", len(description.settings))
    for index, setting in enumerate(description.settings):
        settings[index].name = setting.name
        settings[index].type = setting.type
        settings[index].required = setting.required
        try:
            write_value(settings[index].init("default"), setting.default)
        except UnrepresentableError:
            settings[index].init("default").none = None
    write_info(builder, "metadata", description.metadata)
    builder.maxEpisodeSteps = description.max_episode_steps or 0
    builder.nondeterministic = description.nondeterministic


@Reading("the description of an environment")
def read_environment(reader: Any) -> EnvironmentDescription:
    """Return an `EnvironmentDescription`."""
    told = reader._has("observationSpace") and reader._has("actionSpace")
    return EnvironmentDescription(
        id=reader.id,
        observation_space=read_space(reader.observationSpace) if told else None,
        action_space=read_space(reader.actionSpace) if told else None,
        seats=tuple(reader.seats),
        settings=tuple(
            Setting(s.name, s.type, s.required, read_value(s.default)) for s in reader.settings
        ),
        metadata=read_map(reader.metadata),
        max_episode_steps=reader.maxEpisodeSteps or None,
        nondeterministic=reader.nondeterministic,
    )


def write_world(builder: Any, description: WorldDescription) -> None:
    """Fill a `WorldDescription`."""
    write_environment(builder.init("environment"), description.environment)
    write_info(builder, "settings", description.settings)
    seats = builder.init("seats", len(description.seats))
    for index, seat in enumerate(description.seats):
        seats[index].name, seats[index].taken = seat.name, seat.taken


@Reading("the description of a world")
def read_world(reader: Any) -> WorldDescription:
    """Return a `WorldDescription`."""
    return WorldDescription(
        read_environment(reader.environment),
        read_map(reader.settings),
        tuple(Seat(seat.name, seat.taken) for seat in reader.seats),
    )


def write_vector(builder: Any, description: VectorDescription) -> None:
    """Fill a `VectorDescription`, with the layouts of its spaces."""
    write_environment(builder.init("environment"), description.environment)
    builder.numEnvs = description.num_envs
    write_space(builder.init("observationSpace"), description.observation_space)
    write_space(builder.init("actionSpace"), description.action_space)
    write_layout(builder.init("observationLayout"), layout_of(description.observation_space))
    write_layout(builder.init("actionLayout"), layout_of(description.action_space))
    builder.autoresetMode = _MODE_NAMES[description.autoreset_mode]
    builder.renderMode = description.render_mode or ""


@Reading("the description of a vector session")
def read_vector(reader: Any) -> VectorDescription:
    """Return a `VectorDescription`.

    Raises:
        ProtocolError: a layout is not the one that follows from its space.
    """
    environment = read_environment(reader.environment)
    if environment.observation_space is None or environment.action_space is None:
        raise ValueError("a session without spaces")
    observation_space = read_space(reader.observationSpace)
    action_space = read_space(reader.actionSpace)
    check_layout(reader.observationLayout, layout_of(observation_space))
    check_layout(reader.actionLayout, layout_of(action_space))
    return VectorDescription(
        environment,
        reader.numEnvs,
        observation_space,
        action_space,
        _MODES[str(reader.autoresetMode)],
        reader.renderMode or None,
    )


def write_vector_options(builder: Any, options: VectorOptions) -> None:
    """Fill `VectorOptions`."""
    builder.numEnvs = options.num_envs
    builder.vectorizationMode = _VECTORIZATION_NAMES[options.vectorization_mode]
    builder.hasAutoresetMode = options.autoreset_mode is not None
    if options.autoreset_mode is not None:
        builder.autoresetMode = _MODE_NAMES[options.autoreset_mode]


@Reading("the options of a vector")
def read_vector_options(reader: Any) -> VectorOptions:
    """Return `VectorOptions`."""
    return VectorOptions(
        reader.numEnvs,
        _VECTORIZATIONS[str(reader.vectorizationMode)],
        _MODES[str(reader.autoresetMode)] if reader.hasAutoresetMode else None,
    )


def write_session(builder: Any, description: SessionDescription) -> None:
    """Fill a `SessionDescription`, with the layouts of its spaces."""
    environment = description.environment
    assert environment.observation_space is not None
    assert environment.action_space is not None
    write_environment(builder.init("environment"), environment)
    builder.seat = description.seat
    write_layout(builder.init("observationLayout"), layout_of(environment.observation_space))
    write_layout(builder.init("actionLayout"), layout_of(environment.action_space))
    builder.renderMode = description.render_mode or ""
    builder.restored = description.restored


@Reading("the description of a session")
def read_session(reader: Any) -> SessionDescription:
    """Return a `SessionDescription`.

    Raises:
        ProtocolError: a space is missing, or a layout is not the one that follows from its space.
    """
    environment = read_environment(reader.environment)
    if environment.observation_space is None or environment.action_space is None:
        raise ValueError("a session without spaces")
    check_layout(reader.observationLayout, layout_of(environment.observation_space))
    check_layout(reader.actionLayout, layout_of(environment.action_space))
    return SessionDescription(environment, reader.seat, reader.renderMode or None, reader.restored)
