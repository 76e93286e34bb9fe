"""Webhooks on both stores: one id per verdict, told at least once, on the published schedule, then given up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
import time_machine
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError
from support.engine import DAY, HOUR, MINUTE, OWNER, REFUSE, STRANGER, Clock, Engine
from support.webhooks import Receiver, ended, portal, step, store_of, telling

from otp_service.core.evidence import OwnershipOutcome
from otp_service.core.verification import Links
from otp_service.core.webhook_secrets import new_secret
from otp_service.service import Caller
from otp_service.storage import keys
from otp_service.storage.webhooks import Backlog

SCHEDULE = [0, 5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Give a receiver that listens."""
    async with Receiver().open() as receiver:
        yield receiver


def results(engine: Engine) -> dict[str, float]:
    """Return how often each result was counted."""
    return {
        sample.labels["result"]: sample.value
        for family in engine.metrics.registry.collect() for sample in family.samples
        if sample.name == "otp_webhook_attempts_total" and sample.value
    }


@pytest.mark.parametrize("how", ["verified", "rejected", "locked", "cancelled", "expired", "undeliverable", "replaced"])
async def test_every_final_status_makes_one_webhook(engine: Engine, receiver: Receiver, how: str) -> None:
    """However a verification ends, its end is told once, under the id made of its own (Invariant 10)."""
    caller = portal()
    engine.source.outcome = OwnershipOutcome.MISMATCH
    links = Links(callback_url=receiver.url)
    purpose = "registration" if how == "rejected" else "phone_only"
    started = await engine.start(purpose=purpose, caller=caller, reference="hs-1", links=links)
    engine.postbox.answer = REFUSE if how == "undeliverable" else engine.postbox.answer
    await engine.deliver()
    match how:
        case "verified" | "rejected":
            await engine.right(started, caller=caller)
        case "locked":
            for _ in range(5):
                await engine.wrong(started, caller=caller)
        case "cancelled":
            await engine.cancel(started, caller=caller)
        case "replaced":
            engine.advance(61)
            await engine.start(purpose=purpose, caller=caller)
        case _:
            engine.advance(900)
            await engine.deadlines()
    async with telling(engine, caller) as worker:
        assert 1 == await step(worker)
        engine.advance(DAY)
        assert 0 == await step(worker)
    (taken,) = receiver.taken
    status = "cancelled" if how == "replaced" else how
    assert f"msg_{started.id}" == taken.id
    assert {"id": started.id, "reference": "hs-1", "status": status} == taken.told["data"]
    assert {"verification.finished"} == {taken.told["type"]}
    assert (await engine.get(started, caller=caller)).status == status
    assert {"delivered": 1} == results(engine)


async def test_an_end_that_a_read_has_not_written_is_told_by_the_worker(engine: Engine, receiver: Receiver) -> None:
    """A verification that only runs out is told when the worker ends it, not by a GET (Invariants 10 and 12)."""
    caller = portal()
    started = await engine.start(caller=caller, links=Links(callback_url=receiver.url))
    engine.advance(900)
    async with telling(engine, caller) as worker:
        assert "undeliverable" == (await engine.get(started, caller=caller)).status
        assert 0 == await step(worker)
        await engine.deadlines()
        assert 1 == await step(worker)
    assert "undeliverable" == receiver.taken[0].told["data"]["status"]


async def test_who_asked_for_no_webhook_gets_none(engine: Engine) -> None:
    """A verification without an address leaves nothing in any queue of webhooks (Invariant 14)."""
    started = await engine.start(links=Links(return_url="https://portal.example.vn/back"))
    await engine.cancel(started)
    assert [] == [key async for key in engine.redis.scan_iter(match="otp:*:hook:*")]


