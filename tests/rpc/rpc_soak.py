"""Calls of every kind between three vats in a row, over and over, and what they leave behind."""

import gc
import random
import resource
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs
from rpc_network import LINKS, Network
from rpc_pair import Thing, number_of, numbered

from capenv.errors import CapenvError, RemoteError
from capenv.rpc.answer import Answer
from capenv.rpc.capability import Capability, Content, Hosted, Promise
from capenv.rpc.connection import Connection
from capenv.rpc.events import CallCanceled, CallReceived, Event

INTERFACE: Final = 0x5047
SAME, FRESH, LATER, SETTLE, TAIL, FAIL, HANG, STREAM, NEXT = range(9)
"""What a method answers: what it was given; a new object; a promise of what it was given, which SETTLE
keeps or breaks; what a call of that answers; a failure; nothing; nothing much; the next vat's object."""
PIECES: Final = (16, 100, 1 << 20)
"""How many bytes arrive at a time."""


class Caller:
    """One vat's object of another, near or far, and objects of its own to give away."""

    def __init__(self, soak: "Soak", core: Connection, vat: int, root: Capability) -> None:
        self.soak = soak
        self.core = core
        self.vat = vat
        self.root = root

    def mine(self) -> Capability:
        return Hosted(Thing(self.vat))

    def call(
        self, target: Capability, method: int, *given: Capability, stream: bool = False
    ) -> Answer:
        """Call, and let some of what is on its way arrive."""
        self.soak.calls += 1
        content = numbered(self.soak.calls, given)
        answer = self.core.call(target, INTERFACE, method, content, no_promise_pipelining=stream)
        self.soak.some_arrives()
        return answer


Scenario = Callable[[Caller], list[Answer]]
"""Makes calls, and returns the answers of which each is to have some outcome."""


def both_ways(caller: Caller) -> list[Answer]:
    """Objects of each side in params and results; one that comes back, with calls before and after."""
    same = caller.call(caller.root, SAME, caller.mine(), caller.root)
    calls = [caller.call(same.pipeline(slot), SAME, caller.mine()) for slot in (0, 1, 0)]
    fresh = caller.call(caller.root, FRESH)
    return [same, fresh, *calls, caller.call(fresh.pipeline(0), SAME, fresh.pipeline(0))]


def later(caller: Caller) -> list[Answer]:
    """The peer's promise, called before and after it is resolved to an object of either side."""
    answers = []
    for target in (caller.mine(), caller.root):
        promised = caller.call(caller.root, LATER, target)
        answers += [promised, caller.call(promised.pipeline(0), SAME, caller.mine())]
        answers += [caller.call(caller.root, SETTLE), caller.call(promised.pipeline(0), SAME)]
    return answers


def promised(caller: Caller) -> list[Answer]:
    """Promises of ours, given away, called by way of the peer, and kept or broken."""
    answers = []
    for target in (caller.mine(), caller.root, RemoteError("broken")):
        promise = Promise()
        answers.append(caller.call(caller.root, SAME, promise))
        answers.append(caller.call(answers[-1].pipeline(0), SAME, caller.mine()))
        answers.append(caller.call(caller.root, TAIL, promise))
        caller.core.resolve(promise, target)
    return answers


def tails(caller: Caller) -> list[Answer]:
    """Tail calls of objects of either side, and calls on their results."""
    tails = [caller.call(caller.root, TAIL, target) for target in (caller.mine(), caller.root)]
    return [*tails, *(caller.call(tail.pipeline(0), SAME, caller.mine()) for tail in tails)]


def failures(caller: Caller) -> list[Answer]:
    """Calls that fail, and calls on what never came."""
    fail = caller.call(caller.root, FAIL, caller.mine())
    return [fail, caller.call(fail.pipeline(0), SAME, caller.mine(), fail.pipeline(1))]


def cancels(caller: Caller) -> list[Answer]:
    """Calls canceled at once or later, whatever of them has arrived by then, and calls on their results."""
    answers = []
    for method, target in ((HANG, caller.mine()), (FRESH, caller.root), (TAIL, caller.mine())):
        call = caller.call(caller.root, method, target)
        answers += [call, caller.call(call.pipeline(0), SAME, caller.mine())]
        caller.core.cancel(call)
    return answers


def streams(caller: Caller) -> list[Answer]:
    """Calls whose results nothing is pipelined on (`Call.noPromisePipelining`)."""
    return [caller.call(caller.root, STREAM, caller.mine(), stream=True) for _ in range(4)]


SCENARIOS: tuple[Scenario, ...] = (
    both_ways,
    later,
    promised,
    tails,
    failures,
    cancels,
    streams,
)


