"""Promises, and the order of calls around their resolution, with pycapnp's own C++-backed RPC.

A reference that turns out to lead back to where it is called from needs an embargo: calls that went the
long way must arrive before those that need not go it any more.
"""

from collections.abc import Awaitable, Callable

import pytest
import trio
from pycapnp_peers import SECONDS, Caller, Served, ask, capability, read, texts, texts_of, with_trio
from rpc_probe import ECHO, Probe, params, text_of, text_params
from rpc_schema import PROBE

from capenv.blocking import BlockingConnection
from capenv.errors import RemoteError
from capenv.link import UnixAddress
from capenv.responses import Response
from capenv.rpc.capability import Capability, Content, Hosted, Promise

Target = Callable[[Caller], Awaitable[tuple[Capability, Callable[[], Awaitable[list[str]]]]]]
"""Makes an object to be called, and a function that tells which texts its `echo` was given."""


async def mine(caller: Caller) -> tuple[Capability, Callable[[], Awaitable[list[str]]]]:
    """Return an object of ours."""
    probe = Probe("mine")

    async def seen() -> list[str]:
        return probe.log

    return Hosted(probe), seen


async def theirs(caller: Caller) -> tuple[Capability, Callable[[], Awaitable[list[str]]]]:
    """Return an object of the peer's."""
    child = await caller.child("theirs")

    async def seen() -> list[str]:
        return await caller.seen(child)

    return child, seen


@pytest.fixture(params=[mine, theirs])
def make(request: pytest.FixtureRequest) -> Target:
    """What a promise comes to, one after the other."""
    made: Target = request.param
    return made


# Our clients call pycapnp's server.


def test_calls_on_what_the_server_hands_back_keep_their_order(
    address: UnixAddress, make: Target
) -> None:
    async def test(caller: Caller) -> None:
        target, seen = await make(caller)
        same = caller.call(caller.root, "same", {"probe": target})
        promise = same.pipeline("probe")
        calls = caller.echo(promise, range(5))
        await same
        calls += caller.echo(promise, range(5, 10))
        assert await texts_of(calls) == await seen() == texts(range(10))

    with_trio(address, test)


def test_calls_on_what_the_server_hands_back_again_and_again_keep_their_order(
    address: UnixAddress, make: Target
) -> None:
    async def test(caller: Caller) -> None:
        target, seen = await make(caller)
        steps = [caller.call(caller.root, "same", {"probe": target})]
        for _ in range(3):
            steps.append(caller.call(caller.root, "same", {"probe": steps[-1].pipeline("probe")}))
        promise = steps[-1].pipeline("probe")
        calls = caller.echo(promise, range(5))
        for number, step in enumerate(steps):
            await step
            calls += caller.echo(promise, range(5 + number, 6 + number))
        assert await texts_of(calls) == await seen() == texts(range(9))

    with_trio(address, test)


def test_calls_on_a_promise_of_the_server_keep_their_order(
    address: UnixAddress, make: Target
) -> None:
    async def test(caller: Caller) -> None:
        target, seen = await make(caller)
        later = caller.call(caller.root, "later", {"probe": target})
        promise = later.pipeline("probe")
        calls = caller.echo(promise, range(5))
        await later
        calls += caller.echo(promise, range(5, 10))
        assert await seen() == []
        settle = caller.call(caller.root, "settle")
        calls += caller.echo(promise, range(10, 15))
        await settle
        calls += caller.echo(promise, range(15, 20))
        await caller.there_and_back()
        calls += caller.echo(promise, range(20, 25))
        assert await texts_of(calls) == await seen() == texts(range(25))

    with_trio(address, test)


async def busy(caller: Caller, promise: Capability, resolved: Awaitable[object]) -> list[Response]:
    """Call without a pause while a promise is resolved: calls are on their way at that moment."""
    calls: list[Response] = []
    done, more = trio.Event(), 50

    async def wait() -> None:
        await resolved
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        while more:
            more -= done.is_set()
            calls += caller.echo(promise, range(len(calls), len(calls) + 1))
            await trio.lowlevel.checkpoint()
    return calls


