"""A remote session as a `gymnasium.Env`."""

import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import seeding
from gymnasium.wrappers import HumanRendering, RenderCollection

from capenv.blocking import Statistics
from capenv.errors import CapenvError, Disconnected, SessionBusy, SessionClosed
from capenv.remote import handshake
from capenv.remote.blocking_session import BlockingSession
from capenv.url import CapabilityURL, RevealedURL

Result = TypeVar("Result")

ENV_ID = "Remote-v0"
_ENTRY_POINT = "capenv.adapters.gymnasium:make"
_LIST = "_list"
_AT_ONCE = (False,)
"""The arguments of `acquire`, for `map`."""


def make(
    url: str | CapabilityURL,
    id: str | None = None,  # noqa: A002
    *,
    render_mode: str | None = None,
    **settings: Any,
) -> gymnasium.Env[Any, Any]:
    """Return the environment behind a capability URL, to be played as if it were here.

    ::

        env = capenv.make("capnp://insecure@127.0.0.1:7000/...")
        observation, info = env.reset(seed=1)

    ``gymnasium.make("capenv:Remote-v0", url=url)`` does the same, with Gymnasium's default wrappers.

    Args:
        url: the whole capability URL, of a host, an environment, a world or a session.
        id: which environment, where the URL names a host that offers several.
        render_mode: one of the environment's, with "human" shown in a window here.
        settings: what the environment is to be created with; ``capenv info URL`` lists them.

    Raises:
        URLError, NothingListening, NotCapenv, VersionMismatch: nobody is there to talk to.
        UnknownToken: the URL's secret is wrong or was revoked.
        UnknownEnvironment, BadSettings, SeatTaken, EnvironmentFailed: no session is to be had.
    """
    match render_mode:
        case "human":
            return HumanRendering(RemoteEnv(url, id, render_mode="rgb_array", **settings))
        case str() if render_mode.endswith(_LIST):
            mode = render_mode.removesuffix(_LIST)
            return RenderCollection(RemoteEnv(url, id, render_mode=mode, **settings))
        case _:
            return RemoteEnv(url, id, render_mode=render_mode, **settings)


