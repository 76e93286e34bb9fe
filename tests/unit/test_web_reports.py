"""Delivery reports that SMS gateways call back: who may, what it changes, and that its secret is shown to nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from ipaddress import ip_network
from typing import Any

import orjson
import pytest
from fakeredis import FakeAsyncRedis
from web_harness import KEY, PUBLIC_URL, REPORT_SECRET, SIMPLE, Web, catalogue, serve

from otp_service.core.ports import DeliveryReport, ReportRequest
from otp_service.delivery.accounts import Account
from otp_service.storage.calls import Taken
from otp_service.web import bodies, openapi
from sms_adapters.console import ConsoleGateway
from sms_adapters.esms import EsmsGateway
from sms_adapters.fake import SIGNATURE_HEADER, FakeGateway, sign
from sms_adapters.infobip import InfobipGateway

FAKE = f"/v1/delivery-reports/fake/{REPORT_SECRET}"
TEMPLATE = "/v1/delivery-reports/{gateway}/{secret}"
SIGNING_KEY = "what the provider signs with"


class Listening(FakeGateway):
    """The fake gateway, keeping what it is called back with."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.heard: list[ReportRequest] = []

    def parse_report(self, request: ReportRequest) -> list[DeliveryReport]:
        """Keep the callback."""
        self.heard.append(request)
        return super().parse_report(request)


def account(name: str, gateway: Any = None, **options: Any) -> Account:
    """Make an account at the fake gateway, or another, with the secret of the tests."""
    return Account(name, gateway or FakeGateway("http://127.0.0.1:1"), **{"report_secret": REPORT_SECRET} | options)


@pytest.fixture
def listening() -> Listening:
    """Give a gateway that keeps what it is called back with."""
    return Listening()


@pytest.fixture
async def service(fake_redis: FakeAsyncRedis, listening: Listening) -> AsyncIterator[Web]:
    """Run the service with one account for each way to be refused."""
    async with serve(fake_redis) as running:
        running.deps.accounts._accounts = {
            one.name: one
            for one in (
                account("fake", listening),
                account("esms", EsmsGateway(api_key="a", secret_key="b", sender="CongDVC")),
                account("no-secret", report_secret=""), account("mute", ConsoleGateway()),
                account("elsewhere", report_networks=[ip_network("203.0.113.0/24"), ip_network("2001:db8::/32")]),
                account("loopback", report_networks=[ip_network("127.0.0.0/8")]),
                account("infobip", InfobipGateway(api_key="a", sender="CongDVC")),
                account("signed", FakeGateway("http://127.0.0.1:1", report_key=SIGNING_KEY)),
            )
        }
        yield running


async def sent(service: Web, gateway: str = "fake") -> dict[str, Any]:
    """Start a verification whose SMS a gateway has taken: by our reference, nobody else may report it."""
    started = await service.start(SIMPLE)
    shard = service.deps.service.secrets.ring.parse_id(started["id"])
    assert shard is not None
    await service.store.sent(
        shard, started["id"], 1, b"1-1", outcome="a", maybe_sent=False, holder="worker", taken=Taken(gateway),
    )
    return started


async def deliveries(service: Web, verification_id: str) -> str:
    """Return what the portal reads of the delivery."""
    found = await (await service.call("GET", f"/v1/verifications/{verification_id}")).json()
    return str(found["delivery"])


async def report(
    service: Web, path: str = FAKE, body: Any = None, *, method: str = "POST", **options: Any,
) -> tuple[int, dict[str, Any]]:
    """Call back as a provider does, without a key; returns status and answer."""
    response = await service.call(method, path, body, key=None, **options)
    return response.status, await response.json(content_type=None)


async def raw(service: Web, sent: bytes, *, stay: bool = False, line: bool = False) -> bytes:
    """Send bytes over a socket of their own, half-closed unless ``stay``; returns all that comes, or its first line."""
    reader, writer = await asyncio.open_connection(service.http.server.host, service.http.server.port)
    writer.write(sent)
    await writer.drain()
    if not stay:
        writer.write_eof()
    try:
        return await asyncio.wait_for(reader.readline() if line else reader.read(), timeout=10)
    finally:
        writer.close()
        await writer.wait_closed()


