"""The client and the real service: every call, and replies that are lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from client_harness import begun, client_of
from support.proxy import Proxy
from unit.web_harness import (
    ID_NUMBER,
    KEY,
    NOW_MS,
    PHONE,
    Web,
)

from otp_service.client import (
    AlreadyFinal,
    AlreadyRedeemed,
    Claims,
    ClaimsMismatch,
    CodeExpired,
    Consent,
    Delivery,
    FieldWarning,
    InvalidRequest,
    Locked,
    NotVerified,
    OtpClient,
    OwnershipStatus,
    Reason,
    ResendTooSoon,
    Status,
    Verification,
    WrongCode,
)

NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)
#: A CCCD whose holder has no SIM in the sample table.
STRANGER = "052090000002"
REPLY = "So TB 0900000004. Ho ten: NGUYEN VAN A; So giay to: 052090000004; Loai giay to: CCCD"


async def decided(otp: OtpClient, service: Web, **changes: str | None) -> Verification:
    """Take one registration to its verdict."""
    started = await begun(otp, **changes)
    return await otp.check(started.id, service.code(started.id))


# -- from the form to the account ----------------------------------------------------------------------------------


async def test_a_start(otp: OtpClient) -> None:
    """Everything that the 201 says, as Python has it."""
    started = await begun(otp)

    assert (Status.PENDING, None, "registration", "hs-2026-000123", "+84•••••0001") == (
        started.status, started.reason, started.purpose, started.reference, started.phone_number,
    )
    assert (6, 1, 3, 5, Delivery.QUEUED) == (
        started.code_length, started.send_number, started.sends_left, started.attempts_left, started.delivery,
    )
    assert (NOW, NOW + timedelta(seconds=900), NOW + timedelta(seconds=180), NOW + timedelta(seconds=60)) == (
        started.created_at, started.expires_at, started.code_expires_at, started.resend_at,
    )
    assert started.ownership is not None
    assert OwnershipStatus.NOT_CHECKED is started.ownership.status
    assert started.client_token.startswith("vt_")
    assert ((), None, False, False) == (started.warnings, started.result_token, started.verified, started.final)


async def test_the_whole_way(otp: OtpClient, service: Web) -> None:
    """A right code, its verdict, and the claims that an account is opened on."""
    found = await decided(otp, service)
    assert found.verified
    assert found.final
    assert found.ownership is not None
    assert (OwnershipStatus.MATCH, "tttb", NOW) == (
        found.ownership.status, found.ownership.source, found.ownership.checked_at,
    )

    claims = await otp.redeem(found.result_token, phone_number=PHONE, id_number=ID_NUMBER)

    assert Claims(
        issuer="https://otp.example", audience="tinh-portal", verification_id=found.id, token_id=f"rt-{found.id}",
        issued_at=NOW, expires_at=NOW + timedelta(seconds=600), purpose="registration", status=Status.VERIFIED,
        reference="hs-2026-000123", phone_number="+84900000001", phone_number_verified=True,
        assurance=found.ownership.assurance, ownership_confirmed=True, members=claims.members,
    ) == claims
    assert claims.verified
    assert "+84900000001" not in repr(claims)


async def test_everything_a_start_may_say(service: Web) -> None:
    """Dates and times are taken as Python has them, and what is None is not sent."""
    given_at = datetime(2026, 1, 31, 8, tzinfo=timezone(timedelta(hours=7)))
    async with client_of(service) as otp:
        started = await otp.start(
            purpose="agreed", phone_number=PHONE, id_number="210000009", previous_id_number="210000003",
            full_name="Nguyễn Văn A", birth_date=date(1990, 1, 1), end_user_ip="203.0.113.7", reference="hs-1",
            locale="en", consent=Consent("2026-01", given_at),
        )
        found = await otp.check(started.id, service.code(started.id))
        claims = await otp.redeem(found.result_token, phone_number=PHONE, id_number=None)

    assert {"notice_version": "2026-01", "given_at": "2026-01-31T08:00:00+07:00"} == claims.members["consent"]
    assert ("phone_possession", False) == (claims.assurance, claims.ownership_confirmed)
    assert {"id_number", "previous_id_number"} == {warning.field for warning in started.warnings}
    assert all(isinstance(warning, FieldWarning) and warning.message for warning in started.warnings)


@pytest.mark.parametrize(("changes", "member"), [
    ({"purpose": "\ud800"}, "purpose"), ({"phone_number": "0900\udfff"}, "phone_number"),
    ({"reference": object()}, "reference"),
    ({"consent": Consent("\ud800", NOW)}, "consent.notice_version"),
], ids=range(4))
async def test_what_no_request_can_say(otp: OtpClient, changes: dict[str, Any], member: str) -> None:
    """Text that is no Unicode is the caller's mistake: which member has it is told, its value is not."""
    with pytest.raises(ValueError, match=f"^{member} cannot be written") as caught:
        await otp.start(**({"purpose": "registration", "phone_number": PHONE} | changes))

    assert (None, None) == (caught.value.__context__, caught.value.__cause__)


