"""Flow control of streaming methods: those that return `StreamResult` of /capnp/stream.capnp.

The caller of one waits only while more than a window of bytes is on its way; the callee carries out
one at a time. Nothing of it is on the wire.
"""

from collections import deque
from typing import Generic, TypeVar

import attrs

from capenv.errors import CapenvError

Waiting = TypeVar("Waiting")


class Outgoing:
    """Streaming calls of ours on one capability."""

    __slots__ = ("__weakref__", "error", "in_flight")

    def __init__(self) -> None:
        self.in_flight = 0
        """Bytes of calls not answered yet."""
        self.error: CapenvError | None = None
        """What ended the stream: every later call fails with it."""

    def sent(self, size: int) -> None:
        """Note a call."""
        self.in_flight += size

    def returned(self, size: int, outcome: object) -> None:
        """Note the outcome of a call. The first that failed ends the stream."""
        self.in_flight -= size
        if isinstance(outcome, CapenvError) and self.error is None:
            self.error = outcome


@attrs.frozen(eq=False)
class Streamed:
    """What is noted of a streaming call until it is answered."""

    stream: Outgoing
    size: int


class Incoming(Generic[Waiting]):
    """Calls of peers on one object that has a streaming method."""

    __slots__ = ("busy", "error", "going_on", "waiting")

    def __init__(self) -> None:
        self.busy = False
        """Whether a streaming call is being carried out: all later calls wait for its end."""
        self.error: Exception | None = None
        """Why a streaming call failed: every later call fails with it."""
        self.waiting: deque[Waiting] = deque()
        self.going_on = False
        """Whether those that waited are being started."""
