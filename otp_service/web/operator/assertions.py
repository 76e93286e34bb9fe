"""
What a client signs to prove itself: ``private_key_jwt`` (RFC 7523), as CAMARA's security profile bounds it.

A JWT with ``iss`` and ``sub`` = client id, ``aud`` = the token endpoint, ``iat``, ``exp`` at most 300 s away and at
most 300 s after ``iat``, and a ``jti`` that is used once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from otp_service.core.errors import ConfigurationError

MAX_LIFE_S: Final = 300
#: Seconds that the client's clock may be ahead.
LEEWAY_S: Final = 5
MAX_REMEMBERED: Final = 10_000

PublicKey = ECKey | RSAKey | OKPKey

_ALGORITHMS_BY_KEY: Final[dict[str, list[str]]] = {"EC": ["ES256"], "RSA": ["RS256", "PS256"], "OKP": ["Ed25519"]}
ALGORITHMS: Final = tuple(name for names in _ALGORITHMS_BY_KEY.values() for name in names)


class AssertionRefused(ValueError):
    """An assertion that proves nothing; the text says why and repeats nothing of it."""


class AssertionCheck:
    """
    Checks assertions of one client.

    Args:
        client_id: issuer and subject.
        keys: the client's public keys; any of them may have signed.
        clock: seconds since the epoch.
    """

    def __init__(self, client_id: str, keys: tuple[PublicKey, ...], clock: Callable[[], float]) -> None:
        self._client_id = client_id
        self._keys = keys
        self._clock = clock
        self._used: dict[str, float] = {}

    def check(self, assertion: str, *, audience: str) -> None:
        """Accept an assertion once.  Raises AssertionRefused."""
        claims = self._read(assertion)
        now_s = self._clock()
        if claims.get("iss") != self._client_id or claims.get("sub") != self._client_id:
            raise AssertionRefused("iss and sub are the client's id")
        aud = claims.get("aud")
        if audience not in (aud if isinstance(aud, list) else [aud]):
            raise AssertionRefused("aud is the address of this endpoint")
        issued, ends = _seconds(claims, "iat"), _seconds(claims, "exp")
        if ends <= now_s:
            raise AssertionRefused("exp is past")
        if ends > now_s + MAX_LIFE_S:
            raise AssertionRefused(f"exp is more than {MAX_LIFE_S} s away")
        if not 0 < ends - issued <= MAX_LIFE_S:
            raise AssertionRefused(f"exp is at most {MAX_LIFE_S} s after iat")
        if max(issued, _seconds(claims, "nbf", issued)) > now_s + LEEWAY_S:
            raise AssertionRefused("iat or nbf is in the future")
        self._use(claims.get("jti"), ends, now_s)

    def _use(self, jti: object, ends_at_s: float, now_s: float) -> None:
        """Remember an assertion as long as it could come again."""
        if not isinstance(jti, str) or not 1 <= len(jti) <= 256:
            raise AssertionRefused("jti is missing")
        if self._used.get(jti, 0) > now_s:
            raise AssertionRefused("jti was used before")
        if len(self._used) >= MAX_REMEMBERED:
            self._used = {known: until for known, until in self._used.items() if until > now_s}
        if len(self._used) >= MAX_REMEMBERED:
            raise AssertionRefused("too many assertions at once")
        self._used[jti] = ends_at_s

    def _read(self, assertion: str) -> dict[str, Any]:
        """Return the claims that one of the keys signed."""
        for key in self._keys:
            try:
                signed = jws.deserialize_compact(assertion, key, algorithms=_ALGORITHMS_BY_KEY[key.key_type])
                claims = orjson.loads(signed.payload)
            except (JoseError, ValueError, TypeError, KeyError, AttributeError):
                # Not by this key, or not at all; headers of odd types make joserfc raise what Python raises.
                continue
            if isinstance(claims, dict):
                return claims
        raise AssertionRefused(f"not signed by a key of the client's with {', '.join(ALGORITHMS)}")


def read_public_keys(path: Path) -> tuple[PublicKey, ...]:
    """
    Read public keys from a PEM, a JWK or a JWK Set: P-256, RSA or Ed25519.

    Raises ConfigurationError.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    if b"PRIVATE KEY-----" in text or b'"d"' in text:
        raise ConfigurationError(f"{path}: this is a private key; it stays with the client, write the public one")
    try:
        if not text.lstrip().startswith(b"{"):
            return (_from_pem(text),)
        found = orjson.loads(text)
        keys = tuple(_from_jwk(jwk) for jwk in found.get("keys", [found]))
    except (JoseError, ValueError, TypeError, KeyError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"{path}: write a PEM, JWK or JWK Set for {', '.join(ALGORITHMS)}") from error
    if not keys:
        raise ConfigurationError(f"{path}: the JWK Set is empty")
    return keys


def _from_pem(text: bytes) -> PublicKey:
    match load_pem_public_key(text):
        case EllipticCurvePublicKey(curve=SECP256R1()):
            return ECKey.import_key(text)
        case RSAPublicKey():
            return RSAKey.import_key(text)
        case Ed25519PublicKey():
            return OKPKey.import_key(text)
    raise ValueError("a key for something else")


def _from_jwk(jwk: dict[str, Any]) -> PublicKey:
    match jwk["kty"], jwk.get("crv"):
        case "EC", "P-256":
            return ECKey.import_key(jwk)
        case "RSA", _:
            return RSAKey.import_key(jwk)
        case "OKP", "Ed25519":
            return OKPKey.import_key(jwk)
    raise ValueError("a key for something else")


def _seconds(claims: dict[str, Any], name: str, unsaid: float | None = None) -> float:
    value = claims.get(name, unsaid)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise AssertionRefused(f"{name} is missing, or no number")
    return value
