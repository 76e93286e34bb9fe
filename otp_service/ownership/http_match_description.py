"""
The description of a source that is asked over HTTP: how it is read and checked.

How it is written stands in ``http_match.py``, with an example.  Every mistake is told at once, by its dotted name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from otp_service.core.described.answers import SUCCESSES, AnswerRule, at, checked_rule
from otp_service.core.described.check import Check, Path, listed, shown
from otp_service.core.described.templates import Placeholders, RequestReader, RequestTemplate, Template
from otp_service.core.errors import ConfigurationError
from otp_service.core.evidence import ASSURANCE_LEVELS, NOT_A_SUBSCRIBER, ComparedField, OwnershipOutcome
from otp_service.core.options import Options
from otp_service.core.ports import HttpResponse
from otp_service.ownership.oauth2 import ClientCredentials

ADAPTER: Final = "http_match"

#: The note of a match by the previous ID number.
PREVIOUS_ID_NUMBER: Final = "previous_id_number"

_PHONES: Final = ("phone", "phone_international", "phone_national")
#: What must be sent, and what may be, of each further field: any of these placeholders sends it.
_SENT_BY: Final = {
    ComparedField.FULL_NAME: frozenset({"full_name", "full_name_unaccented"}),
    ComparedField.BIRTH_DATE: frozenset({"birth_date", "birth_date_vn"}),
}
_PERSONAL: Final = frozenset({*_PHONES, "id_number"}).union(*_SENT_BY.values())

#: What every question has, and what only some have: a place that cannot be left out holds the former alone.
_ALWAYS: Final = frozenset({*_PHONES, "id_number", "reference", "secret"})
_SOMETIMES: Final = frozenset({"consent"}).union(*_SENT_BY.values())
_ANYWHERE: Final = Placeholders(_ALWAYS | _SOMETIMES)

_LEVELS: Final = tuple(level for level in ASSURANCE_LEVELS if not level.endswith("_previous_id"))
_NOTE: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")


# -- what a description becomes ------------------------------------------------------------------------------------


class Said(StrEnum):
    """What a rule can say of an answer."""

    MATCH = "match"
    MISMATCH = "mismatch"
    NOT_AVAILABLE = "not_available"
    NOT_A_SUBSCRIBER = "not_a_subscriber"
    THROTTLED = "throttled"
    UNAUTHENTICATED = "unauthenticated"
    ERROR = "error"


#: What is said of a SIM; the others are said of the talk.
ABOUT_SIM: Final[Mapping[Said, OwnershipOutcome]] = {
    Said.MATCH: OwnershipOutcome.MATCH,
    Said.MISMATCH: OwnershipOutcome.MISMATCH,
    Said.NOT_AVAILABLE: OwnershipOutcome.NOT_AVAILABLE,
    Said.NOT_A_SUBSCRIBER: OwnershipOutcome.NOT_AVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Rule(AnswerRule):
    """One rule of ``answers``."""

    said: Said
    note: str | None

    def fits(self, response: HttpResponse, answer: object) -> bool:
        """Whether the rule reads an answer; without a path it says nothing of a SIM by a page that a proxy made."""
        page = answer is None and bool(response.body.strip())
        return self.takes(response.status, answer) and not (page and self.said in ABOUT_SIM)


@dataclass(frozen=True, slots=True)
class FieldRule:
    """How the answer about another field is read."""

    path: Path
    match: frozenset[str]
    mismatch: frozenset[str]

    def read(self, answer: object) -> OwnershipOutcome:
        """Read it; a value that is not described compares nothing."""
        found = shown(at(answer, self.path))
        if found in self.match:
            return OwnershipOutcome.MATCH
        return OwnershipOutcome.MISMATCH if found in self.mismatch else OwnershipOutcome.NOT_AVAILABLE


@dataclass(frozen=True, slots=True, repr=False)
class Description:
    """
    A description without mistakes.

    Attributes:
        request: what is sent.
        used: the names of all placeholders that stand anywhere.
        secret: what ``{secret}`` stands for.
        credentials: how a token is got; None when there is none.
        rules: in their order.
        fields: how further fields are read, by what they are and the placeholders that send them.
        assurance: the level of the source's word.
        repeatable: asking again does no harm.
        timeout_s: seconds for one request.
    """

    request: RequestTemplate
    used: frozenset[str]
    secret: str
    credentials: ClientCredentials | None
    rules: Sequence[Rule]
    fields: Mapping[ComparedField, FieldRule]
    assurance: str
    repeatable: bool
    timeout_s: float

    @property
    def previous_assurance(self) -> str:
        """The level of a match by the previous ID number; the levels of attested replies have no such second."""
        previous = f"{self.assurance}_previous_id"
        return previous if previous in ASSURANCE_LEVELS else self.assurance

    def sends(self, field: ComparedField, values: Mapping[str, object]) -> bool:
        """Whether a request that is filled with these values sends a further field."""
        return bool(_SENT_BY[field] & self.used & values.keys())


# -- reading a description -----------------------------------------------------------------------------------------


def read_description(
    *, request: Mapping[str, Any], answers: object, fields: object, secret: object, assurance: object,
    repeatable: object, personal_data_in_url: object, timeout_s: float | str, oauth: Mapping[str, Any],
    clock: Callable[[], float],
) -> Description:
    """
    Read the options of ``HttpMatchSource``: ``request`` and ``oauth`` are those of these parts by their names.

    Raises ConfigurationError that tells every mistake; of those in the access to tokens the first.
    """
    check = Check(ADAPTER)
    reader = RequestReader(
        check, url=Placeholders(_ALWAYS), query=_ANYWHERE, body=_ANYWHERE, headers=Placeholders(_ALWAYS | {"token"}),
    )
    request_read = _checked_request(check, reader, request)
    _check_url(check, request_read, allowed=check.boolean("personal_data_in_url", personal_data_in_url))
    for name in _optional_items(request_read.json, "json"):
        check.tell(name, "an item that some questions lack would move those after it: write a table")
    secret_read = check.secret(secret)
    reader.check_use("secret", given=bool(secret))
    credentials = _checked_credentials(check, reader.used, oauth, clock)
    rules = _checked_rules(check, answers)
    fields_read = _checked_fields(check, reader.used, fields)
    level = check.choice("assurance", assurance, _LEVELS)
    repeats = check.boolean("repeatable", repeatable)
    seconds = check.number("timeout_s", timeout_s, at_most=60)
    if not check.told:
        _check_sense(check, reader.used)
    check.done()
    return Description(
        request_read, frozenset(reader.used), secret_read, credentials, rules, fields_read, level, repeats, seconds,
    )


def _checked_request(check: Check, reader: RequestReader, options: Mapping[str, Any]) -> RequestTemplate:
    tables = {name: check.from_text(name, options[name]) for name in ("headers", "query", "form", "json")}
    if tables["json"] is not None and not isinstance(tables["json"], Mapping | list | tuple):
        check.tell("json", "write a table or a list")
        tables["json"] = {}
    return reader.read(method=options["method"], url=options["url"], **tables)


def _check_url(check: Check, request: RequestTemplate, *, allowed: bool) -> None:
    """Refuse personal data in the address, unless the description says that there is no other way."""
    addresses = {"url": request.url, **{f"query.{name}": template for name, template in request.query.items()}}
    personal = {name: template.names & _PERSONAL for name, template in addresses.items()}
    if allowed and not any(personal.values()):
        check.tell("personal_data_in_url", "there is none, so leave it out")
    for name, found in personal.items():
        if found and not allowed:
            there = listed([f"{{{one}}}" for one in sorted(found)])
            check.tell(name, (
                f"{there} is personal data, and addresses are kept in logs on the way: send it in json or form, or "
                "write personal_data_in_url = true if the provider takes it no other way"
            ))


def _optional_items(node: object, name: str) -> Iterator[str]:
    """Yield the lists' items that not every question has."""
    if isinstance(node, Mapping):
        for key, below in node.items():
            yield from _optional_items(below, f"{name}.{key}")
    elif isinstance(node, list):
        for number, below in enumerate(node):
            if isinstance(below, Template) and below.names & _SOMETIMES:
                yield f"{name}.{number}"
            yield from _optional_items(below, f"{name}.{number}")


