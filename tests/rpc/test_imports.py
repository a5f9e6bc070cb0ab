"""References to the peer's objects are given back once each, whenever they are dropped."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capenv.errors import ProtocolError
from capenv.rpc.capability import Imported, Promise
from capenv.rpc.connection import Connection
from capenv.rpc.drops import DroppedImport, Drops
from capenv.rpc.imports import Imports


class Table(Imports):
    """Imports beside the notes of their deaths."""

    def __init__(self) -> None:
        self.drops: Drops = Drops()
        super().__init__(Connection(), self.drops)

    def releases(self) -> list[tuple[int, int]]:
        noted = [note for note in self.drops.take() if isinstance(note, DroppedImport)]
        return [
            (note.id, count) for note in noted if (count := self.release(note.id, note.generation))
        ]


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 2)),
            st.tuples(st.just("drop"), st.integers(0, 2)),
            st.tuples(st.just("release"), st.just(0)),
        )
    )
)
def test_every_reference_counted_is_released_once_and_none_that_is_held(
    steps: list[tuple[str, int]],
) -> None:
    imports = Table()
    held: dict[int, Any] = {}
    counted = dict.fromkeys(range(3), 0)
    released = dict.fromkeys(range(3), 0)

    def release() -> None:
        for import_id, count in imports.releases():
            assert import_id not in held
            assert count > 0
            released[import_id] += count
            assert released[import_id] == counted[import_id]

    for step, import_id in steps:
        match step:
            case "add":
                reference = imports.add(import_id)
                counted[import_id] += 1
                assert held.setdefault(import_id, reference) is reference
                assert imports.find(import_id) is reference
                del reference
            case "drop":
                held.pop(import_id, None)
            case "release":
                release()
    held.clear()
    release()
    assert released == counted
    assert not len(imports)
    assert not imports.drops


def test_a_reference_added_again_before_its_release_keeps_the_count() -> None:
    imports = Table()
    imports.add(7)  # dropped at once, noted, not yet released
    again = imports.add(7)
    assert imports.releases() == []
    del again
    assert imports.releases() == [(7, 2)]


def test_a_reference_that_is_dying_is_not_handed_out_again() -> None:
    # What another thread would see that adds the same id while the finalizer runs.
    imports = Table()
    reference = imports.add(7)
    seen: list[Any] = []
    imports.drops.on_drop = lambda: seen or seen.append(imports.add(7))
    del reference
    assert imports.releases() == [], "somebody holds it"
    assert imports.find(7) is seen[0]
    imports.drops.on_drop = None
    seen.clear()
    assert imports.releases() == [(7, 2)]


def test_a_drop_is_told_at_once() -> None:
    imports = Table()
    told: list[bool] = []
    reference = imports.add(1)
    imports.drops.on_drop = lambda: told.append(bool(imports.drops))
    del reference
    assert told == [True]


def test_references_outlive_the_table() -> None:
    imports = Table()
    reference = imports.add(1)
    imports.drain()
    assert imports.find(1) is None
    del reference
    assert imports.releases() == []


def test_a_promise_is_one_reference_until_it_is_resolved() -> None:
    imports = Table()
    promise = imports.add(4, promise=True)
    assert isinstance(promise, Promise)
    assert imports.add(4, promise=True) is promise
    assert imports.resolve(4) is promise
    assert isinstance(imports.add(4, promise=True), Imported), "resolved, it is only a way"
    with pytest.raises(ProtocolError, match="resolved before"):
        imports.resolve(4)


def test_what_is_no_promise_cannot_be_resolved() -> None:
    imports = Table()
    held = imports.add(4)
    with pytest.raises(ProtocolError, match="no promise"):
        imports.resolve(4)
    del held


def test_a_promise_dropped_may_be_resolved_or_given_again() -> None:
    imports = Table()
    first = imports.add(4, promise=True)
    assert isinstance(first, Promise)
    way = first.route
    del first
    assert imports.releases() == [], "somebody still goes that way"
    again = imports.add(4, promise=True)
    assert isinstance(again, Promise)
    assert again.route is way
    del again
    assert imports.resolve(4) is None
    assert imports.resolve(99) is None
    del way
    assert imports.releases() == [(4, 2)]
