"""What ``otp-service sources`` finds out about the sources, and what ``otp-service ask-test`` tells of a question."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from settings_harness import load
from typer.testing import CliRunner
from yarl import URL

from otp_service import plugins
from otp_service.cli import app
from otp_service.core.errors import ConfigurationError
from otp_service.core.evidence import ComparedField, Evidence, OwnershipOutcome, OwnershipQuestion
from otp_service.core.ports import AccessToken, HttpRequest, HttpResponse
from otp_service.core.source_ports import Conversation
from otp_service.source_tools import Installed, Use, _installed, ask_test, request_line, uses

HERE = "test_source_tools"
MATCH, MISMATCH = OwnershipOutcome.MATCH, OwnershipOutcome.MISMATCH
QUESTION = OwnershipQuestion(
    "+84900000001", ("052090000001",), full_name="Nguyễn Văn An", birth_date="1990-01-01", reference="test-1",
)
OTHERS = OwnershipQuestion("+84900000001", ("052090000002",), reference="test-2")
KNOWN = OwnershipQuestion("+84900000001", ("052090000001",), reference="test-6")
STRANGER = OwnershipQuestion("+84980000001", ("052090000001",), reference="test-3")


class Operator:
    """An adapter that speaks HTTP with tokens; the answer's body says what it has learnt."""

    name = "operator"
    assurance = "operator_match"
    real = True
    repeatable = False
    contract = "a page"
    knows_swaps: bool
    timeout_s = 5.0

    def __init__(self, *, url: str, knows_swaps: bool = True) -> None:
        self._url = url
        self.knows_swaps = knows_swaps

    def build_token_request(self, refresh: str | None) -> HttpRequest:
        """Ask for a token."""
        del refresh
        return HttpRequest("POST", f"{self._url}/token", body=b"S3cret")

    def parse_token(self, response: HttpResponse) -> AccessToken | None:
        """Read the token."""
        return AccessToken(response.body.decode(), 300)

    def converse(self, question: OwnershipQuestion, token: str = "") -> Conversation:
        """Ask with the phone in the path, as APIs do."""
        answer = yield HttpRequest(
            "GET", f"{self._url}/v1/{question.phone_number}/match?id={question.id_numbers[0]}",
            {"authorization": f"Bearer {token}"},
        )
        if not isinstance(answer, HttpResponse):
            return Evidence(OwnershipOutcome.ERROR, self.name, note=answer.code)
        outcome = OwnershipOutcome(answer.body.decode())
        fields = {ComparedField.ID_NUMBER: outcome, ComparedField.FULL_NAME: MISMATCH}
        swapped = question.sim_swap_max_age_h is not None if self.knows_swaps else None
        return Evidence(outcome, self.name, self.assurance, fields=fields, sim_swapped=swapped)


class Decided:
    """An adapter whose options decide what it is."""

    name = "decided"

    def __init__(self, *, assurance: str) -> None:
        self.assurance = assurance

    @property
    def real(self) -> bool:
        """As its options say."""
        return True


# -- what there is ----------------------------------------------------------------------------------------------------


def test_an_adapter_tells_what_it_is() -> None:
    """By its class attributes; what it only declares, or computes, is a matter of its options."""
    assert Installed("tttb", "subscriber_table", real=None, contract="") == _installed("tttb")
    assert Installed(
        f"{HERE}:Operator", "operator_match", real=True, repeatable=False, knows_swaps=None, contract="a page",
    ) == _installed(f"{HERE}:Operator")
    assert Installed(f"{HERE}:Decided", None, real=None) == _installed(f"{HERE}:Decided")


def test_an_adapter_that_does_not_load_is_shown_with_its_problem() -> None:
    """The list is there for whoever looks for the reason."""
    broken = _installed(f"{HERE}:Nothing")

    assert f"'{HERE}:Nothing' of {plugins.SOURCES} cannot be loaded: " in broken.problem


