"""The made-up operator over HTTP: what CAMARA asks of every call, its faults on the wire, its own paths."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from support.operator import CHECK, CLIENT_ID, DATE, MATCH, OWNER, OWNER_ID, SECRET, Caller, operating, sample

from otp_service.core.errors import ConfigurationError
from otp_service.web.operator.kyc_match import KycMatch
from otp_service.web.operator.oauth import OAuthClient
from otp_service.web.operator.script import Script
from otp_service.web.operator.server import Operator, OperatorOptions, run, serving

GOOD = {"phoneNumber": OWNER, "idDocument": OWNER_ID}
OPTIONS = OperatorOptions(subscribers=sample(), client=OAuthClient(CLIENT_ID, SECRET))


async def with_headers(operator: Caller, data: bytes | None, **headers: str) -> tuple[int, str | None]:
    """Ask KYC Match with a token and these headers alone; underscores stand for hyphens."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    said = await operator.call(
        "POST", MATCH, data=data, headers={"Authorization": f"Bearer {await operator.token()}", **sent},
    )
    return said.told


class TestCalls:
    async def test_match(self) -> None:
        """A match, a swap and a date are asked for and answered over a socket."""
        async with operating() as operator:
            said = [
                await operator.post(MATCH, GOOD), await operator.post(CHECK, {"phoneNumber": OWNER}),
                await operator.post(DATE, {"phoneNumber": OWNER}),
            ]
            asked = await operator.asked()

        assert [
            {"idDocumentMatch": "true"}, {"swapped": False}, {"latestSimChange": None, "monitoredPeriod": 100},
        ] == [one.body for one in said]
        assert {"application/json"} == {one.headers["Content-Type"] for one in said}
        assert {"token": 1, "match": 1, "check": 1, "retrieve-date": 1, "sms": 0} == asked

    async def test_version_in_the_path(self) -> None:
        """Another version of KYC Match stands at its own path, and the usual one at none."""
        async with operating(kyc=KycMatch("v0.5")) as operator:
            said = [(await operator.post(path, GOOD)).told for path in ("/kyc-match/v0.5/match", MATCH)]

        assert [(200, None), (404, "NOT_FOUND")] == said

    async def test_discovery(self) -> None:
        """The discovery document names the token endpoint as the caller reaches it."""
        async with operating() as operator:
            said = (await operator.call("GET", "/.well-known/openid-configuration")).body

        assert (operator.base, f"{operator.base}/oauth2/token") == (said["issuer"], said["token_endpoint"])
        assert ["client_secret_basic", "client_secret_post"] == said["token_endpoint_auth_methods_supported"]


class TestCorrelator:
    @pytest.mark.parametrize("value", ["b4333c46-49c0-4f62-80d7-f0ef930f1c46", "a_b:c;d./e<f>{g}", "x" * 256])
    async def test_echoed(self, value: str) -> None:
        """A good x-correlator comes back with answers and refusals of every kind."""
        async with operating() as operator:
            said = [
                await operator.post(MATCH, GOOD, **{"X-Correlator": value}),
                await operator.post(MATCH, {}, **{"X-Correlator": value}),
                await operator.post(MATCH, {}, "unknown", **{"X-Correlator": value}),
                await operator.call("GET", MATCH, headers={"X-Correlator": value}),
            ]

        assert [(200, value), (400, value), (401, value), (405, value)] == [
            (one.status, one.headers["x-correlator"]) for one in said
        ]

    @pytest.mark.parametrize("value", ["a b", "x" * 257, "é", "a,b", '"a"'])
    async def test_refused(self, value: str) -> None:
        """A bad x-correlator is an invalid argument and does not come back."""
        async with operating() as operator:
            said = await operator.post(MATCH, GOOD, **{"x-correlator": value})

        assert (400, "INVALID_ARGUMENT") == said.told
        assert "x-correlator" not in said.headers

    async def test_not_sent(self) -> None:
        """Without one, or with an empty one, none comes back."""
        async with operating() as operator:
            said = [await operator.post(MATCH, GOOD), await operator.post(MATCH, GOOD, **{"x-correlator": ""})]

        assert [(200, False), (200, False)] == [(one.status, "x-correlator" in one.headers) for one in said]


