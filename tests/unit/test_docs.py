"""The documents say what the code does: tables, commands, links, names, and examples that are run as they stand."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import aiohttp
import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fakeredis import FakeAsyncRedis
from pydantic_core import PydanticUndefined
from support.model import WAITS_MIN
from web_harness import ID_NUMBER, KEY, PHONE, START, Web, serve

from otp_service import plugins, source_tools
from otp_service.accounts_from_settings import make_accounts
from otp_service.cli import _welcome
from otp_service.cli import app as command_line
from otp_service.core import errors, magic_numbers
from otp_service.core.errors import ConfigurationError
from otp_service.core.evidence import (
    ASSURANCE_LEVELS,
    ComparedField,
    Evidence,
    EvidenceRules,
    OwnershipOutcome,
    OwnershipQuestion,
)
from otp_service.core.keyring import SHARDS
from otp_service.core.limits import LIMIT_KINDS, Limit
from otp_service.core.magic_numbers import Behaviour
from otp_service.core.ports import (
    GATEWAY_AT_FAULT,
    HEALED_ELSEWHERE,
    RETRYABLE,
    DeliveryReport,
    HttpResponse,
    ReportingGateway,
    SendResult,
    SmsGateway,
    SmsMessage,
    Supports,
)
from otp_service.core.result_token import POSSESSION
from otp_service.core.source_ports import HttpSource, OwnershipSource, SourceTraits
from otp_service.core.tttb.evidence import NOTES, Confidence
from otp_service.core.verification import Delivery, OwnershipPolicy, Purpose, Reason, Status
from otp_service.delivery import exchange, sender
from otp_service.gateway_tools import Installed, installed
from otp_service.inquiry.sources import AskedSource
from otp_service.ownership.subscribers.importing import Watcher, import_subscribers
from otp_service.ownership.subscribers.rows import COLUMNS
from otp_service.ownership.subscribers.table import STATUSES
from otp_service.settings import GatewaySection, Settings, SourceSection, load_settings
from otp_service.settings.base import Section
from otp_service.settings.ownership import OwnershipSection
from otp_service.settings.policies import PurposeSection
from otp_service.settings.sources import _path_of
from otp_service.sources_from_settings import make_sources
from otp_service.storage import keys, scripts
from otp_service.telemetry.metrics import REPORT_OUTCOMES, SKIP_REASONS, SOURCE_SKIPS, Metrics
from otp_service.web.answers import ClaimsAnswer, VerificationAnswer
from otp_service.web.fake_gateway.handlers import FakeGatewayHandlers
from otp_service.web.fake_gateway.provider import FakeProvider
from otp_service.web.fake_gateway.script import Script, read_script
from otp_service.web.operator.kyc_match import KycMatch
from otp_service.web.operator.oauth import OAuthClient
from otp_service.web.operator.script import Script as OperatorScript
from otp_service.web.operator.script import TokenFaults
from otp_service.web.operator.script import read_script as read_operator_script
from otp_service.web.operator.server import Operator, OperatorOptions
from otp_service.web.operator.subscribers import Subscribers
from otp_service.web.requests import _LATER, StartBody
from otp_service.web.routes import OPERATIONS
from sms_adapters import smpp
from sms_adapters.smpp import SmppGateway

ROOT = Path(__file__).parents[2]
README, README_VI = ROOT / "README.md", ROOT / "README.vi.md"
API, ARCHITECTURE, OPERATIONS_PAGE = (ROOT / "docs" / f"{name}.md" for name in ("api", "architecture", "operations"))
GATEWAY_PAGE = ROOT / "docs" / "how-to-add-an-sms-gateway.md"
GATEWAYS_PAGE = ROOT / "docs" / "sms-gateways.md"
SOURCE_PAGE = ROOT / "docs" / "how-to-add-an-ownership-source.md"
OWNERSHIP_PAGE = ROOT / "docs" / "ownership.md"
PAGES = (README, README_VI, *sorted((ROOT / "docs").glob("*.md")))

YES_NO = {README: ("yes", "no"), README_VI: ("có", "không")}

#: Refusals of the contract that this version has no occasion for; the API page says so.
LATER = {"official_not_allowed"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
each_readme = pytest.mark.parametrize("page", [README, README_VI], ids=lambda page: page.name)


# -- reading Markdown --------------------------------------------------------------------------------------------------


def text_of(page: Path) -> str:
    """Return a page's text."""
    return page.read_text("utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)


def table(page: Path, title: str) -> list[list[str]]:
    """Return the cells of the table whose first column has this title, backticks left out of the first cells."""
    lines = text_of(page).splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith(f"| {title} |"))
    rows = []
    for line in lines[start + 2:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def first_names(page: Path, title: str) -> list[str]:
    """Return the code names of a table's first column."""
    return [name for row in table(page, title) for name in re.findall(r"`([^`]+)`", row[0])]


def anchors(page: Path) -> set[str]:
    """Return what a link may point to in a page, as GitHub names headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


# -- links, commands, names --------------------------------------------------------------------------------------------


@each_page
def test_links_resolve(page: Path) -> None:
    """Each link to a file of ours finds it, and each anchor its heading."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def commands() -> Iterator[tuple[str, set[str]]]:
    """Give each command of the command line with its options."""
    group = typer.main.get_command(command_line)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        for inner_name, inner in getattr(command, "commands", {"": command}).items():
            yield f"{name} {inner_name}".strip(), {option for one in inner.params for option in one.opts}


@each_page
def test_commands_exist(page: Path) -> None:
    """Whatever a page tells people to run exists, with its options; so do the targets of make."""
    known = dict(commands())
    groups = {name.split()[0] for name in known if " " in name}
    command = r"(?<!/)otp-service ([a-z]+(?:-[a-z]+)*)(?: ([a-z]+))?((?:\\\n|[^`\n|&])*)"
    for first, second, rest in re.findall(command, text_of(page)):
        name = f"{first} {second}".strip() if first in groups else first
        assert name in known or name in groups
        assert set(re.findall(r"--[a-z-]+", rest)) <= known.get(name, set()), name
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^|DATA_DIR=\S+ )make ([a-z]+)", text_of(page), re.MULTILINE)) <= targets


@each_readme
def test_every_command_is_in_the_readme(page: Path) -> None:
    """The table of commands lists every command, and nothing else."""
    told = first_names(page, "Command" if page is README else "Lệnh")
    assert sorted(name for name, _ in commands()) == sorted(
        re.sub(r"(?: [A-Z_]+)+$", "", name.removeprefix("otp-service ")) for name in told
    )


