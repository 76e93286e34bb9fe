"""Whatever a source, its provider or the network does, the asker makes evidence of it, and never a match by mistake."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import aiohttp
import pytest
import structlog
from aiohttp import web
from fakeredis import FakeAsyncRedis

from otp_service.core.evidence import ASSURANCE_LEVELS, Evidence, OwnershipOutcome, OwnershipQuestion
from otp_service.core.keyring import KeyRing, RingKey
from otp_service.core.ports import AccessToken, HttpRequest, HttpResponse, NoAnswer
from otp_service.delivery.tokens import Tokens
from otp_service.inquiry.asker import Asker, Reach
from otp_service.inquiry.sources import AskedSource
from otp_service.storage import keys
from otp_service.storage.client import StoreClient, connect
from otp_service.storage.gateways import GatewayStore
from otp_service.storage.sources import SourceStore
from otp_service.telemetry.metrics import Metrics

MATCH, MISMATCH, NOT_AVAILABLE, ERROR = OwnershipOutcome
QUESTION = OwnershipQuestion("+84900000001", ("052090000001",), reference="5-k1-abc")
GOOD = Evidence(MATCH, "adapter", "operator_match")

Talk = Generator[HttpRequest, HttpResponse | NoAnswer, Any]


class Plain:
    """A source that asks nobody: a function answers, given the question."""

    name = "adapter"
    assurance = "operator_match"

    def __init__(self, answer: Callable[[OwnershipQuestion], Awaitable[Any]]) -> None:
        self.answer = answer

    async def ask(self, question: OwnershipQuestion) -> Any:
        """Answer."""
        return await self.answer(question)


class Wire:
    """A source that speaks HTTP; ``talk`` is the talk, given the provider's URL and the token."""

    name = "adapter"
    assurance = "operator_match"
    timeout_s = 5.0

    def __init__(self, url: str, talk: Callable[[str, str], Talk] | None = None) -> None:
        self.url = url
        self.talk = talk or once
        self.closed = 0

    def converse(self, question: OwnershipQuestion, token: str = "") -> Talk:
        """Talk, and tell when the talk is over."""
        assert QUESTION == question
        try:
            return (yield from self.talk(self.url, token))
        finally:
            self.closed += 1


class TokenWire(Wire):
    """One that wants a token."""

    def build_token_request(self, refresh: str | None) -> HttpRequest:
        """Ask for a token."""
        assert refresh is None
        return HttpRequest("POST", f"{self.url}/token", {}, b"{}")

    def parse_token(self, response: HttpResponse) -> AccessToken | None:
        """Read it."""
        return AccessToken(json.loads(response.body)["token"], 3600) if response.status == 200 else None


def once(url: str, token: str) -> Talk:
    """Ask once; 200 is a match, 401 a token that is not taken, all else an error."""
    answer = yield HttpRequest("POST", f"{url}/match", {"authorization": token}, b"{}")
    if isinstance(answer, NoAnswer):
        return Evidence(ERROR, "adapter", note=answer.code)
    if answer.status == 200:
        return GOOD
    return Evidence(ERROR, "adapter", note=f"status_{answer.status}", stale_token=answer.status == 401)


@dataclass
class Provider:
    """A provider on loopback, which answers as it is told and keeps what it was asked."""

    answer: Callable[[web.Request], web.StreamResponse] = lambda _: web.Response(text="{}")
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    #: Waited for before an answer.
    gate: asyncio.Event | None = None
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""
    tokens: int = 0
    #: Whether tokens are given.
    gives: bool = True

    @property
    def paths(self) -> list[str]:
        """Return what was asked for, in order."""
        return [path for _, path, _, _ in self.asked]

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Take one request."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append((request.method, request.raw_path, headers, await request.read()))
        self.arrived.set()
        if self.gate:
            await self.gate.wait()
        if request.path == "/token":
            self.tokens += 1
            return web.json_response({"token": f"secret-{self.tokens}"}, status=200 if self.gives else 400)
        return self.answer(request)


