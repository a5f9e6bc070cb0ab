"""A relay that hands on everything a little later: the distance that two processes of one machine lack.

It has threads, whose sleep ends in time; an event loop's may be a millisecond late.
"""

import socket
import sys
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

import worker

_CHUNK = 1 << 16


def client(path: str, server_core: int, seconds: str) -> None:
    raise SystemExit("a relay is only a server")


def serve(path: str, seconds: str) -> None:
    """Relay connections from a free port of loopback, which is announced, to a Unix socket."""
    listener = socket.create_server(("127.0.0.1", 0))
    _start(_accept, listener, path, float(seconds))
    worker.announce(str(listener.getsockname()[1]))
    sys.stdin.read()  # stdin ends with whoever started this


def _accept(listener: socket.socket, path: str, seconds: float) -> None:
    while True:
        near, _ = listener.accept()
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        far = socket.socket(socket.AF_UNIX)
        far.connect(path)
        for source, sink in ((near, far), (far, near)):
            pieces: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
            _start(_receive, source, pieces, seconds)
            _start(_send, sink, pieces)


def _receive(
    source: socket.socket, pieces: SimpleQueue[tuple[float, bytes]], seconds: float
) -> None:
    data = b"..."
    while data:
        try:
            data = source.recv(_CHUNK)
        except ConnectionError:
            data = b""
        pieces.put((time.monotonic() + seconds, data))


def _send(sink: socket.socket, pieces: SimpleQueue[tuple[float, bytes]]) -> None:
    """Send each piece when it is due; an empty one is the end."""
    try:
        while True:
            due, data = pieces.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            sink.sendall(data)
    except OSError:
        pass  # who should receive it has gone


def _start(target: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=target, args=arguments, daemon=True).start()


if __name__ == "__main__":
    worker.main(client, serve)