# -- taken over -------------------------------------------------------------------------------------------------------


async def test_a_report_is_taken_over(service: Web, listening: Listening) -> None:
    """A POST of the provider becomes ``delivery``; the adapter saw what was sent, at the public URL."""
    started = await sent(service)
    body = orjson.dumps({"reference": f"{started['id']}-1", "state": "delivered"})

    assert (200, {"reports": 1}) == await report(service, f"{FAKE}?a=1&a=2&b=%C4%91", body, headers={"X-One": "two"})
    (heard,) = listening.heard
    assert ("POST", f"{PUBLIC_URL}{FAKE}?a=1&a=2&b=%C4%91", {"a": "1", "b": "đ"}, body) == (
        heard.method, heard.url, heard.query, heard.body,
    )
    assert ("two", "application/json") == (heard.headers["x-one"], heard.headers["content-type"])
    assert "delivered" == await deliveries(service, started["id"])


async def test_a_report_by_get_is_taken_over(service: Web) -> None:
    """A provider that knows only GET is heard as well.  Invariant 12."""
    started = await sent(service, "esms")
    path = f"/v1/delivery-reports/esms/{REPORT_SECRET}?SMSID=m-1&RequestId={started['id']}-1&SendStatus=5&SendFailed=1"

    assert (200, {"reports": 1}) == await report(service, path, method="GET")
    assert "failed" == await deliveries(service, started["id"])


async def test_a_signed_report_is_taken_over(service: Web) -> None:
    """Where the provider signs, its signature opens the door."""
    started = await sent(service, "signed")
    body = orjson.dumps({"reference": f"{started['id']}-1", "state": "delivered"})
    headers = {SIGNATURE_HEADER.title(): sign(SIGNING_KEY.encode(), body)}

    assert (200, {"reports": 1}) == await report(
        service, f"/v1/delivery-reports/signed/{REPORT_SECRET}", body, headers=headers,
    )
    assert "delivered" == await deliveries(service, started["id"])


@pytest.mark.parametrize(("expected", "told"), [
    ("delivered", ["delivered", "delivered"]), ("delivered", ["delivered", "sent"]),
    ("delivered", ["failed", "delivered"]), ("sent", []),
])
async def test_reports_may_repeat_and_overtake(service: Web, expected: str, told: list[str]) -> None:
    """Each is answered 200, whatever it changes, so that the provider stops telling it."""
    started = await sent(service)

    for state in told:
        assert (200, {"reports": 1}) == await report(
            service, body={"reference": f"{started['id']}-1", "state": state},
        )
    assert expected == await deliveries(service, started["id"])


@pytest.mark.parametrize("reference", [
    "7-k1-abcdefghijklmnopqrstuvwxyz-1", "not-one-of-ours", "x-1",
])
async def test_what_is_none_of_ours_is_answered_alike(service: Web, reference: str) -> None:
    """A provider may report what others sent through the account; nothing says whether we knew it."""
    assert (200, {"reports": 1}) == await report(service, body={"reference": reference, "state": "delivered"})


async def test_nothing_but_delivery_changes(service: Web) -> None:
    """The verification reads as before in every other member, and no other key of the store is touched."""
    redis = service.store.client.redis
    started = await sent(service)
    other = await service.start({**SIMPLE, "phone_number": "0900000002"})
    before = {str(key): await redis.dump(key) for key in await redis.keys("*")}
    seen = await (await service.call("GET", f"/v1/verifications/{started['id']}")).json()

    await report(service, body={"reference": f"{started['id']}-1", "state": "delivered"})

    after = {str(key): await redis.dump(key) for key in await redis.keys("*")}
    changed = {key for key in before | after if before.get(key) != after.get(key)}
    (key,) = changed
    assert f"v:{started['id']}'" in key
    now = await (await service.call("GET", f"/v1/verifications/{started['id']}")).json()
    assert seen | {"delivery": "delivered"} == now
    assert "queued" == await deliveries(service, other["id"])


