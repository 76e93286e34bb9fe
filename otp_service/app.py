"""
The composition root: the only place that names concrete classes.

``opened`` builds everything below the handlers once; ``serve``, ``work`` and ``demo`` run what a process is for on
top of it: the API, the worker, or both.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from secrets import token_hex
from typing import Any

import aiohttp
from aiohttp import web

from otp_service import plugins
from otp_service.core.client import ClientRegistry
from otp_service.core.errors import ConfigurationError, StoreUnavailable
from otp_service.core.messages import Catalogue
from otp_service.core.ports import OwnershipSource, SmsGateway
from otp_service.core.result_token import Signer
from otp_service.delivery.deadlines import DeadlineWorker
from otp_service.delivery.sender import Sender
from otp_service.delivery.sms_worker import SendPolicy, SmsWorker
from otp_service.key_file import KeyFile
from otp_service.service import Secrets, VerificationService
from otp_service.settings import Settings
from otp_service.storage import scripts
from otp_service.storage.client import StoreClient, connect, translated
from otp_service.storage.embedded import EmbeddedServer
from otp_service.storage.queue import SmsQueue
from otp_service.storage.store import Store
from otp_service.storage.waiters import Waiters
from otp_service.telemetry.logs import get_logger
from otp_service.telemetry.metrics import Metrics
from otp_service.web.demo import Inbox
from otp_service.web.dependencies import WebDependencies
from otp_service.web.routes import templates
from otp_service.web.server import ProblemRunner, build_app, build_private_app

_KEYS_EVERY_S = 5.0
_PING_S = 0.25
_BACKLOG = 128
_COMPLAIN_EVERY_S = 10.0
_REVIVE_EVERY_S = 1.0
_QUEUE_BLOCK_MARGIN_S = 5.0
_ASK_MARGIN_MS = 2000

_VERSION = version("otp-service")

_log = get_logger()


class KeyWatcher:
    """The secrets in force, read again when another process has rotated them."""

    def __init__(self, file: KeyFile) -> None:
        self._file = file
        self.secrets = self._read()

    def _read(self) -> Secrets:
        now_s = time.time()
        return Secrets(self._file.ring(now_s), Signer(self._file.signing_keys(now_s)))

    async def watch(self, stop: asyncio.Event) -> None:
        """Look at the file every few seconds; a key that was waiting may also have become current."""
        while not stop.is_set():
            try:
                if self._file.changed():
                    self._file.load_or_create()
                    _log.info("keys read again")
                found = self._read()
                if (found.ring.ids, found.signer.kids) != (self.secrets.ring.ids, self.secrets.signer.kids):
                    self.secrets = found
            except ConfigurationError as error:
                # The keys in memory go on serving; somebody must look at the file.
                _log.error("keys not readable", error=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(_KEYS_EVERY_S):
                    await stop.wait()


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
    gateway: SmsGateway


@asynccontextmanager
async def opened(settings: Settings, kind: str = "") -> AsyncIterator[House]:
    """
    Open the store and build the house on it.

    ``kind`` is ``live`` or ``demo`` for a process that serves, empty for one that only looks.

    Raises ConfigurationError, or StoreUnavailable when the store does not answer.
    """
    gateway: SmsGateway = plugins.make(plugins.GATEWAYS, settings.gateway.name, settings.gateway.options)
    source: OwnershipSource = plugins.make(plugins.SOURCES, settings.ownership.source, settings.ownership.options)
    catalogue = Catalogue(settings.messages, settings.service.default_locale)
    clients = settings.clients()
    catalogue.check_sms(
        brand=settings.service.brand, hosts=[client.webotp_host for client in clients if client.webotp_host],
        code_length=max(purpose.code.length for purpose in settings.purposes.values()),
    )
    metrics = Metrics(
        purposes=settings.purposes, limits=[limit.name for limit in settings.limits], gateways=[gateway.name],
        sources=[source.name], scripts=scripts.NAMES, routes=templates(demo=kind == "demo"), version=_VERSION,
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
        service = VerificationService(
            store, secrets=lambda: keys.secrets, limit_book=settings.limit_book(), purposes=settings.purposes,
            source=source, metrics=metrics, issuer=settings.service.issuer,
            inline_deadline_s=settings.ownership.inline_deadline_s,
            ask_backoff_s=settings.ownership.retry_backoff_s,
        )
        yield House(settings, store, url, service, clients, catalogue, metrics, keys, gateway)


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


async def serve(settings: Settings) -> None:
    """Run the API until SIGTERM or SIGINT."""
    listener = _listen(settings.server.host, settings.server.port)
    with closing(listener):
        async with opened(settings, "live") as house, _api(house, listener):
            _begin_work(house)
            await _signalled()


async def work(settings: Settings) -> None:
    """Run the worker until SIGTERM or SIGINT."""
    async with opened(settings, "live") as house, _worker(house), _private(house, _dependencies(house)):
        _begin_work(house)
        await _signalled()


async def demo(settings: Settings, announce: Callable[[str], None]) -> None:
    """Run the API, the worker and the fake gateway's inbox in one process; ``announce`` gets the base URL."""
    listener = _listen(settings.server.host, settings.server.port)
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    options = {**settings.gateway.options, "url": f"{base}/demo/gateway"}
    settings = replace(settings, gateway=settings.gateway.model_copy(update={"options": options}))
    with closing(listener):
        async with opened(settings, "demo") as house, _api(house, listener, inbox=Inbox()), _worker(house):
            _begin_work(house)
            announce(base)
            await _signalled()


