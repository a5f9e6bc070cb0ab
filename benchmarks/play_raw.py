"""The floor: a ping-pong on a Unix socket of as many bytes as capenv sends and receives per step."""

import socket
import struct

import play_capenv
import worker

import capenv

_SIZES = struct.Struct("<QQ")
_STEPS = 100


def client(environment: str, server_core: int) -> None:
    request, response = _sizes()
    with worker.server() as path, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(_SIZES.pack(request, response))
        ping = bytes(request)

        def step(_: None) -> bool:
            connection.sendall(ping)
            _receive(connection, response)
            return False

        worker.play(lambda: None, step, lambda: None, f"Unix socket, {request} + {response} bytes")


def serve(environment: str) -> None:
    with worker.socket_path() as path, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        worker.announce(path)
        connection, _ = listener.accept()
        with connection:
            request, response = _SIZES.unpack(connection.recv(_SIZES.size, socket.MSG_WAITALL))
            pong = bytes(response)
            while _receive(connection, request):
                connection.sendall(pong)


def _receive(connection: socket.socket, size: int) -> bool:
    """Receive so many bytes; False where the peer has gone."""
    while size:
        data = connection.recv(size)
        if not data:
            return False
        size -= len(data)
    return True


def _sizes() -> tuple[int, int]:
    """Return what capenv sends and receives per step, on the average of some."""
    with worker.server(play_capenv.__file__) as url:
        env = capenv.make(url)
        assert isinstance(env, capenv.RemoteEnv)
        sent = received = 0
        env.reset(seed=0)
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
    return round(sent / _STEPS), round(received / _STEPS)


if __name__ == "__main__":
    worker.main(client, serve)