@each_page
def test_environment_variables_exist(page: Path) -> None:
    """Each variable that a page names is a setting; options are the plugins' own."""
    shipped = tomllib.loads((ROOT / "config" / "default.toml").read_text("utf-8"))
    for variable in re.findall(r"\bOTP__[A-Z0-9_]+", text_of(page)):
        (*tables, name), _ = _path_of(variable)
        if variable == "OTP__SECTION__NAME":
            continue
        if tables[:1] == ["gateways"]:
            assert name in GatewaySection.model_fields or "options" in tables or tables == ["gateways"], variable
            continue
        if tables[:1] == ["sources"]:
            assert name in SourceSection.model_fields or "options" in tables or tables == ["sources"], variable
            continue
        if "options" in tables:
            assert tables[0] in shipped, variable
            continue
        found: Any = shipped
        for part in tables:
            found = found[part]
        assert name in found, variable


def test_metrics_exist(settings: Settings) -> None:
    """The table of metrics lists all of ours, and the queries use no others."""
    metrics = Metrics(
        purposes=settings.purposes, limits=LIMIT_KINDS, gateways=["g"], sources=["s"], scripts=["x"], routes=["/"],
    )
    metrics.http_request("/", "GET", 200, 0)
    known = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in metrics.registry.collect() if family.name.startswith("otp_")
    }
    rows = table(OPERATIONS_PAGE, "Metric")
    assert known == {row[0].strip("`") for row in rows}
    used = set(re.findall(r"\botp_[a-z_]+", "\n".join((*blocks(OPERATIONS_PAGE, "promql"), prose(OPERATIONS_PAGE)))))
    assert used <= known | {f"{name}_bucket" for name in known}
    for name, labels in re.findall(r"\b(otp_[a-z_]+)\{([^}]*)\}", "\n".join(blocks(OPERATIONS_PAGE, "promql"))):
        told = next(row[1] for row in rows if row[0].strip("`") == name.removesuffix("_bucket"))
        assert {label.split("=")[0].rstrip("!") for label in re.findall(r"[a-z]+!?=", labels)} <= set(
            re.findall(r"`([a-z]+)`", told),
        ), name


def test_the_tables_of_reports_and_log_events_are_complete() -> None:
    """Each outcome of a report, each log event of delivery and ownership stands in its table; all are logged."""
    assert list(REPORT_OUTCOMES) == first_names(OPERATIONS_PAGE, "`outcome` of a report")
    told = set(first_names(OPERATIONS_PAGE, "Event"))
    files = [path for path in (ROOT / "otp_service").rglob("*.py") if "fake_gateway" not in path.parts]
    logged = {path: set(re.findall(r'(?:_log\.\w+|\btell)\(\s*"([^"]+)"', path.read_text("utf-8"))) for path in files}
    assert told <= {"request"}.union(*logged.values())
    of_work = {
        name for path, names in logged.items() for name in names
        if path.parent.name in {"delivery", "inquiry"} or path.name in {"delivery_reports.py", "ownership.py"}
    }
    elsewhere = {name for name in of_work if re.match("queue|deadlines|left", name)}
    assert of_work - elsewhere <= told


def test_the_reasons_of_skipped_sms_are_told() -> None:
    """The log's row names each reason that the counter has."""
    [row] = [row for row in table(OPERATIONS_PAGE, "Event") if row[0] == "`sms skipped`"]
    assert {"reason", *SKIP_REASONS} == set(re.findall(r"`([a-z_]+)`", row[2]))


def test_the_reasons_of_skipped_sources_are_told() -> None:
    """The metric's row names each reason that the counter has; the log's table has each field of an answer."""
    [row] = [row for row in table(OPERATIONS_PAGE, "Metric") if row[0] == "`otp_source_skips_total`"]
    assert set(SOURCE_SKIPS) == set(re.findall(r"`([a-z_]+)`", row[2]))
    source = inspect.getsource(import_module("otp_service.service.ownership"))
    logged = re.findall(r'"ownership", (.*?)\n        \)', source, re.DOTALL)[-1]
    assert re.findall(r"\b([a-z_]+)=", logged) == first_names(OPERATIONS_PAGE, "Field of `ownership`")


def test_the_codes_of_our_own_are_told() -> None:
    """Each provider_code that the house gives in place of a provider stands in its table, and nothing else does."""
    given = {
        code for module in (sender, smpp)
        for code in re.findall(r'provider_code="([a-z_]+)"', inspect.getsource(module))
    }
    given |= set(re.findall(r'NoAnswer\("([a-z_]+)"', inspect.getsource(exchange)))
    given |= set(re.findall(r'"([a-z_]+)"', inspect.getsource(exchange.why_not_connected)))
    assert given - {"too_long"} == set(first_names(OPERATIONS_PAGE, "`provider_code` of ours"))


@each_page
def test_json_blocks_are_json(page: Path) -> None:
    """Each example of JSON can be read, and each of TOML."""
    for block in blocks(page, "json"):
        json.loads(block)
    for block in blocks(page, "toml"):
        tomllib.loads(block)


# -- the two READMEs ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def settings() -> Settings:
    """Read the settings that are shipped."""
    return load_settings(ROOT / "config", environ={})


def purpose_row(purpose: Purpose, yes: str, no: str) -> list[str]:
    """Write a purpose as its row, without the sentence."""
    waits = f"{purpose.ownership_timeout_s} s" if purpose.ownership is not OwnershipPolicy.NEVER else "–"
    return [
        f"`{purpose.name}`", f"`{purpose.ownership}`", yes if purpose.assisted else no, str(purpose.code.length),
        f"{purpose.code.validity_s} s", str(purpose.max_attempts), str(purpose.max_resends), f"{purpose.life_s} s",
        waits,
    ]


def limit_row(limit: Limit) -> list[str]:
    """Write a limit as its row, without the sentence."""
    size, unit = next(
        (size, unit) for size, unit in ((86_400 * 2, "d"), (3600, "h"), (1, "s")) if limit.period_s >= size
    )
    period = f"{limit.period_s / (86_400 if unit == 'd' else size):g} {unit}"
    return [
        f"`{limit.name}`", limit.kind.subject.value, str(limit.count), period, str(limit.burst or "–"),
        f"`{limit.mode}`",
    ]


