"""What the doctor says of the accounts' settings; the rest needs a store and is tested on real processes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from settings_harness import load

from otp_service.core.evidence import Evidence, OwnershipOutcome, OwnershipQuestion
from otp_service.core.source_ports import Conversation
from otp_service.doctor import account_warnings, examine, source_warnings, sources_in_use
from otp_service.inquiry.sources import AskedSource

SECRET = "a-report-secret-of-32-characters"
PUBLIC_URL = "https://otp.example.vn"
OURS = f"{PUBLIC_URL}/v1/delivery-reports/mine/"


def warnings(tree: dict[str, Any]) -> list[str]:
    """Return what the doctor warns of, each being a warning about a gateway."""
    found = account_warnings(load({"server": {"public_url": PUBLIC_URL}} | tree))
    assert all(("warn", "gateway") == (finding.level, finding.subject) for finding in found)
    return [finding.text for finding in found]


def one(**section: Any) -> dict[str, Any]:
    """Return a tree that sends through the account ``mine`` alone."""
    return {"sending": {"gateways": ["mine"]}, "gateways": {"mine": section}}


def test_an_account_in_no_route_is_told_and_nothing_else_of_it() -> None:
    """Who configured it expects SMS through it."""
    assert [] == warnings({})
    assert ["spare is in no route: nothing is sent through it"] == warnings({
        "gateways": {"spare": {"adapter": "viettel", "options": {"url": "http://gateway.example"}}},
    })


@pytest.mark.parametrize(("host", "adapter", "options"), [
    ("gateway.example", "http", {"url": "http://user:S3cret@gateway.example:81/x?key=S3cret"}),
    ("192.0.2.1", "vnpt", {"url": "HTTP://192.0.2.1:8888/smsbn/api"}),
    ("apismsbrand.viettel.vn", "viettel", {}),
    ("localhost.example", "fake", {"url": "http://localhost.example"}),
])
def test_a_plain_address_beyond_this_machine_is_told(host: str, adapter: str, options: dict[str, str]) -> None:
    """Given or the adapter's own: host and reason are told, nothing else of the address."""
    assert [
        f"mine: url is plain HTTP to {host}: password and codes travel in clear; use https, a private line or a tunnel",
    ] == warnings(one(adapter=adapter, options=options))


@pytest.mark.parametrize(("adapter", "options"), [
    ("http", {"url": "https://gateway.example"}), ("http", {"url": "http://127.0.0.1:8080/x"}),
    ("http", {"url": "http://[::1]:8080"}), ("http", {"url": "http://localhost:8080"}), ("http", {"url": "http://[x"}),
    ("http", {"url": 5}), ("http", {}), ("esms", {}), ("console", {}), ("nowhere", {}), ("smpp", {"host": "192.0.2.1"}),
])
def test_other_addresses_are_not(adapter: str, options: dict[str, Any]) -> None:
    """What is encrypted or stays on this machine is well; what is no address is the adapter's to refuse."""
    assert [] == warnings(one(adapter=adapter, options=options))


@pytest.mark.parametrize(("differs", "told"), [
    ("what stands before the account differs", f"https://other.example/v1/delivery-reports/mine/{SECRET}"),
    ("what stands before the account differs", f"{PUBLIC_URL}/reports/mine/{SECRET}"),
    ("the account differs", f"{PUBLIC_URL}/v1/delivery-reports/yours/{SECRET}"),
    ("the secret differs", f"{OURS}S3cret-of-somebody-else"),
    ("the secret differs", OURS),
    ("what stands before the account, the account and the secret differ", f"{OURS}{SECRET}/S3cret"),
    ("what stands before the account, the account and the secret differ", "S3cret"),
])
def test_a_callback_url_that_is_not_ours_is_told(differs: str, told: str) -> None:
    """Its provider's reports would be refused: what differs is told, no secret is."""
    found = warnings(one(adapter="esms", report_secret=SECRET, options={"callback_url": told}))

    assert [f"mine: callback_url is not {OURS}<report_secret>: {differs}"] == found


def test_a_callback_url_needs_a_report_secret() -> None:
    """Without one every callback is refused."""
    assert ["mine: callback_url is set, but report_secret is empty: every report is refused"] == warnings(
        one(adapter="esms", options={"callback_url": OURS + SECRET}),
    )


@pytest.mark.parametrize("told", ["", OURS + SECRET, f"{OURS}{SECRET}?kind=report"])
def test_our_callback_url_is_well(told: str) -> None:
    """The documented address, with or without a query, and none at all."""
    assert [] == warnings(one(adapter="esms", report_secret=SECRET, options={"callback_url": told}))


ALL = ("registration", "account_link", "sign_in", "password_reset", "assisted_registration", "phone_only")


