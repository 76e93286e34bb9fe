"""One verification's browser against the hosted page, without a browser."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from aiohttp import ClientResponse
from web_harness import CLIENTS, PUBLIC_URL, REPORT_SECRET, START, Web

from otp_service.core.client import ClientRegistry
from otp_service.storage.calls import Taken

RETURN_URL = "https://portal.example/dang-ky?buoc=2"
PORTAL = ClientRegistry(tuple(
    replace(client, display_name="Cổng <Tỉnh> & Huyện", hotline="1900 0000",
            return_hosts=frozenset({"portal.example", "www.portal.example"}))
    for client in CLIENTS
))


class Browser:
    """One verification's browser: its cookie, and where it was sent last; redirects are looked at, not followed."""

    def __init__(self, service: Web, started: Mapping[str, Any]) -> None:
        self.service = service
        self.id: str = started["id"]
        self.token: str = started["client_token"]
        self.path = f"/v/{self.id}"
        self.cookie: str | None = f"otp_v={self.token}"

    async def get(self, path: str = "", **headers: str) -> ClientResponse:
        """Open the page, or what stands under it."""
        return await self._call("GET", path, None, headers)

    async def post(self, path: str = "", fields: Mapping[str, str] | bytes = {}, **headers: str) -> ClientResponse:
        """Send a form."""
        body = fields if isinstance(fields, bytes) else urlencode(fields).encode()
        return await self._call(
            "POST", path, body, {"Content-Type": "application/x-www-form-urlencoded", "Origin": PUBLIC_URL} | headers,
        )

    async def check(self, code: str, key: str = "the-key-of-a-form", **headers: str) -> ClientResponse:
        """Send the code."""
        return await self.post("/check", {"code": code, "key": key}, **headers)

    async def right(self, key: str = "the-key-of-a-form") -> ClientResponse:
        """Send the right code of the first SMS."""
        return await self.check(self.service.code(self.id), key)

    async def wrong(self, key: str = "the-key-of-a-form") -> ClientResponse:
        """Send a wrong code."""
        return await self.check(self.service.wrong_code(self.id), key)

    async def follow(self, response: ClientResponse) -> ClientResponse:
        """Open what a 303 points to."""
        assert 303 == response.status, await response.text()
        return await self.get(response.headers["Location"].removeprefix(self.path))

    async def _call(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str],
    ) -> ClientResponse:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookie is not None:
            sent.setdefault("Cookie", self.cookie)
        response = await self.service.http.request(
            method, self.path + path, data=body, headers=sent, allow_redirects=False,
        )
        await response.read()
        return response


async def begin(service: Web, body: Mapping[str, Any] = START, **fields: Any) -> Browser:
    """Start a verification and give its browser."""
    return Browser(service, await service.start({**body, "return_url": RETURN_URL, **fields}))


async def seen(browser: Browser) -> dict[str, Any]:
    """Return the verification as the portal reads it."""
    found: dict[str, Any] = await (await browser.service.call("GET", f"/v1/verifications/{browser.id}")).json()
    return found


async def reported(browser: Browser, state: str) -> None:
    """Let the gateway take the first SMS, and report later what became of it."""
    service = browser.service
    shard = service.deps.service.secrets.ring.parse_id(browser.id) or 0
    await service.store.sent(
        shard, browser.id, 1, b"1-1", outcome="a", maybe_sent=False, holder="worker", taken=Taken("fake"),
    )
    await service.call(
        "POST", f"/v1/delivery-reports/fake/{REPORT_SECRET}", {"reference": f"{browser.id}-1", "state": state},
        key=None,
    )


def notice_of(text: str) -> str | None:
    """Return the message at the top of a page."""
    found = re.search(r'<p class="notice [^>]*>(.*?)</p>', text)
    return found[1] if found else None