@each_readme
def test_the_table_of_purposes_is_what_is_shipped(page: Path, settings: Settings) -> None:
    """Each purpose of default.toml stands in the table with its numbers, in the same order."""
    rows = table(page, "Purpose" if page is README else "Mục đích")
    assert [purpose_row(purpose, *YES_NO[page]) for purpose in settings.purposes.values()] == [row[:-1] for row in rows]
    assert not any(one.code.previous_code_grace_s or one.consent_required for one in settings.purposes.values())
    assert all(one.evidence == EvidenceRules() for one in settings.purposes.values())
    assert not any(one.asks_before for one in settings.purposes.values())


@each_readme
def test_the_table_of_limits_is_what_is_shipped(page: Path, settings: Settings) -> None:
    """Each limit of default.toml stands in the table with its numbers, in the same order."""
    rows = table(page, "Limit" if page is README else "Giới hạn")
    assert [limit_row(limit) for limit in settings.limits] == [row[:-1] for row in rows]
    waits = ", ".join(map(str, WAITS_MIN[:-1]))
    assert waits in next(row[-1] for row in rows if row[0] == "`phone_failures`")


@each_readme
def test_every_status_is_told_to_the_citizen(page: Path) -> None:
    """Each status and each reason that this version gives has its row, and each code there exists."""
    told = set(first_names(page, "Answer" if page is README else "Câu trả lời"))
    assert {*Status, *Reason} <= told
    assert told <= {*Status, *Reason, *problem_codes()}


def test_both_readmes_say_the_same() -> None:
    """The Vietnamese page has the same sections, examples, tables and links as the English one."""
    for pattern in (r"^(#+) ", r"\]\(((?:docs|config)/[^)]+)\)", r"^\| (`[^|]+`)", r"^(\* \*\*)"):
        assert re.findall(pattern, text_of(README), re.MULTILINE) == re.findall(
            pattern, text_of(README_VI), re.MULTILINE,
        )
    for language in ("sh", "python", "toml"):
        assert blocks(README, language) == blocks(README_VI, language)
    assert blocks(README, "text")[:3] == blocks(README_VI, "text")[:3]


@each_readme
def test_the_house_stands_as_drawn(page: Path) -> None:
    """Each file and folder of the drawing exists."""
    parent = ROOT
    for line in blocks(page, "text")[3].splitlines():
        name = line.split()[0]
        inner = line.startswith(" ")
        assert (parent / name if inner else ROOT / name).exists(), name
        if not inner:
            parent = ROOT / name


def test_the_readme_quotes_the_demo() -> None:
    """What `make run` prints stands in the README word for word."""
    quoted = blocks(README, "text")[0]
    welcome = _welcome("http://127.0.0.1:8080", "http://127.0.0.1:8081", Path(".data")).strip().splitlines()
    assert "\n".join(welcome[:9]) in quoted
    assert "setting up .venv (once, about a minute)" in quoted
    assert 'echo "setting up .venv (once, about a minute)"' in (ROOT / "Makefile").read_text()


# -- examples that run -------------------------------------------------------------------------------------------------


@pytest.fixture
async def service(fake_redis: FakeAsyncRedis) -> AsyncIterator[Web]:
    """Run the service."""
    async with serve(fake_redis) as running:
        yield running


def run_block(source: str, into: dict[str, Any]) -> dict[str, Any]:
    """Execute a block of a page as a module that is imported, not started."""
    exec(compile(source, "example", "exec", dont_inherit=True), into)  # noqa: S102 - our own document
    return into


@pytest.fixture
async def portal(service: Web) -> AsyncIterator[aiohttp.ClientSession]:
    """Give the session of a portal's back end."""
    base = f"http://{service.http.server.host}:{service.http.server.port}"
    async with aiohttp.ClientSession(base, headers={"Authorization": f"Bearer {KEY}"}) as session:
        yield session


async def test_the_first_integration_runs(service: Web, portal: aiohttp.ClientSession) -> None:
    """The README's Python takes the right code to the claims, and opens no account in any other case."""
    [source] = blocks(README, "python")
    example = run_block(source, {"__name__": "example"})
    start, finish = example["start"], example["finish"]

    started, ok = await start(portal, PHONE, ID_NUMBER, "203.0.113.7")
    assert ok
    problem, ok = await finish(portal, started["id"], service.wrong_code(started["id"]), PHONE, ID_NUMBER)
    assert (False, "wrong_code") == (ok, problem["code"])
    claims, ok = await finish(portal, started["id"], service.code(started["id"]), PHONE, ID_NUMBER)
    assert (True, "verified", "+84900000001") == (ok, claims["status"], claims["phone_number"])

    started, _ = await start(portal, "0900000002", ID_NUMBER, "203.0.113.7")
    problem, ok = await finish(portal, started["id"], service.code(started["id"]), "0900000002", ID_NUMBER)
    assert (False, "not_verified", "sim_not_owned") == (ok, problem["code"], problem["claims"]["reason"])


async def test_a_gateway_is_added_as_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example gateway is one, is found by module and class, and passes the test beside it, contract included."""
    adapter, its_test = blocks(GATEWAY_PAGE, "python")
    (tmp_path / "example_gateway.py").write_text(adapter)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "sms_adapters.example", import_module("example_gateway"))
    example = run_block(its_test, {"__name__": "example"})
    functions = [one for name, one in example.items() if name.startswith("test_")]
    contract = [name for name in dir(example["TestContract"]) if name.startswith("test_")]
    assert functions
    assert contract
    for one in (*functions, *(getattr(example["TestContract"](), name) for name in contract)):
        one()
    account = tomllib.loads(blocks(GATEWAY_PAGE, "toml")[1])["gateways"]["example"]
    assert set(account) <= set(GatewaySection.model_fields)
    secrets = {"token": "t", "report_key": "k"}
    made = plugins.make(plugins.GATEWAYS, "example_gateway:ExampleGateway", {**account["options"], **secrets})
    assert isinstance(made, SmsGateway)
    assert isinstance(made, ReportingGateway)


async def test_a_source_is_added_as_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example source is one, is found by module and class, and passes the tests beside it."""
    adapter, its_test = blocks(SOURCE_PAGE, "python")
    (tmp_path / "example_source.py").write_text(adapter)
    monkeypatch.syspath_prepend(str(tmp_path))
    example = run_block(its_test, run_block(adapter, {"__name__": "example"}))
    for name in [name for name in example if name.startswith("test_")]:
        assert inspect.iscoroutinefunction(example[name])
        await example[name](tmp_path)
    options = tomllib.loads(blocks(SOURCE_PAGE, "toml")[1])["sources"]["register"]["options"]
    made = plugins.make(plugins.SOURCES, "example_source:RegisterSource", options)
    assert isinstance(made, OwnershipSource)