@pytest.mark.parametrize(("told", "templates"), [
    ([], dict.fromkeys(ALL, "T")),
    ([], dict.fromkeys((*ALL, "default"), "T")),
    (["templates has none for phone_only and sign_in: it refuses these SMS"],
     dict.fromkeys(set(ALL) - {"sign_in", "phone_only"}, "T")),
    (["templates has register and sign-in, no [sms.*] of config/messages/*.toml"],
     dict.fromkeys((*ALL, "register", "sign-in"), "T")),
    (["templates has sign-in, no [sms.*] of config/messages/*.toml",
      "templates has none for sign_in: it refuses these SMS"],
     dict.fromkeys((set(ALL) - {"sign_in"}) | {"sign-in"}, "T")),
    ([], "{not JSON"), ([], "[]"), ([], 5),
], ids=str)
def test_templates_are_compared_with_the_texts(told: list[str], templates: Any) -> None:
    """A key that no text has is a slip, and a text without a template is refused each time."""
    assert [f"mine: {text}" for text in told] == warnings(one(adapter="zalo", options={"templates": templates}))


def test_templates_from_the_environment_are_compared_too() -> None:
    """There they are JSON."""
    (strange, missing) = warnings(one(adapter="zalo", options={"templates": '{"sign-in": {"id": "1", "params": {}}}'}))

    assert "mine: templates has sign-in, no [sms.*] of config/messages/*.toml" == strange
    assert missing.startswith("mine: templates has none for account_link, assisted_registration, ")


def test_only_texts_that_the_routes_bring_need_a_template() -> None:
    """An account for one purpose needs that purpose's; a purpose without a text of its own needs ``default``."""
    purposes = {"counter": {"ownership": "never"}}
    tree = {
        "routes": [{"purposes": ["sign_in", "counter"], "gateways": ["mine"]}], "purposes": purposes,
        "gateways": {"mine": {"adapter": "zalo", "options": {"templates": {}}}},
    }

    assert ["mine: templates has none for default and sign_in: it refuses these SMS"] == warnings(tree)


# -- sources ----------------------------------------------------------------------------------------------------------

SAMPLE = "the sample subscribers are made up: set sources.tttb.options.subscribers"


class Operator:
    """An adapter that speaks HTTP, beyond this machine unless told otherwise."""

    name = "operator"
    assurance = "operator_match"
    real = True
    knows_swaps = True

    def __init__(
        self, *, token_url: str = "http://operator.example/token",  # noqa: S107 - an address
        timeout_s: float = 4.0,
    ) -> None:
        self.token_url = token_url
        self.timeout_s = timeout_s

    def converse(self, question: OwnershipQuestion, token: str = "") -> Conversation:
        """Learn nothing, without asking."""
        del question, token
        yield from ()
        return Evidence(OwnershipOutcome.ERROR, self.name)


class Register:
    """An adapter that is asked in one step."""

    name = "register"
    assurance = "subscriber_table"

    async def ask(self, question: OwnershipQuestion) -> Evidence:
        """Match everything."""
        del question
        return Evidence(OwnershipOutcome.MATCH, self.name, self.assurance)


def of_sources(tree: dict[str, Any]) -> list[str]:
    """Return what the doctor warns of, each being a warning about ownership."""
    found = source_warnings(load(tree))
    assert all(("warn", "ownership") == (finding.level, finding.subject) for finding in found)
    return [finding.text for finding in found]


def asks(*, sources: tuple[str, ...] = ("mine",), **section: Any) -> dict[str, Any]:
    """Return a tree that asks the source ``mine``, an operator."""
    return {
        "ownership": {"sources": list(sources)}, "sources": {"mine": {"adapter": "test_doctor:Operator"} | section},
    }


def test_the_sample_subscribers_are_told_where_they_are_asked() -> None:
    """Shipped with the settings and asked by nobody, they are no source that somebody forgot."""
    assert [f"tttb: {SAMPLE}"] == of_sources({})
    assert [] == of_sources({"sources": {"tttb": {"options": {"subscribers": "/srv/subscribers.csv"}}}})
    assert [] == of_sources(asks(options={"token_url": "https://operator.example/token"}))


def test_a_source_in_no_route_is_told_and_nothing_else_of_it() -> None:
    """Who configured it expects it to be asked; one that a route for some carriers names is."""
    spare = {"sources": {"spare": {"adapter": "test_doctor:Operator", "deadline_s": 60}}}

    assert [f"tttb: {SAMPLE}", "spare is in no route: nobody asks it"] == of_sources(spare)
    assert "spare is in no route: nobody asks it" not in of_sources(
        spare | {"ownership": {"routes": [{"carriers": ["viettel"], "sources": ["spare"]}]}},
    )


