"""
The description of a gateway that speaks HTTP: how it is written in the settings, and how it is read and checked.

::

    [gateways.NAME.options]
    url = "https://sms.example.vn/v1/send"     # with placeholders after the host
    method = "POST"                            # GET, POST, PUT
    sender = "Cong DVC"                        # {sender}
    secret = "..."                             # {secret}; from a secret file
    deduplicates = true                        # the provider drops a second {reference}
    unicode = true                             # it carries accented text
    parts = 3                                  # of one message, at most
    timeout_s = 10
    headers.authorization = "Bearer {secret}"
    query.v = "1"                              # appended to the URL
    json = {to = "{to_international}", text = "{text}", id = "{reference}", ttl = "{validity_s}"}   # or form = {...}
    templates = {registration = "T-17"}        # our template's key to what {template} stands for

    [[gateways.NAME.options.answers]]          # the first that matches counts
    status = 200                               # or "2xx", or a list
    path = "code"                              # where in the JSON answer: names and list indexes, "data.0.code"
    value = ["0", "00"]                        # what stands there; without it, anything
    result = "accepted"                        # a SendResult
    id = "data.id"                             # the provider's id; an accepted answer without it is unknown
    code = "message_code"                      # for the log; the value at path without it

    [gateways.NAME.options.reports]            # if the provider calls back
    in = "json"                                # query (GET or POST), form or json (POST)
    list = "results"                           # json: where the list of reports is; without it there is one
    id = "id"                                  # the provider's id, our reference, or both
    reference = "ref"
    state = "status"
    delivered = ["DELIVRD"]
    sent = ["ENROUTE"]
    failed = ["UNDELIV", "REJECTD"]
    otherwise = "sent"                         # any other value; without it such a report is refused
    code = "error"                             # for the log; the state without it

Placeholders: ``{to}`` +84900000001, ``{to_international}`` 84900000001, ``{to_national}`` 0900000001, ``{text}``,
``{reference}``, ``{template}``, ``{validity_s}``, ``{sender}``, ``{secret}`` and the text's parameters as
``{param.code}``.  ``{{`` and ``}}`` stand for braces.  What is filled in is data: it is escaped for where it stands and
is not searched for placeholders again.  A JSON value that is ``"{validity_s}"`` and no more becomes a number.
In headers only what cannot break them: ``{secret}``, ``{reference}``, the three numbers and ``{validity_s}``.
A value that would make a segment of the URL's path ``.`` or ``..`` leads elsewhere: such a message is refused.

Everything is checked when the gateway is made, and every mistake is told at once.  What is done with a description
stands in ``http.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from otp_service.core.described.answers import SUCCESSES, AnswerRule, checked_rule
from otp_service.core.described.check import Check, Path, listed
from otp_service.core.described.templates import Placeholders, RequestReader, RequestTemplate
from otp_service.core.ports import DeliveryState, SendResult, Supports

_PLACES = ("query", "form", "json")
_RESULTS = {result.value: result for result in SendResult}
_STATES = {state.value: state for state in DeliveryState}
_OTHERWISE = ("sent", "failed")
_NO_CONTENT = frozenset({204})

_NUMBERS = ("to", "to_international", "to_national")
_PARAM = "param."
_IN_HEADERS = Placeholders(frozenset({*_NUMBERS, "secret", "reference", "validity_s"}))
_ANYWHERE = Placeholders(_IN_HEADERS.names | {"text", "template", "sender"}, prefix=_PARAM)


# -- what a description becomes ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule(AnswerRule):
    """One rule of ``answers``."""

    result: SendResult
    id: Path
    code: Path

    @property
    def accepts(self) -> bool:
        """Whether it says that the provider took the message."""
        return self.result is SendResult.ACCEPTED


@dataclass(frozen=True, slots=True)
class Reports:
    """The description of callbacks; ``otherwise`` is the state of a value that is not in ``states``."""

    place: str
    items: Path
    id: Path
    reference: Path
    state: Path
    code: Path
    states: Mapping[str, DeliveryState]
    otherwise: DeliveryState | None


@dataclass(frozen=True, slots=True, repr=False)
class Description:
    """
    A description without mistakes.

    Attributes:
        request: what is sent.
        secret: what ``{secret}`` stands for.
        sender: what ``{sender}`` stands for.
        templates: our template keys to what ``{template}`` stands for; None for the key itself.
        used: the names of all placeholders that stand anywhere.
        rules: in their order.
        reports: None when the provider does not call back.
        timeout_s: seconds for one attempt.
        supports: what the gateway can do.
    """

    request: RequestTemplate
    secret: str
    sender: str
    templates: Mapping[str, str] | None
    used: frozenset[str]
    rules: Sequence[Rule]
    reports: Reports | None
    timeout_s: float
    supports: Supports


# -- reading a description -----------------------------------------------------------------------------------------


def read_description(
    *, url: str, answers: Sequence[Mapping[str, Any]], method: str, headers: Mapping[str, str] | None,
    query: Mapping[str, Any] | None, form: Mapping[str, Any] | None,
    json: Mapping[str, Any] | Sequence[Any] | None, reports: Mapping[str, Any] | None,
    templates: Mapping[str, str] | None, secret: str, sender: str, deduplicates: bool | str, unicode: bool | str,
    parts: int | str, timeout_s: float | str,
) -> Description:
    """Read the options of ``HttpGateway``; raises ConfigurationError that tells every mistake."""
    check = Check("http")
    reader = RequestReader(check, url=_ANYWHERE, query=_ANYWHERE, headers=_IN_HEADERS, body=_ANYWHERE)
    request = reader.read(method=method, url=url, headers=headers, query=query, form=form, json=json)
    used = reader.used

    secret_read, sender_read = check.secret(secret), check.line("sender", sender, "")
    templates_read = None if templates is None else {
        key: check.line(f"templates.{key}", meaning, None)
        for key, meaning in check.table("templates", templates).items()
    }
    reader.check_use("secret", given=bool(secret))
    reader.check_use("sender", given=bool(sender))
    reader.check_use("templates", given=templates is not None, needed=False)

    rules = _checked_rules(check, answers)
    told = check.told
    reports_read = None if reports is None else _checked_reports(check, reports)
    by_id = reports_read is not None and not reports_read.reference and check.told == told
    if by_id and not any(rule.id for rule in rules if rule.accepts):
        check.tell("reports", "they name a message by its id alone, but no accepted answer says where the id is")
    seconds = check.number("timeout_s", timeout_s, at_most=60)
    supports = Supports(
        callback=reports is not None, deduplicates=check.boolean("deduplicates", deduplicates),
        templates="template" in used and "text" not in used,
        unicode=check.boolean("unicode", unicode), parts=check.whole("parts", parts, at_most=255),
    )
    if supports.deduplicates and "reference" not in used:
        check.tell("deduplicates", "nothing sends {reference}, by which the provider would know a duplicate")
    if not check.told:
        _check_sense(check, used)
    check.done()
    return Description(
        request=request, secret=secret_read, sender=sender_read, templates=templates_read, used=frozenset(used),
        rules=rules, reports=reports_read, timeout_s=seconds, supports=supports,
    )


def _check_sense(check: Check, used: set[str]) -> None:
    """Refuse a description whose requests would be accepted and help nobody."""
    if not used.intersection(_NUMBERS):
        check.tell("placeholders", f"nothing sends the number: write {listed([f'{{{one}}}' for one in _NUMBERS])}")
    if not any(one == "text" or one.startswith(_PARAM) for one in used):
        check.tell("placeholders", "nothing sends the code: write {text}, or {template} with {param.code}")


def _checked_rules(check: Check, value: object) -> list[Rule]:
    if not isinstance(value, list | tuple) or not value:
        check.tell("answers", "write a list of rules")
        return []
    told = check.told
    rules: list[Rule] = []
    for number, described in enumerate(value):
        rule = _checked_rule(check, f"answers.{number}", described)
        if rule is None:
            continue
        if rule.never_reached(rules):
            check.tell(f"answers.{number}", "an earlier rule without a path takes every answer that this one would")
        rules.append(rule)
    if not any(rule.accepts for rule in rules) and check.told == told:
        check.tell("answers", "no rule says accepted")
    return rules


def _checked_rule(check: Check, name: str, value: object) -> Rule | None:
    told, table = check.told, check.table(name, value, ("status", "path", "value", "result", "id", "code"))
    if not table and check.told > told:
        return None
    takes = checked_rule(check, name, table)
    result = _RESULTS.get(check.choice(f"{name}.result", table.get("result"), _RESULTS), SendResult.UNKNOWN)
    rule = Rule(
        takes.statuses, takes.path, takes.values, result,
        check.path(f"{name}.id", table.get("id")), check.path(f"{name}.code", table.get("code")),
    )
    if rule.accepts and not rule.statuses <= SUCCESSES:
        check.tell(f"{name}.status", "accepted needs a status of 2xx")
    if rule.accepts and not rule.path and not rule.id and rule.statuses != _NO_CONTENT and check.told == told:
        check.tell(name, "accepted needs a path or an id: a page that a proxy made has the same status")
    return rule


def _checked_reports(check: Check, value: object) -> Reports | None:
    known = ("in", "list", "id", "reference", "state", "sent", "delivered", "failed", "otherwise", "code")
    told, table = check.told, check.table("reports", value, known)
    if not table and check.told > told:
        return None
    place = check.choice("reports.in", table.get("in"), _PLACES)

    def where(key: str) -> Path:
        """Return a path in JSON; a name of a form or query as it stands."""
        if place == "json" or table.get(key) is None:
            return check.path(f"reports.{key}", table.get(key))
        return (check.line(f"reports.{key}", table[key], None),)

    if place != "json" and "list" in table:
        check.tell("reports.list", "only JSON has lists")
    otherwise = check.choice("reports.otherwise", table["otherwise"], _OTHERWISE) if "otherwise" in table else ""
    reports = Reports(
        place, where("list"), where("id"), where("reference"), where("state"), where("code"),
        _checked_states(check, table), _STATES.get(otherwise),
    )
    if not reports.id and not reports.reference:
        check.tell("reports.id", "write where the provider's id stands, or reference for ours")
    if not reports.state:
        check.tell("reports.state", "write where the state stands")
    return reports


def _checked_states(check: Check, table: Mapping[str, Any]) -> dict[str, DeliveryState]:
    told = check.told
    states: dict[str, DeliveryState] = {}
    for state in DeliveryState:
        for said in check.scalars(f"reports.{state}", table[state]) if state in table else ():
            if said in states:
                check.tell(f"reports.{state}", "a value that stands for another state too")
            states[said] = state
    if DeliveryState.DELIVERED not in states.values() and check.told == told:
        check.tell("reports.delivered", "write the values that mean delivered")
    return states
