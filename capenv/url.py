"""Capability URLs: where an object lives, what vouches for its host, and the secret to restore it.

::

    capnp://sha-256:<key pin>@<host>:<port>/<secret>[?at=<host>:<port>&at=unix:/<path>]
    capnp://insecure@<host>:<port>/<secret>
    capnp://insecure@/<path of the socket>/<secret>
    capnp://memory@<name>/<secret>

Pin and secret are canonical base64url without padding. Without its secret a URL is a locator: it
says where and grants nothing. The syntax is a superset of mirage/capnp-rpc's.
"""

import base64
import ipaddress
import os
import re
import secrets
from typing import Final, Self, TypeAlias, assert_never
from urllib.parse import quote, unquote

import attrs

from capenv.errors import URLError
from capenv.link import Address, MemoryAddress, TcpAddress, UnixAddress

SCHEME: Final = "capnp://"
PIN_SIZE: Final = 32
SECRET_SIZE: Final = 32
MIN_SECRET_SIZE: Final = 16
MAX_URL_LENGTH: Final = 4096
MAX_HINTS: Final = 8

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_HOST_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]{1,253})):(0|[1-9][0-9]{0,4})")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,253}")
_SPACE = re.compile(r"\s")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SHAPES = (
    "capnp://insecure@<host>:<port>/<secret>, capnp://insecure@/<socket path>/<secret>, "
    "capnp://memory@<name>/<secret> or capnp://sha-256:<pin>@<host>:<port>/<secret>"
)


def new_secret() -> bytes:
    """Return a secret that nobody can guess."""
    return secrets.token_bytes(SECRET_SIZE)


@attrs.frozen
class Insecure:
    """Nothing vouches for the host: fit for a Unix socket or loopback."""

    def __str__(self) -> str:
        return "insecure"


@attrs.frozen
class Memory:
    """The host is this very process."""

    def __str__(self) -> str:
        return "memory"


@attrs.frozen
class Pin:
    """The host proves that it holds a key: TLS 1.3 without certificate authorities."""

    digest: bytes
    """SHA-256 of the key's SubjectPublicKeyInfo in DER."""

    def __attrs_post_init__(self) -> None:
        if len(self.digest) != PIN_SIZE:
            raise URLError(f"a key pin is a SHA-256 digest of {PIN_SIZE} bytes; copy the URL again")

    def __str__(self) -> str:
        return f"sha-256:{_encode(self.digest)}"


Security: TypeAlias = Insecure | Memory | Pin


