"""Signing in and out, a forgotten password, and linking an old account."""

from __future__ import annotations

import asyncio

from portal.walk import FORM, ID_NUMBER, NEW_PASSWORD, OTHER_ID, OTHER_PHONE, PASSWORD, PHONE, Person, Seen, Site

from otp_service.core.evidence import OwnershipOutcome
from otp_service.sample_portal.people import OLD_LOGINS, SYSTEMS

(SYSTEM,) = SYSTEMS
OLD = {login.code: login.password for login in OLD_LOGINS}


async def _asked(person: Person, id_number: str, password: str) -> Seen:
    return await person.submit(await person.get("/dang-nhap"), id_number=id_number, password=password)


async def test_sign_in(site: Site) -> None:
    """Password, code, button: signed in under a new session, and out again."""
    person = await site.person()
    await site.registered(person)
    before = person.cookie
    page = await site.signed_in(person)
    assert ("/tai-khoan", "Tài khoản của bạn") == (page.path, page.heading)
    assert "NGUYỄN VĂN A" in page.text
    assert ID_NUMBER not in page.html
    assert before != person.cookie
    left = await person.submit(page, "/dang-xuat")
    assert ("/", []) == (left.path, site.rows("sign_ins"))
    assert "/dang-nhap" == (await person.get("/tai-khoan")).path


async def test_unknown_people_and_wrong_passwords_look_the_same(site: Site) -> None:
    """The answer does not say who has an account, and neither sends an SMS."""
    await site.registered(await site.person())
    sent = len(site.stage.engine.postbox.posts)
    wrong = await _asked(await site.person(), ID_NUMBER, "Sai-mat-khau-1")
    unknown = await _asked(await site.person(), OTHER_ID, "Sai-mat-khau-1")
    assert (422, 422) == (wrong.status, unknown.status)
    assert wrong.alert == unknown.alert
    assert "không đúng" in wrong.alert
    assert sent == len(site.stage.engine.postbox.posts)


async def test_guessing_is_bounded_for_known_and_unknown_people(site: Site) -> None:
    """After five wrong passwords even the right one waits, whether or not there is such an account."""
    await site.registered(await site.person())
    person = await site.person()
    for id_number in (ID_NUMBER, OTHER_ID):
        for _ in range(5):
            assert 422 == (await _asked(person, id_number, "Sai-mat-khau-1")).status
        assert 429 == (await _asked(person, id_number, PASSWORD)).status


async def test_many_guesses_at_once_are_counted(site: Site) -> None:
    """Twenty guesses sent together are no more than five."""
    await site.registered(await site.person())
    person = await site.person()
    form = await person.get("/dang-nhap")
    answers = await asyncio.gather(*(
        person.submit(form, id_number=ID_NUMBER, password=f"Sai-mat-khau-{at}") for at in range(20)
    ))
    assert 15 == sum(one.status == 429 for one in answers)


async def test_passwords_that_nobody_can_have_cost_no_guesses(site: Site) -> None:
    """Over 128 characters is told before anything is counted or hashed, at sign-in and at linking alike."""
    await site.registered(person := await site.person())
    long = "Aa1!" + "a" * 125
    for _ in range(6):
        refused = await _asked(person, ID_NUMBER, long)
        assert (422, True) == (refused.status, "128 ký tự" in refused.alert)
    await site.signed_in(person)
    page = await _choosing(person)
    for _ in range(6):
        assert "128 ký tự" in (await person.submit(page, password=long)).alert
    assert [] == site.rows("guesses")
    assert "Liên kết tài khoản cũ" == (await _linked(site, person)).heading


async def test_a_password_alone_does_not_sign_in(site: Site) -> None:
    """Without the code the last post is refused, and the verdict of another's sign-in is nobody's business."""
    person, other = await site.person(), await site.person()
    await site.registered(person)
    await site.stage.advance(61)
    page = await _asked(person, ID_NUMBER, PASSWORD)
    verification_id = page.form().action.rsplit("/", 1)[1]
    token = (await person.get("/dang-ky")).form().fields["form_token"]
    refused = await person.post("/dang-nhap/hoan-tat", {"form_token": token, "verification_id": verification_id})
    assert (409, []) == (refused.status, site.rows("sign_ins"))
    await site.enter_code(page)
    assert 404 == (await other.get("/dang-nhap/ket-qua", verification_id=verification_id)).status


