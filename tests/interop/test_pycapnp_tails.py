"""Tail calls and reflected calls with pycapnp's own C++-backed RPC: results that stay where they are due."""

from collections.abc import Callable

import pytest
import trio
from pycapnp_peers import (
    MEGABYTES,
    Caller,
    Failing,
    Hanging,
    Served,
    read,
    texts,
    texts_of,
    with_trio,
)
from rpc_probe import Probe

from capenv.errors import EnvironmentFailed
from capenv.link import UnixAddress
from capenv.responses import Response
from capenv.rpc.capability import Capability, Hosted

# Our client calls pycapnp's server, which calls the client's own object in its place.


def tail(caller: Caller, target: Capability, text: str) -> Response:
    return caller.call(caller.root, "tail", {"target": target}, text=text)


def reflected(caller: Caller, target: Capability, text: str) -> Response:
    promise = caller.call(caller.root, "same", {"probe": target}).pipeline("probe")
    return caller.call(promise, "echo", text=text)


both = pytest.mark.parametrize("make", [tail, reflected])
"""A tail call, and a call on what the server is to hand back."""


@both
def test_a_call_that_comes_back_is_answered(
    address: UnixAddress, make: Callable[[Caller, Capability, str], Response]
) -> None:
    async def test(caller: Caller) -> None:
        mine = Probe("mine")
        calls = [make(caller, Hosted(mine), text) for text in texts(range(10))]
        assert await texts_of(calls) == mine.log == texts(range(10))
        del calls
        await caller.until(lambda: mine.releases > 0)

    with_trio(address, test)


@both
def test_a_call_that_comes_back_fails(
    address: UnixAddress, make: Callable[[Caller, Capability, str], Response]
) -> None:
    async def test(caller: Caller) -> None:
        with pytest.raises(EnvironmentFailed, match="it went boom"):
            await make(caller, Hosted(Failing("mine")), "boom")
        assert await texts_of(caller.echo(caller.root, range(1))) == ["0"]

    with_trio(address, test)


@both
def test_a_call_that_comes_back_is_canceled(
    address: UnixAddress, make: Callable[[Caller, Capability, str], Response]
) -> None:
    async def test(caller: Caller) -> None:
        mine = Hanging()

        async def call() -> None:
            with scope:
                await make(caller, Hosted(mine), "hang")

        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()
            nursery.start_soon(call)
            await mine.started.wait()
            scope.cancel()
        await mine.canceled.wait()
        await caller.until(lambda: mine.releases > 0)

    with_trio(address, test)


def test_thirty_megabytes_come_back(address: UnixAddress) -> None:
    async def test(caller: Caller) -> None:
        later = caller.call(caller.root, "later", {"probe": Hosted(Probe("mine"))})
        call = caller.call(later.pipeline("probe"), "data", data=MEGABYTES)
        await caller.call(caller.root, "settle")
        assert read("data", await call).data == MEGABYTES

    with_trio(address, test)


def test_a_call_that_comes_back_has_capabilities(address: UnixAddress) -> None:
    async def test(caller: Caller) -> None:
        mine, child = Probe("mine"), await caller.child("theirs")
        promise = caller.call(caller.root, "same", {"probe": Hosted(mine)}).pipeline("probe")
        # Both the params and the results of what comes back hold one object of each side.
        for target, name in ((Hosted(mine), "mine"), (child, "theirs")):
            same = caller.call(promise, "keep", {"probe": target})
            kept = caller.call(promise, "kept").pipeline("probe")
            called = caller.call(kept, "name")
            await same
            assert read("name", await called).name == name
        mine.held = None

    with_trio(address, test)


# pycapnp's client calls our server, which tail-calls the client's own object.


def kept_at_the_caller(served: Served) -> int:
    """Return of how many calls the results stayed where they are due."""
    sent = served.sent()
    calls = [message.call for message in sent if message.which() == "call"]
    returns = [getattr(message, "return") for message in sent if message.which() == "return"]
    assert {str(call.sendResultsTo.which()) for call in calls} == {"yourself"}
    taken = [answer for answer in returns if answer.which() == "takeFromOtherQuestion"]
    questions = sorted(answer.takeFromOtherQuestion for answer in taken)
    assert questions == sorted(call.questionId for call in calls)
    return len(taken)


def test_a_tail_call_to_an_object_of_the_caller(served: Served) -> None:
    assert served.run("tail") == [texts(range(10))] * 2
    assert kept_at_the_caller(served) == 10


def test_the_results_of_reflected_calls_stay_at_the_caller(served: Served) -> None:
    assert served.run("same") == [texts(range(10))] * 2
    assert kept_at_the_caller(served) == 5


def test_a_tail_call_to_an_object_of_our_own(served: Served) -> None:
    assert served.run("tail_theirs") == texts(range(10))


def test_a_tail_call_to_promises(served: Served) -> None:
    assert served.run("tail_promises") == [["through", "through"], ["through"]]


def test_a_tail_call_that_fails(served: Served) -> None:
    ((kind, reason),) = served.run("tail_fails")
    assert kind == "FAILED"
    assert "it went boom" in reason


def test_a_tail_call_is_canceled(served: Served) -> None:
    assert served.run("tail_canceled") == "still there"


def test_a_reflected_call_is_canceled(served: Served) -> None:
    assert served.run("reflected_canceled") == "still there"


def test_thirty_megabytes_are_reflected(served: Served) -> None:
    assert served.run("reflected_data") == [len(MEGABYTES), True]
