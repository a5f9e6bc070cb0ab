"""Remote vectors are what Gymnasium's own are, bit for bit."""

import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from exactness import identical
from faithful_vectors import Rich, rich_host, serving
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import NormalizeObservation, RecordEpisodeStatistics

import capenv
from capenv.errors import (
    BadSettings,
    Disconnected,
    EnvironmentFailed,
    OutsideSpace,
    ResetNeeded,
    SessionBusy,
    SessionClosed,
    SessionError,
    UnknownEnvironment,
)
from capenv.remote.step_calls import StepCalls
from capenv.remote.vector_servant import VectorSessionServant

MAKERS: dict[str, Callable[[], gymnasium.Env[Any, Any]]] = {
    "CartPole-v1": lambda: gymnasium.make("CartPole-v1", disable_env_checker=True),
    "Pendulum-v1": lambda: gymnasium.make("Pendulum-v1", disable_env_checker=True),
    "rich": Rich,
}


@pytest.fixture(scope="module")
def server() -> Iterator[capenv.Server]:
    with serving(rich_host()) as server:
        yield server


def twins(
    server: capenv.Server, name: str, hosts: int, mode: AutoresetMode, n: int = 5
) -> tuple[Any, Any]:
    """Return a remote vector over so many connections, and a local one."""
    urls = [server.url(name)] * hosts
    remote = capenv.make_vec(
        urls[0] if hosts == 1 else urls,
        num_envs=n,
        vectorization_mode="sync",
        autoreset_mode=mode,
    )
    local: Any = SyncVectorEnv([MAKERS[name]] * n, autoreset_mode=mode)
    assert remote.num_envs == local.num_envs
    assert remote.observation_space == local.observation_space
    assert remote.action_space == local.action_space
    assert remote.single_observation_space == local.single_observation_space
    assert remote.single_action_space == local.single_action_space
    assert remote.metadata == local.metadata
    local.action_space.seed(7)
    return remote, local


@pytest.mark.parametrize("hosts", [1, 3])
@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("name", MAKERS)
def test_trajectories_are_identical(
    server: capenv.Server, name: str, mode: AutoresetMode, hosts: int
) -> None:
    remote, local = twins(server, name, hosts, mode)
    assert identical(remote.reset(seed=3), local.reset(seed=3))
    ended = 0
    for step in range(220):
        actions = local.action_space.sample()
        if step % 3 == 2:
            remote.step_async(actions)
            ours = remote.step_wait()
        else:
            ours = remote.step(actions)
        theirs = local.step(actions)
        assert identical(ours, theirs), f"after {step} steps"
        over = theirs[2] | theirs[3]
        ended += int(over.sum())
        if mode is AutoresetMode.DISABLED and over.any():
            # By a seed for each, since those that are not masked keep their own generators.
            arguments: Any = {"seed": [step + i for i in range(5)], "options": {"as": "again"}}
            ours = remote.reset(**_masked(arguments, over))
            assert identical(ours, local.reset(**_masked(arguments, over)))
    assert ended > 0
    remote.close()
    local.close()


def _masked(arguments: dict[str, Any], mask: Any) -> dict[str, Any]:
    return {**arguments, "options": {**arguments["options"], "reset_mask": mask.copy()}}


@pytest.mark.parametrize("hosts", [1, 2])
def test_seeds_are_given_as_gymnasium_gives_them(server: capenv.Server, hosts: int) -> None:
    remote, local = twins(server, "Pendulum-v1", hosts, AutoresetMode.NEXT_STEP)
    for seed in (0, 2**31 - 1, [5, 4, 3, 2, 1], [7, 7, 7, 7, 7]):
        assert identical(remote.reset(seed=seed), local.reset(seed=seed))
    for bad in ([1, 2], []):
        with pytest.raises(BadSettings, match="5 environments"):
            remote.reset(seed=bad)
    with pytest.raises(BadSettings, match="seed"):
        remote.reset(seed=-1)
    # without a seed it goes on with the generators it has
    assert identical(remote.reset(seed=1), local.reset(seed=1))
    assert identical(remote.reset(), local.reset())
    remote.close()