async def test_the_reference_library_believes_it(engine: Engine, receiver: Receiver) -> None:
    """What arrives verifies with the reference library under either secret of a rotation, and under no other."""
    with time_machine.travel(engine.clock.now_ms / 1000, tick=False):
        old, new = new_secret(), new_secret()
        caller = portal(webhook_secrets=(new, old))
        done = await ended(engine, caller, receiver.url, reference="hồ sơ 1")
        async with telling(engine, caller) as worker:
            await step(worker)
        (taken,) = receiver.taken
        for secret in (old, new):
            told = Webhook(secret).verify(taken.body, taken.headers)
            assert {"id": done.id, "reference": "hồ sơ 1", "status": "cancelled"} == told["data"]
        with pytest.raises(WebhookVerificationError):
            Webhook(new_secret()).verify(taken.body, taken.headers)
        for name in ("webhook-id", "webhook-timestamp"):
            with pytest.raises(WebhookVerificationError):
                Webhook(new).verify(taken.body, taken.headers | {name: taken.headers[name][:-1] + "7"})
        with pytest.raises(WebhookVerificationError):
            Webhook(new).verify(taken.body.replace(b"cancelled", b"verified"), taken.headers)


async def test_only_the_essential_is_told(engine: Engine, receiver: Receiver) -> None:
    """Neither phone, ID number, name nor reason stands in a webhook (Invariants 5 and 9)."""
    caller = portal()
    engine.source.outcome = OwnershipOutcome.MISMATCH
    started = await engine.start(
        purpose="registration", caller=caller, id_number=STRANGER, full_name="NGUYỄN VĂN A",
        links=Links(callback_url=receiver.url),
    )
    await engine.right(started, caller=caller)
    async with telling(engine, caller) as worker:
        await step(worker)
    (taken,) = receiver.taken
    everything = taken.body.decode() + str(taken.headers) + taken.path
    for secret in ("0900000001", "900000001", STRANGER, OWNER, "NGUY", "sim_not_owned"):
        assert secret not in everything
    assert {"id", "reference", "status"} == taken.told["data"].keys()
    assert "rejected" == taken.told["data"]["status"]


async def test_what_waits_is_shown_with_its_last_word(engine: Engine, receiver: Receiver) -> None:
    """Each that waits: attempts so far, what the last came to, and when the next is due; the next first, so many."""
    caller = portal()
    receiver.answer = (503, {})
    done = [await ended(engine, caller, receiver.url, phone=f"+8490000000{at}") for at in range(3)]
    store = store_of(engine)
    assert [(0, 0, "")] * 3 == [(one.due_in_ms, one.attempts, one.word) for one in await store.waiting("portal", 9)]
    async with telling(engine, caller) as worker:
        await step(worker)
    engine.advance(1)
    last = await ended(engine, caller, receiver.url, phone="+84900000004")
    engine.advance(1)
    first, *others = await store.waiting("portal", 9)
    assert (last.id, "cancelled", -1000, 0) == (
        first.verification_id, first.status, first.due_in_ms, first.attempts,
    )
    assert {one.id for one in done} == {one.verification_id for one in others}
    assert {(3000, 1, "http_503")} == {(one.due_in_ms, one.attempts, one.word) for one in others}
    assert {engine.clock.now_ms + 3000} == {one.due_ms for one in others}
    assert [first, others[0]] == await store.waiting("portal", 2)
    assert [] == await store.waiting("rival", 9)


async def test_the_published_schedule(engine: Engine, receiver: Receiver) -> None:
    """A receiver that fails is asked ten times, each after its wait and never earlier; then it is given up."""
    caller = portal()
    receiver.answer = (500, {})
    done = await ended(engine, caller, receiver.url)
    async with telling(engine, caller) as worker:
        for at, wait_s in enumerate(SCHEDULE):
            engine.advance(wait_s - 0.001 if wait_s else 0)
            if wait_s:
                assert 0 == await step(worker)
                engine.advance(0.001)
            assert 1 == await step(worker)
            assert at + 1 == len(receiver.taken)
        engine.advance(2 * DAY)
        assert 0 == await step(worker)
        store = store_of(engine)
        (dead,) = await store.dead("portal", 10)
    assert {f"msg_{done.id}"} == set(receiver.ids)
    assert {receiver.taken[0].body} == {taken.body for taken in receiver.taken}
    stamps = [int(taken.headers["webhook-timestamp"]) for taken in receiver.taken]
    assert SCHEDULE[1:] == [after - before for before, after in pairwise(stamps)]
    assert (done.id, "cancelled", 10, "http_500") == (dead.verification_id, dead.status, dead.attempts, dead.word)
    assert {"failed": 10} == results(engine)


