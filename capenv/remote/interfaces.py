"""The interfaces of `schema/host.capnp`, and who we are when we say hello."""

import functools
import importlib.metadata
from typing import Any, Final

from capenv.errors import VersionMismatch
from capenv.rpc.interface import Interface
from capenv.schema import host as schema

GATE: Final = Interface(schema.Gate)
PLAYABLE: Final = Interface(schema.Playable)
HOST: Final = Interface(schema.Host)
ENVIRONMENT: Final = Interface(schema.Environment)
WORLD: Final = Interface(schema.World)
SESSION: Final = Interface(schema.Session)
SHARED_MEMORY: Final = Interface(schema.SharedMemory)
VECTOR_SESSION: Final = Interface(schema.VectorSession)

VERSION: Final = (1, 0)
"""Major and minor version of the interfaces. Another major is another language."""

IMPLEMENTATION: Final = "capenv"


@functools.cache
def implementation_version() -> str:
    """Return the version of this package."""
    return importlib.metadata.version("capenv")


def write_hello(builder: Any) -> None:
    """Say who we are and which version we speak, in either half of `Gate.hello`."""
    builder.version.major, builder.version.minor = VERSION
    builder.implementation.name = IMPLEMENTATION
    builder.implementation.version = implementation_version()


def check_version(major: int, minor: int, who: str) -> None:
    """Check that we understand a peer, which is the "client" or the "server".

    Raises:
        VersionMismatch: we do not; the text, which reads the same on both sides, says which is to be
            upgraded.
    """
    if major != VERSION[0]:
        ours = "server" if who == "client" else "client"
        raise VersionMismatch(
            f"the {who} speaks version {major}.{minor} of capenv's interfaces and the {ours}"
            f" {VERSION[0]}.{VERSION[1]}; upgrade the {ours if major > VERSION[0] else who}"
        )
