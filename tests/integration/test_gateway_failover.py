"""Several gateways: a refusal moves on at once, no code is sent twice without need, and no gateway is overrun."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from support.engine import (
    ACCEPT,
    AT_ONCE,
    BUSY,
    OTHER_PHONE,
    PHONE,
    PORTAL,
    REFUSE,
    THIRD_PHONE,
    THROTTLE,
    UNCLEAR,
    Backend,
    Engine,
    handle,
)

from otp_service.core.ports import HttpRequest, HttpResponse, SendOutcome, SmsMessage, Supports
from otp_service.core.routing import Route, RouteBook, parse_tiers
from otp_service.core.verification import Verification
from otp_service.delivery.accounts import Pace
from otp_service.delivery.sms_worker import SmsWorker
from otp_service.storage.client import StoreClient
from otp_service.storage.queue import QueuedSms
from otp_service.storage.scripts import Script
from sms_adapters.fake import FakeGateway

BOTH = ("fake", "backup")
LEASE_S = 7.0  # the fake gateway's timeout of 5 s, and 2 s
INVALID = (400, {"error": "invalid_number"})


class Forgetful(FakeGateway):
    """A gateway whose provider sends every hand-over, known reference or not."""

    supports = Supports(parts=10)

    def __init__(self, url: str = "", **options: Any) -> None:
        super().__init__(url, **options)
        self.supports = Supports(parts=10)


class RealGateway(FakeGateway):
    """A gateway that reaches real phones."""

    real = True


async def until(holds: Callable[[], bool]) -> None:
    """Let everybody else run until something holds."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0)


async def settle() -> None:
    """Let everybody do what they can do now."""
    for _ in range(300):
        await asyncio.sleep(0)


def asked(engine: Engine) -> tuple[list[str], list[str]]:
    """Return the references that each gateway was given."""
    return engine.postbox.references, engine.backup.references


async def taken(worker: SmsWorker) -> list[QueuedSms]:
    """Let a worker take what is queued, without doing anything about it."""
    await worker._queue.prepare()
    found: list[QueuedSms] = []
    while more := await worker._queue.read(256, AT_ONCE):
        found += more
    return found


async def die(worker: SmsWorker) -> None:
    """End everything that a worker has in hand, as a killed process does."""
    tasks = list(worker._in_hand.values())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def ask(engine: Engine, url: str) -> None:
    """Let the first gateway's provider be another one."""
    gateway = engine.accounts["fake"].gateway
    assert isinstance(gateway, FakeGateway)
    gateway._url = url


async def shown(engine: Engine, started: Verification) -> tuple[str, int, int]:
    """Return what a portal sees of a send, and how many SMS stand in the phone's log."""
    seen = await engine.get(started)
    return seen.delivery, seen.sends_left, await engine.sends(started.phone_number)


# -- moving on ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", [
    REFUSE, BUSY, THROTTLE, (401, {"error": "authentication"}), (402, {"error": "balance"}),
    (400, {"error": "template_rejected"}), (400, {"error": "sender_rejected"}), (400, {"error": "wrong_network"}),
])
async def test_a_refusal_that_another_may_heal_moves_on_at_once(
    engine: Engine, refusal: tuple[int, dict[str, Any]],
) -> None:
    """What the first gateway refuses the second gets without a pause: same text, same reference (Invariant 6)."""
    engine.postbox.answer = refusal
    started = await engine.start()
    # A pause would be 15 s, longer than this test may take.
    async with asyncio.timeout(10):
        await engine.deliver(await engine.worker(tiers=BOTH, backoff_s=15))
    assert ([f"{started.id}-1"], [f"{started.id}-1"]) == asked(engine)
    assert engine.postbox.posts == engine.backup.posts
    assert ("sent", 3, 1) == await shown(engine, started)
    assert 0 == await engine.queued()


async def test_a_refused_number_is_refused_everywhere(engine: Engine) -> None:
    """A number that one gateway calls invalid costs no second hand-over, and the send is given back."""
    engine.postbox.answer = INVALID
    started = await engine.start()
    await engine.deliver(await engine.worker(tiers=BOTH))
    assert ([f"{started.id}-1"], []) == asked(engine)
    assert ("failed", 4, 0) == await shown(engine, started)


