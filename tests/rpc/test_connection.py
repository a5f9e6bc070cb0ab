"""One connection against messages of every kind, in and out of season."""

import struct
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rpc_messages import messages
from rpc_pair import Pair, Thing, number_of, numbered, sent_messages, whole
from rpc_schema import rpc

from capenv.errors import (
    CapenvError,
    Disconnected,
    EnvironmentFailed,
    Overloaded,
    RemoteError,
    Unimplemented,
)
from capenv.rpc import messages as wire
from capenv.rpc.answer import Answer
from capenv.rpc.capability import Broken, Content, Hosted, Imported
from capenv.rpc.connection import Connection
from capenv.rpc.encoding import echo, encode
from capenv.rpc.events import CallCanceled, CallReceived, Closed, Event, Released, Returned
from capenv.rpc.limits import Limits
from capenv.rpc.messages import (
    Abort,
    Bootstrap,
    Call,
    Canceled,
    Disembargo,
    Finish,
    ImportedTarget,
    Message,
    NoCapability,
    Payload,
    PromisedAnswer,
    ReceiverAnswer,
    ReceiverHosted,
    ReceiverLoopback,
    Release,
    Resolve,
    Results,
    ResultsSentElsewhere,
    Return,
    SenderHosted,
    SenderLoopback,
    TakeFromOtherQuestion,
    WireException,
)


def connected(limits: Limits | None = None) -> tuple[Connection, Thing]:
    """Return a connection whose peer, played by the test, has its bootstrap as export 0."""
    thing = Thing(0)
    core = Connection(Hosted(thing), limits)
    give(core, Bootstrap(0), Finish(0, False))
    assert [type(message) for message in sent_messages(core)] == [Return]
    return core, thing


def give(core: Connection, *arriving: Message) -> None:
    for message in arriving:
        match message:
            case wire.Unimplemented(message=inner) if inner is not None:
                segments = echo([bytearray(segment) for segment in whole(encode(inner))])
            case _:
                segments = encode(message)
        core.receive([memoryview(bytearray(segment)) for segment in whole(segments)])


def events_of(core: Connection) -> list[Event]:
    events: list[Event] = []
    while (event := core.next_event()) is not None:
        events.append(event)
    return events


def call_of(question_id: int, target: wire.MessageTarget, number: int = 0, *table: Any) -> Call:
    return Call(question_id, target, 1, 2, Payload(numbered(number, table).segments, table))


def only_call(core: Connection) -> CallReceived:
    (event,) = events_of(core)
    assert isinstance(event, CallReceived)
    return event


OFFERED = ImportedTarget(0)

# What breaks a rule ends the connection, with a reason to the peer.


@pytest.mark.parametrize(
    "arriving",
    [
        [Resolve(9, NoCapability())],
        [Return(9, TakeFromOtherQuestion(0))],
        [Disembargo(ImportedTarget(0), SenderLoopback(1))],
        [Disembargo(ImportedTarget(9), SenderLoopback(1))],
        [Disembargo(ImportedTarget(0), ReceiverLoopback(1))],
        [Release(9, 1)],
        [Release(0, 2)],
        [Return(9, Canceled())],
        [call_of(1, ImportedTarget(9))],
        [call_of(1, OFFERED), call_of(1, OFFERED)],
        [Bootstrap(1), Bootstrap(1)],
        [wire.Unimplemented(None)],
        [wire.Unimplemented(Finish(0, False))],
        [wire.Unimplemented(Bootstrap(7))],
    ],
    ids=str,
)
def test_a_broken_rule_ends_the_connection(arriving: list[Message]) -> None:
    core, thing = connected()
    give(core, *arriving)
    assert isinstance(sent_messages(core)[-1], Abort)
    events = events_of(core)
    assert isinstance(events[-1], Closed)
    assert [event.servant for event in events if isinstance(event, Released)] == [thing]
    assert core.idle
    give(core, Bootstrap(5))
    assert not core.has_data_to_send
    assert events_of(core) == []


