"""Two gateways of which one hangs, refuses or dies: what it does to its own messages, and to everybody else's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support.http import Api
from support.processes import Installation, eventually
from support.sms_gateway import HELD, Say, ScriptedGateway

pytestmark = pytest.mark.slow

HANDS = 8
ROUTE = """
[[routes]]
carriers = ["viettel"]
gateways = ["sick"]
"""


@pytest.fixture
def sick() -> Iterator[ScriptedGateway]:
    """Give the gateway that is not well."""
    with ScriptedGateway() as gateway:
        yield gateway


@pytest.fixture
async def pair(tmp_path: Path, gateway: ScriptedGateway, sick: ScriptedGateway) -> AsyncIterator[Installation]:
    """Give an installation that sends through ``fake``, and through ``sick`` where a test routes that way."""
    async with Installation(
        tmp_path / "site", gateway_url=gateway.url, GATEWAYS__SICK__ADAPTER="fake",
        GATEWAYS__SICK__OPTIONS__URL=sick.url, SENDING__CONCURRENCY=str(HANDS), SENDING__BACKOFF_S="5",
        LIMITS__CLIENT_SENDS__MODE="record_only",
    ) as site:
        yield site


async def starts(api: Api, prefix: str, count: int) -> list[str]:
    """Start a verification on each of so many phones of one prefix at once; returns the ids."""
    replies = await asyncio.gather(*(
        api.start(f"{prefix}{at:07d}", end_user_ip=f"203.0.{at}.7") for at in range(count)
    ))
    assert {201} == {reply.status for reply in replies}
    return [reply["id"] for reply in replies]


@pytest.mark.parametrize("answer", [HELD, Say(429)], ids=["hangs", "throttles"])
async def test_a_sick_gateway_holds_up_its_own_carrier_alone(
    pair: Installation, gateway: ScriptedGateway, sick: ScriptedGateway, answer: Say,
) -> None:
    """However many SMS one carrier's gateway hangs on or refuses, another carrier's go out at once (Invariant 14)."""
    with (pair.config_dir / "default.toml").open("a") as settings:
        settings.write(ROUTE)
    sick.answer = lambda _: answer
    serve = await pair.serve()
    await pair.worker()
    async with Api(serve.base) as api:
        await starts(api, "098", 12 * HANDS)
        await eventually(lambda: len(sick.arrived) >= HANDS // 2, "SMS at the sick gateway")
        for _ in range(3):
            [other] = [(await api.start(f"090{len(gateway.taken):07d}", end_user_ip="203.0.113.9"))["id"]]
            await gateway.code(other, within_s=3.0)


async def test_what_waits_goes_to_whichever_gateway_is_free(
    pair: Installation, gateway: ScriptedGateway, sick: ScriptedGateway,
) -> None:
    """A burst that finds every gateway busy is not left waiting for the one that hangs (Invariant 6)."""
    pair.settings["SENDING__GATEWAYS"] = "sick, fake"
    sick.answer = lambda _: HELD
    serve = await pair.serve()
    await pair.worker()
    async with Api(serve.base) as api:
        ids = await starts(api, "098", 10 * HANDS)
        await eventually(lambda: len(gateway.taken) >= len(ids) - HANDS, "all but what hangs at the other", 15.0)


async def test_a_worker_killed_between_two_gateways(
    pair: Installation, gateway: ScriptedGateway, sick: ScriptedGateway,
) -> None:
    """A worker killed while the first gateway is asked: another asks it again, under one reference (Invariant 6)."""
    pair.settings |= {"SENDING__GATEWAYS": "sick, fake", "GATEWAYS__SICK__ADAPTER": "support.plugins:ImpatientGateway"}
    pair.settings["GATEWAYS__FAKE__ADAPTER"] = "support.plugins:ImpatientGateway"
    sick.answer = lambda _: HELD
    serve = await pair.serve()
    worker = await pair.worker()
    async with Api(serve.base) as api:
        [one] = await starts(api, "098", 1)
        await eventually(lambda: len(sick.arrived) == 1, "the SMS at the first gateway")
        worker.kill()
        sick.answer = lambda _: Say(400, b'{"error": "balance"}', {"Content-Type": "application/json"})
        await pair.worker()
        code = await gateway.code(one)
        assert {f"{one}-1"} == {sms.reference for sms in (*sick.arrived, *gateway.arrived)}
        assert 2 <= len(sick.arrived)
        assert (200, "verified") == (await api.check(one, code)).said