async def test_what_no_other_call_can_say(otp: OtpClient) -> None:
    """Every call that has a body says it so."""
    with pytest.raises(ValueError, match=r"^code cannot"):
        await otp.check("d-k1-a", "\ud800")
    with pytest.raises(ValueError, match=r"^tttb_reply cannot"):
        await otp.attest("d-k1-a", "\ud800")
    with pytest.raises(ValueError, match=r"^token cannot"):
        await otp.redeem("\ud800", phone_number=PHONE, id_number=None)
    with pytest.raises(ValueError, match=r"^expect\.id_number cannot"):
        await otp.redeem("a-token", phone_number=PHONE, id_number="\ud800")


async def test_consent_without_an_offset(otp: OtpClient) -> None:
    """A time that could be any is the caller's mistake."""
    with pytest.raises(ValueError, match="given_at"):
        await otp.start(purpose="agreed", phone_number=PHONE, consent=Consent("1", datetime(2026, 1, 31)))  # noqa: DTZ001 - the mistake that is meant


async def test_a_rejection(otp: OtpClient, service: Web) -> None:
    """A SIM that is another's: the reason is told, and its token redeems as a refusal."""
    found = await decided(otp, service, id_number=STRANGER)

    assert (Status.REJECTED, Reason.SIM_NOT_OWNED, False, True) == (
        found.status, found.reason, found.verified, found.final,
    )
    with pytest.raises(NotVerified) as caught:
        await otp.redeem(found.result_token, phone_number=PHONE, id_number=STRANGER)
    assert "sim_not_owned" == caught.value.claims["reason"]


async def test_a_resend(otp: OtpClient, service: Web) -> None:
    """A resend within the pause says how long it lasts; after it the next SMS is named."""
    started = await begun(otp)
    with pytest.raises(ResendTooSoon) as caught:
        await otp.resend(started.id)
    assert 60.0 == caught.value.retry_after_s
    service.later(60)

    found = await otp.resend(started.id)

    assert (2, 2, 5) == (found.send_number, found.sends_left, found.attempts_left)
    assert Verification is type(found)


async def test_a_wrong_code(otp: OtpClient, service: Web) -> None:
    """Each wrong guess says how many are left; the last one locks, and the code is no good any more."""
    started = await begun(otp)
    for left in (4, 3, 2, 1):
        with pytest.raises(WrongCode) as caught:
            await otp.check(started.id, service.wrong_code(started.id))
        assert (left, 1) == (caught.value.attempts_left, caught.value.send_number)
    with pytest.raises(Locked):
        await otp.check(started.id, service.wrong_code(started.id))
    assert Status.LOCKED is (await otp.get(started.id)).status


async def test_an_expired_code(otp: OtpClient, service: Web) -> None:
    """An expired code says from when the next can be had."""
    started = await begun(otp)
    service.later(180)
    with pytest.raises(CodeExpired) as caught:
        await otp.check(started.id, service.code(started.id))
    assert (NOW + timedelta(seconds=60), 3) == (caught.value.resend_at, caught.value.sends_left)


async def test_a_cancellation(otp: OtpClient, service: Web) -> None:
    """Cancelling again is the same; what has ended otherwise stays so."""
    started = await begun(otp)
    assert Status.CANCELLED is (await otp.cancel(started.id)).status
    assert Status.CANCELLED is (await otp.cancel(started.id)).status
    service.later(60)
    found = await decided(otp, service)
    with pytest.raises(AlreadyFinal) as caught:
        await otp.cancel(found.id)
    assert "verified" == caught.value.verification_status


async def test_the_reply_of_1414(otp: OtpClient, service: Web) -> None:
    """A reply brought by an official settles what no source knows."""
    started = await otp.start(
        purpose="assisted_registration", phone_number="0900000004", id_number="052090000004", birth_date="1990-01-01",
    )
    waiting = await otp.check(started.id, service.code(started.id))
    assert (Status.CHECKING_OWNERSHIP, False) == (waiting.status, waiting.final)

    odd = await otp.attest(started.id, "Sai cu phap. Soan TTTB <so giay to> gui 1414.")
    found = await otp.attest(started.id, REPLY, idempotency_key="a-1")
    again = await otp.attest(started.id, REPLY, idempotency_key="a-1")

    assert odd.evidence is not None
    assert ("not_available", "none", "wrong_syntax") == (
        odd.evidence.outcome, odd.evidence.confidence, odd.evidence.note,
    )
    assert found.evidence is not None
    assert ("match", "full", True) == (found.evidence.outcome, found.evidence.confidence, found.verified)
    assert (None, True) == (again.evidence, again.verified)


# -- a verdict is one person's, once -------------------------------------------------------------------------------


async def test_a_verdict_is_redeemed_once(otp: OtpClient, service: Web) -> None:
    """Invariant 10: a second redemption is refused, unless it is the first one repeated."""
    found = await decided(otp, service)
    first = await otp.redeem(found.result_token, phone_number=PHONE, id_number=ID_NUMBER, idempotency_key=found.id)
    again = await otp.redeem(found.result_token, phone_number=PHONE, id_number=ID_NUMBER, idempotency_key=found.id)

    assert first == again
    with pytest.raises(AlreadyRedeemed):
        await otp.redeem(found.result_token, phone_number=PHONE, id_number=ID_NUMBER)


