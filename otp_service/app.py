"""
What a process is for: ``serve`` runs the API, ``work`` the worker, ``demo`` both, and the sample portal beside them.

Together with ``house.py``, on which they stand, the composition root: the only places that name concrete classes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import replace
from secrets import token_hex

from otp_service.core.errors import ConfigurationError
from otp_service.core.ports import DeliveryReport, HttpRequest
from otp_service.delivery.accounts import Account
from otp_service.delivery.composer import Composer
from otp_service.delivery.courier import Courier, SendPolicy
from otp_service.delivery.deadlines import DeadlineWorker
from otp_service.delivery.guarded import GuardedConnections
from otp_service.delivery.poller import ReportPoller
from otp_service.delivery.reports import Reports
from otp_service.delivery.sender import Sender
from otp_service.delivery.shares import Shares
from otp_service.delivery.sms_worker import SmsWorker
from otp_service.delivery.tokens import Tokens
from otp_service.delivery.webhooks import WebhookSender, WebhookWorker
from otp_service.house import VERSION, House, connections, opened
from otp_service.portal_process import sample_portal
from otp_service.process import begin_work, listen, running, signalled
from otp_service.settings import Settings
from otp_service.settings.demo import PortalAccess, with_sample_portal
from otp_service.storage.client import connect
from otp_service.storage.queue import SmsQueue
from otp_service.storage.waiters import Waiters
from otp_service.storage.webhooks import WebhookStore
from otp_service.telemetry.logs import get_logger
from otp_service.watching import Readiness
from otp_service.web.dependencies import WebDependencies
from otp_service.web.fake_gateway.provider import FakeProvider
from otp_service.web.fake_gateway.script import ReportRule, Script
from otp_service.web.server import build_app, build_private_app

_QUEUE_BLOCK_MARGIN_S = 5.0
_ASK_MARGIN_MS = 2000

#: What the demo's fake gateway does: somebody who watches sees `sent` become `delivered`.
_DEMO_SCRIPT = Script(latency_ms=100, reports=ReportRule(after_ms=1500))

_log = get_logger()


async def serve(settings: Settings) -> None:
    """Run the API until SIGTERM or SIGINT."""
    listener = listen(settings.server.host, settings.server.port)
    with closing(listener):
        async with opened(settings, "live") as house, _api(house, listener):
            _ready(house)
            await signalled()


async def work(settings: Settings) -> None:
    """Run the worker until SIGTERM or SIGINT."""
    async with opened(settings, "live") as house, _worker(house), _private(house, _dependencies(house)):
        _ready(house)
        await signalled()


async def demo(settings: Settings, announce: Callable[[str, str | None], None]) -> None:
    """
    Run the API, the worker and the fake gateway's inbox in one process, and the sample portal beside it.

    ``announce`` gets the base URLs of the service and of the portal, which is None where it is not installed.
    """
    listener = listen(settings.server.host, settings.server.port)
    port = listener.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    access = PortalAccess()
    settings = with_sample_portal(_at_home(settings, base), access)
    report_to = f"{base}/v1/delivery-reports/fake/{settings.gateways['fake'].report_secret}"
    with closing(listener):
        async with (
            opened(settings, "demo") as house, FakeProvider(_DEMO_SCRIPT, report_to=report_to) as inbox,
            _api(house, listener, inbox=inbox), _worker(house, demo=True), sample_portal(
                service_url=base, access=access, data_dir=settings.store.data_dir / "portal",
                phone_url=f"{base}/demo/phone", port=port + 1,
            ) as portal,
        ):
            _ready(house)
            announce(base, portal)
            await signalled()


def _at_home(settings: Settings, base: str) -> Settings:
    """Let the demo call itself what it is reached by, port 0 included, and its fake gateway post to its own inbox."""
    fake = settings.gateways["fake"]
    options = {**fake.options, "url": f"{base}/demo/gateway"}
    return replace(
        settings, gateways={**settings.gateways, "fake": fake.model_copy(update={"options": options})},
        server=settings.server.model_copy(update={"public_url": base}),
        service=settings.service.model_copy(update={"issuer": base}),
    )


def _ready(house: House) -> None:
    begin_work(VERSION)
    house.metrics.ready(ready=True)


def _dependencies(house: House, *, inbox: FakeProvider | None = None) -> WebDependencies:
    server = house.settings.server
    return WebDependencies(
        service=house.service, clients=house.clients, catalogue=house.catalogue, metrics=house.metrics,
        waiters=Waiters(house.store, capacity=server.max_waiters, gauge=house.metrics),
        readiness=Readiness(house.store).check, accounts=house.accounts, reports=house.reports,
        max_body_bytes=server.max_body_bytes,
        trusted_proxies=tuple(server.trusted_proxies), public_url=server.public_url, inbox=inbox, version=VERSION,
    )


@asynccontextmanager
async def _api(house: House, listener: socket.socket, *, inbox: FakeProvider | None = None) -> AsyncIterator[None]:
    dependencies = _dependencies(house, inbox=inbox)
    app = build_app(dependencies)
    async with running(app, listener, house.catalogue), _private(house, dependencies, may_move=inbox is not None):
        try:
            yield
        finally:
            house.metrics.ready(ready=False)
            dependencies.drain.start()
            dependencies.waiters.drain()
            # Let the load balancer see it before the listener closes; a demo has none.
            await asyncio.sleep(0 if inbox else house.settings.server.drain_s)


@asynccontextmanager
async def _private(house: House, dependencies: WebDependencies, *, may_move: bool = False) -> AsyncIterator[None]:
    server = house.settings.server
    if server.private_port < 0:
        yield
        return
    try:
        listener = listen(server.private_host, server.private_port)
    except ConfigurationError:
        # Two demos may stand side by side; for anything else a taken port is a mistake to be told.
        if not may_move:
            raise
        listener = listen(server.private_host, 0)
    host, port = listener.getsockname()[:2]
    _log.info("private listener", address=f"{host}:{port}")
    async with running(build_private_app(dependencies), listener, house.catalogue):
        yield


@asynccontextmanager
async def _worker(house: House, *, demo: bool = False) -> AsyncIterator[None]:
    """Run the worker's parts; a ``demo`` may tell its verdicts to this machine."""
    settings = house.settings
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        queue_redis = connect(house.store_url, timeout_s=settings.store.timeout_s + _QUEUE_BLOCK_MARGIN_S)
        stack.push_async_callback(queue_redis.aclose)
        sender = await stack.enter_async_context(sending(house))
        shares = Shares(house.gateways, house.settings.route_book().gateways, house.metrics)
        courier = Courier(
            store=house.store, accounts=house.accounts, routes=settings.route_book(), shares=shares,
            composer=composer(house), sender=sender, ring=lambda: house.keys.secrets.ring, metrics=house.metrics,
            policy=SendPolicy(
                settings.sending.attempts, settings.sending.backoff_s, settings.sending.concurrency,
            ),
        )
        sms = SmsWorker(
            store=house.store, courier=courier,
            queue=SmsQueue(queue_redis, f"{socket.gethostname()[:32]}-{os.getpid()}-{token_hex(4)}"),
        )
        poller = ReportPoller(accounts=house.accounts, store=house.gateways, sender=sender, reports=house.reports)
        deadlines = DeadlineWorker(
            store=house.store, ask_ownership=house.service.ask_ownership, ended=house.service.ended,
            metrics=house.metrics,
            ask_lease_ms=round(settings.ownership.worker_deadline_s * 1000) + _ASK_MARGIN_MS,
        )
        webhooks = WebhookWorker(
            store=WebhookStore(house.store.client), clients=house.clients, ring=lambda: house.keys.secrets.ring,
            sender=WebhookSender(await stack.enter_async_context(GuardedConnections(loopback=demo))),
            metrics=house.metrics,
        )
        tasks = [asyncio.create_task(part.run(stop)) for part in (sms, shares, poller, deadlines, webhooks)]
        watch = asyncio.create_task(_fail_loudly(tasks))
        try:
            yield
        finally:
            stop.set()
            watch.cancel()
            await asyncio.gather(*tasks, watch, return_exceptions=True)


