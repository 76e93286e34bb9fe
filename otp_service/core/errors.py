"""
Every way the service says no.

::

    OtpServiceError
    ├── ConfigurationError          refuses to start
    ├── StoreUnavailable            the store is down, full or too slow: nothing was acknowledged
    └── Refusal                     a caller is answered with a problem document
        ├── InvalidRequest          invalid_request (400 malformed, 413, 415, 422 bad fields)
        ├── Unauthenticated         unauthenticated
        ├── Forbidden               forbidden
        ├── NotFound                not_found
        ├── MethodNotAllowed        method_not_allowed
        ├── PhoneNotMobile          phone_not_mobile
        ├── ProofRequired           proof_required
        ├── WrongCode               wrong_code
        ├── CodeExpired             code_expired
        ├── Locked                  locked
        ├── GuessTooSoon            guess_too_soon
        ├── ResendTooSoon           resend_too_soon
        ├── SendsExhausted          sends_exhausted
        ├── AlreadyFinal            already_final
        ├── RateLimited             rate_limited
        ├── AlreadyRedeemed         already_redeemed
        ├── NotVerified             not_verified
        ├── ClaimsMismatch          claims_mismatch
        ├── IdempotencyKeyReused    idempotency_key_reused
        ├── IdempotencyInProgress   idempotency_in_progress
        ├── Unavailable             unavailable
        └── Internal                internal

A refusal is data: a stable ``code``, an HTTP ``status``, and the ``members`` a page needs.  Its sentences, in
Vietnamese and English, stand in ``config/messages``; only ``web/`` turns it into HTTP.

IMPORTANT: whoever adds a refusal also adds its texts to each ``config/messages/*.toml``, its row to the
table of ``docs/api.md``, and its response to ``web/openapi.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


class OtpServiceError(Exception):
    """Root of everything this service raises on purpose."""


class ConfigurationError(OtpServiceError):
    """The configuration cannot be used; the message names the setting and what to write instead."""


class StoreUnavailable(OtpServiceError):
    """The store is down, full or too slow.  Nothing was acknowledged; the same call may be made again."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One bad field of a request: ``field`` is a dotted path, ``code`` stable, ``params`` fill the sentence."""

    field: str
    code: str
    params: tuple[tuple[str, str], ...] = ()
    suggestion: str | None = None


