"""Every limit to its last number and millisecond: sends, guesses, and who may not spend whose."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.engine import (
    DAY,
    ELSEWHERE,
    HOME,
    HOUR,
    LIMITS,
    MINUTE,
    OTHER_PHONE,
    PHONE,
    PORTAL,
    PURPOSES,
    REFUSE,
    RIVAL,
    THIRD_PHONE,
    UNCLEAR,
    Backend,
    Engine,
    refused,
)

from otp_service.core import limits as kinds
from otp_service.core.errors import AlreadyFinal, CodeExpired, Refusal
from otp_service.core.limits import LIMIT_KINDS, Limit, LimitKind, Mode, Override
from otp_service.core.verification import CodePolicy, OwnershipPolicy, Purpose, Verification
from otp_service.service import Caller

PERSON_S = 600
FAR = "192.0.2.1"
_NUMBERS, _DAYS = itertools.count(530_000_000), itertools.count()
AT_SHOP = replace(PORTAL, address="198.51.100.77")


# -- the cooldown -------------------------------------------------------------------------------------------------


async def test_cooldown_is_60_seconds_to_the_millisecond(engine: Engine) -> None:
    """A resend is refused 59.999 s after the SMS before it and allowed at 60.000 s (Invariant 3)."""
    verification = await engine.start()
    engine.advance(59.999)
    before = await engine.dump()
    refusal = await refused(engine.resend(verification))
    assert ("resend_too_soon", 1, {"retry_after": 1}) == (refusal.code, refusal.retry_after_s, refusal.members)
    assert before == await engine.dump()
    engine.advance(0.001)
    assert 2 == (await engine.resend(verification)).send_number


async def test_cooldown_holds_for_starts_of_every_client(engine: Engine) -> None:
    """A start of another client on the phone waits out the same cooldown and is told to whole seconds (Invariant 3)."""
    await engine.start()
    engine.advance(0.001)
    refusal = await refused(engine.start(caller=RIVAL, purpose="sign_in"))
    assert ("rate_limited", {"limit": "person", "retry_after": 60}) == (refusal.code, refusal.members)
    engine.advance(59.998)
    assert 1 == (await refused(engine.start(caller=RIVAL))).retry_after_s
    engine.advance(0.001)
    assert "pending" == (await engine.start(caller=RIVAL)).status


async def test_cooldown_is_each_phones_own(engine: Engine) -> None:
    """An SMS to one phone keeps nobody else waiting."""
    await engine.start()
    assert "pending" == (await engine.start(OTHER_PHONE)).status


# -- the caps -----------------------------------------------------------------------------------------------------


async def test_three_resends_per_verification(backend: Backend) -> None:
    """A verification sends four SMS, and says when it ends to whoever asks for a fifth (Invariant 3)."""
    wide = [Limit(kinds.PHONE_SENDS, 50, DAY), Limit(kinds.PHONE_BLOCK_SENDS, 50, DAY)]
    async with Engine(backend, limits=wide) as engine:
        verification = await engine.start()
        left = [verification.sends_left]
        for _ in range(3):
            engine.advance(60)
            left.append((await engine.resend(verification)).sends_left)
        assert [3, 2, 1, 0] == left
        assert (await engine.get(verification)).resend_at_ms is None
        engine.advance(60)
        before = await engine.dump()
        refusal = await refused(engine.resend(verification))
        assert ("sends_exhausted", {"expires_at": "2026-09-21T14:28:20.000Z"}) == (refusal.code, refusal.members)
        assert before == await engine.dump()


async def spend(engine: Engine, times: int, **options: object) -> None:
    """Start so many verifications, a cooldown apart."""
    for _ in range(times):
        await engine.start(**options)
        engine.advance(60)


async def test_three_sends_a_day_from_one_address_block(engine: Engine) -> None:
    """The fourth SMS of a day from one /24 is refused until 24 h after the first, to the millisecond (Invariant 3)."""
    for last in (1, 2, 3):
        await spend(engine, 1, end_user_ip=f"198.51.100.{last}")
    before = await engine.dump()
    refusal = await refused(engine.start(end_user_ip="198.51.100.250"))
    assert ("rate_limited", {"limit": "person", "retry_after": DAY}) == (refusal.code, refusal.members)
    assert before == await engine.dump()
    engine.advance(DAY - 180 - 0.001)
    assert PERSON_S == (await refused(engine.start())).retry_after_s
    engine.advance(0.001)
    assert "pending" == (await engine.start()).status


async def test_five_sends_a_day_per_phone_and_client(engine: Engine) -> None:
    """The sixth SMS of a day for one client is refused from any address; another client has its own (Invariant 3)."""
    await spend(engine, 3, end_user_ip=HOME)
    await spend(engine, 2, end_user_ip=ELSEWHERE)
    refusal = await refused(engine.start(end_user_ip=FAR))
    assert ("rate_limited", "person") == (refusal.code, refusal.members["limit"])
    assert 0 == refusal.members["retry_after"] % PERSON_S
    assert "pending" == (await engine.start(end_user_ip=FAR, caller=RIVAL)).status
    engine.advance(DAY - 300 - 0.001)
    assert "rate_limited" == (await refused(engine.start(end_user_ip=FAR))).code
    engine.advance(0.001)
    assert "pending" == (await engine.start(end_user_ip=FAR)).status


async def test_success_frees_the_sends_before_it(engine: Engine) -> None:
    """Sends that a success followed no longer count for the client; those of the whole day do (Invariant 3)."""
    for _ in range(6):
        await engine.verified()
        engine.advance(60)
    await spend(engine, 2)
    await engine.verified()
    engine.advance(60)
    await spend(engine, 3)
    assert "rate_limited" == (await refused(engine.start())).code
    assert 12 == await engine.sends()


async def test_success_frees_only_its_clients_sends(engine: Engine) -> None:
    """A success with one client gives another client no further SMS."""
    await spend(engine, 3, caller=RIVAL)
    await engine.verified()
    engine.advance(60)
    assert "rate_limited" == (await refused(engine.start(caller=RIVAL))).code


async def test_twenty_sends_a_day_in_all(engine: Engine) -> None:
    """After twenty SMS in a day a phone gets no more, whatever the client and the outcome (Invariant 3)."""
    for _ in range(20):
        await engine.verified()
        engine.advance(60)
    for caller, purpose in itertools.product((PORTAL, RIVAL), ("phone_only", "assisted_phone")):
        assert "rate_limited" == (await refused(engine.start(caller=caller, purpose=purpose))).code
    engine.advance(DAY - 20 * 60)
    assert "pending" == (await engine.start()).status
    assert "rate_limited" == (await refused(engine.start(caller=RIVAL))).code
    engine.advance(60)
    assert "pending" == (await engine.start(caller=RIVAL)).status


async def test_assisted_purposes_have_their_own_allowance(engine: Engine) -> None:
    """Ten assisted SMS a day count for no client's own, and a client's spent allowance stops no official."""
    await spend(engine, 3)
    assert "rate_limited" == (await refused(engine.start())).code
    await spend(engine, 10, purpose="assisted_phone")
    refusal = await refused(engine.start(purpose="assisted_phone", caller=RIVAL))
    assert ("rate_limited", "person") == (refusal.code, refusal.members["limit"])
    assert "pending" == (await engine.start(end_user_ip=ELSEWHERE)).status


async def test_resends_spend_the_days_sends(engine: Engine) -> None:
    """A resend counts like a start, and in the address block of the start (Invariant 3)."""
    verification = await engine.start()
    for _ in range(2):
        engine.advance(60)
        await engine.resend(verification)
    engine.advance(60)
    refusal = await refused(engine.resend(verification))
    assert ("rate_limited", "person") == (refusal.code, refusal.members["limit"])
    assert "rate_limited" == (await refused(engine.start())).code
    assert "pending" == (await engine.start(end_user_ip=ELSEWHERE)).status


async def test_a_browsers_resend_counts_in_its_own_block(engine: Engine) -> None:
    """A resend from a browser counts where the browser is, not where the portal said the person was."""
    verification = await engine.start(end_user_ip=ELSEWHERE)
    for _ in range(2):
        engine.advance(60)
        await engine.resend(verification, caller=AT_SHOP)
    engine.advance(60)
    await spend(engine, 1, end_user_ip=ELSEWHERE)
    await spend(engine, 1, end_user_ip=HOME)
    assert "rate_limited" == (await refused(engine.start(end_user_ip=FAR))).code
    blocks = [
        value.split(b",")[1].decode()
        for field, value in (await engine.phone_hash()).items() if field.startswith(b"s:")
    ]
    here, there = (engine.ring.address_name(block) for block in ("198.51.100.0/24", "203.0.113.0/24"))
    assert {here: 3, there: 2} == Counter(blocks)


async def test_ipv6_blocks_are_48_bits(engine: Engine) -> None:
    """Addresses of one /48 share a block, those of the next one do not."""
    await spend(engine, 2, end_user_ip="2001:db8:1:2::1")
    await spend(engine, 1, end_user_ip="2001:db8:1:ffff::1")
    assert "rate_limited" == (await refused(engine.start(end_user_ip="2001:db8:1::9"))).code
    assert "pending" == (await engine.start(end_user_ip="2001:db8:2::1")).status


# -- strangers ----------------------------------------------------------------------------------------------------


class Stranger:
    """Somebody who starts, resends and guesses on another's phone from one address, as often as he is let."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self._engine = engine
        self._chance = random.Random(seed)
        self._own: Verification | None = None

    async def act(self, seconds: float) -> None:
        """Be at work until so many seconds have passed."""
        until = self._engine.clock.now_ms + round(seconds * 1000)
        while (left := until - self._engine.clock.now_ms) > 0:
            for call in self._chance.choices(("start", "resend", "guess"), (1, 1, 4), k=4):
                with contextlib.suppress(Refusal):
                    await self._try(call)
            self._engine.advance(min(self._chance.choice((5, 61, 200)), left / 1000))

    async def _try(self, call: str) -> None:
        if call == "start":
            self._own = await self._engine.start(end_user_ip=ELSEWHERE)
        elif self._own and call == "resend":
            await self._engine.resend(self._own)
        elif self._own:
            await self._engine.check(self._own, self._engine.wrong_code(self._own))


