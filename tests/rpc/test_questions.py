"""How far questions and answers may go, and what is pipelined on them."""

import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capenv.errors import RemoteError
from capenv.rpc import answer as answers
from capenv.rpc import question as questions
from capenv.rpc.answer import Answer, AnswerInput, AnswerState
from capenv.rpc.builder import capability_pointer
from capenv.rpc.capability import Broken, Content, Hosted, Promise
from capenv.rpc.connection import Connection
from capenv.rpc.drops import DroppedPath
from capenv.rpc.limits import Limits
from capenv.rpc.question import Question, QuestionInput, QuestionState


def a_question() -> Question:
    core = Connection()
    return Question(core, core.drops, None)


@given(state=st.sampled_from(QuestionState), event=st.sampled_from(QuestionInput))
def test_a_question_moves_by_its_table_or_not_at_all(
    state: QuestionState, event: QuestionInput
) -> None:
    question = a_question()
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
    answer = Answer(Connection(), 0)
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
    answer = Answer(Connection(), 0)
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


@given(inputs=st.lists(st.sampled_from(QuestionInput)))
def test_the_id_of_a_question_is_free_only_once_it_returned_and_was_finished_or_cut_off(
    inputs: list[QuestionInput],
) -> None:
    question = a_question()
    fired: set[QuestionInput] = set()
    for event in inputs:
        try:
            question.fire(event)
        except KeyError:
            continue
        fired.add(event)
    if question.state is QuestionState.DONE and QuestionInput.DISCONNECT not in fired:
        returned = fired & {QuestionInput.RETURN, QuestionInput.RETURN_NO_FINISH_NEEDED}
        assert len(returned) == 1
        assert QuestionInput.FINISH in fired or QuestionInput.RETURN_NO_FINISH_NEEDED in fired


def test_one_path_has_one_promise() -> None:
    answer = Answer(Connection())
    first = answer.pipeline(0, 3)
    assert answer.pipeline(0, 3) is first
    assert answer.pipeline(0) is not first


def test_there_is_a_limit_to_promises() -> None:
    answer = Answer(Connection(limits=Limits(pipelined_calls=2)))
    assert isinstance(answer.pipeline(0), Promise)
    assert isinstance(answer.pipeline(1), Promise)
    assert isinstance(answer.pipeline(2), Broken)
    assert isinstance(answer.pipeline(0), Promise)


def test_a_way_into_results_is_one_and_its_end_is_noted() -> None:
    core = Connection()
    question = Question(core, core.drops, None)
    way = question.path((1,))
    assert question.path((1,)) is way
    assert question.travelled
    assert not core.drops
    del way
    gc.collect()
    assert not question.travelled
    (dropped,) = core.drops.take()
    assert isinstance(dropped, DroppedPath)
    assert (dropped.question, dropped.transform) == (question, (1,))


@given(early=st.booleans(), path=st.sampled_from([(), (0,), (1, 2)]))
def test_what_is_pipelined_becomes_what_the_results_hold(
    early: bool, path: tuple[int, ...]
) -> None:
    core, hosted = Connection(), Hosted(object())
    answer = core.call(Hosted(object()), 1, 2, Content([bytearray(8)]))
    promise = answer.pipeline(*path) if early else None
    core.respond(answer, Content.of(hosted))
    found = answer.pipeline(*path)
    if promise is not None:
        assert isinstance(promise, Promise)
        assert promise.resolution is not None
        found = promise.resolution
    if path == ():
        assert found is hosted
    else:  # beyond a capability there is nothing
        assert isinstance(found, Broken)


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
    answer = Answer(Connection())
    answer.outcome = outcome
    broken = answer.pipeline()
    assert isinstance(broken, Broken)
    assert reason in str(broken.error)