async def test_when_all_refuse_the_resend_opens_at_once(engine: Engine) -> None:
    """A send that every gateway refused has failed, is refunded once, and may be repeated now (Invariant 3)."""
    engine.postbox.answer = engine.backup.answer = REFUSE
    started = await engine.start()
    engine.advance(10)
    await engine.deliver(await engine.worker(tiers=BOTH))
    assert ([f"{started.id}-1"], [f"{started.id}-1"]) == asked(engine)
    assert ("failed", 4, 0) == await shown(engine, started)
    seen = await engine.get(started)
    assert engine.clock.now_ms == seen.resend_at_ms
    engine.backup.answer = ACCEPT
    again = await engine.resend(started)
    await engine.deliver(await engine.worker(tiers=BOTH))
    assert (2, 3) == (again.send_number, again.sends_left)
    assert ("sent", 3, 1) == await shown(engine, started)


async def test_when_none_ever_takes_one_the_verification_ends_undeliverable(engine: Engine) -> None:
    """A verification none of whose sends any gateway took ends undeliverable (Invariant 6)."""
    engine.postbox.answer = engine.backup.answer = REFUSE
    started = await engine.start()
    await engine.deliver(await engine.worker(tiers=BOTH))
    engine.advance(900)
    assert "undeliverable" == (await engine.get(started)).status


@pytest.mark.parametrize("first", [True, False])
async def test_what_may_be_sent_is_not_refunded(engine: Engine, *, first: bool) -> None:
    """A send that one gateway may have, whichever, stays spent when the other refuses it (Invariant 3)."""
    engine.postbox.next, engine.backup.answer = [UNCLEAR if first else BUSY], REFUSE if first else UNCLEAR
    engine.postbox.answer = REFUSE
    started = await engine.start()
    await engine.deliver(await engine.worker(tiers=BOTH, attempts=2))
    assert ("failed", 3, 1) == await shown(engine, started)
    assert engine.clock.now_ms < ((await engine.get(started)).resend_at_ms or 0)
    engine.advance(900)
    assert "expired" == (await engine.get(started)).status


async def test_those_that_may_change_their_mind_are_asked_again(engine: Engine) -> None:
    """After a round of refusals the busy gateway is asked again, the one that refused for good is not."""
    engine.postbox.answer = REFUSE
    engine.backup.next = [BUSY]
    started = await engine.start()
    await engine.deliver(await engine.worker(tiers=BOTH, attempts=5))
    assert (1, 2) == (len(engine.postbox.posts), len(engine.backup.posts))
    assert ("sent", 3, 1) == await shown(engine, started)


async def test_attempts_are_counted_over_all_gateways(engine: Engine) -> None:
    """However many gateways there are, a send is handed over no more often than the policy says (Invariant 14)."""
    engine.postbox.answer = engine.backup.answer = BUSY
    started = await engine.start()
    await engine.deliver(await engine.worker(tiers=BOTH, attempts=5))
    assert (3, 2) == (len(engine.postbox.posts), len(engine.backup.posts))
    assert ("failed", 4, 0) == await shown(engine, started)


# -- answers that do not come -------------------------------------------------------------------------------------


