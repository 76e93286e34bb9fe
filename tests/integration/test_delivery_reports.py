"""Delivery reports: told or asked for, twice, late, early or forged, they change ``delivery`` and nothing else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
import structlog
from aiohttp import web
from support.engine import ACCEPT, OTHER_PHONE, PHONE, REFUSE, THIRD_PHONE, UNCLEAR, Backend, Engine, ring

from otp_service.core.errors import StoreUnavailable
from otp_service.core.ports import DeliveryReport, DeliveryState, HttpRequest, HttpResponse
from otp_service.core.verification import Verification
from otp_service.delivery.accounts import Account
from otp_service.delivery.poller import FIRST_POLL_MS, ReportPoller
from otp_service.delivery.sms_worker import SmsWorker
from otp_service.storage import keys
from sms_adapters.fake import FakeGateway

SENT, DELIVERED, FAILED = DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.FAILED
FIRST_POLL_S, POLL_PAUSE_S, POLLED_S = FIRST_POLL_MS / 1000, 10, 3600
EARLY_MAX, EARLY_S = 10_000, 600
#: How much is known of a delivery: more replaces less, never the other way.
KNOWN = ("sent", "failed", "delivered")


def by_id(state: DeliveryState, provider_id: str = "m-1") -> DeliveryReport:
    """Return a report that names the message by the provider's id."""
    return DeliveryReport(state, provider_id)


def by_reference(state: DeliveryState, started: Verification, number: int = 1) -> DeliveryReport:
    """Return a report that names the message by our reference."""
    return DeliveryReport(state, reference=f"{started.id}-{number}")


async def sent(engine: Engine, phone: str = PHONE, provider_id: str = "m-1") -> Verification:
    """Start a verification whose SMS the gateway takes under an id."""
    engine.postbox.answer = (200, {"id": provider_id})
    started = await engine.start(phone)
    await engine.deliver()
    return started


async def take(engine: Engine, *reports: DeliveryReport, account: str = "fake") -> None:
    """Take reports over, as the callback does."""
    await engine.reports.take(Account(account, FakeGateway()), reports)


async def delivery(engine: Engine, started: Verification) -> str:
    """Return the delivery that a portal sees."""
    return (await engine.get(started)).delivery


# -- how they find the send ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", DeliveryState)
async def test_by_the_providers_id(engine: Engine, state: DeliveryState) -> None:
    """A report that names the provider's id becomes the delivery."""
    started = await sent(engine)
    engine.advance(3)
    await take(engine, by_id(state))
    assert state.value == await delivery(engine, started)
    outcome = "stale" if state is SENT else "taken"
    assert 1 == engine.count("otp_delivery_reports_total", gateway="fake", state=state.value, outcome=outcome)
    assert (0 if state is SENT else 3) == engine.count("otp_delivery_seconds_sum", gateway="fake")


@pytest.mark.parametrize("state", DeliveryState)
async def test_by_our_reference(engine: Engine, state: DeliveryState) -> None:
    """A report that gives our reference back becomes the delivery."""
    started = await sent(engine)
    await take(engine, by_reference(state, started))
    assert state.value == await delivery(engine, started)


async def test_by_our_reference_when_the_id_is_not_known(engine: Engine) -> None:
    """A report with an id that the gateway never told us is found by the reference beside it."""
    started = await sent(engine)
    await take(engine, DeliveryReport(DELIVERED, "another-id", f"{started.id}-1"))
    assert "delivered" == await delivery(engine, started)


async def test_the_providers_id_decides(engine: Engine) -> None:
    """Where both are there, the id that the gateway gave us is believed, not the reference."""
    first = await sent(engine)
    second = await sent(engine, OTHER_PHONE, "m-2")
    await take(engine, DeliveryReport(DELIVERED, "m-1", f"{second.id}-1"))
    assert ["delivered", "sent"] == [await delivery(engine, one) for one in (first, second)]


async def test_an_id_belongs_to_its_gateway(engine: Engine) -> None:
    """Two gateways may use the same id: a report of one says nothing of the other's message."""
    started = await sent(engine)
    await take(engine, by_id(DELIVERED), account="backup")
    assert "sent" == await delivery(engine, started)


