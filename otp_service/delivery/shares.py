"""How well each gateway does, as all workers see it: told to the store every second, read back from it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from otp_service.core.errors import StoreUnavailable
from otp_service.core.ports import GATEWAY_AT_FAULT, SendOutcome, SendResult
from otp_service.core.routing import FULL_SHARE
from otp_service.delivery.pacing import pause
from otp_service.storage.gateways import GatewayStore, Tally
from otp_service.telemetry.logs import get_logger
from otp_service.telemetry.metrics import Metrics

_EVERY_S = 1.0
#: Results after which no message at all can pass until somebody changes the account.
_ACCOUNT_REFUSED = frozenset({SendResult.AUTHENTICATION.value, SendResult.BALANCE.value})
#: Codes of our own for messages that were held back here.
_OUR_PACE = frozenset({"resting", "window_full"})
#: Codes of our own for answers that never came.
LOST_CODES = frozenset({"timeout", "connection_lost", "adapter_error"})

_log = get_logger()


class Shares:
    """
    What each gateway has left of its weight.

    Args:
        store: where every worker tells what it heard.
        gateways: names of the accounts in use.
        metrics: shows shares and shifts.
    """

    def __init__(self, store: GatewayStore, gateways: Iterable[str], metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._shares = dict.fromkeys(gateways, FULL_SHARE)
        self._well: Counter[str] = Counter()
        self._failed: dict[str, Counter[str]] = {name: Counter() for name in self._shares}

    @property
    def now(self) -> Mapping[str, int]:
        """The shares in percent."""
        return MappingProxyType(self._shares)

    def heard(self, gateway: str, outcome: SendOutcome) -> None:
        """Count an answer: a refusal of a number or a text does not speak against the gateway."""
        if gateway not in self._shares:
            return  # the test keys' own
        if outcome.provider_code in _OUR_PACE:
            return  # nobody was asked
        if outcome.result in GATEWAY_AT_FAULT:
            # A lost answer has a better name than "unknown": timeout, connection_lost.
            lost = outcome.result is SendResult.UNKNOWN and outcome.provider_code in LOST_CODES
            self._failed[gateway][str(outcome.provider_code if lost else outcome.result.value)] += 1
        else:
            self._well[gateway] += 1

    async def run(self, stop: asyncio.Event) -> None:
        """Tell and read until ``stop``."""
        while not stop.is_set():
            try:
                await self.exchange()
            except StoreUnavailable as error:
                _log.warning("gateway shares wait for the store", error=str(error))
            await pause(stop, _EVERY_S)

    async def exchange(self) -> None:
        """Tell what was heard since the last time, and learn what all workers together make of it."""
        tallies = [(name, self._tally(name)) for name in self._shares]
        self._well.clear()
        for results in self._failed.values():
            results.clear()
        found, shifts = await self._store.shares(tallies)
        self._shares.update(found)
        for name, share in self._shares.items():
            self._metrics.gateway_share(name, share)
        for shift in shifts:
            self._metrics.gateway_shift(shift.gateway, "away" if shift.after < shift.before else "back")
            tell = _log.warning if shift.after < shift.before else _log.info
            tell("gateway shifted", gateway=shift.gateway, before=shift.before, after=shift.after, reason=shift.reason)

    def _tally(self, name: str) -> Tally:
        failed = self._failed[name]
        return Tally(
            well=self._well[name], failed=failed.total(), reason=failed.most_common(1)[0][0] if failed else "",
            account_refused=any(result in failed for result in _ACCOUNT_REFUSED),
        )
