"""The first calls on a connection, in one flight: hello, and the restoring of what a URL names."""

from typing import Any

from capenv.errors import (
    CapenvError,
    DeadlineExceeded,
    Disconnected,
    NotCapenv,
    ProtocolError,
    RemoteError,
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


@Reading("a hello")
def check_hello(content: Content) -> None:
    """Check the answer to hello.

    Raises:
        VersionMismatch: the server speaks another major version.
    """
    version: Any = GATE["hello"].results.read(content.segments).version
    check_version(version.major, version.minor, "server")


def hello_error(error: CapenvError, url: CapabilityURL) -> CapenvError:
    """Return what it means to a person that hello failed so."""
    match error:
        case VersionMismatch():
            return error
        case DeadlineExceeded():
            why = "it does not answer"
        case ProtocolError():
            why = "it speaks something else"
        case Disconnected():
            why = "it hung up"
        case RemoteError():
            why = "it speaks Cap'n Proto, but has no gate"
        case _:
            return error
    return NotCapenv(
        f"what listens at {url.address} is no capenv host: {why}; check the URL, and that the server is"
        " a capenv one"
    )
