"""What every page of the sample portal keeps: policy, labels, nothing from elsewhere, little to load."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from portal.walk import FORM, ID_NUMBER, PASSWORD, Seen, Site, ids_in
from yarl import URL

from otp_service.sample_portal.people import OLD_LOGINS, PEOPLE, SYSTEMS

_SUBSCRIBERS = Path(__file__).parents[2] / "config" / "sample" / "subscribers.csv"


async def _pages(site: Site) -> list[Seen]:
    """Return one page of each kind."""
    person = await site.person()
    pages = [await person.get(path) for path in ("/", "/dang-ky", "/dang-nhap", "/quen-mat-khau", "/nowhere")]
    empty = await person.submit(pages[1])
    handover = await person.submit(pages[1], **FORM)
    verification_id = handover.form().action.rsplit("/", 1)[1]
    pending = await person.get("/dang-ky/ket-qua", verification_id=verification_id)
    await site.enter_code(handover)
    password = await person.get("/dang-ky/ket-qua", verification_id=verification_id)
    weak = await person.submit(password)
    done = await person.submit(password, password=PASSWORD, password_again=PASSWORD)
    account = await site.signed_in(person)
    link = await person.get("/tai-khoan/lien-ket")
    bad_link = await person.submit(link)
    old_password = await person.submit(link, system="mot-cua-mau", code=ID_NUMBER)
    return [
        *pages, empty, handover, pending, password, weak, done, account, link, bad_link, old_password,
    ]


async def test_every_page(site: Site) -> None:
    """Strict policy, no-store, one heading, a language, a label for every field, and every reference resolved."""
    for page in await _pages(site):
        policy = page.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert ("no-store", "nosniff", "same-origin") == tuple(
            page.headers[name] for name in ("Cache-Control", "X-Content-Type-Options", "Referrer-Policy")
        )
        assert (1, 1) == (page.html.count("<h1>"), page.html.count('<html lang="vi">'))
        ids = ids_in(page.html)
        assert len(ids) == len(set(ids))
        fields = re.findall(r'<(?:input|select) (?!type="hidden")[^>]*>', page.html)
        for field in fields:
            assert f'<label for="{re.search(" ?id=.([a-z_]+)", field)[1]}">' in page.html  # type: ignore[index]
        referred = re.findall(r'aria-describedby="([^"]*)"', page.html) + re.findall(r'href="#([^"]+)"', page.html)
        assert {one for text in referred for one in text.split()} <= set(ids)
        # No inline script or style, which the policy would stop.
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script>", page.html)


async def test_forms_post_to_the_portal_or_the_service_alone(site: Site) -> None:
    """The page that hands over allows the service's origin for its form; every other page its own alone."""
    for page in await _pages(site):
        targets = {str(URL(form.action).origin()) for form in page.forms} - {site.base}
        allowed = re.search("form-action ([^;]*);", page.headers["Content-Security-Policy"])
        assert allowed is not None
        assert {"'self'", *targets} == set(allowed[1].split())
        assert targets <= {site.stage.base}


async def test_nothing_comes_from_elsewhere_and_little_in_all(site: Site) -> None:
    """A page with its style sheet, script and icon is under 20 kB; they are kept for a year by their digest."""
    person = await site.person()
    for page in await _pages(site):
        total = len(page.html.encode())
        for path in re.findall(r'<(?:link|script)[^>]*(?:href|src)="([^"]+)"', page.html):
            assert path.startswith("/tinh/")
            async with person.http.get(f"{site.base}{path}") as answer:
                assert (200, "public, max-age=31536000, immutable") == (
                    answer.status, answer.headers["Cache-Control"],
                )
                assert "nosniff" == answer.headers["X-Content-Type-Options"]
                assert "Set-Cookie" not in answer.headers
                total += len(await answer.read())
        assert total < 20_000
    assert 404 == (await person.get("/tinh/000000000000/portal.css")).status


async def test_the_cookie(site: Site) -> None:
    """The session's cookie is for this host, unreadable by scripts, and not sent by other sites' forms."""
    person = await site.person()
    page = await person.get("/dang-ky")
    cookie = page.headers["Set-Cookie"]
    for part in ("portal_session=", "HttpOnly", "Path=/", "SameSite=Lax"):
        assert part in cookie
    assert "Set-Cookie" not in (await person.get("/dang-ky")).headers
    assert (person.cookie or "-") not in page.html


async def test_the_people_to_try_with_are_the_samples(site: Site) -> None:
    """Each person of the home page ends at the demo's own table as it says there; old accounts are people of it too."""
    with _SUBSCRIBERS.open(encoding="utf-8") as file:
        rows = {row["phone_number"]: row for row in csv.DictReader(file)}
    for person in PEOPLE:
        row = rows[f"+84{person.phone_number[1:]}"]
        own = row["id_number"] == person.id_number and row["status"] == "active"
        assert own is ("đăng ký được" in person.ends)
        namesakes = [other for other in rows.values() if other["id_number"] == person.id_number]
        assert all(person.full_name == other["full_name"] for other in namesakes)
    assert {login.code for login in OLD_LOGINS} <= {person.id_number for person in PEOPLE}
    assert {login.system for login in OLD_LOGINS} == set(SYSTEMS)
    home = await (await site.person()).get("/")
    for text in (PEOPLE[0].phone_number, OLD_LOGINS[0].password, f"{site.stage.base}/demo/phone"):
        assert text in home.html


async def test_what_is_typed_is_shown_as_text(site: Site) -> None:
    """Markup in a field comes back as characters."""
    person = await site.person()
    evil = '"><script>alert(1)</script>'
    page = await person.submit(await person.get("/dang-ky"), full_name=evil, id_number=evil)
    assert 422 == page.status
    assert "<script>alert" not in page.html
    assert evil == page.form().fields["full_name"]


async def test_odd_requests_are_answered_with_pages(site: Site) -> None:
    """A method that a page lacks, and a body beyond all forms, get a page and no trace of themselves."""
    person = await site.person()
    form = await person.get("/dang-ky")
    async with person.http.put(f"{site.base}/dang-ky") as answer:
        assert 405 == answer.status
    big = await person.submit(form, full_name="A" * 40_000)
    assert (413, "Thông tin gửi lên quá dài") == (big.status, big.heading)
    async with person.http.get(f"{site.base}/livez") as answer:
        assert {"status": "ok"} == await answer.json()
