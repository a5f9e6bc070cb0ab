"""An environment that is unknown, cannot be made, or misbehaves: one sentence, and a reset mends it."""

import contextlib
import logging
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from errors_environments import Numbered, Odd, Troubled
from errors_process import HostProcess

import capenv
from capenv.errors import (
    BadSettings,
    CapenvError,
    EnvironmentFailed,
    OutsideSpace,
    Overloaded,
    ResetNeeded,
    UnknownEnvironment,
    UnsupportedSpace,
)


@pytest.fixture
def troubled(host: HostProcess) -> Iterator[Any]:
    with contextlib.closing(capenv.make(host.urls["Troubled"])) as env:
        env.reset(seed=1)
        yield env


@pytest.fixture(autouse=True)
def bystander(host: HostProcess) -> Iterator[None]:
    """An agent on the same server, whom none of this concerns."""
    with contextlib.closing(capenv.make(host.urls["Numbered"])) as env:
        env.reset()
        for number in (1, 2):
            observation, *_ = env.step(number * 10)
            assert list(observation) == [number, number * 10]
            if number == 1:
                yield


def told(error: CapenvError) -> str:
    """Return the text of an error that came from a host, after a look at what it must not hold."""
    text = str(error)
    assert "Traceback" not in text
    assert ".py" not in text
    assert "errors_environments" not in text
    return text


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("CartPole-v2", "this host has no environment 'CartPole-v2'; did you mean CartPole-v1?"),
        (
            "Chess",
            (
                "this host has no environment 'Chess'; it offers Numbered, Troubled, Needy, CartPole-v1,"
                " FrozenLake-v1"
            ),
        ),
        (
            None,
            (
                "this host offers several environments; name one of: Numbered, Troubled, Needy,"
                " CartPole-v1, FrozenLake-v1"
            ),
        ),
        (5, "the id of an environment is a str, not 5; see `capenv info`"),
    ],
)
def test_an_unknown_environment(host: HostProcess, name: Any, sentence: str) -> None:
    with pytest.raises(UnknownEnvironment) as raised:
        capenv.make(host.urls["host"], name)
    assert told(raised.value) == sentence


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("Troubled", {"truoble": ""}, "Troubled has no setting 'truoble'; did you mean 'trouble'?"),
        ("Needy", {"size": 1, "x": 2}, "Needy has no setting 'x'; it has size, colour"),
        ("Needy", {}, "Needy needs the setting 'size' (int); give it one"),
        (
            "Troubled",
            {"trouble": object()},
            (
                "the setting 'trouble' cannot be sent: only numbers, text, bytes, arrays, lists and maps of"
                " these can"
            ),
        ),
        (
            "Troubled",
            {"render_mode": "ansi"},
            "Troubled has no setting 'render_mode'; it has trouble",
        ),
    ],
)
def test_bad_settings(
    host: HostProcess, name: str, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadSettings) as raised:
        capenv.make(host.urls[name], **settings)
    assert told(raised.value) == sentence


def test_a_render_mode_that_there_is_not() -> None:
    host = capenv.Host()
    host.add("Taxi-v4")
    with (
        capenv.serve(host) as server,
        pytest.warns(UserWarning, match="not in the possible render_modes"),  # to the host
        pytest.raises(BadSettings, match="no render_mode 'rgb'; it has human, ansi, rgb_array"),
    ):
        capenv.make(server.url("Taxi-v4"), render_mode="rgb")


def test_settings_where_nothing_is_left_to_choose(host: HostProcess) -> None:
    with pytest.raises(
        BadSettings, match="names a world, where everything is chosen already; leave"
    ):
        capenv.make(host.urls["world"], trouble="x")
    with pytest.raises(
        BadSettings, match=r"names the environment Troubled, not a host.*leave the id"
    ):
        capenv.make(host.urls["Troubled"], "Numbered")


def test_a_maker_that_raises(host: HostProcess) -> None:
    with pytest.raises(EnvironmentFailed) as raised:
        capenv.make(host.urls["Troubled"], trouble="making")
    assert told(raised.value) == "Troubled could not be made: RuntimeError: no such level"
    assert "in __init__" in host.log, "its author wants the traceback"


