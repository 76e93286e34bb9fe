"""Resending ("Gửi lại OTP"): a new code and number, on the same attempt budget and deadline."""

from __future__ import annotations

from dataclasses import replace

from support.engine import (
    ELSEWHERE,
    NOW_MS,
    RIVAL,
    Backend,
    Engine,
    refused,
    replay,
)


async def test_what_a_resend_answers(engine: Engine) -> None:
    """A resend grows the send number, renews the code's validity, and takes one send and no attempt (Invariant 3)."""
    started = await engine.start()
    await engine.wrong(started)
    engine.advance(75)
    again = await engine.resend(started)
    assert replace(
        started, send_number=2, sends_left=2, attempts_left=4, code_expires_at_ms=NOW_MS + 255_000,
        resend_at_ms=NOW_MS + 135_000, now_ms=NOW_MS + 75_000,
    ) == again
    assert again == await engine.get(started)
    assert 2 == await engine.queued()


async def test_a_resend_replaces_the_code(engine: Engine) -> None:
    """After a resend the code before it is wrong, and the answer names the SMS to read; the new one is right."""
    started = await engine.start()
    engine.advance(60)
    await engine.resend(started)
    refusal = await refused(engine.check(started, engine.code(started, 1)))
    assert {"attempts_left": 4, "send_number": 2} == refusal.members
    assert "verified" == (await engine.check(started, engine.code(started, 2))).status


async def test_the_code_before_stays_good_in_its_grace(engine: Engine) -> None:
    """With a grace of 30 s the code before a resend is right for 29.999 s and wrong at 30 s, on the same budget."""
    for pause_s, right in ((29.999, True), (30, False)):
        started = await engine.start(purpose="sign_in")
        engine.advance(60)
        await engine.resend(started)
        engine.advance(pause_s)
        if right:
            assert "verified" == (await engine.check(started, engine.code(started, 1))).status
        else:
            assert 4 == (await refused(engine.check(started, engine.code(started, 1)))).members["attempts_left"]
            assert "verified" == (await engine.check(started, engine.code(started, 2))).status
        engine.advance(60)


async def test_grace_never_outlives_the_codes_own_validity(engine: Engine) -> None:
    """The code before a resend is not good for longer than it was when it was sent (Invariant 4)."""
    started = await engine.start(purpose="sign_in")
    engine.advance(170)
    await engine.resend(started)
    engine.advance(9.999)
    assert "wrong_code" == (await engine.wrong(started)).code
    engine.advance(0.001)
    assert "wrong_code" == (await refused(engine.check(started, engine.code(started, 1)))).code
    engine.advance(60)
    expired = await engine.start(purpose="sign_in", caller=RIVAL)
    engine.advance(180)
    await engine.resend(expired, caller=RIVAL)
    assert "wrong_code" == (await refused(engine.check(expired, engine.code(expired, 1), caller=RIVAL))).code


async def test_only_one_code_before_stays_good(engine: Engine) -> None:
    """A second resend ends the grace of the first code."""
    started = await engine.start(purpose="sign_in")
    for _ in range(2):
        engine.advance(60)
        await engine.resend(started)
    assert "wrong_code" == (await refused(engine.check(started, engine.code(started, 1)))).code
    assert "verified" == (await engine.check(started, engine.code(started, 2))).status


async def test_a_code_never_outlives_its_verification(engine: Engine) -> None:
    """A resend shortly before the end is good until the end (Invariant 4)."""
    started = await engine.start()
    engine.advance(840)
    again = await engine.resend(started)
    assert started.expires_at_ms == again.code_expires_at_ms


async def test_a_resend_after_the_codes_end(engine: Engine) -> None:
    """When the code has run out a resend makes a good one again, until the verification ends."""
    started = await engine.start()
    engine.advance(500)
    await engine.resend(started)
    assert "verified" == (await engine.right(started)).status


