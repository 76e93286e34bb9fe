"""``[sending]``, ``[gateways.*]``, ``[[routes]]``, and the accounts that are made of them."""

from __future__ import annotations

import re
import tomllib
import traceback
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from settings_harness import SHIPPED, copied, load, problems

from otp_service import plugins
from otp_service.accounts_from_settings import _KINDS, make_accounts
from otp_service.core.errors import ConfigurationError
from otp_service.core.phone import Carrier
from otp_service.core.routing import Route
from otp_service.delivery.accounts import TEST_ACCOUNT, Pace
from otp_service.settings import load_settings
from otp_service.settings.gateways import GatewaySection
from otp_service.settings.routing import RESERVED
from sms_adapters.console import ConsoleGateway
from sms_adapters.fake import FakeGateway

SECRET = "a-report-secret-of-32-characters"
ESMS = {"api_key": "S3cret-key", "secret_key": "S3cret-too", "sender": "CongDVC"}
NAME = (
    "a gateway's name has lower case letters, digits and _, starts with a letter, at most 32; no hyphen, because no "
    "shell sets a variable of that name"
)
WEIGHT = "a weight is a whole number from 1 to 1000"
EMPTY_TIER = 'a tier names at least one gateway: "esms=3 speedsms"'


def account_problem(tree: dict[str, Any]) -> str:
    """Return why the accounts of changed settings cannot be made."""
    with pytest.raises(ConfigurationError) as refused:
        make_accounts(load(tree))
    return str(refused.value)


def one(**section: Any) -> dict[str, Any]:
    """Return a tree that sends through the account ``mine`` alone."""
    return {"sending": {"gateways": ["mine"]}, "gateways": {"mine": section}}


# -- who sends, in which order ----------------------------------------------------------------------------------------


def test_console_sends_unless_told_otherwise() -> None:
    """A fresh installation prints its SMS, needs no account for that, and has one route for everything."""
    settings = load()

    assert (Route(({"console": 1},)),) == settings.routes
    assert {} == settings.gateways


@pytest.mark.parametrize(("tiers", "written"), [
    (({"esms": 3, "speedsms": 1}, {"fpt": 1}), ["esms=3 speedsms", "fpt"]),
    (({"esms": 3, "speedsms": 1}, {"fpt": 1}), "esms=3 speedsms, fpt"),
    (({"esms": 3, "speedsms": 1}, {"fpt": 1}), " esms=3  speedsms=1 ,fpt,"),
    (({"esms": 1000}, {"fpt": 1}), ["esms=1000", "fpt=1"]),
    (({"a" + "_" * 31: 1},), ["a" + "_" * 31]),
    (({"viettel_2": 1},), "viettel_2"),
], ids=str)
def test_tiers_are_read(tiers: tuple[dict[str, int], ...], written: object) -> None:
    """A list in TOML and one variable with commas mean the same: tiers in order, weights within them."""
    by_file = load({"sending": {"gateways": written}})

    assert (Route(tiers),) == by_file.routes
    if isinstance(written, str):
        assert by_file.routes == load(environ={"OTP__SENDING__GATEWAYS": written}).routes


@pytest.mark.parametrize(("told", "written"), [
    ("at least one gateway is needed", []), ("at least one gateway is needed", ""),
    (EMPTY_TIER, [""]), (EMPTY_TIER, ["esms", " "]),
    ("esms stands there twice", ["esms=3 esms"]), ("esms stands there twice", ["esms", "fpt esms=2"]),
    (f"esms=0: {WEIGHT}", ["esms=0"]), (f"esms=1001: {WEIGHT}", ["esms=1001"]), (f"esms=-1: {WEIGHT}", ["esms=-1"]),
    (f"esms=1.5: {WEIGHT}", ["esms=1.5"]), (f"esms=x: {WEIGHT}", ["esms=x"]), (f"esms=٣: {WEIGHT}", ["esms=٣"]),
    (f"esms=3=1: {WEIGHT}", ["esms=3=1"]), (f"esms=3,: {WEIGHT}", ["esms=3, fpt"]),
    (NAME, ["Esms"]), (NAME, ["9esms"]), (NAME, ["esms, fpt"]), (NAME, ["a" * 33]), (NAME, ["đ"]),
    ("=3: a gateway's name stands before its weight", ["=3"]), (f"esms=: {WEIGHT}", ["esms="]),
    (NAME, ["module:Class"]), (NAME, ["_esms"]), (NAME, ["esms-2"]), (NAME, ["esms.1"]),
    ("'test' is the name of the gateway that test keys send through; take another", ["esms", "test=2"]),
], ids=str)
def test_bad_tiers_are_refused(told: str, written: object) -> None:
    """Each guard says what to write, in ``[sending]`` and in a route alike."""
    assert [f"sending.gateways: {told}"] == problems({"sending": {"gateways": written}})
    assert [f"routes[0].gateways: {told}"] == problems({"routes": [{"purposes": ["sign_in"], "gateways": written}]})


