"""
Answers: a verification as its reader may see it, rendered by hand because two calls are hot.

The models describe what the functions write; ``openapi.py`` publishes them and the tests hold one to the other.

IMPORTANT: a new member goes into the model and into the function beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from otp_service.core.evidence import ASSURANCE_LEVELS
from otp_service.core.phone import mask
from otp_service.core.times import iso
from otp_service.core.tttb.evidence import AttestedReply, Confidence
from otp_service.core.verification import NOT_CONFIRMED, Delivery, Reason, Status, Verification

_TIME: Final[dict[str, JsonValue]] = {"format": "date-time", "examples": ["2026-01-31T08:00:00.000Z"]}
_REASONS: Final = (*(reason.value for reason in Reason), NOT_CONFIRMED)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow")


class OwnershipAnswer(_Answer):
    """What is known of who owns the SIM."""

    status: Literal["not_checked", "match", "mismatch", "not_available", "error"]
    source: str | None = Field(description="Who answered.", examples=["tttb"])
    assurance: str | None = Field(
        description=f"How strong the evidence is: {', '.join(ASSURANCE_LEVELS)}.", examples=[ASSURANCE_LEVELS[1]],
    )
    checked_at: str | None = Field(json_schema_extra=_TIME)


class WarningAnswer(_Answer):
    """Something about an ID number that looks odd; nothing is refused for it."""

    field: str = Field(examples=["id_number"])
    code: Literal["unknown_province", "unlikely_century", "unlikely_year", "cmnd_expired"]
    message: str


class VerificationAnswer(_Answer):
    """A verification.  Ignore members you do not know; treat values you do not know as not verified."""

    id: str = Field(pattern=r"^[A-Za-z0-9-]{1,36}$")
    status: Status = Field(description="All but `pending` and `checking_ownership` are final.")
    reason: str | None = Field(
        description="Why it was rejected; a browser sees `ownership_not_confirmed` alone, and so does everyone where "
                    "ownership was asked before the code.",
        json_schema_extra={"enum": [*_REASONS, None]},
    )
    purpose: str
    reference: str | None
    phone_number: str = Field(description="Masked.", examples=["+84•••••0001"])
    code_length: int
    send_number: int = Field(
        description="Which SMS carries the code that is good now: 1, 2, …; 0 where ownership is asked before the code.",
    )
    created_at: str = Field(json_schema_extra=_TIME)
    expires_at: str = Field(json_schema_extra=_TIME)
    code_expires_at: str | None = Field(
        description="Null when no code was made: ownership is asked before it.", json_schema_extra=_TIME,
    )
    resend_at: str | None = Field(
        description="From when a resend is possible; null when none is left.", json_schema_extra=_TIME,
    )
    sends_left: int
    attempts_left: int
    delivery: Delivery = Field(description="What is known of the newest SMS.")
    ownership: OwnershipAnswer | None = Field(None, description="For API keys alone.")
    client_token: str | None = Field(
        None, description="For the browser: good for GET, resend and check of this verification.  In the 201 alone.",
    )
    page_url: str | None = Field(
        None, description="Where to send the browser with the client token, by form POST or behind `#`.  In the 201 "
                          "alone.",
    )
    result_token: str | None = Field(
        None, description="The signed verdict, for API keys alone, once `verified` or `rejected`.  Redeem it.",
    )
    warnings: list[WarningAnswer] | None = Field(None, description="In the 201 alone.")


class EvidenceAnswer(_Answer):
    """What a reply of 1414 came to; the text itself is forgotten."""

    outcome: Literal["match", "mismatch", "not_available"]
    confidence: Confidence = Field(
        description="`full`: the whole ID number; `partial`: a masked one, and name or birth date; `indirect`: name "
                    "and birth date alone; `none`: nothing to compare.",
    )
    note: str | None = Field(
        description="Why it says nothing, or what else is to be known: a word such as `wrong_syntax`.",
        examples=["wrong_syntax"],
    )


class AttestedAnswer(VerificationAnswer):
    """A verification, and what the reply came to."""

    evidence: EvidenceAnswer | None = Field(description="Null when this call was made before.")


class ConsentClaim(_Answer):
    """What the person agreed to."""

    notice_version: str
    given_at: str


class ClaimsAnswer(_Answer):
    """The claims of a verdict; `verified_claims` follows OpenID Identity Assurance.  Never the ID number."""

    iss: str
    aud: str = Field(description="Your client's name.")
    sub: str = Field(description="The verification's id.")
    jti: str = Field(description="Constant per verification.")
    iat: int
    exp: int
    purpose: str
    status: Literal["verified"]
    phone_number: str = Field(description="E.164.", examples=["+84900000001"])
    phone_number_verified: Literal[True]
    reference: str | None = None
    consent: ConsentClaim | None = None
    verified_claims: dict[str, Any]


class KeysAnswer(_Answer):
    """A JWK Set (RFC 7517)."""

    keys: list[dict[str, Any]]


class HealthAnswer(_Answer):
    """Whether the process runs, or what it needs is fit."""

    status: Literal["ok"]
    checks: dict[str, bool | str] | None = None


class ReportsAnswer(_Answer):
    """How many delivery reports a callback had."""

    reports: int


def for_portal(verification: Verification, result_token: str | None) -> bytes:
    """Render for an API key."""
    return orjson.dumps(_portal(verification) | {"result_token": result_token})


def for_official(verification: Verification, result_token: str | None, reply: AttestedReply | None) -> bytes:
    """Render for the API key that brought a reply of 1414."""
    shown = _portal(verification) | {"result_token": result_token}
    shown["evidence"] = reply and {"outcome": reply.outcome, "confidence": reply.confidence, "note": reply.note}
    return orjson.dumps(shown)


def for_browser(verification: Verification) -> bytes:
    """Render for a client token: no verdict to carry away, and no word on what disagreed."""
    return orjson.dumps(_common(verification, NOT_CONFIRMED if verification.reason is not None else None))


def for_start(
    verification: Verification, *, client_token: str, page_url: str, result_token: str | None,
    warnings: Sequence[dict[str, str]],
) -> bytes:
    """Render the 201."""
    shown = _portal(verification)
    shown["client_token"] = client_token
    shown["page_url"] = page_url
    shown["result_token"] = result_token
    shown["warnings"] = warnings
    return orjson.dumps(shown)


def _portal(verification: Verification) -> dict[str, Any]:
    shown = _common(verification, verification.told_reason)
    shown["ownership"] = _ownership(verification)
    return shown


def _common(verification: Verification, reason: str | None) -> dict[str, Any]:
    resend_at_ms, code_expires_at_ms = verification.resend_at_ms, verification.code_expires_at_ms
    return {
        "id": verification.id,
        "status": verification.status,
        "reason": reason,
        "purpose": verification.purpose,
        "reference": verification.reference,
        "phone_number": mask(verification.phone_number),
        "code_length": verification.code_length,
        "send_number": verification.send_number,
        "created_at": _time(verification.created_at_ms),
        "expires_at": _time(verification.expires_at_ms),
        "code_expires_at": _time(code_expires_at_ms) if code_expires_at_ms is not None else None,
        "resend_at": _time(resend_at_ms) if resend_at_ms is not None else None,
        "sends_left": verification.sends_left,
        "attempts_left": verification.attempts_left,
        "delivery": verification.delivery,
    }


def _ownership(verification: Verification) -> dict[str, Any]:
    ownership = verification.told_ownership
    checked_at_ms = ownership.checked_at_ms
    return {
        "status": ownership.status, "source": ownership.source, "assurance": ownership.assurance,
        "checked_at": _time(checked_at_ms) if checked_at_ms is not None else None,
    }


def _time(ms: int) -> str:
    """Write a time as :func:`iso` does; formatting four of them would be a fifth of an answer's cost."""
    return f"{_second(ms // 1000)}{ms % 1000:03d}Z"


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return iso(seconds * 1000)[:20]
