"""The HTTP around every call: bodies, methods, headers, request ids, the log line, health and what is no HTTP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
import pytest
from fakeredis import FakeAsyncRedis
from web_harness import KEY, READER, SIMPLE, START, Web, serve

from otp_service.core.errors import StoreUnavailable
from otp_service.web import bodies


@pytest.fixture
async def service(fake_redis: FakeAsyncRedis) -> AsyncIterator[Web]:
    """Run the service."""
    async with serve(fake_redis) as running:
        yield running


async def problem_of(response: Any) -> dict[str, Any]:
    """Return a refusal's document."""
    found: dict[str, Any] = await response.json(content_type="application/problem+json")
    return found


async def raw(service: Web, sent: bytes) -> bytes:
    """Send bytes over a socket of their own; returns everything that comes back."""
    reader, writer = await asyncio.open_connection(service.http.server.host, service.http.server.port)
    writer.write(sent)
    await writer.drain()
    try:
        return await asyncio.wait_for(reader.read(), timeout=10)
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b'"x"', b"1", b'{"a": NaN}', b'{"a": 1,}', b"\xff\xfe", b'{"a": "\xff"}',
    b'{"a": "\\ud800"}', b"[" * 5000, b'{"a":' * 2000 + b"1" + b"}" * 2000, b"{}{}", b"\x00", b"{'a': 1}",
])
async def test_malformed_json(service: Web, body: bytes) -> None:
    """Bytes that are not one JSON object are ``invalid_request`` with 400, nesting bombs included."""
    response = await service.call("POST", "/v1/verifications", body)

    assert (400, "invalid_request") == (response.status, (await problem_of(response))["code"])


@pytest.mark.parametrize("headers", [
    {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}, {"Content-Type": ""},
    {"Content-Type": "application/json", "Content-Encoding": "gzip"},
])
async def test_not_json(service: Web, headers: Mapping[str, str]) -> None:
    """A body that does not say it is JSON, or is packed, is 415."""
    response = await service.call("POST", "/v1/verifications", orjson.dumps(START), headers=headers)

    assert (415, "invalid_request") == (response.status, (await problem_of(response))["code"])


async def test_charset_is_taken(service: Web) -> None:
    """``application/json; charset=utf-8`` is JSON."""
    headers = {"Content-Type": "application/json; charset=utf-8"}
    response = await service.call("POST", "/v1/verifications", orjson.dumps(START), headers=headers)

    assert 201 == response.status


async def test_body_too_large(service: Web) -> None:
    """Invariant 14: a body of 1 MB is 413, whether it names its length or not; 16 KiB are the limit."""
    huge = orjson.dumps({"phone_number": "9" * 1_000_000})

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(huge), 10_000):
            yield huge[at:at + 10_000]

    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    named = await service.call("POST", "/v1/verifications", huge)
    chunked = await service.http.post("/v1/verifications", data=chunks(), headers=headers)
    at_limit = await service.call("POST", "/v1/verifications", b" " * (16_384 - 2) + b"{}")
    above = await service.call("POST", "/v1/verifications", b" " * (16_384 - 1) + b"{}")

    assert [413, 413, 422, 413] == [named.status, chunked.status, at_limit.status, above.status]
    assert "invalid_request" == (await problem_of(named))["code"]


async def test_huge_body_is_refused_before_it_arrives(service: Web) -> None:
    """A length above the limit is answered before a byte of the body is there."""
    head = (
        f"POST /v1/verifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n"
    )

    assert (await raw(service, head.encode())).startswith(b"HTTP/1.1 413 ")


async def test_body_before_credentials(service: Web) -> None:
    """Who is not known is told that, not what is wrong with the body."""
    assert 401 == (await service.call("POST", "/v1/verifications", b"{", key=None)).status


