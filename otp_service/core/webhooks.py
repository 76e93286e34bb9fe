"""
Webhooks as the receiver sees them: Standard Webhooks 1.0.0 (https://www.standardwebhooks.com).

What is signed is ``<id>.<timestamp>.<body>``, byte by byte.  The id is that of the verdict: it is made from the
verification's, so that one verdict has one webhook id for ever, whatever is retried, replayed or lost.  The body never
changes either; only the timestamp is each attempt's own.
"""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from otp_service.core.times import iso
from otp_service.core.verification import Status
from otp_service.core.webhook_secrets import ASYMMETRIC, secret_bytes

VERDICT: Final = "verification.finished"
#: What ``otp-service webhooks try`` sends.
TEST: Final = "webhook.test"
PUBLIC_KEY: Final = "whpk_"

#: Seconds before each attempt, as the specification suggests: 75 h 35 min 5 s from the first to the last.
SCHEDULE_S: Final = (0, 5, 5 * 60, 30 * 60, *(hours * 3600 for hours in (2, 5, 10, 14, 20, 24)))
#: How much later than that an attempt may be, so that what failed together does not come back together.
JITTER: Final = 0.1
#: The longest that a receiver is left alone on its own word.
RETRY_AFTER_MOST_S: Final = 24 * 3600.0


class Result(StrEnum):
    """
    What one attempt came to.

    IMPORTANT: a new member also goes into ``HOPELESS`` if no later attempt can do better, and into docs/webhooks.md.
    """

    DELIVERED = "delivered"
    #: 410: the receiver wants nothing more at this address.
    GONE = "gone"
    #: 429, 502, 503, 504: too much at once.
    THROTTLED = "throttled"
    #: 3xx: redirects are not followed.
    REDIRECTED = "redirected"
    REFUSED = "refused"
    FAILED = "failed"
    TIMEOUT = "timeout"
    #: No connection, or none to the end of the answer's head; the word behind it says why.
    NO_ANSWER = "no_answer"
    #: An answer without an end, before its status: hung up on.
    TOO_MUCH = "too_much"
    #: The name led to an address that is not of the public internet.
    ADDRESS_REFUSED = "address_refused"
    #: The address answered 410 before.
    DISABLED = "disabled"
    HOST_NOT_REGISTERED = "host_not_registered"
    #: Neither 443 nor 1024 and above.
    PORT_REFUSED = "port_refused"
    NO_SECRET = "no_secret"  # noqa: S105 - a word, no secret
    #: The sealed address cannot be read: its key is lost.
    UNREADABLE = "unreadable"
    #: Days behind its turn: nobody has tried.
    TOO_LATE = "too_late"


#: Results after which nothing is tried again.
HOPELESS: Final = frozenset({
    Result.GONE, Result.DISABLED, Result.HOST_NOT_REGISTERED, Result.PORT_REFUSED, Result.NO_SECRET, Result.UNREADABLE,
    Result.TOO_LATE,
})

_THROTTLING: Final = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    One attempt.

    Attributes:
        result: what it came to.
        word: the same for people, such as ``http_500``: a word of ours, never of the receiver's.
        retry_after_s: how long the receiver wants to be left alone.
        flooded: far more came back than an answer needs.
    """

    result: Result
    word: str = ""
    retry_after_s: float = 0.0
    flooded: bool = False

    @property
    def told(self) -> str:
        """What is kept of it."""
        return self.word or self.result.value


def read_answer(status: int, retry_after_s: float | None = None) -> Attempt:
    """Say what a receiver's HTTP status means."""
    if 200 <= status < 300:
        return Attempt(Result.DELIVERED, f"http_{status}")
    if status == 410:
        result = Result.GONE
    elif status in _THROTTLING:
        result = Result.THROTTLED
    elif 300 <= status < 400:
        result = Result.REDIRECTED
    else:
        result = Result.REFUSED if 400 <= status < 500 else Result.FAILED
    heeded = status == 429 or status >= 500
    return Attempt(result, f"http_{status}", min(retry_after_s or 0.0, RETRY_AFTER_MOST_S) if heeded else 0.0)


def next_attempt_s(failed: int, attempt: Attempt, luck: float) -> float | None:
    """
    Return the seconds until the next attempt, or None when there is none.

    Args:
        failed: how many attempts have failed by now, this one included.
        attempt: the last one.
        luck: a random number from 0 to 1.
    """
    if attempt.result in HOPELESS or failed >= len(SCHEDULE_S):
        return None
    return max(SCHEDULE_S[failed], attempt.retry_after_s) * (1 + JITTER * luck)


# -- what is sent --------------------------------------------------------------------------------------------------


def webhook_id(verification_id: str) -> str:
    """Return the one id of a verification's verdict: at most 40 characters, without a full stop."""
    return f"msg_{verification_id}"


def verdict_body(verification_id: str, reference: str | None, status: Status, finished_ms: int) -> bytes:
    """Return the body that tells a verdict: who wants to know more asks with an API key."""
    return _body(VERDICT, finished_ms, {"id": verification_id, "reference": reference, "status": status.value})


def test_body(now_ms: int) -> bytes:
    """Return the body of a webhook that tells nothing."""
    return _body(TEST, now_ms, {})


def _body(kind: str, at_ms: int, data: dict[str, Any]) -> bytes:
    told = {"type": kind, "timestamp": iso(at_ms), "data": data}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


def signed_headers(secrets: Iterable[str], message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """
    Return the headers of one attempt.

    Every secret signs: while one replaces another the receiver may know either.
    Raises ValueError when a secret is none.
    """
    content = b"%s.%d.%s" % (message_id.encode(), timestamp_s, body)
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(sign(secret, content) for secret in secrets),
    }


def sign(secret: str, content: bytes) -> str:
    """Sign: ``v1,`` and an HMAC-SHA-256 with ``whsec_…``, ``v1a,`` and an Ed25519 signature with ``whsk_…``."""
    key = secret_bytes(secret)
    if secret.startswith(ASYMMETRIC):
        return "v1a," + b64encode(Ed25519PrivateKey.from_private_bytes(key).sign(content)).decode()
    return "v1," + b64encode(hmac.digest(key, content, "sha256")).decode()


def public_key(secret: str) -> str:
    """Return ``whpk_…``, which receivers check the signatures of a ``whsk_…`` with."""
    key = Ed25519PrivateKey.from_private_bytes(secret_bytes(secret)).public_key()
    return PUBLIC_KEY + b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def allows_port(url: str) -> bool:
    """Whether a URL, known to be one, names a port for webhooks: below 1024 but for HTTPS live other services."""
    port = urlsplit(url).port
    return port is None or port == 443 or port >= 1024


def endpoint_of(url: str) -> str:
    """Return what a 410 puts out of use: the address without its query, which may differ for each verification."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path or '/'}"
