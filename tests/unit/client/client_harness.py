"""The client before the real service, and before a server that answers whatever a test wants."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from unit.web_harness import KEY, START, Web

from otp_service.client import OtpClient, Started

#: An API key that must be seen nowhere but in its header.
SECRET_KEY = "an-api-key-nobody-may-see"
ID = "d-k1-oy2mofv5wewoi7pnbt7u33ihbm"
#: A verification as the service writes it, secrets of a 201 included.
ANSWER: dict[str, Any] = {
    "id": ID, "status": "pending", "reason": None, "purpose": "registration", "reference": "hs-1",
    "phone_number": "+84•••••0001", "code_length": 6, "send_number": 1, "created_at": "2026-01-31T08:00:00.000Z",
    "expires_at": "2026-01-31T08:15:00.000Z", "code_expires_at": "2026-01-31T08:03:00.000Z",
    "resend_at": "2026-01-31T08:01:00.000Z", "sends_left": 3, "attempts_left": 5, "delivery": "queued",
    "ownership": {"status": "not_checked", "source": None, "assurance": None, "checked_at": None},
    "client_token": "vt_a-client-token", "page_url": None, "result_token": "a-result-token", "warnings": [],
}


@asynccontextmanager
async def client_of(service: Web, key: str = KEY, **options: Any) -> AsyncIterator[OtpClient]:
    """Give a client of the running service."""
    async with OtpClient(str(service.http.make_url("/")), key, **options) as otp:
        yield otp


async def begun(otp: OtpClient, **changes: str | None) -> Started:
    """Start a registration."""
    return await otp.start(**(START | changes))  # type: ignore[arg-type]


def http(status: int, body: Any, media: str = "application/json", **headers: str) -> bytes:
    """Write an answer; ``body`` is sent as JSON unless it is bytes."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    told = {"Content-Type": media, "Content-Length": str(len(raw)), "Connection": "close", **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in told.items())
    return f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode() + raw


def problem(status: int, code: str, *, headers: dict[str, str] | None = None, **members: Any) -> bytes:
    """Write a refusal."""
    body = {"type": f"/docs#problem-{code}", "title": "Tiêu đề", "status": status, "detail": "Hãy thử lại.",
            "code": code, **members}
    return http(status, body, "application/problem+json", **(headers or {}))


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Liar:
    """
    A server that answers with what it was given, one answer per connection, the last one again and again.

    An answer of None never comes, an empty one is a connection that ends.
    """

    answers: Sequence[bytes | None]
    asked: list[Asked] = field(default_factory=list)
    url: str = ""
    server: asyncio.Server | None = None
    open: set[asyncio.StreamWriter] = field(default_factory=set)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request and answer it."""
        self.open.add(writer)
        self.closed.clear()
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            method, path, _ = line.split(" ")
            self.asked.append(Asked(method, path, headers, body))
            answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
            if answer is None:
                await reader.read()
            else:
                writer.write(answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            # The client has given up: what it says then is for the test to see.
            return
        finally:
            writer.close()
            self.open.discard(writer)
            if not self.open:
                self.closed.set()


@asynccontextmanager
async def lying(*answers: bytes | None, tls: ssl.SSLContext | None = None) -> AsyncIterator[Liar]:
    """Run a server that answers so."""
    liar = Liar(answers)
    server = await asyncio.start_server(liar.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    liar.server = server
    liar.url = f"http://127.0.0.1:{port}"
    liar.closed.set()
    async with server:
        try:
            yield liar
        finally:
            server.close()
            for writer in liar.open:
                writer.transport.abort()
            await liar.closed.wait()


@dataclass(slots=True)
class Pauses:
    """Takes the place of clock and sleeping: the time passes in pauses alone."""

    taken: list[float] = field(default_factory=list)

    async def __call__(self, seconds: float) -> None:
        """Wait for nothing."""
        self.taken.append(seconds)

    def now_s(self) -> float:
        """Tell the time."""
        return sum(self.taken)


@asynccontextmanager
async def asking(liar: Liar, *, timeout_s: float = 10.0) -> AsyncIterator[tuple[OtpClient, Pauses]]:
    """Give a client of the lying server that never really pauses."""
    pauses = Pauses()
    async with OtpClient(liar.url, SECRET_KEY, timeout_s=timeout_s) as otp:
        otp._transport.sleep, otp._transport.clock = pauses, pauses.now_s
        yield otp, pauses
