"""Weights shift away from a failing gateway and drift back; every worker sees the same, and one of them tells it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog
from support.engine import REFUSE, Backend, Engine

from otp_service.core.ports import SendOutcome, SendResult
from otp_service.delivery.shares import Shares
from otp_service.storage import keys

GATEWAYS = ("esms", "fpt")
WELL, BUSY = SendOutcome(SendResult.ACCEPTED), SendOutcome(SendResult.TEMPORARY)
HALF_LIFE_S, PATIENCE_S, DRIFT_S, KEPT_S = 20, 5, 30, 3600


def worker(engine: Engine) -> Shares:
    """Return the shares as one worker sees them."""
    return Shares(engine.gateways, GATEWAYS, engine.metrics)


async def hear(one: Shares, *, failed: int = 0, well: int = 0, outcome: SendOutcome = BUSY, name: str = "esms") -> int:
    """Let a worker hear so many answers and tell them; returns the gateway's share."""
    for _ in range(failed):
        one.heard(name, outcome)
    for _ in range(well):
        one.heard(name, WELL)
    await one.exchange()
    return one.now[name]


async def shifts(one: Shares, **answers: Any) -> list[tuple[str, int, int, str]]:
    """Let a worker hear and tell; returns the shifts that it logs."""
    with structlog.testing.capture_logs() as lines:
        await hear(one, **answers)
    return [
        (line["gateway"], line["before"], line["after"], line["reason"])
        for line in lines if line["event"] == "gateway shifted"
    ]


# -- away ---------------------------------------------------------------------------------------------------------


async def test_all_are_well_at_first(engine: Engine) -> None:
    """A gateway nobody has heard of yet has its whole share."""
    one = worker(engine)
    assert {"esms": 100, "fpt": 100} == dict(one.now)
    assert [] == await shifts(one)
    assert {"esms": 100, "fpt": 100} == dict(one.now)


@pytest.mark.parametrize(
    ("failed", "well", "share"),
    [(2, 0, 100), (3, 0, 50), (3, 7, 50), (3, 8, 100), (30, 70, 50), (29, 71, 100), (1000, 0, 50)],
)
async def test_three_in_ten_failures_halve_a_share(engine: Engine, failed: int, well: int, share: int) -> None:
    """At least three failures that are three in ten answers halve a share, and not the neighbour's."""
    one = worker(engine)
    assert share == await hear(one, failed=failed, well=well)
    assert 100 == one.now["fpt"]


@pytest.mark.parametrize("result", SendResult)
async def test_which_answers_speak_against_a_gateway(engine: Engine, result: SendResult) -> None:
    """What speaks against one number or text leaves the gateway's share alone; a refused account takes nearly all."""
    account = {SendResult.AUTHENTICATION, SendResult.BALANCE}
    fault = {SendResult.THROTTLED, SendResult.TEMPORARY, SendResult.UNKNOWN, SendResult.SENDER_REJECTED}
    expected = 2 if result in account else 50 if result in fault else 100
    assert expected == await hear(worker(engine), failed=5, outcome=SendOutcome(result))


async def test_shares_are_halved_with_patience(engine: Engine) -> None:
    """Between two steps five seconds pass, and each step needs failures of its own."""
    one = worker(engine)
    assert 50 == await hear(one, failed=10)
    engine.advance(PATIENCE_S - 0.001)
    assert 50 == await hear(one, failed=10)
    engine.advance(0.001)
    assert 50 == await hear(one)
    assert 25 == await hear(one, failed=1)
    engine.advance(PATIENCE_S)
    assert 25 == await hear(one, failed=2)
    assert 12 == await hear(one, failed=1)


async def test_a_share_never_falls_below_the_floor(engine: Engine) -> None:
    """Whatever fails, some messages still try the gateway: two in a hundred of its weight."""
    one, seen = worker(engine), []
    for _ in range(9):
        seen.append(await hear(one, failed=5))
        engine.advance(PATIENCE_S)
    assert [50, 25, 12, 6, 3, 2, 2, 2, 2] == seen


