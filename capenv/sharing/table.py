"""The table behind capability URLs: from the secret in a URL to what it restores.

Only hashes of secrets are kept, and looked up as such: what leaks from the table opens nothing, and
a lookup takes the same path for a near miss as for a far one.
"""

import hashlib
import hmac
import secrets
from typing import Final, Generic, TypeVar

from capenv.errors import UnknownToken

Target = TypeVar("Target")

SECRET_BYTES: Final = 32
_CONTEXT: Final = b"capenv capability\0"


class CapabilityTable(Generic[Target]):
    """Secrets to targets, for the life of one server."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(SECRET_BYTES)
        self._targets: dict[bytes, Target] = {}

    def secret(self, name: str, target: Target) -> bytes:
        """Return the secret under which `target` can be restored; the same for the same name.

        It is derived from a key that never leaves this object, so that it need not be kept.
        """
        secret = self._derive(name)
        self._targets.setdefault(_digest(secret), target)
        return secret

    def holds(self, name: str) -> bool:
        """Return whether the name's secret was given out and stands for something still."""
        return _digest(self._derive(name)) in self._targets

    def restore(self, secret: bytes) -> Target:
        """Return what a secret stands for.

        Raises:
            UnknownToken: it stands for nothing, or no longer.
        """
        try:
            return self._targets[_digest(secret)]
        except KeyError:
            raise UnknownToken(
                "the secret in this URL opens nothing here: it is mistyped, was revoked, or its server"
                " was started anew; ask for a new URL"
            ) from None

    def revoke(self, name: str) -> Target | None:
        """Forget what the name's secret stands for, and return it."""
        return self._targets.pop(_digest(self._derive(name)), None)

    def drain(self) -> list[Target]:
        """Forget every secret, and return what they stood for."""
        targets = list(self._targets.values())
        self._targets.clear()
        return targets

    def _derive(self, name: str) -> bytes:
        return hmac.digest(self._key, _CONTEXT + name.encode(), "sha256")


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(_CONTEXT + secret).digest()
