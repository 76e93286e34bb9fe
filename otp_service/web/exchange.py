"""One request on its way through: what the handler learns of it, the middleware writes into its one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"

#: On every answer: nothing is cached, sniffed, framed or run.  ``Server`` replaces aiohttp's name and version.
_SECURITY: Final = {
    "Server": "otp-service",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_JSON_HEADERS: Final = CIMultiDict({"Content-Type": JSON, **_SECURITY})


@dataclass(slots=True)
class Exchange:
    """
    What is known of one request.

    Attributes:
        request_id: the caller's, or one of ours.
        client: the portal's name, once it has proved it.
        purpose: the configured purpose it is about.
        verification_id: a well-formed id.
        locale: the language the body asks for, once read.
        code: the refusal's.
        limit: the limit that refused.
    """

    request_id: str
    client: str | None = None
    purpose: str | None = None
    verification_id: str | None = None
    locale: str | None = None
    code: str | None = None
    limit: str | None = None


EXCHANGE: Final = web.RequestKey("exchange", Exchange)


def peer_of(request: web.Request) -> str | None:
    """Return the address at the other end of the socket, without a zone; None where it has none."""
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    return str(peer[0]).partition("%")[0] if isinstance(peer, tuple) else None


def answer(body: bytes, status: int = 200) -> web.Response:
    """Answer JSON that is rendered already."""
    return web.Response(body=body, status=status, headers=_JSON_HEADERS)


def answer_headers(content_type: str, **more: str) -> CIMultiDict[str]:
    """Return the headers of an answer of another type; underscores of the names of ``more`` stand for hyphens."""
    replaced = {name.replace("_", "-"): value for name, value in more.items()}
    return CIMultiDict({"Content-Type": content_type, **_SECURITY, **replaced})
