"""References to the peer's objects are given back once each, whenever they are dropped."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from capenv.rpc.imports import Imports


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
    imports = Imports()
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
    assert not imports.pending


def test_a_reference_added_again_before_its_release_keeps_the_count() -> None:
    imports = Imports()
    imports.add(7)  # dropped at once, noted, not yet released
    again = imports.add(7)
    assert list(imports.releases()) == []
    del again
    assert list(imports.releases()) == [(7, 2)]


def test_a_reference_that_is_dying_is_not_handed_out_again() -> None:
    # What another thread would see that adds the same id while the finalizer runs.
    imports = Imports()
    reference = imports.add(7)
    seen: list[Any] = []
    imports.on_drop = lambda: seen or seen.append(imports.add(7))
    del reference
    assert list(imports.releases()) == [], "somebody holds it"
    assert imports.find(7) is seen[0]
    imports.on_drop = None
    seen.clear()
    assert list(imports.releases()) == [(7, 2)]


def test_a_drop_is_told_at_once() -> None:
    imports = Imports()
    told: list[bool] = []
    reference = imports.add(1)
    imports.on_drop = lambda: told.append(imports.pending)
    del reference
    assert told == [True]


def test_references_outlive_the_table() -> None:
    imports = Imports()
    reference = imports.add(1)
    imports.drain()
    assert imports.find(1) is None
    del reference
    assert list(imports.releases()) == []
