"""The demo's phone: SMS that arrive are seen at once, in order, with and without JavaScript."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Page, expect
from support.chromium import Watch, accessible, looked_at

from otp_service.web.fake_gateway.handlers import serving
from otp_service.web.fake_gateway.provider import FakeProvider

FIRST, SECOND = "+84900000001", "+84900000002"


class Phone:
    """A fake provider that serves its phone; ``arrive`` lets an SMS come in."""

    def __init__(self, provider: FakeProvider, url: str) -> None:
        self.provider, self.url = provider, url
        self._count = 0

    def arrive(self, to: str = FIRST, text: str = "") -> None:
        """Let an SMS come in."""
        self._count += 1
        text = text or f"Cong DVC: {self._count:06d} la ma xac nhan (lan {self._count}). Khong dua ma cho bat ky ai."
        self.provider.inbox.add(f"ref-{self._count}", to=to, text=text, send_number=self._count)


@pytest_asyncio.fixture(loop_scope="session")
async def phone() -> AsyncIterator[Phone]:
    """Give the phone of a provider of its own."""
    provider = FakeProvider()
    async with serving(provider) as base:
        yield Phone(provider, f"{base}/phone")


async def test_messages_arrive(phone: Phone, page: Page) -> None:
    """An empty phone says so; what arrives is appended by itself, the newest last and in view."""
    await page.goto(phone.url)
    await expect(page.get_by_text("Chưa có tin nhắn nào")).to_be_visible()
    await accessible(page)
    await looked_at(page, "phone-empty")
    phone.arrive(text="first")
    await expect(page.get_by_text("first")).to_be_visible()
    await expect(page.get_by_text("Chưa có tin nhắn nào")).to_be_hidden()
    for _ in range(20):
        phone.arrive()
    await expect(page.get_by_role("listitem")).to_have_count(21)
    await expect(page.get_by_role("listitem").last).to_contain_text("000021")
    await expect(page.get_by_role("listitem").last).to_be_in_viewport()
    await expect(page.get_by_role("listitem").last).to_contain_text("Gửi tới 0900 000 001 lúc")
    await accessible(page)
    await looked_at(page, "phone")


async def test_one_number(phone: Phone, page: Page) -> None:
    """A number is chosen in the browser alone: it stands in the fragment, and no request carries it."""
    phone.arrive(FIRST)
    phone.arrive(SECOND)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(phone.url)
    await page.get_by_label("Xem tin của số").select_option("0900 000 002")
    await expect(page.get_by_role("listitem")).to_have_count(1)
    await expect(page.get_by_role("listitem")).to_contain_text("lan 2")
    phone.arrive(FIRST, "not for this phone")
    phone.arrive(SECOND, "for this phone")
    await expect(page.get_by_text("for this phone", exact=True)).to_be_visible()
    await expect(page.get_by_text("not for this phone")).to_be_hidden()
    await accessible(page)
    await looked_at(page, "phone-one-number")
    await page.reload()
    await expect(page.get_by_role("listitem")).to_have_count(2)
    assert {phone.url} == set(asked)


async def test_text_is_text(phone: Phone, page: Page) -> None:
    """Whatever an SMS holds is shown as it is, when the page is read and when it arrives later."""
    text = "<b>1</b> & <script>document.title = 'ran'</script>\n@127.0.0.1 #123456"
    phone.arrive(text=text)
    await page.goto(phone.url)
    phone.arrive(text=text)
    await expect(page.get_by_role("listitem")).to_have_count(2)
    for shown in await page.locator(".text").all():
        assert text == await shown.inner_text()
    assert "Điện thoại thử" == await page.title()


async def test_says_that_it_is_lost(phone: Phone, page: Page, watch: Watch) -> None:
    """When the demo has ended the phone says so, and it recovers."""
    await page.goto(phone.url)
    await page.context.set_offline(offline=True)
    await expect(page.get_by_role("status")).to_contain_text("Không liên lạc được")
    await page.context.set_offline(offline=False)
    phone.arrive(text="again")
    await expect(page.get_by_text("again")).to_be_visible()
    await expect(page.get_by_role("status")).to_be_empty()
    watch.forgive("ERR_INTERNET_DISCONNECTED")


async def test_without_script(phone: Phone, plain_page: Page) -> None:
    """Without JavaScript the page shows what arrived, loads itself again and has a way to the newest."""
    phone.arrive()
    await plain_page.goto(phone.url)
    await expect(plain_page.get_by_role("listitem")).to_have_count(1)
    await expect(plain_page.get_by_role("link", name="Đến tin mới nhất")).to_be_visible()
    await expect(plain_page.get_by_label("Xem tin của số")).to_be_hidden()
    phone.arrive()
    await expect(plain_page.get_by_role("listitem")).to_have_count(2)
    await looked_at(plain_page, "phone-without-script")


async def test_narrow(phone: Phone, narrow_page: Page) -> None:
    """At 320 px nothing is cut off and nothing scrolls sideways, whatever an SMS holds."""
    phone.arrive(text="x" * 300)
    await narrow_page.goto(phone.url)
    await accessible(narrow_page)
