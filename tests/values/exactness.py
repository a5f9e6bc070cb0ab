"""Comparing values exactly, and sending structs as bytes."""

import random
import struct
from typing import Any

import numpy as np

from capenv.schema import values as schema_values


def identical(one: Any, other: Any) -> bool:
    """Return whether two values are of the very same types, shapes and bits."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray) and one.dtype == other.dtype == object:
        return one.shape == other.shape and all(map(identical, one.flat, other.flat))
    if isinstance(one, np.ndarray | np.generic):
        same = one.dtype == other.dtype and one.shape == other.shape
        return same and one.tobytes() == other.tobytes()
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(identical, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(identical(one[key], other[key]) for key in one)
    return bool(one == other)


def sent(builder: Any, struct_name: str) -> Any:
    """Return a reader of a copy of the builder's bytes."""
    return getattr(schema_values, struct_name).from_segments(builder.to_segments())


def mutated(builder: Any, struct_name: str, seed: int) -> Any:
    """Return a reader of the builder's bytes with some of them changed."""
    chance = random.Random(seed)
    segments = [bytearray(segment) for segment in builder.to_segments()]
    for _ in range(chance.randint(1, 4)):
        segment = chance.choice(segments)
        # The root pointer is looked at before there is a reader.
        place = chance.randrange(8, len(segment))
        match chance.randrange(3):
            case 0:
                segment[place] ^= 1 << chance.randrange(8)
            case 1:
                segment[place] = chance.randrange(256)
            case 2:
                word = place // 8 * 8
                source = chance.randrange(8, len(segment)) // 8 * 8
                segment[word : word + 8] = segment[source : source + 8]
    # The reader's own limit on traversal is out of the way, as it is for messages off a connection.
    kind = getattr(schema_values, struct_name)
    return kind.from_segments(list(map(bytes, segments)), traversal_limit_in_words=2**62)


def new(struct_name: str) -> Any:
    """Return a builder of a new message."""
    return getattr(schema_values, struct_name).new_message()
