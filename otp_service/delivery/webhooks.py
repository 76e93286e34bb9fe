"""
The webhook worker: tells each client what became of its verifications, at least once, and gives up after three days.

Every client (its test keys count as another one) has queues and hands of its own.  A receiver that hangs costs its
client those hands and nobody else anything; after a few failures in a row it is left with one, until it answers again.
Where hands become scarce, those who are being told share them evenly: many who answer slowly crowd out nobody.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from otp_service.core.client import Client
from otp_service.core.errors import StoreUnavailable
from otp_service.core.keyring import SHARDS, KeyRing, SealBroken
from otp_service.core.ports import NoAnswer
from otp_service.core.retry_after import retry_after_s
from otp_service.core.webhooks import (
    HOPELESS,
    RETRY_AFTER_MOST_S,
    Attempt,
    Result,
    allows_port,
    endpoint_of,
    next_attempt_s,
    read_answer,
    signed_headers,
    verdict_body,
    webhook_id,
)
from otp_service.delivery.guarded import GuardedConnections
from otp_service.delivery.pacing import pause
from otp_service.storage.records import TEST_SUFFIX, open_links
from otp_service.storage.webhooks import DueWebhook, WebhookStore
from otp_service.telemetry.logs import get_logger, where
from otp_service.telemetry.metrics import Metrics

#: Seconds that a receiver has for one attempt.
TIMEOUT_S: Final = 15.0
#: Deliveries of one tenant in hand at the same time, in one worker; and of all of them, beyond the first of each.
HANDS: Final = 16
_ALL_HANDS: Final = 256
#: Of all hands, how many are taken when they become scarce.
_SCARCE: Final = 0.75
#: Failures in a row after which a tenant has one hand left.
_PATIENCE: Final = 5

_EVERY_S: Final = 0.25
#: While there is more to do than hands: how long those that finish meanwhile are gathered.
_GATHER_S: Final = 0.02
_MEASURE_EVERY_S: Final = 2.0
#: A lease ends this much after the receiver's time.
_LEASE_MARGIN_S: Final = 5.0
#: Seconds that deliveries in hand get when the worker stops; after that another worker makes them again.
_STOP_S: Final = 3.0

#: Results that say how a receiver does; 410 is an answer like any other.
_ASKED: Final = frozenset(Result) - HOPELESS

#: Results that :class:`NoAnswer` has words for; all others are one.
_SILENT: Final = {
    "address_refused": Result.ADDRESS_REFUSED, "timeout": Result.TIMEOUT, "too_much": Result.TOO_MUCH,
}

_log = get_logger()


@dataclass(slots=True)
class Hands:
    """How much of one tenant may be in hand: less while its receivers fail."""

    most: int = HANDS
    busy: int = 0
    failures: int = 0

    def heed(self, attempt: Attempt) -> None:
        """Learn from an attempt that asked a receiver; who floods us fails, whatever it says."""
        if attempt.result is Result.DELIVERED and not attempt.flooded:
            self.failures = 0
            self.most = min(HANDS, self.most + 1)
            return
        self.failures += 1
        if attempt.result is Result.THROTTLED:
            self.most = max(1, self.most // 2)
        if self.failures >= _PATIENCE:
            self.most = 1

    def free(self, share: int) -> bool:
        """Whether one more may begin; the first is nobody else's to take."""
        return not self.busy or self.busy < min(self.most, share)


