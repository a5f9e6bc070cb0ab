"""Two and three vats under any interleaving against the model in `rpc_model`.

Every call is started once at most, on the very object meant, and answered exactly once, as the object
answered it. Calls through one reference start in their order, whatever the reference turns out to be
meanwhile. Where nothing is on its way, the references that one side counts are those that the other
side holds. Once all is answered and dropped, nothing is left in any table.
"""

import gc
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)
from rpc_model import Asked, Made, Node, Reference, Slot, follow, may_fail, reached
from rpc_network import LINKS, End, Network
from rpc_pair import SLOTS, Thing, number_of, numbered

from capenv.errors import CapenvError, Disconnected, RemoteError
from capenv.rpc.answer import Answer
from capenv.rpc.capability import Capability, Content, Hosted, Promise
from capenv.rpc.events import CallCanceled, CallReceived, Closed, Event, Released, Returned

choices = st.integers(0, 1000)
passing = st.lists(st.one_of(st.none(), choices), max_size=SLOTS)


ACTIONS = [
    action
    for action, weight in {
        "call": 4,
        "pipeline": 3,
        "chat": 8,
        "forward": 2,
        "respond": 6,
        "deliver": 10,
        "promise": 1,
        "resolve": 2,
        "tail call": 1,
        "fail": 1,
        "cancel": 1,
        "drop": 1,
        "keep": 1,
        "forget": 1,
        "settle": 1,
        "lose": 1,
    }.items()
    for _ in range(weight)
]
"""What happens, as often as it is there."""
_LATEST = -1


@attrs.define(eq=False)
class Running:
    """A call, as the one who is called sees it."""

    answer: Answer
    asked: Asked
    end: End
    held: list[Reference]


