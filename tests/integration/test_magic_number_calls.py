"""Magic numbers through the whole engine: who may use them, what they produce, and that nothing limits them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from support.engine import (
    DAY,
    HOME,
    MINUTE,
    PHONE,
    PORTAL,
    PURPOSES,
    RIVAL,
    STRANGER,
    Backend,
    Engine,
    refused,
    replay,
)

from otp_service.core import limits as kinds
from otp_service.core.errors import InvalidRequest
from otp_service.core.evidence import OwnershipOutcome
from otp_service.core.limits import LIMIT_KINDS, Limit
from otp_service.core.ports import SendResult
from otp_service.core.verification import Verification
from otp_service.service import Caller
from sms_adapters.fake import FakeGateway

MAGIC = "+84900000900"
TEST = replace(PORTAL, test=True)
ZEROS = "000000"

#: Every limit that can be, so narrow that an ordinary number meets it with its second call.
NARROW = tuple(
    Limit(kind, 1, MINUTE) for kind in LIMIT_KINDS.values()
    if kind not in {kinds.PHONE_FAILURES, kinds.ADDRESS_GUESSES, kinds.PHONE_COOLDOWN}
)


class RealGateway(FakeGateway):
    """A gateway that reaches phones, as far as anybody knows."""

    real = True


async def started(
    engine: Engine, tail: int = 900, purpose: str = "phone_only", *, caller: Caller = TEST,
) -> Verification:
    """Start a verification of a magic number with a test key."""
    return await engine.start(f"+84900000{tail}", purpose, caller=caller)


# -- who may ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", [900, 911, 919, 929])
async def test_a_live_key_is_refused_and_nothing_is_spent(engine: Engine, tail: int) -> None:
    """The refusal names field and code, queues nothing and writes nothing, with an Idempotency-Key as without."""
    before = await engine.dump()

    for kept in (None, replay("a"), replay("a")):
        refusal = await refused(engine.start(f"+84900000{tail}", replay=kept))
        assert isinstance(refusal, InvalidRequest)
        assert (422, [("phone_number", "test_number")]) == (
            refusal.http_status, [(error.field, error.code) for error in refusal.errors],
        )
    assert before == await engine.dump()


async def test_a_refused_key_is_free_for_another_number(engine: Engine) -> None:
    """Refusals are not remembered: the same Idempotency-Key starts an ordinary number."""
    await refused(engine.start(MAGIC, replay=replay("a")))

    assert "pending" == (await engine.start(PHONE, replay=replay("a"))).status


@pytest.mark.parametrize("phone", ["+84900000899", "+84900000930", "+84900000009"])
async def test_neighbours_are_ordinary(engine: Engine, phone: str) -> None:
    """Beside the range a live key starts as ever, and a test key's code is no zeros."""
    assert "pending" == (await engine.start(phone)).status
    own = await engine.start(phone, caller=TEST)
    assert "wrong_code" == (await refused(engine.check(own, ZEROS, caller=TEST))).code


async def test_the_demo_lets_every_key(backend: Backend) -> None:
    """There live keys try magic numbers too, as often as they like."""
    async with Engine(backend, demo=True, limits=NARROW) as engine:
        for caller in (PORTAL, RIVAL, TEST, PORTAL):
            assert "pending" == (await started(engine, caller=caller)).status


# -- the code ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("purpose", ["phone_only", "registration", "assisted_phone"])
async def test_a_test_key_s_code_is_zeros(engine: Engine, purpose: str) -> None:
    """Integrators know it without reading an SMS, of the first one and after each resend."""
    first = await started(engine, purpose=purpose)
    second = await started(engine, purpose=purpose)
    await engine.resend(second, caller=TEST)

    assert "verified" == (await engine.check(first, ZEROS, caller=TEST)).status
    refusal = await refused(engine.check(second, engine.code(second, 2), caller=TEST))
    assert "wrong_code" == refusal.code
    assert "verified" == (await engine.check(second, ZEROS, caller=TEST)).status


async def test_its_length_is_the_purpose_s(backend: Backend) -> None:
    """Eight digits are eight zeros."""
    long = replace(PURPOSES["phone_only"], code=replace(PURPOSES["phone_only"].code, length=8))
    async with Engine(backend, purposes={"phone_only": long}) as engine:
        assert "verified" == (await engine.check(await started(engine), "0" * 8, caller=TEST)).status


async def test_a_live_key_s_code_is_never_zeros(backend: Backend) -> None:
    """In the demo, where a live key may use magic numbers, its code is in the SMS alone.  Invariant 1."""
    async with Engine(backend, demo=True) as engine:
        own = await started(engine, caller=PORTAL)
        await engine.deliver()
        assert "wrong_code" == (await refused(engine.check(own, ZEROS))).code
        assert engine.code(own) in engine.postbox.posts[0]["text"]
        await engine.resend(own)
        assert "wrong_code" == (await refused(engine.check(own, ZEROS))).code
        assert "verified" == (await engine.check(own, engine.code(own, 2))).status


