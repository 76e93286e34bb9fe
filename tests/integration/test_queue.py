"""The SMS queue and its worker: everything queued is sent while it is worth sending, and nothing else ever is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from support.engine import (
    ACCEPT,
    AT_ONCE,
    BUSY,
    OTHER_PHONE,
    PHONE,
    PORTAL,
    REFUSE,
    RIVAL,
    THROTTLE,
    UNCLEAR,
    Backend,
    Engine,
    handle,
)

from otp_service.core.client import Client, ClientRegistry
from otp_service.service import Caller
from otp_service.storage import keys
from otp_service.storage.queue import SmsQueue
from sms_adapters.fake import FakeGateway

LEASE_S = 7.0  # the fake gateway's timeout of 5 s, and 2 s


async def until(holds: Callable[[], bool]) -> None:
    """Let everybody else run until something holds."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0)


# -- what is sent -------------------------------------------------------------------------------------------------


async def test_what_the_gateway_gets(engine: Engine) -> None:
    """The gateway gets the phone, the newest code in a text that names the send, and a reference."""
    started = await engine.start(locale="en")
    await engine.deliver()
    engine.advance(60)
    await engine.resend(started)
    await engine.deliver()
    assert [
        (PHONE, f"{started.id}-{number}", number, 180, True) for number in (1, 2)
    ] == [
        (post["to"], post["reference"], post["send_number"], post["validity_s"],
         engine.code(started, post["send_number"]) in post["text"])
        for post in engine.postbox.posts
    ]
    assert "sent" == (await engine.get(started)).delivery
    assert 0 == await engine.queued()
    assert 2 == engine.count("otp_sends_total", gateway="fake", result="accepted")


async def test_a_late_sms_tells_the_time_that_is_left(engine: Engine) -> None:
    """An SMS that waited in the queue says how long its code is still good, not how long codes are."""
    await engine.start(locale="en")
    engine.advance(140)
    await engine.deliver()
    [post] = engine.postbox.posts
    assert 40 == post["validity_s"]
    assert "40" in post["text"]


async def test_the_last_line_is_bound_to_the_portals_page(engine: Engine) -> None:
    """The SMS of a portal with a page host ends with the line that browsers fill codes in by."""
    host = Caller(Client("portal", webotp_host="dichvucong.example"))
    started = await engine.start(caller=host)
    worker = await engine.worker()
    worker._courier._composer._clients = ClientRegistry((host.client,))
    await engine.deliver(worker)
    [post] = engine.postbox.posts
    assert f"@dichvucong.example #{engine.code(started)}" == post["text"].splitlines()[-1]


async def test_a_test_key_sends_no_real_sms(engine: Engine) -> None:
    """What a test key starts never reaches a real gateway, and still counts as delivered."""
    class RealGateway(FakeGateway):
        real = True

    test_key = replace(PORTAL, test=True)
    tried = await engine.start(caller=test_key)
    real = await engine.start(OTHER_PHONE)
    await engine.deliver(await engine.worker(adapter=RealGateway))
    assert [f"{real.id}-1"] == engine.postbox.references
    assert "delivered" == (await engine.get(tried, caller=test_key)).delivery


# -- what is not --------------------------------------------------------------------------------------------------


async def test_a_superseded_sms_is_never_sent(engine: Engine) -> None:
    """Of two SMS in the queue for one verification only the newer goes out; the other is given back (Invariant 3)."""
    started = await engine.start()
    engine.advance(60)
    await engine.resend(started)
    await engine.deliver()
    assert [f"{started.id}-2"] == engine.postbox.references
    seen = await engine.get(started)
    assert ("sent", 3, 1) == (seen.delivery, seen.sends_left, await engine.sends())


@pytest.mark.parametrize("how", ["verified", "cancelled", "locked", "code over", "over"])
async def test_a_code_of_no_use_is_never_sent(engine: Engine, how: str) -> None:
    """An SMS whose code was used, cancelled, locked or has run out is dropped and given back."""
    started = await engine.start()
    match how:
        case "verified":
            await engine.right(started)
        case "cancelled":
            await engine.cancel(started)
        case "locked":
            for _ in range(5):
                await engine.wrong(started)
        case "code over":
            engine.advance(180)
        case "over":
            engine.advance(900)
    await engine.deliver()
    assert [] == engine.postbox.posts
    assert (0, 0) == (await engine.queued(), await engine.sends())
    assert "failed" == (await engine.get(started)).delivery


