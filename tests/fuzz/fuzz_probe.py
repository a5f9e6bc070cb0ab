"""An object whose methods are every way to answer a call, for a driver without a clock."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import attrs
import capnp

from capenv.errors import CapenvError, EnvironmentFailed, from_wire
from capenv.rpc.answer import Answer
from capenv.rpc.capability import Capability, Content, Hosted, Promise
from capenv.rpc.connection import Connection
from capenv.rpc.interface import Interface
from capenv.rpc.servant import Reply, Request, Servant
from capenv.values import Reading

_SITE_PACKAGES = str(Path(capnp.__file__).parent.parent)
_SCHEMA = str(Path(__file__).parents[1] / "interop" / "probe.capnp")
# A parser of our own: one parser may not hold two files of one id, and aborts the process. What it loaded
# is kept: to use a schema after its file's module is gone is a segmentation fault.
_LOADED: Any = capnp.SchemaParser().load(_SCHEMA, imports=[_SITE_PACKAGES])
PROBE = Interface(_LOADED.Probe)


@attrs.frozen(eq=False)
class Wait:
    """What a method awaits: a question's outcome, or with None that another message has come."""

    question: Answer | None = None

    def __await__(self) -> Generator["Wait", None, None]:
        yield self


class Probe(Servant):
    """The probe of the interoperability tests.

    A method that waits reads its params before: what is wrong with them counts as the peer's fault in the
    part that `Servant.call` starts, and as a mistake of ours in what is awaited.
    """

    interface = PROBE

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.held: Capability | None = None
        self.pending: list[tuple[Promise, Capability]] = []
        """What `later` answered with, and what each promise becomes."""
        self.texts: list[str] = []
        self.released_count = 0

    def echo(self, request: Request) -> Content:
        return self._text(request)

    def slow(self, request: Request) -> Reply:
        return self._later(self._text(request))

    def name(self, request: Request) -> Content:
        results = request.results()
        results.name = "probe"
        return request.reply(results)

    def child(self, request: Request) -> Content:
        child = Probe()
        child.texts = [request.params.name]
        child.connection = self.connection
        return request.reply(child=Hosted(child))

    def call_back(self, request: Request) -> Reply:
        assert self.connection is not None
        target = request.capability("target")
        if target is None:
            raise EnvironmentFailed("nothing to call back")
        method = PROBE["echo"]
        params = method.params.new()
        params.text = request.params.text
        question = self.connection.call(
            target, method.interface_id, method.id, method.params.content(params)
        )
        return self._called_back(request, question)

    async def _called_back(self, request: Request, question: Answer) -> Content:
        if question.outcome is None:
            await Wait(question)
        match question.outcome:
            case Content() as content:
                results = request.results()
                with Reading("an echo"):
                    results.text = PROBE["echo"].results.read(content.segments).text
                return request.reply(results)
            case CapenvError() as error:
                raise error
            case _:
                raise AssertionError("a question that returned has no outcome")

    def keep(self, request: Request) -> Content:
        self.held = request.capability("probe")
        return request.reply()

    def kept(self, request: Request) -> Content:
        return request.reply(probe=self.held)

    def drop(self, request: Request) -> Content:
        self.held = None
        return request.reply()

    def fail(self, request: Request) -> Content:
        raise EnvironmentFailed(request.params.reason)

    def fail_as(self, request: Request) -> Content:
        raise from_wire(request.params.kind, request.params.reason)

    async def hang(self, request: Request) -> Content:
        while True:
            await Wait()

    def counts(self, request: Request) -> Content:
        results = request.results()
        results.released = self.released_count
        return request.reply(results)

    def data(self, request: Request) -> Content:
        results = request.results()
        results.data = request.params.data
        return request.reply(results)

    def same(self, request: Request) -> Content:
        return request.reply(probe=request.capability("probe"))

    def later(self, request: Request) -> Content:
        probe, promise = request.capability("probe"), Promise()
        if probe is None:
            raise EnvironmentFailed("nothing to promise")
        self.pending.append((promise, probe))
        return request.reply(probe=promise)

    def settle(self, request: Request) -> Content:
        assert self.connection is not None
        while self.pending:
            self.connection.resolve(*self.pending.pop(0))
        return request.reply()

    def break_all(self, request: Request) -> Content:
        assert self.connection is not None
        error = EnvironmentFailed(request.params.reason)
        while self.pending:
            self.connection.resolve(self.pending.pop(0)[0], error)
        return request.reply()

    def tail(self, request: Request) -> Reply:
        target = request.capability("target")
        if target is None:
            raise EnvironmentFailed("nothing to call")
        method = PROBE["echo"]
        params = method.params.new()
        params.text = request.params.text
        return request.tail_call(target, method, method.params.content(params))

    def seen(self, request: Request) -> Content:
        results = request.results()
        texts = results.init("texts", len(self.texts))
        for index, text in enumerate(self.texts):
            texts[index] = text
        return request.reply(results)

    def write(self, request: Request) -> Reply:
        self._text(request)
        return self._later(request.reply())

    def released(self) -> None:
        self.released_count += 1
        self.held = None
        self.pending.clear()

    def _text(self, request: Request) -> Content:
        """Take note of a text; return results that hold it, where the method has such."""
        text = request.params.text
        self.texts = [*self.texts[-7:], text]
        results = request.results()
        if request.method.name != "write":
            results.text = text
        return request.reply(results)

    async def _later(self, content: Content) -> Content:
        await Wait()
        return content
