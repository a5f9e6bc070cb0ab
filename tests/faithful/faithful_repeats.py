"""One conversation, recorded, and played again to either end with some of its bytes changed."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import attrs
import gymnasium
import numpy as np
import trio
from gymnasium import spaces

from capenv import Host
from capenv.errors import DeadlineExceeded, Disconnected
from capenv.link import Buffer
from capenv.remote.blocking_session import BlockingSession
from capenv.remote.servants import GateServant
from capenv.remote.step_calls import StepCalls
from capenv.rpc.repeats import Repeats
from capenv.transports.sockets import unsent
from capenv.vat_connection import VatConnection


class Counting(gymnasium.Env[Any, Any]):
    """Observes how often it was stepped, and with what."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-1e6, 1e6, (6,), np.float32)
        self.action_space = spaces.Discrete(5)
        self.steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(6, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        if self.steps == 13:
            raise ValueError("thirteen")
        info = {"steps": self.steps} if self.steps == 11 else {}
        observation = np.arange(6, dtype=np.float32) * self.steps + float(action)
        return observation, self.steps / 3, self.steps > 20, self.steps == 17, info


class Reciting(gymnasium.Env[Any, Any]):
    """Returns what it was given, step by step."""

    def __init__(self, space: spaces.Space[Any], steps: Sequence[Any]) -> None:
        self.observation_space = space
        self.action_space = spaces.Discrete(5)
        self._steps = steps

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._left = iter(self._steps)
        return self._steps[0][0], {}

    def step(self, action: Any) -> Any:
        return next(self._left)


def gate(make: Callable[[], gymnasium.Env[Any, Any]] = Counting) -> GateServant:
    host = Host()
    host.add("only", make)
    return GateServant(lambda token: host, 64 << 20)


class Wire:
    """Both directions of a conversation between an agent and a host, in chunks as they were sent."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.told: list[bytes] = []


class Replayed:
    """A link to a host: what is sent is answered by what was recorded, or by a live host."""

    passes_descriptors = False
    descriptors: ClassVar[list[int]] = []

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._answer = answer
        self._waiting = b""

    def send_some(
        self, buffers: Sequence[Buffer], counts: list[int], timeout: float | None
    ) -> None:
        data = b"".join(bytes(buffer) for buffer in buffers)
        counts.append(len(data))
        self._waiting += self._answer(data)

    def receive_some(self, buffer: memoryview, counts: list[int], timeout: float | None) -> None:
        if not self._waiting:
            if timeout is not None and timeout < 0.02:
                raise DeadlineExceeded("nothing comes")
            counts.append(0)
            return
        count = min(len(buffer), len(self._waiting))
        buffer[:count] = self._waiting[:count]
        self._waiting = self._waiting[count:]
        counts.append(count)

    def exchange(self, request: Buffer, buffer: memoryview, counts: list[int]) -> None:
        self.send_some([request], counts, None)
        self.receive_some(buffer, counts, None)

    def receive_more(self, buffer: memoryview, counts: list[int]) -> None:
        self.receive_some(buffer, counts, None)

    def close(self) -> None:
        self._waiting = b""


class Scripted:
    """A link to an agent that says what was recorded, whatever it is answered."""

    passes_descriptors = False

    def __init__(self, chunks: Sequence[bytes]) -> None:
        self._chunks = list(chunks)
        self.told = b""

    async def send(self, buffers: Sequence[Buffer]) -> None:
        self.send_now(buffers)
        await trio.lowlevel.checkpoint()

    def send_now(self, buffers: Sequence[Buffer]) -> Sequence[Buffer]:
        self.told += b"".join(bytes(buffer) for buffer in buffers)
        return ()

    def receive_soon(self, buffer: memoryview) -> int | None:
        return None

    async def receive_into(self, buffer: memoryview) -> int:
        await trio.testing.wait_all_tasks_blocked()
        if not self._chunks:
            return 0
        chunk = self._chunks.pop(0)
        count = min(len(chunk), len(buffer))
        buffer[:count] = chunk[:count]
        if rest := unsent([chunk], count):
            self._chunks.insert(0, bytes(rest[0]))
        return count

    async def aclose(self) -> None:
        pass


def hosted(chunks: Sequence[bytes]) -> bytes:
    """Return all that a host says to an agent that says this."""
    link = Scripted(chunks)
    trio.run(VatConnection(link, gate()).run)
    return link.told


def without_patterns(act: Callable[[], Any]) -> Any:
    """Do something with neither end repeating any call."""
    learn, step = Repeats.learn, StepCalls.step
    Repeats.learn = lambda *_: None  # type: ignore[method-assign, assignment]
    StepCalls.step = lambda self, action: self._in_general(action, None)  # type: ignore[method-assign]
    try:
        return act()
    finally:
        Repeats.learn, StepCalls.step = learn, step  # type: ignore[method-assign]


def recorded(
    actions: Sequence[Any], make: Callable[[], gymnasium.Env[Any, Any]] = Counting
) -> tuple[Wire, list["Outcome"]]:
    """Let an agent take these actions; return what was said, in chunks, and what came of each."""
    wire = Wire()

    def answer(data: bytes) -> bytes:
        wire.asked.append(data)
        before = sum(map(len, wire.told))
        wire.told.append(_until_answered(wire.asked, make)[before:])
        return wire.told[-1]

    return wire, play(answer, actions)


def _until_answered(asked: Sequence[bytes], make: Callable[[], gymnasium.Env[Any, Any]]) -> bytes:
    """Return what a host says before the end, at which it would say good-bye."""
    link = Scripted([])

    async def serve() -> None:
        connection = VatConnection(link, gate(make))
        async with trio.open_nursery() as nursery:
            ended = trio.Event()
            link._chunks = list(asked)
            receive = link.receive_into

            async def receive_or_stay(buffer: memoryview) -> int:
                if link._chunks:
                    return await receive(buffer)
                await trio.testing.wait_all_tasks_blocked()
                ended.set()
                await trio.sleep_forever()
                raise AssertionError

            link.receive_into = receive_or_stay  # type: ignore[method-assign]
            nursery.start_soon(connection.run)
            await ended.wait()
            said = link.told
            nursery.cancel_scope.cancel()
        link.told = said

    trio.run(serve)
    return link.told


@attrs.frozen(eq=False)
class Outcome:
    """What came of one step."""

    result: Any
    failure: str

    def same(self, other: "Outcome") -> bool:
        if self.failure != other.failure:
            return False
        if self.result is None or other.result is None:
            return self.result is other.result
        (a, *rest), (b, *others) = self.result, other.result
        kinds = [type(x) for x in rest] == [type(x) for x in others]
        kinds = kinds and type(a) is type(b)
        exact = np.array_equal(a, b, equal_nan=isinstance(a, np.ndarray))
        dtypes = getattr(a, "dtype", None) == getattr(b, "dtype", None)
        return bool(exact and dtypes and kinds and repr(rest) == repr(others))


def play(answer: Callable[[bytes], bytes], actions: Sequence[Any]) -> list[Outcome]:
    """Connect over a link that answers so, reset, and take these actions; return what came of each."""
    from capenv.remote import blocking_opening
    from capenv.url import CapabilityURL

    link = Replayed(answer)
    connect = blocking_opening.transports.connect_blocking
    blocking_opening.transports.connect_blocking = lambda *_: link
    try:
        url = CapabilityURL.parse("capnp://memory@replayed/" + "A" * 43)
        session = BlockingSession.open(url)
    finally:
        blocking_opening.transports.connect_blocking = connect
    outcomes = []
    session.reset(1, None)
    for action in actions:
        try:
            outcomes.append(Outcome(session.step(action), ""))
        except Disconnected:
            outcomes.append(Outcome(None, "Disconnected"))
        except Exception as error:
            outcomes.append(Outcome(None, f"{type(error).__name__}: {error}"))
    session.abandon()
    return outcomes
