"""
The result token: the verdict as a JSON Web Signature.

Signed at each authenticated read and never stored: its ``jti`` is constant per verification, and redeeming it at the
service, once, is what makes it count.  ``typ`` tells a verification from a refusal (RFC 8725 section 3.11), so that
neither can be taken for the other.  ``verified_claims`` follows OpenID Identity Assurance Schema Definition 1.0.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from otp_service.core.verification import Status, Verification

TOKEN_LIFE_S = 600
VERIFIED_TYPE = "phone-verification+jwt"
REFUSED_TYPE = "phone-refusal+jwt"
TRUST_FRAMEWORK = "vn_portal_phone_registration"
#: The assurance level when possession alone was asked for.
POSSESSION = "phone_possession"
#: How the assurance levels begin that rest on what a person has read.
ATTESTED = "attested"

_ES256 = ECDSA(SHA256())


class TokenInvalid(Exception):
    """Not a token of ours: malformed, signed by another key, or of another kind."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """
    One signing key.

    Attributes:
        kid: RFC 7638 thumbprint.
        alg: ``ES256`` or ``Ed25519`` (RFC 9864).
        pem: the private key, PKCS 8.
        test: whether it signs for test keys.
        active: whether it signs; others are published only.
    """

    kid: str
    alg: str
    pem: bytes = field(repr=False)
    test: bool = False
    active: bool = True


class Signer:
    """Signs and reads result tokens, and publishes the keys."""

    def __init__(self, keys: Sequence[SigningKey]) -> None:
        self._keys = {key.kid: (key, _import(key)) for key in keys}
        #: Which keys are published, those that sign first: what tells one signer from another.
        self.kids = tuple(key.kid for key in sorted(keys, key=lambda key: not key.active))
        self._seals = {
            test: _Seal(*next(pair for pair in self._keys.values() if pair[0].test is test and pair[0].active))
            for test in (False, True)
        }

    def sign(self, claims: dict[str, Any], *, test: bool) -> str:
        """Sign claims as a compact JWS (RFC 7515 section 7.1); the type follows from ``status``."""
        seal = self._seals[test]
        header = seal.verified if claims["status"] == Status.VERIFIED else seal.refused
        signed = header + b"." + _b64(orjson.dumps(claims))
        return (signed + b"." + _b64(seal.sign(signed))).decode("ascii")

    def read(self, token: str, *, test: bool) -> dict[str, Any]:
        """
        Return the claims of a token that this service signed, whether or not it has expired.

        Raises TokenInvalid.  The header's ``jwk``, ``jku`` and ``x5u`` are never looked at.
        """
        try:
            found = jws.extract_compact(token.encode("ascii"))
            key, imported = self._keys[str(found.headers().get("kid"))]
            header = found.headers()
            kind = header.get("typ")
            if key.test is not test or header.get("alg") != key.alg or kind not in (VERIFIED_TYPE, REFUSED_TYPE):
                raise TokenInvalid("signed for another use")
            payload = jws.deserialize_compact(token.encode("ascii"), imported, algorithms=[key.alg]).payload
            claims: dict[str, Any] = orjson.loads(payload)
        except (JoseError, KeyError, TypeError, AttributeError, ValueError) as error:
            # Headers of odd types make joserfc raise what Python raises.
            raise TokenInvalid("not a token of this service") from error
        if not isinstance(claims, dict):
            raise TokenInvalid("no claims")
        if (claims.get("status") == Status.VERIFIED) is not (kind == VERIFIED_TYPE):
            raise TokenInvalid("type and status disagree")
        return claims

    def jwks(self) -> dict[str, Any]:
        """Return the public keys as a JWK Set (RFC 7517); private members never leave."""
        keys = []
        for key, imported in self._keys.values():
            public = imported.as_dict(private=False)
            keys.append({**public, "kid": key.kid, "alg": key.alg, "use": "sig"})
        return {"keys": keys}


class _Seal:
    """
    One signing key made ready: its two headers are encoded once, and only the signature is made per token.

    A verdict is signed in the call that checks the code, where joserfc's own serialisation would be a sixth of it.
    """

    def __init__(self, key: SigningKey, imported: ECKey | OKPKey) -> None:
        self.verified = self._header(key, VERIFIED_TYPE)
        self.refused = self._header(key, REFUSED_TYPE)
        private = imported.get_op_key("sign")
        if not isinstance(private, EllipticCurvePrivateKey | Ed25519PrivateKey):
            raise TypeError(f"key {key.kid} is neither ES256's nor Ed25519's")
        self._key = private

    @staticmethod
    def _header(key: SigningKey, kind: str) -> bytes:
        return _b64(orjson.dumps({"alg": key.alg, "kid": key.kid, "typ": kind}))

    def sign(self, signed: bytes) -> bytes:
        """Sign with ES256 (RFC 7518 section 3.4: r and s, 32 bytes each) or Ed25519 (RFC 8037 section 3.1)."""
        if isinstance(self._key, Ed25519PrivateKey):
            return self._key.sign(signed)
        r, s = decode_dss_signature(self._key.sign(signed, _ES256))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _b64(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")


def claims_of(verification: Verification, *, issuer: str) -> dict[str, Any]:
    """
    Return the claims of a verdict, as of the store's clock.

    The phone number is the portal's own datum; the ID number is never among them.
    """
    issued_s = verification.now_ms // 1000
    verified = verification.status is Status.VERIFIED
    claims: dict[str, Any] = {
        "iss": f"{issuer}/test" if verification.test else issuer,
        "aud": verification.client,
        "sub": verification.id,
        "jti": f"rt-{verification.id}",
        "iat": issued_s,
        "exp": issued_s + TOKEN_LIFE_S,
        "purpose": verification.purpose,
        "status": verification.status.value,
        "phone_number": verification.phone_number,
        "phone_number_verified": verified,
    }
    if verification.reference is not None:
        claims["reference"] = verification.reference
    if (consent := verification.consent) is not None:
        claims["consent"] = {"notice_version": consent.notice_version, "given_at": consent.given_at}
    if verified:
        claims["verified_claims"] = _verified_claims(verification)
    elif verification.reason is not None:
        claims["reason"] = verification.told_reason
    return claims


def _verified_claims(verification: Verification) -> dict[str, Any]:
    ownership = verification.ownership
    possession_id = f"otp-{verification.id}"
    finished_ms = verification.finished_at_ms or verification.now_ms
    checks = [{"check_method": "token", "check_id": possession_id, "time": _time(finished_ms)}]
    details = [_detail("verification", "possession", possession_id)]
    evidence: list[dict[str, Any]] = [{
        "type": "electronic_record", "check_details": checks, "record": {"type": "mobile_subscription"},
    }]
    if ownership.status == "match":
        ownership_id = f"own-{verification.id}"
        check = {
            "check_method": "data", "organization": ownership.source or "", "check_id": ownership_id,
            "time": _time(ownership.checked_at_ms or finished_ms),
        }
        details.append(_detail("evidence_validation", "subscriber_match", ownership_id))
        if (ownership.assurance or "").startswith(ATTESTED):
            # No register was asked: somebody has read the reply of one, and vouches for it.
            evidence.append({
                "type": "vouch", "check_details": [check], "attestation": {"type": "digital_attestation"},
            })
        else:
            checks.append(check)
    msisdn = verification.phone_number.removeprefix("+")
    return {
        "verification": {
            "trust_framework": TRUST_FRAMEWORK,
            "assurance_level": ownership.assurance or POSSESSION,
            "assurance_process": {"assurance_details": details},
            "time": _time(finished_ms),
            "verification_process": verification.id,
            "evidence": evidence,
        },
        "claims": {"phone_number": verification.phone_number, "phone_number_verified": True, "msisdn": msisdn},
    }


def _detail(kind: str, classification: str, check_id: str) -> dict[str, Any]:
    return {
        "assurance_type": kind, "assurance_classification": classification, "evidence_ref": [{"check_id": check_id}],
    }


def _time(ms: int) -> str:
    return _second(ms // 1000)


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _import(key: SigningKey) -> ECKey | OKPKey:
    return ECKey.import_key(key.pem) if key.alg == "ES256" else OKPKey.import_key(key.pem)