def _checked_credentials(
    check: Check, used: set[str], options: Mapping[str, Any], clock: Callable[[], float],
) -> ClientCredentials | None:
    given = {name: value for name, value in options.items() if value}
    if "token_url" not in given:
        for name in given:
            check.tell(name, "is for token_url: write that too, or leave this out")
        if "token" in used:
            check.tell("token_url", "something uses {token}, so write where tokens come from")
        return None
    if "token" not in used:
        check.tell("token_url", "nothing uses {token}: write it in a header")
    try:
        return ClientCredentials(Options(ADAPTER), **{"client_id": "", **given}, clock=clock)
    except ConfigurationError as error:
        name, _, text = str(error).removeprefix(f"{ADAPTER}: ").partition(": ")
        check.tell(name, text.replace("; ", ", "))  # mistakes are what stands between semicolons
    return None


def _checked_rules(check: Check, value: object) -> list[Rule]:
    told = check.told
    value = check.from_text("answers", value)
    if check.told > told:
        return []
    if not isinstance(value, list | tuple) or not value:
        check.tell("answers", "write a list of rules")
        return []
    rules: list[Rule] = []
    for number, described in enumerate(value):
        rule = _checked_rule(check, f"answers.{number}", described)
        if rule is None:
            continue
        if rule.never_reached(rules):
            check.tell(f"answers.{number}", "an earlier rule without a path takes every answer that this one would")
        rules.append(rule)
    if not any(rule.said is Said.MATCH for rule in rules) and check.told == told:
        check.tell("answers", "no rule says match")
    return rules


