"""What the tests against the C++ peer share."""

from typing import Any

from rpc_schema import PROBE

from capenv.rpc.capability import Capability, Content

SECONDS = 60


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


# The peer itself.


def read(method: str, content: Content) -> Any:
    return PROBE[method].results.read(content.segments)


def capability(method: str, name: str, content: Content) -> Capability:
    found = PROBE[method].results.capability(content, name)
    assert found is not None
    return found


# The blocking client.
