"""The hosted page, step by step, to each of its ends: what a person sees and what the portal learns."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Page, expect
from support.chromium import accessible, looked_at
from support.engine import REFUSE
from support.hosted_page import begin, code_field, enter, expect_back, notice, resend_button, type_code
from support.stage import HOTLINE, Stage

from otp_service.core.evidence import OwnershipOutcome
from otp_service.core.ports import DeliveryState


async def test_right_code(stage: Stage, page: Page) -> None:
    """The right code leads back to the portal, which is told the id and reads the verdict with its key."""
    started = await begin(stage, page)
    await expect(page.get_by_role("banner")).to_contain_text("đăng ký tài khoản tại Cổng dịch vụ công tỉnh")
    await expect(page.get_by_text("0•••••0001")).to_be_visible()
    await expect(page.get_by_text("tin nhắn có ghi “lan 1”")).to_be_visible()
    await expect(page.get_by_text("Còn 5 lần nhập.")).to_be_visible()
    await expect(code_field(page)).to_be_focused()
    for name, value in (("autocomplete", "one-time-code"), ("inputmode", "numeric"), ("type", "text")):
        await expect(code_field(page)).to_have_attribute(name, value)
    await accessible(page)
    await looked_at(page, "page-code")
    await type_code(page, await stage.code(started))
    await expect_back(stage, page, started)
    assert "verified" == (await stage.read(started))["status"]


async def test_code_as_people_type_it(stage: Stage, page: Page) -> None:
    """Blanks inside the code do no harm."""
    started = await begin(stage, page)
    code = await stage.code(started)
    await type_code(page, f" {code[:3]} {code[3:]}")
    await expect_back(stage, page, started)


async def test_wrong_code(stage: Stage, page: Page) -> None:
    """A wrong code is told at the top, with the attempts left and which SMS to read, and the field takes the next."""
    started = await begin(stage, page)
    await type_code(page, await stage.wrong_code(started))
    await expect(notice(page)).to_have_text(
        "Mã vừa nhập không đúng. Hãy xem lại tin nhắn có ghi “lan 1” rồi nhập lại. Còn 4 lần nhập.",
    )
    await expect(notice(page)).to_have_role("alert")
    await expect(notice(page)).to_be_focused()
    await expect(code_field(page)).to_have_attribute("aria-invalid", "true")
    await expect(code_field(page)).to_have_accessible_description(re.compile("^Mã vừa nhập không đúng"))
    assert (await page.title()).startswith("Lỗi: ")
    await accessible(page)
    await looked_at(page, "page-wrong-code")
    await type_code(page, await stage.code(started))
    await expect_back(stage, page, started)


@pytest.mark.parametrize("typed", ["12345", "abcdef"])
async def test_what_is_no_code(stage: Stage, page: Page, typed: str) -> None:
    """What cannot be a code is told apart, and costs no attempt."""
    started = await begin(stage, page)
    await type_code(page, typed)
    await expect(notice(page)).to_have_role("alert")
    await expect(page.get_by_text("Còn 5 lần nhập.")).to_be_visible()
    assert 5 == (await stage.read(started))["attempts_left"]
    await looked_at(page, "page-no-code")


async def test_lock(stage: Stage, page: Page) -> None:
    """The fifth wrong code locks: the page says so, takes no more codes and leads back to the portal."""
    started = await begin(stage, page)
    wrong = await stage.wrong_code(started)
    for left in (4, 3, 2, 1):
        await type_code(page, wrong)
        await expect(notice(page)).to_contain_text(f"Còn {left} lần nhập.")
    await type_code(page, wrong)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Đã nhập sai quá số lần cho phép")
    await expect(code_field(page)).to_have_count(0)
    await expect(resend_button(page)).to_have_count(0)
    await expect(page.get_by_role("link", name=HOTLINE)).to_have_attribute("href", "tel:19000000")
    await accessible(page)
    await looked_at(page, "page-locked")
    await page.get_by_role("link", name="Quay lại").click()
    await expect_back(stage, page, started)
    assert "locked" == (await stage.read(started))["status"]


async def test_code_expires_before_the_eyes(stage: Stage, page: Page) -> None:
    """A page that lies open says that the code is over, takes it away and offers another SMS; that one works."""
    await page.clock.install()
    started = await begin(stage, page)
    first = await stage.code(started)
    await expect(page.locator("#valid")).to_have_text("Mã còn hiệu lực 3:00.")
    await stage.advance(60)
    await page.clock.run_for(60_000)
    await expect(page.locator("#valid")).to_have_text(re.compile(r"Mã còn hiệu lực (2:00|1:5\d)\."))
    await stage.advance(121)
    await page.clock.run_for(120_000)
    await expect(notice(page)).to_have_role("alert")
    await expect(code_field(page)).to_have_count(0)
    await accessible(page)
    await looked_at(page, "page-code-over")
    await resend_button(page).click()
    await expect(page.get_by_text("tin nhắn có ghi “lan 2”").first).to_be_visible()
    second = await stage.code(started, 2)
    if first != second:
        await type_code(page, first)
        await expect(notice(page)).to_contain_text("“lan 2”")
    await type_code(page, second)
    await expect_back(stage, page, started)


async def test_old_code_is_refused(stage: Stage, page: Page) -> None:
    """A code typed after its end is told as such, whatever the browser's clock thinks."""
    started = await begin(stage, page)
    await code_field(page).fill(await stage.code(started))
    await stage.advance(181)
    await page.get_by_role("button", name="Xác nhận").click()
    await expect(notice(page)).to_have_role("alert")
    await expect(code_field(page)).to_have_count(0)
    await expect(resend_button(page)).to_be_visible()
    found = await stage.read(started)
    assert (5, "pending") == (found["attempts_left"], found["status"])