@pytest.mark.parametrize("end", ["verified", "cancelled", "undeliverable"])
async def test_a_verdict_stays(service: Web, end: str) -> None:
    """A report that comes after the end changes no status.  Invariant 10."""
    started = await service.start(SIMPLE)
    if end == "verified":
        await service.check(started["id"])
    elif end == "cancelled":
        await service.call("DELETE", f"/v1/verifications/{started['id']}")
    else:
        service.later(901)

    assert 200 == (await report(service, body={"reference": f"{started['id']}-1", "state": "failed"}))[0]
    found = await (await service.call("GET", f"/v1/verifications/{started['id']}")).json()
    assert end == found["status"]


async def test_a_refused_report_changes_nothing(service: Web) -> None:
    """Without the right secret not one key of the store is read or written."""
    started = await service.start(SIMPLE)
    calls = service.deps.metrics.render()[0]

    for path in (f"/v1/delivery-reports/fake/{'x' * 28}", f"/v1/delivery-reports/elsewhere/{REPORT_SECRET}"):
        assert 404 == (await report(service, path, {"reference": f"{started['id']}-1", "state": "delivered"}))[0]
    scripts = [line for line in calls.splitlines() if line.startswith(b"otp_store")]
    now = [line for line in service.deps.metrics.render()[0].splitlines() if line.startswith(b"otp_store")]
    assert scripts == now
    assert "queued" == await deliveries(service, started["id"])


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_whoever_is_wrong_is_answered_alike(service: Web, method: str) -> None:
    """Wrong secret, unknown gateway, no secret, no reports, other address, bad signature: the same 404, each byte."""
    body = orjson.dumps({"id": "m-1", "state": "delivered"})
    answers = {}
    for why, path, headers in (
        ("unknown path", "/v1/delivery-reports", {}),
        ("wrong secret", f"/v1/delivery-reports/fake/{'x' * len(REPORT_SECRET)}", {}),
        ("shorter secret", f"/v1/delivery-reports/fake/{REPORT_SECRET[:-1]}", {}),
        ("longer secret", f"{FAKE}x", {}),
        ("another case", f"/v1/delivery-reports/fake/{REPORT_SECRET.upper()}", {}),
        ("no text", "/v1/delivery-reports/fake/%FF%00%C4%91", {}),
        ("a space for a secret", "/v1/delivery-reports/no-secret/%20", {}),
        ("unknown gateway", f"/v1/delivery-reports/nobody/{REPORT_SECRET}", {}),
        ("gateway without secret", f"/v1/delivery-reports/no-secret/{REPORT_SECRET}", {}),
        ("adapter without reports", f"/v1/delivery-reports/mute/{REPORT_SECRET}", {}),
        ("other address", f"/v1/delivery-reports/elsewhere/{REPORT_SECRET}", {}),
        ("forged address", f"/v1/delivery-reports/elsewhere/{REPORT_SECRET}", {"X-Forwarded-For": "203.0.113.7"}),
        ("no signature", f"/v1/delivery-reports/signed/{REPORT_SECRET}", {}),
        ("bad signature", f"/v1/delivery-reports/signed/{REPORT_SECRET}", {SIGNATURE_HEADER: "0" * 64}),
        ("signature of another", f"/v1/delivery-reports/signed/{REPORT_SECRET}",
         {SIGNATURE_HEADER: sign(b"another key", body)}),
    ):
        response = await service.call(method, path, body if method == "POST" else None, key=None, headers=headers)
        shown = {name.lower(): value for name, value in response.headers.items()}
        assert shown.pop("x-request-id")
        shown.pop("date", None)
        answers[why] = (response.status, shown, await response.read())

    assert 404 == answers["wrong secret"][0]
    assert "not_found" == orjson.loads(answers["wrong secret"][2])["code"]
    assert dict.fromkeys(answers, answers["wrong secret"]) == answers


