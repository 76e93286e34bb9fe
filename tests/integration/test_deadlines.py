"""Deadlines by the store's clock: what becomes of a verification that nobody finishes, and who counts it."""

from __future__ import annotations

import asyncio
import datetime as dt

import fakeredis
import pytest
import time_machine
from support.engine import (
    DAY,
    ELSEWHERE,
    OTHER_PHONE,
    REFUSE,
    RIVAL,
    UNCLEAR,
    Backend,
    Clock,
    Engine,
    refused,
)

from otp_service.delivery.deadlines import DeadlineWorker
from otp_service.storage import keys


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        pytest.param(None, "expired", id="accepted"),
        pytest.param(UNCLEAR, "expired", id="perhaps accepted"),
        pytest.param(REFUSE, "undeliverable", id="refused"),
    ],
)
async def test_an_end_at_900_seconds(engine: Engine, answer: tuple[int, dict[str, str]] | None, status: str) -> None:
    """At 900.000 s a verification is expired, or undeliverable when no gateway ever took its SMS (Invariant 6)."""
    engine.postbox.answer = answer or engine.postbox.answer
    started = await engine.start()
    await engine.deliver()
    engine.advance(899.999)
    await engine.deadlines()
    assert "pending" == (await engine.get(started)).status
    engine.advance(0.001)
    assert status == (await engine.get(started)).status
    await engine.deadlines()
    done = await engine.get(started)
    assert (status, engine.clock.now_ms) == (done.status, done.finished_at_ms)
    assert 1 == engine.count("otp_verifications_total", purpose="phone_only", status=status)


async def test_an_sms_never_sent_is_undeliverable(engine: Engine) -> None:
    """A verification whose SMS waited in the queue to the end was undeliverable (Invariant 6)."""
    started = await engine.start()
    engine.advance(900)
    await engine.deadlines()
    assert "undeliverable" == (await engine.get(started)).status
    await engine.deliver()
    assert [] == engine.postbox.posts
    assert 0 == await engine.queued()


async def test_any_call_that_meets_the_deadline_makes_the_end(engine: Engine) -> None:
    """A guess, resend or cancellation after the deadline makes the end itself and is refused with it (Invariant 4)."""
    for call in (engine.right, engine.resend, engine.cancel, engine.wrong):
        engine.advance(DAY)
        started = await engine.start()
        await engine.deliver()
        engine.advance(900)
        answer = await call(started) if call == engine.wrong else await refused(call(started))
        assert ("already_final", {"verification_status": "expired"}) == (answer.code, answer.members)
        assert b"e" == (await engine.record(started))[b"s"]
        assert await engine.redis.zscore(keys.due(engine.shard(started)), started.id) is None


async def test_no_code_after_the_end(engine: Engine) -> None:
    """A code that would still be valid is refused once its verification is over (Invariant 4)."""
    started = await engine.start()
    await engine.deliver()
    engine.advance(850)
    await engine.resend(started)
    await engine.deliver()
    engine.advance(50)
    assert "already_final" == (await refused(engine.check(started, engine.code(started, 2)))).code


async def test_many_deadlines_at_once(backend: Backend) -> None:
    """A step ends at most its share per shard, and says that more is due."""
    async with Engine(backend) as engine:
        for at in range(30):
            await engine.start(f"+84530{at:06d}")
        engine.advance(900)
        shard = 3
        due, ended = await engine.store.expire(shard, 1)
        assert (due, len(ended)) in {(1, 1), (0, 0)}
        await engine.deadlines()
        assert 30 - len(ended) == engine.count(
            "otp_verifications_total", purpose="phone_only", status="undeliverable",
        )
        assert [0] * 16 == [await engine.redis.zcard(keys.due(one)) for one in range(16)]


async def test_an_end_is_told_once(engine: Engine) -> None:
    """Of two workers one tells each end (Invariant 10)."""
    for at in range(10):
        await engine.start(f"+8490000000{at}")
    engine.advance(900)
    async with engine.sibling() as other:
        await asyncio.gather(engine.deadlines(), other.deadlines())
        told = [
            one.count("otp_verifications_total", purpose="phone_only", status="undeliverable")
            for one in (engine, other)
        ]
        assert 10 == sum(told)


