"""Processes that die at any point: what was acknowledged still happens, and what was used stays used."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from support.http import Api, Reply, wrong
from support.processes import Installation, Run, eventually
from support.sms_gateway import HELD, ScriptedGateway

from otp_service.storage.embedded import EmbeddedServer

pytestmark = pytest.mark.slow

IMPATIENT = {"GATEWAYS__FAKE__ADAPTER": "support.plugins:ImpatientGateway"}


def phones(count: int) -> list[str]:
    """Return so many artificial mobile numbers."""
    return [f"07000{at:05d}" for at in range(count)]


async def started(api: Api, count: int) -> list[str]:
    """Start a verification on each of so many phones at once; returns the ids."""
    replies = await asyncio.gather(*(
        api.start(phone, end_user_ip=f"203.0.{at}.7") for at, phone in enumerate(phones(count))
    ))
    assert {(201, "pending"): count} == Counter(reply.said for reply in replies)
    return [reply["id"] for reply in replies]


async def test_workers_killed_between_queue_and_gateway(site: Installation, gateway: ScriptedGateway) -> None:
    """Workers killed again and again lose no SMS, and a duplicate carries the same reference and code (Invariant 6)."""
    serve = await site.serve(**IMPATIENT)
    gateway.answer = lambda _: HELD
    async with Api(serve.base) as api:
        workers = [await site.worker(**IMPATIENT) for _ in range(2)]
        ids = await started(api, 20)
        # Killed with SMS in the gateway's hands that nobody has recorded.
        await eventually(lambda: len(gateway.arrived) >= 10, "SMS at the gateway")
        for worker in workers:
            worker.kill()
        # The next one dies with what it has reclaimed, the one after that as soon as it runs.
        seen = len(gateway.arrived)
        worker = await site.worker(**IMPATIENT)
        await eventually(lambda: len(gateway.arrived) > seen, "a reclaimed SMS at the gateway")
        worker.kill()
        (await site.worker(**IMPATIENT)).kill()
        gateway.answer = lambda _: None
        for _ in range(2):
            await site.worker(**IMPATIENT)
        codes = [await gateway.code(one) for one in ids]
        by_reference = {sms.reference: sms for sms in gateway.arrived}
        assert {f"{one}-1" for one in ids} == set(by_reference)
        assert all(sms == by_reference[sms.reference] for sms in gateway.arrived)
        assert len(gateway.arrived) > len(ids)
        answers = await asyncio.gather(*(api.check(one, code) for one, code in zip(ids, codes, strict=True)))
        assert {(200, "verified")} == {answer.said for answer in answers}


async def test_everything_killed_right_after_the_201(site: Installation, gateway: ScriptedGateway) -> None:
    """With everything killed after the 201 the SMS still arrives and its code is good, once (Invariant 6)."""
    serve = await site.serve()
    async with Api(serve.base) as api:
        used, fresh, guessed = await started(api, 3)
        worker = await site.worker()
        code = await gateway.code(used)
        assert (200, "verified") == (await api.check(used, code)).said
        seen = await gateway.code(guessed)
        assert 4 == (await api.check(guessed, wrong(seen)))["attempts_left"]
        token = (await api.read(used))["result_token"]
        assert 200 == (await api.redeem(token)).status
        worker.kill()
        queued = (await api.start("0700000009"))["id"]
    site.kill_everything()
    worker = site.launch("worker", settings={"SERVER__PRIVATE_PORT": "0"})
    serve = await site.serve()
    await worker.ready()
    async with Api(serve.base) as api:
        # Exactly once and attempts hold over the death of everything (Invariants 1, 2 and 10).
        assert (409, "already_final") == (await api.check(used, code)).said
        assert (409, "already_redeemed") == (await api.redeem(token)).said
        assert 3 == (await api.check(guessed, wrong(seen)))["attempts_left"]
        assert (200, "verified") == (await api.check(guessed, seen)).said
        assert (200, "verified") == (await api.check(fresh, await gateway.code(fresh))).said
        assert (200, "verified") == (await api.check(queued, await gateway.code(queued))).said
    assert {1} == set(Counter(sms.reference for sms in gateway.taken).values())


async def test_killed_store_loses_nothing_and_fails_closed(site: Installation, gateway: ScriptedGateway) -> None:
    """A killed store refuses and sends nothing; revived, every code is as it was (Invariants 1, 6 and 8)."""
    # By its address the store is somebody else's: these processes do not start it again themselves.
    alone = {"STORE__URL": site.store_url, "STORE__RETRY_TOTAL_S": "1"}
    async with _revived(site):
        serve = await site.serve(**alone)
        await site.worker(**alone)
        await _killed_and_revived(site, gateway, serve)


async def test_embedded_store_is_started_again(site: Installation, gateway: ScriptedGateway) -> None:
    """An embedded server that dies alone is started again by those who use it; nothing is lost (Invariant 6)."""
    serve = await site.serve()
    await site.worker()
    async with Api(serve.base) as api:
        before = (await api.start("0700000001"))["id"]
        site.kill_store()
        await eventually(lambda: _is_ready(api), "the store is back by itself")
        assert (200, "verified") == (await api.check(before, await gateway.code(before))).said
    assert any(run.events("the embedded store had died and was started again") for run in site.runs)


async def _killed_and_revived(site: Installation, gateway: ScriptedGateway, serve: Run) -> None:
    async with Api(serve.base) as api:
        used, fresh, guessed = await started(api, 3)
        codes = {one: await gateway.code(one) for one in (used, fresh, guessed)}
        assert (200, "verified") == (await api.check(used, codes[used])).said
        assert 4 == (await api.check(guessed, wrong(codes[guessed])))["attempts_left"]
        taken = len(gateway.arrived)

        site.kill_store()
        began = asyncio.get_running_loop().time()
        refused: list[Reply] = await asyncio.gather(
            api.start("0700000008"), api.check(fresh, codes[fresh]), api.check(used, codes[used]),
            api.resend(guessed), api.read(fresh), api.cancel(guessed), api.get("/readyz"),
        )
        took_s = asyncio.get_running_loop().time() - began
        assert {(503, "unavailable")} == {reply.said for reply in refused}
        assert all(int(reply.headers["Retry-After"]) >= 1 for reply in refused)
        assert took_s < 4, "answered within about retry_total_s"
        assert 200 == (await api.get("/livez")).status
        assert taken == len(gateway.arrived)

        async with _revived(site):
            await eventually(lambda: _is_ready(api), "the API finds the store again")
            assert (409, "already_final") == (await api.check(used, codes[used])).said
            assert 3 == (await api.check(guessed, wrong(codes[guessed])))["attempts_left"]
            assert (200, "verified") == (await api.check(guessed, codes[guessed])).said
            assert (200, "verified") == (await api.check(fresh, codes[fresh])).said
            after = (await api.start("0700000008"))["id"]
            assert (200, "verified") == (await api.check(after, await gateway.code(after))).said
    assert taken + 1 == len(gateway.arrived)


async def test_full_store_refuses_and_recovers(site: Installation, gateway: ScriptedGateway) -> None:
    """A full store refuses with 503 and no SMS goes out; with room again all is well (Invariant 8)."""
    serve = await site.serve()
    await site.worker()
    async with Api(serve.base) as api, site.store() as store:
        one, two = await started(api, 2)
        codes = [await gateway.code(one), await gateway.code(two)]
        await store.config_set("maxmemory", "1kb")
        refused = await asyncio.gather(
            api.start("0700000008"), api.check(one, codes[0]), api.check(one, wrong(codes[0])), api.cancel(two),
        )
        assert {(503, "unavailable")} == {reply.said for reply in refused}
        assert all("Retry-After" in reply.headers for reply in refused)
        assert (200, "pending") == (await api.read(one)).said
        await store.config_set("maxmemory", "0")
        assert (200, "verified") == (await api.check(one, codes[0])).said
        assert (200, "verified") == (await api.check(two, codes[1])).said
        after = (await api.start("0700000008"))["id"]
        await gateway.code(after)
    assert {one, two, after} == {sms.verification_id for sms in gateway.arrived}


async def test_store_killed_while_everybody_works(site: Installation, gateway: ScriptedGateway) -> None:
    """A store killed in the middle of starts and guesses keeps each promise that was given (Invariants 1, 2, 6)."""
    serve = await site.serve(STORE__RETRY_TOTAL_S="10")
    await site.worker(STORE__RETRY_TOTAL_S="10")
    promised: list[str] = []
    attempts: dict[str, list[int]] = {}

    async def citizen(at: int) -> None:
        reply = await api.start(phones(60)[at], end_user_ip=f"203.0.{at}.7")
        assert 201 == reply.status
        promised.append(reply["id"])
        for guess in range(3):
            answer = await api.check(reply["id"], f"00000{guess}")
            assert (422, "wrong_code") == answer.said
            attempts.setdefault(reply["id"], []).append(answer["attempts_left"])

    async with Api(serve.base) as api:
        citizens = [asyncio.create_task(citizen(at)) for at in range(60)]
        await eventually(lambda: len(promised) >= 5, "some verifications")
        site.kill_store()
        async with _revived(site):
            await asyncio.gather(*citizens)
            # A guess whose answer was lost is counted once, however often it was repeated (Invariant 11).
            assert {(4, 3, 2)} == {tuple(left) for left in attempts.values()}
            codes = [await gateway.code(one) for one in promised]
            answers = await asyncio.gather(
                *(api.check(one, code) for one, code in zip(promised, codes, strict=True)),
            )
            assert {(200, "verified"): 60} == Counter(answer.said for answer in answers)
    assert {1} == set(Counter(sms.reference for sms in gateway.taken).values())


class _revived:  # noqa: N801 - reads as a phrase: async with _revived(site)
    """Start the embedded server again, as the next process of the installation would."""

    def __init__(self, site: Installation) -> None:
        self._server = EmbeddedServer(site.data_dir)

    async def __aenter__(self) -> None:
        await self._server.start()

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop()


async def _is_ready(api: Api) -> bool:
    return 200 == (await api.get("/readyz")).status