# -- accounts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "Esms", "9esms", "a" * 33, "đ", "a b", "_esms", "esms.1", "esms-2"])
def test_a_bad_gateway_name_is_refused(name: str) -> None:
    """A name is a metric label, a store key and a part of the callback's path."""
    (told,) = problems({"gateways": {name: {}}})

    assert f"gateways.{name}: {NAME}" == told


def test_the_test_keys_gateway_is_reserved() -> None:
    """An account of that name would shadow the one that reaches no phone."""
    assert TEST_ACCOUNT == RESERVED
    assert ["gateways.test: 'test' is the name of the gateway that test keys send through; take another"] == problems(
        {"gateways": {"test": {"adapter": "esms"}}},
    )


@pytest.mark.parametrize(("name", "value"), [
    ("adapter", ""), ("adapter", "a b"), ("adapter", ":Class"), ("adapter", "module:"), ("adapter", "../x"),
    ("accept_experimental", "perhaps"), ("poll_reports", 5), ("options", []), ("options", "x"),
    ("rate", -1), ("rate", 100_001), ("rate", "fast"), ("rate", float("nan")), ("rate", float("inf")),
    ("burst", 0), ("burst", 100_001), ("burst", 1.5), ("concurrency", 0), ("concurrency", 10_001),
    ("report_networks", ["10.0.0.1/8"]), ("report_networks", ["provider"]), ("report_networks", "10.0.0.0/8;::1"),
    ("report_secret", 5), ("name", "esms"),
])
def test_a_bad_value_of_a_gateway_is_refused(name: str, value: object) -> None:
    """Each guard of an account tells the path of its setting, once."""
    told = problems({"gateways": {"esms": {name: value}}})

    assert 1 == len(told)
    assert told[0].startswith(f"gateways.esms.{name}")


@pytest.mark.parametrize("secret", ["a" * 24, "a" * 128, "Abc-_0123456789abcdefghi", ""])
def test_a_report_secret_fits_into_a_path(secret: str) -> None:
    """24 to 128 characters that no URL escapes; empty takes no reports."""
    assert secret == load({"gateways": {"esms": {"report_secret": secret}}}).gateways["esms"].report_secret


@pytest.mark.parametrize("secret", [
    "a" * 23, "a" * 129, "a" * 24 + "/", "a" * 24 + "\n", "đ" * 24, "a b" * 10, " " * 24,
])
def test_any_other_report_secret_is_refused(secret: str) -> None:
    """What can be guessed or would not come back as it was given is refused, and not repeated."""
    assert [
        "gateways.esms.report_secret: 24 to 128 letters, digits, - and _; a good one: openssl rand -hex 24",
    ] == problems({"gateways": {"esms": {"report_secret": secret}}})


