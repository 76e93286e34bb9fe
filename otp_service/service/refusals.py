"""How a limit's refusal is told."""

from __future__ import annotations

from collections.abc import Sequence

from otp_service.core.errors import RateLimited, Refusal
from otp_service.core.limits import PERSONAL, PHONE_COOLDOWN, Decision, State

#: A phone's or ID number's limit tells its time only this roughly, so that nobody reads another's activity.
_PERSONAL_ROUNDING_S = 600


def refusal_of(decisions: Sequence[Decision], cooldown: type[Refusal] | None = None) -> Refusal:
    """Tell the refusal that lasts longest, so that nobody comes back in vain."""
    refused = [decision for decision in decisions if decision.state is State.REFUSED]
    worst = max(refused, key=lambda decision: decision.retry_after_ms)
    seconds = whole_seconds(worst.retry_after_ms)
    if worst.limit.kind is PHONE_COOLDOWN:
        return cooldown(retry_after_s=seconds) if cooldown else RateLimited(limit="person", retry_after_s=seconds)
    if worst.limit.kind.subject in PERSONAL:
        rounded = -(-seconds // _PERSONAL_ROUNDING_S) * _PERSONAL_ROUNDING_S
        return RateLimited(limit="person", retry_after_s=rounded)
    headers = {"RateLimit": worst.header, "RateLimit-Policy": worst.limit.policy}
    return RateLimited(limit=worst.limit.name, retry_after_s=seconds, headers=headers)


def whole_seconds(ms: int) -> int:
    """Round milliseconds up to seconds, at least one: ``Retry-After`` knows no less."""
    return max(1, -(-ms // 1000))
