"""
The verification: its statuses, its policy (purpose) and what a reader sees of it.

::

    pending ──right code──► checking_ownership ──match──► verified
       │                         │  └─mismatch, no answer──► rejected
       ├─right code, nothing else to check──► verified
       ├─last wrong guess──► locked
       ├─new start, DELETE──► cancelled
       └─time over──► expired, or undeliverable when no gateway ever took an SMS

The transitions themselves are Lua (``storage/scripts``): this module names things and holds the policy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


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


class Reason(StrEnum):
    """Why a verification was rejected; a browser sees only ``ownership_not_confirmed`` (invariant 9)."""

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
    """When a purpose asks who owns the SIM: never, or after possession is proven."""

    NEVER = "never"
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
    code: CodePolicy = field(default_factory=CodePolicy)

    @property
    def checks_ownership(self) -> bool:
        """Whether an ID number is needed."""
        return self.ownership is not OwnershipPolicy.NEVER


@dataclass(slots=True)
class Ownership:
    """The ownership part of a verification; ``status`` is an ``OwnershipOutcome`` or ``not_checked``."""

    status: str = "not_checked"
    source: str | None = None
    assurance: str | None = None
    checked_at_ms: int | None = None


@dataclass(slots=True)
class Verification:
    """
    A verification as it stood at ``now_ms`` by the store's clock.  Times are milliseconds since the epoch.

    ``phone_number`` is E.164 in clear and lives in memory only.  ``resend_at_ms`` is None when no resend is left
    or the status no longer takes one.
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
    code_expires_at_ms: int
    resend_at_ms: int | None
    sends_left: int
    attempts_left: int
    delivery: Delivery
    ownership: Ownership
    finished_at_ms: int | None
    now_ms: int
