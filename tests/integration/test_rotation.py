"""Key rotation in mid-life: nothing live is lost, nothing spent is given back, whoever sees which key as current."""

from __future__ import annotations

from support.engine import (
    DAY,
    ELSEWHERE,
    OWNER,
    PHONE,
    PORTAL,
    RIVAL,
    Engine,
    refused,
    replay,
    ring,
)

from otp_service.core.evidence import OwnershipOutcome
from otp_service.storage import keys


async def phone_keys(engine: Engine) -> list[bytes]:
    """Return the keys of all phones' hashes."""
    return [key async for key in engine.redis.scan_iter("otp:{s*}:p:*")]


async def test_a_live_code_survives(engine: Engine) -> None:
    """A code sent before a rotation is right after it, and so is one resent afterwards."""
    first, second = await engine.start(), await engine.start("+84900000002")
    await engine.deliver()
    engine.rotate("k2", "k1")
    assert "verified" == (await engine.right(first)).status
    engine.advance(60)
    await engine.resend(second)
    await engine.deliver()
    assert engine.code(second, 2) in engine.postbox.posts[-1]["text"]
    assert "verified" == (await engine.right(second)).status


async def test_an_sms_queued_before_is_sent_after(engine: Engine) -> None:
    """What was queued under the old key is rendered and sent by a worker that has the new one."""
    started = await engine.start()
    engine.rotate("k2", "k1")
    await engine.deliver()
    assert engine.code(started) in engine.postbox.posts[0]["text"]


async def test_a_verdict_survives(engine: Engine) -> None:
    """A verdict from before a rotation is read and redeemed after it, for its person alone."""
    done = await engine.verified("registration")
    token = await engine.token(done)
    engine.rotate("k2", "k1")
    assert "claims_mismatch" == (await refused(engine.redeem(token, id_number="052090000002"))).code
    assert "verified" == (await engine.redeem(await engine.token(done), id_number=OWNER))["status"]


async def test_new_ids_carry_the_new_key(engine: Engine) -> None:
    """An id tells its key, and its shard stays the phone's."""
    old = await engine.start()
    engine.rotate("k2", "k1")
    engine.advance(60)
    new = await engine.start()
    assert ("k1", "k2") == (old.id.split("-")[1], new.id.split("-")[1])
    assert old.id.split("-")[0] == new.id.split("-")[0]
    assert "cancelled" == (await engine.get(old)).status


async def test_limits_survive(engine: Engine) -> None:
    """Sends, cooldown, failures and ownership checks of before count after a rotation (Invariants 2 and 3)."""
    engine.source.outcome = OwnershipOutcome.MISMATCH
    for _ in range(4):
        await engine.right(await engine.start(purpose="registration"))
        engine.advance(60)
    for _ in range(2):
        started = await engine.start()
        for _ in range(5):
            await engine.wrong(started)
        engine.advance(60)
    await engine.start()
    engine.rotate("k2", "k1")
    assert "person" == (await refused(engine.start(end_user_ip=ELSEWHERE))).members["limit"]
    engine.advance(60)
    assert "rate_limited" == (await refused(engine.start())).code
    started = await engine.start(purpose="registration", caller=RIVAL)
    await engine.wrong(started, caller=RIVAL)
    assert 120 == (await engine.wrong(started, caller=RIVAL)).retry_after_s
    engine.advance(120)
    assert "sim_not_owned" == (await engine.right(started, caller=RIVAL)).reason
    engine.advance(60)
    started = await engine.start(purpose="registration", caller=RIVAL)
    assert "ownership_unavailable" == (await engine.right(started, caller=RIVAL)).reason


async def test_index_names_follow(engine: Engine) -> None:
    """The phone's hash moves to its new name with the first start, whole and with its end."""
    started = await engine.start()
    await engine.wrong(started)
    [old] = await phone_keys(engine)
    engine.rotate("k2", "k1")
    engine.advance(60)
    await engine.start(caller=RIVAL)
    [new] = await phone_keys(engine)
    assert old != new
    assert (b"1", 2) == ((await engine.phone_hash())[b"f"], await engine.sends())
    assert 29 * DAY < await engine.redis.ttl(new) <= 30 * DAY
    assert new.decode().endswith((await engine.record(started))[b"h"].decode())


