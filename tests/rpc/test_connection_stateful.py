"""Two connections under any interleaving against a small model of what the two programs may expect.

Every call is started once at most, on the very object meant, and answered exactly once, as the
object answered it. Calls through one reference start in their order. Once all is answered and
dropped, nothing is left in any table.

The order of calls through a promise that turns out to be an object of the caller's own is left out:
it takes embargoes.
"""

import gc
from collections import deque
from typing import Any

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from rpc_pair import SLOTS, Pair, Thing, number_of, numbered

from capenv.errors import CapenvError, Disconnected, RemoteError
from capenv.rpc.answers import Answer
from capenv.rpc.capability import Capability, Content, Hosted, Pipelined
from capenv.rpc.events import CallCanceled, CallReceived, Closed, Event, Released, Returned
from capenv.rpc.questions import Question

sides = st.integers(0, 1)
choices = st.integers(0, 1000)


@attrs.define(eq=False)
class Reference:
    """A capability that a program holds, and what it stands for as far as the model knows."""

    capability: Capability
    thing: Thing | None = None
    promised: "tuple[Asked, int] | None" = None
    """For a pipelined one: the call, and the slot of its results."""
    last_started: int = -1

    def meant(self) -> Thing | None:
        """Return the object meant, None if there is none (yet)."""
        if self.promised is None:
            return self.thing
        call, slot = self.promised
        if call.answered is None or call.canceled or slot >= len(call.answered):
            return None
        return call.answered[slot]


@attrs.define(eq=False)
class Asked:
    """A call, as its caller and the model see it."""

    number: int
    side: int
    reference: Reference
    question: Question | None = None
    passed: list[Thing | None] = attrs.field(factory=list)
    started: bool = False
    answered: list[Thing | None] | None = None
    failed: bool = False
    canceled: bool = False
    returned: int = 0

    @property
    def may_fail_unstarted(self) -> bool:
        """Whether it went through a promise that came to nothing."""
        promised = self.reference.promised
        if promised is None:
            return False
        call, _ = promised
        return call.canceled or call.failed or self.reference.meant() is None


@attrs.define(eq=False)
class Running:
    """A call, as the one who is called sees it."""

    answer: Answer
    asked: Asked
    held: list[Reference]


