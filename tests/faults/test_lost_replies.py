"""Replies that are lost on the way: between portal and service, and between service and store."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from support.http import OWNER_ID, OWNER_PHONE, Api, Reply, wrong
from support.processes import Installation, eventually
from support.proxy import Proxy
from support.sms_gateway import ScriptedGateway

from otp_service.storage import scripts

pytestmark = pytest.mark.slow

#: No wait between two SMS, so that a resend which was made twice would show.
NO_COOLDOWN = {"LIMITS__PHONE_COOLDOWN__MODE": "record_only", "OWNERSHIP__INLINE_DEADLINE_S": "0.2"}


def call_of(script: str) -> bytes:
    """Return what tells a call of one script from all others on the wire."""
    return scripts.load(script).sha.encode()


async def insisting(call: Callable[[], Awaitable[Reply]]) -> Reply:
    """Call again until there is an answer, as a portal's back end does."""
    while True:
        try:
            return await call()
        except aiohttp.ClientError:
            continue


async def test_between_portal_and_service(site: Installation, gateway: ScriptedGateway) -> None:
    """A portal that repeats a call whose answer was lost pays for it once, and gets the same answer (Invariant 11)."""
    serve = await site.serve(**NO_COOLDOWN)
    await site.worker(**NO_COOLDOWN)
    async with Proxy(serve.base) as proxy, Api(f"http://{proxy.address}", fresh=True) as api:
        proxy.lose(3, marker=b"POST /v1/verifications ")
        started = await insisting(
            lambda: api.start(OWNER_PHONE, "registration", id_number=OWNER_ID, idempotency_key="hs-1"),
        )
        assert (201, "pending") == started.said
        assert started["client_token"].startswith("vt_")
        code = await gateway.code(started["id"])

        proxy.lose(2, marker=b"/resend")
        resent = await insisting(lambda: api.resend(started["id"], idempotency_key="hs-1-again"))
        assert ((202, "pending"), 2, 2) == (resent.said, resent["send_number"], resent["sends_left"])
        newer = await gateway.code(started["id"], 2)

        # Refusals are not remembered, so a lost one would cost a second attempt: a wrong code is sent once here.
        assert 4 == (await api.check(started["id"], wrong(newer)))["attempts_left"]
        assert {code, newer} == {sms.code for sms in gateway.sms(started["id"])}

        proxy.lose(3, marker=b"/check")
        checked = await insisting(lambda: api.check(started["id"], newer, idempotency_key="hs-1-check"))
        assert (200, "verified") == checked.said
        assert "1" == (await site.record(started["id"]))["g"]

        proxy.lose(2, marker=b"/redeem")
        claims = await insisting(
            lambda: api.redeem(checked["result_token"], id_number=OWNER_ID, idempotency_key="hs-1-redeem"),
        )
        assert (200, started["id"]) == (claims.status, claims["sub"])
        assert (409, "already_redeemed") == (await api.redeem(checked["result_token"], id_number=OWNER_ID)).said

        proxy.lose(1, marker=b"DELETE")
        other = (await api.start("0700000001"))["id"]
        assert (200, "cancelled") == (await insisting(lambda: api.cancel(other))).said
        assert 11 == proxy.lost
    assert [1, 2] == [sms.send_number for sms in gateway.arrived if sms.verification_id == started["id"]]


async def test_between_service_and_store(site: Installation, gateway: ScriptedGateway) -> None:
    """Calls whose reply from the store was lost are repeated and count once: SMS, attempts, verdicts (Invariant 11)."""
    await site.worker(**NO_COOLDOWN)  # brings the store, and talks to it directly
    async with Proxy(site.store_url) as proxy:
        through = {**NO_COOLDOWN, "STORE__URL": f"redis://{proxy.address}"}
        serve = await site.serve(**through, KEYS__FILE=str(site.data_dir / "keys.json"))
        async with Api(serve.base) as api:
            proxy.lose(2, marker=call_of("start"))
            started = await api.start(purpose="registration", id_number=OWNER_ID)
            assert (201, "pending", 2) == (*started.said, proxy.lost)

            proxy.lose(3, marker=call_of("resend"))
            resent = await api.resend(started["id"])
            assert ((202, "pending"), 2, 2, 5) == (
                resent.said, resent["send_number"], resent["sends_left"], proxy.lost,
            )
            code = await gateway.code(started["id"], 2)

            proxy.lose(2, marker=call_of("check"))
            guess = await api.check(started["id"], wrong(code))
            assert ((422, "wrong_code"), 4, 7) == (guess.said, guess["attempts_left"], proxy.lost)

            proxy.lose(2, marker=call_of("check"))
            # The repeated call finds the code used, and asks who owns the SIM all the same.
            checked = await api.check(started["id"], code)
            assert ((200, "verified"), 9) == (checked.said, proxy.lost)
            assert "1" == (await site.record(started["id"]))["g"]

            proxy.lose(2, marker=call_of("redeem"))
            claims = await api.redeem(checked["result_token"], id_number=OWNER_ID)
            assert (200, 11) == (claims.status, proxy.lost)
            assert (409, "already_redeemed") == (await api.redeem(checked["result_token"], id_number=OWNER_ID)).said

            other = (await api.start("0700000001"))["id"]
            proxy.lose(2, marker=call_of("cancel"))
            assert (200, "cancelled", 13) == (*(await api.cancel(other)).said, proxy.lost)

            # Many calls share the lost reply: each is repeated, none counts twice.
            proxy.lose(2, marker=call_of("start"))
            many = await asyncio.gather(*(
                api.start(f"07000001{at:02d}", end_user_ip=f"203.0.{at}.7") for at in range(40)
            ))
            assert {(201, "pending"): 40} == Counter(reply.said for reply in many)
            assert 15 == proxy.lost
            for reply in many:
                await gateway.code(reply["id"])
    references = Counter(sms.reference for sms in gateway.arrived)
    assert {1} == set(references.values())
    assert {f"{one['id']}-1" for one in many} <= set(references)


async def test_between_worker_and_store(site: Installation, gateway: ScriptedGateway) -> None:
    """A worker that never hears what it took or recorded sends each SMS all the same (Invariants 6 and 11)."""
    site.settings["GATEWAYS__FAKE__ADAPTER"] = "support.plugins:ImpatientGateway"
    serve = await site.serve()
    async with Proxy(site.store_url) as proxy:
        worker = await site.worker(
            STORE__URL=f"redis://{proxy.address}", KEYS__FILE=str(site.data_dir / "keys.json"),
        )
        async with Api(serve.base) as api:
            ids = []
            # What it took from the queue, what it claimed, and what the gateway said.
            for at, marker in enumerate((b"XREADGROUP", call_of("claim"), call_of("sent"))):
                lost = proxy.lost + at + 1
                proxy.lose(at + 1, marker=marker)
                ids.append((await api.start(f"070000000{at}", end_user_ip=f"203.0.{at}.7"))["id"])
                await eventually(lambda wanted=lost: proxy.lost == wanted, "the replies are lost")
            for one in ids:
                assert (200, "verified") == (await api.check(one, await gateway.code(one))).said
        assert 0 == await worker.stop()
    by_reference = {sms.reference: sms for sms in gateway.arrived}
    assert {f"{one}-1" for one in ids} == set(by_reference)
    assert all(sms == by_reference[sms.reference] for sms in gateway.arrived)
