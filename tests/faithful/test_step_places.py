"""The places of fields that patterns know by heart are those of the schemas."""

from typing import Any

from capenv.remote import outlines, step_shapes
from capenv.schema import host, values


def place(struct: Any, name: str) -> int:
    """Return where a field is, in units of its own size."""
    slot: int = struct.schema.fields[name].proto.slot.offset
    return slot


def test_a_step() -> None:
    step = host.Session.schema.methods["step"]
    params, results = step.param_type, step.result_type
    assert params.fields["action"].proto.slot.offset == step_shapes.ACTION
    fields = results.fields
    told = [fields[name].proto.slot.offset for name in ("observation", "info", "exactReward")]
    assert told == [step_shapes.OBSERVATION, step_shapes.INFO, step_shapes.EXACT_REWARD]
    assert fields["reward"].proto.slot.offset * 8 == step_shapes.REWARD_BYTE
    bits = [fields[name].proto.slot.offset for name in ("terminated", "truncated")]
    assert [bit // 8 for bit in bits] == [step_shapes.ENDS_BYTE] * 2
    assert [1 << bit % 8 for bit in bits] == [step_shapes.TERMINATED, step_shapes.TRUNCATED]


def test_a_step_of_a_vector() -> None:
    fields = host.VectorSession.schema.methods["step"].result_type.fields
    names = ("observations", "rewards", "terminations", "truncations", "infos")
    assert [fields[name].proto.slot.offset for name in names] == [
        step_shapes.OBSERVATIONS,
        step_shapes.REWARDS,
        step_shapes.TERMINATIONS,
        step_shapes.TRUNCATIONS,
        step_shapes.INFOS,
    ]
    params = host.VectorSession.schema.methods["step"].param_type
    assert params.fields["actions"].proto.slot.offset == step_shapes.ACTION


def test_an_element() -> None:
    element = values.Element.schema
    packed = element.fields["packed"]
    assert packed.proto.discriminantValue == step_shapes.PACKED
    assert element.node.struct.discriminantOffset == 0
    group = packed.schema.fields
    assert group["frame"].proto.slot.offset == step_shapes.FRAME
    assert group["beside"].proto.slot.offset == step_shapes.BESIDE
    assert place(values.Element.Beside, "leaf") == 0
    assert place(values.Element.Beside, "value") == 0
    assert place(values.Tensor, "data") == step_shapes.TENSOR_DATA == outlines.TENSOR_DATA


def test_a_value() -> None:
    fields = values.Value.schema.fields
    assert values.Value.schema.node.struct.discriminantOffset == 0
    for number, name in outlines.ARMS.items():
        assert fields[name].proto.discriminantValue == number
    assert fields["int"].proto.discriminantValue == step_shapes.INT
    assert fields["bool"].proto.slot.offset == outlines.BOOL_BYTE * 8
    assert fields["int"].proto.slot.offset * 8 == outlines.WORD == step_shapes.INT_BYTE
    assert fields["float"].proto.slot.offset * 8 == outlines.WORD
    for name in ("tensor", "scalar", "map"):
        assert fields[name].proto.slot.offset == 0
    assert place(values.Entry, "value") == outlines.ENTRY_VALUE