@asynccontextmanager
async def listening(one: Provider) -> AsyncIterator[Provider]:
    """Let a provider listen."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", one.take)
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


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """Give a provider that listens."""
    async with listening(Provider()) as one:
        yield one


@pytest.fixture
async def nobody() -> str:
    """Give an address where nobody listens."""
    async with listening(Provider()) as one:
        return one.url


@dataclass
class House:
    """An asker with everything it stands on."""

    asker: Asker
    metrics: Metrics
    tokens: Tokens
    client: StoreClient
    redis: FakeAsyncRedis
    #: Connections that were begun.
    connections: list[str]

    async def ask(self, source: Any, *, deadline_s: float = 5.0, **options: Any) -> Evidence:
        """Ask a source under the name ``one``."""
        return await self.asker.ask(AskedSource("one", source, deadline_s=deadline_s), QUESTION, **options)

    def counted(self, metric: str, **labels: str) -> float:
        """Return a number of the source's."""
        return self.metrics.registry.get_sample_value(metric, {"source": "one", **labels}) or 0.0


def ring() -> KeyRing:
    """Return a key ring."""
    return KeyRing(sha256(b"anchor").digest(), [RingKey("k1", sha256(b"k1").digest())])


@pytest.fixture
async def house(fake_redis: FakeAsyncRedis) -> AsyncIterator[House]:
    """Give an asker on a fake store."""
    metrics = Metrics(purposes=(), limits=(), gateways=(), sources=["one"], scripts=())
    client = StoreClient(fake_redis, metrics=metrics, retry_total_s=0.1)
    tokens = Tokens(SourceStore(client), ring, kind="source")
    connections: list[str] = []

    async def begun(*_: Any) -> None:
        connections.append("")

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_start.append(begun)
    async with aiohttp.ClientSession(trace_configs=[trace]) as session:
        yield House(Asker(session, tokens, metrics), metrics, tokens, client, fake_redis, connections)
        await tokens.close()
    await client.close()


def answering(found: Any) -> Plain:
    """Return a source that gives this answer."""
    async def answer(question: OwnershipQuestion) -> Any:
        assert QUESTION == question
        return found

    return Plain(answer)


def raising(error: BaseException) -> Plain:
    """Return a source that raises."""
    async def answer(_: OwnershipQuestion) -> Any:
        raise error

    return Plain(answer)


# -- answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", OwnershipOutcome)
async def test_an_answer_is_that_of_the_configured_source(house: House, outcome: OwnershipOutcome) -> None:
    """Evidence carries the name in the settings, not the adapter's, and is counted and timed under it."""
    assurance = "operator_match" if outcome in {MATCH, MISMATCH} else None
    evidence = await house.ask(answering(Evidence(outcome, "adapter", assurance, "word")))
    assert Evidence(outcome, "one", assurance, "word") == evidence
    assert 1 == house.counted("otp_ownership_checks_total", outcome=outcome.value)
    assert 1 == house.counted("otp_ownership_check_seconds_count", outcome=outcome.value)


async def test_the_request_goes_out_as_the_source_made_it(house: House, provider: Provider) -> None:
    """Method, path, headers and body are the source's own, to the byte."""
    def talk(url: str, token: str) -> Talk:
        assert not token
        yield HttpRequest("PUT", f"{url}/a%2Fb?q=%20x", {"x-correlator": "5-k1-abc"}, b'{"a": 1 }')
        return GOOD

    assert MATCH is (await house.ask(Wire(provider.url, talk))).outcome
    [(method, path, headers, body)] = provider.asked
    assert ("PUT", "/a%2Fb?q=%20x", "5-k1-abc", b'{"a": 1 }') == (method, path, headers["x-correlator"], body)


async def test_a_talk_of_several_requests(house: House, provider: Provider) -> None:
    """A source may ask again with what it was answered."""
    provider.answer = lambda request: web.Response(text=request.path + "x", headers={"X-Seen": "Yes"})

    def talk(url: str, _: str) -> Talk:
        first = yield HttpRequest("GET", f"{url}/a")
        assert isinstance(first, HttpResponse)
        assert (200, b"/ax", "Yes") == (first.status, first.body, first.headers["x-seen"])
        second = yield HttpRequest("GET", url + first.body.decode())
        assert isinstance(second, HttpResponse)
        return Evidence(MISMATCH, "adapter", "operator_match", second.body.decode().strip("/"))

    source = Wire(provider.url, talk)
    assert Evidence(MISMATCH, "one", "operator_match", "axx") == await house.ask(source)
    assert (["/a", "/ax"], 1) == (provider.paths, source.closed)


