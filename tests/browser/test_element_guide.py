"""The example of the drop-in element's document works as it stands, also for those whose browser runs no script."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from jinja2 import Environment
from playwright.async_api import Page, Route, expect
from support.chromium import Watch, accessible, looked_at
from support.engine import HOME, OWNER, PHONE
from support.hosted_page import expect_back, type_code
from support.stage import Stage, staged

from otp_service.core.client import ProofMode

GUIDE = (Path(__file__).parents[2] / "docs" / "drop-in-element.md").read_text("utf-8")


def blocks(kind: str) -> list[str]:
    """Return the document's code blocks of a language."""
    return re.findall(rf"^```{kind}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


class BackEnd:
    """
    The document's portal: its page, its script, and a back end that does what the document says.

    Attributes:
        started: the answers to all starts, in order.
    """

    def __init__(self, stage: Stage, page: Page) -> None:
        self.stage, self.page = stage, page
        self.started: list[dict[str, Any]] = []
        self.proofs: list[str | None] = []

    @classmethod
    async def open(cls, stage: Stage, page: Page) -> BackEnd:
        """Open the page of the example."""
        self = cls(stage, page)
        script = blocks("js")[0]
        await page.route("**/registration/start", self._called)
        await page.route("**/registration/hosted", self._posted)
        await page.route("**/registration.js", lambda route: route.fulfill(body=script, content_type="text/javascript"))
        await page.route("**/registration/password", lambda route: route.fulfill(body="<title>Mật khẩu</title>"))
        written = blocks("html")[0].replace("https://otp.example.vn", stage.base)
        await page.goto(stage.portal.page(f"<body><main><h1>Đăng ký</h1>{written}</main></body>"))
        return self

    async def submit(self, phone_number: str = PHONE, id_number: str = OWNER) -> None:
        """Fill the form in and press its button."""
        await self.page.get_by_label("Số điện thoại").fill(phone_number)
        await self.page.get_by_label("Số CCCD").fill(id_number)
        await self.page.get_by_role("button", name="Tiếp tục").click()

    async def _start(self, form: dict[str, str]) -> int:
        body = {"purpose": "registration", "end_user_ip": HOME, "return_url": self.stage.portal.back_url, **form}
        reply = await self.stage.api.call("POST", "/v1/verifications", body)
        self.proofs.append(form.get("proof"))
        self.started.append(reply.body)
        return reply.status

    async def _called(self, route: Route) -> None:
        status = await self._start(route.request.post_data_json)
        members = ("id", "client_token") if status == 201 else self.started[-1]
        await route.fulfill(status=status, json={name: self.started[-1][name] for name in members})

    async def _posted(self, route: Route) -> None:
        form = dict(parse_qsl(route.request.post_data))
        if await self._start(form) == 403:
            await self._start({**form, "proof": "none"})
        page = Environment(autoescape=True).from_string(blocks("html")[1]).render(self.started[-1])
        await route.fulfill(body=f"<!doctype html><title>Cổng</title>{page}", content_type="text/html; charset=utf-8")


@pytest.mark.parametrize("proof", [ProofMode.NEVER, ProofMode.ALWAYS])
async def test_with_script(valkey_url: str, page: Page, proof: ProofMode) -> None:
    """From the form to the password on one page; where the browser must work for its SMS it does."""
    async with staged(valkey_url, proof=proof) as stage:
        portal = await BackEnd.open(stage, page)
        await portal.submit()
        code = page.get_by_role("textbox", name="Mã OTP")
        await expect(code).to_be_focused()
        await page.keyboard.type(await stage.code(portal.started[-1]))
        await page.keyboard.press("Enter")

        await page.wait_for_url("**/registration/password")
        assert (1 if proof is ProofMode.NEVER else 2) == len(portal.started)


async def test_refused(stage: Stage, page: Page) -> None:
    """A start that is refused is told where the person looks, and the form stands to be corrected."""
    portal = await BackEnd.open(stage, page)
    await portal.submit("123")
    alert = page.get_by_role("alert")
    await expect(alert).to_contain_text("Hãy nhập số di động Việt Nam gồm 10 chữ số, bắt đầu bằng 0.")
    await portal.submit(id_number="123")
    await expect(alert).to_have_text("Hãy nhập số CCCD gồm 12 chữ số hoặc số CMND gồm 9 chữ số.")
    await looked_at(page, "element-guide-refused")
    await accessible(page)
    await stage.start()
    await portal.submit()
    await expect(alert).to_contain_text("Hãy thử lại sau")

    assert ["phone_not_mobile", "invalid_request", "rate_limited"] == [one["code"] for one in portal.started]
    await expect(page.get_by_role("button", name="Tiếp tục")).to_be_visible()
    await stage.advance(61)
    await portal.submit()
    await expect(page.get_by_role("textbox", name="Mã OTP")).to_be_focused()
    await expect(alert).to_be_hidden()


async def test_refused_without_connection(stage: Stage, page: Page, watch: Watch) -> None:
    """A start that does not reach the portal says so."""
    portal = await BackEnd.open(stage, page)
    await page.unroute("**/registration/start")
    await page.route("**/registration/start", lambda route: route.abort())
    await portal.submit()
    await expect(page.get_by_role("alert")).to_have_text("Mất kết nối mạng. Hãy thử lại.")
    watch.forgive("ERR_FAILED")


@pytest.mark.parametrize("proof", [ProofMode.NEVER, ProofMode.ALWAYS])
async def test_without_any_script(valkey_url: str, plain_page: Page, proof: ProofMode) -> None:
    """Without JavaScript the form goes on to the hosted page and back; nothing personal stands in an address."""
    asked: list[str] = []
    plain_page.on("request", lambda request: asked.append(request.url))
    async with staged(valkey_url, proof=proof) as stage:
        portal = await BackEnd.open(stage, plain_page)
        await portal.submit()
        await plain_page.get_by_role("button", name="Nhập mã").click()
        await type_code(plain_page, await stage.code(portal.started[-1]))
        await expect_back(stage, plain_page, portal.started[-1])

    assert ([None] if proof is ProofMode.NEVER else [None, "none"]) == portal.proofs
    personal = (PHONE[-9:], OWNER, portal.started[-1]["client_token"])
    assert [] == [url for url in asked for datum in personal if datum in url]


async def test_without_the_element(stage: Stage, page: Page, watch: Watch) -> None:
    """Where the element's script does not arrive the form takes the same way."""
    await page.route("**/element.js", lambda route: route.abort())
    portal = await BackEnd.open(stage, page)
    await portal.submit()
    await page.get_by_role("button", name="Nhập mã").click()
    await type_code(page, await stage.code(portal.started[-1]))
    await expect_back(stage, page, portal.started[-1])
    watch.forgive("ERR_FAILED")