@pytest.mark.parametrize("page", [GATEWAY_PAGE, SOURCE_PAGE], ids=lambda page: page.name)
def test_the_examples_keep_to_their_floor(page: Path) -> None:
    """The example adapters import the core and the standard library, nothing else of the house."""
    imported = re.findall(r"^(?:from|import) (otp_service\S*)", blocks(page, "python")[0], re.MULTILINE)
    assert imported
    assert all(name.startswith("otp_service.core") for name in imported)


def test_the_table_of_results_is_complete() -> None:
    """Each result a gateway can give stands in the table, with who is asked next and whom it speaks against."""
    rows = {row[0].strip("`"): row[1:4] for row in table(GATEWAY_PAGE, "Result")}
    sets = (RETRYABLE, HEALED_ELSEWHERE, GATEWAY_AT_FAULT)
    assert {result: ["yes" if result in one else "no" for one in sets] for result in SendResult} == rows
    runbook = set(first_names(OPERATIONS_PAGE, "`result`"))
    assert set(SendResult) - {SendResult.ACCEPTED} == runbook


# -- the page of SMS gateways ------------------------------------------------------------------------------------------


def adapter_row(adapter: Installed) -> list[str]:
    """Write an adapter as `otp-service gateways` does."""
    can: Supports = adapter.supports
    reports = [
        *(["callback"] if can.callback else []), *(["signed"] if can.signed else []),
        *(["polling"] if can.polling else []), *(["connection"] if adapter.connected else []),
    ]
    text = "template" if can.templates else "any alphabet" if can.unicode else "GSM-7"
    return [
        f"`{adapter.name}`", ", ".join(reports) or "no", "yes" if can.deduplicates else "no",
        text + (f", {can.parts} SMS" if can.parts > 1 else ""),
        f"experimental: {adapter.contract}" if adapter.experimental else adapter.contract,
    ]


def shown_default(value: object) -> str:
    """Write a default as the tables do: nothing where there is none."""
    if value in (inspect.Parameter.empty, PydanticUndefined):
        return ""
    if value is None or value in ("", (), {}):
        return "empty"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


#: Constructor arguments that no setting gives.
NO_OPTIONS = {"self", "clock", "stream"}
#: The same of sources; the house gives its own key.
NO_SOURCE_OPTIONS = {"clock", "new_id", "key"}


def test_the_table_of_adapters_is_complete() -> None:
    """Each installed adapter stands in the table with what it says of itself, and has its section."""
    adapters = installed()
    assert not any(adapter.problem for adapter in adapters)
    assert [adapter_row(adapter) for adapter in adapters] == table(GATEWAYS_PAGE, "Adapter")
    assert {adapter.name for adapter in adapters} <= anchors(GATEWAYS_PAGE)
    marked = re.findall(r"^### (\S+)\n\n\*\*Experimental\.\*\*", text_of(GATEWAYS_PAGE), re.MULTILINE)
    assert {adapter.name for adapter in adapters if adapter.experimental} == set(marked)


@pytest.mark.parametrize("name", sorted(plugins.installed(plugins.GATEWAYS)))
def test_the_table_of_options_is_the_constructor(name: str) -> None:
    """Each option of an adapter stands in its table with its default, and nothing else does."""
    kind = plugins.find(plugins.GATEWAYS, name)
    options = {
        option: shown_default(kind.timeout_s if option == "timeout_s" and one.default is None else one.default)
        for option, one in inspect.signature(kind).parameters.items() if option not in NO_OPTIONS
    }
    if not options:
        assert "It takes no options" in prose(GATEWAYS_PAGE)
        return
    told = {row[0].strip("`"): row[1] for row in table(GATEWAYS_PAGE, f"Option of `{name}`")}
    assert options == told
    assert all(row[2] for row in table(GATEWAYS_PAGE, f"Option of `{name}`"))


def test_the_table_of_an_accounts_settings_is_complete() -> None:
    """Each setting of [gateways.<name>] stands in the table with its default."""
    rows = {row[0].strip("`"): row[1] for row in table(GATEWAYS_PAGE, "Setting of an account")}
    assert {
        name: "the account's name" if name == "adapter" else shown_default(one.get_default(call_default_factory=True))
        for name, one in GatewaySection.model_fields.items()
    } == rows | {"rate": f"`{GatewaySection.model_fields['rate'].default}`"}


#: What the page takes from files.
GATEWAY_SECRETS = {
    "esms": {"api_key": "a", "secret_key": "b"}, "speedsms": {"token": "t"}, "province": {"secret": "s"},
    "vnpt": {
        "url": "http://127.0.0.1:1/smsbn/api", "api_user": "u", "api_password": "p", "username": "n", "agent_id": "1",
        "label_id": "2", "contract_id": "3",
    },
    "zalo": {"app_id": "1", "app_secret": "a", "oa_secret": "b", "refresh_token": "c"},
}


def with_secrets(tree: dict[str, Any]) -> dict[str, Any]:
    """Add what the page takes from files."""
    accounts = tree.setdefault("gateways", {})
    for name in accounts:
        accounts[name]["options"] = {**GATEWAY_SECRETS[name], **accounts[name].get("options", {})}
        accounts[name]["accept_experimental"] = True
    return tree


def test_the_example_configuration_starts() -> None:
    """The page's two gateways and their route are settings, and each account can be made."""
    tree = with_secrets(tomllib.loads(blocks(GATEWAYS_PAGE, "toml")[0]))
    found = load_settings(ROOT / "config", overrides=tree, environ={})

    assert ["speedsms", "esms"] == [account.name for account in make_accounts(found)]
    assert {"viettel"} == found.routes[0].carriers
    assert ({"speedsms": 1}, {"esms": 1}) == found.routes[0].tiers
    assert ({"esms": 3, "speedsms": 1},) == found.routes[-1].tiers


