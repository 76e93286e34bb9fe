"""``[ownership]``, ``[[ownership.routes]]`` and ``[sources.*]``: who is asked, in which order, how long, how often."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from settings_harness import SHIPPED, copied, load, problems

from otp_service.core.phone import Carrier
from otp_service.core.routing import Route
from otp_service.settings import SourceSection, load_settings
from otp_service.settings.ownership import OwnershipSection, SourceRouteSection

NAME = (
    "a source's name has lower case letters, digits and _, starts with a letter, at most 32; no hyphen, because no "
    "shell sets a variable of that name"
)
WEIGHT = "a weight is a whole number from 1 to 1000"
EMPTY_TIER = 'a tier names at least one source: "viettel=3 aggregator"'
RESERVED = "'test' is the name of the source that test keys ask; take another"
PERIOD = '"24h", or days up to "31d": periods begin at midnight in Vietnam'


def routes(tree: dict[str, Any]) -> tuple[Route, ...]:
    """Return the routes of changed settings."""
    return load(tree).ownership.all_routes()


# -- who is asked, in which order -------------------------------------------------------------------------------------


def test_the_table_of_subscribers_answers_unless_told_otherwise() -> None:
    """A fresh installation asks its sample table alone, as the manual says."""
    settings = load()

    assert (Route(({"tttb": 1},)),) == settings.ownership.all_routes()
    assert {"tttb"} == set(settings.sources)
    shipped = {"subscribers": f"{SHIPPED}/sample/subscribers.csv", "table": ""}
    assert shipped == settings.source("tttb").options
    assert "tttb" == settings.source("tttb").adapter_for("tttb")
    assert OwnershipSection() == settings.ownership


@pytest.mark.parametrize(("tiers", "written"), [
    (({"viettel": 3, "aggregator": 1}, {"tttb": 1}), ["viettel=3 aggregator", "tttb"]),
    (({"viettel": 3, "aggregator": 1}, {"tttb": 1}), "viettel=3 aggregator=1, tttb"),
    (({"a" + "_" * 31: 1000},), ["a" + "_" * 31 + "=1000"]),
], ids=str)
def test_tiers_are_read(tiers: tuple[dict[str, int], ...], written: object) -> None:
    """A list in TOML and one variable with commas mean the same: tiers in order, weights within them."""
    assert (Route(tiers),) == routes({"ownership": {"sources": written}})
    if isinstance(written, str):
        assert (Route(tiers),) == load(environ={"OTP__OWNERSHIP__SOURCES": written}).ownership.all_routes()


@pytest.mark.parametrize(("told", "written"), [
    ("at least one source is needed", []), ("at least one source is needed", ""),
    (EMPTY_TIER, [""]), ("tttb stands there twice", ["tttb", "tttb=2"]),
    (f"tttb=0: {WEIGHT}", ["tttb=0"]), ("=3: a source's name stands before its weight", ["=3"]),
    (NAME, ["Viettel"]), (NAME, ["viettel-2"]), (NAME, ["module:Class"]), (NAME, ["a" * 33]),
    (RESERVED, ["viettel", "test=2"]),
], ids=str)
def test_bad_tiers_are_refused(told: str, written: object) -> None:
    """Each guard says what to write, in ``[ownership]`` and in a route alike."""
    assert [f"ownership.sources: {told}"] == problems({"ownership": {"sources": written}})
    assert [f"ownership.routes[0].sources: {told}"] == problems(
        {"ownership": {"routes": [{"purposes": ["sign_in"], "sources": written}]}},
    )


def test_routes_come_before_the_rest() -> None:
    """Their order is kept, and what none takes is asked of ``ownership.sources``."""
    settings = load({"ownership": {
        "sources": ["aggregator", "tttb"],
        "routes": [
            {"carriers": ["viettel"], "purposes": ["registration"], "sources": ["viettel=2 aggregator"]},
            {"carriers": "mobifone, gmobile", "sources": "mobi"},
        ],
    }})

    assert (
        Route(({"viettel": 2, "aggregator": 1},), frozenset({Carrier.VIETTEL}), frozenset({"registration"})),
        Route(({"mobi": 1},), frozenset({Carrier.MOBIFONE, Carrier.GMOBILE})),
        Route(({"aggregator": 1}, {"tttb": 1})),
    ) == settings.ownership.all_routes()
    assert ("viettel", "aggregator", "mobi", "tttb") == settings.source_book().names
    assert ("mobi",) == settings.source_book().order(Carrier.GMOBILE, "registration", {}, "a")


@pytest.mark.parametrize(("told", "route"), [
    (": a route is for some carriers or purposes; the rest is ownership.sources", {"sources": ["tttb"]}),
    (": a route is for some carriers or purposes; the rest is ownership.sources",
     {"carriers": [], "purposes": "", "sources": ["tttb"]}),
    (".sources: missing", {"carriers": ["viettel"]}),
    (".purposes: no such purpose: sign-in", {"purposes": ["sign_in", "sign-in"], "sources": ["tttb"]}),
    (".gateways: unknown name; default.toml shows every name with its meaning",
     {"purposes": ["sign_in"], "sources": ["tttb"], "gateways": ["esms"]}),
])
def test_a_bad_route_is_refused(told: str, route: dict[str, Any]) -> None:
    """Each guard of a route tells its place in the list."""
    good = {"purposes": ["sign_in"], "sources": ["tttb"]}

    assert [f"ownership.routes[1]{told}"] == problems({"ownership": {"routes": [good, route]}})


def test_an_unknown_carrier_of_a_route_is_refused() -> None:
    """Who mistypes a carrier reads those there are."""
    (told,) = problems({"ownership": {"routes": [{"carriers": ["viettell"], "sources": ["tttb"]}]}})

    assert told.startswith("ownership.routes[0].carriers[0]: ")
    assert "'viettel'" in told


# -- how long, how often ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), [
    ("source", "tttb"), ("options", {}), ("inline_deadline_s", -1), ("inline_deadline_s", 31),
    ("worker_deadline_s", 0), ("worker_deadline_s", 61), ("worker_deadline_s", float("nan")),
    ("retry_backoff_s", 0), ("retry_backoff_s", 301), ("questions", 0), ("questions", 21), ("questions", 1.5),
    ("routes", {}), ("routes", "viettel"),
])
def test_a_bad_value_of_ownership_is_refused(name: str, value: object) -> None:
    """Each guard tells the path of its setting, once."""
    (told,) = problems({"ownership": {name: value}})

    assert told.startswith(f"ownership.{name}")


def test_the_worker_waits_at_least_as_long_as_a_check() -> None:
    """What a check could wait for, the worker must be able to hear; both may be the same."""
    tree = {"ownership": {"inline_deadline_s": 10, "worker_deadline_s": 10}}

    assert 10 == load(tree).ownership.worker_deadline_s
    assert ["ownership.worker_deadline_s: at least inline_deadline_s: behind the worker no citizen waits"] == problems(
        {"ownership": {"inline_deadline_s": 15.5}},
    )


@pytest.mark.parametrize("name", ["", "Viettel", "9viettel", "a" * 33, "đ", "a b", "_viettel", "viettel.1", "esms-2"])
def test_a_bad_source_name_is_refused(name: str) -> None:
    """A name is a metric label and a store key."""
    assert [f"sources.{name}: {NAME}"] == problems({"sources": {name: {}}})


def test_the_test_keys_source_is_reserved() -> None:
    """A source of that name would shadow the one that reaches no register."""
    assert [f"sources.test: {RESERVED}"] == problems({"sources": {"test": {"adapter": "camara"}}})


@pytest.mark.parametrize(("name", "value"), [
    ("adapter", ""), ("adapter", "a b"), ("adapter", "module:"), ("adapter", "../x"),
    ("deadline_s", 0), ("deadline_s", 61), ("deadline_s", float("nan")), ("deadline_s", "soon"),
    ("budget", -1), ("budget", 1.5), ("budget", 1_000_000_001), ("options", []), ("options", "x"), ("name", "viettel"),
])
def test_a_bad_value_of_a_source_is_refused(name: str, value: object) -> None:
    """Each guard tells the path of its setting."""
    told = problems({"sources": {"viettel": {name: value}}})

    assert 1 == len(told)
    assert told[0].startswith(f"sources.viettel.{name}")


@pytest.mark.parametrize(("seconds", "written"), [
    (86_400, "24h"), (86_400, "1d"), (604_800, "7d"), (2_678_400, "31d"), (172_800, "48h"), (86_400, 86_400),
])
def test_a_budget_s_period_is_whole_days(seconds: int, written: object) -> None:
    """Windows begin at midnight in Vietnam."""
    assert seconds == load({"sources": {"viettel": {"budget_period": written}}}).source("viettel").budget_period


@pytest.mark.parametrize("written", ["36h", "32d", "0d", "1h", "0s", 86_401, -86_400, 0.5])
def test_another_period_is_refused(written: object) -> None:
    """A part of a day, none, and more than a month."""
    assert [f"sources.viettel.budget_period: {PERIOD}"] == problems(
        {"sources": {"viettel": {"budget_period": written}}},
    )


# -- the environment --------------------------------------------------------------------------------------------------


def test_a_source_is_read_from_the_environment(tmp_path: Path) -> None:
    """Numbers come as text, options stay text, and each secret may stand in a file."""
    (tmp_path / "secret").write_text("of-the-client\n")
    settings = load(environ={
        "OTP__SOURCES__VIETTEL__ADAPTER": "my.module:Source",
        "OTP__SOURCES__VIETTEL__DEADLINE_S": "2.5",
        "OTP__SOURCES__VIETTEL__BUDGET": "1000",
        "OTP__SOURCES__VIETTEL__BUDGET_PERIOD": "31d",
        "OTP__SOURCES__VIETTEL__OPTIONS__CLIENT_SECRET_FILE": str(tmp_path / "secret"),
        "OTP__SOURCES__VIETTEL__OPTIONS__TABLE": "{config_dir}/x.toml",
        "OTP__SOURCES__VIETTEL__OPTIONS__TIMEOUT_S": "5",
    })

    assert SourceSection.model_construct(
        adapter="my.module:Source", deadline_s=2.5, budget=1000, budget_period=2_678_400,
        options={"client_secret": "of-the-client", "table": f"{SHIPPED}/x.toml", "timeout_s": "5"},
    ) == settings.source("viettel")


def test_no_secret_of_a_source_is_shown() -> None:
    """Neither a repr nor any refusal carries an option.  Invariant 5."""
    good = load({"sources": {"viettel": {"options": {"client_secret": "S3cret"}}}})
    told = "\n".join(problems(
        {"sources": {"viettel": {"budget": "S3cret", "deadline_s": "S3cret", "options": {"a": "S3cret"}}}},
        environ={"OTP__SOURCES__AGGREGATOR__OPTIONS": "S3cret"},
    ))

    assert "S3cret" not in repr(good) + repr(good.sources) + str(good.source("viettel"))
    assert 3 == len(told.splitlines())
    assert "S3cret" not in told


# -- the manual -------------------------------------------------------------------------------------------------------


def test_the_examples_are_valid_once_uncommented(tmp_path: Path) -> None:
    """Who takes away the comment signs has a route and a source with its options; no setting is left out."""
    folder = copied(tmp_path)
    path = folder / "default.toml"
    manual = path.read_text(encoding="utf-8")
    head, rest = manual.split("\n[ownership]", 1)
    part, tail = rest.split("\n[logging]", 1)
    lines = re.sub(r"(?m)^# ?(?=\[|# |[a-z_]+ = )", "", f"[ownership]{part}").splitlines()
    # Sentences between the examples have one comment sign alone, as the settings have.
    toml = "\n".join(line for line in lines if re.match(r"\[|[a-z_]+ = |$", line))
    path.write_text(f"{head}\n{toml}\n[logging]{tail}", encoding="utf-8")
    settings, written = load_settings(folder, environ={}), tomllib.loads(toml)

    assert set(SourceSection.model_fields) == set(written["sources"]["viettel"])
    assert set(OwnershipSection.model_fields) == set(written["ownership"])
    assert set(SourceRouteSection.model_fields) == set(written["ownership"]["routes"][0])
    assert "camara" == settings.source("viettel").adapter
    assert {"client_id"} == set(settings.source("viettel").options)
    assert frozenset({Carrier.VIETTEL}) == settings.ownership.all_routes()[0].carriers
    shown = {name: value for name, value in written["ownership"].items() if name != "routes"}
    assert OwnershipSection().model_dump(include=set(shown), mode="json") == shown
