"""Who owns the SIM: asked after the code was right, within limits, and never a match by accident."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from support.engine import (
    DAY,
    ELSEWHERE,
    HOME,
    NOW_MS,
    OTHER_PHONE,
    OWNER,
    PHONE,
    PORTAL,
    RIVAL,
    STRANGER,
    THIRD_PHONE,
    Backend,
    Engine,
    refused,
    replay,
)

from otp_service.core.evidence import Evidence, OwnershipOutcome
from otp_service.core.limits import ID_OWNERSHIP_CHECKS, PHONE_OWNERSHIP_CHECKS, Limit, Mode
from otp_service.core.verification import Ownership, Verification
from otp_service.storage import keys
from otp_service.storage.calls import Settlement

MATCH, MISMATCH = OwnershipOutcome.MATCH, OwnershipOutcome.MISMATCH
NOT_AVAILABLE, ERROR = OwnershipOutcome.NOT_AVAILABLE, OwnershipOutcome.ERROR


async def logged(engine: Engine, phone: str = PHONE, id_number: str = OWNER) -> tuple[int, int]:
    """Return how many ownership checks stand in a phone's and in an ID number's log."""
    of_phone = sum(field.startswith(b"o:") for field in await engine.phone_hash(phone))
    shard, name = engine.ring.shard(id_number), engine.ring.names("id_number", id_number)[0]
    return of_phone, await engine.redis.zcard(keys.id_number(shard, name))


@pytest.mark.parametrize(
    ("purpose", "outcome", "status", "reason", "spent"),
    [
        ("registration", MATCH, "verified", None, 1),
        ("registration", MISMATCH, "rejected", "sim_not_owned", 1),
        ("registration", NOT_AVAILABLE, "rejected", "subscriber_unknown", 0),
        ("registration", ERROR, "checking_ownership", None, 0),
        ("assisted_registration", MATCH, "verified", None, 1),
        ("assisted_registration", MISMATCH, "rejected", "sim_not_owned", 1),
        ("assisted_registration", NOT_AVAILABLE, "checking_ownership", None, 0),
        ("assisted_registration", ERROR, "checking_ownership", None, 0),
    ],
)
async def test_what_an_answer_makes(
    engine: Engine, purpose: str, outcome: OwnershipOutcome, status: str, reason: str | None, spent: int,
) -> None:
    """Each answer of the source settles as the rules say, and only a learnt one stays spent (Invariant 8)."""
    engine.source.outcome = outcome
    started = await engine.start(purpose=purpose)
    engine.advance(9)
    done = await engine.right(started)
    assert (status, reason) == (done.status, done.reason)
    assert Ownership(
        outcome.value, "tttb", "subscriber_table" if spent else None, NOW_MS + 9000,
    ) == done.ownership
    assert done == await engine.get(started)
    assert (spent, spent) == await logged(engine)
    assert 1 == engine.count("otp_ownership_checks_total", source="tttb", outcome=outcome.value)


async def test_what_the_source_is_asked(engine: Engine) -> None:
    """The source gets phone, ID numbers, name, birth date and our id, and nothing before the code was right."""
    started = await engine.start(
        purpose="registration", previous_id_number="210000000", full_name="NGUYỄN VĂN A", birth_date="1990-01-01",
    )
    await engine.wrong(started)
    assert [] == engine.source.asked
    assert (0, 0) == await logged(engine)
    await engine.right(started)
    [asked] = engine.source.asked
    assert (PHONE, (OWNER, "210000000"), "NGUYỄN VĂN A", "1990-01-01", started.id) == (
        asked.phone_number, asked.id_numbers, asked.full_name, asked.birth_date, asked.reference,
    )


@pytest.mark.parametrize("error", [OSError("down"), ValueError("garbled"), KeyError("row"), TimeoutError()])
async def test_a_source_that_raises_never_matches(engine: Engine, error: Exception) -> None:
    """Whatever a source raises is no answer: the verification waits and then ends unavailable (Invariant 8)."""
    engine.source.error = error
    started = await engine.start(purpose="registration")
    assert "checking_ownership" == (await engine.right(started)).status
    engine.advance(299.999)
    assert "checking_ownership" == (await engine.get(started)).status
    engine.advance(0.001)
    seen = await engine.get(started)
    assert ("rejected", "ownership_unavailable") == (seen.status, seen.reason)
    await engine.deadlines()
    seen = await engine.get(started)
    assert ("rejected", "ownership_unavailable") == (seen.status, seen.reason)


async def test_a_late_match_comes_too_late(engine: Engine) -> None:
    """A match that arrives after the purpose's time does not verify (Invariant 8)."""
    engine.source.gate = asyncio.Event()
    started = await engine.start(purpose="registration")
    checking = asyncio.create_task(engine.right(started))
    while not engine.source.asked:
        await asyncio.sleep(0)
    engine.advance(300)
    engine.source.gate.set()
    done = await checking
    assert ("rejected", "ownership_unavailable", "not_checked") == (done.status, done.reason, done.ownership.status)


