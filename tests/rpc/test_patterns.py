"""Messages that are alike, written and read by comparing."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from capenv.rpc.patterns import Pattern, Shape

CODES = {"d": st.floats(width=64), "q": st.integers(-(2**63), 2**63 - 1), "B": st.integers(0, 255)}


@st.composite
def shapes(draw: st.DrawFn) -> tuple[bytes, Shape]:
    """Return a message of up to 200 bytes, and where it differs."""
    place, fields = 0, []
    for code in draw(st.lists(st.sampled_from(sorted(CODES)), max_size=4)):
        place += draw(st.integers(0, 9))
        fields.append((place, code))
        place += struct.calcsize("<" + code)
    place += draw(st.integers(0, 30))
    length = draw(st.integers(0, 40))
    size = place + length + draw(st.integers(0, 20))
    return draw(st.binary(min_size=size, max_size=size)), Shape(tuple(fields), (place, length))


def places(shape: Shape) -> set[int]:
    """Return the bytes that may differ."""
    free = set(range(shape.frame[0], sum(shape.frame)))
    for place, code in shape.fields:
        free |= set(range(place, place + struct.calcsize("<" + code)))
    return free


@given(example=shapes(), data=st.data(), before=st.binary(max_size=20))
def test_what_is_written_is_read(
    example: tuple[bytes, Shape], data: st.DataObject, before: bytes
) -> None:
    message, shape = example
    pattern = Pattern(message, shape)
    fields = tuple(data.draw(CODES[code]) for _, code in shape.fields)
    frame = data.draw(st.binary(min_size=shape.frame[1], max_size=shape.frame[1]))
    written = pattern.join(fields, frame)
    assert b"".join(pattern.write(fields, frame)) == written
    assert len(written) == pattern.size == len(message)
    read = pattern.read(memoryview(before + written), len(before))
    assert read is not None
    packed = [
        struct.pack("<" + code, value)
        for (_, code), value in zip(shape.fields, fields, strict=True)
    ]
    assert [struct.pack("<" + c, v) for (_, c), v in zip(shape.fields, read, strict=True)] == packed
    if shape.frame[1]:
        assert written[pattern.frame_start : pattern.frame_stop] == frame
    free = places(shape)
    assert all(
        a == b for i, (a, b) in enumerate(zip(message, written, strict=True)) if i not in free
    )


@given(example=shapes(), data=st.data())
def test_a_message_that_differs_elsewhere_is_not_read(
    example: tuple[bytes, Shape], data: st.DataObject
) -> None:
    message, shape = example
    fixed = sorted(set(range(len(message))) - places(shape))
    if not fixed:
        return
    other = bytearray(message)
    other[data.draw(st.sampled_from(fixed))] ^= data.draw(st.integers(1, 255))
    pattern = Pattern(message, shape)
    assert pattern.read(other) is None
    assert pattern.read(message) is not None