def _dependencies(house: House, *, inbox: Inbox | None = None) -> WebDependencies:
    server = house.settings.server
    return WebDependencies(
        service=house.service, clients=house.clients, catalogue=house.catalogue, metrics=house.metrics,
        waiters=Waiters(house.store, capacity=server.max_waiters, gauge=house.metrics),
        readiness=Readiness(house.store).check, max_body_bytes=server.max_body_bytes,
        trusted_proxies=tuple(server.trusted_proxies), public_url=server.public_url, inbox=inbox, version=_VERSION,
    )


@asynccontextmanager
async def _api(house: House, listener: socket.socket, *, inbox: Inbox | None = None) -> AsyncIterator[None]:
    dependencies = _dependencies(house, inbox=inbox)
    app = build_app(dependencies)
    async with _running(app, listener, house.catalogue), _private(house, dependencies, may_move=inbox is not None):
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
        listener = _listen(server.private_host, server.private_port)
    except ConfigurationError:
        # Two demos may stand side by side; for anything else a taken port is a mistake to be told.
        if not may_move:
            raise
        listener = _listen(server.private_host, 0)
    host, port = listener.getsockname()[:2]
    _log.info("private listener", address=f"{host}:{port}")
    async with _running(build_private_app(dependencies), listener, house.catalogue):
        yield


@asynccontextmanager
async def _worker(house: House) -> AsyncIterator[None]:
    settings = house.settings
    stop = asyncio.Event()
    queue_redis = connect(house.store_url, timeout_s=settings.store.timeout_s + _QUEUE_BLOCK_MARGIN_S)
    connector = aiohttp.TCPConnector(limit=settings.gateway.concurrency)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        sms = SmsWorker(
            store=house.store, queue=SmsQueue(queue_redis, f"{socket.gethostname()[:32]}-{os.getpid()}-{token_hex(4)}"),
            ring=lambda: house.keys.secrets.ring, purposes=settings.purposes, clients=house.clients,
            catalogue=house.catalogue, gateway=house.gateway, sender=Sender(session, house.metrics),
            metrics=house.metrics,
            policy=SendPolicy(
                settings.gateway.attempts, settings.gateway.backoff_s, settings.gateway.concurrency,
                settings.service.brand,
            ),
        )
        deadlines = DeadlineWorker(
            store=house.store, ask_ownership=house.service.ask_ownership, ended=house.service.ended,
            metrics=house.metrics,
            ask_lease_ms=round(settings.ownership.inline_deadline_s * 1000) + _ASK_MARGIN_MS,
        )
        tasks = [asyncio.create_task(sms.run(stop)), asyncio.create_task(deadlines.run(stop))]
        watch = asyncio.create_task(_fail_loudly(tasks))
        try:
            yield
        finally:
            stop.set()
            watch.cancel()
            await asyncio.gather(*tasks, watch, return_exceptions=True)
            await queue_redis.aclose()


async def _fail_loudly(tasks: Sequence[asyncio.Task[None]]) -> None:
    """End the process when a worker task ends by itself: a defect, and whoever watches the process starts it again."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        _log.critical("worker stopped", error=repr(task.exception()) if not task.cancelled() else "cancelled")
    os.kill(os.getpid(), signal.SIGTERM)


class Readiness:
    """What ``/readyz`` asks: the store answers quickly and evicts nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def check(self) -> dict[str, bool | str]:
        """Name each dependency; True means well, text says what is wrong."""
        try:
            with translated():
                async with asyncio.timeout(_PING_S):
                    memory = await self._store.client.redis.info("memory")
        except TimeoutError:
            return {"store": f"no answer within {_PING_S * 1000:.0f} ms"}
        except StoreUnavailable as error:
            return {"store": str(error)}
        policy = memory.get("maxmemory_policy", "noeviction")
        evicts = f"the store evicts ({policy}): set maxmemory-policy noeviction"
        return {"store": True if policy == "noeviction" else evicts}


@asynccontextmanager
async def _running(app: web.Application, listener: socket.socket, catalogue: Catalogue) -> AsyncIterator[None]:
    runner = ProblemRunner(app, catalogue=catalogue, handle_signals=False, shutdown_timeout=10.0)
    await runner.setup()
    try:
        await web.SockSite(runner, listener, backlog=_BACKLOG).start()
        yield
    finally:
        await runner.cleanup()


def _listen(host: str, port: int) -> socket.socket:
    """Bind at once, so that a port in use is told before anything else starts."""
    listener = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(found[0], socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(found[4])
        listener.listen(_BACKLOG)
        listener.setblocking(False)  # noqa: FBT003 - the socket module's own signature
    except OSError as error:
        if listener is not None:
            listener.close()
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}; choose another port") from error
    return listener


class _LoopErrors:
    """Says once in a while that no file is left for a connection; asyncio says it hundreds of times a second."""

    def __init__(self) -> None:
        self._said_at = -_COMPLAIN_EVERY_S

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in {errno.EMFILE, errno.ENFILE}:
            loop.default_exception_handler(context)
        elif loop.time() - self._said_at >= _COMPLAIN_EVERY_S:
            self._said_at = loop.time()
            _log.error("no file left for another connection: raise the limit of open files (ulimit -n)")


def _begin_work(house: House) -> None:
    """Set the process up for its working life, and say that it is ready."""
    asyncio.get_running_loop().set_exception_handler(_LoopErrors())
    # What is loaded by now stays: it need not be looked through again, and requests leave few cycles behind.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
    house.metrics.ready(ready=True)
    _log.info("ready", pid=os.getpid(), python=sys.version.split()[0], version=_VERSION)


async def _signalled() -> None:
    """Wait for SIGTERM or SIGINT; the same signal again changes nothing (make passes it on twice)."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