async def test_redirects_are_not_followed(house: House, provider: Provider) -> None:
    """A redirect is an answer like another: the ID number goes nowhere else."""
    provider.answer = lambda _: web.Response(status=307, headers={"Location": "/elsewhere"})
    assert "status_307" == (await house.ask(Wire(provider.url))).note
    assert ["/match"] == provider.paths


async def test_of_a_long_answer_64_kib_are_read(house: House, provider: Provider) -> None:
    """No answer is read to an end that does not come, and one that is not whole is none (Invariant 8)."""
    body = b"x" * 65_536
    provider.answer = lambda _: web.Response(body=body)
    seen: list[HttpResponse | NoAnswer] = []

    def talk(url: str, _: str) -> Talk:
        seen.append((yield HttpRequest("GET", url)))
        return GOOD

    await house.ask(Wire(provider.url, talk))
    body += b"x"
    await house.ask(Wire(provider.url, talk))
    whole, cut_off = seen
    assert isinstance(whole, HttpResponse)
    assert (65_536, True) == (len(whole.body), whole.whole)
    assert NoAnswer("answer_too_long", maybe_taken=True) == cut_off


# -- what is no answer --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [
    RuntimeError("052090000001"), StopIteration(GOOD), ValueError(), KeyError("0900000001"), RecursionError(),
    asyncio.CancelledError(), aiohttp.ClientError(),
])
async def test_whatever_a_source_raises_is_an_error(house: House, error: BaseException) -> None:
    """An exception is no answer, and its text, which may hold data, is not logged (Invariant 8)."""
    with structlog.testing.capture_logs() as lines:
        evidence = await house.ask(raising(error))
    assert Evidence(ERROR, "one", note="exception") == evidence
    assert ["ownership source failed"] == [line["event"] for line in lines]
    assert "0000001" not in str(lines)
    assert 1 == house.counted("otp_ownership_checks_total", outcome="error")


@pytest.mark.parametrize("error", [RuntimeError("052090000001"), ValueError()])
@pytest.mark.parametrize("requests", [0, 1])
async def test_whatever_a_talk_raises_is_an_error(
    house: House, provider: Provider, requests: int, error: Exception,
) -> None:
    """So is what a talk raises, before its first request or after an answer."""
    def talk(url: str, _: str) -> Talk:
        for _at in range(requests):
            yield HttpRequest("GET", url)
        raise error

    source = Wire(provider.url, talk)
    assert Evidence(ERROR, "one", note="exception") == await house.ask(source)
    assert 1 == source.closed


@pytest.mark.parametrize("found", [
    None, True, "match", {"outcome": "match"}, Evidence("match", "adapter", "operator_match"),  # type: ignore[arg-type]
    Evidence(MATCH, "adapter", "operator_match", fields=None),  # type: ignore[arg-type]
])
async def test_what_is_no_evidence_is_an_error(house: House, provider: Provider, found: Any) -> None:
    """Only evidence is evidence, however much something else looks like it (Invariant 8)."""
    def talk(url: str, _: str) -> Talk:
        yield HttpRequest("GET", url)
        return found

    for source in (answering(found), Wire(provider.url, talk)):
        assert Evidence(ERROR, "one", note="exception") == await house.ask(source)


async def test_what_is_no_talk_is_an_error(house: House) -> None:
    """A source whose ``converse`` returns evidence at once has not understood it, and matches nothing."""
    class Hasty:
        name, assurance, timeout_s = "adapter", "operator_match", 1.0

        def converse(self, _: OwnershipQuestion, token: str = "") -> Any:
            del token
            return GOOD

    assert Evidence(ERROR, "one", note="exception") == await house.ask(Hasty())


@pytest.mark.parametrize("yielded", [None, "http://127.0.0.1", HttpRequest("GET", "no address"), HttpRequest("", "")])
async def test_what_is_no_request_is_an_error(house: House, yielded: Any) -> None:
    """A request that cannot be made is no answer."""
    def talk(_: str, __: str) -> Talk:
        answer = yield yielded
        return GOOD if isinstance(answer, HttpResponse) else Evidence(ERROR, "adapter", note="not_made")

    assert ERROR is (await house.ask(Wire("", talk))).outcome


