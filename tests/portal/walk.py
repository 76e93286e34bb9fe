"""
A person at the sample portal: reads pages, fills in forms, follows redirects, and reads the code from the SMS.

::

    person = site.person()
    page = await person.get("/dang-ky")
    page = await person.submit(page, id_number="052090000001", ...)
    await site.check(page)
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urljoin, urlsplit

import aiohttp
from argon2 import PasswordHasher
from support.processes import PORTAL_KEY
from support.proxy import Proxy
from support.stage import Stage, staged
from support.webhooks import portal as told_portal
from support.webhooks import step, telling
from yarl import URL

from otp_service.core.webhook_secrets import new_secret
from otp_service.process import listen
from otp_service.sample_portal.passwords import Passwords
from otp_service.sample_portal.server import serving
from otp_service.sample_portal.settings import PortalSettings

PHONE, ID_NUMBER, NAME, BORN = "0900000001", "052090000001", "NGUYỄN VĂN A", "01/01/1990"
OTHER_PHONE, OTHER_ID = "0900000002", "052190000002"
PASSWORD, NEW_PASSWORD = "Mat-khau-1", "Mat-khau-2"
FORM = {"id_number": ID_NUMBER, "full_name": NAME, "birth_date": BORN, "phone_number": PHONE}

#: Real argon2id, at the least it can cost: a test hashes a dozen passwords.
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@dataclass
class Form:
    """One form of a page: where it goes, and what it would send as it stands."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass
class Seen:
    """A page as a person sees it; ``text`` is what can be read."""

    status: int
    url: str
    html: str
    headers: Mapping[str, str]
    title: str = ""
    heading: str = ""
    text: str = ""
    alert: str = ""
    forms: list[Form] = field(default_factory=list)

    @property
    def path(self) -> str:
        """Its path."""
        return urlsplit(self.url).path

    @property
    def query(self) -> dict[str, str]:
        """Its query."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.url).query).items()}

    def form(self, action: str = "") -> Form:
        """Return the form that goes to this path, the first one by default."""
        return next(form for form in self.forms if not action or urlsplit(form.action).path == action)


class _Reader(HTMLParser):
    """Reads a page's title, first heading, text, alert and forms."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self._seen = seen
        self._open: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        at = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._seen.forms.append(Form(urljoin(self._seen.url, at["action"])))
        if tag == "input" and self._seen.forms and at.get("name"):
            self._seen.forms[-1].fields[at["name"]] = at.get("value", "")
        if tag not in {"meta", "link", "input", "br"}:
            self._open.append((tag, at.get("role") == "alert"))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self._open]
        if "title" in tags:
            self._seen.title += data
        elif "script" not in tags:
            self._seen.text += f" {' '.join(data.split())}" if data.strip() else ""
            if "h1" in tags:
                self._seen.heading += data
            if any(alert for _, alert in self._open):
                self._seen.alert += data


class Person:
    """Somebody with a browser that runs no JavaScript."""

    def __init__(self, base: str, http: aiohttp.ClientSession) -> None:
        self.base = base
        self.http = http

    async def get(self, path: str, **query: str) -> Seen:
        """Look at a page; redirects are followed as long as they stay in the portal."""
        return await self._look("GET", urljoin(self.base, path), params=query)

    async def post(self, path: str, fields: Mapping[str, str], **headers: str) -> Seen:
        """Post fields as they are given; underscores in names of ``headers`` stand for hyphens."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self._look("POST", urljoin(self.base, path), data=dict(fields), headers=sent)

    async def submit(self, page: Seen, action: str = "", **fields: str) -> Seen:
        """Fill a form of a page in and press its button."""
        form = page.form(action)
        return await self.post(form.action, {**form.fields, **fields})

    @property
    def cookie(self) -> str | None:
        """The session cookie's value."""
        return next((one.value for one in self.http.cookie_jar if one.key == "portal_session"), None)

    def take(self, cookie: str) -> None:
        """Use this session cookie from now on."""
        self.http.cookie_jar.update_cookies({"portal_session": cookie}, URL(self.base))

    async def _look(self, method: str, url: str, **options: Any) -> Seen:
        for _ in range(5):
            async with self.http.request(method, url, allow_redirects=False, **options) as answer:
                html = await answer.text()
                seen = Seen(answer.status, str(answer.url), html, answer.headers)
            if answer.status != 303:
                break
            method, url, options = "GET", urljoin(url, answer.headers["Location"]), {}
        _Reader(seen).feed(html)
        return seen


