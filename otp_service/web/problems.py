"""
Refusals as problem documents (RFC 9457): the only place where a refusal becomes HTTP.

::

    {"type": "/docs#problem-wrong_code", "title": …, "status": 422, "detail": …, "code": "wrong_code",
     "attempts_left": 4, "send_number": 1}

``type`` is a relative reference (RFC 9457 section 3.1.1): it resolves to the paragraph of this server's own page.
"""

from __future__ import annotations

from typing import Any, Final

import orjson
from aiohttp import web

from otp_service.core.errors import (
    FieldError,
    Internal,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Refusal,
    StoreUnavailable,
    Unavailable,
)
from otp_service.core.messages import Catalogue
from otp_service.web.exchange import PROBLEM, answer_headers

_HEADERS: Final = answer_headers(PROBLEM)


def document(refusal: Refusal, catalogue: Catalogue, locale: str) -> dict[str, Any]:
    """Return the members of a problem document, in the order in which people read them."""
    invalid = refusal if isinstance(refusal, InvalidRequest) else None
    title, detail = catalogue.problem(locale, refusal.code, refusal.members, invalid.reason if invalid else None)
    members: dict[str, Any] = {
        "type": f"/docs#problem-{refusal.code}", "title": title, "status": refusal.http_status, "detail": detail,
        "code": refusal.code, **refusal.members,
    }
    if invalid is not None and invalid.errors:
        members["errors"] = [_error(error, catalogue, locale) for error in invalid.errors]
    return members


def response(refusal: Refusal, catalogue: Catalogue, locale: str) -> web.Response:
    """Render a refusal."""
    body = orjson.dumps(document(refusal, catalogue, locale))
    rendered = web.Response(body=body, status=refusal.http_status, headers=_HEADERS)
    headers = rendered.headers
    headers["Content-Language"] = locale
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(refusal.retry_after_s)
    if refusal.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    headers.update(refusal.headers)
    return rendered


def from_store(_error: StoreUnavailable) -> Refusal:
    """Return what a caller is told when the store promised nothing (invariant 8)."""
    return Unavailable(retry_after_s=2)


def from_http(error: web.HTTPException) -> Refusal:
    """Return what a caller is told of what aiohttp refused by itself."""
    match error.status:
        case 404:
            return NotFound()
        case 405:
            return MethodNotAllowed(headers={"Allow": error.headers.get("Allow", "")})
        case 413:
            return too_large()
        case status if status >= 500:
            return Internal()
        case _:
            return not_understood()


def too_large() -> InvalidRequest:
    """Return the refusal of a body above the limit."""
    return InvalidRequest(status=413, reason="too_large")


def not_json() -> InvalidRequest:
    """Return the refusal of a body that does not say that it is JSON."""
    return InvalidRequest(status=415, reason="not_json")


def malformed() -> InvalidRequest:
    """Return the refusal of a body that is not one JSON object."""
    return InvalidRequest(status=400, reason="malformed")


def not_understood() -> InvalidRequest:
    """Return the refusal of a request that is not understood as HTTP: its line, its headers, what it expects."""
    return InvalidRequest(status=400, reason="syntax")


def _error(error: FieldError, catalogue: Catalogue, locale: str) -> dict[str, str]:
    told = {"field": error.field, "code": error.code, "message": catalogue.field(locale, error.code, error.params)}
    if error.suggestion is not None:
        told["suggestion"] = error.suggestion
    return told
