"""The first calls on a connection, in one flight: hello, and the restoring of what a URL names."""

from typing import Any

import attrs

from capenv.errors import (
    CapenvError,
    DeadlineExceeded,
    Disconnected,
    NotCapenv,
    ProtocolError,
    RemoteError,
    UnknownEnvironment,
    URLError,
    VersionMismatch,
)
from capenv.remote.interfaces import GATE, check_version, write_hello
from capenv.rpc.capability import Content
from capenv.url import CapabilityURL, Pin
from capenv.values import Reading

TIMEOUT = 10.0
"""Seconds that a host may take to be reached and to say hello."""


def checked(url: str | CapabilityURL) -> CapabilityURL:
    """Return a URL that one can connect to.

    Raises:
        URLError: it is none, or its secret is missing.
    """
    parsed = url if isinstance(url, CapabilityURL) else CapabilityURL.parse(url)
    if not parsed.secret:
        raise URLError(f"the URL {parsed} names a place but no capability there; use the whole URL")
    if isinstance(parsed.security, Pin):
        raise URLError("a URL with a key pin needs TLS, which this version does not speak yet")
    return parsed


def checked_id(id: str | None) -> str:  # noqa: A002
    """Return an environment's id as it is sent, "" for none.

    Raises:
        UnknownEnvironment: it is not even text.
    """
    if not isinstance(id, str | None):
        raise UnknownEnvironment(
            f"the id of an environment is a str, not {id!r}; see `capenv info`"
        )
    return id or ""


def hello_params() -> Content:
    """Return the params of `Gate.hello`."""
    params = GATE["hello"].params.new()
    write_hello(params)
    return GATE["hello"].params.content(params)


def restore_params(url: CapabilityURL) -> Content:
    """Return the params of `Gate.restore`."""
    params = GATE["restore"].params.new()
    params.token = url.secret
    return GATE["restore"].params.content(params)


@attrs.frozen
class Peer:
    """Who answered hello."""

    implementation: str
    """Such as "capenv 0.1.0"."""
    version: tuple[int, int]
    """Major and minor version of the interfaces it speaks."""


@Reading("a hello")
def read_hello(content: Content) -> Peer:
    """Return who answered hello.

    Raises:
        VersionMismatch: the server speaks another major version.
    """
    results: Any = GATE["hello"].results.read(content.segments)
    version = results.version.major, results.version.minor
    check_version(*version, "server")
    return Peer(f"{results.implementation.name} {results.implementation.version}", version)


def hello_error(error: CapenvError, url: CapabilityURL, ended: CapenvError | None) -> CapenvError:
    """Return what it means to a person that hello failed so; `ended` is why the connection has."""
    match ended if isinstance(ended, ProtocolError) else error:
        case VersionMismatch():
            return error
        case DeadlineExceeded():
            return NotCapenv(
                f"what listens at {url.address} says no hello: it is busy, or no capenv host;"
                " try again, or check the URL"
            )
        case ProtocolError():
            why = "it speaks something else"
        case Disconnected():
            why = f"it hung up ({str(error).partition(';')[0]})"
        case RemoteError():
            why = "it speaks Cap'n Proto, but has no gate"
        case _:
            return error
    return NotCapenv(
        f"what listens at {url.address} is no capenv host: {why}; check the URL, and that the server is"
        " a capenv one"
    )