def test_an_account_is_read_from_the_environment(tmp_path: Path) -> None:
    """Numbers, booleans and networks come as text, options stay text, and each secret may stand in a file."""
    for name in ("secret", "key"):
        (tmp_path / name).write_text(f"{name}-of-twenty-four-characters\n")
    settings = load(environ={
        "OTP__SENDING__GATEWAYS": "esms",
        "OTP__GATEWAYS__ESMS__ADAPTER": "my.module:Gateway",
        "OTP__GATEWAYS__ESMS__ACCEPT_EXPERIMENTAL": "true",
        "OTP__GATEWAYS__ESMS__RATE": "12.5",
        "OTP__GATEWAYS__ESMS__BURST": "3",
        "OTP__GATEWAYS__ESMS__CONCURRENCY": "64",
        "OTP__GATEWAYS__ESMS__REPORT_SECRET_FILE": str(tmp_path / "secret"),
        "OTP__GATEWAYS__ESMS__REPORT_NETWORKS": "203.0.113.0/24, 2001:db8::/32,192.0.2.1",
        "OTP__GATEWAYS__ESMS__POLL_REPORTS": "true",
        "OTP__GATEWAYS__ESMS__OPTIONS__SECRET_KEY_FILE": str(tmp_path / "key"),
        "OTP__GATEWAYS__ESMS__OPTIONS__TIMEOUT_S": "5",
        "OTP__GATEWAYS__ESMS__OPTIONS__TABLE": "{config_dir}/x.toml",
    })

    assert GatewaySection.model_construct(
        adapter="my.module:Gateway", accept_experimental=True, rate=12.5, burst=3, concurrency=64,
        report_secret="secret-of-twenty-four-characters", poll_reports=True,
        report_networks=(ip_network("203.0.113.0/24"), ip_network("2001:db8::/32"), ip_network("192.0.2.1")),
        options={
            "secret_key": "key-of-twenty-four-characters", "timeout_s": "5", "table": f"{SHIPPED}/x.toml",
        },
    ) == settings.gateways["esms"]


def test_no_secret_of_an_account_is_shown(tmp_path: Path) -> None:
    """Neither a repr nor any refusal carries a report secret or an option.  Invariant 5."""
    (tmp_path / "secret").write_text("S3cret/" * 5)
    good = load({"gateways": {"esms": {"report_secret": "S3cret" * 4, "options": ESMS}}})
    told = "\n".join(problems({"gateways": {"esms": {"rate": "S3cret", "options": {"a": "S3cret"}}}}, environ={
        "OTP__GATEWAYS__ESMS__REPORT_SECRET_FILE": str(tmp_path / "secret"),
        "OTP__GATEWAYS__FPT__OPTIONS": "S3cret",
    }))

    assert "S3cret" not in repr(good) + repr(good.gateways) + str(good.gateways["esms"])
    assert 3 == len(told.splitlines())
    assert "S3cret" not in told


# -- routes -----------------------------------------------------------------------------------------------------------


def test_routes_come_before_the_rest() -> None:
    """Their order is kept, and what none takes goes to the gateways of ``[sending]``."""
    settings = load({
        "sending": {"gateways": ["esms"]},
        "routes": [
            {"carriers": ["viettel", "itel"], "purposes": ["registration"], "gateways": ["viettel=2 esms"]},
            {"carriers": "mobifone, gmobile", "gateways": "fpt"},
            {"purposes": ["sign_in", "password_reset"], "gateways": ["fpt", "esms"]},
        ],
    })

    assert (
        Route(({"viettel": 2, "esms": 1},), frozenset({Carrier.VIETTEL, Carrier.ITEL}), frozenset({"registration"})),
        Route(({"fpt": 1},), frozenset({Carrier.MOBIFONE, Carrier.GMOBILE})),
        Route(({"fpt": 1}, {"esms": 1}), purposes=frozenset({"sign_in", "password_reset"})),
        Route(({"esms": 1},)),
    ) == settings.routes
    assert ("viettel", "esms", "fpt") == settings.route_book().gateways


@pytest.mark.parametrize(("told", "route"), [
    (": a route is for some carriers or purposes; the rest is sending.gateways", {"gateways": ["esms"]}),
    (": a route is for some carriers or purposes; the rest is sending.gateways",
     {"carriers": [], "purposes": "", "gateways": ["esms"]}),
    (".gateways: missing", {"carriers": ["viettel"]}),
    (".purposes: no such purpose: sign-in", {"purposes": ["sign_in", "sign-in"], "gateways": ["esms"]}),
    (".purposes: no such purpose: a, b", {"purposes": ["b", "a"], "gateways": ["esms"]}),
    (".carrier: unknown name; default.toml shows every name with its meaning",
     {"carrier": "viettel", "purposes": ["sign_in"], "gateways": ["esms"]}),
])
def test_a_bad_route_is_refused(told: str, route: dict[str, Any]) -> None:
    """Each guard of a route tells its place in the list."""
    good = {"purposes": ["sign_in"], "gateways": ["esms"]}

    assert [f"routes[1]{told}"] == problems({"routes": [good, route]})


