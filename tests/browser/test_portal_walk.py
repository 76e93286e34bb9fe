"""
The whole way through the demo, as ``make run`` starts it: the sample portal, the hosted page and the phone beside it.

Nothing here knows a key, a code or an id: what a person reads in the browser is all there is.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Locator, Page, expect
from support.chromium import accessible, looked_at
from support.demo import Demo
from support.processes import Installation

FIRST_PASSWORD, SECOND_PASSWORD = "Mat-Khau-1", "Mat-Khau-2"
_CODE = re.compile(r"(?<![0-9])[0-9]{6}(?![0-9])")


@dataclass(frozen=True)
class Person:
    """Somebody of ``config/sample/subscribers.csv``."""

    phone_number: str
    id_number: str
    full_name: str
    birth_date: str

    def form(self) -> dict[str, str]:
        """Return what is typed into the registration form."""
        return {
            "Số CCCD hoặc CMND": self.id_number, "Họ và tên": self.full_name, "Ngày sinh": self.birth_date,
            "Số điện thoại": self.phone_number,
        }


A = Person("0900000001", "052090000001", "Nguyễn Văn A", "01/01/1990")
B = Person("0900000002", "052190000002", "Trần Thị B", "02/02/1990")
C = Person("0900000003", "210000003", "Lê Văn C", "03/03/1990")
H = Person("0900000008", "064085000008", "Bùi Văn H", "08/08/1985")
#: The SIM is another person's.
NOT_MINE = Person("0900000005", "052090000009", "Phạm Văn Đ", "05/05/1990")


#: A second SMS may follow after a second, and that all of this comes from one address is no sign of abuse.
_PATIENT = {
    "LIMITS__PHONE_COOLDOWN__PERIOD": "1s", "LIMITS__ADDRESS_UNPROVEN_SENDS__COUNT": "1000",
    "LIMITS__ADDRESS_UNPROVEN_SENDS__BURST": "1000",
}
_WARY = _PATIENT | {"LIMITS__ADDRESS_UNPROVEN_SENDS__COUNT": "1", "LIMITS__ADDRESS_UNPROVEN_SENDS__BURST": "1"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    """Give one demo for all tests."""
    async with Installation(tmp_path_factory.mktemp("walk") / "site", **_PATIENT) as site:
        yield Demo(site, await site.demo())


@pytest_asyncio.fixture(loop_scope="session")
async def wary_demo(tmp_path: Path) -> AsyncIterator[Demo]:
    """Give a demo that takes the second start from one address for the beginning of a flood."""
    async with Installation(tmp_path / "site", **_WARY) as site:
        yield Demo(site, await site.demo())


class Citizen:
    """A person with a browser window and, in another tab, the phone."""

    def __init__(self, page: Page, portal: str, phone: Page) -> None:
        self.page, self.portal, self.phone = page, portal, phone
        self._read = 0

    async def pick_up(self, person: Person, base: str) -> None:
        """Look at the phone of a person; what stands there already is old."""
        number = f"{person.phone_number[:4]} {person.phone_number[4:7]} {person.phone_number[7:]}"
        await self.phone.goto(f"{base}/demo/phone#{quote(number)}")
        self._read = await self._messages.count()

    async def new_code(self) -> str:
        """Wait for the next SMS and return its code."""
        self._read += 1
        await expect(self._messages).to_have_count(self._read, timeout=15_000)
        return str(_CODE.findall(await self._messages.last.inner_text())[0])

    async def fill(self, fields: Mapping[str, str]) -> None:
        """Type into the fields of these labels."""
        for label, text in fields.items():
            await self.page.get_by_label(label, exact=True).fill(text)

    async def press(self, name: str) -> None:
        """Press a button."""
        await self.page.get_by_role("button", name=name, exact=True).click()

    async def sees(self, heading: str) -> None:
        """Expect the page of this heading."""
        await expect(self.page.get_by_role("heading", level=1)).to_have_text(heading, timeout=10_000)

    async def enter_code(self) -> None:
        """Read the SMS and type its code into the hosted page."""
        await self.sees("Nhập mã OTP")
        await self.fill({"Mã OTP": await self.new_code()})
        await self.press("Xác nhận")

    async def shows(self, name: str) -> None:
        """Look at the page, and hold it to WCAG 2.2 AA."""
        await accessible(self.page)
        await looked_at(self.page, f"portal-{name}")

    async def begin_registration(self, person: Person) -> None:
        """Fill in the form and send it."""
        await self.page.goto(f"{self.portal}/dang-ky")
        await self.fill(person.form())
        await self.press("Tiếp tục")

    async def register(self, person: Person) -> None:
        """Go through all of registration."""
        await self.begin_registration(person)
        await self.enter_code()
        await self.sees("Đặt mật khẩu")
        await self.fill({"Mật khẩu": FIRST_PASSWORD, "Nhập lại mật khẩu": FIRST_PASSWORD})
        await self.press("Đăng ký")
        await self.sees("Đăng ký thành công")

    async def sign_in(self, person: Person, password: str) -> None:
        """Go through all of signing in."""
        await self.page.goto(f"{self.portal}/dang-nhap")
        await self.fill({"Số CCCD hoặc CMND": person.id_number, "Mật khẩu": password})
        await self.press("Tiếp tục")
        await self.enter_code()
        await self.sees("Tài khoản của bạn")

    @property
    def _messages(self) -> Locator:
        return self.phone.get_by_role("listitem")


@pytest_asyncio.fixture(loop_scope="session")
async def citizen(demo: Demo, page: Page, context: BrowserContext) -> Citizen:
    """Give a person with a browser."""
    return Citizen(page, await demo.portal(), await context.new_page())


async def test_all_of_it(demo: Demo, citizen: Citizen) -> None:
    """Register, sign in, link the old account, forget the password, sign in with the new one."""
    page = citizen.page
    await citizen.pick_up(A, demo.base)
    await page.goto(citizen.portal)
    await citizen.shows("1-home")
    await page.get_by_role("main").get_by_role("link", name="Đăng ký tài khoản").click()
    await citizen.sees("Đăng ký tài khoản")
    await citizen.shows("2-form")
    await citizen.press("Tiếp tục")
    await expect(page.get_by_role("alert")).to_contain_text("Có 4 mục cần sửa")
    await citizen.shows("3-form-empty")
    await citizen.fill(A.form())
    await citizen.press("Tiếp tục")
    await citizen.enter_code()

    await citizen.sees("Đặt mật khẩu")
    await citizen.shows("4-password")
    await citizen.fill({"Mật khẩu": "short", "Nhập lại mật khẩu": "other"})
    await citizen.press("Đăng ký")
    await expect(page.get_by_role("alert")).to_be_visible()
    await citizen.shows("5-password-refused")
    await citizen.fill({"Mật khẩu": FIRST_PASSWORD, "Nhập lại mật khẩu": FIRST_PASSWORD})
    await citizen.press("Đăng ký")
    await citizen.sees("Đăng ký thành công")
    await citizen.shows("6-registered")

    await citizen.sign_in(A, FIRST_PASSWORD)
    await expect(page.get_by_text("Nguyễn Văn A")).to_be_visible()
    await citizen.shows("7-account")
    await page.get_by_role("link", name="Liên kết tài khoản").click()
    await page.get_by_label("Hệ thống có tài khoản cũ").select_option(index=1)
    await citizen.fill({"Mã đăng ký": A.id_number})
    await citizen.shows("8-link")
    await citizen.press("Liên kết")
    await citizen.sees("Mật khẩu của tài khoản cũ")
    await citizen.fill({"Mật khẩu của tài khoản cũ": "MotCua@2019"})
    await citizen.press("Tiếp tục")
    await citizen.enter_code()
    await citizen.sees("Liên kết tài khoản cũ")
    await citizen.shows("9-link-confirm")
    await citizen.press("Liên kết")
    await citizen.sees("Tài khoản của bạn")
    await expect(page.get_by_text("Chưa có tài khoản nào được liên kết")).to_have_count(0)
    await citizen.shows("10-linked")
    await citizen.press("Đăng xuất")

    await page.goto(f"{citizen.portal}/quen-mat-khau")
    await citizen.shows("11-forgotten")
    await citizen.fill({"Số CCCD hoặc CMND": A.id_number, "Số điện thoại đã đăng ký": A.phone_number})
    await citizen.press("Tiếp tục")
    await citizen.enter_code()
    await citizen.fill({"Mật khẩu": SECOND_PASSWORD, "Nhập lại mật khẩu": SECOND_PASSWORD})
    await page.get_by_role("button").click()
    await citizen.sees("Đã đổi mật khẩu")
    await citizen.shows("12-replaced")
    await page.goto(f"{citizen.portal}/dang-nhap")
    await citizen.fill({"Số CCCD hoặc CMND": A.id_number, "Mật khẩu": FIRST_PASSWORD})
    await citizen.press("Tiếp tục")
    await expect(page.get_by_role("alert")).to_be_visible()
    await citizen.shows("13-sign-in-refused")
    await citizen.sign_in(A, SECOND_PASSWORD)


async def test_registered_already(demo: Demo, citizen: Citizen) -> None:
    """A CCCD that has an account is told so, with the ways on, and no SMS is sent."""
    await citizen.pick_up(B, demo.base)
    await citizen.register(B)
    await citizen.begin_registration(B)
    await expect(citizen.page.get_by_role("alert")).to_contain_text("CMT hoặc CCCD đã được đăng ký")
    await expect(citizen.page.get_by_role("alert").get_by_role("link", name="Quên mật khẩu")).to_be_visible()
    await citizen.shows("registered-already")
    await citizen.phone.reload()
    await expect(citizen.phone.get_by_role("listitem")).to_have_count(citizen._read)


async def test_sim_of_another(demo: Demo, citizen: Citizen) -> None:
    """A right code for a SIM that is another's opens no account, and the person learns what to do."""
    await citizen.pick_up(NOT_MINE, demo.base)
    await citizen.begin_registration(NOT_MINE)
    await citizen.enter_code()
    await citizen.sees("Chưa xác nhận được SIM chính chủ")
    await citizen.page.get_by_role("link", name="Quay lại").click()
    await expect(citizen.page).to_have_url(re.compile(f"^{re.escape(citizen.portal)}/dang-ky/ket-qua"))
    await citizen.sees("Chưa xác nhận được SIM chính chủ")
    await expect(citizen.page.get_by_text("TTTB")).to_be_visible()
    await citizen.shows("rejected")
    await citizen.page.get_by_role("link", name="Làm lại").click()
    await citizen.sees("Đăng ký tài khoản")


