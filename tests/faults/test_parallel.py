"""Everybody at once, over HTTP, at two API processes on one store."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from support.http import OWNER_ID, OWNER_PHONE, Api, wrong
from support.processes import OTHER_KEY, Installation, eventually
from support.sms_gateway import ScriptedGateway

pytestmark = pytest.mark.slow


@pytest.fixture
async def apis(site: Installation) -> AsyncIterator[list[Api]]:
    """Give two API processes of one installation, with a worker beside them."""
    site.settings["LIMITS__PHONE_COOLDOWN__PERIOD"] = "2s"
    first = site.launch("worker", settings={"SERVER__PRIVATE_PORT": "0"})
    serves = [await site.serve(), await site.serve()]
    await first.ready()
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Api(serve.base)) for serve in serves]


async def test_guesses_at_once(site: Installation, apis: list[Api], gateway: ScriptedGateway) -> None:
    """Of 200 right codes one verifies; of 500 wrong ones exactly max_attempts are evaluated (Invariants 1 and 2)."""
    for purpose, phone in (("registration", OWNER_PHONE), ("phone_only", "0700000001")):
        fields = {"id_number": OWNER_ID} if purpose == "registration" else {}
        started = await apis[0].start(phone, purpose, **fields)
        code = await gateway.code(started["id"])
        answers = await asyncio.gather(*(apis[at % 2].check(started["id"], code) for at in range(200)))
        assert {(200, "verified"): 1, (409, "already_final"): 199} == Counter(one.said for one in answers), purpose
        (verdict,) = (one for one in answers if one.status == 200)
        expect = {"id_number": OWNER_ID} if fields else {}
        redeemed = await asyncio.gather(
            *(apis[at % 2].redeem(verdict["result_token"], **expect) for at in range(50)),
        )
        assert {200: 1, 409: 49} == Counter(one.status for one in redeemed), purpose

    started = await apis[0].start("0700000002", end_user_ip="203.0.113.8")
    code = await gateway.code(started["id"])
    answers = await asyncio.gather(
        *(apis[at % 2].check(started["id"], wrong(code, 1 + at % 9)) for at in range(500)),
    )
    assert {(422, "wrong_code"): 4, (409, "locked"): 496} == Counter(one.said for one in answers)
    assert {4, 3, 2, 1} == {one["attempts_left"] for one in answers if one.status == 422}
    assert "5" == (await site.record(started["id"]))["g"]
    assert (409, "locked") == (await apis[1].check(started["id"], code)).said
    assert 3 == len(gateway.arrived)


async def test_sends_at_once(site: Installation, apis: list[Api], gateway: ScriptedGateway) -> None:
    """Of 100 starts, and of 100 resends, exactly the allowed number of SMS reach the gateway (Invariant 3)."""
    answers = await asyncio.gather(*(apis[at % 2].start("0700000001") for at in range(100)))
    assert {201: 1, 429: 99} == Counter(one.status for one in answers)
    (started,) = (one for one in answers if one.status == 201)
    await gateway.code(started["id"])

    ready_at = float((await site.record(started["id"]))["ra"]) / 1000
    async with site.store() as store:
        async def cooled_down() -> bool:
            seconds, micros = await store.time()
            return seconds + micros / 1e6 >= ready_at

        await eventually(cooled_down, "the cooldown is over by the store's clock")
    answers = await asyncio.gather(*(apis[at % 2].resend(started["id"]) for at in range(100)))
    assert {(202, "pending"): 1, (429, "resend_too_soon"): 99} == Counter(one.said for one in answers)
    await gateway.code(started["id"], 2)
    assert [1, 2] == [sms.send_number for sms in gateway.arrived]

    # One address may ask for thirty at once, whoever they are for.
    answers = await asyncio.gather(*(
        apis[at % 2].start(f"07000001{at:02d}", end_user_ip="198.51.100.9") for at in range(100)
    ))
    assert {(201, "pending"): 30, (429, "rate_limited"): 70} == Counter(one.said for one in answers)
    assert {"address_sends"} == {one["limit"] for one in answers if one.status == 429}
    assert all({"Retry-After", "RateLimit", "RateLimit-Policy"} <= set(one.headers) for one in answers if one.code)
    for one in answers:
        if one.status == 201:
            await gateway.code(one["id"])
    assert 32 == len(gateway.arrived)

    # One key is one start, however often it is sent; another portal's same key is its own.
    answers = await asyncio.gather(*(
        apis[at % 2].start("0700000201", idempotency_key="the same") for at in range(50)
    ))
    assert {(201, "pending"): 50} == Counter(one.said for one in answers)
    assert 1 == len({one["id"] for one in answers})
    assert 1 == len({one["client_token"] for one in answers})
    async with Api(apis[0].base, OTHER_KEY) as other:
        assert answers[0]["id"] != (await other.start("0700000202", idempotency_key="the same"))["id"]
    await gateway.code(answers[0]["id"])
    assert 1 == len(gateway.sms(answers[0]["id"]))


async def test_stranger_cannot_keep_the_owner_out(apis: list[Api], gateway: ScriptedGateway) -> None:
    """Who starts and guesses on a victim's phone from one address block cannot keep the victim out (Invariant 3)."""
    phone = "0700000001"
    first = await apis[0].start(phone, end_user_ip="198.51.100.1")
    code = await gateway.code(first["id"])
    for at in range(1, 6):
        await apis[0].check(first["id"], wrong(code, at))
    stolen = [first]
    while len(stolen) < 3:
        reply = await apis[0].start(phone, end_user_ip=f"198.51.100.{len(stolen) + 1}")
        if reply.status == 201:
            stolen.append(reply)

    async def refused_for_good() -> bool:
        reply = await apis[0].start(phone, end_user_ip="198.51.100.77")
        assert (429, "rate_limited", "person") == (*reply.said, reply["limit"])
        return reply["retry_after"] > 3600

    await eventually(refused_for_good, "the stranger's address block is used up")

    async def owner() -> str | None:
        reply = await apis[1].start(phone, end_user_ip="203.0.113.50")
        return reply["id"] if reply.status == 201 else None

    mine = await eventually(owner, "the owner gets an SMS")
    assert (200, "verified") == (await apis[1].check(mine, await gateway.code(mine))).said
