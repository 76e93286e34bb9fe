"""Registration at the sample portal, from the form to the account."""

from __future__ import annotations

import asyncio

from portal.walk import FORM, ID_NUMBER, NAME, OTHER_PHONE, PASSWORD, PHONE, Site

from otp_service.core.evidence import OwnershipOutcome


async def test_registration_walks_through(site: Site) -> None:
    """Form, code, password twice, account: it holds the form's data and an argon2id hash (the steps of 2021)."""
    person = await site.person()
    page = await person.submit(await person.get("/dang-ky"), **FORM)
    assert (200, "Xác thực số điện thoại") == (page.status, page.heading)
    verification_id = await site.enter_code(page)
    page = await person.get("/dang-ky/ket-qua", verification_id=verification_id)
    assert "Đặt mật khẩu" == page.heading
    page = await person.submit(page, password=PASSWORD, password_again=PASSWORD)
    assert ("Đăng ký thành công", "/dang-ky/ket-qua") == (page.heading, page.path)
    (account,) = site.rows("accounts")
    assert (ID_NUMBER, NAME, "1990-01-01", "+84900000001", verification_id) == tuple(
        account[name] for name in ("id_number", "full_name", "birth_date", "phone_number", "verification_id")
    )
    assert account["password_hash"].startswith("$argon2id$")


async def test_portal_is_an_ordinary_client(site: Site) -> None:
    """The start names purpose, reference, return and webhook address; all that is personal goes in its body."""
    person = await site.person()
    page = await person.submit(await person.get("/dang-ky"), **FORM)
    started = {"id": page.form().action.rsplit("/", 1)[1]}
    found = await site.stage.read(started)
    assert ("registration", site.rows("flows")[0]["id"]) == (found["purpose"], found["reference"])
    assert {"client_token"} == set(page.form().fields)
    # No address that anybody keeps has the token.
    assert not any("vt_" in str(line) for line in site.stage.lines())
    assert "vt_" not in page.url


async def test_a_right_code_for_anothers_sim_opens_nothing(site: Site) -> None:
    """A verdict that is not verified is explained, and neither the page nor a forged post opens an account."""
    site.stage.engine.source.outcome = OwnershipOutcome.MISMATCH
    person = await site.person()
    page = await site.verified(person, **FORM)
    assert "Chưa xác nhận được SIM chính chủ" == page.heading
    assert "TTTB [số CCCD] gửi 1414" in page.text
    assert f"/dang-ky?luot={site.rows('flows')[0]['id']}" in page.html
    token = (await person.get("/dang-ky")).form().fields["form_token"]
    forged = await person.post("/dang-ky/hoan-tat", {
        "form_token": token, "verification_id": page.query["verification_id"], "password": PASSWORD,
        "password_again": PASSWORD,
    })
    assert (409, "Kết quả xác thực không dùng được") == (forged.status, forged.heading)
    assert [] == site.rows("accounts")


async def test_every_bad_field_is_told_at_once(site: Site) -> None:
    """An empty form comes back with each field's error beside it, tied to it, and a list above with links."""
    person = await site.person()
    page = await person.submit(await person.get("/dang-ky"), full_name="  ")
    assert 422 == page.status
    assert page.title.startswith("Cần sửa: ")
    for name in FORM:
        assert f'href="#{name}"' in page.html
        assert f'id="{name}-error-1"' in page.html
    assert 4 == page.html.count('aria-invalid="true"')
    assert page.html.index('role="alert"') < page.html.index('name="id_number"')


async def test_the_services_sentences_stand_beside_the_fields(site: Site) -> None:
    """What only the service can judge, such as an 11-digit number of before 2018, is told beside its field too."""
    person = await site.person()
    page = await person.submit(await person.get("/dang-ky"), **{**FORM, "phone_number": "01230000001"})
    assert 422 == page.status
    assert "số 11 chữ số cũ" in page.alert
    assert "0830000001" in page.text
    assert "01230000001" == page.form().fields["phone_number"]
    assert [] == site.rows("flows")


async def test_an_id_number_has_one_account(site: Site) -> None:
    """A second registration is told "CMT hoặc CCCD đã được đăng ký", with the two ways on, before any SMS."""
    await site.registered(await site.person())
    sent = len(site.stage.engine.postbox.posts)
    person = await site.person()
    page = await person.submit(
        await person.get("/dang-ky"), **{**FORM, "id_number": "0520 9000 0001", "phone_number": OTHER_PHONE},
    )
    assert 409 == page.status
    assert "CMT hoặc CCCD đã được đăng ký" in page.alert
    assert 'href="/dang-nhap"' in page.html
    assert 'href="/quen-mat-khau"' in page.html
    assert sent == len(site.stage.engine.postbox.posts)


async def test_two_who_finish_at_once_get_one_account(site: Site) -> None:
    """Of two flows of one ID number that both were verified, one opens the account, the other is told that it is."""
    one, two = await site.person(), await site.person()
    pages = [await site.verified(one, **FORM), await site.verified(two, **{**FORM, "phone_number": OTHER_PHONE})]
    done = await asyncio.gather(*(
        person.submit(page, password=PASSWORD, password_again=PASSWORD)
        for person, page in zip((one, two), pages, strict=True)
    ))
    assert [200, 409] == sorted(page.status for page in done)
    assert 1 == len(site.rows("accounts"))


