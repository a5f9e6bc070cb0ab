"""The conversations that are meddled with: every method of `schema/host.capnp` and of the probe."""

import functools
from collections.abc import Sequence
from typing import Any

import fuzz_readings
import fuzz_worlds
from fuzz_flows import LIMITS, Ask, Flow, record
from fuzz_probe import PROBE, Probe
from fuzz_readings import Read

from capenv.remote import descriptions, handshake, session_messages
from capenv.remote.interfaces import ENVIRONMENT, GATE, HOST, PLAYABLE, SESSION, WORLD
from capenv.rpc.capability import Capability, Hosted
from capenv.rpc.interface import Method
from capenv.rpc.servant import Servant

_SESSION_ASKS = ("describe", "reset", "step", "render", *("step", "reset", "step", "describe") * 3)


class Script:
    """A list of calls that is being written."""

    def __init__(self) -> None:
        self.asks: list[Ask] = []

    def ask(
        self,
        on: Ask | None,
        field: str,
        method: Method,
        read: Read,
        capabilities: dict[str, Capability | None] | None = None,
        **fields: Any,
    ) -> Ask:
        builder = method.params.new()
        for name, value in fields.items():
            setattr(builder, name, value)
        params = method.params.content(builder, capabilities)
        return self.put(Ask(on, field, method, params, read))

    def put(self, ask: Ask) -> Ask:
        self.asks.append(ask)
        return ask

    def restore(self, kind: str) -> Ask:
        """Say hello and restore a token."""
        self.put(Ask(None, "", GATE["hello"], handshake.hello_params(), fuzz_readings.hello))
        method = GATE["restore"]
        return self.ask(None, "", method, fuzz_readings.restored, token=fuzz_worlds.TOKENS[kind])

    def play(self, session: Ask, field: str, environment: str) -> None:
        """Use every method of a session."""
        for name in _SESSION_ASKS:
            method = SESSION[name]
            match name:
                case "reset":
                    params = session_messages.write_reset(7, {"level": [1, "two", 3.0]})
                case "step":
                    params = session_messages.write_unknown_step(fuzz_worlds.ACTIONS[environment])
                case _:
                    params = method.params.content()
            read = (
                fuzz_readings.session(method)
                if name == "describe"
                else fuzz_readings.SESSION_RESULTS[name]
            )
            self.put(Ask(session, field, method, params, read))


def _host(script: Script) -> None:
    host = script.restore("host")
    script.ask(
        host, "capability", HOST["describe"], fuzz_readings.described(descriptions.read_host, HOST)
    )
    method = HOST["environment"]
    environment = script.ask(
        host, "capability", method, fuzz_readings.capability(method), id="rich"
    )
    read = fuzz_readings.described(descriptions.read_environment, ENVIRONMENT)
    script.ask(environment, "environment", ENVIRONMENT["describe"], read)
    method = HOST["createWorld"]
    world = script.ask(host, "capability", method, fuzz_readings.capability(method), id="plain")
    script.ask(world, "world", WORLD["join"], fuzz_readings.session(WORLD["join"]))
    script.ask(world, "world", WORLD["destroy"], fuzz_readings.nothing)


def _host_play(script: Script) -> None:
    host = script.restore("host")
    method = PLAYABLE["play"]
    script.play(
        script.ask(host, "capability", method, fuzz_readings.session(method), id="plain"),
        "session",
        "plain",
    )


def _environment(script: Script) -> None:
    environment = script.restore("environment")
    read = fuzz_readings.described(descriptions.read_environment, ENVIRONMENT)
    script.ask(environment, "capability", ENVIRONMENT["describe"], read)
    method = ENVIRONMENT["createWorld"]
    params = method.params.new()
    descriptions.write_settings(params, {"label": "hard", "depth": 3})
    content = method.params.content(params)
    world = script.put(
        Ask(environment, "capability", method, content, fuzz_readings.capability(method))
    )
    script.ask(
        world, "world", WORLD["describe"], fuzz_readings.described(descriptions.read_world, WORLD)
    )
    script.ask(environment, "capability", PLAYABLE["play"], fuzz_readings.session(PLAYABLE["play"]))


def _world(script: Script) -> None:
    world = script.restore("world")
    read = fuzz_readings.described(descriptions.read_world, WORLD)
    script.ask(world, "capability", WORLD["describe"], read)
    session = script.ask(world, "capability", WORLD["join"], fuzz_readings.session(WORLD["join"]))
    script.play(session, "session", "rich")
    script.ask(session, "session", SESSION["leave"], fuzz_readings.nothing)


def _whole_session(script: Script) -> None:
    session = script.restore("session")
    script.play(session, "capability", "plain")
    script.ask(session, "capability", PLAYABLE["play"], fuzz_readings.session(PLAYABLE["play"]))


def _probe(script: Script) -> None:
    def ask(
        what: str,
        on: Ask | None = None,
        capabilities: dict[str, Capability | None] | None = None,
        **fields: Any,
    ) -> Ask:
        read = fuzz_readings.fields(PROBE[what])
        return script.ask(on, "child" if on else "", PROBE[what], read, capabilities, **fields)

    ask("echo", text="one")
    child = ask("child", name="kid")
    ask("slow", child, text="two")
    ask("callBack", None, {"target": Hosted(Probe())}, text="three")
    ask("keep", None, {"probe": Hosted(Probe())})
    ask("kept")
    ask("same", None, {"probe": Hosted(Probe())})
    later = ask("later", None, {"probe": Hosted(Probe())})
    script.ask(later, "probe", PROBE["echo"], fuzz_readings.fields(PROBE["echo"]), text="before")
    ask("settle")
    script.ask(later, "probe", PROBE["echo"], fuzz_readings.fields(PROBE["echo"]), text="after")
    ask("later", None, {"probe": Hosted(Probe())})
    ask("breakAll", reason="no more")
    ask("tail", None, {"target": Hosted(Probe())}, text="five")
    ask("data", child, data=bytes(range(100)))
    ask("write", child, text="four")
    ask("seen", child)
    ask("drop")
    ask("counts")


SCRIPTS = {
    "host": _host,
    "host play": _host_play,
    "environment": _environment,
    "world": _world,
    "session": _whole_session,
    "probe": _probe,
}


@functools.cache
def flows() -> Sequence[Flow]:
    """Return every conversation, recorded."""
    recorded = []
    for name, write in SCRIPTS.items():
        for eager in (True, False):
            script = Script()
            write(script)
            title = f"{name}, {'all at once' if eager else 'one by one'}"
            offer = Probe if name == "probe" else _gate
            # Bootstrap, hello and restore, or Bootstrap alone; who asks one by one finishes Bootstrap.
            handshake = (1 if offer is Probe else 3) + (not eager)
            recorded.append(record(Flow(title, script.asks, eager, offer, handshake)))
    return recorded


def _gate() -> Servant:
    return fuzz_worlds.gate(LIMITS)