async def owner_verifies(engine: Engine, stranger: Stranger) -> bool:
    """Let the owner do for an hour what the answers say, with the stranger at work in every pause."""
    own: Verification | None = None
    until = engine.clock.now_ms + HOUR * 1000
    while engine.clock.now_ms < until:
        try:
            if own is None or (await engine.get(own)).status.final:
                own = await engine.start()
            await stranger.act(20)  # the SMS arrives, the owner reads and types
            return (await engine.right(own)).status == "verified"
        except CodeExpired:
            try:
                await engine.resend(own)
            except Refusal as refusal:
                await stranger.act(refusal.retry_after_s or 1)
        except Refusal as refusal:
            await stranger.act(refusal.retry_after_s or 1)
    return False


@pytest.mark.parametrize("seed", range(3))
async def test_a_stranger_cannot_keep_the_owner_out(engine: Engine, seed: int) -> None:
    """Whatever a stranger does all day from one address, the phone's owner gets verified, every day (Invariant 2)."""
    stranger = Stranger(engine, seed)
    for _ in range(3):
        await stranger.act(2 * HOUR)
        assert await owner_verifies(engine, stranger)
        engine.advance(DAY)


# -- guesses ------------------------------------------------------------------------------------------------------

#: A purpose whose verification and code outlive every wait.
PATIENT = Purpose(
    "patient", ownership=OwnershipPolicy.NEVER, max_attempts=1000, life_s=90 * DAY,
    code=CodePolicy(validity_s=90 * DAY),
)


