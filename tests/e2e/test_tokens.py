"""The verdict as a portal receives it: read off line with the published keys, redeemed once, for whom it is about."""

from __future__ import annotations

import base64
import json

import pytest
from joserfc import jws
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet
from support.demo import Demo
from support.http import OWNER_ID, OWNER_PHONE, Api, Reply
from support.processes import ORIGIN, OTHER_KEY, PORTAL_KEY, eventually

#: A document of its own for this file: questions about one are limited.
HOLDER = "210000013"


async def verdict(demo: Demo, api: Api, phone: str, **fields: str) -> Reply:
    """Take one verification to its verdict."""
    purpose = "registration" if "id_number" in fields else "phone_only"
    started = await eventually(lambda: _started(api, phone, purpose, fields), "a start is possible")
    return await api.check(started["id"], await demo.code(api, f"+84{phone[1:]}"))


async def test_read_off_line(demo: Demo) -> None:
    """The published keys verify the token's signature; its claims say whom it is about, never the ID number."""
    async with demo.api() as api, demo.api(None) as anybody:
        found = await anybody.get("/.well-known/jwks.json")
        assert (200, "max-age=300") == (found.status, found.headers["Cache-Control"])
        keys = KeySet.import_key_set(found.body)
        assert not any({"d", "k"} & set(key) for key in found["keys"])
        checked = await verdict(demo, api, "0860000003", id_number=HOLDER, reference="hs-off-line")
        token = checked["result_token"]
        read = jws.deserialize_compact(token, keys, algorithms=["ES256"])
        header, claims = read.headers(), json.loads(read.payload)
        assert ("ES256", "phone-verification+jwt") == (header["alg"], header["typ"])
        assert {
            "iss": demo.base, "aud": "demo-portal", "sub": checked["id"], "status": "verified",
            "phone_number": "+84860000003", "phone_number_verified": True, "reference": "hs-off-line",
            "purpose": "registration", "exp": claims["iat"] + 600,
        }.items() <= claims.items()
        assert checked["id"] in claims["jti"]
        assert "subscriber_table" == claims["verified_claims"]["verification"]["assurance_level"]
        assert HOLDER not in json.dumps(claims)
        # Each read signs anew, always with the same jti; a refusal is of another type.
        later = (await api.read(checked["id"]))["result_token"]
        assert claims["jti"] == json.loads(jws.deserialize_compact(later, keys, algorithms=["ES256"]).payload)["jti"]
        refused = await verdict(demo, api, "0810000001", id_number=HOLDER)
        header = jws.deserialize_compact(refused["result_token"], keys, algorithms=["ES256"]).headers()
        assert "phone-refusal+jwt" == header["typ"]
        # One changed bit, and the keys say no.
        head, _, signature = token.split(".")
        forged = base64.urlsafe_b64encode(json.dumps(claims | {"phone_number": "+84900000009"}).encode()).rstrip(b"=")
        with pytest.raises(BadSignatureError):
            jws.deserialize_compact(f"{head}.{forged.decode()}.{signature}", keys, algorithms=["ES256"])
        unredeemable = await api.redeem(f"{head}.{forged.decode()}.{signature}", id_number=HOLDER)
        assert (422, "invalid_request") == unredeemable.said


async def test_redeemed_for_whom_it_is_about(quick_demo: Demo) -> None:
    """A verdict is redeemed once, by its client, for its phone and ID number; three misses void it (Invariant 10)."""
    async with quick_demo.api() as api, quick_demo.api(PORTAL_KEY) as other:
        token = (await verdict(quick_demo, api, OWNER_PHONE, id_number=OWNER_ID))["result_token"]
        without = await api.redeem(token)
        assert ((422, "invalid_request"), ["expect.id_number"]) == (
            without.said, [error["field"] for error in without["errors"]],
        )
        assert (404, "not_found") == (await other.redeem(token, id_number=OWNER_ID)).said
        assert (409, "claims_mismatch") == (await api.redeem(token, id_number="052190000002")).said
        assert (409, "claims_mismatch") == (
            await api.redeem(token, phone_number="0900000002", id_number=OWNER_ID)
        ).said
        claims = await api.redeem(token, phone_number="+84 900 000 001", id_number=OWNER_ID)
        assert (200, "verified", "+84900000001") == (claims.status, claims["status"], claims["phone_number"])
        assert (409, "already_redeemed") == (await api.redeem(token, id_number=OWNER_ID)).said

        token = (await verdict(quick_demo, api, "0320000001", id_number=OWNER_ID))["result_token"]
        for _ in range(3):
            assert (409, "claims_mismatch") == (await api.redeem(token, id_number="052190000002")).said
        assert (409, "claims_mismatch") == (await api.redeem(token, id_number=OWNER_ID)).said

        token = (await verdict(quick_demo, api, "0700000051"))["result_token"]
        assert (422, "invalid_request") == (await api.redeem(token + "x")).said
        assert (422, "invalid_request") == (await api.redeem("not a token")).said
        assert 200 == (await api.redeem(token)).status


