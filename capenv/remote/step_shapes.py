"""Where the params and results of `step` differ from one step of a session to the next."""

from typing import Final

from capenv.remote.outlines import NotAlikeError
from capenv.rpc.capability import Content
from capenv.rpc.patterns import Shape
from capenv.rpc.pointers import List, Struct, follow

# The places of fields in the structs of host.capnp and values.capnp; a test compares.
ACTION: Final = 0
FREED_BYTE: Final = 0
SLOT_BYTE: Final = 2
OBSERVATION, INFO, EXACT_REWARD = 0, 1, 2
REWARD_BYTE, ENDS_BYTE = 0, 8
TERMINATED, TRUNCATED = 1, 2
"""Bits of the byte at `ENDS_BYTE`."""
OBSERVATIONS, REWARDS, TERMINATIONS, TRUNCATIONS, INFOS = range(5)
TENSOR_DATA: Final = 1
PACKED: Final = 0
FRAME, BESIDE = 0, 1
INT: Final = 2
INT_BYTE: Final = 8
_BYTE: Final = 2


def action_shape(params: Content) -> Shape | None:
    """Return the shape of params like these: whose action is a frame, or one integer beside it."""
    try:
        root = root_of(params)
    except NotAlikeError:
        return None
    element = root.struct(ACTION)
    # A vector's has none.
    freed = (((root.start << 3) + FREED_BYTE, "Q"),) if root.data_words else ()
    frame = _run(element.pointer(FRAME)) if element.u16(0) == PACKED else None
    if element.pointer(BESIDE) is None:
        return None if frame is None else Shape(freed, frame)
    integer = None if frame is not None else _integer(element)
    return None if integer is None else Shape((*freed, integer))


def root_of(content: Content) -> Struct:
    """Return the root of content that is of one segment.

    Raises:
        NotAlikeError: it is of several, or empty.
    """
    root = follow(content.segments, 0, 0) if len(content.segments) == 1 else None
    if not isinstance(root, Struct):
        raise NotAlikeError
    return root


def frame_of(element: Struct) -> tuple[int, int]:
    """Return place and length of the frame of an `Element`.

    Raises:
        NotAlikeError: it is not packed.
    """
    if element.u16(0) != PACKED:
        raise NotAlikeError
    return _run(element.pointer(FRAME)) or (0, 0)


def slot_of(element: Struct) -> int:
    """Return the number, from 1, of the slot of shared memory with the frame of a packed `Element`; or 0."""
    return element.u16(SLOT_BYTE // 2) & 0xFF


def values_beside(element: Struct) -> list[tuple[int, Struct]]:
    """Return leaf and `Value` struct of what rides beside the frame of a packed `Element`."""
    match element.pointer(BESIDE):
        case List() as beside:
            entries = [beside.struct(index) for index in range(beside.count)]
            return [(entry.u32(0), entry.struct(0)) for entry in entries]
        case _:
            return []


def vector_frame(root: Struct) -> tuple[int, int] | None:
    """Return place and length of what a `VectorTimeStep` says of each environment, if it is one run of bytes.

    That is observations, rewards and both ends, one behind the other, each padded to a word.
    """
    element = root.struct(OBSERVATIONS)
    if values_beside(element):
        return None
    runs = [
        _run(element.pointer(FRAME)) if element.u16(0) == PACKED else None,
        _run(root.struct(REWARDS).pointer(TENSOR_DATA)),
        _run(root.pointer(TERMINATIONS)),
        _run(root.pointer(TRUNCATIONS)),
    ]
    start = end = runs[0][0] if runs[0] is not None else 0
    for run in runs:
        if run is None or run[0] != end:
            return None
        end += padded(run[1])
    return start, end - start


def padded(size: int) -> int:
    """Return the bytes that so many take in a message."""
    return size + 7 & ~7


def _run(target: object) -> tuple[int, int] | None:
    match target:
        case List(code=code, start=start, count=count) if code == _BYTE and count:
            return start << 3, count
        case _:
            return None


def _integer(element: Struct) -> tuple[int, str] | None:
    """Return the place of the number of an element that is one leaf, and that a Python integer."""
    match element.pointer(BESIDE):
        case List(count=1) as beside:
            value = beside.struct(0).struct(0)
            if value.u16(0) == INT and value.data_words >= 2:
                return (value.start << 3) + INT_BYTE, "q"
    return None
