"""
Debian's Chromium, driven by Playwright, and what every page is held to.

A page that logs an error, breaks its Content-Security-Policy, raises in a script or asks any host but this machine
fails its test.  ``looked_at`` writes screenshots to ``build/screenshots``; ``accessible`` runs axe-core's rules.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, async_playwright

_ROOT = Path(__file__).resolve().parents[2]
_SCREENSHOTS = _ROOT / "build" / "screenshots"
_AXE = _ROOT / ".cache" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
_AXE_S = 30.0
_WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
_ARGUMENTS = [
    # Containers have no user namespaces for its sandbox, and it sees nothing but these tests' own pages.
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
    # Whatever a page asks for, nothing but this machine is there.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
_HERE = frozenset({"127.0.0.1", "localhost"})
#: Chromium says this of every answer from 400 on, whatever the page does with it.
_STATUS = "Failed to load resource: the server responded with a status of"

#: A cheap phone, upright.
PHONE_SIZE = {"width": 360, "height": 740}
#: The narrowest that WCAG 2.2 (1.4.10 Reflow) asks for: 1280 CSS pixels at 400 %.
NARROW_SIZE = {"width": 320, "height": 640}


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run one browser.  ``CHROMIUM`` names another executable than the one on PATH."""
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if executable is None:
        raise AssertionError("Chromium is missing: run make setup, which installs Debian's package chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


class Watch:
    """
    What the pages of one context did wrong.

    Attributes:
        problems: one sentence each.
        requests: the address of every request, in order.
    """

    def __init__(self, context: BrowserContext) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        context.on("console", self._console)
        context.on("weberror", lambda error: self.problems.append(f"script: {error.error}"))
        context.on("request", self._request)

    def forgive(self, text: str) -> None:
        """Drop the problems that contain ``text``: the test has meant them; there must be one."""
        kept = [problem for problem in self.problems if text not in problem]
        if kept == self.problems:
            raise AssertionError(f"nothing to forgive about {text!r}: {self.problems}")
        self.problems[:] = kept

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith(_STATUS):
            self.problems.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        self.requests.append(request.url)
        parts = urlsplit(request.url)
        if parts.scheme not in {"data", "blob"} and parts.hostname not in _HERE:
            self.problems.append(f"another host: {request.url}")


@asynccontextmanager
async def watched(browser: Browser, **options: Any) -> AsyncIterator[tuple[BrowserContext, Watch]]:
    """Open a context of its own (cookies, history); ``options`` are Playwright's.  Problems fail at its end."""
    options.setdefault("viewport", PHONE_SIZE)
    options.setdefault("locale", "vi-VN")
    context = await browser.new_context(**options)
    context.set_default_timeout(10_000)
    watch = Watch(context)
    try:
        yield context, watch
    finally:
        await context.close()
    _refuse(watch.problems)


async def accessible(page: Page) -> None:
    """
    Hold a page, as it stands now, to WCAG 2.2 A and AA (axe-core), and to not scrolling sideways.

    The page must be one with JavaScript: axe-core's promises are never kept in one without.
    """
    if not _AXE.is_file():
        raise AssertionError(f"axe-core is missing in {_AXE.parent}: run make setup, which does npm ci")
    if not await page.evaluate("() => 'axe' in window"):
        # Evaluated over the debugger, so that the page's policy need not allow it.
        await page.evaluate(_AXE.read_text("utf-8"))
    async with asyncio.timeout(_AXE_S):
        found = await page.evaluate(
            "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})", _WCAG,
        )
    problems = [
        f"{one['id']}: {one['help']}: {node['html']}: {node['failureSummary']}"
        for one in found["violations"] for node in one["nodes"]
    ]
    if not found["passes"]:
        problems.append("axe-core has looked at nothing")
    width, room = await page.evaluate("() => [document.documentElement.scrollWidth, window.innerWidth]")
    if width > room:
        problems.append(f"the page is {width} px wide in a window of {room} px")
    _refuse(problems)


def _refuse(problems: list[str]) -> None:
    if problems:
        raise AssertionError("\n".join(problems))


async def looked_at(page: Page, name: str) -> None:
    """Write a screenshot of the whole page to ``build/screenshots/<name>.png``."""
    _SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=_SCREENSHOTS / f"{name}.png", full_page=True, animations="disabled")