async def test_password_rules(site: Site) -> None:
    """A weak password and two that differ come back with what is missing, and the verdict is still there to be used."""
    person = await site.person()
    page = await site.verified(person, **FORM)
    page = await person.submit(page, password="matkhau", password_again="matkhau1")
    assert 422 == page.status
    for rule in ("ít nhất 8 ký tự", "chữ hoa", "chữ số", "ký tự đặc biệt", "không giống nhau"):
        assert rule in page.alert
    assert "chữ thường (a–z)" not in page.alert
    assert "matkhau" not in page.html
    page = await person.submit(page, password=PASSWORD, password_again=PASSWORD)
    assert "Đăng ký thành công" == page.heading


async def test_pressing_twice_costs_one_sms(site: Site) -> None:
    """The same form sent twice, at once or again, is one verification and one SMS."""
    person = await site.person()
    form = await person.get("/dang-ky")
    pages = await asyncio.gather(*(person.submit(form, **FORM) for _ in range(3)))
    pages.append(await person.submit(form, **FORM))
    assert 1 == len({page.path for page in pages})
    assert 1 == len({page.form().action for page in pages})
    assert 1 == len(site.rows("flows"))


async def test_pressing_register_twice_opens_one_account(site: Site) -> None:
    """The last button pressed three times at once ends on the same page each time."""
    person = await site.person()
    page = await site.verified(person, **FORM)
    done = await asyncio.gather(*(
        person.submit(page, password=PASSWORD, password_again=PASSWORD) for _ in range(3)
    ))
    assert ["Đăng ký thành công"] * 3 == [seen.heading for seen in done]
    assert 1 == len(site.rows("accounts"))


async def test_coming_back_without_the_code(site: Site) -> None:
    """Whoever comes back from the code page may go on, or correct the form, which is filled in."""
    person = await site.person()
    page = await person.submit(await person.get("/dang-ky"), **FORM)
    verification_id = page.form().action.rsplit("/", 1)[1]
    back = await person.get("/dang-ky/ket-qua", verification_id=verification_id)
    assert "Chưa nhập mã xác thực" == back.heading
    form = await person.get("/dang-ky", luot=site.rows("flows")[0]["id"])
    assert (PHONE, "01/01/1990") == (form.form().fields["phone_number"], form.form().fields["birth_date"])
    again = await person.get(page.path)
    assert page.form().fields == again.form().fields
    # A corrected form is another verification; the cooldown of the same phone holds for it.
    refused = await person.submit(form, full_name="NGUYỄN VĂN AN")
    assert 429 == refused.status
    assert "thử lại sau" in refused.alert
    await site.stage.advance(61)
    assert "Xác thực số điện thoại" == (await person.submit(refused)).heading
    assert (await person.get("/dang-ky/ket-qua", verification_id=verification_id)).heading.startswith("Lần này đã được")


async def test_after_the_end_the_same_form_begins_anew(site: Site) -> None:
    """An expired verification is explained, and the form sent again is a new one with a new SMS."""
    person = await site.person()
    form = await person.get("/dang-ky")
    page = await person.submit(form, **FORM)
    first = page.form().action.rsplit("/", 1)[1]
    await site.stage.until({"id": first}, delivery="sent")
    await site.stage.advance(901)
    assert "Đã hết thời gian" == (await person.get("/dang-ky/ket-qua", verification_id=first)).heading
    # The webhook has told the portal meanwhile: the very same form, from the browser's history, begins anew too.
    await site.tell()
    again = await person.submit(form, **FORM)
    assert first != again.form().action.rsplit("/", 1)[1]
    assert 2 == len(site.rows("flows"))


async def test_too_many_wrong_codes(site: Site) -> None:
    """A locked verification opens nothing, and says what to do."""
    person = await site.person()
    page = await person.submit(await person.get("/dang-ky"), **FORM)
    for _ in range(5):
        verification_id = await site.enter_code(page, right=False)
    ended = await person.get("/dang-ky/ket-qua", verification_id=verification_id)
    assert "Đã nhập sai mã quá nhiều lần" == ended.heading
    assert [] == site.rows("accounts")


async def test_cmnd_registers_too(site: Site) -> None:
    """A CMND of nine digits is an ID number like any other."""
    page = await site.registered(await site.person(), id_number="210 000 003")
    assert "Đăng ký thành công" == page.heading
    assert "210000003" == site.rows("accounts")[0]["id_number"]


async def test_no_reading_changes_anything(site: Site) -> None:
    """Invariant 12: looking at every page of a verified flow, again and again, uses nothing up."""
    person = await site.person()
    page = await site.verified(person, **FORM)
    for path in ("/", "/dang-ky", "/dang-nhap", "/quen-mat-khau", "/tai-khoan", "/livez"):
        await person.get(path)
    before = {table: site.rows(table) for table in ("accounts", "flows", "sign_ins", "webhooks", "old_accounts")}
    for _ in range(3):
        page = await person.get("/dang-ky/ket-qua", verification_id=page.query["verification_id"])
    assert before == {table: site.rows(table) for table in before}
    assert "Đặt mật khẩu" == page.heading
