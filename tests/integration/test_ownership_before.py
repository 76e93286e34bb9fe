"""Purposes that ask for ownership before the code: no SMS to a SIM that is another's, and no word on why."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.engine import (
    DAY,
    HOME,
    MINUTE,
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

from otp_service.core.evidence import OwnershipOutcome
from otp_service.core.limits import PHONE_COOLDOWN, PHONE_SENDS, Limit, Mode
from otp_service.core.result_token import claims_of
from otp_service.core.verification import Ownership, Reason, Verification
from otp_service.storage import keys

MATCH, MISMATCH = OwnershipOutcome.MATCH, OwnershipOutcome.MISMATCH
NOT_AVAILABLE, ERROR = OwnershipOutcome.NOT_AVAILABLE, OwnershipOutcome.ERROR

BEFORE, ASSISTED = "careful_registration", "careful_assisted"


async def start(engine: Engine, phone: str = PHONE, purpose: str = BEFORE, **more: Any) -> Verification:
    """Start a verification that asks for ownership first."""
    return await engine.start(phone, purpose, **more)


async def test_a_match_sends_the_code(engine: Engine) -> None:
    """A match makes the code and queues its SMS in the call that starts; the right code then verifies at once."""
    started = await start(engine)
    assert ("pending", 1, 1) == (started.status, started.send_number, await engine.queued())
    assert (NOW_MS + 180_000, NOW_MS + 60_000) == (started.code_expires_at_ms, started.resend_at_ms)
    assert Ownership("match", "tttb", "subscriber_table", NOW_MS) == started.told_ownership
    await engine.deliver()
    assert [f"{started.id}-1"] == engine.postbox.references
    engine.advance(9)
    done = await engine.right(started)
    assert ("verified", NOW_MS) == (done.status, done.ownership.checked_at_ms)
    assert 1 == len(engine.source.asked)
    claims = await engine.redeem(await engine.token(started), id_number=OWNER)
    assert "subscriber_table" == claims["verified_claims"]["verification"]["assurance_level"]


@pytest.mark.parametrize("outcome", [MISMATCH, NOT_AVAILABLE])
async def test_no_match_sends_nothing_and_says_nothing(engine: Engine, outcome: OwnershipOutcome) -> None:
    """Whatever did not match, no SMS leaves, and neither answer, token nor refusal says which it was (Invariant 9)."""
    engine.source.outcome = outcome
    done = await start(engine)
    assert ("rejected", "ownership_not_confirmed", Ownership()) == (
        done.status, done.told_reason, done.told_ownership,
    )
    assert (0, None, 0) == (done.send_number, done.code_expires_at_ms, await engine.queued())
    assert "ownership_not_confirmed" == claims_of(done, issuer="https://otp.example")["reason"]
    refusal = await refused(engine.redeem(await engine.token(done), id_number=OWNER))
    assert "ownership_not_confirmed" == refusal.members["claims"]["reason"]


async def test_all_refusals_look_the_same(engine: Engine) -> None:
    """Mismatch, unknown subscriber, an exhausted allowance and no answer at all end alike (Invariant 9)."""
    seen = []
    for at, outcome in enumerate([MISMATCH, NOT_AVAILABLE, ERROR]):
        engine.source.outcome = outcome
        started = await start(engine, f"+8490000000{at}", id_number=f"05209000000{at}")
        engine.advance(300)
        seen.append(await engine.get(started))
    engine.source.outcome = MISMATCH
    for _ in range(5):
        last = await start(engine, "+84900000009", id_number="052090000009")
        engine.advance(60)
    last = await start(engine, "+84900000009", id_number="052090000009")
    assert Reason.OWNERSHIP_UNAVAILABLE is last.reason
    assert {("rejected", "ownership_not_confirmed", "not_checked")} == {
        (one.status.value, one.told_reason, one.told_ownership.status) for one in (*seen, last)
    }


@pytest.mark.parametrize("outcome", [MISMATCH, NOT_AVAILABLE])
async def test_what_a_day_has_left_says_nothing(engine: Engine, outcome: OwnershipOutcome) -> None:
    """An unknown subscriber uses the day's checks up as a mismatch does: the sixth asks nobody (Invariant 9)."""
    engine.source.outcome = outcome
    for at in range(6):
        await start(engine, f"+8490000000{at}")
    assert 5 == len(engine.source.asked)


