"""A host whose clock is wrong changes nothing: every time is the store's (Invariant 4)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from support.http import OWNER_ID, OWNER_PHONE, Api, Reply
from support.processes import Installation, free_port
from support.sms_gateway import ScriptedGateway

pytestmark = pytest.mark.slow

MOVED = ("-m", "support.moved_clock")


async def moved(site: Installation, hours: int, command: str) -> str:
    """Start a process whose clock is that many hours off; returns its address."""
    port = free_port()
    run = site.launch(
        str(hours * 3600), command, port=port, program=MOVED,
        settings={"SERVER__PORT": str(port), "SERVER__PRIVATE_PORT": "0"},
    )
    await run.ready()
    said = datetime.fromisoformat(run.events("ready")[0]["timestamp"])
    assert abs(said - datetime.now(UTC) - timedelta(hours=hours)) < timedelta(minutes=1), "its clock is moved"
    return run.base


async def test_wrong_clocks_change_nothing(site: Installation, gateway: ScriptedGateway) -> None:
    """With API and worker hours ahead and behind, codes live and expire by the store's clock (Invariant 4)."""
    true = await site.serve()
    ahead, behind = await moved(site, 5, "serve"), await moved(site, -5, "serve")
    await moved(site, 7, "worker")
    async with Api(true.base) as right, Api(ahead) as early, Api(behind) as late, site.store() as store:
        now = datetime.fromtimestamp((await store.time())[0], UTC)
        for at, (starter, checker) in enumerate(((early, late), (late, early), (right, early), (early, right))):
            phone = f"070000000{at}"
            started = await starter.start(phone, end_user_ip=f"203.0.{at}.7")
            assert abs(_time(started, "created_at") - now) < timedelta(minutes=1)
            assert timedelta(seconds=180) == _time(started, "code_expires_at") - _time(started, "created_at")
            assert timedelta(seconds=900) == _time(started, "expires_at") - _time(started, "created_at")
            resent = await checker.resend(started["id"])
            assert (429, "resend_too_soon") == resent.said
            assert 1 <= resent["retry_after"] <= 60
            code = await gateway.code(started["id"])
            assert "3 phut" in gateway.sms(started["id"])[0].text
            assert (200, "verified") == (await checker.check(started["id"], code)).said

        # A verdict's times are the store's as well, and it can be redeemed wherever.
        started = await early.start(OWNER_PHONE, "registration", id_number=OWNER_ID, end_user_ip="203.0.9.7")
        verdict = await early.check(started["id"], await gateway.code(started["id"]))
        claims = await late.redeem(verdict["result_token"], id_number=OWNER_ID)
        assert 200 == claims.status
        assert abs(datetime.fromtimestamp(claims["iat"], UTC) - now) < timedelta(minutes=1)

        # The other way round: when the store says that a code's time is over, no host's clock brings it back.
        started = await late.start("0700000008", end_user_ip="203.0.10.7")
        code = await gateway.code(started["id"])
        (key,) = [key async for key in store.scan_iter(f"otp:*:v:{started['id']}")]
        await store.hset(key, "x", (await store.time())[0] * 1000 - 1)
        for api in (right, early, late):
            assert (410, "code_expired") == (await api.check(started["id"], code)).said


def _time(reply: Reply, name: str) -> datetime:
    return datetime.fromisoformat(reply[name])