async def test_an_sms_that_comes_back_too_late_is_not_tried_again(engine: Engine) -> None:
    """A try that ends after a resend is not repeated: the newer SMS takes over."""
    engine.postbox.gate = asyncio.Event()
    engine.postbox.answer = BUSY
    started = await engine.start()
    worker = await engine.worker()
    first = asyncio.create_task(engine.deliver(worker))
    await until(lambda: engine.postbox.in_hand == 1)
    engine.advance(60)
    await engine.resend(started)
    engine.postbox.gate.set()
    engine.postbox.answer = ACCEPT
    engine.postbox.next = [BUSY]
    await first
    await engine.deliver(worker)
    assert [f"{started.id}-1", f"{started.id}-2"] == engine.postbox.references
    assert "sent" == (await engine.get(started)).delivery
    assert 0 == await engine.queued()


async def test_a_late_answer_is_not_the_newer_smss(engine: Engine) -> None:
    """What a gateway says of an older SMS does not show as the newer one's delivery."""
    started = await engine.start()
    shard = engine.shard(started)
    engine.advance(60)
    await engine.resend(started)
    for outcome in "af":
        await engine.store.sent(shard, started.id, 1, b"1-1", outcome=outcome, maybe_sent=False, holder="one")
        assert "queued" == (await engine.get(started)).delivery


# -- answers of the gateway ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "tries", "delivery", "sends_left"),
    [
        pytest.param([ACCEPT], 1, "sent", 3, id="accepted"),
        pytest.param([UNCLEAR, (409, {"id": "m-1"})], 2, "sent", 3, id="a duplicate"),
        pytest.param([(409, {"id": "m-1"}), ACCEPT], 2, "sent", 3, id="a duplicate of nothing"),
        pytest.param([BUSY, THROTTLE, ACCEPT], 3, "sent", 3, id="accepted at last"),
        pytest.param([UNCLEAR, ACCEPT], 2, "sent", 3, id="accepted after an unclear answer"),
        pytest.param([BUSY, BUSY, BUSY], 3, "failed", 4, id="never accepted"),
        pytest.param([UNCLEAR, UNCLEAR, UNCLEAR], 3, "failed", 3, id="perhaps accepted"),
        pytest.param([UNCLEAR, REFUSE], 2, "failed", 3, id="perhaps accepted, then refused"),
        pytest.param([BUSY, REFUSE], 2, "failed", 4, id="refused"),
    ],
)
async def test_what_an_answer_makes(
    engine: Engine, answers: list[tuple[int, dict[str, str]]], tries: int, delivery: str, sends_left: int,
) -> None:
    """Each answer is retried, kept or given back as it deserves, always under one reference (Invariant 6)."""
    engine.postbox.next = list(answers)
    started = await engine.start()
    await engine.deliver()
    assert [f"{started.id}-1"] * tries == engine.postbox.references
    seen = await engine.get(started)
    assert (delivery, sends_left, 0) == (seen.delivery, seen.sends_left, await engine.queued())


async def test_a_gateway_that_is_not_there(engine: Engine) -> None:
    """When no connection can be made nothing was sent: the SMS is tried again, then given back."""
    started = await engine.start()
    worker = await engine.worker()
    await engine.postbox.close()
    await engine.deliver(worker)
    seen = await engine.get(started)
    assert ("failed", 4) == (seen.delivery, seen.sends_left)
    assert 3 == engine.count("otp_sends_total", gateway="fake", result="temporary")


async def test_no_try_beyond_the_codes_end(engine: Engine) -> None:
    """An SMS is not tried again when the pause before it outlives the code."""
    engine.postbox.answer = BUSY
    started = await engine.start()
    engine.advance(178)
    await engine.deliver(await engine.worker(attempts=8, backoff_s=2))
    assert 1 == len(engine.postbox.posts)
    assert "failed" == (await engine.get(started)).delivery


# -- crashes ------------------------------------------------------------------------------------------------------


async def test_what_a_dead_worker_held_is_sent(engine: Engine) -> None:
    """Entries that a worker took and never began are taken over by another (Invariant 6)."""
    phones = [f"+8490000000{at}" for at in range(10)]
    started = [await engine.start(phone) for phone in phones]
    dead, alive = await engine.worker("dead"), await engine.worker("alive")
    await dead._queue.prepare()
    taken = []
    while found := await dead._queue.read(256, AT_ONCE):
        taken += found
    assert 10 == len(taken)
    await handle(alive, await alive._queue.reclaim(0, 100))
    assert sorted(f"{one.id}-1" for one in started) == sorted(engine.postbox.references)
    assert 0 == await engine.queued()


