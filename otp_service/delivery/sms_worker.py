"""The SMS worker: takes queued sends and has each delivered; one that dies leaves its entries to be reclaimed."""

from __future__ import annotations

import asyncio

from otp_service.core.errors import StoreUnavailable
from otp_service.core.keyring import SHARDS
from otp_service.delivery.courier import Courier
from otp_service.delivery.pacing import pause
from otp_service.storage.queue import CONSUMER_GONE_MS, QueuedSms, SmsQueue
from otp_service.storage.store import Store
from otp_service.telemetry.logs import get_logger

_BLOCK_MS = 1000
_RECLAIM_EVERY_S = 2.0
_RETIRE_EVERY = 300
_PAUSE_S = 0.5

_log = get_logger()


class SmsWorker:
    """
    One consumer of the SMS queue.

    Args:
        store: removes consumers that are gone.
        queue: this process's place among the consumers.
        courier: delivers one send.
    """

    def __init__(self, *, store: Store, queue: SmsQueue, courier: Courier) -> None:
        self._store = store
        self._queue = queue
        self._courier = courier
        self._concurrency = courier.policy.concurrency
        self._in_hand: dict[tuple[int, bytes], asyncio.Task[None]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop``, then finish what is in hand and leave the group."""
        await self._until_ready(stop)
        reclaiming = asyncio.create_task(self._reclaim(stop))
        try:
            while not stop.is_set():
                await self._take(stop)
        finally:
            stop.set()
            self._courier.stopping.set()
            await reclaiming
            if self._in_hand:
                await asyncio.gather(*self._in_hand.values(), return_exceptions=True)
            await self._leave()

    async def _until_ready(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                return await self._queue.prepare()
            except StoreUnavailable as error:
                _log.warning("queue not ready", error=str(error))
                await pause(stop, _PAUSE_S)
        return None

    async def _take(self, stop: asyncio.Event) -> None:
        room = self._concurrency - (len(self._in_hand) - self._courier.pausing)
        if room <= 0:
            await asyncio.wait(self._in_hand.values(), timeout=_PAUSE_S, return_when=asyncio.FIRST_COMPLETED)
            return
        try:
            for sms in await self._queue.read(room, _BLOCK_MS):
                self._begin(sms)
        except StoreUnavailable as error:
            _log.warning("queue not readable", error=str(error))
            await pause(stop, _PAUSE_S)

    async def _reclaim(self, stop: asyncio.Event) -> None:
        rounds = 0
        while not stop.is_set():
            found: list[QueuedSms] = []
            try:
                found = await self._queue.reclaim(self._courier.lease_ms, self._concurrency // SHARDS + 1)
                for sms in found:
                    self._begin(sms)
                if rounds % _RETIRE_EVERY == 0:
                    await self._retire("")
            except StoreUnavailable as error:
                _log.warning("queue not reclaimable", error=str(error))
            rounds += 1
            # What a crash left is more than one round takes: go on while there is much of it and hands are free.
            busy = len(found) >= self._concurrency or len(self._in_hand) >= self._concurrency
            await pause(stop, _PAUSE_S if found and not busy else _RECLAIM_EVERY_S)

    async def _leave(self) -> None:
        try:
            await self._retire(self._queue.consumer)
        except StoreUnavailable:
            _log.warning("left without saying so", consumer=self._queue.consumer)

    async def _retire(self, consumer: str) -> None:
        await asyncio.gather(
            *(self._store.retire(shard, consumer, CONSUMER_GONE_MS) for shard in range(SHARDS)),
        )

    def _begin(self, sms: QueuedSms) -> None:
        place = (sms.shard, sms.entry)
        if place in self._in_hand:
            return  # reclaimed from this very worker, which is still at it
        task = self._in_hand[place] = asyncio.create_task(self._handle(sms))
        task.add_done_callback(lambda _: self._in_hand.pop(place))

    async def _handle(self, sms: QueuedSms) -> None:
        try:
            await self._courier.deliver(sms)
        except StoreUnavailable:
            # Whatever was not recorded is still in the queue, under a lease that ends.
            _log.warning("send left to be reclaimed", verification_id=sms.verification_id, send_number=sms.send_number)
        except Exception:  # noqa: BLE001 - logged with its traceback; the entry is retried or runs out
            _log.exception("send failed", verification_id=sms.verification_id, send_number=sms.send_number)