async def test_jitter_comes_on_top(engine: Engine, receiver: Receiver) -> None:
    """With the greatest jitter a second attempt comes after 5.5 s, not before."""
    caller = portal()
    receiver.answer = (500, {})
    await ended(engine, caller, receiver.url)
    async with telling(engine, caller, luck=lambda: 1.0) as worker:
        assert 1 == await step(worker)
        engine.advance(5.499)
        assert 0 == await step(worker)
        engine.advance(0.001)
        assert 1 == await step(worker)


@pytest.mark.parametrize(("answer", "wait_s", "result"), [
    ((429, {"retry-after": "60"}), 60, "throttled"),
    ((503, {"retry-after": "7200"}), 7200, "throttled"),
    ((500, {"retry-after": "2"}), 5, "failed"),
    ((500, {"retry-after": "999999999"}), DAY, "failed"),
    ((404, {"retry-after": "600"}), 5, "refused"),
    ((302, {"location": "/elsewhere"}), 5, "redirected"),
])
async def test_how_long_a_receiver_is_left_alone(
    engine: Engine, receiver: Receiver, answer: tuple[int, dict[str, str]], wait_s: int, result: str,
) -> None:
    """The next attempt follows the schedule, or the receiver's own wish where that is later, up to a day."""
    caller = portal()
    receiver.answer = answer
    await ended(engine, caller, receiver.url)
    async with telling(engine, caller) as worker:
        assert 1 == await step(worker)
        engine.advance(wait_s - 0.001)
        assert 0 == await step(worker)
        receiver.answer = (200, {})
        engine.advance(0.001)
        assert 1 == await step(worker)
    assert ["/otp", "/otp"] == [taken.path for taken in receiver.taken]
    assert {result: 1, "delivered": 1} == results(engine)


async def test_410_puts_an_address_out_of_use(engine: Engine, receiver: Receiver) -> None:
    """After 410 nothing more is sent there, whatever the query, and all is given up until an operator says so."""
    caller = portal()
    receiver.answer = (410, {})
    store = store_of(engine)
    async with telling(engine, caller) as worker:
        await ended(engine, caller, receiver.url + "?a=1")
        await step(worker)
        engine.advance(61)
        await ended(engine, caller, receiver.url + "?a=2", phone="+84900000002")
        other = await ended(engine, caller, receiver.url + "-other", phone="+84900000003")
        receiver.answer = (200, {})
        await step(worker)
        assert ["/otp?a=1", "/otp-other"] == [taken.path for taken in receiver.taken]
        assert {"gone": 1, "disabled": 1, "delivered": 1} == results(engine)
        assert {"http_410", "disabled"} == {one.word for one in await store.dead("portal", 10)}
        assert other.id not in {one.verification_id for one in await store.dead("portal", 10)}
        assert 1 == await store.put_on("portal")
        assert 2 == await store.replay_all("portal")
        await step(worker)
        assert 4 == len(receiver.taken)
        assert [] == await store.dead("portal", 10)


async def test_a_disabled_address_comes_back_by_itself(engine: Engine) -> None:
    """After 30 days an address that answered 410 is asked again; a hundred of a client are kept at most."""
    store = store_of(engine)
    assert await store.put_off("portal", "one")
    assert not await store.put_off("portal", "one")
    assert await store.is_off("portal", "one")
    assert not await store.is_off("rival", "one")
    engine.advance(30 * DAY)
    assert not await store.is_off("portal", "one")
    for at in range(105):
        engine.advance(1)
        await store.put_off("portal", f"endpoint-{at}")
    assert not await store.is_off("portal", "endpoint-4")
    assert await store.is_off("portal", "endpoint-5")
    assert 100 == await store.put_on("portal")
    assert not await store.is_off("portal", "endpoint-104")