def test_an_unknown_carrier_is_refused_with_those_there_are() -> None:
    """Who mistypes a carrier reads its name."""
    (told,) = problems({"routes": [{"carriers": ["viettell"], "gateways": ["esms"]}]})

    assert told.startswith("routes[0].carriers[0]: ")
    for carrier in Carrier:
        assert f"'{carrier.value}'" in told


def test_a_purpose_with_errors_is_still_known_to_routes() -> None:
    """One mistake gives one problem."""
    (told,) = problems({
        "purposes": {"sign_in": {"max_attempts": 99}}, "routes": [{"purposes": ["sign_in"], "gateways": ["esms"]}],
    })

    assert told.startswith("purposes.sign_in.max_attempts: ")


# -- the manual -------------------------------------------------------------------------------------------------------


def test_the_examples_are_valid_once_uncommented(tmp_path: Path) -> None:
    """Who takes away the comment signs has an account, its options and a route; no setting is left out."""
    folder = copied(tmp_path)
    path = folder / "default.toml"
    manual = path.read_text(encoding="utf-8")
    head, rest = manual.split("# [gateways.esms]", 1)
    example, tail = rest.split("\n[ownership]", 1)
    example = re.sub(r"(?m)^# ?", "", "# [gateways.esms]" + example)
    # Sentences between the examples have one comment sign alone, as the settings have.
    toml = "\n".join(line for line in example.splitlines() if re.match(r"#|\[|[a-z_]+ = |$", line))
    path.write_text(f"{head}{toml}\n[ownership]{tail}", encoding="utf-8")
    settings = load_settings(folder, environ={})

    assert set(GatewaySection.model_fields) == set(tomllib.loads(toml)["gateways"]["esms"])
    assert ("esms", 20, False) == tuple(
        getattr(settings.gateways["esms"], name) for name in ("adapter", "rate", "poll_reports")
    )
    assert frozenset({Carrier.VIETTEL}) == settings.routes[0].carriers
    listed = re.search(r"hint: numbers are ported\.  ([a-z, \n#]+)\.", manual)
    assert listed
    assert {carrier.value for carrier in Carrier} == set(re.findall("[a-z]+", listed[1]))


# -- accounts are made ------------------------------------------------------------------------------------------------


def test_an_account_is_made_as_it_is_written() -> None:
    """Pace, width, secret and networks reach the account; an adapter of another name is found."""
    (account,) = make_accounts(load(one(
        adapter="fake", rate=20, burst=3, report_secret=SECRET, report_networks=["203.0.113.0/24"], poll_reports=True,
        options={"url": "http://127.0.0.1:1", "timeout_s": "2.5"},
    )))

    assert ("mine", 2.5, Pace(20, 3), SECRET, (ip_network("203.0.113.0/24"),), True) == (
        account.name, account.timeout_s, account.pace, account.report_secret, account.report_networks,
        account.poll_reports,
    )
    assert isinstance(account.gateway, FakeGateway)
    assert not account.real


def test_what_a_route_names_is_made_once_and_nothing_else() -> None:
    """Each account that some route names, in order; one without a table is the adapter of that name, unlimited."""
    accounts = make_accounts(load({
        "sending": {"gateways": ["console", "second"]},
        "gateways": {"second": {"adapter": "sms_adapters.fake:FakeGateway"}, "unused": {"adapter": "nowhere"}},
        "routes": [{"purposes": ["sign_in"], "gateways": ["second", "console"]}],
    }))

    assert ["second", "console"] == [account.name for account in accounts]
    assert [FakeGateway, ConsoleGateway] == [type(account.gateway) for account in accounts]
    assert (None, "", (), False) == (
        accounts[1].pace, accounts[1].report_secret, accounts[1].report_networks, accounts[1].poll_reports,
    )


