"""What a stranger at one address can do to somebody's phone over weeks."""

from __future__ import annotations

import contextlib

import pytest
from support.engine import DAY, ELSEWHERE, HOME, MINUTE, Backend, Engine, refused

from otp_service.core import limits as kinds
from otp_service.core.errors import Refusal
from otp_service.core.limits import Limit, Mode


def share(count: int, mode: Mode = Mode.ENFORCE) -> Limit:
    """Return the block's share of failures."""
    return Limit(kinds.PHONE_BLOCK_FAILURES, count, 30 * DAY, mode=mode)


async def guess_all_day(engine: Engine, address: str = ELSEWHERE) -> None:
    """Start as often as one is let and guess as often as one is let, for a day."""
    for _ in range(4):
        with contextlib.suppress(Refusal):
            victim = await engine.start(end_user_ip=address)
            for _ in range(5):
                await engine.wrong(victim)
                engine.advance(16 * MINUTE if await failures(engine) > 9 else 1)
        engine.advance(MINUTE)
    engine.advance(DAY)


async def failures(engine: Engine) -> int:
    """Return the phone's consecutive failures."""
    return int((await engine.phone_hash()).get(b"f", b"0"))


async def test_one_address_never_locks_a_phone_for_good(backend: Backend) -> None:
    """A stranger who guesses from one address for weeks stays far from the hundredth failure (Invariant 2)."""
    async with Engine(backend, limits=[share(30)]) as engine:
        for _ in range(20):
            await guess_all_day(engine)
        assert 30 <= await failures(engine) < 40
        assert "rate_limited" == (await refused(engine.start(end_user_ip=ELSEWHERE))).code
        own = await engine.start(end_user_ip=HOME)
        assert "verified" == (await engine.right(own)).status
        assert 0 == await failures(engine)


async def test_a_success_gives_the_block_its_share_back(backend: Backend) -> None:
    """After the owner's success every block may fail again: failures in a row are what counts (Invariant 2)."""
    async with Engine(backend, limits=[share(4)]) as engine:
        await guess_all_day(engine)
        assert "rate_limited" == (await refused(engine.start(end_user_ip=ELSEWHERE))).code
        await engine.right(await engine.start(end_user_ip=HOME))
        engine.advance(MINUTE)
        assert "pending" == (await engine.start(end_user_ip=ELSEWHERE)).status


async def test_a_share_is_forgotten_with_the_failures(backend: Backend) -> None:
    """Thirty days after a block's last failure it may start again."""
    async with Engine(backend, limits=[share(4)]) as engine:
        victim = await engine.start(end_user_ip=ELSEWHERE)
        for _ in range(4):
            await engine.wrong(victim)
        engine.advance(30 * DAY - 1)
        refusal = await refused(engine.start(end_user_ip=ELSEWHERE))
        assert ("rate_limited", "person") == (refusal.code, refusal.members["limit"])
        engine.advance(1)
        assert "pending" == (await engine.start(end_user_ip=ELSEWHERE)).status


@pytest.mark.parametrize("mode", Mode)
async def test_a_resend_meets_the_share_too(backend: Backend, mode: Mode) -> None:
    """A block that has used its share gets no further SMS by a resend either, unless it is only recorded."""
    async with Engine(backend, limits=[share(2, mode)]) as engine:
        victim = await engine.start(end_user_ip=ELSEWHERE)
        await engine.wrong(victim)
        await engine.wrong(victim)
        engine.advance(MINUTE)
        if mode is Mode.ENFORCE:
            assert "rate_limited" == (await refused(engine.resend(victim))).code
        else:
            assert 2 == (await engine.resend(victim)).send_number
            assert 1 == engine.count(
                "otp_limit_decisions_total", limit="phone_block_failures", decision="would_refuse",
            )
