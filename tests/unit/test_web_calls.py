"""Resend, check, get, cancel, redeem and replays: every answer and every refusal of the contract's table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis
from joserfc import jws
from joserfc.jwk import KeySet
from multidict import CIMultiDict
from web_harness import FULL_WIDTH, ID_NUMBER, KEY, OTHER_KEY, PHONE, SIMPLE, START, TEST_KEY, Web, serve

from otp_service.core import limits
from otp_service.core.errors import Refusal
from otp_service.web.refusals import EXAMPLES


@pytest.fixture
async def service(fake_redis: FakeAsyncRedis) -> AsyncIterator[Web]:
    """Run the service."""
    async with serve(fake_redis) as running:
        yield running


async def refused(response: Any) -> dict[str, Any]:
    """Return a refusal's document without its sentences."""
    found: dict[str, Any] = await response.json(content_type="application/problem+json")
    assert found.pop("status") == response.status
    assert f"/docs#problem-{found['code']}" == found.pop("type")
    assert found.pop("title")
    assert found.pop("detail")
    if "retry_after" in found:
        assert str(found["retry_after"]) == response.headers["Retry-After"]
    return found


async def verified(service: Web, **options: Any) -> tuple[dict[str, Any], str]:
    """Take one verification to its verdict; returns it and its token."""
    started = await service.start(**options)
    shown = await (await service.check(started["id"])).json()
    return shown, shown["result_token"]


async def redeem(service: Web, token: str, key: str = KEY, **expect: str) -> Any:
    """Redeem a verdict."""
    return await service.call("POST", "/v1/result-tokens/redeem", {"token": token, "expect": expect}, key=key)


# -- resend ------------------------------------------------------------------------------------------------------


async def test_resend(service: Web) -> None:
    """A resend after the cooldown is 202 and names the new SMS."""
    started = await service.start()
    service.later(60)
    response = await service.call("POST", f"/v1/verifications/{started['id']}/resend")
    shown = await response.json()

    assert (202, 2, 2) == (response.status, shown["send_number"], shown["sends_left"])
    assert "2026-01-31T08:02:00.000Z" == shown["resend_at"]
    assert "client_token" not in shown


@pytest.mark.parametrize("body", [None, b"", {}])
async def test_resend_needs_no_body(service: Web, body: Any) -> None:
    """The body of a resend may be absent, empty or an empty object."""
    started = await service.start()
    service.later(60)

    assert 202 == (await service.call("POST", f"/v1/verifications/{started['id']}/resend", body)).status


async def test_resend_takes_no_member(service: Web) -> None:
    """A resend with a member it does not know is refused."""
    started = await service.start()
    response = await service.call("POST", f"/v1/verifications/{started['id']}/resend", {"voice": True})

    assert ["unknown_field"] == [error["code"] for error in (await refused(response))["errors"]]


async def test_resend_too_soon(service: Web) -> None:
    """Before the cooldown is over the answer says how long to wait."""
    started = await service.start()
    service.later(17.5)
    response = await service.call("POST", f"/v1/verifications/{started['id']}/resend")

    assert {"code": "resend_too_soon", "retry_after": 43} == await refused(response)
    assert 429 == response.status


async def test_sends_exhausted(service: Web) -> None:
    """The fourth resend is refused, with the time until which the newest code may be tried."""
    started = await service.start()
    for _ in range(3):
        service.later(60)
        await service.call("POST", f"/v1/verifications/{started['id']}/resend")
    service.later(60)
    response = await service.call("POST", f"/v1/verifications/{started['id']}/resend")

    assert {"code": "sends_exhausted", "expires_at": started["expires_at"]} == await refused(response)
    assert 409 == response.status


# -- check -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["{0}", "{0[0]} {0[1]}{0[2]}-{0[3]}{0[4]}{0[5]}", " {0} ", "full-width"])
async def test_right_code(service: Web, typed: str) -> None:
    """A right code as people type it, full-width digits included, ends ``verified`` with a verdict."""
    started = await service.start()
    code = service.code(started["id"])
    guess = code.translate(FULL_WIDTH) if typed == "full-width" else typed.format(code)
    response = await service.check(started["id"], guess)
    shown = await response.json()

    assert (200, "verified", None) == (response.status, shown["status"], shown["reason"])
    assert {
        "status": "match", "source": "tttb", "assurance": "subscriber_table",
        "checked_at": "2026-01-31T08:00:00.000Z",
    } == shown["ownership"]
    assert shown["result_token"].count(".") == 2