async def test_old_failures_fade(engine: Engine) -> None:
    """Twenty seconds halve what was heard: failures far apart are no reason to shift."""
    one = worker(engine)
    for _ in range(10):
        assert 100 == await hear(one, failed=1)
        engine.advance(2 * HALF_LIFE_S)
    # 2 now and 1.33/4 of before are fewer than 2.5, 3 are enough.
    assert 100 == await hear(one, failed=2)
    assert 50 == await hear(one, failed=1)


async def test_answers_that_were_well_fade_too(engine: Engine) -> None:
    """A gateway that was well for hours still loses its share in a minute of failures."""
    one = worker(engine)
    for _ in range(20):
        await hear(one, well=1000)
        engine.advance(1)
    engine.advance(10 * HALF_LIFE_S)
    assert 50 == await hear(one, failed=20)


async def test_a_refused_account_goes_to_the_floor_at_once(engine: Engine) -> None:
    """Three answers that refuse the account itself are enough, patience or none."""
    one = worker(engine)
    refused = SendOutcome(SendResult.BALANCE)
    assert 50 == await hear(one, failed=3)
    assert [("esms", 50, 2, "balance")] == await shifts(one, failed=3, outcome=refused)


async def test_what_is_refused_to_one_takes_nothing_from_all(engine: Engine) -> None:
    """A refusal of the account beside messages that pass is about one number or worker."""
    one = worker(engine)
    refused = SendOutcome(SendResult.BALANCE)
    for _ in range(20):
        assert 100 == await hear(one, failed=1, outcome=refused, well=10)
        engine.advance(1)


async def test_a_refused_account_stays_at_the_floor(engine: Engine) -> None:
    """As long as the account is refused its share does not drift back, however few messages try it."""
    one = worker(engine)
    refused = SendOutcome(SendResult.AUTHENTICATION)
    await hear(one, failed=3, outcome=refused)
    for _ in range(10):
        assert 2 == await hear(one, failed=1, outcome=refused)
        engine.advance(DRIFT_S)
    assert 12 == await hear(one)


# -- back ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("well", [0, 50])
async def test_shares_drift_back(engine: Engine, well: int) -> None:
    """Half a minute without a shift gives ten points back, with traffic or without any."""
    one = worker(engine)
    await hear(one, failed=3)
    seen = []
    for _ in range(6):
        engine.advance(DRIFT_S - 0.001)
        before = await hear(one, well=well)
        engine.advance(0.001)
        seen.append((before, await hear(one, well=well)))
    assert [(50, 60), (60, 70), (70, 80), (80, 90), (90, 100), (100, 100)] == seen


async def test_what_fails_again_goes_down_again(engine: Engine) -> None:
    """A share on its way back is halved from where it is."""
    one = worker(engine)
    await hear(one, failed=3)
    engine.advance(DRIFT_S)
    assert 60 == await hear(one)
    engine.advance(PATIENCE_S)
    assert 30 == await hear(one, failed=3)


async def test_a_clock_that_goes_back_breaks_nothing(engine: Engine) -> None:
    """When the store's clock is set back nothing counts for more than it did, and no shift comes too soon."""
    one = worker(engine)
    assert 100 == await hear(one, failed=1)
    engine.advance(-3600)
    assert 100 == await hear(one, failed=1)
    engine.advance(3600)
    assert 50 == await hear(one, failed=3)
    engine.advance(-3600)
    assert 50 == await hear(one, failed=3)
    engine.advance(3600 + PATIENCE_S)
    assert 25 == await hear(one, failed=3)


# -- together -----------------------------------------------------------------------------------------------------


async def test_workers_agree(engine: Engine) -> None:
    """What two workers heard adds up, and both see the same shares."""
    async with engine.sibling() as sibling:
        one, other = worker(engine), worker(sibling)
        assert 100 == await hear(one, failed=2)
        assert 50 == await hear(other, failed=1)
        assert 100 == one.now["esms"]
        await one.exchange()
        assert dict(one.now) == dict(other.now) == {"esms": 50, "fpt": 100}