@pytest.mark.parametrize(("told", "options"), [
    (["token_url is plain HTTP to operator.example"], {}),
    ([], {"token_url": "https://operator.example/token"}),
    ([], {"token_url": "http://127.0.0.1:8091/token", "api_root": "http://localhost:8091"}),
    (["token_url is plain HTTP to 192.0.2.1", "api_root is plain HTTP to api.example"],
     {"token_url": "http://192.0.2.1/token", "api_root": "http://user:S3cret@api.example/camara"}),
    (["token_url is plain HTTP to operator.example", "url is plain HTTP to api.example"],
     {"url": "HTTP://api.example/v1/{phone}?key=S3cret"}),
], ids=str)
def test_plain_addresses_of_a_source_are_told(told: list[str], options: dict[str, str]) -> None:
    """Given or the adapter's own: host and reason are told, nothing else of the address."""
    tail = ": ID numbers and secrets travel in clear; use https, a private line or a tunnel"

    assert [f"mine: {text}{tail}" for text in told] == of_sources(asks(options=options))


def test_an_old_table_is_told(tmp_path: Path) -> None:
    """After 60 days, by the time it was written; one that is not there is told by starting."""
    table = tmp_path / "subscribers.table"
    tree = {"sources": {"tttb": {"options": {"subscribers": "", "table": str(table)}}}}
    assert [] == of_sources(tree)
    table.write_bytes(b"")
    assert [] == of_sources(tree)
    for told, days in (
        ([], 59), (["tttb: its table is 61 days old, and SIMs change hands: import a newer one"], 61),
    ):
        at = time.time() - days * 86_400
        os.utime(table, (at, at))
        assert told == of_sources(tree)


def test_a_deadline_that_the_worker_cuts_off_is_told() -> None:
    """A source cannot take longer than the round of questions it is part of."""
    secure = {"token_url": "https://operator.example/token"}

    assert [
        "mine: deadline_s is 15.5, but ownership.worker_deadline_s cuts it off after 15 s",
    ] == of_sources(asks(deadline_s=15.5, options=secure))
    assert [] == of_sources(asks(deadline_s=15, options=secure))


def in_use(tree: dict[str, Any], **sources: Any) -> list[tuple[str, str]]:
    """Return what the doctor says of sources that were made."""
    made = {name: AskedSource(name, source) for name, source in sources.items()}
    return [(one.level, one.text) for one in sources_in_use(load(tree), made) if one.subject == "ownership"]


def test_each_source_in_use_is_told() -> None:
    """In the order in which they are asked: adapter, assurance, and whether it reaches a real register."""
    assert [
        ("ok", "mine (test_doctor:Operator): operator_match, reaches a real register"),
        ("ok", "tttb (tttb): subscriber_table"),
    ] == in_use(asks(sources=("mine", "tttb")), tttb=Register(), mine=Operator(timeout_s=3.0), test=Register())


def test_answers_that_a_check_cannot_wait_for_are_explained() -> None:
    """Where even the quickest source over HTTP may take longer than a check waits."""
    tree = asks(sources=("mine", "second", "tttb"))
    told = (
        'a check waits 3 s for an answer that may take 3.5 s: the citizen of a late one sees "checking", and the '
        "worker asks again"
    )
    slow = ("ok", told)

    assert slow == in_use(
        tree, mine=Operator(timeout_s=5), second=Operator(timeout_s=3.5), tttb=Register(),
    )[-1]
    quick = in_use(tree, mine=Operator(timeout_s=5), second=Operator(timeout_s=3), tttb=Register())
    assert [] == [text for _, text in quick if text.startswith("a check waits")]


def test_a_route_that_misses_what_its_purpose_wants_is_told() -> None:
    """The service starts, because another route has it; who takes this one will be refused, or not be looked at."""
    tree = asks(sources=("tttb",)) | {
        "purposes": {"registration": {"sim_swap": "record", "min_assurance": "operator_match"}},
    }
    tree["ownership"]["routes"] = [{"carriers": ["viettel", "itel"], "sources": ["mine tttb"]}]
    found = in_use(tree, mine=Operator(timeout_s=1), tttb=Register())

    assert [
        ("warn", f"registration of all others: {text}") for text in (
            'sim_swap = "record", and no source knows of changed SIMs: tttb',
            'min_assurance = "operator_match", and no source reaches it: tttb (subscriber_table)',
        )
    ] == found[2:]


async def test_each_account_that_cannot_start_is_a_finding(tmp_path: Path) -> None:
    """One line per problem, before anything is opened."""
    findings = await examine(load({
        "sending": {"gateways": ["esms", "speedsms"]}, "store": {"data_dir": str(tmp_path)},
    }))

    assert [
        ("FAIL", "start", "gateways.esms: esms needs api_key, secret_key and sender"),
        ("FAIL", "start", "gateways.speedsms: speedsms needs token"),
    ] == [(one.level, one.subject, one.text) for one in findings if one.level == "FAIL"]
    assert [] == list(tmp_path.iterdir())
