"""``POST /v1/verifications``: what is taken, and how what is not is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis
from web_harness import (
    CLIENTS,
    FULL_WIDTH,
    ID_NUMBER,
    KEY,
    PHONE,
    PUBLIC_URL,
    PURPOSES,
    SIMPLE,
    START,
    TEST_KEY,
    Web,
    serve,
)

from otp_service.service import StartCommand
from otp_service.web.requests import read_start

VERIFICATION_MEMBERS = [
    "id", "status", "reason", "purpose", "reference", "phone_number", "code_length", "send_number", "created_at",
    "expires_at", "code_expires_at", "resend_at", "sends_left", "attempts_left", "delivery", "ownership",
    "client_token", "page_url", "result_token", "warnings",
]


@pytest.fixture
async def service(fake_redis: FakeAsyncRedis) -> AsyncIterator[Web]:
    """Run the service."""
    async with serve(fake_redis) as running:
        yield running


async def refused(service: Web, body: Any, **options: Any) -> dict[str, Any]:
    """Start and be refused; returns the problem document."""
    response = await service.call("POST", "/v1/verifications", body, **options)
    problem: dict[str, Any] = await response.json(content_type="application/problem+json")
    assert response.status == problem["status"]
    assert 400 <= response.status < 500, problem
    return problem


def bad_fields(problem: dict[str, Any]) -> dict[str, str]:
    """Return field → code."""
    return {error["field"]: error["code"] for error in problem["errors"]}


async def test_started(service: Web) -> None:
    """A start answers 201 with the members of the contract, in its order, and where to find the verification."""
    response = await service.call("POST", "/v1/verifications", START)
    body = await response.json()

    assert 201 == response.status
    assert VERIFICATION_MEMBERS == list(body)
    assert f"{PUBLIC_URL}/v1/verifications/{body['id']}" == response.headers["Location"]
    assert {
        "id": body["id"], "status": "pending", "reason": None, "purpose": "registration",
        "reference": "hs-2026-000123", "phone_number": "+84•••••0001", "code_length": 6, "send_number": 1,
        "created_at": "2026-01-31T08:00:00.000Z", "expires_at": "2026-01-31T08:15:00.000Z",
        "code_expires_at": "2026-01-31T08:03:00.000Z", "resend_at": "2026-01-31T08:01:00.000Z", "sends_left": 3,
        "attempts_left": 5, "delivery": "queued",
        "ownership": {"status": "not_checked", "source": None, "assurance": None, "checked_at": None},
        "client_token": body["client_token"], "page_url": f"{PUBLIC_URL}/v/{body['id']}",
        "result_token": None, "warnings": [],
    } == body
    assert body["client_token"].startswith("vt_")


@pytest.mark.parametrize("typed", [
    "0900000001", "+84900000001", "84 900 000 001", "0084900000001", "0900.000.001", "(0900) 000-001", "900000001",
    PHONE.translate(FULL_WIDTH), "tel:+84-900-000-001",
])
async def test_phone_in_every_form(service: Web, typed: str) -> None:
    """A phone is taken in every form people type, full-width digits included."""
    assert "+84•••••0001" == (await service.start(SIMPLE | {"phone_number": typed}))["phone_number"]


@pytest.mark.parametrize("typed", [
    "19001234", "1800 1091", "02838221111", "113", "", "\x000900000001", "0900000001\x00", "09000000011", "abc",
    "+1 202 555 0100", "9" * 41,
])
async def test_phone_that_gets_no_sms(service: Web, typed: str) -> None:
    """Hotlines, landlines, short codes, foreign numbers and rubbish are ``phone_not_mobile``."""
    problem = await refused(service, SIMPLE | {"phone_number": typed})

    assert (422, "phone_not_mobile") == (problem["status"], problem["code"])
    assert "suggestion" not in problem


async def test_pre_2018_number(service: Web) -> None:
    """An old number of 11 digits gets today's form as a suggestion, in the problem and in its sentence."""
    problem = await refused(service, SIMPLE | {"phone_number": "01660000001"})

    assert "0360000001" == problem["suggestion"]
    assert "0360000001" in problem["detail"]


async def test_bad_phone_beside_other_fields(service: Web) -> None:
    """Beside other bad fields the phone is one of ``errors``, with its suggestion."""
    problem = await refused(service, SIMPLE | {"phone_number": "0166 000 0001", "locale": "fr"})

    assert "invalid_request" == problem["code"]
    assert {"phone_number": "phone_not_mobile", "locale": "locale_unknown"} == bad_fields(problem)
    assert "0360000001" == problem["errors"][0]["suggestion"]
    assert "0360000001" in problem["errors"][0]["message"]


