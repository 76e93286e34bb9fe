"""What holds when everybody calls at once, from several processes on one store."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

import pytest
from support.engine import (
    DAY,
    ELSEWHERE,
    HOME,
    NOW_MS,
    OWNER,
    PHONE,
    STRANGER,
    Backend,
    Clock,
    Engine,
    refused,
    replay,
)

from otp_service.core import limits as kinds
from otp_service.core.client import Client
from otp_service.core.errors import Refusal
from otp_service.core.limits import Limit, Mode
from otp_service.core.verification import Verification
from otp_service.service import Caller
from otp_service.storage.calls import Settlement
from otp_service.storage.client import connect

NO_COOLDOWN = Limit(kinds.PHONE_COOLDOWN, 1, 60, mode=Mode.RECORD_ONLY)


@pytest.fixture
async def processes(engine: Engine) -> AsyncIterator[list[Engine]]:
    """Give four processes on one store, each with connections of its own."""
    async with AsyncExitStack() as stack:
        yield [engine, *[await stack.enter_async_context(engine.sibling()) for _ in range(3)]]


async def at_once(calls: Sequence[Awaitable[Any]]) -> tuple[list[Any], Counter[str]]:
    """Make all calls at once; return what succeeded, and how often each refusal was given."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refusals = Counter(answer.code for answer in answers if isinstance(answer, Refusal))
    unexpected = [answer for answer in answers if isinstance(answer, BaseException) and not isinstance(answer, Refusal)]
    assert [] == unexpected
    return [answer for answer in answers if not isinstance(answer, BaseException)], refusals


async def test_200_right_codes_at_once_verify_once(processes: list[Engine]) -> None:
    """Of 200 right codes at once from four processes one verifies, and the source is asked once (Invariant 1)."""
    verification = await processes[0].start(purpose="registration")
    code = processes[0].code(verification)
    passed, refusals = await at_once([processes[at % 4].check(verification, code) for at in range(200)])
    assert ["verified"] == [one.status for one in passed]
    assert {"already_final": 199} == refusals
    assert 1 == sum(len(process.source.asked) for process in processes)
    assert 1 == sum(
        process.count("otp_attempts_total", purpose="registration", outcome="right") for process in processes
    )


async def test_200_right_codes_of_a_purpose_without_ownership(processes: list[Engine]) -> None:
    """Where nothing else is checked one of 200 right codes verifies, the others come too late (Invariant 1)."""
    verification = await processes[0].start()
    code = processes[0].code(verification)
    passed, refusals = await at_once([processes[at % 4].check(verification, code) for at in range(200)])
    assert ["verified"] == [one.status for one in passed]
    assert {"already_final": 199} == refusals


async def test_500_wrong_codes_at_once_are_five_guesses(processes: list[Engine]) -> None:
    """Of 500 wrong codes at once exactly max_attempts are evaluated (Invariant 2)."""
    engine = processes[0]
    verification = await engine.start()
    wrong = engine.wrong_code(verification)
    answers = await asyncio.gather(
        *(refused(processes[at % 4].check(verification, wrong)) for at in range(500)),
    )
    assert {"wrong_code": 4, "locked": 496} == Counter(answer.code for answer in answers)
    assert [4, 3, 2, 1] == sorted(
        (answer.members["attempts_left"] for answer in answers if answer.code == "wrong_code"), reverse=True,
    )
    assert b"5" == (await engine.record(verification))[b"g"]
    assert b"5" == (await engine.phone_hash())[b"f"]
    assert 5 == sum(process.count("otp_attempts_total", purpose="phone_only", outcome="wrong") for process in processes)


async def test_right_among_wrong_codes(processes: list[Engine]) -> None:
    """A right code among wrong ones verifies only if fewer than five were evaluated before it (Invariant 2)."""
    engine = processes[0]
    for place in (0, 3, 4, 5, 60):
        engine.advance(DAY)
        verification = await engine.start()
        guesses = [engine.wrong_code(verification)] * 100
        guesses[place] = engine.code(verification)
        passed, refusals = await at_once(
            [processes[at % 4].check(verification, code) for at, code in enumerate(guesses)],
        )
        final = (await engine.get(verification)).status
        evaluated = int((await engine.record(verification))[b"g"])
        if final == "verified":
            assert 1 == len(passed)
            assert evaluated == refusals["wrong_code"] <= 4
            assert 99 - evaluated == refusals["already_final"]
        else:
            assert "locked" == final
            assert [] == passed
            assert 5 == evaluated
            assert {"wrong_code": 4, "locked": 96} == refusals
            await engine.store.phone(engine.shard(PHONE), engine.ring.names("phone", PHONE), reset=True)