async def test_an_answer_that_comes_later_sends_the_code_then(engine: Engine) -> None:
    """With the source down the start waits without a code; when the source is back the worker sends it."""
    engine.source.outcome = ERROR
    started = await start(engine)
    assert ("checking_ownership", 0, None, None) == (
        started.status, started.send_number, started.code_expires_at_ms, started.resend_at_ms,
    )
    for call in (engine.right(started), engine.resend(started)):
        assert "already_final" == (await refused(call)).code
    engine.source.outcome = MATCH
    engine.advance(2)
    await engine.deadlines()
    now = await engine.get(started)
    assert ("pending", 1, NOW_MS + 182_000, NOW_MS + 62_000) == (
        now.status, now.send_number, now.code_expires_at_ms, now.resend_at_ms,
    )
    assert "verified" == (await engine.right(started)).status


async def test_no_answer_ends_it_and_gives_the_sms_back(engine: Engine) -> None:
    """Without an answer in the purpose's time it ends, and the SMS that never was counts for nobody (Invariant 3)."""
    engine.source.outcome = ERROR
    started = await start(engine)
    assert 1 == await engine.sends()
    engine.advance(300)
    await engine.deadlines()
    seen = await engine.get(started)
    assert ("rejected", Reason.OWNERSHIP_UNAVAILABLE, 0) == (seen.status, seen.reason, await engine.sends())
    assert "pending" == (await engine.start(purpose="phone_only", caller=RIVAL)).status


@pytest.mark.parametrize("outcome", [MISMATCH, NOT_AVAILABLE])
async def test_a_refusal_gives_the_sms_back(engine: Engine, outcome: OwnershipOutcome) -> None:
    """A refused start sent nothing, so neither cooldown nor caps of the phone remember it (Invariant 3)."""
    engine.source.outcome = outcome
    await start(engine)
    assert 0 == await engine.sends()
    assert "pending" == (await engine.start(purpose="phone_only")).status


async def test_a_cancelled_start_gives_the_sms_back(engine: Engine) -> None:
    """Cancelled before its code was made, it cost the phone no SMS."""
    engine.source.outcome = ERROR
    started = await start(engine)
    await engine.cancel(started)
    assert 0 == await engine.sends()
    engine.source.outcome = MATCH
    engine.advance(10)
    await engine.deadlines()
    assert ("cancelled", 0) == ((await engine.get(started)).status, await engine.queued())


async def test_the_held_place_counts(engine: Engine) -> None:
    """While ownership is asked, the SMS to come counts for cooldown and caps (Invariant 3)."""
    engine.source.outcome = ERROR
    await start(engine)
    refusal = await refused(engine.start(purpose="phone_only", caller=RIVAL))
    assert ("rate_limited", "person", 60) == (refusal.code, refusal.members["limit"], refusal.retry_after_s)


async def test_the_cooldown_holds_for_a_late_code(engine: Engine) -> None:
    """A code whose match came late waits until the cooldown after another SMS is over (Invariant 3)."""
    engine.source.outcome = ERROR
    started = await start(engine)
    engine.advance(61)
    other = await engine.start(purpose="phone_only", caller=RIVAL)
    assert "pending" == other.status
    engine.source.outcome = MATCH
    engine.advance(9)
    await engine.deadlines()
    waiting = await engine.get(started)
    assert ("checking_ownership", "match", 1) == (waiting.status, waiting.ownership.status, await engine.queued())
    asked = len(engine.source.asked)
    engine.advance(50.999)
    await engine.deadlines()
    assert "checking_ownership" == (await engine.get(started)).status
    engine.advance(0.001)
    await engine.deadlines()
    assert ("pending", 2) == ((await engine.get(started)).status, await engine.queued())
    assert asked == len(engine.source.asked)


