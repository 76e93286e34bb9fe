"""The drop-in element on a portal's own page, in a real browser, under a strict policy: every state there is."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Page, expect
from support.chromium import Watch, accessible, looked_at
from support.element import PortalPage, text
from support.engine import REFUSE
from support.stage import HOTLINE, Stage

from otp_service.core.evidence import OwnershipOutcome
from otp_service.core.ports import DeliveryState


async def test_right_code(stage: Stage, page: Page, watch: Watch) -> None:
    """The right code verifies, the page hears so, and neither token nor code leaves a trace in page or addresses."""
    started = await stage.start()
    portal = await PortalPage.open(page, stage, started)
    ready = await portal.hears("otp-ready")
    await looked_at(page, "element-code")
    await accessible(page)
    await expect(page.get_by_text("đến số 0•••••0001.")).to_be_visible()
    code = await stage.code(started)
    await portal.guess(code)

    assert {"id": started["id"]} == await portal.hears("otp-verified")
    await expect(portal.heading).to_have_text(text("page.verified_heading"))
    await looked_at(page, "element-verified")
    await accessible(page)
    assert ("pending", "+84•••••0001") == (ready["verification"]["status"], ready["verification"]["phone_number"])
    assert "verified" == (await stage.read(started))["status"]
    left = f"{portal.heard} {watch.requests} {await page.content()}"
    assert not [secret for secret in (started["client_token"], code, "result_token") if secret in left]


async def test_wrong_code(stage: Stage, page: Page) -> None:
    """A wrong code says which SMS to read and how many attempts are left; the next digits replace it."""
    started = await stage.start()
    portal = await PortalPage.open(page, stage, started)
    await portal.guess(await stage.wrong_code(started))

    assert {"code": "wrong_code", "retry_after": None, "attempts_left": 4} == await portal.hears("otp-refused")
    said = text("page.said_wrong_code", sms_mark="lan 1", attempts_left=4)
    await expect(page.get_by_role("alert")).to_have_text(said)
    await expect(portal.code).to_be_focused()
    await expect(portal.code).to_have_accessible_description(f"{said} {await sent(portal)}")
    await expect(portal.code).to_have_attribute("aria-invalid", "true")
    await looked_at(page, "element-wrong-code")
    await accessible(page)
    await page.keyboard.type(await stage.code(started))
    await page.keyboard.press("Enter")
    await portal.hears("otp-verified")


async def sent(portal: PortalPage) -> str:
    """Return what the field is described by beside the alarm."""
    return " ".join(await portal.page.locator("#sent, #left").all_inner_texts())


@pytest.mark.parametrize("typed", ["12a", "12345", "1234567"])
async def test_malformed_code(stage: Stage, page: Page, typed: str) -> None:
    """What is no code, or one of another length, costs no attempt; the API's sentence says so, at the field."""
    started = await stage.start()
    portal = await PortalPage.open(page, stage, started)
    await portal.guess(typed)

    refusal = {"code": "invalid_request", "retry_after": None, "attempts_left": None}
    assert refusal == await portal.hears("otp-refused")
    said = "Hãy nhập đúng các chữ số của mã trong tin nhắn. Lần này không bị tính là nhập sai."
    await expect(page.get_by_role("alert")).to_have_text(said)
    await expect(portal.code).to_have_attribute("aria-invalid", "true")
    await expect(portal.code).to_be_focused()
    await expect(page.locator("#left")).to_contain_text(text("page.attempts_left", attempts_left=5))
    assert 5 == (await stage.read(started))["attempts_left"]


async def test_waiting(stage: Stage, narrow_page: Page) -> None:
    """Who waits for the SMS reads where it went, what to look at, and whom to call: as on the hosted page."""
    started = await stage.start()
    portal = await PortalPage.open(narrow_page, stage, started, hotline=HOTLINE)
    await portal.hears("otp-ready")
    shown = await portal.box.inner_text()
    mark = text("page.sms_mark", send_number=1)
    expected = [
        f'{text("page.code_sent", code_length=6, phone="0•••••0001")} {text("page.code_which", sms_mark=mark)}',
        text("page.resend_heading"), text("page.resend"), text("page.resend_advice"),
        text("page.hotline", hotline=HOTLINE),
    ]

    assert expected == [line for line in shown.splitlines() if line in expected]
    help_link = narrow_page.get_by_role("link", name=HOTLINE)
    await expect(help_link).to_have_attribute("href", "tel:19000000")
    await looked_at(narrow_page, "element-waiting-320")
    await accessible(narrow_page)


