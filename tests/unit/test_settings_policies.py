"""The settings of purposes, limits and overrides."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from settings_harness import copied, load, portal, problems

from otp_service.core import limits
from otp_service.core.evidence import ComparedField, EvidenceRules, SimSwapEffect
from otp_service.core.limits import LIMIT_KINDS, Limit, Mode
from otp_service.core.verification import CodePolicy, OwnershipPolicy, Purpose


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the shipped configuration."""
    return copied(tmp_path)


def override(**changes: Any) -> dict[str, Any]:
    """Return a tree with one client and one override of an address limit."""
    base = {"limit": "address_sends", "subject": "203.0.113.0/24", "count": 600, "comment": "asked for by the district"}
    entry = {name: value for name, value in (base | changes).items() if value is not None}
    return portal() | {"overrides": [entry]}


# -- purposes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), [
    ("max_attempts", 0), ("max_attempts", 11), ("max_resends", -1), ("max_resends", 11),
    ("life_s", 59), ("life_s", 3601), ("ownership_timeout_s", 0), ("ownership_timeout_s", 3601),
    ("ownership", "sometimes"), ("assisted", "perhaps"), ("consent_required", 5), ("unknown", 1),
])
def test_a_bad_purpose_is_refused(name: str, value: object) -> None:
    """Each guard of a purpose tells its path.  Invariant 2."""
    told = problems({"purposes": {"registration": {name: value}}})

    assert 1 == len(told)
    assert told[0].startswith(f"purposes.registration.{name}: ")


@pytest.mark.parametrize(("name", "value"), [
    ("length", 5), ("length", 9), ("validity_s", 29), ("validity_s", 0), ("previous_code_grace_s", 61),
    ("previous_code_grace_s", -1), ("unknown", 1),
])
def test_a_bad_code_policy_is_refused(name: str, value: object) -> None:
    """Each guard of a code policy tells its path."""
    told = problems({"purposes": {"registration": {"code": {name: value}}}})

    assert 1 == len(told)
    assert told[0].startswith(f"purposes.registration.code.{name}: ")


@pytest.mark.parametrize("length", [6, 7, 8])
def test_six_to_eight_digits_are_taken(length: int) -> None:
    """NIST asks for six at least; eight still fit the SMS."""
    assert length == load({"purposes": {"sign_in": {"code": {"length": length}}}}).purposes["sign_in"].code.length


@pytest.mark.parametrize("ownership", ["never", "before", "after"])
def test_when_ownership_is_asked(ownership: str) -> None:
    """Ownership is asked never, before the code, or after it."""
    assert ownership == load({"purposes": {"sign_in": {"ownership": ownership}}}).purposes["sign_in"].ownership


def test_what_a_purpose_makes_of_evidence() -> None:
    """What must match, how strong the evidence must be and what a changed SIM means are the purpose's."""
    written = {
        "must_match": ["full_name", "birth_date"], "min_assurance": "subscriber_table", "sim_swap": "reject",
        "sim_swap_max_age_h": 72,
    }
    assert EvidenceRules(
        frozenset({ComparedField.FULL_NAME, ComparedField.BIRTH_DATE}), "subscriber_table", SimSwapEffect.REJECT, 72,
    ) == load({"purposes": {"account_link": written}}).purposes["account_link"].evidence
    by_environment = load(environ={"OTP__PURPOSES__ACCOUNT_LINK__MUST_MATCH": "full_name, birth_date"})
    assert 2 == len(by_environment.purposes["account_link"].evidence.must_match)


def test_evidence_rules_that_are_left_out() -> None:
    """By default the ID number alone decides, any level is enough, and no SIM's age is asked for."""
    assert EvidenceRules() == load().purposes["registration"].evidence == load().purposes["account_link"].evidence


@pytest.mark.parametrize(("written", "told"), [
    ({"must_match": ["id_number"]}, "the ID number decides in any case: write full_name, birth_date or both"),
    ({"must_match": ["address"]}, "must_match"),
    ({"min_assurance": "certain"}, "no such level; there are, the strongest first, operator_match, subscriber_table"),
    ({"sim_swap": "refuse"}, "sim_swap"),
    ({"sim_swap_max_age_h": 0}, "sim_swap_max_age_h"),
    ({"sim_swap_max_age_h": 2401}, "sim_swap_max_age_h"),
])
def test_evidence_rules_that_are_refused(written: dict[str, object], told: str) -> None:
    """What no purpose could mean refuses to start, with what to write instead."""
    (problem,) = problems({"purposes": {"registration": written}})
    assert told in problem