async def test_who_may_not_resend(engine: Engine) -> None:
    """Another client's resend and one of an unknown id are not found and change nothing (Invariant 9)."""
    started = await engine.start()
    engine.advance(60)
    before = await engine.dump()
    unknown = replace(started, id=engine.ring.new_id(engine.shard(started)))
    malformed = replace(started, id="0-zz-nothing")
    for call in (engine.resend(started, caller=RIVAL), engine.resend(unknown), engine.resend(malformed)):
        assert "not_found" == (await refused(call)).code
    assert before == await engine.dump()


async def test_nothing_final_is_resent(engine: Engine) -> None:
    """A verified, cancelled or expired verification takes no resend, nor does one whose SIM is being checked."""
    done = await engine.verified()
    engine.advance(60)
    cancelled = await engine.cancel(await engine.start())
    engine.advance(60)
    checking = await engine.start(purpose="assisted_registration")
    engine.source.error = OSError("down")
    await engine.right(checking)
    engine.advance(60)
    overdue = await engine.start(purpose="sign_in", end_user_ip=ELSEWHERE)
    await engine.deliver()
    engine.advance(899)
    before = await engine.dump()
    told = [
        (await refused(engine.resend(one))).members["verification_status"]
        for one in (done, cancelled)
    ]
    assert before == await engine.dump()
    engine.advance(1)
    told += [(await refused(engine.resend(one))).members["verification_status"] for one in (overdue, checking)]
    assert ["verified", "cancelled", "expired", "rejected"] == told


async def test_no_resend_while_the_sim_is_checked(engine: Engine) -> None:
    """Once the code was right a resend is refused with the present status."""
    checking = await engine.start(purpose="registration")
    engine.source.error = OSError("down")
    await engine.right(checking)
    engine.advance(60)
    refusal = await refused(engine.resend(checking))
    assert ("already_final", {"verification_status": "checking_ownership"}) == (refusal.code, refusal.members)


async def test_the_same_key_and_body_replay(engine: Engine) -> None:
    """The same Idempotency-Key queues one SMS and answers with the present record, after the nonce's 120 s too."""
    started = await engine.start()
    engine.advance(60)
    first = await engine.resend(started, replay=replay("key"))
    shard = engine.shard(started)
    for key in [key async for key in engine.redis.scan_iter(f"otp:{{s{shard:02d}}}:n:*")]:
        await engine.redis.delete(key)
    engine.advance(60)
    before = await engine.dump()
    again = await engine.resend(started, replay=replay("key"))
    assert replace(first, now_ms=engine.clock.now_ms) == again
    assert "idempotency_key_reused" == (await refused(engine.resend(started, replay=replay("key", "b")))).code
    assert before == await engine.dump()
    assert 3 == (await engine.resend(started, replay=replay("other"))).send_number


async def test_a_lost_reply_of_the_store_costs_no_send(backend: Backend) -> None:
    """A resend executed twice by the store is one SMS (Invariant 11)."""
    async with Engine(backend, forgetful=True) as engine:
        started = await engine.start()
        engine.advance(60)
        again = await engine.resend(started)
        assert (2, 2) == (again.send_number, again.sends_left)
        assert (2, 2) == (await engine.queued(), await engine.sends())


async def test_a_resend_that_reads_too_early_reads_again(engine: Engine) -> None:
    """A resend whose code was made for an older send number is told so, and writes nothing."""
    started = await engine.start()
    engine.advance(60)
    await engine.resend(started)
    engine.advance(60)
    before = await engine.dump()
    answer = await engine.store.resend(
        engine.shard(started), started.id, "portal", nonce="n", replay=None, send_number=2, digest=b"d", grace_ms=0,
        block="", limits=engine.send_limits(),
    )
    assert "stale" == answer.outcome
    assert before == await engine.dump()


async def test_a_purpose_taken_out_of_the_configuration(engine: Engine) -> None:
    """A verification of a purpose that is gone from the configuration can still be resent and checked."""
    started = await engine.start(purpose="sign_in")
    engine.advance(60)
    fewer = {name: one for name, one in engine.purposes.items() if name != "sign_in"}
    async with engine.sibling(purposes=fewer) as other:
        assert 2 == (await other.resend(started)).send_number
        assert "verified" == (await other.right(started)).status