async def test_wrong_number_typed(demo: Demo, citizen: Citizen) -> None:
    """Who typed a wrong number goes back, finds the form filled in, corrects it and gets through."""
    await citizen.pick_up(C, demo.base)
    await citizen.begin_registration(Person(B.phone_number, C.id_number, C.full_name, C.birth_date))
    await citizen.sees("Nhập mã OTP")
    await citizen.page.get_by_role("link", name="Quay lại").click()
    await citizen.sees("Chưa nhập mã xác thực")
    await citizen.shows("pending")
    await citizen.page.get_by_role("link", name="Sửa thông tin").click()
    await expect(citizen.page.get_by_label("Họ và tên")).to_have_value(C.full_name)
    await citizen.fill({"Số điện thoại": C.phone_number})
    await citizen.press("Tiếp tục")
    await citizen.enter_code()
    await citizen.sees("Đặt mật khẩu")


async def test_back_button_at_the_end(demo: Demo, citizen: Citizen) -> None:
    """Back after "Đăng ký" opens nothing twice: the account is there, and the page says so."""
    person = Person("0970000005", "048088000015", "Hoàng Văn O", "15/05/1988")
    await citizen.pick_up(person, demo.base)
    await citizen.register(person)
    await citizen.page.go_back()
    await citizen.page.reload()
    await citizen.sees("Đăng ký thành công")


