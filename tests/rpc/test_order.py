"""Orders of calls that a first version of the core got wrong."""

from typing import Any

from rpc_network import End, Network
from rpc_pair import number_of, numbered

from capenv.rpc.capability import Content, Hosted, Promise
from capenv.rpc.events import CallReceived


class Steps:
    """A network that is stepped by hand, and what was started in it."""

    def __init__(self, *links: tuple[int, int]) -> None:
        self.network = Network(links)
        self.started: list[int] = []

    def end(self, vat: int, other: int) -> End:
        return next(e for e in self.network.ends if e.vat == vat and e.other.vat == other)

    def boot(self, vat: int, other: int) -> Any:
        answer = self.end(vat, other).core.bootstrap()
        self.network.settle()
        assert isinstance(answer.outcome, Content)
        self.events()
        return answer.outcome.capability()

    def events(self) -> list[tuple[End, CallReceived]]:
        found = []
        for end, event in self.network.events():
            if isinstance(event, CallReceived):
                self.started.append(number_of(event.content))
                found.append((end, event))
        return found

    def call(self, vat: int, other: int, target: Any, number: int, *capabilities: Any) -> Any:
        return self.end(vat, other).core.call(target, 1, 2, numbered(number, capabilities))

    def pump(self, *vats: int) -> None:
        """Deliver what is on its way to the vats, until nothing is."""
        while any(end.deliver() for end in self.network.ends if end.vat in vats):
            pass
        return self.events()

    def settle(self) -> None:
        self.network.settle()
        return self.events()


def test_a_promise_of_results_that_becomes_another_promise_is_still_embargoed() -> None:
    """Results held a promise of the peer's; what was called on it before came to the peer by their way."""
    steps = Steps((0, 1))
    root = steps.boot(0, 1)
    mine = Hosted(steps.network.offered[0])
    asked = steps.call(0, 1, root, 1, mine)
    pipelined = asked.pipeline(0)
    ((end, running),) = steps.settle()
    promise, theirs = Promise(), running.content.capability(0)
    steps.call(0, 1, pipelined, 2)
    end.core.respond(running.answer, numbered(1, [promise]))
    steps.end(0, 1).deliver()  # the Return; call 2 has not left yet, or is on its way
    end.core.resolve(promise, theirs)
    steps.end(0, 1).deliver()  # the Resolve
    steps.call(0, 1, pipelined, 3)
    steps.settle()
    assert steps.started == [1, 2, 3]


def test_results_of_a_call_passed_on_wait_for_the_embargo_of_who_passed_it_on() -> None:
    """0 asks 1, which has 2 answer, with an object of 1's: calls of 0's went to 2 and come back."""
    steps = Steps((0, 1), (1, 2))
    root, far = steps.boot(0, 1), steps.boot(1, 2)
    asked = steps.call(0, 1, root, 1)
    pipelined = asked.pipeline(0)
    ((end, running),) = steps.pump(1)
    thing = Hosted(steps.network.offered[1])
    end.core.tail_call(running.answer, far, 1, 2, numbered(2, [thing]))
    ((far_end, far_running),) = steps.pump(2)
    far_end.core.respond(far_running.answer, numbered(2, [far_running.content.capability(0)]))
    steps.call(0, 1, pipelined, 3)
    steps.pump(1, 0)  # the Return comes to 1 and to 0; call 3 is on its way to 2
    steps.call(0, 1, pipelined, 4)
    steps.pump(1, 0)
    steps.settle()
    assert steps.started == [1, 2, 3, 4]


def test_a_disembargo_waits_for_the_embargo_of_who_passed_the_call_on() -> None:
    """0 asks 1, which has 2 answer, with an object of 0's."""
    steps = Steps((0, 1), (1, 2))
    root, far = steps.boot(0, 1), steps.boot(1, 2)
    asked = steps.call(0, 1, root, 1, Hosted(steps.network.offered[0]))
    pipelined = asked.pipeline(0)
    ((end, running),) = steps.pump(1)
    thing = running.content.capability(0)
    end.core.tail_call(running.answer, far, 1, 2, numbered(2, [thing]))
    ((far_end, far_running),) = steps.pump(2)
    far_end.core.respond(far_running.answer, numbered(2, [far_running.content.capability(0)]))
    steps.call(0, 1, pipelined, 3)
    steps.pump(1, 0)
    steps.call(0, 1, pipelined, 4)
    steps.pump(1, 0)
    steps.settle()
    assert steps.started == [1, 2, 3, 4]


def test_a_call_on_results_goes_the_way_of_those_before() -> None:
    """What is asked for once more at the same place is the same reference: it waits for the same embargo."""
    steps = Steps((0, 1))
    root = steps.boot(0, 1)
    asked = steps.call(0, 1, root, 1, Hosted(steps.network.offered[0]))
    ((end, running),) = steps.pump(1)
    steps.call(0, 1, asked.pipeline(0), 2)
    end.core.respond(running.answer, numbered(1, [running.content.capability(0)]))
    steps.end(0, 1).deliver()  # the Return; call 2 is on its way
    steps.call(0, 1, asked.pipeline(0), 3)
    steps.settle()
    assert steps.started == [1, 2, 3]
