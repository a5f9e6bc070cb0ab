"""Objects that the peer holds references to are counted exactly."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capenv.errors import Overloaded, ProtocolError
from capenv.rpc.capability import Hosted, Promise
from capenv.rpc.exports import Exports


class Thing:
    pass


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "release", "find"]), st.integers(0, 3), st.integers(0, 3))
    )
)
def test_an_object_is_let_go_with_its_last_reference(steps: list[tuple[str, int, int]]) -> None:
    exports = Exports(limit=100)
    things = [Thing() for _ in range(4)]
    ids: dict[int, int] = {}
    counts: Counter[int] = Counter()
    for step, index, count in steps:
        thing = things[index]
        match step:
            case "add":
                export_id = exports.add(Hosted(thing)).id
                assert ids.setdefault(index, export_id) == export_id
                counts[index] += 1
            case "find" if index in ids:
                assert exports.get(ids[index]).servant is thing
                found = exports.find(ids[index])
                assert found is not None
                assert found.servant is thing
            case "release" if index in ids and count > counts[index]:
                with pytest.raises(ProtocolError, match="more references"):
                    exports.release(ids[index], count)
            case "release" if index in ids:
                gone = exports.release(ids[index], count)
                counts[index] -= count
                assert (None if gone is None else gone.servant) is (
                    None if counts[index] else thing
                )
                if not counts[index]:
                    del ids[index]
        assert len(exports) == len(ids)
        assert len(set(ids.values())) == len(ids)
    assert {id(export.servant) for export in exports.drain()} == {
        id(things[index]) for index in ids
    }
    assert not len(exports)


def test_unknown_ids_are_the_peers_mistake() -> None:
    exports = Exports(limit=1)
    with pytest.raises(ProtocolError):
        exports.get(0)
    with pytest.raises(ProtocolError):
        exports.release(0, 1)
    assert exports.find(0) is None


def test_there_is_a_limit_to_objects_not_to_references() -> None:
    exports = Exports(limit=1)
    thing = Thing()
    assert [exports.add(Hosted(thing)).id for _ in range(5)] == [0] * 5
    with pytest.raises(Overloaded):
        exports.add(Hosted(Thing()))


def test_a_promise_keeps_its_id_until_it_is_resolved_and_never_after() -> None:
    exports = Exports(limit=9)
    promise, next_promise, thing = Promise(), Promise(), Hosted(Thing())
    export = exports.add(promise, promise=True)
    assert exports.add(promise, promise=True) is export
    exports.follow(export, next_promise)
    assert exports.add(next_promise, promise=True) is export
    assert export.references == 3
    exports.settle(export, thing)
    assert export.target is thing
    assert not export.promised
    assert exports.add(next_promise, promise=True) is not export, "the Resolve was sent"
    assert exports.add(thing) is not export
    assert exports.release(export.id, 3) is export
    assert not exports.current(export)