def test_settings_beyond_all_bounds(host: HostProcess) -> None:
    with pytest.raises(Overloaded, match=r"a message of .* bytes is more than the .*; send less"):
        capenv.make(host.urls["Troubled"], trouble="x" * (65 << 20))


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("raising", "RuntimeError: the wheel fell off"),
        ("raising nothing", "AssertionError"),
        ("exiting", "SystemExit: enough"),
        ("malformed", "it did not return observation, reward, terminated, truncated, info"),
        ("undecided", "its terminated is no bool, but of the type ndarray"),
        ("no reward", "its reward is no number that can be sent, but of the type NoneType"),
        ("written reward", "its reward is no number that can be sent, but of the type str"),
        ("endless reward", "its reward is no number that can be sent, but of the type int"),
    ],
)
def test_a_step_that_fails(troubled: Any, trouble: str, reason: str) -> None:
    troubled.reset(options={"trouble": trouble})
    with pytest.raises(EnvironmentFailed) as raised:
        troubled.step(1)
    assert told(raised.value) == f"Troubled failed in step: {reason} (reset begins a new episode)"
    with pytest.raises(ResetNeeded, match="step after the environment failed; call reset to begin"):
        troubled.step(0)
    troubled.reset()
    troubled.step(0)


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("outside", r"/place/0 is 7\.0, outside Box\(-1\.0, 1\.0, \(2,\), float32\)"),
        ("shapeless", r"/lamps has the shape \(4,\), not \(3,\)"),
    ],
)
def test_an_observation_outside_its_space(troubled: Any, trouble: str, reason: str) -> None:
    troubled.reset(options={"trouble": trouble})
    with pytest.raises(EnvironmentFailed, match=f"the observation at {reason}") as raised:
        troubled.step(1)
    assert "check_observations=False" in told(raised.value)
    with pytest.raises(ResetNeeded):
        troubled.step(0)
    troubled.reset()
    troubled.step(0)


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("raising in reset", "RuntimeError: the level has no start"),
        ("malformed reset", "it did not return an observation and an info dict"),
        ("outside in reset", "the observation at /place/0 is 7.0, outside Box"),
    ],
)
def test_a_reset_that_fails(troubled: Any, trouble: str, reason: str) -> None:
    with pytest.raises(EnvironmentFailed) as raised:
        troubled.reset(options={"trouble": trouble})
    assert told(raised.value).startswith(f"Troubled failed in reset: {reason}")
    with pytest.raises(ResetNeeded, match="step after the environment failed; call reset to begin"):
        troubled.step(0)
    troubled.reset(options={"trouble": ""})
    troubled.step(0)


def test_the_host_logs_what_the_agent_is_not_told(host: HostProcess, troubled: Any) -> None:
    troubled.reset(options={"trouble": "raising"})
    with pytest.raises(EnvironmentFailed):
        troubled.step(1)
    assert "Troubled failed in step\nTraceback" in host.log


def test_a_rendering_that_fails(troubled: Any) -> None:
    with pytest.raises(
        EnvironmentFailed, match="Troubled failed in render: RuntimeError: no paint"
    ):
        troubled.render()
    troubled.reset()
    troubled.step(0)


def test_an_info_that_cannot_be_sent_is_dropped_with_one_warning(
    host: HostProcess, troubled: Any
) -> None:
    before = host.log.count("cannot be sent and is left out")
    for _ in range(3):
        troubled.reset(options={"trouble": "objects in info"})
        for _ in range(3):
            *_, info = troubled.step(1)
            assert info == {"count": 3, "nested": {"kept": "yes"}}
    assert host.log.count("cannot be sent and is left out") == before + 1
    assert "Troubled: the info /engine, /nested/lock cannot be sent and is left out" in host.log


def test_options_that_cannot_be_sent(troubled: Any) -> None:
    with pytest.raises(
        BadSettings, match=r"an option cannot be sent: the value at /x.*; only numbers"
    ):
        troubled.reset(options={"x": object()})
    with pytest.raises(BadSettings, match="the options are of the type list; give a dict or None"):
        troubled.reset(options=[1])
    with pytest.raises(Overloaded, match="send less at once"):
        troubled.reset(options={"x": np.zeros(65 << 20, np.uint8)})
    troubled.step(0)  # none of that reached the environment


