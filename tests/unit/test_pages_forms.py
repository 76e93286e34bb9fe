"""The hosted page's forms: the code, “Gửi lại OTP”, what each refusal says, and what the script asks for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from fakeredis import FakeAsyncRedis
from pages_harness import PORTAL, RETURN_URL, begin, notice_of, reported, seen
from web_harness import Web, serve

from otp_service.core import limits

#: In the sample table without a document: it stays open whose SIM it is, for an official to find out.
WAITING = {"phone_number": "0900000004", "purpose": "assisted_registration", "id_number": "052090000004"}


@pytest.fixture
async def service(fake_redis: FakeAsyncRedis) -> AsyncIterator[Web]:
    """Run the service, its portal with a place to return to."""
    async with serve(fake_redis, clients=PORTAL) as running:
        yield running


class TestCheck:
    async def test_right_code(self, service: Web) -> None:
        """A right code leads through the page back to the portal, with the id and nothing else."""
        browser = await begin(service)
        sent = await browser.right()
        back = await browser.follow(sent)

        assert browser.path == sent.headers["Location"]
        assert (303, f"{RETURN_URL}&verification_id={browser.id}") == (back.status, back.headers["Location"])
        assert back.headers["Location"] == (await browser.get()).headers["Location"], "the back button goes on as well"
        assert "verified" == (await seen(browser))["status"]

    async def test_nowhere_to_return_to(self, service: Web) -> None:
        """Without a ``return_url`` the end is a page."""
        browser = await begin(service, return_url=None)
        response = await browser.follow(await browser.right())
        text = await response.text()

        assert 200 == response.status
        assert "<h1>Đã xác thực số điện thoại</h1>" in text
        assert "form-action 'self';" in response.headers["Content-Security-Policy"]

    async def test_wrong_code(self, service: Web) -> None:
        """A wrong code is told with the SMS to read and the guesses left, also to who cannot see colours."""
        browser = await begin(service)
        sent = await browser.wrong()
        text = await (await browser.follow(sent)).text()

        assert f"{browser.path}?said=wrong_code" == sent.headers["Location"]
        assert "Mã vừa nhập không đúng. Hãy xem lại tin nhắn có ghi “lan 1” rồi nhập lại. Còn 4 lần nhập." == (
            notice_of(text)
        )
        assert "<title>Lỗi: Nhập mã OTP – " in text
        assert 'aria-invalid="true" aria-describedby="notice sent left"' in text
        assert 'role="alert"' in text

    async def test_double_click(self, service: Web) -> None:
        """Invariant 11: the same form sent twice costs one guess, wrong or right."""
        browser = await begin(service)
        await browser.wrong("a-form-of-a-page")
        await browser.wrong("a-form-of-a-page")

        assert 4 == (await seen(browser))["attempts_left"]
        await browser.wrong("another-form-now")
        assert 3 == (await seen(browser))["attempts_left"]
        assert [303, 303] == [(await browser.right()).status, (await browser.right()).status]

    async def test_each_page_has_forms_of_its_own(self, service: Web) -> None:
        """Invariant 11: keys differ between forms and between renderings."""
        browser = await begin(service)
        pages = [await (await browser.get()).text() for _ in range(2)]

        assert 4 == len({key for page in pages for key in re.findall(r'name="key" value="([^"]+)"', page)})

    @pytest.mark.parametrize("code", ["", "12345", "abcdef", "123456789", "１２"])
    async def test_not_a_code(self, service: Web, code: str) -> None:
        """What is no code costs no guess and is said to be none."""
        browser = await begin(service)
        text = await (await browser.follow(await browser.check(code))).text()

        assert "Hãy nhập đúng các chữ số của mã trong tin nhắn. Lần này không bị tính là nhập sai." == notice_of(text)
        assert 5 == (await seen(browser))["attempts_left"]

    async def test_spaces_in_a_code(self, service: Web) -> None:
        """A code may be typed in groups."""
        browser = await begin(service)
        code = service.code(browser.id)
        await browser.check(f" {code[:3]} {code[3:]} ")

        assert "verified" == (await seen(browser))["status"]

    async def test_locked(self, service: Web) -> None:
        """The last guess leads to a page that says so and how to go on."""
        browser = await begin(service)
        for number in range(5):
            sent = await browser.wrong(f"form-number-{number}")
        text = await (await browser.follow(sent)).text()

        assert "<h1>Đã nhập sai quá số lần cho phép</h1>" in text
        assert f'href="{RETURN_URL.replace("&", "&amp;")}&amp;verification_id={browser.id}"' in text
        assert 'id="check"' not in text

    async def test_waits_are_the_stores(self, fake_redis: FakeAsyncRedis) -> None:
        """A refusal that asks to wait says how long, by the store's clock, and less when the page is read later."""
        async with serve(fake_redis, clients=PORTAL, counts={limits.ADDRESS_GUESSES: (1, 3600)}) as service:
            browser = await begin(service)
            await browser.wrong("the-first-guess")
            sent = await browser.wrong("the-second-guess")
            early = notice_of(await (await browser.follow(sent)).text())
            service.later(120)
            later = notice_of(await (await browser.follow(sent)).text())

        assert re.fullmatch(rf"{browser.path}\?said=rate_limited&until=17\d{{8}}", sent.headers["Location"])
        assert "Đã có quá nhiều yêu cầu. Hãy thử lại sau 60 phút." == early
        assert "Đã có quá nhiều yêu cầu. Hãy thử lại sau 58 phút." == later

    @pytest.mark.parametrize("query", [
        "?said=<b>", "?said=locked", "?said=guess_too_soon&until=1000000000", "?said=rate_limited&until=1",
        "?said=sends_exhausted", "?until=1769846460",
    ])
    async def test_untrue_words(self, service: Web, query: str) -> None:
        """An address says nothing that is not so: other words and stale refusals are dropped."""
        assert notice_of(await (await (await begin(service)).get(query)).text()) is None

    async def test_expired(self, service: Web) -> None:
        """A code too old is said to be; the page offers a resend and no field."""
        browser = await begin(service)
        service.later(180)
        sent = await browser.right()
        text = await (await browser.follow(sent)).text()

        assert f"{browser.path}?said=code_expired" == sent.headers["Location"]
        assert "<h1>Mã đã hết hiệu lực</h1>" in text
        assert "Mã này đã hết hiệu lực. Hãy bấm “Gửi lại OTP” để nhận mã mới. Số lần gửi lại còn lại: 3." == (
            notice_of(text)
        )
        assert 'id="check"' not in text
        assert 'id="resend"' in text

    async def test_never_sent(self, service: Web) -> None:
        """Where no gateway ever took an SMS, the end of the time is told as that, and what to look at."""
        browser = await begin(service)
        service.later(901)
        text = await (await browser.follow(await browser.right())).text()

        assert "<title>Không gửi được tin nhắn – " in text
        assert "Hãy kiểm tra số điện thoại rồi thử lại." in (notice_of(text) or "")
        assert "máy có sóng" in text

    async def test_cancelled(self, service: Web) -> None:
        """A cancelled verification says so."""
        browser = await begin(service)
        await service.call("DELETE", f"/v1/verifications/{browser.id}")

        assert "<h1>Lần xác thực này không còn dùng được</h1>" in await (await browser.get()).text()

    async def test_sim_not_confirmed(self, service: Web) -> None:
        """Invariant 9: the page says what to do and never what disagreed, or that nothing did."""
        mismatch = await begin(service, id_number="052090000009")
        unknown = await begin(service, phone_number="0900000004")
        texts = []
        for browser in (mismatch, unknown):
            text = await (await browser.follow(await browser.right())).text()
            texts.append(text.replace(browser.id, "the-id"))
        reasons = {(await seen(browser))["reason"] for browser in (mismatch, unknown)}

        assert {"sim_not_owned", "subscriber_unknown"} == reasons
        assert texts[0] == texts[1]
        for said in ("TTTB [số CCCD] gửi 1414", "VNeID", "nhà mạng", "sms:1414?body=TTTB%20", "1900 0000"):
            assert said in texts[0]
        assert not any(reason in texts[0] for reason in reasons)