@attrs.frozen(repr=False)
class CapabilityURL:
    """A locator, and the secret that restores one capability there.

    `str` and `repr` never show the secret; `reveal` does.
    """

    security: Security
    address: Address
    hints: tuple[Address, ...] = ()
    """Further addresses of the same host, to try when the first does not answer."""
    secret: bytes = attrs.field(default=b"", repr=False)
    """Empty in a locator."""

    def __attrs_post_init__(self) -> None:
        for address in (self.address, *self.hints):
            _check(address)
            if isinstance(self.security, Memory) != isinstance(address, MemoryAddress):
                raise URLError("capnp://memory@ goes with a name, and only with a name")
        if len(self.hints) > MAX_HINTS:
            raise URLError(f"a capability URL has at most {MAX_HINTS} hints; leave some out")
        if self.secret and len(self.secret) < MIN_SECRET_SIZE:
            raise URLError(f"a secret has at least {MIN_SECRET_SIZE} bytes; copy the whole URL")
        if self.secret and isinstance(self.address, TcpAddress) and self.address.port == 0:
            raise URLError("port 0 is only for listening; use the port that the server reports")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL. The last part of a Unix socket's path is the secret, empty after a final `/`.

        Raises:
            URLError: it is no capability URL. The text of the error holds nothing of it.
        """
        security, authority, path, hints = _split(text)
        if authority:
            place, secret = _place(security, authority), path.removeprefix("/")
        else:
            socket, _, secret = path.rpartition("/")
            if not secret and _like_secret(socket.rpartition("/")[2]):
                # It would be taken for a file name, and told to whoever reads of the failure.
                raise URLError("the URL has a / behind its secret; leave that / out")
            place = _unix(socket)
        if isinstance(place, TcpAddress) and place.port == 0:
            raise URLError("port 0 is only for listening; use the port that the server reports")
        return cls(security, place, hints, _decode(secret, "secret") if secret else b"")

    @classmethod
    def parse_locator(cls, text: str) -> Self:
        """Read where to listen: a URL without secret, or a short form.

        The short forms are `unix:<path>`, `tcp:<host>:<port>` and `memory:<name>`. The whole path
        of a Unix socket is the socket's. Port 0 stands for any free one.

        Raises:
            URLError: it is none of these. The text of the error holds nothing of it.
        """
        match text[:].partition(":"):
            case "unix", _, path if path:
                return cls(Insecure(), UnixAddress(os.path.abspath(path)))
            case "tcp", _, place:
                return cls(Insecure(), _tcp(place))
            case "memory", _, name:
                return cls(Memory(), MemoryAddress(name))
        security, authority, path, hints = _split(text)
        # The secret of a Unix URL given by mistake would be taken for a file name, and logged.
        secret = path.strip("/") if authority else path.rpartition("/")[2]
        if (authority and secret) or _like_secret(secret):
            raise URLError("an address to listen at has no secret; cut off the last / and the rest")
        return cls(security, _place(security, authority) if authority else _unix(path), hints)

    def locator(self) -> str:
        """Return the text without the secret: fit for logs."""
        return self._text("")

    def reveal(self) -> str:
        """Return the whole text, secret included, which `parse` reads back."""
        end = f"/{_encode(self.secret)}"
        return self._text(end if self.secret or isinstance(self.address, UnixAddress) else "")

    def with_secret(self, secret: bytes) -> Self:
        """Return the same place with another secret."""
        return attrs.evolve(self, secret=secret)

    def without_secret(self) -> Self:
        """Return the place alone."""
        return attrs.evolve(self, secret=b"")

    def _text(self, end: str) -> str:
        query = "&".join(f"at={_print_hint(hint)}" for hint in self.hints)
        place = f"{SCHEME}{self.security}@{_print(self.address)}{end}"
        return f"{place}?{query}" if query else place

    def __str__(self) -> str:
        return self._text("/…" if self.secret else "")

    def __repr__(self) -> str:
        return f"<CapabilityURL {self}>"


class RevealedURL(str):
    """The whole text of a URL that `str`, `repr` and `format` show without its secret.

    It compares, hashes, slices, encodes, pickles and goes into JSON as the whole text, so it can
    stand among settings that other code prints.
    """

    __slots__ = ()

    def __str__(self) -> str:
        try:
            return str(CapabilityURL.parse(self))
        except URLError:
            return f"{SCHEME}…"

    def __repr__(self) -> str:
        return repr(str(self))

    def __format__(self, specification: str) -> str:
        return format(str(self), specification)

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (self[:],)


def _split(text: str) -> tuple[Security, str, str, tuple[Address, ...]]:
    """Return security, authority, path and hints."""
    if not isinstance(text, str):
        raise URLError(f"a capability URL is a str, not a {type(text).__name__}")
    text = text[:].strip()  # not str(text), which a RevealedURL redacts
    if _SPACE.search(text):
        raise URLError("a capability URL has no spaces or line breaks; copy one URL, not several")
    if not text.startswith(SCHEME):
        raise URLError(f"a capability URL begins with {SCHEME}; it looks like {_SHAPES}")
    if len(text) > MAX_URL_LENGTH:
        raise URLError(f"a capability URL has at most {MAX_URL_LENGTH} characters; copy it again")
    if "#" in text or _STRAY_PERCENT.search(text):
        raise URLError("a capability URL has # and % only as %23 and %25; write them so")
    body, _, query = text.removeprefix(SCHEME).partition("?")
    user, at, place = body.partition("@")
    if not at or "/" in user:
        raise URLError(
            f"the capability URL does not say how it is secured; it looks like {_SHAPES}"
        )
    authority, slash, path = place.partition("/")
    hints = tuple(_hint(part) for part in query.split("&")) if query else ()
    return _security(user), authority, slash + path, hints


def _security(user: str) -> Security:
    match user.partition(":"):
        case "insecure", "", _:
            return Insecure()
        case "memory", "", _:
            return Memory()
        case "sha-256", ":", digest:
            return Pin(_decode(digest, "key pin"))
    raise URLError("a capability URL is secured by sha-256:<pin>, insecure or memory; write one")


def _place(security: Security, authority: str) -> Address:
    return MemoryAddress(authority) if isinstance(security, Memory) else _tcp(authority)


def _hint(part: str) -> Address:
    if not part.startswith("at="):
        raise URLError("a capability URL has no query but ?at=<address>; leave the rest out")
    place = part.removeprefix("at=")
    return _unix(place.removeprefix("unix:")) if place.startswith("unix:") else _tcp(place)


def _tcp(place: str) -> TcpAddress:
    found = _HOST_PORT.fullmatch(place)
    if not found or int(found[3]) > 65535 or (found[1] and not _is_ipv6(found[1])):
        raise URLError(
            "the address is not <host>:<port>; write a port up to 65535, and an IPv6 host in [ ]"
        )
    return TcpAddress(found[1] or found[2], int(found[3]))


def _unix(path: str) -> UnixAddress:
    # Paths are bytes to the system: what is no UTF-8 must survive too.
    return UnixAddress(unquote(path, errors="surrogateescape"))


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _check(address: Address) -> None:
    """Raise URLError if the address cannot be written in a URL."""
    match address:
        case UnixAddress(path):
            if not path.startswith("/") or path.endswith("/") or "\0" in path:
                raise URLError(f"the path of a socket is absolute and names a file; use {_SHAPES}")
        case TcpAddress():
            _tcp(str(address))
        case MemoryAddress(name):
            if not _NAME.fullmatch(name):
                raise URLError(
                    "a name in memory is made of letters, digits, _, . and -; choose one"
                )
        case _:
            assert_never(address)


def _print(address: Address) -> str:
    if isinstance(address, UnixAddress):
        return quote(address.path, errors="surrogateescape")
    return str(address)


def _print_hint(address: Address) -> str:
    return f"unix:{_print(address)}" if isinstance(address, UnixAddress) else _print(address)


def _like_secret(name: str) -> bool:
    return len(name) == len(_encode(bytes(SECRET_SIZE))) and bool(_BASE64URL.fullmatch(name))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str, what: str) -> bytes:
    if _BASE64URL.fullmatch(text) and len(text) % 4 != 1:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if _encode(data) == text:  # one spelling for each secret
            return data
    raise URLError(
        f"the {what} is not canonical base64url; copy the whole URL "
        "(the last part of a Unix socket's URL is the secret; end with / for none)"
    )
