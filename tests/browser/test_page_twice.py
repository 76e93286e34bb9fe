"""The hosted page when things happen twice: double clicks, the back button, a refresh, a second tab, a lost reply."""

from __future__ import annotations

from playwright.async_api import BrowserContext, Page, Route, expect
from support.hosted_page import begin, code_field, enter, expect_back, notice, resend_button, type_code
from support.stage import Stage


def guesses(stage: Stage) -> int:
    """Return how often the page's form with a code was posted."""
    return sum(line["route"] == "/v/{id}/check" for line in stage.lines())


async def test_double_click(stage: Stage, page: Page) -> None:
    """Two clicks on a wrong code cost one attempt; two clicks on "Gửi lại OTP" send one SMS (Invariant 11)."""
    started = await begin(stage, page)
    await code_field(page).fill(await stage.wrong_code(started))
    await page.get_by_role("button", name="Xác nhận").dblclick()
    await expect(notice(page)).to_contain_text("Còn 4 lần nhập.")
    assert 4 == (await stage.read(started))["attempts_left"]
    await stage.advance(61)
    await page.reload()
    await resend_button(page).dblclick()
    await expect(notice(page)).to_contain_text("“lan 2”")
    found = await stage.read(started)
    assert (2, 2) == (found["send_number"], found["sends_left"])
    await code_field(page).fill(await stage.code(started, 2))
    await page.get_by_role("button", name="Xác nhận").dblclick()
    await expect_back(stage, page, started)


async def test_double_click_without_script(stage: Stage, plain_page: Page) -> None:
    """Where no script holds the second click back it costs nothing either, wrong code or right (Invariant 11)."""
    started = await begin(stage, plain_page)
    await code_field(plain_page).fill(await stage.wrong_code(started))
    await plain_page.get_by_role("button", name="Xác nhận").dblclick()
    await expect(notice(plain_page)).to_contain_text("Còn 4 lần nhập.")
    await code_field(plain_page).fill(await stage.code(started))
    await plain_page.get_by_role("button", name="Xác nhận").dblclick()
    await expect_back(stage, plain_page, started)
    assert "verified" == (await stage.read(started))["status"]


async def test_refresh(stage: Stage, page: Page) -> None:
    """A refresh after a wrong code guesses nothing again, and the message still tells the truth."""
    started = await begin(stage, page)
    await type_code(page, await stage.wrong_code(started))
    await expect(notice(page)).to_contain_text("Còn 4 lần nhập.")
    await page.reload()
    await expect(notice(page)).to_contain_text("Còn 4 lần nhập.")
    assert 1 == guesses(stage)


async def test_back_button(stage: Stage, page: Page) -> None:
    """Back from the portal leads to the portal again, not to a form for a code that is used."""
    started = await begin(stage, page)
    await type_code(page, await stage.code(started))
    await expect_back(stage, page, started)
    visits = len(stage.portal.came_back)
    await page.go_back()
    await expect_back(stage, page, started)
    assert visits < len(stage.portal.came_back)
    assert 1 == guesses(stage)


async def test_back_after_a_resend(stage: Stage, page: Page) -> None:
    """Back to the page from before a resend shows the SMS that counts now."""
    started = await begin(stage, page)
    await stage.advance(61)
    await page.reload()
    await resend_button(page).click()
    await expect(notice(page)).to_contain_text("“lan 2”")
    await page.go_back()
    await expect(page.get_by_text("Hãy nhập mã trong tin nhắn có ghi “lan 2”.")).to_be_visible()
    assert 2 == (await stage.read(started))["send_number"]


async def test_two_tabs(stage: Stage, page: Page, context: BrowserContext) -> None:
    """What one tab does the other one shows by itself: the newer SMS, then the end."""
    started = await begin(stage, page)
    other = await context.new_page()
    await enter(stage, other, started)
    await stage.advance(61)
    await other.reload()
    await resend_button(other).click()
    await expect(notice(other)).to_contain_text("“lan 2”")
    await page.bring_to_front()
    await expect(page.get_by_text("Hãy nhập mã trong tin nhắn có ghi “lan 2”.")).to_be_visible(timeout=10_000)
    await type_code(other, await stage.code(started, 2))
    await expect_back(stage, other, started)
    await expect_back(stage, page, started)


async def test_two_verifications(stage: Stage, page: Page, context: BrowserContext) -> None:
    """Two verifications in one browser do not disturb each other: each cookie is for its own page."""
    first = await begin(stage, page)
    other = await context.new_page()
    second = await begin(stage, other, phone_number="0900000002", purpose="phone_only")
    await type_code(page, await stage.code(first))
    await expect_back(stage, page, first)
    await type_code(other, await stage.code(second))
    await expect_back(stage, other, second)


async def test_reply_that_is_lost(stage: Stage, page: Page) -> None:
    """A check whose reply never arrives is sent again by the person, and costs nothing (Invariant 11)."""
    started = await begin(stage, page)
    lost = 0

    async def lose(route: Route) -> None:
        nonlocal lost
        lost += 1
        if lost > 1:
            await route.continue_()
            return
        await route.fetch(max_redirects=0)
        await route.abort("connectionreset")

    await page.route("**/check*", lose)
    await type_code(page, await stage.code(started))
    await expect(page).to_have_url("chrome-error://chromewebdata/")
    assert "verified" == (await stage.read(started))["status"]
    await page.go_back()
    await expect_back(stage, page, started)