async def test_a_cooldown_that_is_only_recorded_does_not_hold_it(backend: Backend) -> None:
    """In record_only the cooldown lets the late code pass as it lets starts pass."""
    soft = [Limit(PHONE_COOLDOWN, 1, MINUTE, mode=Mode.RECORD_ONLY)]
    async with Engine(backend, limits=soft) as engine:
        engine.source.outcome = ERROR
        started = await start(engine)
        await engine.start(purpose="phone_only", caller=RIVAL)
        engine.source.outcome = MATCH
        engine.advance(2)
        await engine.deadlines()
        assert "pending" == (await engine.get(started)).status


async def test_a_full_queue_holds_it(backend: Backend) -> None:
    """A match that finds the queue full waits for room, and is not asked for again (Invariant 14)."""
    async with Engine(backend, queue_cap=1) as engine:
        engine.source.outcome = ERROR
        started = await start(engine)
        shard = engine.shard(started)
        await engine.redis.xadd(keys.sms_queue(shard), {"v": "another", "n": 1})
        engine.source.outcome = MATCH
        engine.advance(2)
        await engine.deadlines()
        assert "checking_ownership" == (await engine.get(started)).status
        await engine.redis.xtrim(keys.sms_queue(shard), maxlen=0)
        engine.advance(2)
        await engine.deadlines()
        assert ("pending", 2) == ((await engine.get(started)).status, len(engine.source.asked))


async def test_resends_go_on_from_the_first_code(engine: Engine) -> None:
    """After the first code everything is as usual: resends, attempts, expiry."""
    started = await start(engine)
    await engine.wrong(started)
    engine.advance(60)
    again = await engine.resend(started)
    assert (2, 2, 4) == (again.send_number, again.sends_left, again.attempts_left)
    assert "verified" == (await engine.right(started)).status


async def test_a_repeated_start_asks_once(engine: Engine) -> None:
    """Repeating the start with its Idempotency-Key sends one SMS and asks once (Invariant 11)."""
    first = await start(engine, replay=replay("again"))
    second = await start(engine, replay=replay("again"))
    assert (first.id, "pending", 1, 1) == (
        second.id, second.status, len(engine.source.asked), await engine.queued(),
    )


async def test_a_match_that_is_settled_twice_sends_once(engine: Engine) -> None:
    """Two processes that both hear a match send one SMS between them (Invariant 1)."""
    engine.source.outcome = ERROR
    started = await start(engine)
    engine.source.outcome = MATCH
    record = await engine.record(started)
    shard = engine.shard(started)
    done = await asyncio.gather(*(
        engine.service.ask_ownership(shard, started.id, record[b"I"], record[b"P"]) for _ in range(4)
    ))
    assert {"pending"} == {one.status for one in done}
    assert (1, 1) == (await engine.queued(), await engine.sends())


async def test_a_newer_start_ends_the_waiting_one(engine: Engine) -> None:
    """A new start for the same phone and purpose cancels the one that still asks, and takes its place."""
    engine.source.outcome = ERROR
    first = await start(engine)
    engine.advance(60)
    engine.source.outcome = MATCH
    second = await start(engine)
    assert ("cancelled", "pending", 1) == (
        (await engine.get(first)).status, second.status, await engine.sends(),
    )