@pytest.mark.parametrize(("phone_number", "id_number"), [
    ("0900000002", ID_NUMBER), (PHONE, STRANGER),
])
async def test_a_verdict_is_about_one_person(
    otp: OtpClient, service: Web, phone_number: str, id_number: str,
) -> None:
    """A verdict opens no account for another phone or another ID number than it is about."""
    found = await decided(otp, service)
    with pytest.raises(ClaimsMismatch):
        await otp.redeem(found.result_token, phone_number=phone_number, id_number=id_number)


@pytest.mark.parametrize("written", [
    "+84900000001", "84900000001", "0084900000001", "900000001", "090.000.0001", "(+84) 900-000-001", "+840900000001",
    "tel:+84900000001", "０９００００００01",
])
async def test_a_phone_number_however_it_is_written(otp: OtpClient, service: Web, written: str) -> None:
    """The number of the form is the one that was verified, in each form that the service takes."""
    found = await decided(otp, service)
    claims = await otp.redeem(found.result_token, phone_number=written, id_number=ID_NUMBER)

    assert "+84900000001" == claims.phone_number


async def test_an_id_number_that_is_not_expected(otp: OtpClient, service: Web) -> None:
    """Where ownership was checked, whoever does not say whom they expect gets no claims."""
    found = await decided(otp, service)
    with pytest.raises(InvalidRequest) as caught:
        await otp.redeem(found.result_token, phone_number=PHONE, id_number=None)
    assert ["expect.id_number"] == [error.field for error in caught.value.errors]


# -- replies that are lost on the way ------------------------------------------------------------------------------


@pytest.fixture
async def proxy(service: Web) -> AsyncIterator[Proxy]:
    """Stand between client and service."""
    async with Proxy(str(service.http.make_url("/"))) as between:
        yield between


@pytest.fixture
async def far(proxy: Proxy) -> AsyncIterator[OtpClient]:
    """Give a client behind the proxy."""
    async with OtpClient(f"http://{proxy.address}", KEY) as client:
        yield client


async def test_a_lost_start_is_one_start(far: OtpClient, proxy: Proxy, service: Web) -> None:
    """Invariant 11: a start whose reply is lost is repeated, and is one verification with one SMS."""
    proxy.lose(2, marker=b"POST /v1/verifications")
    started = await begun(far)

    assert 2 == proxy.lost
    assert (1, Status.PENDING) == (started.send_number, started.status)
    assert {started.id} == {line["verification_id"] for line in service.lines()}
    assert 3 == len(service.lines())


async def test_a_lost_guess_costs_one_attempt(far: OtpClient, proxy: Proxy, service: Web) -> None:
    """Invariant 11: a wrong guess whose reply is lost costs one attempt, however often it is repeated."""
    started = await begun(far)
    proxy.lose(2, marker=b"/check")
    with pytest.raises(WrongCode) as caught:
        await far.check(started.id, service.wrong_code(started.id))

    assert (2, 4) == (proxy.lost, caught.value.attempts_left)


async def test_a_lost_verdict_is_not_lost(far: OtpClient, proxy: Proxy, service: Web) -> None:
    """Invariant 11: neither a right code nor a redemption is lost with its reply."""
    started = await begun(far)
    proxy.lose(1, marker=b"/check")
    found = await far.check(started.id, service.code(started.id))
    assert found.verified
    proxy.lose(1, marker=b"/redeem")
    claims = await far.redeem(found.result_token, phone_number=PHONE, id_number=ID_NUMBER)

    assert 2 == proxy.lost
    assert started.id == claims.verification_id


async def test_a_lost_resend_is_one_sms(far: OtpClient, proxy: Proxy, service: Web) -> None:
    """Invariant 11: a resend whose reply is lost sends once."""
    started = await begun(far)
    service.later(60)
    proxy.lose(1, marker=b"/resend")
    found = await far.resend(started.id)

    assert (2, 2, 1) == (found.send_number, found.sends_left, proxy.lost)


async def test_a_lost_cancellation(far: OtpClient, proxy: Proxy) -> None:
    """A cancellation whose reply is lost is told all the same."""
    started = await begun(far)
    proxy.lose(1, marker=b"DELETE")

    assert Status.CANCELLED is (await far.cancel(started.id)).status
    assert 1 == proxy.lost


# -- waiting -------------------------------------------------------------------------------------------------------


async def test_waiting_for_a_verdict(otp: OtpClient, service: Web) -> None:
    """Who waits hears of the verdict as soon as it is there."""
    started = await begun(otp)
    waiting = asyncio.create_task(otp.wait(started.id, timeout_s=30))
    checked = await otp.check(started.id, service.code(started.id))
    found = await waiting

    assert found.verified
    assert checked.id == found.id
    assert found.result_token is not None


async def test_waiting_for_what_is_final(otp: OtpClient, service: Web) -> None:
    """What has ended is told at once."""
    started = await begun(otp)
    await otp.cancel(started.id)

    assert Status.CANCELLED is (await otp.wait(started.id)).status
    assert 3 == len(service.lines())