class TestResend:
    async def test_resend(self, service: Web) -> None:
        """Invariant 11: "Gửi lại OTP" sends one SMS per form, and the page names it."""
        browser = await begin(service)
        service.later(60)
        first = await browser.post("/resend", {"key": "the-key-of-a-form"})
        await browser.post("/resend", {"key": "the-key-of-a-form"})
        text = await (await browser.follow(first)).text()

        assert f"{browser.path}?said=resent" == first.headers["Location"]
        assert "Đã nhận yêu cầu gửi lại. Hãy nhập mã trong tin nhắn mới có ghi “lan 2”." == notice_of(text)
        assert "Còn 2 lần gửi lại." in text
        assert 2 == (await seen(browser))["send_number"]

    async def test_too_soon(self, service: Web) -> None:
        """Without a script the button posts, and the answer says how long to wait as long as that is so."""
        browser = await begin(service)
        service.later(20)
        sent = await browser.post("/resend")
        early = notice_of(await (await browser.follow(sent)).text())
        service.later(40)

        assert f"{browser.path}?said=resend_too_soon" == sent.headers["Location"]
        assert "Tin nhắn trước vừa được gửi. Hãy chờ 40 giây rồi bấm “Gửi lại OTP”." == early
        assert notice_of(await (await browser.follow(sent)).text()) is None

    async def test_none_left(self, service: Web) -> None:
        """When no resend is left the button is gone, and a form from before is told so."""
        browser = await begin(service)
        for number in range(3):
            service.later(61)
            await browser.post("/resend", {"key": f"form-number-{number}"})
        service.later(61)
        text = await (await browser.follow(await browser.post("/resend"))).text()

        assert "Lần xác thực này không gửi thêm mã được nữa." in (notice_of(text) or "")
        assert "Đã hết số lần gửi lại." in text
        assert 'id="resend"' not in text
        service.later(120)
        assert "không gửi lại được nữa" in (notice_of(await (await browser.get()).text()) or "")


