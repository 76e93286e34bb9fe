"""
The secrets that webhooks are signed with (Standard Webhooks 1.0.0): ``whsec_…`` for HMAC, ``whsk_…`` for Ed25519.

The part behind the prefix is base64: 24 to 64 random bytes, or an Ed25519 seed of 32 bytes, alone or with its public
key behind it.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from secrets import token_bytes
from typing import Final

SYMMETRIC: Final = "whsec_"
ASYMMETRIC: Final = "whsk_"
#: Two of a kind, so that one replaces the other without a gap.
MAX_PER_KIND: Final = 2

_NEW_BYTES: Final = 32
_SHAPE: Final = 'a webhook secret is "whsec_" or "whsk_" and base64; `otp-service webhooks secret` makes one'


def new_secret() -> str:
    """Make a secret for HMAC."""
    return SYMMETRIC + b64encode(token_bytes(_NEW_BYTES)).decode()


def new_key() -> str:
    """Make a key for Ed25519."""
    return ASYMMETRIC + b64encode(token_bytes(_NEW_BYTES)).decode()


def secret_bytes(secret: str) -> bytes:
    """Return the bytes of a secret: of an Ed25519 key its seed.  Raises ValueError, which never repeats the secret."""
    for prefix, sizes in ((SYMMETRIC, range(24, 65)), (ASYMMETRIC, (32, 64))):
        if not secret.startswith(prefix):
            continue
        try:
            raw = b64decode(secret.removeprefix(prefix), validate=True)
        except (Base64Error, ValueError):
            raise ValueError(_SHAPE) from None
        if len(raw) not in sizes:
            raise ValueError("a webhook secret has 24 to 64 bytes, an Ed25519 key 32 (its seed) or 64")
        return raw if prefix == SYMMETRIC else raw[:32]
    raise ValueError(_SHAPE)


def checked_secrets(secrets: Iterable[str]) -> tuple[str, ...]:
    """Return secrets that can sign, at most two of a kind.  Raises ValueError."""
    found = tuple(secrets)
    for secret in found:
        secret_bytes(secret)
    if len(set(found)) < len(found):
        raise ValueError("the same secret twice")
    for prefix in (SYMMETRIC, ASYMMETRIC):
        if sum(secret.startswith(prefix) for secret in found) > MAX_PER_KIND:
            raise ValueError(f"at most {MAX_PER_KIND} secrets of a kind: remove the oldest")
    return found