def test_sources_in_use_come_first_and_the_others_are_not_used(tmp_path: Path) -> None:
    """Each tells its places and bounds; one that no route names is not made, whatever is wrong with it."""
    rows, problems = uses(load({
        "store": {"data_dir": str(tmp_path)},
        "ownership": {
            "sources": ["second=3 tttb", "nowhere"],
            "routes": [{"carriers": ["viettel"], "purposes": ["registration"], "sources": ["second"]}],
        },
        "sources": {
            "spare": {"adapter": "unheard_of"},
            "second": {
                "adapter": f"{HERE}:Operator", "deadline_s": 2.5, "budget": 1000, "budget_period": "7d",
                "options": {"url": "x"},
            },
        },
    }))

    second, tttb, nowhere, spare = rows
    assert Use(
        "second", f"{HERE}:Operator", ("viettel for registration: tier 1, weight 1", "all: tier 1, weight 3"),
        "2.5 s, 1000 per 7 d", real=True,
    ) == second
    assert Use("tttb", "tttb", ("all: tier 1, weight 1",), "5 s", real=False) == tttb
    assert nowhere.problem.startswith("no 'nowhere' among otp_service.ownership (installed: ")
    assert Use("spare", "unheard_of", (), "5 s") == spare
    assert ["ok, reaches a real register", "ok", nowhere.problem, "not used"] == [row.state for row in rows]
    assert [] == problems
    assert [] == list(tmp_path.iterdir()), "looking makes no secrets"


def test_what_the_purposes_miss_is_told(tmp_path: Path) -> None:
    """Sources that are well each may not be enough together."""
    _, problems = uses(load({
        "store": {"data_dir": str(tmp_path)}, "purposes": {"registration": {"sim_swap": "reject"}},
    }))

    assert ['purposes.registration: sim_swap = "reject", and no source knows of changed SIMs: tttb'] == problems


# -- one question -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shown", "url"), [
    ("POST https://api.example/kyc-match/v0.4/match", "https://api.example/kyc-match/v0.4/match"),
    ("POST https://api.example:8443/a", "https://user:S3cret@api.example:8443/a?phone=0900000001#x"),
    ("POST https://api.example/v1/…/match", "https://api.example/v1/0900000001/match"),
    ("POST https://api.example/v1/…/…", "https://api.example/v1/%2B84900000001/052090000001"),
    ("POST https://api.example/…/of/…", "https://api.example/1990-01-01/of/NGUYEN-VAN-AN"),
    ("POST https://api.example/…/of/…", "https://api.example/An/of/Nguy%E1%BB%85n"),
    ("POST http://[::1]:8080/", "http://[::1]:8080/"),
])
def test_a_request_is_told_without_personal_data(shown: str, url: str) -> None:
    """Neither query nor user, and nothing in the path that may be about the person."""
    assert shown == request_line("POST", URL(url, encoded=True), QUESTION)


async def asked(question: OwnershipQuestion, tree: dict[str, Any], folder: Path, *, source: str = "") -> list[str]:
    """Ask on a store of its own; returns the steps, times left out."""
    steps: list[str] = []
    await ask_test(
        load({"store": {"data_dir": str(folder)}} | tree), question,
        lambda step, text: steps.append(f"{step}: {text.rpartition(' (')[0] if text.endswith(' ms)') else text}"),
        source=source,
    )
    return steps


@pytest.mark.parametrize(("question", "carrier", "last"), [
    (QUESTION, "mobifone", [
        "evidence: match, subscriber_table, id_number match, full_name mismatch, birth_date match", "result: match",
    ]),
    (OTHERS, "mobifone", ["evidence: mismatch, subscriber_table, id_number mismatch", "result: mismatch"]),
    (STRANGER, "viettel", [
        "evidence: not_available, not_a_subscriber, id_number not_available", "result: not_available, not_a_subscriber",
    ]),
])
async def test_the_shipped_table_is_asked(
    question: OwnershipQuestion, carrier: str, last: list[str], tmp_path: Path,
) -> None:
    """Each answer is told step by step."""
    assert [
        f"route: {carrier} by prefix, registration: tttb", "source: tttb: adapter tttb", *last,
    ] == await asked(question, {}, tmp_path)


@asynccontextmanager
async def provider(*answers: str) -> AsyncIterator[tuple[str, list[str]]]:
    """Run an operator's API with these answers in turn; yields its address and what it was asked."""
    heard: list[str] = []
    left = list(answers)

    async def answer(request: web.Request) -> web.Response:
        heard.append(f"{request.path_qs} {request.headers.get('authorization', '')}")
        if request.path == "/token":
            return web.Response(text="S3cret-token")
        return web.Response(text=left.pop(0))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}", heard
    finally:
        await runner.cleanup()