@pytest.mark.parametrize("body", [
    {"code": ""}, {"code": "12345"}, {"code": "123456789"}, {"code": "12345a"}, {"code": "1" * 40},
    {"code": "1234567"}, {"code": "12345678"}, {"code": "123456\x00"}, {"code": 123456}, {"code": None},
    {"code": ["123456"]}, {}, {"otp": "123456"},
])
async def test_malformed_code_costs_nothing(service: Web, body: Any) -> None:
    """What cannot be a code is ``invalid_request`` and no attempt."""
    started = await service.start()
    response = await service.call("POST", f"/v1/verifications/{started['id']}/check", body)
    after = await (await service.call("GET", f"/v1/verifications/{started['id']}")).json()

    assert (422, "invalid_request") == (response.status, (await refused(response))["code"])
    assert 5 == after["attempts_left"]


async def test_wrong_code_then_locked(service: Web) -> None:
    """Wrong codes count down; the one that spends the last attempt, and any later one, is ``locked``."""
    started = await service.start()
    answers = [await service.check(started["id"], service.wrong_code(started["id"])) for _ in range(6)]
    problems = [await refused(answer) for answer in answers]

    assert [
        {"code": "wrong_code", "attempts_left": left, "send_number": 1} for left in (4, 3, 2, 1)
    ] == problems[:4]
    assert [{"code": "locked", "verification_status": "locked", "attempts_left": 0}] * 2 == problems[4:]
    assert [422] * 4 + [409] * 2 == [answer.status for answer in answers]


async def test_code_expired(service: Web) -> None:
    """After its time a code is 410, with what a page needs for “Gửi lại OTP”."""
    started = await service.start()
    service.later(180)
    response = await service.check(started["id"])

    assert {
        "code": "code_expired", "resend_at": "2026-01-31T08:01:00.000Z", "sends_left": 3,
    } == await refused(response)
    assert 410 == response.status


async def test_guess_too_soon(service: Web) -> None:
    """Invariant 2: after ten wrong codes in a row the phone's next guess waits, whatever the verification."""
    untouched = await service.start(SIMPLE)
    for _ in range(2):
        service.later(60)
        started = await service.start()
        for _ in range(5):
            await service.check(started["id"], service.wrong_code(started["id"]))
    response = await service.check(untouched["id"])

    assert {"code": "guess_too_soon", "retry_after": 60} == await refused(response)
    assert 429 == response.status


@pytest.mark.parametrize("call", ["resend", "check", "cancel"])
async def test_already_final(service: Web, call: str) -> None:
    """What has ended takes no further call, and says how it ended."""
    started = await service.start()
    await service.check(started["id"])
    path = f"/v1/verifications/{started['id']}"
    response = await {
        "resend": lambda: service.call("POST", f"{path}/resend"), "check": lambda: service.check(started["id"]),
        "cancel": lambda: service.call("DELETE", path),
    }[call]()

    assert {"code": "already_final", "verification_status": "verified"} == await refused(response)
    assert 409 == response.status


async def test_not_owned(service: Web) -> None:
    """A right code on another's SIM ends ``rejected``, with a signed refusal."""
    started = await service.start(START | {"id_number": "052090000099"})
    shown = await (await service.check(started["id"])).json()

    assert ("rejected", "sim_not_owned", "mismatch") == (
        shown["status"], shown["reason"], shown["ownership"]["status"],
    )
    assert shown["result_token"]


# -- limits ------------------------------------------------------------------------------------------------------


async def test_rate_limited_by_the_person(service: Web) -> None:
    """Invariant 9: a phone's limits say ``person`` and a rounded time, and carry no RateLimit headers."""
    async def start(purpose: str) -> Any:
        return await service.call("POST", "/v1/verifications", SIMPLE | {"purpose": purpose, "id_number": ID_NUMBER})

    await start("sign_in")
    response = await start("registration")

    assert {"code": "rate_limited", "limit": "person", "retry_after": 60} == await refused(response)
    assert not {"RateLimit", "RateLimit-Policy"} & set(response.headers)


