"""The blocking driver, against a probe that another thread runs under Trio."""

import contextlib
import logging
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rpc_blocking import answer_all, echo, played, root_of, served
from rpc_messages import messages
from rpc_probe import ECHO, Probe, params, socket_pair, text_of, text_params
from rpc_schema import PROBE

from capenv.blocking import BlockingConnection
from capenv.errors import (
    DeadlineExceeded,
    Disconnected,
    EnvironmentFailed,
    RemoteError,
    Unimplemented,
)
from capenv.rpc.capability import Capability, Content, Hosted
from capenv.rpc.connection import Connection
from capenv.rpc.events import CallReceived
from capenv.rpc.limits import Limits
from capenv.rpc.messages import Canceled, Return
from capenv.rpc.servant import Request


def test_calls_pipelines_and_errors() -> None:
    with served() as connection:
        root = connection.bootstrap().pipeline()
        child = connection.call(root, PROBE["child"], params("child", name="second"))
        inner = child.pipeline(PROBE["child"].results.slot("child"))
        name = connection.wait(connection.call(inner, PROBE["name"], params("name")))
        assert PROBE["name"].results.read(name.segments).name == "second"
        with pytest.raises(EnvironmentFailed, match="it fell over"):
            connection.wait(
                connection.call(root, PROBE["fail"], params("fail", reason="it fell over"))
            )
        with pytest.raises(Unimplemented):
            connection.wait(connection.call(root, PROBE["missing"], params("missing")))
        assert echo(connection, root, "still there") == "still there"


@given(order=st.permutations(range(5)), skip=st.sets(st.integers(0, 4)))
@settings(max_examples=20)
def test_answers_go_to_their_questions_in_whatever_order_they_are_waited_for(
    order: list[int], skip: set[int]
) -> None:
    with served() as connection:
        root = root_of(connection)
        questions = [
            connection.call(root, PROBE["slow"], params("slow", text=str(n))) for n in range(5)
        ]
        for number in skip:
            connection.cancel(questions[number])
        for number in order:
            if number in skip:
                with pytest.raises(RemoteError, match="canceled"):
                    connection.wait(questions[number])
            else:
                assert text_of(connection.wait(questions[number])) == str(number)
        assert echo(connection, root, "last") == "last"


def test_a_deadline_ends_the_wait_and_not_the_connection() -> None:
    probe = Probe()
    with served(probe) as connection:
        root = root_of(connection)
        with pytest.raises(DeadlineExceeded):
            connection.wait(connection.call(root, PROBE["hang"], params("hang")), timeout=0.02)
        connection.wait(connection.call(root, PROBE["slow"], params("slow", text="still there")))
        assert probe.hanging == 0


def test_an_answer_that_comes_late_goes_to_nobody() -> None:
    with played() as (connection, peer, root):
        late = connection.call(root, ECHO, text_params("late"))
        assert late.carrier is not None
        late_id = late.carrier.id
        with pytest.raises(DeadlineExceeded):
            connection.wait(late, timeout=0.01)
        peer.take()
        answer_all(peer)
        peer.give()
        for text in ("one", "two"):
            question = connection.call(root, ECHO, text_params(text))
            assert question.carrier is not None
            assert question.carrier.id != late_id or text == "two"
            connection.flush()
            peer.take()
            answer_all(peer)
            peer.give()
            assert text_of(connection.wait(question)) == text
        assert isinstance(late.outcome, RemoteError)


