"""Tokens of gateways: fetched once for everybody, sealed where they are kept, and never lost once they were given."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from aiohttp import web
from support.engine import (
    OTHER_PHONE,
    PHONE,
    Backend,
    Engine,
    handle,
)
from support.proxy import Proxy

from otp_service.core.ports import (
    AccessToken,
    HttpRequest,
    HttpResponse,
    SendOutcome,
    SendResult,
    SmsMessage,
)
from otp_service.core.verification import Verification
from otp_service.delivery.accounts import Account, Accounts
from otp_service.delivery.sms_worker import SmsWorker
from otp_service.delivery.tokens import Token, Tokens
from otp_service.storage import keys, scripts
from otp_service.storage.client import connect

#: A fetch makes two requests at most, and two seconds are for the way.
TIMEOUT_S, LEASE_S = 5.0, 12.0


async def until(holds: Callable[[], bool]) -> None:
    """Let everybody else run until something holds."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0)


@dataclass
class Provider:
    """A provider that gives tokens; each comes with what the next is fetched with, which replaces the one before."""

    lives_s: int = 3600
    url: str = ""
    #: What each token was asked for with.
    asked: list[str] = field(default_factory=list)
    #: The tokens that messages came with.
    used: list[str] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    #: The only token that is taken; None for any.
    taken: str | None = None
    #: Whether tokens are given at all.
    gives: bool = True
    #: Waited for before a token is given.
    gate: asyncio.Event | None = None
    in_hand: int = 0
    #: Refresh tokens for which none is given.
    refuses: set[str] = field(default_factory=set)
    #: Seconds that it wants not to be asked, where it gives none.
    rest_s: int | None = None
    #: Whether each token comes with what the next is fetched with.
    rotates: bool = True
    #: Whether the connection is closed instead of an answer.
    hangs_up: bool = False

    async def give(self, request: web.Request) -> web.Response:
        """Give a token."""
        self.asked.append((await request.json())["refresh"] or "")
        self.in_hand += 1
        if self.gate:
            await self.gate.wait()
        self.in_hand -= 1
        if self.hangs_up:
            assert request.transport
            request.transport.abort()
        if not self.gives or self.asked[-1] in self.refuses:
            rest = {} if self.rest_s is None else {"Retry-After": str(self.rest_s)}
            return web.json_response({}, status=403 if self.rest_s is None else 429, headers=rest)
        number = len(self.asked)
        refresh = f"fresh-{number}" if self.rotates else None
        return web.json_response({"value": f"secret-{number}", "lives_s": self.lives_s, "refresh": refresh})

    async def take(self, request: web.Request) -> web.Response:
        """Take a message."""
        self.used.append(request.headers["authorization"])
        if self.taken is not None and self.taken != self.used[-1]:
            return web.json_response({}, status=401)
        self.references.append((await request.json())["reference"])
        return web.json_response({"id": f"m-{len(self.references)}"})


class Gateway:
    """A gateway that wants a token."""

    name = "tokens"
    real = False
    timeout_s = TIMEOUT_S

    def __init__(self, url: str) -> None:
        self.url = url

    def build_token_request(self, refresh: str | None) -> HttpRequest:
        """Ask for a token."""
        return HttpRequest("POST", f"{self.url}/token", {}, json.dumps({"refresh": refresh}).encode())

    def parse_token(self, response: HttpResponse) -> AccessToken | None:
        """Read it."""
        return AccessToken(**json.loads(response.body)) if response.status == 200 else None

    def build_authorised(self, message: SmsMessage, token: str) -> HttpRequest:
        """Ask for an SMS."""
        return HttpRequest(
            "POST", f"{self.url}/sms", {"authorization": token}, json.dumps({"reference": message.reference}).encode(),
        )

    def parse_response(self, response: HttpResponse) -> SendOutcome:
        """Read the answer."""
        if response.status == 401:
            return SendOutcome(SendResult.AUTHENTICATION, provider_code="401", stale_token=True)
        return SendOutcome(SendResult.ACCEPTED, json.loads(response.body)["id"])


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """Give a provider that listens."""
    async with listening(Provider()) as one:
        yield one


