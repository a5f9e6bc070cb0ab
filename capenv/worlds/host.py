"""A host: the registry of what one peer offers."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from capenv.errors import UnknownEnvironment
from capenv.values.naming import brief
from capenv.worlds.descriptions import MAX_NAME
from capenv.worlds.environment import Environment
from capenv.worlds.world import World


class Host:
    """What a peer offers: environments by their ids.

    ::

        host = capenv.Host()
        host.add("CartPole-v1")  # an id registered with Gymnasium
        host.add("my-game", MyGame)  # a callable that returns a gymnasium.Env
    """

    def __init__(self) -> None:
        self._environments: dict[str, Environment] = {}

    def add(
        self,
        id: str,  # noqa: A002
        factory: Callable[..., Any] | str | None = None,
        *,
        check_observations: bool = True,
    ) -> Environment:
        """Offer an environment.

        Args:
            id: what it is called here.
            factory: an id registered with Gymnasium, or a callable that returns a `gymnasium.Env`, whose
                keyword arguments become the environment's settings; None for the registered id `id`.
            check_observations: whether an observation outside the bounds of its space is an error, as
                it should be; False lets an environment that strays play all the same.

        Raises:
            EnvironmentFailed: Gymnasium does not know the id.
            ValueError: the id is offered already, or empty.
        """
        if not id:
            raise ValueError("an environment needs an id; give it one")
        if id in self._environments:
            raise ValueError(f"the host offers {id!r} already; choose another id")
        self._environments[id] = Environment(id, factory, check_observations=check_observations)
        return self._environments[id]

    def environment(self, id: str) -> Environment:  # noqa: A002
        """Return an environment by its id; "" is the only one of a host that has one.

        Raises:
            UnknownEnvironment: there is none; the text names near matches.
        """
        if (known := self._environments.get(id)) is not None:
            return known
        ids = list(self._environments)
        if not id and len(ids) == 1:
            return self._environments[ids[0]]
        near = difflib.get_close_matches(id[:MAX_NAME], ids, 3, 0.5)
        if not id:
            hint = f"name one of: {', '.join(ids)}" if ids else "it offers none"
            raise UnknownEnvironment(f"this host offers several environments; {hint}")
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else f"it offers {', '.join(ids) or 'none'}"
        )
        raise UnknownEnvironment(f"this host has no environment {brief(id)}; {hint}")

    def create_world(self, id: str, settings: Mapping[str, Any] | None = None) -> World:  # noqa: A002
        """Make a world of the environment of that id.

        Raises:
            UnknownEnvironment, BadSettings, EnvironmentFailed: as their texts say.
        """
        return self.environment(id).create_world(settings or {})

    def __iter__(self) -> Iterator[Environment]:
        return iter(self._environments.values())

    def __len__(self) -> int:
        return len(self._environments)

    def __repr__(self) -> str:
        return f"<Host of {', '.join(self._environments) or 'nothing yet'}>"
