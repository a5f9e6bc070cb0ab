"""Capability URLs round-trip, and keep their secret to themselves."""

import copy
import json
import pickle
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capenv.errors import URLError
from capenv.link import Address, MemoryAddress, TcpAddress, UnixAddress
from capenv.url import (
    MAX_HINTS,
    CapabilityURL,
    Insecure,
    Memory,
    Pin,
    RevealedURL,
    Security,
    new_secret,
)

SECRET = bytes(range(32))
SECRET_TEXT = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

segments = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20
) | st.sampled_from(["a b", "%41", "#?&=", "päth", "\udcff", "@", "at=x", ".", "\n"])
unix_addresses = st.lists(segments, min_size=1, max_size=4).map(
    lambda parts: UnixAddress("/" + "/".join(parts))
)
hosts = (
    st.from_regex(r"[A-Za-z0-9._-]{1,30}", fullmatch=True)
    | st.ip_addresses(v=4).map(str)
    | st.ip_addresses(v=6).map(str)
)
tcp_addresses = st.builds(TcpAddress, hosts, st.integers(1, 65535))
names = st.from_regex(r"[A-Za-z0-9_.-]{1,30}", fullmatch=True)
secret_bytes = st.just(b"") | st.binary(min_size=16, max_size=48)
securities: st.SearchStrategy[Security] = st.just(Insecure()) | st.builds(
    Pin, st.binary(min_size=32, max_size=32)
)
addresses: st.SearchStrategy[Address] = unix_addresses | tcp_addresses
urls = st.builds(
    CapabilityURL,
    securities,
    addresses,
    st.lists(addresses, max_size=3).map(tuple),
    secret_bytes,
) | st.builds(
    CapabilityURL, st.just(Memory()), st.builds(MemoryAddress, names), secret=secret_bytes
)


@given(urls)
def test_the_revealed_text_reads_back(url: CapabilityURL) -> None:
    assert CapabilityURL.parse(url.reveal()) == url
    assert CapabilityURL.parse(f" {url.reveal()}\n") == url


@given(urls)
def test_the_locator_reads_back(url: CapabilityURL) -> None:
    assert CapabilityURL.parse_locator(url.locator()) == url.without_secret()


@given(urls)
def test_copies_are_equal(url: CapabilityURL) -> None:
    assert copy.deepcopy(url) == pickle.loads(pickle.dumps(url)) == url
    assert hash(copy.copy(url)) == hash(url)


@given(urls, secret_bytes.filter(bool))
def test_what_is_shown_does_not_depend_on_the_secret(url: CapabilityURL, secret: bytes) -> None:
    one, other = url.with_secret(SECRET), url.with_secret(secret)
    assert one.without_secret() == other.without_secret() == url.without_secret()
    for show in (str, repr, format, CapabilityURL.locator):
        assert show(one) == show(other)
        assert SECRET_TEXT not in show(one)
    assert SECRET_TEXT in one.reveal()
    assert str(one).partition("?")[0].endswith("/…")


@given(urls)
def test_a_revealed_url_prints_redacted_and_is_otherwise_the_text(url: CapabilityURL) -> None:
    whole = url.reveal()
    revealed = RevealedURL(whole)
    assert revealed == whole
    assert hash(revealed) == hash(whole)
    assert revealed.encode(errors="surrogateescape") == whole.encode(errors="surrogateescape")
    assert json.loads(json.dumps({"url": revealed})) == {"url": whole}
    assert json.loads(json.dumps({"url": revealed}, indent=1)) == {"url": whole}
    assert CapabilityURL.parse(revealed) == url
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(revealed, protocol))
        assert type(again) is RevealedURL
        assert again[:] == whole
    twin = copy.deepcopy({"url": revealed})["url"]
    assert type(twin) is RevealedURL
    assert twin == whole
    for shown in (
        str(revealed),
        f"{revealed}",
        f"{revealed:s}",
        format(revealed),
    ):
        assert shown == str(url)
    assert repr(revealed) == repr(str(url)) == f"{revealed!r}"
    assert repr([revealed]) == repr([str(url)])


def test_a_revealed_url_that_is_none_still_shows_nothing() -> None:
    assert str(RevealedURL(f"nonsense/{SECRET_TEXT}")) == "capnp://…"


