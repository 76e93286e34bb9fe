"""Starting: one transition makes the record, the SMS in the queue, the deadline and the spent limits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.engine import (
    DAY,
    ELSEWHERE,
    NOW_MS,
    OTHER_PHONE,
    OWNER,
    PHONE,
    PORTAL,
    RIVAL,
    Backend,
    Engine,
    refused,
    replay,
)

from otp_service.core.codes import code_digest
from otp_service.core.errors import Unavailable
from otp_service.core.limits import PHONE_COOLDOWN, Limit, Mode
from otp_service.core.verification import Consent, Ownership
from otp_service.storage import keys
from otp_service.storage.calls import NewVerification
from otp_service.storage.records import EXTRA_PLACE, ID_PLACE, PHONE_PLACE

TEST_KEY = replace(PORTAL, test=True)


async def test_what_a_start_answers(engine: Engine) -> None:
    """A start answers what a page needs, and a read right after it says the same."""
    started = await engine.start(reference="hs-1", locale="en")
    assert {
        "client": "portal", "purpose": "phone_only", "status": "pending", "reason": None, "locale": "en",
        "reference": "hs-1", "phone_number": PHONE, "test": False, "code_length": 6, "send_number": 1,
        "created_at_ms": NOW_MS, "expires_at_ms": NOW_MS + 900_000, "code_expires_at_ms": NOW_MS + 180_000,
        "resend_at_ms": NOW_MS + 60_000, "sends_left": 3, "attempts_left": 5, "delivery": "queued",
        "ownership": Ownership(), "finished_at_ms": None, "now_ms": NOW_MS, "asked_before": False, "consent": None,
    } == {name: getattr(started, name) for name in started.__slots__ if name != "id"}
    assert started == await engine.get(started)
    assert 1 == engine.count("otp_verifications_total", purpose="phone_only", status="started")


async def test_a_purpose_without_resends_shows_none(engine: Engine) -> None:
    """Where no resend is allowed, start and read say so, and a resend is refused as spent."""
    started = await engine.start(purpose="no_resend")
    assert (0, None) == (started.sends_left, started.resend_at_ms)
    assert started == await engine.get(started)
    engine.advance(60)
    assert "sends_exhausted" == (await refused(engine.resend(started))).code


async def test_the_sms_is_queued_with_the_record(engine: Engine) -> None:
    """When a start returns, its SMS and its deadline stand in the store (Invariant 6)."""
    started = await engine.start()
    shard = engine.shard(started)
    [(_, entry)] = await engine.redis.xrange(keys.sms_queue(shard))
    assert {b"v": started.id.encode(), b"n": b"1"} == entry
    assert NOW_MS + 900_000 == await engine.redis.zscore(keys.due(shard), started.id)


async def test_what_must_be_read_back_is_sealed(engine: Engine) -> None:
    """Phone, ID numbers and what the person told stand sealed, each openable in its own place only (Invariant 5)."""
    started = await engine.start(
        purpose="registration", previous_id_number="210000000", full_name="NGUYỄN VĂN A", birth_date="1990-01-01",
        consent=Consent("2026-01", "2026-01-01T00:00:00Z"),
    )
    record = await engine.record(started)
    extra = await engine.redis.get(f"otp:{{s{engine.shard(started):02d}}}:x:{started.id}")
    assert PHONE == engine.ring.unseal(started.id, PHONE_PLACE, record[b"P"])
    assert f"{OWNER},210000000" == engine.ring.unseal(started.id, ID_PLACE, record[b"I"])
    assert "NGUYỄN VĂN A" in engine.ring.unseal(started.id, EXTRA_PLACE, extra)
    assert code_digest(engine.ring, started.id, engine.code(started)) == record[b"d"]
    everything = b"".join(
        part for value in [record, await engine.phone_hash()] for pair in value.items() for part in pair
    ) + extra
    for secret in (PHONE, PHONE[3:], OWNER, "210000000", "1990", "VĂN", engine.code(started)):
        assert secret.encode() not in everything


async def test_a_new_start_ends_the_older_one(engine: Engine) -> None:
    """A client has one live verification per phone and purpose: a new start cancels the older."""
    older = await engine.start()
    engine.advance(60)
    newer = await engine.start()
    assert ("cancelled", "pending") == ((await engine.get(older)).status, (await engine.get(newer)).status)
    refusal = await refused(engine.check(older, engine.code(older)))
    assert ("already_final", {"verification_status": "cancelled"}) == (refusal.code, refusal.members)


async def test_an_end_is_counted_once(engine: Engine) -> None:
    """A verification's end is counted by the call that ended it, and by no other of the same millisecond."""
    verified = await engine.verified()
    for _ in range(3):
        await refused(engine.right(verified))
    assert 1 == engine.count("otp_verifications_total", purpose="phone_only", status="verified")


async def test_a_new_start_leaves_every_other_verification(engine: Engine) -> None:
    """A start touches no verification of another client, key kind, purpose or phone (Invariant 9)."""
    others = [(await engine.start(caller=RIVAL), RIVAL)]
    engine.advance(60)
    others.append((await engine.start(caller=TEST_KEY), TEST_KEY))
    engine.advance(60)
    others.append((await engine.start(purpose="sign_in"), PORTAL))
    others.append((await engine.start(OTHER_PHONE), PORTAL))
    engine.advance(60)
    await engine.start(end_user_ip=ELSEWHERE)
    assert ["pending"] * 4 == [(await engine.get(one, caller=caller)).status for one, caller in others]