class Blocking(Probe):
    """A probe of this side, called while this side waits."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self.act = act

    def echo(self, request: Request) -> Content:
        self.act()
        return super().echo(request)


def call_back(connection: BlockingConnection, root: Capability, mine: Probe) -> str:
    content = params("callBack", {"target": Hosted(mine)}, text="back")
    return text_of(connection.wait(connection.call(root, PROBE["callBack"], content)))


def test_a_capability_passed_is_called_back_while_waiting() -> None:
    with served() as connection:
        mine = Probe("mine")
        assert call_back(connection, root_of(connection), mine) == "back"
        assert mine.log == ["back"]
        root = root_of(connection)
        echo(connection, root, "the release has come before this")
        assert mine.releases == 1


def test_an_object_called_back_may_itself_call_and_wait() -> None:
    with served() as connection:
        root = root_of(connection)
        heard: list[str] = []
        mine = Blocking(lambda: heard.append(echo(connection, root, "from within")))
        assert call_back(connection, root, mine) == "back"
        assert heard == ["from within"]
        assert echo(connection, root, "still there") == "still there"


def test_an_interrupt_in_an_object_called_back_fails_the_call_alone() -> None:
    def act() -> None:
        raise KeyboardInterrupt

    with served() as connection:
        root = root_of(connection)
        with pytest.raises(KeyboardInterrupt):
            call_back(connection, root, Blocking(act))
        assert echo(connection, root, "still there") == "still there"


def test_an_object_that_must_wait_cannot_be_called_back() -> None:
    class Waiting(Probe):
        async def echo(self, request: Request) -> Content:  # type: ignore[override]
            raise AssertionError

    with served() as connection, pytest.raises(Unimplemented, match="nothing can wait"):
        call_back(connection, root_of(connection), Waiting())


def test_an_internal_error_is_logged_here_and_told_by_its_class_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def act() -> None:
        raise ValueError("the password is swordfish")

    with served() as connection, caplog.at_level(logging.ERROR, "capenv.blocking"):
        with pytest.raises(RemoteError, match="ValueError") as caught:
            call_back(connection, root_of(connection), Blocking(act))
        assert "swordfish" not in str(caught.value)
    assert "swordfish" in caplog.text


def test_an_object_of_our_own_is_called_without_the_peer() -> None:
    link, far = socket_pair()
    connection = BlockingConnection(link)
    question = connection.call(Hosted(Probe("mine")), ECHO, text_params("myself"))
    assert text_of(connection.wait(question, timeout=5)) == "myself"
    connection.close()
    far.close()


def test_a_mistake_of_the_caller_does_not_end_the_connection() -> None:
    with served() as connection:
        root = root_of(connection)
        with pytest.raises(TypeError):
            connection.call(None, ECHO, text_params("null"))  # type: ignore[arg-type]
        assert echo(connection, root, "still there") == "still there"


def test_a_peer_that_goes_away_fails_what_is_waited_for() -> None:
    with played() as (connection, peer, root):
        question = connection.call(root, ECHO, text_params("anybody?"))
        other = connection.call(root, ECHO, text_params("or you?"))
        connection.flush()
        peer.socket.close()
        for asked in (question, other, connection.call(root, ECHO, text_params("late"))):
            with pytest.raises(Disconnected):
                connection.wait(asked)


def test_the_reason_of_the_peer_is_told() -> None:
    with played() as (connection, peer, root):
        question = connection.call(root, ECHO, text_params("hello"))
        peer.core.abort(Disconnected("closing time"))
        peer.give()
        peer.socket.close()
        with pytest.raises(Disconnected, match="closing time"):
            connection.wait(question)


def test_a_peer_that_breaks_a_rule_is_told_so_in_the_end() -> None:
    with played() as (connection, peer, root):
        question = connection.call(root, ECHO, text_params("hello"))
        peer.core._outbox.send(Return(99, Canceled()))
        peer.give()
        with pytest.raises(Disconnected):
            connection.wait(question)
        connection.close()
        while peer.core.closed is None:
            peer.take()
        assert "id not among" in str(peer.core.closed)


def test_closing_is_idempotent_and_sends_what_is_left() -> None:
    with played() as (connection, peer, root):
        del root
        connection.close()
        connection.close()
        peer.take()
        assert peer.core.closed is None
        with pytest.raises(Disconnected):
            connection.wait(connection.bootstrap())


@given(arriving=st.lists(messages, max_size=6))
@settings(max_examples=60)
def test_no_sequence_of_messages_hangs_or_breaks_the_driver(arriving: list[Any]) -> None:
    link, far = socket_pair()
    connection = BlockingConnection(link, Probe())
    sender = Connection()
    for message in arriving:
        sender._outbox.send(message)
    far.sendall(b"".join(bytes(buffer) for buffer in sender.data_to_send()))
    far.shutdown(socket.SHUT_WR)
    with contextlib.suppress(Disconnected, RemoteError):
        connection.wait(connection.bootstrap(), timeout=5)
    connection.close()
    far.close()
    assert connection.core.idle


def test_a_stream_waits_only_for_its_window_and_ends_with_its_first_failure() -> None:
    with played() as (connection, peer, root):
        connection.core.limits = Limits(stream_window=16 << 10)

        def write(size: int, timeout: float) -> None:
            content = params("write", text="x" * size)
            connection.stream(root, PROBE["write"], content, timeout=timeout)

        for _ in range(4):
            write(3 << 10, timeout=5)
        with pytest.raises(DeadlineExceeded):
            write(8 << 10, timeout=0.01)
        taken = 0
        while taken < 5:
            peer.take()
            while (event := peer.core.next_event()) is not None:
                assert isinstance(event, CallReceived)
                taken += 1
                peer.core.fail(event.answer, RemoteError("the disk is full"))
        peer.give()
        with pytest.raises(RemoteError, match="the disk is full"):
            write(8 << 10, timeout=5)
        with pytest.raises(RemoteError, match="the disk is full"):
            write(1, timeout=0)


def test_threads_take_turns_on_one_connection() -> None:
    with served() as connection:
        root = root_of(connection)

        def ask(name: str) -> list[str]:
            return [
                text_of(connection.ask(root, ECHO, text_params(f"{name} {n}"), timeout=30))
                for n in range(50)
            ]

        with ThreadPoolExecutor(4) as pool:
            for name, texts in zip("abcd", pool.map(ask, "abcd"), strict=True):
                assert texts == [f"{name} {n}" for n in range(50)]
        assert connection.connected


def test_a_deadline_longer_than_a_slice_is_kept() -> None:
    with served() as connection:
        root = root_of(connection)
        begin = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            connection.ask(root, PROBE["hang"], params("hang"), timeout=0.1)
        assert time.monotonic() - begin >= 0.1