async def test_a_lease_keeps_others_off_until_it_ends(engine: Engine) -> None:
    """An SMS in a worker's hand is nobody else's until its lease ends, then its duplicate is the same (Invariant 6)."""
    started = await engine.start()
    dead, alive = await engine.worker("dead"), await engine.worker("alive")
    await dead._queue.prepare()
    [sms] = await dead._queue.read(256, AT_ONCE)
    engine.postbox.gate = asyncio.Event()
    dead._begin(sms)
    await until(lambda: engine.postbox.in_hand == 1)
    tasks = list(dead._in_hand.values())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    engine.postbox.gate.set()
    engine.advance(LEASE_S - 0.001)
    await handle(alive, await alive._queue.reclaim(0, 100))
    assert 1 == len(engine.postbox.posts)
    engine.advance(0.001)
    await handle(alive, await alive._queue.reclaim(0, 100))
    first, second = engine.postbox.posts
    assert f"{started.id}-1" == first["reference"] == second["reference"]
    assert first["text"] == second["text"]
    assert ("sent", 0) == ((await engine.get(started)).delivery, await engine.queued())


async def test_one_of_many_claims_wins(engine: Engine) -> None:
    """Of twenty claims of one SMS at once one may send it, the others wait for its lease."""
    started = await engine.start()
    queue = SmsQueue(engine.redis, "a")
    await queue.prepare()
    [sms] = await queue.read(256, AT_ONCE)
    answers = await asyncio.gather(*(
        engine.store.claim(sms.shard, sms.verification_id, sms.send_number, sms.entry, 7000, holder=str(one))
        for one in range(20)
    ))
    assert {"send": 1, "wait": 19} == Counter(answer.outcome for answer in answers)
    await engine.store.sent(sms.shard, started.id, 1, sms.entry, outcome="a", maybe_sent=False, holder="one")
    assert "done" == (await engine.store.claim(sms.shard, started.id, 1, sms.entry, 7000, holder="one")).outcome


async def test_an_sms_the_dead_worker_may_have_sent_is_not_given_back(engine: Engine) -> None:
    """A send that was once in a worker's hand stays spent when its code runs out: it may have arrived (Invariant 3)."""
    started = await engine.start()
    queue = SmsQueue(engine.redis, "dead")
    await queue.prepare()
    [sms] = await queue.read(256, AT_ONCE)
    await engine.store.claim(sms.shard, started.id, 1, sms.entry, 7000, holder="one")
    engine.advance(180)
    alive = await engine.worker("alive")
    await handle(alive, await alive._queue.reclaim(0, 100))
    assert ([], 0, 1) == (engine.postbox.posts, await engine.queued(), await engine.sends())
    assert 3 == (await engine.get(started)).sends_left


async def test_a_lost_reply_to_the_worker_costs_nothing(backend: Backend) -> None:
    """With every outcome recorded twice an SMS is sent once, refunded once and finished (Invariant 11)."""
    async with Engine(backend, forgetful=True) as engine:
        accepted, refused_one = await engine.start(), await engine.start(OTHER_PHONE)
        engine.postbox.next = [ACCEPT, REFUSE]
        await engine.deliver()
        assert 2 == len(engine.postbox.posts)
        seen = [await engine.get(accepted), await engine.get(refused_one)]
        assert {("sent", 3), ("failed", 4)} == {(one.delivery, one.sends_left) for one in seen}
        assert 0 == await engine.queued()


# -- groups and consumers -----------------------------------------------------------------------------------------


async def test_a_missing_group_is_made_again_from_the_beginning(engine: Engine) -> None:
    """When the groups are gone, nothing that was queued before is skipped (Invariant 6)."""
    worker = await engine.worker()
    await worker._queue.prepare()
    for shard in range(16):
        await engine.redis.xgroup_destroy(keys.sms_queue(shard), keys.GROUP)
    started = await engine.start()
    assert [] == await worker._queue.read(256, AT_ONCE)
    await handle(worker, await worker._queue.read(256, AT_ONCE))
    assert [f"{started.id}-1"] == engine.postbox.references


async def test_a_missing_queue_is_made_again(valkey_backend: Backend) -> None:
    """When the queues themselves are gone, what is queued afterwards is sent (fakeredis answers otherwise there)."""
    async with Engine(valkey_backend) as engine:
        worker = await engine.worker()
        await worker._queue.prepare()
        await engine.redis.delete(*(keys.sms_queue(shard) for shard in range(16)))
        started = await engine.start()
        assert [] == await worker._queue.read(256, AT_ONCE)
        await handle(worker, await worker._queue.read(256, AT_ONCE))
        assert [f"{started.id}-1"] == engine.postbox.references


async def test_reclaiming_makes_a_missing_group_again(engine: Engine) -> None:
    """Whoever reclaims first after the groups are gone makes them, and loses nothing."""
    worker = await engine.worker()
    started = await engine.start()
    assert [] == await worker._queue.reclaim(0, 10)
    await handle(worker, await worker._queue.read(256, AT_ONCE))
    assert [f"{started.id}-1"] == engine.postbox.references