def test_spelling() -> None:
    pin = "A" * 43
    whole = f"capnp://sha-256:{pin}@[::1]:7000/{SECRET_TEXT}?at=localhost:1&at=unix:/a%20b"
    url = CapabilityURL(
        Pin(bytes(32)),
        TcpAddress("::1", 7000),
        (TcpAddress("localhost", 1), UnixAddress("/a b")),
        SECRET,
    )
    assert CapabilityURL.parse(whole) == url
    assert url.reveal() == whole
    assert str(url) == f"capnp://sha-256:{pin}@[::1]:7000/…?at=localhost:1&at=unix:/a%20b"
    assert repr(url) == f"<CapabilityURL {url}>"
    unix = CapabilityURL(Insecure(), UnixAddress("/run/x.sock"), secret=SECRET)
    assert unix.reveal() == f"capnp://insecure@/run/x.sock/{SECRET_TEXT}"
    assert unix.without_secret().reveal() == "capnp://insecure@/run/x.sock/"
    assert unix.locator() == "capnp://insecure@/run/x.sock"
    memory = CapabilityURL(Memory(), MemoryAddress("world.1"), secret=SECRET)
    assert memory.reveal() == f"capnp://memory@world.1/{SECRET_TEXT}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unix:/run/x y", "capnp://insecure@/run/x%20y"),
        ("tcp:127.0.0.1:0", "capnp://insecure@127.0.0.1:0"),
        ("tcp:[::1]:0", "capnp://insecure@[::1]:0"),
        ("memory:here", "capnp://memory@here"),
        ("capnp://insecure@127.0.0.1:0", "capnp://insecure@127.0.0.1:0"),
        ("capnp://insecure@127.0.0.1:0/", "capnp://insecure@127.0.0.1:0"),
    ],
)
def test_where_to_listen(text: str, expected: str) -> None:
    assert CapabilityURL.parse_locator(text).locator() == expected


def test_a_relative_path_to_listen_at_becomes_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert CapabilityURL.parse_locator("unix:x.sock").address == UnixAddress("/x.sock")


BAD = [
    SECRET_TEXT,
    f"http://insecure@localhost:1/{SECRET_TEXT}",
    f"capnp://localhost:1/{SECRET_TEXT}",
    f"capnp://@localhost:1/{SECRET_TEXT}",
    f"capnp:///run/@x/{SECRET_TEXT}",
    f"capnp://Insecure@localhost:1/{SECRET_TEXT}",
    f"capnp://insecure:@localhost:1/{SECRET_TEXT}",
    f"capnp://md5:{'A' * 43}@localhost:1/{SECRET_TEXT}",
    f"capnp://sha-256:@localhost:1/{SECRET_TEXT}",
    f"capnp://sha-256:{'A' * 42}@localhost:1/{SECRET_TEXT}",
    f"capnp://sha-256:{'A' * 42}B@localhost:1/{SECRET_TEXT}",
    f"capnp://sha-256:{'A' * 43}=@localhost:1/{SECRET_TEXT}",
    f"capnp://insecure@localhost/{SECRET_TEXT}",
    f"capnp://insecure@localhost:/{SECRET_TEXT}",
    f"capnp://insecure@localhost:0/{SECRET_TEXT}",
    f"capnp://insecure@localhost:01/{SECRET_TEXT}",
    f"capnp://insecure@localhost:65536/{SECRET_TEXT}",
    f"capnp://insecure@localhost:١/{SECRET_TEXT}",
    f"capnp://insecure@::1:7000/{SECRET_TEXT}",
    f"capnp://insecure@[::g]:7000/{SECRET_TEXT}",
    f"capnp://insecure@[1.2.3.4]:7000/{SECRET_TEXT}",
    f"capnp://insecure@localhost:1/x/{SECRET_TEXT}",
    f"capnp://insecure@localhost:1/{SECRET_TEXT}/",
    f"capnp://insecure@localhost:1/{SECRET_TEXT}=",
    f"capnp://insecure@localhost:1/{SECRET_TEXT[:-1]}9",
    f"capnp://insecure@localhost:1/{SECRET_TEXT}A=",
    f"capnp://insecure@localhost:1/{SECRET_TEXT}AA",
    f"capnp://insecure@localhost:1/{SECRET_TEXT}#x",
    f"capnp://insecure@localhost:1/{SECRET_TEXT}?to=x",
    f"capnp://insecure@localhost:1/{SECRET_TEXT}?at=x",
    f"capnp://insecure@localhost:1/{SECRET_TEXT}?at=unix:x",
    f"capnp://insecure@localhost:1/{SECRET_TEXT}?{'&'.join(['at=x:1'] * (MAX_HINTS + 1))}",
    f"capnp://insecure@localhost:1/{SECRET_TEXT}" + "A" * 4096,
    "capnp://insecure@localhost:1/AAAA",
    f"capnp://insecure@/{SECRET_TEXT}",
    f"capnp://insecure@/run/%zz/{SECRET_TEXT}",
    f"capnp://insecure@/run/%00/{SECRET_TEXT}",
    "capnp://insecure@/run/x.sock",
    "capnp://insecure@/run/sock",
    f"capnp://memory@/{SECRET_TEXT}",
    f"capnp://memory@a:b/{SECRET_TEXT}",
    f"capnp://memory@a/{SECRET_TEXT}?at=localhost:1",
    "tcp:localhost:1",
    "",
]


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_url_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(URLError) as caught:
        CapabilityURL.parse(text)
    error: BaseException | None = caught.value
    shown = "".join(traceback.format_exception(caught.value))
    while error is not None:
        shown += str(error)
        error = error.__context__
    assert SECRET_TEXT[:20] not in shown
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text",
    [
        f"capnp://insecure@localhost:1/{SECRET_TEXT}",
        f"capnp://insecure@localhost:1/{SECRET_TEXT}/",
        f"capnp://insecure@/run/x.sock/{SECRET_TEXT}",
        f"capnp://memory@a/{SECRET_TEXT}",
        "capnp://insecure@/run/",
        "unix:",
        "unix:/",
        "tcp:localhost",
        "memory:a/b",
        "udp:x",
        "",
    ],
)
def test_where_one_cannot_listen(text: str) -> None:
    with pytest.raises(URLError) as caught:
        CapabilityURL.parse_locator(text)
    assert SECRET_TEXT not in str(caught.value)


