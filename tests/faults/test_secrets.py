"""After a busy run nothing that must stay secret stands in any file, log line or metric (Invariant 5)."""

from __future__ import annotations

import asyncio

import pytest
from support.http import OWNER_ID, Api, wrong
from support.needles import Needles, files
from support.processes import ORIGIN, OTHER_KEY, PORTAL_KEY, Installation, eventually
from support.sms_gateway import HANGS_UP, Say, ScriptedGateway

pytestmark = pytest.mark.slow

ID_NUMBERS = [OWNER_ID, "052190000002", "210000003", "079095000099", "210009999"]
#: Number, ID number, form in which it was typed.
PEOPLE = [
    ("0900000001", OWNER_ID, "0900000001"),
    ("0900000002", OWNER_ID, "+84 900 000 002"),
    ("0900000003", "210000003", "84900000003"),
    ("0900000004", "079095000099", "0900.000.004"),
    ("0900000005", "052190000002", "(+84) 90-000-0005"),
    ("0700000111", "210009999", "0700000111"),
]
UNKNOWN_KEY = "otp_live_nobody-has-this-key-in-any-configuration-000"
FULL_NAME, BIRTH_DATE = "NGUYỄN THỊ BÍ MẬT", "1991-12-13"


async def test_nothing_secret_at_rest(site: Installation, gateway: ScriptedGateway) -> None:
    """A scan of store files, logs at debug level and metrics finds no code, number, name or token (Invariant 5)."""
    site.settings |= {
        "LOGGING__LEVEL": "debug", "LIMITS__PHONE_COOLDOWN__PERIOD": "1s", "SENDING__BACKOFF_S": "0.1",
        "STORE__RETRY_TOTAL_S": "0",
    }
    serve, worker = await site.serve(), await site.worker()
    needles = Needles()
    needles.text("API key", PORTAL_KEY)
    needles.text("other API key", OTHER_KEY)
    needles.text("unknown API key", UNKNOWN_KEY)
    for phone, _, _ in PEOPLE:
        needles.number(f"phone {phone}", phone.removeprefix("0"))
    for id_number in ID_NUMBERS:
        needles.number(f"ID number {id_number}", id_number)
    needles.text("name", FULL_NAME)
    needles.text("birth date", BIRTH_DATE)
    async with Api(serve.base) as api:
        await _busy(site, api, gateway, needles)
        async with Api(worker.private, None) as private:
            metrics = [await api.get("/metrics"), await private.get("/metrics")]
        rendered = "\n".join(reply.body for reply in metrics).encode()
        site.kill_store()
        refused = [
            await api.start("0900000001", full_name=FULL_NAME),
            await api.check(gateway.taken[0].verification_id, gateway.taken[0].code),
        ]
        assert {503} == {reply.status for reply in refused}
    assert [0, 0] == [await serve.stop(), await worker.stop()]
    for sms in gateway.arrived:
        needles.code(sms.code)

    hays = {"metrics": rendered} | {str(path.relative_to(site.root)): content for path, content in files(site)}
    # The scan looks at the right things, and finds what is there.
    stored = b"".join(content for name, content in hays.items() if "appendonlydir" in name)
    logged = b"".join(content for name, content in hays.items() if name.startswith("logs"))
    ids = {sms.verification_id.encode() for sms in gateway.taken}
    assert all(one in stored and one in logged for one in ids)
    assert b"otp_verifications" in rendered
    assert b'"level":"debug"' in logged
    sample = gateway.taken[0]
    assert 2 == len(needles.found_in(f"{sms_line(sample.to)} {sample.code}".encode()))
    assert {} == {name: found for name, hay in hays.items() if (found := needles.found_in(hay))}


def sms_line(number: str) -> str:
    """Write a number as people do, to see that the scan would find it."""
    digits = number.removeprefix("+84")
    return f"0{digits[:2]}.{digits[2:5]} {digits[5:]}"