async def test_right_code_against_cancel(processes: list[Engine]) -> None:
    """A right code and a cancellation at once leave exactly one of them the winner (Invariant 1)."""
    engine = processes[0]
    for first in (True, False, True, False):
        engine.advance(DAY)
        verification = await engine.start()
        right = [processes[at % 4].check(verification, engine.code(verification)) for at in range(10)]
        cancels = [processes[at % 4].cancel(verification) for at in range(10)]
        passed, _ = await at_once(right + cancels if first else cancels + right)
        statuses = {one.status for one in passed}
        assert {(await engine.get(verification)).status} == statuses
        assert [one.status for one in passed] in (["verified"], ["cancelled"] * 10)


async def test_100_resends_at_once_are_one_sms(processes: list[Engine]) -> None:
    """Of 100 resends at once one queues an SMS, the others meet its cooldown (Invariant 3)."""
    engine = processes[0]
    verification = await engine.start()
    engine.advance(60)
    passed, refusals = await at_once([processes[at % 4].resend(verification) for at in range(100)])
    assert [2] == [one.send_number for one in passed]
    assert {"resend_too_soon": 99} == refusals
    assert 2 == await engine.queued()
    assert 2 == await engine.sends()


async def test_100_resends_at_once_without_cooldown(backend: Backend) -> None:
    """Without a cooldown 100 resends at once queue three SMS, then the verification has no more (Invariant 3)."""
    wide = (NO_COOLDOWN, Limit(kinds.PHONE_SENDS, 50, DAY), Limit(kinds.PHONE_BLOCK_SENDS, 50, DAY))
    async with Engine(backend, limits=wide) as engine, engine.sibling(limits=wide) as other:
        verification = await engine.start()
        passed, refusals = await at_once([one.resend(verification) for one in [engine, other] * 50])
        assert [2, 3, 4] == sorted(one.send_number for one in passed)
        assert {"sends_exhausted": 97} == refusals
        assert 4 == await engine.queued()


async def test_100_starts_at_once_are_one_sms(processes: list[Engine]) -> None:
    """Of 100 starts on one phone at once one queues an SMS (Invariant 3)."""
    passed, refusals = await at_once([processes[at % 4].start() for at in range(100)])
    assert 1 == len(passed)
    assert {"rate_limited": 99} == refusals
    assert 1 == await processes[0].queued()