@pytest.mark.parametrize(("validity_s", "allowed", "passes"), [
    (300, False, True), (301, False, False), (301, True, True), (600, True, True), (601, True, False),
    (601, False, False),
])
def test_a_long_validity_needs_the_explicit_override(validity_s: int, allowed: bool, passes: bool) -> None:
    """Above 300 s only beside allow_long_validity, above 600 s never, whatever stands first.  Invariant 4."""
    tree = {"purposes": {"sign_in": {"code": {"validity_s": validity_s, "allow_long_validity": allowed}}}}

    if passes:
        assert CodePolicy(6, validity_s, 0, allowed) == load(tree).purposes["sign_in"].code
    else:
        (told,) = problems(tree)
        assert told.startswith("purposes.sign_in.code.validity_s: ")


def test_a_code_does_not_outlive_its_verification() -> None:
    """A validity beyond life_s is a mistake in one of the two."""
    assert ["purposes.sign_in.code: validity_s is longer than the verification's life_s"] == problems(
        {"purposes": {"sign_in": {"life_s": 120}}},
    )


@pytest.mark.parametrize("name", ["", "Sign", "9a", "a-b", "_a", "a" * 33, "đ", "a b"])
def test_a_bad_purpose_name_is_refused(name: str) -> None:
    """Names are metric labels and store fields."""
    (told,) = problems({"purposes": {name: {}}})

    assert told.startswith("purposes")
    assert "a purpose's name has" in told


def test_a_purpose_of_one_s_own() -> None:
    """The operator names further policies; what they leave out is the default."""
    purpose = load({"purposes": {"a" * 32: {"ownership": "never", "max_attempts": 3}}}).purposes["a" * 32]

    assert Purpose("a" * 32, OwnershipPolicy.NEVER, max_attempts=3) == purpose


# -- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "written"), [
    (60, "60s"), (300, "5m"), (3600, "1h"), (86400, "24h"), (86400, "1d"), (45, 45), (45.5, 45.5), (45, "45"),
    (60, " 60s "),
], ids=repr)
def test_a_period_is_a_number_with_its_unit(seconds: float, written: object) -> None:
    """Seconds, minutes, hours, days, or a plain number of seconds."""
    settings = load({"limits": {"phone_sends": {"period": written}}})

    assert seconds == settings.limit_book().get(limits.PHONE_SENDS, "x").period_s


@pytest.mark.parametrize("written", [
    "", "s", "5 m", "1w", "1h30m", "-5s", "٥s", "1.5h", "0s", "25h", "2d", 0, -1, 0.5, 86401, True, [60],
    float("nan"), float("inf"), None,
], ids=repr)
def test_a_bad_period_is_refused(written: object) -> None:
    """Anything else, and a cap's window beyond the day that its log keeps.  Invariant 3."""
    (told,) = problems({"limits": {"phone_sends": {"period": written}}})

    assert told.startswith("limits.phone_sends.period: ")


def test_every_limit_is_required(folder: Path) -> None:
    """A limit that is left out is told, never off."""
    path = folder / "default.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"(?m)^\[limits\.[a-z_]+\]\n(.+\n)+", "", text), encoding="utf-8")

    assert [f"limits.{name}: missing" for name in LIMIT_KINDS] == problems({"limits": {}}, folder=folder)


@pytest.mark.parametrize("name", LIMIT_KINDS)
def test_an_unknown_name_in_a_limit_is_refused(name: str) -> None:
    """A mistyped name does not leave the limit at its default."""
    assert [f"limits.{name}.cuont: unknown name; default.toml shows every name with its meaning"] == problems(
        {"limits": {name: {"cuont": 5}}},
    )


@pytest.mark.parametrize(("name", "change"), [
    ("phone_sends", {"burst": 3}), ("phone_sends", {"count": -1}), ("phone_sends", {"count": 1001}),
    ("phone_sends", {"mode": "off"}), ("phone_cooldown", {"count": 2}), ("phone_cooldown", {"period": "0s"}),
    ("address_sends", {"count": 0}), ("address_sends", {"burst": -1}), ("address_sends", {"period": "32d"}),
    ("address_sends", {"count": 1_000_001}), ("phones", {"count": 1}),
])
def test_a_bad_limit_is_refused(name: str, change: dict[str, Any]) -> None:
    """Each guard of a limit tells its path."""
    (told,) = problems({"limits": {name: change}})

    assert told.startswith(f"limits.{name}")


