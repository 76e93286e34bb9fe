"""
The SMS worker: takes queued sends, renders them and hands them to a gateway while their codes are valid.

Codes are derived here, from the id and the send number, and exist in memory only.  A send is claimed before each
attempt, so that a superseded, used or expired code is never sent, and two workers never hold the same send; a worker
that dies leaves its entries to be reclaimed once their lease is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from otp_service.core.client import ClientRegistry
from otp_service.core.codes import derive_code
from otp_service.core.errors import StoreUnavailable
from otp_service.core.keyring import SHARDS, KeyRing
from otp_service.core.messages import Catalogue
from otp_service.core.ports import RETRYABLE, SendOutcome, SendResult, SmsGateway, SmsMessage
from otp_service.core.verification import Purpose, Verification
from otp_service.delivery.pacing import pause
from otp_service.delivery.sender import Sender
from otp_service.storage.queue import CONSUMER_GONE_MS, QueuedSms, SmsQueue
from otp_service.storage.records import to_verification
from otp_service.storage.store import Store
from otp_service.telemetry.logs import get_logger
from otp_service.telemetry.metrics import Metrics

_LEASE_MARGIN_MS = 2000
_BLOCK_MS = 1000
_RECLAIM_EVERY_S = 2.0
_RETIRE_EVERY = 300
_MAX_BACKOFF_S = 15.0
_PAUSE_S = 0.5
#: An SMS that waited longer than this says how long its code is still valid, not how long codes are.
_FRESH_MS = 15_000

_log = get_logger()


@dataclass(frozen=True, slots=True)
class SendPolicy:
    """
    How sends are tried.

    Attributes:
        attempts: hand-overs tried per send before it counts as failed.
        backoff_s: seconds before the second attempt; it doubles, up to 15.
        concurrency: sends in hand at once.
        brand: who the SMS says it comes from.
    """

    attempts: int = 8
    backoff_s: float = 1.0
    concurrency: int = 256
    brand: str = ""


class SmsWorker:
    """One consumer of the SMS queue."""

    def __init__(
        self, *, store: Store, queue: SmsQueue, ring: Callable[[], KeyRing], purposes: Mapping[str, Purpose],
        clients: ClientRegistry, catalogue: Catalogue, gateway: SmsGateway, sender: Sender, metrics: Metrics,
        policy: SendPolicy,
    ) -> None:
        self._store = store
        self._queue = queue
        self._ring = ring
        self._purposes = purposes
        self._clients = clients
        self._catalogue = catalogue
        self._gateway = gateway
        self._sender = sender
        self._metrics = metrics
        self._policy = policy
        self._lease_ms = round(gateway.timeout_s * 1000) + _LEASE_MARGIN_MS
        self._free = asyncio.Semaphore(policy.concurrency)
        self._in_hand: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop``, then finish what is in hand and leave the group."""
        await self._until_ready(stop)
        reclaiming = asyncio.create_task(self._reclaim(stop))
        try:
            while not stop.is_set():
                await self._take(stop)
        finally:
            stop.set()
            await reclaiming
            if self._in_hand:
                await asyncio.gather(*self._in_hand, return_exceptions=True)
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
        room = self._policy.concurrency - len(self._in_hand)
        if room <= 0:
            await asyncio.wait(self._in_hand, return_when=asyncio.FIRST_COMPLETED)
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
            try:
                for sms in await self._queue.reclaim(self._lease_ms, self._policy.concurrency // SHARDS + 1):
                    self._begin(sms)
                if rounds % _RETIRE_EVERY == 0:
                    await self._retire("")
            except StoreUnavailable as error:
                _log.warning("queue not reclaimable", error=str(error))
            rounds += 1
            await pause(stop, _RECLAIM_EVERY_S)

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
        task = asyncio.create_task(self._handle(sms))
        self._in_hand.add(task)
        task.add_done_callback(self._in_hand.discard)

    async def _handle(self, sms: QueuedSms) -> None:
        try:
            async with self._free:
                await self._deliver(sms)
        except StoreUnavailable:
            # Whatever was not recorded is still in the queue, under a lease that ends.
            _log.warning("send left to be reclaimed", verification_id=sms.verification_id, send_number=sms.send_number)
        except Exception:  # noqa: BLE001 - logged with its traceback; the entry is retried or runs out
            _log.exception("send failed", verification_id=sms.verification_id, send_number=sms.send_number)

    async def _deliver(self, sms: QueuedSms) -> None:
        attempt = 0
        while True:
            claim = await self._store.claim(
                sms.shard, sms.verification_id, sms.send_number, sms.entry, self._lease_ms,
            )
            if claim.outcome != "send":
                if claim.outcome == "skip":
                    _log.info("sms skipped", verification_id=sms.verification_id, send_number=sms.send_number)
                return
            attempt += 1
            if attempt == 1:
                self._metrics.queue_to_gateway(max(0, claim.now_ms - sms.queued_at_ms) / 1000)
            verification = to_verification(self._ring(), sms.verification_id, claim.record, claim.now_ms)
            outcome = await self._hand_over(verification, sms.send_number, claim.number)
            wait_s = min(_MAX_BACKOFF_S, self._policy.backoff_s * 2 ** (attempt - 1))
            again = (
                outcome.result in RETRYABLE and attempt < self._policy.attempts and wait_s * 1000 < claim.number
            )
            await self._store.sent(
                sms.shard, sms.verification_id, sms.send_number, sms.entry,
                outcome="a" if outcome.taken else "r" if again else "f",
                maybe_sent=outcome.maybe_sent, retry_ms=round(wait_s * 1000),
            )
            _log.info(
                "sms", verification_id=sms.verification_id, send_number=sms.send_number, gateway=self._gateway.name,
                result=outcome.result.value, provider_code=outcome.provider_code, attempt=attempt,
                queue_ms=claim.now_ms - sms.queued_at_ms, again=again,
            )
            if not again:
                return
            await asyncio.sleep(wait_s)

    async def _hand_over(self, verification: Verification, send_number: int, valid_ms: int) -> SendOutcome:
        if verification.test and self._gateway.real:
            # A test key sends no real SMS (DESIGN 4).
            return SendOutcome(SendResult.ACCEPTED, provider_code="test_key")
        message = self._message(verification, send_number, valid_ms)
        outcome = await self._sender.send(self._gateway, message)
        if outcome.taken:
            self._metrics.sms_segments(verification.purpose, message.segments)
        return outcome

    def _message(self, verification: Verification, send_number: int, valid_ms: int) -> SmsMessage:
        purpose = self._purposes.get(verification.purpose) or Purpose(verification.purpose)
        client = self._clients.get(verification.client)
        policy_s = purpose.code.validity_s
        validity_s = policy_s if valid_ms > policy_s * 1000 - _FRESH_MS else max(1, valid_ms // 1000)
        rendered = self._catalogue.sms(
            verification.locale, verification.purpose,
            code=derive_code(self._ring(), verification.id, send_number, verification.code_length),
            validity_s=validity_s, send_number=send_number, brand=self._policy.brand,
            host=client.webotp_host if client else None,
        )
        return SmsMessage(
            to=verification.phone_number, text=rendered.text, template_key=rendered.template_key,
            params=rendered.params, reference=f"{verification.id}-{send_number}", send_number=send_number,
            validity_s=max(1, valid_ms // 1000), segments=rendered.segments,
        )
