"""Elements arrive as they were; what is not an element is refused where it is, with the reason."""

import enum
import itertools
from typing import Any

import gymnasium
import numpy as np
import pytest
from exactness import identical, mutated, new, sent
from gymnasium import spaces
from gymnasium.spaces import GraphInstance
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import any_space, elements, values

from capenv.errors import OutsideSpace, ProtocolError, UnsupportedSpace
from capenv.values import ElementCodec, write_value

BOX = spaces.Box(-1, 1, (2,))
ARM = spaces.Dict({"arm": BOX, "grip": spaces.Discrete(3)})


def round_trip(codec: ElementCodec, element: Any, *, check: bool = True) -> Any:
    builder = new("Element")
    codec.write(builder, element, check=check)
    return codec.read(sent(builder, "Element"), check=check)


@st.composite
def spaces_and_elements(draw: st.DrawFn) -> tuple[Any, Any]:
    space = draw(any_space())
    try:
        return space, draw(elements(space))
    except (ValueError, TypeError, OverflowError, RuntimeWarning):
        return spaces.Discrete(2), 1  # Gymnasium cannot sample every space that it can make


@given(spaces_and_elements(), st.booleans())
def test_round_trip(case: tuple[Any, Any], check: bool) -> None:
    space, element = case
    assert identical(round_trip(ElementCodec(space), element, check=check), element)


@given(spaces_and_elements())
def test_self_described(case: tuple[Any, Any]) -> None:
    space, element = case
    builder = new("Element")
    ElementCodec.write_value(builder, element)
    assert identical(ElementCodec(space).read(sent(builder, "Element")), element)


@given(any_space(), values(6))
def test_agrees_with_gymnasium(space: Any, value: Any) -> None:
    """Whatever is let through, Gymnasium contains, but for NaN where nothing is bounded."""
    codec = ElementCodec(space)
    try:
        arrived = round_trip(codec, value)
    except OutsideSpace:
        return
    assert arrived in space or "nan" in repr(arrived)


@pytest.mark.parametrize(
    ("space", "element", "arrives"),
    [
        (BOX, [0.5, -1], [0.5, -1]),
        (BOX, (0, 1), (0, 1)),
        (BOX, np.array([0.5, 1], np.float16), np.array([0.5, 1], np.float16)),
        (spaces.Box(-1, 1, ()), 0.5, 0.5),
        (spaces.Box(-1, 1, ()), np.float32(0.5), np.float32(0.5)),
        (spaces.Box(0, 9, (2,), np.uint8), [1, 2], [1, 2]),
        (BOX, np.array([0.5, 1]), np.array([0.5, 1])),
        (spaces.Discrete(3), 2, 2),
        (spaces.Discrete(3), True, True),
        (spaces.Discrete(3), np.int8(2), np.int8(2)),
        (spaces.Discrete(3), np.array(2), np.array(2)),
        (spaces.Discrete(3), enum.IntEnum("Side", "LEFT").LEFT, 1),
        (spaces.MultiDiscrete([2, 3]), [1, 2], [1, 2]),
        (spaces.MultiBinary(2), [1, 0], [1, 0]),
        (spaces.MultiBinary(2), np.array([True, False]), np.array([True, False])),
        (spaces.Tuple([spaces.Discrete(2)] * 2), [0, 1], (0, 1)),
        (spaces.Tuple([]), (), ()),
        (spaces.Dict({}), {}, {}),
        (
            ARM,
            {"grip": 1, "arm": np.ones(2, np.float32)},
            {"arm": np.ones(2, np.float32), "grip": 1},
        ),
        (spaces.Box(-np.inf, np.inf, (2,)), np.array([np.nan, np.inf], np.float32), None),
        (spaces.Box(0, 1, (0,)), np.zeros(0, np.float32), None),
    ],
)
def test_what_arrives(space: Any, element: Any, arrives: Any) -> None:
    expected = element if arrives is None else arrives
    assert identical(round_trip(ElementCodec(space), element), expected)