async def test_rate_limited_by_the_client(fake_redis: FakeAsyncRedis) -> None:
    """A client's limit says its name and its numbers, as headers and as a member."""
    async with serve(fake_redis, counts={limits.CLIENT_SENDS: (1, 60)}) as service:
        await service.start()
        response = await service.call("POST", "/v1/verifications", START | {"phone_number": "0900000002"})
        problem, line = await refused(response), service.lines()[-1]

    assert {"code": "rate_limited", "limit": "client_sends", "retry_after": 60} == problem
    assert '"client_sends";q=1;w=60' == response.headers["RateLimit-Policy"]
    assert '"client_sends";r=0;t=60' == response.headers["RateLimit"]
    assert "client_sends" == line["limit"]


# -- get and cancel ----------------------------------------------------------------------------------------------


async def test_get_changes_nothing(service: Web, fake_redis: FakeAsyncRedis) -> None:
    """Invariant 12: reading shows what time has done, and writes nothing."""
    started = await service.start()
    service.later(900)
    before = {key: await fake_redis.dump(key) for key in await fake_redis.keys("*")}
    shown = await (await service.call("GET", f"/v1/verifications/{started['id']}")).json()

    assert "undeliverable" == shown["status"]
    assert before == {key: await fake_redis.dump(key) for key in await fake_redis.keys("*")}


async def test_wait_ends_with_the_verdict(service: Web) -> None:
    """``wait`` holds the answer until the status is final."""
    started = await service.start()
    path = f"/v1/verifications/{started['id']}"
    waiting = asyncio.create_task(service.call("GET", f"{path}?wait=30", key=started["client_token"]))
    while b"otp_waiters 1.0" not in service.deps.metrics.render()[0]:
        await asyncio.sleep(0)
    await service.call("DELETE", path)

    assert "cancelled" == (await (await waiting).json())["status"]


async def test_wait_of_a_final_status(service: Web) -> None:
    """What is final is answered at once."""
    shown, _ = await verified(service)
    response = await service.call("GET", f"/v1/verifications/{shown['id']}?wait=30")

    assert "verified" == (await response.json())["status"]


async def test_wait_ends_with_the_service(service: Web) -> None:
    """On drain a long poll is answered with what is known."""
    started = await service.start()
    waiting = asyncio.create_task(service.call("GET", f"/v1/verifications/{started['id']}?wait=30"))
    while b"otp_waiters 1.0" not in service.deps.metrics.render()[0]:
        await asyncio.sleep(0)
    assert service.http.app is not None
    await service.http.app.shutdown()

    assert "pending" == (await (await waiting).json())["status"]


@pytest.mark.parametrize("query", ["wait=31", "wait=-1", "wait=1.5", "wait=abc", "wait=", "wait=1&wait=2", "wait=٣"])
async def test_malformed_wait(service: Web, query: str) -> None:
    """A ``wait`` that is no number from 0 to 30 is refused."""
    started = await service.start()
    response = await service.call("GET", f"/v1/verifications/{started['id']}?{query}")

    assert ["wait"] == [error["field"] for error in (await refused(response))["errors"]]
    assert 422 == response.status


@pytest.mark.parametrize("query", ["wait=0", "other=1", ""])
async def test_no_wait(service: Web, query: str) -> None:
    """Without seconds to wait the answer comes at once, whatever else the query holds."""
    started = await service.start()

    assert 200 == (await service.call("GET", f"/v1/verifications/{started['id']}?{query}")).status


async def test_cancel(service: Web) -> None:
    """A cancelled verification says so, and cancelling again answers the same."""
    started = await service.start()
    answers = [await service.call("DELETE", f"/v1/verifications/{started['id']}") for _ in "12"]

    assert [(200, "cancelled")] * 2 == [(one.status, (await one.json())["status"]) for one in answers]


