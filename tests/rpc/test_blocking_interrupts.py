"""Ctrl-C and threads: what comes from outside while a blocking connection waits."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import FrameType
from typing import Any

import pytest
from rpc_blocking import answer_all, echo, played, root_of, served
from rpc_probe import ECHO, Probe, params, text_of, text_params
from rpc_schema import PROBE

from capenv.blocking import BlockingConnection
from capenv.errors import (
    Disconnected,
)
from capenv.rpc.capability import Capability, Content, Hosted
from capenv.rpc.servant import Request


@contextlib.contextmanager
def interrupt_after(seconds: float) -> Iterator[None]:
    """Raise KeyboardInterrupt in whatever runs by then."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_an_interrupt_while_waiting_leaves_the_connection_whole() -> None:
    probe = Probe()
    with served(probe) as connection:
        root = root_of(connection)
        for number in range(5):
            with pytest.raises(KeyboardInterrupt), interrupt_after(0.02):
                connection.wait(connection.call(root, PROBE["hang"], params("hang")))
            assert echo(connection, root, str(number)) == str(number)
        connection.wait(connection.call(root, PROBE["slow"], params("slow", text="")))
        assert probe.hanging == 0


def test_an_interrupt_while_sending_leaves_the_connection_whole() -> None:
    with played() as (connection, peer, root):
        big = connection.call(root, PROBE["data"], params("data", data=bytes(8 << 20)))
        with pytest.raises(KeyboardInterrupt), interrupt_after(0.05):
            connection.wait(big)
        received: list[bool] = []

        def read() -> None:
            while not received:
                peer.take()
                while (event := peer.core.next_event()) is not None:
                    received.append(True)
                    peer.core.respond(event.answer, text_params("answer"))  # type: ignore[union-attr]

        reader = threading.Thread(target=read)
        reader.start()
        connection.flush()
        reader.join()
        peer.give()
        question = connection.call(root, ECHO, text_params("next"))
        connection.flush()
        peer.take()
        answer_all(peer)
        peer.give()
        assert text_of(connection.wait(question)) == "next"


def interrupted_at(moment: int, act: Callable[[], object]) -> bool:
    """Run `act` with a KeyboardInterrupt before the line of that number; return whether it came so far."""
    lines = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        if not frame.f_globals["__name__"].startswith("capenv."):
            return None
        if event == "line":
            lines += 1
            if lines == moment:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_an_interrupt_at_any_line_mixes_up_nothing() -> None:
    """The connection goes on, and every answer is right, or it says that it has ended."""
    ended = moment = 0
    came = True
    while came:
        moment += 3
        with served() as connection:
            root = root_of(connection)
            came = interrupted_at(moment, partial(echo, connection, root, "interrupted"))
            try:
                assert [echo(connection, root, text) for text in ("next", "last")] == [
                    "next",
                    "last",
                ]
            except Disconnected:
                assert "an interrupt came" in str(connection.core.closed)
                ended += 1
    assert 0 < ended < moment // 3


class Guarded(Probe):
    """Calls back while it is called, and looks whether Ctrl-C is still kept out of what is going on."""

    connected: BlockingConnection
    root: Capability
    handlers: list[Any]

    def echo(self, request: Request) -> Content:
        self.handlers = [signal.getsignal(signal.SIGINT)]
        self.connected.ask(self.root, ECHO, text_params("inner"))
        self.handlers.append(signal.getsignal(signal.SIGINT))
        return super().echo(request)


def test_a_call_within_a_call_leaves_the_guard_of_the_outer_one_up() -> None:
    mine = Guarded()
    with served() as connection:
        mine.connected, mine.root = connection, root_of(connection)
        content = params("callBack", {"target": Hosted(mine)}, text="outer")
        connection.ask(mine.root, PROBE["callBack"], content)
    before, after = mine.handlers
    assert before == after != signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_thread_waits_and_others_do_not() -> None:
    with served() as connection:
        root = root_of(connection)
        hanging = connection.call(root, PROBE["hang"], params("hang"))
        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(connection.wait, hanging)
            texts = [text_of(connection.ask(root, ECHO, text_params(str(n)))) for n in range(20)]
            assert texts == [str(n) for n in range(20)]
            assert not waits.done()
            connection.close()
            with pytest.raises(Disconnected):
                waits.result(30)