@pytest.mark.parametrize(("now", "word"), [
    ({"webhook_hosts": frozenset({"api.example.vn"})}, "host_not_registered"),
    ({"webhook_secrets": ()}, "no_secret"),
])
async def test_settings_of_this_moment_count(
    engine: Engine, receiver: Receiver, now: dict[str, object], word: str,
) -> None:
    """A host or secret that was taken out of the settings since the start is not used: it is given up with a word."""
    done = await ended(engine, portal(), receiver.url)
    async with telling(engine, portal(**now)) as worker:
        await step(worker)
    assert [] == receiver.taken
    assert [(done.id, word)] == [(one.verification_id, one.word) for one in await store_of(engine).dead("portal", 9)]


async def test_an_address_under_a_lost_key_is_given_up(engine: Engine, receiver: Receiver) -> None:
    """An address that cannot be opened any more is given up, with a word that says so."""
    caller = portal()
    done = await ended(engine, caller, receiver.url)
    key = keys.links(engine.shard(done), done.id)
    await engine.redis.set(key, b"x" * 60, keepttl=True)
    async with telling(engine, caller) as worker:
        await step(worker)
    assert ["unreadable"] == [one.word for one in await store_of(engine).dead("portal", 9)]


async def test_a_lost_worker_is_made_good_by_another(engine: Engine, receiver: Receiver) -> None:
    """A webhook whose worker died is told again once its lease is over, under the same id and with the same body."""
    caller = portal()
    done = await ended(engine, caller, receiver.url)
    shard = engine.shard(done)
    _, (lost,) = await store_of(engine).due(shard, 20_000, {"portal": 1})
    async with telling(engine, caller) as worker:
        engine.advance(19.999)
        assert 0 == await step(worker)
        engine.advance(0.001)
        assert 1 == await step(worker)
        store = store_of(engine)
        assert not await store.failed(lost, "timeout", 5000)
        assert not await store.delivered(lost)
        engine.advance(DAY)
        assert 0 == await step(worker)
    assert 1 == lost.lease
    assert [f"msg_{done.id}"] == receiver.ids
    assert {"portal": Backlog()} == await store.backlogs(["portal"])


async def test_a_late_worker_changes_nothing_but_a_delivery(engine: Engine, receiver: Receiver) -> None:
    """Of two attempts the late one's failure is not heard, its delivery is; a failure told twice counts once."""
    caller = portal()
    store = store_of(engine)
    for at in (1, 2):
        done = await ended(engine, caller, receiver.url, phone=f"+8490000000{at}")
        shard = engine.shard(done)
        _, (first,) = await store.due(shard, 1000, {"portal": 9})
        engine.advance(1)
        _, (second,) = await store.due(shard, 1000, {"portal": 9})
        assert (1, 2, 0) == (first.lease, second.lease, second.failed)
        assert not await store.failed(first, "timeout", None)
        if at == 1:
            assert await store.delivered(first)
            assert not await store.failed(second, "timeout", None)
        else:
            assert await store.failed(second, "timeout", 5000)
            assert not await store.failed(second, "timeout", 5000)
            engine.advance(5)
            _, (third,) = await store.due(shard, 1000, {"portal": 9})
            assert 1 == third.failed
            assert await store.delivered(third)
    assert [] == await store.dead("portal", 9)


async def test_a_late_delivery_is_no_death(engine: Engine, receiver: Receiver) -> None:
    """What one worker gave up while another was still telling it was told after all: it leaves the dead, and ages."""
    caller = portal()
    store = store_of(engine)
    done = await ended(engine, caller, receiver.url)
    shard = engine.shard(done)
    _, (first,) = await store.due(shard, 1000, {"portal": 9})
    engine.advance(1)
    _, (second,) = await store.due(shard, 1000, {"portal": 9})
    assert await store.failed(second, "no_secret", None)
    assert [done.id] == [one.verification_id for one in await store.dead("portal", 9)]
    assert await store.delivered(first)
    assert not await store.delivered(first)
    assert [] == await store.dead("portal", 9)
    assert {"portal": Backlog()} == await store.backlogs(["portal"])
    for key in (keys.verification(shard, done.id), keys.links(shard, done.id)):
        assert 4 * DAY - 60 < await engine.redis.ttl(key) <= 4 * DAY