async def test_without_script(demo: Demo, plain_page: Page, citizen: Citizen) -> None:
    """Without JavaScript the whole registration takes one more press of a button."""
    plain = Citizen(plain_page, citizen.portal, citizen.phone)
    await plain.pick_up(H, demo.base)
    await plain.begin_registration(H)
    await plain.sees("Xác thực số điện thoại")
    await looked_at(plain_page, "portal-handover")
    await plain.press("Nhập mã")
    await plain.enter_code()
    await plain.sees("Đặt mật khẩu")
    await plain.fill({"Mật khẩu": FIRST_PASSWORD, "Nhập lại mật khẩu": FIRST_PASSWORD})
    await plain.press("Đăng ký")
    await plain.sees("Đăng ký thành công")


async def test_narrow(citizen: Citizen, narrow_page: Page) -> None:
    """The portal's pages fit 320 px."""
    for path in ("/", "/dang-ky", "/dang-nhap", "/quen-mat-khau"):
        await narrow_page.goto(citizen.portal + path)
        await accessible(narrow_page)
        await looked_at(narrow_page, f"portal-narrow{path.replace('/', '-')}")


async def test_proof_of_work(wary_demo: Demo, page: Page, plain_page: Page, context: BrowserContext) -> None:
    """Where sending looks abused a browser works before the SMS, unseen; without JavaScript one button says go on."""
    citizen = Citizen(page, await wary_demo.portal(), await context.new_page())
    await citizen.begin_registration(C)
    await citizen.sees("Nhập mã OTP")
    worked: list[str] = []
    page.on("request", lambda request: worked.append(request.url))
    await citizen.pick_up(B, wary_demo.base)
    await citizen.register(B)
    assert f"{wary_demo.base}/element.js" in worked

    plain = Citizen(plain_page, citizen.portal, citizen.phone)
    await plain.pick_up(H, wary_demo.base)
    await plain.begin_registration(H)
    await plain.sees("Đang kiểm tra trình duyệt")
    await looked_at(plain_page, "portal-proof-without-script")
    await plain.press("Tiếp tục")
    await plain.press("Nhập mã")
    await plain.enter_code()
    await plain.sees("Đặt mật khẩu")


async def test_nothing_personal_was_logged(demo: Demo, citizen: Citizen) -> None:
    """Invariant 5: phone, ID number, name and code of a person stand nowhere in what service and portal write."""
    person = Person("0980000001", "052090000197", "Nguyễn Không Ai Biết", "01/02/1991")
    await citizen.pick_up(person, demo.base)
    await citizen.begin_registration(person)
    await citizen.sees("Nhập mã OTP")
    code = await citizen.new_code()
    await citizen.fill({"Mã OTP": code})
    await citizen.press("Xác nhận")
    await citizen.sees("Chưa xác nhận được SIM chính chủ")
    for datum in (person.phone_number[1:], person.id_number, person.full_name, code):
        assert datum not in demo.run.stdout + demo.run.stderr
