"""What a peer could make a first version of the core hold."""

import struct

import pytest
from rpc_pair import Thing, numbered, sent_messages
from rpc_peer import OFFERED, call_of, connected, events_of, give, only_call

from capenv.rpc import messages as wire
from capenv.rpc.capability import Hosted
from capenv.rpc.events import CallReceived
from capenv.rpc.limits import Limits
from capenv.rpc.messages import (
    Bootstrap,
    Call,
    Finish,
    Payload,
    PromisedAnswer,
    ResultsSentElsewhere,
    Return,
    SenderHosted,
)


def test_params_of_calls_that_go_back_are_held_no_more() -> None:
    core, _thing = connected(Limits(call_bytes=10_000))
    for number in range(1, 400):
        give(core, call_of(number, OFFERED, number, SenderHosted(5)))
        call = only_call(core)
        core.tail_call(call.answer, call.content.capability(0), 1, 2, numbered(number))
        del call
        sent = sent_messages(core)
        assert [type(m) for m in sent[:2]] == [Call, Return], (number, sent)
        question = sent[0].question_id
        give(core, Return(question, ResultsSentElsewhere()), Finish(number, False))
        sent_messages(core)
    assert not len(core._answer_table)


def test_paths_into_results_that_were_taken_back_are_forgotten() -> None:
    core, _thing = connected()
    give(core, call_of(1, OFFERED, 1, SenderHosted(5)))
    call = only_call(core)
    core.tail_call(call.answer, call.content.capability(0), 1, 2, numbered(1))
    sent_messages(core)
    question = core._answer_table.find(1).tail.question
    give(core, Return(question.id, ResultsSentElsewhere()))
    for number in range(5000):
        target = PromisedAnswer(1, (number,))
        give(core, call_of(2, target))
        for message in sent_messages(core):
            if isinstance(message, Call):
                give(core, Return(message.question_id, ResultsSentElsewhere()))
        give(core, Finish(2, False))
        sent_messages(core)
    assert core.closed is None
    assert len(question._paths) < 100


@pytest.mark.parametrize("kind", ["bootstrap", "dead call", "unknown", "release"])
def test_a_peer_that_does_not_read_is_sent_away(kind):
    core, _ = connected(Limits(queued_bytes=100_000))
    for number in range(20_000):
        match kind:
            case "bootstrap":
                give(core, Bootstrap(1), Finish(1, True))
            case "dead call":
                give(core, call_of(1, PromisedAnswer(77)), Finish(1, True))
            case "unknown":
                # The root struct: one word of data, whose tag no version knows, and a pointer.
                core.receive([memoryview(bytearray(struct.pack("<3Q", 1 << 32 | 1 << 48, 99, 0)))])
            case "release":
                give(core, wire.Resolve(7, SenderHosted(number)))
                core._take_drops()
        if core.closed is not None:
            break
    assert core.bytes_to_send < 500_000
    assert core.closed is not None


def test_kept_results_count_among_what_is_held() -> None:
    core, _ = connected(Limits(call_bytes=100_000))
    for number in range(1, 100):
        params = Payload([*numbered(number).segments, bytearray(8000)])
        give(core, Call(number, OFFERED, 1, 2, params, results_to_yourself=True))
        for event in events_of(core):
            if isinstance(event, CallReceived):
                core.respond(event.answer, event.content)
    held = sum(
        sum(map(len, answer.outcome.segments))
        for answer in core._answer_table
        if not isinstance(answer.outcome, Exception) and answer.outcome is not None
    )
    assert held <= 200_000


def test_calls_canceled_while_they_wait_make_room() -> None:
    core, _ = connected(Limits(pipelined_calls=4))
    give(core, call_of(1, OFFERED, 1))
    call = only_call(core)
    for number in range(2, 20):
        give(core, call_of(number, PromisedAnswer(1, (0,)), number), Finish(number, True))
    give(core, call_of(30, PromisedAnswer(1, (0,)), 30))
    core.respond(call.answer, numbered(1, [Hosted(Thing(0))]))
    started = [event for event in events_of(core) if isinstance(event, CallReceived)]
    assert len(started) == 1


def test_more_imports_than_allowed_end_the_connection() -> None:
    core, _ = connected(Limits(imports=50))
    give(core, call_of(1, OFFERED, 1))
    for number in range(2, 20):
        table = [SenderHosted(number * 10 + i, promise=True) for i in range(10)]
        payload = Payload(numbered(number).segments, table)
        give(core, Call(number, PromisedAnswer(1, (0,)), 1, 2, payload))
    assert core.closed is not None
