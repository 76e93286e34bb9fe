""""Gửi lại OTP" on the hosted page: the countdown, what is left, and which SMS to read."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import BrowserContext, Page, Route, expect
from support.chromium import NARROW_SIZE, accessible, looked_at
from support.hosted_page import begin, code_field, expect_back, notice, resend_button, type_code
from support.stage import Stage, staged

from otp_service.core.limits import PHONE_SENDS, Limit


async def test_countdown(stage: Stage, page: Page) -> None:
    """The wait counts down by itself; a press before its end sends nothing, one after it sends the second SMS."""
    await page.clock.install()
    started = await begin(stage, page)
    wait = page.locator("#wait")
    await expect(wait).to_have_text(re.compile(r"Có thể gửi lại sau (1:00|0:5\d)\."))
    await expect(page.get_by_text("Còn 3 lần gửi lại.")).to_be_visible()
    await stage.advance(20)
    await page.clock.run_for(20_000)
    await expect(wait).to_have_text(re.compile(r"Có thể gửi lại sau 0:(40|3\d)\."))
    await expect(resend_button(page)).to_have_attribute("aria-disabled", "true")
    await resend_button(page).click(force=True)
    await stage.advance(40)
    await page.clock.run_for(41_000)
    await expect(wait).to_have_text("Bây giờ có thể gửi lại.")
    assert [] == [line for line in stage.lines() if line["route"] == "/v/{id}/resend"]
    await resend_button(page).click()
    await expect(notice(page)).to_have_text(
        "Đã nhận yêu cầu gửi lại. Hãy nhập mã trong tin nhắn mới có ghi “lan 2”.",
    )
    await expect(page.get_by_text("Còn 2 lần gửi lại.")).to_be_visible()
    await expect(page.get_by_text("Còn 5 lần nhập.")).to_be_visible()
    await accessible(page)
    await looked_at(page, "page-resent")
    await type_code(page, await stage.code(started, 2))
    await expect_back(stage, page, started)


@pytest.mark.parametrize("device_ms", [-86_400_000, 86_400_000])
async def test_clock_of_the_device(stage: Stage, page: Page, device_ms: int) -> None:
    """A phone whose clock is a day wrong counts the same: only the seconds that the server gave are counted."""
    await page.clock.install(time=(stage.engine.clock.now_ms + device_ms) / 1000)
    await begin(stage, page)
    await expect(page.locator("#wait")).to_have_text(re.compile(r"Có thể gửi lại sau (1:00|0:5\d)\."))
    await expect(page.locator("#valid")).to_have_text(re.compile(r"Mã còn hiệu lực (3:00|2:5\d)\."))


async def test_nothing_is_covered(stage: Stage, page: Page) -> None:
    """On the smallest telephone the word that a resend is possible now lies over nothing that is to be read."""
    await page.set_viewport_size(NARROW_SIZE)
    await page.clock.install()
    await begin(stage, page)
    await stage.advance(60)
    await page.clock.run_for(4_000)
    live = page.locator("#live")
    await expect(live).to_have_text("Bây giờ có thể gửi lại.")
    await looked_at(page, "page-narrow-resend-now")
    box = await live.bounding_box()
    assert box is not None
    for other in await page.locator("p:not(#live), label, input:not([type=hidden]), button").all():
        near = await other.bounding_box()
        assert near is not None
        apart = near["y"] + near["height"] <= box["y"] or box["y"] + box["height"] <= near["y"]
        assert apart, await other.inner_text()


async def test_sending_is_said_in_the_button(stage: Stage, page: Page, context: BrowserContext) -> None:
    """While an answer is waited for the pressed button says so; if none comes it can be pressed again."""
    await page.clock.install()
    await begin(stage, page)
    asked = asyncio.Event()

    async def hold(route: Route) -> None:
        asked.set()
        await route.abort("aborted")

    await context.route("**/check", hold)
    await code_field(page).fill("123456")
    await page.get_by_role("button", name="Xác nhận").click()
    await asked.wait()
    await expect(page.get_by_role("button", name="Đang gửi, xin chờ.")).to_be_visible()
    await page.clock.run_for(10_500)
    await expect(page.get_by_role("button", name="Xác nhận")).to_be_visible()


async def test_refused_for_a_day(valkey_url: str, page: Page) -> None:
    """A code too old and no resend for a day: the page says when, not "now", and leads back to the portal."""
    async with staged(valkey_url, limits=(Limit(PHONE_SENDS, 1, 86_400),)) as stage:
        await page.set_viewport_size(NARROW_SIZE)
        started = await begin(stage, page)
        await stage.advance(181)
        await page.reload()
        await looked_at(page, "page-narrow-code-over")
        await resend_button(page).click()
        await expect(notice(page)).to_have_text("Đã có quá nhiều yêu cầu. Hãy thử lại sau 24 giờ.")
        await expect(page.get_by_text("Bây giờ có thể gửi lại.")).to_have_count(0)
        await accessible(page)
        await looked_at(page, "page-narrow-resend-refused")
        await page.get_by_role("link", name="Quay lại").click()
        await expect_back(stage, page, started)


async def test_all_sends(stage: Stage, page: Page) -> None:
    """After the last resend there is no button any more; the newest code is good, the ones before are not."""
    started = await begin(stage, page)
    for number in (2, 3, 4):
        await stage.code(started, number - 1)
        await stage.advance(61)
        await page.reload()
        await resend_button(page).click()
        await expect(notice(page)).to_contain_text(f"“lan {number}”")
    await expect(resend_button(page)).to_have_count(0)
    await expect(page.get_by_text("Đã hết số lần gửi lại")).to_be_visible()
    await accessible(page)
    await looked_at(page, "page-no-resend-left")
    third, fourth = await stage.code(started, 3), await stage.code(started, 4)
    if third != fourth:
        await type_code(page, third)
        await expect(notice(page)).to_contain_text("“lan 4”")
    await type_code(page, fourth)
    await expect_back(stage, page, started)


async def test_resend_too_soon_without_script(stage: Stage, plain_page: Page) -> None:
    """Without JavaScript the button posts, and the page says how long to wait; nothing was sent."""
    started = await begin(stage, plain_page)
    await resend_button(plain_page).click()
    await expect(notice(plain_page)).to_have_role("alert")
    await expect(notice(plain_page)).to_contain_text("60 giây")
    await looked_at(plain_page, "page-resend-too-soon")
    assert 1 == (await stage.read(started))["send_number"]
    await stage.advance(60)
    await resend_button(plain_page).click()
    await expect(notice(plain_page)).to_contain_text("“lan 2”")
    await type_code(plain_page, await stage.code(started, 2))
    await expect_back(stage, plain_page, started)