async def consumers(engine: Engine, shard: int) -> set[str]:
    """Return who consumes a shard's queue."""
    found = await engine.redis.xinfo_consumers(keys.sms_queue(shard), keys.GROUP)
    return {one["name"].decode() for one in found}


async def test_a_consumer_with_something_in_hand_is_never_removed(engine: Engine) -> None:
    """A consumer that leaves or has died is removed only when nothing is pending for it (Invariant 6)."""
    started = await engine.start()
    shard = engine.shard(started)
    leaving, gone, alive = (SmsQueue(engine.redis, name) for name in ("leaving", "gone", "alive"))
    await leaving.prepare()
    [sms] = await leaving.read(256, AT_ONCE)
    await gone.read(256, AT_ONCE)
    await alive.read(256, AT_ONCE)
    await engine.store.retire(shard, "leaving", 3_600_000)
    await engine.store.retire(shard, "", -1)
    assert {"leaving"} == await consumers(engine, shard)
    await engine.store.sent(shard, started.id, 1, sms.entry, outcome="a", maybe_sent=False, holder="one")
    await engine.store.retire(shard, "other", 3_600_000)
    assert {"leaving"} == await consumers(engine, shard)
    await engine.store.retire(shard, "leaving", 3_600_000)
    assert set() == await consumers(engine, shard)


async def test_retiring_where_nothing_is(engine: Engine) -> None:
    """Retiring on a shard without a queue or group does nothing."""
    before = await engine.dump()
    await engine.store.retire(0, "x", 0)
    await engine.redis.xadd(keys.sms_queue(1), {"v": "x", "n": "1"})
    await engine.store.retire(1, "x", 0)
    assert len(before) + 1 == len(await engine.dump())


async def test_an_entry_of_nobody_is_dropped(engine: Engine) -> None:
    """An entry whose verification is gone is finished without an SMS."""
    started = await engine.start()
    await engine.redis.delete(keys.verification(engine.shard(started), started.id))
    await engine.deliver()
    assert ([], 0) == (engine.postbox.posts, await engine.queued())


# -- the running worker -------------------------------------------------------------------------------------------


async def test_the_worker_runs_bounded_and_leaves_clean(engine: Engine) -> None:
    """The running worker sends all, never more at once than allowed, and leaves no consumer behind (Invariant 14)."""
    started = [await engine.start(f"+8453000{at:04d}") for at in range(40)]
    worker, stop = await engine.worker(concurrency=4), asyncio.Event()
    engine.postbox.gate = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    await until(lambda: engine.postbox.in_hand == 4)
    for _ in range(200):
        await asyncio.sleep(0)
    assert 4 == engine.postbox.in_hand == engine.postbox.most_in_hand
    engine.postbox.gate.set()
    await until(lambda: len(engine.postbox.posts) == 40)
    stop.set()
    await running
    assert 4 == engine.postbox.most_in_hand
    assert sorted(f"{one.id}-1" for one in started) == sorted(engine.postbox.references)
    assert 0 == await engine.queued()
    assert set() == set().union(*[await consumers(engine, shard) for shard in range(16)])


async def test_many_workers_send_each_sms_once(engine: Engine) -> None:
    """Three running workers on one queue hand every SMS over exactly once."""
    stop = asyncio.Event()
    workers = [await engine.worker(f"worker-{at}") for at in range(3)]
    running = [asyncio.create_task(worker.run(stop)) for worker in workers]
    started = [await engine.start(f"+8453000{at:04d}") for at in range(30)]
    await until(lambda: len(engine.postbox.posts) >= 30)
    stop.set()
    await asyncio.gather(*running)
    assert sorted(f"{one.id}-1" for one in started) == sorted(engine.postbox.references)


async def test_stopping_finishes_what_is_in_hand(engine: Engine) -> None:
    """A worker that is stopped while the gateway thinks waits for its answer and records it."""
    started = await engine.start()
    worker, stop = await engine.worker(), asyncio.Event()
    engine.postbox.gate = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    await until(lambda: engine.postbox.in_hand == 1)
    stop.set()
    engine.postbox.gate.set()
    await running
    assert ("sent", 0) == ((await engine.get(started)).delivery, await engine.queued())


async def test_an_sms_waits_for_no_other_client(engine: Engine) -> None:
    """SMS of two clients to one phone are two SMS, each with its own code."""
    first = await engine.start()
    engine.advance(60)
    second = await engine.start(caller=RIVAL)
    await engine.deliver()
    assert {f"{first.id}-1", f"{second.id}-1"} == set(engine.postbox.references)
