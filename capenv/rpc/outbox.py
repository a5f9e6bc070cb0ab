"""Messages on their way to the link."""

import contextlib
from collections.abc import Sequence

from capenv.link import Attached, Buffer
from capenv.rpc.encoding import encode
from capenv.rpc.framing import Segment, frame
from capenv.rpc.messages import Call, Message, Results, Return
from capenv.rpc.turn import Peer, Turn


class Outbox:
    """What one connection wants to send, in order."""

    def __init__(self, connection: Peer, turn: Turn) -> None:
        self._connection = connection
        self._turn = turn
        self._buffers: list[Buffer] = []
        self.bytes = 0
        """How much waits: what a peer that does not read makes us hold."""

    def send(self, message: Message) -> None:
        """Encode a message as of now, and have it sent."""
        buffers = frame(encode(message))
        match message:
            case Call(params=payload) | Return(outcome=Results(payload=payload)):
                if payload.descriptors:
                    with contextlib.suppress(OSError):  # there are too many: then none goes along
                        buffers[0] = Attached.to(buffers[0], payload.descriptors)
        self.append(buffers)

    def post(self, segments: Sequence[Segment]) -> None:
        """Have the segments of an encoded message sent."""
        self.append(frame(segments))

    def append(self, buffers: Sequence[Buffer]) -> None:
        """Have a whole message sent."""
        self._buffers += buffers
        self.bytes += sum(map(len, buffers))
        self._turn.stir(self._connection)

    def keep(self) -> None:
        """Copy what views memory of others."""
        self._buffers = kept(self._buffers)

    def take(self) -> list[Buffer]:
        """Take the buffers out."""
        buffers, self._buffers, self.bytes = self._buffers, [], 0
        return buffers

    def __bool__(self) -> bool:
        return bool(self._buffers)


def kept(buffers: Sequence[Buffer]) -> list[Buffer]:
    """Return buffers that nobody else may change: those that view memory of others are copied."""
    return [bytes(buffer) if isinstance(buffer, memoryview) else buffer for buffer in buffers]
