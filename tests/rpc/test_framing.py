"""Messages come out of a byte stream as they went in, however it is split."""

import itertools
import os
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capenv.errors import ProtocolError
from capenv.rpc.framing import MessageReader, frame
from capenv.rpc.limits import Limits

CHUNK = 1 << 16

segments = st.integers(0, 40).flatmap(lambda n: st.binary(min_size=8 * n, max_size=8 * n))
messages = st.lists(st.lists(segments, min_size=1, max_size=6), max_size=6)


def stream_of(messages: list[list[bytes]]) -> bytes:
    return b"".join(bytes(buffer) for message in messages for buffer in frame(message))


def feed(reader: MessageReader, stream: bytes, sizes: list[int]) -> list[list[bytes]]:
    """Push the stream in pieces of these sizes, over and over, as far as the buffer takes each."""
    out: list[list[bytes]] = []
    endless = itertools.cycle(sizes)
    while stream:
        buffer = reader.buffer()
        assert len(buffer) > 0
        count = min(next(endless), len(buffer), len(stream))
        buffer[:count] = stream[:count]
        stream = stream[count:]
        out += [[bytes(s) for s in segments] for segments in reader.received(count)]
    return out


@given(messages=messages, sizes=st.lists(st.integers(1, 400), min_size=1))
def test_any_split_of_a_stream_gives_the_same_messages(
    messages: list[list[bytes]], sizes: list[int]
) -> None:
    reader = MessageReader(Limits())
    assert feed(reader, stream_of(messages), sizes) == messages
    assert not reader.mid_message


@given(
    words=st.lists(
        st.sampled_from([0, 1, CHUNK // 8 - 2, CHUNK // 8 - 1, CHUNK // 8, 3 * CHUNK // 8 + 5]),
        min_size=1,
        max_size=5,
    ),
    sizes=st.lists(st.sampled_from([1, 7, 4096, CHUNK - 1, CHUNK, 10 * CHUNK]), min_size=1).filter(
        lambda sizes: max(sizes) > 1000
    ),
    cut=st.integers(1, 5),
)
def test_messages_around_the_size_of_a_chunk_arrive(
    words: list[int], sizes: list[int], cut: int
) -> None:
    whole = [bytes([n + 1]) * (8 * count) for n, count in enumerate(words)]
    messages = [whole[i : i + cut] for i in range(0, len(whole), cut)]
    assert feed(MessageReader(Limits()), stream_of(messages), sizes) == messages


@given(
    messages=messages.filter(bool), sizes=st.lists(st.integers(1, 99), min_size=1), data=st.data()
)
def test_a_stream_that_breaks_off_is_noticed(
    messages: list[list[bytes]], sizes: list[int], data: st.DataObject
) -> None:
    stream = stream_of(messages)
    last = len(stream_of(messages[-1:]))
    end = data.draw(st.integers(len(stream) - last + 1, len(stream) - 1))
    reader = MessageReader(Limits())
    assert feed(reader, stream[:end], sizes) == messages[:-1]
    assert reader.mid_message


@given(garbage=st.binary(max_size=3000), sizes=st.lists(st.integers(1, 99), min_size=1))
def test_garbage_is_messages_or_a_protocol_error(garbage: bytes, sizes: list[int]) -> None:
    try:
        feed(MessageReader(Limits(message_bytes=1 << 12)), garbage, sizes)
    except ProtocolError:
        pass


@given(messages=messages)
def test_each_message_has_memory_of_its_own(messages: list[list[bytes]]) -> None:
    reader = MessageReader(Limits())
    stream = stream_of(messages)
    reader.buffer()[: len(stream)] = stream
    received = reader.received(len(stream))
    reader.buffer()[:] = bytes(len(reader.buffer()))
    for message in received:
        for segment in message:
            segment[:] = bytes([7]) * len(segment)
            assert bytes(segment) == bytes([7]) * len(segment)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (struct.pack("<II", 0, 1 << 27), "1073741832 bytes"),  # 1 GiB
        (struct.pack("<I", 600 - 1), "600 segments"),
        (struct.pack("<I", 0xFFFFFFFF), "4294967296 segments"),
        (b"GET / HTTP/1.1\r\n\r\n", "does not speak Cap'n Proto"),
    ],
)
def test_what_is_too_large_is_refused_before_memory_is_taken(header: bytes, reason: str) -> None:
    reader = MessageReader(Limits())
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match=reason):
            feed(reader, header, [len(header)])
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_message_of_exactly_the_limits_passes() -> None:
    limits = Limits(message_bytes=4096, segments=4)
    message = [bytes(8), bytes(4096 - 24 - 24), bytes(8), bytes(8)]
    assert len(stream_of([message])) == 4096
    assert feed(MessageReader(limits), stream_of([message]), [100]) == [message]
    message[1] += bytes(8)
    with pytest.raises(ProtocolError, match="4104 bytes"):
        feed(MessageReader(limits), stream_of([message]), [100])


def test_what_is_only_announced_takes_no_memory() -> None:
    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    readers = [MessageReader(Limits()) for _ in range(20)]
    before = resident()
    for reader in readers:
        announced = struct.pack("<II", 0, (64 << 17) - 1)
        reader.buffer()[: len(announced)] = announced
        assert list(reader.received(len(announced))) == []
    assert resident() - before < 64 << 20, "of the 1,280 MiB announced"
