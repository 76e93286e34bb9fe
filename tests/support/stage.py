"""
A stage for browsers: the service on a real Valkey behind a real socket, and a portal of another site beside it.

Nothing of the product is replaced (see ``support/engine.py``).  A test plays the outside: the SMS gateway, the
ownership source, the portal's own pages, and the store's clock, which stands still until :meth:`Stage.advance`.
"""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import replace
from hashlib import sha256
from html import escape
from typing import Any

import orjson
from aiohttp import web

from otp_service.core.client import ApiKey, Client, ClientRegistry, Scope
from otp_service.core.errors import StoreUnavailable
from otp_service.core.limits import Limit
from otp_service.core.ports import DeliveryReport, DeliveryState
from otp_service.delivery.accounts import Account
from otp_service.delivery.deadlines import DeadlineWorker
from otp_service.delivery.pacing import pause
from otp_service.delivery.sms_worker import SmsWorker
from otp_service.process import listen, running
from otp_service.storage.client import connect
from otp_service.storage.waiters import Waiters
from otp_service.telemetry import logs
from otp_service.web.dependencies import WebDependencies
from otp_service.web.server import build_app
from sms_adapters.fake import FakeGateway
from support.engine import AT_ONCE, HOME, OWNER, PHONE, PORTAL, PURPOSES, Backend, Engine, _catalogue
from support.http import Api
from support.processes import PORTAL_KEY, eventually

HOTLINE = "1900 0000"
_CODE = re.compile(r"(?<![0-9])[0-9]{6}(?![0-9])")
_LOOK_EVERY_S = 0.02
_LOOPBACK = frozenset({"loopback"})


def portal_client(**changes: Any) -> Client:
    """Return the portal as the service knows it: loopback alone, for everything."""
    key = ApiKey(sha256(PORTAL_KEY.encode()).hexdigest(), frozenset(Scope))
    client = Client(
        PORTAL.client.name, display_name="Cổng dịch vụ công tỉnh", purposes=frozenset(PURPOSES), origins=_LOOPBACK,
        return_hosts=_LOOPBACK, webhook_hosts=_LOOPBACK, hotline=HOTLINE, keys=(key,),
    )
    return replace(client, **changes)


class Portal:
    """
    The portal's own site, on ``localhost`` while the service is on ``127.0.0.1``: for a browser another site.

    Attributes:
        url: its origin.
        back_url: where its ``return_url`` points.
        came_back: the query of each visit of that page, in order.
    """

    def __init__(self) -> None:
        self.came_back: list[dict[str, str]] = []
        self._pages: dict[str, tuple[str, dict[str, str]]] = {}
        self._listener = listen("127.0.0.1", 0)
        self.url = f"http://localhost:{self._listener.getsockname()[1]}"

    @property
    def back_url(self) -> str:
        """Where people return to."""
        return f"{self.url}/back"

    def page(self, body: str, **headers: str) -> str:
        """
        Put a page on the site; returns its address.

        Underscores in names of ``headers`` stand for hyphens: ``Content_Security_Policy="…"``.
        """
        path = f"/page/{len(self._pages)}"
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        text = f'<!DOCTYPE html><html lang="vi"><head><meta charset="utf-8"><title>Cổng</title></head>{body}</html>'
        self._pages[path] = (text, {"Content-Type": "text/html; charset=utf-8", **sent})
        return self.url + path

    def hand_over(self, started: Mapping[str, Any]) -> str:
        """Put the page on the site that sends a browser to the hosted page by form POST; returns its address."""
        return self.page(
            f'<body><form method="post" action="{escape(started["page_url"])}">'
            f'<input type="hidden" name="client_token" value="{escape(started["client_token"])}">'
            "<button>Tiếp tục</button></form></body>",
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Portal]:
        """Serve it."""
        app = web.Application()
        app.router.add_get("/page/{number}", self._page)
        app.router.add_get("/back", self._back)
        app.router.add_get("/favicon.ico", self._nothing)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.SockSite(runner, self._listener).start()
            yield self
        finally:
            await runner.cleanup()

    async def _page(self, request: web.Request) -> web.Response:
        text, headers = self._pages[request.path]
        return web.Response(body=text.encode(), headers=headers)

    async def _back(self, request: web.Request) -> web.Response:
        self.came_back.append(dict(request.query))
        return web.Response(text="<!DOCTYPE html><title>Cổng</title><h1>Về cổng</h1>", content_type="text/html")

    async def _nothing(self, _: web.Request) -> web.Response:
        return web.Response(status=204)


