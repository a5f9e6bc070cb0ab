"""The walker reads what pycapnp reads, and nothing beyond the message."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rpc_schema import bodies, body_segments, complete, first_segment_words, probe, read_body

from capenv.errors import ProtocolError
from capenv.rpc.pointers import CapabilityPointer, List, Segments, Struct, Target, follow


def walk(body: Struct) -> dict[str, Any]:
    """Read a `Body` by hand."""
    data, numbers = body.pointer(1), body.pointer(2)
    return {
        "number": body.u64(0),
        "flag": body.bit(64),
        "text": body.text(0),
        "data": elements(data, 1),
        "numbers": [n for (n,) in struct.iter_unpack("<i", elements(numbers, 4))],
        "children": [walk(child) for child in body.structs(3, 100)],
        "inner": None if body.pointer(4) is None else walk(body.struct(4)),
    }


def elements(found: Target, size: int) -> bytes:
    if found is None:
        return b""
    assert isinstance(found, List)
    begin = found.start << 3
    return bytes(found.segments[found.segment][begin : begin + size * found.count])


@given(body=bodies, words=first_segment_words)
def test_the_walker_agrees_with_pycapnp(body: dict[str, Any], words: int) -> None:
    segments = body_segments(body, words)
    root = follow(segments, 0, 0)
    assert isinstance(root, Struct)
    assert walk(root) == complete(body)
    assert walk(root) == read_body(probe.Body.from_segments([bytes(s) for s in segments]))


def test_far_pointers_are_met_by_the_test_above() -> None:
    segments = body_segments({"inner": {"inner": {"data": bytes(5000)}}}, words=1)
    assert len(segments) > 2


pointer_words = st.one_of(
    st.integers(0, 2**64 - 1),
    # Likely ones: small offsets and counts, every kind.
    st.builds(
        lambda kind, offset, low, high: kind | offset << 2 | low << 32 | high << 48,
        st.integers(0, 3),
        st.one_of(st.integers(0, 8), st.integers(2**30 - 8, 2**30 - 1), st.integers(0, 2**30 - 1)),
        st.integers(0, 8),
        st.sampled_from([0, 1, 2, 3, 0xFFFF]),
    ),
)
messages = st.lists(st.lists(pointer_words, max_size=8), min_size=1, max_size=4).map(
    lambda segments: [bytearray(struct.pack(f"<{len(words)}Q", *words)) for words in segments]
)


def touch(target: Target, budget: list[int]) -> None:
    """Read everything that can be reached, as far as the budget goes."""
    budget[0] -= 1
    if budget[0] < 0:
        return
    match target:
        case Struct():
            target.bit(0), target.u16(1), target.u32(2), target.u64(0)
            for index in range(target.pointer_count + 1):
                attempt(lambda index=index: touch(target.pointer(index), budget))
                attempt(lambda index=index: target.text(index))
                attempt(lambda index=index: target.struct(index))
                for inner in attempt(lambda index=index: target.structs(index, 4)) or []:
                    touch(inner, budget)
        case List():
            size = {0: 0, 1: 1, 2: 8, 3: 16, 4: 32, 5: 64, 6: 64}.get(target.code)
            if size is not None:
                assert target.start * 64 + target.count * size <= 8 * len(
                    target.segments[target.segment]
                )
            for index in range(min(target.count, 3)):
                slot = attempt(lambda index=index: target.slot(index))
                if slot is not None:
                    attempt(lambda slot=slot: touch(follow(target.segments, *slot), budget))


def attempt(read: Any) -> Any:
    try:
        return read()
    except ProtocolError:
        return None


@given(segments=messages)
def test_forged_pointers_are_followed_within_the_message_or_refused(segments: Segments) -> None:
    attempt(lambda: touch(follow(segments, 0, 0), [500]))


@given(body=bodies, words=first_segment_words, data=st.data())
def test_a_damaged_message_is_read_within_its_bounds_or_refused(
    body: dict[str, Any], words: int, data: st.DataObject
) -> None:
    segments = body_segments(body, words)
    for _ in range(data.draw(st.integers(1, 4))):
        segment = data.draw(st.sampled_from([s for s in segments if s]))
        bit = data.draw(st.integers(0, 8 * len(segment) - 1))
        segment[bit >> 3] ^= 1 << (bit & 7)
    attempt(lambda: touch(follow(segments, 0, 0), [500]))


def message(*segments: list[int]) -> Segments:
    return [bytearray(struct.pack(f"<{len(words)}Q", *words)) for words in segments]


FAR_TO_SEGMENT_1 = 2 | 1 << 32
DOUBLE_FAR_TO_SEGMENT_1 = 2 | 4 | 1 << 32
STRUCT_OF_ONE_WORD = 1 << 32


@pytest.mark.parametrize(
    "segments",
    [
        message([]),
        message([0 | 1 << 2 | 1 << 32, 5]),  # a struct past the end
        message([0 | (2**30 - 3) << 2 | 1 << 32]),  # a struct before the beginning
        message([1 | 2 << 32 | 9 << 35, 0]),  # 9 bytes in one word
        message([1 | 7 << 32 | 1 << 35, 2 << 2 | 1 << 32, 5]),  # two structs in one's words
        message([1 | 7 << 32 | 1 << 35, 1 | 1 << 2 | 1 << 32, 5]),  # a tag that is no struct's
        message([2 | 7 << 32]),  # no such segment
        message([FAR_TO_SEGMENT_1 | 1 << 3], [0]),  # a landing pad past the end
        message([FAR_TO_SEGMENT_1], [FAR_TO_SEGMENT_1]),  # a landing pad that leads to another
        message([DOUBLE_FAR_TO_SEGMENT_1], [STRUCT_OF_ONE_WORD, STRUCT_OF_ONE_WORD]),
        message([DOUBLE_FAR_TO_SEGMENT_1], [2 | 9 << 32, STRUCT_OF_ONE_WORD]),
        message([DOUBLE_FAR_TO_SEGMENT_1], [2, STRUCT_OF_ONE_WORD | 1 << 2]),  # an offset in a tag
        message([7 | 1 << 32]),  # a pointer of an unknown kind
    ],
)
def test_a_pointer_that_leads_nowhere_is_refused(segments: Segments) -> None:
    with pytest.raises(ProtocolError):
        follow(segments, 0, 0)


def test_a_double_far_pointer_leads_to_a_third_segment() -> None:
    segments = message([DOUBLE_FAR_TO_SEGMENT_1], [2 | 2 << 32, STRUCT_OF_ONE_WORD], [99])
    found = follow(segments, 0, 0)
    assert isinstance(found, Struct)
    assert found.u64(0) == 99


def test_a_capability_pointer_tells_its_index() -> None:
    found = follow(message([3 | 17 << 32]), 0, 0)
    assert isinstance(found, CapabilityPointer)
    assert found.index == 17


def test_a_list_longer_than_the_reader_takes_is_refused() -> None:
    # A list of structs without words costs nothing to send, however many there are.
    endless = message([1 << 48, 1 | 7 << 32, (2**29) << 2])
    root = follow(endless, 0, 0)
    assert isinstance(root, Struct)
    with pytest.raises(ProtocolError, match="at most 7"):
        root.structs(0, 7)
