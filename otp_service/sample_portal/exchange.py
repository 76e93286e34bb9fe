"""What every handler works with: the portal behind the request, its session, and its forms."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from aiohttp import web
from yarl import URL

from otp_service.client import OtpClient, WebhookReceiver
from otp_service.sample_portal.accounts import Account, Accounts
from otp_service.sample_portal.flows import Flows
from otp_service.sample_portal.guesses import Guesses
from otp_service.sample_portal.pages import Pages
from otp_service.sample_portal.passwords import Passwords
from otp_service.sample_portal.sessions import Cookies, Session
from otp_service.sample_portal.signed_in import SignedIn

_VIETNAM = timedelta(hours=7)


@dataclass(frozen=True, slots=True)
class Portal:
    """
    The portal at work.

    Attributes:
        own_url: where it listens, for the service's webhooks.
        hosts: the values of ``Host`` under which people may use it.
        clock: unix seconds.
    """

    otp: OtpClient
    receiver: WebhookReceiver
    accounts: Accounts
    flows: Flows
    signed_in: SignedIn
    passwords: Passwords
    pages: Pages
    own_url: str
    hosts: frozenset[str]
    cookies: Cookies
    sign_in_guesses: Guesses
    linking_guesses: Guesses
    clock: Callable[[], float] = time.time

    @property
    def now(self) -> int:
        """Unix seconds."""
        return int(self.clock())

    @property
    def today(self) -> date:
        """The day in Vietnam."""
        return (datetime.fromtimestamp(self.clock(), UTC) + _VIETNAM).date()


PORTAL = web.AppKey("portal", Portal)
SESSION = web.RequestKey("session", Session)
FORM = web.RequestKey("form", Mapping[str, str])


def portal_of(request: web.Request) -> Portal:
    """Return the portal that this request came to."""
    return request.app[PORTAL]


def form_of(request: web.Request) -> Mapping[str, str]:
    """Return the fields of a form post, as the middleware has read them."""
    return request[FORM]


def origin_of(request: web.Request) -> str:
    """Return the portal's origin as this browser sees it; the middleware has looked at the host."""
    return f"{request.scheme}://{request.host}"


def page(request: web.Request, name: str, *, status: int = 200, **values: Any) -> web.Response:
    """Return a page for this session; its forms carry the session's token."""
    return portal_of(request).pages.render(name, status=status, form_token=request[SESSION].form_token, **values)


def see_other(path: str, **query: str) -> web.Response:
    """Answer a post with the page to look at (RFC 9110 section 15.4.4), so that a reload repeats nothing."""
    return web.Response(status=303, headers={"Location": str(URL(path).with_query(query))})


class NotSignedIn(Exception):
    """The page is for people who have signed in."""


async def account_of(request: web.Request) -> Account:
    """Return who is signed in.  Raises NotSignedIn."""
    portal = portal_of(request)
    account_id = await portal.signed_in.account_id(request[SESSION])
    account = None if account_id is None else await portal.accounts.of_id(account_id)
    if account is None:
        raise NotSignedIn
    return account