@asynccontextmanager
async def provider(*answers: bytes | None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve raw answers, the pieces of one apart in time where ``|`` stands; None hangs up. Gives URL and bodies."""
    bodies: list[bytes] = []
    open_ones: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.add(writer)
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        bodies.append(await reader.readexactly(size))
        answer = answers[len(bodies) - 1]
        for piece in answer.split(b"|") if answer else ():
            writer.write(piece)
            await settle()
        writer.close()
        with suppress(ConnectionError):  # a reader that has had enough leaves
            await writer.wait_closed()
        open_ones.discard(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/sms", bodies
    finally:
        server.close()
        await until(lambda: not open_ones)


OK = b'HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{"id":"m-9"}'


@pytest.mark.parametrize("adapter", [FakeGateway, Forgetful])
async def test_a_lost_answer(engine: Engine, adapter: type) -> None:
    """Where duplicates are dropped a lost answer is asked for again with the same reference; elsewhere it moves on."""
    started = await engine.start()
    async with provider(None, OK) as (url, bodies):
        worker = await engine.worker(tiers=BOTH, adapter=adapter)
        ask(engine, url)
        await engine.deliver(worker)
    drops = adapter is FakeGateway
    assert ((2, 0) if drops else (1, 1)) == (len(bodies), len(engine.backup.posts))
    assert 1 == len({*bodies})
    assert ("sent", 3, 1) == await shown(engine, started)


async def test_answers_that_are_lost_again_move_on(engine: Engine) -> None:
    """A gateway that loses its answer twice is left for the next one."""
    started = await engine.start()
    async with provider(None, None) as (url, bodies):
        worker = await engine.worker(tiers=BOTH)
        ask(engine, url)
        await engine.deliver(worker)
    assert (2, 1) == (len(bodies), len(engine.backup.posts))
    assert ("sent", 3, 1) == await shown(engine, started)


async def test_an_answer_in_pieces_is_one_answer(engine: Engine) -> None:
    """An answer that arrives in several pieces is read whole, and not taken for a broken one."""
    await engine.start()
    async with provider(OK.replace(b'{"id', b'{"|id').replace(b"-", b"-|", 1)) as (url, bodies):
        worker = await engine.worker(tiers=BOTH)
        ask(engine, url)
        await engine.deliver(worker)
    assert (1, 0) == (len(bodies), len(engine.backup.posts))
    assert 1 == engine.count("otp_sends_total", gateway="fake", result="accepted")


async def test_an_answer_that_breaks_off_may_be_an_sms(engine: Engine) -> None:
    """A connection that breaks within an answer leaves a send that may have been taken (Invariant 3)."""
    engine.backup.answer = REFUSE
    started = await engine.start()
    async with provider(OK[:-3]) as (url, _):
        worker = await engine.worker(tiers=BOTH, adapter=Forgetful, attempts=2)
        ask(engine, url)
        await engine.deliver(worker)
    assert ("failed", 3, 1) == await shown(engine, started)


async def test_an_endless_answer_is_cut(engine: Engine) -> None:
    """No more than 64 KiB of an answer are read, however long it is (Invariant 14)."""
    started = await engine.start()
    endless = b"HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n" + b"x" * 200_000
    async with provider(endless) as (url, bodies):
        worker = await engine.worker(tiers=BOTH)
        ask(engine, url)
        await engine.deliver(worker)
    assert (1, 1) == (len(bodies), len(engine.backup.posts))
    assert "sent" == (await engine.get(started)).delivery


async def test_a_gateway_without_a_connection_has_nothing(engine: Engine) -> None:
    """Where no connection is made nothing was sent: the next gateway gets it, and a refusal there refunds it."""
    engine.backup.answer = REFUSE
    started = await engine.start()
    worker = await engine.worker(tiers=BOTH, attempts=2)
    await engine.postbox.close()
    await engine.deliver(worker)
    assert ("failed", 4, 0) == await shown(engine, started)


# -- between attempts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["used", "cancelled", "superseded", "expired"])
async def test_a_code_of_no_use_goes_to_no_second_gateway(engine: Engine, how: str) -> None:
    """What happens while the first gateway thinks is seen before the second is asked (Invariant 6)."""
    engine.postbox.gate, engine.postbox.next = asyncio.Event(), [BUSY]
    started = await engine.start()
    worker = await engine.worker(tiers=BOTH)
    delivering = asyncio.create_task(engine.deliver(worker))
    await until(lambda: engine.postbox.in_hand == 1)
    match how:
        case "used":
            await engine.right(started)
        case "cancelled":
            await engine.cancel(started)
        case "superseded":
            engine.advance(60)
            await engine.resend(started)
        case "expired":
            engine.advance(180)
    engine.postbox.gate.set()
    await delivering
    expected = [f"{started.id}-1", f"{started.id}-2"] if how == "superseded" else [f"{started.id}-1"]
    assert (expected, []) == asked(engine)
    assert 0 == await engine.queued()
    if how == "superseded":
        assert ("sent", 3, 1) == await shown(engine, started)
    if how == "expired":
        assert ("failed", 4, 0) == await shown(engine, started)


async def test_a_message_that_pauses_holds_nobody_up(engine: Engine) -> None:
    """While one message waits for its next attempt, the only hand is free for others."""
    engine.postbox.next = [BUSY]
    first = await engine.start()
    worker = await engine.worker(concurrency=1, backoff_s=15)
    await handle_until_pausing(engine, worker)
    second = await engine.start(OTHER_PHONE)
    for sms in await taken(worker):
        worker._begin(sms)
    await until(lambda: len(engine.postbox.posts) == 2)
    await until(lambda: len(worker._in_hand) == 1)
    assert ("queued", "sent") == ((await engine.get(first)).delivery, (await engine.get(second)).delivery)
    await die(worker)


async def handle_until_pausing(engine: Engine, worker: SmsWorker) -> None:
    """Begin what is queued, until one message pauses."""
    for sms in await taken(worker):
        worker._begin(sms)
    await until(lambda: worker._courier.pausing == 1)
    assert 1 == len(engine.postbox.posts)


async def test_a_message_that_pauses_is_nobody_elses(engine: Engine) -> None:
    """A message in its pause is not taken over; when its worker has died, it is, once the pause is over."""
    engine.postbox.next = [BUSY]
    started = await engine.start()
    dead, alive = await engine.worker("dead", backoff_s=15), await engine.worker("alive")
    await handle_until_pausing(engine, dead)
    await die(dead)
    engine.advance(14.999)
    await handle(alive, await alive._queue.reclaim(0, 100))
    assert 1 == len(engine.postbox.posts)
    engine.advance(0.001)
    engine.postbox.answer = REFUSE
    await handle(alive, await alive._queue.reclaim(0, 100))
    assert [f"{started.id}-1"] * 2 == engine.postbox.references
    # Nobody was being asked when it died, and both refused: nobody can have it.
    assert ("failed", 4, 0) == await shown(engine, started)


async def test_a_full_gateway_holds_up_no_other_route(engine: Engine) -> None:
    """Messages that wait for a gateway whose hands are full leave the worker's hands to those of another route."""
    engine.postbox.gate = asyncio.Event()
    worker = await engine.worker(tiers=BOTH, concurrency=3, hands=1)
    worker._courier._routes = RouteBook([
        Route(parse_tiers(["backup"]), purposes=frozenset({"sign_in"})), Route(parse_tiers(["fake"])),
    ])
    slow = [await engine.start(f"+8490000000{at}") for at in range(5)]
    for sms in await taken(worker):
        worker._begin(sms)
    await until(lambda: engine.postbox.in_hand == 1)
    await settle()
    quick = await engine.start(purpose="sign_in", phone="+84900000009")
    for sms in await taken(worker):
        worker._begin(sms)
    await until(lambda: engine.backup.posts != [])
    assert [f"{quick.id}-1"] == engine.backup.references
    engine.postbox.gate.set()
    await until(lambda: worker._in_hand == {})
    assert sorted(f"{one.id}-1" for one in slow) == sorted(engine.postbox.references)
    assert 1 == engine.postbox.most_in_hand
    assert 0 == worker._courier.pausing


# -- crashes ------------------------------------------------------------------------------------------------------


async def hand_over_and_die(engine: Engine, worker: SmsWorker) -> None:
    """Let a worker die while the first gateway has its message and has not answered."""
    engine.postbox.gate = asyncio.Event()
    for sms in await taken(worker):
        worker._begin(sms)
    await until(lambda: engine.postbox.in_hand == 1)
    await die(worker)
    engine.postbox.gate.set()


async def test_what_a_dead_worker_submitted_goes_to_the_same_gateway(engine: Engine) -> None:
    """After a death between submit and record the same gateway gets the same reference and text (Invariant 6)."""
    phones = [PHONE, OTHER_PHONE, THIRD_PHONE, "+84900000004", "+84900000005"]
    started = [await engine.start(phone) for phone in phones]
    dead, alive = [await engine.worker(name, tiers=("fake backup",)) for name in ("dead", "alive")]
    engine.postbox.gate = engine.backup.gate = asyncio.Event()
    for sms in await taken(dead):
        dead._begin(sms)
    await until(lambda: engine.postbox.in_hand + engine.backup.in_hand == len(phones))
    await die(dead)
    engine.postbox.gate.set()
    engine.advance(LEASE_S)
    await handle(alive, await alive._queue.reclaim(0, 100))
    for postbox in (engine.postbox, engine.backup):
        half = len(postbox.posts) // 2
        once, again = ({(post["reference"], post["text"]) for post in part}
                       for part in (postbox.posts[:half], postbox.posts[half:]))
        assert once == again
    assert sorted(f"{one.id}-1" for one in started) == sorted({*asked(engine)[0], *asked(engine)[1]})
    assert {"sent"} == {(await engine.get(one)).delivery for one in started}
    assert 0 == await engine.queued()


async def test_a_death_in_an_attempt_makes_the_send_maybe_sent(engine: Engine) -> None:
    """When the gateway had the message of a worker that died, later refusals do not refund it (Invariant 3)."""
    started = await engine.start()
    dead, alive = await engine.worker("dead"), await engine.worker("alive")
    await hand_over_and_die(engine, dead)
    engine.advance(LEASE_S)
    engine.postbox.answer = REFUSE
    await handle(alive, await alive._queue.reclaim(0, 100))
    assert ("failed", 3, 1) == await shown(engine, started)


class Slow(StoreClient):
    """A connection on which one script waits for an event before it is sent."""

    held: str = ""
    gate: asyncio.Event
    arrived: int = 0

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> asyncio.Future[Any]:  # noqa: D102
        if script.name != self.held:
            return super().run(script, keys, args)

        async def later() -> Any:
            self.arrived += 1
            await self.gate.wait()
            return await super(Slow, self).run(script, keys, args)

        return asyncio.ensure_future(later())


async def test_a_gateway_that_frees_up_early_is_still_asked_under_a_claim(engine: Engine) -> None:
    """A message that waited for a free hand is claimed anew, however soon the hand came free (Invariants 3, 6)."""
    slow = Slow(engine.backend.connect(), metrics=engine.metrics)
    slow.gate = asyncio.Event()
    engine.postbox.gate = asyncio.Event()
    first, second = await engine.start(), await engine.start(OTHER_PHONE)
    worker, alive = await engine.worker(hands=1), await engine.worker("alive")
    one, other = await taken(worker)
    worker._begin(one)
    await until(lambda: engine.postbox.in_hand == 1)
    ours, engine.store.client, slow.held = engine.store.client, slow, "sent"
    worker._begin(other)
    await until(lambda: slow.arrived == 1)  # the second says that it waits, and that takes its time
    engine.store.client = ours
    engine.postbox.gate.set()
    await until(lambda: len(worker._in_hand) == 1)
    engine.postbox.gate = asyncio.Event()
    slow.gate.set()
    await until(lambda: engine.postbox.in_hand == 1)
    await die(worker)
    engine.postbox.gate.set()
    engine.advance(2 * LEASE_S)
    engine.postbox.answer = REFUSE
    await handle(alive, await alive._queue.reclaim(0, 100))
    late = second if other.verification_id == second.id else first
    assert ("failed", 3, 1) == await shown(engine, late)
    await slow.close()


async def test_one_who_lost_the_lease_takes_it_from_nobody(engine: Engine) -> None:
    """A worker whose lease ran out neither takes the send from whoever holds it now nor finishes it (Invariant 6)."""
    started = await engine.start()
    [sms] = await taken(await engine.worker())
    shard, entry = sms.shard, sms.entry
    await engine.store.claim(shard, started.id, 1, entry, 7000, holder="late")
    engine.advance(LEASE_S)
    assert "send" == (await engine.store.claim(shard, started.id, 1, entry, 7000, holder="now")).outcome
    for outcome in "rf":
        await engine.store.sent(
            shard, started.id, 1, entry, outcome=outcome, maybe_sent=False, holder="late", retry_ms=1000,
        )
        late = await engine.store.claim(shard, started.id, 1, entry, 7000, holder="late")
        assert ("wait", 7000) == (late.outcome, late.number)
    assert ("queued", 3, 1) == await shown(engine, started)
    assert 1 == await engine.queued()
    await engine.store.sent(shard, started.id, 1, entry, outcome="a", maybe_sent=False, holder="now")
    assert (("sent", 3, 1), 0) == (await shown(engine, started), await engine.queued())


async def test_an_older_send_leaves_the_newer_ones_lease(engine: Engine) -> None:
    """What is recorded late of an older send neither ends the newer one's lease nor forgets what may be sent."""
    started = await engine.start()
    worker = await engine.worker()
    [first] = await taken(worker)
    shard = first.shard
    await engine.store.claim(shard, started.id, 1, first.entry, 60_000, holder="one")
    engine.advance(60)
    await engine.resend(started)
    [second] = await taken(worker)
    await engine.store.claim(shard, started.id, 2, second.entry, 7000, holder="two", maybe_sent=True)
    await engine.store.sent(
        shard, started.id, 1, first.entry, outcome="r", maybe_sent=True, holder="one", retry_ms=1000,
    )
    assert "wait" == (await engine.store.claim(shard, started.id, 2, second.entry, 7000, holder="x")).outcome
    assert "skip" == (await engine.store.claim(shard, started.id, 1, first.entry, 7000, holder="one")).outcome
    await engine.store.sent(shard, started.id, 2, second.entry, outcome="f", maybe_sent=False, holder="two")
    assert ("failed", 2, 2) == await shown(engine, started)


async def test_lost_replies_cost_nothing(backend: Backend) -> None:
    """With every reply of the store lost once, failing over sends, refunds and finishes as without (Invariant 11)."""
    async with Engine(backend, forgetful=True) as engine:
        healed, refused = await engine.start(), await engine.start(OTHER_PHONE)
        engine.postbox.answer, engine.backup.next = REFUSE, [ACCEPT, REFUSE]
        await engine.deliver(await engine.worker(tiers=BOTH))
        assert (2, 2) == (len(engine.postbox.posts), len(engine.backup.posts))
        seen = [await shown(engine, one) for one in (healed, refused)]
        assert [("failed", 4, 0), ("sent", 3, 1)] == sorted(seen)
        assert 0 == await engine.queued()


# -- not too fast, not too wide -----------------------------------------------------------------------------------


async def test_a_pace_holds_over_all_workers(engine: Engine) -> None:
    """Two workers together reserve no more places in any second than the account's pace, whoever comes first."""
    workers = [await engine.worker(f"w{at}", pace=Pace(5, burst=2)) for at in range(2)]
    accounts = [worker._courier._accounts for worker in workers]
    waits = []
    for at in range(12):
        place = await accounts[at % 2].admit(["fake"])
        assert place is not None
        waits.append(round(place[1], 3))
    assert [0, 0, *(round(0.2 * at, 3) for at in range(1, 11))] == waits


async def test_a_pace_heals_with_time(engine: Engine) -> None:
    """A second later as many places are free as the pace gives in a second, and no more."""
    accounts = (await engine.worker(pace=Pace(5, burst=5)))._courier._accounts

    async def free() -> int:
        """Take every place that is free now."""
        count = 0
        while await accounts._place(accounts["fake"], 0) is not None:
            count += 1
        return count

    assert 5 == await free()
    engine.advance(0.6)
    assert 3 == await free()
    engine.advance(60)
    assert 5 == await free()


async def test_where_the_first_is_at_its_pace_the_next_is_asked(engine: Engine) -> None:
    """A gateway that has no place now leaves the message to the next that has one, without a pause."""
    for phone in (PHONE, OTHER_PHONE, THIRD_PHONE):
        await engine.start(phone)
    worker = await engine.worker(tiers=BOTH, pace=Pace(0.01, burst=2))
    for sms in await taken(worker):
        await handle(worker, [sms])
    assert (2, 1) == (len(engine.postbox.posts), len(engine.backup.posts))


async def test_a_message_without_a_place_is_kept(engine: Engine) -> None:
    """A message for which no place is near is put off, not failed, and no attempt of it is spent."""
    first, second = await engine.start(), await engine.start(OTHER_PHONE)
    worker = await engine.worker(pace=Pace(0.01), attempts=1)
    sms = await taken(worker)
    for one in sms:
        worker._begin(one)
    await until(lambda: worker._courier.pausing == 1 and len(engine.postbox.posts) == 1)
    engine.advance(100)
    await until(lambda: worker._in_hand == {})
    assert {f"{first.id}-1", f"{second.id}-1"} == set(engine.postbox.references)
    assert 0 == await engine.queued()


async def test_a_message_that_waits_for_its_place_is_looked_at_again(engine: Engine) -> None:
    """A code that is used while its message waits for its place in time is not sent."""
    first, second = await engine.start(), await engine.start(OTHER_PHONE)
    worker = await engine.worker(pace=Pace(4))
    sms = await taken(worker)
    by_id = {one.verification_id: one for one in sms}
    await handle(worker, [by_id[first.id]])
    worker._begin(by_id[second.id])
    await until(lambda: worker._courier.pausing == 1 or len(worker._in_hand) == 1)
    await engine.right(second)
    await until(lambda: worker._in_hand == {})
    assert [f"{first.id}-1"] == engine.postbox.references
    assert 0 == await engine.queued()


async def test_no_account_has_more_in_hand_than_it_may(engine: Engine) -> None:
    """Each account's hand-overs at once are bounded, and what one has no hand for the next takes (Invariant 14)."""
    engine.postbox.gate = engine.backup.gate = asyncio.Event()
    started = [await engine.start(f"+8453000{at:04d}") for at in range(12)]
    worker = await engine.worker(tiers=BOTH, hands=3)
    for sms in await taken(worker):
        worker._begin(sms)
    await until(lambda: engine.postbox.in_hand + engine.backup.in_hand == 6)
    await settle()
    assert (3, 3) == (engine.postbox.in_hand, engine.backup.in_hand)
    engine.postbox.gate.set()
    await until(lambda: worker._in_hand == {})
    assert (3, 3) == (engine.postbox.most_in_hand, engine.backup.most_in_hand)
    assert sorted(f"{one.id}-1" for one in started) == sorted([*asked(engine)[0], *asked(engine)[1]])


# -- test keys ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phone", "delivery"), [
        (PHONE, "delivered"), ("+84900000900", "delivered"), ("+84900000901", "failed"), ("+84900000905", "failed"),
        ("+84900000907", "failed"), ("+84900000911", "failed"), ("+84900000912", "failed"), ("+84900000913", "sent"),
        ("+84900000918", "delivered"),
    ],
)
async def test_a_test_key_never_reaches_a_real_gateway(engine: Engine, phone: str, delivery: str) -> None:
    """What a test key sends ends as its magic number says, and no gateway of the route hears of it."""
    test_key = replace(PORTAL, test=True)
    started = await engine.start(phone, caller=test_key)
    await engine.deliver(await engine.worker(tiers=BOTH, adapter=RealGateway))
    assert ([], []) == asked(engine)
    assert delivery == (await engine.get(started, caller=test_key)).delivery
    assert 0 == await engine.queued()


