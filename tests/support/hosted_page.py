"""What people do on the hosted page, said as they would say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from playwright.async_api import Locator, Page, expect

from support.stage import Stage

CODE, SUBMIT, RESEND = "Mã OTP", "Xác nhận", "Gửi lại OTP"


async def enter(stage: Stage, page: Page, started: Mapping[str, Any], heading: str = "Nhập mã OTP") -> None:
    """Come from the portal's page, by its button; the page that shows has this heading."""
    await page.goto(stage.portal.hand_over(started))
    await page.get_by_role("button", name="Tiếp tục").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(heading)


async def begin(stage: Stage, page: Page, **fields: Any) -> dict[str, Any]:
    """Start a verification as the portal, and come to its page; returns the 201's body."""
    started = await stage.start(**fields)
    await enter(stage, page, started)
    return started


def code_field(page: Page) -> Locator:
    """Return where the code is typed."""
    return page.get_by_label(CODE)


async def type_code(page: Page, code: str) -> None:
    """Type a code and send it."""
    await code_field(page).fill(code)
    await page.get_by_role("button", name=SUBMIT).click()


def resend_button(page: Page) -> Locator:
    """Return "Gửi lại OTP"."""
    return page.get_by_role("button", name=RESEND)


def notice(page: Page) -> Locator:
    """Return the message at the top."""
    return page.locator("#notice")


async def expect_back(stage: Stage, page: Page, started: Mapping[str, Any]) -> None:
    """Expect to be back at the portal, which is told the verification's id and nothing else."""
    await expect(page).to_have_url(f"{stage.portal.back_url}?verification_id={started['id']}")
    if stage.portal.came_back[-1] != {"verification_id": started["id"]}:
        raise AssertionError(f"the portal was told {stage.portal.came_back[-1]}")