async def test_the_id_numbers_log_follows(engine: Engine) -> None:
    """The log of an ID number's checks moves to its new name, so that the same person is not asked for more."""
    engine.source.outcome = OwnershipOutcome.MISMATCH
    for at in range(5):
        if at == 3:
            engine.rotate("k2", "k1")
        await engine.right(await engine.start(f"+8490000000{at}", "registration"))
    started = await engine.start("+84900000009", "registration")
    assert "ownership_unavailable" == (await engine.right(started)).reason
    shard, names = engine.ring.shard(OWNER), engine.ring.names("id_number", OWNER)
    assert [5, 0] == [await engine.redis.zcard(keys.id_number(shard, name)) for name in names]


async def test_two_views_at_once(engine: Engine) -> None:
    """Processes that see different keys as current share one count and one life, in any order (Invariants 2 and 3)."""
    async with engine.sibling(key_ring=ring("k1", "k2")) as late:
        engine.rotate("k2", "k1")
        views = [engine, late]
        started = await late.start()
        for at in range(4):
            assert 4 - at == (await views[at % 2].wrong(started)).members["attempts_left"]
        for at, caller in enumerate((RIVAL, PORTAL, RIVAL, PORTAL)):
            engine.advance(60)
            await views[at % 2].start(caller=caller, purpose="sign_in", end_user_ip=(None, "192.0.2.9")[at % 2])
            assert 1 == len(await phone_keys(engine))
        engine.advance(60)
        assert "code_expired" == (await views[0].wrong(started)).code
        again = await views[1].resend(started)
        assert "verified" == (await views[0].check(started, views[0].code(started, again.send_number))).status
        [name] = await phone_keys(engine)
        assert 6 == sum(field.startswith(b"s:") for field in await engine.redis.hgetall(name))


async def test_a_refund_finds_the_new_name(engine: Engine) -> None:
    """An SMS from before a rotation that a gateway refuses after it is given back, once (Invariant 3)."""
    started = await engine.start()
    engine.advance(60)
    engine.rotate("k2", "k1")
    await engine.start(caller=RIVAL)
    for _ in range(2):
        await engine.store.sent(
            engine.shard(started), started.id, 1, b"1-1", outcome="f", maybe_sent=False, holder="one",
        )
    assert (1, 4) == (await engine.sends(), (await engine.get(started)).sends_left)


async def test_a_refund_of_a_finished_verification_finds_the_new_name(engine: Engine) -> None:
    """An SMS that was never sent, because its verification was cancelled, is given back after a rotation too."""
    cancelled = await engine.start()
    await engine.cancel(cancelled)
    engine.advance(60)
    engine.rotate("k2", "k1")
    await engine.start(caller=RIVAL)
    await engine.deliver()
    assert 1 == await engine.sends()


async def test_a_lost_key_ends_what_it_made(engine: Engine) -> None:
    """Once a key is gone its verifications are not found, and the phone starts anew under the current one."""
    started = await engine.start()
    engine.rotate("k2")
    assert "not_found" == (await refused(engine.get(started))).code
    assert "not_found" == (await refused(engine.check(started, "123456"))).code
    assert "pending" == (await engine.start()).status


async def test_a_queued_sms_under_a_lost_key(engine: Engine) -> None:
    """An SMS whose key is gone can be sent by nobody; it leaves the queue when its code is over, others go out."""
    await engine.start()
    engine.rotate("k2")
    other = await engine.start("+84900000002")
    await engine.deliver()
    assert [f"{other.id}-1"] == engine.postbox.references
    engine.advance(180)
    worker = await engine.worker()
    for sms in await worker._queue.reclaim(0, 100):
        await worker._handle(sms)
    assert 0 == await engine.queued()


async def test_a_reset_finds_either_name(engine: Engine) -> None:
    """An operator's reset finds the phone under its old name and leaves it under the new one."""
    started = await engine.start()
    for _ in range(3):
        await engine.wrong(started)
    engine.rotate("k2", "k1")
    shown = await engine.store.phone(engine.shard(PHONE), engine.ring.names("phone", PHONE), reset=True)
    assert {"failures": 3, "guess_wait_ms": 0, "sends_24h": 1, "live_verifications": 1} == shown
    assert {b"l:portal:phone_only"} == set(await engine.phone_hash())
    assert "verified" == (await engine.right(started)).status


async def test_a_check_replays_across_a_rotation(engine: Engine) -> None:
    """A portal's retry that meets a rotated process gets the answer it lost (Invariant 11)."""
    started = await engine.start(replay=replay("start"))
    await engine.check(started, engine.code(started), replay=replay("check"))
    engine.rotate("k2", "k1")
    again = await engine.check(started, engine.code(started), replay=replay("check"))
    assert (started.id, "verified") == (again.id, again.status)