# -- order --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(permutations(DeliveryState)))
@pytest.mark.parametrize("name", ["id", "reference"])
async def test_out_of_order(engine: Engine, order: tuple[DeliveryState, ...], name: str) -> None:
    """In whatever order reports come, each twice, the best that is known stays: delivered wins over failed."""
    started = await sent(engine)
    best = "sent"
    for state in order:
        best = max(best, state.value, key=KNOWN.index)
        for _ in range(2):
            await take(engine, by_id(state) if name == "id" else by_reference(state, started))
            assert best == await delivery(engine, started)


async def test_many_at_once(engine: Engine) -> None:
    """Reports that come at once through several processes leave the best that is known, taken over once."""
    started = await sent(engine)
    async with engine.sibling() as other:
        await asyncio.gather(*(
            take(process, by_id(state)) for state in (FAILED, DELIVERED, SENT) * 5 for process in (engine, other)
        ))
        assert "delivered" == await delivery(engine, started)
        taken = sum(
            process.count("otp_delivery_reports_total", gateway="fake", state="delivered", outcome="taken")
            for process in (engine, other)
        )
    assert 1 == taken


@pytest.mark.parametrize("state", [DELIVERED, FAILED])
@pytest.mark.parametrize("name", ["id", "reference", "both"])
async def test_before_the_gateways_answer(engine: Engine, state: DeliveryState, name: str) -> None:
    """
    A report that overtakes the gateway's answer is kept for it under the provider's id.

    Our reference is known to every gateway that was asked: until one has taken the message it proves nothing.
    """
    started = await engine.start()
    provider_id = None if name == "reference" else "m-1"
    reference = None if name == "id" else f"{started.id}-1"
    await take(engine, DeliveryReport(state, provider_id, reference))
    assert "queued" == await delivery(engine, started)
    engine.postbox.answer = ACCEPT
    await engine.deliver()
    assert ("sent" if name == "reference" else state.value) == await delivery(engine, started)


async def test_early_reports_in_any_order(engine: Engine) -> None:
    """Of several early reports of one message the best is taken over."""
    for state in (SENT, DELIVERED, FAILED):
        await take(engine, by_id(state))
    assert "delivered" == await delivery(engine, await sent(engine))


@pytest.mark.parametrize("state", [DELIVERED, FAILED])
async def test_an_early_report_and_lost_replies(backend: Backend, state: DeliveryState) -> None:
    """When the answer is recorded twice because a reply was lost, the early report still counts (Invariant 11)."""
    async with Engine(backend, forgetful=True) as engine:
        await take(engine, by_id(state))
        assert state.value == await delivery(engine, await sent(engine))


async def test_an_early_report_counts_for_one_message(engine: Engine) -> None:
    """A report that was kept is taken over once, and gone afterwards."""
    await take(engine, by_id(DELIVERED))
    await sent(engine)
    assert 0 == await engine.redis.zcard(keys.gateway("fake", "early"))


async def test_of_an_older_send(engine: Engine) -> None:
    """What becomes of an SMS that a newer one has replaced does not show, by id or by reference."""
    started = await sent(engine)
    engine.advance(60)
    await engine.resend(started)
    await take(engine, by_id(DELIVERED), by_reference(FAILED, started))
    assert "queued" == await delivery(engine, started)
    engine.postbox.answer = (200, {"id": "m-2"})
    await engine.deliver()
    await take(engine, by_id(DELIVERED), by_reference(FAILED, started))
    assert "sent" == await delivery(engine, started)
    await take(engine, by_id(DELIVERED, "m-2"))
    assert "delivered" == await delivery(engine, started)


@pytest.mark.parametrize(("answer", "shown"), [(UNCLEAR, "delivered"), (REFUSE, "failed")])
async def test_of_a_send_that_was_refused(engine: Engine, answer: Any, shown: str) -> None:
    """By our reference a gateway that may have the SMS is believed that it arrived, one that refused it is not."""
    engine.postbox.answer = answer
    started = await engine.start()
    await engine.deliver()
    await take(engine, by_reference(DELIVERED, started))
    assert shown == await delivery(engine, started)


