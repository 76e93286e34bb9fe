"""How the sample portal starts verifications: lost replies, a service that is away, and work for the browser."""

from __future__ import annotations

import json
from html import unescape

import altcha
import pytest
from portal.walk import FORM, PASSWORD, OpenSite, Seen, Site

from otp_service.core import limits as kinds
from otp_service.core.client import ProofMode
from otp_service.core.limits import Limit


async def test_a_lost_reply_costs_nothing(site: Site) -> None:
    """Invariant 11: the reply of the start is lost, the same call is made again, and one SMS is sent."""
    person = await site.person()
    form = await person.get("/dang-ky")
    site.network.lose(1, marker=b"POST /v1/verifications ")
    page = await person.submit(form, **FORM)
    assert "Xác thực số điện thoại" == page.heading
    await site.enter_code(page)
    assert 1 == len(site.stage.engine.postbox.posts)


@pytest.mark.parametrize("path", ["/v1/result-tokens/redeem", "/v1/verifications/"])
async def test_a_lost_reply_at_the_end_loses_no_verdict(site: Site, path: str) -> None:
    """Invariant 11: the reply of the redemption, or of the read before it, is lost; the account is opened."""
    person = await site.person()
    page = await site.verified(person, **FORM)
    site.network.lose(1, marker=path.encode())
    page = await person.submit(page, password=PASSWORD, password_again=PASSWORD)
    assert "Đăng ký thành công" == page.heading


async def test_a_service_that_is_away(site: Site) -> None:
    """Each step says that nothing is wrong with what was typed, keeps it, and goes on when the service is back."""
    person = await site.person()
    form = await person.get("/dang-ky")
    site.network.refuse()
    page = await person.submit(form, **FORM)
    assert 502 == page.status
    assert "Thông tin bạn đã nhập không sai" in page.alert
    assert FORM == {name: page.form().fields[name] for name in FORM}
    site.network.accept()
    page = await person.submit(page)
    verification_id = await site.enter_code(page)
    site.network.refuse()
    away = await person.get("/dang-ky/ket-qua", verification_id=verification_id)
    assert (503, "Chưa xem được kết quả") == (away.status, away.heading)
    assert f"/dang-ky/ket-qua?verification_id={verification_id}" in away.html
    site.network.accept()
    page = await person.get("/dang-ky/ket-qua", verification_id=verification_id)
    site.network.refuse()
    away = await person.submit(page, password=PASSWORD, password_again=PASSWORD)
    assert (503, "Đặt mật khẩu") == (away.status, away.heading)
    assert PASSWORD not in away.html
    site.network.accept()
    assert "Đăng ký thành công" == (await person.submit(away, password=PASSWORD, password_again=PASSWORD)).heading


async def test_an_expired_token_is_read_anew(site: Site) -> None:
    """A token that was kept, not redeemed and is ten minutes old is no dead end."""
    person = await site.person()
    page = await site.verified(person, **FORM)
    site.network.answer(b"/v1/result-tokens/redeem", b"HTTP/1.1 404 Not Here\r\nContent-Length: 0\r\n\r\n")
    assert 503 == (await person.submit(page, password=PASSWORD, password_again=PASSWORD)).status
    site.network.answer(b"/v1/result-tokens/redeem", None)
    await site.stage.advance(700)
    assert "Đăng ký thành công" == (await person.submit(page, password=PASSWORD, password_again=PASSWORD)).heading


async def test_our_own_mistakes_are_not_the_persons(open_site: OpenSite) -> None:
    """A key without the purpose is told to the log by its code; the person reads neither keys nor scopes."""
    async with open_site(purposes=frozenset({"sign_in"})) as site:
        person = await site.person()
        page = await person.submit(await person.get("/dang-ky"), **FORM)
        assert 502 == page.status
        assert "Chưa gửi được mã xác thực" in page.alert
        log = site.stage.log.getvalue().decode()
        assert "start refused: forbidden (403" in log
        assert not any(text in log for text in FORM.values())


async def test_limits_are_told_with_their_time(open_site: OpenSite) -> None:
    """A limit's sentence stands above the form, with how long to wait."""
    async with open_site(limits=(Limit(kinds.ADDRESS_SENDS, 1, 3600),)) as site:
        person = await site.person()
        await person.submit(await person.get("/dang-ky"), **FORM)
        page = await person.submit(await person.get("/dang-ky"), **{**FORM, "phone_number": "0900000002"})
        assert 429 == page.status
        assert "Hãy thử lại sau" in page.alert


def _solved(page: Seen) -> str:
    """Do what the element does in a browser."""
    quoted = page.html.split('data-challenge="')[1].split('"')[0]
    challenge = altcha.Challenge.from_dict(json.loads(unescape(quoted)))
    solution = altcha.solve_challenge(challenge)
    assert solution is not None
    return altcha.Payload(challenge, solution).to_base64()


async def test_work_before_the_first_sms(open_site: OpenSite) -> None:
    """When the service wants the browser to work, a page does it with the service's script, then the SMS is sent."""
    async with open_site(proof=ProofMode.ALWAYS) as site:
        person = await site.person()
        page = await person.submit(await person.get("/dang-ky"), **FORM)
        assert "Đang kiểm tra trình duyệt" == page.heading
        assert f'src="{site.stage.base}/element.js"' in page.html
        assert f"script-src 'self' {site.stage.base};" in page.headers["Content-Security-Policy"]
        assert [] == site.stage.engine.postbox.posts
        wrong = await person.submit(page, proof="bm90IGEgcHJvb2Y=")
        assert "Đang kiểm tra trình duyệt" == wrong.heading
        page = await person.submit(wrong, proof=_solved(wrong))
        assert "Xác thực số điện thoại" == page.heading
        await site.enter_code(page)
        # The page with the challenge is over: pressed again it leads to the same code.
        assert page.form().action == (await person.submit(wrong, proof="none")).form().action
        assert 1 == len(site.stage.engine.postbox.posts)


async def test_a_browser_without_javascript_works_for_nothing(open_site: OpenSite) -> None:
    """Its button says so and passes a stricter limit; beyond it, the limit's sentence is told."""
    async with open_site(proof=ProofMode.ALWAYS, limits=(Limit(kinds.ADDRESS_NO_SCRIPT_SENDS, 1, 3600),)) as site:
        person = await site.person()
        page = await person.submit(await person.get("/dang-ky"), **FORM)
        # The button's own value is the only one: a field of the same name would be sent beside it.
        assert "proof" not in page.form().fields
        noscript = page.html.split("<noscript>")[1].split("</noscript>")[0]
        assert '<button type="submit" name="proof" value="none">' in noscript
        assert "Xác thực số điện thoại" == (await person.submit(page, proof="none")).heading
        page = await person.submit(await person.get("/dang-ky"), **{**FORM, "phone_number": "0900000002"})
        page = await person.submit(page, proof="none")
        assert (429, "Chưa gửi được mã") == (page.status, page.heading)
        assert "Hãy thử lại sau" in page.alert