class Site:
    """
    The portal and all around it.

    Attributes:
        base: its address.
        stage: the service behind it; the portal goes by the same clock.
        network: what lies between the two.
        secret: what the service signs webhooks with.
        data_dir: where the portal's database is.
    """

    def __init__(
        self, base: str, stage: Stage, network: Proxy, secret: str, data_dir: Path, stack: AsyncExitStack,
    ) -> None:
        self.base, self.stage, self.network, self.secret, self.data_dir = base, stage, network, secret, data_dir
        self._stack = stack

    async def person(self) -> Person:
        """Give somebody new, with an empty cookie jar."""
        session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
        return Person(self.base, await self._stack.enter_async_context(session))

    async def enter_code(self, page: Seen, *, right: bool = True) -> str:
        """Do what a person does at the service's page, with the token that the portal hands over; returns the id."""
        form = page.form()
        verification_id = urlsplit(form.action).path.rsplit("/", 1)[1]
        started = {"id": verification_id}
        code = await self.stage.code(started) if right else await self.stage.wrong_code(started)
        await self.stage.api.check(verification_id, code)
        return verification_id

    async def tell(self) -> int:
        """Let the service's worker deliver what is due to the portal's webhook; returns how many it sent."""
        client = told_portal(webhook_secrets=(self.secret,))
        async with telling(self.stage.engine, client) as worker:
            return await step(worker)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return a table's rows."""
        with closing(sqlite3.connect(self.data_dir / "portal.sqlite3")) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(f"SELECT * FROM {table}")]  # noqa: S608 - our own tables

    def change(self, sql: str, *values: Any) -> None:
        """Change the database as no page can."""
        with closing(sqlite3.connect(self.data_dir / "portal.sqlite3")) as database, database:
            database.execute(sql, values)

    async def verified(self, person: Person, path: str = "/dang-ky", **fields: str) -> Seen:
        """Walk from a form to the page behind the right code."""
        page = await person.submit(await person.get(path), path, **fields)
        assert page.path.startswith("/xac-thuc/"), page.text
        verification_id = await self.enter_code(page)
        returns = {"/dang-ky": "/dang-ky/ket-qua", "/dang-nhap": "/dang-nhap/ket-qua"}
        return await person.get(returns.get(path, f"{path}/ket-qua"), verification_id=verification_id)

    async def registered(self, person: Person, **fields: str) -> Seen:
        """Walk the whole registration."""
        page = await self.verified(person, **{**FORM, **fields})
        return await person.submit(page, password=PASSWORD, password_again=PASSWORD)

    async def signed_in(self, person: Person, id_number: str = ID_NUMBER, password: str = PASSWORD) -> Seen:
        """Sign in, after the cooldown of the SMS before."""
        await self.stage.advance(61)
        page = await self.verified(person, "/dang-nhap", id_number=id_number, password=password)
        return await person.submit(page)


class OpenSite(Protocol):
    """Opens a portal whose client at the service differs from the usual one in ``changes``."""

    def __call__(self, **changes: Any) -> AbstractAsyncContextManager[Site]:
        """Open it."""
        raise NotImplementedError


@asynccontextmanager
async def site_at(
    valkey_url: str, data_dir: Path, *, limits: tuple[Any, ...] = (), passwords: Passwords | None = None,
    **changes: Any,
) -> AsyncIterator[Site]:
    """Open the portal beside a service on an emptied store."""
    secret = new_secret()
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(
            staged(valkey_url, limits=limits, webhook_secrets=(secret,), **changes),
        )
        network = await stack.enter_async_context(Proxy(stage.base))
        settings = PortalSettings(
            otp_url=f"http://{network.address}", otp_public_url=stage.base, api_key=PORTAL_KEY,
            webhook_secrets=(secret,), data_dir=data_dir, phone_url=f"{stage.base}/demo/phone",
        )
        listener = stack.enter_context(closing(listen("127.0.0.1", 0)))
        base = await stack.enter_async_context(serving(
            settings, listener, clock=lambda: stage.engine.clock.now_ms / 1000,
            passwords=passwords or Passwords(CHEAP),
        ))
        yield Site(base, stage, network, secret, data_dir, stack)


def ids_in(html: str) -> list[str]:
    """Return the values of all ``id`` attributes."""
    return re.findall(r'\sid="([^"]+)"', html)
