"""The floor: a ping-pong on a Unix socket of as many bytes as capenv sends and receives per step.

It blocks, and receives into one buffer that it uses again.
"""

import socket
import struct

import play_capenv
import worker

import capenv

_SIZES = struct.Struct("<QQ")
_STEPS = 100


def client(environment: str, server_core: int) -> None:
    request, response = _sizes()
    with worker.server() as server, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(server.address)
        connection.sendall(_SIZES.pack(request, response))
        ping, buffer = bytes(request), memoryview(bytearray(response))

        def step(_: None) -> tuple[None, bool]:
            connection.sendall(ping)
            _receive_into(connection, buffer)
            return None, False

        detail = f"Unix socket, blocking; {environment}: {request:,} + {response:,} bytes"
        worker.play(environment, lambda: None, step, lambda: None, detail, server.pid)


def serve(environment: str) -> None:
    with worker.socket_path() as path, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        worker.announce(path)
        connection, _ = listener.accept()
        with connection:
            request, response = _SIZES.unpack(connection.recv(_SIZES.size, socket.MSG_WAITALL))
            pong, buffer = bytes(response), memoryview(bytearray(request))
            while _receive_into(connection, buffer):
                connection.sendall(pong)


def _receive_into(connection: socket.socket, buffer: memoryview) -> bool:
    """Receive what fills the buffer; False where the peer has gone."""
    while buffer:
        count = connection.recv_into(buffer)
        if not count:
            return False
        buffer = buffer[count:]
    return True


def _sizes() -> tuple[int, int]:
    """Return what capenv sends and receives per step, on the average of some.

    An observation that does not travel, because both processes share its memory, is counted all the same.
    """
    with worker.server(play_capenv.__file__) as server:
        env = capenv.make(server.address)
        assert isinstance(env, capenv.RemoteEnv)
        sent = received = 0
        observation, _ = env.reset(seed=0)
        for _ in range(_STEPS):
            action = env.action_space.sample()
            before = env.statistics()
            _, _, terminated, truncated, _ = env.step(action)
            after = env.statistics()
            sent += after.bytes_sent - before.bytes_sent
            received += after.bytes_received - before.bytes_received
            if terminated or truncated:
                env.reset()
        env.close()
    response = round(received / _STEPS)
    if response < observation.nbytes:
        response += observation.nbytes
    return round(sent / _STEPS), response


if __name__ == "__main__":
    worker.main(client, serve)
