"""
The fake gateway: the provider's side of ``sms_adapters/fake.py``, for the demo, tests and whoever integrates.

::

    POST {prefix}/gateway            takes an SMS
    GET  {prefix}/gateway/messages   ?id=...&id=...   what became of messages
    GET  {prefix}/sms                what arrived, newest first: JSON, or a page where the caller accepts text/html
    GET  {prefix}/phone              the same as a phone shows it, for a person: newest last, and it follows by itself
    GET  {prefix}/script             the script in force, see script.py
    PUT  {prefix}/script             another one: 200 with it, or 422 with what is wrong; any Content-Type will do

Magic numbers (``core/magic_numbers.py``) do what they stand for, whatever the script says.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any, Final

import orjson
from aiohttp import web

from otp_service.core.client import LOOPBACK_HOSTS
from otp_service.core.errors import ConfigurationError, Forbidden, Refusal
from otp_service.web import problems
from otp_service.web.bodies import read_bytes, read_json, refuse_length
from otp_service.web.exchange import answer, answer_headers, peer_of
from otp_service.web.fake_gateway.inbox import render
from otp_service.web.fake_gateway.phone import PhonePage
from otp_service.web.fake_gateway.provider import FakeProvider, Sms
from otp_service.web.fake_gateway.script import Script, read_script
from otp_service.web.standalone import standing

_MAX_POLLED: Final = 100
_MAX_BODY: Final = 65_536

#: What a reverse proxy on this machine adds to what it lets in from others; and all that begins like the last.
_PROXY_HEADERS: Final = frozenset({"forwarded", "via", "x-real-ip"})
_FORWARDED: Final = "x-forwarded"

_AUTHORITY: Final = rf"({'|'.join(map(re.escape, sorted(LOOPBACK_HOSTS)))})(:[0-9]{{1,5}})?"
_HOST: Final = re.compile(_AUTHORITY)
_ORIGIN: Final = re.compile(rf"https?://{_AUTHORITY}")


class FakeGatewayHandlers:
    """
    The provider over HTTP.

    Args:
        provider: what it does.
        guard: raises Forbidden for whom it does not serve; None serves everybody.
    """

    def __init__(self, provider: FakeProvider, guard: Callable[[web.Request], None] | None = None) -> None:
        self._provider = provider
        self._guard = guard or (lambda _request: None)
        self._phone = PhonePage()

    def routes(self, prefix: str = "") -> list[web.RouteDef]:
        """Return every route under a prefix, for ``app.router.add_routes``."""
        return [
            web.post(f"{prefix}/gateway", self.gateway), web.get(f"{prefix}/gateway/messages", self.messages),
            web.get(f"{prefix}/sms", self.sms), web.get(f"{prefix}/phone", self.phone),
            web.get(f"{prefix}/script", self.script), web.put(f"{prefix}/script", self.change_script),
        ]

    async def gateway(self, request: web.Request) -> web.Response:
        """Take an SMS: 200 with its id, or 409 with the id its reference had before, or what the script says."""
        self._guard(request)
        _, raw = await read_json(request)
        reply = self._provider.hand_over(_sms(raw))
        if reply.latency_ms:
            await self._provider.pause(reply.latency_ms / 1000)
        if reply.hang_up and request.transport is not None:
            request.transport.abort()
        return answer(reply.body, reply.status)

    async def messages(self, request: web.Request) -> web.Response:
        """Say what became of messages, at most 100 of them."""
        self._guard(request)
        reports = self._provider.reports(request.query.getall("id", [])[:_MAX_POLLED])
        return answer(orjson.dumps({"messages": reports}))

    async def sms(self, request: web.Request) -> web.Response:
        """Show what arrived, newest first."""
        self._guard(request)
        messages = self._provider.inbox.messages()
        if "text/html" in request.headers.get("Accept", ""):
            return web.Response(body=render(messages), headers=answer_headers("text/html; charset=utf-8"))
        return answer(orjson.dumps({"messages": messages}))

    async def phone(self, request: web.Request) -> web.Response:
        """Show the phone."""
        self._guard(request)
        page, headers = self._phone.render(self._provider.inbox.messages())
        return web.Response(body=page, headers=headers)

    async def script(self, request: web.Request) -> web.Response:
        """Show the script."""
        self._guard(request)
        return answer(orjson.dumps(self._provider.script))

    async def change_script(self, request: web.Request) -> web.Response:
        """Follow another script, whatever its Content-Type: ``curl -T script.json`` names none."""
        self._guard(request)
        refuse_length(request)
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise problems.not_json()
        body = await read_bytes(request)
        try:
            self._provider.play(read_script(body))
        except ConfigurationError as error:
            return answer(orjson.dumps({"errors": str(error).splitlines()}), 422)
        return answer(orjson.dumps(self._provider.script))


def require_loopback(request: web.Request) -> None:
    """
    Refuse whoever is not on this machine: who reads the inbox reads the codes.  Raises Forbidden.

    The address alone does not tell: a reverse proxy here has it too (one that adds none of the usual headers is not
    seen), and so has this machine's browser with another site's page, which DNS rebinding may give a name of its own.
    """
    peer, headers = peer_of(request), request.headers
    here = (
        peer is not None and ip_address(peer).is_loopback and not _is_forwarded(request)
        and _HOST.fullmatch(request.host) is not None
        and all(_ORIGIN.fullmatch(origin) for origin in headers.getall("Origin", ()))
        and (headers.get("Sec-Fetch-Site", "").lower() != "cross-site" or _is_link(request))
    )
    if not here:
        raise Forbidden


@asynccontextmanager
async def serving(provider: FakeProvider, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """
    Serve a provider by itself; gives its base URL, to which ``/gateway`` and the other paths are added.

    On a loopback ``host`` it answers this machine alone; anywhere else whoever reaches it reads the messages.
    Raises ConfigurationError when the port is taken.
    """
    app = web.Application(middlewares=[_refusals], client_max_size=_MAX_BODY)
    app.router.add_routes(FakeGatewayHandlers(provider, require_loopback if host in LOOPBACK_HOSTS else None).routes())
    try:
        async with standing(app, host, port) as base:
            yield base
    finally:
        await provider.close()


async def run(
    host: str, port: int, script: Script | None = None, report_to: str = "", *, report_key: str = "",
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve until cancelled; ``announce`` gets the base URL.  Raises ConfigurationError."""
    provider = FakeProvider(script, report_to=report_to, report_key=report_key)
    async with serving(provider, host, port) as base:
        if announce is not None:
            announce(base)
        await asyncio.Event().wait()


@web.middleware
async def _refusals(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:
    """Answer refusals where no middleware of the service does."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return answer(orjson.dumps({"error": refusal.code}), refusal.http_status)


def _sms(raw: dict[str, Any]) -> Sms:
    """Return what is kept of an SMS.  Raises InvalidRequest."""
    reference, to, text = raw.get("reference"), raw.get("to"), raw.get("text")
    send_number = raw.get("send_number")
    if not all(type(one) is str and one for one in (reference, to, text)) or type(send_number) is not int:
        raise problems.malformed()
    return Sms(str(reference), str(to), str(text), send_number)


def _is_link(request: web.Request) -> bool:
    """Whether a link was followed, from ``localhost`` to ``127.0.0.1`` for one: the page it stood on reads nothing."""
    headers = request.headers
    return (request.method, headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest")) == (
        "GET", "navigate", "document",
    )


def _is_forwarded(request: web.Request) -> bool:
    names = {name.lower() for name in request.headers}
    return not names.isdisjoint(_PROXY_HEADERS) or any(name.startswith(_FORWARDED) for name in names)
