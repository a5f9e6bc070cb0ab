"""One connection against a peer that a test plays, message by message."""

from typing import Any

from rpc_pair import Thing, numbered, sent_messages, whole

from capenv.errors import (
    CapenvError,
    RemoteError,
)
from capenv.rpc import messages as wire
from capenv.rpc.answer import Answer
from capenv.rpc.capability import Broken, Content, Hosted, Imported
from capenv.rpc.connection import Connection
from capenv.rpc.encoding import echo, encode
from capenv.rpc.events import CallReceived, Event
from capenv.rpc.limits import Limits
from capenv.rpc.messages import (
    Bootstrap,
    Call,
    Finish,
    ImportedTarget,
    Message,
    Payload,
    Results,
    Return,
    SenderHosted,
)


def connected(limits: Limits | None = None) -> tuple[Connection, Thing]:
    """Return a connection whose peer, played by the test, has its bootstrap as export 0."""
    thing = Thing(0)
    core = Connection(Hosted(thing), limits)
    give(core, Bootstrap(0), Finish(0, False))
    assert [type(message) for message in sent_messages(core)] == [Return]
    return core, thing


def give(core: Connection, *arriving: Message) -> None:
    for message in arriving:
        match message:
            case wire.Unimplemented(message=inner) if inner is not None:
                segments = echo([bytearray(segment) for segment in whole(encode(inner))])
            case _:
                segments = encode(message)
        core.receive([memoryview(bytearray(segment)) for segment in whole(segments)])


def events_of(core: Connection) -> list[Event]:
    events: list[Event] = []
    while (event := core.next_event()) is not None:
        events.append(event)
    return events


def call_of(question_id: int, target: wire.MessageTarget, number: int = 0, *table: Any) -> Call:
    return Call(question_id, target, 1, 2, Payload(numbered(number, table).segments, table))


def only_call(core: Connection) -> CallReceived:
    (event,) = events_of(core)
    assert isinstance(event, CallReceived)
    return event


OFFERED = ImportedTarget(0)


def asked(core: Connection) -> Imported:
    """Return the peer's bootstrap, played by the test as its export 3."""
    question = core.bootstrap()
    give(
        core,
        Return(
            id_of(question),
            Results(Payload(Content.of(Broken(RemoteError(""))).segments, [SenderHosted(3)])),
        ),
    )
    assert [type(m) for m in sent_messages(core)] == [Bootstrap, Finish]
    events_of(core)
    assert isinstance(question.outcome, Content)
    found = question.outcome.capability()
    assert isinstance(found, Imported)
    return found


def id_of(question: Answer) -> int:
    """Return the id of the question that carries a call of ours."""
    assert question.carrier is not None
    return question.carrier.id


def failed(question: Answer) -> CapenvError:
    assert isinstance(question.outcome, CapenvError)
    return question.outcome
