"""The state machine of `test_network_stateful` finds each rule of the protocol that is broken on purpose."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from test_network_stateful import Vats

from capenv.rpc.answer import Answer, AnswerState
from capenv.rpc.capability import Capability, Promise
from capenv.rpc.exports import Export, Exports
from capenv.rpc.imports import Imports
from capenv.rpc.questions import Questions
from capenv.rpc.turn import Turn

Break = Callable[[pytest.MonkeyPatch], None]

BUDGET = settings(
    max_examples=5000,
    stateful_step_count=80,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


def no_embargo(patch: pytest.MonkeyPatch) -> None:
    """Calls take the shorter way at once (`Disembargo`)."""

    def fulfil(self: Turn, promise: Promise, target: Capability, *, shortens: bool) -> None:
        self.resolve(promise, target)

    patch.setattr(Turn, "fulfil", fulfil)


def no_freeze(patch: pytest.MonkeyPatch) -> None:
    """Calls on what was announced follow what is learned later (the Tribble 4-way race)."""
    target, settle = Answer.target, Exports.settle

    def follow(self: Answer, transform: tuple[int, ...]) -> Capability:
        if self.state is AnswerState.RETURNED and self.tail is None:
            return self.capability(transform)
        return target(self, transform)

    def unsettled(self: Exports, export: Export, capability: Capability) -> None:
        promise = export.target
        settle(self, export, promise if isinstance(promise, Promise) else capability)

    patch.setattr(Answer, "target", follow)
    patch.setattr(Exports, "settle", unsettled)


def one_release(patch: pytest.MonkeyPatch) -> None:
    """However often a reference came, it is given back once (`Release.referenceCount`)."""
    release = Imports.release

    def once(self: Imports, import_id: int, generation: int) -> int:
        return min(1, release(self, import_id, generation))

    patch.setattr(Imports, "release", once)


def early_finish(patch: pytest.MonkeyPatch) -> None:
    """A question is finished before what follows from its results was sent (`Finish`)."""

    def conclude(self: Any, question: Any, outcome: Any) -> None:
        answer, question.answer = question.answer, None
        question._paths.clear()
        self.finish_unused(question)
        if answer is not None:
            self._turn.post(answer.connection.settle, answer, outcome)

    patch.setattr(Questions, "conclude", conclude)


FINDINGS = (
    "out of order|never answered|answered twice|started twice|started on another object|has ended"
    "|does not lead back|something is left|what one side counts the other does not hold"
)
"""What the machine says of a broken rule: which of them comes first is chance."""


@pytest.mark.parametrize("broken", [no_embargo, no_freeze, one_release, early_finish])
def test_a_broken_rule_is_found(broken: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch)
    with pytest.raises(AssertionError, match=FINDINGS):
        run_state_machine_as_test(Vats, settings=BUDGET)


def test_nothing_is_found_where_nothing_is_broken() -> None:
    run_state_machine_as_test(Vats, settings=settings(BUDGET, max_examples=100))