async def test_no_hotline(stage: Stage, page: Page) -> None:
    """A portal that names no number has nothing about one on its page."""
    portal = await PortalPage.open(page, stage, await stage.start())
    await portal.hears("otp-ready")
    await expect(portal.code).to_be_visible()

    assert "Gọi" not in await portal.box.inner_text()
    await expect(page.get_by_role("link")).to_have_count(0)


async def test_resend(stage: Stage, page: Page) -> None:
    """The countdown follows the service's clock, not the phone's; at its end a new SMS can be asked for."""
    await page.clock.install(time="2001-01-01T00:00:00Z")
    started = await stage.start()
    await stage.advance(18)
    portal = await PortalPage.open(page, stage, started)
    await portal.hears("otp-ready")
    await expect(portal.resend).to_have_accessible_description("Có thể gửi lại sau 0:42. Còn 3 lần gửi lại.")
    await looked_at(page, "element-countdown")
    # Playwright itself would wait until it can be pressed.
    await portal.resend.click(force=True)
    assert [] == [line for line in stage.lines() if line["route"].endswith("/resend")]

    await stage.advance(10)
    await page.clock.run_for(10_000)
    await expect(portal.resend).to_have_accessible_description("Có thể gửi lại sau 0:32. Còn 3 lần gửi lại.")
    await stage.advance(32)
    await page.clock.run_for(32_000)
    await expect(portal.resend).to_have_accessible_description("Bây giờ có thể gửi lại. Còn 3 lần gửi lại.")
    await looked_at(page, "element-resend")
    await portal.resend.click()

    assert {"send_number": 2, "sends_left": 2} == await portal.hears("otp-resent")
    await expect(page.get_by_role("status")).to_have_text(text("page.said_resent", sms_mark="lan 2"))
    await expect(portal.code).to_be_focused()
    assert "“lan 2”" in await sent(portal)
    await accessible(page)
    await portal.guess(await stage.code(started, 2))
    await portal.hears("otp-verified")


async def test_code_expires(stage: Stage, page: Page) -> None:
    """A code whose time is over is said to be, and a guess at it points to the resend."""
    await page.clock.install()
    started = await stage.start()
    portal = await PortalPage.open(page, stage, started)
    await portal.hears("otp-ready")
    await stage.advance(181)
    await page.clock.run_for(181_000)
    await expect(page.locator("#left")).to_contain_text(text("page.element_code_over"))
    assert text("page.resend_heading") not in await portal.box.inner_text()
    assert text("page.resend_advice") not in await portal.box.inner_text()
    await portal.guess(await stage.code(started))

    assert "code_expired" == (await portal.hears("otp-refused"))["code"]
    await expect(page.get_by_role("alert")).to_contain_text("Hãy bấm “Gửi lại OTP” để nhận mã mới.")
    await looked_at(page, "element-code-expired")


async def test_delivery(stage: Stage, page: Page) -> None:
    """What becomes of the SMS is told as it happens."""
    stage.engine.postbox.gate = asyncio.Event()
    started = await stage.start()
    portal = await PortalPage.open(page, stage, started)
    status = page.get_by_role("status")
    await expect(status).to_have_text(text("page.delivery_queued"))
    stage.engine.postbox.gate.set()
    await expect(status).to_have_text(text("page.delivery_sent"))
    await stage.reported(started, DeliveryState.DELIVERED)
    await expect(status).to_have_text(text("page.delivery_delivered"))

    assert [
        {"delivery": "sent", "send_number": 1}, {"delivery": "delivered", "send_number": 1},
    ] == portal.details("otp-delivery")


async def test_refused_sms(stage: Stage, page: Page) -> None:
    """An SMS that no gateway took opens the resend at once."""
    stage.engine.postbox.next = [REFUSE]
    started = await stage.start()
    portal = await PortalPage.open(page, stage, started)
    await expect(page.get_by_role("status")).to_have_text(text("page.delivery_failed"))
    failed = text("page.code_failed", phone="0•••••0001", sms_mark=text("page.sms_mark", send_number=1))
    await expect(page.locator("#sent")).to_have_text(failed)
    await looked_at(page, "element-sms-failed")
    await portal.resend.click()
    await portal.hears("otp-resent")
    await portal.guess(await stage.code(started, 2))
    await portal.hears("otp-verified")


async def test_expired(stage: Stage, page: Page) -> None:
    """A verification whose time is over says so by itself and shows the portal's way on."""
    await page.clock.install()
    started = await stage.start()
    portal = await PortalPage.open(page, stage, started)
    await portal.hears("otp-ready")
    again = page.get_by_role("link", name="Làm lại từ đầu")
    await expect(again).to_be_hidden()
    await stage.advance(901)
    await page.clock.run_for(20_000)

    assert {"id": started["id"]} == await portal.hears("otp-expired")
    await expect(portal.heading).to_have_text(text("page.expired_heading"))
    await expect(page.get_by_role("status")).to_have_text(text("statuses.expired"))
    await expect(again).to_be_visible()
    await expect(portal.code).to_be_hidden()
    await looked_at(page, "element-expired")
    await accessible(page)