class RemoteEnv(gymnasium.Env[Any, Any]):
    """An environment that lives elsewhere. `make` makes one.

    It connects when it is made. Copied or pickled it is its URL: the copy connects anew, and plays in a
    world of its own where the URL names a host or an environment. One thread at a time may use it.
    """

    def __init__(
        self,
        url: str | CapabilityURL,
        id: str | None = None,  # noqa: A002
        *,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        self._session: BlockingSession | None = None
        # Taken and given back with nothing between it and its `try` or `finally` where an interrupt
        # (Ctrl-C) could come and leave it taken for ever: hence `map`, which calls from C, and no `with`,
        # since it is not waited for.
        self._using = threading.Lock()
        self._begun = False
        self._url = handshake.checked(url)
        self._id = id
        self._settings = (
            settings if render_mode is None else {**settings, "render_mode": render_mode}
        )
        self._session = self._open()
        description = self._session.description
        self.render_mode = description.render_mode
        environment = description.environment
        assert environment.observation_space is not None
        assert environment.action_space is not None
        self.observation_space = environment.observation_space
        self.action_space = environment.action_space
        self.metadata = dict(environment.metadata)
        self._nondeterministic = environment.nondeterministic
        kwargs: dict[str, Any] = {"url": self._revealed(), **self._settings}
        if id is not None:
            kwargs["id"] = id
        self.spec = EnvSpec(
            ENV_ID,
            _ENTRY_POINT,
            order_enforce=False,
            disable_env_checker=True,
            kwargs=kwargs,
        )

    @property
    def spec(self) -> EnvSpec | None:
        """The specification that makes this environment again, its URL's secret hidden from `repr`."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None:
            # `gymnasium.make` replaces the specification, and knows only what is registered.
            spec.nondeterministic = self._nondeterministic
            if "url" in spec.kwargs:
                spec.kwargs["url"] = self._revealed()
        self._spec = spec

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode. Closed or cut off, this connects again first.

        Raises:
            EnvironmentFailed: the environment raised; another reset may work.
            Disconnected: the connection broke; another reset connects again.
        """
        super().reset(seed=seed)
        if seed is None and not self._begun:
            seed = (
                self._np_random_seed
            )  # drawn here if somebody asked for it before the first reset
        result = self._use("reset", lambda session: session.reset(seed, options), again=True)
        self._begun = True
        if isinstance(result.seed, int) and result.seed != self._np_random_seed:
            # What the environment drew by itself, for `np_random_seed`; -1 if it does not know.
            self._np_random, self._np_random_seed = seeding.np_random(max(result.seed, 0))
            self._np_random_seed = max(result.seed, -1)
        return result.observation, result.info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Act.

        Raises:
            OutsideSpace: the action is not an element of the action space; nothing happened.
            ResetNeeded: no episode was begun.
            EnvironmentFailed: the environment raised; reset begins a new episode.
            SessionClosed: the environment was closed.
            Disconnected: the connection broke; reset connects again.
        """
        # As `_use` does, with fewer calls.
        taken: list[bool] = []
        try:
            taken.extend(map(self._using.acquire, _AT_ONCE))
            session = self._usable("step", taken[0])
            try:
                return session.step(action)
            except Disconnected as error:
                raise self._ended("step", session, error) from None
        finally:
            if taken and taken[0]:
                self._using.release()

    def render(self) -> Any:
        """Return a rendering in the mode that the environment was made with; None without one.

        Raises:
            ResetNeeded, EnvironmentFailed, SessionClosed, Disconnected: as for `step`.
        """
        return self._use("render", lambda session: session.render())

    def statistics(self) -> Statistics:
        """Return what passed over the connection so far.

        Raises:
            SessionClosed, Disconnected: there is no connection.
        """
        return self._use("statistics", lambda session: session.statistics())

    def close(self) -> None:
        """Leave the session and close the connection. Idempotent; a later reset connects again.

        Where another thread waits in `step`, say, its wait ends with SessionClosed.
        """
        session, self._session = self._session, None
        taken: list[bool] = []
        try:
            taken.extend(map(self._using.acquire, (False,)))
            if session is not None:
                if taken[0]:
                    session.close()
                else:
                    session.abandon()
        finally:
            if taken and taken[0]:
                self._using.release()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _remake, (self._revealed(), self._id, self._settings)

    def __str__(self) -> str:
        return f"<RemoteEnv {self._url}>"

    __repr__ = __str__

    def __del__(self) -> None:
        session = self.__dict__.get("_session")
        if session is not None:
            session.abandon()

    def _use(
        self, what: str, act: Callable[[BlockingSession], Result], *, again: bool = False
    ) -> Result:
        taken: list[bool] = []
        try:
            taken.extend(map(self._using.acquire, _AT_ONCE))
            session = self._usable(what, taken[0], again=again)
            try:
                return act(session)
            except Disconnected as error:
                raise self._ended(what, session, error) from None
        finally:
            if taken and taken[0]:
                self._using.release()

    def _usable(self, what: str, taken: bool, *, again: bool = False) -> BlockingSession:
        session = self._session
        if taken and session is not None and session.connection.connected:
            return session
        if not taken:
            raise SessionBusy(
                f"{what} while another thread uses this environment; give each thread its own"
                " (copy.deepcopy makes one)"
            )
        if not again:
            raise self._unusable(what)
        if session is not None:
            session.close()
        self._session = self._open()
        return self._session

    def _ended(self, what: str, session: BlockingSession, error: Disconnected) -> CapenvError:
        if session.connected:
            return error  # it is a link of the host's own that broke
        if self._session is None:
            return self._unusable(what)
        reason = str(error).partition(";")[0]
        return Disconnected(
            f"the connection to {self._url} ended in {what}: {reason}; reset connects again"
        )

    def _unusable(self, what: str) -> CapenvError:
        if self._session is None:
            return SessionClosed(f"{what} after close; reset connects again")
        return Disconnected(
            f"{what} after the connection to {self._url} broke; reset connects again"
        )

    def _open(self) -> BlockingSession:
        return BlockingSession.open(self._url, handshake.checked_id(self._id), self._settings)

    def _revealed(self) -> RevealedURL:
        return RevealedURL(self._url.reveal())


def _remake(
    url: str,
    id: str | None,  # noqa: A002
    settings: Mapping[str, Any],
) -> RemoteEnv:
    return RemoteEnv(url, id, **settings)
