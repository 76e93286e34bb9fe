"""The demo as somebody meets it who has just cloned the project."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from support.demo import DEMO_KEY, Demo
from support.http import ADDRESS, OWNER_ID, Api, Reply, wrong
from support.processes import PORTAL_KEY, Installation, eventually, free_port

#: What the sample table holds, and what a right code leads to: phone, ID number, previous one, verdict, evidence.
SUBSCRIBERS = [
    pytest.param("0896000001", "001203000011", None, ("verified", None), "match", id="owner"),
    pytest.param("0330000002", OWNER_ID, None, ("rejected", "sim_not_owned"), "mismatch", id="somebody else's"),
    pytest.param("0870000003", "052090000199", "210000030", ("verified", None), "match", id="previous CMND"),
    pytest.param("0583000099", "052090000198", None, ("rejected", "subscriber_unknown"), "not_available", id="no row"),
    pytest.param("0980000006", "052090000197", None, ("rejected", "subscriber_unknown"), "not_available", id="unknown"),
    pytest.param(
        "0390000007", "052090000196", None, ("rejected", "subscriber_unknown"), "not_available", id="no document",
    ),
    pytest.param("0960000004", "079195000014", None, ("verified", None), "match", id="restricted one way"),
    pytest.param(
        "0580000003", "052090000024", None, ("rejected", "subscriber_unknown"), "not_available",
        id="restricted two ways",
    ),
    pytest.param(
        "0910000004", "031183000020", None, ("rejected", "subscriber_unknown"), "not_available", id="blocked",
    ),
]


async def test_banner(demo: Demo) -> None:
    """The demo says where it is, its key, and commands to paste; health and documentation are there at once."""
    said = demo.run.stdout
    for line in (f"The demo is ready on {demo.base}", f"{demo.base}/docs", f"{demo.base}/demo/sms", DEMO_KEY, "curl"):
        assert line in said
    async with demo.api(None) as anybody:
        assert {"status": "ok"} == (await anybody.get("/livez")).body
        assert {"status": "ok", "checks": {"store": True}} == (await anybody.get("/readyz")).body
        docs = await anybody.get("/docs")
        assert (200, "text/html; charset=utf-8") == (docs.status, docs.headers["Content-Type"])
        # The page needs no other host and runs no script.
        assert [] == re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", docs.body)
        assert "<script" not in docs.body
        assert (404, "not_found") == (await anybody.get("/")).said
        assert (401, "unauthenticated") == (await anybody.get("/metrics")).said
    async with demo.api() as api:
        metrics = await api.get("/metrics")
        assert (200, True) == (metrics.status, "otp_limit_decisions_total" in metrics.body)


async def test_commands_of_the_banner(demo: Demo) -> None:
    """The commands that the demo prints, pasted into bash as they stand, end verified and sim_not_owned."""
    curl, bash = shutil.which("curl"), shutil.which("bash")
    if curl is None or bash is None:
        pytest.skip("curl and bash are needed to paste the commands")
    blocks = [block for block in demo.run.stdout.split("\n\n") if block.lstrip().startswith("START=")]
    assert 2 == len(blocks)
    for block, expected in zip(blocks, (("verified", None), ("rejected", "sim_not_owned")), strict=True):
        process = await asyncio.create_subprocess_exec(
            bash, "-c", block, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"]},
        )
        out, err = await asyncio.wait_for(process.communicate(), 30)
        started, code, checked = out.decode().split("\n")[:3]
        assert b"" == err
        assert "pending" == json.loads(started)["status"]
        assert re.fullmatch("[0-9]{6}", code)
        verdict = json.loads(checked)
        assert expected == (verdict["status"], verdict["reason"])
        assert verdict["result_token"]


@pytest.mark.parametrize(("phone", "id_number", "previous", "expected", "evidence"), SUBSCRIBERS)
async def test_every_kind_of_subscriber(
    demo: Demo, phone: str, id_number: str, previous: str | None, expected: tuple[str, str | None], evidence: str,
) -> None:
    """A right code ends in the verdict that the sample table says, and only a match can be redeemed (Invariant 9)."""
    fields = {"previous_id_number": previous} if previous else {}
    async with demo.api() as api:
        started = await api.start(phone, "registration", id_number=id_number, reference=f"hs-{phone}", **fields)
        assert ((201, "pending"), "not_checked") == (started.said, started["ownership"]["status"])
        checked = await api.check(started["id"], await demo.code(api, f"+84{phone[1:]}"))
        assert (200, *expected, evidence) == (
            checked.status, checked["status"], checked["reason"], checked["ownership"]["status"],
        )
        assert f"hs-{phone}" == checked["reference"]
        redeemed = await api.redeem(checked["result_token"], phone_number=phone, id_number=id_number)
        if expected[0] == "verified":
            assert (200, f"+84{phone[1:]}") == (redeemed.status, redeemed["phone_number"])
            assert id_number not in str(redeemed.body)
        else:
            assert (409, "not_verified") == redeemed.said
        # The browser learns that it failed, and not what disagreed.
        async with demo.api(started["client_token"]) as browser:
            seen = await browser.read(started["id"])
            assert expected[0] == seen["status"]
            assert ("ownership_not_confirmed" if expected[1] else None) == seen["reason"]
            assert not {"ownership", "result_token"} & set(seen.body)


async def test_life_of_a_verification(quick_demo: Demo) -> None:
    """Resends wait for the cooldown and keep the attempts; wrong codes are counted, and the fifth one locks."""
    demo, number = quick_demo, "+84700000001"
    async with demo.api() as api:
        started = await api.start("0700000001")
        assert f"{demo.base}/v1/verifications/{started['id']}" == started.headers["Location"]
        assert ("+84•••••0001", 6, 1, 3, 5) == tuple(
            started[name] for name in ("phone_number", "code_length", "send_number", "sends_left", "attempts_left")
        )
        soon = await api.resend(started["id"])
        assert ((429, "resend_too_soon"), "1", 1) == (soon.said, soon.headers["Retry-After"], soon["retry_after"])
        code = await demo.code(api, number)
        for left in (4, 3):
            guess = await api.check(started["id"], wrong(code, left))
            assert ((422, "wrong_code"), left, 1) == (guess.said, guess["attempts_left"], guess["send_number"])

        resent = await eventually(lambda: _resent(api, started["id"]), "the cooldown is over")
        assert (202, 2, 2, 3) == (
            resent.status, resent["send_number"], resent["sends_left"], resent["attempts_left"],
        )
        newer = await demo.code(api, number, 2)
        old = await api.check(started["id"], code)
        assert ((422, "wrong_code"), 2, 2) == (old.said, old["attempts_left"], old["send_number"])
        assert (422, "invalid_request") == (await api.check(started["id"], "12345")).said
        assert 1 == (await api.check(started["id"], wrong(newer)))["attempts_left"]
        assert (409, "locked") == (await api.check(started["id"], wrong(newer, 2))).said
        assert (409, "locked") == (await api.check(started["id"], newer)).said
        assert (200, "locked") == (await api.read(started["id"])).said
        resend = await api.resend(started["id"])
        assert ((409, "already_final"), "locked") == (resend.said, resend["verification_status"])
        assert None is (await api.read(started["id"]))["result_token"]

        # A new start after that is a new verification; the older one of two live ones ends.
        second = await eventually(lambda: _started(api, "0700000001"), "the cooldown is over")
        third = await eventually(lambda: _started(api, "0700000001", "198.51.100.7"), "the cooldown is over")
        assert (200, "cancelled") == (await api.read(second["id"])).said
        assert (200, "cancelled") == (await api.cancel(third["id"])).said
        assert (200, "cancelled") == (await api.cancel(third["id"])).said
        assert (409, "already_final") == (await api.check(third["id"], newer)).said


async def test_sends_run_out(quick_demo: Demo) -> None:
    """After three resends there is no further one, and the page is told until when the last code is good."""
    async with quick_demo.api() as api:
        # An official's allowance is wide enough for all of them.
        started = await api.start(
            "0700000002", "assisted_registration", end_user_ip="203.0.2.7", id_number=OWNER_ID,
        )
        for number in (2, 3, 4):
            resent = await eventually(lambda: _resent(api, started["id"]), "the cooldown is over")
            assert (number, 4 - number) == (resent["send_number"], resent["sends_left"])
        assert None is resent["resend_at"]
        refused = await api.resend(started["id"])
        assert ((409, "sends_exhausted"), started["expires_at"]) == (refused.said, refused["expires_at"])
        # Four codes were sent; only the newest is good.
        newest = await quick_demo.code(api, "+84700000002", 4)
        assert 200 == (await api.check(started["id"], newest)).status


async def test_inbox(quick_demo: Demo) -> None:
    """The inbox shows at most the hundred newest SMS, newest first, and is there in the demo only."""
    async with quick_demo.api() as api, quick_demo.api(None) as anybody:
        for at in range(110):
            assert 201 == (await api.start(f"070001{at:04d}", end_user_ip=f"198.51.{at}.7")).status
        await quick_demo.code(anybody, "+84700010109")

        async def full() -> list[dict[str, Any]] | None:
            found: list[dict[str, Any]] = (await anybody.get("/demo/sms"))["messages"]
            return found if len(found) == 100 else None

        messages = await eventually(full, "a hundred SMS")
        assert {"id", "to", "text", "send_number", "sent_at"} == set(messages[0])
        assert sorted((one["sent_at"] for one in messages), reverse=True) == [one["sent_at"] for one in messages]
        assert 100 == len({one["id"] for one in messages})
        assert all(len(one["text"]) <= 160 and one["text"].isascii() for one in messages)


async def test_deliveries_are_reported(quick_demo: Demo) -> None:
    """The fake gateway reports by its callback: an ordinary SMS arrives, a magic number's ends as it should."""
    outcomes = {
        "0700000041": "delivered", "0900000900": "delivered", "0900000901": "failed", "0900000912": "failed",
        "0900000915": "delivered", "0900000917": "delivered", "0900000918": "delivered",
    }
    async with quick_demo.api() as api:
        started = {
            number: (await api.start(number, end_user_ip=f"203.0.{41 + at}.7"))["id"]
            for at, number in enumerate(outcomes)
        }

        async def told() -> dict[str, str] | None:
            found = {number: (await api.read(one))["delivery"] for number, one in started.items()}
            return found if found == outcomes else None

        await eventually(told, "every outcome")
        # In the demo any key may use them, as often as it likes; the code is in the inbox alone.
        again = await api.start("0900000900", end_user_ip="203.0.41.7")
        assert 201 == again.status
        assert (422, "wrong_code") == (await api.check(again["id"], "000000")).said
        assert (200, "pending") == (await api.read(started["0900000900"])).said
        # Nobody but the inbox knows where it reports.
        forged = await api.call("POST", f"/v1/delivery-reports/fake/{'a' * 48}", {"id": "m-1", "state": "failed"})
        assert (404, "not_found") == forged.said