# What is only odd does not.


@pytest.mark.parametrize(
    "arriving",
    [
        Finish(9, True),
        Resolve(9, WireException(0, "no")),
        Resolve(9, ReceiverHosted(9)),
    ],
    ids=str,
)
def test_what_matters_to_nobody_is_ignored(arriving: Message) -> None:
    core, _ = connected()
    give(core, arriving)
    assert core.closed is None
    assert not core.has_data_to_send
    assert events_of(core) == []


def test_a_promise_resolved_to_what_we_do_not_use_is_given_back() -> None:
    core, _ = connected()
    give(core, Resolve(9, SenderHosted(4)))
    assert sent_messages(core) == [Release(4, 1)]


@pytest.mark.parametrize("arriving", [PromisedAnswer(9), PromisedAnswer(0, (1,))])
def test_a_call_on_results_that_are_gone_fails_alone(arriving: PromisedAnswer) -> None:
    core, _ = connected()
    give(core, call_of(3, arriving))
    (message,) = sent_messages(core)
    assert isinstance(message, Return)
    assert isinstance(message.outcome, WireException)
    assert core.closed is None


def test_a_call_on_a_path_to_nowhere_fails_alone() -> None:
    core, _ = connected()
    give(core, Bootstrap(1), call_of(2, PromisedAnswer(1, (0,))), Finish(2, False))
    _, message = sent_messages(core)
    assert isinstance(message, Return)
    assert isinstance(message.outcome, WireException)
    assert core.closed is None


def third_party(builder: Any) -> None:
    builder.init("call").sendResultsTo.init("thirdParty")


def accept_embargo(builder: Any) -> None:
    builder.init("disembargo").context.accept = None


@pytest.mark.parametrize(
    "fill",
    [
        lambda builder: builder.init("provide"),
        lambda builder: builder.init("accept"),
        lambda builder: builder.init("join"),
        third_party,
        accept_embargo,
    ],
)
@pytest.mark.parametrize("words", [1, 1024])
def test_what_is_not_implemented_is_echoed_whole(fill: Callable[[Any], None], words: int) -> None:
    core, _ = connected()
    builder = rpc.Message.new_message(num_first_segment_words=words)
    fill(builder)
    segments = [bytearray(segment) for segment in builder.to_segments()]
    core.receive([memoryview(segment) for segment in segments])
    _, *sent = core.data_to_send()
    echoed = rpc.Message.from_segments([bytes(segment) for segment in sent])
    assert echoed._which_str() == "unimplemented"
    assert str(echoed.unimplemented) == str(rpc.Message.from_segments(builder.to_segments()))
    assert core.closed is None


def test_a_message_type_of_the_future_is_echoed_whole() -> None:
    core, _ = connected()
    root = struct.pack("<QQQQ", 1 << 32 | 1 << 48, 14, 1 << 32, 4711)
    core.receive([memoryview(bytearray(root))])
    stream = b"".join(bytes(buffer) for buffer in core.data_to_send())
    assert struct.pack("<Q", 4711) in stream
    assert core.closed is None


def test_an_abort_is_taken_at_its_word_and_not_answered() -> None:
    core, _ = connected()
    give(core, Abort(WireException(2, "going home")))
    assert isinstance(core.closed, Disconnected)
    assert str(core.closed) == "going home"
    assert not core.has_data_to_send


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


# Questions.


def asked(core: Connection) -> Imported:
    """Return the peer's bootstrap, played by the test as its export 3."""
    question = core.bootstrap()
    give(
        core,
        Return(
            id_of(question),
            Results(Payload(Content.of(Broken(RemoteError(""))).segments, [SenderHosted(3)])),
        ),
    )
    assert [type(m) for m in sent_messages(core)] == [Bootstrap, Finish]
    events_of(core)
    assert isinstance(question.outcome, Content)
    found = question.outcome.capability()
    assert isinstance(found, Imported)
    return found