@pytest.mark.parametrize("assurance", [None, "", "operator", "OPERATOR_MATCH", 1, ["operator_match"]])
async def test_a_match_of_unknown_assurance_is_none(house: House, assurance: Any) -> None:
    """A match at a level that nobody knows is an error; a mismatch stands without it (Invariant 8)."""
    match, mismatch = (answering(Evidence(outcome, "", assurance)) for outcome in (MATCH, MISMATCH))
    assert Evidence(ERROR, "one", note="assurance_unknown") == await house.ask(match)
    assert Evidence(MISMATCH, "one") == await house.ask(mismatch)


@pytest.mark.parametrize("assurance", ASSURANCE_LEVELS)
async def test_every_level_is_taken(house: House, assurance: str) -> None:
    """Each level that there is may stand in a match; nothing learnt has none."""
    assert assurance == (await house.ask(answering(Evidence(MATCH, "", assurance)))).assurance
    assert (await house.ask(answering(Evidence(NOT_AVAILABLE, "", assurance)))).assurance is None


@pytest.mark.parametrize("note", ["Nguyễn Văn A", "052090000001", "", "a" * 65, 7, "two words", "x\ny"])
async def test_a_note_that_is_no_word_is_not_told(house: House, note: Any) -> None:
    """A note goes into the log, so that only words pass (Invariant 5)."""
    assert "unnamed" == (await house.ask(answering(Evidence(MISMATCH, "", note=note)))).note


@pytest.mark.parametrize(
    ("said", "taken"),
    [(0.5, 0.5), (30, 30.0), (3600, 3600.0), (3601, 3600.0), (math.inf, 3600.0), (0, None), (-5, None),
     (math.nan, None), ("30", None), (None, None)],
)
async def test_a_rest_is_bounded(house: House, said: Any, taken: float | None) -> None:
    """No source puts itself out of use for more than an hour, or for less than nothing."""
    assert taken == (await house.ask(answering(Evidence(ERROR, "", retry_after_s=said)))).retry_after_s


# -- the network --------------------------------------------------------------------------------------------------


async def test_nobody_there_is_tried_twice(house: House, nobody: str) -> None:
    """A connection that is refused is tried once more at once, and then told to the source."""
    reach = Reach()
    assert Evidence(ERROR, "one", note="connection_refused") == await house.ask(Wire(nobody), reach=reach)
    assert 2 == len(house.connections)
    assert Reach(reached=False, answer_lost=False) == reach


def hang_up(request: web.Request) -> web.Response:
    """Close the connection instead of an answer."""
    assert request.transport
    request.transport.abort()
    return web.Response()


async def test_a_lost_answer_is_not_asked_for_again(house: House, provider: Provider) -> None:
    """A connection that breaks before the answer is not tried again: the source may have been asked."""
    provider.answer = hang_up
    reach = Reach()
    with structlog.testing.capture_logs() as lines:
        assert Evidence(ERROR, "one", note="connection_lost") == await house.ask(Wire(provider.url), reach=reach)
    assert ["/match"] == provider.paths
    assert Reach(reached=True, answer_lost=True) == reach
    assert [("connection lost", "one")] == [(line["event"], line["source"]) for line in lines]


@pytest.mark.parametrize(
    ("status", "lost"), [(400, False), (401, False), (404, False), (429, False), (503, False),
                         (200, True), (204, True), (302, True), (500, True), (502, True), (504, True)],
)
async def test_which_answers_may_have_been_lost(
    house: House, provider: Provider, status: int, *, lost: bool,
) -> None:
    """Only what says clearly that the question was not dealt with is no lost answer."""
    def talk(url: str, _: str) -> Talk:
        yield HttpRequest("GET", url)
        return Evidence(ERROR, "", note="unreadable")

    provider.answer = lambda _: web.Response(status=status)
    reach = Reach()
    await house.ask(Wire(provider.url, talk), reach=reach)
    assert Reach(reached=True, answer_lost=lost) == reach


async def test_what_a_talk_lost_stays_lost(house: House, provider: Provider) -> None:
    """A refusal of a later request does not make an earlier answer read, nor does an exception."""
    for status in (429, 200):
        provider.answer = lambda request, status=status: web.Response(status=200 if request.path == "/a" else status)

        def talk(url: str, _: str) -> Talk:
            yield HttpRequest("GET", f"{url}/a")
            yield HttpRequest("GET", f"{url}/b")
            raise ValueError

        reach = Reach()
        await house.ask(Wire(provider.url, talk), reach=reach)
        assert Reach(reached=True, answer_lost=True) == reach


