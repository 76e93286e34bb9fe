"""Checking a code: the order of the answers, the attempt budget, and what a guess may change."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.engine import (
    DAY,
    ELSEWHERE,
    NOW_MS,
    OTHER_PHONE,
    PORTAL,
    PURPOSES,
    RIVAL,
    Backend,
    Engine,
    refused,
    replay,
)

from otp_service.core.verification import CodePolicy, OwnershipPolicy, Purpose


async def test_a_right_code_verifies(engine: Engine) -> None:
    """A right code ends the verification as verified, with nothing left to try or send (Invariant 1)."""
    started = await engine.start()
    engine.advance(20)
    done = await engine.check(started, engine.code(started))
    assert replace(
        started, status="verified", attempts_left=0, sends_left=0, resend_at_ms=None,
        finished_at_ms=NOW_MS + 20_000, now_ms=NOW_MS + 20_000,
    ) == done
    assert done == await engine.get(started)
    assert 1 == engine.count("otp_verifications_total", purpose="phone_only", status="verified")


async def test_a_code_verifies_once(engine: Engine) -> None:
    """The second right code is refused with the final status and changes nothing (Invariant 1)."""
    done = await engine.verified()
    before = await engine.dump()
    refusal = await refused(engine.check(done, engine.code(done)))
    assert ("already_final", {"verification_status": "verified"}) == (refusal.code, refusal.members)
    assert before == await engine.dump()


async def test_attempts_run_out(engine: Engine) -> None:
    """Four wrong codes count down, the fifth locks, and then even the right code is refused (Invariant 2)."""
    started = await engine.start()
    told = [(await engine.wrong(started)).members for _ in range(4)]
    assert [{"attempts_left": left, "send_number": 1} for left in (4, 3, 2, 1)] == told
    last = await engine.wrong(started)
    assert ("locked", 409, {"verification_status": "locked", "attempts_left": 0}) == (
        last.code, last.status, last.members,
    )
    before = await engine.dump()
    assert "locked" == (await refused(engine.check(started, engine.code(started)))).code
    assert before == await engine.dump()
    seen = await engine.get(started)
    assert ("locked", 0, 0, None) == (seen.status, seen.attempts_left, seen.sends_left, seen.resend_at_ms)
    assert 1 == engine.count("otp_verifications_total", purpose="phone_only", status="locked")


async def test_a_resend_gives_no_attempt_back(engine: Engine) -> None:
    """Attempts are the verification's: resends neither take nor give any (Invariant 2)."""
    started = await engine.start()
    for left in (4, 3, 2):
        assert left == (await engine.wrong(started)).members["attempts_left"]
        engine.advance(60)
        if left > 2:
            await engine.resend(started)
    assert 1 == (await engine.wrong(started)).members["attempts_left"]
    assert "locked" == (await engine.wrong(started)).code


async def test_a_code_expires_to_the_millisecond(engine: Engine) -> None:
    """A right code is accepted at 179.999 s and refused at 180.000 s, costing nothing (Invariant 4)."""
    early = await engine.start()
    engine.advance(179.999)
    assert "verified" == (await engine.right(early)).status
    late = await engine.start()
    engine.advance(180)
    before = await engine.dump()
    refusal = await refused(engine.check(late, engine.code(late)))
    assert ("code_expired", 410, {"resend_at": "2026-09-21T14:17:19.999Z", "sends_left": 3}) == (
        refusal.code, refusal.status, refusal.members,
    )
    assert before == await engine.dump()
    assert 5 == (await engine.get(late)).attempts_left


async def test_an_expired_code_without_a_resend_left(engine: Engine) -> None:
    """Where no resend is left the answer to an expired code says so."""
    started = await engine.start(purpose="no_resend")
    engine.advance(180)
    assert {"resend_at": None, "sends_left": 0} == (
        await refused(engine.check(started, engine.code(started)))
    ).members


async def test_the_first_answer_that_applies(backend: Backend) -> None:
    """A check answers not_found, then already_final, then code_expired, then guess_too_soon, then the guess."""
    many = Purpose("many", ownership=OwnershipPolicy.NEVER, max_attempts=50)
    async with Engine(backend, purposes={**PURPOSES, "many": many}) as engine:
        started = await engine.start(purpose="many")
        await engine.deliver()
        for _ in range(10):
            await engine.wrong(started)
        assert "guess_too_soon" == (await engine.wrong(started)).code
        for _ in range(4):
            engine.advance(60)
            await engine.wrong(started)
        engine.advance(180)
        assert "code_expired" == (await engine.wrong(started)).code
        engine.advance(900)
        assert "already_final" == (await engine.wrong(started)).code
        assert "not_found" == (await engine.wrong(started, caller=RIVAL)).code