async def test_wait_is_answered_by_the_verdict(quick_demo: Demo) -> None:
    """A long poll is answered when the verdict comes, long before its time is over."""
    async with quick_demo.api() as api:
        started = await api.start("0700000005", end_user_ip="203.0.5.7")
        async with quick_demo.api(started["client_token"]) as browser:
            waiting = [asyncio.create_task(one.read(started["id"], wait=30)) for one in (api, browser)]
            code = await quick_demo.code(api, "+84700000005")
            began = time.monotonic()
            assert not any(wait.done() for wait in waiting)
            assert 200 == (await api.check(started["id"], code)).status
            portal, page = [await wait for wait in waiting]
            assert time.monotonic() - began < 5
            assert [(200, "verified")] * 2 == [portal.said, page.said]
            assert portal["result_token"]
        assert (200, "verified") == (await api.read(started["id"], wait=30)).said


async def test_languages(quick_demo: Demo) -> None:
    """SMS and refusals speak Vietnamese or English: as the body asks, else as the caller's languages do."""
    async with quick_demo.api() as api:
        vi = await api.start("0700000011", end_user_ip="203.0.11.7")
        en = await api.start("0700000012", end_user_ip="203.0.12.7", locale="en")
        await quick_demo.code(api, "+84700000011")
        await quick_demo.code(api, "+84700000012")
        texts = {one["to"]: one["text"] for one in (await api.get("/demo/sms"))["messages"]}
        assert "la ma" in texts["+84700000011"]
        assert "is your phone verification code" in texts["+84700000012"]
        path = f"/v1/verifications/{vi['id']}/check"
        answers = {
            language: await api.call("POST", path, {"code": "x"}, Accept_Language=language)
            for language in ("vi", "en", "en-US,vi;q=0.5", "fr, vi;q=0.2", "de", "*")
        }
        assert {"vi": "vi", "en": "en", "en-US,vi;q=0.5": "en", "fr, vi;q=0.2": "vi", "de": "vi", "*": "vi"} == {
            language: answer.headers["Content-Language"] for language, answer in answers.items()
        }
        assert answers["vi"]["detail"] != answers["en"]["detail"]
        assert answers["vi"]["code"] == answers["en"]["code"] == "invalid_request"
        assert 201 == en.status
        refused = await api.start("02838000000", locale="en")
        assert ((422, "phone_not_mobile"), "en") == (refused.said, refused.headers["Content-Language"])