async def test_a_second_click_signs_in_too(site: Site) -> None:
    """Pressed twice, with the first answer dropped by the browser, the person is in; much later the verdict is used."""
    person = await site.person()
    await site.registered(person)
    await site.stage.advance(61)
    page = await site.verified(person, "/dang-nhap", id_number=ID_NUMBER, password=PASSWORD)
    old = person.cookie
    pages = await asyncio.gather(*(person.submit(page) for _ in range(2)))
    assert ["/tai-khoan"] * 2 == [one.path for one in pages]
    await site.stage.advance(31)
    thief = await site.person()
    thief.take(old or "")
    late = await thief.submit(page)
    assert ("/dang-nhap", 2) == (late.path, len(site.rows("sign_ins")))


async def test_a_forgotten_password(site: Site) -> None:
    """A code to the phone, a new password twice; the old one is dead, and so is every session."""
    person = await site.person()
    await site.registered(person)
    await site.signed_in(person)
    somebody = await site.person()
    await site.stage.advance(61)
    page = await site.verified(somebody, "/quen-mat-khau", id_number=ID_NUMBER, phone_number="+84 900 000 001")
    assert "Đặt mật khẩu mới" == page.heading
    page = await somebody.submit(page, password=NEW_PASSWORD, password_again=NEW_PASSWORD)
    assert "Đã đổi mật khẩu" == page.heading
    assert "/dang-nhap" == (await person.get("/tai-khoan")).path
    assert 422 == (await _asked(person, ID_NUMBER, PASSWORD)).status
    await site.signed_in(person, password=NEW_PASSWORD)


async def test_a_forgotten_password_says_nothing_before_the_code(site: Site) -> None:
    """Known, unknown and another's phone begin alike; after the code, only the account's own phone changes it."""
    await site.registered(await site.person())
    await site.stage.advance(61)
    before = site.rows("accounts")
    pages = []
    for id_number, phone in ((ID_NUMBER, OTHER_PHONE), (OTHER_ID, PHONE)):
        person = await site.person()
        page = await person.submit(await person.get("/quen-mat-khau"), id_number=id_number, phone_number=phone)
        pages.append(page)
        verification_id = await site.enter_code(page)
        page = await person.get("/quen-mat-khau/ket-qua", verification_id=verification_id)
        page = await person.submit(page, password=NEW_PASSWORD, password_again=NEW_PASSWORD)
        assert (409, "Chưa có tài khoản như vậy") == (page.status, page.heading)
    assert 1 == len({(page.status, page.heading, page.text) for page in pages})
    assert before == site.rows("accounts")


async def _choosing(person: Person, code: str = ID_NUMBER) -> Seen:
    return await person.submit(await person.get("/tai-khoan/lien-ket"), system=SYSTEM, code=code)


async def _linked(site: Site, person: Person, code: str = ID_NUMBER) -> Seen:
    await site.stage.advance(61)
    page = await person.submit(await _choosing(person, code), password=OLD[code])
    verification_id = await site.enter_code(page)
    return await person.get("/tai-khoan/lien-ket/ket-qua", verification_id=verification_id)


async def test_linking(site: Site) -> None:
    """System, registration code, old password, code by SMS, button: the old account stands on the account's page."""
    person = await site.person()
    await site.registered(person)
    await site.signed_in(person)
    assert "Chưa có tài khoản nào được liên kết" in (await person.get("/tai-khoan")).text
    page = await _linked(site, person)
    assert ("Liên kết tài khoản cũ", 200) == (page.heading, page.status)
    page = await person.submit(page)
    assert "/tai-khoan" == page.path
    assert f"{SYSTEMS[SYSTEM]}: mã đăng ký •••••••••001" in page.text
    assert [1] == [one["account_id"] for one in site.rows("old_accounts") if one["account_id"] is not None]


