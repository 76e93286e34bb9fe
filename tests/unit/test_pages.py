"""The hosted page over HTTP: who sees it, what it says, whom it refuses, and what its answers say of themselves."""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncIterator, Mapping

import pytest
from fakeredis import FakeAsyncRedis
from pages_harness import PORTAL, Browser, begin, seen
from web_harness import KEY, OTHER_KEY, PUBLIC_URL, SIMPLE, START, Web, serve

STRANGER = "2-k1-aaaaaaaaaaaaaaaaaaaaaaaaaa"


@pytest.fixture
async def service(fake_redis: FakeAsyncRedis) -> AsyncIterator[Web]:
    """Run the service, its portal with a place to return to."""
    async with serve(fake_redis, clients=PORTAL) as running:
        yield running


class TestEntry:
    async def test_form_post(self, service: Web) -> None:
        """The portal's form gets a cookie for this path alone and is sent on by 303, so that a refresh is harmless."""
        browser = await begin(service)
        browser.cookie = None
        response = await browser.post("", {"client_token": browser.token}, Origin="https://portal.example")

        assert (303, browser.path) == (response.status, response.headers["Location"])
        cookie = response.headers["Set-Cookie"]
        assert cookie.startswith(f"otp_v={browser.token};")
        assert {"HttpOnly", "Max-Age=3600", f"Path={browser.path}", "SameSite=Lax", "Secure"} == {
            part.strip() for part in cookie.split(";")[1:]
        }

    @pytest.mark.parametrize(("origin", "status"), [
        ("https://portal.example", 303), ("https://www.portal.example:8443", 303), (PUBLIC_URL, 303), ("null", 303),
        ("https://evil.example", 403), ("http://portal.example", 403), ("https://portal.example.evil.example", 403),
    ])
    async def test_a_verification_is_not_planted_from_elsewhere(
        self, service: Web, origin: str, status: int,
    ) -> None:
        """A page of a host that the client did not register cannot put its own verification into a browser."""
        browser = await begin(service)
        browser.cookie = None
        response = await browser.post("", {"client_token": browser.token}, Origin=origin)

        assert (status, status == 303) == (response.status, "Set-Cookie" in response.headers)

    async def test_the_page_says_what_for(self, service: Web) -> None:
        """Whoever was led here by somebody else reads what the code would do, and where."""
        page = await (await (await begin(service)).get()).text()
        other = await (await (await begin(service, {**SIMPLE, "phone_number": "0900000002"})).get("?lang=en")).text()

        assert "Chỉ nhập mã nếu chính bạn đang muốn đăng ký tài khoản tại" in page
        assert "Enter the code only if you yourself want to sign in at" in other

    async def test_page_url(self, service: Web) -> None:
        """``page_url`` of the 201 is where that form goes."""
        started = await service.start()

        assert f"{PUBLIC_URL}/v/{started['id']}" == started["page_url"]

    async def test_without_https_the_cookie_still_works(self, fake_redis: FakeAsyncRedis) -> None:
        """On loopback over http the cookie is not Secure, and under a path of its own it keeps to that path."""
        async with serve(fake_redis, public_url="http://127.0.0.1:8080/otp") as service:
            browser = Browser(service, await service.start())
            response = await browser.post("", {"client_token": browser.token}, Origin="http://127.0.0.1:8080")
            page = await (await browser.get()).text()

        assert "Secure" not in response.headers["Set-Cookie"]
        assert f"Path=/otp{browser.path};" in response.headers["Set-Cookie"]
        assert f"/otp{browser.path}" == response.headers["Location"]
        assert f'action="/otp{browser.path}/check"' in page
        assert re.search(r'href="/otp/assets/page\.[0-9a-f]{12}\.css"', page)

    async def test_strangers_see_one_page(self, service: Web) -> None:
        """Invariant 9: no token, another's token, a token in the query and unknown ids all get the same 404."""
        browser = await begin(service)
        other = Browser(service, await service.start({**SIMPLE, "phone_number": "0900000002"}, key=OTHER_KEY))
        pages = []
        for cookie in (None, "otp_v=vt_x", f"otp_v={other.token}", "otp_v="):
            browser.cookie = cookie
            pages.append(await browser.get())
        browser.cookie = None
        pages += [
            await browser.get(f"?client_token={browser.token}"), await browser.post("", {"client_token": "vt_x"}),
            await browser.post("", {"client_token": other.token}), await browser.post("/check", {"code": "123456"}),
            await browser.get("/state"),
        ]
        browser.path = f"/v/{STRANGER}"
        pages.append(await browser.get())

        assert {404} == {page.status for page in pages}
        (text,) = {re.sub(r'href="[^"]*\?lang=en"', "", await page.text()) for page in pages}
        assert "Trang này đã hết hạn hoặc được mở sai cách" in text
        assert not any("Set-Cookie" in page.headers for page in pages)

    async def test_tombstone_ends(self, service: Web, fake_redis: FakeAsyncRedis) -> None:
        """When nothing is known of a verification any more, its page is the same 404."""
        browser = await begin(service)
        await fake_redis.flushall()

        assert 404 == (await browser.get()).status


