"""What stands in the store: everything ends by itself, nothing is in clear, and all of it is small."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from support.engine import (
    ACCEPT,
    DAY,
    ELSEWHERE,
    HOME,
    OWNER,
    PORTAL,
    PURPOSES,
    REFUSE,
    RIVAL,
    STRANGER,
    UNCLEAR,
    Backend,
    Engine,
    refused,
    replay,
)

from otp_service.core.client import Client
from otp_service.core.errors import ClaimsMismatch, NotVerified
from otp_service.core.evidence import OwnershipOutcome
from otp_service.core.verification import OwnershipPolicy, Purpose
from otp_service.service import Caller
from otp_service.storage import keys

LONGEST_NAME = "p" * 32
LONGEST = Caller(Client("c" * 24), test=True)
PHONES = [f"+8490000000{at}" for at in range(10)]


async def live_many_lives(engine: Engine) -> list[str]:
    """Bring verifications to every end there is, through every call; return what is secret."""
    secrets = [*PHONES, *(phone[1:] for phone in PHONES), OWNER, STRANGER, "NGUYỄN VĂN A", "1990-01-01"]
    secrets += [HOME, ELSEWHERE]
    for at, phone in enumerate(PHONES):
        purpose = ("registration", "phone_only", "sign_in", "assisted_registration")[at % 4]
        engine.postbox.answer = (ACCEPT, REFUSE, UNCLEAR)[at % 3]
        engine.source.outcome = list(OwnershipOutcome)[at % 4]
        for caller, address in ((PORTAL, HOME), (RIVAL, ELSEWHERE)):
            key = replay(f"start-{at}-{caller.tenant}")
            started = await engine.start(
                phone, purpose, caller=caller, end_user_ip=address, replay=key, full_name="NGUYỄN VĂN A",
                birth_date="1990-01-01", reference="hs-1",
            )
            await engine.deliver()
            engine.advance(61)
            again = await engine.resend(started, caller=caller, replay=replay(f"resend-{started.id}"))
            secrets += [engine.code(started, number) for number in (1, 2)]
            secrets.append(engine.ring.client_token(started.id, "portal"))
            await engine.wrong(started, caller=replace(caller, address=address))
            if at % 5 == 0:
                await engine.cancel(started, caller=caller)
            elif at % 5 == 1:
                for _ in range(4):
                    await engine.wrong(started, caller=caller)
            elif at % 5 != 2:
                key = replay(f"check-{started.id}")
                done = await engine.check(again, engine.code(started, 2), caller=caller, replay=key)
                if token := engine.service.token(done):
                    secrets.append(token)
                    for id_number in (STRANGER, OWNER):
                        with contextlib.suppress(ClaimsMismatch, NotVerified):
                            await engine.redeem(
                                token, phone_number=phone, id_number=id_number, caller=caller,
                                replay=replay(f"redeem-{started.id}-{id_number == OWNER}"),
                            )
            await engine.deliver()
            engine.advance(61)
    engine.advance(DAY)
    await engine.deadlines()
    return secrets


async def test_every_key_expires_or_stands_on_the_short_list(engine: Engine) -> None:
    """After whole lives each key has an end, or stands on the short list of those that have none (Invariant 7)."""
    await live_many_lives(engine)
    forever, kinds = set(), set()
    async for key in engine.redis.scan_iter(count=1000):
        ttl_ms = await engine.redis.pttl(key)
        assert ttl_ms <= 30 * DAY * 1000
        name = key.decode()
        if ttl_ms < 0:
            forever.add(name)
        else:
            kinds.add(name.split("}:")[-1].split(":")[0] if name.startswith("otp:{s") else name.split(":")[1])
    assert set() == forever - keys.IMMORTAL
    assert {"p", "v", "n", "r", "k", "i"} <= kinds
    assert {"meta", "sms"} == {name.split(":")[-1] for name in forever}
    for shard in range(16):
        assert 0 == await engine.redis.xlen(keys.sms_queue(shard))
        assert 0 == await engine.redis.exists(keys.due(shard), keys.ask(shard))


async def test_the_short_list_is_short() -> None:
    """Only the store's constants, and per shard its queue and two sets of deadlines, never expire (Invariant 7)."""
    assert 1 + 3 * 16 == len(keys.IMMORTAL)
    assert keys.IMMORTAL == {
        keys.META, *(make(shard) for shard in range(16) for make in (keys.sms_queue, keys.due, keys.ask)),
    }


async def test_deadline_sets_stand_while_something_waits(engine: Engine) -> None:
    """The sets of deadlines have no end of their own, so that no deadline is ever lost (Invariant 10)."""
    engine.source.outcome = OwnershipOutcome.ERROR
    started = await engine.start(purpose="registration")
    await engine.right(started)
    shard = engine.shard(started)
    assert [-1, -1] == [await engine.redis.ttl(key) for key in (keys.due(shard), keys.ask(shard))]


