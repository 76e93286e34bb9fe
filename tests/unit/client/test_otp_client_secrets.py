"""What the client sends, and what it neither sends nor shows."""

from __future__ import annotations

import json
import traceback
from datetime import date
from pathlib import Path

import aiohttp
import pytest
from client_harness import ANSWER, ID, SECRET_KEY, asking, http, lying, problem
from unit.web_harness import Web

from otp_service.client import (
    AnswerInvalid,
    NotFound,
    NotVerified,
    OtpClient,
    OtpError,
    calls,
)
from otp_service.web.answers import VerificationAnswer

GOOD = http(200, ANSWER)


@pytest.mark.parametrize("verification_id", [
    "", "../result-tokens/redeem", "a/b", "a?wait=30", "a#b", "x" * 37, "đ", "a b", "a\n",
])
async def test_an_id_that_is_none_is_not_found(verification_id: str) -> None:
    """Ids come back in addresses: one that cannot be an id reaches no path of the service."""
    async with lying(GOOD) as liar, asking(liar) as (otp, _):
        for call in (
            otp.get(verification_id), otp.resend(verification_id), otp.check(verification_id, "1"),
            otp.cancel(verification_id), otp.attest(verification_id, "…"), otp.wait(verification_id),
        ):
            with pytest.raises(NotFound):
                await call

    assert [] == liar.asked


@pytest.mark.parametrize("verification_id", ["nonsense", "7-k1-abc", "X" * 36])
async def test_what_could_be_an_id_is_asked_for(otp: OtpClient, service: Web, verification_id: str) -> None:
    """What the contract allows for an id is the service's to know, also where this service makes no such ids."""
    with pytest.raises(NotFound) as caught:
        await otp.get(verification_id)
    assert caught.value.detail
    assert 1 == len(service.lines())


def test_the_pages_word_on_ids() -> None:
    """What the page says an id may be is the contract's pattern, and the client's."""
    pattern = VerificationAnswer.model_fields["id"].metadata[0].pattern
    assert pattern == f"^{calls._ID.pattern}$"
    assert f"`{calls._ID.pattern}`" in (Path(__file__).parents[3] / "docs" / "python-client.md").read_text("utf-8")


async def test_what_is_none_is_not_sent() -> None:
    """Bodies hold what was given and nothing else, so that a service of an earlier version takes them too."""
    async with lying(http(201, ANSWER), GOOD, GOOD) as liar, asking(liar) as (otp, _):
        await otp.start(purpose="sign_in", phone_number="0900000001", birth_date=date(1990, 1, 31), proof="none")
        await otp.resend(ID)
        with pytest.raises(AnswerInvalid):
            await otp.redeem("a-token", phone_number="0900000001", id_number=None)

    assert [
        {"purpose": "sign_in", "phone_number": "0900000001", "birth_date": "1990-01-31", "proof": "none"},
        {},
        {"token": "a-token", "expect": {"phone_number": "0900000001"}},
    ] == [json.loads(asked.body) for asked in liar.asked]


async def test_no_token_is_no_verdict() -> None:
    """A verification that has no token yet is not verified: no call is made."""
    async with lying(GOOD) as liar, asking(liar) as (otp, _):
        with pytest.raises(NotVerified):
            await otp.redeem(None, phone_number="0900000001", id_number=None)

    assert [] == liar.asked


async def test_a_language_that_is_none_is_not_asked_for() -> None:
    """``locale`` becomes a header only when it is a language, so that a browser's word cannot become another header."""
    async with lying(GOOD) as liar, asking(liar) as (otp, _):
        await otp.resend(ID, locale="en")
        await otp.resend(ID, locale="vi\r\nX-Evil: 1")
        await otp.resend(ID)

    assert ["en", None, None] == [asked.headers.get("accept-language") for asked in liar.asked]
    assert {f"Bearer {SECRET_KEY}"} == {asked.headers["authorization"] for asked in liar.asked}


