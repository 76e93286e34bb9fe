"""Callers that ask for too much, send too much or never finish: everything is bounded (Invariant 14)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from io import BytesIO

import pytest
from support.http import Api, Reply
from support.processes import PORTAL_KEY, Installation, eventually
from support.sms_gateway import ScriptedGateway

pytestmark = pytest.mark.slow


@pytest.fixture
async def api(site: Installation) -> AsyncIterator[Api]:
    """Give an API process that holds three long polls at most; no worker runs."""
    serve = await site.serve(SERVER__MAX_WAITERS="3", STORE__QUEUE_CAP="2", LIMITS__PHONE_COOLDOWN__PERIOD="1s")
    async with Api(serve.base) as api:
        yield api


async def test_bodies_that_are_too_long(site: Installation, api: Api) -> None:
    """A body of a megabyte is refused as soon as its length is known, however it is sent (Invariant 14)."""
    mega = b'{"phone_number": "' + b"0" * 1_048_576 + b'"}'
    for path in ("/v1/verifications", "/v1/result-tokens/redeem"):
        assert (413, "invalid_request") == (await api.call("POST", path, raw=BytesIO(mega))).said
    # Told by its head alone: not one byte of the body is waited for.
    began = time.monotonic()
    assert b" 413 " in await _exchange(api, _head("Content-Length: 1048576"))
    # In chunks nobody knows the length before: it is refused where it becomes too long.
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    assert b" 413 " in await _exchange(api, _head("Transfer-Encoding: chunked") + chunk * 4)
    # Headers and request lines have bounds of their own, and are answered as problems too.
    for head in (f"GET /{'a' * 100_000} HTTP/1.1\r\nHost: x\r\n\r\n", f"GET / HTTP/1.1\r\nX: {'a' * 100_000}\r\n\r\n"):
        answer = await _exchange(api, head.encode())
        assert b" 400 " in answer.splitlines()[0]
        assert b"application/problem+json" in answer
    assert time.monotonic() - began < 5
    assert 0 == await _count(site)


async def test_unfinished_requests_block_nobody(api: Api) -> None:
    """Three hundred connections with half a request each keep nobody waiting, and hold no long poll (Invariant 14)."""
    host, port = "127.0.0.1", int(api.base.rpartition(":")[2])
    async with AsyncExitStack() as stack:
        for at in range(300):
            _, writer = await asyncio.open_connection(host, port)
            stack.push_async_callback(_hang_up, writer)
            writer.write((_head("Content-Length: 100") + b'{"phone_', b"GET /v1/verifi")[at % 2])
        began = time.monotonic()
        answers = await asyncio.gather(*(api.get("/livez") for _ in range(50)))
        started = await api.start("0700000001")
        assert time.monotonic() - began < 3
        assert {200} == {answer.status for answer in answers}
        assert (201, "pending") == started.said


async def test_long_polls_have_a_capacity(api: Api) -> None:
    """Above the capacity a long poll is answered at once; those that wait are told of a final status (Invariant 14)."""
    started = await api.start("0700000001")
    waits = [asyncio.create_task(api.read(started["id"], wait=30)) for _ in range(3)]
    await eventually(lambda: _held(api, 3), "three long polls are held")
    began = time.monotonic()
    more = await asyncio.gather(*(api.read(started["id"], wait=30) for _ in range(9)))
    assert {(200, "pending")} == {reply.said for reply in more}
    assert time.monotonic() - began < 3
    assert not any(wait.done() for wait in waits)
    assert (200, "cancelled") == (await api.cancel(started["id"])).said
    assert {(200, "cancelled")} == {(await wait).said for wait in waits}
    await eventually(lambda: _held(api, 0), "nobody waits any more")
    for wait in ("31", "-1", "1.5", "x", "1&wait=2"):
        assert (422, "invalid_request") == (await api.get(f"/v1/verifications/{started['id']}?wait={wait}")).said


async def test_queue_has_a_cap(site: Installation, api: Api, gateway: ScriptedGateway) -> None:
    """A full queue answers 503 and promises nothing; once a worker has emptied it starts go on (Invariant 14)."""
    refused: Reply | None = None
    accepted = []
    for at in range(100):
        reply = await api.start(f"07000001{at:02d}", end_user_ip=f"203.0.{at}.7")
        if reply.status == 503:
            refused = reply
            break
        accepted.append(reply["id"])
    assert refused is not None
    assert "unavailable" == refused.code
    assert "Retry-After" in refused.headers
    await site.worker()
    for one in accepted:
        await gateway.code(one)

    async def again() -> bool:
        reply = await api.start(f"07000001{len(accepted):02d}", end_user_ip="203.0.255.7")
        return reply.status == 201

    await eventually(again, "the queue has room again")
    assert len(accepted) + 1 == await _count(site)


def _head(length: str) -> bytes:
    return (
        f"POST /v1/verifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {PORTAL_KEY}\r\n"
        f"Content-Type: application/json\r\n{length}\r\n\r\n"
    ).encode()


async def _exchange(api: Api, sent: bytes) -> bytes:
    """Send bytes and return what comes back until the end, or until the first answer is whole."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.base.rpartition(":")[2]))
    try:
        writer.write(sent)
        return await asyncio.wait_for(reader.read(65536), 10)
    finally:
        await _hang_up(writer)


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def _held(api: Api, count: int) -> bool:
    return f"otp_waiters {count}.0" in (await api.get("/metrics")).body


async def _count(site: Installation) -> int:
    """Return how many verifications the store has."""
    async with site.store() as store:
        return len([key async for key in store.scan_iter("otp:*:v:*")])