def test_an_unknown_adapter_names_its_account() -> None:
    """And says which there are."""
    told = account_problem(one(adapter="nowhere"))

    assert told.startswith("gateways.mine: no 'nowhere' among otp_service.sms_adapters (installed: console, ")


@pytest.mark.parametrize(("adapter", "why"), [
    ("sms_adapters.nowhere:Gateway", "No module named 'sms_adapters.nowhere'"),
    ("sms_adapters.fake:Nothing", "module 'sms_adapters.fake' has no attribute 'Nothing'"),
])
def test_an_adapter_that_does_not_load_says_why(adapter: str, why: str) -> None:
    """A fault inside an adapter is told as what it is, not as an adapter that is not there."""
    told = account_problem(one(adapter=adapter))

    assert f"gateways.mine: '{adapter}' of otp_service.sms_adapters cannot be loaded: {why}" == told


def test_a_mistyped_gateway_is_told_with_those_there_are() -> None:
    """A name without a table must be an adapter's."""
    told = account_problem({"sending": {"gateways": ["fake", "esmss"]}})

    assert told.startswith("gateways.esmss: no 'esmss' among otp_service.sms_adapters (installed: console, ")


@pytest.mark.parametrize(("told", "section"), [
    ("esms has no option 'colour', 'size'; it has api_key, secret_key, sender, callback_url, sandbox, url, timeout_s", {
        "adapter": "esms", "options": ESMS | {"size": "S3cret", "colour": "S3cret"},
    }),
    ("esms needs api_key, secret_key and sender", {"adapter": "esms"}),
    ("esms needs secret_key and sender, and has no option 'colour'; it has api_key, ", {
        "adapter": "esms", "options": {"api_key": "S3cret", "colour": "S3cret"},
    }),
    ("smpp needs host, ", {"adapter": "smpp"}),
    ("stringee has no option 'clock'; it has key_sid, key_secret, sender, url, timeout_s", {
        "adapter": "stringee", "options": {"key_sid": "a", "key_secret": "S3cret", "sender": "b", "clock": "S3cret"},
    }),
    ("test_settings_gateways:Shape has no option 'a'; it takes none", {
        "adapter": "test_settings_gateways:Shape", "options": {"a": "S3cret"},
    }),
    ("fake gateway: timeout_s must be above 0", {"adapter": "fake", "options": {"timeout_s": "-1"}}),
    ("esms: timeout_s: write seconds", {"adapter": "esms", "options": ESMS | {"timeout_s": "S3cret"}}),
])
def test_wrong_options_name_their_account(told: str, section: dict[str, Any]) -> None:
    """Names that the adapter does not take and values that it refuses are told; no value is."""
    found = account_problem(one(**section))

    assert found.startswith(f"gateways.mine: {told}")
    assert "S3cret" not in found


@pytest.mark.parametrize(("told", "raised"), [
    ("test_settings_gateways:Careless cannot be made of its options: KeyError in its constructor", "KeyError"),
    ("test_settings_gateways:Careless cannot be made of its options: TypeError in its constructor", "TypeError"),
    ("write a number", "ConfigurationError"),
])
def test_what_a_constructor_raises_is_told_without_its_text(told: str, raised: str) -> None:
    """Anybody's adapter may put an option into its error; only what is raised for people is repeated."""
    adapter, options = "test_settings_gateways:Careless", {"raised": raised, "secret": "S3cret"}
    with pytest.raises(ConfigurationError) as refused:
        plugins.make(plugins.GATEWAYS, adapter, options)

    assert "S3cret" not in "".join(traceback.format_exception(refused.value))
    assert f"gateways.mine: {told}" == account_problem(one(adapter=adapter, options=options))


def test_an_adapter_of_any_options_gets_them() -> None:
    """A constructor that takes whatever there is decides for itself."""
    (account,) = make_accounts(load(one(adapter="test_settings_gateways:Liberal", options={"colour": "red"})))

    assert "red" == account.gateway.options["colour"]  # type: ignore[union-attr]