OUTSIDE = [
    (
        ARM,
        {"arm": np.array([3.5, 0], np.float32), "grip": 1},
        "the action at /arm/0 is 3.5, outside Box(-1.0, 1.0, (2,), float32)",
    ),
    (
        ARM,
        {"arm": np.zeros(2, np.float32), "grip": 3},
        "the action at /grip is 3, outside Discrete(3)",
    ),
    (ARM, {"arm": np.zeros(2, np.float32)}, "the action has no key 'grip'"),
    (
        ARM,
        {"arm": [0, 0], "grip": 0, "x": 1},
        "the action has the key 'x', which its space has not",
    ),
    (ARM, 5, "the action is 5, not a dict"),
    (BOX, np.array([0, np.nan], np.float32), "the action at /1 is nan, outside"),
    (BOX, np.zeros(3, np.float32), "the action has the shape (3,), not (2,) as Box("),
    (
        spaces.Box(0, 9, (1,), np.uint8),
        np.zeros(1),
        "the action has the dtype float64, which is not in Box(0, 9, (1,), uint8); convert it to uint8",
    ),
    (BOX, "up", "the action is 'up', a str, not an element of Box("),
    (BOX, None, "the action is None, a NoneType, not an element of Box("),
    (BOX, [[1], [1, 2]], "a list, not an element of Box("),
    (BOX, [1e300, 0], "the action at /0 is inf, outside"),
    (spaces.Box(0, 9, (1,), np.uint8), [1.5], "a list, not an element of Box("),
    (spaces.Box(0, 9, (1,), np.uint8), [300], "a list, not an element of Box("),
    (spaces.Box(0, 1, (3, 30)), np.full((3, 30), 2, np.float32), "the action at /0/0 is 2.0"),
    (
        spaces.Box(np.arange(9.0), np.full(9, np.inf), dtype=np.float64),
        np.array([9.0] * 7 + [6.5, 9]),
        "the action at /7 is 6.5, outside Box(",
    ),
    (
        spaces.Box(-np.inf, 0, (9,)),
        np.frombuffer(bytes.fromhex("010080ff") * 9, np.float32),  # signalling NaNs
        "the action at /0 is nan, outside Box(",
    ),
    (spaces.Discrete(3), -1, "the action is -1, outside Discrete(3)"),
    (spaces.Discrete(3), 2**70, f"the action is {2**70}, outside Discrete(3)"),
    (spaces.Discrete(3), 10**5000, "the action is a int, outside Discrete(3)"),
    (spaces.Discrete(3), 1.0, "the action is 1.0, a float, not an element of Discrete(3)"),
    (spaces.Discrete(3), np.bool_(1), "not an element of Discrete(3)"),
    (spaces.Discrete(3), np.uint64(1), "not an element of Discrete(3)"),
    (spaces.MultiDiscrete([2, 3]), np.array([1, 3]), "the action at /1 is 3, outside"),
    (spaces.MultiBinary(2), np.array([0, 2], np.int8), "the action at /1 is 2, outside"),
    (spaces.Text(3), "abcd", "the action is 'abcd', outside Text("),
    (spaces.Text(3), 3, "the action is 3, outside Text("),
    (spaces.Tuple([BOX]), (), "the action has 0 parts instead of 1"),
    (spaces.Tuple([BOX]), "x", "the action is 'x', not a tuple"),
    (spaces.Sequence(spaces.Discrete(2)), (0, 1, 2), "the action at /2 is 2, outside Discrete(2)"),
    (spaces.Sequence(spaces.Discrete(2)), [0], "the action is [0], not a tuple"),
    (spaces.Sequence(BOX, stack=True), 3, "the action is 3, not a batch"),
    (
        spaces.Sequence(spaces.Discrete(2), stack=True),
        np.array([0, 5]),
        "the action at /1 is np.int64(5), outside Discrete(2)",
    ),
    (spaces.OneOf([spaces.Discrete(2)]), (0, 2), "the action at /1 is 2, outside Discrete(2)"),
    (spaces.OneOf([spaces.Discrete(2)]), (1, 0), "the action is (1, 0), not a number less than 1"),
    (
        spaces.Graph(spaces.Discrete(2), None),
        GraphInstance(np.array([0, 4]), None, None),
        "the action at /nodes/1 is np.int64(4), outside Discrete(2)",
    ),
    (spaces.Graph(spaces.Discrete(2), None), 3, "the action is 3, not a GraphInstance"),
    (
        spaces.Graph(spaces.Discrete(2), spaces.Discrete(2)),
        GraphInstance(np.array([0]), np.array([0]), np.array([[0, 1]])),
        "the action at /edge_links links more than the 1 nodes",
    ),
]


@pytest.mark.parametrize(("space", "element", "message"), OUTSIDE, ids=itertools.count())
def test_outside(space: Any, element: Any, message: str) -> None:
    codec = ElementCodec(space, "action")
    with pytest.raises(OutsideSpace) as caught:
        codec.write(new("Element"), element)
    assert message in str(caught.value)
    # The receiver does not rely on the sender.
    for self_described in (False, True):
        builder = new("Element")
        try:
            if self_described:
                ElementCodec.write_value(builder, element)
            else:
                codec.write(builder, element, check=False)
        except OutsideSpace:
            continue  # the parts of a Dict or Tuple must be there to be packed
        with pytest.raises(OutsideSpace) as caught:
            codec.read(sent(builder, "Element"))
        assert message in str(caught.value)


def test_unchecked_arrives_as_it_is() -> None:
    codec = ElementCodec(ARM)
    for arm in (np.full(2, 9, np.float32), np.zeros(3), "nothing", None):
        element = {"arm": arm, "grip": 77}
        assert identical(round_trip(codec, element, check=False), element)


