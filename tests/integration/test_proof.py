"""Proof of work before the first SMS: who must bring one, what it buys, and that it buys it once."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import altcha
import pytest
from support.engine import (
    ELSEWHERE,
    HOME,
    MINUTE,
    OTHER_PHONE,
    PHONE,
    PORTAL,
    RIVAL,
    THIRD_PHONE,
    Backend,
    Clock,
    Engine,
    refused,
    replay,
)

from otp_service.core import limits as kinds
from otp_service.core.client import ProofMode
from otp_service.core.limits import Limit
from otp_service.service import Caller
from otp_service.service.proof import NO_SCRIPT

HOUR = 3600
ALWAYS = Caller(replace(PORTAL.client, proof=ProofMode.ALWAYS))
NEVER = Caller(replace(PORTAL.client, proof=ProofMode.NEVER))


def solve(refusal: Any) -> str:
    """Solve the challenge of a refusal, as a browser does."""
    assert "proof_required" == refusal.code
    challenge = altcha.Challenge.from_dict(refusal.members["challenge"])
    solution = altcha.solve_challenge(challenge)
    assert solution is not None
    return altcha.Payload(challenge, solution).to_base64()


async def asked(engine: Engine, phone: str = PHONE, *, caller: Caller = ALWAYS, **options: Any) -> str:
    """Start without a proof, and return the proof that is then asked for."""
    return solve(await refused(engine.start(phone, caller=caller, **options)))


async def test_client_that_always_wants_a_proof(engine: Engine) -> None:
    """A start without a proof is refused with a challenge and spends nothing; with its solution it sends."""
    before = await engine.dump()
    proof = await asked(engine)
    assert before == await engine.dump()
    assert "pending" == (await engine.start(caller=ALWAYS, proof=proof)).status


async def test_proof_buys_one_sms(engine: Engine) -> None:
    """A proof that was spent is refused with a new challenge, also once the cooldown is over."""
    proof = await asked(engine)
    await engine.start(caller=ALWAYS, proof=proof)
    engine.advance(MINUTE)
    again = await refused(engine.start(caller=ALWAYS, proof=proof))
    assert "pending" == (await engine.start(caller=ALWAYS, proof=solve(again))).status


async def test_proof_of_another_phone_or_client_buys_nothing(engine: Engine) -> None:
    """A challenge is for one client and one phone: nobody collects proofs for others."""
    proof = await asked(engine)
    assert "proof_required" == (await refused(engine.start(OTHER_PHONE, caller=ALWAYS, proof=proof))).code
    rival = Caller(replace(RIVAL.client, proof=ProofMode.ALWAYS))
    assert "proof_required" == (await refused(engine.start(caller=rival, proof=proof))).code


@pytest.mark.parametrize("proof", ["", "e30=", "bm90IGpzb24=", "none ", "{}", "x" * 4000, "ÿ"])
async def test_proof_that_is_none(engine: Engine, proof: str) -> None:
    """What is no proof is answered with a challenge, and changes nothing."""
    before = await engine.dump()
    assert "proof_required" == (await refused(engine.start(caller=ALWAYS, proof=proof))).code
    assert before == await engine.dump()


async def test_proof_is_not_spent_by_a_refused_start(engine: Engine) -> None:
    """A start that a limit refuses gives no proof away: it is good for the next one."""
    await engine.start(caller=NEVER)
    proof = await asked(engine)
    assert "rate_limited" == (await refused(engine.start(caller=ALWAYS, proof=proof))).code
    engine.advance(MINUTE)
    assert "pending" == (await engine.start(caller=ALWAYS, proof=proof)).status


async def test_one_of_many_starts_with_one_proof_is_served(engine: Engine) -> None:
    """Of twenty starts with one proof at the same moment one is served."""
    proof = await asked(engine)
    answers = await asyncio.gather(
        *(engine.start(caller=ALWAYS, proof=proof, purpose=purpose) for purpose in ["phone_only", "sign_in"] * 10),
        return_exceptions=True,
    )
    assert 1 == sum(not isinstance(answer, Exception) for answer in answers)


async def test_lost_reply_costs_no_second_proof(backend: Backend) -> None:
    """The store executes a start twice when its reply is lost: the proof is spent once (Invariant 11)."""
    async with Engine(backend, forgetful=True) as engine:
        proof = await asked(engine)
        assert "pending" == (await engine.start(caller=ALWAYS, proof=proof)).status


async def test_repeated_start_is_replayed(engine: Engine) -> None:
    """A start repeated with its Idempotency-Key answers what it did, although its proof is spent."""
    proof = await asked(engine)
    first = await engine.start(caller=ALWAYS, proof=proof, replay=replay("a"))
    assert first.id == (await engine.start(caller=ALWAYS, proof=proof, replay=replay("a"))).id


async def test_proof_when_sending_looks_abused(backend: Backend) -> None:
    """From one address two starts pass, the third must bring a proof; other addresses are not asked."""
    limits = [Limit(kinds.ADDRESS_UNPROVEN_SENDS, 2, HOUR)]
    async with Engine(backend, limits=limits) as engine:
        await engine.start()
        await engine.start(OTHER_PHONE)
        before = await engine.dump()
        proof = solve(await refused(engine.start(THIRD_PHONE)))
        assert before == await engine.dump()
        assert "pending" == (await engine.start(THIRD_PHONE, proof=proof)).status
        assert "pending" == (await engine.start("+84900000004", end_user_ip=ELSEWHERE)).status
        engine.advance(HOUR / 2)
        assert "pending" == (await engine.start("+84900000005", end_user_ip=HOME)).status


async def test_proof_when_a_client_sends_more_than_usual(backend: Backend) -> None:
    """Above a client's usual rate everybody's browser works, whatever the address; another client's does not."""
    async with Engine(backend, limits=[Limit(kinds.CLIENT_UNPROVEN_SENDS, 1, MINUTE)]) as engine:
        await engine.start()
        solve(await refused(engine.start(OTHER_PHONE, end_user_ip=ELSEWHERE)))
        assert "pending" == (await engine.start(OTHER_PHONE, caller=RIVAL)).status
        engine.advance(MINUTE)
        assert "pending" == (await engine.start(THIRD_PHONE)).status


