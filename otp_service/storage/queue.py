"""
The SMS queue: one stream per shard, one consumer group, at least once.

Reading blocks on connections of its own.  Entries hold a verification's id and a send number, nothing else; they are
acknowledged and deleted by the scripts that finish them (``claim``, ``sent``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio as redis_asyncio
from redis.exceptions import ResponseError

from otp_service.core.keyring import SHARDS
from otp_service.storage import keys
from otp_service.storage.client import translated

_STREAMS = {keys.sms_queue(shard): shard for shard in range(SHARDS)}
#: Milliseconds without a sign of life after which a consumer with nothing in hand is removed.
CONSUMER_GONE_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class QueuedSms:
    """One entry of the queue; ``queued_at_ms`` is the store's clock when the code was made."""

    shard: int
    entry: bytes
    verification_id: str
    send_number: int

    @property
    def reference(self) -> str:
        """What gateways know this send by, the same on every attempt."""
        return f"{self.verification_id}-{self.send_number}"

    @property
    def queued_at_ms(self) -> int:
        """When it was queued."""
        return int(self.entry.split(b"-", 1)[0])


class SmsQueue:
    """
    One consumer of the queue.

    Args:
        redis: a client whose socket timeout is above ``block_ms``.
        consumer: this process's name among the consumers; new for each start.
    """

    def __init__(self, redis: redis_asyncio.Redis, consumer: str) -> None:
        self._redis = redis
        self.consumer = consumer

    async def prepare(self) -> None:
        """Make the group on every stream where it is missing, from the beginning: nothing queued is skipped."""
        for stream in _STREAMS:
            try:
                with translated():
                    await self._redis.xgroup_create(stream, keys.GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise

    async def read(self, most: int, block_ms: int) -> list[QueuedSms]:
        """Take new entries, at most about ``most``; waits up to ``block_ms`` for the first."""
        per_stream = max(1, most // SHARDS)
        try:
            with translated():
                found = await self._redis.xreadgroup(
                    keys.GROUP, self.consumer, dict.fromkeys(_STREAMS, ">"), count=per_stream, block=block_ms,
                )
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            await self.prepare()
            return []
        return [
            entry for stream, entries in _pairs(found) for entry in _entries(_STREAMS[_text(stream)], entries)
        ]

    async def reclaim(self, min_idle_ms: int, most: int) -> list[QueuedSms]:
        """Take over entries that their consumer has not finished for ``min_idle_ms``, this consumer's own included."""
        pipeline = self._redis.pipeline(transaction=False)
        for stream in _STREAMS:
            pipeline.xautoclaim(stream, keys.GROUP, self.consumer, min_idle_ms, count=most)
        found: list[QueuedSms] = []
        with translated():
            answers = await pipeline.execute(raise_on_error=False)
        for shard, answer in enumerate(answers):
            if isinstance(answer, ResponseError) and str(answer).startswith("NOGROUP"):
                await self.prepare()
            elif isinstance(answer, Exception):
                raise answer
            else:
                found.extend(_entries(shard, answer[1]))
        return found


def _pairs(found: Any) -> list[tuple[Any, Any]]:
    """Return XREADGROUP's reply as (stream, entries), whichever protocol version answered."""
    if not found:
        return []
    if isinstance(found, dict):
        return [(stream, [entry for group in groups for entry in group]) for stream, groups in found.items()]
    return list(found)


def _entries(shard: int, entries: Sequence[Any]) -> list[QueuedSms]:
    return [
        QueuedSms(shard, entry, fields[b"v"].decode(), int(fields[b"n"])) for entry, fields in entries if fields
    ]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value

