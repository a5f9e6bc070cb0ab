"""What follows from a thing comes right behind it, and none within another."""

import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rpc_pair import numbered

from capenv.errors import Overloaded, RemoteError, Unimplemented
from capenv.rpc.answer import Answer
from capenv.rpc.capability import Broken, Capability, Hosted, Imported, Promise, innermost
from capenv.rpc.connection import Connection
from capenv.rpc.events import CallReceived
from capenv.rpc.limits import Limits
from capenv.rpc.turn import Call, Turn

trees = st.recursive(
    st.just(()), lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=12
)


@given(tree=trees)
def test_the_order_is_that_of_calls_within_calls(tree: tuple[object, ...]) -> None:
    turn, done, expected = Turn(), [], []
    depth = 0

    def act(path: tuple[int, ...], branch: tuple[tuple[object, ...], ...]) -> None:
        nonlocal depth
        depth += 1
        assert depth == 1, "one within another"
        done.append(path)
        for index, inner in enumerate(branch):
            turn.post(act, (*path, index), inner)
        turn.run()
        depth -= 1

    def walk(path: tuple[int, ...], branch: tuple[tuple[object, ...], ...]) -> None:
        expected.append(path)
        for index, inner in enumerate(branch):
            walk((*path, index), inner)  # type: ignore[arg-type]

    turn.post(act, (), tree)
    turn.run()
    walk((), tree)  # type: ignore[arg-type]
    assert done == expected


def test_a_promise_of_itself_is_broken() -> None:
    core = Connection()
    first, second = Promise(), Promise()
    core.resolve(first, second)
    core.resolve(second, first)
    for promise in (first, second):
        found = innermost(promise)
        assert isinstance(found, Broken)
        assert "itself" in str(found.error)


def test_a_promise_is_resolved_once() -> None:
    core, promise = Connection(), Promise()
    core.resolve(promise, RemoteError("no"))
    with pytest.raises(ValueError, match="resolved before"):
        core.resolve(promise, Hosted(object()))


def test_a_promise_belongs_to_the_vat_that_used_it_first() -> None:
    core, other, promise = Connection(), Connection(), Promise()
    core.call(promise, 1, 2, numbered(0))
    failed = other.call(promise, 1, 2, numbered(0))
    assert isinstance(failed.outcome, Unimplemented)
    with pytest.raises(ValueError, match="not of this vat"):
        other.resolve(promise, Hosted(object()))


def test_only_so_many_calls_wait() -> None:
    core, promise = Connection(limits=Limits(pipelined_calls=3)), Promise()
    answers = [core.call(promise, 1, number, numbered(number)) for number in range(5)]
    assert [answer.outcome is None for answer in answers] == [True] * 3 + [False] * 2
    core.resolve(promise, Hosted(object()))
    started = [event for event in iter(core.next_event, None) if isinstance(event, CallReceived)]
    assert [call.method_id for call in started] == [0, 1, 2]


def test_watchers_are_told_once_if_they_live() -> None:
    class Watcher:
        pass

    told: list[object] = []
    promise, kept, dropped = Promise(), Watcher(), Watcher()
    for watcher in (kept, dropped):
        promise.watch(watcher, told.append)
    del watcher, dropped
    turn = Turn()
    turn.resolve(promise, Hosted(object()))
    turn.resolve(promise, Hosted(object()))
    assert told == [kept]


def test_what_is_no_capability_cannot_be_called() -> None:
    core = Connection()
    with pytest.raises(TypeError, match="no capability"):
        core.call("me", 1, 2, numbered(0))  # type: ignore[arg-type]

    class Strange(Capability):
        pass

    answer = Answer(core)
    core.turn.post(core.turn.deliver, Strange(), Call(answer, 1, 2, numbered(0)))
    core.turn.run()
    assert isinstance(answer.outcome, RemoteError)


def test_a_chain_of_promises_is_kept_by_nobody() -> None:
    core, first = Connection(), Promise()
    last, links = first, []
    for _ in range(1000):
        following = Promise()
        core.resolve(last, following)
        links.append(weakref.ref(following))
        last = following
        assert innermost(first) is following
    del following
    assert sum(link() is not None for link in links) == 1


def test_a_call_is_not_passed_on_for_a_peer_that_reads_no_answers() -> None:
    turn = Turn()
    far = Connection(turn=turn)
    near = Connection(Imported(far, 3), Limits(queued_bytes=1000), turn)
    called = []
    for number in range(40):
        answer = Answer(near, number)
        turn.post(turn.deliver, Imported(far, 3), Call(answer, 1, 2, numbered(0)))
        turn.run()
        called.append(answer)
        near._outbox.post([bytearray(64)])
    assert [answer.outcome is None for answer in called] == sorted(
        (answer.outcome is None for answer in called), reverse=True
    )
    assert called[0].outcome is None
    assert isinstance(called[-1].outcome, Overloaded)
