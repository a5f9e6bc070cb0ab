"""How far questions and answers may go, and what is pipelined on questions."""

import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capenv.errors import RemoteError
from capenv.rpc import answers, questions
from capenv.rpc.answers import Answer, AnswerInput, AnswerState
from capenv.rpc.builder import capability_pointer
from capenv.rpc.capability import Broken, Content, Hosted
from capenv.rpc.questions import Question, QuestionInput, QuestionState, resolve_pipelined


@given(state=st.sampled_from(QuestionState), event=st.sampled_from(QuestionInput))
def test_a_question_moves_by_its_table_or_not_at_all(
    state: QuestionState, event: QuestionInput
) -> None:
    question = Question()
    question.state = state
    if (state, event) in questions.TRANSITIONS:
        question.fire(event)
        assert question.state is questions.TRANSITIONS[state, event]
    else:
        with pytest.raises(KeyError):
            question.fire(event)
        assert question.state is state


@given(state=st.sampled_from(AnswerState), event=st.sampled_from(AnswerInput))
def test_an_answer_moves_by_its_table_or_not_at_all(state: AnswerState, event: AnswerInput) -> None:
    answer = Answer(0)
    answer.state = state
    if (state, event) in answers.TRANSITIONS:
        answer.fire(event)
        assert answer.state is answers.TRANSITIONS[state, event]
    else:
        with pytest.raises(KeyError):
            answer.fire(event)
        assert answer.state is state


@pytest.mark.parametrize("table", [questions.TRANSITIONS, answers.TRANSITIONS])
def test_every_state_ends_in_done_and_nothing_leaves_it(table: dict[tuple[Any, Any], Any]) -> None:
    states = {state for state, _ in table} | set(table.values())
    assert {state.name for state in states - {state for state, _ in table}} == {"DONE"}
    reach = {state for state in states if state.name == "DONE"}
    while grown := {state for (state, _), after in table.items() if after in reach} - reach:
        reach |= grown
    assert reach == states


@given(inputs=st.lists(st.sampled_from(AnswerInput)))
def test_an_answer_is_done_only_once_it_was_returned_or_cut_off(inputs: list[AnswerInput]) -> None:
    answer = Answer(0)
    fired: set[AnswerInput] = set()
    for event in inputs:
        try:
            answer.fire(event)
        except KeyError:
            continue
        fired.add(event)
    returned = fired & {AnswerInput.RETURN, AnswerInput.RETURN_NO_FINISH_NEEDED}
    if answer.state is AnswerState.DONE and AnswerInput.DISCONNECT not in fired:
        assert len(returned) == 1
        assert (AnswerInput.FINISH in fired) == (AnswerInput.RETURN in fired)


def test_one_path_has_one_pipelined_capability() -> None:
    question = Question()
    first = question.pipeline(0, 3)
    assert question.pipeline(0, 3) is first
    assert question.pipeline(0) is not first
    del first
    gc.collect()
    assert not question.pipelined


@given(early=st.booleans(), path=st.sampled_from([(), (0,), (1, 2)]))
def test_what_is_pipelined_becomes_what_the_results_hold(
    early: bool, path: tuple[int, ...]
) -> None:
    question, hosted = Question(), Hosted(object())
    pipelined = question.pipeline(*path) if early else None
    question.outcome = Content.of(hosted)
    if pipelined is not None:
        resolve_pipelined(pipelined, question.outcome)
    else:
        pipelined = question.pipeline(*path)
    if path == ():
        assert pipelined.resolution is hosted
    else:  # beyond a capability there is nothing
        assert isinstance(pipelined.resolution, Broken)


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (RemoteError("it failed"), "it failed"),
        (Content([bytearray(8)]), "is null"),
        (Content([bytearray(capability_pointer(1).to_bytes(8, "little"))], [None]), "no entry"),
        (Content([bytearray(capability_pointer(0).to_bytes(8, "little"))], [None]), "is null"),
    ],
)
def test_what_is_pipelined_on_nothing_is_broken(outcome: Any, reason: str) -> None:
    question = Question()
    question.outcome = outcome
    broken = question.pipeline().resolution
    assert isinstance(broken, Broken)
    assert reason in str(broken.error)
