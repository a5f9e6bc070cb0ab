"""A space takes no more memory than its budget, whatever a message of a few bytes says of it."""

import functools
import tracemalloc
from typing import Any

import numpy as np
import pytest
from exactness import new, sent
from gymnasium import spaces

from capenv.errors import ProtocolError
from capenv.values import read_space, write_space
from capenv.values import spaces as space_values
from capenv.values.reading import Budget

BYTES = 1 << 22
SPARE = 1 << 16
"""What a space takes besides its arrays."""


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int16, np.float32, np.float64])
def test_a_box_takes_no_more_than_its_budget(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space_values, "Budget", functools.partial(Budget, BYTES))
    builder = new("Space")
    write_space(builder, spaces.Box(0, 1, (1,), dtype))
    taken = []
    for size in (BYTES >> shift for shift in range(6)):
        builder.box.shape = [size]
        tracemalloc.start()
        try:
            space = read_space(sent(builder, "Space"))
            taken.append(tracemalloc.get_traced_memory()[0])
            del space
        except ProtocolError:
            pass
        finally:
            tracemalloc.stop()
    # The largest that is let pass comes near to what is allowed, so that the budget says what it means.
    assert BYTES / 4 < max(taken) <= BYTES + SPARE