@pytest.mark.parametrize(
    ("addresses", "clients", "allowed"),
    [
        pytest.param([HOME], 1, 3, id="one address block"),
        pytest.param([HOME, ELSEWHERE], 1, 5, id="one client"),
        pytest.param([HOME, ELSEWHERE], 10, 20, id="one phone"),
    ],
)
async def test_100_starts_at_once_without_cooldown(
    backend: Backend, addresses: list[str], clients: int, allowed: int,
) -> None:
    """Without a cooldown 100 starts at once queue what the day's caps allow, not one more (Invariant 3)."""
    callers = [Caller(Client(f"portal-{at}")) for at in range(clients)]
    async with Engine(backend, limits=[NO_COOLDOWN]) as engine, engine.sibling(limits=[NO_COOLDOWN]) as other:
        passed, refusals = await at_once([
            process.start(caller=callers[at % clients], end_user_ip=addresses[at // clients % len(addresses)])
            for at, process in enumerate([engine, other] * 50)
        ])
        assert allowed == len(passed)
        assert {"rate_limited": 100 - allowed} == refusals
        assert allowed == await engine.queued() == await engine.sends()
        now = [await engine.get(one, caller=Caller(Client(one.client))) for one in passed]
        assert {one.client: 1 for one in now} == Counter(one.client for one in now if one.status == "pending")


async def test_starts_with_one_idempotency_key_at_once(processes: list[Engine]) -> None:
    """Fifty starts at once with one Idempotency-Key are one verification and one SMS (Invariant 11)."""
    passed, refusals = await at_once([processes[at % 4].start(replay=replay("key")) for at in range(50)])
    assert {} == refusals
    assert 1 == len({one.id for one in passed})
    assert 1 == await processes[0].queued()


async def test_redeemed_once_whoever_is_first(processes: list[Engine]) -> None:
    """Of 100 redemptions at once one succeeds (Invariant 10)."""
    engine = processes[0]
    token = await engine.token(await engine.verified())
    passed, refusals = await at_once([processes[at % 4].redeem(token) for at in range(100)])
    assert 1 == len(passed)
    assert {"already_redeemed": 99} == refusals


async def test_redemptions_for_another_person_at_once(processes: list[Engine]) -> None:
    """Of many redemptions for the wrong person at once three are counted, and then nobody redeems (Invariant 10)."""
    engine = processes[0]
    verification = await engine.verified("registration")
    token = await engine.token(verification)
    passed, refusals = await at_once([processes[at % 4].redeem(token, id_number=STRANGER) for at in range(60)])
    assert [] == passed
    assert {"claims_mismatch": 60} == refusals
    assert b"3" == (await engine.record(verification))[b"zz"]
    assert "claims_mismatch" == (await refused(engine.redeem(token, id_number=OWNER))).code


async def test_settled_once_whatever_the_answers(processes: list[Engine]) -> None:
    """Of contradicting answers of the source at once the first one stands (Invariant 10)."""
    engine = processes[0]
    gate = asyncio.Event()
    engine.source.gate = gate
    verification = await engine.start(purpose="registration")
    checking = asyncio.create_task(engine.right(verification))
    while not engine.source.asked:
        await asyncio.sleep(0)
    shard = engine.shard(verification)
    answers = await asyncio.gather(*(
        processes[at % 4].store.settle(shard, verification.id, [], Settlement("mx"[at % 2], "tttb", backoff_ms=1000))
        for at in range(50)
    ))
    gate.set()
    assert {"ok": 1, "settled": 49} == Counter(answer.outcome for answer in answers)
    winner = next(at for at, answer in enumerate(answers) if answer.outcome == "ok")
    expected = ("verified", "rejected")[winner % 2]
    assert expected == (await checking).status == (await engine.get(verification)).status


async def test_expiry_against_everybody(processes: list[Engine]) -> None:
    """At its deadline a verification ends once, whether the workers or late calls meet it first (Invariant 10)."""
    engine = processes[0]
    verification = await engine.start()
    await engine.deliver()
    engine.advance(900)
    right = [process.check(verification, engine.code(verification)) for process in processes]
    steps = [process.deadlines() for process in processes]
    resends = [process.resend(verification) for process in processes]
    workers, refusals = await at_once([*right, *steps, *resends])
    assert 4 == len(workers)
    assert {"already_final": 8} == refusals
    assert "expired" == (await engine.get(verification)).status


def _guess(url: str, verification: Verification, count: int) -> list[str]:
    """In a process of its own: make so many right guesses at once, and return how they were answered."""
    async def run() -> list[str]:
        async with Engine(Backend("valkey", lambda: connect(url)), clock=Clock(NOW_MS)) as engine:
            passed, refusals = await at_once(
                [engine.check(verification, engine.code(verification)) for _ in range(count)],
            )
            return [*(one.status for one in passed), *refusals.elements()]

    return asyncio.run(run())


async def test_right_codes_from_real_processes(valkey_backend: Backend, valkey_url: str) -> None:
    """Of 200 right codes from two operating system processes one verifies (Invariant 1)."""
    async with Engine(valkey_backend) as engine:
        verification = await engine.start()
        loop = asyncio.get_running_loop()
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
            answers = await asyncio.gather(
                *(loop.run_in_executor(pool, _guess, valkey_url, verification, 100) for _ in range(2)),
            )
        assert {"verified": 1, "already_final": 199} == Counter(answer for half in answers for answer in half)