@pytest.mark.parametrize("change", [{"count": 99}, {"count": 101}, {"period": "29d"}, {"mode": "record_only"}])
def test_consecutive_failures_are_fixed_by_rule(change: dict[str, Any]) -> None:
    """A hundred failures, thirty days, always enforced.  Invariant 2."""
    (name,) = change

    assert [f'limits.phone_failures.{name}: fixed by rule: count = 100, period = "30d", mode = "enforce"'] == problems(
        {"limits": {"phone_failures": change}},
    )


def test_any_other_limit_can_be_recorded_only() -> None:
    """New numbers are tried before they refuse anyone."""
    others = [name for name in LIMIT_KINDS if name != "phone_failures"]
    settings = load({"limits": {name: {"mode": "record_only"} for name in others}})

    assert {Mode.RECORD_ONLY} == {limit.mode for limit in settings.limits if limit.name in others}


# -- overrides --------------------------------------------------------------------------------------------------------


def test_an_override_of_a_network_holds_for_its_addresses() -> None:
    """Other numbers inside, the limit's own outside; what is left out stays."""
    book = load(override(subject="203.0.113.77/24", burst=100)).limit_book()

    assert Limit(limits.ADDRESS_SENDS, 600, 3600, 100) == book.get(limits.ADDRESS_SENDS, "203.0.113.9")
    assert Limit(limits.ADDRESS_SENDS, 60, 3600, 30) == book.get(limits.ADDRESS_SENDS, "203.0.114.9")


@pytest.mark.parametrize("typed", ["0900000001", "+84 900 000 001", "84900000001"])
def test_an_override_of_a_phone_is_normalised(typed: str) -> None:
    """However it is typed, the subject is E.164."""
    settings = load(override(limit="phone_sends", subject=typed, count=0, period="1h"))

    assert Limit(limits.PHONE_SENDS, 0, 3600) == settings.limit_book().get(limits.PHONE_SENDS, "+84900000001")
    assert "+84900000001" == settings.overrides[0].subject


def test_an_override_of_a_client() -> None:
    """A client is named as in clients.toml."""
    book = load(override(limit="client_sends", subject="portal", count=5)).limit_book()

    assert (5, 600) == (book.get(limits.CLIENT_SENDS, "portal").count, book.get(limits.CLIENT_SENDS, "other").count)


@pytest.mark.parametrize(("told", "changes"), [
    ("comment: missing", {"comment": None}),
    ("comment: says who asked for it and why", {"comment": " \n"}),
    ("comment: String should have at least 1 character", {"comment": ""}),
    ("count: missing", {"count": None}),
    ("count: Input should be greater than or equal to 0", {"count": -1}),
    ("count: a rate is at least 1 per period", {"count": 0}),
    ("count: a cap is at most 1000", {"limit": "phone_sends", "subject": "0900000001", "count": 1001}),
    ("count: a cooldown's count is 1: override its period", {"limit": "phone_cooldown", "subject": "0900000001"}),
    ("subject: not an IP address or network", {"subject": "0900000001"}),
    ("subject: not a Vietnamese mobile number", {"limit": "phone_sends", "subject": "02563000000", "count": 1}),
    ("subject: no such client", {"limit": "client_sends", "subject": "stranger"}),
    ('period: at most "24h": the log of a cap keeps a day',
     {"limit": "phone_sends", "subject": "0900000001", "count": 1, "period": "2d"}),
    ("burst: phone_sends is a cap: only rates have a burst",
     {"limit": "phone_sends", "subject": "0900000001", "count": 1, "burst": 1}),
    ("limit: phone_failures is fixed by rule", {"limit": "phone_failures", "subject": "0900000001"}),
    ("limit: the whole service is one subject: change limits.service_sends itself", {"limit": "service_sends"}),
    ("limit: an ID number never stands in a file: override phone_ownership_checks for the phone",
     {"limit": "id_ownership_checks", "subject": "052090000001"}),
    (f"limit: no such limit; there are {', '.join(LIMIT_KINDS)}", {"limit": "phones"}),
    ("mode: unknown name; default.toml shows every name with its meaning", {"mode": "enforce"}),
])
def test_a_bad_override_is_refused(told: str, changes: dict[str, Any]) -> None:
    """Each guard of an override tells its place in the list and what to write."""
    assert [f"overrides[0].{told}"] == problems(override(**changes))


def test_a_subject_is_overridden_once_per_limit() -> None:
    """Which of two would hold is never guessed, however the subject is written; another limit is another matter."""
    first, second = (override(subject=text)["overrides"][0] for text in ("203.0.113.1", "203.0.113.1/32"))

    assert ["overrides[1].subject: this limit is overridden for this subject before"] == problems(
        {"overrides": [first, second]},
    )
    assert 2 == len(load({"overrides": [first, second | {"limit": "address_guesses"}]}).overrides)
