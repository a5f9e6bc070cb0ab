"""Calls that go to a peer, to objects of our own, and to its own objects given back to it."""

from typing import Any

import pytest
from rpc_pair import Thing, number_of, numbered, sent_messages
from rpc_peer import OFFERED, asked, call_of, connected, events_of, failed, give, id_of, only_call

from capenv.errors import (
    Disconnected,
    EnvironmentFailed,
    Overloaded,
    RemoteError,
    Unimplemented,
)
from capenv.rpc import messages as wire
from capenv.rpc.capability import Broken, Content, Hosted
from capenv.rpc.connection import Connection
from capenv.rpc.events import CallCanceled, CallReceived, Released, Returned
from capenv.rpc.messages import (
    Call,
    Canceled,
    Finish,
    ImportedTarget,
    Payload,
    PromisedAnswer,
    ReceiverAnswer,
    ReceiverHosted,
    Resolve,
    Results,
    ResultsSentElsewhere,
    Return,
    SenderHosted,
    TakeFromOtherQuestion,
    WireException,
)


def test_a_canceled_question_is_told_to_everybody_who_waits() -> None:
    core, _ = connected()
    question = core.call(asked(core), 1, 2, numbered(0))
    question_id = id_of(question)
    core.cancel(question)
    assert [type(event) for event in events_of(core)] == [Returned]
    core.cancel(question)
    give(core, Return(question_id, Canceled()))
    assert events_of(core) == []
    assert [type(message) for message in sent_messages(core)][:2] == [Call, Finish]


def test_the_results_of_a_canceled_question_are_not_imported() -> None:
    core, _ = connected()
    question = core.call(asked(core), 1, 2, numbered(0))
    question_id = id_of(question)
    core.cancel(question)
    sent_messages(core)
    results = Payload(numbered(0, [None]).segments, [SenderHosted(8)])
    give(core, Return(question_id, Results(results)))
    assert sent_messages(core) == []  # Finish.releaseResultCaps has given it back


def test_the_peer_may_cancel_what_we_want() -> None:
    core, _ = connected()
    question = core.call(asked(core), 1, 2, numbered(0))
    give(core, Return(id_of(question), Canceled()))
    assert isinstance(failed(question), RemoteError)
    assert core.closed is None


def test_a_call_that_cannot_be_sent_is_answered_by_its_failure() -> None:
    core, _ = connected()
    broken = Broken(EnvironmentFailed("it fell over"))
    question = core.call(broken, 1, 2, numbered(0))
    assert isinstance(failed(question), EnvironmentFailed)
    assert [type(event) for event in events_of(core)] == [Returned]
    assert sent_messages(core) == []


def test_capabilities_of_another_connection_are_not_mistaken_for_this_ones() -> None:
    core, _ = connected()
    other, _ = connected()
    target = asked(core)
    foreign = asked(other)
    for stranger in (foreign, other.call(foreign, 1, 2, numbered(0)).pipeline(0)):
        core.call(target, 1, 2, numbered(0))  # has the same id as the other connection's question
        assert isinstance(failed(core.call(stranger, 1, 2, numbered(0))), Unimplemented)
        assert isinstance(failed(core.call(target, 1, 2, numbered(0, [stranger]))), Unimplemented)


def test_exports_in_a_call_that_the_peer_does_not_understand_are_taken_back() -> None:
    core, _ = connected()
    target, passed = asked(core), Thing(0)
    question = core.call(target, 1, 2, numbered(0, [Hosted(passed)]))
    (message,) = sent_messages(core)
    give(core, wire.Unimplemented(message))
    assert isinstance(failed(question), Unimplemented)
    assert [type(event) for event in events_of(core)] == [Released, Returned]
    assert core.closed is None


@pytest.mark.parametrize("flag", [True, False])
def test_params_are_released_by_the_flag_of_the_return(flag: bool) -> None:
    core, _ = connected()
    target, passed = asked(core), Thing(0)
    question = core.call(target, 1, 2, numbered(0, [Hosted(passed), Hosted(passed)]))
    give(core, Return(id_of(question), WireException(0, "no"), release_param_caps=flag))
    released = [event for event in events_of(core) if isinstance(event, Released)]
    assert bool(released) == flag


def test_a_call_after_the_end_fails() -> None:
    core, _ = connected()
    target = asked(core)
    core.disconnect(Disconnected("the cable was pulled"))
    for question in (core.bootstrap(), core.call(target, 1, 2, numbered(0))):
        assert isinstance(failed(question), Disconnected)
        assert "cable" in str(failed(question))


def test_an_answer_may_be_too_much_for_the_peer() -> None:
    core, _ = connected()
    question = core.call(asked(core), 1, 2, numbered(0))
    give(core, Return(id_of(question), WireException(1, "busy")))
    assert isinstance(failed(question), Overloaded)


# Objects of our own, and of the peer's given back to it.


def test_a_call_on_an_object_of_our_own_needs_no_peer() -> None:
    core, _ = connected()
    question = core.call(Hosted(Thing(0)), 1, 2, numbered(5))
    pipelined = core.call(question.pipeline(0), 1, 2, numbered(6))
    received = only_call(core)
    child = Thing(0)
    core.respond(received.answer, numbered(0, [Hosted(child)]))
    returned, inner = events_of(core)
    assert isinstance(returned, Returned)
    assert returned.answer is question
    assert isinstance(inner, CallReceived)
    assert inner.servant is child
    core.respond(inner.answer, numbered(7))
    assert isinstance(pipelined.outcome, Content)
    assert number_of(pipelined.outcome) == 7
    assert not core.has_data_to_send
    events_of(core)


