"""Receivers of webhooks on loopback, and a worker of a test's engine that tells them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web
from aiohttp.abc import AbstractResolver

from otp_service.core.client import Client
from otp_service.core.verification import Links, Verification
from otp_service.core.webhook_secrets import new_secret
from otp_service.delivery.guarded import Address, GuardedConnections, is_public
from otp_service.delivery.webhooks import TIMEOUT_S, WebhookSender, WebhookWorker
from otp_service.service import Caller
from otp_service.storage.webhooks import WebhookStore
from support.engine import HOME, PURPOSES, Engine

LOOPBACK = frozenset({"loopback"})


@dataclass
class Taken:
    """One request that a receiver got: its path, headers in lower case, and body as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """Its webhook id."""
        return self.headers["webhook-id"]

    @property
    def told(self) -> Any:
        """Its body, read."""
        return json.loads(self.body)


@dataclass
class Receiver:
    """
    A client's server.

    Attributes:
        answer: status and headers of every answer.
        next: answers that go first, one each.
        gate: waited for before an answer.
        body: of every answer.
        taken: what came.
        most_in_hand: how many requests it had at once.
    """

    answer: tuple[int, dict[str, str]] = (204, {})
    next: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    gate: asyncio.Event | None = None
    body: bytes = b""
    taken: list[Taken] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    host: str = "127.0.0.1"
    port: int = 0
    most_in_hand: int = 0
    _in_hand: int = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{self.host}:{self.port}/otp"

    @property
    def ids(self) -> list[str]:
        """Every webhook id that came, in order."""
        return [one.id for one in self.taken]

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Self]:
        """Listen: on a free port, or on the one that was given."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, self.host, self.port).start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.taken.append(Taken(request.path_qs, headers, await request.read()))
        self.arrived.set()
        self._in_hand += 1
        self.most_in_hand = max(self.most_in_hand, self._in_hand)
        try:
            if self.gate:
                await self.gate.wait()
        finally:
            self._in_hand -= 1
        status, more = self.next.pop(0) if self.next else self.answer
        return web.Response(status=status, headers=more, body=self.body)


def portal(name: str = "portal", **fields: Any) -> Caller:
    """Return a client that takes webhooks on loopback; of the same name as the engine's own portal by default."""
    fields = {"webhook_hosts": LOOPBACK, "webhook_secrets": (new_secret(),), **fields}
    return Caller(Client(name, purposes=frozenset(PURPOSES), **fields))


@asynccontextmanager
async def telling(
    engine: Engine, *callers: Caller, loopback: bool = True, resolver: AbstractResolver | None = None,
    public: Callable[[Address], bool] = is_public, timeout_s: float = TIMEOUT_S,
    luck: Callable[[], float] = lambda: 0.0,
) -> AsyncIterator[WebhookWorker]:
    """Give a worker for these clients, on the engine's store and clock."""
    async with GuardedConnections(loopback=loopback, resolver=resolver, public=public) as connections:
        yield WebhookWorker(
            store=store_of(engine), clients=[caller.client for caller in callers], ring=lambda: engine.ring,
            sender=WebhookSender(connections), metrics=engine.metrics, timeout_s=timeout_s, luck=luck,
        )


def store_of(engine: Engine) -> WebhookStore:
    """Give the engine's transitions about webhooks, by its clock."""
    store = WebhookStore(engine.client)
    engine.clock.adopt(store)
    return store


async def step(worker: WebhookWorker) -> int:
    """Deliver everything that is due now; returns how many attempts that took."""
    total = 0
    while taken := await worker.step():
        await worker.finish()
        total += taken
    return total


async def ended(engine: Engine, caller: Caller, url: str, phone: str = "+84900000001", **fields: Any) -> Verification:
    """Return a verification that was cancelled, whose end is to be told at ``url``."""
    started = await engine.start(
        phone, caller=caller, links=Links(callback_url=url), end_user_ip=HOME, **fields,
    )
    return await engine.cancel(started, caller=caller)
