"""Where the params and results of `step` differ from one step of a session to the next."""

from typing import Final

from capenv.rpc.capability import Content
from capenv.rpc.patterns import Shape
from capenv.rpc.pointers import List, Struct, follow

# The places of fields in the structs of host.capnp and values.capnp; a test compares.
ACTION: Final = 0
OBSERVATION, INFO, EXACT_REWARD = 0, 1, 2
REWARD_BYTE, ENDS_BYTE = 0, 8
TERMINATED, TRUNCATED = 1, 2
"""Bits of the byte at `ENDS_BYTE`."""
OBSERVATIONS, REWARDS, TERMINATIONS, TRUNCATIONS, INFOS = range(5)
_TENSOR_DATA: Final = 1
_PACKED: Final = 0
_FRAME, _BESIDE = 0, 1
_BYTE: Final = 2
_INT: Final = 2
_INT_BYTE: Final = 8


def action_shape(params: Content) -> Shape | None:
    """Return the shape of params like these: whose action is a frame, or one integer beside it."""
    match _root(params):
        case Struct() as root:
            element = root.struct(ACTION)
            frame = _frame(element)
            if element.pointer(_BESIDE) is None:
                return None if frame is None else Shape(frame=frame)
            return None if frame is not None else _integer(element)
        case _:
            return None


def time_step_shape(results: Content) -> Shape | None:
    """Return the shape of results like these: whose observation is a frame, with nothing beside it."""
    match _root(results):
        case Struct() as root if root.data_words >= 2:
            frame = _frame(root.struct(OBSERVATION))
            if (
                frame is None
                or root.struct(OBSERVATION).pointer(_BESIDE) is not None
                or root.pointer(INFO) is not None
                or root.pointer(EXACT_REWARD) is not None
            ):
                return None
            start = root.start << 3
            return Shape(((start + REWARD_BYTE, "d"), (start + ENDS_BYTE, "B")), frame)
        case _:
            return None


def vector_step_shape(results: Content) -> Shape | None:
    """Return the shape of results of a vector: observations, rewards and both ends, one behind the other.

    None where anything else is told, or in another order.
    """
    match _root(results):
        case Struct() as root if root.pointer(INFOS) is None:
            element, rewards = root.struct(OBSERVATIONS), root.struct(REWARDS)
            runs = [
                _frame(element),
                _run(rewards.pointer(_TENSOR_DATA)),
                _run(root.pointer(TERMINATIONS)),
                _run(root.pointer(TRUNCATIONS)),
            ]
        case _:
            return None
    if element.pointer(_BESIDE) is not None or runs[0] is None:
        return None
    start = end = runs[0][0]
    for run in runs:
        if run is None or run[0] != end:
            return None
        end += padded(run[1])
    return Shape(frame=(start, end - start))


def padded(size: int) -> int:
    """Return the bytes that so many take in a message."""
    return size + 7 & ~7


def _root(content: Content) -> object:
    return follow(content.segments, 0, 0) if len(content.segments) == 1 else None


def _frame(element: Struct) -> tuple[int, int] | None:
    if element.u16(0) != _PACKED:
        return None
    return _run(element.pointer(_FRAME))


def _run(target: object) -> tuple[int, int] | None:
    match target:
        case List(code=code, start=start, count=count) if code == _BYTE and count:
            return start << 3, count
        case _:
            return None


def _integer(element: Struct) -> Shape | None:
    """Return the shape of an element that is one leaf, and that a Python integer."""
    match element.pointer(_BESIDE):
        case List(count=1) as beside:
            value = beside.struct(0).struct(0)
            if value.u16(0) == _INT and value.data_words >= 2:
                return Shape((((value.start << 3) + _INT_BYTE, "q"),))
    return None
