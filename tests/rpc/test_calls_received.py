"""Calls of a peer: how each is answered, how many there may be, and hints about them."""

import attrs
import pytest
from rpc_pair import Thing, number_of, numbered, sent_messages
from rpc_peer import OFFERED, asked, call_of, connected, events_of, failed, give, id_of, only_call

from capenv.errors import (
    Disconnected,
    EnvironmentFailed,
    Overloaded,
    RemoteError,
)
from capenv.rpc.answer import Answer
from capenv.rpc.capability import Broken, Content, Hosted
from capenv.rpc.connection import Connection
from capenv.rpc.events import CallCanceled, CallReceived, Released
from capenv.rpc.limits import Limits
from capenv.rpc.messages import (
    Bootstrap,
    Call,
    Canceled,
    Finish,
    ImportedTarget,
    Payload,
    PromisedAnswer,
    Release,
    Resolve,
    Results,
    Return,
    SenderHosted,
    WireException,
)

# Answers.


def test_a_return_without_capabilities_needs_no_finish() -> None:
    core, _ = connected()
    give(core, call_of(1, OFFERED, 5))
    core.respond(only_call(core).answer, numbered(6))
    (message,) = sent_messages(core)
    assert isinstance(message, Return)
    assert message.no_finish_needed
    assert not message.release_param_caps
    give(core, Finish(1, False), call_of(1, OFFERED))
    assert core.closed is None
    assert only_call(core).answer.id == 1


@pytest.mark.parametrize("late", [False, True])
def test_results_that_nobody_wants_are_let_go(late: bool) -> None:
    core, thing = connected()
    give(core, call_of(1, OFFERED))
    answer = only_call(core).answer
    made = Thing(0)
    if not late:
        give(core, Finish(1, True))
        assert [type(event) for event in events_of(core)] == [CallCanceled]
    core.respond(answer, numbered(0, [Hosted(made), Hosted(thing)]))
    (message,) = sent_messages(core)
    assert isinstance(message, Return)
    assert isinstance(message.outcome, Results if late else Canceled)
    if late:
        give(core, Finish(1, True))
    released = [event.servant for event in events_of(core) if isinstance(event, Released)]
    assert released == [made], "the peer still holds what it was offered first"


def test_results_for_a_peer_that_has_gone_are_let_go() -> None:
    core, _ = connected()
    give(core, call_of(1, OFFERED))
    answer = only_call(core).answer
    core.disconnect(Disconnected("gone"))
    events_of(core)
    made = Thing(0)
    core.respond(answer, Content.of(Hosted(made)))
    assert [event.servant for event in events_of(core) if isinstance(event, Released)] == [made]


def test_a_result_that_cannot_be_sent_fails_its_call() -> None:
    core, _ = connected(Limits(exports=2))
    give(core, call_of(1, OFFERED))
    made = [Thing(0), Thing(0)]
    core.respond(only_call(core).answer, numbered(0, [Hosted(thing) for thing in made]))
    (message,) = sent_messages(core)
    assert isinstance(message, Return)
    assert isinstance(message.outcome, WireException)
    assert message.outcome.kind == 1
    assert [event.servant for event in events_of(core) if isinstance(event, Released)] == made


def test_a_reference_that_came_to_nothing_is_a_promise_broken_at_once() -> None:
    core, _ = connected()
    give(core, call_of(1, OFFERED))
    broken = Broken(EnvironmentFailed("it fell over"))
    core.respond(only_call(core).answer, numbered(0, [broken]))
    message, resolve = sent_messages(core)
    assert isinstance(message, Return)
    assert isinstance(message.outcome, Results)
    (descriptor,) = message.outcome.payload.table
    assert descriptor == SenderHosted(1, promise=True)
    assert resolve == Resolve(1, WireException(0, "EnvironmentFailed: it fell over"))
    give(core, call_of(2, PromisedAnswer(1, (0,))), call_of(3, ImportedTarget(1)))
    assert [type(m.outcome) for m in sent_messages(core) if isinstance(m, Return)] == [
        WireException
    ] * 2
    give(core, Finish(1, False), Release(1, 1))
    assert core.closed is None


def test_calls_wait_for_the_results_that_they_are_made_on() -> None:
    core, _ = connected()
    give(core, call_of(1, OFFERED))
    first = only_call(core)
    give(core, *(call_of(n, PromisedAnswer(1, (0,)), n) for n in (2, 3, 4)))
    assert events_of(core) == []
    child = Thing(0)
    core.respond(first.answer, numbered(0, [Hosted(child)]))
    calls = [event for event in events_of(core) if isinstance(event, CallReceived)]
    assert [(c.servant, number_of(c.content)) for c in calls] == [(child, n) for n in (2, 3, 4)]


def test_an_error_breaks_the_calls_that_wait_for_results() -> None:
    core, _ = connected()
    give(core, call_of(1, OFFERED))
    first = only_call(core)
    give(core, call_of(2, PromisedAnswer(1, (0,))), call_of(3, PromisedAnswer(2, (0,))))
    core.fail(first.answer, EnvironmentFailed("no"))
    returns = sent_messages(core)
    assert [message.outcome for message in returns if isinstance(message, Return)] == [
        WireException(0, "EnvironmentFailed: no")
    ] * 3


