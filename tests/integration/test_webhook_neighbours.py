"""Receivers that hang, fail or fall silent cost their own client's deliveries and nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Literal

import pytest
from support.engine import Backend, Engine
from support.processes import eventually
from support.webhooks import Receiver, ended, portal, step, telling

from otp_service.core.verification import Links
from otp_service.delivery import webhooks
from otp_service.delivery.webhooks import HANDS, WebhookWorker
from otp_service.service import Caller


@pytest.fixture
async def engine(valkey_backend: Backend) -> AsyncIterator[Engine]:
    """Give one process of the service on the real store: what it is about happens between the store and receivers."""
    async with Engine(valkey_backend) as engine:
        yield engine


@asynccontextmanager
async def running(worker: WebhookWorker) -> AsyncIterator[asyncio.Event]:
    """Run a worker as the product does; gives the event that stops it."""
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop))
    try:
        yield stop
    finally:
        stop.set()
        await task


async def end_many(engine: Engine, caller: Caller, url: str, count: int) -> list[str]:
    """End so many verifications of a client; returns their webhooks' ids."""
    start = abs(hash(caller.tenant)) % 900
    return [
        f"msg_{(await ended(engine, caller, url, phone=f'+84530{start:03d}{at:03d}')).id}" for at in range(count)
    ]


def seen(receivers: Sequence[Receiver]) -> int:
    """Return how many requests came in all."""
    return sum(len(receiver.taken) for receiver in receivers)


