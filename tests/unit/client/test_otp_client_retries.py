"""The client before a service that is away, slow or busy: what is asked again, how, and until when."""

from __future__ import annotations

import asyncio
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from client_harness import ANSWER, ID, SECRET_KEY, asking, http, lying, problem
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import CertificateBuilder, Name, NameAttribute
from cryptography.x509.oid import NameOID

from otp_service.client import (
    IdempotencyInProgress,
    Internal,
    OtpClient,
    RateLimited,
    Refused,
    Unavailable,
    Unreachable,
)

GOOD = http(200, ANSWER)


async def test_a_lost_reply_is_asked_for_again() -> None:
    """Invariant 11: the repeated call is the same bytes under the same key of its own."""
    async with lying(b"", GOOD) as liar, asking(liar) as (otp, pauses):
        found = await otp.check(ID, "123456")

    first, second = liar.asked
    assert ANSWER["id"] == found.id
    assert first == second
    assert first.headers["idempotency-key"].startswith('"')
    assert 1 == len(pauses.taken)
    assert 0 < pauses.taken[0] <= 0.2


async def test_every_call_has_a_key_of_its_own() -> None:
    """Two calls are two: their keys differ, and are long enough never to meet."""
    async with lying(GOOD) as liar, asking(liar) as (otp, _):
        await otp.resend(ID)
        await otp.resend(ID)

    first, second = (asked.headers["idempotency-key"].strip('"') for asked in liar.asked)
    assert first != second
    assert 20 <= len(first)


@pytest.mark.parametrize(("given", "sent"), [
    ("hs-1", '"hs-1"'),
    ('"hs-1"', '"\\"hs-1\\""'),
    ("a\\b", '"a\\\\b"'),
    (" ", '" "'),
])
async def test_a_key_given_wins(given: str, sent: str) -> None:
    """The caller's key is sent as a structured-field string, whatever printable characters it has."""
    async with lying(GOOD) as liar, asking(liar) as (otp, _):
        await otp.resend(ID, idempotency_key=given)

    assert [sent] == [asked.headers["idempotency-key"] for asked in liar.asked]


@pytest.mark.parametrize("key", ["", "x" * 256, "đ", "a\nX-Evil: 1"])
async def test_a_key_that_is_none_is_the_callers_mistake(key: str) -> None:
    """A key that no header can carry is refused before anything is sent."""
    async with lying(GOOD) as liar, asking(liar) as (otp, _):
        with pytest.raises(ValueError, match="idempotency key"):
            await otp.resend(ID, idempotency_key=key)

    assert [] == liar.asked


async def test_three_times_and_no_more() -> None:
    """A service that answers nobody is asked three times; it may have done what was asked."""
    async with lying(b"") as liar, asking(liar) as (otp, pauses):
        with pytest.raises(Unreachable) as caught:
            await otp.resend(ID)

    assert 3 == len(liar.asked)
    assert 2 == len(pauses.taken)
    assert ("connection_lost", True) == (caught.value.reason, caught.value.maybe_done)


async def test_a_body_that_ends_early_is_a_lost_reply() -> None:
    """An answer shorter than it says is asked for again."""
    async with lying(GOOD[:-10], GOOD) as liar, asking(liar) as (otp, _):
        found = await otp.get(ID)

    assert ANSWER["id"] == found.id
    assert 2 == len(liar.asked)


async def test_a_service_that_hangs_is_left_in_time() -> None:
    """The timeout holds for all tries together, and one try never takes all of it."""
    async with lying(None) as liar, OtpClient(liar.url, SECRET_KEY, timeout_s=0.6) as otp:
        began_s = time.monotonic()
        with pytest.raises(Unreachable) as caught:
            await otp.resend(ID)

    assert 0.3 <= time.monotonic() - began_s < 1.5
    assert 2 == len(liar.asked)
    assert ("timeout", True) == (caught.value.reason, caught.value.maybe_done)


