"""Calls that go through a vat between two others."""

from rpc_network import LINKS, Network
from rpc_pair import Thing, number_of, numbered

from capenv.rpc.capability import Capability, Content, Hosted
from capenv.rpc.events import CallReceived


def started(network: Network) -> list[CallReceived]:
    return [event for _, event in network.events() if isinstance(event, CallReceived)]


def forwarded(network: Network) -> Capability:
    """Return the last vat's reference to what the first offers, by way of the one between."""
    first, last = network.ends[1].core, network.ends[3].core
    asked = first.bootstrap()
    network.settle()
    assert isinstance(asked.outcome, Content)
    given = asked.outcome.capability()
    question = last.bootstrap()
    root = question.pipeline()
    got = last.call(root, 1, 2, numbered(0))
    network.settle()
    (received,) = started(network)
    network.ends[2].core.respond(received.answer, numbered(0, [given]))
    network.settle()
    list(network.events())
    assert isinstance(got.outcome, Content)
    found = got.outcome.capability(0)
    assert found is not None
    return found


def test_calls_do_not_overtake_those_that_the_vat_between_waits_for() -> None:
    # What the last vat passed comes back as the result of a call through the vat between. A call on the
    # result is still on its way to the first vat and back when the one between learns what it is.
    network = Network(LINKS["three in a row"])
    first, between_first, between_last, last = network.ends
    target, thing = forwarded(network), Thing(2, "passed")
    question = last.core.call(target, 1, 2, numbered(1, [Hosted(thing)]))
    result = question.pipeline(0)
    last.core.call(result, 1, 2, numbered(2))
    between_last.deliver()
    between_first.collect()
    second_call = len(first.arriving) // 2  # a little more than the first of the two
    first.deliver(len(first.arriving) - second_call + 40)
    (received,) = started(network)
    first.core.respond(received.answer, numbered(1, received.content.capabilities))
    between_first.deliver()
    last.core.call(result, 1, 2, numbered(3))
    between_last.deliver()
    network.settle()
    last.core.call(result, 1, 2, numbered(4))
    network.settle()
    assert [number_of(call.content) for call in started(network)] == [2, 3, 4]


def test_a_payload_is_forwarded_as_it_came() -> None:
    network = Network(LINKS["three in a row"])
    target = forwarded(network)
    segments = [bytearray(numbered(7).segments[0]), bytearray(range(256)) * 64]
    network.ends[3].core.call(target, 1, 2, Content(segments))
    network.settle()
    (received,) = started(network)
    assert number_of(received.content) == 7
    assert [bytes(s) for s in received.content.segments[1:]] == [bytes(segments[1])]