async def test_a_fast_client_beside_one_that_hangs(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one client's receiver hangs, another's verdicts are all told, and at once (Invariant 14)."""
    monkeypatch.setattr(webhooks, "_STOP_S", 0.01)
    slow, fast = portal("slow"), portal("fast")
    async with Receiver(gate=asyncio.Event()).open() as hangs, Receiver().open() as answers:
        await end_many(engine, slow, hangs.url, 40)
        ids = await end_many(engine, fast, answers.url, 40)
        async with telling(engine, slow, fast) as worker, running(worker):
            await eventually(lambda: len(answers.taken) == 40, "all of the fast client's verdicts")
            assert set(ids) == set(answers.ids)
            await eventually(lambda: len(hangs.taken) >= HANDS, "the hanging one's hands full")
            await worker.step()
            assert HANDS == len(worker._in_hand)
        assert HANDS == hangs.most_in_hand


async def test_many_that_hang_leave_a_hand_for_everybody(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when hanging receivers fill every hand there is, each other client's verdicts go on (Invariant 14)."""
    monkeypatch.setattr(webhooks, "_STOP_S", 0.01)
    monkeypatch.setattr(webhooks, "_ALL_HANDS", 3 * HANDS)
    stuck = [portal(f"stuck-{at}") for at in range(6)]
    fast = portal("fast")
    async with Receiver(gate=asyncio.Event()).open() as hangs, Receiver().open() as answers:
        for caller in stuck:
            await end_many(engine, caller, hangs.url, HANDS + 2)
        async with telling(engine, *stuck, fast) as worker, running(worker):
            await eventually(lambda: len(hangs.taken) >= 3 * HANDS, "every hand full")
            ids = await end_many(engine, fast, answers.url, 12)
            await eventually(lambda: len(answers.taken) == 12, "the other client's verdicts", webhooks.TIMEOUT_S / 3)
            assert set(ids) == set(answers.ids)
        assert 3 * HANDS <= hangs.most_in_hand <= 3 * HANDS + 2 * (len(stuck) + 1)


class Turnstile(asyncio.Event):
    """A receiver's gate that lets through as many as it was told."""

    def __init__(self) -> None:
        super().__init__()
        self._places = asyncio.Semaphore(0)

    def let(self, count: int) -> None:
        """Let so many answers go."""
        for _ in range(count):
            self._places.release()

    async def wait(self) -> Literal[True]:
        """Wait for a place."""
        return await self._places.acquire()


async def fill(worker: WebhookWorker) -> None:
    """Begin all that there are hands for."""
    while await worker.step():
        pass


async def test_who_answers_slowly_leaves_others_their_share(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients whose receivers answer late, but well, share the hands evenly with one that comes after them."""
    monkeypatch.setattr(webhooks, "_ALL_HANDS", 3 * HANDS)
    polite, late = [portal(f"polite-{at}") for at in range(3)], portal("late")
    slow, other = Turnstile(), asyncio.Event()
    async with Receiver(gate=slow).open() as waits, Receiver(gate=other).open() as answers:
        for caller in polite:
            await end_many(engine, caller, waits.url, 2 * HANDS)
        async with telling(engine, *polite, late) as worker:
            await fill(worker)
            assert [HANDS] * 3 == [worker._tenants[caller.client.name].hands.busy for caller in polite]
            await end_many(engine, late, answers.url, HANDS)
            await fill(worker)
            in_hand = 3 * HANDS + 1
            assert in_hand == len(worker._in_hand)
            for _ in range(HANDS):
                slow.let(1)
                in_hand = len(worker._in_hand) - 1
                await eventually(lambda most=in_hand: len(worker._in_hand) <= most, "one more answer")
                await fill(worker)
            assert 3 * HANDS // 4 == worker._tenants["late"].hands.busy
            assert 3 * HANDS >= len(worker._in_hand)
            slow.let(6 * HANDS)
            other.set()
            await worker.finish()
            await step(worker)
    assert 6 * HANDS == len(set(waits.ids))
    assert HANDS == len(set(answers.ids))


FLOODS = [
    b"HTTP/1.1 100 Continue\r\n\r\n" * 2000,
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1" + b";a=b" * 20_000,
]


@pytest.mark.parametrize(("flood", "word", "told"), [(FLOODS[0], "too_much", 0), (FLOODS[1], "delivered", 6)])
async def test_who_floods_us_with_its_answer_is_failing(engine: Engine, flood: bytes, word: str, told: int) -> None:
    """A receiver whose answers have no end costs its client its hands, and no neighbour anything (Invariant 14)."""
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"}}")
            while True:
                writer.write(flood)
                await writer.drain()
        except ConnectionError:
            writer.close()

    loud, quiet = portal("loud"), portal("quiet")
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server, Receiver().open() as answers, telling(engine, loud, quiet) as worker, asyncio.timeout(15):
        await end_many(engine, loud, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", 6)
        await end_many(engine, quiet, answers.url, 6)
        await step(worker)
        assert (1, HANDS) == tuple(worker._tenants[name].hands.most for name in ("loud", "quiet"))
        assert 6 == len(answers.ids)
    assert 6 + told == engine.count("otp_webhook_attempts_total", result="delivered")
    assert 6 == engine.count("otp_webhook_attempts_total", result=word) - (told and 6)


async def test_after_failures_one_hand_is_left(engine: Engine) -> None:
    """A receiver that keeps failing is asked by one hand at a time, and gets them back as it answers again."""
    caller = portal()
    async with Receiver(answer=(500, {})).open() as receiver, telling(engine, caller) as worker:
        ids = await end_many(engine, caller, receiver.url, 60)
        assert 5 < await worker.step()
        await worker.finish()
        receiver.gate = asyncio.Event()
        assert 1 == await worker.step()
        assert 0 == await worker.step()
        receiver.gate.set()
        await worker.finish()
        await step(worker)
        receiver.answer = (200, {})
        engine.advance(5)
        await step(worker)
    assert set(ids) == set(receiver.ids)
    assert HANDS == worker._tenants["portal"].hands.most


async def test_one_hand_finds_what_stands_anywhere(engine: Engine) -> None:
    """A client with one hand left has its next webhook found at once, in whichever shard it stands."""
    caller = portal()
    async with Receiver().open() as receiver, telling(engine, caller) as worker:
        worker._tenants["portal"].hands.most = 1
        for at in range(8):
            await ended(engine, caller, receiver.url, phone=f"+8490000000{at}")
            assert 1 == await worker.step()
            await worker.finish()
            worker._tenants["portal"].hands.most = 1
    assert 8 == len(set(receiver.ids))


async def test_too_much_at_once_halves_the_hands(engine: Engine) -> None:
    """A receiver that says 429 is sent half as much at once, before it counts as failing."""
    caller = portal()
    async with Receiver(next=[(429, {})]).open() as receiver, telling(engine, caller) as worker:
        await end_many(engine, caller, receiver.url, 1)
        await worker.step()
        await worker.finish()
        assert HANDS // 2 == worker._tenants["portal"].hands.most


async def test_a_silent_receiver_is_tried_again(engine: Engine) -> None:
    """A receiver that says nothing in time is asked again later, and the client's other verdicts wait for no more."""
    caller = portal()
    async with (
        Receiver(gate=asyncio.Event()).open() as receiver, telling(engine, caller, timeout_s=1.0) as worker,
    ):
        await end_many(engine, caller, receiver.url, 2)
        assert 2 == await step(worker)
        assert receiver.gate is not None
        receiver.gate.set()
        engine.advance(5)
        assert 2 == await step(worker)
    assert 2 == len(set(receiver.ids))
    assert 2 == engine.count("otp_webhook_attempts_total", result="timeout")
    assert 2 == engine.count("otp_webhook_attempts_total", result="delivered")


async def test_a_worker_that_stops_waits_for_nobody(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is told to stop drops what a receiver keeps waiting; another tells it when the lease is over."""
    monkeypatch.setattr(webhooks, "_STOP_S", 0.05)
    caller = portal()
    async with Receiver(gate=asyncio.Event()).open() as receiver:
        (told,) = await end_many(engine, caller, receiver.url, 1)
        async with telling(engine, caller) as worker, asyncio.timeout(5), running(worker) as stop:
            await receiver.arrived.wait()
            stop.set()
        assert receiver.gate is not None
        receiver.gate.set()
        async with telling(engine, caller) as worker:
            assert 0 == await step(worker)
            engine.advance(20)
            assert 1 == await step(worker)
    assert [told, told] == receiver.ids


async def test_a_receiver_down_for_an_hour_gets_everything(engine: Engine) -> None:
    """What came about while a receiver was down is all told after it is up, each verdict once; nothing is given up."""
    caller = portal()
    async with AsyncExitStack() as stack:
        receiver = Receiver()
        async with receiver.open():
            pass  # its port stays known, and nobody listens there any more
        async with telling(engine, caller) as worker:
            ids = []
            for at in range(6):
                ids.append(f"msg_{(await ended(engine, caller, receiver.url, phone=f'+8490000000{at}')).id}")
                await step(worker)
                engine.advance(600)
            await stack.enter_async_context(receiver.open())
            for _ in range(20):
                engine.advance(600)
                await step(worker)
    assert sorted(ids) == sorted(receiver.ids)
    assert 0 < engine.count("otp_webhook_attempts_total", result="no_answer")


async def test_every_client_has_queues_of_its_own(engine: Engine) -> None:
    """The verdicts of two clients about one phone stand in two queues, though in one shard."""
    for at, caller in enumerate((portal("one"), portal("two"))):
        engine.advance(61 * at)
        started = await engine.start(caller=caller, links=Links(callback_url="https://api.example.vn/"))
        await engine.cancel(started, caller=caller)
    found = sorted([key.decode().split(":")[-1] async for key in engine.redis.scan_iter(match="otp:*:hook:*")])
    assert ["one", "two"] == found