async def test_caps_hold_over_late_codes(backend: Backend) -> None:
    """A held place counts from when its SMS leaves: no window of a day sees more SMS than the cap (Invariant 3)."""
    async with Engine(backend, limits=[Limit(PHONE_SENDS, 2, DAY)]) as engine:
        engine.source.outcome = ERROR
        first = await start(engine)
        engine.advance(100)
        await engine.start(purpose="phone_only")
        engine.source.outcome = MATCH
        engine.advance(100)
        await engine.deadlines()
        assert "pending" == (await engine.get(first)).status
        engine.advance(DAY - 100 - 0.001)
        assert "rate_limited" == (await refused(engine.start(purpose="sign_in"))).code
        engine.advance(0.001)
        assert "pending" == (await engine.start(purpose="sign_in")).status
        engine.advance(60)
        assert "rate_limited" == (await refused(engine.start(purpose="no_resend"))).code
        engine.advance(40)
        assert "pending" == (await engine.start(purpose="no_resend")).status


async def test_an_assisted_one_waits_for_the_official(engine: Engine) -> None:
    """Where an official assists, no answer keeps the question open until the verification's end."""
    engine.source.outcome = NOT_AVAILABLE
    started = await start(engine, purpose=ASSISTED)
    engine.advance(899.999)
    assert "checking_ownership" == (await engine.get(started)).status
    engine.advance(0.001)
    seen = await engine.get(started)
    assert ("rejected", Reason.SUBSCRIBER_UNKNOWN, "ownership_not_confirmed") == (
        seen.status, seen.reason, seen.told_reason,
    )


async def test_magic_numbers_are_asked_and_sent_without_limits(engine: Engine) -> None:
    """A test key's magic number goes the same way, with zeros for a code."""
    caller = type(PORTAL)(PORTAL.client, test=True)
    for _ in range(2):
        started = await start(engine, "+84900000919", caller=caller)
        assert "pending" == started.status
        assert "verified" == (await engine.check(started, "000000", caller=caller)).status


async def test_another_phone_is_another_question(engine: Engine) -> None:
    """Each start asks about its own phone, purpose and person."""
    await start(engine, end_user_ip=HOME)
    await start(engine, OTHER_PHONE, id_number="052190000002")
    assert [(PHONE, (OWNER,), BEFORE), (OTHER_PHONE, ("052190000002",), BEFORE)] == [
        (one.phone_number, one.id_numbers, one.purpose) for one in engine.source.asked
    ]


async def test_a_crash_before_the_answer_loses_nothing(engine: Engine) -> None:
    """A process that dies while it asks leaves the question: the worker asks it and sends the code (Invariant 6)."""
    engine.source.gate = asyncio.Event()
    dying = asyncio.create_task(start(engine))
    while not engine.source.asked:
        await asyncio.sleep(0)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    [reference] = [one.reference for one in engine.source.asked]
    async with engine.sibling() as other:
        other.advance(4.999)
        await other.deadlines()
        assert [] == other.source.asked
        other.advance(0.001)
        await other.deadlines()
        assert [reference] == [one.reference for one in other.source.asked]
        assert ("pending", 1) == ((await other.service.get(PORTAL, reference)).status, await other.queued())


async def test_a_match_that_waits_is_not_asked_about_again(engine: Engine) -> None:
    """A match whose code waits to be sent asks nobody again, and its check stays spent from when it was made."""
    engine.source.outcome = ERROR
    started = await start(engine)
    engine.advance(61)
    await engine.start(purpose="phone_only", caller=RIVAL)
    engine.source.outcome = MATCH
    engine.advance(9)
    await engine.deadlines()
    spent = (await engine.phone_hash())[f"o:{started.id}".encode()]
    engine.advance(51)
    await engine.deadlines()
    assert ("pending", 2) == ((await engine.get(started)).status, len(engine.source.asked))
    assert spent == (await engine.phone_hash())[f"o:{started.id}".encode()]


async def test_a_sent_code_leaves_no_question(engine: Engine) -> None:
    """Once the code is on its way nothing is left to ask, and the deadline is the verification's own."""
    started = await start(engine)
    shard = engine.shard(started)
    assert [] == await engine.redis.zrange(keys.ask(shard), 0, -1)
    assert started.expires_at_ms == await engine.redis.zscore(keys.due(shard), started.id)