async def test_a_new_start_meets_an_older_one_past_its_deadline(engine: Engine) -> None:
    """An older verification that is overdue ends as expired, not as cancelled."""
    older = await engine.start()
    await engine.deliver()
    engine.advance(900)
    await engine.start()
    assert "expired" == (await engine.get(older)).status
    assert 1 == engine.count("otp_verifications_total", purpose="phone_only", status="expired")


async def test_a_refused_start_changes_nothing(engine: Engine) -> None:
    """A refused start ends no older verification and writes nothing at all."""
    older = await engine.start()
    engine.advance(1)
    before = await engine.dump()
    assert "rate_limited" == (await refused(engine.start())).code
    assert before == await engine.dump()
    assert "pending" == (await engine.get(older)).status


async def test_a_full_queue_refuses(backend: Backend) -> None:
    """At its cap a queue answers starts and resends 503, spends nothing and drops nothing (Invariant 14)."""
    async with Engine(backend, queue_cap=1) as engine:
        started = await engine.start()
        engine.advance(60)
        before = await engine.dump()
        for call in (engine.start(end_user_ip=ELSEWHERE), engine.resend(started)):
            refusal = await refused(call)
            assert isinstance(refusal, Unavailable)
            assert refusal.retry_after_s
        assert before == await engine.dump()
        await engine.deliver()
        assert 2 == (await engine.resend(started)).send_number


# -- made twice ---------------------------------------------------------------------------------------------------


async def test_the_same_key_and_body_replay(engine: Engine) -> None:
    """The same Idempotency-Key and body gives the same verification, as it stands by now, and no SMS (Invariant 11)."""
    first = await engine.start(replay=replay("key"))
    await engine.wrong(first)
    engine.advance(30)
    before = await engine.dump()
    again = await engine.start(replay=replay("key"))
    assert (first.id, 4, engine.clock.now_ms) == (again.id, again.attempts_left, again.now_ms)
    assert before == await engine.dump()
    engine.advance(900)
    assert first.id == (await engine.start(replay=replay("key"))).id
    assert 1 == engine.count("otp_verifications_total", purpose="phone_only", status="started")


async def test_the_same_key_with_another_body_is_refused(engine: Engine) -> None:
    """The same Idempotency-Key with another body is refused and writes nothing."""
    await engine.start(replay=replay("key"))
    engine.advance(60)
    before = await engine.dump()
    assert "idempotency_key_reused" == (await refused(engine.start(OTHER_PHONE, replay=replay("key", "b")))).code
    assert before == await engine.dump()


async def test_a_refusal_is_not_remembered(engine: Engine) -> None:
    """A refused start leaves its Idempotency-Key free: the retry that is told to wait may succeed."""
    await engine.start()
    assert "rate_limited" == (await refused(engine.start(replay=replay("key")))).code
    engine.advance(60)
    assert "pending" == (await engine.start(replay=replay("key"))).status


async def test_a_replay_outlives_a_key_rotation(engine: Engine) -> None:
    """An Idempotency-Key made before a rotation replays after it (Invariant 11)."""
    first = await engine.start(replay=replay("key"))
    engine.rotate("k2", "k1")
    assert first.id == (await engine.start(replay=replay("key"))).id


async def test_a_lost_reply_of_the_store_costs_nothing(backend: Backend) -> None:
    """A start executed twice by the store is one verification, one SMS and one entry in every limit (Invariant 11)."""
    async with Engine(backend, forgetful=True) as engine:
        started = await engine.start(reference="hs-1")
        assert ("pending", 1, 3, 5) == (
            started.status, started.send_number, started.sends_left, started.attempts_left,
        )
        assert (1, 1) == (await engine.queued(), await engine.sends())
        assert PHONE == started.phone_number


async def test_the_same_id_twice_changes_nothing(engine: Engine) -> None:
    """The verification's id is a start's nonce: a second call with it answers the record and writes nothing."""
    started = await engine.start()
    before = await engine.dump()
    shard = engine.shard(started)
    answer = await engine.store.start(
        NewVerification(
            id=started.id, shard=shard, client="portal", purpose="phone_only",
            phone_names=engine.ring.names("phone", PHONE), group="s:portal", block="", life_ms=1, code_ms=1,
            fields=[],
        ),
        engine.send_limits(), None,
    )
    assert ("replay", started.id, await engine.record(started)) == (answer.outcome, answer.id, answer.record)
    assert before == await engine.dump()


@pytest.mark.parametrize("purpose", ["phone_only", "assisted_phone"])
async def test_a_start_without_an_address(engine: Engine, purpose: str) -> None:
    """Without an address neither its rate nor its block counts, all else does."""
    for _ in range(5):
        await engine.start(purpose=purpose, end_user_ip=None)
        engine.advance(60)
    allowed = purpose == "assisted_phone"
    if allowed:
        assert "pending" == (await engine.start(purpose=purpose, end_user_ip=None)).status
    else:
        assert "rate_limited" == (await refused(engine.start(purpose=purpose, end_user_ip=None))).code


async def test_a_test_keys_verification_is_anothers(engine: Engine) -> None:
    """What a test key starts is marked so, spends the test key's allowance and is not found by a live key."""
    started = await engine.start(caller=TEST_KEY)
    assert (True, "portal") == (started.test, started.client)
    assert "not_found" == (await refused(engine.get(started))).code
    assert started == await engine.get(started, caller=TEST_KEY)


async def test_thirty_starts_leave_only_live_log_entries(backend: Backend) -> None:
    """A phone's log drops what no window sees any more, so that it stays small (Invariant 14)."""
    soft = [Limit(PHONE_COOLDOWN, 1, 60, mode=Mode.RECORD_ONLY)]
    async with Engine(backend, limits=soft) as engine:
        for _ in range(30):
            await engine.start()
            engine.advance(DAY / 2.5)
        assert 3 == await engine.sends()
