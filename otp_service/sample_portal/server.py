"""
The application: what stands before every handler and behind every answer.

Each post but the service's webhooks carries the session's form token and comes from the portal's own pages.  Every
error is a page, and none repeats what was sent.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from time import time
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from otp_service.client import OtpClient, WebhookReceiver
from otp_service.sample_portal import handover, home, linking, recovery, registration, sign_in, verdict_feed
from otp_service.sample_portal.accounts import Accounts
from otp_service.sample_portal.bodies import read_form
from otp_service.sample_portal.connections import PortalRunner
from otp_service.sample_portal.database import opened
from otp_service.sample_portal.exchange import (
    FORM,
    PORTAL,
    SESSION,
    NotSignedIn,
    Portal,
    origin_of,
    portal_of,
    see_other,
)
from otp_service.sample_portal.flows import Flows
from otp_service.sample_portal.guesses import Guesses
from otp_service.sample_portal.pages import Pages
from otp_service.sample_portal.passwords import Busy, Passwords
from otp_service.sample_portal.people import OLD_LOGINS
from otp_service.sample_portal.server_key import read_server_key
from otp_service.sample_portal.sessions import Cookies
from otp_service.sample_portal.settings import PortalSettings
from otp_service.sample_portal.signed_in import SignedIn
from otp_service.sample_portal.starting import WEBHOOK_PATH

_MODULES: Final = (home, registration, sign_in, recovery, linking, handover, verdict_feed)
_BODY_BYTES: Final = 32 * 1024
#: Seconds a call may take with its repetitions: a person is looking at the page.
_OTP_TIMEOUT_S: Final = 10.0
#: Seconds after which whoever met a busy portal may try again.
_BUSY_S: Final = 5
_HEADERS: Final = {
    # In place of aiohttp's name and version.
    "Server": "portal",
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": under that browsers say "Origin: null" on posts to our own pages.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

#: What a page says to each status that no handler has words for.
_ERRORS: Final = {
    400: ("Không đọc được yêu cầu", "Hãy mở lại trang rồi làm lại. Nếu vẫn vậy, hãy xóa cookie của trang này."),
    403: ("Trang đã cũ", "Trang này đã mở quá lâu hoặc phiên làm việc đã thay đổi. Hãy mở lại trang rồi làm lại."),
    404: ("Không tìm thấy trang", "Trang này không có, hoặc đã quá hạn. Hãy bắt đầu lại từ trang chủ."),
    405: ("Không mở được trang này", "Hãy bắt đầu lại từ trang chủ."),
    413: ("Thông tin gửi lên quá dài", "Hãy quay lại và rút ngắn thông tin đã nhập."),
    415: ("Không đọc được thông tin gửi lên", "Hãy quay lại và gửi lại biểu mẫu trên trang."),
    500: ("Trang bị lỗi", "Đây là lỗi của trang, không phải của bạn. Hãy thử lại sau ít phút."),
    503: ("Hệ thống đang bận", "Nhiều người đang dùng cùng lúc. Chưa có gì thay đổi: hãy bấm lại sau ít phút."),
}

_log = logging.getLogger(__name__)


@asynccontextmanager
async def serving(
    settings: PortalSettings, listener: socket.socket, *, clock: Callable[[], float] = time,
    passwords: Passwords | None = None,
) -> AsyncIterator[str]:
    """
    Serve the portal on a listening socket until the context ends; gives its base URL.

    Args:
        settings: what the portal is told.
        listener: bound to loopback.
        clock: unix seconds.
        passwords: with another cost and patience, for tests that hash a hundred of them.
    """
    port = listener.getsockname()[1]
    own_url = f"http://{_host(listener)}:{port}"
    async with (
        opened(settings.data_dir) as database,
        OtpClient(settings.otp_url, settings.api_key, timeout_s=_OTP_TIMEOUT_S) as otp,
    ):
        key, flows = read_server_key(settings.data_dir), Flows(database, clock)
        portal = Portal(
            otp=otp, receiver=WebhookReceiver(*settings.webhook_secrets, now=clock), flows=flows,
            accounts=Accounts(database, flows, clock), signed_in=SignedIn(database, flows, clock),
            passwords=passwords or Passwords(), pages=Pages(settings), own_url=own_url, clock=clock,
            cookies=Cookies(key), sign_in_guesses=Guesses(database, key, "sign-in", clock),
            linking_guesses=Guesses(database, key, "linking", clock),
            hosts=frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")),
        )
        await _add_old_accounts(portal)
        runner = PortalRunner(
            build_app(portal), partial(_error_page, portal), handle_signals=False, shutdown_timeout=3.0,
        )
        await runner.setup()
        try:
            await web.SockSite(runner, listener).start()
            yield own_url
        finally:
            await runner.cleanup()


def build_app(portal: Portal) -> web.Application:
    """Build the application."""
    app = web.Application(middlewares=[_guard], client_max_size=_BODY_BYTES)
    app[PORTAL] = portal
    for module in _MODULES:
        app.add_routes(module.routes())
    app.add_routes([web.get("/tinh/{digest}/{name}", portal.pages.asset)])
    return app


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let in what comes from our own pages, and give every answer its headers and its session."""
    portal = portal_of(request)
    session = request[SESSION] = portal.cookies.read(request)
    try:
        if request.path != WEBHOOK_PATH:
            await _admit(request)
        response = await handler(request)
    except NotSignedIn:
        response = see_other("/dang-nhap")
    except Busy:
        response = _error_page(portal, 503)
        response.headers["Retry-After"] = str(_BUSY_S)
    except web.HTTPException as error:
        response = _error_page(portal, error.status)
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception:  # noqa: BLE001 - the last resort: logged, and answered with a page
        _log.exception("defect")
        response = _error_page(portal, 500)
    response.headers.update(_HEADERS)
    if session.fresh and "text/html" in response.headers.get("Content-Type", ""):
        portal.cookies.give(response, session)
    return response


async def _admit(request: web.Request) -> None:
    """Refuse another name for this host, and a post that none of our own pages made."""
    if request.host not in request.app[PORTAL].hosts:
        # Somebody else's page under a name that resolves to this machine would have our origin.
        raise web.HTTPNotFound
    if request.method != "POST":
        return
    origin = request.headers.get("Origin")
    form = request[FORM] = await read_form(request)
    if origin not in {None, origin_of(request)} or not request[SESSION].owns(form.get("form_token", "")):
        raise web.HTTPForbidden


def _error_page(portal: Portal, status: int) -> web.Response:
    """Return the page of a status; it knows nothing of the request, which may not have been one."""
    heading, sentence = _ERRORS.get(status, _ERRORS[500])
    response = portal.pages.render("ended", status=status, heading=heading, sentences=(sentence,), again="/")
    response.headers.update(_HEADERS)
    return response


async def _add_old_accounts(portal: Portal) -> None:
    """Make the old system's sample accounts, once."""
    for login in OLD_LOGINS:
        if await portal.accounts.old(login.system, login.code) is None:
            async with portal.passwords.place():
                hashed = await portal.passwords.hash(login.password)
            await portal.accounts.add_old(login.system, login.code, hashed)


def _host(listener: socket.socket) -> str:
    name = str(listener.getsockname()[0])
    return f"[{name}]" if ":" in name else name
