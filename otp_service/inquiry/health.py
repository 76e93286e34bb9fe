"""How well each source does: its share of the questions, and for how long it wants to be left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic
from typing import Final

from otp_service.core.errors import StoreUnavailable
from otp_service.core.evidence import Evidence, OwnershipOutcome
from otp_service.delivery.shares import PeerShares
from otp_service.storage.peers import Shift
from otp_service.storage.sources import SourceStore
from otp_service.telemetry.logs import get_logger
from otp_service.telemetry.metrics import Metrics

#: The share below which none falls: only questions that try it out go there (see scripts/shares.lua).
FLOOR_SHARE: Final = 2
#: Notes of errors that are none of the source's making.
_NOT_ITS_FAULT: Final = frozenset({"no_time", "store"})

_log = get_logger()


class SourceShares(PeerShares):
    """
    What each source has left of its weight, and which of them rest.

    Shares are those of all processes together.  A rest (Retry-After) is this process's own: each hears of it by itself.

    Args:
        store: where every process tells what it heard.
        sources: names of the sources in use.
        metrics: shows shares, shifts and rests.
        clock: seconds that only grow.
    """

    account_refused = frozenset({"unauthenticated", "permission_denied", "no_token"})

    def __init__(
        self, store: SourceStore, sources: Iterable[str], metrics: Metrics, *, clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(store, sources)
        self._metrics = metrics
        self._clock = clock
        self._rests_until: dict[str, float] = {}

    def heard(self, source: str, evidence: Evidence) -> None:
        """Count an answer: only an error speaks against the source, and one may ask for a rest."""
        if evidence.outcome is not OwnershipOutcome.ERROR:
            self.count(source)
            return
        if evidence.note in _NOT_ITS_FAULT:
            return
        self.count(source, evidence.note or "error")
        if evidence.retry_after_s:
            self._rest(source, evidence.retry_after_s)

    def rests_s(self, source: str) -> float:
        """Return for how many seconds a source is still to be left alone; 0 when it may be asked."""
        return max(0.0, self._rests_until.get(source, 0.0) - self._clock())

    def show(self, name: str, share: int) -> None:
        """Set the gauges."""
        self._metrics.source_share(name, share)
        self._metrics.source_open(name, is_open=share <= FLOOR_SHARE or self.rests_s(name) > 0)

    def shifted(self, shift: Shift, direction: str) -> None:
        """Count it, and log it: away as a warning."""
        self._metrics.source_shift(shift.name, direction)
        tell = _log.warning if direction == "away" else _log.info
        tell("source shifted", source=shift.name, before=shift.before, after=shift.after, reason=shift.reason)

    def waits(self, error: StoreUnavailable) -> None:
        """Log it."""
        _log.warning("source shares wait for the store", error=str(error))

    def _rest(self, source: str, seconds: float) -> None:
        if self.rests_s(source) == 0:
            _log.warning("source rests", source=source, seconds=round(seconds, 1))
        self._rests_until[source] = max(self._rests_until.get(source, 0.0), self._clock() + seconds)
        self._metrics.source_open(source, is_open=True)
