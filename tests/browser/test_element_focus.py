"""Whom the drop-in element takes to its field, and whom it leaves where they are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect
from support.element import PortalPage
from support.stage import Stage

FIELD = '<label>Ghi chú <input id="elsewhere"></label><button id="go">Tiếp tục</button>'


async def given(page: Page, started: Mapping[str, Any], then: str = "") -> None:
    """Give the element its verification, as the portal's script does; ``then`` is what it does next."""
    await page.locator("otp-verification").evaluate(
        f"(one, [id, token]) => {{ one.verificationId = id; one.clientToken = token; {then} }}",
        [started["id"], started["client_token"]],
    )


async def test_after_a_press(stage: Stage, page: Page) -> None:
    """Who has pressed a button that went away is in the field when it appears, and can type the code at once."""
    portal = await PortalPage.open(page, stage, html=FIELD)
    await page.evaluate("() => go.addEventListener('click', () => { go.hidden = true; elsewhere.hidden = true })")
    await page.locator("#go").click()
    started = await stage.start()
    await given(page, started)
    await expect(portal.code).to_be_focused()
    await page.keyboard.type(await stage.code(started))
    await page.keyboard.press("Enter")

    await portal.hears("otp-verified")


@pytest.mark.parametrize("then", ["", "one.focus()"])
async def test_typing_elsewhere(stage: Stage, page: Page, then: str) -> None:
    """Who has begun to type somewhere else goes on typing there, also where the page had asked for the focus."""
    answer = asyncio.Event()

    async def late(route: Route) -> None:
        await answer.wait()
        await route.continue_()

    portal = await PortalPage.open(page, stage, html=FIELD)
    await page.route("**/v1/verifications/*", late)
    await given(page, await stage.start(), then)
    await page.locator("#elsewhere").click()
    await page.keyboard.type("a")
    answer.set()
    await portal.code.wait_for()
    await page.keyboard.type("bc")

    await expect(page.locator("#elsewhere")).to_have_value("abc")
    await expect(page.locator("#elsewhere")).to_be_focused()


async def test_nobody_did_anything(stage: Stage, page: Page) -> None:
    """A page that opens with the element in it stays where it is, without the keyboard of the phone over it."""
    portal = await PortalPage.open(page, stage, await stage.start())
    await portal.hears("otp-ready")

    await expect(portal.code).to_be_visible()
    await expect(portal.code).not_to_be_focused()


@pytest.mark.parametrize("early", [True, False])
async def test_asked_for(stage: Stage, page: Page, *, early: bool) -> None:
    """`focus()` takes from where the person was into the field, also when the field is yet to come."""
    portal = await PortalPage.open(page, stage, html=FIELD)
    await page.locator("#go").click()
    await given(page, await stage.start(), "one.focus()" if early else "")
    await portal.code.wait_for()
    if not early:
        await expect(page.locator("#go")).to_be_focused()
        await page.evaluate("() => document.querySelector('otp-verification').focus()")

    await expect(portal.code).to_be_focused()


async def test_asked_for_another(stage: Stage, page: Page) -> None:
    """`focus()` after another verification was given is about the field of that one."""
    await page.add_init_script("Object.defineProperty(navigator, 'userActivation', {value: undefined})")
    first = await stage.start()
    portal = await PortalPage.open(page, stage, first, html=FIELD)
    await portal.guess(await stage.code(first))
    await portal.hears("otp-verified")
    await page.locator("#go").click()
    await given(page, await stage.start("0900000002", "phone_only"), "one.focus()")

    await expect(portal.code).to_be_focused()


async def test_asked_for_at_the_end(stage: Stage, page: Page) -> None:
    """`focus()` where there is no field is about what is told."""
    started = await stage.start()
    portal = await PortalPage.open(page, stage, started, html=FIELD)
    await portal.guess(await stage.code(started))
    await portal.hears("otp-verified")
    await page.locator("#go").click()
    await page.evaluate("() => document.querySelector('otp-verification').focus()")

    await expect(portal.heading).to_be_focused()


async def test_the_wait_before_the_code(stage: Stage, page: Page) -> None:
    """Where ownership is asked before the code the person is taken to the field when it appears."""
    stage.engine.source.gate = asyncio.Event()
    portal = await PortalPage.open(page, stage, html=FIELD)
    await page.get_by_role("heading", level=1).click()
    await given(page, await stage.start(purpose="careful_registration"))
    await expect(portal.heading).to_have_text("Đang hỏi nhà mạng")
    stage.engine.source.gate.set()
    await stage.advance(10)

    await expect(portal.code).to_be_focused()
