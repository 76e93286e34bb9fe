"""How well those do whom we ask, as all processes see it: told to the store every second, read back from it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar

from otp_service.core.errors import StoreUnavailable
from otp_service.core.ports import GATEWAY_AT_FAULT, SendOutcome, SendResult
from otp_service.core.routing import FULL_SHARE
from otp_service.delivery.pacing import pause
from otp_service.storage.peers import PeerStore, Shift, Tally
from otp_service.telemetry.logs import get_logger
from otp_service.telemetry.metrics import Metrics

_EVERY_S = 1.0
#: A process without answers of its own reads what the others make of theirs every so many rounds.
_IDLE_ROUNDS = 5
#: Codes of our own for messages that were held back here.
_OUR_PACE = frozenset({"resting", "window_full"})
#: Codes of our own for answers that never came.
LOST_CODES = frozenset({"timeout", "connection_lost", "adapter_error"})

_log = get_logger()


class PeerShares(ABC):
    """
    What each of some peers has left of its weight; what counts and how it is shown is its heirs' to say.

    Args:
        store: where every process tells what it heard.
        names: the peers in use.

    Attributes:
        account_refused: reasons after which nobody at all is served until somebody changes the account.
    """

    account_refused: ClassVar[frozenset[str]]

    def __init__(self, store: PeerStore, names: Iterable[str]) -> None:
        self._store = store
        self._shares = dict.fromkeys(names, FULL_SHARE)
        self._well: Counter[str] = Counter()
        self._failed: dict[str, Counter[str]] = {name: Counter() for name in self._shares}

    @property
    def now(self) -> Mapping[str, int]:
        """The shares in percent."""
        return MappingProxyType(self._shares)

    def count(self, name: str, failure: str | None = None) -> None:
        """Count an answer: one that was well, or the reason that it speaks against who gave it."""
        if name not in self._shares:
            return  # the test keys' own
        if failure is None:
            self._well[name] += 1
        else:
            self._failed[name][failure] += 1

    async def run(self, stop: asyncio.Event) -> None:
        """Tell and read until ``stop``; who has heard nothing only looks now and then."""
        rounds = 0
        while not stop.is_set():
            if rounds % _IDLE_ROUNDS == 0 or self._has_heard():
                try:
                    await self.exchange()
                except StoreUnavailable as error:
                    self.waits(error)
            rounds += 1
            await pause(stop, _EVERY_S)

    def _has_heard(self) -> bool:
        return any(self._well.values()) or any(reasons.total() for reasons in self._failed.values())

    async def exchange(self) -> None:
        """Tell what was heard since the last time, and learn what all processes together make of it."""
        tallies = [(name, self._tally(name)) for name in self._shares]
        self._well.clear()
        for reasons in self._failed.values():
            reasons.clear()
        found, shifts = await self._store.shares(tallies)
        self._shares.update(found)
        for name, share in self._shares.items():
            self.show(name, share)
        for shift in shifts:
            self.shifted(shift, "away" if shift.after < shift.before else "back")

    @abstractmethod
    def show(self, name: str, share: int) -> None:
        """Show the share that one has now."""

    @abstractmethod
    def shifted(self, shift: Shift, direction: str) -> None:
        """Tell of a change that this call has made: ``away`` or ``back``."""

    @abstractmethod
    def waits(self, error: StoreUnavailable) -> None:
        """Tell that the store does not answer; the last known shares count meanwhile."""

    def _tally(self, name: str) -> Tally:
        failed = self._failed[name]
        return Tally(
            well=self._well[name], failed=failed.total(), reason=failed.most_common(1)[0][0] if failed else "",
            account_refused=any(reason in failed for reason in self.account_refused),
        )


class Shares(PeerShares):
    """
    What each gateway has left of its weight.

    Args:
        store: where every worker tells what it heard.
        gateways: names of the accounts in use.
        metrics: shows shares and shifts.
    """

    account_refused = frozenset({SendResult.AUTHENTICATION.value, SendResult.BALANCE.value})

    def __init__(self, store: PeerStore, gateways: Iterable[str], metrics: Metrics) -> None:
        super().__init__(store, gateways)
        self._metrics = metrics

    def heard(self, gateway: str, outcome: SendOutcome) -> None:
        """Count an answer: a refusal of a number or a text does not speak against the gateway."""
        if outcome.provider_code in _OUR_PACE:
            return  # nobody was asked
        if outcome.result not in GATEWAY_AT_FAULT:
            self.count(gateway)
            return
        # A lost answer has a better name than "unknown": timeout, connection_lost.
        lost = outcome.result is SendResult.UNKNOWN and outcome.provider_code in LOST_CODES
        self.count(gateway, str(outcome.provider_code if lost else outcome.result.value))

    def show(self, name: str, share: int) -> None:
        """Set the gauge."""
        self._metrics.gateway_share(name, share)

    def shifted(self, shift: Shift, direction: str) -> None:
        """Count it, and log it: away as a warning."""
        self._metrics.gateway_shift(shift.name, direction)
        tell = _log.warning if direction == "away" else _log.info
        tell("gateway shifted", gateway=shift.name, before=shift.before, after=shift.after, reason=shift.reason)

    def waits(self, error: StoreUnavailable) -> None:
        """Log it."""
        _log.warning("gateway shares wait for the store", error=str(error))
