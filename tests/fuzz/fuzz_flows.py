"""Conversations of an agent with a host: asked, answered, and recorded to be meddled with."""

from collections.abc import Callable, Sequence

import attrs
from fuzz_peer import Peer
from fuzz_probe import Probe

from capenv.errors import CapenvError
from capenv.remote.session_messages import SessionMessages
from capenv.rpc.answer import Answer
from capenv.rpc.capability import Content, Hosted
from capenv.rpc.interface import Method
from capenv.rpc.limits import Limits
from capenv.rpc.servant import Servant
from capenv.values import Reading

LIMITS = Limits(
    message_bytes=1 << 18,
    segments=16,
    capabilities=32,
    transform=8,
    answers=32,
    questions=32,
    call_bytes=1 << 19,
    pipelined_calls=8,
    exports=64,
    imports=64,
    queued_bytes=1 << 18,
    stream_window=1 << 12,
    nesting=32,
)
"""Bounds near enough for a fuzzer to run into."""


@attrs.frozen(eq=False)
class Ask:
    """One call of an agent, and how it reads the results."""

    on: "Ask | None"
    """The call in whose results the object is, at `field`; None for the bootstrap object."""
    field: str
    method: Method
    params: Content
    read: Callable[["Agent", Content], object]


@attrs.frozen(eq=False)
class Flow:
    """A conversation, and the messages it consists of when nobody meddles with it."""

    name: str
    asks: Sequence[Ask]
    eager: bool
    """Whether everything is asked at once, pipelined, rather than one by one."""
    offer: Callable[[], Servant]
    """Makes the server's bootstrap object."""
    handshake: int
    """So many first messages lead to what the flow is about."""
    to_server: list[bytes] = attrs.field(factory=list)
    to_client: list[bytes] = attrs.field(factory=list)


class Agent:
    """Asks what a flow says, and reads the answers as `capenv.remote` does."""

    def __init__(self, flow: Flow) -> None:
        self.peer = Peer(Probe(), LIMITS, self._returned)
        self.messages: SessionMessages | None = None
        """What reads a session's results, once its description was read."""
        self.unread: dict[str, int] = {}
        """How often reading an answer failed, by the class of the error."""
        self._flow = flow
        self._next = 0
        self._bootstrap: Answer | None = None
        self._asked: dict[Ask, Answer] = {}
        self._reading: dict[Answer, Ask] = {}

    def begin(self) -> None:
        """Ask the first question, or all."""
        self._bootstrap = self.peer.core.bootstrap()
        while self._flow.eager and self._ask_next():
            pass

    def _ask_next(self) -> bool:
        if self._next == len(self._flow.asks):
            return False
        ask = self._flow.asks[self._next]
        self._next += 1
        if ask.on is None:
            assert self._bootstrap is not None
            target = self._bootstrap.pipeline()
        else:
            target = self._asked[ask.on].pipeline(ask.on.method.results.slot(ask.field))
        method = ask.method
        question = self.peer.core.call(target, method.interface_id, method.id, self._params(ask))
        self._asked[ask] = question
        self._reading[question] = ask
        return True

    def _params(self, ask: Ask) -> Content:
        """Return the params, with objects of this agent's own in them."""
        if not ask.params.capabilities:
            return ask.params
        given = [Probe() for _ in ask.params.capabilities]
        for probe in given:
            probe.connection = self.peer.core
        return Content(ask.params.segments, [Hosted(probe) for probe in given])

    def _returned(self, question: Answer) -> None:
        ask = self._reading.pop(question, None)
        if ask is not None and isinstance(question.outcome, Content):
            try:
                with Reading(f"the results of {ask.method}"):
                    ask.read(self, question.outcome)
            except CapenvError as error:
                name = type(error).__name__
                self.unread[name] = self.unread.get(name, 0) + 1
        if self.peer.core.closed is None and not self._flow.eager:
            self._ask_next()
        if self._next == len(self._flow.asks) and not self._reading:
            # Dropping the questions gives back every object they brought.
            self._asked.clear()
            self._bootstrap = None


def record(flow: Flow) -> Flow:
    """Let the two sides of a flow talk, and keep each message of theirs."""
    agent, server = Agent(flow), Peer(flow.offer(), LIMITS)
    agent.begin()
    for _ in range(1000):
        asked = agent.peer.flush()
        server.take(asked)
        answered = server.flush()
        agent.peer.take(answered)
        flow.to_server.extend(messages_of(asked))
        flow.to_client.extend(messages_of(answered))
        if not asked and not answered:
            break
    for peer in (agent.peer, server):
        if peer.core.closed is not None:
            raise AssertionError(f"the flow {flow.name} ended by itself: {peer.core.closed}")
    if agent.unread or server.failures:
        raise AssertionError(f"the flow {flow.name} failed: {agent.unread} {server.failures}")
    return flow


def messages_of(stream: bytes) -> list[bytes]:
    """Cut a stream of sound messages, each with its header."""
    messages = []
    while stream:
        count = int.from_bytes(stream[:4], "little") + 1
        sizes = [int.from_bytes(stream[4 * i : 4 * i + 4], "little") for i in range(1, count + 1)]
        length = (4 + 4 * count + 7) // 8 * 8 + 8 * sum(sizes)
        messages.append(stream[:length])
        stream = stream[length:]
    return messages