@asynccontextmanager
async def sending(
    house: House, *, only: str = "", also: Callable[[DeliveryReport], None] | None = None,
    asked: Callable[[HttpRequest], None] | None = None,
) -> AsyncIterator[Sender]:
    """
    Open what hands messages over: HTTP connections, and those that gateways keep themselves.

    ``only`` names the one gateway that is needed.  ``also`` is told of each report that comes over a connection,
    ``asked`` of each HTTP request.
    """
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(connections())
        for account in house.accounts:
            if account.connected is not None and only in {"", account.name}:
                await account.connected.open(_taking(house.reports, account, also))
                stack.push_async_callback(account.connected.close)
        tokens = Tokens(house.gateways, lambda: house.keys.secrets.ring)
        stack.push_async_callback(tokens.close)
        yield Sender(session, tokens, house.metrics, asked)


def composer(house: House) -> Composer:
    """Return what writes the SMS."""
    return Composer(
        ring=lambda: house.keys.secrets.ring, purposes=house.settings.purposes, clients=house.clients,
        catalogue=house.catalogue, brand=house.settings.service.brand,
    )


def _taking(
    reports: Reports, account: Account, also: Callable[[DeliveryReport], None] | None,
) -> Callable[[Sequence[DeliveryReport]], Awaitable[None]]:
    async def take(found: Sequence[DeliveryReport]) -> None:
        await reports.take(account, found)
        for report in found:
            if also is not None:
                also(report)

    return take


async def _fail_loudly(tasks: Sequence[asyncio.Task[None]]) -> None:
    """End the process when a worker task ends by itself: a defect, and whoever watches the process starts it again."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        _log.critical("worker stopped", error=repr(task.exception()) if not task.cancelled() else "cancelled")
    os.kill(os.getpid(), signal.SIGTERM)
