"""Ownership sources that are slow, broken or gone: never a match, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.http import OWNER_ID, Api, Reply
from support.processes import Installation, eventually
from support.sms_gateway import HELD, WELL, Say, ScriptedGateway, Sms

pytestmark = pytest.mark.slow


class Source:
    """The scripted source's file, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.settings = {
            "OWNERSHIP__SOURCES": "scripted", "SOURCES__SCRIPTED__ADAPTER": "support.plugins:ScriptedSource",
            "SOURCES__SCRIPTED__OPTIONS__FOLDER": str(folder),
            "OWNERSHIP__INLINE_DEADLINE_S": "0.5", "OWNERSHIP__RETRY_BACKOFF_S": "0.2",
        }

    def says(self, answer: str) -> None:
        """Answer so from now on."""
        new = self._folder / "answer.new"
        new.write_text(answer)
        new.replace(self._folder / "answer")

    @property
    def asked(self) -> list[str]:
        """The verifications it was asked about, in order."""
        path = self._folder / "asked"
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Give a source that the test scripts."""
    return Source(tmp_path)


@pytest.fixture
async def site(tmp_path: Path, gateway: ScriptedGateway, source: Source) -> AsyncIterator[Installation]:
    """Give an installation that asks the scripted source."""
    async with Installation(tmp_path / "site", gateway_url=gateway.url, **source.settings) as site:
        yield site


async def test_api_killed_between_guess_and_answer(
    site: Installation, gateway: ScriptedGateway, source: Source,
) -> None:
    """With the API killed between the right code and the owner's answer the worker settles it (Invariant 6)."""
    source.says("hang")
    serve, _ = await asyncio.gather(site.serve(), site.worker())
    async with Api(serve.base, fresh=True) as api:
        started = await api.start(purpose="registration", id_number=OWNER_ID)
        code = await gateway.code(started["id"])
        checking = asyncio.create_task(api.check(started["id"], code))
        await eventually(lambda: source.asked, "the source is asked")
        source.says("match")
        serve.kill()
        await asyncio.gather(checking, return_exceptions=True)
        assert checking.exception() is not None
    serve = await site.serve()
    async with Api(serve.base) as api:
        final = await api.read(started["id"], wait=20)
        assert (200, "verified") == final.said
        assert {"status": "match", "source": "scripted"}.items() <= final["ownership"].items()
        # The code was used when it was right: it is no second verification (Invariant 1).
        assert (409, "already_final") == (await api.check(started["id"], code)).said
    assert [started["id"]] * 2 == source.asked


async def test_source_without_answer_never_matches(
    site: Installation, gateway: ScriptedGateway, source: Source,
) -> None:
    """A source that fails, hangs or talks nonsense never matches; once it is well the worker settles (Invariant 8)."""
    serve, _ = await asyncio.gather(site.serve(), site.worker())
    async with Api(serve.base) as api:
        proven: list[Reply] = []
        for at, answer in enumerate(("error", "raise", "hang", "wrong_type")):
            source.says(answer)
            phone, owner = f"070000100{at}", f"05209000010{at}"
            started = await api.start(phone, "registration", id_number=owner, end_user_ip=f"203.0.{at}.7")
            checked = await api.check(started["id"], await gateway.code(started["id"]))
            assert (200, "checking_ownership") == checked.said, answer
            assert None is checked["result_token"]
            proven.append(checked)
        # The worker asks again, and still nobody is verified.
        seen = len(source.asked)
        await eventually(lambda: len(source.asked) >= seen + 4, "the worker asks again")
        assert {"checking_ownership"} == {(await api.read(one["id"]))["status"] for one in proven}
        waits = [asyncio.create_task(api.read(one["id"], wait=20)) for one in proven]
        source.says("match")
        assert {(200, "verified")} == {(await wait).said for wait in waits}


async def test_source_that_stays_away(site: Installation, gateway: ScriptedGateway, source: Source) -> None:
    """Without an answer in the purpose's time it ends ownership_unavailable, and costs no question (Invariant 8)."""
    site.settings |= {
        "PURPOSES__REGISTRATION__OWNERSHIP_TIMEOUT_S": "2", "LIMITS__PHONE_COOLDOWN__PERIOD": "1s",
        "LIMITS__PHONE_OWNERSHIP_CHECKS__COUNT": "1", "LIMITS__ID_OWNERSHIP_CHECKS__COUNT": "1",
    }
    source.says("error")
    serve, _ = await asyncio.gather(site.serve(), site.worker())
    async with Api(serve.base) as api:
        started = await api.start(purpose="registration", id_number=OWNER_ID)
        checked = await api.check(started["id"], await gateway.code(started["id"]))
        assert (200, "checking_ownership") == checked.said
        final = await api.read(started["id"], wait=20)
        assert ("rejected", "ownership_unavailable") == (final["status"], final["reason"])
        assert "error" == final["ownership"]["status"]
        refused = await api.redeem(final["result_token"], id_number=OWNER_ID)
        assert (409, "not_verified") == refused.said
        # An unanswered question is given back: the one check of the day is still there.
        source.says("mismatch")
        again = await eventually(lambda: _started(api), "the cooldown is over")
        ended = await api.check(again["id"], await gateway.code(again["id"]))
        assert ("rejected", "sim_not_owned") == (ended["status"], ended["reason"])