async def test_an_address_behind_a_proxy_is_the_one_that_counts(fake_redis: FakeAsyncRedis) -> None:
    """Behind a trusted proxy the forwarded address is looked up; the proxy's own, or a made-up one, opens nothing."""
    body = {"id": "m-1", "state": "delivered"}
    async with serve(fake_redis, trusted_proxies=(ip_network("127.0.0.0/8"),)) as service:
        service.deps.accounts._accounts = {
            "fake": account("fake", report_networks=[ip_network("203.0.113.0/24"), ip_network("2001:db8::/32")]),
        }
        statuses = {
            forwarded: (await report(service, body=body, headers={"X-Forwarded-For": forwarded}))[0]
            for forwarded in (
                "203.0.113.7", "198.51.100.1, 203.0.113.7", "::ffff:203.0.113.7", "2001:db8::1", "[2001:db8::1]:443",
                "203.0.113.7, 127.0.0.2", "203.0.113.7, 198.51.100.1", "198.51.100.1", "", "127.0.0.1", "unknown",
            )
        }

    assert dict.fromkeys(statuses, 404) | dict.fromkeys((
        "203.0.113.7", "198.51.100.1, 203.0.113.7", "::ffff:203.0.113.7", "2001:db8::1", "[2001:db8::1]:443",
        "203.0.113.7, 127.0.0.2",
    ), 200) == statuses


async def test_an_address_that_is_listed_may_report(service: Web) -> None:
    """Without a proxy the socket's address counts."""
    path = f"/v1/delivery-reports/loopback/{REPORT_SECRET}"

    assert 200 == (await report(service, path, {"id": "m-1", "state": "delivered"}))[0]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"state": "delivered"}', b'{"id": "m-1", "state": "x"}', b"\xff"])
async def test_an_unreadable_report_is_told(service: Web, body: bytes) -> None:
    """Who may report and says what is no report is answered 400, and the log says why without repeating it."""
    status, answer = await report(service, body=body)

    assert (400, "invalid_request") == (status, answer["code"])
    (line,) = service.lines("delivery report refused")
    assert ("warning", "fake") == (line["level"], line["gateway"])
    assert "m-1" not in line["reason"]


async def test_an_adapter_s_method_is_its_own(service: Web) -> None:
    """A GET to one that takes POST, and a POST to one that takes GET, are unreadable."""
    esms = f"/v1/delivery-reports/esms/{REPORT_SECRET}?SMSID=m-1&SendStatus=5"

    assert 400 == (await report(service, f"{FAKE}?id=m-1&state=delivered", method="GET"))[0]
    assert 400 == (await report(service, esms, b""))[0]


async def chunks(body: bytes, size: int = 60_001) -> AsyncIterator[bytes]:
    """Give a body in chunks, so that nothing says how long it will be."""
    for at in range(0, len(body), size):
        yield body[at:at + size]


async def test_a_report_may_be_as_large_as_a_batch(service: Web) -> None:
    """Invariant 14: 256 KiB, above the limit of any other body, and a longer one is 413 whether it says so or not."""
    path = f"/v1/delivery-reports/infobip/{REPORT_SECRET}"
    batch = orjson.dumps({"results": [
        {"messageId": f"m-{number}", "status": {"groupId": 3, "id": 5}, "to": "x" * 300} for number in range(600)
    ]})
    at_limit = batch.ljust(262_144)
    answers = [
        await service.http.post(path, data=body)
        for body in (at_limit, chunks(at_limit), at_limit + b" ", chunks(at_limit + b" "), chunks(at_limit * 5))
    ]
    found = [await answer.json(content_type=None) for answer in answers]

    assert 200_000 < len(batch)
    assert [200, 200, 413, 413, 413] == [answer.status for answer in answers]
    assert [{"reports": 600}] * 2 == found[:2]
    assert ["invalid_request"] * 3 == [refused["code"] for refused in found[2:]]


async def test_other_bodies_keep_their_limit(service: Web) -> None:
    """What is taken in here is no way around ``max_body_bytes`` elsewhere."""
    assert 413 == (await service.call("POST", "/v1/verifications", b" " * 16_385)).status


@pytest.mark.parametrize("path", [
    f"{FAKE}x", f"/v1/delivery-reports/nobody/{REPORT_SECRET}", f"/v1/delivery-reports/elsewhere/{REPORT_SECRET}",
])
async def test_a_stranger_s_body_is_not_read(service: Web, listening: Listening, path: str) -> None:
    """Who has no secret, or another address, is answered 404 while the body is still to come."""
    for length in ("Content-Length: 262144", "Transfer-Encoding: chunked"):
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}\r\n\r\n"

        assert (await raw(service, head.encode(), stay=True, line=True)).startswith(b"HTTP/1.1 404 ")
    assert [] == listening.heard