async def test_a_connection_that_died_without_a_word_is_replaced() -> None:
    """One try that hangs costs half the timeout: the next one still succeeds."""
    async with lying(None, GOOD) as liar, asking(liar, timeout_s=0.4) as (otp, _):
        found = await otp.resend(ID)

    assert ANSWER["id"] == found.id


async def test_nobody_listens() -> None:
    """Where no connection is made the service cannot have done anything."""
    async with lying(GOOD) as liar:
        pass
    async with asking(liar) as (otp, pauses):
        with pytest.raises(Unreachable) as caught:
            await otp.resend(ID)

    assert ("connection_refused", False) == (caught.value.reason, caught.value.maybe_done)
    assert 2 == len(pauses.taken)


async def test_what_may_have_been_done_stays_so() -> None:
    """A service that went away after it took the call may have carried it out, whoever does not listen later."""
    async with lying(b"") as liar, OtpClient(liar.url, SECRET_KEY) as otp:

        async def stop(_: float) -> None:
            assert liar.server is not None
            liar.server.close()

        otp._transport.sleep = stop
        with pytest.raises(Unreachable) as caught:
            await otp.resend(ID)

    assert ("connection_refused", True) == (caught.value.reason, caught.value.maybe_done)


async def test_a_pause_that_lasts_too_long() -> None:
    """A process that was stopped during a pause does not wait without end for the answer after it."""
    async with lying(b"", None) as liar, asking(liar) as (otp, pauses):

        async def oversleep(_: float) -> None:
            pauses.taken.append(3600.0)

        otp._transport.sleep = oversleep
        with pytest.raises(Unreachable) as caught:
            await asyncio.wait_for(otp.resend(ID), 5)

    assert ("timeout", True) == (caught.value.reason, caught.value.maybe_done)


async def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    """An API key is not shown to a host that cannot prove its name; the certificate does not get better by asking."""
    key, name = generate_private_key(SECP256R1()), Name([NameAttribute(NameOID.COMMON_NAME, "otp.example")])
    now = datetime.now(UTC)
    certificate = (
        CertificateBuilder(name, name, key.public_key(), 1).not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1)).sign(key, SHA256())
    )
    pem = tmp_path / "tls.pem"
    pem.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    async with lying(GOOD, tls=context) as liar:
        liar.url = liar.url.replace("http:", "https:")
        async with asking(liar) as (otp, pauses):
            with pytest.raises(Unreachable) as caught:
                await otp.resend(ID)

    assert ("tls_failed", False) == (caught.value.reason, caught.value.maybe_done)
    assert ([], []) == (liar.asked, pauses.taken)


async def test_unavailable_is_waited_for() -> None:
    """A 503 is asked again after its Retry-After, at most three times, with the same key."""
    busy = problem(503, "unavailable", headers={"Retry-After": "2"})
    async with lying(busy) as liar, asking(liar) as (otp, pauses):
        with pytest.raises(Unavailable) as caught:
            await otp.resend(ID)

    assert [2.0, 2.0] == pauses.taken
    assert 1 == len({asked.headers["idempotency-key"] for asked in liar.asked})
    assert 2.0 == caught.value.retry_after_s


async def test_unavailable_without_a_time() -> None:
    """A 503 that names no time, a date or nonsense is asked again soon."""
    for said in ({}, {"Retry-After": "Sat, 31 Jan 2026 08:00:00 GMT"}, {"Retry-After": "-1"}):
        async with lying(problem(503, "unavailable", headers=said), GOOD) as liar, asking(liar) as (otp, pauses):
            await otp.resend(ID)

        assert 1 == len(pauses.taken)
        assert pauses.taken[0] <= 0.2


@pytest.mark.parametrize("seconds", [6, 9])
async def test_a_long_unavailability_is_told_at_once(seconds: int) -> None:
    """Nobody is kept waiting before a page for more than 5 s, even within the timeout."""
    busy = problem(503, "unavailable", headers={"Retry-After": str(seconds)})
    async with lying(busy) as liar, asking(liar, timeout_s=10.0) as (otp, pauses):
        with pytest.raises(Unavailable):
            await otp.resend(ID)

    assert [] == pauses.taken


