"""
The verification: its statuses, its policy (purpose) and what a reader sees of it.

::

    pending ──right code──► checking_ownership ──match──► verified
       │                         │  └─mismatch, no answer, risk──► rejected
       ├─right code, nothing else to check──► verified
       ├─last wrong guess──► locked
       ├─new start, DELETE──► cancelled
       └─time over──► expired, or undeliverable when no gateway ever took an SMS

A purpose that asks for ownership *before* the code starts in ``checking_ownership``, without a code; a match makes the
code and queues its SMS in one transition to ``pending``, and the right code then ends it ``verified``.

The transitions themselves are Lua (``storage/scripts``): this module names things and holds the policy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from otp_service.core.evidence import EvidenceRules


class Status(StrEnum):
    """
    Where a verification stands.

    IMPORTANT: a new member also goes into ``STATUS_CODES`` here and into ``scripts/_verification.lua``.
    """

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
        """Whether no call changes it any more."""
        return self not in {Status.PENDING, Status.CHECKING_OWNERSHIP}


#: What is told of every rejection to a browser, and to everyone where ownership was asked before the code
#: (invariant 9).
NOT_CONFIRMED: Final = "ownership_not_confirmed"


class Reason(StrEnum):
    """Why a verification was rejected; who is told so, and who only ``ownership_not_confirmed``: invariant 9."""

    SIM_NOT_OWNED = "sim_not_owned"
    SUBSCRIBER_UNKNOWN = "subscriber_unknown"
    OWNERSHIP_UNAVAILABLE = "ownership_unavailable"
    RISK = "risk"


class Delivery(StrEnum):
    """What is known of the newest SMS."""

    QUEUED = "queued"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"


#: One letter per value in the store (see ``scripts/_verification.lua``).
STATUS_CODES = {
    "p": Status.PENDING, "o": Status.CHECKING_OWNERSHIP, "v": Status.VERIFIED, "r": Status.REJECTED,
    "e": Status.EXPIRED, "l": Status.LOCKED, "c": Status.CANCELLED, "u": Status.UNDELIVERABLE,
}
REASON_CODES = {
    "m": Reason.SIM_NOT_OWNED, "n": Reason.SUBSCRIBER_UNKNOWN, "u": Reason.OWNERSHIP_UNAVAILABLE, "k": Reason.RISK,
}
DELIVERY_CODES = {"q": Delivery.QUEUED, "s": Delivery.SENT, "d": Delivery.DELIVERED, "f": Delivery.FAILED}


class OwnershipPolicy(StrEnum):
    """
    When a purpose asks who owns the SIM: never, before the code is sent, or after possession is proven.

    ``BEFORE`` saves the SMS to a SIM that is another's, and tells whoever may start a verification whether a phone and
    an ID number belong together: for portals that know whom they ask about, never for the public.
    """

    NEVER = "never"
    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class CodePolicy:
    """
    How a purpose's codes behave.

    Attributes:
        length: digits, 6 to 8 (NIST SP 800-63B-4 section 3.1.3.2: at least six).
        validity_s: seconds; above 300 needs ``allow_long_validity`` (Circular 50/2024/TT-NHNN article 11(3)).
        previous_code_grace_s: seconds the code before a resend stays good, on the same attempt budget.
        allow_long_validity: the explicit override for ``validity_s`` above 300; 600 is the ceiling (NIST).
    """

    length: int = 6
    validity_s: int = 180
    previous_code_grace_s: int = 0
    allow_long_validity: bool = False


@dataclass(frozen=True, slots=True)
class Purpose:
    """
    A named policy.

    Attributes:
        name: lower case, at most 32 characters.
        ownership: when SIM ownership is asked.
        assisted: an official stands beside the citizen: its own send allowance, no address required.
        consent_required: whether ``consent`` must come with the start (Law 91/2025/QH15).
        max_attempts: guesses per verification.
        max_resends: resends per verification, so ``max_resends + 1`` SMS.
        life_s: seconds a verification lives.
        ownership_timeout_s: seconds without an answer after which it ends ``ownership_unavailable``.
        evidence: what it makes of a source's answer.
        code: how its codes behave.
    """

    name: str
    ownership: OwnershipPolicy = OwnershipPolicy.AFTER
    assisted: bool = False
    consent_required: bool = False
    max_attempts: int = 5
    max_resends: int = 3
    life_s: int = 900
    ownership_timeout_s: int = 300
    evidence: EvidenceRules = field(default_factory=EvidenceRules)
    code: CodePolicy = field(default_factory=CodePolicy)

    @property
    def checks_ownership(self) -> bool:
        """Whether an ID number is needed."""
        return self.ownership is not OwnershipPolicy.NEVER

    @property
    def asks_before(self) -> bool:
        """Whether no SMS is sent before the SIM is known to be the person's."""
        return self.ownership is OwnershipPolicy.BEFORE


@dataclass(slots=True)
class Ownership:
    """The ownership part of a verification; ``status`` is an ``OwnershipOutcome`` or ``not_checked``."""

    status: str = "not_checked"
    source: str | None = None
    assurance: str | None = None
    checked_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Consent:
    """What the person agreed to (``notice_version``), and when by the portal's word (RFC 3339)."""

    notice_version: str
    given_at: str


@dataclass(frozen=True, slots=True)
class Links:
    """Where a verification leads: the webhook of its verdict, and the page to which the browser returns."""

    callback_url: str | None = field(default=None, repr=False)
    return_url: str | None = field(default=None, repr=False)


@dataclass(slots=True)
class Verification:
    """
    A verification as it stood at ``now_ms`` by the store's clock.  Times are milliseconds since the epoch.

    ``phone_number`` is E.164 in clear and lives in memory only.  ``resend_at_ms`` is None when no resend is left
    or the status no longer takes one, ``code_expires_at_ms`` when no code was ever made.
    """

    id: str
    client: str
    purpose: str
    status: Status
    reason: Reason | None
    locale: str
    reference: str | None
    phone_number: str = field(repr=False)
    test: bool
    code_length: int
    send_number: int
    created_at_ms: int
    expires_at_ms: int
    code_expires_at_ms: int | None
    resend_at_ms: int | None
    sends_left: int
    attempts_left: int
    delivery: Delivery
    ownership: Ownership
    finished_at_ms: int | None
    now_ms: int
    asked_before: bool = False
    consent: Consent | None = None

    @property
    def told_reason(self) -> str | None:
        """The reason as a portal is told it: asked before possession was proven, it must not say what disagreed."""
        if self.reason is None:
            return None
        return NOT_CONFIRMED if self.asked_before else self.reason.value

    @property
    def told_ownership(self) -> Ownership:
        """The ownership part as a portal is told it; asked before possession was proven, only a match is told."""
        hidden = self.asked_before and (self.ownership.status != "match" or self.status is Status.REJECTED)
        return Ownership() if hidden else self.ownership
