"""The demo's fake gateway and its inbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis
from multidict import CIMultiDict
from web_harness import Web, serve

from otp_service.core.ports import HttpResponse, SendResult, SmsMessage
from otp_service.web.fake_gateway.inbox import MAX_MESSAGES, Inbox
from sms_adapters.fake import FakeGateway


@pytest.fixture
async def service(fake_redis: FakeAsyncRedis) -> AsyncIterator[Web]:
    """Run the service with the demo's inbox."""
    async with serve(fake_redis) as running:
        yield running


def message(number: int) -> SmsMessage:
    """Make an SMS as the worker hands it over."""
    return SmsMessage("+84900000001", f"Ma {number:06d}", "registration", (), f"ref-{number}", number, 180)


async def send(service: Web, sms: SmsMessage) -> Any:
    """Post an SMS with the fake gateway; returns its outcome."""
    gateway = FakeGateway("http://127.0.0.1/demo/gateway")
    request = gateway.build_request(sms)
    path = request.url.removeprefix("http://127.0.0.1")
    response = await service.call(request.method, path, request.body, key=None, headers=dict(request.headers))
    return gateway.parse_response(HttpResponse(response.status, {}, await response.read()))


async def test_inbox(service: Web) -> None:
    """What the fake gateway takes stands in the inbox, newest first, without an API key."""
    outcomes = [await send(service, message(number)) for number in (1, 2)]
    found = (await (await service.call("GET", "/demo/sms", key=None)).json())["messages"]

    assert [SendResult.ACCEPTED] * 2 == [outcome.result for outcome in outcomes]
    assert [
        {"id": outcomes[1].provider_id, "to": "+84900000001", "text": "Ma 000002", "send_number": 2},
        {"id": outcomes[0].provider_id, "to": "+84900000001", "text": "Ma 000001", "send_number": 1},
    ] == [{name: value for name, value in one.items() if name != "sent_at"} for one in found]
    assert ["id", "to", "text", "send_number", "sent_at"] == list(found[0])
    assert all(one["sent_at"].endswith("Z") for one in found)


async def test_duplicate(service: Web) -> None:
    """Invariant 6: the same reference again is a duplicate with the same id, and no second SMS."""
    first, again = [await send(service, message(1)) for _ in "12"]
    found = (await (await service.call("GET", "/demo/sms", key=None)).json())["messages"]

    assert (SendResult.DUPLICATE, first.provider_id, 1) == (again.result, again.provider_id, len(found))


def test_inbox_is_bounded() -> None:
    """Invariant 14: the inbox keeps the newest hundred, and knows the last ten thousand references."""
    inbox = Inbox()
    for number in range(MAX_MESSAGES + 5):
        inbox.add(f"ref-{number}", to="+84900000001", text="x", send_number=number)

    assert list(range(MAX_MESSAGES + 4, 4, -1)) == [one.send_number for one in inbox.messages()]
    for number in range(9_990):
        inbox.add(f"later-{number}", to="+84900000001", text="x", send_number=number)
    new = [inbox.add(f"ref-{number}", to="+84900000001", text="x", send_number=number)[1] for number in (104, 0)]
    assert [False, True] == new


@pytest.mark.parametrize("body", [
    {}, {"reference": "r", "to": "+84900000001", "text": "x"},
    {"reference": "r", "to": 1, "text": "x", "send_number": 1},
    {"reference": "", "to": "+84900000001", "text": "x", "send_number": 1},
    {"reference": "r", "to": "+84900000001", "text": "x", "send_number": True},
])
async def test_what_is_no_sms(service: Web, body: Any) -> None:
    """The fake gateway refuses what is no SMS."""
    assert 400 == (await service.call("POST", "/demo/gateway", body, key=None)).status


async def test_script_by_file(service: Web) -> None:
    """The demo's script is put as a file is, without a Content-Type; what is no JSON gets a sentence."""
    changed, broken = [
        await service.call("PUT", "/demo/script", body, key=None, headers={"Content-Type": "application/octet-stream"})
        for body in (b'{"seed": 3}', b"{")
    ]

    assert (200, 3) == (changed.status, (await changed.json())["seed"])
    assert (422, ["script: Invalid JSON: EOF while parsing an object at line 1 column 1"]) == (
        broken.status, (await broken.json())["errors"],
    )