async def test_an_exception_loses_the_answer(house: House, provider: Provider) -> None:
    """What a source did not survive reading may have been anything."""
    def talk(url: str, _: str) -> Talk:
        yield HttpRequest("GET", url)
        raise ValueError

    provider.answer = lambda _: web.Response(status=429)
    reach = Reach()
    await house.ask(Wire(provider.url, talk), reach=reach)
    assert Reach(reached=True, answer_lost=True) == reach


# -- time ---------------------------------------------------------------------------------------------------------


async def forever(_: OwnershipQuestion) -> Any:
    """Never answer."""
    await asyncio.Event().wait()


async def test_a_source_that_hangs_is_cut_off(house: House, provider: Provider) -> None:
    """At the source's deadline its talk is closed, and there is no answer (Invariant 8)."""
    provider.gate = asyncio.Event()
    source, reach = Wire(provider.url), Reach()
    assert Evidence(ERROR, "one", note="timeout") == await house.ask(source, deadline_s=0.05, reach=reach)
    assert (1, Reach(reached=True, answer_lost=True)) == (source.closed, reach)
    assert Evidence(ERROR, "one", note="timeout") == await house.ask(Plain(forever), deadline_s=0.05)


async def test_a_request_that_hangs_is_told_to_the_source(house: House, provider: Provider) -> None:
    """A request has a time of its own, and the source may go on after it."""
    provider.gate = asyncio.Event()
    heard: list[object] = []

    def talk(url: str, _: str) -> Talk:
        heard.append((yield HttpRequest("POST", url)))
        return Evidence(ERROR, "", note="slow")

    source = Wire(provider.url, talk)
    source.timeout_s = 0.05
    assert "slow" == (await house.ask(source)).note
    assert [NoAnswer("timeout", maybe_taken=True)] == heard


async def test_hardly_any_time_is_not_the_sources_fault(house: House) -> None:
    """Cut off by somebody else's haste, a source is not called slow."""
    async with asyncio.timeout(2):
        assert "no_time" == (await house.ask(Plain(forever), within_s=0.05)).note
        assert "timeout" == (await house.ask(Plain(forever), deadline_s=0.05, within_s=9)).note


async def test_a_talk_has_an_end(house: House, provider: Provider) -> None:
    """A talk makes eight requests at most."""
    def talk(url: str, _: str) -> Talk:
        while True:
            yield HttpRequest("GET", url)

    source = Wire(provider.url, talk)
    assert Evidence(ERROR, "one", note="too_many_requests") == await house.ask(source)
    assert (8, 1) == (len(provider.asked), source.closed)


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_cancelled_question_closes_the_talk(house: House, provider: Provider, *, stubborn: bool) -> None:
    """Who asks may be cancelled: the talk is closed, and nothing that it does then stops the cancellation."""
    provider.gate = asyncio.Event()

    def talk(url: str, _: str) -> Talk:
        try:
            yield HttpRequest("GET", url)
        finally:
            if stubborn:
                raise ValueError

    source = Wire(provider.url, talk)
    asking = asyncio.create_task(house.ask(source))
    await provider.arrived.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert 1 == source.closed


# -- tokens -------------------------------------------------------------------------------------------------------


async def test_a_token_goes_with_each_talk(house: House, provider: Provider) -> None:
    """The token is fetched once and given to every talk."""
    for _ in range(2):
        assert MATCH is (await house.ask(TokenWire(provider.url))).outcome
    assert ["/token", "/match", "/match"] == provider.paths
    assert ["secret-1", "secret-1"] == [asked[2]["authorization"] for asked in provider.asked[1:]]


async def test_without_a_token_nobody_is_asked(house: House, provider: Provider) -> None:
    """A provider that gives no token is not asked about anybody."""
    provider.gives = False
    source, reach = TokenWire(provider.url), Reach()
    assert Evidence(ERROR, "one", note="no_token") == await house.ask(source, reach=reach)
    assert (0, ["/token"], Reach()) == (source.closed, provider.paths, reach)


