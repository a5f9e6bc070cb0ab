"""What is no capability URL, or not one to connect to, is told without showing any of it."""

import pytest
import trio

import capenv
from capenv.errors import URLError

SECRET = "E" * 43
PIN = "A" * 43


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "",
            "a capability URL begins with capnp://; it looks like capnp://insecure@<host>:<port>/",
        ),
        (f"http://127.0.0.1:80/{SECRET}", "a capability URL begins with capnp://; it looks like"),
        (f"insecure@127.0.0.1:80/{SECRET}", "a capability URL begins with capnp://; it looks like"),
        (f"capnp://127.0.0.1:80/{SECRET}", "does not say how it is secured; it looks like"),
        (f"capnp://tls@127.0.0.1:80/{SECRET}", "secured by sha-256:<pin>, insecure or memory"),
        (f"capnp://insecure@127.0.0.1/{SECRET}", "the address is not <host>:<port>; write a port"),
        (f"capnp://insecure@127.0.0.1:99999/{SECRET}", "write a port up to 65535"),
        (
            f"capnp://insecure@127.0.0.1:0/{SECRET}",
            "port 0 is only for listening; use the port that",
        ),
        (
            f"capnp://insecure@127.0.0.1:80/{SECRET}?to=1",
            "no query but ?at=<address>; leave the rest",
        ),
        (
            "capnp://insecure@127.0.0.1:80/BBBB",
            "a secret has at least 16 bytes; copy the whole URL",
        ),
        (f"capnp://insecure@127.0.0.1:80/{SECRET}=", "not canonical base64url; copy the whole URL"),
        (
            "capnp://insecure@127.0.0.1:80",
            "names a place but no capability there; use the whole URL",
        ),
        (
            "capnp://insecure@/tmp/socket/",
            "names a place but no capability there; use the whole URL",
        ),
        (f"capnp://sha-256:{PIN}@127.0.0.1:80/{SECRET}", "needs TLS, which this version does not"),
    ],
)
def test_a_url_that_is_none(url: str, sentence: str) -> None:
    with pytest.raises(URLError) as blocking:
        capenv.make(url)

    async def connect() -> None:
        async with capenv.connect(url):
            pass

    with pytest.raises(URLError) as under_trio:
        trio.run(connect)
    for raised in (blocking, under_trio):
        assert sentence in str(raised.value)
        assert SECRET not in str(raised.value)
        assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize(
    ("listen", "sentence"),
    [
        ("127.0.0.1:7000", "a capability URL begins with capnp://"),
        (f"capnp://insecure@127.0.0.1:7000/{SECRET}", "an address to listen at has no secret; cut"),
        (f"capnp://insecure@/tmp/socket/{SECRET}", "an address to listen at has no secret; cut"),
        ("capnp://insecure@127.0.0.1:seven", "the address is not <host>:<port>"),
    ],
)
def test_an_address_to_listen_at_that_is_none(listen: str, sentence: str) -> None:
    host = capenv.Host()
    host.add("CartPole-v1")
    with pytest.raises(URLError) as raised, capenv.serve(host, listen):
        pass
    assert sentence in str(raised.value)
    assert SECRET not in str(raised.value)
