"""What a peer calls: the interfaces of `schema/host.capnp` in front of a host and what it made."""

import logging
from collections.abc import Callable
from typing import Final, TypeAlias, assert_never

from capenv.errors import (
    BadSettings,
    EnvironmentFailed,
    Overloaded,
    ProtocolError,
    Unimplemented,
)
from capenv.remote import descriptions, session_messages
from capenv.remote.interfaces import (
    ENVIRONMENT,
    GATE,
    HOST,
    SESSION,
    SHARED_MEMORY,
    WORLD,
    check_version,
    write_hello,
)
from capenv.remote.repeated_steps import RepeatedSteps
from capenv.remote.session_messages import SessionMessages
from capenv.remote.vector_servant import play_vector
from capenv.rpc.capability import Content, Hosted
from capenv.rpc.repeats import Repeatable
from capenv.rpc.servant import Request, Servant
from capenv.transports.shared_frames import SharedFrames, shareable
from capenv.worlds import Environment, Host, Session, TimeStep, World

_log = logging.getLogger("capenv.remote")

_ONE_WORLD: Final = (
    "this URL names one {}; to step many as one, use the URL of a host or an environment"
)

Target: TypeAlias = Host | Environment | World | Session
"""What a capability URL may name."""


class GateServant(Servant):
    """The bootstrap object of one connection. It holds no authority but to try tokens."""

    interface = GATE

    def __init__(
        self,
        restore: Callable[[bytes], Target],
        message_bytes: int,
        restored: Callable[[], None] = lambda: None,
    ) -> None:
        """Take what restores tokens, the largest message to promise, and whom to tell of a restore."""
        self._restore = restore
        self._message_bytes = message_bytes
        self._on_restore = restored
        self._greeted = False

    def hello(self, request: Request) -> Content:
        """`Gate.hello`."""
        version = request.params.version
        check_version(version.major, version.minor, "client")
        self._greeted = True
        results = request.results()
        write_hello(results)
        results.messageBytes = self._message_bytes
        return request.reply(results)

    def restore(self, request: Request) -> Content:
        """`Gate.restore`."""
        if not self._greeted:
            raise ProtocolError("the first call on a gate must be a hello that succeeds")
        target = self._restore(bytes(request.params.token))
        self._on_restore()
        results = request.results()
        results.kind, servant = _offer(target)
        return request.reply(results, capability=Hosted(servant))


class HostServant(Servant):
    """A host."""

    interface = HOST

    def __init__(self, host: Host) -> None:
        self._host = host

    def describe(self, request: Request) -> Content:
        """`Host.describe`."""
        results = request.results()
        descriptions.write_host(results.init("description"), self._host)
        return request.reply(results)

    def environment(self, request: Request) -> Content:
        """`Host.environment`."""
        environment = self._host.environment(request.params.id)
        return request.reply(environment=Hosted(EnvironmentServant(environment)))

    def create_world(self, request: Request) -> Content:
        """`Host.createWorld`."""
        environment = self._host.environment(request.params.id)
        return request.reply(world=Hosted(WorldServant(_create_world(request, environment))))

    def play(self, request: Request) -> Content:
        """`Playable.play`: in a world of its own."""
        environment = self._host.environment(request.params.id)
        return _play(request, _create_world(request, environment))

    def play_vector(self, request: Request) -> Content:
        """`Playable.playVector`."""
        return play_vector(request, self._host.environment(request.params.id))


class EnvironmentServant(Servant):
    """An environment."""

    interface = ENVIRONMENT

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def describe(self, request: Request) -> Content:
        """`Environment.describe`."""
        results = request.results()
        descriptions.write_environment(results.init("description"), self._environment.description)
        return request.reply(results)

    def create_world(self, request: Request) -> Content:
        """`Environment.createWorld`."""
        world = _create_world(request, self._environment)
        return request.reply(world=Hosted(WorldServant(world)))

    def play(self, request: Request) -> Content:
        """`Playable.play`: in a world of its own."""
        self._check_id(request)
        return _play(request, _create_world(request, self._environment))

    def play_vector(self, request: Request) -> Content:
        """`Playable.playVector`."""
        self._check_id(request)
        return play_vector(request, self._environment)

    def _check_id(self, request: Request) -> None:
        if request.params.id not in ("", self._environment.id):
            raise BadSettings(
                f"this URL names the environment {self._environment.id}, not a host to choose from;"
                " leave the id out"
            )


class WorldServant(Servant):
    """A world, which a peer holds for as long as it holds a reference to this."""

    interface = WORLD

    def __init__(self, world: World) -> None:
        self._world = world
        world.hold()

    def describe(self, request: Request) -> Content:
        """`World.describe`."""
        results = request.results()
        descriptions.write_world(results.init("description"), self._world.description)
        return request.reply(results)

    def join(self, request: Request) -> Content:
        """`World.join`."""
        settings = descriptions.read_settings(request.params)
        return _reply_session(request, self._world.join(request.params.seat, settings))

    def destroy(self, request: Request) -> Content:
        """`World.destroy`."""
        self._world.destroy()
        return request.reply()

    def play(self, request: Request) -> Content:
        """`Playable.play`: in this world."""
        _check_nothing_to_choose(request, "world")
        return _play(request, self._world)

    def play_vector(self, request: Request) -> Content:
        """`Playable.playVector`: not here."""
        raise BadSettings(_ONE_WORLD.format("world"))

    def released(self) -> None:
        """Let the world go."""
        self._world.release()


