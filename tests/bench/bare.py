"""
What the service is compared with: aiohttp handlers without a service.

::

    GET  /bare                          answers a small JSON object
    POST /v1/verifications              authenticates and parses as the service does, one script call, a small answer
    POST /v1/verifications/{id}/check   the same

Started as ``python -m bench.bare PORT``, with the settings of the service it is compared with.
"""

from __future__ import annotations

import asyncio
import sys
from hashlib import sha1
from secrets import token_hex
from typing import Final

import orjson
from aiohttp import web

from otp_service.core.client import Scope
from otp_service.settings import load_settings
from otp_service.storage.client import StoreClient, connect
from otp_service.storage.scripts import Script
from otp_service.telemetry.metrics import Metrics
from otp_service.web.authentication import Authenticator
from otp_service.web.bodies import read_json
from otp_service.web.requests import CheckBody, read_body, read_start

#: KEYS  1 a hash  2 a stream   ARGV  1 id  2 purpose.   Returns {time, id, how long the stream is}.
_SOURCE: Final = """
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 's', 'p', 'u', ARGV[2], 'b', time[1])
redis.call('PEXPIRE', KEYS[1], 60000)
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 1000, '*', 'v', ARGV[1], 'n', 1)
return {time[1], ARGV[1], redis.call('XLEN', KEYS[2])}
"""
_SCRIPT: Final = Script("bare", _SOURCE, sha1(_SOURCE.encode(), usedforsecurity=False).hexdigest())


class Bare:
    """The handlers."""

    def __init__(self) -> None:
        settings = load_settings()
        metrics = Metrics(purposes=settings.purposes, limits=(), gateways=(), sources=(), scripts=[_SCRIPT.name])
        store = settings.store
        self._purposes = settings.purposes
        self._auth = Authenticator(settings.clients(), lambda _id, _token: None)
        self._store = StoreClient(
            connect(store.url, connections=store.connections, timeout_s=store.timeout_s), metrics=metrics,
            connections=store.connections, timeout_s=store.timeout_s, retry_total_s=store.retry_total_s,
        )

    async def get(self, _request: web.Request) -> web.Response:
        """``GET /bare``."""
        return web.json_response({"status": "ok"})

    async def start(self, request: web.Request) -> web.Response:
        """``POST /v1/verifications``."""
        caller = self._auth.portal(request, Scope.VERIFY)
        _, raw = await read_json(request)
        found = read_start(raw, client=caller.client, purposes=self._purposes, locale="vi")
        return await self._answer(found.command.purpose.name, 201)

    async def check(self, request: web.Request) -> web.Response:
        """``POST /v1/verifications/{id}/check``."""
        self._auth.portal_or_browser(request, Scope.VERIFY, request.match_info["id"])
        _, raw = await read_json(request)
        read_body(CheckBody, raw)
        return await self._answer("check", 200)

    async def _answer(self, purpose: str, status: int) -> web.Response:
        made = token_hex(16)
        time_s, made_id, length = await self._store.run(_SCRIPT, (f"bench:{{s}}:{made}", "bench:{s}"), (made, purpose))
        body = orjson.dumps({"id": made_id.decode(), "created_at": int(time_s), "length": length})
        return web.Response(body=body, status=status, content_type="application/json")


async def _serve(port: int) -> None:
    bare = Bare()
    app = web.Application()
    app.router.add_get("/bare", bare.get)
    app.router.add_post("/v1/verifications", bare.start)
    app.router.add_post("/v1/verifications/{id}/check", bare.check)
    runner = web.AppRunner(app, access_log=None, handle_signals=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