class WebhookSender:
    """
    Makes one attempt.

    Args:
        connections: go to the public internet and nowhere else.
    """

    def __init__(self, connections: GuardedConnections) -> None:
        self._connections = connections

    async def send(
        self, client: Client, url: str, message_id: str, body: bytes, now_ms: int, *, timeout_s: float = TIMEOUT_S,
    ) -> Attempt:
        """
        Tell one thing, if the client's settings of this moment allow it.  Never raises for what a receiver does.

        ``now_ms`` is the store's clock: the timestamp that is signed.
        """
        if not client.allows_host(url, client.webhook_hosts):
            return Attempt(Result.HOST_NOT_REGISTERED)
        if not allows_port(url):
            return Attempt(Result.PORT_REFUSED)
        if not client.webhook_secrets:
            return Attempt(Result.NO_SECRET)
        headers = signed_headers(client.webhook_secrets, message_id, now_ms // 1000, body)
        answer = await self._connections.post(url, headers, body, timeout_s=timeout_s)
        if isinstance(answer, NoAnswer):
            return Attempt(_SILENT.get(answer.code, Result.NO_ANSWER), answer.code)
        attempt = read_answer(answer.status, retry_after_s(answer.headers, now_ms / 1000, RETRY_AFTER_MOST_S))
        return replace(attempt, flooded=answer.flooded)


@dataclass(slots=True)
class _Tenant:
    client: Client
    hands: Hands = field(default_factory=Hands)


class WebhookWorker:
    """
    Delivers what is due; any number of these may run.

    Args:
        store: hands out what is due.
        clients: whose verdicts are told, with their hosts and secrets.
        ring: the key ring in force.
        sender: asks the receivers.
        metrics: counts deliveries and shows the queue.
        timeout_s: seconds that a receiver has.
        luck: gives a random number from 0 to 1, for the jitter.
    """

    def __init__(
        self, *, store: WebhookStore, clients: Iterable[Client], ring: Callable[[], KeyRing], sender: WebhookSender,
        metrics: Metrics, timeout_s: float = TIMEOUT_S, luck: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._ring = ring
        self._sender = sender
        self._metrics = metrics
        self._timeout_s = timeout_s
        self._lease_ms = round((timeout_s + _LEASE_MARGIN_S) * 1000)
        self._luck = luck
        self._tenants = {
            name: _Tenant(client) for client in clients for name in (client.name, client.name + TEST_SUFFIX)
        }
        self._in_hand: set[asyncio.Task[None]] = set()
        self._first_shard = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until ``stop``; what a receiver keeps waiting is then left to another worker."""
        loop = asyncio.get_running_loop()
        measured_at = loop.time()
        while not stop.is_set():
            try:
                taken = await self.step()
                if loop.time() >= measured_at:
                    measured_at = loop.time() + _MEASURE_EVERY_S
                    await self.measure()
            except StoreUnavailable as error:
                _log.warning("webhooks wait for the store", error=str(error))
                taken = 0
            await pause(stop, _GATHER_S if taken else _EVERY_S)
        if self._in_hand:
            _, left = await asyncio.wait(self._in_hand, timeout=_STOP_S)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def step(self) -> int:
        """Begin what is due, as far as there are hands; returns how many."""
        taken = 0
        self._first_shard += 1
        # One shard after the other, because what one has given takes hands from the next.
        for place in range(SHARDS):
            if room := self._room():
                taken += await self._take((self._first_shard + place) % SHARDS, room)
        return taken

    async def measure(self) -> None:
        """Show what waits and what was given up, over all clients."""
        backlogs = (await self._store.backlogs(list(self._tenants))).values()
        overdue_ms = max((one.overdue_ms for one in backlogs), default=0)
        self._metrics.queue("webhooks", sum(one.waiting for one in backlogs), overdue_ms / 1000)
        self._metrics.webhooks_dead(sum(one.dead for one in backlogs))

    async def finish(self) -> None:
        """Wait for what is in hand."""
        while self._in_hand:
            await asyncio.gather(*self._in_hand)

    def _room(self) -> dict[str, int]:
        """Return who may begin one more."""
        share, in_hand = HANDS, len(self._in_hand)
        if in_hand >= _ALL_HANDS:
            share = 1
        elif in_hand >= _ALL_HANDS * _SCARCE:
            share = _ALL_HANDS // sum(tenant.hands.busy > 0 for tenant in self._tenants.values())
        return {name: 1 for name, tenant in self._tenants.items() if tenant.hands.free(share)}

    async def _take(self, shard: int, room: dict[str, int]) -> int:
        late, hooks = await self._store.due(shard, self._lease_ms, room)
        if late:
            _log.error("webhook given up", result=Result.TOO_LATE.value, count=late)
            self._metrics.webhook(Result.TOO_LATE, late)
        for hook in hooks:
            self._tenants[hook.tenant].hands.busy += 1
            task = asyncio.create_task(self._deliver(hook))
            self._in_hand.add(task)
            task.add_done_callback(partial(self._finished, hook.tenant))
        return len(hooks)

    def _finished(self, tenant: str, task: asyncio.Task[None]) -> None:
        self._in_hand.discard(task)
        self._tenants[tenant].hands.busy -= 1

    async def _deliver(self, hook: DueWebhook) -> None:
        tenant = self._tenants[hook.tenant]
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            attempt = await self._attempt(tenant.client, hook)
            if attempt.result in _ASKED:
                tenant.hands.heed(attempt)
            self._metrics.webhook(attempt.result)
            if attempt.result is Result.DELIVERED:
                await self._store.delivered(hook)
                age_s = (hook.now_ms - hook.finished_ms) / 1000 + loop.time() - began
                self._metrics.webhook_latency(age_s)
                _log.info("webhook delivered", **_named(hook), age_ms=round(age_s * 1000))
                return
            wait_s = next_attempt_s(hook.failed + 1, attempt, self._luck())
            await self._store.failed(hook, attempt.told, None if wait_s is None else round(wait_s * 1000))
            if wait_s is None:
                _log.error("webhook given up", **_named(hook), result=attempt.told)
            else:
                _log.warning("webhook not delivered", **_named(hook), result=attempt.told, next_in_s=round(wait_s))
        except StoreUnavailable:
            # It is still in the queue, under a lease that ends.
            _log.warning("webhook left for later", **_named(hook))
        except Exception as error:  # noqa: BLE001 - a defect here must not stop the others; its text may hold the address
            _log.error("webhook failed", **_named(hook), error=type(error).__name__, where=where(error))

    async def _attempt(self, client: Client, hook: DueWebhook) -> Attempt:
        ring = self._ring()
        try:
            url = open_links(ring, hook.verification_id, hook.sealed_links).callback_url
        except (SealBroken, TypeError, ValueError):
            # Its key is lost, or another version of this program wrote it.
            url = None
        if url is None:
            return Attempt(Result.UNREADABLE)
        endpoint = ring.body_digest(b"endpoint", endpoint_of(url).encode())
        if await self._store.is_off(client.name, endpoint):
            return Attempt(Result.DISABLED)
        attempt = await self._sender.send(
            client, url, webhook_id(hook.verification_id),
            verdict_body(hook.verification_id, hook.reference, hook.status, hook.finished_ms), hook.now_ms,
            timeout_s=self._timeout_s,
        )
        if attempt.result is Result.GONE and await self._store.put_off(client.name, endpoint):
            _log.error("webhooks disabled", client=client.name, result=attempt.told)
        return attempt


def _named(hook: DueWebhook) -> dict[str, Any]:
    """Return what a log line says of a webhook."""
    return {"client": hook.tenant, "verification_id": hook.verification_id, "attempt": hook.failed + 1}