def _checked_rule(check: Check, name: str, value: object) -> Rule | None:
    told, table = check.told, check.table(name, value, ("status", "path", "value", "outcome", "note"))
    if not table and check.told > told:
        return None
    takes = checked_rule(check, name, table)
    outcome = check.choice(f"{name}.outcome", table.get("outcome"), [said.value for said in Said])
    said = Said(outcome) if outcome else Said.ERROR
    note = _checked_note(check, f"{name}.note", table["note"], said) if "note" in table else None
    if said in {Said.MATCH, Said.MISMATCH} and check.told == told:
        if takes.values is None:
            check.tell(name, f"{said} needs a path and a value: a page that a proxy made has the same status")
        if said is Said.MATCH and not takes.statuses <= SUCCESSES:
            check.tell(f"{name}.status", "match needs a status of 2xx")
    return Rule(takes.statuses, takes.path, takes.values, said, note)


def _checked_note(check: Check, name: str, value: object, said: Said) -> str | None:
    if said is Said.NOT_A_SUBSCRIBER:
        check.tell(name, "not_a_subscriber is a note by itself, so leave it out")
        return None
    note = check.line(name, value, None)
    if note in {NOT_A_SUBSCRIBER, PREVIOUS_ID_NUMBER}:
        check.tell(name, "a word that says something else already, so write another")
    elif note and not _NOTE.fullmatch(note):
        check.tell(name, "write a word of small letters, digits and _, at most 40")
    return note


def _checked_fields(check: Check, used: set[str], value: object) -> dict[ComparedField, FieldRule]:
    told = check.told
    tables = {} if value is None else check.from_text("fields", value)
    if check.told > told:
        return {}
    fields = {field: f"fields.{field}" for field in _SENT_BY}
    found = check.table("fields", tables, [field.value for field in fields])
    return {
        field: _checked_field(check, used, field, check.from_text(name, found[field]))
        for field, name in fields.items() if field in found
    }


def _checked_field(check: Check, used: set[str], field: ComparedField, value: object) -> FieldRule:
    name = f"fields.{field}"
    told, table = check.told, check.table(name, value, ("path", "match", "mismatch"))
    if not table and check.told > told:
        return FieldRule((), frozenset(), frozenset())
    path = check.path(f"{name}.path", table.get("path", ""))
    match = check.scalars(f"{name}.match", table.get("match", []))
    mismatch = check.scalars(f"{name}.mismatch", table.get("mismatch", []))
    if match & mismatch:
        check.tell(f"{name}.mismatch", "a value that stands for match too")
    if not used & _SENT_BY[field]:
        check.tell(name, f"nothing sends it: write {listed([f'{{{one}}}' for one in sorted(_SENT_BY[field])])}")
    return FieldRule(path, match, mismatch)


def _check_sense(check: Check, used: set[str]) -> None:
    """Refuse a description whose requests would be answered and compare nothing."""
    if not used.intersection(_PHONES):
        check.tell("placeholders", f"nothing sends the number: write {listed([f'{{{one}}}' for one in _PHONES])}")
    if "id_number" not in used:
        check.tell("placeholders", "nothing sends the ID number: write {id_number}")