@pytest.mark.parametrize(("port", "word"), [
    (":22", "port_refused"), (":80", "port_refused"), (":0", "port_refused"), (":1023", "port_refused"),
    (":443", "address_refused"), ("", "address_refused"), (":8443", "address_refused"), (":1024", "address_refused"),
])
async def test_ports_of_other_services_are_refused(engine: Engine, port: str, word: str) -> None:
    """Webhooks go to 443 or to a port that no system's own service listens on, and say why not elsewhere."""
    caller = portal(webhook_hosts=frozenset({"10.0.0.1"}))
    await ended(engine, caller, f"https://10.0.0.1{port}/otp")
    async with telling(engine, caller) as worker:
        await step(worker)
    assert {word: 1} == results(engine)
    assert (word == "port_refused") == bool(await store_of(engine).dead("portal", 9))


async def test_what_was_given_up_is_told_when_it_is_replayed(engine: Engine, receiver: Receiver) -> None:
    """A replayed webhook has its old id, all its attempts again, and its verdict is still there to be read."""
    caller = portal()
    receiver.answer = (410, {})
    done = [await ended(engine, caller, receiver.url, phone=f"+8490000000{at}") for at in range(5)]
    store = store_of(engine)
    async with telling(engine, caller) as worker:
        await step(worker)
        await store.put_on("portal")
        engine.advance(10 * DAY)
        receiver.answer = (500, {})
        for one in done[:2]:
            assert 1 == await store.replay("portal", engine.shard(one), [one.id])
            assert 0 == await store.replay("portal", engine.shard(one), [one.id])
        assert 0 == await store.replay("rival", engine.shard(done[3]), [done[3].id])
        assert 0 == await store.replay("portal", engine.shard(done[3]), [])
        assert 3 == len(await store.dead("portal", 9))
        assert 2 == await step(worker)
        receiver.answer = (200, {})
        engine.advance(5)
        assert 2 == await step(worker)
        assert 3 == await store.replay_all("portal")
        assert 3 == await step(worker)
    assert {f"msg_{one.id}" for one in done} == set(receiver.ids)
    assert "cancelled" == (await engine.get(done[4], caller=caller)).status


async def test_death_keeps_the_verdict_for_a_fortnight(engine: Engine, receiver: Receiver) -> None:
    """A verdict that could not be told, and where to tell it, outlive their tombstone; all of it ends (Invariant 7)."""
    caller = portal()
    receiver.answer = (410, {})
    done = await ended(engine, caller, receiver.url)
    shard = engine.shard(done)
    record, links = keys.verification(shard, done.id), keys.links(shard, done.id)
    for key in (record, links):
        assert 4 * DAY - 60 < await engine.redis.ttl(key) <= 4 * DAY
    async with telling(engine, caller) as worker:
        await step(worker)
    for key in (record, links, keys.dead_hooks(shard, "portal")):
        assert 14 * DAY - 60 < await engine.redis.ttl(key) <= 14 * DAY
    for key in (record, links):
        await engine.redis.expire(key, MINUTE)
    assert 1 == await store_of(engine).replay_all("portal")
    for key in (record, links):
        assert 4 * DAY - 60 < await engine.redis.ttl(key) <= 4 * DAY
    assert 8 * DAY - 60 < await engine.redis.ttl(keys.hook(shard, "portal")) <= 8 * DAY
    assert 30 * DAY - 60 < await engine.redis.ttl(keys.endpoints("portal")) <= 30 * DAY


async def test_a_retry_far_away_keeps_what_it_needs(engine: Engine, receiver: Receiver) -> None:
    """The record outlives the next attempt by a tombstone's life, so that no retry finds it gone (Invariant 10)."""
    caller = portal()
    receiver.answer = (503, {"retry-after": str(DAY)})
    done = await ended(engine, caller, receiver.url)
    shard = engine.shard(done)
    async with telling(engine, caller) as worker:
        await step(worker)
    for key in (keys.verification(shard, done.id), keys.links(shard, done.id)):
        assert 5 * DAY - 60 < await engine.redis.ttl(key) <= 5 * DAY


