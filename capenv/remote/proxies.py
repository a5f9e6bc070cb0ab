"""What an agent calls under Trio: awaitable twins of the interfaces in `schema/host.capnp`.

A call is on its way when its method returns; awaiting gets its result. What a call will return can be
called at once, so that a chain costs one round trip::

    session = host.environment("CartPole-v1").create_world().join()
    reset = session.reset(seed=1)
    timestep = await session.step(0)
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Generic, Self, TypeAlias, TypeVar

import trio

from capenv import transports
from capenv.errors import CapenvError, DeadlineExceeded, Disconnected, NotCapenv, URLError
from capenv.remote import descriptions, handshake, session_messages
from capenv.remote.interfaces import ENVIRONMENT, GATE, HOST, SESSION, WORLD
from capenv.remote.session_messages import SessionMessages
from capenv.responses import Response
from capenv.rpc.capability import Capability, Content
from capenv.rpc.interface import Interface, Method
from capenv.url import CapabilityURL
from capenv.values import Reading
from capenv.vat import Vat
from capenv.vat_connection import VatConnection
from capenv.worlds import (
    EnvironmentDescription,
    HostDescription,
    ResetResult,
    SessionDescription,
    TimeStep,
    WorldDescription,
)

Result = TypeVar("Result")


class Pending(Generic[Result]):
    """A call that has been made. Await it for its result; cancelling the wait cancels the call."""

    def __init__(self, wait: Callable[[], Awaitable[Result]]) -> None:
        self._wait = wait

    def __await__(self) -> Generator[Any, Any, Result]:
        return self._wait().__await__()


class Proxy:
    """A remote object. Await it to know that it is there; use it at once all the same."""

    _interface: ClassVar[Interface]

    def __init__(
        self, connection: VatConnection, capability: Capability, response: Response | None = None
    ) -> None:
        self._connection = connection
        self.capability = capability
        """The reference, to be passed on in calls of interfaces of your own."""
        self._response = response
        """The call whose results hold the object."""
        self.peer: handshake.Peer | None = None
        """Who serves the object; told of what `connect` yields."""

    def __await__(self) -> Generator[Any, Any, Self]:
        return self._arrive().__await__()

    async def _arrive(self) -> Self:
        if self._response is not None:
            await self._response
        return self

    def _call(self, name: str, params: Any = None) -> Response:
        method = self._interface[name]
        return self._connection.call(self.capability, method, method.params.content(params))

    def _params(self, name: str) -> Any:
        return self._interface[name].params.new()

    def _describe(self, read: Callable[[Any], Result]) -> Pending[Result]:
        return _pending(
            self._call("describe"), self._interface["describe"], lambda r: read(r.description)
        )


class RemoteHost(Proxy):
    """A host in another vat."""

    _interface = HOST

    def describe(self) -> Pending[HostDescription]:
        """Return what the host is."""
        return self._describe(descriptions.read_host)

    def environment(self, id: str = "") -> "RemoteEnvironment":  # noqa: A002
        """Return an environment by its id; "" is the only one of a host that has one.

        Raises, when awaited or used:
            UnknownEnvironment: there is none.
        """
        params = self._params("environment")
        params.id = id
        response = self._call("environment", params)
        return RemoteEnvironment(self._connection, response.pipeline("environment"), response)

    def create_world(self, id: str = "", **settings: Any) -> "RemoteWorld":  # noqa: A002
        """Return a new world of the environment of that id.

        Raises, when awaited or used:
            UnknownEnvironment, BadSettings, EnvironmentFailed: as their texts say.
        """
        params = self._params("createWorld")
        params.id = id
        descriptions.write_settings(params, settings)
        response = self._call("createWorld", params)
        return RemoteWorld(self._connection, response.pipeline("world"), response)


class RemoteEnvironment(Proxy):
    """An environment in another vat."""

    _interface = ENVIRONMENT

    def describe(self) -> Pending[EnvironmentDescription]:
        """Return what the environment is."""
        return self._describe(descriptions.read_environment)

    def create_world(self, **settings: Any) -> "RemoteWorld":
        """Return a new world.

        Raises, when awaited or used:
            BadSettings, EnvironmentFailed: as their texts say.
        """
        params = self._params("createWorld")
        descriptions.write_settings(params, settings)
        response = self._call("createWorld", params)
        return RemoteWorld(self._connection, response.pipeline("world"), response)


class RemoteWorld(Proxy):
    """A world in another vat. It lives while you hold this or one of its sessions."""

    _interface = WORLD

    def describe(self) -> Pending[WorldDescription]:
        """Return what the world is now."""
        return self._describe(descriptions.read_world)

    def join(self, seat: str = "") -> "RemoteSession":
        """Take a seat; "" takes any that is free.

        Raises, when awaited or used:
            UnknownSeat, SeatTaken, SessionClosed: as their texts say.
        """
        params = self._params("join")
        params.seat = seat
        response = self._call("join", params)
        return RemoteSession(self._connection, response.pipeline("session"), response)

    def destroy(self) -> Pending[None]:
        """End the world for everyone."""
        return _pending(self._call("destroy"), self._interface["destroy"], lambda _: None)


class RemoteSession(Proxy):
    """A session in another vat. Calls are carried out in the order they were made."""

    _interface = SESSION

    def __init__(
        self, connection: VatConnection, capability: Capability, response: Response | None = None
    ) -> None:
        super().__init__(connection, capability, response)
        joined = WORLD["join"] if response is not None else SESSION["describe"]
        # Kept: who gives up on a step gives up on nothing else.
        told = (response or self._call("describe")).kept()
        self._told = _pending(told, joined, lambda r: descriptions.read_session(r.description))
        self._description: SessionDescription | None = None
        self._messages: SessionMessages | None = None

    def describe(self) -> Pending[SessionDescription]:
        """Return what the session is."""

        async def wait() -> SessionDescription:
            await self._known()
            assert self._description is not None
            return self._description

        return Pending(wait)

    def reset(
        self, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> Pending[ResetResult]:
        """Begin an episode, as `gymnasium.Env.reset` does.

        Raises, when awaited:
            EnvironmentFailed: the environment raised.
            SessionClosed: the session was left.
        """
        response = self._send("reset", session_messages.write_reset(seed, options))
        return self._read(response, lambda messages, content: messages.read_reset_result(content))

    def step(self, action: Any) -> Pending[TimeStep]:
        """Act, as `gymnasium.Env.step` does.

        Raises:
            OutsideSpace: the action is not an element of the action space; also when awaited, if the
                space was not known yet.

        Raises, when awaited:
            ResetNeeded: no episode was begun.
            EnvironmentFailed: the environment raised.
            SessionClosed: the session was left.
        """
        known = self._messages
        params = known.write_step(action) if known else session_messages.write_unknown_step(action)
        response = self._send("step", params)
        return self._read(response, lambda messages, content: messages.read_time_step(content))

    def render(self) -> Pending[Any]:
        """Return what `gymnasium.Env.render` returns in the world's render mode."""

        async def wait() -> Any:
            return session_messages.read_rendering(SESSION["render"], await response)

        response = self._call("render")
        return Pending(wait)

    def leave(self) -> Pending[None]:
        """Give the seat up."""
        return _pending(self._call("leave"), self._interface["leave"], lambda _: None)

    def _send(self, name: str, content: Content) -> Response:
        return self._connection.call(self.capability, self._interface[name], content)

    def _read(
        self, response: Response, read: Callable[[SessionMessages, Content], Result]
    ) -> Pending[Result]:
        async def wait() -> Result:
            content = await response
            return read(await self._known(), content)

        return Pending(wait)

    async def _known(self) -> SessionMessages:
        if self._messages is None:
            self._description = await self._told
            self._messages = SessionMessages(self._description.environment)
        return self._messages