async def test_all_errors_at_once(service: Web) -> None:
    """Wrong types, unknown and later members, nested ones and what the purpose needs are told in one answer."""
    problem = await refused(service, {
        "phone_number": 900000001, "purpose": "registration", "previous_id_number": "12", "full_name": "A\x00B",
        "birth_date": "31/02/1990", "reference": "x" * 65, "locale": "fr", "surname": "A",
        "consent": {"notice_version": 1, "given_at": "2026-01-31 08:00", "place": "x"},
        "callback_url": "https://a.example", "return_url": "https://a.example", "official_id": "1", "proof": {},
    }, headers={"Idempotency-Key": "x" * 256})

    assert {
        "Idempotency-Key": "malformed", "phone_number": "wrong_type", "id_number": "id_number_required",
        "previous_id_number": "id_number_malformed", "full_name": "malformed", "birth_date": "birth_date_malformed",
        "end_user_ip": "address_required", "reference": "too_long", "locale": "locale_unknown",
        "surname": "unknown_field", "consent.notice_version": "wrong_type",
        "consent.given_at": "timestamp_malformed", "consent.place": "unknown_field",
        "callback_url": "host_not_registered", "return_url": "host_not_registered", "official_id": "not_supported",
        "proof": "wrong_type",
    } == bad_fields(problem)
    assert all(error["message"] for error in problem["errors"])


@pytest.mark.parametrize(("field", "value", "code"), [
    ("purpose", "nothing", "purpose_unknown"),
    ("purpose", "", "too_short"),
    ("purpose", "x" * 33, "too_long"),
    ("purpose", None, "wrong_type"),
    ("id_number", "12345678", "id_number_malformed"),
    ("id_number", "0520900000011", "id_number_malformed"),
    ("id_number", 52090000001, "wrong_type"),
    ("end_user_ip", "256.1.1.1", "address_malformed"),
    ("end_user_ip", "203.0.113.7/32", "address_malformed"),
    ("end_user_ip", "fe80::1%eth0", "address_malformed"),
    ("end_user_ip", "0" * 100, "address_malformed"),
    ("end_user_ip", 7, "wrong_type"),
    ("full_name", "A" * 101, "too_long"),
    ("full_name", "  ", "too_short"),
    ("full_name", "A\u202eB", "malformed"),
    ("full_name", ["A"], "wrong_type"),
    ("birth_date", "1990-02-30", "birth_date_malformed"),
    ("birth_date", "1899-12-31", "birth_date_malformed"),
    ("birth_date", "2990-01-01", "birth_date_malformed"),
    ("birth_date", "19900131", "birth_date_malformed"),
    ("reference", "", "too_short"),
    ("reference", "ễ" * 22, "too_long"),
    ("reference", "a\nb", "malformed"),
    ("locale", "VI", "locale_unknown"),
    ("consent", "yes", "wrong_type"),
    ("consent", {"notice_version": "1"}, "missing"),
    ("consent", {"notice_version": "1", "given_at": "2026-02-30T08:00:00Z"}, "timestamp_malformed"),
    ("consent", {"notice_version": "1", "given_at": "2026-01-31T08:00:00"}, "timestamp_malformed"),
    ("consent", {"notice_version": "v" * 65, "given_at": "2026-01-31T08:00:00Z"}, "too_long"),
    ("official_id", None, "not_supported"),
])
async def test_bad_field(service: Web, field: str, value: Any, code: str) -> None:
    """A bad field is named with a stable code."""
    problem = await refused(service, START | {field: value})

    assert [code] == list(bad_fields(problem).values())
    assert next(iter(bad_fields(problem))).startswith(field)


@pytest.mark.parametrize("body", [
    {"full_name": "  Nguye\u0302\u0303n  Va\u0306n A "}, {"birth_date": "31/1/1990"}, {"birth_date": "1990-01-31"},
    {"previous_id_number": "210 000 000"}, {"end_user_ip": "2001:db8::1"}, {"end_user_ip": "::ffff:203.0.113.7"},
    {"reference": "ễ" * 21}, {"locale": "en"}, {"id_number": ID_NUMBER.translate(FULL_WIDTH)},
    {"consent": {"notice_version": "1", "given_at": "2026-01-31T08:00:00.123+07:00"}},
    {"full_name": None, "consent": None, "reference": None},
])
async def test_good_field(service: Web, body: dict[str, Any]) -> None:
    """What people type and portals serialise is taken, null for what is left out included."""
    assert "pending" == (await service.start(START | body))["status"]


def test_what_is_made_of_it() -> None:
    """The use case gets one form of everything: E.164, digits, NFC, ISO dates, plain IPv4."""
    client = CLIENTS.get("tinh-portal")
    assert client is not None
    command = read_start(
        START | {
            "phone_number": "0900 000 001", "id_number": "052.090.000.001", "previous_id_number": "210 000 000",
            "full_name": "  Nguye\u0302\u0303n  Va\u0306n A ", "birth_date": "31/1/1990",
            "end_user_ip": "::ffff:203.0.113.7",
        },
        client=client, purposes=PURPOSES, locale="en",
    ).command

    assert StartCommand(
        purpose=PURPOSES["registration"], phone_number="+84900000001", id_number=ID_NUMBER,
        previous_id_number="210000000", full_name="Nguyễn Văn A", birth_date="1990-01-31", end_user_ip="203.0.113.7",
        reference="hs-2026-000123", locale="en",
    ) == command