class TestBodies:
    @pytest.mark.parametrize(("data", "headers", "told"), [
        (b'{"phoneNumber": "+84900000001", "name": "A"}', {"Content_Type": "application/json; charset=utf-8"},
         (200, None)),
        (b"{}", {"Content_Type": "text/plain"}, (415, "UNSUPPORTED_MEDIA_TYPE")),
        (b"{}", {}, (415, "UNSUPPORTED_MEDIA_TYPE")),
        (b"{}", {"Content_Type": "application/json", "Content_Encoding": "gzip"}, (415, "UNSUPPORTED_MEDIA_TYPE")),
        (b"{}", {"Content_Type": "application/json", "Accept": "text/html"}, (406, "NOT_ACCEPTABLE")),
        (b"{}", {"Content_Type": "application/json", "Accept": "application/json;q=0, text/*"},
         (406, "NOT_ACCEPTABLE")),
        (b"{}", {"Content_Type": "application/json", "Accept": "text/html, */*;q=0.1"},
         (400, "KNOW_YOUR_CUSTOMER.INVALID_PARAM_COMBINATION")),
        (None, {}, (400, "INVALID_ARGUMENT")),
        (b"", {"Content_Type": "application/json"}, (400, "INVALID_ARGUMENT")),
        (b"[]", {"Content_Type": "application/json"}, (400, "INVALID_ARGUMENT")),
        (b"{", {"Content_Type": "application/json"}, (400, "INVALID_ARGUMENT")),
        (b'{"name": "\xff"}', {"Content_Type": "application/json"}, (400, "INVALID_ARGUMENT")),
        (b'{"a":' * 5000, {"Content_Type": "application/json"}, (400, "INVALID_ARGUMENT")),
        (b" " * 70_000, {"Content_Type": "application/json"}, (413, "INVALID_ARGUMENT")),
    ])
    async def test_media_types_and_json(
        self, data: bytes | None, headers: dict[str, str], told: tuple[int, str | None],
    ) -> None:
        """A call says JSON, is JSON, takes JSON, and is an object of at most 64 KiB."""
        async with operating() as operator:
            assert told == await with_headers(operator, data, **headers)

    @pytest.mark.parametrize(("method", "path", "allow"), [
        ("GET", MATCH, "POST"), ("HEAD", CHECK, "POST"), ("PATCH", DATE, "POST"), ("GET", "/oauth2/token", "POST"),
        ("DELETE", "/script", "GET,PUT"), ("POST", "/.well-known/openid-configuration", "GET"),
    ])
    async def test_methods(self, method: str, path: str, allow: str) -> None:
        """Another method is not allowed, and told which is."""
        async with operating() as operator:
            said = await operator.call(method, path)

        assert (405, allow) == (said.status, said.headers["Allow"])

    async def test_no_http(self, caplog: pytest.LogCaptureFixture) -> None:
        """Bytes that are no HTTP are refused, and quoted in no log."""
        async with operating() as operator:
            host, port = operator.base.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"POST /0900000001 HTTP/1.1\r\nX: \x00\r\n\r\n")
            said = await reader.read()
            writer.close()
            await writer.wait_closed()

        assert b"HTTP/1.0 400" == said[:12]
        assert "" == caplog.text


class TestFaults:
    async def test_down(self) -> None:
        """Down, the connection is closed without an answer; the tokens' endpoint stays up."""
        async with operating() as operator:
            token = await operator.token()
            await operator.play(down=True)
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await operator.post(MATCH, GOOD, token)
            assert await operator.token()
            await operator.play(token={"down": True})
            assert 200 == (await operator.post(MATCH, GOOD, token)).status
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await operator.token()

    async def test_latency(self) -> None:
        """Every answer waits as long as the script says."""
        async with operating() as operator:
            token = await operator.token()
            await operator.play(latency_ms=1500, token={"latency_ms": 20})
            await operator.post(MATCH, GOOD, token)
            await operator.sms("0900000001", "TTTB")
            await operator.token()

        assert 1.5 == operator.clock.paused[0]
        assert [0.02, 1.5, 1.5] == sorted(operator.clock.paused)

    @pytest.mark.parametrize(("status", "code"), [
        (503, "UNAVAILABLE"), (429, "TOO_MANY_REQUESTS"), (401, "UNAUTHENTICATED"), (302, "UNKNOWN"),
    ])
    async def test_answer(self, status: int, code: str) -> None:
        """A scripted answer comes whatever is asked, by whomever."""
        async with operating() as operator:
            await operator.play(answer={"status": status, "retry_after": 9})
            said = await operator.post(MATCH, {}, "unknown")

        assert ((status, code), "9") == (said.told, said.headers["Retry-After"])

    @pytest.mark.parametrize("status", [204, 304])
    async def test_answer_without_a_body(self, status: int) -> None:
        """Statuses that have no body have none."""
        async with operating() as operator:
            await operator.play(answer={"status": status})
            said = await operator.post(MATCH, GOOD)

        assert (status, b"") == (said.status, said.body)

    @pytest.mark.parametrize(("garbage", "body", "content_type"), [
        ("truncated", b'{"idDocumentM', "application/json"), ("empty", b"", "application/json"),
        ("wrong_types", {"idDocumentMatch": True}, "application/json"),
    ])
    async def test_garbage(self, garbage: str, body: Any, content_type: str) -> None:
        """Garbage stands where the right answer should; refusals stay what they are."""
        async with operating() as operator:
            await operator.play(garbage=garbage)
            said, refused = await operator.post(MATCH, GOOD), await operator.post(MATCH, {})

        assert (200, body, content_type) == (said.status, said.body, said.headers["Content-Type"])
        assert 400 == refused.status

    async def test_page(self) -> None:
        """A page of HTML comes as such."""
        async with operating() as operator:
            await operator.play(garbage="html")
            said = await operator.post(CHECK, {"phoneNumber": OWNER})

        assert (200, "text/html", b"<!DOCTYPE") == (said.status, said.headers["Content-Type"], said.body[:9])

    async def test_wrong(self) -> None:
        """A wrong operator says the opposite."""
        async with operating() as operator:
            await operator.play(wrong=True)
            said = [await operator.post(MATCH, GOOD), await operator.post(CHECK, {"phoneNumber": OWNER})]

        assert [{"idDocumentMatch": "false"}, {"swapped": True}] == [one.body for one in said]

    async def test_throttle(self) -> None:
        """More calls a second than allowed are told when to come again."""
        async with operating() as operator:
            await operator.play(throttle={"per_s": 0.001, "retry_after": 3})
            said = [await operator.post(MATCH, GOOD) for _ in range(2)]

        assert [(200, None), (429, "TOO_MANY_REQUESTS")] == [one.told for one in said]
        assert "3" == said[1].headers["Retry-After"]

    async def test_script_from_the_start(self) -> None:
        """An operator may be started with a script."""
        async with serving(Operator(OPTIONS, Script(every=1))) as base, aiohttp.ClientSession() as http:
            said = await Caller(base, http).post(MATCH, GOOD)

        assert (503, "UNAVAILABLE") == said.told


