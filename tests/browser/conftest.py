"""
One Chromium for all tests of pages; each test has its own stage and its own context (cookies, history, window).

::

    async def test_right_code(stage: Stage, page: Page) -> None:
        started = await stage.start()
        await page.goto(stage.portal.hand_over(started))
        await page.get_by_role("button", name="Tiếp tục").click()
        await page.get_by_role("textbox").fill(await stage.code(started))
        await looked_at(page, "code-entry")
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page
from support.chromium import NARROW_SIZE, Watch, chromium, watched
from support.stage import Stage, staged

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run every test of this folder in the session's loop, in which the browser was started."""
    for item in items:
        if item.path.is_relative_to(_HERE) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Give one Chromium for the session."""
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def stage(valkey_url: str) -> AsyncIterator[Stage]:
    """Give the service on an emptied Valkey, and a portal."""
    async with staged(valkey_url) as stage:
        yield stage


@pytest_asyncio.fixture(loop_scope="session")
async def window(browser: Browser) -> AsyncIterator[tuple[BrowserContext, Watch]]:
    """Give a context of its own, as wide as a cheap phone, and what its pages do wrong."""
    async with watched(browser) as window:
        yield window


@pytest.fixture
def context(window: tuple[BrowserContext, Watch]) -> BrowserContext:
    """Give the context of the test's page: for a second tab."""
    return window[0]


@pytest.fixture
def watch(window: tuple[BrowserContext, Watch]) -> Watch:
    """Give what the test's pages do wrong, and every address they asked for."""
    return window[1]


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext) -> Page:
    """Give a page in Vietnamese, as wide as a cheap phone; a logged error or a request elsewhere fails the test."""
    return await context.new_page()


@pytest_asyncio.fixture(loop_scope="session")
async def plain_page(browser: Browser) -> AsyncIterator[Page]:
    """Give a page without JavaScript."""
    async with watched(browser, java_script_enabled=False) as (context, _):
        yield await context.new_page()


@pytest_asyncio.fixture(loop_scope="session")
async def narrow_page(browser: Browser) -> AsyncIterator[Page]:
    """Give a page 320 px wide."""
    async with watched(browser, viewport=NARROW_SIZE) as (context, _):
        yield await context.new_page()


@pytest_asyncio.fixture(loop_scope="session")
async def english_page(browser: Browser) -> AsyncIterator[Page]:
    """Give a page of a browser that asks for English."""
    async with watched(browser, locale="en-GB") as (context, _):
        yield await context.new_page()
