"""
One middleware around everything: request id, problems, headers, one log line, metrics.

One and not four, because each costs every request; it sees what aiohttp itself refuses as well (404, 405, 413).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from secrets import token_hex
from time import perf_counter
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from structlog.contextvars import bind_contextvars

from otp_service.core.errors import Internal, Refusal, StoreUnavailable
from otp_service.core.locales import negotiate_locale
from otp_service.telemetry.logs import canonical, get_logger
from otp_service.telemetry.series import OTHER
from otp_service.web import problems
from otp_service.web.cors import Cors
from otp_service.web.dependencies import WebDependencies
from otp_service.web.exchange import EXCHANGE, Exchange
from otp_service.web.routes import PAGE

#: Answers a refusal as a page.
RefusedPage = Callable[[web.Request, Exchange, Refusal], web.Response]

_PAGES: Final = PAGE.partition("{")[0]
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

_log = get_logger()


def make_middleware(
    deps: WebDependencies, browser_routes: frozenset[str] = frozenset(), refused_page: RefusedPage | None = None,
) -> Middleware:
    """
    Make the middleware of one application.

    ``browser_routes`` are the templates of the routes that browsers call from other origins; ``refused_page`` answers
    what is refused under the paths of the hosted page, where a person reads it.
    """
    catalogue, metrics, drain = deps.catalogue, deps.metrics, deps.drain
    cors = Cors(deps.clients)

    def refuse(request: web.Request, exchange: Exchange, refusal: Refusal) -> web.Response:
        exchange.code = refusal.code
        exchange.limit = refusal.members.get("limit")
        if refused_page is not None and request.path.startswith(_PAGES):
            return refused_page(request, exchange, refusal)
        locale = locale_of(request, exchange, catalogue.locales)
        return problems.response(refusal, catalogue, locale)

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = perf_counter()
        given = request.headers.get("X-Request-Id")
        request_id = given if given is not None and _REQUEST_ID.fullmatch(given) else token_hex(16)
        exchange = request[EXCHANGE] = Exchange(request_id)
        bind_contextvars(request_id=request_id)
        response: web.StreamResponse
        try:
            response = await handler(request)
        except Refusal as refusal:
            response = refuse(request, exchange, refusal)
        except StoreUnavailable as error:
            _log.warning("store unavailable", note=str(error))
            response = refuse(request, exchange, problems.from_store(error))
        except web.HTTPException as error:
            response = refuse(request, exchange, problems.from_http(error))
        except Exception:  # noqa: BLE001 - the last net: every call gets an answer, and the log the traceback
            _log.exception("defect")
            response = refuse(request, exchange, Internal())

        route = _template(request)
        headers = response.headers
        headers["X-Request-Id"] = request_id
        if route in browser_routes:
            cors.expose(headers, request.headers.get("Origin"))
        if drain.started:
            response.force_close()
        seconds = perf_counter() - began
        metrics.http_request(route, request.method, response.status, seconds)
        canonical(
            "request", method=request.method, route=route, status=response.status, code=exchange.code,
            client=exchange.client, purpose=exchange.purpose, verification_id=exchange.verification_id,
            limit=exchange.limit, duration_ms=seconds * 1000,
        )
        return response

    return around


def locale_of(request: web.Request, exchange: Exchange, locales: tuple[str, ...]) -> str:
    """Return the language of an answer: the body's, else the best of ``Accept-Language``, else the default."""
    return negotiate_locale(request.headers.get("Accept-Language"), exchange.locale, locales, locales[0])


def _template(request: web.Request) -> str:
    """Return the route's template, never the path: a path may hold anything."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else OTHER