async def test_limit_says_no_before_a_proof_is_asked_for(backend: Backend) -> None:
    """Who would be refused anyway is not made to work first."""
    async with Engine(backend, limits=[Limit(kinds.ADDRESS_UNPROVEN_SENDS, 1, HOUR)]) as engine:
        await engine.start()
        assert "rate_limited" == (await refused(engine.start())).code


async def test_client_that_never_wants_a_proof(backend: Backend) -> None:
    """A client may do without: its starts are not counted either."""
    async with Engine(backend, limits=[Limit(kinds.ADDRESS_UNPROVEN_SENDS, 1, HOUR)]) as engine:
        await engine.start(caller=NEVER)
        await engine.start(OTHER_PHONE, caller=NEVER)
        assert "pending" == (await engine.start(THIRD_PHONE)).status


async def test_officials_are_not_asked(engine: Engine) -> None:
    """Behind a counter stands no browser of the citizen's: assisted purposes need no proof."""
    assert "pending" == (await engine.start(purpose="assisted_phone", caller=ALWAYS)).status


async def test_browser_without_script_falls_back_to_a_stricter_limit(backend: Backend) -> None:
    """``proof: none`` passes as often as the stricter limit of its address allows, and is then told which limit."""
    async with Engine(backend, limits=[Limit(kinds.ADDRESS_NO_SCRIPT_SENDS, 1, HOUR)]) as engine:
        assert "pending" == (await engine.start(caller=ALWAYS, proof=NO_SCRIPT)).status
        refusal = await refused(engine.start(OTHER_PHONE, caller=ALWAYS, proof=NO_SCRIPT))
        assert ("rate_limited", "address_no_script_sends") == (refusal.code, refusal.members["limit"])
        elsewhere = await engine.start(OTHER_PHONE, end_user_ip=ELSEWHERE, caller=ALWAYS, proof=NO_SCRIPT)
        assert "pending" == elsewhere.status
        engine.advance(HOUR)
        assert "pending" == (await engine.start(THIRD_PHONE, caller=ALWAYS, proof=NO_SCRIPT)).status


async def test_no_script_is_no_way_round_for_many_addresses(backend: Backend) -> None:
    """``proof: none`` of one client is bounded whatever the addresses, and costs other clients nothing."""
    async with Engine(backend, limits=[Limit(kinds.CLIENT_NO_SCRIPT_SENDS, 1, MINUTE)]) as engine:
        assert "pending" == (await engine.start(caller=ALWAYS, proof=NO_SCRIPT)).status
        refusal = await refused(engine.start(OTHER_PHONE, caller=ALWAYS, proof=NO_SCRIPT, end_user_ip=ELSEWHERE))
        assert ("rate_limited", "client_no_script_sends") == (refusal.code, refusal.members["limit"])
        rival = Caller(replace(RIVAL.client, proof=ProofMode.ALWAYS))
        assert "pending" == (await engine.start(OTHER_PHONE, caller=rival, proof=NO_SCRIPT)).status


async def test_repeated_start_is_replayed_when_its_challenge_is_over(
    engine: Engine, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who repeats a start after its challenge has expired learns what it did; without a key it is made anew."""
    proof = await asked(engine)
    first = await engine.start(caller=ALWAYS, proof=proof, replay=replay("a"))
    monkeypatch.setattr("altcha.v2.time", SimpleNamespace(time=lambda: 4e9, monotonic=time.monotonic))
    before = await engine.dump()
    assert first.id == (await engine.start(caller=ALWAYS, proof=proof, replay=replay("a"))).id
    assert before == await engine.dump()
    other = await refused(engine.start(OTHER_PHONE, caller=ALWAYS, proof=proof, replay=replay("b")))
    assert "proof_required" == other.code
    assert "proof_required" == (await refused(engine.start(OTHER_PHONE, caller=ALWAYS, proof=proof))).code
    assert before == await engine.dump()


async def test_spent_proof_is_forgotten_with_its_challenge(valkey_backend: Backend) -> None:
    """The mark of a spent proof expires when the challenge could not be shown again (Invariant 7)."""
    async with Engine(valkey_backend, clock=Clock(0)) as engine:
        await engine.start(caller=ALWAYS, proof=await asked(engine))
        marks = [key async for key in engine.redis.scan_iter("otp:w:*")]
        assert 1 == len(marks)
        assert 600_000 < await engine.redis.pttl(marks[0]) <= 1_200_000