@pytest.fixture
async def patient(backend: Backend) -> AsyncIterator[Engine]:
    """Give an engine with a purpose whose verification and code outlive every wait."""
    async with Engine(backend, purposes={**PURPOSES, PATIENT.name: PATIENT}) as engine:
        yield engine


async def fail(engine: Engine, verification: Verification, times: int) -> None:
    """Make so many wrong guesses, each as soon as it is let."""
    for _ in range(times):
        while (refusal := await engine.wrong(verification)).code == "guess_too_soon":
            engine.advance(refusal.retry_after_s or 0)
        assert refusal.code in {"wrong_code", "locked"}


async def test_waits_from_the_tenth_failure(patient: Engine) -> None:
    """From the tenth failure in a row the next guess waits 1, 2, 4, 8, then 15 minutes, to the ms (Invariant 2)."""
    verification = await patient.start(purpose="patient")
    for _ in range(10):
        assert "wrong_code" == (await patient.wrong(verification)).code
    for minutes in (1, 2, 4, 8, 15, 15, 15):
        refusal = await patient.wrong(verification)
        assert ("guess_too_soon", minutes * 60) == (refusal.code, refusal.retry_after_s)
        patient.advance(minutes * 60 - 0.001)
        before = await patient.dump()
        assert 1 == (await refused(patient.right(verification))).retry_after_s
        assert before == await patient.dump()
        patient.advance(0.001)
        assert "wrong_code" == (await patient.wrong(verification)).code
    assert 1000 - 17 == (await patient.get(verification)).attempts_left