async def test_a_stranger_finds_nothing(engine: Engine) -> None:
    """Another client's check, an unknown id and a malformed one look alike and change nothing (Invariant 9)."""
    started = await engine.start()
    before = await engine.dump()
    answers = [
        await refused(engine.check(one, engine.code(started), caller=caller))
        for one, caller in (
            (started, RIVAL), (started, replace(PORTAL, test=True)),
            (replace(started, id=engine.ring.new_id(engine.shard(started))), PORTAL),
            (replace(started, id=engine.ring.new_id((engine.shard(started) + 1) % 16)), PORTAL),
        )
    ]
    answers += [await refused(engine.get(started, caller=caller)) for caller in (RIVAL, replace(PORTAL, test=True))]
    answers += [
        await refused(engine.service.check(PORTAL, malformed, "123456"))
        for malformed in ("", "x", "../..", started.id.upper(), started.id + "a", f"f-zz-{started.id[5:]}", "é" * 40)
    ]
    assert {("not_found", 404, None)} == {(one.code, one.status, one.retry_after_s) for one in answers}
    assert [{}] * len(answers) == [one.members for one in answers]
    assert before == await engine.dump()


async def test_another_verifications_code_is_wrong(engine: Engine) -> None:
    """A code is bound to its verification: that of another one, on the same phone, is wrong."""
    first = await engine.start()
    engine.advance(60)
    second = await engine.start(purpose="sign_in")
    assert "wrong_code" == (await refused(engine.check(second, engine.code(first)))).code


async def test_one_phones_failures_are_no_others(engine: Engine) -> None:
    """A guess counts for its phone and its verification alone."""
    await engine.wrong(await engine.start())
    other = await engine.start(OTHER_PHONE)
    assert 4 == (await engine.wrong(other)).members["attempts_left"]
    assert b"1" == (await engine.phone_hash(OTHER_PHONE))[b"f"]


async def test_a_wrong_code_after_the_sends_are_forgotten(backend: Backend) -> None:
    """Failures outlive the log of sends: they stand for 30 days, in a hash that goes when they do (Invariant 7)."""
    long = Purpose(
        "long", ownership=OwnershipPolicy.NEVER, life_s=20 * DAY, code=CodePolicy(validity_s=20 * DAY),
    )
    async with Engine(backend, purposes={**PURPOSES, "long": long}) as engine:
        started = await engine.start(purpose="long")
        engine.advance(10 * DAY)
        await engine.wrong(started)
        hashes = [key async for key in engine.redis.scan_iter("otp:{s*}:p:*")]
        assert 29 * DAY < await engine.redis.ttl(hashes[0]) <= 30 * DAY


# -- made twice ---------------------------------------------------------------------------------------------------


async def test_a_lost_reply_costs_no_attempt(engine: Engine) -> None:
    """A guess that reaches the store twice is one guess, and answers the same each time (Invariant 11)."""
    started = await engine.start()
    wrong = engine.wrong_code(started)
    for left in (4, 3, 2, 1):
        for _ in range(3):
            answer = await engine.check_once(started, wrong, nonce=f"n{left}")
            assert ("wrong", left) == (answer.outcome, answer.number)
    for _ in range(3):
        assert "locked_now" == (await engine.check_once(started, wrong, nonce="n0")).outcome
    assert "locked" == (await engine.check_once(started, wrong, nonce="other")).outcome
    assert b"5" == (await engine.phone_hash())[b"f"]


async def test_a_lost_reply_costs_no_verdict(engine: Engine) -> None:
    """A right code that reaches the store twice answers the verified record both times (Invariant 11)."""
    started = await engine.start()
    assert "ok" == (await engine.check_once(started, engine.code(started), nonce="n")).outcome
    before = await engine.dump()
    again = await engine.check_once(started, engine.code(started), nonce="n")
    assert ("replay", b"v") == (again.outcome, again.record[b"s"])
    assert before == await engine.dump()
    assert "final" == (await engine.check_once(started, engine.code(started), nonce="m")).outcome


@pytest.mark.parametrize("purpose", ["phone_only", "registration"])
async def test_every_reply_lost_once(backend: Backend, purpose: str) -> None:
    """With every reply of the store lost once, guesses and verdict are those of a quiet day (Invariant 11)."""
    async with Engine(backend, forgetful=True) as engine:
        started = await engine.start(purpose=purpose)
        assert [4, 3, 2, 1] == [(await engine.wrong(started)).members["attempts_left"] for _ in range(4)]
        await engine.right(started)
        engine.advance(5)
        await engine.deadlines()
        assert "verified" == (await engine.get(started)).status
        assert int(purpose == "registration") == len(engine.source.asked)
        engine.advance(60)
        locked = await engine.start(OTHER_PHONE, purpose)
        assert ["wrong_code"] * 4 + ["locked"] * 2 == [(await engine.wrong(locked)).code for _ in range(6)]


