"""Sessions: made by this portal alone, and over when somebody has signed out."""

from __future__ import annotations

from pathlib import Path

import pytest
from portal.walk import ID_NUMBER, NEW_PASSWORD, PASSWORD, OpenSite, Person, Seen, Site

from otp_service.sample_portal.server_key import ServerKey, read_server_key
from otp_service.sample_portal.settings import SettingsInvalid

COOKIE = "portal_session"


async def _planted(site: Site, value: str) -> tuple[Person, Seen]:
    person = await site.person()
    person.take(value)
    return person, await person.get("/dang-ky")


async def test_a_planted_session_is_replaced(site: Site) -> None:
    """A value that this portal did not make, or that was changed by a character, is answered with a new one."""
    owner = await site.person()
    await owner.get("/dang-ky")
    own = owner.cookie or ""
    changed = own[:-1] + ("0" if own[-1] != "0" else "1")
    other = "A" + own[1:] if own[0] != "A" else "B" + own[1:]
    for value in ("A" * 43, own[:43], f"{'A' * 43}.{'0' * 64}", changed, other, ""):
        person, page = await _planted(site, value)
        assert COOKIE in page.headers.get("Set-Cookie", "")
        assert value != person.cookie
    same, page = await _planted(site, own)
    assert ("Set-Cookie" in page.headers, own) == (False, same.cookie)


async def test_sessions_outlive_the_process(open_site: OpenSite) -> None:
    """The key is made once: after a restart a cookie of before is known, and its holder still signed in."""
    async with open_site() as site:
        await site.registered(person := await site.person())
        await site.signed_in(person)
        cookie = person.cookie or ""
    async with open_site() as site:
        again, _ = await _planted(site, cookie)
        assert "/tai-khoan" == (await again.get("/tai-khoan")).path
        assert 0o600 == (site.data_dir / "portal.key").stat().st_mode & 0o777
        assert cookie.partition(".")[0].encode() not in (site.data_dir / "portal.sqlite3").read_bytes()


def test_the_server_key(tmp_path: Path) -> None:
    """One key for good, closed again should its mode have changed; a file that is no key is refused, not replaced."""
    first = read_server_key(tmp_path / "new").derived("a")
    path = tmp_path / "new" / "portal.key"
    path.chmod(0o644)
    assert first == read_server_key(tmp_path / "new").derived("a")
    assert 0o600 == path.stat().st_mode & 0o777
    assert ["portal.key"] == [one.name for one in path.parent.iterdir()]
    assert first != read_server_key(tmp_path / "other").derived("a")
    assert ServerKey(b"k").derived("a") != ServerKey(b"k").derived("b")
    path.write_bytes(b"")
    with pytest.raises(SettingsInvalid, match="no key"):
        read_server_key(tmp_path / "new")


@pytest.mark.parametrize("clicks", [1, 2])
async def test_signing_out_cannot_be_undone(site: Site, clicks: int) -> None:
    """The last post of the sign-in, repeated at once with the cookie of before, signs nobody in after signing out."""
    await site.registered(person := await site.person())
    await site.stage.advance(61)
    page = await site.verified(person, "/dang-nhap", id_number=ID_NUMBER, password=PASSWORD)
    before = person.cookie or ""
    for _ in range(clicks):
        person.take(before)
        account = await person.submit(page)
        assert "/tai-khoan" == account.path
    assert clicks == len(site.rows("sign_ins"))
    await person.submit(account, "/dang-xuat")
    thief, _ = await _planted(site, before)
    assert ("/dang-nhap", []) == ((await thief.submit(page)).path, site.rows("sign_ins"))


async def test_a_new_password_ends_second_clicks_too(site: Site) -> None:
    """Whoever pressed the button just before the password was replaced is not signed in by pressing it again."""
    await site.registered(person := await site.person())
    await site.stage.advance(61)
    fields = {"id_number": ID_NUMBER, "phone_number": "0900000001"}
    reset = await site.verified(owner := await site.person(), "/quen-mat-khau", **fields)
    await site.stage.advance(61)
    page = await site.verified(person, "/dang-nhap", id_number=ID_NUMBER, password=PASSWORD)
    before = person.cookie or ""
    await person.submit(page)
    await owner.submit(reset, password=NEW_PASSWORD, password_again=NEW_PASSWORD)
    thief, _ = await _planted(site, before)
    assert ("/dang-nhap", []) == ((await thief.submit(page)).path, site.rows("sign_ins"))
