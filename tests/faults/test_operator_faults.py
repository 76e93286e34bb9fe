"""The ``camara`` source against a simulated operator that fails in every way: never a match that is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from support.http import Api, Reply
from support.needles import Needles, files
from support.operator import SECRET
from support.processes import ORIGIN, Installation, eventually, free_port
from support.simulated_operator import (
    BIRTH_DATE,
    EVERYBODY,
    FULL_NAME,
    Citizen,
    SimulatedOperator,
    camara,
    metric,
    metrics,
    operator_process,
    simulated,
)
from support.sms_gateway import ScriptedGateway

from otp_service.core.names import plain

pytestmark = pytest.mark.slow

INLINE_S = 0.5
#: What a check may take beyond the inline deadline.
GRACE_S = 1.0
FAST = {
    "OWNERSHIP__SOURCES": "carrier", "OWNERSHIP__INLINE_DEADLINE_S": str(INLINE_S),
    "OWNERSHIP__WORKER_DEADLINE_S": "1.5", "OWNERSHIP__RETRY_BACKOFF_S": "0.2",
}

#: No token of the past is taken, so that the token endpoint is asked.
_NEEDS_TOKEN = {"answer": {"status": 401, "code": "UNAUTHENTICATED"}}
FAULTS: dict[str, dict[str, Any]] = {
    "down": {"down": True},
    "late": {"latency_ms": 5_000},
    "HTML": {"garbage": "html"},
    "cut off": {"garbage": "truncated"},
    "empty": {"garbage": "empty"},
    "values of another type": {"garbage": "wrong_types"},
    "500": {"answer": {"status": 500}},
    "no permission": {"answer": {"status": 403}},
    "wrong path": {"answer": {"status": 404, "code": "NOT_FOUND"}},
    "throttled, rest unreadable": {"answer": {"status": 429, "retry_after": "soon"}},
    "no token is taken": _NEEDS_TOKEN,
    "token endpoint down": {**_NEEDS_TOKEN, "token": {"down": True}},
    "token endpoint late": {**_NEEDS_TOKEN, "token": {"latency_ms": 5_000}},
    "token in HTML": {**_NEEDS_TOKEN, "token": {"garbage": "html"}},
    "token of another type": {**_NEEDS_TOKEN, "token": {"garbage": "wrong_types"}},
    "token endpoint 500": {**_NEEDS_TOKEN, "token": {"answer": {"status": 500}}},
    "client unknown": {**_NEEDS_TOKEN, "token": {"reject": True}},
}


@pytest.fixture
async def operator() -> AsyncIterator[SimulatedOperator]:
    """Give an operator whose subscribers everybody is."""
    async with simulated() as operator:
        yield operator


@pytest.fixture
async def site(
    tmp_path: Path, gateway: ScriptedGateway, operator: SimulatedOperator,
) -> AsyncIterator[Installation]:
    """Give an installation that asks the operator."""
    async with Installation(
        tmp_path / "site", gateway_url=gateway.url, **FAST, **operator.settings("carrier"),
    ) as site:
        yield site
        assert [] == errors(site)


def errors(site: Installation) -> list[str]:
    """Return the log lines that call somebody out of bed: a source that fails is none of them."""
    lines = [line for run in site.runs for line in run.stdout.splitlines()]
    return [line for line in lines if '"level":"error"' in line or '"level":"critical"' in line]


async def started(api: Api, gateway: ScriptedGateway, citizen: Citizen, purpose: str) -> tuple[Reply, str]:
    """Start a verification; returns it with its code."""
    reply = await citizen.starts(api, purpose)
    assert (201, "pending") == reply.said, reply.body
    return reply, await gateway.code(reply["id"])


async def checked(api: Api, verification_id: str, code: str) -> Reply:
    """Check the right code, which must not take longer than promised."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    reply = await api.check(verification_id, code)
    assert loop.time() - began < INLINE_S + GRACE_S
    return reply


