"""What a form sends, and from where: bodies as browsers write them, the cookie, and no other site's forms."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from otp_service.core.client import Client
from otp_service.core.errors import Forbidden
from otp_service.web import problems
from otp_service.web.bodies import read_bytes, refuse_length

#: Holds the client token, for the paths of one verification alone.
COOKIE: Final = "otp_v"
#: Seconds; a verification lives a quarter of an hour, and its end may be looked at again.
COOKIE_S: Final = 3600

_FORM: Final = "application/x-www-form-urlencoded"
_MAX_FIELDS: Final = 16


async def read_form(request: web.Request) -> dict[str, str]:
    """Return the fields of a form; of two with one name the last.  Raises InvalidRequest (400, 413, 415)."""
    refuse_length(request)
    if request.content_type != _FORM or request.headers.get("Content-Encoding", "identity") != "identity":
        raise problems.not_json()
    body = await read_bytes(request)
    try:
        fields = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS,
        )
    except ValueError as error:
        raise problems.malformed() from error
    return dict(fields)


def set_token(response: web.Response, token: str, *, path: str, secure: bool) -> None:
    """
    Hand the token to the browser: no script can read it, no other site's form carries it.

    ``Lax`` and not ``Strict``, because the browser comes from the portal, which is another site.
    """
    response.set_cookie(COOKIE, token, path=path, max_age=COOKIE_S, httponly=True, samesite="Lax", secure=secure)


def refuse_stranger(request: web.Request, client: Client, own_origin: str) -> None:
    """
    Refuse an entry from a page that is neither the client's nor ours.  Raises Forbidden.

    Somebody who started a verification for another person's phone must not be able to plant it in that person's
    browser from a page of their own.  A page that sends no ``Origin``, or ``null`` under ``no-referrer``, passes: old
    browsers, and the person is told on the page what they are about to confirm.
    """
    origin = request.headers.get("Origin")
    if origin is None or origin in {"null", own_origin} or request.headers.get("Sec-Fetch-Site") == "same-origin":
        return
    if not client.allows_origin(origin) and not client.allows_host(origin, client.return_hosts):
        raise Forbidden


def refuse_foreign(request: web.Request, own_origin: str) -> None:
    """
    Refuse a form of another site, which ``SameSite`` does not hold back in old browsers.  Raises Forbidden.

    ``Sec-Fetch-Site`` is the browser's own word and knows by which name the page was opened; browsers without it send
    ``Origin`` with a form, and those without either are held by the cookie alone.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    foreign = origin is not None and origin != own_origin if site is None else site not in {"same-origin", "none"}
    if foreign:
        raise Forbidden
