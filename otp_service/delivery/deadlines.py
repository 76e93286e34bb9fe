"""The deadline worker: ends what is overdue, asks who owns a SIM where the inline call did not, measures queues."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from otp_service.core.errors import StoreUnavailable
from otp_service.core.keyring import SHARDS
from otp_service.core.verification import REASON_CODES, STATUS_CODES
from otp_service.delivery.pacing import pause
from otp_service.storage.store import Store
from otp_service.telemetry.logs import get_logger
from otp_service.telemetry.metrics import Metrics

_EVERY_S = 0.5
_MEASURE_EVERY = 4
_MOST = 200
#: Above what one source may have in hand (``inquiry/sources.py``), so that one that hangs leaves hands to others.
_ASKS_IN_HAND = 1024

_log = get_logger()

AskOwnership = Callable[[int, str, bytes, bytes], Awaitable[Any]]
Ended = Callable[[str, str, str, int], None]


class DeadlineWorker:
    """
    Walks the deadline sets of every shard twice a second; any number of these may run.

    Args:
        store: the transitions.
        ask_ownership: the use case that asks and settles; called with shard, id, sealed ID numbers and sealed phone.
        ended: told of each verification that ended here: purpose, status and reason (letters), age in ms.
        metrics: shows queue depths.
        ask_lease_ms: how long one ownership check may take before another worker may try.
    """

    def __init__(
        self, *, store: Store, ask_ownership: AskOwnership, ended: Ended, metrics: Metrics, ask_lease_ms: int,
    ) -> None:
        self._store = store
        self._ask_ownership = ask_ownership
        self._ended = ended
        self._metrics = metrics
        self._ask_lease_ms = ask_lease_ms
        self._asks: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop``, then finish the checks in hand."""
        rounds = 0
        while not stop.is_set():
            try:
                busy = await self.step()
                if rounds % _MEASURE_EVERY == 0:
                    await self.measure()
            except StoreUnavailable as error:
                _log.warning("deadlines wait for the store", error=str(error))
                busy = False
            rounds += 1
            if not busy:
                await pause(stop, _EVERY_S)
        if self._asks:
            await asyncio.gather(*self._asks, return_exceptions=True)

    async def step(self) -> bool:
        """Do what is due now in every shard; says whether more was due than one step does."""
        expired = await asyncio.gather(*(self._store.expire(shard, _MOST) for shard in range(SHARDS)))
        for _, ended in expired:
            for verification_id, purpose, status, reason, age_ms in ended:
                self._ended(purpose, status, reason, age_ms)
                _log.info(
                    "ended", verification_id=verification_id, purpose=purpose, status=STATUS_CODES[status].value,
                    reason=REASON_CODES[reason].value if reason else None, age_ms=age_ms,
                )
        room = (_ASKS_IN_HAND - len(self._asks)) // SHARDS
        if room > 0:
            await asyncio.gather(*(self._ask_due(shard, room) for shard in range(SHARDS)))
        return any(due >= _MOST for due, _ in expired)

    async def _ask_due(self, shard: int, room: int) -> None:
        for job in await self._store.due_asks(shard, self._ask_lease_ms, room):
            task = asyncio.create_task(self._ask(shard, *job))
            self._asks.add(task)
            task.add_done_callback(self._asks.discard)

    async def _ask(self, shard: int, verification_id: str, sealed_ids: bytes, sealed_phone: bytes) -> None:
        try:
            await self._ask_ownership(shard, verification_id, sealed_ids, sealed_phone)
        except StoreUnavailable:
            # The job is still in the set, under a lease that ends.
            _log.warning("ownership check left for later", verification_id=verification_id)
        except Exception:  # noqa: BLE001 - logged with its traceback; the entry is retried or runs out
            _log.exception("ownership check failed", verification_id=verification_id)

    async def measure(self) -> None:
        """Show depth and oldest age of every queue, over all shards."""
        rows = await asyncio.gather(*(self._store.queues(shard) for shard in range(SHARDS)))
        for name, depth, age in (("sms", 0, 1), ("ownership", 2, 3), ("deadlines", 4, 5)):
            self._metrics.queue(name, sum(row[depth] for row in rows), max(row[age] for row in rows) / 1000)