@pytest.mark.parametrize(
    ("name", "action", "sentence"),
    [
        ("CartPole-v1", 2, r"the action is 2, outside Discrete\(2\)"),
        ("CartPole-v1", "left", r"the action is 'left', a str, not an element of Discrete\(2\)"),
        ("CartPole-v1", None, r"the action is None, a NoneType, not an element of Discrete\(2\)"),
        ("CartPole-v1", 0.5, r"the action is 0\.5, a float, not an element of Discrete\(2\)"),
    ],
)
def test_an_action_outside_its_space(
    host: HostProcess, name: str, action: Any, sentence: str
) -> None:
    with contextlib.closing(capenv.make(host.urls[name])) as env:
        env.reset(seed=3)
        before = env.step(1)
        with pytest.raises(OutsideSpace, match=sentence):
            env.step(action)
        with contextlib.closing(capenv.make(host.urls[name])) as twin:
            twin.reset(seed=3)
            twin.step(1)
            # It changed nothing: the episode goes on as that of one who did not ask for it.
            np.testing.assert_array_equal(env.step(0)[0], twin.step(0)[0])
        assert len(before) == 5


def test_an_action_outside_a_nested_space_is_told_by_its_path() -> None:
    class Nested(Numbered):
        action_space = capenv_space()

    host = capenv.Host()
    host.add("Nested", Nested)
    with (
        capenv.serve(host) as server,
        contextlib.closing(capenv.make(server.url("Nested"))) as env,
    ):
        env.reset()
        for arm, sentence in (
            (np.array([0.5, 3.0], np.float32), r"at /arms/1/1 is 3\.0, outside Box\(-1\.0, 1\.0"),
            (np.zeros(3, np.float32), r"at /arms/1 has the shape \(3,\), not \(2,\)"),
            (
                np.array([0.5, math.nan], np.float32),
                r"at /arms/1/1 is nan, outside Box\(-1\.0, 1\.0",
            ),
        ):
            with pytest.raises(OutsideSpace, match=f"the action {sentence}"):
                env.step({"arms": (0, arm)})
        with pytest.raises(OutsideSpace, match=r"the action .*arms"):
            env.step({"legs": 1})


def capenv_space() -> Any:
    from gymnasium import spaces

    return spaces.Dict({"arms": spaces.Tuple((spaces.Discrete(2), spaces.Box(-1, 1, (2,))))})


def test_a_space_of_nobodys_kind_is_refused_at_serve_time() -> None:
    host = capenv.Host()
    host.add("Numbered", Numbered)
    host.add("Odd", Odd)
    with pytest.raises(UnsupportedSpace) as raised, capenv.serve(host):
        pass
    text = str(raised.value)
    assert text.startswith("Odd cannot be offered: of its observation_space, the space at /odd, ")
    assert "errors_environments.Unfit" in text
    assert text.endswith("; wrap it so that it has one of Gymnasium's own")


@pytest.mark.parametrize(
    ("factory", "sentence"),
    [
        (lambda: 5, "the maker of Broken returned int, not a gymnasium.Env"),
        (lambda: Troubled("making"), "Broken could not be made: RuntimeError: no such level"),
        (
            lambda: type("Bare", (Numbered,), {"action_space": None})(),
            "Broken cannot be offered: it has no action_space; give it one",
        ),
    ],
)
def test_an_environment_that_cannot_be_offered(factory: Any, sentence: str) -> None:
    host = capenv.Host()
    host.add("Broken", factory)
    with pytest.raises(EnvironmentFailed) as raised, capenv.serve(host):
        pass
    assert str(raised.value) == sentence


def test_an_id_that_gymnasium_does_not_know() -> None:
    with pytest.raises(EnvironmentFailed, match=r"Gymnasium cannot make CartPole-v7: .*`v1`"):
        capenv.Host().add("CartPole-v7")


def test_an_environment_that_fails_in_close(caplog: pytest.LogCaptureFixture) -> None:
    class Clinging(Numbered):
        def close(self) -> None:
            raise RuntimeError("stuck")

    host = capenv.Host()
    host.add("Clinging", Clinging)
    with caplog.at_level(logging.ERROR, "capenv"), capenv.serve(host) as server:
        for _ in range(2):
            env = capenv.make(server.url())
            env.reset()
            env.close()
    assert "Clinging failed in close" in caplog.text
