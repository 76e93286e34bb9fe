"""A portal's own page with ``<otp-verification>`` on it, under a strict policy, and the events that the page hears."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from playwright.async_api import Locator, Page

from otp_service.web.element import script
from support.engine import _catalogue
from support.processes import eventually
from support.stage import Stage

EVENTS = (
    "otp-ready", "otp-delivery", "otp-resent", "otp-refused", "otp-checking", "otp-verified", "otp-rejected",
    "otp-expired", "otp-locked", "otp-cancelled", "otp-undeliverable", "otp-error", "otp-proof",
)
#: Nothing but the script and the calls that it makes; no style sheet of the page's own, no markup made from strings.
STRICT = (
    "default-src 'none'; script-src {base}; connect-src {base}; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_LISTEN = """(() => {
  for (const name of %s) document.addEventListener(name, (event) => otpHeard(name, event.detail));
})()"""


class PortalPage:
    """
    A portal's page with the element.

    Attributes:
        page: the browser's.
        heard: the events in order, each with its detail.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.heard: list[tuple[str, Any]] = []

    @classmethod
    async def open(
        cls, page: Page, stage: Stage, started: Mapping[str, Any] | None = None, *, policy: str = STRICT,
        html: str = "", **attributes: str,
    ) -> PortalPage:
        """
        Open a page whose element is about ``started``.

        ``attributes`` are further ones, underscores for hyphens; ``html`` stands before the script.
        """
        self = cls(page)
        await page.expose_function("otpHeard", lambda name, detail: self.heard.append((name, detail)))
        await page.add_init_script(_LISTEN % list(EVENTS))
        if started is not None:
            attributes |= {"verification_id": started["id"], "client_token": started["client_token"]}
        written = "".join(f' {name.replace("_", "-")}="{escape(value)}"' for name, value in attributes.items())
        body = (
            f'<body><main><h1>Đăng ký</h1><otp-verification{written}><a href="/page/0">Mở trang xác thực</a>'
            f'<a slot="ended" href="/page/0">Làm lại từ đầu</a></otp-verification></main>{html}'
            f'<script src="{stage.base}/element.js"></script></body>'
        )
        url = stage.portal.page(body, Content_Security_Policy=policy.format(base=stage.base))
        await page.goto(url)
        return self

    @property
    def code(self) -> Locator:
        """The field of the code."""
        return self.page.locator("otp-verification").get_by_role("textbox")

    @property
    def confirm(self) -> Locator:
        """The button under it."""
        return self.page.get_by_role("button", name="Xác nhận")

    @property
    def resend(self) -> Locator:
        """The other button."""
        return self.page.get_by_role("button", name="Gửi lại OTP")

    @property
    def box(self) -> Locator:
        """All that the element shows."""
        return self.page.locator("otp-verification section")

    @property
    def heading(self) -> Locator:
        """What the element says first."""
        return self.page.locator("otp-verification").get_by_role("heading", level=2)

    async def guess(self, code: str) -> None:
        """Type a code and confirm it."""
        await self.code.fill(code)
        await self.confirm.click()

    async def hears(self, name: str, times: int = 1) -> Any:
        """Wait for an event; returns its newest detail."""
        await eventually(lambda: len(self.details(name)) >= times, name)
        return self.details(name)[-1]

    def details(self, name: str) -> list[Any]:
        """Return the details of all events of one name."""
        return [detail for heard, detail in self.heard if heard == name]

    def names(self) -> list[str]:
        """Return the names of the events, in order."""
        return [name for name, _ in self.heard]


def text(key: str, locale: str = "vi", **values: object) -> str:
    """Return a sentence of the element as it is shown."""
    assert key in script.TEXTS
    return _catalogue().page(locale)[key].format(**values)