async def test_idempotency_keys(quick_demo: Demo) -> None:
    """A repeated key repeats the answer and changes nothing; with another body it is refused (Invariant 11)."""
    async with quick_demo.api() as api:
        first = await api.start("0700000021", end_user_ip="203.0.21.7", idempotency_key="start-1")
        again = await api.start("0700000021", end_user_ip="203.0.21.7", idempotency_key="start-1")
        assert (201, first["id"], first["client_token"]) == (again.status, again["id"], again["client_token"])
        assert first.headers["Location"] == again.headers["Location"]
        other = await api.start("0700000022", end_user_ip="203.0.21.7", idempotency_key="start-1")
        assert (422, "idempotency_key_reused") == other.said
        # Refusals are not remembered: the same key works once there is nothing to refuse.
        soon = await api.resend(first["id"], idempotency_key="resend-1")
        assert (429, "resend_too_soon") == soon.said
        resent = await eventually(lambda: _resent(api, first["id"], "resend-1"), "the cooldown is over")
        repeated = await api.resend(first["id"], idempotency_key="resend-1")
        assert (202, 2, resent["sends_left"]) == (repeated.status, repeated["send_number"], repeated["sends_left"])
        code = await quick_demo.code(api, "+84700000021", 2)
        checked = await api.check(first["id"], code, idempotency_key="check-1")
        repeated = await api.check(first["id"], code, idempotency_key="check-1")
        assert [(200, "verified")] * 2 == [checked.said, repeated.said]
        other = await api.check(first["id"], wrong(code), idempotency_key="check-1")
        assert (422, "idempotency_key_reused") == other.said
        token = checked["result_token"]
        claims = await api.redeem(token, idempotency_key="redeem-1")
        assert (200, 200) == (claims.status, (await api.redeem(token, idempotency_key="redeem-1")).status)
        assert (409, "already_redeemed") == (await api.redeem(token, idempotency_key="redeem-2")).said


