"""The interfaces of `schema/host.capnp` with pycapnp's own C++-backed RPC at either end."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import trio

import capenv
from capenv.link import UnixAddress
from capenv.url import CapabilityURL, Insecure, new_secret

HERE = Path(__file__).parent


def test_an_agent_written_with_pycapnp_plays_our_host() -> None:
    host = capenv.Host()
    host.add("CartPole-v1")
    steps = 20
    with capenv.serve(host) as server:
        url = CapabilityURL.parse(server.url("CartPole-v1"))
        assert isinstance(url.address, UnixAddress)
        agent = subprocess.run(
            [
                sys.executable,
                str(HERE / "pycapnp_agent.py"),
                url.address.path,
                url.secret.hex(),
                str(steps),
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert agent.returncode == 0, agent.stderr
    told = json.loads(agent.stdout)

    local = gymnasium.make("CartPole-v1")
    frames = [local.reset(seed=1)[0].tobytes().hex()]
    rewards = []
    for number in range(steps):
        observation, reward, *_ = local.step(number % 2)
        frames.append(observation.tobytes().hex())
        rewards.append(reward)
    assert told["frames"] == frames
    assert told["rewards"] == rewards
    assert (told["server"], told["id"], told["layout"]) == ("capenv", "CartPole-v1", [""])
    assert "OutsideSpace: the action is" in told["refused"]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[tuple[CapabilityURL, "subprocess.Popen[str]"]]:
    """A host written with pycapnp, and the URL of its one environment."""
    url = CapabilityURL(Insecure(), UnixAddress(str(tmp_path / "host")), secret=new_secret())
    command = [
        sys.executable,
        str(HERE / "pycapnp_host.py"),
        str(tmp_path / "host"),
        url.secret.hex(),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield url, process
        process.terminate()


def test_our_blocking_agent_plays_a_host_written_with_pycapnp(
    host: tuple[CapabilityURL, "subprocess.Popen[str]"],
) -> None:
    url, process = host
    env = capenv.make(url)
    assert env.observation_space == gymnasium.spaces.Box(0, 100, (1,), np.float32)
    assert env.action_space == gymnasium.spaces.Discrete(3)
    observation, info = env.reset(seed=1)
    assert observation == np.float32([1])
    assert info == {}
    observation, reward, terminated, truncated, info = env.step(np.int64(2))
    assert (observation[0], reward, terminated, truncated, info) == (
        3.0,
        2.0,
        False,
        False,
        {"sum": 3},
    )
    assert env.step(np.int64(2))[2] is True
    with pytest.raises(capenv.errors.RemoteError):
        env.render()
    env.close()
    assert process.stdout is not None
    assert process.stdout.readline() == "session ended\n"

    with pytest.raises(capenv.errors.BadSettings, match="no settings"):
        capenv.make(url, gravity=3)
    with pytest.raises(capenv.errors.UnknownToken):
        capenv.make(url.with_secret(new_secret()))


def test_our_trio_agent_plays_a_host_written_with_pycapnp(
    host: tuple[CapabilityURL, "subprocess.Popen[str]"],
) -> None:
    url, _ = host

    async def main() -> None:
        async with capenv.connect(url) as environment:
            assert isinstance(environment, capenv.RemoteEnvironment)
            assert (await environment.describe()).id == "counter"
            # It was written without createWorld, and pycapnp says so in its way.
            with pytest.raises(capenv.errors.RemoteError):
                await environment.create_world()

    trio.run(main)
