"""Params that are not what the schema says: the peer's fault, in whichever part of a method they are read."""

import struct

import pytest
import trio
from rpc_probe import Probe, two_vats
from rpc_schema import PROBE

from capenv.errors import RemoteError
from capenv.rpc.builder import struct_pointer
from capenv.rpc.capability import Content


def no_text() -> Content:
    """Return params with a struct where the text is due."""
    words = struct_pointer(0, 0, 1), struct_pointer(0, 1, 0), 0
    return Content([bytearray(struct.pack("<3Q", *words))])


@pytest.mark.parametrize("name", ["echo", "slow"])
def test_the_call_fails_and_says_why(name: str) -> None:
    async def main() -> None:
        async with two_vats(theirs=Probe()) as (mine, _):
            response = mine.call(mine.bootstrap().root(), PROBE[name], no_text())
            with pytest.raises(RemoteError, match=f"the params of {name} cannot be read"):
                await response

    trio.run(main)