async def test_what_a_browser_may_do(quick_demo: Demo) -> None:
    """A client token reads, resends and checks its one verification from its client's origins, nothing else."""
    async with quick_demo.api(PORTAL_KEY) as portal:
        mine = await portal.start("0700000061", "registration", id_number=OWNER_ID, end_user_ip="203.0.61.7")
        another = await portal.start("0700000062", end_user_ip="203.0.62.7")
        code = await quick_demo.code(portal, "+84700000061")
        path = f"/v1/verifications/{mine['id']}"
        async with quick_demo.api(mine["client_token"]) as page:
            # What the browser asks before it lets the page call.
            page.key = None
            ahead = await page.call(
                "OPTIONS", f"{path}/check", Origin=ORIGIN, Access_Control_Request_Method="POST",
                Access_Control_Request_Headers="authorization,content-type",
            )
            assert (204, ORIGIN) == (ahead.status, ahead.headers["Access-Control-Allow-Origin"])
            assert {"authorization", "content-type", "idempotency-key"} <= {
                name.strip().lower() for name in ahead.headers["Access-Control-Allow-Headers"].split(",")
            }
            assert "POST" in ahead.headers["Access-Control-Allow-Methods"]
            stranger = await page.call(
                "OPTIONS", f"{path}/check", Origin="https://evil.example.vn", Access_Control_Request_Method="POST",
            )
            assert "Access-Control-Allow-Origin" not in stranger.headers
            page.key = mine["client_token"]

            seen = await page.get(path, Origin=ORIGIN)
            assert ((200, "pending"), ORIGIN) == (seen.said, seen.headers["Access-Control-Allow-Origin"])
            assert not {"ownership", "result_token", "client_token"} & set(seen.body)
            assert "Access-Control-Allow-Credentials" not in seen.headers
            for evil in ("https://evil.example.vn", "null", f"{ORIGIN}.evil.example", "https://other.example.vn"):
                assert (403, "forbidden") == (await page.get(path, Origin=evil)).said, evil
            soon = await page.call("POST", f"{path}/resend", Origin=ORIGIN)
            # A refusal too must be readable for the page, with the time to wait.
            assert (429, ORIGIN) == (soon.status, soon.headers["Access-Control-Allow-Origin"])
            assert "Retry-After" in soon.headers["Access-Control-Expose-Headers"]
            # Nothing but its one verification, and neither cancel, start nor redeem.
            assert 401 == (await page.get(f"/v1/verifications/{another['id']}", Origin=ORIGIN)).status
            assert 401 == (await page.call("DELETE", path, Origin=ORIGIN)).status
            assert 401 == (await page.start("0700000063")).status
            assert 401 == (await page.redeem("x")).status
            checked = await page.call("POST", f"{path}/check", {"code": code}, Origin=ORIGIN)
            assert ((200, "rejected"), "ownership_not_confirmed") == (checked.said, checked["reason"])
            assert not {"ownership", "result_token"} & set(checked.body)
        assert "subscriber_unknown" == (await portal.read(mine["id"]))["reason"]
        # Another portal sees neither more nor less than of an id that never was (Invariant 9).
        async with quick_demo.api(OTHER_KEY) as other:
            nowhere = mine["id"][:-1] + ("a" if mine["id"][-1] != "a" else "b")
            foreign, unknown = [
                [await other.read(one), await other.check(one, code), await other.resend(one), await other.cancel(one)]
                for one in (mine["id"], nowhere)
            ]
            assert [one.body for one in unknown] == [one.body for one in foreign]
            assert {(404, "not_found")} == {one.said for one in foreign}


async def _started(api: Api, phone: str, purpose: str, fields: dict[str, str]) -> Reply | None:
    reply = await api.start(phone, purpose, **fields)
    assert reply.status in {201, 429}
    return reply if reply.status == 201 else None