async def test_failures_are_the_phones_over_verifications_and_clients(engine: Engine) -> None:
    """Failures of every verification and client on a phone add up, other phones stay free (Invariant 2)."""
    await fail(engine, await engine.start(), 5)
    engine.advance(60)
    await fail(engine, await engine.start(caller=PORTAL, purpose="sign_in"), 4)
    engine.advance(60)
    rival = await engine.start(caller=RIVAL)
    assert "wrong_code" == (await engine.wrong(rival, caller=RIVAL)).code
    assert "guess_too_soon" == (await engine.wrong(rival, caller=RIVAL)).code
    assert "wrong_code" == (await engine.wrong(await engine.start(OTHER_PHONE))).code


async def test_nothing_but_success_resets_failures(patient: Engine) -> None:
    """A resend, a new verification, a restart, a cancellation and a key rotation reset no failures (Invariant 2)."""
    verification = await patient.start(purpose="patient")
    await fail(patient, verification, 9)
    patient.advance(60)
    await patient.resend(verification)
    patient.advance(60)
    await patient.cancel(await patient.start(caller=RIVAL, end_user_ip=ELSEWHERE), caller=RIVAL)
    patient.rotate("k2", "k1")
    patient.advance(60)
    await patient.start(caller=RIVAL, end_user_ip=ELSEWHERE)
    async with patient.sibling(purposes=patient.purposes) as restarted:
        assert "wrong_code" == (await restarted.wrong(verification)).code
        assert "guess_too_soon" == (await restarted.wrong(verification)).code


async def test_success_resets_failures(patient: Engine) -> None:
    """After a success the phone has nine free guesses again (Invariant 2)."""
    await fail(patient, await patient.start(purpose="patient"), 9)
    patient.advance(60)
    await patient.verified(caller=RIVAL)
    patient.advance(60)
    verification = await patient.start(purpose="patient", end_user_ip=ELSEWHERE)
    codes = [(await patient.wrong(verification)).code for _ in range(11)]
    assert ["wrong_code"] * 10 + ["guess_too_soon"] == codes


async def test_failures_are_forgotten_30_days_after_the_last(patient: Engine) -> None:
    """Nine failures count for 30 days after the last, and not one millisecond longer (Invariant 2)."""
    verification = await patient.start(purpose="patient")
    await fail(patient, verification, 8)
    patient.advance(20 * DAY)
    await fail(patient, verification, 1)
    patient.advance(30 * DAY - 0.001)
    await fail(patient, verification, 1)
    assert "guess_too_soon" == (await patient.wrong(verification)).code
    patient.advance(30 * DAY)
    assert ["wrong_code"] * 10 == [(await patient.wrong(verification)).code for _ in range(10)]
    assert "guess_too_soon" == (await patient.wrong(verification)).code


async def test_at_100_failures_a_phone_is_refused(patient: Engine) -> None:
    """At 100 failures guesses, starts and resends are refused for 30 days, then all is forgotten (Invariant 2)."""
    verification = await patient.start(purpose="patient")
    await fail(patient, verification, 100)
    before = await patient.dump()
    refusal = await refused(patient.right(verification))
    assert ("guess_too_soon", 30 * DAY) == (refusal.code, refusal.retry_after_s)
    for call in (patient.start(caller=RIVAL, end_user_ip=FAR), patient.resend(verification)):
        refusal = await refused(call)
        assert ("rate_limited", {"limit": "person", "retry_after": 30 * DAY}) == (refusal.code, refusal.members)
    assert before == await patient.dump()
    patient.advance(30 * DAY - 0.001)
    assert "guess_too_soon" == (await refused(patient.right(verification))).code
    assert "rate_limited" == (await refused(patient.start(caller=RIVAL))).code
    patient.advance(0.001)
    assert "verified" == (await patient.right(verification)).status


