"""What programs may expect of references and calls: a model that knows nothing of tables or messages.

A reference stands for a thing, for what a call will return, or for a promise that a program made. The
model follows who gave what to whom, and so knows what every reference means in the end.
"""

from typing import TypeAlias

import attrs
from rpc_pair import Thing

from capenv.rpc.answer import Answer
from capenv.rpc.capability import Capability, Promise


@attrs.define(eq=False)
class Made:
    """A promise that a program made, and what it resolved it to."""

    promise: Promise
    vat: int
    meaning: "Node | None" = None
    broken: bool = False


@attrs.define(eq=False)
class Slot:
    """A place in the results of a call."""

    call: "Asked"
    index: int


Node: TypeAlias = Thing | Slot | Made


@attrs.define(eq=False)
class Reference:
    """A capability that a program holds, and what it stands for."""

    capability: Capability
    node: Node
    last_started: int = -1


@attrs.define(eq=False)
class Asked:
    """A call, as its caller and the model see it."""

    number: int
    vat: int
    reference: Reference
    passed: list[Node | None] = attrs.field(factory=list)
    question: Answer | None = None
    tail_of: "Asked | None" = None
    """The call that this one answers."""
    tail: "Asked | None" = None
    """The call that answers this one."""
    started: bool = False
    answered_by: "Asked | None" = None
    results: list[Node | None] | None = None
    failed: bool = False
    canceled: bool = False
    returned: int = 0

    @property
    def last(self) -> "Asked":
        """The call whose answer is this one's, as far as is known."""
        asked = self
        while asked.tail is not None:
            asked = asked.tail
        return asked

    def forget(self) -> None:
        """Let go of everything: what refers to each other goes late."""
        self.question = self.tail = self.tail_of = self.answered_by = self.results = None
        self.reference, self.passed = Reference(Capability(), Thing(0)), []

    def answer(self, results: list[Node | None]) -> None:
        """Note the results, also of the calls that this is a tail of."""
        asked: Asked | None = self
        while asked is not None:
            asked.results, asked.answered_by = results, self
            asked = asked.tail_of

    def fail(self) -> None:
        """Note a failure, also of the calls that this is a tail of."""
        asked: Asked | None = self
        while asked is not None:
            asked.failed, asked.answered_by = True, self
            asked = asked.tail_of


def follow(node: Node | None) -> Node | None:
    """Return what a node leads to as far as is known: a thing, None for nothing, or what is still open."""
    while True:
        match node:
            case Slot(call=call, index=index) if call.results is not None:
                node = call.results[index] if index < len(call.results) else None
            case Slot(call=call) if call.failed:
                return None
            case Made(broken=True):
                return None
            case Made(meaning=meaning) if meaning is not None:
                node = meaning
            case _:
                return node


def may_fail(node: Node | None) -> bool:
    """Return whether a call on a node may fail without having been started."""
    while True:
        match node:
            case None | Made(broken=True):
                return True
            case Slot(call=call) if call.canceled or call.failed:
                return True
            case Slot(call=call, index=index) if call.results is not None:
                node = call.results[index] if index < len(call.results) else None
            case Slot(call=call) if not call.last.started:
                node = call.last.reference.node
            case Made(meaning=meaning) if meaning is not None:
                node = meaning
            case _:
                return False


def reached(node: Node | None) -> list[Asked | Made]:
    """Return every call and promise that a node may wait for, or keep from being forgotten."""
    found: list[Asked | Made] = []
    nodes = [node]
    while nodes:
        match nodes.pop():
            case Slot(call=call):
                for asked in (call, call.last):
                    if asked not in found:
                        found.append(asked)
                        nodes += [*(asked.results or ()), asked.reference.node]
            case Made() as made if made not in found:
                found.append(made)
                nodes.append(made.meaning)
    return found