async def test_verification_expires(stage: Stage, page: Page) -> None:
    """After a quarter of an hour nothing is left but the way back."""
    started = await begin(stage, page)
    await stage.advance(901)
    await page.reload()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Đã hết thời gian")
    await accessible(page)
    await looked_at(page, "page-expired")
    await page.get_by_role("link", name="Quay lại").click()
    await expect_back(stage, page, started)
    assert "expired" == (await stage.read(started))["status"]


async def test_cancelled_meanwhile(stage: Stage, page: Page) -> None:
    """A code for a verification that the portal has cancelled ends at a page that says so."""
    started = await begin(stage, page)
    await stage.api.cancel(started["id"])
    await type_code(page, await stage.code(started))
    await expect(page.get_by_role("heading", level=1)).to_have_text("Lần xác thực này không còn dùng được")
    await looked_at(page, "page-cancelled")


@pytest.mark.parametrize("outcome", [OwnershipOutcome.MISMATCH, OwnershipOutcome.NOT_AVAILABLE])
async def test_sim_that_is_not_confirmed(stage: Stage, page: Page, outcome: OwnershipOutcome) -> None:
    """Invariant 9: whatever disagreed, a person reads the same: what to do about the SIM, and whom to call."""
    stage.engine.source.outcome = outcome
    started = await begin(stage, page)
    await type_code(page, await stage.code(started))
    await expect(page.get_by_role("heading", level=1)).to_have_text("Chưa xác nhận được SIM chính chủ")
    for words in ("TTTB", "1414", "VNeID", "CCCD mới nhất", HOTLINE):
        await expect(page.get_by_text(words).first).to_be_visible()
    await accessible(page)
    await looked_at(page, "page-not-confirmed")
    await page.get_by_role("link", name="Quay lại").click()
    await expect_back(stage, page, started)
    assert "rejected" == (await stage.read(started))["status"]


async def test_carrier_takes_its_time(stage: Stage, page: Page) -> None:
    """While the carrier is asked the page says so, and goes on by itself when the answer is there."""
    stage.engine.source.gate = asyncio.Event()
    stage.engine.service._inline_deadline_s = 0.05
    started = await begin(stage, page)
    await type_code(page, await stage.code(started))
    await expect(page.get_by_role("heading", level=1)).to_have_text("Đang hỏi nhà mạng")
    await accessible(page)
    await looked_at(page, "page-checking")
    stage.engine.source.gate.set()
    await stage.advance(5)
    await expect_back(stage, page, started)


async def test_delivery_is_followed(stage: Stage, page: Page) -> None:
    """The page says how far the SMS has come, without a refresh."""
    stage.engine.postbox.gate = asyncio.Event()
    started = await begin(stage, page)
    delivery = page.locator("#delivery")
    await expect(delivery).to_have_text("Đang gửi tin nhắn.")
    stage.engine.postbox.gate.set()
    await expect(delivery).to_contain_text("đã chuyển cho nhà mạng")
    await stage.reported(started, DeliveryState.DELIVERED)
    await expect(delivery).to_have_text("Tin nhắn đã đến máy của bạn.")


async def test_sms_that_fails(stage: Stage, page: Page) -> None:
    """An open page tells of a refused SMS once, at the top; another may be asked for at once, and costs none left."""
    stage.engine.postbox.gate = asyncio.Event()
    stage.engine.postbox.answer = REFUSE
    started = await begin(stage, page)
    await expect(page.locator("#delivery")).to_have_text("Đang gửi tin nhắn.")
    stage.engine.postbox.gate.set()
    await expect(notice(page)).to_have_text("Tin nhắn này không gửi được. Hãy bấm “Gửi lại OTP”.")
    await expect(page.get_by_text("không gửi được")).to_have_count(1)
    await expect(page.locator("#sent")).to_contain_text("Nếu số 0•••••0001 vẫn nhận được tin nhắn có ghi “lan 1”")
    await expect(page.locator("#wait")).to_have_text("Bây giờ có thể gửi lại.")
    await accessible(page)
    await looked_at(page, "page-sms-failed")
    stage.engine.postbox.answer = (200, {"id": "m-1"})
    await resend_button(page).click()
    await expect(notice(page)).to_contain_text("“lan 2”")
    await expect(page.get_by_text("Còn 3 lần gửi lại.")).to_be_visible()
    await type_code(page, await stage.code(started, 2))
    await expect_back(stage, page, started)


async def test_undeliverable(stage: Stage, page: Page) -> None:
    """When no SMS could be sent to the end the page says so, and what to look at."""
    stage.engine.postbox.answer = REFUSE
    started = await begin(stage, page, purpose="no_resend")
    await expect(notice(page)).to_contain_text("Tin nhắn này không gửi được.")
    await stage.advance(901)
    await page.reload()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Không gửi được tin nhắn")
    await accessible(page)
    await looked_at(page, "page-undeliverable")
    assert "undeliverable" == (await stage.read(started))["status"]


async def test_without_return_url(stage: Stage, page: Page) -> None:
    """A portal that gave no way back: the last page says that the number is verified."""
    started = await stage.start(return_url=None)
    await enter(stage, page, started)
    await type_code(page, await stage.code(started))
    await expect(page.get_by_role("heading", level=1)).to_have_text("Đã xác thực số điện thoại")
    await expect(page.get_by_role("link", name="Quay lại")).to_have_count(0)
    await accessible(page)
    await looked_at(page, "page-verified")