def test_calls_on_their_way_are_not_overtaken(address: UnixAddress, make: Target) -> None:
    async def test(caller: Caller) -> None:
        target, seen = await make(caller)
        same = caller.call(caller.root, "same", {"probe": target})
        calls = await busy(caller, same.pipeline("probe"), same)
        assert await texts_of(calls) == await seen() == texts(range(len(calls)))

    with_trio(address, test)


def test_calls_on_their_way_to_a_promise_are_not_overtaken(
    address: UnixAddress, make: Target
) -> None:
    async def test(caller: Caller) -> None:
        target, seen = await make(caller)
        later = caller.call(caller.root, "later", {"probe": target})
        promise = later.pipeline("probe")
        await later
        calls = await busy(caller, promise, caller.call(caller.root, "settle"))
        assert await texts_of(calls) == await seen() == texts(range(len(calls)))

    with_trio(address, test)


def test_an_unused_promise_of_the_server_leads_to_what_it_was_settled_to(
    address: UnixAddress, make: Target
) -> None:
    async def test(caller: Caller) -> None:
        target, seen = await make(caller)
        later = await caller.call(caller.root, "later", {"probe": target})
        promise = capability("later", "probe", later)
        await caller.call(caller.root, "settle")
        assert await texts_of(caller.echo(promise, range(5))) == texts(range(5))
        assert await seen() == texts(range(5))

    with_trio(address, test)


def test_a_broken_promise_of_the_server(address: UnixAddress) -> None:
    async def test(caller: Caller) -> None:
        probe = Probe("mine")
        later = await caller.call(caller.root, "later", {"probe": Hosted(probe)})
        promise = capability("later", "probe", later)
        (before,) = caller.echo(promise, range(1))
        await caller.call(caller.root, "breakAll", reason="it broke")
        (after,) = caller.echo(promise, range(1))
        for call in (before, after):
            with pytest.raises(RemoteError, match="it broke"):
                await call
        assert probe.log == []
        assert await texts_of(caller.echo(caller.root, range(1))) == ["0"]

    with_trio(address, test)


def test_everything_is_released_once_a_promise_has_come_home(address: UnixAddress) -> None:
    async def test(caller: Caller) -> None:
        probe = Probe("mine")
        later = caller.call(caller.root, "later", {"probe": Hosted(probe)})
        promise = later.pipeline("probe")
        (call,) = caller.echo(promise, range(1))
        await caller.call(caller.root, "settle")
        await call
        del later, promise, call
        await caller.until(lambda: probe.releases > 0)

    with_trio(address, test)


def callbacks(caller: Caller, promise: Capability, numbers: range) -> list[Response]:
    """Have the server call `echo` of a capability once with each number."""
    return [caller.call(caller.root, "callBack", {"target": promise}, text=str(n)) for n in numbers]


def test_the_server_calls_a_promise_of_ours(address: UnixAddress, make: Target) -> None:
    async def test(caller: Caller) -> None:
        target, seen = await make(caller)
        promise = Promise()
        await caller.call(caller.root, "keep", {"probe": promise})
        calls = callbacks(caller, promise, range(5))
        await caller.there_and_back()
        assert await seen() == []
        caller.connection.resolve(promise, target)
        calls += callbacks(caller, promise, range(5, 10))
        assert await texts_of(calls) == await seen() == texts(range(10))

    with_trio(address, test)