async def test_what_has_no_record_leaves_the_set(engine: Engine) -> None:
    """A deadline whose record is gone is dropped, so that the set never grows for good (Invariant 7)."""
    started = await engine.start()
    shard = engine.shard(started)
    await engine.redis.delete(keys.verification(shard, started.id))
    engine.advance(900)
    await engine.deadlines()
    assert 0 == await engine.redis.zcard(keys.due(shard))


async def test_queues_are_measured(engine: Engine) -> None:
    """The worker shows how many SMS, ownership checks and deadlines wait."""
    engine.source.error = OSError("down")
    await engine.start()
    checking = await engine.start(OTHER_PHONE, "registration")
    await engine.right(checking)
    engine.advance(900)
    worker = await engine.deadlines()
    await engine.start("+84900000003", caller=RIVAL, end_user_ip=ELSEWHERE)
    engine.advance(901)
    await worker.measure()
    assert [3, 0, 1] == [engine.count("otp_queue_depth", queue=name) for name in ("sms", "ownership", "deadlines")]
    assert 1 == engine.count("otp_queue_oldest_age_seconds", queue="deadlines")


async def test_the_worker_runs_until_it_is_stopped(engine: Engine) -> None:
    """The running worker ends what is due and stops when told, its checks finished."""
    started = await engine.start()
    engine.advance(900)
    stop, told = asyncio.Event(), []

    def ended(*what: object) -> None:
        told.append(what)
        stop.set()

    worker = DeadlineWorker(
        store=engine.store, ask_ownership=engine.service.ask_ownership, ended=ended, metrics=engine.metrics,
        ask_lease_ms=5000,
    )
    async with asyncio.timeout(10):
        await worker.run(stop)
    assert [("phone_only", "u", "", 900_000)] == told
    assert "undeliverable" == (await engine.get(started)).status


# -- whose clock --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [dt.timedelta(days=400), dt.timedelta(days=-400), dt.timedelta(seconds=181)])
async def test_a_hosts_wrong_clock_changes_nothing(valkey_backend: Backend, error: dt.timedelta) -> None:
    """A host whose clock is wrong by seconds or years starts, checks, signs and redeems as any other (Invariant 4)."""
    async with Engine(valkey_backend, clock=Clock(0)) as right_host:
        waiting = await right_host.start(OTHER_PHONE)
        with time_machine.travel(dt.datetime.now(dt.UTC) + error):
            async with Engine(valkey_backend, clock=Clock(0)) as wrong_host:
                assert "resend_too_soon" == (await refused(wrong_host.resend(waiting))).code
                assert "verified" == (await wrong_host.right(waiting)).status
                started = await wrong_host.start()
                await wrong_host.deadlines()
                await wrong_host.deliver()
                assert [f"{started.id}-1"] == wrong_host.postbox.references
        store_now_ms = int((await right_host.redis.time())[0]) * 1000
        assert abs(started.created_at_ms - store_now_ms) < 60_000
        assert started.code_expires_at_ms == started.created_at_ms + 180_000
        assert "verified" == (await right_host.right(started)).status
        with time_machine.travel(dt.datetime.now(dt.UTC) + error):
            async with Engine(valkey_backend, clock=Clock(0)) as wrong_host:
                wrong_host.secrets = right_host.secrets
                token = await wrong_host.token(started)
        claims = await right_host.redeem(token)
        assert abs(claims["iat"] * 1000 - store_now_ms) < 60_000


async def test_the_stores_own_clock_rules() -> None:
    """With the store's own clock moved, cooldown, code, verification and token end when they should (Invariant 4)."""
    server = fakeredis.FakeServer()
    backend = Backend("fakeredis", lambda: fakeredis.FakeAsyncRedis(server=server))
    with time_machine.travel(dt.datetime(2026, 9, 21, tzinfo=dt.UTC), tick=False) as host:
        async with Engine(backend, clock=Clock(0)) as engine:
            started = await engine.start()
            host.shift(59.999)
            assert "resend_too_soon" == (await refused(engine.resend(started))).code
            host.shift(0.001)
            await engine.resend(started)
            host.shift(179.999)
            assert "wrong_code" == (await engine.wrong(started)).code
            host.shift(0.001)
            assert "code_expired" == (await engine.wrong(started)).code
            await engine.resend(started)
            done = await engine.right(started)
            token = await engine.token(done)
            host.shift(600)
            assert "invalid_request" == (await refused(engine.redeem(token))).code
            host.shift(4 * DAY)
            assert "not_found" == (await refused(engine.get(done))).code
