"""What the drop-in element and the page around it have to do with each other."""

from __future__ import annotations

import asyncio

from playwright.async_api import Page, expect
from support.chromium import Watch, looked_at
from support.element import PortalPage, text
from support.stage import Stage


async def test_english(stage: Stage, page: Page) -> None:
    """The language is the attribute's, else the page's, and can be changed while the page is open."""
    started = await stage.start(locale="en")
    portal = await PortalPage.open(page, stage, started, locale="en")
    await expect(portal.heading).to_have_text(text("page.code_heading", "en"))
    await looked_at(page, "element-english")
    await portal.code.fill("12")
    element = page.locator("otp-verification")
    await element.evaluate("one => { one.locale = null }")
    await expect(portal.heading).to_have_text(text("page.code_heading"))
    await expect(portal.code).to_have_value("12")
    assert "vi" == await element.evaluate("one => one.locale")


async def test_properties_before_the_script(stage: Stage, page: Page) -> None:
    """What a page sets before the script has arrived counts; changed, the element begins again."""
    first, second = await stage.start(), await stage.start("0900000002", "phone_only")
    await page.add_init_script("""new MutationObserver((_, seen) => {
          const one = document.querySelector("otp-verification");
          if (!one) return;
          seen.disconnect();
          [one.verificationId, one.clientToken] = %s;
        }).observe(document, {childList: true, subtree: true});""" % [first["id"], first["client_token"]])
    portal = await PortalPage.open(page, stage)
    assert first["id"] == (await portal.hears("otp-ready"))["verification"]["id"]
    await page.locator("otp-verification").evaluate(
        "(one, [id, token]) => { one.verificationId = id; one.clientToken = token }",
        [second["id"], second["client_token"]],
    )

    assert second["id"] == (await portal.hears("otp-ready", 2))["verification"]["id"]
    assert first["client_token"] not in await page.content()


async def test_removed(stage: Stage, page: Page, watch: Watch) -> None:
    """An element that is taken out of the page asks nothing more; put in again, it goes on."""
    await page.clock.install()
    started = await stage.start()
    portal = await PortalPage.open(page, stage, started)
    await portal.hears("otp-ready")
    await page.evaluate("() => { window.one = document.querySelector('otp-verification'); one.remove() }")
    asked = len(watch.requests)
    await page.clock.run_for(60_000)
    assert asked == len(watch.requests)
    await page.evaluate("() => document.querySelector('main').append(one)")
    await portal.hears("otp-ready", 2)


async def test_without_script(stage: Stage, plain_page: Page) -> None:
    """Without JavaScript what stands inside the element is shown: a way to the hosted page."""
    url = stage.portal.page("<body><otp-verification><a href='/x'>Mở trang xác thực</a></otp-verification></body>")
    await plain_page.goto(url)

    await expect(plain_page.get_by_role("link", name="Mở trang xác thực")).to_be_visible()


async def test_old_browser(stage: Stage, page: Page) -> None:
    """A browser without constructable style sheets gets an ordinary one."""
    await page.add_init_script("window.CSSStyleSheet = function () { throw new TypeError('Illegal constructor') }")
    portal = await PortalPage.open(
        page, stage, await stage.start(), policy="default-src 'none'; script-src {base}; connect-src {base}; "
        "style-src 'unsafe-inline'",
    )
    await portal.hears("otp-ready")

    assert "44px" == await portal.code.evaluate("one => getComputedStyle(one).minHeight")


async def test_webotp(stage: Stage, page: Page) -> None:
    """A browser that reads the code out of the SMS hands it over, and nobody types."""
    await page.expose_function("smsArrives", lambda: arrived)
    await page.add_init_script("""window.OTPCredential ??= class {};
        navigator.credentials.get = async ({otp, signal}) => {
          if (otp.transport[0] !== "sms" || !signal) throw new Error("not asked as WebOTP is");
          return {code: await smsArrives()};
        };""")
    arrived: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    started = await stage.start()
    portal = await PortalPage.open(page, stage, started)
    await portal.hears("otp-ready")
    arrived.set_result(await stage.code(started))

    await portal.hears("otp-verified")