async def test_an_operators_reset_opens_the_phone(patient: Engine) -> None:
    """A reset shows what it ends and opens guesses and sends at once (Invariant 2)."""
    verification = await patient.start(purpose="patient")
    await fail(patient, verification, 100)
    shard, names = patient.shard(PHONE), patient.ring.names("phone", PHONE)
    shown = await patient.store.phone(shard, names, reset=True)
    assert {"failures": 100, "guess_wait_ms": 30 * DAY * 1000, "live_verifications": 1} == {
        name: value for name, value in shown.items() if name != "sends_24h"
    }
    assert "wrong_code" == (await patient.wrong(verification)).code
    assert "pending" == (await patient.start(caller=RIVAL)).status


async def test_a_guess_that_must_wait_costs_nothing(patient: Engine) -> None:
    """Guesses that come too soon, right or wrong, spend no attempt and no failure."""
    verification = await patient.start(purpose="patient")
    await fail(patient, verification, 10)
    for _ in range(20):
        assert "guess_too_soon" == (await patient.wrong(verification)).code
    patient.advance(60)
    assert "verified" == (await patient.right(verification)).status
    assert 20 == patient.count("otp_attempts_total", purpose="patient", outcome="too_soon")


# -- rates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [kinds.ADDRESS_SENDS, kinds.CLIENT_SENDS, kinds.SERVICE_SENDS], ids=lambda kind: kind.name,
)
async def test_rates_of_sends(backend: Backend, kind: LimitKind) -> None:
    """A rate lets its burst pass, refuses by its name with headers, writes nothing, and refills steadily."""
    async with Engine(backend, limits=[Limit(kind, 6, MINUTE, burst=2)]) as engine:
        phones = (f"+8453000{at:04d}" for at in itertools.count())
        await engine.start(next(phones))
        await engine.start(next(phones))
        before = await engine.dump()
        refusal = await refused(engine.start(next(phones)))
        assert ("rate_limited", {"limit": kind.name, "retry_after": 10}) == (refusal.code, refusal.members)
        assert {
            "RateLimit": f'"{kind.name}";r=0;t=10', "RateLimit-Policy": f'"{kind.name}";q=6;w=60',
        } == refusal.headers
        assert before == await engine.dump()
        engine.advance(9.999)
        assert 1 == (await refused(engine.start(next(phones)))).retry_after_s
        engine.advance(0.001)
        await engine.start(next(phones))
        assert "rate_limited" == (await refused(engine.start(next(phones)))).code
        assert 3 == engine.count("otp_limit_decisions_total", limit=kind.name, decision="refused")


async def test_whose_rate_it_is(backend: Backend) -> None:
    """One client's, one address's spent rate stops no other client and no other address."""
    rates = [Limit(kinds.ADDRESS_SENDS, 1, HOUR), Limit(kinds.CLIENT_SENDS, 2, HOUR)]
    async with Engine(backend, limits=rates) as engine:
        await engine.start()
        assert "address_sends" == (await refused(engine.start(OTHER_PHONE))).members["limit"]
        await engine.start(OTHER_PHONE, end_user_ip=ELSEWHERE)
        refusal = await refused(engine.start(PHONE, end_user_ip=FAR))
        assert "client_sends" == refusal.members["limit"]
        engine.advance(60)
        await engine.start(caller=RIVAL, end_user_ip=FAR)
        test_key = replace(PORTAL, test=True)
        await engine.start(OTHER_PHONE, caller=test_key, end_user_ip="192.0.2.77")


async def test_an_ipv6_subscriber_is_one_address(backend: Backend) -> None:
    """Addresses of one /64 share a rate, and a mapped IPv4 address is the IPv4 address."""
    async with Engine(backend, limits=[Limit(kinds.ADDRESS_SENDS, 1, HOUR)]) as engine:
        await engine.start(end_user_ip="2001:db8:1:2::1")
        assert "rate_limited" == (await refused(engine.start(OTHER_PHONE, end_user_ip="2001:db8:1:2:9::9"))).code
        await engine.start(OTHER_PHONE, end_user_ip=HOME)
        assert "rate_limited" == (await refused(engine.start(THIRD_PHONE, end_user_ip=f"::ffff:{HOME}"))).code


