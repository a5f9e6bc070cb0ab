"""However many calls were made, of whatever kind, tables and memory are as before.

`make test` makes 5,000 calls and `make soak` 100,000.
"""

import gc
import os
from typing import Any

import pytest
from rpc_soak import Memory, Soak, traced

from capenv.rpc.imports import Imports
from capenv.rpc.messages import Release
from capenv.rpc.outbox import Outbox
from capenv.rpc.question import Question, QuestionInput

CALLS = int(os.environ.get("CAPENV_SOAK_CALLS", "5000"))
WARM_UP = 1000
TRACED = 1000
"""Calls during which every allocation is traced, which makes them slow."""

# One thing kept by every hundredth call is as much as this after 5,000.
OBJECTS = 40
BLOCKS = 50
TRACED_BYTES = 32 << 10  # what a few caches and dictionaries that grew take
RESIDENT_BYTES = 4 << 20


class Leak(Exception):
    """More is held than before."""


def held_after(calls: int) -> tuple[Memory, int]:
    """Return how much more is held after so many calls, and the bytes of it that some of them allocated."""
    soak = Soak()
    soak.run(WARM_UP)
    before = Memory.now()
    soak.run(calls)
    after = Memory.now()
    size = traced(lambda: soak.run(TRACED))
    started = soak.started
    soak.end()
    more = Memory(
        after.objects - before.objects,
        after.blocks - before.blocks,
        after.resident - before.resident,
    )
    print(f"{soak.calls:,} calls, {started:,} methods started, {size:,} bytes traced, {more}")
    return more, size


def check(calls: int) -> None:
    more, size = held_after(calls)
    for what, held, bound in (
        ("objects", more.objects, OBJECTS),
        ("blocks", more.blocks, BLOCKS),
        ("resident bytes", more.resident, RESIDENT_BYTES),
        ("bytes traced", size, TRACED_BYTES),
    ):
        if held > bound:
            raise Leak(f"{held:,} more {what} after {calls:,} calls")


def test_tables_and_memory_stay_flat() -> None:
    check(CALLS)


# That it would see a leak.


def test_one_release_that_is_not_sent_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables are not empty at the end."""
    send, dropped = Outbox.send, list[Release]()

    def forgetful(self: Outbox, message: Any) -> None:
        if isinstance(message, Release) and not dropped:
            dropped.append(message)
        else:
            send(self, message)

    soak = Soak()
    soak.run(WARM_UP)
    monkeypatch.setattr(Outbox, "send", forgetful)
    soak.run(1)
    assert dropped
    with pytest.raises(AssertionError, match="still holds"):
        soak.end()


def few_releases(patch: pytest.MonkeyPatch) -> None:
    """Every fiftieth reference is not given back."""
    release, count = Imports.release, iter(range(1 << 30))

    def forgetful(self: Imports, import_id: int, generation: int) -> int:
        return release(self, import_id, generation) if next(count) % 50 else 0

    patch.setattr(Imports, "release", forgetful)


def questions_kept(patch: pytest.MonkeyPatch) -> None:
    """Finished questions stay somewhere that is no table."""
    fire, kept = Question.fire, list[Question]()

    def keeping(self: Question, event: QuestionInput) -> None:
        fire(self, event)
        if event is QuestionInput.FINISH:
            kept.append(self)

    patch.setattr(Question, "fire", keeping)


def bytes_kept(patch: pytest.MonkeyPatch) -> None:
    """Messages stay somewhere: bytes, which the garbage collector does not track."""
    append, kept = Outbox.append, list[bytes]()

    def keeping(self: Outbox, buffers: Any) -> None:
        append(self, buffers)
        kept.append(bytes(buffers[-1]))

    patch.setattr(Outbox, "append", keeping)


@pytest.mark.parametrize("leak", [few_releases, questions_kept, bytes_kept])
def test_a_leak_is_seen(leak: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    leak(monkeypatch)
    monkeypatch.setattr(Soak, "end", lambda self: gc.collect())  # whatever the tables say
    with pytest.raises(Leak):
        check(1000)
