"""A link that keeps account of what was sent before anything was heard."""

from collections.abc import Sequence

from capenv.link import Buffer, Link
from capenv.rpc.decoding import decode
from capenv.rpc.framing import MessageReader
from capenv.rpc.limits import Limits
from capenv.rpc.messages import Call


class Watched:
    """A link. A flight is what is sent between two times of hearing something."""

    passes_descriptors = False

    def __init__(self, link: Link) -> None:
        self._link = link
        self._reader = MessageReader(Limits())
        self.flights = [0]
        """Calls sent in each flight."""

    async def send(self, buffers: Sequence[Buffer]) -> None:
        self._count(memoryview(b"".join(buffers)))
        await self._link.send(buffers)

    def send_now(self, buffers: Sequence[Buffer]) -> Sequence[Buffer]:
        return buffers

    def receive_soon(self, buffer: memoryview) -> int | None:
        return None

    def _count(self, data: memoryview) -> None:
        while data:
            room = self._reader.buffer()
            count = min(len(room), len(data))
            room[:count] = data[:count]
            data = data[count:]
            for segments in self._reader.received(count):
                self.flights[-1] += isinstance(decode(segments, Limits()), Call)

    async def receive_into(self, buffer: memoryview) -> int:
        count = await self._link.receive_into(buffer)
        if self.flights[-1]:
            self.flights.append(0)
        return count

    async def aclose(self) -> None:
        await self._link.aclose()