async def test_new_start_cancels_the_older(service: Web) -> None:
    """A client has one live verification per phone and purpose."""
    started = await service.start()
    service.later(60)
    await service.start()
    shown = await (await service.call("GET", f"/v1/verifications/{started['id']}")).json()

    assert "cancelled" == shown["status"]


# -- the verdict -------------------------------------------------------------------------------------------------


async def test_redeem(service: Web) -> None:
    """Invariant 10: a verdict is redeemed once, for the person and phone that the portal expects."""
    shown, token = await verified(service)
    response = await redeem(service, token, phone_number="0900 000 001", id_number="052 090 000 001")
    claims = await response.json()
    again = await redeem(service, token, id_number=ID_NUMBER)

    assert 200 == response.status
    assert (shown["id"], "tinh-portal", "verified", "+84900000001", "hs-2026-000123") == (
        claims["sub"], claims["aud"], claims["status"], claims["phone_number"], claims["reference"],
    )
    assert ID_NUMBER not in str(claims)
    assert (409, {"code": "already_redeemed"}) == (again.status, await refused(again))


async def test_token_is_signed_with_a_published_key(service: Web) -> None:
    """The verdict's signature is good under ``/.well-known/jwks.json``, which may be kept for five minutes."""
    _, token = await verified(service)
    response = await service.call("GET", "/.well-known/jwks.json", key=None)
    keys = KeySet.import_key_set(await response.json())

    assert "phone-verification+jwt" == jws.deserialize_compact(token, keys, algorithms=["ES256"]).headers()["typ"]
    assert "max-age=300" == response.headers["Cache-Control"]
    assert not {"d", "p", "q"} & {member for key in (await response.json())["keys"] for member in key}


async def test_redeem_for_another(service: Web) -> None:
    """Another person or phone is ``claims_mismatch``, and three of them void the verdict."""
    _, token = await verified(service)
    differences = [
        await redeem(service, token, id_number="052090000099"),
        await redeem(service, token, id_number=ID_NUMBER, phone_number="0900000002"),
        await redeem(service, token, id_number="210000000"),
        await redeem(service, token, id_number=ID_NUMBER, phone_number=PHONE),
    ]

    assert [(409, {"code": "claims_mismatch"})] * 4 == [(one.status, await refused(one)) for one in differences]


async def test_redeem_a_refusal(service: Web) -> None:
    """A refusal cannot be redeemed: ``not_verified`` carries its claims."""
    started = await service.start(START | {"id_number": "052090000099"})
    shown = await (await service.check(started["id"])).json()
    response = await redeem(service, shown["result_token"], id_number="052090000099")
    problem = await refused(response)

    assert (409, "not_verified") == (response.status, problem["code"])
    assert ("rejected", "sim_not_owned") == (problem["claims"]["status"], problem["claims"]["reason"])


async def test_redeem_needs_the_person(service: Web) -> None:
    """Where ownership was checked, the expected ID number must be named, so that no verdict serves another person."""
    _, token = await verified(service)
    for body in ({"token": token}, {"token": token, "expect": None}, {"token": token, "expect": {}}):
        problem = await refused(await service.call("POST", "/v1/result-tokens/redeem", body))

        assert [("expect.id_number", "missing")] == [(one["field"], one["code"]) for one in problem["errors"]]


async def test_redeem_without_ownership(service: Web) -> None:
    """Where possession alone was asked for, nothing need be expected; an ID number that was bound may be."""
    _, token = await verified(service, body=SIMPLE | {"id_number": ID_NUMBER})

    assert 409 == (await redeem(service, token, id_number="210000000")).status
    assert 200 == (await service.call("POST", "/v1/result-tokens/redeem", {"token": token})).status


@pytest.mark.parametrize(("key", "status"), [(OTHER_KEY, 404), (TEST_KEY, 422)])
async def test_redeem_with_another_key(service: Web, key: str, status: int) -> None:
    """A verdict is its client's alone, and a live one is none to a test key."""
    _, token = await verified(service)

    assert status == (await redeem(service, token, key, id_number=ID_NUMBER)).status


