"""Promises whose calls wait until the others have come back."""

import pytest
from rpc_pair import numbered

from capenv.errors import ProtocolError, RemoteError
from capenv.rpc.answer import Answer
from capenv.rpc.capability import Broken, Hosted, Imported, Promise
from capenv.rpc.connection import Connection
from capenv.rpc.embargoes import Embargoes
from capenv.rpc.events import CallReceived
from capenv.rpc.turn import Call


def embargoed() -> tuple[Connection, Embargoes, Promise, Hosted, int]:
    core = Connection()
    embargoes, promise, target = Embargoes(core.turn), Promise(Imported(core, 7)), Hosted(object())
    embargo_id = embargoes.begin(promise, target)
    for number in range(3):
        core.turn.post(core.turn.deliver, promise, Call(Answer(core), 1, number, numbered(number)))
    core.turn.run()
    assert core.next_event() is None
    assert len(promise.waiting) == 3
    return core, embargoes, promise, target, embargo_id


def test_calls_go_in_their_order_once_it_is_lifted() -> None:
    core, embargoes, promise, target, embargo_id = embargoed()
    embargoes.lift(embargo_id)
    core.turn.run()
    started = [event for event in iter(core.next_event, None) if isinstance(event, CallReceived)]
    assert [call.method_id for call in started] == [0, 1, 2]
    assert promise.resolution is target
    assert not len(embargoes)


def test_calls_fail_where_the_others_will_not_come_back() -> None:
    core, embargoes, promise, _, embargo_id = embargoed()
    embargoes.fail(embargo_id, RemoteError("gone"))
    core.turn.run()
    assert isinstance(promise.resolution, Broken)
    assert [type(event).__name__ for event in iter(core.next_event, None)] == ["Returned"] * 3


def test_an_embargo_is_lifted_once_and_its_id_is_used_again() -> None:
    _, embargoes, _, target, embargo_id = embargoed()
    assert embargoes.begin(Promise(), target) == embargo_id + 1
    embargoes.lift(embargo_id)
    for act in (embargoes.lift, lambda key: embargoes.fail(key, RemoteError(""))):
        with pytest.raises(ProtocolError, match="not among our embargoes"):
            act(embargo_id)
    assert embargoes.begin(Promise(), target) == embargo_id
    assert len(embargoes.drain()) == 2