async def test_null_bytes_everywhere(service: Web) -> None:
    """A null byte is refused in every text and reaches nothing."""
    problem = await refused(service, {name: f"{value}\x00" for name, value in START.items()})

    assert {
        "phone_number": "phone_not_mobile", "purpose": "malformed", "id_number": "id_number_malformed",
        "end_user_ip": "address_malformed", "reference": "malformed",
    } == bad_fields(problem)


async def test_purpose_of_another_client(service: Web) -> None:
    """A purpose that exists but was not given to the client is ``forbidden``."""
    assert "forbidden" == (await refused(service, SIMPLE | {"purpose": "unowned"}))["code"]


async def test_assisted_purpose_needs_no_address(service: Web) -> None:
    """Where an official assists, the end user's address is not asked for."""
    body = START | {"purpose": "assisted_registration", "end_user_ip": None}

    assert "pending" == (await service.start(body))["status"]


async def test_consent_where_required(service: Web) -> None:
    """A purpose that needs consent refuses a start without it and takes one with it."""
    body = SIMPLE | {"purpose": "agreed"}
    consent = {"notice_version": "2026-01", "given_at": "2026-01-31T08:00:00Z"}

    assert {"consent": "consent_required"} == bad_fields(await refused(service, body))
    assert "pending" == (await service.start(body | {"consent": consent}))["status"]


async def test_odd_id_number_is_a_warning(service: Web) -> None:
    """An unknown province, an unlikely year or an old CMND starts all the same, with warnings."""
    started = await service.start(START | {"id_number": "999990000001", "previous_id_number": "210000000"})

    assert {
        ("id_number", "unknown_province"), ("id_number", "unlikely_century"), ("id_number", "unlikely_year"),
        ("previous_id_number", "cmnd_expired"),
    } == {(warning["field"], warning["code"]) for warning in started["warnings"]}
    assert all(warning["message"] for warning in started["warnings"])


async def test_error_list_is_bounded(service: Web) -> None:
    """Invariant 14: thousands of unknown members make a list of 32, and long names are cut."""
    problem = await refused(service, SIMPLE | {f"{'n' * 100}{number}": 1 for number in range(100)})

    assert 32 == len(problem["errors"])
    assert 64 == max(len(error["field"]) for error in problem["errors"])


@pytest.mark.parametrize(("headers", "body", "locale"), [
    ({}, {}, "vi"), ({"Accept-Language": "en-GB,en;q=0.9"}, {}, "en"), ({"Accept-Language": "fr"}, {}, "vi"),
    ({"Accept-Language": "vi"}, {"locale": "en"}, "en"), ({"Accept-Language": "en"}, {"locale": "vi"}, "vi"),
])
async def test_language_of_a_refusal(
    service: Web, headers: dict[str, str], body: dict[str, str], locale: str,
) -> None:
    """Invariant 13: the body's locale picks the sentences, then Accept-Language, then Vietnamese."""
    response = await service.call("POST", "/v1/verifications", {"purpose": "x", **body}, headers=headers)
    problem = await response.json(content_type="application/problem+json")

    assert locale == response.headers["Content-Language"]
    assert {"vi": "Yêu cầu không hợp lệ", "en": "Invalid request"}[locale] == problem["title"]


async def test_locale_of_the_sms(service: Web) -> None:
    """The verification, and so its SMS, speaks the body's language, else that of Accept-Language."""
    asked = await service.start(SIMPLE | {"locale": "en"})
    preferred = await service.start(
        SIMPLE | {"phone_number": "0900000002"}, headers={"Accept-Language": "en"},
    )
    caller = await _locales(service, asked["id"], preferred["id"])

    assert ["en", "en"] == caller


async def _locales(service: Web, *ids: str) -> list[str]:
    ring, found = service.deps.service.secrets.ring, []
    for one in ids:
        shard = ring.parse_id(one)
        assert shard is not None
        answer, _ = await service.store.read(shard, one, "tinh-portal")
        found.append(answer.record[b"l"].decode())
    return found


async def test_nothing_bad_reaches_the_store(service: Web, fake_redis: FakeAsyncRedis) -> None:
    """A refused body changes nothing in the store."""
    before = await fake_redis.keys("*")
    await refused(service, START | {"id_number": "1"})

    assert before == await fake_redis.keys("*")


async def test_no_secret_in_log_or_metrics(service: Web) -> None:
    """Invariant 5: neither phone, ID number, code, token nor key is in the log or the metrics."""
    started = await service.start()
    await service.check(started["id"])
    await refused(service, START | {"surname": PHONE, "reference": ID_NUMBER * 9})
    told = service.log.getvalue().decode() + service.deps.metrics.render()[0].decode()

    secrets = (PHONE, PHONE[1:], ID_NUMBER, service.code(started["id"]), started["client_token"], KEY)
    assert [] == [secret for secret in secrets if secret in told]


async def test_test_key_starts_a_test_verification(service: Web) -> None:
    """What a test key starts is invisible to the live key, and the other way round."""
    live, test = await service.start(SIMPLE), await service.start(
        SIMPLE | {"phone_number": "0900000002"}, key=TEST_KEY,
    )

    for mine, key in ((live, TEST_KEY), (test, KEY)):
        assert 404 == (await service.call("GET", f"/v1/verifications/{mine['id']}", key=key)).status
