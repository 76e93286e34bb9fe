"""``ownership-evidence`` over HTTP, and what is told where ownership is asked before the code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis
from web_harness import KEY, OTHER_KEY, READER, TEST_KEY, Web, serve

#: In the sample table, without a document on record: nothing for a source to compare.
UNKNOWN, NUMBER = "0900000004", "052090000004"
ASSISTED = {"phone_number": UNKNOWN, "purpose": "assisted_registration", "id_number": NUMBER}
REPLY = f"So TB {UNKNOWN}. Ho ten: NGUYEN VAN A; So giay to: {NUMBER}; Loai giay to: CCCD"


@pytest.fixture
async def service(fake_redis: FakeAsyncRedis) -> AsyncIterator[Web]:
    """Run the service."""
    async with serve(fake_redis) as running:
        yield running


async def waiting(service: Web, body: Any = ASSISTED, **options: Any) -> str:
    """Return the id of a verification that waits for evidence."""
    started = await service.start(body, **options)
    shown = await (await service.check(started["id"], **options)).json()
    assert ("checking_ownership", "not_available") == (shown["status"], shown["ownership"]["status"])
    return str(started["id"])


async def attest(service: Web, verification_id: str, reply: Any = REPLY, **options: Any) -> tuple[int, dict[str, Any]]:
    """Bring a reply; returns status and body."""
    body = reply if isinstance(reply, dict) else {"tttb_reply": reply}
    response = await service.call("POST", f"/v1/verifications/{verification_id}/ownership-evidence", body, **options)
    found: dict[str, Any] = await response.json(content_type=None)
    return response.status, found


async def test_a_reply_that_matches(service: Web) -> None:
    """The answer is the verification with its token, and what the reply came to."""
    status, shown = await attest(service, await waiting(service))
    assert (200, "verified", {"outcome": "match", "confidence": "full", "note": None}) == (
        status, shown["status"], shown["evidence"],
    )
    assert ("match", "attested", "attested_reply") == (
        shown["ownership"]["status"], shown["ownership"]["source"], shown["ownership"]["assurance"],
    )
    assert shown["result_token"]
    assert "client_token" not in shown


async def test_a_reply_that_says_nothing(service: Web) -> None:
    """The answer says why, and the verification waits on."""
    status, shown = await attest(service, await waiting(service), "Sai cu phap. Soan TTTB <so giay to> gui 1414.")
    assert (200, "checking_ownership", {"outcome": "not_available", "confidence": "none", "note": "wrong_syntax"}) == (
        status, shown["status"], shown["evidence"],
    )


async def test_who_may(service: Web) -> None:
    """A key without the scope, another client's, a test key and a browser change nothing."""
    verification_id = await waiting(service)
    assert 403 == (await attest(service, verification_id, key=READER))[0]
    for key in (OTHER_KEY, TEST_KEY):
        assert 404 == (await attest(service, verification_id, key=key))[0]
    token = (await service.start({**ASSISTED, "phone_number": "0900000001"}))["client_token"]
    assert 401 == (await attest(service, verification_id, key=token))[0]
    assert 401 == (await attest(service, verification_id, key=None))[0]
    assert 200 == (await attest(service, verification_id, key=KEY))[0]


@pytest.mark.parametrize(("reply", "code"), [
    ("", "too_short"), (" \n\t ", "too_short"), ("x" * 2001, "too_long"), (7, "wrong_type"), (None, "wrong_type"),
])
async def test_what_is_no_reply(service: Web, reply: Any, code: str) -> None:
    """A reply is text of 1 to 2 000 characters; anything else is refused by its field."""
    status, found = await attest(service, await waiting(service), {"tttb_reply": reply})
    assert (422, [("tttb_reply", code)]) == (status, [(one["field"], one["code"]) for one in found["errors"]])
    assert all(one["message"] for one in found["errors"])


