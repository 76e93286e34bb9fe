"""
The store's transitions as Python calls: one method, one script, one round trip.

Nothing here decides anything: keys and arguments go in, the script's outcome comes out, and ``service.py`` says what
it means.  Times are milliseconds by the store's clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from otp_service.core.errors import ConfigurationError
from otp_service.core.keyring import SHARDS
from otp_service.core.limits import Decision, Limit, State
from otp_service.storage import keys, scripts
from otp_service.storage.calls import (
    OPEN,
    Answer,
    FirstCode,
    NewVerification,
    Replay,
    SendLimits,
    Settlement,
    Taken,
    cap_args,
    rate_args,
)
from otp_service.storage.client import StoreClient, translated
from otp_service.storage.records import to_record

_SCHEMA = "1"
_STATES = (State.ALLOWED, State.REFUSED, State.WOULD_REFUSE)
_UNTRACED = Taken("")


class Store:
    """
    The transitions.

    Args:
        client: runs the scripts.
        queue_cap: how many SMS one shard may hold before starts are answered 503.
        now_ms: 0, the store's clock.  Only tests give another value.
    """

    def __init__(self, client: StoreClient, *, queue_cap: int = 100_000, now_ms: int = 0) -> None:
        self.client = client
        self.now_ms = now_ms
        self._queue_cap = queue_cap

    async def prepare(self, kind: str = "") -> None:
        """
        Check the store's constants and load every script.

        ``kind`` is ``demo`` or ``live`` for a process that serves; the first one decides for good whose store it is,
        so that a demo never reads the codes of real people.  Raises ConfigurationError when the store was made for
        another kind, or with another number of shards or another layout.
        """
        redis = self.client.redis
        constants = [("shards", str(SHARDS)), ("schema", _SCHEMA), *([("kind", kind)] if kind else [])]
        for name, needed in constants:
            await redis.hsetnx(keys.META, name, needed)
            made_with = await redis.hget(keys.META, name)
            if made_with != needed.encode():
                raise ConfigurationError(f"the store was made with {name} = {made_with!r}, this version needs {needed}")
        for name in scripts.NAMES:
            await redis.script_load(scripts.load(name).source)

    async def kind(self) -> str:
        """Return whose store it is, ``demo`` or ``live``; empty while no process has served from it."""
        with translated():
            found: Any = await self.client.redis.hget(keys.META, "kind")
        return found.decode() if found else ""

    # -- a client's calls --------------------------------------------------------------------------------------

    async def start(self, new: NewVerification, limits: SendLimits, replay: Replay | None) -> Answer:
        """Start a verification; see ``scripts/start.lua``."""
        names = [keys.phone(new.shard, name) for name in new.phone_names]
        gate = new.gate or OPEN
        outcome, now_ms, found, record, answers, older = await self._run(
            "start",
            (keys.verification(new.shard, new.id), _replay_key(replay), *limits.rate_keys, *gate.keys, *names),
            (self.now_ms, new.id, new.client, new.purpose, new.group, new.block, replay.body if replay else "",
             new.life_ms, self._queue_cap, new.extra, *limits.args, new.code_ms,
             *((new.before.within_ms, new.before.worker_after_ms) if new.before else ("", "")), *gate.args,
             new.links, *new.fields),
        )
        told = (*limits.told, *[limit for _, limit in gate.rates])
        return Answer(
            outcome.decode(), now_ms, to_record(record), _decisions(told, answers), id=found.decode(),
            older=older.decode(),
        )

    async def resend(
        self, shard: int, verification_id: str, client: str, *, nonce: str, replay: Replay | None, send_number: int,
        digest: bytes, grace_ms: int, block: str, limits: SendLimits,
    ) -> Answer:
        """Send a new code; see ``scripts/resend.lua``."""
        outcome, now_ms, record, answers, *ended = await self._run(
            "resend",
            (keys.verification(shard, verification_id), _replay_key(replay), *limits.rate_keys),
            (self.now_ms, verification_id, client, nonce, replay.body if replay else "", send_number, digest,
             grace_ms, self._queue_cap, block, *limits.args),
        )
        return Answer(
            outcome.decode(), now_ms, to_record(record), _decisions(limits.told, answers), ended=ended == [1],
        )

    async def check(
        self, shard: int, verification_id: str, client: str, *, nonce: str, replay: Replay | None, digest: bytes,
        length: int, address: tuple[str, Limit] | None,
    ) -> Answer:
        """Evaluate a guess; see ``scripts/check.lua``."""
        outcome, now_ms, flat, number, answers, *became = await self._run(
            "check",
            (keys.verification(shard, verification_id), _replay_key(replay),
             keys.rate("g", address[0]) if address else ""),
            (self.now_ms, verification_id, client, nonce, replay.body if replay else "", digest, length,
             *(rate_args(address[1]) if address else ())),
        )
        record = to_record(flat)
        if became and became[0]:
            record[b"s"] = became[0]
            if became[1]:
                record[b"f"] = b"%d" % now_ms
        told = (address[1],) if address else ()
        return Answer(
            outcome.decode(), now_ms, record, _decisions(told, answers), number, ended=became[1:] == [1],
        )

    async def read(self, shard: int, verification_id: str, client: str) -> tuple[Answer, str]:
        """Read one verification; ``outcome`` is the letter of the status it has by now, then its reason's."""
        now_ms, record, status, reason, _ = await self._run(
            "read", (keys.verification(shard, verification_id),), (self.now_ms, client),
        )
        return Answer(status.decode(), now_ms, to_record(record)), reason.decode()

    async def read_with_extra(self, shard: int, verification_id: str, client: str) -> Answer:
        """Read one verification with what it has sealed beside it; ``outcome`` as in :meth:`read`."""
        now_ms, record, status, _, extra = await self._run(
            "read", (keys.verification(shard, verification_id), keys.sealed_extra(shard, verification_id)),
            (self.now_ms, client),
        )
        return Answer(status.decode(), now_ms, to_record(record), extra=extra)

    async def read_with_links(self, shard: int, verification_id: str, client: str) -> tuple[Answer, str]:
        """Read one verification with its sealed links as its ``extra``; otherwise as :meth:`read`."""
        now_ms, record, status, reason, links = await self._run(
            "read", (keys.verification(shard, verification_id), keys.links(shard, verification_id)),
            (self.now_ms, client),
        )
        return Answer(status.decode(), now_ms, to_record(record), extra=links), reason.decode()

    async def poll(self, shard: int, verification_ids: Sequence[str]) -> list[bool]:
        """Tell which of these verifications of one shard are final or gone."""
        found = await self._run(
            "poll", [keys.verification(shard, one) for one in verification_ids], (self.now_ms,),
        )
        return [flag == 1 for flag in found]

    async def cancel(self, shard: int, verification_id: str, client: str) -> Answer:
        """Cancel a live verification; see ``scripts/cancel.lua``."""
        outcome, now_ms, record, *ended = await self._run(
            "cancel", (keys.verification(shard, verification_id),), (self.now_ms, verification_id, client),
        )
        return Answer(outcome.decode(), now_ms, to_record(record), ended=ended == [1])

    async def redeem(
        self, shard: int, verification_id: str, client: str, *, nonce: str, replay: Replay | None,
        id_digest: bytes, phone_agrees: bool, token_expires_ms: int,
    ) -> Answer:
        """Redeem a verdict once; see ``scripts/redeem.lua``."""
        outcome, now_ms, record = await self._run(
            "redeem", (keys.verification(shard, verification_id), _replay_key(replay)),
            (self.now_ms, verification_id, client, nonce, replay.body if replay else "", id_digest,
             "1" if phone_agrees else "0", token_expires_ms),
        )
        return Answer(outcome.decode(), now_ms, to_record(record))

    # -- ownership ---------------------------------------------------------------------------------------------

    async def ask(
        self, shard: int, verification_id: str, id_keys: Sequence[str], limits: tuple[Limit, Limit], names: int = 1,
    ) -> Answer:
        """Spend the limits of one ownership check (phone, ID numbers of so many names); see ``scripts/ask.lua``."""
        outcome, now_ms, record, answers, extra, *ended = await self._run(
            "ask", (keys.verification(shard, verification_id), *id_keys),
            (self.now_ms, verification_id, *cap_args(limits[0]), *cap_args(limits[1]), names),
        )
        return Answer(
            outcome.decode(), now_ms, to_record(record), _decisions(limits, answers), extra=extra, ended=ended == [1],
        )

    async def settle(
        self, shard: int, verification_id: str, id_keys: Sequence[str], found: Settlement,
    ) -> Answer:
        """Settle an ownership check; see ``scripts/settle.lua``."""
        code, attested = found.first_code or FirstCode(b"", 0), found.attested
        replay = attested.replay if attested else None
        said, now_ms, record, *ended = await self._run(
            "settle", (keys.verification(shard, verification_id), _replay_key(replay), *id_keys),
            (self.now_ms, verification_id, found.outcome, found.source, found.assurance, found.backoff_ms,
             found.alone_ms, "1" if found.sim_swapped else "", attested.nonce if attested else "",
             replay.body if replay else "", code.digest, code.cooldown_ms, "1" if code.enforced else "0",
             self._queue_cap),
        )
        return Answer(said.decode(), now_ms, to_record(record), ended=ended == [1])

    async def due_asks(self, shard: int, lease_ms: int, most: int) -> list[tuple[str, bytes, bytes]]:
        """Take ownership checks that are due, each leased to this caller: (id, sealed ID numbers, sealed phone)."""
        answer = await self._run("due_asks", (keys.ask(shard),), (self.now_ms, lease_ms, most))
        return [(answer[at].decode(), answer[at + 1], answer[at + 2]) for at in range(1, len(answer), 3)]

    # -- the worker --------------------------------------------------------------------------------------------

    async def claim(
        self, shard: int, verification_id: str, send_number: int, entry: bytes, lease_ms: int, *, holder: str,
        maybe_sent: bool = False,
    ) -> Answer:
        """Claim a queued SMS before a gateway is asked, or renew one's own claim; see ``scripts/claim.lua``."""
        outcome, now_ms, record, number, *before = await self._run(
            "claim", (keys.verification(shard, verification_id), keys.sms_queue(shard)),
            (self.now_ms, verification_id, send_number, entry, keys.GROUP, lease_ms, holder,
             "1" if maybe_sent else "0"),
        )
        return Answer(outcome.decode(), now_ms, to_record(record), number=number, again=before == [1])

    async def sent(
        self, shard: int, verification_id: str, send_number: int, entry: bytes, *, outcome: str, maybe_sent: bool,
        holder: str, retry_ms: int = 0, taken: Taken | None = None,
    ) -> None:
        """Record what a gateway said; see ``scripts/sent.lua``."""
        await self._run(
            "sent",
            (keys.verification(shard, verification_id), keys.sms_queue(shard), *(taken or _UNTRACED).keys),
            (self.now_ms, verification_id, send_number, entry, keys.GROUP, outcome, "1" if maybe_sent else "0",
             retry_ms, holder, *(taken or _UNTRACED).args),
        )

    async def expire(self, shard: int, most: int) -> tuple[int, list[tuple[str, str, str, str, int]]]:
        """End what is overdue in a shard: how many were due, and (id, purpose, status, reason, age ms) of each."""
        answer = await self._run("expire", (keys.due(shard),), (self.now_ms, most))
        ended = answer[2:]
        return answer[1], [
            (ended[at].decode(), ended[at + 1].decode(), ended[at + 2].decode(), ended[at + 3].decode(), ended[at + 4])
            for at in range(0, len(ended), 5)
        ]

    async def queues(self, shard: int) -> tuple[int, int, int, int, int, int]:
        """Measure a shard: SMS queued and oldest age, ownership checks and oldest overdue, overdue and oldest (ms)."""
        answer = await self._run("queues", (keys.sms_queue(shard), keys.ask(shard), keys.due(shard)), (self.now_ms,))
        return answer[1], answer[2], answer[3], answer[4], answer[5], answer[6]

    async def retire(self, shard: int, consumer: str, gone_ms: int) -> None:
        """Remove a leaving consumer and those long gone, if they have nothing in hand."""
        await self._run("retire", (keys.sms_queue(shard),), (keys.GROUP, consumer, gone_ms))

    # -- an operator -------------------------------------------------------------------------------------------

    async def phone(self, shard: int, names: Iterable[str], *, reset: bool) -> dict[str, int]:
        """Show a phone's limits as they were, and reset them when asked."""
        _, failures, wait_ms, sends, live = await self._run(
            "phone", [keys.phone(shard, name) for name in names], (self.now_ms, "1" if reset else "0"),
        )
        return {"failures": failures, "guess_wait_ms": wait_ms, "sends_24h": sends, "live_verifications": live}

    async def _run(self, name: str, script_keys: Sequence[str], args: Sequence[Any]) -> list[Any]:
        answer: list[Any] = await self.client.run(scripts.load(name), script_keys, args)
        return answer


def _replay_key(replay: Replay | None) -> str:
    return keys.replay(replay.name) if replay else ""


def _decisions(limits: Sequence[Limit | None], flat: Sequence[int]) -> list[Decision]:
    return [
        Decision(limit, _STATES[flat[3 * at]], flat[3 * at + 1], flat[3 * at + 2])
        for at, limit in enumerate(limits[: len(flat) // 3])
        if limit is not None
    ]
