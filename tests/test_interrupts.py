"""An interrupt that falls into a change waits for its end, and else is anybody's."""

import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from capenv.interrupts import Interrupts


@pytest.fixture(autouse=True)
def handler() -> Iterator[object]:
    """Python's own handler, whatever runs these tests, and that it is back in the end."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def test_outside_of_a_change_it_comes_at_once() -> None:
    interrupts = Interrupts()
    with pytest.raises(KeyboardInterrupt), interrupts:
        interrupt()


def test_within_a_change_it_waits() -> None:
    interrupts = Interrupts()
    done = []

    def change() -> None:
        with interrupts:
            interrupts.held = True
            interrupt()
            interrupt()
            done.append("change")
            interrupts.let_go()
            done.append("more")

    with pytest.raises(KeyboardInterrupt):
        change()
    assert done == ["change"]
    with interrupts:  # it came once
        interrupts.held = True
        interrupts.let_go()


def test_whoever_handled_interrupts_goes_on_handling_them() -> None:
    heard: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        heard.append(number)

    signal.signal(signal.SIGINT, note)
    interrupts = Interrupts()
    with interrupts:
        interrupts.held = True
        interrupt()
        assert heard == []
        interrupts.let_go()
        assert heard == [signal.SIGINT]
        interrupt()
    assert heard == [signal.SIGINT] * 2
    assert signal.getsignal(signal.SIGINT) is note
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_one_who_ignores_them_is_left_alone() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interrupts() as _:
        interrupt()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_in_another_thread_nothing_changes() -> None:
    interrupts = Interrupts()
    handlers = []

    def work() -> None:
        with interrupts:
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]
