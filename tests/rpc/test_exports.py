"""Objects that the peer holds references to are counted exactly."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capenv.errors import Overloaded, ProtocolError
from capenv.rpc.capability import Hosted
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
                export_id = exports.add(Hosted(thing))
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
                assert gone is (None if counts[index] else thing)
                if not counts[index]:
                    del ids[index]
        assert len(exports) == len(ids)
        assert len(set(ids.values())) == len(ids)
    assert {id(t) for t in exports.drain()} == {id(things[index]) for index in ids}
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
    assert [exports.add(Hosted(thing)) for _ in range(5)] == [0] * 5
    with pytest.raises(Overloaded):
        exports.add(Hosted(Thing()))