def test_the_other_examples_are_accounts() -> None:
    """The templates of VNPT and Zalo and the described HTTP gateway are taken by their adapters."""
    for block, name in zip(blocks(GATEWAYS_PAGE, "toml")[1:], ("vnpt", "zalo", "province"), strict=True):
        tree = tomllib.loads(block)
        tree["sending"] = {"gateways": [name]}
        [account] = make_accounts(load_settings(ROOT / "config", overrides=with_secrets(tree), environ={}))
        assert name == account.name


@each_readme
def test_the_readmes_gateways_are_settings(page: Path) -> None:
    """The tiers of the README name installed adapters."""
    block, _ = blocks(page, "toml")
    found = load_settings(ROOT / "config", overrides=tomllib.loads(block), environ={})
    assert set(found.route_book().gateways) <= set(plugins.installed(plugins.GATEWAYS))


@each_readme
def test_the_readmes_sources_can_be_made(page: Path) -> None:
    """The README's operator and the table behind it are sources, in that order."""
    _, block = blocks(page, "toml")
    assert [("viettel", "operator_match"), ("tttb", "subscriber_table")] == [
        (source.name, source.source.assurance) for source in sources_of(block)
    ]


def magic_row(behaviour: Behaviour) -> list[str]:
    """Write what a magic number produces."""
    answer = f"`{behaviour.result}`"
    if behaviour.fails_first:
        answer = f"`temporary` once, then {answer}"
    answer += f" after {behaviour.latency_ms // 1000} s" if behaviour.latency_ms else ""
    answer += ", but the answer is lost" if behaviour.lost else ""
    answer += ", but the answer is garbage" if behaviour.garbage else ""
    later = f" after {behaviour.report_after_ms // 1000} s" if behaviour.report_after_ms else ""
    return [answer, f"`{behaviour.report}`{later}" if behaviour.report else "none"]


def test_the_table_of_magic_numbers_is_complete() -> None:
    """Each magic number stands in the table with what it produces; so do those that are kept free."""
    *rows, free = table(GATEWAYS_PAGE, "Number")
    assert [
        [f"`0{e164.removeprefix('+84')}`", *magic_row(behaviour)]
        for e164, behaviour in magic_numbers._BEHAVIOURS.items()
    ] == rows
    first = magic_numbers._FIRST + len(magic_numbers._BEHAVIOURS)
    spare = magic_numbers.behaviour(f"+84900000{first}")
    assert spare is not None
    assert [f"`0900000{first}` to `0900000{magic_numbers._LAST}`", *magic_row(spare)] == free


