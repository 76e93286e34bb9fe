"""The connection to the store: one round trip per tick, safe retries, and no promise that cannot be kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.exceptions import ResponseError
from support.engine import (
    AT_ONCE,
    ELSEWHERE,
    OTHER_PHONE,
    PHONE,
    THIRD_PHONE,
    Backend,
    Engine,
    handle,
    refused,
)
from support.proxy import Proxy

from otp_service.core.errors import ConfigurationError, StoreUnavailable
from otp_service.storage import keys, scripts
from otp_service.storage.client import connect
from otp_service.storage.queue import SmsQueue
from otp_service.storage.scripts import Script
from otp_service.storage.store import Store


@asynccontextmanager
async def through(proxy: Proxy, backend: Backend, **options: Any) -> AsyncIterator[Engine]:
    """Give an engine that reaches the store through a proxy."""
    redis = connect(f"redis://{proxy.address}", timeout_s=0.2)
    async with Engine(backend, redis=redis, timeout_s=0.2, **options) as engine:
        yield engine


@pytest.fixture
async def proxy(valkey_url: str) -> AsyncIterator[Proxy]:
    """Give a proxy in front of the real Valkey."""
    async with Proxy(valkey_url) as proxy:
        yield proxy


def trips(engine: Engine) -> int:
    """Return how many pipelines went out."""
    return int(engine.count("otp_store_round_trips_total"))


# -- round trips --------------------------------------------------------------------------------------------------


async def test_one_round_trip_each(engine: Engine) -> None:
    """A start, a check, a read, a cancellation and a redemption are one round trip, a resend is two."""
    spent = {}
    started = await engine.start()
    engine.advance(60)
    for name, call in (
        ("start", lambda: engine.start(OTHER_PHONE)), ("resend", lambda: engine.resend(started)),
        ("get", lambda: engine.get(started)), ("wrong", lambda: engine.wrong(started)),
        ("check", lambda: engine.check(started, engine.code(started, 2))),
    ):
        before = trips(engine)
        await call()
        spent[name] = trips(engine) - before
    token = await engine.token(started)
    before = trips(engine)
    await engine.redeem(token)
    assert {"start": 1, "resend": 2, "get": 1, "wrong": 1, "check": 1, "redeem": 1} == {
        **spent, "redeem": trips(engine) - before,
    }


async def test_on_the_wire_too(proxy: Proxy, valkey_backend: Backend) -> None:
    """One round trip is one request on the wire."""
    async with through(proxy, valkey_backend) as engine:
        started = await engine.start()
        before = proxy.requests
        await engine.start(OTHER_PHONE)
        await engine.check(started, engine.code(started))
        assert 2 == proxy.requests - before


async def test_calls_of_one_tick_share_a_round_trip(engine: Engine) -> None:
    """A hundred starts made in one tick go out as one pipeline."""
    before = trips(engine)
    await asyncio.gather(*(engine.start(f"+8453000{at:04d}") for at in range(100)))
    assert 1 == trips(engine) - before


async def test_batches_are_bounded(engine: Engine) -> None:
    """More calls than one batch holds go out as several (Invariant 14)."""
    started = await engine.start()
    before = trips(engine)
    await asyncio.gather(*(engine.get(started) for _ in range(1000)))
    assert 4 == trips(engine) - before


async def test_a_caller_that_gives_up_harms_nobody(engine: Engine) -> None:
    """A cancelled call leaves the others of its batch their answers."""
    started = await engine.start()
    calls = [asyncio.create_task(engine.get(started)) for _ in range(10)]
    await asyncio.sleep(0)
    calls[3].cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert 9 == sum(not isinstance(answer, BaseException) for answer in answers)


# -- scripts ------------------------------------------------------------------------------------------------------


async def test_scripts_that_the_store_forgot_are_loaded_again(engine: Engine) -> None:
    """After SCRIPT FLUSH calls load what they need and are made once (Invariant 11)."""
    started = await engine.start()
    await engine.redis.script_flush()
    answers = await asyncio.gather(engine.wrong(started), engine.get(started), engine.start(OTHER_PHONE))
    assert 4 == answers[0].members["attempts_left"]
    await engine.redis.script_flush()
    assert "verified" == (await engine.right(started)).status
    assert 2 == await engine.queued()


async def test_a_script_with_a_fault_is_told_to_its_caller_alone(engine: Engine) -> None:
    """A call that the store cannot run fails as a defect, and its neighbours are answered."""
    broken = Script("broken", "return redis.call('NOSUCH')", "")
    broken = Script("broken", broken.source, await engine.redis.script_load(broken.source))
    started = await engine.start()
    bad, good = await asyncio.gather(engine.client.run(broken, [], []), engine.get(started), return_exceptions=True)
    assert isinstance(bad, ResponseError)
    assert "pending" == good.status


def test_every_script_says_what_it_takes() -> None:
    """Every script opens with its keys, arguments, returns, time unit, cost and slot."""
    folder = scripts._HERE
    for name in scripts.NAMES:
        head = (folder / f"{name}.lua").read_text("utf-8").split("\n\n")[0]
        missing = [word for word in ("KEYS", "ARGV", "Returns", "Time in ms", "Cost", "Slot") if word not in head]
        assert [] == missing, name


# -- lost replies -------------------------------------------------------------------------------------------------


async def test_lost_replies_cost_nothing(proxy: Proxy, valkey_backend: Backend) -> None:
    """With two replies of each call lost on the wire a whole life costs what it should (Invariant 11)."""
    async with through(proxy, valkey_backend) as engine:
        proxy.lose(2, marker=b"EVALSHA")
        started = await engine.start(purpose="registration")
        assert (1, 1) == (await engine.queued(), await engine.sends())
        engine.advance(60)
        proxy.lose(2, marker=b"EVALSHA")
        again = await engine.resend(started)
        assert (2, 2, 2, 2) == (again.send_number, again.sends_left, await engine.queued(), await engine.sends())
        for left in (4, 3):
            proxy.lose(2, marker=b"EVALSHA")
            assert left == (await engine.wrong(started)).members["attempts_left"]
        assert b"2" == (await engine.phone_hash())[b"f"]
        proxy.lose(2, marker=b"EVALSHA")
        await engine.check(started, engine.code(started, 2))
        engine.advance(5)
        await engine.deadlines()
        token = await engine.token(started)
        proxy.lose(2, marker=b"EVALSHA")
        assert "verified" == (await engine.redeem(token, id_number="052090000001"))["status"]
        proxy.lose(0)
        assert "already_redeemed" == (await refused(engine.redeem(token, id_number="052090000001"))).code
        assert 12 == proxy.lost
        assert engine.count("otp_store_retries_total") >= 12


async def test_a_store_that_falls_silent(proxy: Proxy, valkey_backend: Backend) -> None:
    """A reply that never comes is given up after the timeout, and the call made again costs nothing (Invariant 11)."""
    async with through(proxy, valkey_backend) as engine:
        started = await engine.start()
        proxy.lose(1, marker=b"EVALSHA", hang=True)
        assert 4 == (await engine.wrong(started)).members["attempts_left"]
        assert (1, b"1") == (proxy.lost, (await engine.phone_hash())[b"f"])


async def test_cut_connections_are_made_again(proxy: Proxy, valkey_backend: Backend) -> None:
    """A store that comes back within the time of retries is not noticed by callers."""
    async with through(proxy, valkey_backend) as engine:
        started = await engine.start()
        proxy.refuse()
        guess = asyncio.create_task(engine.wrong(started))
        while not engine.count("otp_store_retries_total"):
            await asyncio.sleep(0)
        proxy.accept()
        assert 4 == (await guess).members["attempts_left"]


async def test_many_calls_over_a_bad_line(proxy: Proxy, valkey_backend: Backend) -> None:
    """Two hundred guesses at once over a line that drops five replies are five attempts (Invariants 2 and 11)."""
    async with through(proxy, valkey_backend) as engine:
        started = await engine.start()
        wrong = engine.wrong_code(started)
        proxy.lose(5, marker=b"EVALSHA")
        answers = await asyncio.gather(*(refused(engine.check(started, wrong)) for _ in range(200)))
        assert 4 == sum(answer.code == "wrong_code" for answer in answers)
        assert b"5" == (await engine.record(started))[b"g"] == (await engine.phone_hash())[b"f"]
        assert proxy.lost >= 1


# -- down and full ------------------------------------------------------------------------------------------------


async def test_a_store_that_is_down(proxy: Proxy, valkey_backend: Backend) -> None:
    """While the store is down calls end as unavailable after the time of retries, and send nothing (Invariant 8)."""
    async with through(proxy, valkey_backend, retry_total_s=0.1) as engine, Engine(valkey_backend) as beside:
        started = await engine.start()
        before = await beside.dump()
        proxy.refuse()
        loop = asyncio.get_running_loop()
        began = loop.time()
        for call in (engine.start(OTHER_PHONE), engine.right(started), engine.cancel(started), engine.deadlines()):
            with pytest.raises(StoreUnavailable):
                await call
        assert loop.time() - began < 4
        proxy.accept()
        assert before == await beside.dump()
        assert "verified" == (await engine.right(started)).status
        assert 6 <= engine.count("otp_store_errors_total", kind="unavailable")


async def test_a_check_whose_source_step_meets_a_dead_store(proxy: Proxy, valkey_backend: Backend) -> None:
    """When the store goes down between the right code and the ownership check, the worker settles it (Invariant 6)."""
    async with through(proxy, valkey_backend, retry_total_s=0.1) as engine, Engine(valkey_backend) as beside:
        started = await engine.start(purpose="registration")
        run = engine.client.run

        def failing(script: Script, *args: Any) -> Any:
            if script.name == "ask":
                proxy.refuse()
            return run(script, *args)

        engine.client.run = failing  # type: ignore[method-assign]
        assert "checking_ownership" == (await engine.right(started)).status
        beside.advance(5)
        await beside.deadlines()
        assert "verified" == (await beside.get(started)).status


async def test_a_worker_outlives_the_store(proxy: Proxy, valkey_backend: Backend) -> None:
    """A running worker waits while the store is away, and sends when it is back (Invariant 6)."""
    async with through(proxy, valkey_backend, retry_total_s=0.1) as engine, Engine(valkey_backend) as beside:
        proxy.refuse()
        stop = asyncio.Event()
        running = asyncio.create_task((await engine.worker()).run(stop))
        started = await beside.start()
        for _ in range(50):
            await asyncio.sleep(0)
        proxy.accept()
        async with asyncio.timeout(10):
            while not engine.postbox.posts:
                await asyncio.sleep(0.01)
        stop.set()
        await running
        assert [f"{started.id}-1"] == engine.postbox.references


async def test_a_full_store(valkey_backend: Backend) -> None:
    """A full store refuses starts, resends and wrong guesses as unavailable and keeps what it has (Invariant 8)."""
    async with Engine(valkey_backend) as engine:
        started = await engine.start(PHONE)
        engine.advance(60)
        before = await engine.dump()
        await engine.redis.config_set("maxmemory", 1)
        try:
            for call in (
                engine.start(OTHER_PHONE), engine.start(THIRD_PHONE, "registration", end_user_ip=ELSEWHERE),
                engine.resend(started), engine.check(started, engine.wrong_code(started)),
            ):
                with pytest.raises(StoreUnavailable):
                    await call
            assert "pending" == (await engine.get(started)).status
            assert before == await engine.dump()
        finally:
            await engine.redis.config_set("maxmemory", 0)
        assert 2 == (await engine.resend(started)).send_number


async def test_no_sms_while_the_store_is_full(valkey_backend: Backend) -> None:
    """A worker that cannot write its claim sends nothing; once there is room the SMS goes out (Invariant 8)."""
    async with Engine(valkey_backend) as engine:
        await engine.start()
        worker = await engine.worker()
        await worker._queue.prepare()
        await engine.redis.config_set("maxmemory", 1)
        try:
            await handle(worker, await worker._queue.read(256, AT_ONCE))
            assert [] == engine.postbox.posts
        finally:
            await engine.redis.config_set("maxmemory", 0)
        await handle(worker, await worker._queue.reclaim(0, 10))
        assert 1 == len(engine.postbox.posts)


async def test_errors_are_counted_by_kind(valkey_backend: Backend) -> None:
    """What the client reports as an error's kind is a kind that the metrics know."""
    async with Engine(valkey_backend) as engine:
        await engine.redis.config_set("maxmemory", 1)
        try:
            with pytest.raises(StoreUnavailable):
                await engine.start()
        finally:
            await engine.redis.config_set("maxmemory", 0)
        assert 1 == engine.count("otp_store_errors_total", kind="refused")