async def test_no_pause_outlasts_the_timeout() -> None:
    """What cannot be answered within the timeout is told at once."""
    busy = problem(503, "unavailable", headers={"Retry-After": "3"})
    async with lying(busy) as liar, asking(liar, timeout_s=2.0) as (otp, pauses):
        with pytest.raises(Unavailable):
            await otp.resend(ID)

    assert [] == pauses.taken


@pytest.mark.parametrize(("answer", "refusal"), [
    (problem(429, "rate_limited", headers={"Retry-After": "1"}, limit="person", retry_after=1), RateLimited),
    (problem(409, "idempotency_in_progress"), IdempotencyInProgress),
    (problem(500, "internal"), Internal),
])
async def test_other_refusals_are_not_repeated(answer: bytes, refusal: type[Refused]) -> None:
    """A limit is for the caller to respect, and a defect is not made better by repeating it."""
    async with lying(answer) as liar, asking(liar) as (otp, pauses):
        with pytest.raises(refusal):
            await otp.resend(ID)

    assert 1 == len(liar.asked)
    assert [] == pauses.taken


async def test_our_own_call_in_progress_is_waited_for() -> None:
    """After a lost reply, "in progress" is our own call before: its answer is worth waiting for."""
    async with lying(b"", problem(409, "idempotency_in_progress"), GOOD) as liar, asking(liar) as (otp, pauses):
        found = await otp.resend(ID)

    assert ANSWER["id"] == found.id
    assert 1.0 == pauses.taken[1]


async def test_a_proxy_without_a_service_behind_it() -> None:
    """A gateway's own page is asked past, and in the end is no answer: the service may have done what was asked."""
    page = http(502, b"<h1>Bad Gateway</h1>", "text/html")
    async with lying(page, GOOD) as liar, asking(liar) as (otp, _):
        assert ID == (await otp.resend(ID)).id
    async with lying(page) as liar, asking(liar) as (otp, _):
        with pytest.raises(Unreachable) as caught:
            await otp.resend(ID)

    assert 3 == len(liar.asked)
    assert ("proxy", True) == (caught.value.reason, caught.value.maybe_done)


async def test_a_long_poll_that_is_lost_is_repeated_shorter() -> None:
    """The second try does not wait so long that its answer would come after the timeout."""
    busy = problem(503, "unavailable", headers={"Retry-After": "5"})
    async with lying(busy, busy, GOOD) as liar, asking(liar, timeout_s=10.0) as (otp, _):
        await otp.get(ID, wait_s=20)

    assert [f"/v1/verifications/{ID}?wait={wait_s}" for wait_s in (20, 20, 15)] == [asked.path for asked in liar.asked]


# -- waiting -------------------------------------------------------------------------------------------------------


async def test_waiting_outlives_a_restart() -> None:
    """A service that is away for a moment while somebody waits costs them nothing."""
    done = http(200, ANSWER | {"status": "verified"})
    away, busy = http(502, b"", "text/html"), problem(503, "unavailable", headers={"Retry-After": "9"})
    async with lying(away, away, away, busy, GOOD, done) as liar, asking(liar) as (otp, pauses):
        found = await otp.wait(ID, timeout_s=60.0)

    assert found.verified
    *_, lost, unavailable, early = pauses.taken
    assert 5 == len(pauses.taken)
    assert 1.0 == lost
    assert 9.0 == unavailable
    assert 0.5 < early <= 1.0
    assert f"/v1/verifications/{ID}?wait=20" == liar.asked[0].path


async def test_waiting_ends() -> None:
    """When the time is over the verification is given as it stands; without an answer, the reason why."""
    async with lying(GOOD) as liar, asking(liar) as (otp, _):
        found = await otp.wait(ID, timeout_s=0)

    assert not found.final
    assert [f"/v1/verifications/{ID}"] == [asked.path for asked in liar.asked]
    async with lying(b"") as liar, asking(liar) as (otp, _):
        with pytest.raises(Unreachable):
            await otp.wait(ID, timeout_s=0)
