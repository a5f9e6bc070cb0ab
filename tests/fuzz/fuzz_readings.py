"""How an agent reads results: as `capenv.remote.proxies` and `capenv.remote.blocking_session` do."""

from collections.abc import Callable
from typing import Any

import fuzz_worlds
from fuzz_flows import Agent

from capenv.errors import NotCapenv
from capenv.remote import descriptions, handshake, session_messages
from capenv.remote.interfaces import GATE, SESSION
from capenv.remote.session_messages import SessionMessages
from capenv.rpc.capability import Content
from capenv.rpc.interface import Interface, Method

Read = Callable[[Agent, Content], object]


def hello(_: Agent, content: Content) -> object:
    return handshake.read_hello(content)


def restored(_: Agent, content: Content) -> object:
    results = GATE["restore"].results
    kind = str(results.read(content.segments).kind)
    if results.capability(content, "capability") is None or kind not in fuzz_worlds.KINDS:
        raise NotCapenv("nothing known was restored")
    return kind


def described(read: Callable[[Any], object], interface: Interface) -> Read:
    results = interface["describe"].results
    return lambda _, content: read(results.read(content.segments).description)


def session(method: Method) -> Read:
    def read(agent: Agent, content: Content) -> object:
        told = descriptions.read_session(method.results.read(content.segments).description)
        agent.messages = SessionMessages(told.environment)
        return agent.messages

    return read


def capability(method: Method) -> Read:
    (name,) = (field for field in ("environment", "world") if field in method.results._slots)
    return lambda _, content: method.results.capability(content, name)


def nothing(_: Agent, content: Content) -> object:
    return None


def fields(method: Method) -> Read:
    """Return what reads every field of a probe's results."""
    present = _names(method)
    names = [n for n in ("text", "name", "data", "texts", "released") if n in present]
    slots = [n for n in ("child", "probe") if n in present]

    def read(_: Agent, content: Content) -> object:
        reader = method.results.read(content.segments)
        found = [getattr(reader, name) for name in names]
        return [list(f) if not isinstance(f, str | bytes | int) else f for f in found] + [
            method.results.capability(content, slot) for slot in slots
        ]

    return read


def _names(method: Method) -> list[str]:
    return list(method.results.new().schema.fieldnames)


SESSION_RESULTS: dict[str, Read] = {
    "reset": lambda agent, content: agent.messages and agent.messages.read_reset_result(content),
    "step": lambda agent, content: agent.messages and agent.messages.read_time_step(content),
    "render": lambda _, content: session_messages.read_rendering(SESSION["render"], content),
}