async def test_a_test_key_s_ordinary_number_has_an_ordinary_code(engine: Engine) -> None:
    """Zeros open nothing outside the range.  Invariant 1."""
    own = await engine.start(PHONE, caller=TEST)

    assert "wrong_code" == (await refused(engine.check(own, ZEROS, caller=TEST))).code
    assert "verified" == (await engine.check(own, engine.code(own), caller=TEST)).status


async def test_the_message_carries_the_zeros(engine: Engine) -> None:
    """What the fake gateway shows is what passes."""
    await started(engine)
    await engine.deliver()

    assert ZEROS in engine.postbox.posts[0]["text"]


async def test_zeros_are_used_up(engine: Engine) -> None:
    """A code verifies once, also one that everybody knows.  Invariant 1."""
    own = await started(engine)
    answers = await asyncio.gather(
        *(engine.check(own, ZEROS, caller=TEST) for _ in range(20)), return_exceptions=True,
    )

    assert 1 == sum(isinstance(answer, Verification) for answer in answers)


# -- the outcome ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tail", "delivery", "attempts"), [
    (900, "delivered", 1), (901, "failed", 1), (902, "failed", 1), (903, "failed", 1), (904, "failed", 1),
    (905, "failed", 1), (906, "failed", 1), (907, "failed", 2), (908, "sent", 1), (909, "failed", 1),
    (910, "failed", 2), (911, "failed", 2), (912, "failed", 1), (913, "sent", 1), (914, "sent", 1),
    (915, "delivered", 2), (916, "delivered", 1), (917, "delivered", 2), (918, "delivered", 2), (919, "delivered", 1),
    (929, "delivered", 1),
])
async def test_each_number_s_outcome_arrives(engine: Engine, tail: int, delivery: str, attempts: int) -> None:
    """What the number stands for is read in ``delivery``, after as many hand-overs as it takes, and no phone rings."""
    own = await started(engine, tail)
    await engine.deliver(await engine.worker(adapter=RealGateway))

    assert delivery == (await engine.get(own, caller=TEST)).delivery
    handed_over = [engine.count("otp_sends_total", gateway="test", result=result) for result in SendResult]
    assert attempts == sum(handed_over)
    assert ([], 0) == (engine.postbox.posts, await engine.queued())


@pytest.mark.parametrize(("tail", "refunded"), [(902, True), (907, True), (911, False), (912, False), (900, False)])
async def test_a_refused_send_costs_nothing(engine: Engine, tail: int, refunded: bool) -> None:
    """What no gateway took is given back; what one may have is not.  Invariant 3."""
    own = await started(engine, tail)
    await engine.deliver(await engine.worker(adapter=RealGateway))
    seen = await engine.get(own, caller=TEST)

    assert ("pending", 4 if refunded else 3) == (seen.status, seen.sends_left)
    assert 2 == (await engine.resend(own, caller=TEST)).send_number


# -- nothing limits them ----------------------------------------------------------------------------------------------


async def test_one_number_is_started_thirty_times_at_once(backend: Backend) -> None:
    """Every start passes every limit, ends no other, and each verification can be finished."""
    async with Engine(backend, limits=NARROW) as engine:
        all_of_them = await asyncio.gather(*(started(engine) for _ in range(30)))

        assert 30 == len({one.id for one in all_of_them})
        assert 30 == await engine.queued()
        assert ["pending"] * 30 == [(await engine.get(one, caller=TEST)).status for one in all_of_them]
        checked = await asyncio.gather(*(engine.check(one, ZEROS, caller=TEST) for one in all_of_them))
        assert ["verified"] * 30 == [one.status for one in checked]


async def test_resends_need_no_cooldown(backend: Backend) -> None:
    """The answer says that a resend may follow at once, and it may; only their number is bounded."""
    async with Engine(backend, limits=NARROW) as engine:
        own = await started(engine)
        for number in (2, 3, 4):
            assert own.resend_at_ms is not None
            assert own.resend_at_ms <= own.now_ms + 1
            engine.advance(0.001)
            own = await engine.resend(own, caller=TEST)
            assert number == own.send_number
        assert "sends_exhausted" == (await refused(engine.resend(own, caller=TEST))).code


async def test_failures_of_one_do_not_delay_another(engine: Engine) -> None:
    """Wrong codes lock their verification; however many there were, the next one's first guess waits for nothing."""
    for _ in range(30):
        own = await started(engine)
        codes = [(await refused(engine.check(own, "111111", caller=TEST))).code for _ in range(5)]
        assert ["wrong_code"] * 4 + ["locked"] == codes
    fresh = await started(engine)

    assert "verified" == (await engine.check(fresh, ZEROS, caller=TEST)).status


