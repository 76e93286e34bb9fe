"""
Webhooks: proof that the service said it, and what it said.

Standard Webhooks 1.0.0: the signature covers ``<webhook-id>.<webhook-timestamp>.<body>``, the body as the bytes that
came.  ``v1`` is HMAC-SHA256 with a shared secret, ``v1a`` Ed25519 with the service's public key.  While a secret is
rotated there are two signatures, and one that fits is enough.
"""

from __future__ import annotations

import hmac
import re
import time
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from otp_service.client.errors import WebhookInvalid
from otp_service.client.members import MemberInvalid, Members, mapping_of, text_of
from otp_service.client.verification import Status

#: What a verdict's webhook is called; others may come, and are to be answered with 2xx and otherwise ignored.
FINISHED: Final = "verification.finished"

_HEADERS: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")
_WEBHOOK_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")
#: A list longer than this is no rotation.
_MOST_SIGNATURES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEvent:
    """
    What a webhook says: a hint to read the verification, not a proof to open an account on.

    Attributes:
        webhook_id: the same for every delivery of one verdict: keep it, and do nothing for one that you have.
        type: ``verification.finished``; ignore others.
        timestamp: when it happened, UTC.
        verification_id: which; None for other types.
        reference: your own id for that flow.
        status: how it ended; None for other types.
        data: all that it carries.
    """

    webhook_id: str
    type: str
    timestamp: datetime
    verification_id: str | None
    reference: str | None
    status: Status | None
    data: Mapping[str, Any] = field(repr=False)

    @property
    def finished(self) -> bool:
        """Whether a verification has ended."""
        return self.type == FINISHED


class WebhookReceiver:
    """
    Reads webhooks.

    Args:
        secrets: ``whsec_…`` (shared, for ``v1``) or ``whpk_…`` (the service's public key, for ``v1a``); two while one
            is replaced.
        tolerance_s: how far a webhook's time may be from this host's: an old one is somebody's recording.
        now: seconds since 1970.
    """

    def __init__(self, *secrets: str, tolerance_s: float = 300.0, now: Callable[[], float] = time.time) -> None:
        if not secrets:
            raise ValueError("a receiver without a secret would believe anybody")
        verifiers = [_verifier(secret) for secret in secrets]
        self._verifiers: Sequence[tuple[str, Callable[[bytes, bytes], bool]]] = verifiers
        self._tolerance_s = tolerance_s
        self._now = now

    def read(self, headers: Mapping[str, str], body: bytes) -> WebhookEvent:
        """
        Return what a webhook says.

        Args:
            headers: of the request, names in any case.
            body: the bytes as they came, never JSON read and written again.

        Raises WebhookInvalid: answer 400, and the service tries again later.
        """
        found = _signing_headers(headers)
        webhook_id, timestamp, signatures = (found[name] for name in _HEADERS)
        if not _WEBHOOK_ID.fullmatch(webhook_id) or not _TIMESTAMP.fullmatch(timestamp):
            raise WebhookInvalid("webhook-id or webhook-timestamp is malformed")
        if abs(self._now() - int(timestamp)) > self._tolerance_s:
            raise WebhookInvalid("webhook-timestamp is too far from now")
        if not self._signed(f"{webhook_id}.{timestamp}.".encode() + body, signatures):
            raise WebhookInvalid("no signature fits")
        try:
            return _event(webhook_id, orjson.loads(body))
        except (orjson.JSONDecodeError, MemberInvalid):
            pass
        raise WebhookInvalid("the body is not of the form agreed")

    def _signed(self, content: bytes, signatures: str) -> bool:
        for signature in signatures.split(" ")[:_MOST_SIGNATURES]:
            version, _, encoded = signature.partition(",")
            try:
                raw = b64decode(encoded, validate=True)
            except ValueError:
                continue
            if any(version == known and fits(content, raw) for known, fits in self._verifiers):
                return True
        return False


def _signing_headers(headers: Mapping[Any, Any]) -> dict[str, str]:
    """
    Return the three headers, names in lower case.

    Raises WebhookInvalid when one is missing, comes twice or is no text, as a framework may have it that was not sent.
    """
    found: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower() if isinstance(name, str) else ""
        if lower not in _HEADERS:
            continue
        if lower in found:
            raise WebhookInvalid(f"{lower} comes twice")
        if not isinstance(value, str):
            raise WebhookInvalid(f"{lower} is no text")
        found[lower] = value
    if len(found) < len(_HEADERS):
        raise WebhookInvalid("a header of the signature is missing")
    return found


def _event(webhook_id: str, found: Any) -> WebhookEvent:
    """Read a body.  Raises MemberInvalid."""
    members = Members(found)
    kind, data = members.text("type"), mapping_of(found, "data") or {}
    status = text_of(data, "status")
    if kind == FINISHED:
        # What every verdict has.
        finished = Members(data, "data")
        finished.text("id")
        finished.text("status")
    return WebhookEvent(
        webhook_id=webhook_id, type=kind, timestamp=members.time("timestamp"), verification_id=text_of(data, "id"),
        reference=text_of(data, "reference"), status=Status(status) if status is not None else None, data=data,
    )


def _verifier(secret: str) -> tuple[str, Callable[[bytes, bytes], bool]]:
    """Return the version that a secret is for, and whether a signature of some content fits it.  Raises ValueError."""
    kind, _, encoded = secret.partition("_")
    try:
        raw = b64decode(encoded, validate=True)
    except ValueError:
        raw = b""
    if kind == "whsec" and 24 <= len(raw) <= 64:
        return "v1", lambda content, signature: hmac.compare_digest(hmac.digest(raw, content, "sha256"), signature)
    if kind == "whpk" and len(raw) == 32:
        key = Ed25519PublicKey.from_public_bytes(raw)
        return "v1a", lambda content, signature: _fits(key, content, signature)
    raise ValueError("a webhook secret is whsec_ and 24 to 64 bytes in Base64, or whpk_ and 32")


def _fits(key: Ed25519PublicKey, content: bytes, signature: bytes) -> bool:
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True
