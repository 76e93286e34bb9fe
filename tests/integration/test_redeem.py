"""Redeeming a verdict: once, by its client, for the person it is about."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.engine import (
    DAY,
    MINUTE,
    OTHER_PHONE,
    OWNER,
    PHONE,
    PORTAL,
    RIVAL,
    STRANGER,
    Backend,
    Engine,
    refused,
    replay,
)

from otp_service.core.errors import InvalidRequest, NotVerified
from otp_service.core.evidence import OwnershipOutcome

TEST_KEY = replace(PORTAL, test=True)


async def test_a_verdict_is_redeemed_once(engine: Engine) -> None:
    """A verdict is redeemed once, with its claims; the second time is refused and changes nothing (Invariant 10)."""
    done = await engine.verified("registration", reference="hs-1")
    claims = await engine.redeem(await engine.token(done), id_number=OWNER)
    assert ("https://otp.example", "portal", done.id, f"rt-{done.id}", "hs-1", "verified", PHONE, True) == tuple(
        claims[name] for name in
        ("iss", "aud", "sub", "jti", "reference", "status", "phone_number", "phone_number_verified")
    )
    assert OWNER not in str(claims)
    before = await engine.dump()
    for id_number in (OWNER, STRANGER):
        refusal = await refused(engine.redeem(await engine.token(done), id_number=id_number))
        assert ("already_redeemed", 409) == (refusal.code, refusal.status)
    assert before == await engine.dump()


async def test_every_token_of_a_verdict_is_the_same_verdict(engine: Engine) -> None:
    """Tokens read at different times carry one jti: redeeming one spends all (Invariant 10)."""
    done = await engine.verified()
    first = await engine.token(done)
    engine.advance(MINUTE)
    second = await engine.token(done)
    assert first != second
    await engine.redeem(second)
    assert "already_redeemed" == (await refused(engine.redeem(first))).code


async def test_a_token_lives_ten_minutes_by_the_stores_clock(engine: Engine) -> None:
    """A token is redeemed 599.999 s after its second began and refused at 600 s; a fresh one is good (Invariant 4)."""
    done = await engine.verified()
    token = await engine.token(done)
    engine.advance(600)
    before = await engine.dump()
    refusal = await refused(engine.redeem(token))
    assert isinstance(refusal, InvalidRequest)
    assert ["token_expired"] == [error.code for error in refusal.errors]
    assert before == await engine.dump()
    engine.advance(-0.001)
    assert "verified" == (await engine.redeem(token))["status"]


async def test_a_verdict_is_readable_for_four_days(engine: Engine) -> None:
    """Long after the verification ended a fresh token is signed and redeemed."""
    done = await engine.verified()
    engine.advance(4 * DAY - 1)
    assert "verified" == (await engine.redeem(await engine.token(done)))["status"]


async def test_an_id_number_is_required_where_the_sim_was_checked(engine: Engine) -> None:
    """Without the expected ID number a verdict about a SIM is refused and stays good (Invariant 10)."""
    done = await engine.verified("registration")
    before = await engine.dump()
    refusal = await refused(engine.redeem(await engine.token(done)))
    assert isinstance(refusal, InvalidRequest)
    assert [("expect.id_number", "missing")] == [(error.field, error.code) for error in refusal.errors]
    assert before == await engine.dump()
    assert "verified" == (await engine.redeem(await engine.token(done), id_number=OWNER))["status"]


@pytest.mark.parametrize(
    ("phone_number", "id_number"), [(PHONE, STRANGER), (OTHER_PHONE, OWNER), (OTHER_PHONE, STRANGER)],
)
async def test_three_differences_void_a_verdict(engine: Engine, phone_number: str, id_number: str) -> None:
    """Two wrong persons are refused and the right one still accepted; the third voids it for good (Invariant 9)."""
    voided, spared = await engine.verified("registration"), None
    engine.advance(60)
    spared = await engine.verified("registration")
    for done, differences in ((spared, 2), (voided, 3)):
        token = await engine.token(done)
        for _ in range(differences):
            refusal = await refused(engine.redeem(token, phone_number=phone_number, id_number=id_number))
            assert ("claims_mismatch", {}) == (refusal.code, refusal.members)
    before = await engine.dump()
    assert "claims_mismatch" == (await refused(engine.redeem(await engine.token(voided), id_number=OWNER))).code
    assert before == await engine.dump()
    assert "verified" == (await engine.redeem(await engine.token(spared), id_number=OWNER))["status"]


async def test_the_previous_id_number_is_another_datum(engine: Engine) -> None:
    """The verdict is for the ID number the person gave as theirs, not for the one before it."""
    done = await engine.verified("registration", previous_id_number="210000000")
    token = await engine.token(done)
    assert "claims_mismatch" == (await refused(engine.redeem(token, id_number="210000000"))).code
    assert "verified" == (await engine.redeem(token, id_number=OWNER))["status"]


async def test_a_purpose_without_ownership_is_redeemed_by_phone(engine: Engine) -> None:
    """Where only the phone was proven the phone is compared, and an ID number never agrees."""
    done = await engine.verified()
    token = await engine.token(done)
    assert "claims_mismatch" == (await refused(engine.redeem(token, phone_number=OTHER_PHONE))).code
    assert "claims_mismatch" == (await refused(engine.redeem(token, id_number=OWNER))).code
    assert "verified" == (await engine.redeem(token, phone_number=None))["status"]


async def test_a_refusal_is_never_redeemed(engine: Engine) -> None:
    """The token of a rejected verification is refused with its claims, again and again (Invariant 8)."""
    engine.source.outcome = OwnershipOutcome.MISMATCH
    done = await engine.verified("registration")
    token = await engine.token(done)
    before = await engine.dump()
    for _ in range(2):
        refusal = await refused(engine.redeem(token, id_number=OWNER))
        assert isinstance(refusal, NotVerified)
        claims = refusal.members["claims"]
        assert ("rejected", "sim_not_owned", False) == (
            claims["status"], claims["reason"], claims["phone_number_verified"],
        )
    assert before == await engine.dump()


async def test_only_verdicts_have_a_token(engine: Engine) -> None:
    """Nothing but verified and rejected is signed."""
    started = await engine.start()
    assert engine.service.token(started) is None
    assert engine.service.token(await engine.cancel(started)) is None
    engine.advance(60)
    overdue = await engine.start()
    engine.advance(900)
    assert engine.service.token(await engine.get(overdue)) is None


async def test_a_verdict_is_its_clients_own(engine: Engine) -> None:
    """Another client and the other kind of key cannot redeem a verdict, nor learn that it exists (Invariant 9)."""
    token = await engine.token(await engine.verified())
    engine.advance(60)
    started = await engine.start(caller=TEST_KEY)
    trial = await engine.token(await engine.right(started, caller=TEST_KEY), caller=TEST_KEY)
    before = await engine.dump()
    assert "not_found" == (await refused(engine.redeem(token, caller=RIVAL))).code
    assert "invalid_request" == (await refused(engine.redeem(token, caller=TEST_KEY))).code
    assert "invalid_request" == (await refused(engine.redeem(trial))).code
    assert before == await engine.dump()
    claims = await engine.redeem(trial, caller=TEST_KEY)
    assert ("https://otp.example/test", "portal") == (claims["iss"], claims["aud"])


async def test_a_lost_reply_costs_no_verdict(backend: Backend) -> None:
    """A redemption executed twice by the store succeeds, and a difference counts once (Invariant 11)."""
    async with Engine(backend, forgetful=True) as engine:
        done = await engine.verified()
        token = await engine.token(done)
        for _ in range(2):
            assert "claims_mismatch" == (await refused(engine.redeem(token, phone_number=OTHER_PHONE))).code
        assert b"2" == (await engine.record(done))[b"zz"]
        assert "verified" == (await engine.redeem(token))["status"]
        assert "already_redeemed" == (await refused(engine.redeem(token))).code


async def test_the_same_key_and_body_replay(engine: Engine) -> None:
    """The same Idempotency-Key redeems once and answers the claims again, after the nonce's end too (Invariant 11)."""
    done = await engine.verified()
    token = await engine.token(done)
    first = await engine.redeem(token, replay=replay("key"))
    async for key in engine.redis.scan_iter("otp:{s*}:n:*"):
        await engine.redis.delete(key)
    engine.advance(30)
    before = await engine.dump()
    again = await engine.redeem(token, replay=replay("key"))
    assert {**first, "iat": first["iat"] + 30, "exp": first["exp"] + 30} == again
    assert "idempotency_key_reused" == (await refused(engine.redeem(token, replay=replay("key", "b")))).code
    assert before == await engine.dump()


async def test_a_token_of_nobody(engine: Engine) -> None:
    """What is no token of this service is a bad field, and a verdict that is gone is not found."""
    for token in ("", "x", "a.b.c", "…", "eyJhbGciOiJub25lIn0.e30."):
        refusal = await refused(engine.redeem(token))
        assert isinstance(refusal, InvalidRequest)
        assert [("token", "token_invalid")] == [(error.field, error.code) for error in refusal.errors]
    done = await engine.verified()
    token = await engine.token(done)
    await engine.redis.flushall()
    assert "not_found" == (await refused(engine.redeem(token))).code
