"""Observations and infos on their way to a peer: what cannot be told, and whose fault it is."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from capenv.errors import EnvironmentFailed, SpaceError
from capenv.values import ElementCodec, Lend, write_info

_WARNINGS: Final = 1000
"""After so many names of what an info could not tell, no more are told of: they may change at every step."""

_log = logging.getLogger("capenv.remote")


class InfoWriter:
    """Writes the infos of one session, and warns once of what is left out of them."""

    def __init__(self, id: str) -> None:  # noqa: A002
        """Write infos of an environment of that id."""
        self._id = id
        self._warned: set[str] = set()

    def write(self, builder: Any, field: str, info: Mapping[str, Any]) -> None:
        """Fill the field of a builder, if there is anything to tell."""
        if not info:
            return
        dropped = set(write_info(builder, field, info)) - self._warned
        if dropped and len(self._warned) < _WARNINGS:
            self._warned |= dropped
            _log.warning(
                "%s: the info %s cannot be sent and is left out",
                self._id,
                ", ".join(sorted(dropped)),
            )


def write_observation(
    builder: Any,
    codec: ElementCodec,
    observation: Any,
    *,
    check: bool,
    of: str,
    lend: Lend | None = None,
) -> None:
    """Fill an `Element`. `check`: whether the observation must be within its bounds; `lend` its frame.

    Raises:
        EnvironmentFailed: it is not an element of its space; `of` names the environment and its method.
    """
    try:
        codec.write(builder, observation, check=check, lend=lend)
    except SpaceError as error:
        raise EnvironmentFailed(
            f"{of}: {error} (reset begins a new episode;"
            " its host can offer it with check_observations=False)"
        ) from error
