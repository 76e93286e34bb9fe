"""The reply of 1414 as evidence, where an official assists and no source knows or answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.engine import NOW_MS, OWNER, PHONE, PORTAL, RIVAL, STRANGER, Backend, Engine, refused, replay

from otp_service.core.evidence import EvidenceRules, OwnershipOutcome
from otp_service.core.tttb.evidence import AttestedReply
from otp_service.core.verification import Ownership, Purpose, Reason, Verification

MATCH, MISMATCH = OwnershipOutcome.MATCH, OwnershipOutcome.MISMATCH
NOT_AVAILABLE, ERROR = OwnershipOutcome.NOT_AVAILABLE, OwnershipOutcome.ERROR

ASSISTED = "assisted_registration"
OWN = f"So TB 0900000001. Ho ten: NGUYEN VAN A; Ngay sinh: 01/01/1990; So giay to: {OWNER}; Loai giay to: CCCD"
OTHERS = OWN.replace(OWNER, STRANGER)
NO_NUMBER = (
    "TB tra truoc ca nhan. Ho ten: NGUYEN VAN A, Ngay sinh: 01/01/1990. Danh sach so thue bao dang ky: 0900000001."
)
NO_DATA = "Quy khach vui long truy cap ung dung VNeID de kiem tra va xac nhan su dung so dien thoai."
WRONG_SYNTAX = "Sai cu phap. Soan TTTB <so giay to> gui 1414."


async def waiting(
    engine: Engine, outcome: OwnershipOutcome = NOT_AVAILABLE, purpose: str = ASSISTED, **more: Any,
) -> Verification:
    """Return a verification whose code was right and whose sources have answered so."""
    engine.source.outcome = outcome
    started = await engine.start(purpose=purpose, **more)
    return await engine.right(started)


async def attest(
    engine: Engine, verification: Verification, reply: str = OWN, **more: Any,
) -> tuple[Verification, AttestedReply | None]:
    """Bring a reply."""
    return await engine.service.attest(more.pop("caller", PORTAL), verification.id, reply, **more)


@pytest.mark.parametrize("outcome", [NOT_AVAILABLE, ERROR])
async def test_a_reply_with_the_number_verifies(engine: Engine, outcome: OwnershipOutcome) -> None:
    """The person's own reply verifies, at the level of what somebody has read."""
    started = await waiting(engine, outcome)
    engine.advance(30)
    done, reply = await attest(engine, started)
    assert ("verified", Ownership("match", "attested", "attested_reply", NOW_MS + 30_000)) == (
        done.status, done.ownership,
    )
    assert reply is not None
    assert ("match", "full") == (reply.outcome, reply.confidence)
    claims = await engine.redeem(await engine.token(started), id_number=OWNER)
    verified = claims["verified_claims"]["verification"]
    assert ("attested_reply", ["electronic_record", "vouch"]) == (
        verified["assurance_level"], [one["type"] for one in verified["evidence"]],
    )
    assert 1 == engine.count("otp_ownership_checks_total", source="attested", outcome="match")


async def test_a_reply_with_another_number_rejects(engine: Engine) -> None:
    """A reply that shows another document ends it: the SIM is another's."""
    started = await waiting(engine)
    done, reply = await attest(engine, started, OTHERS)
    assert ("rejected", Reason.SIM_NOT_OWNED) == (done.status, done.reason)
    assert reply is not None
    assert "mismatch" == reply.outcome
    assert 1 == engine.count("otp_rejections_total", purpose=ASSISTED, reason="sim_not_owned")


@pytest.mark.parametrize("text", [
    NO_DATA, WRONG_SYNTAX, NO_NUMBER, "xin chao", OWN.replace("0900000001", "0900000002"),
])
async def test_a_reply_that_says_nothing_changes_nothing(engine: Engine, text: str) -> None:
    """What gives nothing to compare, or is about another SIM, leaves the verification waiting for a better one."""
    started = await waiting(engine)
    before = await engine.record(started)
    done, reply = await attest(engine, started, text)
    assert ("checking_ownership", before) == (done.status, await engine.record(started))
    assert reply is not None
    assert "not_available" == reply.outcome
    assert reply.note
    assert "verified" == (await attest(engine, started))[0].status


async def test_name_and_birth_date_are_indirect(engine: Engine) -> None:
    """A reply without a number counts by name and birth date, at the lowest level."""
    started = await waiting(engine, full_name="Nguyễn Văn A", birth_date="1990-01-01")
    done, reply = await attest(engine, started, NO_NUMBER)
    assert ("verified", "attested_reply_indirect") == (done.status, done.ownership.assurance)
    assert reply is not None
    assert "indirect" == reply.confidence


async def test_a_purpose_may_want_more(backend: Backend) -> None:
    """What is too weak for the purpose leaves the verification waiting."""
    strict = Purpose("strict", assisted=True, evidence=EvidenceRules(min_assurance="attested_reply"))
    async with Engine(backend, purposes={"strict": strict}) as engine:
        started = await waiting(engine, purpose="strict", full_name="Nguyễn Văn A", birth_date="1990-01-01")
        done, reply = await attest(engine, started, NO_NUMBER)
        assert ("checking_ownership", "not_available") == (done.status, done.ownership.status)
        assert reply is not None
        assert ("not_available", "none", "assurance_too_weak") == (reply.outcome, reply.confidence, reply.note)
        assert "verified" == (await attest(engine, started))[0].status