async def test_expired_token(service: Web) -> None:
    """A token is good for ten minutes; a new reading signs a new one."""
    shown, token = await verified(service)
    service.later(601)
    late = await redeem(service, token, id_number=ID_NUMBER)
    fresh = (await (await service.call("GET", f"/v1/verifications/{shown['id']}")).json())["result_token"]

    assert ["token_expired"] == [error["code"] for error in (await refused(late))["errors"]]
    assert 200 == (await redeem(service, fresh, id_number=ID_NUMBER)).status


@pytest.mark.parametrize(("body", "errors"), [
    ({}, {"token": "missing"}),
    ({"token": "x"}, {"token": "token_invalid"}),
    ({"token": "e.e.e"}, {"token": "token_invalid"}),
    ({"token": "tôken"}, {"token": "token_invalid"}),
    ({"token": "x" * 4097}, {"token": "too_long"}),
    ({"token": 1, "expect": {"phone_number": "1800 1091", "id_number": "1", "name": "A"}}, {
        "token": "wrong_type", "expect.phone_number": "phone_not_mobile", "expect.id_number": "id_number_malformed",
        "expect.name": "unknown_field",
    }),
    ({"token": "x", "expect": {"phone_number": "1800 1091"}}, {"expect.phone_number": "phone_not_mobile"}),
    ({"token": "x", "expect": []}, {"expect": "wrong_type"}),
])
async def test_malformed_redemption(service: Web, body: Any, errors: dict[str, str]) -> None:
    """What is wrong with a redemption is told at once, nested members by their path."""
    response = await service.call("POST", "/v1/result-tokens/redeem", body)

    assert errors == {error["field"]: error["code"] for error in (await refused(response))["errors"]}


# -- replays -----------------------------------------------------------------------------------------------------


async def test_replayed_start(service: Web) -> None:
    """Invariant 11: the same key and body answer the same verification, as it stands now, and send nothing."""
    headers = {"Idempotency-Key": "8e03978e"}
    first = await service.start(headers=headers)
    await service.check(first["id"], service.wrong_code(first["id"]))
    again = await service.start(headers={"Idempotency-Key": '"8e03978e"'})

    assert (first["id"], first["client_token"], 1, 4) == (
        again["id"], again["client_token"], again["send_number"], again["attempts_left"],
    )


async def test_replayed_calls(service: Web) -> None:
    """Invariant 11: a repeated resend, check or redemption costs nothing and answers as the first did."""
    started = await service.start()
    path = f"/v1/verifications/{started['id']}"
    service.later(60)
    sends = [await service.call("POST", f"{path}/resend", headers={"Idempotency-Key": "r"}) for _ in "12"]
    code = service.code(started["id"], 2)
    checks = [await service.check(started["id"], code, headers={"Idempotency-Key": "c"}) for _ in "12"]
    token = (await checks[1].json())["result_token"]
    body = {"token": token, "expect": {"id_number": ID_NUMBER}}
    redeemed = [
        await service.call("POST", "/v1/result-tokens/redeem", body, headers={"Idempotency-Key": "t"}) for _ in "12"
    ]

    assert [(202, 2)] * 2 == [(one.status, (await one.json())["send_number"]) for one in sends]
    assert [(200, "verified")] * 2 == [(one.status, (await one.json())["status"]) for one in checks]
    assert [200] * 2 == [one.status for one in redeemed]


async def test_redemption_is_repeated_with_the_token_of_another_read(service: Web) -> None:
    """Invariant 11: who died after redeeming reads the verdict again, and the same key gives its claims again."""
    started = await service.start()
    path, headers = f"/v1/verifications/{started['id']}", {"Idempotency-Key": f"redeem-{started['id']}"}
    expect = {"id_number": ID_NUMBER}
    tokens = [(await (await service.check(started["id"])).json())["result_token"]]
    first = await service.call(
        "POST", "/v1/result-tokens/redeem", {"token": tokens[0], "expect": expect}, headers=headers,
    )
    service.later(3600)
    tokens.append((await (await service.call("GET", path)).json())["result_token"])

    again = await service.call(
        "POST", "/v1/result-tokens/redeem", {"token": tokens[1], "expect": expect}, headers=headers,
    )
    other = await service.call(
        "POST", "/v1/result-tokens/redeem", {"token": tokens[1], "expect": expect | {"phone_number": PHONE}},
        headers=headers,
    )

    assert tokens[0] != tokens[1]
    assert [200, 200] == [first.status, again.status]
    assert (await first.json())["sub"] == (await again.json())["sub"]
    assert (422, {"code": "idempotency_key_reused"}) == (other.status, await refused(other))


