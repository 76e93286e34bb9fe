"""The harness itself: what it lets pass, and what it must not."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Page
from support.chromium import Watch, accessible, looked_at, watched
from support.stage import Stage


async def test_stage(stage: Stage, page: Page) -> None:
    """A browser reads a page of the service, and the SMS of a start arrives."""
    await page.goto(f"{stage.base}/docs")
    assert stage.base in await page.inner_text("body")
    started = await stage.start(return_url=None)
    code = await stage.code(started)
    assert "verified" == (await stage.api.check(started["id"], code))["status"]
    await looked_at(page, "docs")


@pytest.mark.parametrize(("body", "complaint"), [
    ("<script>throw Error('broken')</script>", "script: "),
    ("<script>console.error('wrong')</script>", "console: wrong"),
    ("<img alt='' src='https://example.vn/a.png'>", "another host: https://example.vn/a.png"),
])
async def test_watch(stage: Stage, browser: Browser, body: str, complaint: str) -> None:
    """A script that raises, an error in the console and a request elsewhere are seen."""
    seen: Watch | None = None
    with pytest.raises(AssertionError):  # noqa: PT012 - it is raised when the context closes
        async with watched(browser) as (context, seen):
            page = await context.new_page()
            await page.goto(stage.portal.page(body))
    assert seen is not None
    assert [True] == [complaint in problem for problem in seen.problems if "ERR_" not in problem]


async def test_policy_is_enforced(stage: Stage, page: Page, watch: Watch) -> None:
    """A page that breaks its Content-Security-Policy is seen, and its script does not run."""
    body = "<body><script>document.title = 'ran'</script></body>"
    await page.goto(stage.portal.page(body, Content_Security_Policy="default-src 'none'"))
    assert "Cổng" == await page.title()
    watch.forgive("Content Security Policy")


async def test_axe_finds(stage: Stage, page: Page) -> None:
    """A field without a name and a page that scrolls sideways are refused."""
    await page.goto(stage.portal.page("<body><main><h1>A</h1><input></main></body>"))
    with pytest.raises(AssertionError, match="label"):
        await accessible(page)
    wide = "<body><main><h1>A</h1><div style='width:3000px'>x</div></main></body>"
    await page.goto(stage.portal.page(wide))
    with pytest.raises(AssertionError, match="wide"):
        await accessible(page)
