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

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from otp_service.core.errors import ConfigurationError
from otp_service.core.ports import DeliveryState, SendResult, Supports

_METHODS = ("GET", "POST", "PUT")
_PLACES = ("query", "form", "json")
_RESULTS = {result.value: result for result in SendResult}
_STATES = {state.value: state for state in DeliveryState}
_OTHERWISE = ("sent", "failed")
_CLASSES = {"2xx": range(200, 300), "4xx": range(400, 500), "5xx": range(500, 600)}
_STATUSES = frozenset(status for each in _CLASSES.values() for status in each)
_SUCCESSES = frozenset(_CLASSES["2xx"])
_NO_CONTENT = frozenset({204})

_NUMBERS = ("to", "to_international", "to_national")
_IN_HEADERS = frozenset({*_NUMBERS, "secret", "reference", "validity_s"})
_ANYWHERE = _IN_HEADERS | {"text", "template", "sender"}
_PARAM = re.compile(r"param\.[a-z][a-z0-9_]*")
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

#: Where something stands in JSON: names, and indexes of lists.
Path = tuple[str, ...]


# -- what a description becomes ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class Template:
    """A text with placeholders: pieces, each with whether it is a placeholder's name."""

    pieces: tuple[tuple[bool, str], ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of ``answers``; an empty path stands for one that is not written, ``values`` None for any value."""

    statuses: frozenset[int]
    path: Path
    values: frozenset[str] | None
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
        method: of the request, in capitals.
        url: with a host that is fixed.
        headers: by their names in small letters.
        query: what is appended to the URL.
        form: the body, None when it is no form.
        json: the body with a Template for each text, None when it is not JSON.
        secret: what ``{secret}`` stands for.
        sender: what ``{sender}`` stands for.
        templates: our template keys to what ``{template}`` stands for; None for the key itself.
        used: the names of all placeholders that stand anywhere.
        rules: in their order.
        reports: None when the provider does not call back.
        timeout_s: seconds for one attempt.
        supports: what the gateway can do.
    """

    method: str
    url: Template
    headers: Mapping[str, Template]
    query: Mapping[str, Template]
    form: Mapping[str, Template] | None
    json: object
    secret: str
    sender: str
    templates: Mapping[str, str] | None
    used: frozenset[str]
    rules: Sequence[Rule]
    reports: Reports | None
    timeout_s: float
    supports: Supports


def shown(value: object) -> str | None:
    """Return a JSON text, number or boolean as text, so that ``0`` and ``"0"`` are one value in a description."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


# -- reading a description -----------------------------------------------------------------------------------------


def read_description(
    *, url: str, answers: Sequence[Mapping[str, Any]], method: str, headers: Mapping[str, str] | None,
    query: Mapping[str, Any] | None, form: Mapping[str, Any] | None,
    json: Mapping[str, Any] | Sequence[Any] | None, reports: Mapping[str, Any] | None,
    templates: Mapping[str, str] | None, secret: str, sender: str, deduplicates: bool | str, unicode: bool | str,
    parts: int | str, timeout_s: float | str,
) -> Description:
    """Read the options of ``HttpGateway``; raises ConfigurationError that tells every mistake."""
    check = _Check()
    method = check.choice("method", method.upper() if isinstance(method, str) else method, _METHODS)
    url_read = _checked_url(check, url)
    query_read = check.templates("query", query)
    form_read = None if form is None else check.templates("form", form)
    json_read = None if json is None else check.json("json", json)
    headers_read = _checked_headers(check, headers, json=json is not None, form=form is not None)
    if json is not None and form is not None:
        check.tell("form", "write either form or json")
    if method == "GET" and (json is not None or form is not None):
        check.tell("method", "a GET has no body: write POST, or query in place of form and json")

    secret_read, sender_read = check.line("secret", secret, ""), check.line("sender", sender, "")
    if not secret_read.isascii():
        check.tell("secret", "write ASCII, because it goes into headers")
    templates_read = None if templates is None else {
        key: check.line(f"templates.{key}", meaning, None)
        for key, meaning in check.table("templates", templates).items()
    }
    for option, given in (("secret", bool(secret)), ("sender", bool(sender)), ("templates", templates is not None)):
        _check_use(check, option, given=given)

    rules = _checked_rules(check, answers)
    told = check.told
    reports_read = None if reports is None else _checked_reports(check, reports)
    by_id = reports_read is not None and not reports_read.reference and check.told == told
    if by_id and not any(rule.id for rule in rules if rule.accepts):
        check.tell("reports", "they name a message by its id alone, but no accepted answer says where the id is")
    seconds = check.number("timeout_s", timeout_s, at_most=60)
    supports = Supports(
        callback=reports is not None, deduplicates=check.boolean("deduplicates", deduplicates),
        templates="template" in check.used and "text" not in check.used,
        unicode=check.boolean("unicode", unicode), parts=check.whole("parts", parts, at_most=255),
    )
    if supports.deduplicates and "reference" not in check.used:
        check.tell("deduplicates", "nothing sends {reference}, by which the provider would know a duplicate")
    if not check.told:
        _check_sense(check)
    check.done()
    return Description(
        method=method, url=url_read, headers=headers_read, query=query_read, form=form_read, json=json_read,
        secret=secret_read, sender=sender_read, templates=templates_read, used=frozenset(check.used),
        rules=rules, reports=reports_read, timeout_s=seconds, supports=supports,
    )


def _checked_url(check: _Check, value: object) -> Template:
    told = check.told
    template = check.template("url", value)
    literal = "".join("x" if is_name else piece for is_name, piece in template.pieces)
    begins = template.pieces[0][1] if template.pieces and not template.pieces[0][0] else ""
    try:
        parts, host = urlsplit(literal), urlsplit(begins).netloc
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and parts.netloc == host
    except ValueError:
        # An unclosed bracket of an IPv6 address, or a port that is none: as bad as no host.
        good = False
    bad = not good or not re.fullmatch(r"[!-~]+", literal) or "#" in literal or "@" in urlsplit(begins).netloc
    if bad and check.told == told:
        check.tell("url", "write an address that begins with http:// or https:// and has placeholders after its host")
    return template


def _checked_headers(check: _Check, value: object, *, json: bool, form: bool) -> dict[str, Template]:
    headers = {}
    for name, text in check.table("headers", {} if value is None else value).items():
        if not _HEADER_NAME.fullmatch(name):
            check.tell("headers", "a name that is no header's")
        template = check.template(f"headers.{name}", text, _IN_HEADERS)
        if not all(re.fullmatch(r"[ -~]*", piece) for _, piece in template.pieces):
            check.tell(f"headers.{name}", "write one line of ASCII")
        if name.lower() in headers:
            check.tell(f"headers.{name}", "the same header is there in other letters")
        headers[name.lower()] = template
    kind = "application/json" if json else "application/x-www-form-urlencoded" if form else None
    if kind:
        headers.setdefault("content-type", Template(((False, kind),)))
    headers.setdefault("accept", Template(((False, "application/json"),)))
    return headers


def _check_use(check: _Check, option: str, *, given: bool) -> None:
    """Compare what is given with what is used."""
    placeholder = option.removesuffix("s")
    if given and placeholder not in check.used:
        check.tell(option, f"nothing uses {{{placeholder}}}")
    if not given and placeholder in check.used and option != "templates":
        check.tell(option, f"something uses {{{placeholder}}}, so write it")


def _check_sense(check: _Check) -> None:
    """Refuse a description whose requests would be accepted and help nobody."""
    if not check.used.intersection(_NUMBERS):
        check.tell("placeholders", f"nothing sends the number: write {_listed([f'{{{one}}}' for one in _NUMBERS])}")
    if not any(one == "text" or _PARAM.fullmatch(one) for one in check.used):
        check.tell("placeholders", "nothing sends the code: write {text}, or {template} with {param.code}")


def _checked_rules(check: _Check, value: object) -> list[Rule]:
    if not isinstance(value, list | tuple) or not value:
        check.tell("answers", "write a list of rules")
        return []
    told = check.told
    rules: list[Rule] = []
    for number, described in enumerate(value):
        rule = _checked_rule(check, f"answers.{number}", described)
        if rule is None:
            continue
        if rule.statuses and rule.statuses <= {s for earlier in rules if not earlier.path for s in earlier.statuses}:
            check.tell(f"answers.{number}", "an earlier rule without a path takes every answer that this one would")
        rules.append(rule)
    if not any(rule.accepts for rule in rules) and check.told == told:
        check.tell("answers", "no rule says accepted")
    return rules


def _checked_rule(check: _Check, name: str, value: object) -> Rule | None:
    told, table = check.told, check.table(name, value, ("status", "path", "value", "result", "id", "code"))
    if not table and check.told > told:
        return None
    statuses = _checked_statuses(check, f"{name}.status", table.get("status"))
    path = check.path(f"{name}.path", table.get("path"))
    values = check.scalars(f"{name}.value", table["value"]) if "value" in table else None
    if values is not None and not path:
        check.tell(f"{name}.path", "write where the value stands")
    result = _RESULTS.get(check.choice(f"{name}.result", table.get("result"), _RESULTS), SendResult.UNKNOWN)
    rule = Rule(
        statuses, path, values, result,
        check.path(f"{name}.id", table.get("id")), check.path(f"{name}.code", table.get("code")),
    )
    if rule.accepts and not statuses <= _SUCCESSES:
        check.tell(f"{name}.status", "accepted needs a status of 2xx")
    if rule.accepts and not path and not rule.id and statuses != _NO_CONTENT and check.told == told:
        check.tell(name, "accepted needs a path or an id: a page that a proxy made has the same status")
    return rule


def _checked_statuses(check: _Check, name: str, value: object) -> frozenset[int]:
    found: set[int] = set()
    for one in value if isinstance(value, list | tuple) and value else [value]:
        text = shown(one) or ""
        if text in _CLASSES:
            found |= set(_CLASSES[text])
        elif re.fullmatch(r"[0-9]{3}", text) and int(text) in _STATUSES:
            found.add(int(text))
        else:
            check.tell(name, "write a status from 200 to 299 or 400 to 599, 2xx, 4xx, 5xx, or a list of them")
    return frozenset(found)


def _checked_reports(check: _Check, value: object) -> Reports | None:
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


def _checked_states(check: _Check, table: Mapping[str, Any]) -> dict[str, DeliveryState]:
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


# -- reading one value ---------------------------------------------------------------------------------------------


class _Check:
    """
    Reads options and remembers every mistake, so that all are told at once.

    A mistake names the option and says what to write; it never repeats what stands there, which may be a secret.

    Attributes:
        used: the placeholders met so far.
    """

    def __init__(self) -> None:
        self.used: set[str] = set()
        self._mistakes: list[str] = []

    @property
    def told(self) -> int:
        """How many mistakes there are so far: what follows from one of them is not told as another."""
        return len(self._mistakes)

    def tell(self, name: str, text: str) -> None:
        self._mistakes.append(f"{name}: {text}")

    def done(self) -> None:
        """Raise ConfigurationError if there were mistakes."""
        if self._mistakes:
            raise ConfigurationError("http: " + "; ".join(self._mistakes))

    def line(self, name: str, value: object, default: str | None) -> str:
        """Read one line of text; ``default`` None means that it must not be empty."""
        text = value.strip() if isinstance(value, str) else None
        if text is None or not text.isprintable() or (not text and default is None):
            self.tell(name, "write one line of text" + ("" if default is not None else " that is not empty"))
            return ""
        return text

    def choice(self, name: str, value: object, choices: Collection[str]) -> str:
        if not isinstance(value, str) or value not in choices:
            self.tell(name, f"write {_listed(choices)}")
            return ""
        return value

    def boolean(self, name: str, value: object) -> bool:
        text = str(value).lower() if isinstance(value, str | bool) else ""
        if text not in {"true", "false"}:
            self.tell(name, "write true or false")
        return text == "true"

    def number(self, name: str, value: float | str, *, at_most: int) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = 0.0
        if isinstance(value, bool) or not isfinite(number) or not 0 < number <= at_most:
            self.tell(name, f"write a number above 0 and at most {at_most}")
        return number

    def whole(self, name: str, value: float | str, *, at_most: int) -> int:
        text = str(value).strip()
        if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= at_most:
            self.tell(name, f"write a whole number from 1 to {at_most}")
            return 1
        return int(text)

    def table(self, name: str, value: object, known: Collection[str] | None = None) -> dict[str, Any]:
        """Read a table; ``known`` are the names it may have, None for any."""
        if not isinstance(value, Mapping) or not all(isinstance(key, str) and key for key in value):
            self.tell(name, "write a table")
            return {}
        for key in value:
            if known is not None and key not in known:
                self.tell(f"{name}.{key}", f"there is no such option: write {_listed(known)}")
        return dict(value)

    def path(self, name: str, value: object) -> Path:
        """Read a path such as ``data.0.id``; empty when there is none."""
        if value is None:
            return ()
        steps = tuple(value.split(".")) if isinstance(value, str) else ("",)
        if not all(step and step == step.strip() for step in steps):
            self.tell(name, 'write where it stands in the JSON, such as "data.0.id"')
        return steps

    def scalars(self, name: str, value: object) -> frozenset[str]:
        """Read a text, number or boolean, or a list of them."""
        listed = value if isinstance(value, list | tuple) else [value]
        found = [shown(one) for one in listed]
        if not found or None in found:
            self.tell(name, "write a text, a number, true or false, or a list of them")
        return frozenset(one for one in found if one is not None)

    def template(self, name: str, value: object, allowed: frozenset[str] = _ANYWHERE) -> Template:
        """Read a text with placeholders; a number or boolean is taken as its text."""
        text = shown(value)
        if text is None:
            self.tell(name, "write a text")
            return Template(())
        pieces: list[tuple[bool, str]] = []
        end = 0
        for match in _TOKEN.finditer(text):
            pieces += [(False, text[end:match.start()])] if match.start() > end else []
            pieces.append(self._piece(name, match, allowed))
            end = match.end()
        pieces += [(False, text[end:])] if end < len(text) else []
        return Template(tuple(pieces))

    def _piece(self, name: str, match: re.Match[str], allowed: frozenset[str]) -> tuple[bool, str]:
        inner = match[1]
        if inner is None:
            if len(match[0]) == 1:
                self.tell(name, "a brace that stands alone: write {{ or }} for the character itself")
            return False, match[0][0]
        if inner not in allowed and not (allowed is _ANYWHERE and _PARAM.fullmatch(inner)):
            there = [*sorted(allowed), *(["param.<name>"] if allowed is _ANYWHERE else [])]
            names = _listed([f"{{{one}}}" for one in there])
            self.tell(name, f"a placeholder that cannot stand here: write {names}")
            return False, ""
        self.used.add(inner)
        return True, inner

    def templates(self, name: str, value: object) -> dict[str, Template]:
        """Read a table of texts with placeholders."""
        table = self.table(name, {} if value is None else value)
        return {key: self.template(self._plain(f"{name}.{key}"), below) for key, below in table.items()}

    def json(self, name: str, value: object) -> object:
        """Read a JSON value whose texts have placeholders."""
        if isinstance(value, Mapping):
            below = self.table(name, value)
            return {key: self.json(self._plain(f"{name}.{key}"), inner) for key, inner in below.items()}
        if isinstance(value, list | tuple):
            return [self.json(f"{name}.{number}", inner) for number, inner in enumerate(value)]
        if isinstance(value, str):
            return self.template(name, value)
        if value is not None and not isinstance(value, bool | int | float):
            self.tell(name, "write a text, a number, true or false, a list or a table")
        if isinstance(value, float) and not isfinite(value):
            self.tell(name, "JSON has no such number")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            self.tell(name, "a number too large for JSON: write a text")
        return value

    def _plain(self, name: str) -> str:
        """Refuse placeholders in a name, where they would go out as they stand."""
        if "{" in name or "}" in name:
            self.tell(name, "names have no placeholders")
        return name


def _listed(words: Collection[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else str(last)