class TestPage:
    async def test_what_it_says(self, service: Web) -> None:
        """Which SMS to read, where it went, how long the code is good, guesses and resends left, and whom to call."""
        text = await (await (await begin(service)).get()).text()

        for said in (
            '<html lang="vi">', "<h1>Nhập mã OTP</h1>", "0•••••0001", "có ghi “lan 1”", "đến 15:03:00",
            "Còn 5 lần nhập.", "Đang gửi tin nhắn.", "sau 60 giây", "Còn 3 lần gửi lại.", 'href="tel:19000000"',
            "Cổng &lt;Tỉnh&gt; &amp; Huyện",
        ):
            assert said in text
        assert "Tỉnh> &" not in text

    async def test_code_field(self, service: Web) -> None:
        """A phone offers the SMS's code above a keyboard of digits, and a reader hears what the field is for."""
        text = await (await (await begin(service)).get()).text()
        (field,) = re.findall(r"<input id=\"code\"[^>]*>", text)

        for attribute in ('type="text"', 'inputmode="numeric"', 'autocomplete="one-time-code"', 'name="code"'):
            assert attribute in field
        assert '<label for="code">Mã OTP</label>' in text
        for name in re.findall(r'aria-describedby="([^"]*)"', text):
            assert all(f'id="{one}"' in text for one in name.split())

    async def test_headers(self, service: Web) -> None:
        """Nothing is cached, framed or run; forms go here and to the portal; no other host is named."""
        response = await (await begin(service)).get()
        text = await response.text()

        assert (
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action "
            "'self' https://portal.example https://www.portal.example; base-uri 'none'; frame-ancestors 'none'"
        ) == response.headers["Content-Security-Policy"]
        assert ("no-store", "same-origin", "nosniff", "vi") == tuple(
            response.headers[name] for name in
            ("Cache-Control", "Referrer-Policy", "X-Content-Type-Options", "Content-Language")
        )
        assert not re.search(r"\sstyle=|<script>|\son[a-z]+=", text)
        assert {"https://portal.example"} == set(re.findall(r"https?://[^/\"]+", text))

    async def test_nothing_secret_in_it(self, service: Web) -> None:
        """Invariant 5: neither token, code, ID number nor phone number stands in the page, its state or the log."""
        browser = await begin(service)
        texts = [await (await browser.get()).text(), await (await browser.get("/state")).text()]
        await browser.right()
        texts.append(service.log.getvalue().decode())

        for secret in (browser.token, service.code(browser.id), START["id_number"], "900000001"):
            assert not any(secret in text for text in texts)

    async def test_english(self, service: Web) -> None:
        """``lang`` chooses the language, every link and form keeps it, and the SMS is still named as it is written."""
        browser = await begin(service)
        text = await (await browser.get("?lang=en")).text()

        assert "<h1>Enter the code</h1>" in text
        assert "says “lan 1”" in text
        assert f'action="{browser.path}/check?lang=en"' in text
        assert f'href="{browser.path}?lang=vi" lang="vi" hreflang="vi">Tiếng Việt<' in text
        sent = await browser.post("/check?lang=en", {"code": "1"})
        assert f"{browser.path}?lang=en&said=code_malformed" == sent.headers["Location"]

    async def test_language_of_the_start(self, service: Web) -> None:
        """Without ``lang`` the page speaks the language the verification was started in."""
        browser = await begin(service, locale="en")

        assert "<h1>Enter the code</h1>" in await (await browser.get()).text()
        assert "<h1>Enter the code</h1>" in await (await browser.get("?lang=fr")).text()

    async def test_under_60_kb(self, service: Web) -> None:
        """Page, style, script and icon together stay far under 60 kB, and the assets come packed and for ever."""
        text = await (await (await begin(service)).get()).text()
        size = len(text.encode())
        for url in set(re.findall(r'"(/assets/[^"]+)"', text)):
            response = await service.http.get(url, headers={"Accept-Encoding": "gzip"}, auto_decompress=False)
            body = await response.read()
            assert ("gzip", "public, max-age=31536000, immutable") == (
                response.headers["Content-Encoding"], response.headers["Cache-Control"],
            )
            size += len(gzip.decompress(body))

        assert 20_000 > size

    async def test_assets(self, service: Web) -> None:
        """An asset is also served as it is; an unknown name is not found."""
        text = await (await (await begin(service)).get()).text()
        script = await service.http.get(*re.findall(r'src="([^"]+)"', text), headers={"Accept-Encoding": "identity"})

        assert '"use strict"' in await script.text()
        assert "text/javascript" in script.headers["Content-Type"]
        assert 404 == (await service.http.get("/assets/page.000000000000.js")).status


