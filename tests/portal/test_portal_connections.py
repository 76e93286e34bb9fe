"""What is no HTTP, and forms that are none: a page, and nothing of what was sent in answer or log."""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import urlsplit

import pytest
from portal.walk import FORM, Person, Site

SECRET = "portal_session=a-session-that-nobody-may-read"
FORM_TYPE = "application/x-www-form-urlencoded"


async def _send(site: Site, sent: bytes) -> str:
    """Send bytes as they are; returns all that comes back until the portal closes."""
    parts = urlsplit(site.base)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(sent)
    try:
        return (await reader.read()).decode()
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("sent", [
    f"GET / HTTP/1.1\r\nHost: x\r\nCookie: {SECRET}{'a' * 9000}\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nCookie: {SECRET}\x01\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nCookie: {SECRET}\x00\r\n\r\n",
    f"GET /{SECRET}{'a' * 9000} HTTP/1.1\r\nHost: x\r\n\r\n",
    f"{SECRET}\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: {SECRET}\r\n\r\n",
], ids=["too large", "control character", "NUL", "long line", "no HTTP", "no length"])
async def test_what_is_no_http_is_not_repeated(site: Site, sent: str, caplog: pytest.LogCaptureFixture) -> None:
    """Malformed headers get the portal's own page with 400; neither it nor any log line quotes them."""
    caplog.set_level(logging.DEBUG)
    answer = await _send(site, sent.encode())
    assert "400" == answer.split(" ")[1]
    assert "<h1>Không đọc được yêu cầu</h1>" in answer
    assert "Content-Security-Policy: default-src 'none'" in answer
    assert "\r\nServer: portal\r\n" in answer
    assert "nobody-may-read" not in answer
    assert "nobody-may-read" not in caplog.text
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


async def test_an_expectation_that_nobody_can_meet_is_not_repeated(site: Site) -> None:
    """The refusal of the library itself, which quotes the header, is replaced by a page."""
    host = urlsplit(site.base).netloc
    answer = await _send(site, f"GET / HTTP/1.1\r\nHost: {host}\r\nExpect: {SECRET}\r\n\r\n".encode())
    assert "417" == answer.split(" ")[1]
    assert "nobody-may-read" not in answer


@pytest.mark.parametrize("path", ["/dang-ky", "/webhooks/otp"])
async def test_chunks_that_are_none_are_not_repeated(
    site: Site, path: str, caplog: pytest.LogCaptureFixture,
) -> None:
    """A body that breaks off in the middle of its chunks is a bad request, and what it was stands in no log."""
    caplog.set_level(logging.DEBUG)
    host = urlsplit(site.base).netloc
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {FORM_TYPE}\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await _send(site, f"{head}5\r\na=bcd\r\n{SECRET}\r\n\r\n".encode())
    assert "400" == answer.split(" ")[1]
    assert "nobody-may-read" not in answer + caplog.text
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


async def test_answers_do_not_name_the_software(site: Site) -> None:
    """Pages, redirects, files and webhooks say who answers, not with which library."""
    person = await site.person()
    for path in ("/", "/tai-khoan", "/livez", "/nowhere", "/webhooks/otp"):
        async with person.http.get(f"{site.base}{path}", allow_redirects=False) as answer:
            assert "portal" == answer.headers["Server"]
    async with person.http.post(f"{site.base}/webhooks/otp", data=b"") as answer:
        assert (400, "portal") == (answer.status, answer.headers["Server"])


async def _post(person: Person, body: bytes, **headers: str) -> tuple[int, str]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with person.http.post(f"{person.base}/dang-ky", data=body, headers=sent) as answer:
        return answer.status, await answer.text()


@pytest.mark.parametrize(("status", "added", "content_type", "encoding"), [
    (400, b"&full_name=\xff", FORM_TYPE, "identity"),
    (400, b"&full_name=%FF", FORM_TYPE, "identity"),
    (400, b"&full_name=%ED%A0%80", FORM_TYPE, "identity"),
    (400, b"&a=1" * 40, FORM_TYPE, "identity"),
    (415, b"", f"{FORM_TYPE}; charset=bogus", "identity"),
    (415, b"", f"{FORM_TYPE}; charset=utf-7", "identity"),
    (415, b"", f"{FORM_TYPE}; charset=utf-16", "identity"),
    (415, b"", "multipart/form-data; boundary=x", "identity"),
    (415, b"", FORM_TYPE, "gzip"),
    (422, b"", f"{FORM_TYPE}; charset=UTF-8", "identity"),
])
async def test_forms_are_utf_8_or_refused(
    site: Site, caplog: pytest.LogCaptureFixture, status: int, added: bytes, content_type: str, encoding: str,
) -> None:
    """Bytes and charsets that cannot be read get a page that says so: 400 or 415, and no traceback in the log."""
    person = await site.person()
    token = (await person.get("/dang-ky")).form().fields["form_token"]
    answered, html = await _post(
        person, f"form_token={token}".encode() + added, Content_Type=content_type, Content_Encoding=encoding,
    )
    assert (status, 1) == (answered, html.count("<h1>"))
    assert [] == [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert "Xác thực số điện thoại" == (await person.submit(await person.get("/dang-ky"), **FORM)).heading
