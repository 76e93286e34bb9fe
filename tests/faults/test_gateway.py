"""Gateways that fail in every way for a while, and gateways that refuse."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from support.http import Api
from support.processes import Installation, eventually
from support.sms_gateway import HANGS_UP, HELD, Say, ScriptedGateway

pytestmark = pytest.mark.slow

QUICK = {"GATEWAYS__FAKE__ADAPTER": "support.plugins:ImpatientGateway", "SENDING__BACKOFF_S": "0.1"}

#: What a gateway may do instead of taking an SMS; after each of it the SMS is tried again.
FAILURES = {
    "says it is busy": Say(429),
    "fails": Say(500),
    "is behind a broken proxy": Say(502, b"<html>Bad Gateway</html>", {"Content-Type": "text/html"}),
    "redirects": Say(302, b"", {"Location": "http://127.0.0.1:9/elsewhere"}),
    "answers 200 without an id": Say(200, b'{"ok": true}', {"Content-Type": "application/json"}),
    "answers 200 with something else": Say(200, b"\xff\xfe\x00 not JSON" * 50),
    "answers 200 with far too much": Say(200, b"[" * 300_000),
    "answers 204": Say(204),
    "hangs up": HANGS_UP,
    "never answers": HELD,
}


async def test_failing_gateway_that_gets_well(site: Installation, gateway: ScriptedGateway) -> None:
    """However a gateway fails for a while, the SMS arrives once it is well, under one reference (Invariant 6)."""
    site.settings |= QUICK
    serve = await site.serve()
    await site.worker()
    phones = {f"070000010{at}": say for at, say in enumerate(FAILURES.values())}
    tries = Counter[str]()

    def twice(say: Say, reference: str) -> Say | None:
        tries[reference] += 1
        return say if tries[reference] <= 2 else None

    gateway.answer = lambda sms: twice(phones["0" + sms.to.removeprefix("+84")], sms.reference)
    async with Api(serve.base) as api:
        replies = [await api.start(phone, end_user_ip=f"203.0.{at}.7") for at, phone in enumerate(phones)]
        for reply, failure in zip(replies, FAILURES, strict=True):
            code = await gateway.code(reply["id"])
            sent = await eventually(lambda one=reply["id"]: _delivery(api, one, "sent"), f"a gateway that {failure}")
            assert sent, failure
            assert (200, "verified") == (await api.check(reply["id"], code)).said, failure
    assert {3} == set(tries.values())
    assert all(1 == len(gateway.sms(reply["id"])) for reply in replies)


async def test_gateway_that_is_down(site: Installation, gateway: ScriptedGateway) -> None:
    """While nobody listens at the gateway starts are accepted, and their SMS arrive when it is up (Invariant 6)."""
    site.settings |= QUICK
    serve = await site.serve()
    worker = await site.worker()
    gateway.down()
    async with Api(serve.base) as api:
        replies = [await api.start(f"070000020{at}", end_user_ip=f"203.0.{at}.7") for at in range(5)]
        assert {"queued"} == {reply["delivery"] for reply in replies}
        await eventually(lambda: len(worker.events("sms")) >= 10, "the worker tries again")
        assert {"connection_refused"} == {event["provider_code"] for event in worker.events("sms")}
        gateway.up()
        codes = [await gateway.code(reply["id"]) for reply in replies]
        answers = await asyncio.gather(
            *(api.check(reply["id"], code) for reply, code in zip(replies, codes, strict=True)),
        )
        assert {(200, "verified")} == {answer.said for answer in answers}
    # What was never connected was never handed over: nobody got two SMS.
    assert len(replies) == len(gateway.arrived)


async def test_refused_sms_is_refunded(site: Installation, gateway: ScriptedGateway) -> None:
    """An SMS that every gateway refused shows as failed, opens the resend at once and costs nothing (Invariant 3)."""
    site.settings |= QUICK | {"LIMITS__PHONE_SENDS__COUNT": "2"}
    serve = await site.serve()
    await site.worker()
    body = {"Content-Type": "application/json"}
    gateway.answer = lambda _: Say(400, b'{"error": "invalid_number"}', body)
    async with Api(serve.base) as api:
        started = await api.start("0700000301")
        for number in range(1, 4):
            failed = await eventually(lambda: _delivery(api, started["id"], "failed"), "the refusal is known")
            assert (200, "pending") == failed.said
            # Four SMS are allowed in all, and none of them has been used.
            assert (number, 4) == (failed["send_number"], failed["sends_left"])
            assert failed["resend_at"] <= failed["code_expires_at"]
            assert (202, "pending") == (await api.resend(started["id"])).said
        await eventually(lambda: _delivery(api, started["id"], "failed"), "the refusal is known")
        # Well again: the resend is still there, it arrives, and now it counts.
        gateway.answer = lambda _: None
        resent = await api.resend(started["id"])
        assert ((202, "pending"), 5, 3) == (resent.said, resent["send_number"], resent["sends_left"])
        assert (429, "resend_too_soon") == (await api.resend(started["id"])).said
        assert (200, "verified") == (await api.check(started["id"], await gateway.code(started["id"], 5))).said
    assert 1 == len(gateway.taken)


async def test_nothing_ever_sent_ends_undeliverable(site: Installation, gateway: ScriptedGateway) -> None:
    """A verification whose SMS no gateway ever took ends undeliverable (Invariant 6)."""
    site.settings |= QUICK | {
        "PURPOSES__PHONE_ONLY__LIFE_S": "60", "PURPOSES__PHONE_ONLY__CODE__VALIDITY_S": "30",
        "SENDING__ATTEMPTS": "1",
    }
    serve = await site.serve()
    await site.worker()
    gateway.answer = lambda _: Say(403, b'{"error": "blocked"}', {"Content-Type": "application/json"})
    async with Api(serve.base) as api, site.store() as store:
        started = await api.start("0700000401")
        await eventually(lambda: _delivery(api, started["id"], "failed"), "the refusal is known")
        # Its time is moved to its end in the store: a real minute would be spent waiting.
        (key,) = [key async for key in store.scan_iter(f"otp:*:v:{started['id']}")]
        await store.hset(key, "e", 1)
        await store.zadd(f"{key.decode().rpartition(':v:')[0]}:due", {started["id"]: 1})
        ended = await api.read(started["id"], wait=10)
        assert (200, "undeliverable") == ended.said
        assert (409, "already_final") == (await api.check(started["id"], "000000")).said


async def _delivery(api: Api, verification_id: str, expected: str) -> object:
    reply = await api.read(verification_id)
    return reply if expected == reply["delivery"] else None