class Vats(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Asked] = []
        self.made: list[Made] = []
        self.canceled: set[Answer] = set()
        self.lossy = False
        self.lost = False

    @initialize(shape=st.sampled_from(sorted(LINKS)), lossy=st.sampled_from([False, False, True]))
    def connect(self, shape: str, lossy: bool) -> None:
        self.network = Network(LINKS[shape])
        self.held: list[list[Reference]] = [[] for _ in range(self.network.count)]
        self.running: list[list[Running]] = [[] for _ in range(self.network.count)]
        self.lossy = lossy
        for end in self.network.ends:
            question = end.core.bootstrap()
            self.network.settle()
            assert isinstance(question.outcome, Content)
            capability = question.outcome.capability()
            assert capability is not None
            offered = self.network.offered[end.other.vat]
            self.held[end.vat].append(Reference(capability, offered))
            del question, capability
        assert {type(event) for _, event in self.network.events()} <= {Returned}

    @rule(
        action=st.sampled_from(ACTIONS),
        vat=choices,
        which=choices,
        other=choices,
        passed=passing,
    )
    def act(self, action: str, vat: int, which: int, other: int, passed: list[int | None]) -> None:
        vat %= self.network.count
        if action in ("respond", "fail", "tail call", "keep", "forward"):
            vat = self.next_vat(vat, lambda vat: bool(self.running[vat]))
        elif action in ("pipeline", "cancel", "forget"):
            vat = self.next_vat(vat, lambda vat: self.asked_by(vat, 0) is not None)
        match action:
            case "call":
                self.call(vat, which, other, passed)
            case "chat":
                self.chat(vat, which, other)
            case "forward":
                self.forward(vat, which, other)
            case "pipeline":
                self.pipeline(vat, which, other % (SLOTS + 1))
            case "cancel":
                self.cancel(vat, which)
            case "respond":
                self.respond(vat, which, passed)
            case "fail":
                self.fail(vat, which)
            case "tail call":
                self.tail_call(vat, which, other, passed)
            case "promise":
                self.promise(vat)
            case "resolve":
                self.resolve(which, other)
            case "drop":
                self.drop(vat, which)
            case "keep":
                self.keep(vat, which)
            case "forget":
                self.forget(vat, which)
            case "deliver":
                if busy := self.network.busy():
                    busy[which % len(busy)].deliver(1 << 20 if other % 3 else other % 300 + 1)
            case "settle":
                self.settle()
            case "lose":
                if self.lossy and len(self.calls) > 10:
                    self.lost = True
                    self.network.ends[which % len(self.network.ends)].lose()

    def next_vat(self, vat: int, able: Callable[[int], bool]) -> int:
        """Return the first vat from this one on that can do something."""
        count = self.network.count
        return next((v % count for v in range(vat, vat + count) if able(v % count)), vat)

    # What the programs do.

    def forward(self, vat: int, which: int, other: int) -> None:
        """Pass what came with a call on to somebody else, and answer with what is promised for it."""
        if not self.running[vat]:
            return
        running = self.running[vat][which % len(self.running[vat])]
        count = len(self.calls)
        self.call(vat, other, which, [1], running.held)
        if len(self.calls) == count:
            return
        asked = self.calls[-1]
        assert asked.question is not None
        slot = Slot(asked, which % 2)
        promised = self.known(vat, asked.question.pipeline(slot.index), slot)
        if running in self.running[vat] and not self.leads_to(promised.node, running.asked):
            self.running[vat].remove(running)
            running.asked.answer([promised.node, promised.node])
            content = numbered(running.asked.number, [promised.capability, promised.capability])
            running.end.core.respond(running.answer, content)

    def call(
        self,
        vat: int,
        which: int,
        over: int,
        passed: list[int | None],
        given: Sequence[Reference] = (),
    ) -> None:
        if (reference := self.pick(vat, which)) is None:
            return
        end = self.end_of(vat, over)
        asked = Asked(len(self.calls), vat, reference)
        capabilities, asked.passed = self.choose(vat, passed, given=given)
        self.calls.append(asked)
        content = numbered(asked.number, capabilities)
        asked.question = end.core.call(reference.capability, 1, 2, content)

    def chat(self, vat: int, which: int, over: int) -> None:
        """Pass something on, and call at once what may be the same thing given back."""
        count = len(self.calls)
        self.call(vat, which, over, [over, which])
        if len(self.calls) > count:
            self.pipeline(vat, 1, which % 2)
            self.call(vat, _LATEST, over, [])

    def pipeline(self, vat: int, which: int, slot: int) -> None:
        if (asked := self.asked_by(vat, which)) is not None and not asked.canceled:
            assert asked.question is not None
            capability = asked.question.pipeline(slot)
            self.held[vat].append(self.known(vat, capability, Slot(asked, slot)))

    def cancel(self, vat: int, which: int) -> None:
        asked = self.asked_by(vat, which)
        if asked is None or asked.question is None or asked.returned:
            return
        answered = asked.question.outcome is not None
        self.core_of(asked.question).cancel(asked.question)
        if not answered:
            asked.canceled = True
            assert isinstance(asked.question.outcome, CapenvError)

    def respond(self, vat: int, which: int, returned: list[int | None]) -> None:
        if running := self.take_running(vat, which):
            asked = running.asked
            capabilities, nodes = self.choose(vat, returned, avoid=asked, given=running.held)
            asked.answer(nodes)
            running.end.core.respond(running.answer, numbered(asked.number, capabilities))

    def fail(self, vat: int, which: int) -> None:
        if running := self.take_running(vat, which):
            running.asked.fail()
            error = RemoteError(f"no {running.asked.number}")
            running.end.core.fail(running.answer, error)

    def tail_call(self, vat: int, which: int, onto: int, passed: list[int | None]) -> None:
        if not self.running[vat] or (reference := self.pick(vat, onto)) is None:
            return
        running = self.take_running(vat, which)
        assert running is not None
        if self.leads_to(reference.node, running.asked):
            self.running[vat].append(running)
            return
        asked = Asked(len(self.calls), vat, reference, tail_of=running.asked)
        running.asked.tail = asked
        capabilities, asked.passed = self.choose(vat, passed)
        self.calls.append(asked)
        content = numbered(asked.number, capabilities)
        running.end.core.tail_call(running.answer, reference.capability, 1, 2, content)

    def promise(self, vat: int) -> None:
        made = Made(Promise(), vat)
        self.made.append(made)
        self.held[vat].append(Reference(made.promise, made))

    def resolve(self, which: int, onto: int) -> None:
        waiting = [made for made in self.made if made.meaning is None and not made.broken]
        if not waiting:
            return
        made = waiting[which % len(waiting)]
        core = self.end_of(made.vat, 0).core
        reference = self.pick(made.vat, onto)
        if reference is None or self.leads_to(reference.node, made) or which % 8 == 0:
            made.broken = True
            core.resolve(made.promise, RemoteError("nothing came of it"))
        else:
            made.meaning = reference.node
            core.resolve(made.promise, reference.capability)

    def drop(self, vat: int, which: int) -> None:
        held = self.held[vat]
        if held:
            held.pop(which % len(held))

    def keep(self, vat: int, which: int) -> None:
        """Keep a capability that came with a call, for longer than the call."""
        references = [r for running in self.running[vat] for r in running.held]
        if references:
            self.held[vat].append(references[which % len(references)])

    def forget(self, vat: int, which: int) -> None:
        """Drop a call, answered or not."""
        if (asked := self.asked_by(vat, which)) is not None:
            asked.question = None

    def settle(self) -> None:
        """Let all arrive that is on its way, and compare what is counted."""
        self.network.settle()
        self.carry_out_events()
        gc.collect(0)
        self.network.settle()
        if not self.lost and self.network.quiet:
            self.check_counts()

    @invariant()
    def carry_out_events(self) -> None:
        if not hasattr(self, "network"):
            return
        for end, event in self.network.events():
            self.check(end, event)
        for end in self.network.ends:
            assert self.lost or end.core.closed is None, end.core.closed

    # The model.

    def check(self, end: End, event: Event) -> None:
        match event:
            case CallReceived(answer=answer, servant=servant, content=content):
                asked = self.calls[number_of(content)]
                assert not asked.started, "started twice"
                asked.started = True
                assert isinstance(servant, Thing)
                assert servant.side == end.vat, "started elsewhere than where the object is"
                assert servant is follow(asked.reference.node), "started on another object"
                assert asked.reference.last_started < asked.number, "out of order"
                asked.reference.last_started = asked.number
                held = self.received(end.vat, content, asked.passed)
                self.running[end.vat].append(Running(answer, asked, end, held))
            case CallCanceled(answer=answer):
                assert answer not in self.canceled, "canceled twice"
                self.canceled.add(answer)
            case Returned(answer=answer):
                found = [call for call in self.calls if call.question is answer]
                if found:  # and not forgotten
                    self.check_return(end.vat, found[0])
            case Released(servant=servant):
                assert isinstance(servant, Thing)
                assert servant.side == end.vat
            case Closed(error=error):
                assert self.lost, error
                assert isinstance(error, Disconnected)

    def check_return(self, vat: int, asked: Asked) -> None:
        assert asked.vat == vat
        assert asked.question is not None
        asked.returned += 1
        assert asked.returned == 1, "answered twice"
        match asked.question.outcome:
            case Content() as content:
                assert asked.results is not None
                assert asked.answered_by is not None
                assert number_of(content) == asked.answered_by.number
                self.held[vat] += self.received(vat, content, asked.results)
            case None:
                raise AssertionError("returned without an outcome")
            case _ if asked.canceled or self.lost:
                pass
            case error if asked.failed:
                assert asked.answered_by is not None
                assert str(error) == f"no {asked.answered_by.number}"
            case error:
                last = asked.last
                assert not last.started, error
                assert may_fail(last.reference.node), error

    def received(self, vat: int, content: Content, nodes: list[Node | None]) -> list[Reference]:
        assert len(content.capabilities) == len(nodes)
        references: list[Reference] = []
        for capability, node in zip(content.capabilities, nodes, strict=True):
            assert (capability is None) == (node is None)
            if capability is not None and node is not None:
                references.append(self.known(vat, capability, node))
        return references

    def known(self, vat: int, capability: Capability, node: Node) -> Reference:
        """Return the reference that a program has already, where the capability is the same."""
        for reference in self.references(vat):
            if reference.capability is capability:
                return reference
        return Reference(capability, node)

    def references(self, vat: int) -> Iterator[Reference]:
        yield from self.held[vat]
        for running in self.running[vat]:
            yield from running.held
        for call in self.calls:
            if call.vat == vat:
                yield call.reference

    def check_counts(self) -> None:
        """What one side holds is what the other side counts."""
        for end in self.network.ends:
            exported = end.core.references.exports.counts()
            imported = end.other.core.references.imports.counts()
            assert exported == imported, "what one side counts the other does not hold"

    # Choices.

    def end_of(self, vat: int, which: int) -> End:
        ends = self.network.ends_of(vat)
        return ends[which % len(ends)]

    @staticmethod
    def core_of(answer: Answer) -> Any:
        return answer.connection

    def pick(self, vat: int, which: int) -> Reference | None:
        """Return a reference that a program holds, or that came with a call: more often a late one."""
        held = [r for running in self.running[vat] for r in running.held] + self.held[vat]
        if which == _LATEST:
            return held[-1]
        late = held[-3:] if which % 2 else held
        return late[which // 2 % len(late)] if late else None

    def asked_by(self, vat: int, which: int) -> Asked | None:
        asked = [call for call in self.calls if call.vat == vat and call.question]
        late = asked[-2:] if which % 2 else asked
        return late[which // 2 % len(late)] if late else None

    def choose(
        self,
        vat: int,
        wanted: list[int | None],
        avoid: Asked | None = None,
        given: Sequence[Reference] = (),
    ) -> tuple[list[Capability | None], list[Node | None]]:
        """Return capabilities to pass: none, something held, or an object of one's own."""
        capabilities: list[Capability | None] = []
        nodes: list[Node | None] = []
        for which in wanted:
            if which is None or which % 4 == 0:
                reference = None
            elif which % 4 < 3 and given:
                reference = given[which // 4 % len(given)]
            else:
                reference = self.pick(vat, which // 4)
            if reference is not None and avoid and self.leads_to(reference.node, avoid):
                reference = None
            if which is None:
                capability, node = None, None
            elif reference is not None:
                capability, node = reference.capability, reference.node
            else:
                node = Thing(vat, f"new {which}")
                capability = Hosted(node)
            capabilities.append(capability)
            nodes.append(node)
        return capabilities, nodes

    def leads_to(self, node: Node, goal: Asked | Made) -> bool:
        """Return whether a reference waits for the very thing that it would be the answer to.

        Or whether each would keep the other: results that are ways into each other's results are a cycle
        through two vats, which only the end of the connection breaks (in C++ too).
        """
        goals: list[Any] = [goal]
        while isinstance(goal, Asked) and goal.tail_of is not None:
            goal = goal.tail_of
            goals.append(goal)
        return any(each is found for found in reached(node) for each in goals)

    def take_running(self, vat: int, which: int) -> Running | None:
        running = self.running[vat]
        return running.pop(which % len(running)) if running else None

    # The end.

    def teardown(self) -> None:
        if not hasattr(self, "network"):
            return
        self.carry_out_events()
        for round_number in itertools.count():
            assert round_number < 1000, "no end"
            self.network.settle()
            self.carry_out_events()
            open_promises = [m for m in self.made if m.meaning is None and not m.broken]
            if not any(self.running) and not open_promises:
                break
            for made in open_promises:
                made.broken = True
                self.end_of(made.vat, 0).core.resolve(made.promise, RemoteError("the end"))
            for vat in range(self.network.count):
                while running := self.take_running(vat, 0):
                    running.asked.answer([])
                    running.end.core.respond(running.answer, numbered(running.asked.number))
                    del running
        self.forget_everything()
        self.settle_all()
        if not all(end.core.idle for end in self.network.ends):
            gc.collect()  # slow, so only where something is left: it might hang in a cycle
            self.settle_all()
        assert all(end.core.idle for end in self.network.ends), "something is left"

    def forget_everything(self) -> None:
        for asked in self.calls:
            assert asked.question is None or asked.returned == 1, "never answered"
            asked.forget()
        self.canceled.clear()
        self.made.clear()
        self.calls.clear()
        self.held = [[] for _ in self.held]

    def settle_all(self) -> None:
        self.network.settle()
        for _, event in self.network.events():
            assert isinstance(event, Released), event


TestVats: Any = Vats.TestCase
TestVats.settings = settings(max_examples=200, stateful_step_count=100, deadline=None)