@pytest.mark.parametrize("key", ["", "a key", "khóa", "key\r\nX-Evil: 1", "k" * 513])
def test_an_api_key_that_is_none(key: str) -> None:
    """An API key that no header can carry is refused, and not repeated in the message."""
    with pytest.raises(ValueError, match="API key") as caught:
        OtpClient("https://otp.example", key)

    assert not key or key not in str(caught.value)


@pytest.mark.parametrize("address", [
    "", "otp.example", "ftp://otp.example", "https://", "https://user:pass-word@otp.example", "https://otp.example?a=1",
    "https://otp.example#a", "https://[::1", "https://otp.example:99999999",
])
def test_an_address_that_is_none(address: str) -> None:
    """An address that calls cannot be built on is refused at once, and not repeated in the message."""
    with pytest.raises(ValueError, match="address") as caught:
        OtpClient(address, SECRET_KEY)

    assert "pass-word" not in str(caught.value)


@pytest.mark.parametrize("timeout_s", [0, -1.0, float("nan")])
def test_a_timeout_that_is_none(timeout_s: float) -> None:
    """A client that never waits is a mistake, told at once."""
    with pytest.raises(ValueError, match="timeout_s"):
        OtpClient("https://otp.example", SECRET_KEY, timeout_s=timeout_s)


@pytest.mark.parametrize("prefix", ["", "/", "/otp", "/otp/"])
async def test_an_address_may_have_a_path(prefix: str) -> None:
    """The service may stand behind a path of a shared host."""
    async with lying(GOOD) as liar, OtpClient(liar.url + prefix, SECRET_KEY) as otp:
        await otp.check(ID, "123456")

    assert [f"{prefix.rstrip('/')}/v1/verifications/{ID}/check"] == [asked.path for asked in liar.asked]


@pytest.mark.parametrize("answer", [
    b"", b"garbage\r\n\r\n", http(200, b"<h1>"), http(200, ANSWER | {"id": 7}), http(302, b"", Location="/x"),
    problem(500, "internal"), http(502, b"", "text/html"), problem(422, "wrong_code", attempts_left=4, send_number=1),
], ids=range(8))
async def test_errors_tell_no_secret(answer: bytes) -> None:
    """Invariant 5: neither key, phone, ID number, code nor token stands in an error, its traceback or what it hides."""
    secrets = (SECRET_KEY, "0900000001", "052090000001", "123456", "a-result-token")
    async with lying(answer) as liar, asking(liar) as (otp, _):
        for call in (
            otp.start(purpose="registration", phone_number="0900000001", id_number="052090000001"),
            otp.check(ID, "123456"), otp.redeem("a-result-token", phone_number="0900000001", id_number="052090000001"),
        ):
            with pytest.raises(OtpError) as caught:
                await call
            told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + str(caught.value)
            assert (None, None) == (caught.value.__context__, caught.value.__cause__)
            assert not [secret for secret in secrets if secret in told]


async def test_what_is_returned_tells_no_secret() -> None:
    """Invariant 5: neither tokens nor the phone, masked or not, nor the key stands in what Python shows."""
    async with lying(http(201, ANSWER)) as liar, asking(liar) as (otp, _):
        started = await otp.start(purpose="registration", phone_number="0900000001")
        told = repr(started) + str(started) + repr(otp) + repr(otp._transport)

    assert ("vt_a-client-token", "a-result-token") == (started.client_token, started.result_token)
    assert not [secret for secret in (SECRET_KEY, "vt_", "a-result-token", "0001") if secret in told]


async def test_a_session_that_was_given_stays_open() -> None:
    """Connections that other code uses too are not closed with the client; the timeout is the client's all the same."""
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        async with (
            lying(problem(404, "not_found")) as liar, OtpClient(liar.url, SECRET_KEY, session=session) as otp,
        ):
            with pytest.raises(NotFound):
                await otp.get(ID)

        assert not session.closed


async def test_closing_twice() -> None:
    """A client may be closed again, and one that was never used too."""
    otp = OtpClient("https://otp.example", SECRET_KEY)
    await otp.close()
    await otp.close()