async def test_a_queue_that_stood_still_for_days_is_given_up(engine: Engine, receiver: Receiver) -> None:
    """What nobody tried for 84 hours is given up while its record is still there, and can be replayed."""
    caller = portal()
    done = await ended(engine, caller, receiver.url)
    async with telling(engine, caller) as worker:
        engine.advance(84 * HOUR)
        assert 0 == await step(worker)
        assert ["too_late"] == [one.word for one in await store_of(engine).dead("portal", 9)]
        assert {"too_late": 1} == results(engine)
        assert 1 == await store_of(engine).replay_all("portal")
        assert 1 == await step(worker)
    assert [f"msg_{done.id}"] == receiver.ids


async def test_what_has_no_record_leaves_every_list(engine: Engine, receiver: Receiver) -> None:
    """An entry whose record is gone leaves the queue and the dead alike, and is nothing to tell (Invariant 7)."""
    caller = portal()
    store = store_of(engine)
    one = await ended(engine, caller, receiver.url)
    shard = engine.shard(one)
    await engine.redis.delete(keys.verification(shard, one.id))
    async with telling(engine, caller) as worker:
        assert 0 == await step(worker)
        assert not await engine.redis.exists(keys.hook(shard, "portal"))
        await engine.redis.zadd(keys.dead_hooks(shard, "portal"), {one.id: engine.clock.now_ms})
        assert [] == await store.dead("portal", 9)
        assert 0 == await store.replay_all("portal")
        assert not await engine.redis.exists(keys.dead_hooks(shard, "portal"), keys.verification(shard, one.id))
        await engine.redis.zadd(keys.hook(shard, "portal"), {one.id: engine.clock.now_ms - 85 * HOUR * 1000})
        assert 0 == await step(worker)
        assert not await engine.redis.exists(keys.hook(shard, "portal"), keys.verification(shard, one.id))


async def test_dead_webhooks_are_bounded(engine: Engine) -> None:
    """A shard keeps at most 10 000 dead webhooks of a client: the oldest go first (Invariant 14)."""
    caller = portal()
    done = await ended(engine, caller, "https://elsewhere.example.vn/")
    shard = engine.shard(done)
    dead = keys.dead_hooks(shard, "portal")
    await engine.redis.zadd(dead, {f"old-{at}": engine.clock.now_ms - 10_001 + at for at in range(10_001)})
    async with telling(engine, caller) as worker:
        await step(worker)
    assert 10_000 == await engine.redis.zcard(dead)
    assert await engine.redis.zscore(dead, done.id)
    assert [None, None] == [await engine.redis.zscore(dead, one) for one in ("old-0", "old-1")]
    assert await engine.redis.zscore(dead, "old-2")


async def test_who_is_cut_from_the_dead_lives_no_longer(engine: Engine, receiver: Receiver) -> None:
    """What no longer can be replayed, as 10 000 died after it, goes four days after its end (Invariants 7 and 14)."""
    caller = portal()
    receiver.answer = (410, {})
    cut = await ended(engine, caller, receiver.url)
    shard = engine.shard(cut)
    record, links = keys.verification(shard, cut.id), keys.links(shard, cut.id)
    async with telling(engine, caller) as worker:
        await step(worker)
        assert 13 * DAY < await engine.redis.ttl(record)
        engine.advance(DAY)
        dead = keys.dead_hooks(shard, "portal")
        await engine.redis.zadd(dead, {f"old-{at}": engine.clock.now_ms - 1 for at in range(9_999)})
        for more in (1, 2):
            for key in (record, links):
                assert (more == 1) == (13 * DAY < await engine.redis.ttl(key))
            engine.advance(61)
            await ended(engine, caller, receiver.url)
            await step(worker)
    assert 10_000 == await engine.redis.zcard(dead)
    for key in (record, links):
        assert 3 * DAY - 300 < await engine.redis.ttl(key) <= 3 * DAY


