"""A world: one running environment, which lives as long as somebody holds it."""

import logging
from collections.abc import Mapping
from typing import Any

import gymnasium

from capenv.errors import BadSettings, SeatTaken, SessionClosed, UnknownSeat
from capenv.worlds.descriptions import EnvironmentDescription, Seat, WorldDescription
from capenv.worlds.guard import EnvironmentRaisedError, guarded
from capenv.worlds.session import Session

_log = logging.getLogger("capenv.worlds")


class World:
    """One running environment with one seat.

    It counts who holds it, a reference or a session each, and closes when the last lets go.
    """

    def __init__(
        self,
        environment: EnvironmentDescription,
        settings: Mapping[str, Any],
        env: gymnasium.Env[Any, Any],
        check_observations: bool = True,
    ) -> None:
        self.check_observations = check_observations
        """Whether an observation outside its space's bounds is an error."""
        self._environment = environment
        self._settings = dict(settings)
        self._env = env
        self._session: Session | None = None
        self._holders = 0
        self.destroyed = False

    @property
    def description(self) -> WorldDescription:
        """What the world is now."""
        taken = self._session is not None
        seats = tuple(Seat(name, taken) for name in self._environment.seats)
        return WorldDescription(self._environment, self._settings, seats)

    def join(self, seat: str = "", settings: Mapping[str, Any] | None = None) -> Session:
        """Take a seat; "" takes any that is free.

        Raises:
            UnknownSeat: there is no such seat.
            BadSettings: a seat has none.
            SeatTaken: somebody sits there.
            SessionClosed: the world was destroyed.
        """
        if self.destroyed:
            raise SessionClosed("the world was destroyed; create another")
        (only,) = self._environment.seats
        if seat not in ("", only):
            raise UnknownSeat(f"there is no seat {seat!r}; this world has {only!r}")
        if settings:
            raise BadSettings(
                f"the seat {only!r} has no settings, but {', '.join(settings)} was given; leave it out"
            )
        if self._session is not None:
            raise SeatTaken(f"the seat {only!r} is taken; create a world of your own, or wait")
        self._session = Session(
            self._environment, only, self._env, self._vacate, self.check_observations
        )
        self.hold()
        return self._session

    def hold(self) -> None:
        """Count one more holder."""
        self._holders += 1

    def release(self) -> None:
        """Count one holder less; the last destroys the world."""
        self._holders -= 1
        if self._holders <= 0:
            self.destroy()

    def destroy(self) -> None:
        """End the world: its session is closed and the environment too. Idempotent."""
        if self.destroyed:
            return
        self.destroyed = True
        if self._session is not None:
            self._session.leave()
        try:
            guarded(self._env.close)
        except EnvironmentRaisedError as error:
            _log.error("%s failed in close", self._environment.id, exc_info=error.__cause__)

    def _vacate(self) -> None:
        self._session = None
        self.release()
