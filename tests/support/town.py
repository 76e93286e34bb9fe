"""
One process's chain of sources on an engine's store; what is played is the outside: sources, providers, the clocks.

::

    async with town(engine, STRANGER, KNOWN) as one:      # two sources: "one" does not know the number, "two" matches
        evidence = await one.ask(verification)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from otp_service.core.errors import ConfigurationError
from otp_service.core.evidence import NOT_A_SUBSCRIBER, Evidence, OwnershipOutcome, OwnershipQuestion
from otp_service.core.ports import HttpRequest, NoAnswer
from otp_service.core.retry_after import retry_after_s
from otp_service.core.routing import Route, RouteBook, parse_tiers
from otp_service.core.source_ports import Conversation
from otp_service.core.verification import Verification
from otp_service.delivery.tokens import Tokens
from otp_service.inquiry.asker import Asker
from otp_service.inquiry.chain import Chain
from otp_service.inquiry.health import SourceShares
from otp_service.inquiry.sources import AskedSource, Budget
from otp_service.storage.client import connect
from otp_service.storage.sources import SourceStore
from otp_service.telemetry.metrics import Metrics
from support.engine import OWNER, PHONE, Backend, Engine
from support.proxy import Proxy

MATCH, MISMATCH, NOT_AVAILABLE, ERROR = OwnershipOutcome
KNOWN = Evidence(MATCH, "", "operator_match")
OTHER_ID = Evidence(MISMATCH, "", "operator_match")
STRANGER = Evidence(NOT_AVAILABLE, "", note=NOT_A_SUBSCRIBER)
BLOCKED = Evidence(NOT_AVAILABLE, "", note="subscriber_blocked")
DOWN = Evidence(ERROR, "", note="connection_refused")
NAMES = ("one", "two", "three", "four", "five", "six", "made_up")


class Source:
    """A source that answers what it is told to, or hangs."""

    name = "scripted"
    assurance = "operator_match"

    def __init__(self, answer: Evidence | None = KNOWN, *, real: bool = False, repeatable: bool = True) -> None:
        self.answer = answer
        self.real = real
        self.repeatable = repeatable
        self.asked: list[OwnershipQuestion] = []

    async def ask(self, question: OwnershipQuestion) -> Evidence:
        """Answer as scripted; None never answers."""
        self.asked.append(question)
        if self.answer is None:
            await asyncio.Event().wait()
            raise AssertionError
        return self.answer


class Provider:
    """A provider on loopback that answers with a status, headers and a text."""

    def __init__(self) -> None:
        self.status = 200
        self.text = "match"
        self.headers: Mapping[str, str] = {}
        self.hangs_up = False
        self.asked = 0
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def open(self) -> None:
        """Listen, each time at the same address."""
        app = web.Application()
        app.router.add_post("/match", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}/match"

    async def close(self) -> None:
        """Stop listening: connections are refused."""
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def _take(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.hangs_up:
            assert request.transport
            request.transport.abort()
        return web.Response(status=self.status, text=self.text, headers=self.headers)


class Wire:
    """A source that asks a provider, and must not do so twice unless it says otherwise."""

    name = "wire"
    assurance = "operator_match"
    timeout_s = 5.0

    def __init__(self, provider: Provider, *, repeatable: bool = False) -> None:
        self.provider = provider
        self.repeatable = repeatable

    def converse(self, question: OwnershipQuestion, token: str = "") -> Conversation:
        """Ask once."""
        del question, token
        answer = yield HttpRequest("POST", self.provider.url, {}, b"{}")
        if isinstance(answer, NoAnswer):
            return Evidence(ERROR, self.name, note=answer.code)
        if answer.body == b"blocked":
            return BLOCKED
        if answer.status == 200 and answer.body in {b"match", b"stranger"}:
            return KNOWN if answer.body == b"match" else STRANGER
        return Evidence(
            ERROR, self.name, note=f"status_{answer.status}", retry_after_s=retry_after_s(answer.headers, 0),
        )


@dataclass
class Town:
    """
    One process's chain on an engine's store.

    ``routes`` are tiers, the last of them for all; ``rest_clock`` is what rests are measured with.
    """

    engine: Engine
    sources: Mapping[str, Source | Wire]
    routes: Sequence[Route] = ()
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    deadline_s: float = 5.0
    rest_clock: list[float] = field(default_factory=lambda: [1000.0])
    options: Mapping[str, Any] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        self._closing = AsyncExitStack()
        self.metrics = Metrics(purposes=(), limits=(), gateways=(), sources=NAMES, scripts=())
        self.store = SourceStore(self.engine.client)
        self.engine.clock.adopt(self.store)  # type: ignore[arg-type]
        routes = RouteBook(self.routes or [Route(parse_tiers([*self.sources]))])
        self.shares = SourceShares(self.store, routes.names, self.metrics, clock=lambda: self.rest_clock[0])
        session = await self._closing.enter_async_context(aiohttp.ClientSession())
        tokens = Tokens(self.store, lambda: self.engine.ring, kind="source")
        asked = {
            name: AskedSource(name, source, deadline_s=self.deadline_s, budget=self.budgets.get(name))
            for name, source in self.sources.items()
        }
        try:
            self.chain = Chain(
                asked, routes, Asker(session, tokens, self.metrics), self.shares, self.store, self.metrics,
                shard_of=self.engine.ring.parse_id, **self.options,
            )
        except ConfigurationError:
            await self._closing.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        await self._closing.aclose()

    async def ask(
        self, about: Verification | str = "5-k1-none", *, phone: str = PHONE, deadline_s: float = 5.0, **fields: Any,
    ) -> Evidence:
        """Ask about a verification."""
        reference = about if isinstance(about, str) else about.id
        question = OwnershipQuestion(phone, (OWNER,), reference=reference, purpose="registration", **fields)
        return await self.chain.ask(question, deadline_s=deadline_s)

    def asked(self) -> list[int]:
        """Return how often each source was asked."""
        return [
            source.provider.asked if isinstance(source, Wire) else len(source.asked)
            for source in self.sources.values()
        ]

    def count(self, metric: str, **labels: str) -> float | None:
        """Return a number of this process."""
        return self.metrics.registry.get_sample_value(metric, labels)

    def skips(self, source: str) -> dict[str, float]:
        """Return why a source was not asked, and how often."""
        reasons = ("resting", "over_budget", "asked_before", "test_key", "no_time", "other")
        found = {
            reason: self.count("otp_source_skips_total", source=source, reason=reason) or 0 for reason in reasons
        }
        return {reason: number for reason, number in found.items() if number}


def town(engine: Engine, *answers: Evidence | Source | Wire | None, **options: Any) -> Town:
    """Return a chain of sources with these answers, one tier each."""
    made = [one if isinstance(one, Source | Wire) else Source(one) for one in answers]
    return Town(engine, dict(zip(NAMES, made, strict=False)), **options)


def over(line: Proxy) -> Engine:
    """Return a process whose store is behind a line."""
    return Engine(Backend("line", lambda: connect(f"redis://{line.address}")), retry_total_s=0.1)


@asynccontextmanager
async def listening() -> AsyncIterator[Provider]:
    """Give a provider that listens."""
    one = Provider()
    await one.open()
    try:
        yield one
    finally:
        await one.close()