async def test_the_dead_are_forgotten_after_a_fortnight(engine: Engine) -> None:
    """As long as others die the list does not expire by itself, so what is older than its record leaves it."""
    caller = portal()
    done = await ended(engine, caller, "https://elsewhere.example.vn/")
    dead = keys.dead_hooks(engine.shard(done), "portal")
    await engine.redis.zadd(dead, {"ancient": engine.clock.now_ms - 14 * DAY * 1000})
    async with telling(engine, caller) as worker:
        await step(worker)
    assert [done.id.encode()] == await engine.redis.zrange(dead, 0, -1)


async def test_test_keys_are_told_too(engine: Engine, receiver: Receiver) -> None:
    """What a test key made is told from a queue of its own, signed alike."""
    live = portal()
    test = Caller(live.client, test=True)
    done = [await ended(engine, one, receiver.url) for one in (live, test)]
    async with telling(engine, live) as worker:
        assert 2 == await step(worker)
    assert {f"msg_{one.id}" for one in done} == set(receiver.ids)


async def test_two_workers_tell_it_once(engine: Engine, receiver: Receiver) -> None:
    """Of two workers one has each webhook in hand."""
    caller = portal()
    for at in range(10):
        await ended(engine, caller, receiver.url, phone=f"+8490000000{at}")
    async with engine.sibling() as other, telling(engine, caller) as one, telling(other, caller) as two:
        assert 10 == await one.step() + await two.step()
        await one.finish()
        await two.finish()
    assert 10 == len(set(receiver.ids)) == len(receiver.ids)


async def test_a_lost_reply_of_the_store_tells_it_once(engine: Engine, receiver: Receiver) -> None:
    """Calls of the store that are made twice, because their reply was lost, cost no second attempt (Invariant 11)."""
    caller = portal()
    receiver.next = [(500, {})]
    async with engine.sibling(forgetful=True) as forgetful, telling(forgetful, caller) as worker:
        await ended(forgetful, caller, receiver.url)
        assert 1 == await step(worker)
        engine.advance(5)
        assert 1 == await step(worker)
        assert 0 == await step(worker)
        assert {"portal": Backlog()} == await store_of(forgetful).backlogs(["portal"])
    assert 2 == len(receiver.ids)


async def test_the_queue_is_measured(engine: Engine, receiver: Receiver) -> None:
    """Depth and age over all clients, and how many were given up, are shown to Prometheus."""
    caller, rival = portal(), portal("rival", webhook_secrets=())
    await ended(engine, caller, receiver.url)
    await ended(engine, caller, receiver.url, phone="+84900000002")
    await ended(engine, rival, receiver.url, phone="+84900000003")
    async with telling(engine, caller, rival) as worker:
        engine.advance(90)
        await worker.measure()
        assert 3 == engine.count("otp_queue_depth", queue="webhooks")
        assert 90 == engine.count("otp_queue_oldest_age_seconds", queue="webhooks")
        await step(worker)
        await worker.measure()
    assert 0 == engine.count("otp_queue_depth", queue="webhooks")
    assert 1 == engine.count("otp_webhooks_dead")
    assert {"delivered": 2, "no_secret": 1} == results(engine)
    assert 2 == engine.count("otp_webhook_delivery_seconds_count")
    assert 180 <= engine.count("otp_webhook_delivery_seconds_sum") < 190


async def test_the_store_s_clock_signs(valkey_backend: object, receiver: Receiver) -> None:
    """The signed time is the store's, so that a host with a wrong clock is believed all the same (Invariant 4)."""
    caller = portal()
    async with Engine(valkey_backend, clock=Clock(0)) as engine:  # type: ignore[arg-type]
        await ended(engine, caller, receiver.url)
        with time_machine.travel("2001-01-01T00:00:00Z", tick=True):
            async with telling(engine, caller) as worker:
                await step(worker)
        (taken,) = receiver.taken
        Webhook(caller.client.webhook_secrets[0]).verify(taken.body, taken.headers)
