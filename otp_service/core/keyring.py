"""
The key ring: everything that is derived, sealed or named from secrets.

One **anchor** secret never rotates: it chooses a phone's shard and names addresses, so that no data ever has to move
between slots, and keys tables of subscribers, which cannot be made anew.  The **ring keys** rotate: each has an id
that verification ids carry, so that what was made under an older key is still read under it.  From each ring key one
sub-key per use is derived (HMAC-SHA-256 as a PRF, NIST SP 800-108 in its simplest form); no key serves two uses.
"""

from __future__ import annotations

import hmac
import re
from base64 import b32encode, b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import urandom
from secrets import token_bytes

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SHARDS = 16
_ID = re.compile(r"([0-9a-f])-([0-9a-z]{1,4})-[a-z2-7]{26}")
_NONCE_BYTES = 12
_TOKEN_MAC_BYTES = 24


@dataclass(frozen=True, slots=True)
class RingKey:
    """One rotating secret: a short id (``[0-9a-z]{1,4}``) and 32 random bytes."""

    id: str
    secret: bytes = field(repr=False)


class SealBroken(Exception):
    """Sealed data was changed, or sealed for another place or under a lost key."""


class _Derived:
    """The sub-keys of one ring key."""

    __slots__ = ("code", "digest", "name", "seal", "token")

    def __init__(self, key: RingKey) -> None:
        def derive(label: bytes) -> bytes:
            return hmac.digest(key.secret, b"otp-service/" + label, "sha256")

        self.name = derive(b"name")
        self.code = derive(b"code")
        self.digest = derive(b"digest")
        self.token = derive(b"token")
        self.seal = AESGCM(derive(b"seal"))