async def test_ownership_checks_are_exempt(backend: Backend) -> None:
    """One ID number is asked about again and again, and the ordinary number beside it has its own allowance still."""
    narrow = (Limit(kinds.PHONE_OWNERSHIP_CHECKS, 1, DAY), Limit(kinds.ID_OWNERSHIP_CHECKS, 1, DAY))
    async with Engine(backend, limits=narrow) as engine:
        for _ in range(4):
            own = await started(engine, purpose="registration")
            assert "verified" == (await engine.check(own, ZEROS, caller=TEST)).status
        engine.source.outcome = OwnershipOutcome.MISMATCH
        own = await started(engine, purpose="registration")
        rejected = await engine.check(own, ZEROS, caller=TEST)
        assert ("rejected", "sim_not_owned") == (rejected.status, rejected.reason)
        assert 5 == len(engine.source.asked)


async def test_no_decision_about_them_is_a_refusal(backend: Backend) -> None:
    """Whatever is counted of magic numbers, operations see no refusal."""
    async with Engine(backend, limits=NARROW) as engine:
        for _ in range(3):
            await started(engine)

        assert dict.fromkeys(LIMIT_KINDS, 0) == {
            name: engine.count("otp_limit_decisions_total", limit=name, decision="refused") for name in LIMIT_KINDS
        }


async def test_no_address_pays_for_them(backend: Backend) -> None:
    """A test from a citizen's address takes nothing from that address."""
    async with Engine(backend, limits=(Limit(kinds.ADDRESS_SENDS, 2, MINUTE),)) as engine:
        for _ in range(5):
            await started(engine)

        assert "pending" == (await engine.start(PHONE, end_user_ip=HOME)).status


# -- everything else stays as it is -----------------------------------------------------------------------------------


async def test_ordinary_numbers_of_test_keys_keep_their_limits(engine: Engine) -> None:
    """A test key's ordinary number has its cooldown and its cap, counted apart from live ones.  Invariant 3."""
    await engine.start(PHONE, caller=TEST)

    assert "rate_limited" == (await refused(engine.start(PHONE, caller=TEST))).code
    assert "pending" == (await engine.start(PHONE)).status
    for _ in range(2):
        engine.advance(61)
        await engine.start(PHONE, caller=TEST)
    engine.advance(61)
    assert "rate_limited" == (await refused(engine.start(PHONE, caller=TEST))).code


async def test_a_stranger_s_wrong_code_counts(engine: Engine) -> None:
    """The attempts of one verification stay bounded: exempt from limits is not exempt from rules.  Invariant 2."""
    own = await started(engine)
    guesses = await asyncio.gather(
        *(refused(engine.check(own, f"{number:06d}", caller=TEST)) for number in range(1, 9)),
    )

    assert {"attempts": 4, "locked": 4} == {
        "attempts": sum(one.code == "wrong_code" for one in guesses),
        "locked": sum(one.code in {"locked", "already_final"} for one in guesses),
    }
    assert "locked" == (await engine.get(own, caller=TEST)).status


async def test_the_verdict_is_a_test_s(engine: Engine) -> None:
    """Its token is signed with the test key, redeemed by test keys, and worth nothing to a live one."""
    own = await started(engine, purpose="registration")
    token = await engine.token(await engine.check(own, ZEROS, caller=TEST), caller=TEST)

    assert "invalid_request" == (await refused(engine.redeem(token, phone_number=MAGIC, id_number=STRANGER))).code
    claims = await engine.redeem(token, phone_number=MAGIC, id_number="052090000001", caller=TEST)
    assert ("https://otp.example/test", MAGIC) == (claims["iss"], claims["phone_number"])


async def test_they_survive_a_rotation(engine: Engine) -> None:
    """What was started under the old key ring is resent and checked under the new one."""
    own = await started(engine)
    engine.rotate("k2", "k1")
    await engine.resend(own, caller=TEST)

    assert "verified" == (await engine.check(own, ZEROS, caller=TEST)).status


async def test_lost_replies_cost_nothing(backend: Backend) -> None:
    """Every call of a magic number may run twice in the store.  Invariant 11."""
    async with Engine(backend, forgetful=True) as engine:
        own = await started(engine)
        resent = await engine.resend(own, caller=TEST)
        assert (2, 2) == (resent.send_number, await engine.queued())
        assert 4 == (await refused(engine.check(own, "111111", caller=TEST))).members["attempts_left"]
        assert "verified" == (await engine.check(own, ZEROS, caller=TEST)).status


async def test_they_take_nothing_from_others(backend: Backend) -> None:
    """What a test key starts for them takes nothing from the rates that it shares with others."""
    narrow = (Limit(kinds.SERVICE_SENDS, 10, MINUTE), Limit(kinds.CLIENT_SENDS, 10, MINUTE))
    async with Engine(backend, limits=narrow) as engine:
        for _ in range(12):
            await started(engine)
        assert "pending" == (await engine.start(PHONE, caller=RIVAL)).status
        assert "pending" == (await engine.start(PHONE, caller=TEST)).status
