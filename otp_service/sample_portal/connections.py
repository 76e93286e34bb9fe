"""
The portal's HTTP server: one fixed page for what is no HTTP.

aiohttp answers headers that are too long or malformed by itself, before any handler, and quotes them in answer and log:
that may be the session's cookie.  It has no hook for that, so the server it makes is replaced by one that differs in
this alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

#: What each connection gets: no second log line, bodies as they came.
OPTIONS: Final[Mapping[str, Any]] = {"access_log": None, "auto_decompress": False, "keepalive_timeout": 30.0}

#: Makes the page of an HTTP status without a request that could be quoted.
ErrorPage = Callable[[int], web.Response]

_log = logging.getLogger(__name__)


class PortalRunner(web.AppRunner):
    """Runs the portal; ``error_page`` answers where no handler is reached."""

    __slots__ = ("_error_page",)

    def __init__(self, app: web.Application, error_page: ErrorPage, **options: Any) -> None:
        super().__init__(app, **OPTIONS, **options)
        self._error_page = error_page

    async def _make_server(self) -> web.Server:
        return _Server(await super()._make_server(), self._error_page)


class _Server(web.Server):
    def __init__(self, made: web.Server, error_page: ErrorPage) -> None:
        super().__init__(
            self._handle, request_factory=made.request_factory, handler_cancellation=made.handler_cancellation,
            **made._kwargs,  # noqa: SLF001 - aiohttp gives no other way to take over its options
        )
        self.error_page = error_page
        self._application = made.request_handler

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._application(request)
        except web.HTTPException as error:
            # Raised before any middleware: an Expect header that nobody can meet.
            return _closing(self.error_page(error.status))

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, error_page=self.error_page, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ("_error_page",)

    def __init__(self, server: web.Server, *, error_page: ErrorPage, **options: Any) -> None:
        super().__init__(server, **options)
        self._error_page = error_page

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what never became a request, or escaped the middleware; the connection is closed."""
        del message  # it quotes what was sent
        malformed = status < 500 and isinstance(exc, HttpProcessingError)
        if not malformed:
            _log.error("defect", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("part of another answer has been sent")
        return _closing(self._error_page(400 if malformed else 500))

    def log_exception(self, *args: Any, exc_info: object = None, **more: Any) -> None:
        """Name what broke a connection; aiohttp's own line would quote what was sent."""
        del args, more
        _log.warning("a connection was broken: %s", type(exc_info).__name__)


def _closing(response: web.Response) -> web.Response:
    response.force_close()
    return response
