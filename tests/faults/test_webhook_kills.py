"""Processes that die between a verdict and its delivery: each verdict is told, under its one id, after all."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest
from standardwebhooks import Webhook
from support.http import Api
from support.processes import Installation, Run, eventually, free_port
from support.webhooks import Receiver, Taken

from otp_service.core.webhook_secrets import new_secret

pytestmark = pytest.mark.slow

VERDICTS = 40


async def launch(site: Installation, secret: str) -> Run:
    """Start a process of the service, and wait until it is ready."""
    port = free_port()
    own = {"SERVER__PORT": str(port), "SERVER__PRIVATE_PORT": "-1", "LIMITS__CLIENT_SENDS__MODE": "record_only"}
    return await site.launch(
        "api-and-worker", port=port, program=("-m", "support.webhook_process"), environ={"WEBHOOK_SECRET": secret},
        settings=own,
    ).ready()


async def finish(api: Api, at: int, url: str) -> str:
    """Start a verification on a phone of its own and cancel it; returns the id of its webhook."""
    started = await api.start(f"07000{at:05d}", end_user_ip=f"203.0.113.{at}", callback_url=url)
    assert (201, "pending") == started.said
    assert (200, "cancelled") == (await api.call("DELETE", f"/v1/verifications/{started['id']}")).said
    return f"msg_{started['id']}"


async def test_killed_before_and_while_telling(site: Installation) -> None:
    """Whatever dies between a verdict and its receiver's answer, it is told under its one id (Invariant 10)."""
    secret = new_secret()
    gate = asyncio.Event()
    async with Receiver(gate=gate).open() as receiver:
        first = await launch(site, secret)
        async with Api(first.base) as api:
            ids = await asyncio.gather(*(finish(api, at, receiver.url) for at in range(VERDICTS)))
            await receiver.arrived.wait()
        first.kill()
        begun = {taken.id for taken in receiver.taken}
        assert 0 < len(begun) < VERDICTS
        gate.set()
        second = await launch(site, secret)
        # What the dead process had in hand waits for the end of its lease.
        await eventually(lambda: set(receiver.ids) == set(ids) and _again(receiver, begun), "every verdict", 60)
        assert 0 == await second.stop()
    told = defaultdict(list)
    for taken in receiver.taken:
        told[taken.id].append(taken)
        Webhook(secret).verify(taken.body, taken.headers)
    assert set(ids) == told.keys()
    assert {1} == {len({taken.body for taken in found}) for found in told.values()}
    # What was on its way to the receiver when the process died came after `begun` was looked at.
    assert begun <= {one for one, found in told.items() if len(found) > 1}
    assert 2 >= max(map(len, told.values()))
    assert VERDICTS == sum(len(run.events("webhook delivered")) for run in site.runs)


def _again(receiver: Receiver, begun: set[str]) -> bool:
    def count(one: str) -> int:
        return sum(taken.id == one for taken in receiver.taken)

    return all(count(one) > 1 for one in begun)


async def test_the_store_dies_while_telling(site: Installation) -> None:
    """A store that is killed while a receiver is asked forgets no verdict: it is told again (Invariants 6 and 10)."""
    secret = new_secret()
    gate = asyncio.Event()
    async with Receiver(gate=gate).open() as receiver:
        run = await launch(site, secret)
        async with Api(run.base) as api:
            told = await finish(api, 0, receiver.url)
            await receiver.arrived.wait()
            site.kill_store()
            gate.set()

            def settled() -> bool:
                return bool(run.events("webhook delivered")) or len(receiver.taken) > 1

            await eventually(settled, "delivery recorded, or made again", 60)
        assert 0 == await run.stop()
    assert {told} == set(receiver.ids)
    assert 1 == len(set(map(_body, receiver.taken)))


def _body(taken: Taken) -> bytes:
    return taken.body
