"""
What the service tells of a verification.

Members that this client does not know are ignored.  Values that it does not know are kept and mean "not verified", so
that a portal keeps working, on the safe side, when the service learns more words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from otp_service.client.members import Members


class _OpenEnum(StrEnum):
    """Words of the contract, and those of later versions: ``Status("new")`` is no error, and equals no member."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        word = str.__new__(cls, value)
        word._name_ = value
        word._value_ = value
        return word


class Status(_OpenEnum):
    """Where a verification stands."""

    PENDING = "pending"
    CHECKING_OWNERSHIP = "checking_ownership"
    VERIFIED = "verified"
    REJECTED = "rejected"
    EXPIRED = "expired"
    LOCKED = "locked"
    CANCELLED = "cancelled"
    UNDELIVERABLE = "undeliverable"

    @property
    def final(self) -> bool:
        """Whether it stays so; an unknown status is not known to."""
        return self in _FINAL


_FINAL = frozenset({
    Status.VERIFIED, Status.REJECTED, Status.EXPIRED, Status.LOCKED, Status.CANCELLED, Status.UNDELIVERABLE,
})


class Reason(_OpenEnum):
    """Why a verification was rejected; ``NOT_CONFIRMED`` alone where ownership was asked before the code."""

    SIM_NOT_OWNED = "sim_not_owned"
    SUBSCRIBER_UNKNOWN = "subscriber_unknown"
    OWNERSHIP_UNAVAILABLE = "ownership_unavailable"
    RISK = "risk"
    NOT_CONFIRMED = "ownership_not_confirmed"


class Delivery(_OpenEnum):
    """What is known of the newest SMS; for people to look at, never a reason to hold anything back."""

    QUEUED = "queued"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"


class OwnershipStatus(_OpenEnum):
    """What is known of who owns the SIM."""

    NOT_CHECKED = "not_checked"
    MATCH = "match"
    MISMATCH = "mismatch"
    NOT_AVAILABLE = "not_available"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Consent:
    """
    What the person agreed to.

    Attributes:
        notice_version: which text they saw, at most 64 bytes.
        given_at: when, with an offset from UTC.
    """

    notice_version: str
    given_at: datetime


@dataclass(frozen=True, slots=True)
class Ownership:
    """
    Who owns the SIM, as far as the API key may know.

    Attributes:
        source: who answered.
        assurance: how strong the evidence is, such as ``operator_match``.
        checked_at: when, UTC.
    """

    status: OwnershipStatus
    source: str | None = None
    assurance: str | None = None
    checked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FieldWarning:
    """Something odd about an ID number, to be shown beside its field; nothing is refused for it."""

    field: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a reply of 1414 came to; ``docs/api.md`` lists the words."""

    outcome: str
    confidence: str
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """
    A verification as it stood when the answer was made; times are UTC.

    Attributes:
        id: for all further calls and for the return address.
        reason: why it was rejected.
        reference: your own id for this flow.
        phone_number: masked, for the page: ``+84•••••0001``.
        send_number: which SMS carries the code that is good now: 1, 2, …; 0 while there is none.
        code_expires_at: until when that code is good; None while there is none.
        resend_at: from when a resend is possible; None when none is left.
        ownership: for API keys alone.
        result_token: the signed verdict, once ``verified`` or ``rejected``: redeem it.
    """

    id: str
    status: Status
    reason: Reason | None
    purpose: str
    reference: str | None
    phone_number: str = field(repr=False)
    code_length: int
    send_number: int
    created_at: datetime
    expires_at: datetime
    code_expires_at: datetime | None
    resend_at: datetime | None
    sends_left: int
    attempts_left: int
    delivery: Delivery
    ownership: Ownership | None
    result_token: str | None = field(repr=False)

    @property
    def verified(self) -> bool:
        """Whether phone and SIM are proven.  Redeem ``result_token`` before anything is opened on it."""
        return self.status is Status.VERIFIED

    @property
    def final(self) -> bool:
        """Whether no call changes it any more."""
        return self.status.final


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Verification):
    """
    A verification that has just begun.

    Attributes:
        client_token: for the person's browser alone, by form POST to ``page_url`` or in its fragment, never in a query.
        page_url: the service's page for this verification.
        warnings: what looked odd.
    """

    client_token: str = field(repr=False)
    page_url: str | None
    warnings: tuple[FieldWarning, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested(Verification):
    """
    A verification after an official brought a reply of 1414.

    Attributes:
        evidence: what it came to; None when the same call was made before.
    """

    evidence: Evidence | None


def read_verification(found: Any) -> Verification:
    """Read an answer.  Raises MemberInvalid."""
    return Verification(**_common(Members(found)))


def read_started(found: Any) -> Started:
    """Read the 201.  Raises MemberInvalid."""
    members = Members(found)
    return Started(
        **_common(members), client_token=members.text("client_token"), page_url=members.text_or_none("page_url"),
        warnings=tuple(
            FieldWarning(one.text("field"), one.text("code"), one.text("message")) for one in members.list("warnings")
        ),
    )


def read_attested(found: Any) -> Attested:
    """Read the answer to a reply of 1414.  Raises MemberInvalid."""
    members = Members(found)
    evidence = members.members_or_none("evidence")
    return Attested(**_common(members), evidence=Evidence(
        evidence.text("outcome"), evidence.text("confidence"), evidence.text_or_none("note"),
    ) if evidence else None)


def _common(members: Members) -> Mapping[str, Any]:
    reason = members.text_or_none("reason")
    ownership = members.members_or_none("ownership")
    return {
        "id": members.text("id"),
        "status": Status(members.text("status")),
        "reason": Reason(reason) if reason is not None else None,
        "purpose": members.text("purpose"),
        "reference": members.text_or_none("reference"),
        "phone_number": members.text("phone_number"),
        "code_length": members.integer("code_length"),
        "send_number": members.integer("send_number"),
        "created_at": members.time("created_at"),
        "expires_at": members.time("expires_at"),
        "code_expires_at": members.time_or_none("code_expires_at"),
        "resend_at": members.time_or_none("resend_at"),
        "sends_left": members.integer("sends_left"),
        "attempts_left": members.integer("attempts_left"),
        "delivery": Delivery(members.text("delivery")),
        "ownership": Ownership(
            OwnershipStatus(ownership.text("status")), ownership.text_or_none("source"),
            ownership.text_or_none("assurance"), ownership.time_or_none("checked_at"),
        ) if ownership else None,
        "result_token": members.text_or_none("result_token"),
    }