async def test_linking_needs_the_old_password(site: Site) -> None:
    """An unknown code and a wrong password are answered alike, guesses are bounded, and no step can be left out."""
    person = await site.person()
    await site.registered(person)
    await site.signed_in(person)
    wrong = await person.submit(await _choosing(person), password="Sai-mat-khau-1")
    unknown = await person.submit(await _choosing(person, "052090000099"), password="Sai-mat-khau-1")
    assert (422, wrong.alert) == (unknown.status, unknown.alert)
    page = await _choosing(person)
    token = page.form().fields["form_token"]
    flow = page.query["luot"]
    sent = len(site.stage.engine.postbox.posts)
    skipped = await person.post(f"/xac-thuc/{flow}", {"form_token": token, "proof": "none"})
    assert (404, sent) == (skipped.status, len(site.stage.engine.postbox.posts))
    for _ in range(4):
        await person.submit(page, password="Sai-mat-khau-1")
    assert 429 == (await person.submit(page, password=OLD[ID_NUMBER])).status


async def test_linking_takes_a_persons_own_old_account_alone(site: Site) -> None:
    """Another's old account is not linked with its right password, and the answer is that of a wrong one."""
    person = await site.person()
    await site.registered(person)
    await site.signed_in(person)
    await site.stage.advance(61)
    sent = len(site.stage.engine.postbox.posts)
    wrong = await person.submit(await _choosing(person), password="Sai-mat-khau-1")
    others = await person.submit(await _choosing(person, OTHER_ID), password=OLD[OTHER_ID])
    assert (422, wrong.alert) == (others.status, others.alert)
    assert "không đúng" in others.alert
    assert sent == len(site.stage.engine.postbox.posts)
    # Nor has it cost the other person any of their own guesses.
    for _ in range(4):
        await person.submit(await _choosing(person, OTHER_ID), password=OLD[OTHER_ID])
    owner = await site.person()
    await site.registered(owner, id_number=OTHER_ID, phone_number=OTHER_PHONE)
    await site.signed_in(owner, OTHER_ID)
    assert "Liên kết tài khoản cũ" == (await _linked(site, owner, OTHER_ID)).heading


async def test_linking_needs_the_sim(site: Site) -> None:
    """A SIM that is no longer the person's links nothing."""
    person = await site.person()
    await site.registered(person)
    await site.signed_in(person)
    site.stage.engine.source.outcome = OwnershipOutcome.MISMATCH
    page = await _linked(site, person)
    assert "Chưa xác nhận được SIM chính chủ" == page.heading
    assert not any(one["account_id"] for one in site.rows("old_accounts"))


async def test_an_old_account_is_linked_once(site: Site) -> None:
    """What was linked is not linked again, not even with a verdict that waited meanwhile."""
    person = await site.person()
    await site.registered(person)
    await site.signed_in(person)
    pages = [await _linked(site, person), await _linked(site, person)]
    assert "/tai-khoan" == (await person.submit(pages[0])).path
    late = await person.submit(pages[1])
    assert (409, "Chưa liên kết được") == (late.status, late.heading)
    page = await person.submit(await _choosing(person), password=OLD[ID_NUMBER])
    assert "đã được liên kết" in page.alert
    assert [1] == [row["account_id"] for row in site.rows("old_accounts") if row["account_id"]]


async def test_pages_of_an_account_want_somebody_signed_in(site: Site) -> None:
    """Everybody else is sent to sign in, also after an hour."""
    person = await site.person()
    for path in ("/tai-khoan", "/tai-khoan/lien-ket", "/tai-khoan/lien-ket/mat-khau", "/tai-khoan/lien-ket/ket-qua"):
        assert "/dang-nhap" == (await person.get(path)).path
    await site.registered(person)
    await site.signed_in(person)
    assert "/tai-khoan" == (await person.get("/tai-khoan")).path
    await site.stage.advance(3600)
    assert "/dang-nhap" == (await person.get("/tai-khoan")).path


async def test_forms_with_nothing_in_them(site: Site) -> None:
    """Each form sent empty comes back with its fields marked, and asks the service nothing."""
    person = await site.person()
    await site.registered(person, **FORM)
    for path, fields in (("/dang-nhap", 2), ("/quen-mat-khau", 2)):
        page = await person.submit(await person.get(path))
        assert (422, fields) == (page.status, page.html.count('aria-invalid="true"'))
    await site.signed_in(person)
    page = await person.submit(await person.get("/tai-khoan/lien-ket"), system="nowhere")
    assert (422, 2) == (page.status, page.html.count('aria-invalid="true"'))
    page = await person.submit(await _choosing(person))
    assert (422, 1) == (page.status, page.html.count('aria-invalid="true"'))