def test_the_problems_of_all_accounts_are_told_at_once() -> None:
    """One line each, in the order of the routes, so that nobody starts the service once per mistake."""
    told = account_problem({
        "sending": {"gateways": ["fine=2 esms", "nowhere", "odd"]},
        "gateways": {"fine": {"adapter": "fake"}, "odd": {"adapter": "test_settings_gateways:Shape"}},
    })

    esms, nowhere, *odd = told.splitlines()
    assert "gateways.esms: esms needs api_key, secret_key and sender" == esms
    assert nowhere.startswith("gateways.nowhere: no 'nowhere' among ")
    assert [
        "gateways.odd: its attribute name is not a text",
        "gateways.odd: its attribute real is not True or False",
        "gateways.odd: its attribute timeout_s is not a positive number of seconds",
        "gateways.odd: build_request and parse_response are missing (SmsGateway)",
    ] == odd


@pytest.mark.parametrize(("told", "attributes"), [
    ("its attribute name is not a text", {"name": ""}),
    ("its attribute name is not a text", {"name": 5}),
    ("its attribute real is not True or False", {"real": "true"}),
    ("its attribute real is not True or False", {"real": 1}),
    *(("its attribute timeout_s is not a positive number of seconds", {"timeout_s": wrong})
      for wrong in (0, -1, "5", True, None, float("nan"), float("inf"))),
    ("parse_response is missing (SmsGateway)", {"parse_response": None}),
    ("build_request is missing (SmsGateway)", {"build_request": "text"}),
    ("parse_token and build_authorised are missing (TokenGateway)",
     {"build_request": None, "build_token_request": print}),
    ("open is missing (ConnectedGateway)", {"build_request": None, "send": print, "close": print}),
    ("it has the methods of SmsGateway and ConnectedGateway; a gateway is one of them",
     {"open": print, "send": print, "close": print}),
], ids=str)
def test_an_adapter_of_another_shape_is_refused(
    told: str, attributes: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A slip in an adapter is told at the start, with its account, and not by the first SMS."""
    whole = {"name": "shape", "real": False, "timeout_s": 5, "build_request": print, "parse_response": print}
    for name, value in (whole | attributes).items():
        monkeypatch.setattr(Shape, name, value, raising=False)

    assert f"gateways.mine: {told}" == account_problem(one(adapter="test_settings_gateways:Shape"))


@pytest.mark.parametrize("name", sorted(plugins.installed(plugins.GATEWAYS)))
def test_each_installed_adapter_is_of_one_kind(name: str) -> None:
    """What is checked of anybody's adapter holds for ours."""
    kind = plugins.find(plugins.GATEWAYS, name)

    assert 1 == len([1 for methods in _KINDS.values() if all(hasattr(kind, method) for method in methods)])


def test_an_experimental_adapter_must_be_accepted() -> None:
    """What is known from integrators' code alone sends nothing before somebody has said so."""
    tree = one(adapter="test_settings_gateways:Experimental")
    accepted = one(adapter="test_settings_gateways:Experimental", accept_experimental=True)

    assert (
        "gateways.mine: the contract of fake is known from integrators' code alone; try it with otp-service "
        "send-test, then set accept_experimental = true"
    ) == account_problem(tree)
    assert ["mine"] == [account.name for account in make_accounts(load(accepted))]


@pytest.mark.parametrize("adapter", ["console", "fake"])
@pytest.mark.parametrize(("setting", "value"), [("report_secret", SECRET), ("poll_reports", True)])
def test_reports_need_an_adapter_that_has_them(adapter: str, setting: str, value: object) -> None:
    """Who waits for reports that never come is told at the start: the fake gateway has none without a provider."""
    told = account_problem(one(adapter=adapter, **{setting: value}))

    assert f"gateways.mine.{setting}: {adapter} gives no such delivery reports" == told


class Careless(FakeGateway):
    """A gateway whose constructor fails as it is told, with its secret in the error."""

    def __init__(self, raised: str, secret: str) -> None:
        if raised == "ConfigurationError":
            raise ConfigurationError("write a number")
        raise {"KeyError": KeyError, "TypeError": TypeError}[raised](secret)


class Liberal(FakeGateway):
    """A gateway that takes any option."""

    def __init__(self, **options: str) -> None:
        super().__init__()
        self.options = options


class Shape:
    """What a test gives the attributes of a gateway, or not."""


class Experimental(FakeGateway):
    """A gateway that nobody has a contract for."""

    experimental = True