Remote: TypeAlias = RemoteHost | RemoteEnvironment | RemoteWorld | RemoteSession
_PROXIES: dict[str, type[Remote]] = {
    "host": RemoteHost,
    "environment": RemoteEnvironment,
    "world": RemoteWorld,
    "session": RemoteSession,
}


@asynccontextmanager
async def connect(
    url: str | CapabilityURL,
    *,
    kind: str | None = None,
    timeout: float = handshake.TIMEOUT,
    vat: Vat | None = None,
) -> AsyncIterator[Any]:
    """Connect to what a capability URL names, and yield its proxy.

    The proxy is a `RemoteHost`, `RemoteEnvironment`, `RemoteWorld` or `RemoteSession`, and lives as long
    as the block. Leaving it closes the connection.

    Args:
        url: the whole capability URL.
        kind: "host", "environment", "world" or "session", if you know which it names. Then the proxy is
            there at once, and what you call on it travels with the hello: a first step takes one round trip.
            Whatever is wrong is raised when a call, or the proxy itself, is awaited.
        timeout: seconds to reach the host and hear its hello.
        vat: to be part of, so that what comes over this connection may be passed on over its others.

    Raises:
        URLError, NothingListening, NotCapenv, VersionMismatch: nobody is there to talk to.
        UnknownToken: the URL's secret is wrong or was revoked.
    """
    if kind is not None and kind not in _PROXIES:
        raise URLError(f"there is no kind {kind!r}; it is one of {', '.join(_PROXIES)}")
    parsed = handshake.checked(url)
    link = await transports.connect(parsed.address, timeout)
    connection = VatConnection(link, turn=None if vat is None else vat.turn)
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(connection.run)
            try:
                if kind is None:
                    yield await _restore(connection, parsed, timeout)
                else:
                    yield _expect(connection, parsed, kind)
            except trio.Cancelled:
                raise
            except BaseException as error:
                failure = error  # raised outside, where no nursery wraps it in a group
            finally:
                connection.close(Disconnected("this side closed the connection"))
    except BaseExceptionGroup as group:
        # An interrupt may come wherever something runs, and is not to be taken for what it broke.
        if failure is None or group.subgroup((KeyboardInterrupt, SystemExit)) is not None:
            raise
    if failure is not None:
        raise failure


