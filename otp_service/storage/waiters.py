"""Long polls: who waits for a verdict shares one read per shard every 250 ms, however many wait."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Protocol

from otp_service.core.errors import StoreUnavailable
from otp_service.storage.store import Store

_INTERVAL_S = 0.25
#: Long polls of one verification: whoever holds its token must not take everybody's places.
_PER_VERIFICATION = 16


class WaiterGauge(Protocol):
    """Where the number of waiters is shown."""

    def waiters(self, count: int) -> None:
        """So many long polls are held."""


class Waiters:
    """
    Holds callers until their verification is final.

    Args:
        store: read once per shard and interval.
        capacity: above it a caller is answered at once (invariant 14).
        gauge: shows how many wait.
    """

    def __init__(self, store: Store, *, capacity: int, gauge: WaiterGauge) -> None:
        self._store = store
        self._capacity = capacity
        self._gauge = gauge
        self._shards: defaultdict[int, dict[str, set[asyncio.Future[None]]]] = defaultdict(dict)
        self._count = 0
        self._draining = False
        self._reader: asyncio.Task[None] | None = None

    async def final(self, shard: int, verification_id: str, timeout_s: float) -> None:
        """Return when the verification is final, after ``timeout_s``, on drain, or at once above the capacity."""
        if self._draining or self._count >= self._capacity or timeout_s <= 0:
            return
        waiting = self._shards[shard].setdefault(verification_id, set())
        if len(waiting) >= _PER_VERIFICATION:
            return
        future = asyncio.get_running_loop().create_future()
        waiting.add(future)
        self._counted(1)
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read())
        try:
            await asyncio.wait((future,), timeout=timeout_s)
        finally:
            self._counted(-1)
            waiting.discard(future)
            if not waiting and self._shards[shard].get(verification_id) is waiting:
                del self._shards[shard][verification_id]

    def drain(self) -> None:
        """Answer everybody now, and everybody who comes later at once."""
        self._draining = True
        for shard in self._shards.values():
            for waiting in shard.values():
                _wake(waiting)

    async def _read(self) -> None:
        while self._count:
            await asyncio.gather(*(self._read_shard(shard) for shard, waiting in self._shards.items() if waiting))
            await asyncio.sleep(_INTERVAL_S)

    async def _read_shard(self, shard: int) -> None:
        ids = list(self._shards[shard])
        try:
            final = await self._store.poll(shard, ids)
        except StoreUnavailable:
            # The callers read once more at their timeout, and are told then what is wrong.
            return
        for verification_id, done in zip(ids, final, strict=True):
            if done:
                _wake(self._shards[shard].get(verification_id, set()))

    def _counted(self, change: int) -> None:
        self._count += change
        self._gauge.waiters(self._count)


def _wake(waiting: set[asyncio.Future[None]]) -> None:
    for future in waiting:
        if not future.done():
            future.set_result(None)
