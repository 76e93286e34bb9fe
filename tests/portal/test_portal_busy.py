"""A portal with more passwords to hash than it can: a short wait, then a page that says so, and nothing spent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from portal.walk import CHEAP, FORM, ID_NUMBER, NEW_PASSWORD, PASSWORD, PHONE, OpenSite, Seen

from otp_service.sample_portal.passwords import Busy, Passwords

FINISH = {"password": PASSWORD, "password_again": PASSWORD}


@pytest.fixture
def passwords() -> Passwords:
    """Give the portal's passwords, with less patience than people have."""
    return Passwords(CHEAP, patience_s=0.05)


@asynccontextmanager
async def _all_places_taken(passwords: Passwords) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(passwords.place())
        yield


def _is_busy(page: Seen) -> bool:
    return (503, "Hệ thống đang bận", "5") == (page.status, page.heading, page.headers.get("Retry-After"))


async def test_a_place_is_waited_for_and_given_back(passwords: Passwords) -> None:
    """Two hash at once; a third waits a little, gets a place that comes free meanwhile, and is else told to go."""
    async with _all_places_taken(passwords):
        with pytest.raises(Busy):
            async with passwords.place():
                pytest.fail("a third place")
        patient = Passwords(CHEAP)
    async with patient.place():
        async with patient.place():
            waiting = asyncio.create_task(_visit(patient))
            await asyncio.sleep(0)
            assert not waiting.done()
        await waiting
    async with _all_places_taken(passwords):
        pass


async def _visit(passwords: Passwords) -> None:
    async with passwords.place():
        pass


async def test_sign_in_when_busy_costs_no_guess(open_site: OpenSite, passwords: Passwords) -> None:
    """Each try is answered with 503 and Retry-After, however many, and afterwards the password is right as ever."""
    async with open_site(passwords=passwords) as site:
        await site.registered(person := await site.person())
        form = await person.get("/dang-nhap")
        async with _all_places_taken(passwords):
            pages = await asyncio.gather(*(
                person.submit(form, id_number=ID_NUMBER, password="Sai-mat-khau-1") for _ in range(20)
            ))
            assert all(map(_is_busy, pages))
        assert [] == site.rows("guesses")
        assert "/tai-khoan" == (await site.signed_in(person)).path


@pytest.mark.parametrize("path", ["/dang-ky", "/quen-mat-khau"])
async def test_a_new_password_when_busy_uses_nothing_up(open_site: OpenSite, passwords: Passwords, path: str) -> None:
    """The verdict waits: the same button pressed later opens the account, or replaces its password."""
    async with open_site(passwords=passwords) as site:
        person = await site.person()
        if path == "/quen-mat-khau":
            await site.registered(person)
            await site.stage.advance(61)
        fields = {name: FORM[name] for name in (FORM if path == "/dang-ky" else ("id_number", "phone_number"))}
        page = await site.verified(person, path, **fields)
        async with _all_places_taken(passwords):
            assert _is_busy(await person.submit(page, password=NEW_PASSWORD, password_again=NEW_PASSWORD))
        await person.submit(page, password=NEW_PASSWORD, password_again=NEW_PASSWORD)
        assert "/tai-khoan" == (await site.signed_in(person, password=NEW_PASSWORD)).path


@pytest.mark.parametrize(("path", "fields"), [
    ("/dang-ky", FORM), ("/quen-mat-khau", {"id_number": ID_NUMBER, "phone_number": PHONE}),
])
async def test_without_a_verdict_nothing_is_hashed(
    open_site: OpenSite, passwords: Passwords, path: str, fields: dict[str, str],
) -> None:
    """A forged last post of a flow whose code was never entered takes no place, and so keeps nobody waiting."""
    async with open_site(passwords=passwords) as site:
        person = await site.person()
        page = await person.submit(await person.get(path), **fields)
        verification_id = page.form().action.rsplit("/", 1)[1]
        token = (await person.get(path)).form().fields["form_token"]
        async with _all_places_taken(passwords):
            forged = await person.post(f"{path}/hoan-tat", {
                "form_token": token, "verification_id": verification_id, **FINISH,
            })
        assert (409, "Kết quả xác thực không dùng được") == (forged.status, forged.heading)