def id_of(question: Answer) -> int:
    """Return the id of the question that carries a call of ours."""
    assert question.carrier is not None
    return question.carrier.id


def failed(question: Answer) -> CapenvError:
    assert isinstance(question.outcome, CapenvError)
    return question.outcome


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


# Whatever arrives.


@given(arriving=st.lists(messages, max_size=12))
@settings(max_examples=200)
def test_no_sequence_of_messages_raises(arriving: list[Message]) -> None:
    core, _ = connected()
    target = asked(core)
    core.call(target, 1, 2, numbered(0, [Hosted(Thing(0))]))
    for message in arriving:
        give(core, message)
        for event in events_of(core):
            if isinstance(event, CallReceived):
                core.respond(event.answer, Content([bytearray(8)], event.content.capabilities))
    core.data_to_send()
    core.disconnect(Disconnected("enough"))
    events_of(core)
    assert core.idle


def recorded() -> list[bytes]:
    """Return real messages, each as it went over the wire, framing left out."""
    pair = Pair()
    taken: list[bytes] = []
    for core in pair.cores:
        receive = core.receive

        def record(segments: Any, receive: Any = receive) -> None:
            taken.append(b"".join(bytes(segment) for segment in segments))
            receive(segments)

        core.receive = record  # type: ignore[method-assign]
    question = pair.cores[0].bootstrap()
    offered = question.pipeline()
    first = pair.cores[0].call(offered, 1, 2, numbered(1, [Hosted(Thing(0)), None]))
    second = pair.cores[0].call(first.pipeline(1), 1, 2, numbered(2))
    third = pair.cores[0].call(offered, 1, 2, numbered(3, [offered]))
    pair.settle()
    for number, event in enumerate(list(pair.events(1))):
        if isinstance(event, CallReceived) and number != 1:
            pair.cores[1].respond(
                event.answer, numbered(9, [*event.content.capabilities[:1], Hosted(Thing(1))])
            )
    pair.cores[0].cancel(third)
    del question, offered, first, second, third
    pair.settle()
    return taken


RECORDED = recorded()
assert len(RECORDED) > 9


@given(data=st.data())
@settings(max_examples=1000)
def test_damaged_messages_never_raise(data: st.DataObject) -> None:
    core, _ = connected(Limits(answers=50))
    target = asked(core)
    core.call(target, 1, 2, numbered(0, [Hosted(Thing(0))]))
    for recording in data.draw(st.lists(st.sampled_from(RECORDED), min_size=1, max_size=5)):
        message = bytearray(recording)
        for _ in range(data.draw(st.integers(0, 3))):
            words = len(message) // 8
            match data.draw(st.sampled_from(["flip", "cut", "swap", "set"])):
                case "flip" if words:
                    bit = data.draw(st.integers(0, 64 * words - 1))
                    message[bit >> 3] ^= 1 << (bit & 7)
                case "cut":
                    del message[8 * data.draw(st.integers(0, words)) :]
                case "swap" if words:
                    one, two = (8 * data.draw(st.integers(0, words - 1)) for _ in range(2))
                    message[one : one + 8], message[two : two + 8] = (
                        message[two : two + 8],
                        message[one : one + 8],
                    )
                case "set" if words:
                    place = 8 * data.draw(st.integers(0, words - 1))
                    message[place : place + 8] = struct.pack(
                        "<Q", data.draw(st.integers(0, 2**64 - 1))
                    )
        core.receive([memoryview(message)])
        for event in events_of(core):
            if isinstance(event, CallReceived):
                core.respond(event.answer, Content([bytearray(8)], event.content.capabilities))
        for sent in sent_messages(core):
            assert sent is not None
    core.disconnect(Disconnected("enough"))
    events_of(core)
    assert core.idle


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
