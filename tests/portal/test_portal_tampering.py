"""Whoever walks the page with their own ID number and registers another's fails, whichever way they try."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from portal.walk import FORM, ID_NUMBER, OTHER_ID, OTHER_PHONE, PASSWORD, PHONE, Person, Seen, Site

from otp_service.sample_portal.accounts import Accounts
from otp_service.sample_portal.database import Conflict, opened
from otp_service.sample_portal.flows import FlowData, Flows, Kind
from otp_service.sample_portal.sessions import new_session

VICTIM = "052090000005"
FINISH = {"password": PASSWORD, "password_again": PASSWORD}


async def _token(person: Person) -> str:
    return (await person.get("/dang-ky")).form().fields["form_token"]


async def _waiting(person: Person, **fields: str) -> tuple[Seen, str]:
    """Begin a registration and leave it at the code; returns its page and verification."""
    page = await person.submit(await person.get("/dang-ky"), **{**FORM, **fields})
    return page, page.form().action.rsplit("/", 1)[1]


async def test_fields_added_to_the_last_form_change_nothing(site: Site) -> None:
    """The account is the form's person, whatever ID number, name or phone the last post names."""
    person = await site.person()
    page = await site.verified(person, **FORM)
    await person.submit(
        page, **FINISH, id_number=VICTIM, full_name="PHẠM VĂN Đ", phone_number=OTHER_PHONE, kind="sign_in",
    )
    (account,) = site.rows("accounts")
    assert (ID_NUMBER, "NGUYỄN VĂN A", "+84900000001") == (
        account["id_number"], account["full_name"], account["phone_number"],
    )


async def test_a_form_changed_after_the_code_is_another_flow(site: Site) -> None:
    """The form posted again with a victim's number, after the right code, does not inherit the verdict."""
    person = await site.person()
    form = await person.get("/dang-ky")
    page = await person.submit(form, **FORM)
    verification_id = await site.enter_code(page)
    await site.stage.advance(61)
    changed = await person.submit(form, **{**FORM, "id_number": VICTIM})
    assert changed.form().action != page.form().action
    await person.post("/dang-ky/hoan-tat", {
        "form_token": await _token(person), "verification_id": changed.form().action.rsplit("/", 1)[1], **FINISH,
    })
    assert [] == site.rows("accounts")
    done = await person.post("/dang-ky/hoan-tat", {
        "form_token": await _token(person), "verification_id": verification_id, **FINISH,
    })
    assert "Đăng ký thành công" == done.heading
    assert [ID_NUMBER] == [one["id_number"] for one in site.rows("accounts")]


async def test_a_verdict_moved_to_a_victims_flow_is_refused_by_the_service(site: Site) -> None:
    """Even with the portal's own database turned against it, redeem's expect refuses the other person (Invariant 1)."""
    person = await site.person()
    own = await site.verified(person, **FORM)
    verification_id = own.query["verification_id"]
    _, victims = await _waiting(person, id_number=VICTIM, phone_number=OTHER_PHONE)
    site.change("DELETE FROM flows WHERE verification_id = ?", verification_id)
    site.change("UPDATE flows SET verification_id = ? WHERE verification_id = ?", verification_id, victims)
    page = await person.get("/dang-ky/ket-qua", verification_id=verification_id)
    assert "Đặt mật khẩu" == page.heading
    refused = await person.submit(page, **FINISH)
    assert (409, "Kết quả xác thực không dùng được") == (refused.status, refused.heading)
    assert [] == site.rows("accounts")


async def test_another_sessions_verification_is_no_page_of_ours(site: Site) -> None:
    """A foreign verification id, an unknown one and none at all look the same, to reading and to posting."""
    owner, thief = await site.person(), await site.person()
    page = await site.verified(owner, **FORM)
    token = await _token(thief)
    flow = site.rows("flows")[0]["id"]
    seen = []
    for verification_id in (page.query["verification_id"], "d-k1-aaaaaaaaaaaaaaaaaaaaaaaaaa", "", "../../x"):
        seen.append(await thief.get("/dang-ky/ket-qua", verification_id=verification_id))
        seen.append(await thief.post("/dang-ky/hoan-tat", {
            "form_token": token, "verification_id": verification_id, **FINISH,
        }))
    seen += [await thief.get(f"/xac-thuc/{flow}"), await thief.get(f"/xac-thuc/{flow}/trang-thai")]
    assert {(404, "Không tìm thấy trang")} == {(one.status, one.heading) for one in seen}
    # The form is not filled in for them either.
    assert "" == (await thief.get("/dang-ky", luot=flow)).form().fields["id_number"]
    assert [] == site.rows("accounts")
    assert "Đăng ký thành công" == (await owner.submit(page, **FINISH)).heading


async def test_a_verdict_opens_one_account(site: Site) -> None:
    """A used verdict opens no second account, not even when the portal forgets that it was used (Invariant 10)."""
    person = await site.person()
    page = await site.verified(person, **FORM)
    await person.submit(page, **FINISH)
    again = await person.submit(page, **FINISH)
    assert ("Đăng ký thành công", 1) == (again.heading, len(site.rows("accounts")))
    site.change("DELETE FROM accounts")
    sealed = site.rows("flows")[0]["sealed"]
    site.change("UPDATE flows SET finished_at = NULL, sealed = ?", sealed)
    # The same flow is the same call: it is answered as the first time.
    assert "Đăng ký thành công" == (await person.submit(page, **FINISH)).heading
    # Another flow with the same verdict is another call, and refused.
    site.change("DELETE FROM accounts")
    site.change("DELETE FROM flows")
    _, second = await _restarted(site, person)
    site.change("UPDATE flows SET verification_id = ? WHERE verification_id = ?", page.query["verification_id"], second)
    refused = await person.post("/dang-ky/hoan-tat", {
        "form_token": await _token(person), "verification_id": page.query["verification_id"], **FINISH,
    })
    assert (409, []) == (refused.status, site.rows("accounts"))


