"""Interfaces of a user's own: stubs, servants, vats that pass on what they were given."""

import os
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import trio
from rpc_probe import Probe, text_of, text_params
from rpc_schema import PROBE

import capenv
from capenv.errors import (
    EnvironmentFailed,
    NothingListening,
    ProtocolError,
    RemoteError,
    SchemaError,
    URLError,
)

PLAYERS = """
@0xd0a2f9a6b36b2f11;
using import "/host.capnp".Session;

interface Pool {
  # Where sessions wait for somebody who plays on.
  put @0 (session :Session) -> ();
  take @1 () -> (session :Session);
}
"""


def under_trio(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    @wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        async def patiently() -> None:
            with trio.fail_after(60):
                await test(*arguments, **named)

        trio.run(patiently)

    return run


@under_trio
async def test_a_stub_has_the_methods_of_its_interface() -> None:
    async with capenv.Vat() as vat:
        at = await vat.listen(Probe(), "capnp://memory@stubs")
        probe = await vat.connect(at, PROBE)
        assert (await probe.echo(text="hello")).text == "hello"
        child = probe.child(name="second").child  # called before it is there
        assert (await child.name()).name == "second"
        results = await probe.child(name="third")
        assert (await results.child.name()).name == "third"
        await probe.keep(probe=child)
        assert (await (await probe.kept()).probe.name()).name == "second"
        await probe.keep(probe=None)
        assert (await probe.kept()).probe is None
        assert {"echo", "call_back"} <= set(dir(probe))
        with pytest.raises(EnvironmentFailed, match="it fell over"):
            await probe.fail(reason="it fell over")


@under_trio
async def test_mistakes_are_told_where_they_are_made() -> None:
    async with capenv.Vat() as vat:
        probe = await vat.connect(await vat.listen(Probe(), "capnp://memory@mistakes"), PROBE)
        with pytest.raises(AttributeError, match="has no method shout"):
            probe.shout()
        with pytest.raises(TypeError, match="echo has no field volume; it has text"):
            probe.echo(volume=11)
        with pytest.raises(TypeError, match="echo: text does not take 11"):
            probe.echo(text=11)
        with pytest.raises(TypeError, match="int is no object to refer to"):
            probe.keep(probe=11)
        with pytest.raises(AttributeError, match="no object text to call"):
            probe.echo(text="").text  # noqa: B018
        assert (await probe.echo(text="still there")).text == "still there"
    with pytest.raises(RuntimeError, match="within its `async with` block"):
        await capenv.Vat().listen(Probe(), "capnp://memory@mistakes")


@under_trio
async def test_addresses_that_are_no_good(tmp_path: Path) -> None:
    async with capenv.Vat() as vat:
        with pytest.raises(NothingListening):
            await vat.connect(f"capnp://insecure@{tmp_path}/nobody", PROBE)
        with pytest.raises(URLError):
            await vat.connect("somewhere", PROBE)
        assert (
            await (await vat.connect(await vat.listen(Probe(), f"unix:{tmp_path}/s"), PROBE)).name()
        ).name == "first"


@under_trio
async def test_a_vat_passes_on_over_one_connection_what_came_over_another() -> None:
    async with capenv.Vat() as far, capenv.Vat() as middle, capenv.Vat() as near:
        far_probe = Probe("far")
        far_at = await far.listen(far_probe, "capnp://memory@far")
        middle_at = await middle.listen(Probe("middle"), "capnp://memory@middle")
        from_middle = await middle.connect(far_at, PROBE)
        # The middle keeps what it has from far, for whoever asks.
        await (await middle.connect(middle_at, PROBE)).keep(probe=from_middle)
        kept = (await near.connect(middle_at, PROBE)).kept().probe
        assert (await kept.name()).name == "far"
        # Calls, results, failures and objects go all the way, in order; and cancelling does.
        texts = [str(number) for number in range(20)]
        calls = [kept.echo(text=text) for text in texts]
        assert [(await call).text for call in calls] == texts
        assert far_probe.log == texts
        child = kept.child(name="of far").child
        assert (await child.name()).name == "of far"
        mine = Probe("mine")
        assert (await kept.call_back(target=mine, text="over two")).text == "over two"
        assert mine.log == ["over two"]
        with pytest.raises(EnvironmentFailed, match="far away"):
            await kept.fail(reason="far away")
        with trio.move_on_after(0.05):
            await kept.hang()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert far_probe.hanging == 0
        data = os.urandom(3 << 20)
        assert (await kept.data(data=data)).data == data


@under_trio
async def test_what_a_lost_connection_brought_is_broken_elsewhere_and_nothing_else_is() -> None:
    async with capenv.Vat() as middle, capenv.Vat() as near:
        async with capenv.Vat() as far:
            far_at = await far.listen(Probe("far"), "capnp://memory@lost-far")
            middle_at = await middle.listen(Probe("middle"), "capnp://memory@lost-middle")
            from_middle = await middle.connect(far_at, PROBE)
            await (await middle.connect(middle_at, PROBE)).keep(probe=from_middle)
            root = await near.connect(middle_at, PROBE)
            kept = (await root.kept()).probe
            assert (await kept.name()).name == "far"
        with pytest.raises(capenv.errors.Disconnected):
            await kept.name()
        assert (await root.name()).name == "middle"


@under_trio
async def test_what_belongs_to_another_vat_is_refused() -> None:
    async with capenv.Vat() as vat, capenv.Vat() as other:
        at = await vat.listen(Probe(), "capnp://memory@refused")
        probe, foreign = await vat.connect(at, PROBE), await other.connect(at, PROBE)
        with pytest.raises(capenv.errors.Unimplemented, match="of another vat"):
            await probe.keep(probe=foreign)
        assert (await probe.name()).name == "first"


@under_trio
async def test_streams_by_stub() -> None:
    async with capenv.Vat() as vat:
        server = Probe()
        probe = await vat.connect(await vat.listen(server, "capnp://memory@streams"), PROBE)
        texts = [str(number) for number in range(50)]
        for text in texts:
            await probe.write(text=text)
        assert list((await probe.seen()).texts) == texts
        await probe.write(text="bad")

        async def write_on() -> None:
            while True:
                await probe.write(text="more")
                await trio.sleep(0.001)

        with pytest.raises(RemoteError, match="bad text"):
            await write_on()
        with pytest.raises(RemoteError, match="bad text"):
            await probe.name()


class Misread(Probe):
    def name(self, request: capenv.Request) -> Any:
        content = text_params("no name")  # a text, in the very place, is fine; a struct is not
        assert text_of(content) == "no name"
        words = bytearray(content.segments[0])
        words[8:16] = (0).to_bytes(4, "little") + (1).to_bytes(2, "little") + bytes(2)
        return capenv.rpc.capability.Content([words])  # type: ignore[attr-defined]


@under_trio
async def test_results_that_cannot_be_read() -> None:
    async with capenv.Vat() as vat:
        probe = await vat.connect(await vat.listen(Misread(), "capnp://memory@misread"), PROBE)
        results = await probe.name()
        with pytest.raises(ProtocolError, match="cannot be read"):
            results.name  # noqa: B018


def test_a_session_is_handed_on_by_an_interface_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "players.capnp").write_text(PLAYERS)
    players = capenv.load_schema(tmp_path / "players.capnp")
    pool_interface = capenv.Interface(players.Pool)

    class Pool(capenv.Servant):
        interface = pool_interface
        session: Any = None

        def put(self, request: capenv.Request) -> Any:
            self.session = request.capability("session")
            return request.reply()

        def take(self, request: capenv.Request) -> Any:
            return request.reply(session=self.session)

    async def main() -> None:
        host = capenv.Host()
        host.add("CartPole-v1")
        async with (
            capenv.serve(host, "capnp://memory@handing-on") as server,
            capenv.Vat() as first,
            capenv.Vat() as second,
            capenv.connect(server.url("CartPole-v1"), vat=first) as environment,
        ):
            at = await first.listen(Pool(), "capnp://memory@pool")
            session = environment.create_world().join()
            begun = await session.reset(seed=3)
            await (await first.connect(at, pool_interface)).put(session=session)
            pool = await second.connect(at, pool_interface)
            taken = await pool.take()
            played_on = capenv.RemoteSession(taken.session._connection, taken.session.capability)
            step = await played_on.step(1)
            local = capenv.worlds.Host()
            assert not (step.observation == begun.observation).all()
            assert step.reward == 1.0
            assert local is not None

    trio.run(main)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "not found"),
        ("@0xbf5147cbbecf40c1; struct A { x @0 :Nothing; }", "Nothing"),
        ("struct {", "line 1"),
        ("@0xbf5147cbbecf40c1; struct A { x @1 :Bool; }", "rdinal"),
    ],
)
def test_a_schema_that_does_not_parse(text: str | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.capnp"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SchemaError, match=f"bad.capnp.*{reason}"):
        capenv.load_schema(path)


ZOO = """
@0xe3f1c2b7a9d84c55;

interface Keeper { getName @0 () -> (name :Text); }

struct Entry { name @0 :Text; keeper @1 :Keeper; }

interface Zoo {
  find @0 (text :Text) -> Found;
  struct Found { union { nobody @0 :Void; keeper @1 :Keeper; error @2 :Text; } }
  later @1 () -> (keeper :Keeper);
  call @2 (pass :Text) -> (results :Text);
  getURL @3 () -> (url :Text);
  list @4 () -> (entries :List(Entry));
  unwritten @5 () -> ();
  released @6 () -> ();
}

interface Left { get @0 () -> (side :Text); }
interface Right { get @0 () -> (side :Text); }
interface Both extends(Left, Right) {}
"""


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("zoo") / "zoo.capnp"
    path.write_text(ZOO)
    return capenv.load_schema(path)


def keeper_of(zoo: Any, name: str) -> capenv.Servant:
    class Keeper(capenv.Servant):
        interface = zoo.Keeper

        def get_name(self, request: capenv.Request) -> Any:
            return request.reply(name=name)

    return Keeper()


def zoo_of(zoo: Any) -> capenv.Servant:
    class Zoo(capenv.Servant):
        interface = zoo.Zoo
        promise: capenv.Promise

        def find(self, request: capenv.Request) -> Any:
            match request.params.text:
                case "keeper":
                    return request.reply(keeper=keeper_of(zoo, "Ann"))
                case "error":
                    return request.reply(error="not today")
                case _:
                    return request.reply()

        def later(self, request: capenv.Request) -> Any:
            self.promise = capenv.Promise()
            return request.reply(keeper=self.promise)

        def call_(self, request: capenv.Request) -> Any:
            return request.reply(results=f"called with {getattr(request.params, 'pass')}")

        def get_url(self, request: capenv.Request) -> Any:
            return request.reply(url="capnp://")

        def list(self, request: capenv.Request) -> Any:
            return request.reply(entries=[{"name": "Ann", "keeper": keeper_of(zoo, "Ann")}])

    return Zoo()


def test_a_reference_in_a_union_is_what_the_union_holds(zoo: Any) -> None:
    async def main() -> None:
        async with capenv.Vat() as vat:
            stub = await vat.connect(await vat.listen(zoo_of(zoo), "capnp://memory@zoo"), zoo.Zoo)
            found = await stub.find(text="keeper")
            assert found.which() == "keeper"
            assert (await found.keeper.get_name()).name == "Ann"
            assert (await stub.find(text="error")).which() == "error"
            assert (await stub.find(text="")).which() == "nobody"

    trio.run(main)


def test_a_promise_is_resolved_to_whatever_is_an_object(zoo: Any) -> None:
    async def main() -> None:
        async with capenv.Vat() as vat:
            servant: Any = zoo_of(zoo)
            stub = await vat.connect(await vat.listen(servant, "capnp://memory@later"), zoo.Zoo)
            promised = (await stub.later()).keeper
            name = promised.get_name()
            for nothing in ("an object", None):
                with pytest.raises(TypeError):
                    vat.resolve(servant.promise, nothing)
            vat.resolve(servant.promise, keeper_of(zoo, "Bob"))
            assert (await name).name == "Bob"
            broken = (await stub.later()).keeper
            vat.resolve(servant.promise, EnvironmentFailed("gone home"))
            with pytest.raises(EnvironmentFailed, match="gone home"):
                await broken.get_name()

    trio.run(main)


def test_names_that_are_taken_get_an_underscore(zoo: Any) -> None:
    async def main() -> None:
        async with capenv.Vat() as vat:
            stub = await vat.connect(await vat.listen(zoo_of(zoo), "capnp://memory@names"), zoo.Zoo)
            assert (await stub.call_(**{"pass": "care"})).results == "called with care"
            assert (await stub.get_url()).url == "capnp://"
            for missing in (stub.unwritten, stub.released_):
                with pytest.raises(capenv.errors.Unimplemented):
                    await missing()

    trio.run(main)


def test_a_reference_where_none_can_be_is_told_of(
    zoo: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with capenv.Vat() as vat:
            stub = await vat.connect(await vat.listen(zoo_of(zoo), "capnp://memory@list"), zoo.Zoo)
            with pytest.raises(RemoteError, match="internal TypeError"):
                await stub.list()

    trio.run(main)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "stands only in a field of the params or results themselves" in str(record.exc_info[1])


def test_interfaces_with_methods_of_one_name(zoo: Any) -> None:
    interface = capenv.Interface(zoo.Both)
    assert len(interface.by_id) == 2
    assert repr(interface) == "<Interface Both>"


@pytest.mark.parametrize("mistake", ["Zoo", 5, None])
def test_what_is_no_interface_is_refused(mistake: Any) -> None:
    with pytest.raises(TypeError, match="is no interface of a loaded schema"):
        capenv.Interface(mistake)


def test_a_struct_is_no_interface(zoo: Any) -> None:
    with pytest.raises(TypeError, match="is no interface"):
        capenv.Interface(zoo.Entry)


@under_trio
async def test_what_is_no_servant_is_refused() -> None:
    async with capenv.Vat() as vat:
        for mistake in (Probe, None, capenv.Servant()):
            with pytest.raises(TypeError, match="is no object to offer"):
                await vat.listen(mistake, "capnp://memory@mistake")  # type: ignore[arg-type]


@under_trio
async def test_exceptions_leave_a_vat_as_they_were_raised() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with capenv.Vat(), capenv.Vat():
            raise KeyError("mine")
    with pytest.raises(NothingListening):
        async with capenv.Vat() as vat:
            await vat.connect("capnp://memory@nobody-at-all", PROBE)


class Sabotaged(Probe):
    @classmethod
    def fault(cls, interface_id: int, method_id: int, error: Exception) -> Exception:
        raise AssertionError("the driver itself fails")


def test_a_mistake_in_the_driver_ends_one_connection(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with capenv.Vat() as host, capenv.Vat() as guest:
            sabotaged = await host.listen(Sabotaged(), "capnp://memory@sabotaged")
            sound = await host.listen(Probe(), "capnp://memory@sound")
            bystander = await guest.connect(sound, PROBE)
            await bystander.name()
            victim = await guest.connect(sabotaged, PROBE)
            with pytest.raises(capenv.errors.Disconnected):
                await victim.fail(reason="anything")
            assert (await bystander.name()).name == "first"

    trio.run(main)
    assert "a connection ended by an internal error" in [r.getMessage() for r in caplog.records]