async def test_verdicts_of_an_operator(tmp_path: Path, gateway: ScriptedGateway) -> None:
    """Each answer of an operator has its verdict, by secret and by key; one that dies and returns loses nothing."""
    pair = generate_private_key(SECP256R1())
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    private.write_bytes(pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(pair.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    async with Installation(
        tmp_path / "site", gateway_url=gateway.url, **FAST, **camara("carrier", base),
        **camara("by_key", base, private_key_file=str(private)),
    ) as site:
        with (site.config_dir / "default.toml").open("a") as settings:
            settings.write('\n[[ownership.routes]]\npurposes = ["account_link"]\nsources = ["by_key"]\n')
        simulator = await operator_process(site, port, "--public-key", str(public))
        serve, _ = await asyncio.gather(site.serve(), site.worker())
        async with Api(serve.base) as api:
            await _verdicts(api, gateway)
            # One token for each of the two credentials, however many questions.
            assert {"token": 2, "match": 9} == await _asked(base)

            simulator.kill()
            last = Citizen(9, "0900000009", "210000009")
            started = await last.starts(api, full_name="ĐỖ THỊ I", birth_date="1979-09-09")
            proven = await checked(api, started["id"], await gateway.code(started["id"]))
            assert (200, "checking_ownership") == proven.said
            await operator_process(site, port, "--public-key", str(public))
            final = await api.read(proven["id"], wait=20)
            assert ((200, "verified"), "operator_match") == (final.said, final["ownership"]["assurance"])
            # The old token is asked with once, and replaced once.
            assert {"token": 1, "match": 2} == await _asked(base)
        assert [] == errors(site)


async def _verdicts(api: Api, gateway: ScriptedGateway) -> None:
    """Ask about the sample's subscribers."""
    match = "operator_match"
    for at, (phone, given, verdict, assurance) in enumerate([
        ("0900000001", {"id_number": "052090000001"}, ("verified", None, "match"), match),
        ("0900000002", {"id_number": "052090000001"}, ("rejected", "sim_not_owned", "mismatch"), match),
        ("0967000000", {"id_number": "052090000001"}, ("rejected", "subscriber_unknown", "not_available"), None),
        ("0900000006", {"id_number": "052090000006"}, ("rejected", "subscriber_unknown", "not_available"), None),
        ("0900000004", {"id_number": "052090000004"}, ("rejected", "subscriber_unknown", "not_available"), None),
        (
            "0900000003", {"id_number": "052090000033", "previous_id_number": "210000003"},
            ("verified", None, "match"), f"{match}_previous_id",
        ),
    ]):
        started = await api.start(phone, "registration", end_user_ip=f"203.0.{at}.9", **given)
        done = await api.check(started["id"], await gateway.code(started["id"]))
        assert (200, *verdict) == (done.status, done["status"], done["reason"], done["ownership"]["status"]), phone
        assert ("carrier", assurance) == (done["ownership"]["source"], done["ownership"]["assurance"]), phone
        if done["status"] == "verified":
            redeemed = await api.redeem(done["result_token"], id_number=given["id_number"])
            assert assurance == redeemed["verified_claims"]["verification"]["assurance_level"]
    for phone, id_number, status in (
        ("0320000001", "052090000001", "verified"), ("0330000002", "052090000001", "rejected"),
    ):
        by_key = await api.start(phone, "account_link", id_number=id_number, end_user_ip="203.0.30.9")
        done = await api.check(by_key["id"], await gateway.code(by_key["id"]))
        assert (status, "by_key") == (done["status"], done["ownership"]["source"])


async def _asked(base: str) -> dict[str, int]:
    async with Api(base, None) as anybody:
        counts = await anybody.get("/asked")
    return {endpoint: counts[endpoint] for endpoint in ("token", "match")}


async def test_no_fault_makes_a_match(
    site: Installation, gateway: ScriptedGateway, operator: SimulatedOperator,
) -> None:
    """Under each fault the citizen waits and is never verified; what stays away is refused (Invariants 5 and 8)."""
    site.settings |= {"PURPOSES__ACCOUNT_LINK__OWNERSHIP_TIMEOUT_S": "2", "LOGGING__LEVEL": "debug"}
    serve, worker = await asyncio.gather(site.serve(), site.worker())
    async with Api(serve.base) as api:
        patient, impatient = EVERYBODY[:len(FAULTS)], EVERYBODY[len(FAULTS):2 * len(FAULTS)]
        waiting = await asyncio.gather(*(started(api, gateway, one, "registration") for one in patient))
        leaving = await asyncio.gather(*(started(api, gateway, one, "account_link") for one in impatient))
        # A token that was good must not help either.
        assert (200, "verified") == (await EVERYBODY[-1].proves(api, gateway)).said
        for fault, first, second in zip(FAULTS, waiting, leaving, strict=True):
            operator.plays(**FAULTS[fault])
            proven = await asyncio.gather(*(checked(api, one["id"], code) for one, code in (first, second)))
            assert [(200, "checking_ownership")] * 2 == [one.said for one in proven], fault
            assert [None] * 2 == [one["result_token"] for one in proven], fault
            await _seen_by_the_browser(api, first[0], "checking_ownership", None)
            seen = _calls(operator)
            await eventually(lambda before=seen: _calls(operator) > before, f"the worker asks again: {fault}")
        for one, _ in leaving:
            final = await api.read(one["id"], wait=20)
            assert ("rejected", "ownership_unavailable") == (final["status"], final["reason"])
            assert "error" == final["ownership"]["status"]
        assert (409, "not_verified") == (
            await api.redeem(final["result_token"], id_number=impatient[-1].id_number)
        ).said
        await _seen_by_the_browser(api, leaving[-1][0], "rejected", "ownership_not_confirmed")
        assert {"checking_ownership"} == {(await api.read(one["id"]))["status"] for one, _ in waiting}
        waits = [asyncio.create_task(api.read(one["id"], wait=20)) for one, _ in waiting]
        operator.plays()
        assert {(200, "verified")} == {(await wait).said for wait in waits}
        rendered = [await metrics(serve), await metrics(worker)]
    for page in rendered:
        assert 0 < (metric(page, "otp_ownership_checks_total", source="carrier", outcome="error") or 0)
    assert [0, 0] == [await serve.stop(), await worker.stop()]
    _nothing_personal(site, operator, gateway, "\n".join(rendered))


async def _seen_by_the_browser(api: Api, reply: Reply, status: str, reason: str | None) -> None:
    """Read what a browser is told, which is no detail (Invariant 9)."""
    async with Api(api.base, reply["client_token"]) as browser:
        seen = await browser.get(f"/v1/verifications/{reply['id']}", Origin=ORIGIN)
    assert (status, reason) == (seen["status"], seen["reason"])
    assert not {"ownership", "result_token"} & set(seen.body)


def _calls(operator: SimulatedOperator) -> int:
    return operator.asked("match") + operator.asked("token")


def _nothing_personal(
    site: Installation, operator: SimulatedOperator, gateway: ScriptedGateway, rendered: str,
) -> None:
    """Find nobody's data and no secret in files, logs and metrics (Invariant 5)."""
    needles = Needles()
    for one in EVERYBODY:
        needles.number(f"phone {one.at}", one.phone.removeprefix("0"))
        needles.number(f"ID number {one.at}", one.id_number)
    for name, text in {
        "name": FULL_NAME, "plain name": plain(FULL_NAME), "birth date": BIRTH_DATE, "client secret": SECRET,
        **{f"access token {at}": token for at, token in enumerate(operator.tokens)},
    }.items():
        needles.text(name, text)
    for sms in gateway.taken:
        needles.code(sms.code)
    hays = {"metrics": rendered.encode()} | {str(path): content for path, content in files(site)}
    ids = {sms.verification_id.encode() for sms in gateway.taken}
    stored = b"".join(content for name, content in hays.items() if "appendonlydir" in name)
    logged = b"".join(content for name, content in hays.items() if "/logs/" in name)
    assert operator.tokens
    assert all(one in stored and one in logged for one in ids)
    assert {} == {name: found for name, hay in hays.items() if (found := needles.found_in(hay))}


async def test_slow_and_flapping_operators(
    site: Installation, gateway: ScriptedGateway, operator: SimulatedOperator,
) -> None:
    """Who answers late or every second time brings every verdict; who answers falsely, what they say (Invariant 8)."""
    serve, _ = await asyncio.gather(site.serve(), site.worker())
    late, first, *flapping = EVERYBODY[:7]
    owner, stranger = EVERYBODY[7:9]
    async with Api(serve.base) as api:
        one, code = await started(api, gateway, late, "registration")
        operator.plays(latency_ms=round(INLINE_S * 1600))
        assert (200, "checking_ownership") == (await checked(api, one["id"], code)).said
        assert (200, "verified") == (await api.read(one["id"], wait=20)).said

        asked = operator.asked()
        operator.plays(down=True, every=2)
        proven = [await one.proves(api, gateway) for one in (first, *flapping)]
        assert {(200, "verified"), (200, "checking_ownership")} >= {reply.said for reply in proven}
        finals = await asyncio.gather(*(api.read(reply["id"], wait=20) for reply in proven))
        assert {(200, "verified")} == {reply.said for reply in finals}
        assert 2 * len(proven) - 1 <= operator.asked() - asked

        operator.plays(wrong=True)
        refused = await owner.proves(api, gateway)
        assert ("rejected", "sim_not_owned") == (refused["status"], refused["reason"])
        taken_in = await stranger.proves(api, gateway, id_number=owner.id_number)
        assert (200, "verified") == taken_in.said


async def test_tokens_of_all_processes(
    site: Installation, gateway: ScriptedGateway, operator: SimulatedOperator,
) -> None:
    """API and worker share one token; one that is refused meanwhile is replaced once, however many wait for it."""
    serve, second, _ = await asyncio.gather(site.serve(), site.serve(), site.worker())
    people = iter(EVERYBODY)
    async with Api(serve.base) as api, Api(second.base) as other:
        operator.plays(token={"lasts_calls": 3})
        assert (200, "verified") == (await next(people).proves(api, gateway)).said
        assert (200, "verified") == (await next(people).proves(other, gateway)).said
        operator.plays(answer={"status": 503})
        waiting = await next(people).proves(api, gateway)
        assert (200, "checking_ownership") == waiting.said
        operator.plays()
        assert (200, "verified") == (await api.read(waiting["id"], wait=20)).said
        assert 1 == operator.asked("token")

        begun = [
            (where, *await started(api, gateway, next(people), "registration")) for where in (api, other) * 4
        ]
        seen = operator.asked()
        done = await asyncio.gather(*(where.check(one["id"], code) for where, one, code in begun))
        assert {(200, "verified")} == {reply.said for reply in done}
        assert 2 == operator.asked("token")
        assert len(begun) < operator.asked() - seen <= 2 * len(begun)


async def test_an_operator_that_wants_a_rest(
    site: Installation, gateway: ScriptedGateway, operator: SimulatedOperator,
) -> None:
    """Told to wait (Retry-After) nobody is asked before that, for whomever; then each verdict comes (Invariant 8)."""
    rest_s = 2
    serve, _ = await asyncio.gather(site.serve(), site.worker())
    loop = asyncio.get_running_loop()
    async with Api(serve.base) as api:
        begun = [await started(api, gateway, one, "registration") for one in EVERYBODY[:6]]
        operator.plays(answer={"status": 429, "code": "TOO_MANY_REQUESTS", "retry_after": rest_s})
        began = loop.time()
        first = await checked(api, begun[0][0]["id"], begun[0][1])
        operator.plays()
        rest = await asyncio.gather(*(checked(api, one["id"], code) for one, code in begun[1:]))
        assert {(200, "checking_ownership")} == {reply.said for reply in (first, *rest)}
        assert (1, 1) == (operator.asked("match"), operator.asked("token"))
        page = await metrics(serve)
        assert 5 == metric(page, "otp_source_skips_total", source="carrier", reason="resting")
        assert 1 == metric(page, "otp_source_open", source="carrier")
        await eventually(lambda: operator.asked("match") > 1, "somebody asks again")
        assert loop.time() - began > rest_s * 0.95
        finals = await asyncio.gather(*(api.read(one["id"], wait=20) for one, _ in begun))
        assert {(200, "verified")} == {reply.said for reply in finals}
        assert 1 + len(begun) == operator.asked("match")


async def test_changed_sims(site: Installation, gateway: ScriptedGateway, operator: SimulatedOperator) -> None:
    """A SIM changed lately rejects or is noted as the purpose says; without that answer nobody is verified."""
    site.settings |= {
        "PURPOSES__REGISTRATION__SIM_SWAP": "reject", "PURPOSES__ACCOUNT_LINK__SIM_SWAP": "record",
        "PURPOSES__REGISTRATION__SIM_SWAP_MAX_AGE_H": "24",
    }
    serve, _ = await asyncio.gather(site.serve(), site.worker())
    changed, noted, long_ago, asked_later, late = EVERYBODY[:5]
    swaps = {changed.phone: 12, noted.phone: 12, late.phone: 12, long_ago.phone: 25}
    async with Api(serve.base) as api:
        operator.plays(swaps=swaps)
        begun, code = await started(api, gateway, changed, "registration")
        refused = await api.check(begun["id"], code)
        assert ("rejected", "risk", "match") == (refused["status"], refused["reason"], refused["ownership"]["status"])
        await _seen_by_the_browser(api, begun, "rejected", "ownership_not_confirmed")
        assert (200, "verified") == (await noted.proves(api, gateway, "account_link")).said
        assert (200, "verified") == (await long_ago.proves(api, gateway)).said
        page = await metrics(serve)
        for purpose, effect in (("registration", "reject"), ("account_link", "record")):
            assert 1 == metric(page, "otp_sim_swaps_total", purpose=purpose, effect=effect)

        # Every second call is the one about the SIM: the ID number agrees, and that is not enough.
        for script in ({"answer": {"status": 503}}, {"garbage": "wrong_types"}):
            operator.plays(swaps=swaps, every=2, **script)
            waiting = await (asked_later if "answer" in script else late).proves(api, gateway)
            assert (200, "checking_ownership") == waiting.said
            seen = operator.asked("check")
            await eventually(lambda before=seen: operator.asked("check") > before, "the worker asks about the SIM")
            assert "checking_ownership" == (await api.read(waiting["id"]))["status"]
            operator.plays(swaps=swaps)
            final = await api.read(waiting["id"], wait=20)
            expected = ("verified", None) if "answer" in script else ("rejected", "risk")
            assert expected == (final["status"], final["reason"])