class Stage:
    """
    The service and what plays around it.

    Attributes:
        engine: the service's engine; ``engine.source`` answers about owners, ``engine.postbox`` takes the SMS.
        base: the service's origin.
        portal: the portal's site.
        api: calls the service with the portal's key.
        log: what the service has logged, as JSON lines.
    """

    def __init__(self, engine: Engine, base: str, portal: Portal, api: Api, log: io.BytesIO) -> None:
        self.engine, self.base, self.portal, self.api, self.log = engine, base, portal, api, log

    async def start(self, phone_number: str = PHONE, purpose: str = "registration", **fields: Any) -> dict[str, Any]:
        """Start a verification as the portal's back end does; returns the 201's body."""
        body = {"end_user_ip": HOME, "return_url": self.portal.back_url, **fields}
        if PURPOSES[purpose].checks_ownership:
            body.setdefault("id_number", OWNER)
        if PURPOSES[purpose].assisted:
            del body["end_user_ip"]
        sent = {name: value for name, value in body.items() if value is not None}
        reply = await self.api.call(
            "POST", "/v1/verifications", {"phone_number": phone_number, "purpose": purpose, **sent},
        )
        assert 201 == reply.status, reply.body
        found: dict[str, Any] = reply.body
        return found

    async def code(self, started: Mapping[str, Any], send_number: int = 1) -> str:
        """Wait for an SMS and return the code that a person reads in it."""
        reference = f"{started['id']}-{send_number}"

        def arrived() -> str | None:
            texts = [post["text"] for post in self.engine.postbox.posts if post["reference"] == reference]
            return str(_CODE.findall(texts[0])[0]) if texts else None

        return await eventually(arrived, f"SMS {send_number}")

    async def wrong_code(self, started: Mapping[str, Any]) -> str:
        """Return a code that no SMS of this verification carries."""
        found = await self.engine.service.get(PORTAL, started["id"])
        return self.engine.wrong_code(found)

    async def read(self, started: Mapping[str, Any]) -> dict[str, Any]:
        """Read a verification as the portal's back end does."""
        found: dict[str, Any] = (await self.api.read(started["id"])).body
        return found

    async def until(self, started: Mapping[str, Any], **members: Any) -> dict[str, Any]:
        """Wait until a verification has these members, as the portal's back end sees it."""
        async def has() -> dict[str, Any] | None:
            found = await self.read(started)
            return found if all(found[name] == value for name, value in members.items()) else None

        return await eventually(has, f"a verification with {members}")

    async def reported(self, started: Mapping[str, Any], state: DeliveryState, send_number: int = 1) -> None:
        """Let the gateway report what became of an SMS."""
        report = DeliveryReport(state, reference=f"{started['id']}-{send_number}")
        await self.engine.reports.take(Account("fake", FakeGateway()), [report])

    async def advance(self, seconds: float) -> None:
        """Move the store's clock, and end what is overdue then."""
        self.engine.advance(seconds)
        await self.engine.deadlines()

    def lines(self, event: str = "request") -> list[dict[str, Any]]:
        """Return the log's lines of one kind."""
        found = [orjson.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in found if line["event"] == event]


@asynccontextmanager
async def staged(valkey_url: str, *, limits: tuple[Limit, ...] = (), **changes: Any) -> AsyncIterator[Stage]:
    """
    Set the stage on an emptied Valkey: service, SMS worker, deadlines and portal.

    Args:
        valkey_url: the store.
        limits: limits other than those of ``support/engine.py``.
        changes: other members of the portal's client.
    """
    log = io.BytesIO()
    logs.configure(json=True, level="info", stream=log, cache=False)
    async with AsyncExitStack() as stack:
        stack.callback(logs.reset)
        engine = Engine(Backend("valkey", lambda: connect(valkey_url)), limits=limits)
        await engine.redis.flushall()
        await stack.enter_async_context(engine)
        await stack.enter_async_context(_working(engine))
        portal = await stack.enter_async_context(Portal().open())
        listener = stack.enter_context(closing(listen("127.0.0.1", 0)))
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        deps = _dependencies(engine, base, portal_client(**changes))
        stack.callback(deps.waiters.drain)
        await stack.enter_async_context(running(build_app(deps), listener, deps.catalogue))
        api = await stack.enter_async_context(Api(base))
        yield Stage(engine, base, portal, api, log)


def _dependencies(engine: Engine, base: str, client: Client) -> WebDependencies:
    async def fit() -> dict[str, str | bool]:
        return {"store": True}

    return WebDependencies(
        service=engine.service, clients=ClientRegistry((client,)), catalogue=_catalogue(), metrics=engine.metrics,
        waiters=Waiters(engine.store, capacity=100, gauge=engine.metrics), readiness=fit, accounts=engine.accounts,
        reports=engine.reports, public_url=base, version="0.1.0",
    )


@asynccontextmanager
async def _working(engine: Engine) -> AsyncIterator[None]:
    """Let the workers run: SMS are handed over as they come, questions that were left open are asked."""
    stop = asyncio.Event()
    sms = await engine.worker()
    deadlines = DeadlineWorker(
        store=engine.store, ask_ownership=engine.service.ask_ownership, ended=engine.service.ended,
        metrics=engine.metrics, ask_lease_ms=5000,
    )
    tasks = [asyncio.create_task(work) for work in (_hand_over(sms, stop), deadlines.run(stop))]
    try:
        yield
    finally:
        stop.set()
        if engine.postbox.gate:
            engine.postbox.gate.set()
        await asyncio.gather(*tasks)


async def _hand_over(worker: SmsWorker, stop: asyncio.Event) -> None:
    """Do what the worker's own loop does, without its blocking read: that would hold up each test's end a second."""
    await worker._queue.prepare()
    while not stop.is_set():
        with suppress(StoreUnavailable):
            for sms in await worker._queue.read(256, AT_ONCE):
                worker._begin(sms)
        await pause(stop, _LOOK_EVERY_S)
    worker._courier.stopping.set()
    await asyncio.gather(*worker._in_hand.values())