async def test_nothing_of_it_is_logged(service: Web) -> None:
    """Neither the text nor what was read of it stands in the log (Invariant 5)."""
    await attest(service, await waiting(service), REPLY + " TRAN THI BICHNGOC")
    log = service.log.getvalue()
    for part in (b"BICHNGOC", NUMBER.encode(), b"0900000004", b"NGUYEN"):
        assert part not in log
    [line] = [line for line in service.lines("ownership") if line["source"] == "attested"]
    assert ("match", "ok", "id_number") == (line["outcome"], line["settled"], line["agrees"])


async def test_repeated_with_its_key(service: Web) -> None:
    """The same call again answers the verification, without reading the text once more (Invariant 11)."""
    verification_id = await waiting(service)
    key = {"Idempotency-Key": "desk-1"}
    first = await attest(service, verification_id, headers=key)
    again = await attest(service, verification_id, headers=key)
    assert (200, 200, None) == (first[0], again[0], again[1]["evidence"])
    assert "verified" == again[1]["status"]
    other = await attest(service, verification_id, "another", headers=key)
    assert (422, "idempotency_key_reused") == (other[0], other[1]["code"])
    late = await attest(service, verification_id)
    assert (409, "already_final") == (late[0], late[1]["code"])


# -- ownership asked before the code ----------------------------------------------------------------------------------


CAREFUL = {
    "phone_number": "0900000001", "purpose": "careful", "id_number": "052090000001", "end_user_ip": "203.0.113.7",
}


async def test_a_match_before_the_code(service: Web) -> None:
    """The 201 has a code on its way and the match; the right code verifies."""
    started = await service.start(CAREFUL)
    assert ("pending", 1, "match") == (started["status"], started["send_number"], started["ownership"]["status"])
    shown = await (await service.check(started["id"])).json()
    assert "verified" == shown["status"]


@pytest.mark.parametrize("changed", [
    {"id_number": "052090000099"}, {"phone_number": UNKNOWN}, {"phone_number": "0900000006"},
    {"phone_number": "0986000009"},
])
async def test_no_match_before_the_code(service: Web, changed: dict[str, str]) -> None:
    """Mismatch, no document, a blocked SIM and an unknown number are one and the same answer (Invariant 9)."""
    started = await service.start({**CAREFUL, **changed})
    told = {name: started[name] for name in ("status", "reason", "send_number", "code_expires_at", "resend_at")}
    assert {
        "status": "rejected", "reason": "ownership_not_confirmed", "send_number": 0, "code_expires_at": None,
        "resend_at": None,
    } == told
    assert {"status": "not_checked", "source": None, "assurance": None, "checked_at": None} == started["ownership"]
    refusal = await service.call("POST", f"/v1/verifications/{started['id']}/check", {"code": "123456"})
    assert {"already_final"} == {(await refusal.json(content_type=None))["code"]}


async def test_consent_is_a_claim(service: Web) -> None:
    """What the person agreed to comes back in the redeemed claims, as the portal gave it."""
    consent = {"notice_version": "2026-01", "given_at": "2026-01-31T08:00:00+07:00"}
    started = await service.start({
        "phone_number": "0900000001", "purpose": "agreed", "end_user_ip": "203.0.113.7", "consent": consent,
    })
    shown = await (await service.check(started["id"])).json()
    response = await service.call("POST", "/v1/result-tokens/redeem", {"token": shown["result_token"]})
    assert consent == (await response.json())["consent"]


async def test_a_notice_fits_into_64_bytes(service: Web) -> None:
    """The version of a notice is kept with the verification: at most 64 bytes."""
    response = await service.call("POST", "/v1/verifications", {
        "phone_number": "0900000001", "purpose": "agreed", "end_user_ip": "203.0.113.7",
        "consent": {"notice_version": "ă" * 33, "given_at": "2026-01-31T08:00:00+07:00"},
    })
    [error] = (await response.json(content_type=None))["errors"]
    assert (422, "consent.notice_version", "too_long") == (response.status, error["field"], error["code"])