@asynccontextmanager
async def listening(one: Provider) -> AsyncIterator[Provider]:
    """Let a provider listen."""
    app = web.Application()
    app.router.add_post("/token", one.give)
    app.router.add_post("/sms", one.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield one
    finally:
        if one.gate:
            one.gate.set()
        await runner.cleanup()


async def token_worker(engine: Engine, provider: Provider, consumer: str = "worker", **options: Any) -> SmsWorker:
    """Return an SMS worker whose gateway is the provider's."""
    worker = await engine.worker(consumer, **options)
    others = [account for account in engine.accounts if account.name != "fake"]
    engine.accounts = Accounts([Account("fake", Gateway(provider.url)), *others], engine.gateways)
    worker._courier._accounts = engine.accounts
    return worker


def tokens_of(worker: SmsWorker) -> Tokens:
    """Return what a worker knows of tokens."""
    return worker._courier._sender._tokens


async def get(worker: SmsWorker, *, not_version: int = 0) -> Token | None:
    """Get a token as the sender of a worker does."""
    account = worker._courier._accounts["fake"]
    sender = worker._courier._sender
    assert isinstance(account.gateway, Gateway)
    return await tokens_of(worker).get(account, account.gateway, sender.exchange, not_version=not_version)


async def many(engine: Engine, count: int) -> list[Verification]:
    """Start verifications."""
    return [await engine.start(f"+8453000{at:04d}") for at in range(count)]


# -- once ---------------------------------------------------------------------------------------------------------


async def test_one_fetch_serves_many_senders(engine: Engine, provider: Provider) -> None:
    """However many messages go out at once, the token is fetched once, without anything to refresh it with."""
    started = await many(engine, 20)
    await engine.deliver(await token_worker(engine, provider))
    assert [""] == provider.asked
    assert {"secret-1"} == {*provider.used}
    assert sorted(f"{one.id}-1" for one in started) == sorted(provider.references)


async def test_one_fetch_serves_many_workers(engine: Engine, provider: Provider) -> None:
    """Of workers that need a token at once one fetches it, and the others take what it got."""
    workers = [await token_worker(engine, provider, f"w{at}") for at in range(4)]
    found = await asyncio.gather(*(get(worker) for worker in workers for _ in range(5)))
    assert [""] == provider.asked
    assert {"secret-1"} == {token.value for token in found if token}
    assert 20 == len(found)


async def test_a_new_process_takes_what_is_kept(engine: Engine, provider: Provider) -> None:
    """A process that starts later fetches nothing while the kept token is good."""
    await get(await token_worker(engine, provider))
    async with engine.sibling() as other:
        token = await get(await token_worker(other, provider))
    assert token is not None
    assert ([""], "secret-1") == (provider.asked, token.value)


async def test_a_token_is_renewed_before_it_runs_out(engine: Engine, provider: Provider) -> None:
    """The next token is fetched a minute before the last ends, or a tenth of its life where that is shorter."""
    for lives_s, margin_s in ((3600, 60), (100, 10)):
        provider.lives_s = lives_s
        await engine.redis.flushall()
        provider.asked.clear()
        for elapsed_s, fetched in ((0, 1), (lives_s - margin_s - 0.001, 1), (lives_s - margin_s, 2)):
            engine.advance(elapsed_s)
            await get(await token_worker(engine, provider, str(elapsed_s)))
            assert fetched == len(provider.asked)
            engine.advance(-elapsed_s)


async def kept_token(engine: Engine) -> bytes:
    """Return the token as the store has it."""
    kept = await engine.redis.get(keys.gateway("fake", "token"))
    assert isinstance(kept, bytes)
    return kept


# -- at rest ------------------------------------------------------------------------------------------------------


async def test_nothing_is_in_clear(engine: Engine, provider: Provider) -> None:
    """Neither a token nor what the next is fetched with stands in the store in clear (Invariant 5)."""
    await engine.start()
    await engine.deliver(await token_worker(engine, provider))
    everything = await kept_token(engine) + b"\n".join(
        name + b" " + (content or b"") for name, (content, _) in (await engine.dump()).items()
    )
    for secret in (b"secret-1", b"fresh-1"):
        assert secret not in everything
    token = await get(await token_worker(engine, provider))
    assert "secret-1" not in repr(token)


async def test_what_is_kept_expires(engine: Engine, provider: Provider) -> None:
    """A token is kept for ninety days, because the next is fetched with it, and its lease is gone (Invariant 7)."""
    await get(await token_worker(engine, provider))
    token, lease = keys.gateway("fake", "token"), keys.gateway("fake", "lease")
    assert 90 * 86_400 - 60 < await engine.redis.ttl(token) <= 90 * 86_400
    assert 0 == await engine.redis.exists(lease)
    await engine.gateways.token("fake", not_version=9, lease_ms=7000, holder="one")
    assert 0 < await engine.redis.pttl(lease) <= 8000


@pytest.mark.parametrize("dropped", [False, True])
async def test_key_rotation(engine: Engine, provider: Provider, *, dropped: bool) -> None:
    """A token outlives the rotation of keys; once its key is dropped it cannot be read, and is fetched anew."""
    await get(await token_worker(engine, provider))
    engine.rotate("k2") if dropped else engine.rotate("k2", "k1")
    async with asyncio.timeout(10):
        token = await get(await token_worker(engine, provider))
    assert token is not None
    assert (["", ""] if dropped else [""]) == provider.asked
    assert ("secret-2" if dropped else "secret-1") == token.value
    engine.advance(3600)
    await get(await token_worker(engine, provider))
    assert ("fresh-2" if dropped else "fresh-1") == provider.asked[-1]


async def test_what_was_changed_is_not_believed(engine: Engine, provider: Provider) -> None:
    """A kept token that somebody changed is not used: another is fetched."""
    await get(await token_worker(engine, provider))
    kept = await kept_token(engine)
    await engine.redis.set(keys.gateway("fake", "token"), kept[:-1] + bytes([kept[-1] ^ 1]))
    async with asyncio.timeout(10):
        token = await get(await token_worker(engine, provider))
    assert token is not None
    assert "secret-2" == token.value


# -- renewal ------------------------------------------------------------------------------------------------------


async def test_each_token_is_fetched_with_what_the_last_came_with(engine: Engine, provider: Provider) -> None:
    """The refresh token that came last is kept through every renewal, whoever renews."""
    for _ in range(3):
        await get(await token_worker(engine, provider))
        engine.advance(3600)
    assert ["", "fresh-1", "fresh-2"] == provider.asked


async def test_a_refresh_token_outlives_a_refusal(engine: Engine, provider: Provider) -> None:
    """When a renewal fails, the next tries with the same refresh token: nothing kept is thrown away."""
    await get(await token_worker(engine, provider))
    engine.advance(3600)
    provider.gives = False
    assert await get(await token_worker(engine, provider)) is None
    provider.gives = True
    assert await get(await token_worker(engine, provider)) is not None
    assert ["", "fresh-1", "", "fresh-1"] == provider.asked


async def test_a_refresh_token_that_is_refused(engine: Engine, provider: Provider) -> None:
    """When the kept refresh token is refused, what the settings hold is tried: somebody may have renewed it there."""
    await get(await token_worker(engine, provider))
    engine.advance(3600)
    provider.refuses = {"fresh-1"}
    token = await get(await token_worker(engine, provider))
    assert (["", "fresh-1", ""], "secret-3") == (provider.asked, token and token.value)


async def test_a_provider_that_is_away_is_not_asked_twice(engine: Engine, provider: Provider) -> None:
    """A fetch that got no answer at all is no refusal: nothing else is tried under the same lease."""
    await get(await token_worker(engine, provider))
    engine.advance(3600)
    provider.hangs_up = True
    assert await get(await token_worker(engine, provider)) is None
    assert ["", "fresh-1"] == provider.asked


async def test_a_provider_that_wants_rest_gets_it(engine: Engine, provider: Provider) -> None:
    """After Retry-After no token is asked for until that is over, nor with what else there is to ask with."""
    worker = await token_worker(engine, provider)
    await get(worker)
    engine.advance(3600)
    provider.gives, provider.rest_s = False, 90
    for _ in range(3):
        assert await get(worker, not_version=1) is None
    assert ["", "fresh-1"] == provider.asked
    tokens = tokens_of(worker)
    assert 80 < tokens.rests_s("fake") <= 90
    assert 0 == tokens.rests_s("another")
    tokens._rest_until.clear()
    provider.gives = True
    assert "secret-3" == (await get(worker, not_version=1) or Token("", 0, 0)).value


async def test_a_refresh_token_that_stays(engine: Engine, provider: Provider) -> None:
    """Where a token comes without what the next is fetched with, what the last came with is kept."""
    await get(await token_worker(engine, provider))
    provider.rotates = False
    for _ in range(2):
        engine.advance(3600)
        await get(await token_worker(engine, provider))
    assert ["", "fresh-1", "fresh-1"] == provider.asked


async def test_a_token_that_is_not_taken_is_replaced_once(engine: Engine, provider: Provider) -> None:
    """A stale token costs one fetch for all messages that it held up, and no attempt of any."""
    workers = [await token_worker(engine, provider, f"w{at}", attempts=1) for at in range(2)]
    for worker in workers:
        await get(worker)
    provider.taken = "secret-2"
    started = await many(engine, 10)
    await workers[0]._queue.prepare()
    queued = await workers[0]._queue.read(256, None)  # type: ignore[arg-type]  # do not wait
    await asyncio.gather(*(handle(worker, queued[at::2]) for at, worker in enumerate(workers)))
    assert ["", "fresh-1"] == provider.asked
    assert sorted(f"{one.id}-1" for one in started) == sorted(provider.references)
    assert {"sent"} == {(await engine.get(one)).delivery for one in started}


async def test_a_token_that_is_never_taken_is_a_refusal(engine: Engine, provider: Provider) -> None:
    """When the replaced token is not taken either, the account is refused: no third try, and nothing was sent."""
    provider.taken = "no token at all"
    started = await engine.start()
    await engine.deliver(await token_worker(engine, provider, attempts=1))
    assert ["secret-1", "secret-2"] == provider.used
    seen = await engine.get(started)
    assert ("failed", 4) == (seen.delivery, seen.sends_left)
    assert 1 == engine.count("otp_sends_total", gateway="fake", result="authentication")


# -- without a token ----------------------------------------------------------------------------------------------


async def test_without_a_token_nothing_was_sent(engine: Engine, provider: Provider) -> None:
    """A provider that gives no token was not asked to send: temporary, refunded, and the next gateway may have it."""
    provider.gives = False
    started = await engine.start()
    await engine.deliver(await token_worker(engine, provider, attempts=1))
    seen = await engine.get(started)
    assert ("failed", 4, []) == (seen.delivery, seen.sends_left, provider.used)
    assert 1 == engine.count("otp_sends_total", gateway="fake", result="temporary")
    other = await engine.start(OTHER_PHONE)
    await engine.deliver(await token_worker(engine, provider, tiers=("fake", "backup")))
    assert [f"{other.id}-1"] == engine.backup.references


async def test_one_refusal_serves_all_who_wait(engine: Engine, provider: Provider) -> None:
    """Messages that wait for the same fetch share its failure, and do not ask one after the other."""
    provider.gives, provider.gate = False, asyncio.Event()
    worker = await token_worker(engine, provider)
    asking = [asyncio.create_task(get(worker)) for _ in range(20)]
    await until(lambda: provider.in_hand == 1)
    provider.gate.set()
    assert {None} == {*await asyncio.gather(*asking)}
    assert [""] == provider.asked


async def test_a_slow_token_is_no_sent_message(engine: Engine, provider: Provider) -> None:
    """A message that waited in vain for its token was not handed over, and what is fetched later is kept."""
    provider.gate = asyncio.Event()
    started = await engine.start()
    worker = await token_worker(engine, provider, attempts=1)
    # The wait for the token ends by the clock; this one is not worth waiting for, the fetch is.
    account = engine.accounts["fake"]
    gateway = account.gateway
    gateway.timeout_s = 0.2
    delivering = asyncio.create_task(engine.deliver(worker))
    await until(lambda: provider.in_hand == 1)
    gateway.timeout_s = TIMEOUT_S
    await delivering
    seen = await engine.get(started)
    assert ("failed", 4, []) == (seen.delivery, seen.sends_left, provider.used)
    assert 1 == engine.count("otp_sends_total", gateway="fake", result="temporary")
    assert 0 == engine.count("otp_sends_total", gateway="fake", result="unknown")


async def test_who_gives_up_leaves_the_fetch_going(engine: Engine, provider: Provider) -> None:
    """A token that was given after its message gave up is kept: the provider may have voided the one before."""
    provider.gate = asyncio.Event()
    worker = await token_worker(engine, provider)
    waiting = asyncio.create_task(get(worker))
    await until(lambda: provider.in_hand == 1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    provider.gate.set()
    token = await get(worker)
    assert token is not None
    assert ([""], "secret-1") == (provider.asked, token.value)


# -- crashes ------------------------------------------------------------------------------------------------------


async def test_a_lease_ends(engine: Engine, provider: Provider) -> None:
    """While one worker fetches no other does; when it has died, another does once its lease is over (Invariant 4)."""
    kept = await engine.gateways.token("fake", not_version=0, lease_ms=round(LEASE_S * 1000), holder="dead")
    assert kept.fetch
    for elapsed_s, fetches in ((0.0, False), (LEASE_S - 0.001, False), (0.001, True)):
        engine.advance(elapsed_s)
        other = await engine.gateways.token("fake", not_version=0, lease_ms=7000, holder="other")
        assert (fetches, False) == (other.fetch, other.good)
    late = await engine.gateways.token("fake", not_version=0, lease_ms=7000, holder="dead")
    assert not late.fetch
    token = await asyncio.wait_for(fetched_after(engine, provider), 10)
    assert token is not None


async def fetched_after(engine: Engine, provider: Provider) -> Token | None:
    """Get a token once the lease in force is over."""
    engine.advance(LEASE_S)
    return await get(await token_worker(engine, provider))


async def test_the_lease_outlasts_a_fetch(engine: Engine, provider: Provider) -> None:
    """The lease is as long as both requests of a fetch may take, and two seconds more."""
    provider.gate = asyncio.Event()
    fetching = asyncio.create_task(get(await token_worker(engine, provider)))
    await until(lambda: provider.in_hand == 1)
    lease = await engine.redis.get(keys.gateway("fake", "lease"))
    provider.gate.set()
    await fetching
    assert round(LEASE_S * 1000) == int(lease.split(b",")[1]) - engine.clock.now_ms


async def test_what_another_got_meanwhile_is_used(engine: Engine, provider: Provider) -> None:
    """A fetch in vain takes what another worker got since the lease ran out, and leaves no lease behind."""
    provider.gives, provider.gate = False, asyncio.Event()
    fetching = asyncio.create_task(get(await token_worker(engine, provider, "slow")))
    await until(lambda: provider.in_hand == 1)
    engine.advance(LEASE_S)
    async with listening(Provider()) as other:
        await get(await token_worker(engine, other, "other"))
        provider.gate.set()
        token = await fetching
    assert (1, "secret-1") == (token and token.version, token and token.value)
    assert ([""], [""]) == (provider.asked, other.asked)
    assert 0 == await engine.redis.exists(keys.gateway("fake", "lease"))


async def test_a_fetch_in_vain_leaves_no_lease(engine: Engine, provider: Provider) -> None:
    """After a fetch in vain the next may be made at once."""
    provider.gives = False
    assert await get(await token_worker(engine, provider)) is None
    assert 0 == await engine.redis.exists(keys.gateway("fake", "lease"))


async def test_a_lost_reply_to_the_order_to_fetch(engine: Engine) -> None:
    """Who is told twice to fetch is told so twice: a lost reply costs no lease (Invariant 11)."""
    for _ in range(2):
        kept = await engine.gateways.token("fake", not_version=0, lease_ms=7000, holder="one")
        assert kept.fetch


async def test_what_was_fetched_late_is_kept(engine: Engine) -> None:
    """A token that arrives after the lease has ended is kept, and the lease of whoever fetches now stands."""
    await engine.gateways.token("fake", not_version=0, lease_ms=7000, holder="late")
    engine.advance(LEASE_S)
    assert (await engine.gateways.token("fake", not_version=0, lease_ms=7000, holder="now")).fetch
    assert 1 == await engine.gateways.keep_token("fake", b"sealed", good_ms=60_000, holder="late")
    kept = await engine.gateways.token("fake", not_version=0, lease_ms=7000, holder="other")
    assert (1, b"sealed", True, False) == (kept.version, kept.sealed, kept.good, kept.fetch)
    assert not (await engine.gateways.token("fake", not_version=1, lease_ms=7000, holder="other")).fetch


async def test_lost_replies_cost_no_token(backend: Backend, provider: Provider) -> None:
    """With every reply of the store lost once the token is fetched once and messages go out (Invariant 11)."""
    async with Engine(backend, forgetful=True) as engine:
        for phone in (PHONE, OTHER_PHONE):
            await engine.start(phone)
            await engine.deliver(await token_worker(engine, provider))
    assert ([""], ["secret-1", "secret-1"]) == (provider.asked, provider.used)


async def test_each_account_has_a_token_of_its_own(engine: Engine, provider: Provider) -> None:
    """Two accounts at the same provider never share a token."""
    worker = await token_worker(engine, provider)
    sender, gateway = worker._courier._sender, Gateway(provider.url)
    first, second = [
        await tokens_of(worker).get(Account(name, gateway), gateway, sender.exchange) for name in ("one", "two")
    ]
    assert ("secret-1", "secret-2") == (first and first.value, second and second.value)


# -- a store that does not keep it --------------------------------------------------------------------------------


@asynccontextmanager
async def unkept(url: str) -> AsyncIterator[tuple[Engine, Proxy]]:
    """Give a process whose store refuses to keep tokens, and the line that does so."""
    async with Proxy(url) as line, Engine(Backend("line", lambda: connect(f"redis://{line.address}"))) as engine:
        line.answer(_keep_token(), b"-OOM command not allowed when used memory > 'maxmemory'.\r\n")
        yield engine, line


def _keep_token() -> bytes:
    return scripts.load("keep_token").sha.encode()


@pytest.mark.usefixtures("valkey")
async def test_a_token_that_is_not_kept_is_used(valkey_url: str, provider: Provider) -> None:
    """While the store does not keep a token its callers have it, and it is kept as soon as the store does."""
    async with unkept(valkey_url) as (engine, line):
        worker = await token_worker(engine, provider)
        found = [*await asyncio.gather(*(get(worker) for _ in range(3))), await get(worker)]
        assert await engine.redis.get(keys.gateway("fake", "token")) is None
        line.answer(_keep_token(), None)
        await tokens_of(worker).close()
        await get(await token_worker(engine, provider, "other"))
    assert ({"secret-1"}, [""]) == ({token.value for token in found if token}, provider.asked)


@pytest.mark.usefixtures("valkey")
async def test_what_was_not_kept_is_renewed(valkey_url: str, provider: Provider) -> None:
    """The next token is fetched with what an unkept one came with, once that is kept, and with nothing older."""
    async with unkept(valkey_url) as (engine, line):
        worker = await token_worker(engine, provider)
        first = await get(worker)
        assert first is not None
        renewing = asyncio.create_task(get(worker, not_version=first.version))
        tried = line.requests
        await until(lambda: line.requests >= tried + 2)
        assert [""] == provider.asked
        line.answer(_keep_token(), None)
        second = await renewing
    assert ("secret-2", ["", "fresh-1"]) == (second and second.value, provider.asked)


async def test_closing_waits_for_the_fetch_and_the_store(engine: Engine, provider: Provider) -> None:
    """A worker that stops in the middle of a fetch keeps what the fetch gives."""
    provider.gate = asyncio.Event()
    worker = await token_worker(engine, provider)
    fetching = asyncio.create_task(get(worker))
    await until(lambda: provider.in_hand == 1)
    fetching.cancel()
    closing = asyncio.create_task(tokens_of(worker).close())
    provider.gate.set()
    await closing
    await get(await token_worker(engine, provider, "other"))
    assert [""] == provider.asked


@pytest.mark.usefixtures("valkey")
async def test_closing_ends(valkey_url: str, provider: Provider) -> None:
    """A worker that stops does not wait for the store for ever, and says that a token is lost."""
    async with unkept(valkey_url) as (engine, _):
        worker = await token_worker(engine, provider)
        tokens = worker._courier._sender._tokens = Tokens(engine.gateways, lambda: engine.ring, close_s=0.1)
        await get(worker)
        with structlog.testing.capture_logs() as lines:
            async with asyncio.timeout(10):
                await tokens.close()
    assert [("error", "fake", True)] == [
        (line["log_level"], line["gateway"], line["fetched"])
        for line in lines if line["event"] == "token given up"
    ]
    assert not tokens._keeping