@pytest.mark.parametrize("chunk", [b"zz\r\n{}\r\n0\r\n\r\n", b"2\r\n{}XX0\r\n\r\n"])
async def test_broken_chunks(service: Web, chunk: bytes) -> None:
    """Chunks that are none are 400, as a problem document."""
    head = (
        f"POST /v1/verifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    answered = await raw(service, head.encode() + chunk)

    assert re.match(rb"HTTP/1\.[01] 400 ", answered)
    assert b"application/problem+json" in answered
    assert [] == service.lines("defect")


async def test_body_that_never_comes(service: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 14: who sends headers and then nothing is answered 400 and cut off."""
    monkeypatch.setattr(bodies, "ARRIVAL_S", 0.01)
    head = (
        f"POST /v1/verifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )

    assert (await raw(service, head.encode())).startswith(b"HTTP/1.1 400 ")


async def test_body_cut_off(service: Web) -> None:
    """A caller that hangs up in the middle of its body is no defect of ours."""
    head = (
        f"POST /v1/verifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    _, writer = await asyncio.open_connection(service.http.server.host, service.http.server.port)
    writer.write(head.encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(10):
        while not service.lines():
            await asyncio.sleep(0.001)

    assert [400] == [line["status"] for line in service.lines()]
    assert [] == service.lines("defect")


@pytest.mark.parametrize("sent", [
    b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: x\r\nBad Header: x\r\n\r\n",
    b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
    b"POST /v1/verifications HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
])
async def test_what_is_no_http(service: Web, sent: bytes) -> None:
    """Bytes that are not HTTP, and lines that are too long, get a problem document and quote nothing."""
    head, _, body = (await raw(service, sent)).partition(b"\r\n\r\n")

    assert re.match(rb"HTTP/1\.[01] 400 ", head)
    assert b"Content-Type: application/problem+json" in head
    assert b"X-Request-Id: " in head
    assert b"aiohttp" not in head
    assert "invalid_request" == orjson.loads(body)["code"]
    assert b"aaaa" not in body


@pytest.mark.parametrize("header", [
    b"Authorization: Bearer \xff\xfe", b"Authorization: Bearer live-key\r\nIdempotency-Key: \xff",
    b"Authorization: Bearer live-key\r\nX-Request-Id: \xff\r\nAccept-Language: \xff\r\nOrigin: \xff",
    b"Authorization: Bearer vt_\xff",
])
async def test_headers_that_are_no_text(service: Web, header: bytes) -> None:
    """Header bytes that are no UTF-8 are refused or passed over, never a defect."""
    head = b"POST /v1/verifications/x/check HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n"
    answered = await raw(service, head + header + b"\r\n\r\n")

    assert re.match(rb"HTTP/1.1 4\d\d ", answered)
    assert [] == service.lines("defect")


async def test_unknown_expectation(service: Web) -> None:
    """An ``Expect`` that nobody can meet is 400 in our words."""
    response = await service.call("POST", "/v1/verifications", START, headers={"Expect": "miracles"})

    assert (400, "invalid_request") == (response.status, (await problem_of(response))["code"])


@pytest.mark.parametrize("path", [
    "/", "/v1", "/v2/verifications", "/v1/verifications/", "/v1/verifications/x/y", "/admin", "/.env", "/%00",
    "/v1/delivery-reports/fake/secret",
])
async def test_unknown_path(service: Web, path: str) -> None:
    """An unknown path is ``not_found``, those of later versions included."""
    response = await service.call("POST", path, {})

    assert (404, "not_found") == (response.status, (await problem_of(response))["code"])


@pytest.mark.parametrize(("method", "path", "allow"), [
    ("GET", "/v1/verifications", "POST"),
    ("PUT", "/v1/verifications", "POST"),
    ("POST", "/v1/verifications/x", "DELETE,GET,HEAD,OPTIONS"),
    ("GET", "/v1/verifications/x/check", "OPTIONS,POST"),
    ("DELETE", "/v1/result-tokens/redeem", "POST"),
    ("OPTIONS", "/v1/verifications", "POST"),
    ("POST", "/livez", "GET,HEAD"),
])
async def test_method_not_allowed(service: Web, method: str, path: str, allow: str) -> None:
    """A method that a path does not take is 405 and says which it takes."""
    response = await service.call(method, path)

    assert (405, allow) == (response.status, response.headers["Allow"])
    assert "method_not_allowed" == (await problem_of(response))["code"]


async def test_head(service: Web) -> None:
    """HEAD answers as GET does, without a body."""
    started = await service.start()
    response = await service.call("HEAD", f"/v1/verifications/{started['id']}")

    assert (200, b"") == (response.status, await response.read())
    assert int(response.headers["Content-Length"]) > 100


@pytest.mark.parametrize("given", ["abc-123", "a" * 64, "A.b_c-9"])
async def test_request_id_is_kept(service: Web, given: str) -> None:
    """A caller's request id comes back, and stands in the log line unless it looks like a number."""
    response = await service.call("GET", "/livez", headers={"X-Request-Id": given})

    assert given == response.headers["X-Request-Id"]
    assert given == service.lines()[-1]["request_id"]


@pytest.mark.parametrize("given", [None, "", "a" * 65, "a b", "a/b", "é"])
async def test_request_id_is_made(service: Web, given: str | None) -> None:
    """Without a request id, or with one that is none, there is one of ours, also on refusals."""
    headers = {} if given is None else {"X-Request-Id": given}
    answered = await service.call("GET", "/livez", headers=headers)
    refused = await service.call("GET", "/nowhere", headers=headers)

    made = {answered.headers["X-Request-Id"], refused.headers["X-Request-Id"]}
    assert 2 == len(made)
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in made)


async def test_security_headers(service: Web) -> None:
    """Every answer forbids caching, sniffing, framing and running, and does not name its parts."""
    for response in (await service.call("GET", "/livez"), await service.call("GET", "/nowhere")):
        assert {
            "Server": "otp-service", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
            "Referrer-Policy": "no-referrer",
        }.items() <= dict(response.headers).items()


async def test_one_line_per_request(service: Web) -> None:
    """A request writes one line, with the route's template and never the path."""
    started = await service.start()
    await service.check(started["id"], service.wrong_code(started["id"]))
    await service.call("GET", "/v1/verifications/0900000001")

    lines = [
        {name: line.get(name) for name in ("method", "route", "status", "code", "client", "verification_id")}
        for line in service.lines()
    ]
    one = {"client": "tinh-portal", "verification_id": started["id"]}
    check = "/v1/verifications/{id}/check"
    assert [
        {"method": "POST", "route": "/v1/verifications", "status": 201, "code": None, **one},
        {"method": "POST", "route": check, "status": 422, "code": "wrong_code", **one},
        {"method": "GET", "route": "/v1/verifications/{id}", "status": 404, "code": "not_found",
         "client": "tinh-portal", "verification_id": None},
    ] == lines
    assert b"0900000001" not in service.log.getvalue()


async def test_requests_are_counted_by_template(service: Web) -> None:
    """Metrics know routes, not paths: whatever callers ask for, no series is added."""
    for path in ("/livez", "/a", "/b"):
        await service.call("GET", path)
    rendered = service.deps.metrics.render()[0].decode()

    assert 'otp_http_requests_total{method="GET",route="/livez",status="200"} 1.0' in rendered
    assert 'otp_http_requests_total{method="GET",route="other",status="404"} 2.0' in rendered


async def test_store_down(service: Web) -> None:
    """Invariant 8: a store that promises nothing is 503 with Retry-After."""
    service.store.client.redis.connection_pool.connection_kwargs["server"].connected = False
    response = await service.call("POST", "/v1/verifications", START)
    problem = await problem_of(response)

    assert (503, "unavailable", "2") == (response.status, problem["code"], response.headers["Retry-After"])
    assert 2 == problem["retry_after"]


async def test_full_queue(fake_redis: FakeAsyncRedis) -> None:
    """Invariant 14: a start that the queue has no room for is 503, and nothing is promised."""
    async with serve(fake_redis, queue_cap=0) as service:
        response = await service.call("POST", "/v1/verifications", START)

        assert (503, "unavailable") == (response.status, (await problem_of(response))["code"])


async def test_defect(fake_redis: FakeAsyncRedis) -> None:
    """A defect is 500 ``internal`` that tells nothing, and one traceback in the log, with the request's id."""
    class Broken:
        async def final(self, _shard: int, verification_id: str, _timeout_s: float) -> None:
            raise RuntimeError(f"code=123456 of {verification_id}")

        def drain(self) -> None:
            """Have nothing to answer."""

    async with serve(fake_redis, waiters=Broken()) as service:
        started = await service.start()
        response = await service.call("GET", f"/v1/verifications/{started['id']}?wait=1")
        text = await response.text()
        (line,) = service.lines("defect")

    assert (500, "internal") == (response.status, orjson.loads(text)["code"])
    assert "RuntimeError" not in text
    assert "RuntimeError" in line["exception"]
    assert "123456" not in line["exception"]
    assert response.headers["X-Request-Id"] == line["request_id"]


async def test_livez_touches_nothing(service: Web) -> None:
    """``/livez`` answers while the store is down."""
    service.store.client.redis.connection_pool.connection_kwargs["server"].connected = False

    assert {"status": "ok"} == await (await service.call("GET", "/livez", key=None)).json()


async def unfit() -> dict[str, str | bool]:
    """Say that the store evicts."""
    return {"store": "maxmemory-policy is allkeys-lru", "keys": True}


async def stuck() -> dict[str, str | bool]:
    """Never say anything."""
    await asyncio.Event().wait()
    return {}


async def broken() -> dict[str, str | bool]:
    """Fail to find out."""
    raise StoreUnavailable("gone")


@pytest.mark.parametrize(("readiness", "checks"), [
    (unfit, {"store": "maxmemory-policy is allkeys-lru", "keys": True}), (stuck, {"readiness": "timeout"}),
    (broken, {"readiness": "failed"}),
])
async def test_not_ready(fake_redis: FakeAsyncRedis, readiness: Any, checks: dict[str, Any]) -> None:
    """``/readyz`` is 503 while something is unfit, names it, and never hangs."""
    async with serve(fake_redis, readiness=readiness) as service:
        response = await service.call("GET", "/readyz", key=None)
        problem = await problem_of(response)

        assert (503, "unavailable", checks) == (response.status, problem["code"], problem["checks"])
        assert "otp_ready 0.0" in service.deps.metrics.render()[0].decode()


async def test_ready_until_drained(service: Web) -> None:
    """``/readyz`` names what is fit; once the service stops it is 503 and connections are closed."""
    ready = await service.call("GET", "/readyz", key=None)
    service.deps.drain.start()
    draining = await service.call("GET", "/readyz", key=None)

    assert {"status": "ok", "checks": {"store": True, "keys": True}} == await ready.json()
    assert (503, "close") == (draining.status, draining.headers["Connection"])
    assert (await problem_of(draining))["draining"] is True


async def test_metrics_need_their_scope(service: Web) -> None:
    """On the public listener ``/metrics`` asks for the scope ``metrics``."""
    allowed = await service.call("GET", "/metrics")

    assert 401 == (await service.call("GET", "/metrics", key=None)).status
    assert 403 == (await service.call("GET", "/metrics", key=READER)).status
    assert allowed.headers["Content-Type"].startswith("text/plain")
    assert "otp_http_requests_total" in await allowed.text()


async def test_private_listener(fake_redis: FakeAsyncRedis) -> None:
    """The private listener serves metrics and health without a key, and nothing else."""
    async with serve(fake_redis, private=True) as service:
        statuses = [
            (await service.call("GET", path, key=None)).status
            for path in ("/metrics", "/livez", "/readyz", "/v1/verifications/x", "/docs")
        ]

    assert [200, 200, 200, 404, 404] == statuses


async def test_keep_alive_after_a_refusal(service: Web) -> None:
    """A refused body does not cost the connection."""
    async def send(body: bytes) -> int:
        return (await service.call("POST", "/v1/verifications", body)).status

    assert [400, 201] == [await send(b"{"), await send(orjson.dumps(SIMPLE))]


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nA: "])
async def test_silent_connections_are_closed(service: Web, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """Who connects and never finishes the first request's headers is cut off (Invariant 14)."""
    monkeypatch.setattr("otp_service.web.server._FIRST_REQUEST_S", 0.05)

    assert b"" == await raw(service, sent)


async def test_patience_ends_with_the_first_request(service: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection whose first request came is kept for the next one."""
    monkeypatch.setattr("otp_service.web.server._FIRST_REQUEST_S", 0.2)
    reader, writer = await asyncio.open_connection(service.http.server.host, service.http.server.port)
    for _ in range(2):
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"}"), timeout=10)
        over = asyncio.Event()
        asyncio.get_running_loop().call_later(0.3, over.set)
        await over.wait()
    assert not reader.at_eof()
    writer.close()
    await writer.wait_closed()
