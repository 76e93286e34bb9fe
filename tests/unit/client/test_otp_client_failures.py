"""The client before what is not the service, or a later version of it."""

from __future__ import annotations

from typing import Any

import pytest
from client_harness import ANSWER, ID, asking, http, lying, problem

from otp_service.client import (
    AnswerInvalid,
    Refused,
    Status,
    Unreachable,
)

GOOD = http(200, ANSWER)
#: Claims as the service writes them when a verdict is redeemed.
CLAIMS: dict[str, Any] = {
    "iss": "https://otp.example", "aud": "a", "sub": ID, "jti": f"rt-{ID}", "iat": 1, "exp": 2, "status": "verified",
    "purpose": "registration", "phone_number": "+84900000001", "phone_number_verified": True,
}


# -- what is not the service ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [
    http(200, b"<h1>Welcome</h1>", "text/html"),
    http(404, b"<h1>Not Found</h1>", "text/html"),
    http(200, b'{"id": "d-k1'),
    http(200, b"[]"),
    http(200, b"null"),
    http(200, b"\xff\xfe"),
    http(200, ANSWER, "application/octet-stream"),
    http(200, ANSWER | {"novelty": "x" * 262_144}),
    http(301, b"", Location="/v1"),
    http(400, {"error": "no"}),
    http(400, {"title": "no code"}, "application/problem+json"),
    http(400, {"code": "Not A Code"}, "application/problem+json"),
    http(400, {"code": 7}, "application/problem+json"),
    http(400, b"[]", "application/problem+json"),
    http(400, b"{", "application/problem+json"),
    http(204, b""),
], ids=range(16))
async def test_what_is_not_the_service(answer: bytes) -> None:
    """An answer that the service never gives is told as such, and not asked for again."""
    async with lying(answer) as liar, asking(liar) as (otp, _):
        with pytest.raises(AnswerInvalid):
            await otp.get(ID)

    assert 1 == len(liar.asked)


@pytest.mark.parametrize("answer", [b"hello\r\n\r\n", b"HTTP/1.1 999999 No\r\n\r\n", b"HTTP/1.1 200"])
async def test_what_is_not_http(answer: bytes) -> None:
    """What does not speak HTTP is no answer."""
    async with lying(answer) as liar, asking(liar) as (otp, _):
        with pytest.raises(Unreachable):
            await otp.get(ID)


@pytest.mark.parametrize("change", [
    {"id": None}, {"id": 7}, {"status": None}, {"status": 1}, {"reason": 3}, {"attempts_left": "5"},
    {"attempts_left": True}, {"attempts_left": 1.5}, {"created_at": "yesterday"}, {"expires_at": None},
    {"expires_at": "2026-01-31T08:00:00"}, {"ownership": []}, {"ownership": {"status": None}}, {"resend_at": 5},
    {"result_token": {}}, {"delivery": None}, {"phone_number": None},
], ids=str)
async def test_an_answer_that_lacks_something(change: dict[str, Any]) -> None:
    """A member that is missing or of another type is named, and never guessed."""
    async with lying(http(200, ANSWER | change)) as liar, asking(liar) as (otp, _):
        with pytest.raises(AnswerInvalid, match=next(iter(change))):
            await otp.get(ID)


@pytest.mark.parametrize("lacking", ["client_token", "warnings"])
async def test_a_start_that_lacks_something(lacking: str) -> None:
    """A 201 without its client token, or with warnings that are none, is no start."""
    async with lying(http(201, ANSWER | {lacking: 7})) as liar, asking(liar) as (otp, _):
        with pytest.raises(AnswerInvalid, match=lacking):
            await otp.start(purpose="registration", phone_number="0900000001")


async def test_redirects_are_not_followed() -> None:
    """An API key goes nowhere but where it was meant to go."""
    async with lying(GOOD) as other, lying(http(307, b"", Location=f"{other.url}/")) as liar, asking(liar) as (otp, _):
        with pytest.raises(AnswerInvalid):
            await otp.get(ID)

    assert [] == other.asked