async def test_refuses_to_be_more_than_a_demo(tmp_path: Path) -> None:
    """The demo refuses other hosts than loopback and gateways that may be real, and does not start."""
    async with Installation(tmp_path / "site") as site:
        environment = {"PORT": str(free_port())}
        runs = {
            said: site.launch("demo", environ=environment, settings=settings)
            for said, settings in (
                ("server.host", {"SERVER__HOST": "0.0.0.0"}),
                ("server.private_host", {"SERVER__PRIVATE_HOST": "192.0.2.1"}),
                ("sending.gateways", {
                    "SENDING__GATEWAYS": "fast", "GATEWAYS__FAST__ADAPTER": "support.plugins:ImpatientGateway",
                }),
            )
        }
        for said, run in runs.items():
            assert 2 == await run.ended()
            assert said in run.stderr
            assert DEMO_KEY not in run.stdout
        assert not (site.root / ".data").exists()


async def test_serve_knows_no_demo_key(quick_demo: Demo, tmp_path: Path) -> None:
    """The demo's key and inbox exist in the demo alone; in the demo the configured portals work as well."""
    async with quick_demo.api(PORTAL_KEY) as portal:
        assert 201 == (await portal.start("0700000031", end_user_ip="203.0.31.7")).status
    async with Installation(tmp_path / "site") as site:
        serve = await site.serve()
        async with Api(serve.base, DEMO_KEY) as api:
            assert (401, "unauthenticated") == (await api.start()).said
            assert (404, "not_found") == (await api.get("/demo/sms")).said
            assert (404, "not_found") == (await api.call("POST", "/demo/gateway", {})).said
        async with Api(serve.base) as api:
            refused = await api.start("0900000900")
            assert ((422, "invalid_request"), "test_number") == (refused.said, refused["errors"][0]["code"])


async def _resent(api: Api, verification_id: str, key: str | None = None) -> Reply | None:
    reply = await api.resend(verification_id, idempotency_key=key)
    assert reply.said in {(202, "pending"), (429, "resend_too_soon")}
    return reply if reply.status == 202 else None


async def _started(api: Api, phone_number: str, address: str = ADDRESS) -> Reply | None:
    reply = await api.start(phone_number, end_user_ip=address)
    assert reply.said in {(201, "pending"), (429, "rate_limited")}
    return reply if reply.status == 201 else None
