"""What the store knows of webhooks: who is to be told what, what was given up, and where nobody wants to be told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from otp_service.core.keyring import SHARDS
from otp_service.core.verification import STATUS_CODES, Status
from otp_service.storage import keys, scripts
from otp_service.storage.client import StoreClient

#: Webhooks that one call queues again.
_REPLAYED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class DueWebhook:
    """
    A webhook to deliver now, under a lease.

    Attributes:
        tenant: whose it is: a client's name, with a suffix what its test keys made.
        shard, verification_id, reference, status, finished_ms: what is to be told, and when it came about.
        sealed_links: where.
        failed: how many attempts have failed.
        lease: the number of this attempt's lease.
        now_ms: the store's clock when it was handed out.
    """

    tenant: str
    shard: int
    verification_id: str
    sealed_links: bytes = field(repr=False)
    status: Status
    reference: str | None
    finished_ms: int
    failed: int
    lease: int
    now_ms: int


@dataclass(frozen=True, slots=True)
class WaitingWebhook:
    """
    A webhook that is still to be told.

    Attributes:
        verification_id, status: what is to be told.
        due_ms, due_in_ms: when it is tried next, by the store's clock and from now; negative when that is overdue.
            Of one that is being told now, the end of its lease.
        attempts: how many have failed.
        word: what the last of them came to, or "" before it.
    """

    verification_id: str
    status: Status
    due_ms: int
    due_in_ms: int
    attempts: int
    word: str


@dataclass(frozen=True, slots=True)
class DeadWebhook:
    """A webhook that was given up: when (ms), after how many attempts, and what the last of them came to."""

    verification_id: str
    status: Status
    died_ms: int
    attempts: int
    word: str


@dataclass(slots=True)
class Backlog:
    """A tenant's webhooks over all shards: waiting, ms by which the oldest is overdue, given up."""

    waiting: int = 0
    overdue_ms: int = 0
    dead: int = 0