def test_an_internal_error_tells_nothing_but_its_kind() -> None:
    core, _ = connected()
    give(core, call_of(1, OFFERED))
    core.fail(only_call(core).answer, ValueError("the password is swordfish"))
    (message,) = sent_messages(core)
    assert isinstance(message, Return)
    assert isinstance(message.outcome, WireException)
    assert "ValueError" in message.outcome.reason
    assert "swordfish" not in message.outcome.reason


# Bounds.


def test_more_calls_in_flight_than_allowed_are_refused_and_twice_as_many_end_the_connection() -> (
    None
):
    core, _ = connected(Limits(answers=3))
    give(core, *(call_of(n, OFFERED) for n in range(3)))
    assert sent_messages(core) == []
    give(core, call_of(3, OFFERED), call_of(4, OFFERED), call_of(5, OFFERED))
    refused = sent_messages(core)
    assert [m.outcome.kind for m in refused if isinstance(m, Return)] == [1, 1, 1]  # type: ignore[union-attr]
    assert core.closed is None
    give(core, call_of(6, OFFERED))
    assert core.closed is not None


def test_more_calls_of_our_own_than_a_peer_takes_are_not_sent() -> None:
    core, _ = connected(Limits(questions=2))
    target = asked(core)
    first, second, third = (core.call(target, 1, 2, numbered(n)) for n in range(3))
    assert isinstance(failed(third), Overloaded)
    give(core, Return(id_of(first), Results(Payload(numbered(0).segments)), no_finish_needed=True))
    assert core.call(target, 1, 2, numbered(3)).outcome is None
    assert second.outcome is None
    events_of(core)


def test_more_calls_on_one_answer_than_allowed_are_refused() -> None:
    core, _ = connected(Limits(pipelined_calls=2))
    give(core, call_of(0, OFFERED), *(call_of(n, PromisedAnswer(0)) for n in range(1, 4)))
    (message,) = sent_messages(core)
    assert isinstance(message, Return)
    assert message.answer_id == 3
    assert isinstance(message.outcome, WireException)
    assert message.outcome.kind == 1


def test_a_long_chain_of_calls_nests_nothing() -> None:
    for ends_well in (True, False):
        core, _ = connected()
        give(core, call_of(0, OFFERED))
        received = only_call(core)
        give(core, *(call_of(n, PromisedAnswer(n - 1, (0,))) for n in range(1, 4000)))
        if ends_well:
            core.respond(received.answer, numbered(0, [asked(core)]))
        else:
            core.fail(received.answer, RemoteError("no"))
        assert core.closed is None
        assert len(sent_messages(core)) >= 4000


def test_more_exports_than_allowed_fail_the_call_that_asks() -> None:
    core, _ = connected(Limits(exports=2))
    give(core, call_of(1, OFFERED), call_of(2, OFFERED))
    first, second = (e.answer for e in events_of(core) if isinstance(e, CallReceived))
    core.respond(first, Content.of(Hosted(Thing(0))))
    core.respond(second, Content.of(Hosted(Thing(0))))
    _, message = sent_messages(core)
    assert isinstance(message, Return)
    assert isinstance(message.outcome, WireException)
    assert message.outcome.kind == 1
    assert core.closed is None


def test_what_waits_to_be_sent_is_counted() -> None:
    core, _ = connected()
    assert core.bytes_to_send == 0
    give(core, *(Bootstrap(n) for n in range(9)))
    expected = core.bytes_to_send
    assert sum(len(buffer) for buffer in core.data_to_send()) == expected > 0
    assert core.bytes_to_send == 0


# Hints.


def test_a_peer_that_only_pipelines_gets_no_return() -> None:
    core, _ = connected()
    asking = attrs.evolve(call_of(1 << 31, OFFERED), only_promise_pipeline=True)
    give(core, asking)
    received = only_call(core)
    child = Thing(0)
    give(core, call_of(2, PromisedAnswer(1 << 31, (0,)), 42))
    core.respond(received.answer, numbered(0, [Hosted(child)]))
    assert sent_messages(core) == []
    assert only_call(core).servant is child
    give(core, call_of(3, PromisedAnswer(1 << 31, (0,)), 43), Finish(1 << 31, True))
    assert only_call(core).servant is child
    give(core, asking)  # the id is free
    give(core, Finish(1 << 31, True))
    core.respond(only_call_of(core), numbered(0))
    assert sent_messages(core) == []


def only_call_of(core: Connection) -> Answer:
    (answer,) = (event.answer for event in events_of(core) if isinstance(event, CallReceived))
    return answer


def test_the_hint_is_not_honoured_where_it_does_not_hold() -> None:
    core, _ = connected()
    low = attrs.evolve(call_of(5, OFFERED), only_promise_pipeline=True)
    give(core, low)
    core.respond(only_call(core).answer, numbered(0))
    assert [type(message) for message in sent_messages(core)] == [Return]


def test_a_streaming_call_says_that_nothing_is_pipelined_on_it() -> None:
    core, _ = connected()
    core.call(asked(core), 1, 2, numbered(0), no_promise_pipelining=True)
    message, *_ = sent_messages(core)
    assert isinstance(message, Call)
    assert message.no_promise_pipelining
