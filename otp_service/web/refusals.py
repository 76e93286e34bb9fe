"""
One example of every refusal, for the OpenAPI document, the documentation page and the tests.

IMPORTANT: whoever adds a refusal adds its example here; a test compares with ``core/errors.py``.
"""

from __future__ import annotations

from typing import Final

from otp_service.core.errors import (
    AlreadyFinal,
    AlreadyRedeemed,
    ClaimsMismatch,
    CodeExpired,
    FieldError,
    Forbidden,
    GuessTooSoon,
    IdempotencyInProgress,
    IdempotencyKeyReused,
    Internal,
    InvalidRequest,
    Locked,
    MethodNotAllowed,
    NotFound,
    NotVerified,
    PhoneNotMobile,
    ProofRequired,
    RateLimited,
    Refusal,
    ResendTooSoon,
    SendsExhausted,
    Unauthenticated,
    Unavailable,
    WrongCode,
)
from otp_service.web import problems

_LATER: Final = "2026-01-31T08:15:00.000Z"

INVALID: Final = (
    problems.malformed(),
    problems.too_large(),
    problems.not_json(),
    InvalidRequest(FieldError("purpose", "missing"), FieldError("id_number", "id_number_malformed")),
)

EXAMPLES: Final[tuple[Refusal, ...]] = (
    *INVALID,
    Unauthenticated(),
    Forbidden(),
    NotFound(),
    MethodNotAllowed(),
    PhoneNotMobile("0376000001"),
    ProofRequired({"parameters": {"algorithm": "PBKDF2/SHA-256", "cost": 300, "keyPrefix": "000"}, "signature": "…"}),
    WrongCode(attempts_left=4, send_number=1),
    CodeExpired(resend_at=_LATER, sends_left=2),
    Locked(),
    GuessTooSoon(retry_after_s=60),
    ResendTooSoon(retry_after_s=42),
    SendsExhausted(expires_at=_LATER),
    AlreadyFinal("verified"),
    RateLimited(limit="person", retry_after_s=3600),
    AlreadyRedeemed(),
    NotVerified({"sub": "7-k1-abcdefghijklmnopqrstuvwxyz", "status": "rejected", "reason": "sim_not_owned"}),
    ClaimsMismatch(),
    IdempotencyKeyReused(),
    IdempotencyInProgress(),
    Unavailable(),
    Internal(),
)