async def test_a_huge_report_is_refused_before_it_arrives(service: Web) -> None:
    """A length above the limit is answered before a byte of the body is there; to a stranger it is 404."""
    for path, status in ((FAKE, 413), (f"{FAKE}x", 404)):
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000000000\r\n\r\n"

        assert (await raw(service, head.encode(), stay=True)).startswith(f"HTTP/1.1 {status} ".encode())


async def test_a_report_without_an_end_is_refused_at_the_limit(service: Web) -> None:
    """Invariant 14: who sends chunk after chunk is answered 413 as soon as they are too many, not at their end."""
    head = f"POST {FAKE} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n40001\r\n".encode()

    assert (await raw(service, head + b" " * 0x40001, stay=True, line=True)).startswith(b"HTTP/1.1 413 ")


async def test_a_report_that_never_comes(service: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 14: who sends headers and then nothing is answered 400 and cut off."""
    monkeypatch.setattr(bodies, "ARRIVAL_S", 0.01)
    head = f"POST {FAKE} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{"

    assert (await raw(service, head.encode(), stay=True)).startswith(b"HTTP/1.1 400 ")


async def test_a_report_in_broken_chunks(service: Web) -> None:
    """Chunks that are none are 400 and no defect of ours."""
    head = f"POST {FAKE} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    answered = await raw(service, head.encode() + b"2\r\n{}XX0\r\n\r\n", stay=True)

    assert b" 400 " in answered.partition(b"\r\n")[0]
    assert [] == service.lines("defect")


async def test_store_down(service: Web) -> None:
    """A report that could not be written is 503 with Retry-After, so that the provider tells it again.  Invariant 8."""
    started = await service.start(SIMPLE)
    server = service.store.client.redis.connection_pool.connection_kwargs["server"]
    server.connected = False
    for told in ({"id": "m-1"}, {"reference": f"{started['id']}-1"}):
        response = await service.call("POST", FAKE, {**told, "state": "delivered"}, key=None)

        assert (503, "2") == (response.status, response.headers["Retry-After"])
        assert "unavailable" == (await response.json(content_type=None))["code"]
    server.connected = True
    assert "queued" == await deliveries(service, started["id"])


@pytest.mark.parametrize("path", [FAKE, "/v1/delivery-reports/nobody/x"])
@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods(service: Web, listening: Listening, method: str, path: str) -> None:
    """Only GET and POST report; HEAD, which only looks, would change something.  Invariant 12."""
    response = await service.call(method, path, key=None)

    assert 405 == response.status
    assert {"GET", "POST"} <= set(response.headers["Allow"].split(","))
    assert [] == listening.heard


# -- shown to nobody --------------------------------------------------------------------------------------------------


async def test_the_secret_is_shown_to_nobody(service: Web) -> None:
    """No log line, metric, answer or header has it, nor what a provider said about a message.  Invariant 5."""
    calls: tuple[tuple[str, str, Any, Mapping[str, str]], ...] = (
        ("POST", FAKE, {"id": "m-0900000001", "state": "delivered"}, {}),
        ("POST", FAKE, b"{", {}),
        ("POST", FAKE, b" " * 300_000, {}),
        ("PUT", FAKE, None, {}),
        ("HEAD", FAKE, None, {}),
        ("POST", f"{FAKE}/x", None, {}),
        ("GET", f"/v1/delivery-reports/esms/{REPORT_SECRET}?SMSID=m-0900000001&SendStatus=5", None, {}),
        ("GET", f"/v1/delivery-reports/esms/{REPORT_SECRET}?SMSID=m-0900000001&SendStatus=55", None, {}),
        ("POST", f"/v1/delivery-reports/elsewhere/{REPORT_SECRET}", None, {}),
        ("POST", f"/v1/delivery-reports/signed/{REPORT_SECRET}", b"{}", {SIGNATURE_HEADER: "f" * 64}),
        ("POST", f"/v1/delivery-reports/nobody/{REPORT_SECRET}", None, {}),
        ("POST", FAKE, None, {"Expect": "miracles"}),
    )
    shown = b""
    for method, path, body, headers in calls:
        response = await service.call(method, path, body, key=None, headers=headers)
        shown += await response.read() + str(dict(response.headers)).encode()
    shown += await raw(service, f"POST {FAKE} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{".encode())
    shown += await raw(service, f"POST {FAKE} HTTP/9.9\r\n\r\n".encode())
    service.store.client.redis.connection_pool.connection_kwargs["server"].connected = False
    down = await service.call("POST", FAKE, {"id": "m-1", "state": "delivered"}, key=None)
    shown += await down.read() + service.log.getvalue() + service.deps.metrics.render()[0]

    assert 503 == down.status
    assert [] == service.lines("defect")
    for hidden in (REPORT_SECRET, "0900000001", SIGNING_KEY, "f" * 64):
        assert hidden.encode() not in shown
    assert {TEMPLATE, "other"} == {line["route"] for line in service.lines()}


async def test_an_adapter_that_fails_is_a_defect_without_a_secret(
    service: Web, listening: Listening, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What an adapter raises against its contract is a 500 whose traceback shows neither path nor body."""
    def fail(request: ReportRequest) -> list[DeliveryReport]:
        raise KeyError(len(request.body))

    monkeypatch.setattr(listening, "parse_report", fail)

    assert 500 == (await report(service, body={"id": "m-0900000001"}))[0]
    assert 1 == len(service.lines("defect"))
    assert REPORT_SECRET.encode() not in service.log.getvalue()
    assert b"0900000001" not in service.log.getvalue()


async def test_reports_are_counted(service: Web) -> None:
    """By account, state and what became of them; refused ones without a state; strangers not at all."""
    started = await sent(service)
    good = {"reference": f"{started['id']}-1", "state": "delivered"}
    for path, body in (
        (FAKE, good), (FAKE, good), (FAKE, {"reference": "stranger", "state": "sent"}), (FAKE, b"{"),
        (f"/v1/delivery-reports/nobody/{REPORT_SECRET}", good), (f"{FAKE}x", good),
    ):
        await report(service, path, body)
    lines = service.deps.metrics.render()[0].decode().splitlines()

    assert {
        'otp_delivery_reports_total{gateway="fake",outcome="refused",state="other"} 1.0',
        'otp_delivery_reports_total{gateway="fake",outcome="stale",state="delivered"} 1.0',
        'otp_delivery_reports_total{gateway="fake",outcome="taken",state="delivered"} 1.0',
        'otp_delivery_reports_total{gateway="fake",outcome="unknown",state="sent"} 1.0',
    } == {line for line in lines if line.startswith("otp_delivery_reports_total{")}


# -- described --------------------------------------------------------------------------------------------------------


def test_both_calls_are_described() -> None:
    """The document has GET and POST with their parameters and refusals, and asks for no key."""
    described = openapi.build(catalogue(), version="0.1.0", public_url=PUBLIC_URL)["paths"][TEMPLATE]

    assert {"get": "report_by_get", "post": "report"} == {
        method: operation["operationId"] for method, operation in described.items()
    }
    for operation in described.values():
        assert [] == operation["security"]
        assert {"#/components/parameters/gateway", "#/components/parameters/secret"} == {
            parameter["$ref"] for parameter in operation["parameters"]
        }
    assert {"200", "400", "404", "500", "503"} <= set(described["get"]["responses"])
    assert {"200", "400", "404", "413", "500", "503"} <= set(described["post"]["responses"])
    assert {"application/json", "application/x-www-form-urlencoded"} == set(
        described["post"]["requestBody"]["content"],
    )
    assert "requestBody" not in described["get"]


async def test_a_portal_s_key_opens_nothing_here(service: Web) -> None:
    """The path's secret alone counts; a key beside a wrong one is not looked at."""
    body = {"id": "m-1", "state": "delivered"}

    assert 404 == (await service.call("POST", f"{FAKE}x", body, key=KEY)).status
    assert 200 == (await service.call("POST", FAKE, body, key="no key of anybody")).status