def test_what_cannot_be_sent() -> None:
    with pytest.raises(OutsideSpace, match="the value at / is a complex"):
        ElementCodec.write_value(new("Element"), 1j)
    with pytest.raises(OutsideSpace, match=r"the value at /grip cannot be sent: .* is a object"):
        ElementCodec(ARM).write(new("Element"), {"arm": [0, 0], "grip": object()}, check=False)


def test_an_unsupported_space_has_no_codec() -> None:
    with pytest.raises(UnsupportedSpace):
        ElementCodec(type("MyBox", (spaces.Box,), {})(0, 1))


def test_every_element_has_its_own_memory() -> None:
    codec = ElementCodec(ARM)
    element = {"arm": np.zeros(2, np.float32), "grip": np.int64(0)}
    builder = new("Element")
    codec.write(builder, element)
    reader = sent(builder, "Element")
    one, other = codec.read(reader), codec.read(reader)
    one["arm"][0] = 1
    assert other["arm"][0] == 0 == element["arm"][0]


@pytest.mark.parametrize(
    ("frame", "beside", "message"),
    [
        (b"", [], "a frame of 0 bytes and 0 leaves beside it"),
        (b"\0" * 15, [], "a frame of 15 bytes"),
        (b"\0" * 24, [], "a frame of 24 bytes"),
        (b"", [1], "a frame of 0 bytes and 1 leaves beside"),
        (b"\0" * 16, [1, 0], "the leaf 0 beside it after 1"),
        (b"\0" * 16, [1, 1], "the leaf 1 beside it after 1"),
        (b"\0" * 16, [2], "the leaf 2 beside it after -1"),
        (b"\0" * 16, [0, 1, 1], "more leaves beside the frame"),
    ],
)
def test_malformed(frame: bytes, beside: list[int], message: str) -> None:
    builder = new("Element")
    packed = builder.init("packed")
    packed.frame = frame
    entries = packed.init("beside", len(beside))
    for place, index in enumerate(beside):
        entries[place].leaf = index
        write_value(entries[place].init("value"), 0)
    with pytest.raises(ProtocolError, match=message):
        ElementCodec(ARM).read(sent(builder, "Element"))


def test_a_leaf_of_variable_size_must_be_there() -> None:
    space = spaces.Tuple([spaces.Discrete(2), spaces.Text(3)])
    builder = new("Element")
    builder.init("packed").frame = b"\0" * 8
    with pytest.raises(ProtocolError, match="has nothing at /1"):
        ElementCodec(space).read(sent(builder, "Element"))


@pytest.mark.parametrize(
    "space", [spaces.Box(0, 1, (8,), np.bool_), spaces.Box(0, 1, (2,), np.bool_)]
)
def test_a_bool_is_0_or_1(space: Any) -> None:
    builder = new("Element")
    builder.init("packed").frame = b"\0\2" + b"\0" * 6
    with pytest.raises(ProtocolError, match="neither 0 nor 1"):
        ElementCodec(space).read(sent(builder, "Element"), check=False)


@given(spaces_and_elements(), st.integers(0, 2**32), st.booleans(), st.booleans())
@settings(max_examples=300)
def test_any_bytes_are_an_element_or_refused(
    case: tuple[Any, Any], seed: int, self_described: bool, check: bool
) -> None:
    space, element = case
    codec = ElementCodec(space)
    builder = new("Element")
    if self_described:
        codec.write_value(builder, element)
    else:
        codec.write(builder, element)
    reader = mutated(builder, "Element", seed)
    try:
        codec.read(reader, check=check)
    except (ProtocolError, OutsideSpace):
        pass


@pytest.mark.parametrize("id", ["CartPole-v1", "Taxi-v4", "Pendulum-v1", "Blackjack-v1"])
def test_real_environments(id: str) -> None:
    env = gymnasium.make(id)
    observations = ElementCodec(env.observation_space, "observation")
    actions = ElementCodec(env.action_space, "action")
    env.action_space.seed(1)
    observation, _ = env.reset(seed=1)
    for _ in range(20):
        assert identical(round_trip(observations, observation), observation)
        action = env.action_space.sample()
        assert identical(round_trip(actions, action), action)
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            break
    env.close()


def test_a_stack_that_gymnasium_cannot_take_apart() -> None:
    hollow = spaces.Dict({"nothing": spaces.Tuple(()), "bit": spaces.Box(0, 1, (), np.uint8)})
    space = spaces.Sequence(hollow, stack=True, seed=1)
    value = space.sample()
    codec = ElementCodec(space, "value")
    frame, beside = codec.pack(value)
    assert identical(codec.unpack(bytearray(frame), dict(beside)), value)
