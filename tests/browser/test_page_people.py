"""The hosted page for everybody: without JavaScript, 320 px wide, zoomed, by keyboard, in English, light and dark."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect
from support.chromium import NARROW_SIZE, PHONE_SIZE, accessible, looked_at, watched
from support.hosted_page import begin, code_field, enter, expect_back, notice, type_code
from support.stage import Stage

from otp_service.core.evidence import OwnershipOutcome


async def test_without_script(stage: Stage, plain_page: Page) -> None:
    """Without JavaScript a wrong and then the right code lead all the way back to the portal."""
    started = await begin(stage, plain_page)
    await expect(plain_page.locator("#wait")).to_have_text("Có thể gửi lại sau 60 giây.")
    await looked_at(plain_page, "page-without-script")
    await type_code(plain_page, await stage.wrong_code(started))
    await expect(notice(plain_page)).to_contain_text("Còn 4 lần nhập.")
    await type_code(plain_page, await stage.code(started))
    await expect_back(stage, plain_page, started)


async def test_checking_without_script(stage: Stage, plain_page: Page) -> None:
    """Without JavaScript the page that waits for the carrier loads itself again until the answer is there."""
    stage.engine.source.gate = asyncio.Event()
    stage.engine.service._inline_deadline_s = 0.05
    started = await begin(stage, plain_page)
    await type_code(plain_page, await stage.code(started))
    await expect(plain_page.get_by_role("heading", level=1)).to_have_text("Đang hỏi nhà mạng")
    stage.engine.source.gate.set()
    await stage.advance(5)
    await expect(plain_page).to_have_url(f"{stage.portal.back_url}?verification_id={started['id']}", timeout=15_000)


@pytest.mark.parametrize("options", [
    {"viewport": NARROW_SIZE}, {"viewport": NARROW_SIZE, "locale": "en-GB"},
    {"viewport": PHONE_SIZE, "color_scheme": "dark"}, {"viewport": PHONE_SIZE, "forced_colors": "active"},
    {"viewport": {"width": 1280, "height": 800}},
], ids=["narrow", "narrow-english", "dark", "forced-colours", "desktop"])
async def test_every_page_fits(
    stage: Stage, browser: Browser, options: dict[str, Any], request: pytest.FixtureRequest,
) -> None:
    """Code entry, a wrong code and the longest page, of a SIM that is not confirmed, meet WCAG 2.2 AA everywhere."""
    name = request.node.callspec.id
    stage.engine.source.outcome = OwnershipOutcome.MISMATCH
    english = options.get("locale") == "en-GB"
    async with watched(browser, **options) as (context, _):
        page = await context.new_page()
        started = await stage.start(locale="en" if english else "vi")
        await enter(stage, page, started, "Enter the code" if english else "Nhập mã OTP")
        await accessible(page)
        await looked_at(page, f"page-{name}-code")
        await page.get_by_role("textbox").fill(await stage.wrong_code(started))
        await page.get_by_role("textbox").press("Enter")
        await expect(notice(page)).to_be_visible()
        await accessible(page)
        await looked_at(page, f"page-{name}-wrong-code")
        await page.get_by_role("textbox").fill(await stage.code(started))
        await page.get_by_role("textbox").press("Enter")
        await expect(page.get_by_text("TTTB").first).to_be_visible()
        await accessible(page)
        await looked_at(page, f"page-{name}-not-confirmed")


async def test_large_targets(stage: Stage, page: Page) -> None:
    """Everything that is pressed is at least 44 px high (WCAG 2.5.5)."""
    await begin(stage, page)
    controls = await page.locator("button, input:not([type=hidden]), footer a, header a").all()
    assert 6 == len(controls)
    for control in controls:
        box = await control.bounding_box()
        assert box is not None
        assert 44 <= box["height"], await control.inner_text()


async def test_by_keyboard(stage: Stage, page: Page) -> None:
    """The whole page is walked with the keyboard, in the order in which it is read, and the focus is always seen."""
    started = await begin(stage, page)
    await page.keyboard.type(await stage.code(started))
    seen = []
    for _ in range(5):
        await page.keyboard.press("Tab")
        seen.append(await page.evaluate(
            "[document.activeElement.textContent.trim(), getComputedStyle(document.activeElement).outlineStyle]",
        ))
    assert [
        ["Xác nhận", "solid"], ["Gửi lại OTP", "solid"], ["Cần giúp đỡ? Gọi 1900 0000.", "solid"],
        ["Quay lại", "solid"],
    ] == seen[:4]
    await code_field(page).press("Enter")
    await expect_back(stage, page, started)


async def test_languages(stage: Stage, english_page: Page) -> None:
    """The start's language is the page's; a link changes it, and it stays through a wrong code."""
    started = await stage.start(locale="en")
    await enter(stage, english_page, started, "Enter the code")
    await expect(english_page.locator("html")).to_have_attribute("lang", "en")
    await looked_at(english_page, "page-english")
    await english_page.get_by_role("link", name="Tiếng Việt").click()
    await expect(english_page.locator("html")).to_have_attribute("lang", "vi")
    await type_code(english_page, await stage.wrong_code(started))
    await expect(notice(english_page)).to_contain_text("Mã vừa nhập không đúng")
    await english_page.get_by_role("link", name="English").click()
    await expect(notice(english_page)).to_have_role("alert")
    await expect(english_page.locator("html")).to_have_attribute("lang", "en")


async def test_weight(stage: Stage, page: Page) -> None:
    """The page and all it loads stay under 60 kB, from the service alone."""
    await begin(stage, page)
    await page.reload(wait_until="networkidle")
    sizes = dict(await page.evaluate(
        "['navigation', 'resource'].flatMap((type) => performance.getEntriesByType(type))"
        ".map((entry) => [entry.name, entry.decodedBodySize])",
    ))
    assert [True] * 3 == [any(url.endswith(kind) for url in sizes) for kind in (page.url, ".css", ".js")]
    assert all(sizes.values())
    assert 60_000 > sum(sizes.values())
    assert {stage.base} == {"/".join(url.split("/")[:3]) for url in sizes}
