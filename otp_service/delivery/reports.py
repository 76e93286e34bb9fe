"""
Delivery reports: what became of a message, told by the provider or asked for.

A report is advisory: it changes ``delivery`` of the verification's newest SMS and nothing else (DESIGN 3.12).  It is
found by the provider's id, else by our reference where the provider gives it back.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence

from otp_service.core.keyring import KeyRing
from otp_service.core.ports import DeliveryReport
from otp_service.core.verification import Delivery
from otp_service.delivery.accounts import Account
from otp_service.storage.gateways import GatewayStore, Known
from otp_service.telemetry.logs import get_logger
from otp_service.telemetry.metrics import Metrics

_REFERENCE = re.compile(r"([A-Za-z0-9-]{1,36})-([1-9][0-9]?)")
_PROVIDER_ID = re.compile(r"[!-~]{1,64}")

#: A batch may hold thousands: so many share their round trips to the store.
_AT_ONCE = 64

_log = get_logger()


class Reports:
    """
    Takes reports over into verifications; safe to repeat and in any order.

    Args:
        store: finds and records.
        ring: knows which references are ours.
        metrics: counts reports and how long deliveries take.
    """

    def __init__(self, store: GatewayStore, ring: Callable[[], KeyRing], metrics: Metrics) -> None:
        self._store = store
        self._ring = ring
        self._metrics = metrics

    async def take(self, account: Account, reports: Sequence[DeliveryReport]) -> None:
        """Take over what an account's provider reports.  Raises StoreUnavailable."""
        for at in range(0, len(reports), _AT_ONCE):
            await asyncio.gather(*(self._take(account, report) for report in reports[at:at + _AT_ONCE]))

    async def _take(self, account: Account, report: DeliveryReport) -> None:
        state = Delivery(report.state.value)
        known = await self._find(account, report, state)
        outcome = known if isinstance(known, str) else "stale"
        if isinstance(known, Known) and await self._record(account, known, state):
            outcome = "taken"
            if known.taken_at_ms:
                self._metrics.delivery_latency(account.name, (known.now_ms - known.taken_at_ms) / 1000)
        self._metrics.delivery_report(account.name, state, outcome)
        _log.info(
            "delivery report", gateway=account.name, state=state.value, outcome=outcome,
            provider_code=report.provider_code, provider_id=report.provider_id,
            verification_id=known.verification_id if isinstance(known, Known) else None,
        )

    async def _find(self, account: Account, report: DeliveryReport, state: Delivery) -> Known | str:
        """Name the send: ``early`` while the gateway's answer is still to come, ``unknown`` when it is none of ours."""
        reference = _REFERENCE.fullmatch(report.reference or "")
        if reference and self._ring().parse_id(reference[1]) is not None:
            by_reference = Known(reference[1], int(reference[2]), 0, 0)
        else:
            by_reference = None
        if report.provider_id and _PROVIDER_ID.fullmatch(report.provider_id):
            found = await self._store.find(account.name, report.provider_id, state)
            if isinstance(found, Known) or by_reference is None:
                return found
        return by_reference or "unknown"

    async def _record(self, account: Account, known: Known, state: Delivery) -> bool:
        shard = self._ring().parse_id(known.verification_id)
        if shard is None:
            return False
        return await self._store.delivered(
            shard, known.verification_id, known.send_number, state,
            by_reference_of="" if known.taken_at_ms else account.name,
        )
