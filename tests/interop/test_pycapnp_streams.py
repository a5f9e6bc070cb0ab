"""Streaming calls with pycapnp's own C++-backed RPC."""

import pytest
from pycapnp_peers import Caller, Served, texts, texts_of, with_trio

from capenv.errors import RemoteError
from capenv.link import UnixAddress

WRITES = 200


def test_our_client_streams(address: UnixAddress) -> None:
    async def test(caller: Caller) -> None:
        for text in texts(range(WRITES)):
            await caller.call(caller.root, "write", text=text)
        assert await caller.seen(caller.root) == texts(range(WRITES))

    with_trio(address, test)


def test_our_client_streams_more_than_the_window_holds(address: UnixAddress) -> None:
    large = "x" * 20_000

    async def test(caller: Caller) -> None:
        for text in texts(range(WRITES)):
            await caller.call(caller.root, "write", text=text + large)
        seen = await caller.seen(caller.root)
        assert [text.removesuffix(large) for text in seen] == texts(range(WRITES))

    with_trio(address, test)


def test_a_write_of_ours_that_fails_fails_a_later_call(address: UnixAddress) -> None:
    async def test(caller: Caller) -> None:
        child = await caller.child("theirs")

        async def write() -> None:
            for text in ("good", "bad", *texts(range(WRITES))):
                await caller.call(child, "write", text=text)
            await caller.seen(child)

        with pytest.raises(RemoteError, match="a bad text"):
            await write()
        with pytest.raises(RemoteError, match="a bad text"):
            await caller.seen(child)
        assert await texts_of(caller.echo(caller.root, range(1))) == ["0"]

    with_trio(address, test)


def test_our_client_streams_to_a_promise(address: UnixAddress) -> None:
    async def test(caller: Caller) -> None:
        child = await caller.child("theirs")
        later = caller.call(caller.root, "later", {"probe": child})
        promise = later.pipeline("probe")
        for text in texts(range(10)):
            await caller.call(promise, "write", text=text)
        await caller.call(caller.root, "settle")
        for text in texts(range(10, WRITES)):
            await caller.call(promise, "write", text=text)
        assert await caller.seen(promise) == texts(range(WRITES))

    with_trio(address, test)


def test_the_caller_streams(served: Served) -> None:
    assert served.run("writes") == texts(range(WRITES))


def test_a_write_of_the_caller_fails_and_so_does_what_follows(served: Served) -> None:
    *failures, still = served.run("bad_write")
    for kind, reason in failures:
        assert kind == "FAILED"
        assert "a bad text" in reason
    assert still == "still there"