class TestChecking:
    async def test_page(self, service: Web) -> None:
        """While a carrier is asked the page says so, and refreshes itself where there is no script."""
        browser = await begin(service, WAITING)
        text = await (await browser.follow(await browser.right())).text()

        assert "<h1>Đang hỏi nhà mạng</h1>" in text
        assert "Mã đúng. Đang đối chiếu" in text
        assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in text
        assert "<form" not in text

    async def test_the_script_hears_at_once(self, service: Web) -> None:
        """The state is held while a carrier is asked, and answers when there is a verdict."""
        browser = await begin(service, WAITING)
        await browser.right()
        held = asyncio.create_task(browser.get("/state"))
        async with asyncio.timeout(5):
            while not service.deps.waiters._count:  # type: ignore[attr-defined]
                await asyncio.sleep(0)
        await service.call("DELETE", f"/v1/verifications/{browser.id}")
        state = await (await held).json()

        assert "cancelled.1.0" == state["mark"]

    async def test_too_busy_to_hold(self, service: Web, monkeypatch: pytest.MonkeyPatch) -> None:
        """A held state ends by itself; the script is told to come back, not to hurry."""
        monkeypatch.setattr("otp_service.web.pages.handlers._HELD_S", 0.01)
        browser = await begin(service, WAITING)
        await reported(browser, "delivered")
        await browser.right()
        state = await (await browser.get("/state")).json()

        assert ("checking_ownership.1.0", 3) == (state["mark"], state["again_s"])


class TestState:
    async def test_pending(self, service: Web) -> None:
        """The script learns seconds, sentences and a mark that changes when the page must."""
        browser = await begin(service)
        service.later(20)
        state = await (await browser.get("/state?lang=en")).json()

        assert {
            "mark": "pending.1.0", "delivery": "The SMS is being sent.", "resends": "Resends left: 3.",
            "resend_in_s": 40, "code_in_s": 160, "again_s": 3,
        } == state
        service.later(159.5)
        assert 1 == (await (await browser.get("/state")).json())["code_in_s"], "rounded up"
        service.later(0.5)
        assert "pending.1.1" == (await (await browser.get("/state")).json())["mark"]

    async def test_page_and_state_agree(self, service: Web) -> None:
        """The mark of the page is that of the state, or the script would load the page over and over."""
        browser = await begin(service)
        for seconds in (0, 180, 800):
            service.later(seconds)
            text = await (await browser.get()).text()

            assert f'data-mark="{(await (await browser.get("/state")).json())["mark"]}"' in text