class KeyRing:
    """
    The secrets in use.

    Args:
        anchor: 32 random bytes that never change for the life of a store.
        keys: every key still readable, the current one first.
    """

    def __init__(self, anchor: bytes, keys: Sequence[RingKey]) -> None:
        if len(anchor) < 32 or not keys or any(len(key.secret) < 32 for key in keys):
            raise ValueError("the anchor and every ring key need at least 32 bytes")
        self._shard_key = hmac.digest(anchor, b"otp-service/shard", "sha256")
        self._address_key = hmac.digest(anchor, b"otp-service/address", "sha256")
        self._replay_key = hmac.digest(anchor, b"otp-service/replay", "sha256")
        self._proof_key = hmac.digest(anchor, b"otp-service/proof", "sha256")
        self._table_key = hmac.digest(anchor, b"otp-service/table", "sha256")
        self._derived = {key.id: _Derived(key) for key in keys}
        self.current = keys[0].id
        self.ids = tuple(self._derived)

    # -- places ------------------------------------------------------------------------------------------------

    def shard(self, subject: str) -> int:
        """Return the shard of a phone or ID number, 0 to 15; it never changes."""
        return hmac.digest(self._shard_key, subject.encode(), "sha256")[0] % SHARDS

    def names(self, kind: str, subject: str) -> tuple[str, ...]:
        """Return the index names of a phone or ID number: under the current key, then under each older one."""
        message = f"{kind}:{subject}".encode()
        return tuple(
            _short(hmac.digest(derived.name, message, "sha256"), 12) for derived in self._derived.values()
        )

    def address_name(self, address: str) -> str:
        """Return the name that stands for an address or block; addresses do not rotate."""
        return _short(hmac.digest(self._address_key, address.encode(), "sha256"), 9)

    def replay_name(self, client: str, idempotency_key: str) -> str:
        """Return the name of an idempotency record (DESIGN 5: the digest of client and key)."""
        message = f"{client}\0{idempotency_key}".encode()
        return _short(hmac.digest(self._replay_key, message, "sha256"), 18)

    def body_digest(self, *parts: bytes) -> str:
        """Return a keyed digest of a request, to tell a replay from another request; 16 characters."""
        mac = hmac.new(self._replay_key, digestmod="sha256")
        for part in parts:
            mac.update(len(part).to_bytes(4, "big"))
            mac.update(part)
        return _short(mac.digest(), 12)

    def table_key(self) -> bytes:
        """Return the key of the digests in tables of subscribers: 32 bytes; it never rotates."""
        return self._table_key

    def proof_key(self, client: str, phone: str) -> bytes:
        """Return the key that signs challenges for one client and phone: 32 bytes; nobody keeps a challenge long."""
        return hmac.digest(self._proof_key, f"{client}\0{phone}".encode(), "sha256")

    # -- verification ids --------------------------------------------------------------------------------------

    def new_id(self, shard: int) -> str:
        """Make a verification id: shard, key id, 128 random bits (ASVS 11.5.1)."""
        return f"{shard:x}-{self.current}-{b32encode(token_bytes(16))[:26].decode().lower()}"

    def parse_id(self, verification_id: str) -> int | None:
        """Return the shard of a well-formed id made under a key of this ring, else None."""
        if len(verification_id) > 36 or not (match := _ID.fullmatch(verification_id)):
            return None
        return int(match[1], 16) if match[2] in self._derived else None

    def _of(self, verification_id: str) -> _Derived:
        return self._derived[verification_id.split("-", 2)[1]]

    # -- secrets of one verification ---------------------------------------------------------------------------

    def code_secret(self, verification_id: str) -> bytes:
        """Return the HOTP secret of a verification: 160 bits (RFC 4226 section 4, R6), never stored."""
        return hmac.digest(self._of(verification_id).code, verification_id.encode(), "sha256")[:20]

    def digest(self, verification_id: str, kind: str, value: str) -> bytes:
        """Return the keyed digest of a code or ID number, bound to its verification: 16 bytes."""
        message = f"{kind}:{verification_id}:{value}".encode()
        return hmac.digest(self._of(verification_id).digest, message, "sha256")[:16]

    def client_token(self, verification_id: str, client: str) -> str:
        """Derive the browser's token for one verification: ``vt_`` and 192 bits of MAC with the client's name."""
        return "vt_" + _b64(self._token_mac(verification_id, client) + client.encode())

    def client_of_token(self, verification_id: str, token: str) -> str | None:
        """Return the client a token was derived for, or None when it is not this verification's token."""
        if len(token) > 128 or not token.startswith("vt_") or self.parse_id(verification_id) is None:
            return None
        try:
            raw = b64decode(token[3:] + "=" * (-len(token[3:]) % 4), altchars=b"-_", validate=True)
            client = raw[_TOKEN_MAC_BYTES:].decode("ascii")
        except (Base64Error, ValueError):
            return None
        if token[3:] != _b64(raw):
            return None  # the same bits written in another way
        if not hmac.compare_digest(raw[:_TOKEN_MAC_BYTES], self._token_mac(verification_id, client)):
            return None
        return client

    def _token_mac(self, verification_id: str, client: str) -> bytes:
        message = f"{verification_id}\0{client}".encode()
        return hmac.digest(self._of(verification_id).token, message, "sha256")[:_TOKEN_MAC_BYTES]

    def seal(self, verification_id: str, place: str, value: str) -> bytes:
        """Seal a value for one place of one verification (AES-256-GCM, random nonce, place as associated data)."""
        nonce = urandom(_NONCE_BYTES)
        data = f"{place}:{verification_id}".encode()
        return nonce + self._of(verification_id).seal.encrypt(nonce, value.encode(), data)

    def unseal(self, verification_id: str, place: str, sealed: bytes) -> str:
        """Open what :meth:`seal` made.  Raises SealBroken."""
        data = f"{place}:{verification_id}".encode()
        try:
            seal = self._of(verification_id).seal
            return seal.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], data).decode()
        except (InvalidTag, KeyError, ValueError) as error:
            raise SealBroken(f"{place} of {verification_id} cannot be opened") from error


def _b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _short(digest: bytes, size: int) -> str:
    return _b64(digest[:size])
