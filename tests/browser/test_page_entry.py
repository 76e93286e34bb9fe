"""How a browser comes to the hosted page, and what it leaves behind: no token in an address, a history or a log."""

from __future__ import annotations

from html import escape

import pytest
from playwright.async_api import BrowserContext, Page, Route, expect
from support.chromium import Watch, accessible, looked_at
from support.hosted_page import begin, code_field, enter, expect_back, type_code
from support.stage import Stage

GONE = "Không mở được trang này"


async def test_cookie(stage: Stage, page: Page, context: BrowserContext) -> None:
    """The token comes by form POST and becomes a cookie that no script reads and that no other path is sent."""
    started = await begin(stage, page)
    (cookie,) = await context.cookies()
    assert ("otp_v", started["client_token"], f"/v/{started['id']}", True, False, "Lax") == tuple(
        cookie[name] for name in ("name", "value", "path", "httpOnly", "secure", "sameSite")
    )
    assert "" == await page.evaluate("document.cookie")
    assert f"{stage.base}/v/{started['id']}" == page.url


async def test_fragment(stage: Stage, page: Page, watch: Watch) -> None:
    """A token in the fragment opens the page too, and is taken out of the address and the history."""
    started = await stage.start()
    await page.goto(stage.portal.page(
        f'<body><a href="{escape(started["page_url"])}#{started["client_token"]}">Tiếp tục</a></body>',
    ))
    seen: list[str] = []

    async def look(route: Route) -> None:
        seen.append(page.url)
        await route.continue_()

    await page.route(started["page_url"], look)
    await page.get_by_role("link").click()
    await expect(code_field(page)).to_be_visible()
    # Out of the address before it is sent: who looks at the screen while it loads sees none either.
    assert [started["page_url"]] * 2 == [seen[1], page.url]
    await page.unroute(started["page_url"])
    assert "" == await page.evaluate("document.cookie")
    await page.go_back()
    await expect(page.get_by_role("link", name="Tiếp tục")).to_be_visible()
    await page.go_forward()
    await expect(code_field(page)).to_be_visible()
    assert started["page_url"] == page.url
    await type_code(page, await stage.code(started))
    await expect_back(stage, page, started)
    assert [] == [url for url in watch.requests if started["client_token"] in url]


async def test_nothing_stays_behind(stage: Stage, page: Page, watch: Watch) -> None:
    """Invariant 5: token, code, phone and ID number are in no address, no title, no page's storage and no log line."""
    started = await begin(stage, page)
    wrong, code = await stage.wrong_code(started), await stage.code(started)
    await type_code(page, wrong)
    await expect(page.locator("#notice")).to_be_visible()
    kept = await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.title, name])")
    await type_code(page, code)
    await expect_back(stage, page, started)
    log = stage.log.getvalue().decode()
    for secret in (started["client_token"], wrong, code, "900000001", "052090000001"):
        assert secret not in log
        assert secret not in kept
        assert [] == [url for url in watch.requests if secret in url.removeprefix(stage.base)]


@pytest.mark.parametrize("tail", ["", "#vt_forged", "?client_token=vt_forged"])
async def test_without_token(stage: Stage, page: Page, tail: str) -> None:
    """Without the token, with a wrong one, or with one in the query, the page is the same as for an unknown id."""
    started = await stage.start()
    answer = await page.goto(started["page_url"] + tail)
    assert answer is not None
    assert 404 == answer.status
    await expect(page.get_by_role("heading", level=1)).to_have_text(GONE)
    await expect(page.locator("main")).to_be_visible()
    mine = await page.locator("main").inner_html()
    await page.goto(f"{stage.base}/v/{started['id'][:-4]}aaaa{tail}")
    await expect(page.get_by_role("heading", level=1)).to_have_text(GONE)
    assert mine == await page.locator("main").inner_html()
    await accessible(page)
    await looked_at(page, "page-gone")


async def test_token_of_another(stage: Stage, page: Page) -> None:
    """The token of one verification opens no other one."""
    mine, other = await stage.start(), await stage.start("0900000002", purpose="phone_only")
    await enter(stage, page, {**other, "client_token": mine["client_token"]}, GONE)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"], ids=["another-site", "another-port"])
async def test_form_of_another_page(stage: Stage, page: Page, host: str) -> None:
    """Another page's form with a code or for a resend changes nothing, also where the browser sends the cookie."""
    started = await begin(stage, page)
    code = await stage.code(started)
    await stage.advance(61)
    for action, field in (("check", f'<input name="code" value="{code}">'), ("resend", "")):
        target = f"{started['page_url']}/{action}"
        form = f'<form method="post" action="{target}">{field}<button>x</button></form>'
        await page.goto(stage.portal.page(f"<body>{form}</body>").replace("localhost", host))
        await page.get_by_role("button").click()
        await expect(page).to_have_url(target)
    found = await stage.read(started)
    assert ("pending", 5, 1) == (found["status"], found["attempts_left"], found["send_number"])


async def test_page_in_a_frame(stage: Stage, page: Page, watch: Watch) -> None:
    """The page shows in nobody's frame."""
    started = await begin(stage, page)
    await page.goto(stage.portal.page(f'<body><iframe src="{started["page_url"]}"></iframe></body>'))
    await expect(page.frame_locator("iframe").get_by_role("heading", name="Nhập mã OTP")).to_have_count(0)
    watch.forgive("frame-ancestors")


async def test_forged_words_in_the_address(stage: Stage, page: Page) -> None:
    """Nobody writes a message of their own onto the page by a link."""
    started = await begin(stage, page)
    for query in ("said=Goi+0900000009", "said=locked", "said=<b>x</b>", "lang=xx"):
        await page.goto(f"{started['page_url']}?{query}")
        await expect(page.locator("#notice")).to_have_count(0)
        await expect(page.get_by_role("heading", level=1)).to_have_text("Nhập mã OTP")


async def test_store_that_is_down(stage: Stage, page: Page) -> None:
    """Invariant 8: without the store the page is a page, says that nothing is lost, and works when it is back."""
    started = await begin(stage, page)
    stage.engine.client._retry_total_s = 0.0
    # Longer than the service waits for it.
    await stage.engine.redis.client_pause(2500)
    answer = await page.goto(started["page_url"])
    assert answer is not None
    assert (503, True) == (answer.status, "retry-after" in answer.headers)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Dịch vụ đang tạm gián đoạn")
    await accessible(page)
    await looked_at(page, "page-unavailable")
    await stage.engine.redis.ping()
    await page.get_by_role("link", name="Thử lại").click()
    await expect(code_field(page)).to_be_visible()