class SessionServant(Servant):
    """A session. When the peer drops it, the seat is given up, unless it has a URL of its own."""

    interface = SESSION

    def __init__(self, session: Session) -> None:
        self._session = session
        self._messages = SessionMessages(session.description.environment)
        self._answered: TimeStep | None = None
        """The timestep that was answered last in general, to learn from."""

    def describe(self, request: Request) -> Content:
        """`Session.describe`."""
        results = request.results()
        descriptions.write_session(results.init("description"), self._session.description)
        return request.reply(results)

    def reset(self, request: Request) -> Content:
        """`Session.reset`."""
        result = self._session.reset(*session_messages.read_reset(request.params))
        try:
            return self._messages.write_reset_result(
                request.results(), result, self._session.check_observations()
            )
        except EnvironmentFailed:
            self._session.fail()
            raise

    def step(self, request: Request) -> Content:
        """`Session.step`."""
        return self._answer_step(self._session.step(self._messages.read_step(request.params)))

    def repeatable(
        self, interface_id: int, method_id: int, params: Content, results: Content
    ) -> Repeatable | None:
        """Return how to carry out steps alike."""
        if (interface_id, method_id) != (SESSION["step"].interface_id, SESSION["step"].id):
            return None
        timestep, self._answered = self._answered, None
        asked, told = self._messages.asked(params), self._messages.told(results, timestep)
        if asked is None or told is None:
            return None
        unpack = self._messages.unpack_action
        return RepeatedSteps(self._session, unpack, self._answer_step, asked, told)

    def _answer_step(self, timestep: TimeStep) -> Content:
        self._answered = timestep
        try:
            return self._messages.write_time_step(timestep, self._session.check_observations())
        except EnvironmentFailed:
            self._session.fail()
            raise

    def render(self, request: Request) -> Content:
        """`Session.render`."""
        return session_messages.write_rendering(request.method, self._session.render())

    def leave(self, request: Request) -> Content:
        """`Session.leave`."""
        self._session.leave()
        return request.reply()

    def share_frames(self, request: Request) -> Content:
        """`Session.shareFrames`."""
        size = self._messages.frame_bytes
        passes = request.connection is not None and request.connection.passes_descriptors
        if not (passes and shareable(size)):
            raise Unimplemented("frames are shared over a Unix socket, and only long ones")
        if self._messages.shared is not None:
            raise Overloaded("the frames of this session are shared already")
        frames = self._messages.shared = SharedFrames(size)
        memory = Hosted(SharedMemoryServant(frames), frames.descriptor)
        return request.reply(memory=memory, slots=frames.slots, frameBytes=size)

    def _unshare(self) -> None:
        frames, self._messages.shared = self._messages.shared, None
        if frames is not None:
            frames.close()

    def play(self, request: Request) -> Content:
        """`Playable.play`: this very session."""
        _check_nothing_to_choose(request, "session")
        results = request.results()
        descriptions.write_session(results.init("description"), self._session.description)
        return request.reply(results, session=Hosted(self))

    def play_vector(self, request: Request) -> Content:
        """`Playable.playVector`: not here."""
        raise BadSettings(_ONE_WORLD.format("session"))

    def released(self) -> None:
        """Give the seat up, if nobody can come back to it."""
        self._unshare()
        if not self._session.restored:
            self._session.leave()


class SharedMemoryServant(Servant):
    """Memory whose descriptor travels with this; it has no methods."""

    interface = SHARED_MEMORY

    def __init__(self, frames: SharedFrames) -> None:
        self._frames = frames


def _offer(target: Target) -> tuple[str, Servant]:
    """Return the kind of a target, and what a peer calls it by."""
    match target:
        case Host():
            return "host", HostServant(target)
        case Environment():
            return "environment", EnvironmentServant(target)
        case World():
            return "world", WorldServant(target)
        case Session():
            return "session", SessionServant(target)
        case _:
            assert_never(target)


def _create_world(request: Request, environment: Environment) -> World:
    try:
        return environment.create_world(descriptions.read_settings(request.params))
    except EnvironmentFailed as error:
        # Its author wants the traceback, which the agent is not told.
        _log.error("%s could not be made", environment.id, exc_info=error.__cause__)
        raise


def _play(request: Request, world: World) -> Content:
    world.hold()  # until the session holds it, or nobody does
    try:
        return _reply_session(request, world.join())
    finally:
        world.release()


def _reply_session(request: Request, session: Session) -> Content:
    results = request.results()
    try:
        descriptions.write_session(results.init("description"), session.description)
        return request.reply(results, session=Hosted(SessionServant(session)))
    except BaseException:
        session.leave()
        raise


def _check_nothing_to_choose(request: Request, what: str) -> None:
    if request.params.id or len(request.params.settings):
        raise BadSettings(
            f"this URL names a {what}, where everything is chosen already; leave id and settings out"
        )