async def test_locked(stage: Stage, page: Page) -> None:
    """The fifth wrong code ends it; the focus goes to what is said then."""
    started = await stage.start()
    portal = await PortalPage.open(page, stage, started)
    wrong = await stage.wrong_code(started)
    for attempt in range(1, 6):
        await portal.guess(wrong)
        await portal.hears("otp-refused", attempt)

    assert {"id": started["id"]} == await portal.hears("otp-locked")
    assert [4, 3, 2, 1, 0] == [detail["attempts_left"] for detail in portal.details("otp-refused")]
    await expect(portal.heading).to_have_text(text("page.locked_heading"))
    await expect(portal.heading).to_be_focused()
    await expect(page.get_by_role("alert")).to_be_hidden()
    await looked_at(page, "element-locked")


@pytest.mark.parametrize("outcome", [OwnershipOutcome.MISMATCH, OwnershipOutcome.NOT_AVAILABLE])
async def test_wrong_sim(stage: Stage, narrow_page: Page, outcome: OwnershipOutcome) -> None:
    """Invariant 9: whatever the source said, the page says what to do and never what disagreed."""
    stage.engine.source.outcome = outcome
    started = await stage.start()
    portal = await PortalPage.open(narrow_page, stage, started, hotline=HOTLINE)
    await portal.guess(await stage.code(started))

    assert {"id": started["id"], "reason": "ownership_not_confirmed"} == await portal.hears("otp-rejected")
    await expect(portal.heading).to_have_text(text("page.rejected_heading"))
    steps = await narrow_page.get_by_role("listitem").all_inner_texts()
    assert [
        text(f"page.{step}") for step in ("step_tttb", "step_vneid", "step_carrier", "step_again")
    ] == steps
    await expect(narrow_page.get_by_role("link", name=HOTLINE)).to_have_text(text("page.hotline", hotline=HOTLINE))
    await expect(narrow_page.get_by_role("link", name="Làm lại từ đầu")).to_be_visible()
    await looked_at(narrow_page, "element-rejected-320")
    await accessible(narrow_page)


async def test_checking(stage: Stage, page: Page) -> None:
    """While the source has not answered the page waits, and goes on by itself when it has."""
    stage.engine.source.gate = asyncio.Event()
    started = await stage.start()
    portal = await PortalPage.open(page, stage, started)
    await portal.guess(await stage.code(started))
    assert {"id": started["id"]} == await portal.hears("otp-checking")
    await expect(portal.heading).to_have_text(text("page.checking_heading"))
    await expect(page.get_by_role("status")).to_contain_text(text("statuses.checking_ownership"))
    await looked_at(page, "element-checking")
    await accessible(page)
    stage.engine.source.gate.set()
    await stage.advance(10)

    await portal.hears("otp-verified")
    assert ["otp-checking", "otp-verified"] == portal.names()[-2:]


async def test_asked_before(stage: Stage, page: Page) -> None:
    """Where ownership is asked before the code, the page waits without a field and then asks for the code."""
    stage.engine.source.gate = asyncio.Event()
    started = await stage.start(purpose="careful_registration")
    portal = await PortalPage.open(page, stage, started)
    await expect(page.get_by_role("status")).to_contain_text(text("page.checking_before"))
    stage.engine.source.gate.set()
    await stage.advance(10)
    await portal.guess(await stage.code(started))

    await portal.hears("otp-verified")


async def test_undeliverable(stage: Stage, page: Page) -> None:
    """Where no SMS could be sent the page says what to look at."""
    stage.engine.postbox.answer = REFUSE
    started = await stage.start(purpose="no_resend")
    await stage.until(started, delivery="failed")
    portal = await PortalPage.open(page, stage, started)
    await portal.hears("otp-ready")
    await stage.advance(901)

    assert {"id": started["id"]} == await portal.hears("otp-undeliverable")
    await expect(page.get_by_role("status")).to_contain_text(text("page.undeliverable_advice"))
    await looked_at(page, "element-undeliverable")


async def test_cancelled(stage: Stage, page: Page) -> None:
    """A newer start ends the older one, and its page says so."""
    started = await stage.start()
    portal = await PortalPage.open(page, stage, started)
    await portal.hears("otp-ready")
    await stage.advance(61)
    await stage.start()

    assert {"id": started["id"]} == await portal.hears("otp-cancelled")
    await expect(portal.heading).to_have_text(text("page.cancelled_heading"))