async def test_rate_of_guesses_from_a_browser(backend: Backend) -> None:
    """A browser's guesses spend its address's rate; refused ones and a portal's back end spend nothing."""
    async with Engine(backend, limits=[Limit(kinds.ADDRESS_GUESSES, 1, MINUTE, burst=2)]) as engine:
        verification = await engine.start()
        codes = [(await engine.wrong(verification, caller=AT_SHOP)).code for _ in range(2)]
        assert ["wrong_code", "wrong_code"] == codes
        before = await engine.dump()
        refusal = await refused(engine.right(verification, caller=AT_SHOP))
        assert ("rate_limited", {"limit": "address_guesses", "retry_after": 60}) == (refusal.code, refusal.members)
        assert before == await engine.dump()
        engine.advance(60)
        assert 2 == (await engine.wrong(verification, caller=AT_SHOP)).members["attempts_left"]
        assert "rate_limited" == (await refused(engine.right(verification, caller=AT_SHOP))).code
        assert "verified" == (await engine.right(verification)).status


async def test_the_limit_that_lasts_longest_is_told(backend: Backend) -> None:
    """When several limits refuse, the answer names the one that opens last."""
    async with Engine(backend, limits=[Limit(kinds.CLIENT_SENDS, 1, HOUR)]) as engine:
        await engine.start()
        refusal = await refused(engine.start())
        assert ("client_sends", HOUR) == (refusal.members["limit"], refusal.retry_after_s)
        engine.advance(HOUR - 1)
        assert "client_sends" == (await refused(engine.start())).members["limit"]


async def test_personal_limits_tell_only_ten_minutes(engine: Engine) -> None:
    """What a phone's caps leave to wait is told in whole ten minutes, rounded up (Invariant 9)."""
    await spend(engine, 3)
    told = []
    for pause in (DAY - 180 - 1201, 1, 599.999, 0.001, 599, 1):
        engine.advance(pause)
        told.append((await refused(engine.start())).retry_after_s if pause != 1 or len(told) < 2 else None)
    assert [1800, 1200, 1200, 600, 600, None] == told
    assert "pending" == (await engine.start()).status


# -- modes and overrides ------------------------------------------------------------------------------------------


async def test_record_only_counts_and_lets_pass(backend: Backend) -> None:
    """A limit in record_only refuses nobody and counts what it would have refused."""
    soft = [replace(limit, mode=Mode.RECORD_ONLY) for limit in LIMITS]
    soft += [Limit(kinds.ADDRESS_SENDS, 1, HOUR, mode=Mode.RECORD_ONLY)]
    async with Engine(backend, limits=soft) as engine:
        for _ in range(7):
            await engine.start()
        would = {
            name: engine.count("otp_limit_decisions_total", limit=name, decision="would_refuse")
            for name in LIMIT_KINDS
        }
        assert {
            "phone_cooldown": 6, "phone_sends": 2, "phone_block_sends": 4, "address_sends": 6,
        } == {name: count for name, count in would.items() if count}
        assert 7 == await engine.queued()


async def test_failures_are_enforced_whatever_the_mode(backend: Backend) -> None:
    """The waits after failures stand by rule: no mode turns them off (Invariant 2)."""
    soft = [replace(limit, mode=Mode.RECORD_ONLY) for limit in LIMITS]
    async with Engine(backend, limits=soft, purposes={**PURPOSES, PATIENT.name: PATIENT}) as engine:
        verification = await engine.start(purpose="patient")
        await fail(engine, verification, 10)
        assert "guess_too_soon" == (await engine.wrong(verification)).code


@pytest.mark.parametrize(
    ("limits", "override", "allowed"),
    [
        pytest.param([], Override("phone_sends", PHONE, 1, "asked for by the owner"), 1, id="a phone"),
        pytest.param([], Override("phone_block_sends", PHONE, 4, "a shop's phone"), 4, id="a phone's block"),
        pytest.param([], Override("phone_sends_total", PHONE, 2, "a test phone"), 2, id="a phone's total"),
        pytest.param([], Override("address_sends", "198.51.100.0/24", 2, "a school", HOUR), 2, id="a network"),
        pytest.param([], Override("client_sends", "portal", 1, "on trial", HOUR), 1, id="a client"),
    ],
)
async def test_overrides(backend: Backend, limits: Sequence[Limit], override: Override, allowed: int) -> None:
    """An override holds for its subject, and nobody else has other numbers."""
    async with Engine(backend, limits=limits, overrides=[override]) as engine:
        await spend(engine, allowed)
        assert "rate_limited" == (await refused(engine.start())).code
        await spend(engine, 3, phone=OTHER_PHONE, caller=RIVAL, end_user_ip=ELSEWHERE)
        assert "rate_limited" == (
            await refused(engine.start(OTHER_PHONE, caller=RIVAL, end_user_ip=ELSEWHERE))
        ).code


