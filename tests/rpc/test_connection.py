"""One connection against messages of every kind, in and out of season."""

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rpc_messages import messages
from rpc_pair import Pair, Thing, numbered, sent_messages
from rpc_peer import OFFERED, asked, call_of, connected, events_of, give
from rpc_schema import rpc

from capenv.errors import (
    Disconnected,
)
from capenv.rpc import messages as wire
from capenv.rpc.capability import Content, Hosted
from capenv.rpc.events import CallReceived, Closed, Released
from capenv.rpc.limits import Limits
from capenv.rpc.messages import (
    Abort,
    Bootstrap,
    Canceled,
    Disembargo,
    Finish,
    ImportedTarget,
    Message,
    NoCapability,
    PromisedAnswer,
    ReceiverHosted,
    ReceiverLoopback,
    Release,
    Resolve,
    Return,
    SenderHosted,
    SenderLoopback,
    TakeFromOtherQuestion,
    WireException,
)

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
