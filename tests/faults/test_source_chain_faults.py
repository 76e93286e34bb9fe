"""Chains of sources of which some fail: who is asked then, how often, and what nobody may conclude."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
from support.http import Api, Reply
from support.operator import CLIENT_ID, SECRET
from support.processes import OTHER_KEY, Installation, Run, eventually
from support.proxy import Proxy
from support.simulated_operator import EVERYBODY, SimulatedOperator, metric, metrics, simulated
from support.sms_gateway import ScriptedGateway

from otp_service.core.phone import Carrier
from otp_service.storage import keys
from otp_service.web.operator.oauth import TOKEN_PATH
from otp_service.web.operator.subscribers import read_subscribers, sample_path

pytestmark = pytest.mark.slow

FAST = {
    "OWNERSHIP__INLINE_DEADLINE_S": "1", "OWNERSHIP__WORKER_DEADLINE_S": "1.5", "OWNERSHIP__RETRY_BACKOFF_S": "0.2",
    "OWNERSHIP__SOURCES": "first, second",
}
ROUTE = """
[[ownership.routes]]
carriers = ["viettel"]
sources = ["first", "second", "tttb"]
"""


@pytest.fixture
async def operators() -> AsyncIterator[list[SimulatedOperator]]:
    """Give two operators whose subscribers everybody is."""
    async with simulated() as first, simulated() as second:
        yield [first, second]


@pytest.fixture
async def site(
    tmp_path: Path, gateway: ScriptedGateway, operators: list[SimulatedOperator],
) -> AsyncIterator[Installation]:
    """Give an installation that asks the first operator, then the second."""
    first, second = operators
    async with Installation(
        tmp_path / "site", gateway_url=gateway.url, **FAST, **first.settings("first"), **second.settings("second"),
    ) as site:
        yield site


async def prove(api: Api, gateway: ScriptedGateway, phone: str, id_number: str, at: int) -> Reply:
    """Start and check a verification of a subscriber of the sample."""
    started = await api.start(phone, "registration", id_number=id_number, end_user_ip=f"203.0.{at}.7")
    assert (201, "pending") == started.said, started.body
    return await api.check(started["id"], await gateway.code(started["id"]))


async def test_ported_numbers_and_a_chain_with_a_gap(tmp_path: Path, gateway: ScriptedGateway) -> None:
    """Who does not know a number passes it on; nobody is unknown while one who might know does not answer."""
    rows = read_subscribers(sample_path())
    async with AsyncExitStack() as stack:
        viettel = await stack.enter_async_context(simulated(rows, Carrier.VIETTEL))
        mobifone = await stack.enter_async_context(simulated(rows, Carrier.MOBIFONE))
        site = await stack.enter_async_context(Installation(
            tmp_path / "site", gateway_url=gateway.url, **{**FAST, "OWNERSHIP__SOURCES": "second, first, tttb"},
            **viettel.settings("first"), **mobifone.settings("second"),
        ))
        with (site.config_dir / "default.toml").open("a") as settings:
            settings.write(ROUTE)
        serve, worker = await asyncio.gather(site.serve(), site.worker())
        api = await stack.enter_async_context(Api(serve.base))
        for at, (phone, id_number, source, assurance) in enumerate([
            ("0960000004", "079195000014", "first", "operator_match"),
            ("0900000001", "052090000001", "second", "operator_match"),
            ("0910000008", "056092000016", "first", "operator_match"),  # a VinaPhone prefix that moved to Viettel
            ("0810000001", "052190000017", "tttb", "subscriber_table"),
        ]):
            done = await prove(api, gateway, phone, id_number, at)
            assert (200, "verified", source, assurance) == (
                done.status, done["status"], done["ownership"]["source"], done["ownership"]["assurance"],
            ), phone
        assert (3, 3) == (viettel.asked(), mobifone.asked())
        stranger = await prove(api, gateway, "0967000000", "052090000001", 10)
        assert ("rejected", "subscriber_unknown") == (stranger["status"], stranger["reason"])

        viettel.plays(down=True)
        # Another who knows is enough.
        known = await prove(api, gateway, "0700000001", "052090000001", 11)
        assert (200, "verified") == known.said
        waiting = await prove(api, gateway, "0967000001", "064300000012", 12)
        assert (200, "checking_ownership") == waiting.said
        asked = viettel.asked()
        await eventually(lambda: viettel.asked() > asked, "the worker asks again")
        assert "checking_ownership" == (await api.read(waiting["id"]))["status"]
        viettel.plays()
        final = await api.read(waiting["id"], wait=20)
        assert ("rejected", "subscriber_unknown") == (final["status"], final["reason"])
        page = await metrics(worker)
        assert 0 < (metric(page, "otp_ownership_checks_total", source="first", outcome="error") or 0)


async def test_questions_shift_away_and_come_back(
    site: Installation, gateway: ScriptedGateway, operators: list[SimulatedOperator],
) -> None:
    """A source that fails gets hardly any question, in every process; nobody notices, and it comes back."""
    first, _ = operators
    site.settings["OWNERSHIP__SOURCES"] = "first second"
    everyone = await asyncio.gather(site.serve(), site.serve(), site.worker())
    people = iter(EVERYBODY)
    first.plays(answer={"status": 403})
    async with Api(everyone[0].base) as api, Api(everyone[1].base) as elsewhere:
        while first.asked() < 3:
            done = await next(people).proves(api, gateway)
            assert ((200, "verified"), "second") == (done.said, done["ownership"]["source"])
        await eventually(partial(_share_is, 2, everyone), "every process knows the share")
        for page in [await metrics(run) for run in everyone]:
            assert (1, 0) == tuple(metric(page, "otp_source_open", source=name) for name in ("first", "second"))
            assert 100 == metric(page, "otp_source_share", source="second")
        away = [
            metric(await metrics(run), "otp_source_shifts_total", source="first", direction="away") for run in everyone
        ]
        assert [0, 0, 1] == sorted(one or 0 for one in away)
        before = first.asked()
        proven = [await next(people).proves(elsewhere, gateway) for _ in range(10)]
        assert {((200, "verified"), "second")} == {(one.said, one["ownership"]["source"]) for one in proven}
        assert first.asked() - before <= 3

        # Well again, and half a minute later.
        first.plays()
        async with site.store() as store:
            share, well, failed, counted, _ = (await store.hget(keys.source_shares(), "first")).decode().split(",")
            await store.hset(keys.source_shares(), "first", f"{share},{well},{failed},{counted},0")
        await eventually(partial(_share_is, 12, everyone), "the share drifts back")
    (shift,) = [event for run in site.runs for event in run.events("source shifted") if event["level"] == "warning"]
    assert ("first", 100, 2) == (shift["source"], shift["before"], shift["after"])


async def _share_is(share: int, runs: Sequence[Run]) -> bool:
    return {share} == {metric(await metrics(run), "otp_source_share", source="first") for run in runs}


async def test_a_budget_that_is_used_up(
    site: Installation, gateway: ScriptedGateway, operators: list[SimulatedOperator],
) -> None:
    """Beyond its budget over all processes a source is not asked; the next one is."""
    first, second = operators
    site.settings["SOURCES__FIRST__BUDGET"] = "3"
    serve, other, _ = await asyncio.gather(site.serve(), site.serve(), site.worker())
    async with Api(serve.base) as api, Api(other.base) as elsewhere:
        done = [
            await one.proves(where, gateway) for one, where in zip(EVERYBODY[:8], (api, elsewhere) * 4, strict=True)
        ]
        assert {(200, "verified")} == {one.said for one in done}
        assert ["first"] * 3 + ["second"] * 5 == [one["ownership"]["source"] for one in done]
        assert (3, 5) == (first.asked(), second.asked())
        skips = [
            metric(await metrics(run), "otp_source_skips_total", source="first", reason="over_budget")
            for run in (serve, other)
        ]
        assert 5 == sum(one or 0 for one in skips)


async def test_a_question_that_must_not_be_asked_twice(
    site: Installation, gateway: ScriptedGateway, operators: list[SimulatedOperator],
) -> None:
    """A source that may not be asked again is not, when its answer or who asked is lost; the next one is asked."""
    first, second = operators
    async with Proxy(first.base) as line:
        prefix = "SOURCES__FIRST__OPTIONS__"
        site.settings = {name: value for name, value in site.settings.items() if not name.startswith(prefix)} | {
            "SOURCES__FIRST__ADAPTER": "http_match",
            **{prefix + name: value for name, value in {
                "URL": f"http://{line.address}/kyc-match/v0.4/match", "METHOD": "POST", "REPEATABLE": "false",
                "ASSURANCE": "operator_match", "TOKEN_URL": first.base + TOKEN_PATH, "CLIENT_ID": CLIENT_ID,
                "CLIENT_SECRET": SECRET, "HEADERS": json.dumps({"authorization": "Bearer {token}"}),
                "JSON": json.dumps({"phoneNumber": "{phone}", "idDocument": "{id_number}"}),
                "ANSWERS": json.dumps([
                    {"status": 200, "path": "idDocumentMatch", "value": "true", "outcome": "match"},
                    {"status": 200, "path": "idDocumentMatch", "value": "false", "outcome": "mismatch"},
                ]),
            }.items()},
            "PURPOSES__ACCOUNT_LINK__OWNERSHIP_TIMEOUT_S": "3",
        }
        with (site.config_dir / "default.toml").open("a") as settings:
            settings.write('\n[[ownership.routes]]\npurposes = ["account_link"]\nsources = ["first"]\n')
        serve, _ = await asyncio.gather(site.serve(), site.worker())
        known, alone, late, last = EVERYBODY[:4]
        async with Api(serve.base) as api:
            answered = await known.proves(api, gateway)
            assert ((200, "verified"), "first") == (answered.said, answered["ownership"]["source"])
            line.lose(2, marker=b"idDocument")
            second.plays(down=True)
            waiting = [
                await alone.proves(api, gateway, "account_link"), await late.proves(api, gateway, "registration"),
            ]
            assert {(200, "checking_ownership")} == {one.said for one in waiting}
            assert 2 == line.lost
            asked = second.asked()
            await eventually(lambda: second.asked() > asked, "the worker asks whom it may")
            second.plays()
            ended, settled = [await api.read(one["id"], wait=20) for one in waiting]
            assert ("rejected", "ownership_unavailable") == (ended["status"], ended["reason"])
            assert ((200, "verified"), "second") == (settled.said, settled["ownership"]["source"])
            # One for each verification, whatever became of the answer.
            assert 3 == first.asked()

            first.plays(latency_ms=700)
            started = await last.starts(api)
            code = await gateway.code(started["id"])
            checking = asyncio.create_task(api.check(started["id"], code))
            await eventually(lambda: first.asked() == 4, "the source is asked")
            serve.kill()
            await asyncio.gather(checking, return_exceptions=True)
        serve = await site.serve()
        async with Api(serve.base) as api:
            settled = await api.read(started["id"], wait=20)
        assert ((200, "verified"), "second") == (settled.said, settled["ownership"]["source"])
        assert 4 == first.asked()


async def test_an_official_helps_while_the_sources_fail(
    site: Installation, gateway: ScriptedGateway, operators: list[SimulatedOperator],
) -> None:
    """With nobody answering, the reply of 1414 that an official brings decides; what a source has said stands."""
    for operator in operators:
        operator.plays(garbage="html")
    serve, _ = await asyncio.gather(site.serve(), site.worker())
    citizen, stranger, refused = EVERYBODY[:3]
    reply = (
        f"So TB {citizen.phone}. Ho ten: TRAN THI DAO TAO GIA; Ngay sinh: 13/12/1990; "
        f"So giay to: {citizen.id_number}; Loai giay to: CCCD"
    )
    async with Api(serve.base) as api, Api(serve.base, OTHER_KEY) as unasked:
        waiting = await citizen.proves(api, gateway, "assisted_registration")
        assert (200, "checking_ownership") == waiting.said
        path = f"/v1/verifications/{waiting['id']}/ownership-evidence"
        assert (403, "forbidden") == (await unasked.call("POST", path, {"tttb_reply": reply})).said
        nothing = await api.call("POST", path, {"tttb_reply": "Sai cu phap. Soan TTTB <so giay to> gui 1414."})
        assert ((200, "checking_ownership"), "wrong_syntax") == (nothing.said, nothing["evidence"]["note"])
        done = await api.call("POST", path, {"tttb_reply": reply}, idempotency_key="attested")
        assert ((200, "verified"), {"outcome": "match", "confidence": "full", "note": None}) == (
            done.said, done["evidence"],
        )
        assert {"status": "match", "source": "attested", "assurance": "attested_reply"}.items() <= (
            done["ownership"].items()
        )
        again = await api.call("POST", path, {"tttb_reply": reply}, idempotency_key="attested")
        assert ((200, "verified"), None) == (again.said, again["evidence"])
        redeemed = await api.redeem(done["result_token"], id_number=citizen.id_number)
        assert "attested_reply" == redeemed["verified_claims"]["verification"]["assurance_level"]

        other = await stranger.proves(api, gateway, "assisted_registration")
        answer = await api.call("POST", f"/v1/verifications/{other['id']}/ownership-evidence", {
            "tttb_reply": reply.replace(citizen.phone, stranger.phone),
        })
        assert ("rejected", "sim_not_owned", "mismatch") == (
            answer["status"], answer["reason"], answer["evidence"]["outcome"],
        )

        for operator in operators:
            operator.plays()
        last = await refused.proves(api, gateway, "assisted_registration", id_number=citizen.id_number)
        assert ("rejected", "sim_not_owned") == (last["status"], last["reason"])
        over = await api.call("POST", f"/v1/verifications/{last['id']}/ownership-evidence", {
            "tttb_reply": reply.replace(citizen.phone, refused.phone),
        })
        assert (409, "already_final") == over.said