class TestOtherSites:
    @pytest.mark.parametrize("headers", [
        {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"}, {"Origin": "https://otp.example.evil"},
    ])
    async def test_refused(self, service: Web, headers: Mapping[str, str]) -> None:
        """A form of another site does nothing, whatever cookie the browser adds."""
        browser = await begin(service)
        service.later(60)

        for path, fields in (("/check", {"code": service.wrong_code(browser.id)}), ("/resend", {})):
            response = await browser.post(path, fields, **headers)
            assert (403, "text/html") == (response.status, response.content_type)
        found = await seen(browser)
        assert (5, 1) == (found["attempts_left"], found["send_number"])

    async def test_the_browser_knows_the_name_it_used(self, service: Web) -> None:
        """Opened under another name of the same server, the page's forms are its own."""
        browser = await begin(service)
        response = await browser.check("1", Origin="http://localhost:8080", Sec_Fetch_Site="same-origin")

        assert 303 == response.status


class TestTrouble:
    async def test_store_down(self, service: Web, fake_redis: FakeAsyncRedis) -> None:
        """Invariant 8: with the store gone every answer is a page, 503 with Retry-After, that says nothing is lost."""
        browser = await begin(service)
        fake_redis.connection_pool.connection_kwargs["server"].connected = False

        for response in (
            await browser.get(), await browser.check("123456"), await browser.post("/resend"),
            await browser.get("/state"),
        ):
            text = await response.text()
            assert (503, "2", "text/html") == (response.status, response.headers["Retry-After"], response.content_type)
            assert "Những gì bạn đã làm không bị mất." in text
            assert f'href="{browser.path}"' in text

    @pytest.mark.parametrize(("status", "method", "path", "body", "kind"), [
        (405, "PUT", "", b"", "application/x-www-form-urlencoded"),
        (415, "POST", "/check", b"{}", "application/json"),
        (413, "POST", "/check", b"code=" + b"1" * 20_000, "application/x-www-form-urlencoded"),
        (400, "POST", "/check", b"code=%ff", "application/x-www-form-urlencoded"),
        (400, "POST", "/check", b"code=\xff", "application/x-www-form-urlencoded"),
        (400, "POST", "/check", b"a=1&" * 20, "application/x-www-form-urlencoded"),
        (404, "GET", "/nothing", None, ""),
    ])
    async def test_pages_for_people(
        self, service: Web, status: int, method: str, path: str, body: bytes | None, kind: str,
    ) -> None:
        """Whatever is refused under the page's paths is a page, never a problem document."""
        browser = await begin(service)
        response = await browser._call(method, path, body, {"Content-Type": kind} if kind else {})

        assert (status, "text/html") == (response.status, response.content_type)
        assert "no-store" == response.headers["Cache-Control"]

    async def test_language_of_trouble(self, service: Web) -> None:
        """Where no verification is known the browser's language is spoken."""
        browser = await begin(service)
        browser.cookie = None

        assert "This page cannot be opened" in await (await browser.get(Accept_Language="en-GB")).text()

    async def test_other_paths_answer_programs(self, service: Web) -> None:
        """Calls of the API are still refused by problem documents."""
        response = await service.call("GET", "/v1/verifications/none", key=KEY)

        assert "application/problem+json" == response.content_type
