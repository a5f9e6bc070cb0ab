"""What a peer calls to step many environments as one."""

from capenv.errors import BadSettings, EnvironmentFailed
from capenv.remote import descriptions, session_messages, vector_messages
from capenv.remote.interfaces import VECTOR_SESSION
from capenv.remote.repeated_steps import RepeatedSteps
from capenv.remote.vector_messages import VectorMessages
from capenv.rpc.capability import Content, Hosted
from capenv.rpc.limits import DEFAULT
from capenv.rpc.repeats import Repeatable
from capenv.rpc.servant import Request, Servant
from capenv.values import layout_of
from capenv.worlds import Environment, VectorSession, VectorTimeStep

_STEP = VECTOR_SESSION["step"]


class VectorSessionServant(Servant):
    """A vector session. When the peer drops it, its worlds end."""

    interface = VECTOR_SESSION

    def __init__(self, session: VectorSession) -> None:
        self._session = session
        self._description = session.description
        self._messages = VectorMessages(session.description)

    def describe(self, request: Request) -> Content:
        """`VectorSession.describe`."""
        results = request.results()
        descriptions.write_vector(results.init("description"), self._session.description)
        return request.reply(results)

    def reset(self, request: Request) -> Content:
        """`VectorSession.reset`."""
        seed, options = vector_messages.read_reset(request.params, self._description.num_envs)
        result = self._session.reset(seed, options)
        try:
            return self._messages.write_reset_result(result, self._session.check_observations())
        except EnvironmentFailed:
            self._session.fail()
            raise

    def step(self, request: Request) -> Content:
        """`VectorSession.step`."""
        return self._answer_step(self._session.step(self._messages.read_step(request.params)))

    def repeatable(
        self, interface_id: int, method_id: int, params: Content, results: Content
    ) -> Repeatable | None:
        """Return how to carry out steps alike."""
        if (interface_id, method_id) != (_STEP.interface_id, _STEP.id):
            return None
        asked, told = self._messages.asked(params), self._messages.told(results)
        if asked is None or told is None:
            return None
        unpack = self._messages.unpack_action
        return RepeatedSteps(self._session, unpack, self._answer_step, asked, told)

    def render(self, request: Request) -> Content:
        """`VectorSession.render`."""
        return session_messages.write_rendering(request.method, self._session.render())

    def leave(self, request: Request) -> Content:
        """`VectorSession.leave`."""
        self._session.leave()
        return request.reply()

    def released(self) -> None:
        """End the worlds."""
        self._session.leave()

    def _answer_step(self, timestep: VectorTimeStep) -> Content:
        try:
            return self._messages.write_time_step(timestep, self._session.check_observations())
        except EnvironmentFailed:
            self._session.fail()
            raise


def play_vector(request: Request, environment: Environment) -> Content:
    """Return the results of `Playable.playVector`: a session in worlds of its own.

    Raises:
        BadSettings: the environment cannot be stepped so, or what it returns is too long for a message.
    """
    options = descriptions.read_vector_options(request.params.options)
    settings = descriptions.read_settings(request.params)
    session = environment.create_vector(options, settings)
    try:
        description = session.description
        size = layout_of(description.observation_space).frame_size
        if size > DEFAULT.message_bytes // 2:
            raise BadSettings(
                f"the observations of {options.num_envs} environments are {size:,} bytes, too long for a"
                " message; ask for fewer"
            )
        results = request.results()
        descriptions.write_vector(results.init("description"), description)
        return request.reply(results, session=Hosted(VectorSessionServant(session)))
    except BaseException:
        session.leave()
        raise
