"""The schemas that the tests read and write: pycapnp's own `rpc.capnp`, and one of ours."""

from pathlib import Path
from typing import Any

import capnp
from hypothesis import strategies as st

from capenv.rpc.interface import Interface, StructType

_SITE_PACKAGES = str(Path(capnp.__file__).parent.parent)
_PROBE = Path(__file__).parents[1] / "interop" / "probe.capnp"

# A parser of our own each: one parser may not hold two files of one id, and aborts the process.
rpc: Any = capnp.SchemaParser().load(f"{_SITE_PACKAGES}/capnp/rpc.capnp", imports=[_SITE_PACKAGES])
probe: Any = capnp.SchemaParser().load(str(_PROBE), imports=[_SITE_PACKAGES])

PROBE = Interface(probe.Probe)
BODY = StructType(probe.Body.schema)
HOLDER = StructType(probe.Holder.schema)

bodies = st.recursive(
    st.fixed_dictionaries(
        {
            "number": st.integers(0, 2**64 - 1),
            "flag": st.booleans(),
            "text": st.text(max_size=20),
            "data": st.binary(max_size=300),
            "numbers": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=9),
        }
    ),
    lambda inner: st.fixed_dictionaries(
        {
            "number": st.integers(0, 2**64 - 1),
            "children": st.lists(inner, max_size=4),
            "inner": inner,
        }
    ),
    max_leaves=6,
)
"""Values of `Body`, as pycapnp takes them."""

first_segment_words = st.sampled_from([1, 2, 3, 7, 32, 1024])
"""How large pycapnp makes the first segment of a message: few words make many segments."""


def fill(builder: Any, body: dict[str, Any]) -> None:
    """Write a value of `Body`."""
    for name, value in body.items():
        if name == "inner":
            fill(builder.init("inner"), value)
        elif name == "children":
            for child, entry in zip(builder.init("children", len(value)), value, strict=True):
                fill(child, entry)
        else:
            setattr(builder, name, value)


def body_segments(body: dict[str, Any], words: int = 1024) -> list[bytearray]:
    """Return a message of its own that holds a value of `Body`."""
    builder = probe.Body.new_message(num_first_segment_words=words)
    fill(builder, body)
    return [bytearray(segment) for segment in builder.to_segments()]


def read_body(reader: Any) -> dict[str, Any]:
    """Return what a reader of `Body` holds, with every field there."""
    return {
        "number": reader.number,
        "flag": reader.flag,
        "text": reader.text,
        "data": bytes(reader.data),
        "numbers": list(reader.numbers),
        "children": [read_body(child) for child in reader.children],
        "inner": read_body(reader.inner) if reader._has("inner") else None,
    }


def complete(body: dict[str, Any]) -> dict[str, Any]:
    """Return a value of `Body` with every field there."""
    empty: dict[str, Any] = {"number": 0, "flag": False, "text": "", "data": b"", "numbers": []}
    return {
        **empty,
        **body,
        "children": [complete(child) for child in body.get("children", [])],
        "inner": complete(body["inner"]) if "inner" in body else None,
    }
