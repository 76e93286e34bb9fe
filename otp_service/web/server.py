"""
The applications: the public one, the private one, and the runner that answers even what is no HTTP.

::

    app = build_app(deps)
    runner = ProblemRunner(app, catalogue=deps.catalogue)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from secrets import token_hex
from typing import Any, Final

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from otp_service.core.errors import Internal, Refusal
from otp_service.core.messages import Catalogue
from otp_service.telemetry.logs import get_logger
from otp_service.web import docs_page, openapi, problems
from otp_service.web.dependencies import DEPENDENCIES, WebDependencies
from otp_service.web.element.handlers import ElementHandlers
from otp_service.web.fake_gateway.handlers import FakeGatewayHandlers, require_loopback
from otp_service.web.handlers import Handlers, PrivateHandlers
from otp_service.web.middleware import RefusedPage, make_middleware
from otp_service.web.pages.handlers import Pages
from otp_service.web.routes import BROWSER_PATHS, DEMO, OPERATIONS, Operation

#: What each connection gets: no second log line, bodies as they came, and a short linger after a refused body.
_CONNECTION: Final[dict[str, Any]] = {
    "access_log": None, "auto_decompress": False, "lingering_time": 2.0, "keepalive_timeout": 30.0,
}
#: Seconds in which a new connection's first request must have its headers complete; bodies have their own time.
_FIRST_REQUEST_S: Final = 10.0

_log = get_logger()


def build_app(deps: WebDependencies) -> web.Application:
    """Build the public application."""
    document = openapi.build(deps.catalogue, version=deps.version, public_url=deps.public_url)
    handlers = Handlers(deps, orjson.dumps(document), docs_page.render(document, deps.catalogue))
    pages = Pages(deps)
    app = _application(deps, BROWSER_PATHS, pages.refusal)
    _route(app, OPERATIONS, handlers)
    if deps.inbox is not None:
        app.router.add_routes(FakeGatewayHandlers(deps.inbox, require_loopback).routes(DEMO))
    app.router.add_routes(pages.routes())
    app.router.add_routes(ElementHandlers(deps.catalogue, deps.public_url).routes())
    app.on_shutdown.append(_answer_waiters)
    return app


def build_private_app(deps: WebDependencies) -> web.Application:
    """Build the application of the private listener: ``/metrics``, ``/livez`` and ``/readyz``, without a key."""
    handlers = PrivateHandlers(deps)
    app = _application(deps)
    _route(app, [operation for operation in OPERATIONS if operation.private], handlers)
    return app


class ProblemRunner(web.AppRunner):
    """
    Runs an application whose connections answer problem documents also where no handler is reached.

    aiohttp answers bytes that are not HTTP, and headers or a request line that are too long, by itself and in plain
    text.  It has no hook for that, so the server it makes is replaced by one that differs in this alone.
    """

    __slots__ = ("_catalogue",)

    def __init__(self, app: web.Application, *, catalogue: Catalogue, **options: Any) -> None:
        super().__init__(app, **options)
        self._catalogue = catalogue

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _ProblemServer(made, self._catalogue)


class _ProblemServer(web.Server):
    def __init__(self, made: web.Server, catalogue: Catalogue) -> None:
        super().__init__(
            self._handle, request_factory=made.request_factory, handler_cancellation=made.handler_cancellation,
            **made._kwargs,  # noqa: SLF001 - aiohttp gives no other way to take over its options
        )
        self.catalogue = catalogue
        self._application = made.request_handler

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._application(request)
        except web.HTTPException as error:
            # Raised before any middleware: an Expect header that nobody can meet.
            return _last_resort(problems.from_http(error), self.catalogue)

    def __call__(self) -> web.RequestHandler:
        return _ProblemConnection(self, catalogue=self.catalogue, loop=self._loop, **self._kwargs)


class _ProblemConnection(web.RequestHandler):
    __slots__ = ("_catalogue", "_patience")

    def __init__(self, server: web.Server, *, catalogue: Catalogue, **options: Any) -> None:
        super().__init__(server, **options)
        self._catalogue = catalogue
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give the first request its time: aiohttp would wait for ever, and files are few."""
        super().connection_made(transport)
        self._patience = self._loop.call_later(_FIRST_REQUEST_S, transport.close)

    def data_received(self, data: bytes) -> None:
        """Take what arrived; with the first complete headers the waiting is over."""
        super().data_received(data)
        if self._patience is not None and (self._messages or self._current_request is not None):
            self._patience.cancel()
            self._patience = None

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the timer with its connection."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        super().connection_lost(exc)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what never became a request, or escaped the middleware; the connection is closed."""
        del message  # it quotes what was sent
        if status < 500 and isinstance(exc, HttpProcessingError):
            _log.debug("malformed request", error=type(exc).__name__)
            refusal: Refusal = problems.not_understood()
        else:
            _log.error("defect", exc_info=exc)
            refusal = Internal()
        if request.writer.output_size > 0:
            raise ConnectionError("part of another answer has been sent")
        return _last_resort(refusal, self._catalogue)


def _last_resort(refusal: Refusal, catalogue: Catalogue) -> web.Response:
    """Answer where no request object knows languages or ids, and close the connection."""
    response = problems.response(refusal, catalogue, catalogue.locales[0])
    response.headers["X-Request-Id"] = token_hex(16)
    response.force_close()
    return response


def _application(
    deps: WebDependencies, browser_routes: frozenset[str] = frozenset(), refused_page: RefusedPage | None = None,
) -> web.Application:
    app = web.Application(
        middlewares=[make_middleware(deps, browser_routes, refused_page)], client_max_size=deps.max_body_bytes,
        handler_args=_CONNECTION,
    )
    app[DEPENDENCIES] = deps
    return app


def _route(app: web.Application, operations: Iterable[Operation], handlers: Handlers | PrivateHandlers) -> None:
    """Give each path one resource: aiohttp tries them one after the other."""
    resources: dict[str, web.Resource] = {}
    for operation in operations:
        if operation.path not in resources:
            resources[operation.path] = app.router.add_resource(operation.path)
        resource, handler = resources[operation.path], getattr(handlers, operation.id)
        resource.add_route(operation.method, handler)
        if operation.method == "GET":
            resource.add_route("HEAD", handler)
    if isinstance(handlers, Handlers):
        for path in BROWSER_PATHS:
            resources[path].add_route("OPTIONS", handlers.preflight)


async def _answer_waiters(app: web.Application) -> None:
    """Answer long polls before the runner waits for the calls in hand."""
    deps = app[DEPENDENCIES]
    deps.drain.start()
    deps.waiters.drain()