NOT_NOW = [
    "MISCONF Errors writing to the AOF file: No space left on device", "NOREPLICAS Not enough good replicas to write.",
    "OOM command not allowed when used memory > 'maxmemory'.", "CLUSTERDOWN Hash slot not served",
    "TRYAGAIN Multiple keys request during rehashing of slot", "MASTERDOWN Link with MASTER is down",
    "READONLY You can't write against a read only replica.", "LOADING the dataset in memory",
]


@pytest.mark.parametrize("error", NOT_NOW, ids=lambda error: error.split()[0])
async def test_a_store_that_says_not_now(proxy: Proxy, valkey_backend: Backend, error: str) -> None:
    """Whatever way the store says that it cannot write now, calls end as unavailable, not as a defect (Invariant 8)."""
    async with through(proxy, valkey_backend, retry_total_s=0.05) as engine:
        proxy.answer(b"EVALSHA", f"-{error}\r\n".encode())
        with pytest.raises(StoreUnavailable):
            await engine.start()
        assert 0 == engine.count("otp_store_errors_total", kind="defect")


@pytest.mark.parametrize("error", NOT_NOW, ids=lambda error: error.split()[0])
async def test_a_store_that_says_not_now_to_the_queue(proxy: Proxy, valkey_backend: Backend, error: str) -> None:
    """The queue's own commands take "not now" for unavailable too, so that the worker waits and lives (Invariant 8)."""
    async with through(proxy, valkey_backend) as engine:
        queue = SmsQueue(engine.redis, "worker")
        await queue.prepare()
        proxy.answer(b"XREADGROUP", f"-{error}\r\n".encode())
        with pytest.raises(StoreUnavailable):
            await queue.read(16, AT_ONCE)


# -- what it was made with ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["shards", "schema"])
async def test_a_store_of_another_make_is_refused(engine: Engine, name: str) -> None:
    """A store with another number of shards or another layout refuses to start."""
    await engine.redis.hset(keys.META, name, "99")
    with pytest.raises(ConfigurationError, match=name):
        await Store(engine.client).prepare()


async def test_a_demo_and_a_live_service_share_no_store(engine: Engine) -> None:
    """Who serves first decides whose store it is: a demo would show real people's codes in its inbox."""
    await Store(engine.client).prepare("live")
    with pytest.raises(ConfigurationError, match="kind"):
        await Store(engine.client).prepare("demo")
    await Store(engine.client).prepare("live")
    await Store(engine.client).prepare()