class Soak:
    """Three vats, of which the middle one has two connections that share a turn."""

    def __init__(self, seed: int = 0) -> None:
        self.calls = 0
        self.started = 0
        """Methods that objects were asked for."""
        self._network = Network(LINKS["three in a row"])
        self._random = random.Random(seed)
        self._promised: list[tuple[Connection, Promise, Capability | CapenvError]] = []
        first, middle, _, last = self._network.ends
        self._callers = [
            Caller(self, end.core, end.vat, end.core.bootstrap().pipeline())
            for end in (first, middle, last)
        ]
        self._settle()
        # What the ends hold of each other: calls go by the middle vat, over both of its connections.
        self._across = [self._callers[1].root, self._of_last()]
        for near in (self._callers[0], self._callers[2]):
            far = near.call(near.root, NEXT)
            self._settle()
            self._callers.append(Caller(self, near.core, near.vat, far.pipeline(0)))

    def _of_last(self) -> Capability:
        """Return what the middle vat has of the last."""
        back = self._network.ends[2].core
        root = back.bootstrap().pipeline()
        self._settle()
        return root

    def run(self, calls: int) -> None:
        """Make that many calls or some more, each with an outcome, and let go of all but the roots."""
        until = self.calls + calls
        while self.calls < until:
            for caller in self._callers:
                answers = [answer for scenario in SCENARIOS for answer in scenario(caller)]
                self._settle()
                assert all(answer.outcome is not None for answer in answers)
                del answers
        self._settle()

    def end(self) -> None:
        """Let go of the roots too; then no connection holds anything."""
        self._callers.clear()
        self._across.clear()
        gc.collect()
        self._settle()
        for end in self._network.ends:
            core = end.core
            assert core.closed is None
            assert core.idle, f"vat {end.vat} still holds {core.references.exports.counts()}"
            assert not core.turn.holders

    def some_arrives(self) -> None:
        """Let some bytes arrive somewhere, and what they bring about happen."""
        for end in self._random.sample(self._network.ends, 2):
            end.deliver(self._random.choice(PIECES))
        self._carry_out()

    def _settle(self) -> None:
        """Let everything arrive, promises be settled, and all that follows happen."""
        while not self._network.quiet or self._promised:
            self._network.settle()
            self._resolve()
            self._carry_out()

    def _carry_out(self) -> None:
        for end, event in self._network.events():
            self._happened(end.core, end.vat, event)

    def _happened(self, core: Connection, vat: int, event: Event) -> None:
        match event:
            case CallReceived(answer=answer):
                self.started += 1
                self._serve(core, vat, event, list(event.content.capabilities))
            case CallCanceled(answer=answer):
                core.respond(answer, Content.of(Hosted(Thing(vat))))  # as if it had just been done

    def _serve(
        self, core: Connection, vat: int, call: CallReceived, given: list[Capability | None]
    ) -> None:
        number = number_of(call.content)
        target = given[0] if given else None
        match call.method_id:
            case method if method == TAIL and target is not None:
                core.tail_call(call.answer, target, INTERFACE, SAME, numbered(number, given))
            case method if method == LATER and target is not None:
                promise = Promise()
                broken = number % 3 == 0
                self._promised.append((core, promise, RemoteError("broken") if broken else target))
                core.respond(call.answer, numbered(number, [promise]))
            case method if method == SETTLE:
                self._resolve()
                core.respond(call.answer, numbered(number))
            case method if method == FRESH:
                core.respond(call.answer, numbered(number, [Hosted(Thing(vat))]))
            case method if method == FAIL:
                core.fail(call.answer, RemoteError("no"))
            case method if method == HANG:
                pass
            case method if method == STREAM:
                core.respond(call.answer, numbered(number))
            case method if method == NEXT:
                across = self._across[core is self._network.ends[1].core]
                core.respond(call.answer, numbered(number, [across]))
            case _:
                core.respond(call.answer, numbered(number, given))

    def _resolve(self) -> None:
        promised, self._promised = self._promised, []
        for core, promise, target in promised:
            core.resolve(promise, target)


@attrs.frozen
class Memory:
    """What the process holds, with no garbage left."""

    objects: int
    """That the garbage collector tracks."""
    blocks: int
    """Of Python's allocator: any small object, bytes and numbers too."""
    resident: int
    """Bytes in memory, of anything (Linux)."""

    @classmethod
    def now(cls) -> "Memory":
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return cls(len(gc.get_objects()), sys.getallocatedblocks(), pages * resource.getpagesize())


def traced(act: Callable[[], None]) -> int:
    """Return how many bytes were allocated by an act, and are held after it."""
    gc.collect()
    tracemalloc.start()
    try:
        act()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