async def test_an_override_of_a_cooldown(backend: Backend) -> None:
    """A phone with a cooldown of its own may resend by it, and is shown so."""
    slow = Override("phone_cooldown", PHONE, 1, "asked for by the owner", period_s=120)
    async with Engine(backend, overrides=[slow]) as engine:
        verification = await engine.start()
        assert engine.clock.now_ms + 120_000 == verification.resend_at_ms
        engine.advance(119.999)
        assert "resend_too_soon" == (await refused(engine.resend(verification))).code
        engine.advance(0.001)
        again = await engine.resend(verification)
        assert engine.clock.now_ms + 120_000 == again.resend_at_ms


async def test_an_override_of_ownership_checks(backend: Backend) -> None:
    """A phone with its own number of ownership checks has that number."""
    one = Override("phone_ownership_checks", PHONE, 1, "asked for by the owner")
    async with Engine(backend, overrides=[one]) as engine:
        assert "verified" == (await engine.verified("registration")).status
        engine.advance(60)
        again = await engine.verified("registration")
        assert ("rejected", "ownership_unavailable") == (again.status, again.reason)


# -- refunds ------------------------------------------------------------------------------------------------------


async def test_a_refused_sms_is_given_back(engine: Engine) -> None:
    """An SMS that the gateway refuses opens the resend at once and costs no sends_left and no cap (Invariant 3)."""
    engine.postbox.answer = REFUSE
    verification = await engine.start()
    for _ in range(8):
        await engine.deliver()
        seen = await engine.get(verification)
        assert ("failed", 4, engine.clock.now_ms) == (seen.delivery, seen.sends_left, seen.resend_at_ms)
        assert 0 == await engine.sends()
        await engine.resend(verification)
    assert 9 == (await engine.get(verification)).send_number


async def test_a_refund_happens_once(engine: Engine) -> None:
    """Repeated and late refunds of one SMS give back nothing more (Invariant 3)."""
    first = await engine.start()
    engine.advance(60)
    await engine.resend(first)
    engine.advance(60)
    await engine.start(OTHER_PHONE)
    shard = engine.shard(first)
    for _ in range(5):
        await engine.store.sent(shard, first.id, 1, b"1-1", outcome="f", maybe_sent=False, holder="one")
        assert (1, 3) == (await engine.sends(), (await engine.get(first)).sends_left)
        engine.advance(1)
    engine.advance(DAY)
    await engine.store.sent(shard, first.id, 1, b"1-1", outcome="f", maybe_sent=False, holder="one")
    assert 1 == await engine.sends()


async def test_a_refund_is_the_phones_alone(backend: Backend) -> None:
    """A gateway's refusal gives nothing back to an address, so that nobody floods for free."""
    async with Engine(backend, limits=[Limit(kinds.ADDRESS_SENDS, 1, HOUR)]) as engine:
        engine.postbox.answer = REFUSE
        verification = await engine.start()
        await engine.deliver()
        assert "address_sends" == (await refused(engine.start())).members["limit"]
        assert 2 == (await engine.resend(verification)).send_number


async def test_a_clear_refusal_is_given_back_after_an_unclear_one(engine: Engine) -> None:
    """An SMS that every gateway refused is refunded, whatever became of the SMS before it (Invariant 3)."""
    engine.postbox.answer = UNCLEAR
    verification = await engine.start()
    await engine.deliver()
    assert (3, 1) == ((await engine.get(verification)).sends_left, await engine.sends())
    engine.advance(60)
    await engine.resend(verification)
    engine.postbox.answer = REFUSE
    await engine.deliver()
    seen = await engine.get(verification)
    assert ("failed", 3, 1) == (seen.delivery, seen.sends_left, await engine.sends())
    assert engine.clock.now_ms == seen.resend_at_ms


# -- exact windows, against plain Python --------------------------------------------------------------------------

_HYPOTHESIS = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_COOLDOWN, _SENDS, _BLOCK, _TOTAL = (1, 9), (4, 100), (2, 70), (6, 150)
_WINDOWS = [
    Limit(kind, count, period_ms / 1000)
    for kind, (count, period_ms) in (
        (kinds.PHONE_COOLDOWN, _COOLDOWN), (kinds.PHONE_SENDS, _SENDS), (kinds.PHONE_BLOCK_SENDS, _BLOCK),
        (kinds.PHONE_SENDS_TOTAL, _TOTAL),
    )
]