async def _started(api: Api) -> Reply | None:
    reply = await api.start(purpose="registration", id_number=OWNER_ID)
    assert reply.said in {(201, "pending"), (429, "rate_limited")}
    return reply if reply.status == 201 else None


# -- asked before the code is sent -------------------------------------------------------------------------------------

BEFORE = {"PURPOSES__REGISTRATION__OWNERSHIP": "before", "OWNERSHIP__WORKER_DEADLINE_S": "0.6"}


async def _begin(api: Api, at: int, **more: str) -> Reply:
    """Start a verification of somebody of one's own."""
    return await api.start(
        f"070000200{at}", "registration", id_number=f"05209000020{at}", end_user_ip=f"203.0.{at}.8", **more,
    )


async def test_asked_before_the_code(site: Installation, gateway: ScriptedGateway, source: Source) -> None:
    """No SMS leaves before a match, which may come late, from the worker, or after the API has died (Invariant 6)."""
    site.settings |= BEFORE
    serve, _ = await asyncio.gather(site.serve(), site.worker())
    async with Api(serve.base) as api:
        source.says("mismatch")
        refused = await _begin(api, 0)
        assert (201, "rejected", "ownership_not_confirmed") == (refused.status, refused["status"], refused["reason"])
        waiting = []
        for at, answer in enumerate(("error", "hang"), start=1):
            source.says(answer)
            waiting.append(await _begin(api, at))
            assert (201, "checking_ownership") == waiting[-1].said, answer
            seen = len(source.asked)
            await eventually(lambda before=seen: len(source.asked) > before, "the worker asks again")
        assert {"checking_ownership"} == {(await api.read(one["id"]))["status"] for one in waiting}
        assert [] == gateway.arrived
        source.says("match")
        for one in waiting:
            assert (200, "verified") == (await api.check(one["id"], await gateway.code(one["id"]))).said

        source.says("hang")
        before = len(source.asked)
        async with Api(serve.base, fresh=True) as doomed:
            starting = asyncio.create_task(_begin(doomed, 5, idempotency_key="once"))
            await eventually(lambda: len(source.asked) > before, "the source is asked")
            source.says("match")
            serve.kill()
            await asyncio.gather(starting, return_exceptions=True)
            assert starting.exception() is not None
    last = source.asked[-1]
    code = await gateway.code(last)
    serve = await site.serve()
    async with Api(serve.base) as api:
        again = await _begin(api, 5, idempotency_key="once")
        assert (last, "pending", 1) == (again["id"], again["status"], again["send_number"])
        assert (200, "verified") == (await api.check(last, code)).said
    assert sorted(f"{one}-1" for one in (*(one["id"] for one in waiting), last)) == sorted(
        sms.reference for sms in gateway.arrived
    )


async def test_workers_killed_around_the_match(site: Installation, gateway: ScriptedGateway, source: Source) -> None:
    """Workers killed between match, code and SMS again and again: one code each, under one reference (Invariant 6)."""
    site.settings |= BEFORE | {"GATEWAYS__FAKE__ADAPTER": "support.plugins:ImpatientGateway"}
    held: set[str] = set()

    def the_first_die_in_hand(sms: Sms) -> Say | None:
        if len(held) >= 3 or sms.reference in held:
            return WELL
        held.add(sms.reference)
        return HELD

    gateway.answer = the_first_die_in_hand
    source.says("error")
    serve = await site.serve()
    async with Api(serve.base) as api:
        begun = [await _begin(api, at) for at in range(8)]
        ids = {one["id"] for one in begun}
        assert {"checking_ownership"} == {one["status"] for one in begun}
        source.says("match")
        for round_ in range(4):
            asked, arrived = len(source.asked), len(gateway.arrived)
            worker = site.launch("worker", settings={"SERVER__PRIVATE_PORT": "0"})
            if round_ % 2 == 0:
                await eventually(lambda before=asked: len(source.asked) > before or _all(gateway, ids), "a question")
            else:
                await eventually(lambda before=arrived: len(gateway.arrived) > before or _all(gateway, ids), "an SMS")
            worker.kill()
        await site.worker()
        codes = {one: await gateway.code(one) for one in ids}
        assert {f"{one}-1" for one in ids} == {sms.reference for sms in gateway.arrived}
        assert all(sms.code == codes[sms.verification_id] for sms in gateway.arrived)
        answers = [await api.check(one, code) for one, code in codes.items()]
        assert {(200, "verified")} == {answer.said for answer in answers}
    assert len(gateway.arrived) > len(ids), "no worker died with an SMS in hand"


def _all(gateway: ScriptedGateway, ids: set[str]) -> bool:
    return ids <= {sms.verification_id for sms in gateway.taken}