class Refusal(OtpServiceError):
    """
    A caller is told no, and what to do.

    Args:
        members: extension members of the problem document (RFC 9457 section 3.2).
        retry_after_s: whole seconds after which the same call may succeed; becomes ``Retry-After``.
        headers: further response headers, such as ``RateLimit``.
    """

    code: ClassVar[str]
    status: ClassVar[int]

    def __init__(
        self, *, members: dict[str, Any] | None = None, retry_after_s: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(self.code)
        self.members = members or {}
        self.retry_after_s = retry_after_s
        self.headers = headers or {}
        if retry_after_s is not None:
            self.members.setdefault("retry_after", retry_after_s)

    @property
    def http_status(self) -> int:
        """The HTTP status of this refusal: the class's, unless the instance knows better."""
        return self.status


class InvalidRequest(Refusal):
    """The request is malformed; ``errors`` lists every bad field at once."""

    code = "invalid_request"
    status = 422

    def __init__(self, *errors: FieldError, status: int = 422, reason: str = "fields") -> None:
        super().__init__()
        self.errors = errors
        self.reason = reason
        self._status = status

    @property
    def http_status(self) -> int:
        """400 malformed, 413 too large, 415 not JSON, 422 bad fields."""
        return self._status


class Unauthenticated(Refusal):
    """No credential, or one that is unknown or expired: never said which."""

    code = "unauthenticated"
    status = 401


class Forbidden(Refusal):
    """The credential is good but not for this call, purpose or origin."""

    code = "forbidden"
    status = 403


class NotFound(Refusal):
    """No such thing, or another client's: both look the same (invariant 9)."""

    code = "not_found"
    status = 404


class MethodNotAllowed(Refusal):
    """The path exists, the method does not."""

    code = "method_not_allowed"
    status = 405


class PhoneNotMobile(Refusal):
    """Not a Vietnamese mobile number; ``suggestion`` converts a pre-2018 number of 11 digits."""

    code = "phone_not_mobile"
    status = 422

    def __init__(self, suggestion: str | None = None) -> None:
        super().__init__(members={"suggestion": suggestion} if suggestion else {})


class ProofRequired(Refusal):
    """The end user's browser must work for this SMS first; ``challenge`` is what (ALTCHA).  Nothing was spent."""

    code = "proof_required"
    status = 403

    def __init__(self, challenge: dict[str, Any]) -> None:
        super().__init__(members={"challenge": challenge})


class WrongCode(Refusal):
    """The guess was evaluated and wrong."""

    code = "wrong_code"
    status = 422

    def __init__(self, *, attempts_left: int, send_number: int) -> None:
        super().__init__(members={"attempts_left": attempts_left, "send_number": send_number})


class CodeExpired(Refusal):
    """The code's time is over by the store's clock; nothing was evaluated."""

    code = "code_expired"
    status = 410

    def __init__(self, *, resend_at: str | None, sends_left: int) -> None:
        super().__init__(members={"resend_at": resend_at, "sends_left": sends_left})


class Locked(Refusal):
    """All attempts of this verification are spent, also by the guess that has just been made."""

    code = "locked"
    status = 409

    def __init__(self) -> None:
        super().__init__(members={"verification_status": "locked", "attempts_left": 0})


class GuessTooSoon(Refusal):
    """The phone has many consecutive failures: the next guess waits (NIST SP 800-63B-4 section 3.2.2)."""

    code = "guess_too_soon"
    status = 429


class ResendTooSoon(Refusal):
    """The cooldown between two SMS to one phone is running."""

    code = "resend_too_soon"
    status = 429


class SendsExhausted(Refusal):
    """This verification may send no further SMS."""

    code = "sends_exhausted"
    status = 409

    def __init__(self, *, expires_at: str) -> None:
        super().__init__(members={"expires_at": expires_at})


class AlreadyFinal(Refusal):
    """The verification no longer takes this call."""

    code = "already_final"
    status = 409

    def __init__(self, verification_status: str) -> None:
        super().__init__(members={"verification_status": verification_status})


class RateLimited(Refusal):
    """A limit refused.  ``limit`` names it, except that those of a phone or ID number all say ``person``."""

    code = "rate_limited"
    status = 429

    def __init__(self, *, limit: str, retry_after_s: int, headers: dict[str, str] | None = None) -> None:
        super().__init__(members={"limit": limit}, retry_after_s=retry_after_s, headers=headers)


class AlreadyRedeemed(Refusal):
    """The result token was redeemed before."""

    code = "already_redeemed"
    status = 409


class NotVerified(Refusal):
    """The token is a refusal; its claims ride along."""

    code = "not_verified"
    status = 409

    def __init__(self, claims: dict[str, Any]) -> None:
        super().__init__(members={"claims": claims})


class ClaimsMismatch(Refusal):
    """The verdict is about another phone or person, or was voided by three such differences."""

    code = "claims_mismatch"
    status = 409


class IdempotencyKeyReused(Refusal):
    """The same Idempotency-Key came with another body."""

    code = "idempotency_key_reused"
    status = 422


class IdempotencyInProgress(Refusal):
    """The first call with this Idempotency-Key has not been answered yet."""

    code = "idempotency_in_progress"
    status = 409


class Unavailable(Refusal):
    """The service cannot promise anything now; nothing was sent."""

    code = "unavailable"
    status = 503

    def __init__(self, retry_after_s: int = 2) -> None:
        super().__init__(retry_after_s=retry_after_s)


class Internal(Refusal):
    """A defect of the service.  The request id finds it in the log."""

    code = "internal"
    status = 500