@pytest.mark.parametrize("state", [DELIVERED, FAILED])
async def test_another_gateway_says_nothing(engine: Engine, state: DeliveryState) -> None:
    """By our reference a gateway that never had the SMS cannot say what became of it."""
    started = await sent(engine)
    stranger = Account("backup", FakeGateway())
    await engine.reports.take(stranger, [by_reference(state, started)])
    assert "sent" == await delivery(engine, started)


# -- nothing else -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["pending", "verified", "cancelled", "expired"])
async def test_nothing_but_delivery_changes(engine: Engine, how: str) -> None:
    """Whatever has become of a verification, a report changes its ``delivery`` and no other byte (Invariant 12)."""
    started = await sent(engine)
    match how:
        case "verified":
            await engine.right(started)
        case "cancelled":
            await engine.cancel(started)
        case "expired":
            engine.advance(900)
            await engine.deadlines()
    record, before = await engine.record(started), await engine.dump()
    await take(engine, by_id(DELIVERED))
    key = keys.verification(engine.shard(started), started.id).encode()
    after = await engine.dump()
    nothing = (b"", 0)
    assert {key} == {
        name for name in before.keys() | after.keys() if before.get(name, nothing)[0] != after.get(name, nothing)[0]
    }
    assert abs(before[key][1] - after[key][1]) <= 1
    assert {**record, b"y": b"d"} == await engine.record(started)
    known = await engine.dump()
    await take(engine, by_id(DELIVERED), by_id(FAILED), by_id(SENT), by_reference(FAILED, started))
    assert known == await engine.dump()


async def test_a_verification_that_is_gone_is_not_made_again(engine: Engine) -> None:
    """A report of a verification that was removed long ago makes no record of it (Invariant 7)."""
    started = await sent(engine)
    key = keys.verification(engine.shard(started), started.id)
    await engine.redis.delete(key)
    await take(engine, by_id(DELIVERED), by_reference(DELIVERED, started))
    assert 0 == await engine.redis.exists(key)


@pytest.mark.parametrize("reference", [
    "", "x", "{id}", "{id}-0", "{id}-2", "{id}-100", "{id}-01", " {id}-1", "{id}-1\n", "{id}-1-1", "-1",
    "5-k1-aaaaaaaaaaaaaaaaaaaaaaaaaa-1", "5-k9-aaaaaaaaaaaaaaaaaaaaaaaaaa-1", "f" * 1000, "{id}*-1", "٣-1",
])
async def test_what_is_no_reference_of_ours(engine: Engine, reference: str) -> None:
    """A reference that is not ours, malformed, of no send that is there, or endless, changes nothing at all."""
    started = await sent(engine)
    before = await engine.dump()
    await take(engine, DeliveryReport(DELIVERED, reference=reference.format(id=started.id)))
    assert before == await engine.dump()


async def test_a_reference_under_a_foreign_key(engine: Engine) -> None:
    """A reference made under a key that is not of this ring reaches nothing, not even a record of that name."""
    started = await sent(engine)
    shard, foreign = engine.shard(started), ring("zz").new_id(3)
    forged = foreign.replace(foreign[0], f"{shard:x}", 1)
    await engine.redis.copy(keys.verification(shard, started.id), keys.verification(shard, forged))
    before = await engine.dump()
    await take(engine, DeliveryReport(DELIVERED, reference=f"{forged}-1"))
    assert before == await engine.dump()
    assert 1 == engine.count("otp_delivery_reports_total", gateway="fake", state="delivered", outcome="unknown")


@pytest.mark.parametrize("provider_id", ["", "x" * 65, "a b", "ă", "a\n", "\x7f"])
async def test_what_is_no_providers_id(engine: Engine, provider_id: str) -> None:
    """An id that no gateway can have given is not kept."""
    before = await engine.dump()
    await take(engine, by_id(DELIVERED, provider_id))
    assert before == await engine.dump()


