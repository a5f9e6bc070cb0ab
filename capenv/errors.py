"""The one exception tree.

::

    CapenvError
    ├── URLError (ValueError)            not a capability URL
    ├── LinkError (ConnectionError)      the bytes do not flow
    │   ├── NothingListening             nobody answers at the address
    │   ├── AddressInUse                 somebody else serves there
    │   ├── Disconnected                 the link broke or the peer went away     (disconnected)
    │   └── NotCapenv                    somebody answers, but not with capenv
    ├── ProtocolError                    the peer broke a rule of the protocol
    ├── VersionMismatch                  the peer speaks another major version    (unimplemented)
    ├── DeadlineExceeded (TimeoutError)  no answer in the time given
    ├── SchemaError (ValueError)         a schema of a user's own does not parse
    ├── SpaceError (ValueError)
    │   ├── UnsupportedSpace             a space that has no description on the wire
    │   └── OutsideSpace                 a value that its space does not contain
    ├── UnknownToken                     the URL's secret is wrong or was revoked
    ├── UnknownEnvironment (LookupError) no environment of that id
    ├── BadSettings (ValueError)         a setting unknown, missing or unusable
    ├── SeatError
    │   ├── UnknownSeat (LookupError)    no seat of that name
    │   └── SeatTaken                    somebody sits there
    ├── SessionError
    │   ├── ResetNeeded (Gymnasium's)    step or render before reset, or after the environment failed
    │   ├── SessionClosed                the session was left, closed or destroyed
    │   └── SessionBusy                  two threads or tasks use one environment at once
    ├── EnvironmentFailed                the environment raised
    └── RemoteError                      any other failure that the peer reports
        ├── Overloaded                   the peer has too much to do               (overloaded)
        └── Unimplemented                the peer has no such method               (unimplemented)

Cap'n Proto knows four kinds of exception (`Exception.type` in `rpc.capnp`). They are reactions, not
categories, so a category crosses the wire as the first word of the reason: ``UnknownToken: ...``.
`to_wire` writes that and `from_wire` reads it; a peer that knows nothing of it shows a readable sentence.
"""

import enum
import re
from typing import ClassVar

import gymnasium.error


class Kind(enum.IntEnum):
    """How to react to a failed call: `Exception.Type` of `rpc.capnp`."""

    FAILED = 0
    OVERLOADED = 1
    DISCONNECTED = 2
    UNIMPLEMENTED = 3


class CapenvError(Exception):
    """Whatever capenv raises. Its text is one sentence: what went wrong and what to do."""

    kind: ClassVar[Kind] = Kind.FAILED


class SchemaError(CapenvError, ValueError):
    """A schema does not parse, or is not there; the text is what its compiler says."""


class URLError(CapenvError, ValueError):
    """The text is not a capability URL."""


class LinkError(CapenvError, ConnectionError):
    """The bytes do not flow."""


class NothingListening(LinkError):
    """Nobody answers at the address."""


class AddressInUse(LinkError):
    """Somebody else serves at the address."""


class Disconnected(LinkError):
    """The link broke, or the peer went away; what rode on it is gone."""

    kind = Kind.DISCONNECTED


class NotCapenv(LinkError):
    """Somebody answers at the address, but not with capenv."""


class ProtocolError(CapenvError):
    """The peer broke a rule of the protocol; the connection has ended."""


class VersionMismatch(CapenvError):
    """The peer speaks another major version of capenv's interfaces."""

    kind = Kind.UNIMPLEMENTED


class DeadlineExceeded(CapenvError, TimeoutError):
    """No answer came in the time given."""


class SpaceError(CapenvError, ValueError):
    """A space or a value of one cannot be used."""


class UnsupportedSpace(SpaceError):
    """The space has no description on the wire."""


class OutsideSpace(SpaceError):
    """The value is not an element of its space. The text names the path and the bounds."""


class UnknownToken(CapenvError):
    """The secret in the capability URL is wrong or was revoked."""


class UnknownEnvironment(CapenvError, LookupError):
    """The host has no environment of that id."""


class BadSettings(CapenvError, ValueError):
    """A setting is unknown, missing or unusable."""


class SeatError(CapenvError):
    """The seat cannot be had."""


class UnknownSeat(SeatError, LookupError):
    """The world has no seat of that name."""


class SeatTaken(SeatError):
    """Somebody else sits there."""


class SessionError(CapenvError):
    """The session cannot do that now."""


class ResetNeeded(SessionError, gymnasium.error.ResetNeeded):
    """An episode must be begun first. Gymnasium's own error too, as of an environment that is here."""


class SessionClosed(SessionError):
    """The session was left, closed or destroyed."""


class SessionBusy(SessionError):
    """Two threads or tasks use one environment at the same time."""


class EnvironmentFailed(CapenvError):
    """The environment raised; the text holds its message."""


class RemoteError(CapenvError):
    """The peer reports a failure."""


class Overloaded(RemoteError):
    """The peer, or this side of the connection, has too much to do."""

    kind = Kind.OVERLOADED


class Unimplemented(RemoteError):
    """The peer has no such method."""

    kind = Kind.UNIMPLEMENTED


_CROSSING: dict[str, type[CapenvError]] = {
    error.__name__: error
    for error in (
        VersionMismatch,
        DeadlineExceeded,
        UnsupportedSpace,
        OutsideSpace,
        UnknownToken,
        UnknownEnvironment,
        BadSettings,
        UnknownSeat,
        SeatTaken,
        ResetNeeded,
        SessionClosed,
        SessionBusy,
        EnvironmentFailed,
    )
}
_CATEGORY = re.compile(r"(?:remote exception: )?([A-Z][A-Za-z]+): (.*)", re.DOTALL)
_PLACE = re.compile(r"\A\S+:\d+: (?:failed|overloaded|disconnected|unimplemented): ")
"""What comes before the reason where pycapnp prints an exception that came over the wire."""
_KINDS: dict[int, type[CapenvError]] = {
    Kind.FAILED: RemoteError,
    Kind.OVERLOADED: Overloaded,
    Kind.DISCONNECTED: Disconnected,
    Kind.UNIMPLEMENTED: Unimplemented,
}
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
MAX_REASON = 4096
"""Characters of a reason that are sent or shown; the rest is cut."""


def to_wire(error: BaseException) -> tuple[Kind, str]:
    """Return the kind and reason that tell a peer of `error`.

    Of an exception that is not capenv's own only the class name is told: its text might hold what
    the peer has no business knowing.
    """
    if not isinstance(error, CapenvError):
        return Kind.FAILED, f"the peer failed with an internal {type(error).__name__}"
    name = type(error).__name__
    text = str(error)[:MAX_REASON]
    return error.kind, f"{name}: {text}" if name in _CROSSING else text


def from_wire(kind: int, reason: str) -> CapenvError:
    """Return the exception that a peer's kind and reason stand for.

    What would move the cursor or colour the text of whoever prints the reason is left out.
    """
    if "Traceback (most recent call last)" in reason and not _CATEGORY.match(reason):
        # A server written with pycapnp tells its whole traceback; the last line says what is wrong, or
        # the line before the addresses, if it was another peer that failed.
        before, _, last = reason.rstrip().rpartition("\n")
        if last.startswith("stack: "):
            _, _, last = before.rstrip().rpartition("\n")
        reason = _PLACE.sub("", last.partition(": ")[2] or last)
    reason = _CONTROL.sub("", reason[:MAX_REASON])
    if (category := _CATEGORY.fullmatch(reason)) and category[1] in _CROSSING:
        return _CROSSING[category[1]](category[2])
    return _KINDS.get(kind, RemoteError)(reason)