def test_a_call_on_an_object_of_our_own_can_be_canceled() -> None:
    core, _ = connected()
    question = core.call(Hosted(Thing(0)), 1, 2, numbered(5))
    answer = only_call(core).answer
    core.cancel(question)
    assert {type(event) for event in events_of(core)} == {Returned, CallCanceled}
    core.respond(answer, numbered(0))
    assert events_of(core) == []
    failed(question)


def given_back() -> tuple[Connection, Call]:
    """Return a connection and the call by which it carries the peer's call 2 back to the peer."""
    core, _ = connected()
    give(core, call_of(1, OFFERED, 0, SenderHosted(5)))
    received = only_call(core)
    core.respond(received.answer, numbered(0, received.content.capabilities))
    (message,) = sent_messages(core)
    assert isinstance(message, Return)
    assert isinstance(message.outcome, Results)
    assert message.outcome.payload.table == [ReceiverHosted(5)]
    give(core, call_of(2, PromisedAnswer(1, (0,)), 42))
    carried, taken = sent_messages(core)
    assert isinstance(carried, Call)
    assert carried.target == ImportedTarget(5)
    assert isinstance(taken, Return)
    assert (taken.answer_id, taken.outcome) == (2, TakeFromOtherQuestion(carried.question_id))
    return core, carried


def test_a_call_on_what_the_peer_was_given_back_goes_back_to_it() -> None:
    core, carried = given_back()
    assert carried.results_to_yourself
    give(core, Return(carried.question_id, ResultsSentElsewhere()))
    assert sent_messages(core) == [], "calls on its results may still come"
    give(core, call_of(3, PromisedAnswer(2, (0,)), 43))
    (pipelined, _) = sent_messages(core)
    assert isinstance(pipelined, Call)
    assert pipelined.target == PromisedAnswer(carried.question_id, (0,))
    give(core, Return(pipelined.question_id, ResultsSentElsewhere()), Finish(3, False))
    assert sent_messages(core) == [Finish(pipelined.question_id, False)]
    give(core, Finish(2, False))
    assert sent_messages(core) == [Finish(carried.question_id, False)]


def test_canceling_reaches_a_call_that_was_carried_back() -> None:
    core, carried = given_back()
    give(core, Finish(2, True))
    assert sent_messages(core) == [Finish(carried.question_id, True)]
    give(core, Return(carried.question_id, Canceled()))
    assert sent_messages(core) == []


def test_a_call_carried_back_that_the_peer_cannot_do_ends_nothing() -> None:
    core, carried = given_back()
    give(core, wire.Unimplemented(carried), Finish(2, True))
    assert sent_messages(core) == []
    assert core.closed is None


@pytest.mark.parametrize(
    "descriptor", [ReceiverHosted(99), ReceiverAnswer(PromisedAnswer(77))], ids=str
)
def test_a_broken_capability_is_carried_back_as_one(descriptor: Any) -> None:
    core, _ = given_back()
    give(core, call_of(3, PromisedAnswer(1, (0,)), 0, descriptor))
    carried, resolve, _ = sent_messages(core)
    assert isinstance(carried, Call)
    (passed,) = carried.params.table
    assert isinstance(passed, SenderHosted)
    assert passed.promise
    assert isinstance(resolve, Resolve)
    assert isinstance(resolve.resolution, WireException)
    assert core.closed is None


def test_calls_on_results_go_where_the_peer_was_told_whatever_is_learned_later() -> None:
    # We return what we were promised. It turns out to be ours, but a call that the peer makes on the
    # results as it knows them must not overtake those that it makes on its own results.
    core, _ = connected()
    give(core, call_of(1, OFFERED))
    answer = only_call(core).answer
    question = core.call(asked(core), 1, 2, numbered(0))
    question_id = id_of(question)
    core.respond(answer, numbered(0, [question.pipeline(0)]))
    give(
        core,
        Return(question_id, Results(Payload(numbered(0, [None]).segments, [ReceiverHosted(0)]))),
    )
    events_of(core)
    sent_messages(core)
    give(core, call_of(2, PromisedAnswer(1, (0,)), 42))
    assert events_of(core) == []
    carried, _ = sent_messages(core)
    assert isinstance(carried, Call)
    assert carried.target == PromisedAnswer(question_id, (0,))
    give(core, Finish(1, False))
    assert sent_messages(core)[-1:] == [Finish(question_id, False)], "and not before"


def test_a_way_that_leads_nowhere_any_more_is_passed_on_as_what_came_to_nothing() -> None:
    core, _ = connected()
    target = asked(core)
    question = core.call(target, 1, 2, numbered(0))
    assert question.carrier is not None
    way = question.carrier.path((0,))
    empty = Results(Payload(numbered(0).segments))
    give(core, Return(id_of(question), empty, no_finish_needed=True))
    sent_messages(core)
    core.call(target, 1, 2, numbered(0, [way]))
    call, resolve = sent_messages(core)
    assert isinstance(call, Call)
    (descriptor,) = call.params.table
    assert isinstance(descriptor, SenderHosted)
    assert descriptor.promise
    assert isinstance(resolve, Resolve)
    assert isinstance(resolve.resolution, WireException)
    events_of(core)
