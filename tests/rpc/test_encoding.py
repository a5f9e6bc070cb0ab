"""Envelopes are what pycapnp reads and writes, and bodies pass through them whole."""

import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rpc_messages import messages, plain, read, write
from rpc_pair import whole
from rpc_schema import HOLDER, bodies, body_segments, complete, first_segment_words, probe, rpc

from capenv.errors import ProtocolError
from capenv.rpc import encoding
from capenv.rpc.builder import capability_pointer
from capenv.rpc.capability import Content
from capenv.rpc.decoding import decode
from capenv.rpc.encoding import echo, encode
from capenv.rpc.limits import Limits
from capenv.rpc.messages import (
    Abort,
    Bootstrap,
    Call,
    Disembargo,
    Finish,
    ImportedTarget,
    Message,
    NoCapability,
    Payload,
    Release,
    Resolve,
    Results,
    Return,
    SenderHosted,
    Unimplemented,
    Unknown,
    UnknownDescriptor,
    WireException,
)
from capenv.rpc.pointers import CapabilityPointer, Segments, Struct, follow

LIMITS = Limits()


@pytest.fixture(params=["copied", "spliced"], autouse=True, scope="module")
def first_segments(request: pytest.FixtureRequest) -> Iterator[None]:
    """Everything holds for short bodies and for long ones, whose first segment is not copied."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "spliced":
            patch.setattr(encoding, "_COPIED", 0)
        yield


def arrived(segments: Any) -> list[memoryview]:
    """Return segments as a reader gives them: writable, and the message's own."""
    return [memoryview(bytearray(segment)) for segment in whole(segments)]


@given(message=messages)
def test_a_message_comes_back_from_its_encoding(message: Message) -> None:
    assert plain(decode(arrived(encode(message)), LIMITS)) == plain(message)


@given(message=messages)
def test_pycapnp_reads_the_same_message(message: Message) -> None:
    segments = whole(encode(message))
    reader = rpc.Message.from_segments(segments)
    assert plain(read(reader)) == plain(message)


@given(message=messages, words=first_segment_words)
def test_what_pycapnp_writes_is_the_same_message(message: Message, words: int) -> None:
    builder = rpc.Message.new_message(num_first_segment_words=words)
    write(builder, message)
    assert plain(decode(arrived(builder.to_segments()), LIMITS)) == plain(message)


@given(message=messages, words=first_segment_words)
def test_a_message_can_be_forwarded_any_number_of_times(message: Message, words: int) -> None:
    builder = rpc.Message.new_message(num_first_segment_words=words)
    write(builder, message)
    segments = arrived(builder.to_segments())
    for _ in range(3):
        segments = arrived(encode(decode(segments, LIMITS)))
    assert plain(decode(segments, LIMITS)) == plain(message)


@given(message=messages)
def test_encoding_changes_nothing_in_the_body(message: Message) -> None:
    match message:
        case Call(params=payload) | Return(outcome=Results(payload=payload)):
            before = [bytes(segment) for segment in payload.segments]
            encode(message)
            assert [bytes(segment) for segment in payload.segments] == before


@given(message=messages)
def test_a_message_can_be_echoed_whole(message: Message) -> None:
    segments = whole(encode(message))
    reader = rpc.Message.from_segments(whole(echo(arrived(segments))))
    assert reader._which_str() == "unimplemented"
    assert plain(read(reader.unimplemented)) == plain(message)
    again = decode(arrived(echo(arrived(segments))), LIMITS)
    assert isinstance(again, Unimplemented)
    assert plain(again.message) == plain(message)


def test_the_sizes_of_structs_are_those_of_the_schema() -> None:
    names = {Return: "return"}
    for kind, (tag, data_words, pointers) in encoding._SIZES.items():
        name = names.get(kind, kind.__name__.lower())
        field = rpc.Message.schema.fields[name]
        node = field.schema.node.struct
        assert field.proto.discriminantValue == tag, name
        assert (node.dataWordCount, node.pointerCount) == (data_words, pointers), name
    assert set(encoding._SIZES) == {
        Abort, Bootstrap, Call, Disembargo, Finish, Release, Resolve, Return,
    }  # fmt: skip


# Bodies.


def wrapped(segments: Segments, table: int = 0) -> Payload:
    """Return a body after a journey inside a call, inside a return, as its receivers forward it."""
    payload = Payload(segments, [NoCapability()] * table)
    call = decode(arrived(encode(Call(1, ImportedTarget(0), 5, 6, payload))), LIMITS)
    assert isinstance(call, Call)
    answer = decode(arrived(encode(Return(1, Results(call.params)))), LIMITS)
    assert isinstance(answer, Return)
    assert isinstance(answer.outcome, Results)
    return answer.outcome.payload


@given(body=bodies, words=first_segment_words)
def test_a_body_survives(body: dict[str, Any], words: int) -> None:
    payload = wrapped(body_segments(body, words))
    assert plain(payload) == ("payload", complete(body), ())


@given(words=first_segment_words, trailing=st.integers(0, 3))
def test_an_empty_struct_stays_a_struct(words: int, trailing: int) -> None:
    builder = probe.Empty.new_message(num_first_segment_words=words)
    segments = [bytearray(segment) for segment in builder.to_segments()]
    segments[0] += bytes(8 * trailing)
    assert isinstance(follow(wrapped(segments).segments, 0, 0), Struct)


@given(index=st.integers(0, 2**32 - 1))
def test_a_bare_capability_stays_one(index: int) -> None:
    segments = [bytearray(capability_pointer(index).to_bytes(8, "little"))]
    found = follow(wrapped(segments).segments, 0, 0)
    assert isinstance(found, CapabilityPointer)
    assert found.index == index


