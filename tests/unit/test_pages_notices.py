"""What the hosted page says after a refusal, of an SMS that failed and of a new one: true, once, and with a way on."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
from fakeredis import FakeAsyncRedis
from pages_harness import PORTAL, RETURN_URL, Browser, begin, notice_of, reported, seen
from web_harness import NOW_MS, SIMPLE, Web, serve

from otp_service.core import limits

DAY_S = 86_400
NOW_S = NOW_MS // 1000
FAILED = "Tin nhắn này không gửi được. Hãy bấm “Gửi lại OTP”."
WAY_BACK = re.compile(r'<a class="button[^"]*" href="' + re.escape(RETURN_URL.replace("&", "&amp;")))


@pytest.fixture
async def service(fake_redis: FakeAsyncRedis) -> AsyncIterator[Web]:
    """Run the service, its portal with a place to return to."""
    async with serve(fake_redis, clients=PORTAL) as running:
        yield running


async def refused_by_all(browser: Browser) -> None:
    """Let every gateway refuse the first SMS."""
    service = browser.service
    shard = service.deps.service.secrets.ring.parse_id(browser.id) or 0
    await service.store.sent(shard, browser.id, 1, b"1-1", outcome="f", maybe_sent=False, holder="worker")


class TestRefusals:
    @pytest.mark.parametrize(("said", "wait_s", "text"), [
        ("rate_limited", DAY_S + 1, "Đã có quá nhiều yêu cầu. Hãy thử lại sau 25 giờ."),
        ("rate_limited", 30 * DAY_S, "Đã có quá nhiều yêu cầu. Hãy thử lại sau 720 giờ."),
        ("rate_limited", 400 * DAY_S, "Đã có quá nhiều yêu cầu. Hãy chờ một lúc rồi thử lại."),
        ("rate_limited", None, "Đã có quá nhiều yêu cầu. Hãy chờ một lúc rồi thử lại."),
        ("guess_too_soon", 400 * DAY_S, (
            "Số điện thoại này đã bị nhập sai mã nhiều lần liên tiếp. Hãy chờ một lúc rồi nhập lại; "
            "lần vừa rồi không bị tính."
        )),
    ])
    async def test_no_refusal_is_silent(self, service: Web, said: str, wait_s: int | None, text: str) -> None:
        """However long the wait is, the refusal is told: with its time as far as one is believable, else without."""
        browser = await begin(service)
        until = "" if wait_s is None else f"&until={NOW_S + wait_s}"

        assert text == notice_of(await (await browser.get(f"?said={said}{until}")).text())

    async def test_no_resend_for_a_day(self, fake_redis: FakeAsyncRedis) -> None:
        """A resend that is refused for a day says so, and nothing beside it says that one may be asked for now."""
        async with serve(fake_redis, clients=PORTAL, counts={limits.PHONE_SENDS: (1, DAY_S)}) as service:
            browser = await begin(service)
            service.later(60)
            text = await (await browser.follow(await browser.post("/resend"))).text()

        assert "Đã có quá nhiều yêu cầu. Hãy thử lại sau 24 giờ." == notice_of(text)
        assert "Bây giờ có thể gửi lại." not in text
        assert 'id="check"' in text


class TestCodeOver:
    async def test_way_back(self, service: Web) -> None:
        """Where the code is too old the way back stands beside the resend, and not where there is none."""
        browser = await begin(service)
        other = await begin(service, SIMPLE | {"phone_number": "0900000002"}, return_url=None)
        service.later(180)
        text, without = [await (await one.get()).text() for one in (browser, other)]

        assert 'id="resend"' in text
        assert WAY_BACK.search(text)
        assert 'class="button' not in without

    async def test_refused_resend(self, fake_redis: FakeAsyncRedis) -> None:
        """Where the code is too old and the resend refused, the page says until when, and has the way back."""
        async with serve(fake_redis, clients=PORTAL, counts={limits.PHONE_SENDS: (1, DAY_S)}) as service:
            browser = await begin(service)
            service.later(180)
            sent = await browser.post("/resend")
            text = await (await browser.follow(sent)).text()

        assert "<h1>Mã đã hết hiệu lực</h1>" in text
        assert "Đã có quá nhiều yêu cầu. Hãy thử lại sau 24 giờ." == notice_of(text)
        assert "Bây giờ có thể gửi lại." not in text
        assert WAY_BACK.search(text)
        for name in re.findall(r'aria-describedby="([^"]*)"', text):
            assert all(f'id="{one}"' in text for one in name.split())


class TestFailedSms:
    async def test_reported(self, service: Web) -> None:
        """A failure that a gateway reports is told once, at the top; that send stays spent, which nobody denies."""
        browser = await begin(service)
        await reported(browser, "failed")
        text = await (await browser.get()).text()

        assert notice_of(text) == FAILED
        assert 1 == text.count("không gửi được")
        assert "Còn 3 lần gửi lại." in text
        assert "Bây giờ có thể gửi lại." in text
        assert "aria-invalid" not in text

    async def test_refused(self, service: Web) -> None:
        """An SMS that every gateway refused is told in the same words, and the resends left count it as not sent."""
        browser = await begin(service)
        await refused_by_all(browser)
        text = await (await browser.get()).text()

        assert notice_of(text) == FAILED
        assert "Còn 4 lần gửi lại." in text

    async def test_its_code(self, service: Web) -> None:
        """The code of a failed SMS is asked for only in case it comes after all."""
        browser = await begin(service)
        before = await (await browser.get()).text()
        await reported(browser, "failed")
        text = await (await browser.get()).text()

        assert "Hãy nhập mã trong tin nhắn có ghi “lan 1”." in before
        assert "Hãy nhập mã trong tin nhắn có ghi" not in text
        assert "Nếu số 0•••••0001 vẫn nhận được tin nhắn có ghi “lan 1”, hãy nhập mã trong tin nhắn đó." in text

    async def test_an_open_page_hears(self, service: Web) -> None:
        """The mark changes when the SMS fails, so that an open page shows it at the top as well."""
        browser = await begin(service)
        before = (await (await browser.get("/state")).json())["mark"]
        await reported(browser, "failed")
        after = (await (await browser.get("/state")).json())["mark"]

        assert ("pending.1.0", "pending.1.0.failed") == (before, after)
        assert f'data-mark="{after}"' in await (await browser.get()).text()

    async def test_before_all_but_a_refusal(self, service: Web) -> None:
        """A failed SMS is told instead of a resend that was asked for; a wrong code is told at the top, it below."""
        browser = await begin(service)
        await reported(browser, "failed")
        resent = await (await browser.get("?said=resent")).text()
        wrong = await (await browser.follow(await browser.wrong())).text()

        assert notice_of(resent) == FAILED
        assert "Mã vừa nhập không đúng." in (notice_of(wrong) or "")
        assert f'<p id="delivery" role="status">{FAILED}</p>' in wrong


class TestNewSms:
    async def test_the_page_agrees_with_itself(self, service: Web) -> None:
        """After a resend the message at the top is as true while the SMS is on its way as when it has come."""
        browser = await begin(service)
        service.later(60)
        text = await (await browser.follow(await browser.post("/resend"))).text()

        assert "Đã nhận yêu cầu gửi lại. Hãy nhập mã trong tin nhắn mới có ghi “lan 2”." == notice_of(text)
        assert "Đang gửi tin nhắn." in text


class TestWhoseNumber:
    @pytest.mark.parametrize("body", [{}, SIMPLE | {"phone_number": "0900000002"}])
    async def test_not_your_number(self, service: Web, body: dict[str, str]) -> None:
        """Also who typed no number, to sign in, is asked whether it is theirs; nobody is told to correct it."""
        browser = await (begin(service, body) if body else begin(service))
        text = await (await browser.get()).text()

        assert "Không phải số của bạn? <a href=" in text
        assert ">Quay lại</a>" in text
        assert "để sửa" not in text

    async def test_as_people_know_it(self, service: Web) -> None:
        """A number is shown as people write it, with the 0, and with no more of its digits than the API shows."""
        browser = await begin(service)
        text = await (await browser.get()).text()

        assert "0•••••0001" in text
        assert "+84" not in text
        assert "+84•••••0001" == (await seen(browser))["phone_number"]