class TestOwnPaths:
    async def test_sms(self) -> None:
        """An SMS to 1414 is answered from there; without a reply it is said why."""
        async with operating() as operator:
            said = [
                await operator.sms("0320000001", "TTTB"), await operator.sms("0900000006", "TTTB"),
                await operator.sms("0320000001", "TTTB", "1415"),
                await operator.post("/sms", {"from": "0320000001", "to": 1414, "text": "TTTB"}),
            ]

        assert (200, "1414", "Thuê bao: 0320000001") == (said[0].status, said[0]["from"], said[0]["text"][:20])
        assert [(409, {"error": "cannot_send"}), (404, {"error": "not_1414"})] == [
            (one.status, one.body) for one in said[1:3]
        ]
        assert (400, "INVALID_ARGUMENT") == said[3].told

    async def test_script(self) -> None:
        """The script is shown and changed; a bad one is told by its members and changes nothing."""
        async with operating() as operator:
            changed = await operator.play(every=4)
            bad = await operator.play(every=0, wrong=1)
            shown = await operator.call("GET", "/script")

        assert (200, 4) == (changed.status, changed["every"])
        assert (422, [
            "every: Input should be greater than or equal to 1", "wrong: Input should be a valid boolean",
        ]) == (bad.status, bad["errors"])
        assert changed.body == shown.body

    @pytest.mark.parametrize("headers", [
        {"Host": "operator.example"}, {"X-Forwarded-For": "203.0.113.7"}, {"Origin": "https://site.example"},
        {"Sec-Fetch-Site": "cross-site"},
    ])
    async def test_this_machine_alone(self, headers: dict[str, str]) -> None:
        """On a loopback address, what is no operator's serves neither a proxy's callers nor another site's pages."""
        async with operating() as operator:
            said = [
                await operator.call(method, path, data=b"{}", headers=headers)
                for method, path in (("GET", "/script"), ("PUT", "/script"), ("GET", "/asked"), ("POST", "/sms"))
            ]

        assert [403] * 4 == [one.status for one in said]

    async def test_beyond_loopback(self) -> None:
        """On any other address it serves whoever reaches it."""
        async with serving(Operator(OPTIONS), "0.0.0.0") as base, aiohttp.ClientSession() as http:
            caller = Caller(f"http://127.0.0.1:{base.rsplit(':', 1)[1]}", http)
            said = await caller.call("GET", "/asked", headers={"Host": "operator.example"})

        assert 200 == said.status


class TestRunning:
    async def test_port_in_use(self) -> None:
        """A port that is taken is a sentence."""
        async with serving(Operator(OPTIONS)) as base:
            with pytest.raises(ConfigurationError, match="cannot listen on"):
                await run(Operator(OPTIONS), "127.0.0.1", int(base.rsplit(":", 1)[1]), lambda _base: None)

    async def test_run(self) -> None:
        """It announces its address and serves until it is cancelled."""
        announced: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(run(Operator(OPTIONS), "127.0.0.1", 0, announced.set_result))
        async with aiohttp.ClientSession() as http:
            assert {"match": 0} == {
                name: count for name, count in (await Caller(await announced, http).asked()).items() if name == "match"
            }
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_defect(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A defect of ours is a 500 of the documented shape, and logged."""
        operator = Operator(OPTIONS, clock=lambda: 1 / 0)
        async with serving(operator) as base, aiohttp.ClientSession() as http:
            said = await Caller(base, http).call("POST", MATCH, headers={"Authorization": "Bearer x"})
            token = await Caller(base, http).call("POST", "/oauth2/token", data=(
                f"grant_type=client_credentials&client_id={CLIENT_ID}&client_secret={SECRET}".encode()
            ), headers={"Content-Type": "application/x-www-form-urlencoded"})

        assert [(401, "UNAUTHENTICATED"), (500, "INTERNAL")] == [said.told, token.told]
        assert "ZeroDivisionError" in capsys.readouterr().out