async def _busy(site: Installation, api: Api, gateway: ScriptedGateway, needles: Needles) -> None:
    """Do everything once: verdicts of every kind, wrong codes, resends, bad input, failing gateways, an outage."""
    answers = iter((HANGS_UP, Say(500, b"the gateway quotes 0900000001"), Say(429)))
    gateway.answer = lambda _: next(answers, None)
    started = []
    for at, (_, id_number, typed) in enumerate(PEOPLE):
        reply = await api.start(
            typed, "registration", id_number=id_number, previous_id_number="210009999", full_name=FULL_NAME,
            birth_date=BIRTH_DATE, end_user_ip=f"203.0.{at}.7", reference=f"hs-{at}", idempotency_key=f"key-{at}",
            consent={"notice_version": "v1", "given_at": "2026-01-31T08:00:00Z"},
        )
        assert 201 == reply.status, reply
        needles.text(f"client token {at}", reply["client_token"])
        started.append(reply)
    for at, reply in enumerate(started):
        code = await gateway.code(reply["id"])
        async with Api(api.base, reply["client_token"]) as browser:
            guess = await browser.call(
                "POST", f"/v1/verifications/{reply['id']}/check", {"code": wrong(code, 7)}, Origin=ORIGIN,
            )
            assert (422, "wrong_code") == guess.said
            needles.code(wrong(code, 7))
            if at % 2:
                again = await eventually(lambda one=reply["id"]: _resent(browser, one), "the cooldown is over")
                code = await gateway.code(reply["id"], again["send_number"])
        checked = await api.check(reply["id"], code)
        assert 200 == checked.status
        if checked["status"] == "verified":
            assert 200 == (await api.redeem(checked["result_token"], id_number=PEOPLE[at][1])).status

    # Whatever is refused stands in no log either.
    path = f"/v1/verifications/{started[0]['id']}"
    await api.start("0900000001 or so", "registration", id_number=f"{OWNER_ID}9", full_name=FULL_NAME)
    await api.start(OWNER_ID, "registration", id_number="0900000001")
    await api.call("POST", "/v1/verifications", raw=f'{{"phone_number": "0900000001", "{OWNER_ID}": 1}}'.encode())
    await api.call("POST", "/v1/verifications", raw=f'{{"phone_number": "0900000001, {FULL_NAME}'.encode())
    await api.call("POST", f"{path}/check", {"code": "0900000001"})
    await api.call("GET", f"{path}?phone=0900000001&key={PORTAL_KEY}")
    await api.call("GET", f"/v1/{OWNER_ID}/0900000001?token={started[0]['client_token']}")
    await api.call("GET", path, Authorization=f"Bearer {UNKNOWN_KEY}")
    await api.call("GET", path, Authorization=f"Basic {OTHER_KEY}", X_Request_Id="0900000001")
    await api.call("GET", path, Accept_Language=f"vi;q={OWNER_ID}", Origin=f"https://{OWNER_ID}.example")
    await api.call("POST", f"{path}/check", {"code": "12"}, idempotency_key=OWNER_ID)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.base.rpartition(":")[2]))
    writer.write(f"GET /{OWNER_ID} 0900000001\r\nHost: {PORTAL_KEY}\r\n\r\n".encode())
    assert b"400" in await reader.read()
    writer.close()

    # One that is still live when everything stops.
    last = await api.start("0700000222", "registration", id_number="079095000099", end_user_ip="203.0.99.7")
    needles.number("phone 0700000222", "700000222")
    needles.text("client token", last["client_token"])
    await gateway.code(last["id"])
    assert 0 == (await site.command("limits", "show", "0700000222")).returncode


async def _resent(browser: Api, verification_id: str) -> object:
    reply = await browser.call("POST", f"/v1/verifications/{verification_id}/resend", Origin=ORIGIN)
    return reply if reply.status == 202 else None