async def test_the_same_key_and_body_replay(engine: Engine) -> None:
    """The same Idempotency-Key with a right code answers verified again, after the nonce's end too (Invariant 11)."""
    started = await engine.start()
    first = await engine.check(started, engine.code(started), replay=replay("key"))
    async for key in engine.redis.scan_iter("otp:{s*}:n:*"):
        await engine.redis.delete(key)
    engine.advance(300)
    before = await engine.dump()
    again = await engine.check(started, engine.code(started), replay=replay("key"))
    assert replace(first, now_ms=engine.clock.now_ms) == again
    assert "idempotency_key_reused" == (
        await refused(engine.check(started, "000000", replay=replay("key", "b")))
    ).code
    assert before == await engine.dump()


async def test_a_wrong_code_with_a_key(engine: Engine) -> None:
    """A retried wrong code with its Idempotency-Key costs one attempt; another code with the key is a new guess."""
    started = await engine.start()
    wrong = engine.wrong_code(started)
    for _ in range(3):
        refusal = await refused(engine.check(started, wrong, replay=replay("key")))
        assert ("wrong_code", 4) == (refusal.code, refusal.members["attempts_left"])
    assert "verified" == (await engine.check(started, engine.code(started), replay=replay("key", "b"))).status


# -- get and cancel -----------------------------------------------------------------------------------------------


@given(seconds=st.integers(0, 1000))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("purpose", ["phone_only", "registration"])
def test_reading_changes_nothing(backend: Backend, purpose: str, seconds: int) -> None:
    """A read at any time writes nothing, and shows what the deadline has made of it (Invariant 12)."""
    async def run() -> None:
        async with Engine(backend) as engine:
            await engine.redis.flushall()
            engine.source.error = OSError("down")
            started = await engine.start(purpose=purpose)
            await engine.deliver()
            if purpose == "registration":
                await engine.right(started)
            engine.advance(seconds)
            before = await engine.dump()
            seen = await engine.get(started)
            assert before == await engine.dump()
            await engine.deadlines()
            written = await engine.get(started)
            assert (written.status, written.reason) == (seen.status, seen.reason)
            assert seen.status.final is await _is_final(engine, started.id)

    asyncio.run(run())


async def _is_final(engine: Engine, verification_id: str) -> bool:
    [final] = await engine.store.poll(int(verification_id[0], 16), [verification_id])
    return final


async def test_cancelling(engine: Engine) -> None:
    """Cancelling ends a verification, again says the same, and nobody else may (Invariants 9 and 11)."""
    started = await engine.start()
    before = await engine.dump()
    assert "not_found" == (await refused(engine.cancel(started, caller=RIVAL))).code
    assert before == await engine.dump()
    engine.advance(5)
    assert ("cancelled", NOW_MS + 5000) == ((one := await engine.cancel(started)).status, one.finished_at_ms)
    before = await engine.dump()
    engine.advance(5)
    assert "cancelled" == (await engine.cancel(started)).status
    assert before == await engine.dump()
    assert 1 == engine.count("otp_verifications_total", purpose="phone_only", status="cancelled")


async def test_nothing_final_is_cancelled(engine: Engine) -> None:
    """A verified, locked or expired verification stays what it is."""
    verified = await engine.verified()
    locked = await engine.start(OTHER_PHONE)
    for _ in range(5):
        await engine.wrong(locked)
    engine.advance(60)
    overdue = await engine.start(end_user_ip=ELSEWHERE)
    await engine.deliver()
    engine.advance(900)
    told = [(await refused(engine.cancel(one))).members["verification_status"] for one in (verified, locked, overdue)]
    assert ["verified", "locked", "expired"] == told


async def test_a_cancelled_ownership_check_never_verifies(engine: Engine) -> None:
    """What is cancelled while the SIM is checked stays cancelled, whatever the source says later."""
    started = await engine.start(purpose="registration")
    engine.source.error = OSError("down")
    assert "checking_ownership" == (await engine.right(started)).status
    await engine.cancel(started)
    engine.source.error = None
    engine.advance(60)
    await engine.deadlines()
    assert "cancelled" == (await engine.get(started)).status
    assert 1 == len(engine.source.asked)