def test_an_entry_point_of_the_environment_is_used(server: capenv.Server) -> None:
    remote = capenv.make_vec(server.url("CartPole-v1"), num_envs=6)
    local: Any = gymnasium.make_vec("CartPole-v1", num_envs=6)
    assert remote.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert identical(remote.reset(seed=1), local.reset(seed=1))
    local.action_space.seed(1)
    for _ in range(100):
        actions = local.action_space.sample()
        assert identical(remote.step(actions), local.step(actions)), "float32 rewards too"
    remote.close()


def test_an_entry_point_that_cannot_do_it_gives_way_unless_one_insists(
    server: capenv.Server,
) -> None:
    url = server.url("CartPole-v1")
    envs = capenv.make_vec(url, num_envs=2, autoreset_mode="SameStep")
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    envs.close()
    insisting = {"vectorization_mode": "vector_entry_point"}
    with pytest.raises(BadSettings, match="another autoreset_mode"):
        capenv.make_vec(url, num_envs=2, autoreset_mode="SameStep", **insisting)
    with pytest.raises(BadSettings, match="no vector entry point"):
        capenv.make_vec(server.url("Pendulum-v1"), num_envs=2, **insisting)


@pytest.mark.parametrize("hosts", [1, 2])
def test_wrappers_work_on_top(server: capenv.Server, hosts: int) -> None:
    remote, local = twins(server, "CartPole-v1", hosts, AutoresetMode.NEXT_STEP)
    ours = NormalizeObservation(RecordEpisodeStatistics(remote))
    theirs = NormalizeObservation(RecordEpisodeStatistics(local))
    assert identical(ours.reset(seed=3), theirs.reset(seed=3))
    recorded = 0
    for _ in range(150):
        actions = local.action_space.sample()
        one, other = ours.step(actions), theirs.step(actions)
        for infos in (one[4], other[4]):
            recorded += "episode" in infos
            infos.get("episode", {}).pop("t", None)  # seconds
        assert identical(one, other)
    assert recorded > 2
    ours.close()


def test_rendering(server: capenv.Server) -> None:
    url = server.url("rich")
    for urls in (url, [url, url]):
        envs = capenv.make_vec(urls, num_envs=3, render_mode="rgb_array")
        assert envs.render_mode == "rgb_array"
        envs.reset(seed=1)
        frames = envs.render()
        assert isinstance(frames, tuple)
        assert [frame.shape for frame in frames] == [(2, 2, 3)] * 3
        envs.close()


def test_arrays_returned_are_the_callers_own(server: capenv.Server) -> None:
    envs = capenv.make_vec(server.url("CartPole-v1"), num_envs=300, vectorization_mode="sync")
    envs.reset(seed=1)
    kept: list[tuple[Any, Any]] = []
    for _ in range(30):
        observations, rewards, terminations, truncations, _ = envs.step(np.ones(300, np.int64))
        for array in (observations, rewards, terminations, truncations):
            assert array.flags.writeable
            kept.append((array, array.copy()))
    assert all(identical(array, copy) for array, copy in kept)
    envs.close()


def test_what_is_wrong_is_said_and_loses_nothing(server: capenv.Server) -> None:
    envs = capenv.make_vec(server.url("moody"), num_envs=3)
    with pytest.raises(ResetNeeded):
        envs.step(np.zeros(3, np.int64))
    envs.reset()
    for wrong in (np.zeros(2, np.int64), np.full(3, 7), "x"):
        with pytest.raises(OutsideSpace):
            envs.step(wrong)
    for _ in range(3):
        envs.step(np.zeros(3, np.int64))
        with pytest.raises(EnvironmentFailed, match="moody failed in step: ValueError: in a mood"):
            envs.step(np.array([0, 1, 0]))
        with pytest.raises(ResetNeeded):
            envs.step(np.zeros(3, np.int64))
        envs.reset()
        with pytest.raises(EnvironmentFailed, match="outside"):
            envs.step(np.array([0, 2, 0]))
        envs.reset()
    with pytest.raises(SessionError, match="without step_async"):
        envs.step_wait()
    envs.step_async(np.array([0, 1, 0]))
    with pytest.raises(SessionBusy, match="step_wait first"):
        envs.step(np.zeros(3, np.int64))
    with pytest.raises(EnvironmentFailed):
        envs.step_wait()
    envs.reset()
    envs.close()
    with pytest.raises(SessionClosed):
        envs.step(np.zeros(3, np.int64))


