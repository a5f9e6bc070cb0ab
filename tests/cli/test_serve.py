"""`capenv serve`: what it prints, when it is ready, how it ends, and how it fails."""

import os
import re
import signal
import socket
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import capenv

SECONDS = 60.0


def test_a_line_for_each_environment(start: Any) -> None:
    with start("serve", "CartPole-v1", "FrozenLake-v1") as server:
        lines = [server.stdout.readline() for _ in range(2)]
        for line, id in zip(lines, ("CartPole-v1", "FrozenLake-v1"), strict=True):  # noqa: A001
            assert re.fullmatch(rf"{id}\tcapnp://insecure@/.+/[A-Za-z0-9_-]{{43}}\n", line)
        server.send_signal(signal.SIGTERM)
        rest, log = server.communicate(timeout=SECONDS)
    assert rest == "", "nothing but the lines on standard output"
    assert "serving CartPole-v1, FrozenLake-v1" in log
    for line in lines:
        assert line.rstrip("\n").rpartition("/")[2] not in log, "no secret in the log"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_politely(start: Any, tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "socket"
    with start("serve", "CartPole-v1", "--listen", f"capnp://insecure@{path}") as server:
        url = server.stdout.readline().rstrip("\n").split("\t")[1]
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        env = capenv.make(url)
        env.reset()
        server.send_signal(number)
        _, log = server.communicate(timeout=SECONDS)
    assert server.returncode == 0
    assert not path.exists()
    assert f"{number.name}: telling sessions and ending" in log
    assert "Traceback" not in log
    with pytest.raises(capenv.errors.Disconnected, match="the server is shutting down; reset"):
        env.step(0)
    env.close()


_HANGING = """
import gymnasium

class Hanging(gymnasium.Env):
    observation_space = action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        open("hanging", "w").close()
        while True:
            pass

gymnasium.register("Hanging-v0", Hanging)
"""


def test_a_second_signal_ends_it_whatever_an_environment_does(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "hanging_games.py").write_text(_HANGING)
    with start("serve", "hanging_games:Hanging-v0") as server:
        url = server.stdout.readline().rstrip("\n").split("\t")[1]
        env = capenv.make(url)
        thread = threading.Thread(target=_reset_until_it_ends, args=[env])
        thread.start()
        while not (tmp_path / "hanging").exists():
            time.sleep(0.01)
        for _ in range(2):
            server.send_signal(signal.SIGTERM)
            time.sleep(0.1)
        server.communicate(timeout=SECONDS)
        thread.join()
    assert server.returncode == -signal.SIGTERM


def _reset_until_it_ends(env: Any) -> None:
    with pytest.raises(capenv.errors.Disconnected):
        env.reset()
    env.close()


def test_the_file_of_urls(start: Any, tmp_path: Path) -> None:
    file = tmp_path / "urls"
    with start("serve", "CartPole-v1", "--url-file", str(file)) as server:
        # The lines are printed once the file is there, and both only once the server answers.
        line = server.stdout.readline()
        text = file.read_text()
        capenv.make(text.rstrip("\n").split("\t")[1]).close()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert line == text
        server.terminate()
        server.communicate(timeout=SECONDS)
    assert os.listdir(tmp_path) == ["urls"]


def test_a_port_on_loopback(start: Any) -> None:
    with start("serve", "CartPole-v1", "--listen", "tcp:127.0.0.1:0") as server:
        url = server.stdout.readline().rstrip("\n").split("\t")[1]
        assert re.match(r"capnp://insecure@127\.0\.0\.1:[1-9][0-9]*/", url)
        capenv.make(url).close()
        server.terminate()
        server.communicate(timeout=SECONDS)
    assert server.returncode == 0


def test_an_unknown_id(run: Any, complaint: Any) -> None:
    text = complaint(run("serve", "CartPole-v1", "NoSuchGame-v0"))
    assert text.startswith("EnvironmentFailed: Gymnasium cannot make NoSuchGame-v0: ")


def test_a_module_that_is_not_there(run: Any, complaint: Any) -> None:
    text = complaint(run("serve", "no_such_module:Game-v0"))
    assert "Gymnasium cannot make no_such_module:Game-v0: No module named 'no_such_module'" in text


def test_a_busy_socket(run: Any, complaint: Any, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen()
        text = complaint(run("serve", "CartPole-v1", "--listen", f"capnp://insecure@{path}"))
    assert text == (
        f"AddressInUse: a server already listens at {path}; stop it or choose another path"
    )


def test_a_busy_port(run: Any, complaint: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        place = f"127.0.0.1:{door.getsockname()[1]}"
        text = complaint(run("serve", "CartPole-v1", "--listen", f"capnp://insecure@{place}"))
    assert text == (
        f"AddressInUse: somebody already listens at {place}; choose another port, or 0 for any"
    )


def test_a_dead_servers_socket_is_taken_over(start: Any, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    for _ in range(2):
        with start("serve", "CartPole-v1", "--listen", f"capnp://insecure@{path}") as server:
            url = server.stdout.readline().rstrip("\n").split("\t")[1]
            capenv.make(url).close()
            server.kill()
            server.communicate(timeout=SECONDS)
        assert path.exists(), "killed, it could not clear up"


@pytest.mark.parametrize(
    ("listen", "sentence"),
    [
        ("somewhere", "URLError: a capability URL begins with capnp://"),
        (
            "tcp:0.0.0.0:0",
            "LinkError: plain TCP beyond loopback is not encrypted; listen at 127.0.0.1",
        ),
        (
            "unix:/no/such/directory/socket",
            "LinkError: cannot listen in /no/such/directory: No such",
        ),
    ],
)
def test_a_place_where_nobody_can_listen(
    run: Any, complaint: Any, listen: str, sentence: str
) -> None:
    assert complaint(run("serve", "CartPole-v1", "--listen", listen)).startswith(sentence)


def test_a_file_that_cannot_be_written(run: Any) -> None:
    ended = run("serve", "CartPole-v1", "--url-file", "/no/such/directory/urls")
    assert ended.returncode == 1
    assert ended.stdout == ""
    *_, line = ended.stderr.splitlines()
    assert line.startswith(
        "error: CapenvError: cannot write /no/such/directory/urls: No such file or directory; choose"
    )
    assert "Traceback" not in ended.stderr
