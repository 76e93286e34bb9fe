"""Workers that die over a full queue again and again: every SMS arrives, none whose acceptance was recorded twice."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from functools import partial

import pytest
import redis.asyncio as redis_asyncio
from support.http import Api
from support.processes import Installation, eventually
from support.sms_gateway import HELD, WELL, Say, ScriptedGateway, Sms

from otp_service.core.keyring import SHARDS
from otp_service.storage import keys

pytestmark = pytest.mark.slow

MESSAGES = 600
KILL_EVERY = 100
#: Calls under way at once; every one has a connection of its own.
AT_ONCE = 50

#: One portal may start as many as it likes, codes outlive the test, a dead worker's leases end while it waits, and of
#: what a worker hands over in its life it records a good part.
SETTINGS = {
    "LIMITS__CLIENT_SENDS__MODE": "record_only", "PURPOSES__PHONE_ONLY__CODE__VALIDITY_S": "300",
    "SENDING__CONCURRENCY": "48", "GATEWAYS__FAKE__ADAPTER": "support.plugins:ImpatientGateway",
}

#: An SMS that was queued for long says how long its code is still valid.
_VALIDITY = re.compile(r"(?<=hieu luc )\d+ (?:giay|phut)")


async def queued(store: redis_asyncio.Redis) -> int:
    """Return how many SMS nobody has finished."""
    async with store.pipeline(transaction=False) as pipeline:
        for shard in range(SHARDS):
            pipeline.xlen(keys.sms_queue(shard))
        return sum(await pipeline.execute())


async def recorded_ids(store: redis_asyncio.Redis, ids: list[str]) -> set[str]:
    """Return the verifications of which it is recorded that a gateway took their SMS."""
    async with store.pipeline(transaction=False) as pipeline:
        for one in ids:
            pipeline.hget(keys.verification(int(one[0], 16), one), "y")
        states = await pipeline.execute()
    return {one for one, state in zip(ids, states, strict=True) if state == b"s"}


async def full_queue(api: Api) -> list[str]:
    """Start a verification on each of many phones, while there is no worker; returns the ids."""
    ids: list[str] = []
    for first in range(0, MESSAGES, AT_ONCE):
        replies = await asyncio.gather(*(
            api.start(f"07000{at:05d}", end_user_ip=f"203.0.{at % 256}.{at // 256}")
            for at in range(first, first + AT_ONCE)
        ))
        assert {(201, "pending")} == {reply.said for reply in replies}
        ids += [reply["id"] for reply in replies]
    return ids


async def test_workers_killed_over_a_full_queue(site: Installation, gateway: ScriptedGateway) -> None:
    """Of a full queue killed workers lose no SMS, duplicates are alike, what is recorded is over (Invariant 6)."""
    site.settings |= SETTINGS
    first: dict[str, Sms] = {}

    def keeps_some_waiting(sms: Sms) -> Say | None:
        # Every fifth is in the gateway's hands, unanswered, when its worker dies.
        if sms.reference in first:
            return WELL
        first[sms.reference] = sms
        return HELD if len(first) % 5 == 0 else WELL

    gateway.answer = keeps_some_waiting
    serve = await site.serve()
    async with Api(serve.base) as api, site.store() as store:
        ids = await full_queue(api)
        assert MESSAGES == await queued(store)
        kills, seen, recorded, in_hand = 0, 0, set[str](), set[str]()
        while left := await queued(store):
            goal = len(gateway.arrived) + KILL_EVERY
            worker = site.launch("worker", settings={"SERVER__PRIVATE_PORT": "0"})
            await eventually(
                partial(_is_over, gateway, goal, store), f"{KILL_EVERY} more SMS, or the last of {left}",
            )
            worker.kill()
            kills += 1
            arrived = gateway.arrived[seen:]
            seen += len(arrived)
            sent = {sms.verification_id for sms in arrived}
            assert set() == sent & recorded, "sent again after its acceptance was recorded"
            recorded = await recorded_ids(store, ids)
            in_hand |= sent - recorded
            assert kills < 50, "the queue does not empty"

        assert set(ids) == await recorded_ids(store, ids)
        assert kills > MESSAGES // KILL_EVERY // 2
        assert in_hand, "no worker died with SMS in hand"
        assert {f"{one}-1" for one in ids} == set(first)
        by_reference = defaultdict(set)
        for sms in gateway.arrived:
            by_reference[sms.reference].add((sms.to, sms.code, _VALIDITY.sub("", sms.text)))
        assert {1} == {len(alike) for alike in by_reference.values()}
        for at in range(0, MESSAGES, AT_ONCE):
            answers = await asyncio.gather(*(api.check(one, first[f"{one}-1"].code) for one in ids[at:at + AT_ONCE]))
            assert {(200, "verified")} == {answer.said for answer in answers}


async def _is_over(gateway: ScriptedGateway, goal: int, store: redis_asyncio.Redis) -> bool:
    return len(gateway.arrived) >= goal or not await queued(store)
