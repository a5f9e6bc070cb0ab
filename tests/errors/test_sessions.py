"""A session that cannot do that now: not begun, closed, busy, taken, destroyed, or its server gone."""

import contextlib
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import trio
from errors_process import SECONDS, Gate, HostProcess

import capenv
from capenv.errors import (
    Disconnected,
    NothingListening,
    ResetNeeded,
    SeatTaken,
    SessionBusy,
    SessionClosed,
    UnknownSeat,
)


@pytest.fixture
def gate(tmp_path: Path) -> Any:
    with contextlib.closing(Gate(tmp_path / "gate")) as gate:
        yield gate


class Stepping(threading.Thread):
    """A step in another thread, and what came of it."""

    def __init__(self, env: Any, action: int) -> None:
        super().__init__()
        self._env, self._action = env, action
        self.result: Any = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self._env.step(self._action)
        except BaseException as error:
            self.error = error

    def done(self) -> "Stepping":
        self.join(SECONDS)
        assert not self.is_alive(), "the step hangs"
        return self


def test_step_and_render_before_reset(host: HostProcess) -> None:
    with contextlib.closing(capenv.make(host.urls["Numbered"])) as env:
        with pytest.raises(ResetNeeded, match=r"^step before the first reset; call reset to begin"):
            env.step(0)
        with pytest.raises(
            ResetNeeded, match=r"^render before the first reset; call reset to begin"
        ):
            env.render()
        env.reset()
        assert list(env.step(7)[0]) == [1, 7]


def test_after_close(host: HostProcess) -> None:
    env = capenv.make(host.urls["Numbered"])
    env.reset()
    env.close()
    env.close()
    for what, act in (("step", lambda: env.step(0)), ("render", env.render)):
        with pytest.raises(SessionClosed, match=f"^{what} after close; reset connects again$"):
            act()
    env.reset()
    assert list(env.step(7)[0]) == [1, 7]
    env.close()


def test_two_threads(host: HostProcess, gate: Gate) -> None:
    with contextlib.closing(capenv.make(host.urls["Numbered"], gate=gate.path)) as env:
        env.reset()
        first = Stepping(env, 7)
        gate.wait_entered()
        for what, act in (("step", lambda: env.step(8)), ("reset", env.reset)):
            with pytest.raises(
                SessionBusy,
                match=rf"^{what} while another thread uses this environment; give each thread its own"
                r" \(copy\.deepcopy makes one\)$",
            ):
                act()
        gate.let_go()
        assert list(first.done().result[0]) == [1, 7]
        gate.let_go()
        assert list(env.step(9)[0]) == [2, 9]


def test_close_while_another_thread_steps(host: HostProcess, gate: Gate) -> None:
    env = capenv.make(host.urls["Numbered"], gate=gate.path)
    env.reset()
    step = Stepping(env, 7)
    gate.wait_entered()
    env.close()
    error = step.done().error
    gate.let_go()
    assert isinstance(error, SessionClosed)
    assert str(error) == "step after close; reset connects again"
    env.reset()
    gate.let_go()
    assert list(env.step(9)[0]) == [1, 9]
    env.close()


def test_a_taken_seat(host: HostProcess) -> None:
    with contextlib.closing(capenv.make(host.urls["world"])) as env:
        env.reset()
        with pytest.raises(SeatTaken) as raised:
            capenv.make(host.urls["world"])
        assert str(raised.value) == (
            "the seat 'agent' is taken; create a world of your own, or wait"
        )
        assert list(env.step(7)[0]) == [1, 7]
    capenv.make(host.urls["world"]).close()  # free again


def test_a_seat_that_is_not_there(host: HostProcess) -> None:
    async def join() -> None:
        async with capenv.connect(host.urls["world"]) as world:
            with pytest.raises(UnknownSeat, match="no seat 'throne'; this world has 'agent'"):
                await world.join("throne")
            session = await world.join("agent")
            await session.leave()

    trio.run(join)


def test_a_world_destroyed_under_its_session(own_host: HostProcess) -> None:
    env = capenv.make(own_host.urls["world"])
    env.reset()
    own_host.destroy_world()
    for act in (lambda: env.step(0), env.reset):
        with pytest.raises(SessionClosed, match=r"its world was destroyed; join a world anew$"):
            act()
    env.close()
    with pytest.raises(SessionClosed, match=r"^the world was destroyed; create another$"):
        capenv.make(own_host.urls["world"])
    capenv.make(own_host.urls["Numbered"]).close()  # the server goes on


def test_a_session_that_was_left(host: HostProcess) -> None:
    async def play() -> None:
        async with capenv.connect(host.urls["Numbered"]) as environment:
            session = environment.create_world().join()
            await session.reset()
            await session.leave()
            with pytest.raises(SessionClosed, match="the session was left"):
                await session.step(0)

    trio.run(play)


def test_the_server_killed_in_the_middle_of_a_step(own_host: HostProcess, gate: Gate) -> None:
    url = own_host.urls["Numbered"]
    env = capenv.make(url, gate=gate.path)
    env.reset()
    step = Stepping(env, 7)
    gate.wait_entered()
    own_host.process.kill()
    own_host.process.wait(SECONDS)
    error = step.done().error
    place = str(capenv.CapabilityURL.parse(url))
    assert isinstance(error, Disconnected)
    assert str(error).startswith(f"the connection to {place} ended in step: ")
    assert str(error).endswith("; reset connects again")
    with pytest.raises(Disconnected) as raised:
        env.step(8)
    assert str(raised.value) == f"step after the connection to {place} broke; reset connects again"
    with pytest.raises(NothingListening, match="start a server there"):
        env.reset()
    env.close()


def test_the_server_killed_under_trio(own_host: HostProcess) -> None:
    async def play() -> None:
        async with capenv.connect(own_host.urls["Numbered"]) as environment:
            session = await environment.create_world().join()
            await session.reset()
            own_host.process.kill()
            own_host.process.wait(SECONDS)
            with pytest.raises(Disconnected):
                await session.step(0)
            with pytest.raises(Disconnected):
                await session.reset()

    trio.run(play)


def test_the_server_shut_down_politely() -> None:
    command = [sys.executable, "-m", "capenv", "serve", "CartPole-v1"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        url = server.stdout.readline().rstrip("\n").split("\t")[1]
        env = capenv.make(url)
        env.reset()
        server.send_signal(signal.SIGTERM)
        _, log = server.communicate(timeout=SECONDS)
    assert server.returncode == 0
    assert "Traceback" not in log
    with pytest.raises(Disconnected) as raised:
        env.step(0)
    place = str(capenv.CapabilityURL.parse(url))
    assert str(raised.value) == (
        f"the connection to {place} ended in step: the server is shutting down; reset connects again"
    )
    env.close()


def test_a_session_with_a_url_of_its_own_outlives_its_agent(host: HostProcess) -> None:
    url = host.urls["session"]
    with contextlib.closing(capenv.make(url)) as env:
        env.reset()
        env.step(7)
    with contextlib.closing(capenv.make(url)) as env:
        assert list(env.step(8)[0]) == [2, 8]
