"""What a purpose makes of evidence, from the source's answer to the verdict."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from support.engine import NOW_MS, OTHER_PHONE, PORTAL, Backend, Engine

from otp_service.core.evidence import ComparedField, EvidenceRules, OwnershipOutcome, SimSwapEffect
from otp_service.core.verification import Consent, OwnershipPolicy, Purpose, Reason

MATCH, MISMATCH = OwnershipOutcome.MATCH, OwnershipOutcome.MISMATCH
NOT_AVAILABLE, ERROR = OwnershipOutcome.NOT_AVAILABLE, OwnershipOutcome.ERROR
NAME, BIRTH = ComparedField.FULL_NAME, ComparedField.BIRTH_DATE

PURPOSES = {
    purpose.name: purpose
    for purpose in (
        Purpose("plain"),
        Purpose("named", evidence=EvidenceRules(must_match=frozenset({NAME, BIRTH}))),
        Purpose("strong", evidence=EvidenceRules(min_assurance="operator_match")),
        Purpose("recording", evidence=EvidenceRules(sim_swap=SimSwapEffect.RECORD, sim_swap_max_age_h=72)),
        Purpose("rejecting", evidence=EvidenceRules(sim_swap=SimSwapEffect.REJECT)),
        Purpose(
            "careful", ownership=OwnershipPolicy.BEFORE, evidence=EvidenceRules(sim_swap=SimSwapEffect.REJECT),
        ),
        Purpose("agreed", consent_required=True),
    )
}


@pytest.fixture
async def engine(backend: Backend) -> AsyncIterator[Engine]:
    """Give an engine with these purposes."""
    async with Engine(backend, purposes=PURPOSES) as engine:
        yield engine


async def verdict(engine: Engine, purpose: str) -> tuple[str, Reason | None]:
    """Take one verification to its end."""
    done = await engine.verified(purpose)
    return done.status.value, done.reason


@pytest.mark.parametrize(("purpose", "status", "reason"), [
    ("plain", "verified", None), ("named", "rejected", Reason.SIM_NOT_OWNED),
])
async def test_another_name_on_record(engine: Engine, purpose: str, status: str, reason: Reason | None) -> None:
    """A name that differs refuses only where the purpose says that it must match."""
    engine.source.also = {"fields": {ComparedField.ID_NUMBER: MATCH, NAME: MISMATCH}}
    assert (status, reason) == await verdict(engine, purpose)


async def test_too_weak_a_source(engine: Engine) -> None:
    """A table's word is not an operator's: where that is wanted, the subscriber counts as unknown."""
    assert ("rejected", Reason.SUBSCRIBER_UNKNOWN) == await verdict(engine, "strong")
    engine.source.assurance = "operator_match"
    engine.advance(60)
    assert ("verified", None) == await verdict(engine, "strong")


@pytest.mark.parametrize(("purpose", "asked_h", "status", "reason"), [
    ("plain", None, "verified", None), ("recording", 72, "verified", None), ("rejecting", 240, "rejected", Reason.RISK),
])
async def test_a_sim_that_was_changed_lately(
    engine: Engine, purpose: str, asked_h: int | None, status: str, reason: Reason | None,
) -> None:
    """What a changed SIM means is the purpose's: not asked, counted, or refused as a risk."""
    engine.source.also = {"sim_swapped": True}
    assert (status, reason) == await verdict(engine, purpose)
    assert asked_h == engine.source.asked[0].sim_swap_max_age_h
    effect = PURPOSES[purpose].evidence.sim_swap.value
    assert 1 == engine.count("otp_sim_swaps_total", purpose=purpose, effect=effect)
    if reason is not None:
        assert 1 == engine.count("otp_rejections_total", purpose=purpose, reason="risk")


@pytest.mark.parametrize("swapped", [False, None])
async def test_a_sim_that_was_not_changed(engine: Engine, swapped: bool | None) -> None:
    """A SIM that was not changed, or of which that is not known, refuses nobody and is not counted."""
    engine.source.also = {"sim_swapped": swapped}
    assert ("verified", None) == await verdict(engine, "rejecting")
    assert 0 == engine.count("otp_sim_swaps_total", purpose="rejecting", effect="reject")


@pytest.mark.parametrize("outcome", [MISMATCH, NOT_AVAILABLE])
async def test_a_changed_sim_hides_no_other_reason(engine: Engine, outcome: OwnershipOutcome) -> None:
    """A risk is told of matches alone: another's SIM is another's."""
    engine.source.outcome, engine.source.also = outcome, {"sim_swapped": True}
    expected = Reason.SIM_NOT_OWNED if outcome is MISMATCH else Reason.SUBSCRIBER_UNKNOWN
    assert ("rejected", expected) == await verdict(engine, "rejecting")


async def test_a_risk_before_the_code_says_nothing(engine: Engine) -> None:
    """Asked before the code, a risk looks like any other refusal, and no SMS leaves (Invariant 9)."""
    engine.source.also = {"sim_swapped": True}
    done = await engine.start(purpose="careful")
    assert (Reason.RISK, "ownership_not_confirmed", "not_checked", 0, 0) == (
        done.reason, done.told_reason, done.told_ownership.status, await engine.queued(), await engine.sends(),
    )


async def test_without_consent_no_source_is_asked(engine: Engine) -> None:
    """A verification without consent, from before its purpose asked for it, asks nobody and spends nothing."""
    started = await engine.start(purpose="agreed")
    seen = await engine.right(started)
    assert ("checking_ownership", []) == (seen.status, engine.source.asked)
    engine.advance(300)
    await engine.deadlines()
    assert ("rejected", Reason.OWNERSHIP_UNAVAILABLE, []) == (
        (await engine.get(started)).status, (await engine.get(started)).reason, engine.source.asked,
    )


async def test_consent_is_kept_and_told_to_the_source(engine: Engine) -> None:
    """The source learns the notice's version; the verdict keeps both, also when all else is forgotten."""
    consent = Consent("2026-01", "2026-01-31T08:00:00+07:00")
    done = await engine.verified("agreed", consent=consent)
    assert ("2026-01", "verified", consent) == (engine.source.asked[0].consent, done.status, done.consent)
    engine.advance(3 * 86_400)
    assert consent == (await engine.get(done)).consent


async def test_a_source_that_wants_rest_gets_it(engine: Engine) -> None:
    """The worker asks again no sooner than the source said, and the verdict still comes."""
    engine.source.outcome, engine.source.also = ERROR, {"retry_after_s": 90.0}
    started = await engine.start(purpose="plain")
    await engine.right(started)
    assert [float(NOW_MS + 90_000)] == [
        score for _, score in await engine.redis.zrange(f"otp:{{s{engine.shard(started):02d}}}:ask", 0, -1,
                                                        withscores=True)
    ]


async def test_what_the_source_learns_of_the_caller(engine: Engine) -> None:
    """The question says for which purpose it is, and whether a test key asks."""
    await engine.verified("plain")
    await engine.verified("plain", OTHER_PHONE, caller=type(PORTAL)(PORTAL.client, test=True))
    assert [("plain", False), ("plain", True)] == [(one.purpose, one.test) for one in engine.source.asked]
