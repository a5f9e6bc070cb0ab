"""`capenv info`: what a URL names, as a table or as JSON."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import trio
from gymnasium import spaces
from rich.console import Console
from rich.table import Table

from capenv.remote.proxies import (
    RemoteEnvironment,
    RemoteHost,
    RemoteSession,
    RemoteWorld,
    connect,
)
from capenv.url import CapabilityURL
from capenv.worlds import EnvironmentDescription, Seat


def describe(url: str) -> dict[str, Any]:
    """Return what the URL names, as what JSON can hold."""
    description: dict[str, Any] = trio.run(_describe, url)
    return description


async def _describe(url: str) -> dict[str, Any]:
    async with connect(url) as capability:
        kind, described = await _described(capability)
        return {
            "kind": kind,
            "url": str(CapabilityURL.parse(url)),
            "implementation": capability.peer.implementation,
            "version": ".".join(map(str, capability.peer.version)),
            **described,
        }


async def _described(capability: Any) -> tuple[str, dict[str, Any]]:
    match capability:
        case RemoteHost():
            host = await capability.describe()
            environments = [
                await capability.environment(name).describe() for name in host.environments
            ]
            return "host", {"environments": [_environment(one) for one in environments]}
        case RemoteEnvironment():
            return "environment", _environment(await capability.describe())
        case RemoteWorld():
            world = await capability.describe()
            return "world", {
                **_environment(world.environment),
                "created_with": _plain(world.settings),
                "seats": [_seat(seat) for seat in world.seats],
            }
        case RemoteSession():
            session = await capability.describe()
            return "session", {
                **_environment(session.environment),
                "seat": session.seat,
                "render_mode": session.render_mode,
            }
        case _:
            raise AssertionError(capability)


def show(description: Mapping[str, Any], console: Console) -> None:
    """Print the description as tables."""
    table = Table(
        show_header=False, title=f"{description['kind']} {description.get('id', '')}".strip()
    )
    table.add_column(style="bold")
    table.add_column()
    settings: list[Mapping[str, Any]] = []
    for name, value in description.items():
        match name, value:
            case "kind" | "id", _:
                continue
            case "settings", list():
                settings = value
            case "environments", list():
                table.add_row(name, ", ".join(environment["id"] for environment in value))
            case "observation_space" | "action_space", Mapping():
                table.add_row(name.replace("_", " "), value["text"])
            case _:
                table.add_row(name.replace("_", " "), _short(value))
    console.print(table)
    if settings:
        rows = Table("setting", "type", "default", title="settings")
        for setting in settings:
            default = "required" if setting["required"] else _short(setting["default"])
            rows.add_row(setting["name"], setting["type"], default)
        console.print(rows)
    for environment in description.get("environments", ()):
        show({"kind": "environment", **environment}, console)


def _environment(description: EnvironmentDescription) -> dict[str, Any]:
    return {
        "id": description.id,
        "observation_space": _space(description.observation_space),
        "action_space": _space(description.action_space),
        "seats": list(description.seats),
        "max_episode_steps": description.max_episode_steps,
        "nondeterministic": description.nondeterministic,
        "metadata": _plain(description.metadata),
        "settings": [
            {
                "name": setting.name,
                "type": setting.type,
                "required": setting.required,
                "default": _plain(setting.default),
            }
            for setting in description.settings
        ],
    }


def _seat(seat: Seat) -> str:
    return f"{seat.name} (taken)" if seat.taken else f"{seat.name} (free)"


def _space(space: gymnasium.Space[Any] | None) -> dict[str, Any] | None:
    """Return a space by its type and fields; "text" is how Gymnasium prints it."""
    if space is None:
        return None
    described: dict[str, Any] = {"type": type(space).__name__, "text": str(space)}
    if space.shape is not None:
        described["shape"] = list(space.shape)
    if space.dtype is not None:
        described["dtype"] = str(space.dtype)
    match space:
        case spaces.Box():
            described |= {"low": _plain(space.low), "high": _plain(space.high)}
        case spaces.Discrete():
            described |= {"n": int(space.n), "start": int(space.start)}
        case spaces.MultiDiscrete():
            described |= {"nvec": _plain(space.nvec), "start": _plain(space.start)}
        case spaces.Text():
            described |= {"min_length": space.min_length, "max_length": space.max_length}
        case spaces.Tuple() | spaces.OneOf():
            described["spaces"] = [_space(inner) for inner in space.spaces]
        case spaces.Dict():
            described["spaces"] = {name: _space(inner) for name, inner in space.spaces.items()}
        case spaces.Sequence():
            described |= {"feature_space": _space(space.feature_space), "stack": space.stack}
        case spaces.Graph():
            described |= {
                "node_space": _space(space.node_space),
                "edge_space": _space(space.edge_space),
            }
    return described


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; an array of one value over and over as that value."""
    match value:
        case np.ndarray():
            if value.size > 1 and bool(np.all(value == value.flat[0])):
                return _plain(value.flat[0])
            return _plain(value.tolist())
        case np.generic():
            return _plain(value.item())
        case Mapping():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case float() if not np.isfinite(value):
            return str(value)  # JSON has no infinities
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)


def _short(value: Any) -> str:
    match value:
        case None:
            return "none"
        case Mapping():
            return ", ".join(f"{key}={_short(inner)}" for key, inner in value.items())
        case list():
            return ", ".join(_short(inner) for inner in value)
        case _:
            return str(value)