async def test_nothing_is_in_clear(engine: Engine) -> None:
    """No phone, ID number, name, birth date, address, code or token stands anywhere in the store (Invariant 5)."""
    secrets = {secret.encode() for secret in await live_many_lives(engine)}
    started = await engine.start(PHONES[0], "registration", full_name="NGUYỄN VĂN A", caller=Caller(Client("third")))
    secrets.add(engine.code(started).encode())
    everything = b"\n".join(
        [key + await everything_under(engine, key) async for key in engine.redis.scan_iter(count=1000)],
    )
    # Six digits stand by chance in times and digests: codes are looked for as whole values below.
    found = {secret for secret in secrets if len(secret) > 6 and secret in everything}
    assert set() == found
    words = set(everything.replace(b",", b"\n").split(b"\n"))
    assert set() == words & secrets


async def everything_under(engine: Engine, key: bytes) -> bytes:
    """Return all that a key holds, one part per line."""
    kind = await engine.redis.type(key)
    match kind:
        case b"hash":
            parts = [part for pair in (await engine.redis.hgetall(key)).items() for part in pair]
        case b"zset":
            parts = [part if isinstance(part, bytes) else str(part).encode()
                     for pair in await engine.redis.zrange(key, 0, -1, withscores=True) for part in pair]
        case b"stream":
            parts = [part for _, entry in await engine.redis.xrange(key) for pair in entry.items() for part in pair]
        case _:
            parts = [await engine.redis.get(key)]
    return b"\n" + b"\n".join(parts) + b"\n"


@pytest.fixture
def longest() -> dict[str, Purpose]:
    """Give purposes whose name is as long as one may be."""
    return {**PURPOSES, LONGEST_NAME: Purpose(LONGEST_NAME, ownership=OwnershipPolicy.AFTER)}


async def test_everything_stays_compact(backend: Backend, longest: dict[str, Purpose]) -> None:
    """With the longest names no hash field or value is above 64 bytes, and all hashes stay compact (Invariant 14)."""
    async with Engine(backend, purposes=longest) as engine:
        await live_many_lives(engine)
        engine.source.outcome = OwnershipOutcome.NOT_AVAILABLE
        started = await engine.start(
            PHONES[0], LONGEST_NAME, caller=LONGEST, reference="r" * 64, id_number="052090000001",
            previous_id_number="052090000002", full_name="Ă" * 100, end_user_ip="2001:db8::1",
        )
        async for key in engine.redis.scan_iter(count=1000, _type="hash"):
            found = await engine.redis.hgetall(key)
            assert max(len(part) for pair in found.items() for part in pair) <= 64, key
        if backend.name == "valkey":
            seen = {
                await engine.redis.object("ENCODING", key)
                async for key in engine.redis.scan_iter(count=1000, _type="hash")
            }
            assert {b"listpack"} == seen
        record = await engine.record(started)
        assert sum(len(part) for pair in record.items() for part in pair) < 600
        assert "verified" != (await engine.right(started, caller=LONGEST)).status


@pytest.mark.parametrize("how", ["proven", "checked", "cancelled", "locked", "over"])
async def test_a_tombstone_keeps_no_secret(engine: Engine, how: str) -> None:
    """A finished verification keeps no code digest and no sealed ID number, and knows what it was (Invariant 5)."""
    purpose = "registration" if how == "checked" else "sign_in"
    started = await engine.start(purpose=purpose, full_name="NGUYỄN VĂN A", id_number=OWNER)
    shard = engine.shard(started)
    engine.advance(60)
    await engine.resend(started)
    assert {b"I", b"d"} <= (await engine.record(started)).keys()
    match how:
        case "cancelled":
            await engine.cancel(started)
        case "locked":
            for _ in range(5):
                await engine.wrong(started)
        case "over":
            engine.advance(900)
            await engine.deadlines()
        case _:
            await engine.right(started)
    assert set() == {b"I", b"d", b"D", b"X", b"L", b"a"} & (await engine.record(started)).keys()
    assert 0 == await engine.redis.exists(f"otp:{{s{shard:02d}}}:x:{started.id}")
    assert 4 * DAY - 60 < await engine.redis.ttl(keys.verification(shard, started.id)) <= 4 * DAY
    refusal = await refused(engine.check(started, engine.code(started)))
    assert ("locked" if how == "locked" else "already_final") == refusal.code


async def test_a_live_verification_outlives_its_own_deadline(engine: Engine) -> None:
    """A record is removed only days after it ended, so that its end is still made and told (Invariant 10)."""
    started = await engine.start()
    ttl = await engine.redis.ttl(keys.verification(engine.shard(started), started.id))
    assert 900 + 4 * DAY - 60 < ttl <= 900 + 4 * DAY


def test_an_idempotency_key_has_a_name_of_its_own() -> None:
    """Names of idempotency records, rates and logs never collide."""
    assert len({
        keys.replay("x"), keys.rate("a", "x"), keys.rate("c", "x"), keys.rate("s", "x"), keys.id_number(0, "x"),
        keys.phone(0, "x"), keys.verification(0, "x"),
    }) == 7