def operated(url: str, sources: list[str], **more: Any) -> dict[str, Any]:
    """Return a tree with an operator, asked or not."""
    return {
        "ownership": {"sources": sources},
        "sources": {"operator": {"adapter": f"{HERE}:Operator", "options": {"url": url}}},
    } | more


async def test_a_real_source_is_asked_step_by_step(tmp_path: Path) -> None:
    """One that is not in use, with its token; no step says whom it is about, or carries a secret."""
    async with provider("match") as (url, heard):
        steps = await asked(QUESTION, operated(url, ["tttb"]), tmp_path, source="operator")

    assert [
        "route: mobifone by prefix, registration: operator",
        f"source: operator: adapter {HERE}:Operator, a real register",
        f"request: POST {url}/token", "answer: 200",
        f"request: GET {url}/v1/…/match", "answer: 200",
        "evidence: match, operator_match, id_number match, full_name mismatch, SIM changed lately: no",
        "result: match",
    ] == steps
    assert ["/token ", "/v1/+84900000001/match?id=052090000001 Bearer S3cret-token"] == heard


async def test_the_chain_goes_on_where_one_does_not_answer(tmp_path: Path) -> None:
    """Its second source is asked, and what kept the first from answering is told."""
    steps = await asked(KNOWN, operated("http://127.0.0.1:1", ["operator", "tttb"]), tmp_path)

    assert "route: mobifone by prefix, registration: operator, then tttb" == steps[0]
    assert "request: POST http://127.0.0.1:1/token" in steps
    assert "answer: none: ClientConnectorError" in steps
    assert [
        "evidence: error, no_token", "source: tttb: adapter tttb",
        "evidence: match, subscriber_table, id_number match", "result: match",
    ] == steps[-4:]


async def test_the_routes_of_the_purpose_decide(tmp_path: Path) -> None:
    """Also where no purpose is named and the first that asks is taken."""
    tree = operated("http://127.0.0.1:1", ["operator"])
    tree["ownership"]["routes"] = [{"purposes": ["registration"], "sources": ["tttb"]}]

    assert "evidence: match, subscriber_table, id_number match" in await asked(KNOWN, tree, tmp_path)


async def test_the_result_is_what_the_purpose_makes_of_it(tmp_path: Path) -> None:
    """A changed SIM and a name that differs count where the purpose says so."""
    swaps = OwnershipQuestion("+84900000001", ("052090000001",), reference="test-4", sim_swap_max_age_h=24)
    rejects = {"purposes": {"registration": {"sim_swap": "reject"}, "account_link": {"must_match": ["full_name"]}}}
    async with provider("match", "match") as (url, _):
        tree = operated(url, ["operator"], **rejects)
        refused = await asked(swaps, tree, tmp_path)
        differs = await asked(
            OwnershipQuestion("+84900000001", ("052090000001",), reference="test-5", purpose="account_link"), tree,
            tmp_path,
        )

    assert "result: match, which registration refuses as a risk: the SIM was changed lately" == refused[-1]
    assert "result: mismatch, other_field_differs" == differs[-1]


@pytest.mark.parametrize("purpose", ["sign_in", "nowhere"])
async def test_a_purpose_that_asks_nobody_is_refused(purpose: str, tmp_path: Path) -> None:
    """With those there are; nothing is opened."""
    question = OwnershipQuestion("+84900000001", ("052090000001",), purpose=purpose)

    with pytest.raises(ConfigurationError, match="there are registration, account_link, assisted_registration"):
        await asked(question, {}, tmp_path)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(("told", "given", "typed"), [
    ("that is not a Vietnamese mobile number", ("-", "-"), "123\n052090000001\n"),
    ("that is neither a CCCD (12 digits) nor a CMND (9 digits)", ("0900000001", "05209000000"), ""),
    ("that is neither a CCCD (12 digits) nor a CMND (9 digits)", ("-", "-"), "0900000001\n"),
    ("that is not a birth date: write 1990-01-31 or 31/01/1990", ("0900000001", "-", "--birth-date", "1990"),
     "052090000001\n"),
])
def test_what_cannot_be_asked_is_refused(told: str, given: tuple[str, ...], typed: str) -> None:
    """Before anything is opened, and without repeating it; from standard input the phone comes first."""
    found = CliRunner().invoke(app, ["ask-test", *given], input=typed)

    assert (2, f"otp-service: {told}\n") == (found.exit_code, found.stderr)