def test_the_server_hands_a_promise_of_ours_back(address: UnixAddress, make: Target) -> None:
    async def test(caller: Caller) -> None:
        target, seen = await make(caller)
        promise = Promise()
        await caller.call(caller.root, "keep", {"probe": promise})
        kept = caller.call(caller.root, "kept")
        again = kept.pipeline("probe")
        calls = caller.echo(again, range(5))
        await kept
        calls += caller.echo(again, range(5, 10))
        await caller.there_and_back()
        assert await seen() == []
        caller.connection.resolve(promise, target)
        calls += caller.echo(again, range(10, 15))
        await caller.there_and_back()
        calls += caller.echo(again, range(15, 20))
        assert await texts_of(calls) == await seen() == texts(range(20))

    with_trio(address, test)


def test_a_promise_of_ours_that_breaks(address: UnixAddress) -> None:
    async def test(caller: Caller) -> None:
        promise = Promise()
        await caller.call(caller.root, "keep", {"probe": promise})
        (before,) = callbacks(caller, promise, range(1))
        await caller.there_and_back()
        caller.connection.resolve(promise, RemoteError("it broke"))
        (after,) = callbacks(caller, promise, range(1))
        (kept,) = caller.echo(caller.call(caller.root, "kept").pipeline("probe"), range(1))
        for call in (before, after, kept):
            with pytest.raises(RemoteError, match="it broke"):
                await call
        assert await texts_of(caller.echo(caller.root, range(1))) == ["0"]

    with_trio(address, test)


def test_a_promise_of_ours_that_was_settled_before_it_is_given_away(
    address: UnixAddress, make: Target
) -> None:
    async def test(caller: Caller) -> None:
        target, seen = await make(caller)
        promise = Promise()
        caller.connection.resolve(promise, target)
        assert await texts_of(callbacks(caller, promise, range(5))) == texts(range(5))
        assert await seen() == texts(range(5))

    with_trio(address, test)


def test_a_blocking_client_keeps_the_order_of_its_calls(blocking: BlockingConnection) -> None:
    root, probe = blocking.bootstrap().pipeline(), Probe("mine")

    def echo(target: Capability, number: int) -> Callable[[], Content]:
        question = blocking.call(target, ECHO, text_params(str(number)))
        return lambda: blocking.wait(question, SECONDS)

    later = blocking.call(root, PROBE["later"], params("later", {"probe": Hosted(probe)}))
    promise = later.pipeline(PROBE["later"].results.slot("probe"))
    calls = [echo(promise, number) for number in range(5)]
    blocking.wait(later, SECONDS)
    calls += [echo(promise, number) for number in range(5, 10)]
    ask(blocking, root, "settle")
    calls += [echo(promise, number) for number in range(10, 15)]
    assert [text_of(wait()) for wait in calls] == probe.log == texts(range(15))
    assert read("name", ask(blocking, promise, "name")).name == "mine"


# pycapnp's client calls our server.


@pytest.mark.parametrize(
    ("scenario", "calls"),
    [
        ("same", 10),
        ("later", 20),
        ("later_theirs", 20),
        ("ours_later", 10),
        ("ours_later_theirs", 10),
        ("ours_kept", 20),
        ("ours_kept_theirs", 20),
    ],
)
def test_calls_of_the_caller_keep_their_order(served: Served, scenario: str, calls: int) -> None:
    """Each scenario tells what its calls answered, and what their target was given."""
    assert served.run(scenario) == [texts(range(calls))] * 2


@pytest.mark.parametrize("scenario", ["same_busy", "later_busy"])
def test_calls_of_the_caller_that_are_on_their_way_are_not_overtaken(
    served: Served, scenario: str
) -> None:
    answered, seen = served.run(scenario)
    assert answered == seen == texts(range(len(seen)))


def test_a_promise_of_ours_breaks_for_the_caller(served: Served) -> None:
    before, after, log = served.run("broken")
    for kind, reason in (before, after):
        assert kind == "FAILED"
        assert "it broke" in reason
    assert log == []


def test_a_promise_of_the_caller_breaks(served: Served) -> None:
    kind, reason = served.run("ours_broken")
    assert kind == "FAILED"
    assert "it broke" in reason