def test_one_of_several_hosts_fails_and_the_others_are_heard(server: capenv.Server) -> None:
    url = server.url("moody")
    envs = capenv.make_vec([url, url, url], num_envs=3)
    envs.reset()
    for _ in range(3):
        with pytest.raises(EnvironmentFailed):
            envs.step(np.array([0, 1, 0]))
        envs.reset()
        assert envs.step(np.zeros(3, np.int64))[0].tolist() == [[0.5]] * 3
    envs.close()


def test_what_cannot_be_made_is_refused(server: capenv.Server) -> None:
    url, host = server.url("CartPole-v1"), server.url()
    with pytest.raises(BadSettings, match="from 1 to 4096"):
        capenv.make_vec(url, num_envs=1 << 20)
    with pytest.raises(BadSettings, match="cannot be shared"):
        capenv.make_vec([url, url], num_envs=1)
    with pytest.raises(BadSettings, match="no setting 'colour'"):
        capenv.make_vec(url, num_envs=2, colour="red")
    with pytest.raises(BadSettings, match="make_vec"):
        capenv.make_vec(url, num_envs=2, autoreset_mode="sometimes")
    with pytest.raises(BadSettings, match="sync"):
        capenv.make_vec(url, num_envs=2, vectorization_mode="async")
    with pytest.raises(UnknownEnvironment):
        capenv.make_vec(host, num_envs=2, id="nothing")
    with pytest.raises(BadSettings, match="other spaces"):
        capenv.make_vec([url, server.url("Pendulum-v1")], num_envs=2)
    envs = capenv.make_vec(host, num_envs=2, id="rich", length=2)
    envs.close()
    envs.close()


def test_a_mask_works_in_every_mode_and_over_several_hosts(server: capenv.Server) -> None:
    for hosts in (1, 2):
        for mode in AutoresetMode:
            remote, local = twins(server, "Pendulum-v1", hosts, mode, n=4)
            mask = np.array([True, False, False, False])
            with pytest.raises((ResetNeeded, EnvironmentFailed)):
                remote.reset(options={"reset_mask": mask})
            assert identical(remote.reset(seed=3), local.reset(seed=3))
            for _ in range(3):
                actions = local.action_space.sample()
                assert identical(remote.step(actions), local.step(actions))
                seeds = [9, 8, 7, 6]
                ours = remote.reset(seed=seeds, options={"reset_mask": mask.copy()})
                assert identical(ours, local.reset(seed=seeds, options={"reset_mask": mask.copy()}))
            remote.close()


def test_who_keeps_rewards_keeps_no_observations(server: capenv.Server) -> None:
    envs = capenv.make_vec(server.url("CartPole-v1"), num_envs=64)
    envs.reset(seed=1)
    for _ in range(4):
        observations, *others, _ = envs.step(np.ones(64, np.int64))
    assert all(not np.shares_memory(observations, other) for other in others)
    assert sum(other.base is None or len(other.base) for other in others) < 2000
    envs.close()


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("hosts", [1, 2])
def test_steps_are_repeated_at_both_ends(
    server: capenv.Server, name: str, hosts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    general: list[str] = []
    for owner, method in ((StepCalls, "_learn"), (VectorSessionServant, "_answer_step")):
        original = getattr(owner, method)

        def counting(*arguments: Any, original: Any = original, name: str = method) -> Any:
            general.append(name)
            return original(*arguments)

        monkeypatch.setattr(owner, method, counting)
    urls = [server.url(name)] * hosts
    envs = capenv.make_vec(urls, num_envs=8, vectorization_mode="sync")
    envs.reset(seed=1)
    actions = envs.action_space.sample()
    for _ in range(6):
        envs.step(actions)
        envs.step_async(actions)
        envs.step_wait()
    assert len(general) <= 3 * hosts, "the first, and by which the host learns"
    envs.close()


def test_a_fork_leaves_its_parents_connections_alone(server: capenv.Server) -> None:
    envs = capenv.make_vec(server.url("CartPole-v1"), num_envs=2)
    envs.reset(seed=1)
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside the host's thread
        child = os.fork()
    if child == 0:
        try:
            envs.step(np.ones(2, np.int64))
        except Disconnected:
            os.write(write, b"refused")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 10) == b"refused"
    envs.step(np.ones(2, np.int64))
    envs.close()
    os.close(read)
    os.close(write)