async def test_a_slow_source_is_left_to_the_worker(backend: Backend) -> None:
    """A source slower than the inline deadline leaves the check open; the worker asks again and settles."""
    async with Engine(backend, inline_deadline_s=0.08) as engine:
        engine.source.gate = asyncio.Event()
        started = await engine.start(purpose="registration")
        assert "checking_ownership" == (await engine.right(started)).status
        engine.source.gate = None
        engine.advance(1.999)
        await engine.deadlines()
        assert 1 == len(engine.source.asked)
        engine.advance(0.001)
        await engine.deadlines()
        assert 2 == len(engine.source.asked)
        assert "verified" == (await engine.get(started)).status
        assert (1, 1) == await logged(engine)


async def test_a_source_that_answers_nonsense_never_matches(engine: Engine) -> None:
    """What is no evidence at all is no answer (Invariant 8)."""
    class Broken:
        name, assurance = "broken", "subscriber_table"

        async def ask(self, _: object) -> Evidence:
            return True  # type: ignore[return-value]

    engine.source.ask = Broken().ask  # type: ignore[method-assign]
    started = await engine.start(purpose="registration")
    assert "checking_ownership" == (await engine.right(started)).status


async def test_the_worker_asks_with_growing_pauses(engine: Engine) -> None:
    """After errors the worker asks again 2, 4, 8, 16, 32 and 32 s later, until the purpose's time is over."""
    engine.source.outcome = ERROR
    started = await engine.start(purpose="registration")
    await engine.right(started)
    asked_at = [engine.clock.now_ms]
    for _ in range(300):
        engine.advance(1)
        await engine.deadlines()
        if len(engine.source.asked) > len(asked_at):
            asked_at.append(engine.clock.now_ms)
    pauses = [(after - before) // 1000 for before, after in itertools.pairwise(asked_at)]
    assert [2, 4, 8, 16, 32, 32, 32, 32, 32, 32, 32, 32] == pauses
    seen = await engine.get(started)
    assert ("rejected", "ownership_unavailable") == (seen.status, seen.reason)
    assert 1 == engine.count("otp_rejections_total", purpose="registration", reason="ownership_unavailable")


async def test_a_crash_between_code_and_answer_loses_nothing(engine: Engine) -> None:
    """A process that dies while it asks leaves the job: another settles it, due five seconds later (Invariant 6)."""
    engine.source.gate = asyncio.Event()
    started = await engine.start(purpose="registration")
    dying = asyncio.create_task(engine.right(started))
    while not engine.source.asked:
        await asyncio.sleep(0)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    async with engine.sibling() as other:
        other.advance(4.999)
        await other.deadlines()
        assert [] == other.source.asked
        other.advance(0.001)
        await other.deadlines()
        assert 1 == len(other.source.asked)
        assert "verified" == (await other.get(started)).status


async def test_workers_share_the_asking(engine: Engine) -> None:
    """A job in one worker's hand is not asked by another until its lease is over."""
    engine.source.outcome = ERROR
    started = await engine.start(purpose="registration")
    await engine.right(started)
    engine.advance(2)
    shard = engine.shard(started)
    [job] = await engine.store.due_asks(shard, 5000, 10)
    assert started.id == job[0]
    engine.advance(4.999)
    assert [] == await engine.store.due_asks(shard, 5000, 10)
    engine.advance(0.001)
    assert [job] == await engine.store.due_asks(shard, 5000, 10)


async def test_assisted_purposes_wait_until_the_end(engine: Engine) -> None:
    """Where an official can bring evidence, no answer keeps the check open until the verification's end."""
    engine.source.outcome = NOT_AVAILABLE
    started = await engine.start(purpose="assisted_registration")
    engine.advance(100)
    await engine.deliver()
    await engine.resend(started)
    await engine.right(started)
    engine.advance(799.999)
    await engine.deadlines()
    seen = await engine.get(started)
    assert ("checking_ownership", "not_available") == (seen.status, seen.ownership.status)
    assert 1 == len(engine.source.asked)
    engine.advance(0.001)
    await engine.deadlines()
    seen = await engine.get(started)
    assert ("rejected", "subscriber_unknown") == (seen.status, seen.reason)


# -- limits -------------------------------------------------------------------------------------------------------


async def register(engine: Engine, phone: str = PHONE, id_number: str = OWNER, *, ip: str = HOME) -> tuple[str, str]:
    """Bring one registration to its end; return status and reason."""
    started = await engine.start(phone, "registration", id_number=id_number, end_user_ip=ip)
    done = await engine.right(started)
    engine.advance(60)
    return str(done.status), str(done.reason)


UNAVAILABLE = ("rejected", "ownership_unavailable")


async def test_five_checks_a_day_per_phone(engine: Engine) -> None:
    """The sixth check of a phone within a day asks no source and ends unavailable (Invariant 9)."""
    engine.source.outcome = MISMATCH
    for at in range(5):
        assert ("rejected", "sim_not_owned") == await register(engine, id_number=f"05209000000{at}")
    engine.source.outcome = MATCH
    assert UNAVAILABLE == await register(engine)
    assert 5 == len(engine.source.asked)
    assert ("verified", "None") == await register(engine, OTHER_PHONE)
    engine.advance(DAY - 7 * 60 - 100)
    early = await engine.start(purpose="registration")
    engine.advance(60)
    due = await engine.start(purpose="registration", caller=RIVAL)
    engine.advance(40 - 0.001)
    assert "ownership_unavailable" == (await engine.right(early)).reason
    engine.advance(0.001)
    assert "verified" == (await engine.right(due, caller=RIVAL)).status


async def test_five_checks_a_day_per_id_number(engine: Engine) -> None:
    """One ID number is compared with at most five phones a day (Invariant 9)."""
    engine.source.outcome = MISMATCH
    for at in range(5):
        assert ("rejected", "sim_not_owned") == await register(engine, f"+8490000000{at}")
    assert UNAVAILABLE == await register(engine, "+84900000009")
    assert ("rejected", "sim_not_owned") == await register(engine, "+84900000009", STRANGER)
    engine.advance(DAY - 7 * 60)
    assert ("rejected", "sim_not_owned") == await register(engine, "+84900000009")


async def test_a_refused_check_spends_nothing(engine: Engine) -> None:
    """A check that the ID number's limit refuses leaves the phone's allowance as it was."""
    engine.source.outcome = MISMATCH
    for at in range(5):
        await register(engine, f"+8490000000{at}")
    before = await logged(engine, "+84900000009")
    await register(engine, "+84900000009")
    assert before == await logged(engine, "+84900000009") == (0, 5)


@pytest.mark.parametrize("outcome", [NOT_AVAILABLE, ERROR])
async def test_no_answer_costs_no_check(engine: Engine, outcome: OwnershipOutcome) -> None:
    """Checks that brought no answer are given back to phone and ID number, each once."""
    engine.source.outcome = outcome
    for at in range(7):
        await register(engine, ip=(HOME, ELSEWHERE)[at % 2])
    assert (0, 0) == await logged(engine)
    engine.source.outcome = MATCH
    assert ("verified", "None") == await register(engine)


async def test_asking_again_costs_nothing(engine: Engine) -> None:
    """However often one verification is asked for, it stands once in each log (Invariant 11)."""
    started = await engine.start(purpose="registration")
    await engine.check_once(started, engine.code(started), nonce="n")
    id_keys = [keys.id_number(engine.ring.shard(OWNER), name) for name in engine.ring.names("id_number", OWNER)]
    limits = (Limit(PHONE_OWNERSHIP_CHECKS, 1, DAY), Limit(ID_OWNERSHIP_CHECKS, 1, DAY))
    for _ in range(4):
        assert "go" == (await engine.store.ask(engine.shard(started), started.id, id_keys, limits)).outcome
        engine.advance(1)
    assert (1, 1) == await logged(engine)


async def test_settling_twice_settles_once(engine: Engine) -> None:
    """The second answer changes nothing, and a repeated error refunds no other verification's check (Invariant 11)."""
    engine.source.outcome = MISMATCH
    first = await engine.start(purpose="registration")
    await engine.right(first)
    before = await engine.dump()
    id_keys = [keys.id_number(engine.ring.shard(OWNER), name) for name in engine.ring.names("id_number", OWNER)]
    for outcome in "mnexk":
        answer = await engine.store.settle(
            engine.shard(first), first.id, id_keys, Settlement(outcome, "tttb", backoff_ms=1),
        )
        assert ("settled", b"r") == (answer.outcome, answer.record[b"s"])
    assert before == await engine.dump()
    assert (1, 1) == await logged(engine)


async def test_a_replayed_check_asks_nobody_again(engine: Engine) -> None:
    """Repeating a right guess with its Idempotency-Key costs the source no second question (Invariant 11)."""
    engine.source.outcome = OwnershipOutcome.ERROR
    started = await engine.start(purpose="registration")
    for _ in range(3):
        seen = await engine.service.check(PORTAL, started.id, engine.code(started), replay("again"))
        assert "checking_ownership" == seen.status
    assert 1 == engine.count("otp_ownership_checks_total", source="tttb", outcome="error")


async def test_every_number_that_is_asked_about_is_counted(backend: Backend) -> None:
    """A previous number spends its own allowance: nobody tries one number on many phones by that way."""
    few = [Limit(ID_OWNERSHIP_CHECKS, 1, DAY)]
    async with Engine(backend, limits=few) as engine:
        engine.source.outcome = MISMATCH
        first = await engine.start(purpose="registration", previous_id_number="210000003")
        assert ("rejected", "sim_not_owned") == await ended(engine, first)
        second = await engine.start(OTHER_PHONE, purpose="registration", id_number="210000003")
        assert ("rejected", "ownership_unavailable") == await ended(engine, second)


async def ended(engine: Engine, verification: Verification) -> tuple[str, str | None]:
    """Give the right code and return status and reason."""
    seen = await engine.right(verification)
    return seen.status.value, seen.reason.value if seen.reason else None


async def test_record_only_asks_on(backend: Backend) -> None:
    """Ownership limits in record_only count what they would refuse and ask."""
    soft = [Limit(PHONE_OWNERSHIP_CHECKS, 1, DAY, mode=Mode.RECORD_ONLY)]
    async with Engine(backend, limits=soft) as engine:
        for _ in range(3):
            assert ("verified", "None") == await register(engine)
        assert 2 == engine.count(
            "otp_limit_decisions_total", limit="phone_ownership_checks", decision="would_refuse",
        )


async def test_nothing_is_asked_for_a_purpose_without_ownership(engine: Engine) -> None:
    """Holding the phone is enough where the purpose says so: no source is asked, even with an ID number at hand."""
    done = await engine.verified("phone_only", THIRD_PHONE, id_number=OWNER)
    assert ("verified", Ownership()) == (done.status, done.ownership)
    assert [] == engine.source.asked


async def test_no_guess_while_the_sim_is_checked(engine: Engine) -> None:
    """Once the code was right no further guess is evaluated, right or wrong (Invariant 1)."""
    engine.source.outcome = ERROR
    started = await engine.start(purpose="registration")
    await engine.right(started)
    before = await engine.dump()
    for code in (engine.code(started), engine.wrong_code(started)):
        refusal = await refused(engine.check(started, code))
        assert ("already_final", {"verification_status": "checking_ownership"}) == (refusal.code, refusal.members)
    assert before == await engine.dump()


async def test_a_gone_verification_is_not_asked_for(engine: Engine) -> None:
    """A job whose verification is gone or settled is dropped, not asked (Invariant 14)."""
    engine.source.outcome = ERROR
    started = await engine.start(purpose="registration")
    await engine.right(started)
    await engine.redis.delete(keys.verification(engine.shard(started), started.id))
    engine.advance(10)
    await engine.deadlines()
    assert 1 == len(engine.source.asked)
    assert [] == await engine.redis.zrange(keys.ask(engine.shard(started)), 0, -1)
    assert "not_found" == (await refused(engine.get(started))).code