# -- a later version -----------------------------------------------------------------------------------------------


async def test_words_of_a_later_version_are_not_verified() -> None:
    """Values that the client does not know are kept, and mean neither verified nor final."""
    changed = {"status": "verified_by_other_means", "reason": "new", "delivery": "read", "novelty": {"a": 1},
               "ownership": {"status": "perhaps", "novelty": 1}}
    async with lying(http(200, ANSWER | changed)) as liar, asking(liar) as (otp, _):
        found = await otp.get(ID)

    assert (False, False) == (found.verified, found.final)
    assert "verified_by_other_means" == found.status
    assert (Status("verified_by_other_means"), "verified_by_other_means") == (found.status, found.status.value)
    assert ("new", "read") == (found.reason, found.delivery)
    assert found.ownership is not None
    assert "perhaps" == found.ownership.status


async def test_codes_of_a_later_version_are_refusals() -> None:
    """A refusal that the client does not know keeps all it says."""
    answer = problem(418, "on_holiday", headers={"Retry-After": "30", "X-Request-Id": "r-1"}, until="Monday")
    async with lying(answer) as liar, asking(liar) as (otp, _):
        with pytest.raises(Refused) as caught:
            await otp.get(ID)

    refused = caught.value
    assert Refused is type(refused)
    assert ("on_holiday", 418, "r-1", 30.0) == (
        refused.code, refused.status, refused.request_id, refused.retry_after_s,
    )
    assert ("Tiêu đề", "Hãy thử lại.") == (refused.title, refused.detail)
    assert {"until": "Monday"} == refused.members
    assert "on_holiday (418, request r-1)" == str(refused)


async def test_a_redeemed_verdict_that_is_none() -> None:
    """Claims that do not say "verified" open nothing, whatever the status of the answer."""
    for change in (
        {"status": "rejected"}, {"status": "very"}, {"phone_number_verified": "yes"}, {"exp": 10**18}, {"exp": 10**12},
    ):
        async with lying(http(200, CLAIMS | change)) as liar, asking(liar) as (otp, _):
            with pytest.raises(AnswerInvalid):
                await otp.redeem("a-token", phone_number="0900000001", id_number=None)
    async with lying(http(200, CLAIMS)) as liar, asking(liar) as (otp, _):
        found = await otp.redeem("a-token", phone_number="0900000001", id_number=None)

    assert (True, None, False) == (found.verified, found.assurance, found.ownership_confirmed)


@pytest.mark.parametrize("asked", ["0900000002", "+84900000002", "84 900 000 002", "900000002"])
@pytest.mark.parametrize("answered", ["+84900000001", "0900000001"])
async def test_a_redeemed_verdict_about_another_phone(asked: str, answered: str) -> None:
    """Claims about another phone than the form's open nothing, whoever answered with them; neither number is told."""
    async with lying(http(200, CLAIMS | {"phone_number": answered})) as liar, asking(liar) as (otp, _):
        with pytest.raises(AnswerInvalid, match="another phone") as caught:
            await otp.redeem("a-token", phone_number=asked, id_number=None)

    assert not any(character.isdigit() for character in str(caught.value))


@pytest.mark.parametrize(("phone_number", "kind"), [
    (None, TypeError), (900000001, TypeError), (b"0900000001", TypeError), ("", ValueError), (" ", ValueError),
])
async def test_a_verdict_for_nobody(phone_number: Any, kind: type[Exception]) -> None:
    """A verdict is never redeemed without saying for whose phone: no call is made, with a token or without."""
    async with lying(http(200, CLAIMS)) as liar, asking(liar) as (otp, _):
        for given in ("a-token", None):
            with pytest.raises(kind, match="phone_number is the number of the form"):
                await otp.redeem(given, phone_number=phone_number, id_number=None)

    assert [] == liar.asked