def script_members(kind: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Give each member of the fake gateway's script with its default as the table writes it."""
    for name, member in kind.__pydantic_fields__.items():
        default = member.get_default(call_default_factory=True)
        shown = "as below" if is_dataclass(default) else "none" if default is None else shown_default(default)
        yield f"{prefix}{name}", shown
        for inner in (member.annotation, *get_args(member.annotation)):
            if is_dataclass(inner):
                yield from script_members(inner, f"{prefix}{name}.")


def test_the_fake_gateway_is_described() -> None:
    """Each member of its script and each of its paths stands in its table, and the example script is one."""
    read_script(blocks(GATEWAYS_PAGE, "json")[0])
    told = {row[0].strip("`"): row[1] for row in table(GATEWAYS_PAGE, "Member of the script")}
    assert dict(script_members(Script)) == told
    routes = FakeGatewayHandlers(FakeProvider()).routes()
    assert [f"{one.method} {one.path}" for one in routes] == first_names(GATEWAYS_PAGE, "Path")


def test_every_step_of_send_test_is_told() -> None:
    """Each step that the command prints has its row, and stands in the example in that order."""
    source = inspect.getsource(import_module("otp_service.gateway_tools"))
    printed = list(dict.fromkeys(re.findall(r'yield "([a-z]+)"', source)))
    told = first_names(GATEWAYS_PAGE, "Step")
    assert set(printed) == set(told)
    example = next(block for block in blocks(GATEWAYS_PAGE, "text") if block.startswith("route"))
    assert told == [line.split()[0] for line in example.splitlines()]


@pytest.mark.parametrize("page", [GATEWAYS_PAGE, API], ids=lambda page: page.name)
def test_every_delivery_is_told(page: Path) -> None:
    """Each value of `delivery` is explained."""
    assert all(f"`{delivery}`" in prose(page) for delivery in Delivery)


def test_the_table_of_outcomes_is_complete() -> None:
    """Each answer of an ownership source stands in the table; so do the levels of assurance."""
    assert list(OwnershipOutcome) == first_names(SOURCE_PAGE, "Outcome")
    assert all(f"`{level}`" in prose(page) for level in ASSURANCE_LEVELS for page in (SOURCE_PAGE, OWNERSHIP_PAGE, API))


# -- the page of ownership ---------------------------------------------------------------------------------------------


TABLE_KEY = b"k" * 32
#: What the page takes from files.
SOURCE_SECRETS = {
    "viettel": {"client_secret": "a"}, "aggregator": {"client_secret": "b"}, "telco": {"secret": "c"},
}


def sources_of(block: str) -> list[AskedSource]:
    """Make the sources of an example of TOML, with the secrets that the page takes from files."""
    tree = tomllib.loads(block)
    for name, section in tree.get("sources", {}).items():
        section["options"] = {**SOURCE_SECRETS.get(name, {}), **section["options"]}
    if "mobifone" in tree.get("sources", {}):
        key = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        tree["sources"]["mobifone"]["options"]["private_key"] = key.decode()
    return make_sources(load_settings(ROOT / "config", overrides=tree, environ={}), TABLE_KEY)


def test_the_examples_of_ownership_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each example of TOML becomes sources; the last one is a purpose, which wants what the first source can give."""
    monkeypatch.chdir(tmp_path)
    sample = ROOT / "config" / "sample" / "subscribers.csv"
    import_subscribers(sample, Path(".data", "subscribers.table"), TABLE_KEY, now_s=1, watcher=Watcher())
    *examples, purpose = blocks(OWNERSHIP_PAGE, "toml")
    assert [
        ["viettel"], ["mobifone"], ["telco"], ["tttb"], ["viettel", "tttb", "aggregator"],
    ] == [[source.name for source in sources_of(block)] for block in examples]
    found = load_settings(ROOT / "config", overrides=tomllib.loads(purpose), environ={}).purposes["registration"]
    assert (True, "reject", 72) == (found.consent_required, found.evidence.sim_swap, found.evidence.sim_swap_max_age_h)
    with pytest.raises(ConfigurationError, match="no source"):
        sources_of(purpose)
    assert sources_of(examples[0] + purpose)


def test_the_described_source_understands_its_manual() -> None:
    """The worked example sends what the manual wants, and each of the manual's answers is read as it says."""
    manual = next(block for block in blocks(OWNERSHIP_PAGE, "text") if block.startswith("POST https://"))
    [asked] = re.findall(r"^\{.*\}$", manual, re.MULTILINE)
    matches, stranger, no_document = re.findall(r"^200 (\{.*\})(?:  .*)?$", manual, re.MULTILINE)
    [source] = sources_of(blocks(OWNERSHIP_PAGE, "toml")[2])
    described = source.source
    assert isinstance(described, HttpSource)
    question = OwnershipQuestion("+84900000001", ("052090000001",), full_name="Nguyễn Văn A", reference="7-k1-abc")

    def said(status: int, body: str = "", **headers: str) -> Evidence:
        talk = described.converse(question)
        request = next(talk)
        assert ("https://api.example.vn/telco/v1/match", "c") == (request.url, request.headers["api-key"])
        assert json.loads(asked) == json.loads(request.body)
        with pytest.raises(StopIteration) as end:
            talk.send(HttpResponse(status, headers, body.encode()))
        found = end.value.value
        assert isinstance(found, Evidence)
        return found

    name = ComparedField.FULL_NAME
    assert ("match", "operator_match", "match") == (
        said(200, matches).outcome, said(200, matches).assurance, said(200, matches).fields[name],
    )
    assert "mismatch" == said(200, matches.replace('"is_match": true', '"is_match": false')).outcome
    assert ("not_available", "not_a_subscriber") == (said(200, stranger).outcome, said(200, stranger).note)
    assert ("not_available", "no_document") == (said(200, no_document).outcome, said(200, no_document).note)
    throttled = said(429, **{"retry-after": "30"})
    assert ("error", 30) == (throttled.outcome, throttled.retry_after_s)


def test_the_table_of_sources_is_complete() -> None:
    """Each installed adapter stands in both tables, with what it says of itself, and has its section."""
    adapters = source_tools.installed()
    assert not any(adapter.problem for adapter in adapters)
    rows = {row[0].strip("`"): row[1:] for row in table(OWNERSHIP_PAGE, "Adapter")}
    assert [adapter.name for adapter in adapters] == list(rows)
    words = {True: "yes", False: "no"}
    for adapter in adapters:
        assurance, real, repeatable, swaps = rows[adapter.name]
        assert assurance == (f"`{adapter.assurance}`" if adapter.assurance else "what `assurance` says")
        assert real == ("the shipped sample no, any other table yes" if adapter.real is None else words[adapter.real])
        assert repeatable == ("what `repeatable` says" if adapter.repeatable is None else words[adapter.repeatable])
        assert swaps == ("with `sim_swap`" if adapter.knows_swaps is None else words[adapter.knows_swaps])
        assert adapter.name in anchors(OWNERSHIP_PAGE)
        assert text_of(OWNERSHIP_PAGE).count(f"\n| `{adapter.name}` |") == 2


@pytest.mark.parametrize("name", sorted(plugins.installed(plugins.SOURCES)))
def test_the_table_of_a_sources_options_is_the_constructor(name: str) -> None:
    """Each option of a source stands in its table with its default, and nothing else does."""
    kind = plugins.find(plugins.SOURCES, name)
    options = {
        option: shown_default(one.default)
        for option, one in inspect.signature(kind).parameters.items() if option not in NO_SOURCE_OPTIONS
    }
    rows = table(OWNERSHIP_PAGE, f"Option of `{name}`")
    told = {option: row[1] for row in rows for option in re.findall(r"`([^`]+)`", row[0])}
    assert options == told
    assert all(row[2] for row in rows)


@pytest.mark.parametrize(("title", "section"), [
    ("Setting of `[ownership]`", OwnershipSection), ("Setting of a source", SourceSection),
])
def test_the_tables_of_ownership_settings_are_complete(title: str, section: type[Section]) -> None:
    """Each setting of [ownership] and of [sources.<name>] stands in its table with its default."""
    special = {"adapter": "the source's name", "budget_period": "`24h`", "sources": '`["tttb"]`'}
    assert {
        name: special.get(name) or shown_default(one.get_default(call_default_factory=True))
        for name, one in section.model_fields.items()
    } == {row[0].strip("`"): row[1] for row in table(OWNERSHIP_PAGE, title)}


def test_what_a_purpose_decides_is_complete() -> None:
    """Each setting of a purpose about ownership and evidence stands in the table."""
    others = {"assisted", "max_attempts", "max_resends", "life_s", "code"}
    assert set(PurposeSection.model_fields) - others == set(first_names(OWNERSHIP_PAGE, "Setting of a purpose"))


def test_the_levels_of_assurance_stand_in_their_order() -> None:
    """Both tables have the levels from the strongest to the weakest; the API's ends with possession alone."""
    assert list(ASSURANCE_LEVELS) == first_names(OWNERSHIP_PAGE, "Level")
    assert [*ASSURANCE_LEVELS, POSSESSION] == first_names(API, "`assurance_level`")


def test_the_notes_of_replies_are_told() -> None:
    """Each note stands in the tables of both pages, and each confidence in its own."""
    assert list(NOTES) == first_names(OWNERSHIP_PAGE, "`note`") == first_names(API, "`note`")
    assert list(Confidence) == [row[0].strip("`") for row in table(OWNERSHIP_PAGE, "`confidence`")]


def test_the_origins_of_the_corpus_are_told() -> None:
    """The page says how many texts are real, third-party and synthetic, and no more."""
    corpus = tomllib.loads((ROOT / "tests" / "replies" / "corpus.toml").read_text("utf-8"))["reply"]
    counts = {origin: sum(one["origin"] == origin for one in corpus) for origin in ("real", "third_party", "synthetic")}
    assert len(corpus) == sum(counts.values())
    told = re.search(r"(\d+) are real, (\d+) are third-party .*?, (\d+) are synthetic", text_of(OWNERSHIP_PAGE))
    assert told is not None
    assert list(map(str, counts.values())) == list(told.groups())


def test_a_subscriber_file_is_described() -> None:
    """The table of columns has each column, and the row of the status each status."""
    rows = table(OWNERSHIP_PAGE, "Column")
    assert list(COLUMNS) == [row[0].strip("`") for row in rows]
    assert list(STATUSES) == re.findall(r"`([a-z_]+)`", next(row[1] for row in rows if row[0] == "`status`"))


def test_the_bad_rows_are_told_as_the_page_says(tmp_path: Path) -> None:
    """The page's example of bad rows is what an import tells of such a file."""
    told: list[str] = []

    class _Heard(Watcher):
        def bad_row(self, line: int, reason: str) -> None:
            told.append(f"line {line}: {reason}")

    (tmp_path / "bad.csv").write_text("\n".join([
        ",".join(COLUMNS), "0900000001,052090000001,NGUYEN VAN A,1990-01-01,active,",
        "0900000002,5219,B,1990-13-02,live,", "02563822222,,,,active,", "0900000001,,,,active,",
    ]))
    import_subscribers(tmp_path / "bad.csv", tmp_path / "table", TABLE_KEY, now_s=1, watcher=_Heard())
    shown = next(block for block in blocks(OWNERSHIP_PAGE, "text") if block.startswith("line 3"))
    assert [*told, "otp-service: bad.csv: bad rows: 3 of 4; nothing has changed"] == shown.splitlines()


def test_the_simulator_is_described() -> None:
    """Each member of its script and each of its paths stands in its table, and the page's scripts are some."""
    told = {row[0].strip("`"): row[1] for row in table(OWNERSHIP_PAGE, "Member of the script")}
    described = dict(script_members(OperatorScript))
    own = {one.name for one in fields(TokenFaults)} - {one.name for one in fields(OperatorScript)}
    shared = {name for name in described if name.startswith("token.") and name.split(".")[1] not in own}
    assert {name: described[name] for name in described.keys() - shared} | {"token": "as above"} == told
    scripts_told = re.findall(r"^say '([^']+)'", "\n".join(blocks(OWNERSHIP_PAGE, "sh")), re.MULTILINE)
    assert scripts_told
    for script in scripts_told:
        read_operator_script(script)
    operator = Operator(OperatorOptions(subscribers=Subscribers([]), client=OAuthClient("a", "b"), kyc=KycMatch()))
    routes = operator.application().router.routes()
    told_paths = first_names(OWNERSHIP_PAGE, "Path of the simulator")
    assert [f"{one.method} {one.resource.canonical}" for one in routes if one.resource] == told_paths


def test_what_a_source_says_of_itself_is_told() -> None:
    """Each trait stands in the table with its default."""
    traits = SourceTraits()
    assert {row[0].strip("`"): row[1] for row in table(SOURCE_PAGE, "Attribute")} == {
        name: f"`{value}`" if isinstance(value, bool) else "empty"
        for name in SourceTraits.__slots__ for value in (getattr(traits, name),)
    }


def test_every_step_of_ask_test_is_told() -> None:
    """Each step that the command prints stands in the page's example."""
    source = inspect.getsource(source_tools)
    printed = set(re.findall(r'\b_?tell\("([a-z]+)"', source))
    example = next(block for block in blocks(OWNERSHIP_PAGE, "text") if block.startswith("route"))
    assert printed == {line.split()[0] for line in example.splitlines()}


async def test_the_smsc_simulator_takes_a_message() -> None:
    """The page's command starts an SMSC, and the page's options send to it."""
    command = next(block for block in blocks(GATEWAYS_PAGE, "sh") if "RawSmsc" in block)
    source, tried = command.split("'")[1], next(block for block in blocks(GATEWAYS_PAGE, "sh") if "SMPP" in block)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", source, env={"PYTHONPATH": str(ROOT / "tests")}, stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        options = {name.lower(): value for name, value in re.findall(r"OPTIONS__([A-Z_]+)=(\S+)", tried)}
        gateway = SmppGateway(**{**options, "port": (await process.stdout.readline()).decode()})
        await gateway.open(_forget)
        message = SmsMessage("+84900000001", "Ma 123456", "sign_in", (), "7-k1-abc-1", 1, 180)
        assert SendResult.ACCEPTED == (await gateway.send(message)).result
        await gateway.close()
    finally:
        process.terminate()
        await process.wait()


async def _forget(_: Sequence[DeliveryReport]) -> None:
    """Take no notice of reports."""


# -- the API page ------------------------------------------------------------------------------------------------------


def problem_codes() -> dict[str, int]:
    """Return each refusal's code and status."""
    def below(refusal: type[errors.Refusal]) -> Iterator[type[errors.Refusal]]:
        for child in refusal.__subclasses__():
            yield child
            yield from below(child)

    return {refusal.code: refusal.status for refusal in below(errors.Refusal)}


def test_the_table_of_problem_codes_is_complete() -> None:
    """Each refusal of core/errors.py stands in the table with its status; those of later versions are named."""
    rows = {row[0].strip("`"): int(row[1]) for row in table(API, "`code`")}
    assert problem_codes() == rows
    assert not LATER & set(rows)
    assert all(f"`{code}`" in text_of(API) for code in LATER)


def test_the_table_of_calls_is_complete() -> None:
    """Each call of the route table stands in the table with its scope and whether a browser may make it."""
    def cells(scope: str | None, *, browser: bool) -> list[str]:
        return [f"`{scope}`", "yes" if browser else "no"] if scope else ["none needed", ""]

    expected = {
        f"`{one.method} {one.path}`": cells(one.scope.value if one.scope else None, browser=one.browser)
        for one in OPERATIONS
    }
    assert expected == {row[0]: row[1:] for row in table(API, "Call")}


def test_the_fields_of_a_start_are_complete() -> None:
    """Each field of a start stands in the table; those of later versions are named as not supported."""
    assert set(StartBody.model_fields) == set(first_names(API, "Field"))
    sentence = next(line for line in text_of(API).splitlines() if "`not_supported`" in line)
    assert {*_LATER, "not_supported"} == set(re.findall(r"`([a-z_]+)`", sentence))


async def test_a_later_field_is_refused_as_told(service: Web) -> None:
    """An official is not_supported, an unknown name is unknown_field, and both are told at once."""
    response = await service.call("POST", "/v1/verifications", {**START, "official_id": "1", "x": 1})
    told = {error["field"]: error["code"] for error in (await response.json())["errors"]}
    assert {"official_id": "not_supported", "x": "unknown_field"} == told


def test_the_examples_have_every_member() -> None:
    """The examples of a verification and of claims have the members that the schemas have."""
    started, _, claims, _ = (json.loads(block) for block in blocks(API, "json"))
    assert set(VerificationAnswer.model_fields) == set(started)
    assert set(ClaimsAnswer.model_fields) == set(claims)


async def test_the_evidence_of_a_reply_is_as_shown(service: Web) -> None:
    """The page's reply of 1414 verifies a SIM that no source knows, and its claims have the vouch of the example."""
    *_, vouch = (json.loads(block) for block in blocks(API, "json"))
    command = next(block for block in blocks(API, "sh") if "ownership-evidence" in block)
    started = await service.start({**START, "purpose": "assisted_registration", "phone_number": "0900000004"})
    await service.check(started["id"])
    path = f"/v1/verifications/{started['id']}/ownership-evidence"
    verified = await (await service.call("POST", path, json.loads(command.split("'")[-2]))).json()
    assert ("verified", "match", "full") == (
        verified["status"], verified["evidence"]["outcome"], verified["evidence"]["confidence"],
    )
    redeemed = await service.call("POST", "/v1/result-tokens/redeem", {
        "token": verified["result_token"], "expect": {"id_number": ID_NUMBER},
    })
    _, evidence = (await redeemed.json())["verified_claims"]["verification"]["evidence"]
    assert shape(vouch) == shape(evidence)


def shape(value: Any) -> Any:
    """Return a document's members without its ids and times."""
    if isinstance(value, dict):
        return {name: "" if name in {"check_id", "time"} else shape(inner) for name, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else value


async def test_the_examples_look_like_real_answers(service: Web) -> None:
    """What the service answers to a start and to an early second one has the members of the examples, in order."""
    started, early, *_ = (json.loads(block) for block in blocks(API, "json"))
    assert list(started) == list(await service.start())
    response = await service.call("POST", "/v1/verifications", {
        "phone_number": PHONE, "purpose": "sign_in", "end_user_ip": "198.51.100.7",
    })
    assert early == await response.json()


# -- the architecture page ---------------------------------------------------------------------------------------------


def test_the_table_of_keys_is_complete() -> None:
    """Each kind of key that keys.py or a script names stands in the table; so does the list of those that stay."""
    rows = {row[0].strip("`"): row for row in table(ARCHITECTURE, "Key")}
    lua = "\n".join(path.read_text() for path in Path(scripts.__file__).parent.glob("*.lua"))
    in_scripts = set(re.findall(r"(?:P|prefix\(KEYS\[1\]\)) \.\. '([a-z]+:?)'", lua))
    assert in_scripts == {re.sub(r"<.*", "", name.removeprefix("otp:{s07}:")) for name in rows if "{s07}" in name}
    assert {
        keys.verification(7, "<id>"), keys.phone(7, "<name>"), keys.sms_queue(7), keys.due(7), keys.ask(7),
        keys.id_number(7, "<name>"), keys.rate("<kind>", "<subject>"), keys.replay("<name>"), keys.META,
        keys.links(7, "<id>"), keys.proof("<name>"),
        keys.hook(7, "<tenant>"), keys.dead_hooks(7, "<tenant>"), keys.endpoints("<client>"), keys.shares(),
        keys.gateway_message("<gateway>", "<provider id>"),
        *(keys.gateway("<gateway>", kind) for kind in ("early", "polls", "rate", "token", "lease")),
        keys.source_shares(), *(keys.source("<source>", kind) for kind in ("budget", "token", "lease")),
    } == set(rows) - {"otp:{s07}:x:<id>", "otp:{s07}:n:<nonce>"}
    stays = {name for name, row in rows.items() if row[3].startswith("never")}
    assert keys.IMMORTAL == {name.replace("s07", f"s{shard:02d}") for name in stays for shard in range(SHARDS)}


def test_the_table_of_scripts_is_complete() -> None:
    """Each script stands in the table, and those that say so change nothing."""
    rows = {row[0].strip("`"): row[2] for row in table(ARCHITECTURE, "Script")}
    assert set(scripts.NAMES) == set(rows)
    calls = "HSET|HDEL|HINCRBY|SET|DEL|ZADD|ZREM|XADD|XDEL|XACK|PEXPIRE|RENAME"
    writes = re.compile(rf"'(?:{calls})'|(?:finish|meet|deliver)\(")
    for name, about in rows.items():
        own = "\n".join(
            line for line in (Path(scripts.__file__).parent / f"{name}.lua").read_text().splitlines()
            if not line.startswith("--")
        )
        assert ("changes nothing" in about) == (writes.search(own) is None and name != "retire"), name


def test_invariants_are_enforced_and_proven() -> None:
    """Each of the fourteen names files that exist and has tests that name it in their docstring."""
    rows = table(ARCHITECTURE, "No")
    assert [str(number) for number in range(1, 15)] == [row[0] for row in rows]
    for row in rows:
        named = re.findall(r"`(otp_service/[^`]+)`", row[2])
        assert named
        assert all((ROOT / name).is_file() for name in named), row
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__))
    proven = {
        int(number) for numbers in re.findall(r"[Ii]nvariants? (\d+(?:(?:, | and )\d+)*)", tests)
        for number in re.findall(r"\d+", numbers)
    }
    assert set(range(1, 15)) - proven == set()