class WebhookStore:
    """
    The transitions about webhooks, after the one that queues them: the end of a verification.

    Args:
        client: runs the scripts.
        now_ms: 0, the store's clock.  Only tests give another value.
    """

    def __init__(self, client: StoreClient, *, now_ms: int = 0) -> None:
        self._client = client
        self.now_ms = now_ms

    async def due(self, shard: int, lease_ms: int, room: Mapping[str, int]) -> tuple[int, list[DueWebhook]]:
        """
        Take what is due in a shard, so many of each tenant at most, each leased to this caller.

        Also tells how many were given up instead, because they waited for days.  See ``scripts/due_hooks.lua``.
        """
        tenants = list(room)
        now_ms, late, *flat = await self._run(
            "due_hooks", [keys.hook(shard, tenant) for tenant in tenants], (self.now_ms, lease_ms, *room.values()),
        )
        return late, [
            DueWebhook(
                tenants[at - 1], shard, verification_id.decode(), links, STATUS_CODES[status.decode()],
                reference.decode() or None, int(finished_ms), int(failed), lease, now_ms,
            )
            for at, verification_id, links, status, reference, finished_ms, failed, lease
            in zip(*(flat[part::8] for part in range(8)), strict=True)
        ]

    async def delivered(self, hook: DueWebhook) -> bool:
        """Record that it was delivered; says whether that was news.  See ``scripts/settle_hook.lua``."""
        return await self._settle(hook, "d", "", 0)

    async def failed(self, hook: DueWebhook, word: str, retry_ms: int | None) -> bool:
        """Record a failed attempt and when to try again, or None to give up; says whether this attempt counted."""
        return await self._settle(hook, "x" if retry_ms is None else "r", word, retry_ms or 0)

    async def _settle(self, hook: DueWebhook, outcome: str, word: str, retry_ms: int) -> bool:
        said, _ = await self._run(
            "settle_hook", (keys.verification(hook.shard, hook.verification_id),),
            (self.now_ms, hook.verification_id, hook.lease, outcome, word, retry_ms),
        )
        return bool(said == b"ok")

    async def backlogs(self, tenants: Sequence[str]) -> dict[str, Backlog]:
        """Measure the webhooks of these tenants over all shards."""
        found = {tenant: Backlog() for tenant in tenants}
        if not tenants:
            return found
        for _, *numbers in await asyncio.gather(*(
            self._run(
                "hook_queues",
                [make(shard, tenant) for tenant in tenants for make in (keys.hook, keys.dead_hooks)], (self.now_ms,),
            )
            for shard in range(SHARDS)
        )):
            for at, backlog in enumerate(found.values()):
                waiting, overdue_ms, dead = numbers[3 * at:3 * at + 3]
                backlog.waiting += waiting
                backlog.overdue_ms = max(backlog.overdue_ms, overdue_ms)
                backlog.dead += dead
        return found

    async def waiting(self, tenant: str, most: int) -> list[WaitingWebhook]:
        """Return so many of a tenant's webhooks that wait, the next first; see ``scripts/waiting_hooks.lua``."""
        found = [
            WaitingWebhook(verification_id, status, due_ms, due_ms - now_ms, attempts, word)
            for now_ms, verification_id, status, due_ms, attempts, word
            in await self._shown("waiting_hooks", keys.hook, tenant, most)
        ]
        return sorted(found, key=lambda one: one.due_ms)[:most]

    async def dead(self, tenant: str, most: int) -> list[DeadWebhook]:
        """Return so many of a tenant's webhooks that were given up, the newest first."""
        found = [
            DeadWebhook(verification_id, status, died_ms, attempts, word)
            for _, verification_id, status, died_ms, attempts, word
            in await self._shown("dead_hooks", keys.dead_hooks, tenant, most)
        ]
        return sorted(found, key=lambda one: -one.died_ms)[:most]

    async def _shown(
        self, script: str, key: Callable[[int, str], str], tenant: str, most: int,
    ) -> list[tuple[int, str, Status, int, int, str]]:
        """Return what a script shows of each shard: now, id, status, a time, attempts, word."""
        shards = await asyncio.gather(*(
            self._run(script, (key(shard, tenant),), (self.now_ms, most)) for shard in range(SHARDS)
        ))
        return [
            (now_ms, verification_id.decode(), STATUS_CODES[status.decode()], int(float(at_ms)), int(attempts),
             word.decode())
            for now_ms, *flat in shards
            for verification_id, status, at_ms, attempts, word
            in zip(*(flat[part::5] for part in range(5)), strict=True)
        ]

    async def replay(self, tenant: str, shard: int, verification_ids: Sequence[str]) -> int:
        """Queue webhooks of one shard again that were given up; tells how many."""
        if not verification_ids:
            return 0
        _, queued, _ = await self._replay(tenant, shard, verification_ids)
        return queued

    async def replay_all(self, tenant: str) -> int:
        """Queue all of a tenant's webhooks again that were given up; tells how many."""
        total = 0
        for shard in range(SHARDS):
            while True:
                _, queued, gone = await self._replay(tenant, shard, ())
                total += queued
                if not queued + gone:
                    break
        return total

    async def _replay(self, tenant: str, shard: int, verification_ids: Sequence[str]) -> list[int]:
        return await self._run(
            "replay_hooks", (keys.dead_hooks(shard, tenant),),
            (self.now_ms, tenant, _REPLAYED_AT_ONCE, *verification_ids),
        )

    async def is_off(self, client: str, endpoint: str) -> bool:
        """Whether the client wants no more webhooks at this endpoint (a digest); see ``scripts/endpoint.lua``."""
        return bool(await self._endpoint(client, "is", endpoint))

    async def put_off(self, client: str, endpoint: str) -> bool:
        """Put an endpoint out of use; says whether that was news."""
        return bool(await self._endpoint(client, "off", endpoint))

    async def put_on(self, client: str) -> int:
        """Put all of a client's endpoints in use again; tells how many were not."""
        return await self._endpoint(client, "on", "")

    async def _endpoint(self, client: str, what: str, endpoint: str) -> int:
        _, number = await self._run("endpoint", (keys.endpoints(client),), (self.now_ms, what, endpoint))
        return int(number)

    async def _run(self, name: str, script_keys: Sequence[str], args: Sequence[Any]) -> list[Any]:
        answer: list[Any] = await self._client.run(scripts.load(name), script_keys, args)
        return answer