@given(st.text() | st.text().map(lambda text: f"capnp://insecure@{text}"))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (CapabilityURL.parse, CapabilityURL.parse_locator):
        try:
            url = parse(text)
        except URLError:
            continue
        assert parse(url.reveal() if parse == CapabilityURL.parse else url.locator()) == url


@pytest.mark.parametrize(
    ("security", "address"),
    [
        (Insecure(), MemoryAddress("a")),
        (Memory(), TcpAddress("localhost", 1)),
        (Memory(), MemoryAddress("a/b")),
        (Insecure(), TcpAddress("evil/host", 1)),
        (Insecure(), TcpAddress("localhost", 65536)),
        (Insecure(), TcpAddress("localhost", -1)),
        (Insecure(), UnixAddress("relative")),
        (Insecure(), UnixAddress("/directory/")),
    ],
)
def test_what_cannot_be_written_cannot_be_made(security: Security, address: Address) -> None:
    with pytest.raises(URLError):
        CapabilityURL(security, address)


def test_port_zero_has_no_secret() -> None:
    with pytest.raises(URLError):
        CapabilityURL.parse_locator("tcp:127.0.0.1:0").with_secret(SECRET)


def test_secrets_differ() -> None:
    assert len(new_secret()) == 32
    assert new_secret() != new_secret()


@pytest.mark.parametrize(
    "mistake",
    [
        "capnp://insecure@/run/sock/{secret}/",
        "capnp://insecure@/run/sock/{secret} capnp://insecure@/run/sock/{secret}",
        "capnp://insecure@/run/sock/{secret}\ncapnp://insecure@/run/sock/{secret}",
        "capnp://insecure@127.0.0.1:7000/{secret}/",
    ],
)
def test_a_slip_of_the_hand_tells_no_secret(mistake: str) -> None:
    secret = CapabilityURL(Insecure(), UnixAddress("/s"), secret=bytes(range(32))).reveal()[-43:]
    with pytest.raises(URLError) as raised:
        CapabilityURL.parse(mistake.format(secret=secret))
    assert secret not in str(raised.value)


@pytest.mark.parametrize("nothing", [None, 5, b"capnp://"])
def test_what_is_no_text_is_no_url(nothing: Any) -> None:
    with pytest.raises(URLError, match="is a str, not a"):
        CapabilityURL.parse(nothing)
