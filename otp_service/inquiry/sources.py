"""Configured sources: an adapter with its options, how long it may take and how often it may be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otp_service.core.ports import TokenFetcher
from otp_service.core.source_ports import HttpSource, Source, traits_of

_DAY_S: Final = 86_400
#: Questions to one source at a time, per process.
MOST_IN_HAND: Final = 256


@dataclass(frozen=True, slots=True)
class Budget:
    """At most ``count`` questions per day or other period; periods begin at midnight in Vietnam (UTC+7)."""

    count: int
    period_s: int = _DAY_S


class AskedSource:
    """
    One configured source.

    Args:
        name: its name in the settings: metric label, log value, and ``ownership.source`` of the verdict.
        source: the adapter.
        deadline_s: how long one question may take, all of its requests together.
        budget: how many questions over all processes; None for as many as come.

    Attributes:
        in_hand: questions that this process is waiting for.
        over_http, with_token: the adapter where it is of that kind, else None.
        traits: what the adapter says of itself.
    """

    def __init__(self, name: str, source: Source, *, deadline_s: float = 5.0, budget: Budget | None = None) -> None:
        self.name = name
        self.source = source
        self.deadline_s = deadline_s
        self.budget = budget
        # Asking a protocol whether an object follows it is slow, and every question would ask.
        self.over_http = source if isinstance(source, HttpSource) else None
        self.with_token = source if isinstance(source, TokenFetcher) else None
        self.traits = traits_of(source)
        #: Questions in hand, in this process.
        self.in_hand = 0

    @property
    def busy(self) -> bool:
        """Whether as many questions are in hand as one source may have: one that hangs must leave hands to others."""
        return self.in_hand >= MOST_IN_HAND

    @property
    def timeout_s(self) -> float:
        """Seconds for one request."""
        return self.over_http.timeout_s if self.over_http else self.deadline_s