async def test_one_real_gateway_is_enough_to_keep_test_keys_out(engine: Engine) -> None:
    """A route that is real in part is not used for a test key at all: not even its fake gateways."""
    class Half(FakeGateway):
        def __init__(self, url: str = "", **options: Any) -> None:
            super().__init__(url, **options)
            self.real = url == engine.backup.url

    started = await engine.start(caller=replace(PORTAL, test=True))
    await engine.deliver(await engine.worker(tiers=BOTH, adapter=Half))
    assert ([], []) == asked(engine)
    assert "delivered" == (await engine.get(started, caller=replace(PORTAL, test=True))).delivery


async def test_what_the_gateways_get_is_one_message(engine: Engine) -> None:
    """Template key, parameters, text and reference are the same for every gateway that is asked."""
    seen: list[SmsMessage] = []

    class Noting(FakeGateway):
        def build_request(self, message: SmsMessage) -> HttpRequest:
            seen.append(message)
            built = super().build_request(message)
            assert isinstance(built, HttpRequest)
            return built

    engine.postbox.answer = REFUSE
    started = await engine.start(locale="en")
    await engine.deliver(await engine.worker(tiers=BOTH, adapter=Noting))
    first, second = seen
    assert first == second
    assert (f"{started.id}-1", engine.code(started)) == (first.reference, dict(first.params)["code"])


