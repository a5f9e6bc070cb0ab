"""The golden traces are what pycapnp's own client and server send each other, message by message."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import pytest
from golden_text import text_of
from golden_traces import CLIENT, SERVER, TRACES, rows_of
from pycapnp_peers import SECONDS, running

from capenv.rpc.decoding import decode
from capenv.rpc.framing import MessageReader, frame
from capenv.rpc.limits import Limits

GOLDEN = str(Path(__file__).parent / "pycapnp_golden.py")


class End:
    """The test's end of a stream to a peer: gives what the peer sends, one message at a time."""

    def __init__(self, stream: socket.socket) -> None:
        stream.settimeout(SECONDS)
        self._stream = stream
        self._reader = MessageReader(Limits())
        self._arrived: list[tuple[str, bytes]] = []

    def receive(self) -> tuple[str, bytes] | None:
        """Return the next message, as text and as bytes, or None when the peer hung up."""
        while not self._arrived:
            count = self._stream.recv_into(self._reader.buffer())
            if not count:
                return None
            for segments in self._reader.received(count):
                data = b"".join(bytes(buffer) for buffer in frame(segments))
                self._arrived.append((text_of(decode(segments, Limits())), data))
        return self._arrived.pop(0)

    def send(self, data: bytes) -> None:
        self._stream.sendall(data)

    def rest(self) -> list[str]:
        """Hang up, and return what the peer sends before it does."""
        self._stream.shutdown(socket.SHUT_WR)
        return [text for text, _ in iter(self.receive, None)]


@contextmanager
def between(path: str, scenario: str) -> Iterator[dict[str, End]]:
    """Stand between pycapnp's server, which listens at that path, and a client that does this."""
    with (
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX) as server,
    ):
        listener.bind(f"{path}-proxy")
        listener.listen()
        listener.settimeout(SECONDS)
        server.connect(path)
        with running(GOLDEN, f"{path}-proxy", scenario, says="connected"):
            client, _ = listener.accept()
            with client:
                yield {CLIENT: End(client), SERVER: End(server)}


@pytest.mark.parametrize("scenario", TRACES)
def test_pycapnp_says_what_the_trace_does(
    process: "subprocess.Popen[str]", tmp_path: Path, scenario: str
) -> None:
    """A side gets a message only after all that the trace has before it, so nothing is left to chance."""
    rows = [row for row in rows_of(TRACES[scenario]) if not row.elsewhere]
    with between(str(tmp_path / "probe"), scenario) as ends:
        for sender, run in groupby(rows, lambda row: row.sender):
            data = b""
            for row in run:
                received = ends[sender].receive()
                assert received is not None, f"the peer hung up before {row.said}"
                assert received[0] == row.said
                data += received[1]
            ends[SERVER if sender == CLIENT else CLIENT].send(data)
        for end in ends.values():
            assert not [text for text in end.rest() if not text.startswith("Abort")]
