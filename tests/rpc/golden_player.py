"""Both sides of the golden traces played by one `Connection`, for a test that plays its peer."""

from collections.abc import Callable, Generator

from golden_text import message_of, text_of
from rpc_pair import sent_messages, whole
from rpc_probe import params
from rpc_schema import PROBE

from capenv.errors import RemoteError
from capenv.rpc.answer import Answer
from capenv.rpc.capability import Capability, Hosted, Promise
from capenv.rpc.connection import Connection
from capenv.rpc.encoding import encode
from capenv.rpc.events import CallCanceled, CallReceived, Event, Returned

Script = Generator[Answer, None, None]
"""What a caller does: yields each answer that it waits for, and holds references while it lasts."""


class Player:
    """One side of a trace: a probe that is served, and a caller that may have a script."""

    def __init__(self, script: "Callable[[Player, Capability], Script] | None" = None) -> None:
        self.core = Connection(Hosted(self) if script is None else None)
        self.awaited: Answer | None = None
        self.pending: list[tuple[Promise, Capability]] = []
        """Promises that `later` made, and what they will be."""
        self._script: Script | None = None
        if script is not None:
            root = self.core.bootstrap().pipeline()
            self._script = script(self, root)
            del root
            self._go_on()

    @property
    def done(self) -> bool:
        """Whether nothing is left of the script, nor to be resolved."""
        return self._script is None and not self.pending

    def receive(self, messages: list[str]) -> None:
        """Take messages that arrive at once; then carry out all that they bring about."""
        for message in messages:
            self.core.receive(
                [memoryview(bytearray(s)) for s in whole(encode(message_of(message)))]
            )
        while (event := self.core.next_event()) is not None:
            self._carry_out(event)

    def sent(self) -> list[str]:
        """Take the messages that were sent."""
        return [text_of(message) for message in sent_messages(self.core)]

    def call(
        self,
        target: Capability,
        method: str,
        capabilities: dict[str, Capability] | None = None,
        **fields: str,
    ) -> Answer:
        content = params(method, capabilities, **fields)
        return self.core.call(target, PROBE[method].interface_id, PROBE[method].id, content)

    def _carry_out(self, event: Event) -> None:
        match event:
            case CallReceived():
                self._serve(event)
            case CallCanceled(answer=answer):
                self.core.fail(answer, RemoteError("canceled"))
            case Returned(answer=answer) if answer is self.awaited:
                self._go_on()
            case _:
                pass

    def _go_on(self) -> None:
        """Go on with the script, until it waits for what is not there."""
        assert self._script is not None
        for answer in self._script:
            if answer.outcome is None:
                self.awaited = answer
                return
        self.awaited = self._script = None

    def _serve(self, call: CallReceived) -> None:
        method = PROBE.by_id[call.interface_id, call.method_id]
        given = method.params.read(call.content.segments)
        match method.name:
            case "echo":
                results = method.results.new()
                results.text = given.text
                self.core.respond(call.answer, method.results.content(results))
            case "same":
                self._reply(call, probe=_capability(call, "probe"))
            case "later":
                promise = Promise()
                self.pending.append((promise, _capability(call, "probe")))
                self._reply(call, probe=promise)
            case "settle":
                self._reply(call)
                for promise, target in self.pending:
                    self.core.resolve(promise, target)
                self.pending.clear()
            case "tail":
                target, echo = _capability(call, "target"), PROBE["echo"]
                content = params("echo", text=given.text)
                self.core.tail_call(call.answer, target, echo.interface_id, echo.id, content)

    def _reply(self, call: CallReceived, **capabilities: Capability) -> None:
        results = PROBE.by_id[call.interface_id, call.method_id].results
        self.core.respond(call.answer, results.content(None, capabilities))


def _capability(call: CallReceived, name: str) -> Capability:
    found = PROBE.by_id[call.interface_id, call.method_id].params.capability(call.content, name)
    assert found is not None
    return found


# The callers, as tests/interop/pycapnp_golden.py has them with pycapnp.


def echo(player: Player, root: Capability) -> Script:
    same = player.call(root, "same", {"probe": Hosted(player)})
    promise = same.pipeline(0)
    one = player.call(promise, "echo", text="1")
    yield same
    yield from (one, player.call(promise, "echo", text="2"), player.call(promise, "echo", text="3"))


def lazy(player: Player, root: Capability) -> Script:
    later = player.call(root, "later", {"probe": Hosted(player)})
    yield later
    promise = later.pipeline(0)
    one = player.call(promise, "echo", text="1")
    yield player.call(root, "settle")
    yield one
    yield player.call(root, "echo", text="0")  # the promise is held till the Resolve is there


def tail(player: Player, root: Capability) -> Script:
    yield player.call(root, "tail", {"target": Hosted(player)}, text="1")


def cancel(player: Player, root: Capability) -> Script:
    hang = player.call(root, "hang")
    yield player.call(root, "echo", text="1")
    player.core.cancel(hang)
    yield player.call(root, "echo", text="2")


SCRIPTS = {"echo": echo, "lazy": lazy, "tail": tail, "cancel": cancel}
