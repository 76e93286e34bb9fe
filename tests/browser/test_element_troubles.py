"""The drop-in element when something goes wrong: lost answers, impatient people, wrong clocks, strangers."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from playwright.async_api import Browser, BrowserContext, Page, Route, expect
from support.chromium import Watch, looked_at, watched
from support.element import PortalPage, text
from support.processes import eventually
from support.stage import Stage, staged


async def test_resend_too_soon(stage: Stage, page: Page) -> None:
    """Where a proxy's clock runs ahead a resend is refused, and the page counts down what the refusal says."""
    async def a_minute_on(route: Route) -> None:
        response = await route.fetch()
        now = parsedate_to_datetime(response.headers["date"]) + timedelta(seconds=61)
        await route.fulfill(response=response, headers={**response.headers, "date": format_datetime(now, usegmt=True)})

    started = await stage.start()
    await page.route(f"**/v1/verifications/{started['id']}", a_minute_on)
    portal = await PortalPage.open(page, stage, started)
    await portal.resend.click()

    assert {"code": "resend_too_soon", "retry_after": 60, "attempts_left": None} == await portal.hears("otp-refused")
    await expect(page.get_by_role("alert")).to_contain_text("Hãy chờ 60 giây rồi bấm")
    reads = "/v1/verifications/{id}"
    await eventually(lambda: [line["route"] for line in stage.lines()].count(reads) > 2, "it has looked again")
    await expect(portal.resend).to_have_accessible_description(re.compile(r"^Có thể gửi lại sau (1:00|0:5[0-9])\."))
    await page.unroute_all(behavior="wait")
    assert 1 == (await stage.read(started))["send_number"]


async def test_two_tabs(stage: Stage, page: Page, context: BrowserContext) -> None:
    """What is verified in one tab is verified in the other as soon as it is looked at."""
    started = await stage.start()
    first = await PortalPage.open(page, stage, started)
    second = await PortalPage.open(await context.new_page(), stage, started)
    await second.guess(await stage.code(started))
    await second.hears("otp-verified")

    await first.page.bring_to_front()
    await first.hears("otp-verified")


async def test_double_click(stage: Stage, page: Page) -> None:
    """Who clicks twice guesses once."""
    started = await stage.start()
    portal = await PortalPage.open(page, stage, started)
    await portal.code.fill(await stage.wrong_code(started))
    await portal.confirm.dblclick()
    await portal.hears("otp-refused")

    assert 4 == (await stage.read(started))["attempts_left"]
    assert 1 == len([line for line in stage.lines() if (line["method"], line["status"]) == ("POST", 422)])


@pytest.mark.parametrize("right", [True, False])
async def test_lost_reply(stage: Stage, page: Page, watch: Watch, *, right: bool) -> None:
    """Invariant 11: a guess whose answer is lost is made again with the same key, and counts once."""
    started = await stage.start()
    portal = await PortalPage.open(page, stage, started)
    keys = await lose_the_first_answer(page, "**/check")
    await portal.guess(await stage.code(started) if right else await stage.wrong_code(started))
    await portal.hears("otp-verified" if right else "otp-refused")

    assert (2, 1) == (len(keys), len(set(keys)))
    assert right or 4 == (await stage.read(started))["attempts_left"]
    watch.forgive("ERR_FAILED")


async def test_lost_resend(stage: Stage, page: Page, watch: Watch) -> None:
    """Invariant 11: a resend whose answer is lost sends one SMS."""
    started = await stage.start()
    await stage.advance(61)
    portal = await PortalPage.open(page, stage, started)
    keys = await lose_the_first_answer(page, "**/resend")
    await portal.resend.click()
    assert {"send_number": 2, "sends_left": 2} == await portal.hears("otp-resent")

    assert (2, 1) == (len(keys), len(set(keys)))
    assert 2 == (await stage.read(started))["send_number"]
    watch.forgive("ERR_FAILED")


async def lose_the_first_answer(page: Page, path: str) -> list[str]:
    """Let the first call reach the service and lose its answer; returns the keys of all calls, as they come."""
    keys: list[str] = []

    async def lose(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) > 1:
            await route.continue_()
            return
        await route.fetch()
        await route.abort()

    await page.route(path, lose)
    return keys


