"""What the doctor says of the accounts' settings; the rest needs a store and is tested on real processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from settings_harness import load

from otp_service.doctor import account_warnings, examine

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
