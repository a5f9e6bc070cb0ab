"""`capenv info`, `run`, `bench`, `demo`, and what all commands share."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import capenv

SECONDS = 60.0


@pytest.fixture(scope="module")
def places() -> Iterator[dict[str, str]]:
    """URLs of one of each kind of thing."""
    host = capenv.Host()
    environment = host.add("CartPole-v1")
    host.add("FrozenLake-v1")
    with capenv.serve(host) as server:
        world = environment.create_world({"max_episode_steps": 7})
        yield {
            "host": server.url(),
            "environment": server.url("CartPole-v1"),
            "world": server.url(world),
            "session": server.url(environment.create_world({}).join()),
        }


@pytest.mark.parametrize("kind", ["host", "environment", "world", "session"])
def test_info_for_programs(run: Any, places: dict[str, str], kind: str) -> None:
    ended = run("info", places[kind], "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    told = json.loads(ended.stdout)
    assert told["kind"] == kind
    assert told["url"] == str(capenv.CapabilityURL.parse(places[kind]))
    assert re.fullmatch(r"capenv \d+\.\d+\.\d+\S*", told["implementation"])
    assert told["version"] == "1.0"
    one = told["environments"][0] if kind == "host" else told
    assert one["id"] == "CartPole-v1"
    assert one["action_space"] == {
        "type": "Discrete", "text": "Discrete(2)", "shape": [], "dtype": "int64", "n": 2, "start": 0
    }  # fmt: skip
    assert one["observation_space"]["dtype"] == "float32"
    assert one["observation_space"]["high"][1] == "inf"
    assert {"name": "render_mode", "type": "str | None", "required": False, "default": None} in (
        one["settings"]
    )
    match kind:
        case "environment":
            assert told["seats"] == ["agent"]
        case "world":
            assert told["created_with"] == {"max_episode_steps": 7}
            assert told["seats"] == ["agent (free)"]
        case "session":
            assert told["seat"] == "agent"


@pytest.mark.parametrize("kind", ["host", "environment", "world", "session"])
def test_info_for_people(run: Any, places: dict[str, str], kind: str) -> None:
    ended = run("info", places[kind])
    assert (ended.returncode, ended.stderr) == (0, "")
    for word in (kind, "Discrete(2)", "implementation", "capenv ", "version", "render_mode"):
        assert word in ended.stdout
    assert places[kind].rpartition("/")[2] not in ended.stdout.replace("\n", "")


def test_run_is_reproducible(run: Any, urls: dict[str, str]) -> None:
    played = [run("run", urls["CartPole-v1"], "--episodes", "3", "--seed", "5") for _ in range(2)]
    rows = []
    for ended in played:
        assert (ended.returncode, ended.stderr) == (0, "")
        assert "\x1b" not in ended.stdout, "no colours where there is no terminal"
        # Number, return and length; the rate is never twice the same.
        rows.append(re.findall(r"(?m)^│\s+(\d)\s+│\s+([\d.]+)\s+│\s+(\d+)\s+│", ended.stdout))
    assert len(rows[0]) == 3
    assert rows[0] == rows[1]


def test_run_by_steps(run: Any, urls: dict[str, str]) -> None:
    ended = run("run", urls["CartPole-v1"], "--steps", "5", "--seed", "1")
    assert (ended.returncode, ended.stderr) == (0, "")
    lengths = re.findall(r"(?m)^│\s+\d+\s+│\s+[\d.]+\s+│\s+(\d+)\s+│", ended.stdout)
    assert sum(map(int, lengths)) == 5
    assert "cut short" in ended.stdout
    assert "5/5" in ended.stdout


def test_bench_for_programs(run: Any, urls: dict[str, str]) -> None:
    ended = run("bench", urls["CartPole-v1"], "--steps", "200", "--json")
    assert ended.returncode == 0
    told = json.loads(ended.stdout)
    for name in ("step", "raw_ping_pong"):
        assert 0 < told[name]["p50_us"] <= told[name]["p90_us"] <= told[name]["p99_us"]
        assert told[name]["per_second"] > 0
    assert told["request_bytes"] > 0
    assert told["response_bytes"] > 0
    assert told["ratio"] > 0


def test_demo(run: Any, running: Any) -> None:
    ended = run("demo")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.search(r"balancing\s+│\s+500\s+│\s+500\s+│", ended.stdout)
    (number,) = re.findall(r"runs as process (\d+)", ended.stdout)
    assert not running(int(number))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_interrupted_leaves_no_orphan(
    start: Any, running: Any, number: signal.Signals
) -> None:
    # The interrupt may come within the making of a socket, which then is closed by its finalizer.
    with start("demo", warnings="ignore::ResourceWarning") as demo:
        found = None
        while found is None:
            line = demo.stdout.readline()
            assert line, demo.stderr.read()
            found = re.search(r"runs as process (\d+)", line)
        demo.send_signal(number)
        _, errors = demo.communicate(timeout=SECONDS)
    assert demo.returncode == 128 + number
    assert errors == ""
    assert not running(int(found[1]))


@pytest.mark.parametrize("command", [["info"], ["run"], ["bench"]])
def test_failures_are_one_line(
    run: Any, complaint: Any, command: list[str], tmp_path: Path
) -> None:
    nowhere = tmp_path / "nowhere"
    assert complaint(run(*command, f"capnp://insecure@{nowhere}/{'A' * 43}")) == (
        f"NothingListening: nothing listens at {nowhere}; start a server there or check the path"
    )
    assert complaint(run(*command, "nonsense")).startswith("URLError: a capability URL begins with")


def test_a_host_of_several(run: Any, complaint: Any, places: dict[str, str]) -> None:
    assert complaint(run("run", places["host"])) == (
        "UnknownEnvironment: this host offers several environments; name one of: CartPole-v1,"
        " FrozenLake-v1"
    )
    assert complaint(run("run", places["host"], "--id", "CartPole-v2")) == (
        "UnknownEnvironment: this host has no environment 'CartPole-v2'; did you mean CartPole-v1?"
    )
    assert run("run", places["host"], "--id", "FrozenLake-v1", "--steps", "5").returncode == 0


def test_a_url_with_a_key_pin(run: Any, complaint: Any) -> None:
    pinned = f"capnp://sha-256:{'A' * 43}@127.0.0.1:7000/{'A' * 43}"
    assert "needs TLS, which this version does not speak yet" in complaint(run("info", pinned))


def test_help(run: Any) -> None:
    ended = run("--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    for command in ("serve", "info", "run", "bench", "demo"):
        assert command in ended.stdout


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from capenv.__main__ import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr == f"the capenv command needs {missing}: pip install 'capenv[cli]'\n"


def test_without_a_terminal_or_a_home(run: Any, urls: dict[str, str]) -> None:
    environment = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
    ended = run(
        "run", urls["CartPole-v1"], "--steps", "5", env=environment, stdin=subprocess.DEVNULL
    )
    assert (ended.returncode, ended.stderr) == (0, "")