async def test_loopback_only(fake_redis: FakeAsyncRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is not on this machine reads no codes and posts none."""
    monkeypatch.setattr("otp_service.web.fake_gateway.handlers.peer_of", lambda _request: "203.0.113.7")
    async with serve(fake_redis) as service:
        statuses = [
            (await service.call("GET", "/demo/sms", key=None)).status,
            (await service.call("POST", "/demo/gateway", {})).status,
        ]

    assert [403, 403] == statuses


@pytest.mark.parametrize(("header", "value"), [
    ("Forwarded", "for=203.0.113.7"), ("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Host", "localhost"),
    ("x-forwarded-proto", "https"), ("X-Forwarded-For", ""), ("X-Real-IP", "127.0.0.1"), ("Via", "1.1 proxy"),
    ("Origin", "https://evil.example"), ("Origin", "null"), ("Origin", ""), ("Origin", "http://localhost.evil.example"),
    ("Origin", "http://localhost:1@evil.example"), ("Origin", "https://evil.example http://localhost"),
    ("Origin", "file://localhost"), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Site", "Cross-Site"),
    ("Host", "localhost:1@evil"), ("Host", "localhost:"), ("Host", "localhost:x"), ("Host", "localhost.evil.example"),
    ("Host", "evil.example:8080"), ("Host", "otp.example"), ("Host", "localhost@evil"), ("Host", "evil@localhost:80"),
])
async def test_what_comes_from_elsewhere_is_refused(service: Web, header: str, value: str) -> None:
    """From this machine's address too: a reverse proxy, another site's page, a name that is not this machine's."""
    statuses = [
        (await service.call(method, path, key=None, headers={header: value})).status
        for method, path in (
            ("GET", "/demo/sms"), ("POST", "/demo/gateway"), ("GET", "/demo/gateway/messages"), ("GET", "/demo/script"),
            ("PUT", "/demo/script"), ("GET", "/demo/phone"),
        )
    ]

    assert [403] * 6 == statuses


@pytest.mark.parametrize(("expected", "method", "path", "mode", "dest"), [
    (200, "GET", "/demo/phone", "navigate", "document"), (403, "POST", "/demo/gateway", "navigate", "document"),
    (403, "GET", "/demo/phone", "navigate", "iframe"), (403, "GET", "/demo/sms", "no-cors", "script"),
    (403, "GET", "/demo/sms", "cors", "empty"),
])
async def test_links_may_be_followed(
    service: Web, expected: int, method: str, path: str, mode: str, dest: str,
) -> None:
    """From another site's page a person may go to the inbox; that page may not read, embed or post."""
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}

    assert expected == (await service.call(method, path, key=None, headers=headers)).status


@pytest.mark.parametrize("headers", [
    {"Host": "localhost"}, {"Host": "127.0.0.1:8080"}, {"Host": "[::1]:8080"}, {"Host": "[::1]"},
    {"Host": "localhost:80"},
    {"Origin": "http://localhost:3000"}, {"Origin": "http://127.0.0.1:8080"}, {"Origin": "https://[::1]"},
    {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "same-site"},
])
async def test_what_comes_from_this_machine_is_served(service: Web, headers: dict[str, str]) -> None:
    """A terminal, the address bar, and pages of this machine under any of its own names and ports."""
    assert 200 == (await service.call("GET", "/demo/sms", key=None, headers=headers)).status


async def test_no_header_may_come_twice_to_hide_one(service: Web) -> None:
    """Every Origin counts, not the first alone."""
    headers = CIMultiDict([("Origin", "http://localhost"), ("Origin", "https://evil.example")])

    assert 403 == (await service.http.get("/demo/sms", headers=headers)).status


async def test_no_inbox_outside_the_demo(fake_redis: FakeAsyncRedis) -> None:
    """Without the demo the paths do not exist."""
    async with serve(fake_redis, inbox=None) as service:
        assert 404 == (await service.call("GET", "/demo/sms")).status
        assert 404 == (await service.call("POST", "/demo/gateway", {})).status


async def test_codes_stay_out_of_log_and_store(service: Web, fake_redis: FakeAsyncRedis) -> None:
    """Invariant 5: what the inbox holds is in no log line and in no key."""
    await send(service, message(123456))
    await service.call("GET", "/demo/sms", key=None)
    stored = [await fake_redis.dump(key) for key in await fake_redis.keys("*")]

    assert b"123456" not in service.log.getvalue()
    assert [] == [one for one in stored if one and b"123456" in one]
