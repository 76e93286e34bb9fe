"""A process that is asked to stop answers who waits, finishes what it has in hand, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest
from support.http import Api
from support.processes import Installation, eventually
from support.sms_gateway import HELD, ScriptedGateway

pytestmark = pytest.mark.slow


async def test_long_polls_and_readiness(site: Installation, gateway: ScriptedGateway) -> None:
    """SIGTERM answers long polls at once, shows 503 on both readyz while draining, and the process exits 0."""
    serve = await site.serve(SERVER__DRAIN_S="1.5")
    async with Api(serve.base, fresh=True) as api, Api(serve.private, None, fresh=True) as private:
        started = [await api.start(f"070000000{at}", end_user_ip=f"203.0.{at}.7") for at in range(3)]
        assert (200, 200) == ((await api.get("/readyz")).status, (await private.get("/readyz")).status)
        waits = [asyncio.create_task(api.read(one["id"], wait=30)) for one in started]
        await eventually(lambda: _waiting(private, 3), "three long polls are held")
        began = time.monotonic()
        serve.terminate()
        answers = await asyncio.gather(*waits)
        assert time.monotonic() - began < 1.4, "answered before the listener closes"
        assert {(200, "pending")} == {answer.said for answer in answers}
        assert {"close"} == {answer.headers["Connection"].lower() for answer in answers}
        for caller in (api, private):
            ready = await caller.get("/readyz")
            assert (503, "unavailable", True) == (*ready.said, ready["draining"])
        # Who is still sent here while the load balancer notices is served, not refused.
        assert (200, "pending") == (await api.read(started[0]["id"])).said
        assert (201, "pending") == (await api.start("0700000009", end_user_ip="203.0.9.7")).said
        # A new long poll is answered at once: nobody holds up the end.
        assert (200, "pending") == (await api.read(started[0]["id"], wait=30)).said
        assert 0 == await serve.ended()
        with pytest.raises(aiohttp.ClientConnectorError):
            await api.get("/livez")
    # The last one out has stopped the store, and everything is still there.
    assert None is site._store_pid()
    serve, worker = await site.serve(), await site.worker()
    async with Api(serve.base) as api:
        for one in started:
            assert (200, "verified") == (await api.check(one["id"], await gateway.code(one["id"]))).said
    # Twice the same signal is once: make and a terminal both pass it on.
    serve.terminate()
    serve.terminate()
    assert [0, 0] == [await serve.ended(), await worker.stop()]


async def test_worker_finishes_what_it_has(site: Installation, gateway: ScriptedGateway) -> None:
    """A worker that is asked to stop first hears what the gateway says of the SMS in its hands (Invariant 6)."""
    serve, worker = await site.serve(), await site.worker()
    gateway.answer = lambda _: HELD
    async with Api(serve.base) as api:
        started = await api.start("0700000001")
        await eventually(lambda: gateway.arrived, "the SMS is at the gateway")
        worker.terminate()
        await eventually(lambda: _not_listening(worker.private), "the worker has heard it")
        await eventually(lambda: _nobody_reads(site), "the worker takes nothing more")
        gateway.answer = lambda _: None
        gateway.release()
        assert 0 == await worker.ended()
        assert ["accepted"] == [event["result"] for event in worker.events("sms")]
        sent = await api.read(started["id"])
        assert "sent" == sent["delivery"]
        assert (200, "verified") == (await api.check(started["id"], gateway.taken[0].code)).said
    # Another worker finds nothing to do.
    await site.worker()
    assert 1 == len(gateway.arrived)


async def _waiting(private: Api, count: int) -> bool:
    return f"otp_waiters {count}.0" in (await private.get("/metrics")).body


async def _nobody_reads(site: Installation) -> bool:
    async with site.store() as store:
        clients = await store.client_list()
    return not any(client["cmd"] == "xreadgroup" and "b" in client["flags"] for client in clients)


async def _not_listening(base: str) -> bool:
    async with Api(base, None, fresh=True) as api:
        try:
            await api.get("/livez")
        except aiohttp.ClientError:
            return True
    return False