async def test_a_report_after_the_key_was_dropped(engine: Engine) -> None:
    """A report of a verification whose key has been dropped since is put aside."""
    await sent(engine)
    engine.rotate("k2")
    await take(engine, by_id(DELIVERED))
    assert 1 == engine.count("otp_delivery_reports_total", gateway="fake", state="delivered", outcome="stale")


# -- bounds -------------------------------------------------------------------------------------------------------


async def test_unknown_ids_are_bounded(engine: Engine) -> None:
    """At most 10 000 reports of unknown messages are kept, the rest is dropped; ten minutes later there is room."""
    early = keys.gateway("fake", "early")
    await engine.redis.zadd(early, {f"d{at}": engine.clock.now_ms for at in range(EARLY_MAX - 1)})
    await take(engine, by_id(DELIVERED, "one"), by_id(DELIVERED, "two"))
    assert EARLY_MAX == await engine.redis.zcard(early)
    for outcome in ("early", "full"):
        assert 1 == engine.count("otp_delivery_reports_total", gateway="fake", state="delivered", outcome=outcome)
    engine.advance(EARLY_S)
    await take(engine, by_id(DELIVERED, "two"))
    assert 1 == await engine.redis.zcard(early)


async def test_what_is_kept_expires(engine: Engine) -> None:
    """Reports of unknown messages, messages and polls all have an end of their own (Invariant 7)."""
    worker = await polled(engine)
    await engine.start()
    await engine.deliver(worker)
    await take(engine, by_id(DELIVERED, "unknown"))
    ends = {
        name: await engine.redis.ttl(key) for name, key in {
            "early": keys.gateway("fake", "early"), "polls": keys.gateway("fake", "polls"),
            "message": keys.gateway_message("fake", "m-1"),
        }.items()
    }
    assert EARLY_S - 60 < ends["early"] <= EARLY_S
    assert 86_400 - 60 < ends["polls"] <= 86_400
    assert 86_400 - 60 < ends["message"] <= 86_400


