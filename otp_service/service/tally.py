"""What the use cases count."""

from __future__ import annotations

from collections.abc import Sequence

from otp_service.core.limits import Decision
from otp_service.core.verification import REASON_CODES, STATUS_CODES, Verification
from otp_service.telemetry.metrics import Metrics


class Tally:
    """Counts decisions, and each verification once: in the call that ended it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def decisions(self, decisions: Sequence[Decision]) -> None:
        """Count what each limit said, and how full it runs."""
        for decision in decisions:
            self._metrics.limit_decision(decision.limit.name, decision.state, decision.fill)

    def finished(self, verification: Verification) -> None:
        """Count a verification that the call which read it has ended."""
        self._metrics.verification_finished(
            verification.purpose, verification.status, verification.reason,
            (verification.now_ms - verification.created_at_ms) / 1000,
        )

    def ended(self, purpose: str, status: str, reason: str, age_ms: int) -> None:
        """Count a verification by the letters the store has for its status and reason."""
        why = REASON_CODES[reason] if reason else None
        self._metrics.verification_finished(purpose, STATUS_CODES[status], why, age_ms / 1000)