async def _restarted(site: Site, person: Person) -> tuple[Seen, str]:
    await site.stage.advance(61)
    return await _waiting(person)


async def test_a_crash_between_redeeming_and_the_account_is_repaired_by_pressing_again(site: Site) -> None:
    """Redeemed and then killed: the same button repeats the same call, and the account is opened (Invariant 11)."""
    person = await site.person()
    page = await site.verified(person, **FORM)
    # An account of the same number in the way stops the portal after it has redeemed.
    site.change(
        "INSERT INTO accounts (id_number, full_name, birth_date, phone_number, password_hash, verification_id, "
        "created_at) VALUES (?, '', '1990-01-01', '', '', 'x', 0)", ID_NUMBER,
    )
    assert 409 == (await person.submit(page, **FINISH)).status
    site.change("DELETE FROM accounts")
    await site.stage.advance(1800)
    assert "Đăng ký thành công" == (await person.submit(page, **FINISH)).heading


@pytest.mark.parametrize("kind", ["/dang-nhap/hoan-tat", "/quen-mat-khau/hoan-tat"])
async def test_a_verdict_serves_its_own_purpose_alone(site: Site, kind: str) -> None:
    """A registration's verdict signs nobody in and replaces no password."""
    await site.registered(await site.person(), id_number=OTHER_ID, phone_number=OTHER_PHONE)
    person = await site.person()
    page = await site.verified(person, **FORM)
    before = site.rows("accounts")
    refused = await person.post(kind, {
        "form_token": await _token(person), "verification_id": page.query["verification_id"], **FINISH,
    })
    assert 404 == refused.status
    assert (before, []) == (site.rows("accounts"), site.rows("sign_ins"))


async def test_posts_come_from_our_own_pages(site: Site) -> None:
    """Without the session's token, with another session's, from another origin or as another type: nothing happens."""
    person, other = await site.person(), await site.person()
    page = await site.verified(person, **FORM)
    good = {**page.form().fields, **FINISH}
    answers = [
        await person.post("/dang-ky/hoan-tat", {**good, "form_token": ""}),
        await person.post("/dang-ky/hoan-tat", {**good, "form_token": await _token(other)}),
        await person.post("/dang-ky/hoan-tat", good, Origin="https://portal.example"),
        await person.post("/dang-ky/hoan-tat", good, Origin="null"),
        await person.post("/dang-ky/hoan-tat", good, Content_Type="text/plain"),
    ]
    assert [403, 403, 403, 403, 415] == [one.status for one in answers]
    assert [] == site.rows("accounts")
    taken = await person.post("/dang-ky/hoan-tat", good, Origin=site.base)
    assert "Đăng ký thành công" == taken.heading


async def test_another_name_for_this_host_is_not_answered(site: Site) -> None:
    """A name that resolves to loopback (DNS rebinding) gets no page with a session."""
    person = await site.person()
    async with person.http.get(f"{site.base}/dang-ky", headers={"Host": "attacker.example"}) as answer:
        assert 404 == answer.status
        assert "register" not in await answer.text()
    assert 200 == (await person.get("/dang-ky")).status


async def test_the_database_does_not_show_what_is_not_finished(site: Site) -> None:
    """Invariant 5: neither phone, ID number, name, client token nor session stands in the file while a flow is open."""
    person = await site.person()
    page, _ = await _waiting(person, id_number=VICTIM)
    token = page.form().fields["client_token"]
    raw = (site.data_dir / "portal.sqlite3").read_bytes()
    for secret in (PHONE, VICTIM, "NGUYỄN VĂN A", token, (person.cookie or "-").partition(".")[0], PASSWORD):
        assert secret.encode() not in raw
    assert 0o600 == (site.data_dir / "portal.sqlite3").stat().st_mode & 0o777


async def test_many_who_press_at_once(site: Site) -> None:
    """Ten people register at once: each gets their own account, none another's (Invariant 1)."""
    async def walk(at: int) -> str:
        person = await site.person()
        page = await site.registered(
            person, id_number=f"05209000000{at}", phone_number=f"090000000{at}",
        )
        return page.heading

    headings = await asyncio.gather(*(walk(at) for at in range(10)))
    assert ["Đăng ký thành công"] * 10 == headings
    assert {(f"05209000000{at}", f"+8490000000{at}") for at in range(10)} == {
        (one["id_number"], one["phone_number"]) for one in site.rows("accounts")
    }


async def test_a_flow_is_used_up_once(tmp_path: Path) -> None:
    """What is opened on a flow is opened with using it up or not at all, however many try (Invariant 10)."""
    session = new_session()
    async with opened(tmp_path) as database:
        flows = Flows(database, lambda: 1000.0)
        accounts = Accounts(database, flows, lambda: 1000.0)
        data = FlowData(phone_number=PHONE, id_number=ID_NUMBER, full_name="A", birth_date="1990-01-01")
        begun = await flows.begin(session, Kind.REGISTRATION, data, "nonce")
        flow = replace(begun, verification_id="v-1")
        await flows.save(session, flow)
        tries = await asyncio.gather(
            *(accounts.open(flow, f"+8490000000{at}", "hash") for at in range(3)), return_exceptions=True,
        )
        assert [None, Conflict, Conflict] == [one and type(one) for one in tries]
        with pytest.raises(Conflict):
            await accounts.replace_password(flow, 1, "hash")
        assert 1 == len(await database.rows("SELECT id FROM accounts"))