async def test_a_store_that_is_away_is_told(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a report cannot be taken over the caller hears of it, so that the provider tells it again (Invariant 8)."""
    started = await sent(engine)

    def gone(*_: object) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_exception(StoreUnavailable("away"))
        return future

    with monkeypatch.context() as patch:
        patch.setattr(engine.client, "run", gone)
        with pytest.raises(StoreUnavailable):
            await take(engine, by_id(DELIVERED))
    await take(engine, by_id(DELIVERED))
    assert "delivered" == await delivery(engine, started)


# -- polling ------------------------------------------------------------------------------------------------------


async def polled(engine: Engine) -> SmsWorker:
    """Return a worker whose gateway is asked for deliveries."""
    worker = await engine.worker()
    engine.accounts["fake"].poll_reports = True
    return worker


async def due(engine: Engine, most: int = 100) -> list[str]:
    """Take what is to be asked for."""
    return await engine.gateways.due_polls("fake", most)


async def test_a_message_is_asked_for_with_growing_pauses(engine: Engine) -> None:
    """A message is asked for after 5 s, then after as long as it is old, at least 10 s, for an hour."""
    worker = await polled(engine)
    await engine.start()
    await engine.deliver(worker)
    ages, age_s = [], 0.0
    while age_s < 2 * POLLED_S:
        if await due(engine):
            ages.append(age_s)
        engine.advance(2.5)
        age_s += 2.5
    assert [5, 15, 30, 60, 120, 240, 480, 960, 1920] == ages
    assert 0 == await engine.redis.zcard(keys.gateway("fake", "polls"))


async def test_a_message_is_given_up_after_an_hour(engine: Engine) -> None:
    """To the hour a message is asked for, beyond it nobody asks any more."""
    worker = await polled(engine)
    await engine.start()
    await engine.deliver(worker)
    engine.advance(POLLED_S)
    assert ["m-1"] == await due(engine)
    engine.advance(POLLED_S)
    assert [] == await due(engine)
    assert 0 == await engine.redis.zcard(keys.gateway("fake", "polls"))


async def test_what_is_given_up_keeps_nothing_waiting(engine: Engine) -> None:
    """Messages that nobody asks for any more do not take the turns of those that are due."""
    worker = await polled(engine)
    for at in range(5):
        engine.postbox.answer = (200, {"id": f"old-{at}"})
        await engine.start(f"+8453000{at:04d}")
        await engine.deliver(worker)
    engine.advance(POLLED_S + 1)
    engine.postbox.answer = (200, {"id": "new"})
    await engine.start()
    await engine.deliver(worker)
    engine.advance(FIRST_POLL_S)
    assert ["new"] == await due(engine, 1)
    assert 1 == await engine.redis.zcard(keys.gateway("fake", "polls"))


async def test_no_more_than_asked_for(engine: Engine) -> None:
    """A batch has at most as many messages as one request takes; the others stay due."""
    worker = await polled(engine)
    for at in range(5):
        engine.postbox.answer = (200, {"id": f"m-{at}"})
        await engine.start(f"+8453000{at:04d}")
        await engine.deliver(worker)
    engine.advance(FIRST_POLL_S)
    assert [2, 2, 1, 0] == [len(await due(engine, 2)) for _ in range(4)]


async def test_each_message_is_asked_for_by_one_worker(engine: Engine) -> None:
    """Of many workers that poll at once each due message is one's alone."""
    worker = await polled(engine)
    for at in range(20):
        engine.postbox.answer = (200, {"id": f"m-{at}"})
        await engine.start(f"+8453000{at:04d}")
        await engine.deliver(worker)
    engine.advance(FIRST_POLL_S)
    async with engine.sibling() as other:
        found = await asyncio.gather(*(due(process, 3) for process in (engine, other) for _ in range(6)))
    assert {f"m-{at}": 1 for at in range(20)} == Counter(one for batch in found for one in batch)


@pytest.mark.parametrize("state", DeliveryState)
async def test_a_final_report_ends_the_polling(engine: Engine, state: DeliveryState) -> None:
    """Once a delivery is known for good nobody asks for it; one that is on its way is asked for again."""
    worker = await polled(engine)
    await engine.start()
    await engine.deliver(worker)
    await take(engine, by_id(state))
    engine.advance(FIRST_POLL_S)
    assert (["m-1"] if state is SENT else []) == await due(engine)


async def test_what_was_reported_early_is_not_polled(engine: Engine) -> None:
    """A message whose final report overtook the answer is never asked for."""
    worker = await polled(engine)
    await take(engine, by_id(FAILED))
    await engine.start()
    await engine.deliver(worker)
    engine.advance(FIRST_POLL_S)
    assert [] == await due(engine)


@asynccontextmanager
async def provider(states: dict[str, str], asked: list[list[str]], status: int = 200) -> AsyncIterator[str]:
    """Serve a provider that can be asked for states."""
    async def tell(request: web.Request) -> web.Response:
        ids = request.query.getall("id")
        asked.append(ids)
        found = [{"id": one, "state": states[one]} for one in ids if one in states]
        return web.json_response({"messages": found}, status=status)

    app = web.Application()
    app.router.add_get("/sms/messages", tell)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/sms"
    finally:
        await runner.cleanup()


async def test_the_poller_takes_over_what_it_is_told(engine: Engine) -> None:
    """The poller asks for what is due, takes the answers over, and asks again for what is not known yet."""
    worker = await polled(engine)
    started = [
        await sent_by(engine, worker, phone, f"m-{at}") for at, phone in enumerate((PHONE, OTHER_PHONE, THIRD_PHONE))
    ]
    states, asked = {"m-0": "delivered", "m-1": "failed"}, list[list[str]]()
    account = engine.accounts["fake"]
    poller = ReportPoller(
        accounts=engine.accounts, store=engine.gateways, sender=worker._courier._sender, reports=engine.reports,
    )
    async with provider(states, asked) as url:
        account.gateway._url = url  # type: ignore[union-attr]  # where this provider is asked
        assert not await poller.step(account)
        assert [] == asked
        engine.advance(FIRST_POLL_S)
        assert not await poller.step(account)
        assert [["m-0", "m-1", "m-2"]] == asked
        assert ["delivered", "failed", "sent"] == [await delivery(engine, one) for one in started]
        engine.advance(POLL_PAUSE_S)
        states["m-2"] = "delivered"
        await poller.step(account)
    assert ["m-2"] == asked[-1]
    assert "delivered" == await delivery(engine, started[2])


async def sent_by(engine: Engine, worker: SmsWorker, phone: str, provider_id: str) -> Verification:
    """Start a verification whose SMS a worker sends, taken under an id."""
    engine.postbox.answer = (200, {"id": provider_id})
    started = await engine.start(phone)
    await engine.deliver(worker)
    return started


async def test_a_provider_that_does_not_answer_is_asked_later(engine: Engine) -> None:
    """A poll that fails changes nothing and is made again after the pause."""
    worker = await polled(engine)
    started = await sent_by(engine, worker, PHONE, "m-1")
    poller = ReportPoller(
        accounts=engine.accounts, store=engine.gateways, sender=worker._courier._sender, reports=engine.reports,
    )
    account, asked = engine.accounts["fake"], list[list[str]]()
    engine.advance(FIRST_POLL_S)
    async with provider({}, asked, status=503) as url:
        account.gateway._url = url  # type: ignore[union-attr]  # where this provider is asked
        await poller.step(account)
    engine.advance(POLL_PAUSE_S)
    assert not await poller.step(account)
    assert "sent" == await delivery(engine, started)
    engine.advance(4 * POLL_PAUSE_S)
    assert ["m-1"] == await due(engine)


class Faulty(FakeGateway):
    """An adapter that cannot poll."""

    fault = ""

    def build_poll(self, provider_ids: Sequence[str]) -> HttpRequest:  # noqa: D102 - as the adapter's
        request = super().build_poll(provider_ids)
        if self.fault == "build":
            raise ValueError("m-1")
        # The last two are refused by the HTTP client.
        return {
            "url": replace(request, url="http://[m-1"), "header": replace(request, headers={"accept": "\n"}),
        }.get(self.fault, request)

    def parse_poll(self, response: HttpResponse) -> list[DeliveryReport]:  # noqa: D102 - as the adapter's
        if self.fault == "parse":
            raise UnicodeError("m-1")
        return super().parse_poll(response)


@pytest.mark.parametrize("fault", ["build", "parse", "url", "header"])
async def test_a_poll_that_raises_is_made_again(engine: Engine, fault: str) -> None:
    """What an adapter or the HTTP client raises is logged by its kind alone, and the next round goes on."""
    worker = await engine.worker(adapter=Faulty)
    account = engine.accounts["fake"]
    account.poll_reports = True
    started = await sent_by(engine, worker, PHONE, "m-1")
    poller = ReportPoller(
        accounts=engine.accounts, store=engine.gateways, sender=worker._courier._sender, reports=engine.reports,
    )
    assert isinstance(account.gateway, Faulty)
    async with provider({"m-1": "delivered"}, []) as url:
        account.gateway._url, account.gateway.fault = url, fault
        engine.advance(FIRST_POLL_S)
        with structlog.testing.capture_logs() as lines:
            await poller.step(account)
        account.gateway.fault = ""
        engine.advance(POLL_PAUSE_S)
        await poller.step(account)
    kind = "UnicodeError" if fault == "parse" else "ValueError"
    expected = {"event": "poll failed", "log_level": "error", "gateway": "fake", "error": kind}
    assert [expected] == lines
    assert "delivered" == await delivery(engine, started)


async def test_the_poller_stops_when_told(engine: Engine) -> None:
    """A poller without anything to do waits, and stops at once when it is told to."""
    await polled(engine)
    poller = ReportPoller(
        accounts=engine.accounts, store=engine.gateways, reports=engine.reports,
        sender=(await engine.worker())._courier._sender,
    )
    stop = asyncio.Event()
    running = asyncio.create_task(poller.run(stop))
    await asyncio.sleep(0)
    stop.set()
    async with asyncio.timeout(10):
        await running