def test_the_floors_are_those_of_the_contract() -> None:
    """The table of floors names every layer of the import contract, from the highest to the lowest."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    layers = next(one for one in project["tool"]["importlinter"]["contracts"] if one["type"] == "layers")["layers"]
    contracted = {name.replace(".", "/") for layer in layers for name in layer.split(" : ")}
    drawn = [
        name.removesuffix(".py").rstrip("/") for row in table(ARCHITECTURE, "Floor")
        for name in re.findall(r"`([^`]+)`", row[0])
    ]
    assert contracted == set(drawn)
    assert (drawn[0], drawn[-1]) == (layers[0].replace(".", "/"), layers[-1].replace(".", "/"))
    assert all((ROOT / name).is_dir() or (ROOT / f"{name}.py").is_file() for name in drawn)


def test_the_changelog_has_this_version() -> None:
    """The version of pyproject.toml is the newest of the changelog."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    newest = re.search(r"^## (\S+)", text_of(ROOT / "docs" / "changelog.md"), re.MULTILINE)
    assert newest is not None
    assert project["project"]["version"] == newest[1]


@each_page
def test_lines_are_clean(page: Path) -> None:
    """No page has trailing blanks, tabs or carriage returns: differences stay readable."""
    for line in text_of(page).split("\n"):
        assert line == line.rstrip(), line
        assert "\t" not in line
