"""How a verification stands, as its page sees it; the waits are seconds by the store's clock, rounded up."""

from __future__ import annotations

from typing import Any, Final

from otp_service.core.verification import Delivery, Status, Verification
from otp_service.web.pages.words import Words

#: Seconds between two looks of the script while an SMS is on its way, and when nothing is expected but another tab.
_SOON_S: Final = 3
_SELDOM_S: Final = 15


def code_is_over(verification: Verification) -> bool:
    """Whether the newest code is too old while the verification still lives."""
    return verification.status is Status.PENDING and code_in_s(verification) == 0


def sms_failed(verification: Verification) -> bool:
    """Whether a code is asked for whose SMS came to nothing, as far as is known."""
    return verification.status is Status.PENDING and verification.delivery is Delivery.FAILED


def code_in_s(verification: Verification) -> int:
    """Return how long the newest code stays good."""
    return _left_s(verification.code_expires_at_ms or 0, verification.now_ms)


def resend_in_s(verification: Verification) -> int | None:
    """Return how long a resend has to wait, None when there is none left."""
    at_ms = verification.resend_at_ms
    return None if at_ms is None else _left_s(at_ms, verification.now_ms)


def mark_of(verification: Verification) -> str:
    """Return what changes when the page must be shown anew: the script compares it and knows nothing else."""
    failed = ".failed" if sms_failed(verification) else ""
    return f"{verification.status}.{verification.send_number}.{int(code_is_over(verification))}{failed}"


def state_of(verification: Verification, words: Words) -> dict[str, Any]:
    """Return what the script asks for again and again: no more than the page itself has shown."""
    asked = verification.status is Status.CHECKING_OWNERSHIP
    moving = verification.delivery in {Delivery.QUEUED, Delivery.SENT}
    return {
        "mark": mark_of(verification),
        "delivery": delivery_text(verification, words),
        "resends": resends_text(verification, words),
        "resend_in_s": resend_in_s(verification),
        "code_in_s": code_in_s(verification),
        "again_s": _SOON_S if asked or moving else _SELDOM_S,
    }


def delivery_text(verification: Verification, words: Words) -> str:
    """Say what is known of the newest SMS."""
    last = verification.delivery is Delivery.FAILED and verification.resend_at_ms is None
    return words["delivery_failed_last" if last else f"delivery_{verification.delivery}"]


def resends_text(verification: Verification, words: Words) -> str:
    """Say how many resends are left."""
    return words["resends_none" if verification.resend_at_ms is None else "resends_left"]


def _left_s(at_ms: int, now_ms: int) -> int:
    return max(0, -(-(at_ms - now_ms) // 1000))