async def test_key_with_another_body(service: Web) -> None:
    """A key that comes with another body, or to another call, is ``idempotency_key_reused``."""
    headers = {"Idempotency-Key": "k"}
    started = await service.start(headers=headers)
    service.later(60)
    others = [
        await service.call("POST", "/v1/verifications", SIMPLE, headers=headers),
        await service.call("POST", f"/v1/verifications/{started['id']}/resend", headers=headers),
        await service.check(started["id"], headers=headers),
    ]

    assert [(422, {"code": "idempotency_key_reused"})] * 3 == [(one.status, await refused(one)) for one in others]


async def test_key_with_another_verification(service: Web) -> None:
    """The same body sent to another verification is another request."""
    ids = [(await service.start(SIMPLE | {"phone_number": phone}))["id"] for phone in ("0900000001", "0900000002")]
    service.later(60)
    statuses = [
        (await service.call("POST", f"/v1/verifications/{one}/resend", headers={"Idempotency-Key": "k"})).status
        for one in (*ids, ids[0])
    ]

    assert [202, 422, 202] == statuses


async def test_keys_are_the_clients_own(service: Web) -> None:
    """Another client, a test key and a browser have their own keys: none can occupy a portal's."""
    headers = {"Idempotency-Key": "k"}
    started = await service.start(headers=headers)
    other = await service.start(SIMPLE | {"phone_number": "0900000002"}, key=OTHER_KEY, headers=headers)
    test = await service.start(SIMPLE | {"phone_number": "0900000003"}, key=TEST_KEY, headers=headers)
    service.later(60)
    browser = await service.call(
        "POST", f"/v1/verifications/{started['id']}/resend", key=started["client_token"], headers=headers,
    )

    assert 3 == len({started["id"], other["id"], test["id"]})
    assert 202 == browser.status


async def test_refusal_is_not_remembered(service: Web) -> None:
    """After a refusal the same key may be used with a corrected body."""
    headers = {"Idempotency-Key": "k"}
    await service.call("POST", "/v1/verifications", START | {"id_number": "1"}, headers=headers)

    assert "pending" == (await service.start(headers=headers))["status"]


@pytest.mark.parametrize("value", ["a", "x" * 255, '"quoted"', '"a\\"b\\\\c"', "a b", '"' + "x" * 255 + '"'])
async def test_idempotency_key(service: Web, value: str) -> None:
    """A key is 1 to 255 printable ASCII characters, bare or quoted."""
    assert "pending" == (await service.start(headers={"Idempotency-Key": value}))["status"]


@pytest.mark.parametrize("value", ["", '""', '"', '"a', '"a"b"', '"a\\"', '"a\\b"', "x" * 256, "khóa", "a\tb"])
async def test_malformed_idempotency_key(service: Web, value: str) -> None:
    """Anything else is refused: a key that is silently ignored would send two SMS."""
    response = await service.call("POST", "/v1/verifications", START, headers={"Idempotency-Key": value})

    assert [("Idempotency-Key", "malformed")] == [
        (error["field"], error["code"]) for error in (await refused(response))["errors"]
    ]


async def test_two_idempotency_keys(service: Web) -> None:
    """Two keys on one request are refused: which of them counts would be a guess."""
    headers = CIMultiDict([("Idempotency-Key", "a"), ("Idempotency-Key", "b"), ("Authorization", f"Bearer {KEY}")])
    response = await service.http.post("/v1/verifications", json=START, headers=headers)

    assert ["Idempotency-Key"] == [error["field"] for error in (await refused(response))["errors"]]


# -- sentences ---------------------------------------------------------------------------------------------------


def test_every_refusal_has_an_example() -> None:
    """The documentation shows every refusal of ``core/errors.py``."""
    assert {refusal.code for refusal in Refusal.__subclasses__()} == {example.code for example in EXAMPLES}