class TwoVats(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()
        self.calls: list[Asked] = []
        self.held: list[list[Reference]] = [[], []]
        self.running: list[list[Running]] = [[], []]
        self.canceled: list[Answer] = []
        self.events: list[deque[Event]] = [deque(), deque()]
        self.lossy = False
        self.lost = False

    @initialize(lossy=st.sampled_from([False, False, True]))
    def connect(self, lossy: bool) -> None:
        self.lossy = lossy
        for side in (0, 1):
            question = self.pair.cores[side].bootstrap()
            self.pair.settle()
            assert isinstance(question.outcome, Content)
            capability = question.outcome.capability()
            assert capability is not None
            self.held[side].append(Reference(capability, self.pair.offered[1 - side]))
            del question
            assert [type(event) for event in self.pair.events(side)] == [Returned]

    # What the programs do.

    @precondition(lambda self: not self.lost)
    @rule(
        side=sides, which=choices, passing=st.lists(st.one_of(st.none(), choices), max_size=SLOTS)
    )
    def call(self, side: int, which: int, passing: list[int | None]) -> None:
        reference = self.pick(side, which)
        if reference is None:
            return
        asked = Asked(len(self.calls), side, reference)
        capabilities, asked.passed = self.choose(side, passing)
        self.calls.append(asked)
        content = numbered(asked.number, capabilities)
        asked.question = self.pair.cores[side].call(reference.capability, 1, 2, content)

    @precondition(lambda self: not self.lost)
    @rule(side=sides, which=choices, slot=st.integers(0, SLOTS))
    def pipeline(self, side: int, which: int, slot: int) -> None:
        candidates = [c for c in self.calls if c.side == side and c.question and not c.canceled]
        if candidates:
            asked = candidates[which % len(candidates)]
            assert asked.question is not None
            capability = asked.question.pipeline(slot)
            known = [r for r in self.held[side] if r.capability is capability]
            self.held[side] += known or [Reference(capability, promised=(asked, slot))]

    @precondition(lambda self: not self.lost)
    @rule(side=sides, which=choices)
    def cancel(self, side: int, which: int) -> None:
        candidates = [c for c in self.calls if c.side == side and c.question and not c.returned]
        if candidates:
            asked = candidates[which % len(candidates)]
            assert asked.question is not None
            answered = asked.question.outcome is not None
            self.pair.cores[side].cancel(asked.question)
            if not answered:
                asked.canceled = True
                assert isinstance(asked.question.outcome, CapenvError)

    @rule(
        side=sides, which=choices, returning=st.lists(st.one_of(st.none(), choices), max_size=SLOTS)
    )
    def respond(self, side: int, which: int, returning: list[int | None]) -> None:
        if running := self.take_running(side, which):
            capabilities, things = self.choose(side, returning)
            running.asked.answered = things
            self.pair.cores[side].respond(
                running.answer, numbered(running.asked.number, capabilities)
            )

    @rule(side=sides, which=choices)
    def fail(self, side: int, which: int) -> None:
        if running := self.take_running(side, which):
            running.asked.failed = True
            self.pair.cores[side].fail(running.answer, RemoteError(f"no {running.asked.number}"))

    @rule(side=sides, which=choices)
    def drop(self, side: int, which: int) -> None:
        if self.held[side]:
            self.held[side].pop(which % len(self.held[side]))

    @rule(side=sides, which=choices)
    def keep(self, side: int, which: int) -> None:
        """Keep a capability that came with a call, for longer than the call."""
        references = [r for running in self.running[side] for r in running.held]
        if references:
            self.held[side].append(references[which % len(references)])

    @rule(side=sides, which=choices)
    def forget(self, side: int, which: int) -> None:
        """Drop a question, answered or not."""
        candidates = [c for c in self.calls if c.side == side and c.question]
        if candidates:
            candidates[which % len(candidates)].question = None

    # What the network does.

    @precondition(lambda self: not self.lost)
    @rule(side=sides, limit=st.one_of(st.integers(1, 200), st.just(1 << 20)))
    def deliver(self, side: int, limit: int) -> None:
        self.pair.deliver(side, limit)

    @precondition(lambda self: self.lossy and not self.lost and len(self.calls) > 3)
    @rule()
    def lose(self) -> None:
        self.lost = True
        self.pair.lose()

    @invariant()
    def carry_out_events(self) -> None:
        for side in (0, 1):
            for event in self.pair.events(side):
                self.check(side, event)
        for core in self.pair.cores:
            assert self.lost or core.closed is None, core.closed

    # The model.

    def check(self, side: int, event: Event) -> None:
        match event:
            case CallReceived(answer=answer, servant=servant, content=content):
                asked = self.calls[number_of(content)]
                reference = asked.reference
                assert not asked.started, "started twice"
                asked.started = True
                assert isinstance(servant, Thing)
                assert servant.side == side
                if not asked.canceled and not (
                    reference.promised and reference.promised[0].canceled
                ):
                    assert servant is reference.meant()
                if servant.side != asked.side:
                    assert reference.last_started < asked.number, "out of order"
                    reference.last_started = asked.number
                held = self.received(content, asked.passed)
                self.running[side].append(Running(answer, asked, held))
            case CallCanceled(answer=answer):
                assert answer not in self.canceled, "canceled twice"
                self.canceled.append(answer)
            case Returned(question=question):
                found = [c for c in self.calls if c.question is question]
                if found:  # not forgotten, nor carrying on a call of the peer's
                    self.check_return(side, found[0])
            case Released(servant=servant):
                assert isinstance(servant, Thing)
                assert servant.side == side
                assert self.lost or servant not in self.things_held(1 - side)
            case Closed(error=error):
                assert self.lost
                assert isinstance(error, Disconnected)

    def check_return(self, side: int, asked: Asked) -> None:
        assert asked.side == side
        assert asked.question is not None
        asked.returned += 1
        assert asked.returned == 1, "answered twice"
        match asked.question.outcome:
            case Content() as content:
                assert asked.answered is not None
                assert number_of(content) == asked.number
                self.held[side] += self.received(content, asked.answered)
            case Disconnected():
                assert self.lost
            case CapenvError() as error if asked.failed:
                assert asked.canceled or str(error) == f"no {asked.number}"
            case CapenvError() as error:
                assert asked.canceled or (not asked.started and asked.may_fail_unstarted), error
            case None:
                raise AssertionError("returned without an outcome")

    def received(self, content: Content, things: list[Thing | None]) -> list[Reference]:
        assert len(content.capabilities) == len(things)
        references: list[Reference] = []
        for capability, thing in zip(content.capabilities, things, strict=True):
            assert (capability is None) == (thing is None)
            if capability is not None:
                known = [r for held in self.held for r in held if r.capability is capability]
                references.append(known[0] if known else Reference(capability, thing))
        return references

    def things_held(self, side: int) -> list[Thing | None]:
        references = self.held[side] + [r for run in self.running[side] for r in run.held]
        return [r.thing for r in references if r.promised is None]

    # Choices.

    def pick(self, side: int, which: int) -> Reference | None:
        held = self.held[side]
        return held[which % len(held)] if held else None

    def choose(
        self, side: int, wanted: list[int | None]
    ) -> tuple[list[Capability | None], list[Thing | None]]:
        """Return capabilities to pass: none, something held, or an object of one's own."""
        capabilities: list[Capability | None] = []
        things: list[Thing | None] = []
        for which in wanted:
            reference = None if which is None or which % 3 == 0 else self.pick(side, which // 3)
            if which is None:
                capability, thing = None, None
            elif reference is not None and isinstance(meant := self.sendable(reference), Thing):
                capability, thing = reference.capability, meant
            else:
                thing = Thing(side, f"new {which}")
                capability = Hosted(thing)
            capabilities.append(capability)
            things.append(thing)
        return capabilities, things

    def sendable(self, reference: Reference) -> Thing | None:
        """Return what a reference stands for if that is settled: others cannot be passed on yet."""
        capability = reference.capability
        if isinstance(capability, Pipelined) and capability.resolution is None:
            return None
        return reference.meant()

    def take_running(self, side: int, which: int) -> Running | None:
        running = self.running[side]
        return running.pop(which % len(running)) if running else None

    # The end.

    def teardown(self) -> None:
        # Calls on a side's own objects go on when the link is lost.
        while any(self.running) or (not self.lost and self.pair.deliver(0) | self.pair.deliver(1)):
            self.carry_out_events()
            for side in (0, 1):
                while running := self.take_running(side, 0):
                    running.asked.answered = []
                    self.pair.cores[side].respond(running.answer, numbered(running.asked.number))
                    del running
        self.carry_out_events()
        for asked in self.calls:
            assert asked.question is None or asked.returned == 1, "never answered"
            asked.question = None
        self.canceled.clear()
        for call in self.calls:
            call.reference = None  # type: ignore[assignment]
        for held in self.held:
            held.clear()
        for runs in self.running:
            runs.clear()
        self.settle()
        if not all(core.idle for core in self.pair.cores):
            gc.collect()  # slow, so only where something is left: it might hang in a cycle
            self.settle()
        assert [core.idle for core in self.pair.cores] == [True, True]

    def settle(self) -> None:
        if not self.lost:
            self.pair.settle()
            for side in (0, 1):
                for event in self.pair.events(side):
                    assert isinstance(event, Released), event


TestTwoVats: Any = TwoVats.TestCase
TestTwoVats.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
