"""Ids: ours are the lowest free, the peer's are whatever it says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capenv.errors import Overloaded, ProtocolError
from capenv.rpc.tables import LocalTable, RemoteTable


@given(steps=st.lists(st.one_of(st.none(), st.integers(0, 30))))
def test_ids_of_ours_are_the_lowest_free(steps: list[int | None]) -> None:
    table: LocalTable[int] = LocalTable("things")
    model: dict[int, int] = {}
    for number, step in enumerate(steps):
        if step is None or not model:
            free = next(key for key in range(len(model) + 1) if key not in model)
            assert table.add(number) == free
            model[free] = number
        else:
            key = sorted(model)[step % len(model)]
            assert table.remove(key) == model.pop(key)
        assert len(table) == len(model)
        assert sorted(table) == sorted(model.values())
        assert {key: table.find(key) for key in range(len(steps))} == {
            key: model.get(key) for key in range(len(steps))
        }
    assert sorted(table.drain()) == sorted(model.values())
    assert table.add(0) == 0


def test_a_local_table_has_a_limit() -> None:
    table: LocalTable[str] = LocalTable("things")
    for _ in range(3):
        table.add("one", limit=3)
    with pytest.raises(Overloaded, match="3 things already"):
        table.add("one too many", limit=3)
    table.remove(1)
    assert table.add("another", limit=3) == 1


def test_an_id_that_is_not_there_is_the_peers_mistake() -> None:
    table: LocalTable[str] = LocalTable("things")
    with pytest.raises(ProtocolError, match="not among our things"):
        table.get(0)


@given(keys=st.lists(st.integers(0, 3), max_size=12))
def test_the_peer_may_use_an_id_once_at_a_time(keys: list[int]) -> None:
    table: RemoteTable[int] = RemoteTable("things")
    model: set[int] = set()
    for key in keys:
        if key in model:
            with pytest.raises(ProtocolError, match="again"):
                table.add(key, -1)
            assert table.remove(key) == key
            model.remove(key)
        else:
            table.add(key, key)
            model.add(key)
        assert sorted(table) == sorted(model)
        assert len(table) == len(model)
    assert sorted(table.drain()) == sorted(model)
    assert not len(table)