def _expect(connection: VatConnection, url: CapabilityURL, kind: str) -> Remote:
    """Return a proxy of what will be restored."""
    gate = connection.bootstrap().root()
    # The host refuses every call of who says no hello that it understands, so this needs no wait.
    connection.call(gate, GATE["hello"], handshake.hello_params())
    restore = connection.call(gate, GATE["restore"], handshake.restore_params(url))
    return _PROXIES[kind](connection, restore.pipeline("capability"))


async def _restore(connection: VatConnection, url: CapabilityURL, timeout: float) -> Remote:
    gate = connection.bootstrap().root()
    hello = connection.call(gate, GATE["hello"], handshake.hello_params())
    restore = connection.call(gate, GATE["restore"], handshake.restore_params(url))
    try:
        with trio.move_on_after(timeout) as waiting:
            peer = handshake.read_hello(await hello)
        if waiting.cancelled_caught:
            raise DeadlineExceeded("no hello in time")
    except CapenvError as error:
        raise handshake.hello_error(error, url, connection.core.closed) from None
    proxy = _proxy(connection, await restore)
    proxy.peer = peer
    return proxy


@Reading("what was restored")
def _proxy(connection: VatConnection, content: Content) -> Remote:
    results = GATE["restore"].results
    proxy = _PROXIES.get(str(results.read(content.segments).kind))
    capability = results.capability(content, "capability")
    if proxy is None or capability is None:
        raise NotCapenv(
            "the host restored something that this version does not know; upgrade capenv"
        )
    return proxy(connection, capability)


def _pending(response: Response, method: Method, read: Callable[[Any], Result]) -> Pending[Result]:
    async def wait() -> Result:
        content = await response
        with Reading(f"the results of {method}"):
            return read(method.results.read(content.segments))

    return Pending(wait)