@given(words=first_segment_words, depth=st.integers(0, 3))
def test_capabilities_within_stay_where_they_were(words: int, depth: int) -> None:
    builder = probe.Holder.new_message(num_first_segment_words=words)
    inner = builder
    for _ in range(depth):
        inner = inner.init("inner")
    segments = [bytearray(segment) for segment in builder.to_segments()]
    place = follow(segments, 0, 0)
    for _ in range(depth):
        assert isinstance(place, Struct)
        place = place.pointer(HOLDER.slot("inner"))
    assert isinstance(place, Struct)
    slot = place.slot(HOLDER.slot("second"))
    assert slot is not None
    struct.pack_into("<Q", segments[slot[0]], 8 * slot[1], capability_pointer(1))
    content = Content(wrapped(segments, table=2).segments, [None, marker])
    path = (HOLDER.slot("inner"),) * depth
    assert content.capability(*path, HOLDER.slot("second")) is marker
    assert content.capability(*path, HOLDER.slot("first")) is None
    with pytest.raises(ProtocolError):
        content.capability(*path)  # a struct
    with pytest.raises(ProtocolError):
        content.capability(*path, HOLDER.slot("second"), 0)  # beyond a capability


marker: Any = object()


# Texts, and what is not (yet) known.


def test_a_reason_with_no_utf8_form_is_sent_all_the_same() -> None:
    message = decode(arrived(encode(Abort(WireException(0, "no file \udcff")))), LIMITS)
    assert message == Abort(WireException(0, "no file ?"))


@given(kind=st.integers(0, 2**16 - 1))
def test_a_kind_of_exception_that_nobody_knows_passes(kind: int) -> None:
    message = Abort(WireException(kind, "why"))
    assert decode(arrived(encode(message)), LIMITS) == message


@given(words=first_segment_words)
def test_what_is_newer_than_we_are_is_unknown(words: int) -> None:
    def unknown(fill: Any) -> Message:
        builder = rpc.Message.new_message(num_first_segment_words=words)
        fill(builder)
        return decode(arrived(builder.to_segments()), LIMITS)

    def third_party(builder: Any) -> None:
        builder.init("call").sendResultsTo.init("thirdParty")

    def accept_from(builder: Any) -> None:
        builder.init("return").init("acceptFromThirdParty")

    def accept_embargo(builder: Any) -> None:
        builder.init("disembargo").context.accept = None

    for fill, tag in [
        (lambda builder: builder.init("provide"), 10),
        (lambda builder: builder.init("accept"), 11),
        (lambda builder: builder.init("join"), 12),
        (third_party, 2),
        (accept_from, 3),
        (accept_embargo, 13),
    ]:
        match unknown(fill):
            case Unknown(tag=found):
                assert found == tag
            case other:
                raise AssertionError(other)


def test_the_vine_of_a_third_party_capability_is_used() -> None:
    builder = rpc.Message.new_message()
    entry = builder.init("call").params.init("capTable", 1)[0]
    entry.init("thirdPartyHosted").vineId = 7
    call = decode(arrived(builder.to_segments()), LIMITS)
    assert isinstance(call, Call)
    assert call.params.table == [SenderHosted(7)]


def test_a_descriptor_of_an_unknown_kind_is_told() -> None:
    builder = rpc.Message.new_message()
    builder.init("call").params.init("capTable", 1)
    segments = arrived(builder.to_segments())
    root = follow(segments, 0, 0)
    assert isinstance(root, Struct)
    (entry,) = root.struct(0).struct(1).structs(1, 1)
    struct.pack_into("<H", segments[entry.segment], 8 * entry.start, 77)
    call = decode(segments, LIMITS)
    assert isinstance(call, Call)
    assert call.params.table == [UnknownDescriptor(77)]


@pytest.mark.parametrize("nesting", [1, 2, 1000])
def test_an_unimplemented_within_an_unimplemented_is_refused(nesting: int) -> None:
    segments: Any = encode(Finish(1, False))
    for _ in range(nesting + 1):
        segments = echo(arrived(segments))
    with pytest.raises(ProtocolError, match="Unimplemented about an Unimplemented"):
        decode(arrived(segments), LIMITS)


def test_a_message_of_zeros_is_an_unimplemented_about_nothing() -> None:
    message = decode(arrived([struct.pack("<QQQ", 1 << 32 | 1 << 48, 0, 0)]), LIMITS)
    assert isinstance(message, Unimplemented)
    assert message.message is None


@pytest.mark.parametrize(
    "segments", [[b""], [bytes(8)], [capability_pointer(0).to_bytes(8, "little")]]
)
def test_a_message_without_a_root_struct_is_refused(segments: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        decode(arrived(segments), LIMITS)


def test_limits_of_tables_and_paths_hold() -> None:
    limits = Limits(capabilities=3, transform=2)
    builder = rpc.Message.new_message()
    builder.init("call").params.init("capTable", 4)
    with pytest.raises(ProtocolError, match="at most 3"):
        decode(arrived(builder.to_segments()), limits)
    builder = rpc.Message.new_message()
    builder.init("call").target.init("promisedAnswer").init("transform", 3)
    with pytest.raises(ProtocolError, match="at most 2"):
        decode(arrived(builder.to_segments()), limits)


def test_a_long_body_is_sent_as_it_lies() -> None:
    body = body_segments({"data": bytes(1 << 16)}, 1 << 14)
    assert len(body) == 1
    (segment,) = encode(Call(1, ImportedTarget(0), 5, 6, Payload(body)))
    assert isinstance(segment, tuple)
    envelope, rest = segment
    assert len(envelope) < 200
    assert isinstance(rest, memoryview)
    assert rest.obj is body[0]