async def test_it_never_overrides_a_source(engine: Engine) -> None:
    """After a mismatch there is nothing to attest; a match needs nothing (Invariant 8)."""
    for outcome, status in ((MISMATCH, "rejected"), (MATCH, "verified")):
        done = await waiting(engine, outcome)
        refusal = await refused(attest(engine, done))
        assert ("already_final", status) == (refusal.code, refusal.members["verification_status"])
        engine.advance(60)


async def test_not_before_possession(engine: Engine) -> None:
    """Before the code was right, and after the verification has ended, there is nothing to attest."""
    started = await engine.start(purpose=ASSISTED)
    assert "already_final" == (await refused(attest(engine, started))).code
    engine.source.outcome = NOT_AVAILABLE
    await engine.right(started)
    engine.advance(900)
    assert "already_final" == (await refused(attest(engine, started))).code
    assert "rejected" == (await engine.get(started)).status


async def test_not_while_the_source_is_asked(engine: Engine) -> None:
    """While no source has answered yet the official is asked to come back in a moment."""
    engine.source.gate = asyncio.Event()
    started = await engine.start(purpose=ASSISTED)
    checking = asyncio.create_task(engine.right(started))
    while not engine.source.asked:
        await asyncio.sleep(0)
    refusal = await refused(attest(engine, started))
    assert ("unavailable", 2) == (refusal.code, refusal.retry_after_s)
    engine.source.gate.set()
    assert "verified" == (await checking).status


async def test_only_where_an_official_assists(engine: Engine) -> None:
    """A citizen's own registration takes no attested reply, and a purpose without ownership has nothing to attest."""
    engine.source.outcome = ERROR
    started = await engine.right(await engine.start(purpose="registration"))
    assert "forbidden" == (await refused(attest(engine, started))).code
    engine.advance(60)
    assert "forbidden" == (await refused(attest(engine, await engine.start(purpose="assisted_phone")))).code


async def test_only_its_own_client(engine: Engine) -> None:
    """Another client's verification and an unknown one look the same (Invariant 9)."""
    started = await waiting(engine)
    assert "not_found" == (await refused(attest(engine, started, caller=RIVAL))).code
    unknown = engine.ring.new_id(engine.shard(PHONE))
    assert "not_found" == (await refused(engine.service.attest(PORTAL, unknown, OWN))).code
    assert "not_found" == (await refused(engine.service.attest(PORTAL, "nonsense", OWN))).code


async def test_repeating_it_is_safe(engine: Engine) -> None:
    """With an Idempotency-Key the same call answers the same, another body is refused (Invariant 11)."""
    started = await waiting(engine)
    first, reply = await attest(engine, started, replay=replay("once"))
    second, nothing = await attest(engine, started, replay=replay("once"))
    assert ("verified", "verified", None) == (first.status, second.status, nothing)
    assert reply is not None
    assert "idempotency_key_reused" == (await refused(attest(engine, started, replay=replay("once", "b")))).code
    assert "already_final" == (await refused(attest(engine, started, replay=replay("another")))).code
    assert 1 == engine.count("otp_ownership_checks_total", source="attested", outcome="match")


async def test_many_at_once_settle_once(engine: Engine) -> None:
    """Ten officials with one reply end it once; the others are told how it stands (Invariant 1)."""
    started = await waiting(engine)
    done = await asyncio.gather(*(attest(engine, started) for _ in range(10)), return_exceptions=True)
    assert 1 == sum(isinstance(one, tuple) for one in done)
    assert 1 == engine.count("otp_verifications_total", purpose=ASSISTED, status="verified")


async def test_it_sends_the_code_where_that_waits_for_it(engine: Engine) -> None:
    """Where ownership is asked before the code, the official's evidence is what makes the code."""
    engine.source.outcome = NOT_AVAILABLE
    started = await engine.start(purpose="careful_assisted")
    done, _ = await attest(engine, started)
    assert ("pending", 1, "attested_reply") == (done.status, await engine.queued(), done.ownership.assurance)
    assert "verified" == (await engine.right(started)).status


async def test_the_text_is_forgotten(engine: Engine) -> None:
    """Nothing of the reply is kept (Invariant 5)."""
    started = await waiting(engine)
    await attest(engine, started, OWN.replace("NGUYEN VAN A", "TRAN THI BICHNGOC"))
    kept = b" ".join(value or b"" for value, _ in (await engine.dump()).values())
    for part in (b"BICHNGOC", OWNER.encode(), b"1990"):
        assert part not in kept


async def test_a_later_match_of_the_source_still_counts(engine: Engine) -> None:
    """While no reply is brought, the worker goes on asking after an error."""
    started = await waiting(engine, ERROR)
    await attest(engine, started, NO_DATA)
    engine.source.outcome = MATCH
    engine.advance(2)
    await engine.deadlines()
    seen = await engine.get(started)
    assert ("verified", "tttb") == (seen.status, seen.ownership.source)