async def test_press_again(stage: Stage, page: Page, watch: Watch) -> None:
    """Invariant 11: who presses again after all answers were lost repeats the same guess, and is told that he may."""
    await page.clock.install()
    started = await stage.start()
    portal = await PortalPage.open(page, stage, started)
    await portal.hears("otp-ready")
    keys: list[str] = []

    async def lose(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        await route.fetch()
        await route.abort()

    async def watched_only(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        await route.continue_()

    await page.route("**/check", lose)
    await portal.guess(await stage.wrong_code(started))
    await passing(page, lambda: portal.details("otp-error"))
    assert [{"code": "offline"}] == portal.details("otp-error")
    await expect(page.get_by_role("alert")).to_have_text(text("page.element_press_again"))
    await looked_at(page, "element-press-again")
    await page.unroute("**/check")
    await page.route("**/check", watched_only)
    await portal.confirm.click()

    assert 4 == (await portal.hears("otp-refused"))["attempts_left"]
    assert (5, 1) == (len(keys), len(set(keys)))
    watch.forgive("ERR_FAILED")


async def passing(page: Page, reached: Callable[[], object]) -> None:
    """Let the page's time pass, half a second at a time, until something is reached."""
    async def later() -> bool:
        await page.clock.run_for(500)
        return bool(reached())

    await eventually(later, "reached")


async def test_store_down(stage: Stage, page: Page) -> None:
    """Invariant 8: while the service promises nothing the page says so and goes on when it does again."""
    started = await stage.start()
    portal = await PortalPage.open(page, stage, started)
    await portal.hears("otp-ready")

    async def down(route: Route) -> None:
        headers = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}
        await route.fulfill(status=503, headers={"Retry-After": "30", **headers}, body="<p>")

    await page.route("**/check", down)
    await portal.guess(await stage.code(started))
    assert {"code": "unavailable"} == await portal.hears("otp-error")
    await page.unroute("**/check")
    await portal.confirm.click()
    await portal.hears("otp-verified")


async def test_offline(stage: Stage, page: Page, watch: Watch) -> None:
    """A page without a connection says so, and goes on at once when it is back."""
    await page.clock.install(time=0)
    started = await stage.start()
    portal = await PortalPage.open(page, stage, started)
    await portal.hears("otp-ready")
    await page.context.set_offline(True)
    await passing(page, lambda: portal.details("otp-error"))
    assert [{"code": "offline"}] == portal.details("otp-error")
    await expect(page.get_by_role("alert")).to_have_text(text("page.offline"))
    lost: list[str] = []
    page.on("requestfailed", lambda request: lost.append(request.url))
    await page.clock.pause_at(3600)
    await eventually(lambda: lost, "one more is lost; from here on no time passes")
    await page.context.set_offline(False)
    await expect(page.get_by_role("alert")).to_be_hidden()
    watch.forgive("ERR_INTERNET_DISCONNECTED")


async def test_hidden(stage: Stage, page: Page, watch: Watch) -> None:
    """A page that nobody looks at asks nothing, and asks at once when somebody does again."""
    await page.clock.install(time=0)
    await page.add_init_script(
        "Object.defineProperty(document, 'hidden', {get: () => window.away ?? false});"
        "window.leave = (away) => { window.away = away; document.dispatchEvent(new Event('visibilitychange')) };",
    )
    started = await stage.start()
    portal = await PortalPage.open(page, stage, started)
    await portal.hears("otp-ready")
    await page.evaluate("() => leave(true)")
    # What it was about to ask when it was left may still be asked.
    await page.clock.run_for(15_000)
    asked = len(watch.requests)
    await page.clock.pause_at(800)
    await stage.advance(901)
    assert asked == len(watch.requests)
    await page.evaluate("() => leave(false)")

    await portal.hears("otp-expired")


@pytest.mark.parametrize(("changes", "code"), [
    ({"client_token": "vt_none"}, "unauthenticated"), ({"id": "0-k1-none"}, "unauthenticated"),
])
async def test_nothing_to_show(stage: Stage, page: Page, changes: dict[str, str], code: str) -> None:
    """Invariant 9: an unknown id and a token of another verification look the same: start again."""
    started = await stage.start()
    portal = await PortalPage.open(page, stage, started | changes)

    assert {"code": code} == await portal.hears("otp-error")
    await expect(portal.heading).to_have_text(text("page.gone_heading"))
    assert ["otp-error"] == portal.names()


async def test_stranger_origin(valkey_url: str, browser: Browser) -> None:
    """A page of an origin that the client did not register gets nothing to read."""
    origins = frozenset({"https://portal.example.vn"})
    async with staged(valkey_url, origins=origins) as stage, watched(browser) as (context, watch):
        portal = await PortalPage.open(await context.new_page(), stage, await stage.start())
        assert {"code": "offline"} == await portal.hears("otp-error")
        assert ["otp-error"] == portal.names()
        watch.forgive("CORS policy")
        watch.forgive("ERR_FAILED")