# -- what an attacker tried ---------------------------------------------------------------------------------------


async def test_a_gateway_asked_at_the_end_may_take_it(engine: Engine) -> None:
    """A verification whose time ends while a gateway is asked ends expired: the SMS may arrive (Invariant 6)."""
    started = await engine.start()
    engine.postbox.gate = asyncio.Event()
    delivering = asyncio.create_task(engine.deliver())
    await until(lambda: engine.postbox.in_hand == 1)
    engine.advance(900)
    await engine.deadlines()
    assert "expired" == (await engine.get(started)).status
    engine.postbox.gate.set()
    await delivering
    seen = await engine.get(started)
    assert ("expired", "sent") == (seen.status, seen.delivery)


class Raising(FakeGateway):
    """An adapter with a defect, which tells what it should not."""

    def parse_response(self, response: HttpResponse) -> SendOutcome:
        """Fail."""
        del response
        raise RuntimeError("123456 is the code of +84900000001")


async def test_an_adapter_that_raises_stops_nothing(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    """A defect of an adapter is an unclear answer, logged without what it says."""
    started = await engine.start()
    await engine.deliver(await engine.worker(adapter=Raising, attempts=2))
    assert ("failed", 3, 1) == await shown(engine, started)
    assert 2 == len(engine.postbox.posts)
    told = capsys.readouterr().out
    assert "adapter_error" in told
    assert "RuntimeError" in told
    assert "is the code of" not in told


@pytest.mark.parametrize(("scheme", "listens", "code"), [
    ("http", False, "connection_refused"), ("https", True, "tls_failed"),
])
async def test_why_there_is_no_connection(
    engine: Engine, scheme: str, listens: bool, code: str, capsys: pytest.CaptureFixture[str],
) -> None:
    """What keeps a connection from being made is told, and nothing counts as sent."""
    started = await engine.start()
    await engine.worker()
    engine.postbox.url = engine.postbox.url.replace("http", scheme, 1)
    if not listens:
        await engine.postbox.close()
    await engine.deliver(await engine.worker(attempts=1))
    assert ("failed", 4, 0) == await shown(engine, started)
    assert code in capsys.readouterr().out


async def test_a_waiting_send_takes_whichever_is_free(engine: Engine) -> None:
    """Sends that found every hand busy go to the gateway whose hand comes free first, not to the first of the list."""
    engine.postbox.gate = asyncio.Event()
    started = [await engine.start(f"+8453000{at:04d}") for at in range(6)]
    worker, stop = await engine.worker(tiers=BOTH, hands=1), asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    await until(lambda: len(engine.backup.posts) == 5)
    assert 1 == engine.postbox.in_hand
    engine.postbox.gate.set()
    await until(lambda: len(engine.postbox.posts) + len(engine.backup.posts) == 6)
    stop.set()
    await running
    assert {f"{one.id}-1" for one in started} == {*engine.postbox.references, *engine.backup.references}


async def test_each_gateway_has_its_own_hands(engine: Engine) -> None:
    """Of a worker's hands each gateway has its part, so that one which hangs keeps none of the others'."""
    worker = await engine.worker(tiers=BOTH, concurrency=8)
    engine.postbox.gate = asyncio.Event()
    for at in range(12):
        await engine.start(f"+8453000{at:04d}")
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    await until(lambda: len(engine.backup.posts) == 8)
    assert 4 == engine.postbox.in_hand
    engine.postbox.gate.set()
    stop.set()
    await running