async def test_one_worker_tells_of_each_shift(engine: Engine) -> None:
    """Each shift is logged with its reason and counted by the one worker that made it, and by nobody else."""
    one, other = worker(engine), worker(engine)
    one.heard("esms", SendOutcome(SendResult.THROTTLED))
    one.heard("esms", SendOutcome(SendResult.THROTTLED))
    assert [("esms", 100, 50, "throttled")] == await shifts(one, failed=1)
    assert [] == await shifts(other)
    assert [] == await shifts(one)
    engine.advance(DRIFT_S)
    assert [("esms", 50, 60, "drifts back")] == await shifts(other)
    assert [] == await shifts(one)
    assert 60 == one.now["esms"]


async def test_workers_at_once_make_one_shift(engine: Engine) -> None:
    """When twenty workers tell of failures at once the share is halved once, and one of them says so."""
    workers = [worker(engine) for _ in range(20)]
    with structlog.testing.capture_logs() as lines:
        await asyncio.gather(*(hear(one, failed=5) for one in workers))
    assert [("esms", 100, 50)] == [(line["gateway"], line["before"], line["after"]) for line in lines]
    await asyncio.gather(*(one.exchange() for one in workers))
    assert {50} == {one.now["esms"] for one in workers}


async def test_what_is_told_is_told_once(engine: Engine) -> None:
    """An answer counts in one exchange only."""
    one = worker(engine)
    assert 100 == await hear(one, failed=2)
    assert 100 == await hear(one)
    assert 50 == await hear(one, failed=1)


async def test_shares_are_shown(backend: Backend) -> None:
    """Every worker shows each share, and counts the shifts it made by their direction."""
    async with Engine(backend) as engine:
        await engine.worker(tiers=("fake", "backup"))
        for _ in range(3):
            engine.shares.heard("fake", BUSY)
        await engine.shares.exchange()
        engine.advance(DRIFT_S)
        await engine.shares.exchange()
        assert 60 == engine.count("otp_gateway_share", gateway="fake")
        assert 100 == engine.count("otp_gateway_share", gateway="backup")
        for direction in ("away", "back"):
            assert 1 == engine.count("otp_gateway_shifts_total", gateway="fake", direction=direction)


async def test_a_failing_gateway_gets_less(engine: Engine) -> None:
    """What the gateways answer shifts the worker's next messages to the one that is well."""
    engine.postbox.answer = (503, {})
    sms_worker = await engine.worker(tiers=("fake", "backup"))
    for at in range(3):
        await engine.start(f"+8453000{at:04d}")
    await engine.deliver(sms_worker)
    for _ in range(6):
        await engine.shares.exchange()
        for _ in range(3):
            engine.shares.heard("fake", BUSY)
        engine.advance(PATIENCE_S)
    assert 2 == engine.shares.now["fake"]
    before = len(engine.postbox.posts)
    for at in range(40):
        await engine.start(f"+8453001{at:04d}")
    await engine.deliver(sms_worker)
    # Each is tried there with a chance of 2 in 100: eight of forty are a one in a million.
    assert len(engine.postbox.posts) - before < 8
    assert 43 == len(engine.backup.posts)


async def test_refused_texts_do_not_shift(engine: Engine) -> None:
    """Messages that the gateway refuses for their own sake leave it its share."""
    engine.postbox.answer = REFUSE
    sms_worker = await engine.worker(tiers=("fake", "backup"))
    for at in range(5):
        await engine.start(f"+8453000{at:04d}")
    await engine.deliver(sms_worker)
    await engine.shares.exchange()
    assert 100 == engine.shares.now["fake"]


async def test_the_key_expires(engine: Engine) -> None:
    """An hour after the last worker told anything all gateways are well again (Invariant 7)."""
    await hear(worker(engine), failed=3)
    assert KEPT_S - 60 < await engine.redis.ttl(keys.shares()) <= KEPT_S
    await engine.redis.delete(keys.shares())
    assert 100 == await hear(worker(engine))