def refusing(*tokens: str) -> Callable[[web.Request], web.Response]:
    """Return what a provider answers that does not take these tokens."""
    return lambda request: web.Response(status=401 if request.headers["authorization"] in tokens else 200)


async def test_a_token_that_is_not_taken_is_replaced_once(house: House, provider: Provider) -> None:
    """A stale token costs one fetch and a new talk."""
    provider.answer = refusing("secret-1")
    source = TokenWire(provider.url)
    assert GOOD.assurance == (await house.ask(source)).assurance
    assert (["/token", "/match", "/token", "/match"], 2) == (provider.paths, source.closed)


async def test_a_token_that_is_never_taken_is_a_refusal(house: House, provider: Provider) -> None:
    """When the second token is not taken either, our account is refused; there is no third."""
    provider.answer = refusing("secret-1", "secret-2")
    source = TokenWire(provider.url)
    assert Evidence(ERROR, "one", note="unauthenticated") == await house.ask(source)
    assert (["/token", "/match", "/token", "/match"], 2) == (provider.paths, source.closed)


async def test_a_source_without_tokens_has_none_to_replace(house: House, provider: Provider) -> None:
    """A source that fetches no tokens is asked once."""
    provider.answer = lambda _: web.Response(status=401)
    assert Evidence(ERROR, "one", note="status_401") == await house.ask(Wire(provider.url))
    assert ["/match"] == provider.paths


async def test_a_token_that_comes_too_late_to_be_used(house: House, provider: Provider) -> None:
    """Who waited in vain for a token has asked nobody; the fetch goes on, and the next has it."""
    provider.gate = asyncio.Event()
    reach = Reach()
    assert "no_token" == (await house.ask(TokenWire(provider.url), deadline_s=0.1, reach=reach)).note
    assert Reach() == reach
    provider.gate.set()
    assert MATCH is (await house.ask(TokenWire(provider.url))).outcome
    assert ["/token", "/match"] == provider.paths


async def test_a_source_that_cannot_read_its_token(house: House, provider: Provider) -> None:
    """What is raised while a token is read is no answer."""
    class Broken(TokenWire):
        def parse_token(self, response: HttpResponse) -> AccessToken | None:
            raise ValueError(response.body)

    with structlog.testing.capture_logs() as lines:
        assert Evidence(ERROR, "one", note="exception") == await house.ask(Broken(provider.url))
    assert "secret" not in str(lines)


async def test_a_store_that_is_down_is_not_the_sources_fault(house: House, provider: Provider, nobody: str) -> None:
    """Without the store there is no token, and that is told as such."""
    client = StoreClient(connect(nobody.replace("http", "redis")), metrics=house.metrics, retry_total_s=0.05)
    house.asker._tokens = Tokens(SourceStore(client), ring, kind="source")
    assert Evidence(ERROR, "one", note="store") == await house.ask(TokenWire(provider.url))
    assert [] == provider.asked
    await client.close()


async def test_a_gateway_of_the_same_name_has_its_own_token(house: House, provider: Provider) -> None:
    """Tokens of a gateway and of a source never meet, and both expire (Invariant 7)."""
    await GatewayStore(house.client).keep_token("one", b"sealed", good_ms=60_000, holder="")
    await house.ask(TokenWire(provider.url))
    assert ["/token", "/match"] == provider.paths
    assert (await house.redis.get(keys.gateway("one", "token"))).endswith(b",sealed")
    assert 0 < await house.redis.pttl(keys.source("one", "token"))
    for name in await house.redis.keys("*"):
        assert b"secret" not in await house.redis.get(name)


async def test_a_token_of_a_gateway_is_none_of_a_source(house: House, provider: Provider) -> None:
    """What was sealed as a gateway's token cannot be moved to a source; the log says whose token was fetched."""
    moved = Tokens(GatewayStore(house.client), ring)._seal(AccessToken("moved", 3600))
    await SourceStore(house.client).keep_token("one", moved, good_ms=60_000, holder="")
    with structlog.testing.capture_logs() as lines:
        assert MATCH is (await house.ask(TokenWire(provider.url))).outcome
    assert ["/token", "/match"] == provider.paths
    assert {("token not readable", "one"), ("token fetched", "one")} == {
        (line["event"], line["source"]) for line in lines
    }


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Keep the warnings that tests provoke out of the output."""
    with structlog.testing.capture_logs():
        yield
