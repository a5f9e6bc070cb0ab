"""What is hosted: environments, worlds and sessions. Nothing here knows of a wire."""

from capenv.worlds.descriptions import (
    EnvironmentDescription,
    HostDescription,
    ResetResult,
    Seat,
    SessionDescription,
    Setting,
    TimeStep,
    VectorDescription,
    VectorOptions,
    VectorTimeStep,
    WorldDescription,
)
from capenv.worlds.environment import Environment
from capenv.worlds.host import Host
from capenv.worlds.session import Session
from capenv.worlds.vector import VectorSession
from capenv.worlds.world import World

__all__ = [
    "Environment",
    "EnvironmentDescription",
    "Host",
    "HostDescription",
    "ResetResult",
    "Seat",
    "Session",
    "SessionDescription",
    "Setting",
    "TimeStep",
    "VectorDescription",
    "VectorOptions",
    "VectorSession",
    "VectorTimeStep",
    "World",
    "WorldDescription",
]
