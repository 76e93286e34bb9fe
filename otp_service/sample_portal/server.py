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
from time import time
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from argon2 import PasswordHasher

from otp_service.client import OtpClient, WebhookReceiver
from otp_service.sample_portal import handover, home, linking, recovery, registration, sign_in, verdict_feed
from otp_service.sample_portal.accounts import Accounts
from otp_service.sample_portal.database import opened
from otp_service.sample_portal.exchange import PORTAL, SESSION, NotSignedIn, Portal, form_of, origin_of, page, see_other
from otp_service.sample_portal.flows import Flows
from otp_service.sample_portal.pages import Pages
from otp_service.sample_portal.passwords import Passwords
from otp_service.sample_portal.people import OLD_LOGINS
from otp_service.sample_portal.sessions import SignedIn, give_session, read_session
from otp_service.sample_portal.settings import PortalSettings
from otp_service.sample_portal.starting import WEBHOOK_PATH

_MODULES: Final = (home, registration, sign_in, recovery, linking, handover, verdict_feed)
_BODY_BYTES: Final = 32 * 1024
#: Seconds a call may take with its repetitions: a person is looking at the page.
_OTP_TIMEOUT_S: Final = 10.0
_FORM: Final = "application/x-www-form-urlencoded"
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": under that browsers say "Origin: null" on posts to our own pages.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

#: What a page says to each status that no handler has words for.
_ERRORS: Final = {
    403: ("Trang đã cũ", "Trang này đã mở quá lâu hoặc phiên làm việc đã thay đổi. Hãy mở lại trang rồi làm lại."),
    404: ("Không tìm thấy trang", "Trang này không có, hoặc đã quá hạn. Hãy bắt đầu lại từ trang chủ."),
    405: ("Không mở được trang này", "Hãy bắt đầu lại từ trang chủ."),
    413: ("Thông tin gửi lên quá dài", "Hãy quay lại và rút ngắn thông tin đã nhập."),
    415: ("Không đọc được thông tin gửi lên", "Hãy quay lại và gửi lại biểu mẫu trên trang."),
    500: ("Trang bị lỗi", "Đây là lỗi của trang, không phải của bạn. Hãy thử lại sau ít phút."),
}

_log = logging.getLogger(__name__)


@asynccontextmanager
async def serving(
    settings: PortalSettings, listener: socket.socket, *, clock: Callable[[], float] = time,
    hasher: PasswordHasher | None = None,
) -> AsyncIterator[str]:
    """
    Serve the portal on a listening socket until the context ends; gives its base URL.

    Args:
        settings: what the portal is told.
        listener: bound to loopback.
        clock: unix seconds.
        hasher: another argon2 cost, for tests that hash a hundred passwords.
    """
    port = listener.getsockname()[1]
    own_url = f"http://{_host(listener)}:{port}"
    async with (
        opened(settings.data_dir) as database,
        OtpClient(settings.otp_url, settings.api_key, timeout_s=_OTP_TIMEOUT_S) as otp,
    ):
        flows = Flows(database, clock)
        portal = Portal(
            otp=otp, receiver=WebhookReceiver(*settings.webhook_secrets, now=clock), flows=flows,
            accounts=Accounts(database, flows, clock), signed_in=SignedIn(database), passwords=Passwords(hasher),
            pages=Pages(settings), own_url=own_url, clock=clock,
            hosts=frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")),
        )
        await _add_old_accounts(portal)
        runner = web.AppRunner(
            build_app(portal), access_log=None, handle_signals=False, shutdown_timeout=3.0, keepalive_timeout=30.0,
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
    session = request[SESSION] = read_session(request)
    if request.path == WEBHOOK_PATH:
        return await handler(request)
    try:
        await _admit(request)
        response = await handler(request)
    except NotSignedIn:
        response = see_other("/dang-nhap")
    except web.HTTPException as error:
        response = _error_page(request, error.status)
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception:  # noqa: BLE001 - the last resort: logged, and answered with a page
        _log.exception("defect")
        response = _error_page(request, 500)
    response.headers.update(_HEADERS)
    if session.fresh and "text/html" in response.headers.get("Content-Type", ""):
        give_session(response, session)
    return response


async def _admit(request: web.Request) -> None:
    """Refuse another name for this host, and a post that none of our own pages made."""
    if request.host not in request.app[PORTAL].hosts:
        # Somebody else's page under a name that resolves to this machine would have our origin.
        raise web.HTTPNotFound
    if request.method != "POST":
        return
    if request.content_type != _FORM:
        raise web.HTTPUnsupportedMediaType
    origin = request.headers.get("Origin")
    form = await form_of(request)
    if origin not in {None, origin_of(request)} or not request[SESSION].owns(form.get("form_token", "")):
        raise web.HTTPForbidden


def _error_page(request: web.Request, status: int) -> web.Response:
    heading, sentence = _ERRORS.get(status, _ERRORS[500])
    return page(request, "ended", status=status, heading=heading, sentences=(sentence,), again="/")


async def _add_old_accounts(portal: Portal) -> None:
    """Make the old system's sample accounts, once."""
    for login in OLD_LOGINS:
        if await portal.accounts.old(login.system, login.code) is None:
            hashed = await portal.passwords.hash(login.password)
            await portal.accounts.add_old(login.system, login.code, hashed)


def _host(listener: socket.socket) -> str:
    name = str(listener.getsockname()[0])
    return f"[{name}]" if ":" in name else name
