"""
The house below the handlers, built once for every process and command: store, keys, use cases, accounts and sources.

Together with ``app.py`` the composition root: the only places that name concrete classes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version

import aiohttp

from otp_service.accounts_from_settings import make_accounts
from otp_service.core.client import ClientRegistry
from otp_service.core.errors import ConfigurationError, StoreUnavailable
from otp_service.core.messages import Catalogue
from otp_service.delivery.accounts import TEST_ACCOUNT, Account, Accounts
from otp_service.delivery.reports import Reports
from otp_service.delivery.tokens import Tokens
from otp_service.inquiry.asker import Asker
from otp_service.inquiry.chain import Chain
from otp_service.inquiry.health import SourceShares
from otp_service.inquiry.problems import Problems
from otp_service.inquiry.sources import AskedSource
from otp_service.key_file import KeyFile
from otp_service.service import VerificationService
from otp_service.service.attestation import ATTESTED
from otp_service.settings import Settings
from otp_service.settings.routing import RESERVED
from otp_service.sources_from_settings import made_up_source, make_sources, refuse_real
from otp_service.storage import scripts
from otp_service.storage.client import StoreClient, connect, translated
from otp_service.storage.embedded import EmbeddedServer
from otp_service.storage.gateways import GatewayStore
from otp_service.storage.sources import SourceStore
from otp_service.storage.store import Store
from otp_service.telemetry.logs import get_logger
from otp_service.telemetry.metrics import Metrics
from otp_service.watching import KeyWatcher
from otp_service.web.routes import templates
from sms_adapters.fake import FakeGateway

VERSION = version("otp-service")

_REVIVE_EVERY_S = 1.0

_log = get_logger()


@dataclass(frozen=True, slots=True)
class House:
    """Everything a process needs below its handlers."""

    settings: Settings
    store: Store
    store_url: str
    service: VerificationService
    clients: ClientRegistry
    catalogue: Catalogue
    metrics: Metrics
    keys: KeyWatcher
    gateways: GatewayStore
    accounts: Accounts
    reports: Reports
    sources: Mapping[str, AskedSource]


@asynccontextmanager
async def opened(settings: Settings, kind: str = "", *, trying: str = "") -> AsyncIterator[House]:
    """
    Open the store and build the house on it.

    ``kind`` is ``live`` or ``demo`` for a process that serves, empty for one that only looks.  ``trying`` names a
    gateway that is tried out: it needs no route, and may be experimental.

    Raises ConfigurationError, or StoreUnavailable when the store does not answer.
    """
    accounts = [*make_accounts(settings, trying=trying), Account(TEST_ACCOUNT, FakeGateway())]
    if kind == "demo" and any(account.real for account in accounts):
        raise ConfigurationError("the demo refuses gateways that reach real phones")
    catalogue = Catalogue(settings.messages, settings.service.default_locale)
    clients = settings.clients()
    catalogue.check_sms(
        brand=settings.service.brand, hosts=[client.webotp_host for client in clients if client.webotp_host],
        code_length=max(purpose.code.length for purpose in settings.purposes.values()),
    )
    metrics = Metrics(
        purposes=settings.purposes, limits=[limit.name for limit in settings.limits],
        gateways=[account.name for account in accounts],
        sources=[*settings.source_book().names, ATTESTED, RESERVED],
        scripts=scripts.NAMES, routes=templates(demo=kind == "demo"), version=VERSION,
    )
    async with AsyncExitStack() as stack:
        url = settings.store.url
        if not url:
            server = EmbeddedServer(settings.store.data_dir)
            await server.start()
            stack.push_async_callback(server.stop)
            url = server.url
            reviving = asyncio.create_task(_keep_alive(server))
            stack.push_async_callback(_cancelled, reviving)
        file = KeyFile(settings.key_path)
        file.load_or_create()
        keys = KeyWatcher(file)
        client = StoreClient(
            connect(url, connections=settings.store.connections, timeout_s=settings.store.timeout_s),
            metrics=metrics, connections=settings.store.connections, timeout_s=settings.store.timeout_s,
            retry_total_s=settings.store.retry_total_s,
        )
        stack.push_async_callback(client.close)
        store = Store(client, queue_cap=settings.store.queue_cap)
        with translated():
            await store.prepare(kind)
        stop = asyncio.Event()
        watching = asyncio.create_task(keys.watch(stop))
        stack.push_async_callback(_ended, stop, watching)
        sources = {source.name: source for source in make_sources(settings, keys.secrets.ring.table_key())}
        if kind == "demo":
            refuse_real(sources.values())
        inquirer = await stack.enter_async_context(
            _inquiring(settings, sources, client, keys, metrics, serves=bool(kind)),
        )
        service = VerificationService(
            store, secrets=lambda: keys.secrets, limit_book=settings.limit_book(), purposes=settings.purposes,
            inquirer=inquirer, metrics=metrics, issuer=settings.service.issuer,
            inline_deadline_s=settings.ownership.inline_deadline_s,
            worker_deadline_s=settings.ownership.worker_deadline_s,
            ask_backoff_s=settings.ownership.retry_backoff_s, proof_cost=settings.proof.cost, demo=kind == "demo",
        )
        gateways = GatewayStore(client)
        reports = Reports(gateways, lambda: keys.secrets.ring, metrics)
        yield House(
            settings, store, url, service, clients, catalogue, metrics, keys, gateways,
            Accounts(accounts, gateways, hands=settings.sending.concurrency), reports, sources,
        )


@asynccontextmanager
async def _inquiring(
    settings: Settings, sources: Mapping[str, AskedSource], client: StoreClient, keys: KeyWatcher, metrics: Metrics,
    *, serves: bool,
) -> AsyncIterator[Chain]:
    """Open what asks the sources; a process that ``serves`` tells the others how well they do."""
    routes, store = settings.source_book(), SourceStore(client)
    real = any(source.traits.real for source in sources.values())
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(connections())
        tokens = Tokens(store, lambda: keys.secrets.ring, kind="source")
        stack.push_async_callback(tokens.close)
        shares = SourceShares(store, routes.names, metrics)
        if serves:
            stop = asyncio.Event()
            for watch in (shares.run(stop), Problems(sources.values()).run(stop)):
                stack.push_async_callback(_ended, stop, asyncio.create_task(watch))

        def shard_of(reference: str) -> int | None:
            return keys.secrets.ring.parse_id(reference)  # the ring of that moment: keys rotate

        yield Chain(
            sources, routes, Asker(session, tokens, metrics), shares, store, metrics,
            most_asks=settings.ownership.questions, shard_of=shard_of,
            fallback_for_tests=made_up_source(settings) if real else None,
        )


def connections() -> aiohttp.ClientSession:
    """Open connections to others.  Each peer bounds what is under way; a limit here would make one wait for another."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar())


async def _keep_alive(server: EmbeddedServer) -> None:
    """Start the embedded server again when it dies alone; who uses it meanwhile is told 503."""
    while True:
        await asyncio.sleep(_REVIVE_EVERY_S)
        try:
            if await server.revive():
                _log.warning("the embedded store had died and was started again")
        except (ConfigurationError, StoreUnavailable, OSError) as error:
            _log.error("the embedded store died and does not start", error=str(error))


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _ended(stop: asyncio.Event, task: asyncio.Task[None]) -> None:
    stop.set()
    await task