@dataclass
class Sent:
    """One SMS as plain Python remembers it."""

    verification: Verification
    at_ms: int
    client: str
    address: str
    proven: bool = False


def _free(sent: Sequence[Sent], now_ms: int, window: tuple[int, int]) -> bool:
    count, period_ms = window
    return sum(now_ms - one.at_ms < period_ms for one in sent) < count


_CALLS = st.lists(
    st.tuples(
        st.sampled_from(["start"] * 6 + ["success", "refund"]),
        st.one_of(st.integers(0, 12), st.sampled_from([9, 30, 61, 69, 70, 71, 99, 100, 149, 150])),
        st.sampled_from([PORTAL, RIVAL]),
        st.sampled_from([HOME, ELSEWHERE]),
    ),
    min_size=10, max_size=40,
)


@given(calls=_CALLS)
@_HYPOTHESIS
def test_caps_are_exact_over_any_window(backend: Backend, calls: list[tuple[str, int, Caller, str]]) -> None:
    """Cooldown and caps allow and refuse exactly what plain Python does, to the millisecond (Invariant 3)."""
    async def run() -> None:
        phone = f"+84{next(_NUMBERS)}"
        sent: list[Sent] = []
        async with Engine(backend, limits=_WINDOWS) as engine:
            for call, pause_ms, caller, address in calls:
                engine.advance(pause_ms / 1000)
                now_ms = engine.clock.now_ms
                if call == "start":
                    mine = [one for one in sent if one.client == caller.tenant and not one.proven]
                    allowed = (
                        _free(sent, now_ms, _COOLDOWN) and _free(sent, now_ms, _TOTAL) and _free(mine, now_ms, _SENDS)
                        and _free([one for one in mine if one.address == address], now_ms, _BLOCK)
                    )
                    try:
                        started = await engine.start(phone, caller=caller, end_user_ip=address)
                    except Refusal:
                        assert not allowed
                    else:
                        assert allowed
                        sent.append(Sent(started, now_ms, caller.tenant, address))
                elif sent and call == "success":
                    last = sent[-1]
                    who = PORTAL if last.client == "portal" else RIVAL
                    with contextlib.suppress(AlreadyFinal):
                        await engine.right(last.verification, caller=who)
                        for one in sent:
                            one.proven |= one.client == last.client
                elif sent:
                    gone = sent[pause_ms % len(sent)]
                    sent.remove(gone)
                    for _ in range(2):
                        await engine.store.sent(
                            engine.shard(phone), gone.verification.id, 1, b"1-1", outcome="f", maybe_sent=False,
                            holder="one",
                        )

    asyncio.run(run())


@given(
    count=st.integers(1, 50), period_s=st.sampled_from([1, 7, 60, 3600]), burst=st.integers(0, 6),
    pauses=st.lists(st.integers(0, 5000), min_size=5, max_size=40),
)
@_HYPOTHESIS
def test_rates_are_gcra(backend: Backend, count: int, period_s: int, burst: int, pauses: list[int]) -> None:
    """A rate decides as the generic cell rate algorithm does in plain Python, and its retry_after is when it opens."""
    async def run() -> None:
        emission = period_s * 1000 / count
        arrival = 0.0
        async with Engine(backend, limits=[Limit(kinds.ADDRESS_GUESSES, count, period_s, burst)]) as engine:
            engine.clock.advance(next(_DAYS) * DAY)  # behind everything that an earlier example has spent
            limit = engine.book.get(kinds.ADDRESS_GUESSES)
            verification = await engine.start(f"+84{next(_NUMBERS)}")
            for at, pause_ms in enumerate(pauses):
                engine.advance(pause_ms / 1000)
                now_ms = engine.clock.now_ms
                due = max(arrival, now_ms) + emission
                early = due - emission * limit.capacity - now_ms
                answer = await engine.store.check(
                    engine.shard(verification), verification.id, PORTAL.tenant, nonce=f"{verification.id}{at}",
                    replay=None, digest=b"wrong", length=6, address=("somebody", limit),
                )
                if answer.outcome not in {"wrong", "locked_now", "refused"}:
                    break
                assert abs(early) < 1 or ("refused" if early > 0 else answer.outcome) == answer.outcome
                if answer.outcome == "refused":
                    assert abs(answer.decisions[0].retry_after_ms - early) <= 1
                else:
                    arrival = due

    asyncio.run(run())
