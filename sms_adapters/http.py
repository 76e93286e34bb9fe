"""
A gateway that speaks HTTP and is described in the settings alone: no file of code for one more provider.

::

    [gateway.options]
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

    [[gateway.options.answers]]                # the first that matches counts
    status = 200                               # or "2xx", or a list
    path = "code"                              # where in the JSON answer: names and list indexes, "data.0.code"
    value = ["0", "00"]                        # what stands there; without it, anything
    result = "accepted"                        # a SendResult
    id = "data.id"                             # the provider's id; an accepted answer without it is unknown
    code = "message_code"                      # for the log; the value at path without it

    [gateway.options.reports]                  # if the provider calls back
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

An answer that no rule matches counts by its HTTP status (``reading.by_status``); a redirect is always unknown.
Reports are not signed: the secret path and an allow-list stand for that.
Source: the description in the settings, by whoever read the provider's manual.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import orjson

from otp_service.core.errors import ConfigurationError
from otp_service.core.ports import (
    DeliveryReport,
    DeliveryState,
    HttpRequest,
    HttpResponse,
    ReportRequest,
    ReportUnreadable,
    SendOutcome,
    SendResult,
    SmsMessage,
    Supports,
)
from sms_adapters.reading import by_status, international, national, provider_code, provider_id

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
_REFERENCE = re.compile(r"[A-Za-z0-9-]{1,48}")
_FIELDS_MAX = 200

#: Where something stands in JSON: names, and indexes of lists.
_Path = tuple[str, ...]


class HttpGateway:
    """
    A gateway described by its options; see the top of this file.

    Args:
        url: where SMS are sent, with placeholders after the host.
        answers: the rules that read answers, in order.
        method: GET, POST or PUT.
        headers: names to values with placeholders.
        query: names to values with placeholders, appended to the URL.
        form: the body as a form: names to values with placeholders.
        json: the body as JSON: any values, texts with placeholders.
        reports: how the provider's callback is read; None when it does not call back.
        templates: our template keys to what ``{template}`` stands for; None for the key itself.
        secret: what ``{secret}`` stands for.
        sender: what ``{sender}`` stands for.
        deduplicates: whether the provider drops a second request with the same ``{reference}``.
        unicode: whether it carries accented text.
        parts: the most segments of one message.
        timeout_s: seconds for one attempt.

    Raises ConfigurationError that tells every mistake with the dotted name of its option.
    """

    name = "http"
    real = True
    timeout_s = 10.0
    #: The description decides: each instance has its own, and ``parse_report`` when ``reports`` are described.
    supports = Supports()
    contract = "the description in the settings"
    experimental = False
    parse_report: Callable[[ReportRequest], list[DeliveryReport]]

    def __init__(
        self, *, url: str, answers: Sequence[Mapping[str, Any]], method: str = "POST",
        headers: Mapping[str, str] | None = None, query: Mapping[str, Any] | None = None,
        form: Mapping[str, Any] | None = None, json: Mapping[str, Any] | Sequence[Any] | None = None,
        reports: Mapping[str, Any] | None = None, templates: Mapping[str, str] | None = None,
        secret: str = "", sender: str = "", deduplicates: bool | str = False, unicode: bool | str = False,
        parts: int | str = 1, timeout_s: float | str = 10.0,
    ) -> None:
        check = _Check()
        self._method = check.choice("method", method.upper() if isinstance(method, str) else method, _METHODS)
        self._url = _checked_url(check, url)
        self._query = check.templates("query", query)
        self._form = None if form is None else check.templates("form", form)
        self._json = None if json is None else check.json("json", json)
        self._headers = _checked_headers(check, headers, json=json is not None, form=form is not None)
        if json is not None and form is not None:
            check.tell("form", "write either form or json")
        if self._method == "GET" and (json is not None or form is not None):
            check.tell("method", "a GET has no body: write POST, or query in place of form and json")

        self._secret, self._sender = check.line("secret", secret, ""), check.line("sender", sender, "")
        if not self._secret.isascii():
            check.tell("secret", "write ASCII, because it goes into headers")
        self._templates = None if templates is None else {
            key: check.line(f"templates.{key}", meaning, None)
            for key, meaning in check.table("templates", templates).items()
        }
        for option, given in (("secret", bool(secret)), ("sender", bool(sender)), ("templates", templates is not None)):
            _check_use(check, option, given=given)

        self._rules = _checked_rules(check, answers)
        told = check.told
        self._reports = None if reports is None else _checked_reports(check, reports)
        by_id = self._reports is not None and not self._reports.reference and check.told == told
        if by_id and not any(rule.id for rule in self._rules if rule.accepts):
            check.tell("reports", "they name a message by its id alone, but no accepted answer says where the id is")
        self.timeout_s = check.number("timeout_s", timeout_s, at_most=60)
        self.supports = Supports(
            callback=reports is not None, deduplicates=check.boolean("deduplicates", deduplicates),
            templates="template" in check.used and "text" not in check.used,
            unicode=check.boolean("unicode", unicode), parts=check.whole("parts", parts, at_most=255),
        )
        if self.supports.deduplicates and "reference" not in check.used:
            check.tell("deduplicates", "nothing sends {reference}, by which the provider would know a duplicate")
        if not check.told:
            _check_sense(check)
        check.done()

        self._used = frozenset(check.used)
        if self._reports is not None:
            self.parse_report = self._reports.read

    def build_request(self, message: SmsMessage) -> HttpRequest | SendOutcome:
        """Fill the description in; a message without what it needs is refused."""
        values = {
            "to": message.to,
            "to_international": international(message.to),
            "to_national": national(message.to),
            "text": message.text,
            "reference": message.reference,
            "validity_s": str(message.validity_s),
            "sender": self._sender,
            "secret": self._secret,
            **{f"param.{name}": value for name, value in message.params},
        }
        if self._templates is None or message.template_key in self._templates:
            values["template"] = (self._templates or {}).get(message.template_key, message.template_key)
        missing = self._used - values.keys()
        if missing:
            code = "no_template" if "template" in missing else "no_param"
            return SendOutcome(SendResult.TEMPLATE_REJECTED, provider_code=code)

        url = self._url.fill(values, lambda value: quote(value, safe=""))
        if self._query:
            url += ("&" if "?" in url else "?") + urlencode(_fill_all(self._query, values), quote_via=quote)
        body = b""
        if self._form is not None:
            body = urlencode(_fill_all(self._form, values)).encode()
        elif self._json is not None:
            body = orjson.dumps(_fill_json(self._json, values))
        return HttpRequest(self._method, url, _fill_all(self._headers, values), body)

    def parse_response(self, response: HttpResponse) -> SendOutcome:
        """Read the answer by the first rule that matches it; never raises."""
        answer = _load(response.body)
        for rule in self._rules:
            if rule.matches(response.status, answer):
                return rule.read(response.status, answer)
        return by_status(response.status)


# -- what a description becomes ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class _Template:
    """A text with placeholders: pieces, each with whether it is a placeholder's name."""

    pieces: tuple[tuple[bool, str], ...]

    def fill(self, values: Mapping[str, str], escape: Callable[[str], str] = str) -> str:
        return "".join(escape(values[piece]) if is_name else piece for is_name, piece in self.pieces)


@dataclass(frozen=True, slots=True)
class _Rule:
    """One rule of ``answers``."""

    statuses: frozenset[int]
    path: _Path
    values: frozenset[str] | None
    result: SendResult
    id: _Path
    code: _Path

    @property
    def accepts(self) -> bool:
        return self.result is SendResult.ACCEPTED

    def matches(self, status: int, answer: object) -> bool:
        if status not in self.statuses:
            return False
        if not self.path:
            return True
        found = _at(answer, self.path)
        return found is not None if self.values is None else _shown(found) in self.values

    def read(self, status: int, answer: object) -> SendOutcome:
        message_id = provider_id(_at(answer, self.id)) if self.id else None
        where = self.code or (self.path if self.values is not None else ())
        code = provider_code(_shown(_at(answer, where)) if where else None) or str(status)
        if self.accepts and self.id and message_id is None:
            return SendOutcome(SendResult.UNKNOWN, provider_code=code, maybe_sent=True)
        taken = self.result in {SendResult.ACCEPTED, SendResult.DUPLICATE}
        doubtful = self.result in {SendResult.UNKNOWN, SendResult.TEMPORARY}
        return SendOutcome(self.result, message_id if taken else None, code, maybe_sent=doubtful)


@dataclass(frozen=True, slots=True)
class _Reports:
    """The description of callbacks."""

    place: str
    items: _Path
    id: _Path
    reference: _Path
    state: _Path
    code: _Path
    states: Mapping[str, DeliveryState]
    otherwise: DeliveryState | None

    def read(self, request: ReportRequest) -> list[DeliveryReport]:
        """Read a callback: as ``ReportingGateway.parse_report``."""
        items = self._items(request)
        reports = [report for report in map(self._read_one, items) if report is not None]
        if items and not reports:
            raise ReportUnreadable("no report that names a message and a state of the description")
        return reports

    def _items(self, request: ReportRequest) -> list[Any]:
        if self.place == "query":
            return [request.query]
        if request.method != "POST":
            raise ReportUnreadable("not a POST")
        if self.place == "form":
            return [_read_form(request.body)]
        document = _load(request.body)
        found = _at(document, self.items) if self.items else [document]
        if not isinstance(found, list):
            raise ReportUnreadable("not JSON, or without the list of the description")
        return found

    def _read_one(self, item: object) -> DeliveryReport | None:
        said = _shown(_at(item, self.state))
        state = None if said is None else self.states.get(said, self.otherwise)
        message_id = provider_id(_at(item, self.id)) if self.id else None
        reference = _shown(_at(item, self.reference)) if self.reference else None
        if reference is not None and not _REFERENCE.fullmatch(reference):
            reference = None
        if state is None or (message_id is None and reference is None):
            return None
        code = provider_code(_shown(_at(item, self.code))) if self.code else None
        return DeliveryReport(state, message_id, reference, code or provider_code(said))


def _fill_all(templates: Mapping[str, _Template], values: Mapping[str, str]) -> dict[str, str]:
    return {name: template.fill(values) for name, template in templates.items()}


def _fill_json(node: object, values: Mapping[str, str]) -> object:
    if isinstance(node, _Template):
        return int(values["validity_s"]) if node.pieces == ((True, "validity_s"),) else node.fill(values)
    if isinstance(node, dict):
        return {name: _fill_json(below, values) for name, below in node.items()}
    return [_fill_json(below, values) for below in node] if isinstance(node, list) else node


def _load(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # An HTML page or a cut-off answer says nothing: no path leads anywhere in None.
        return None


def _at(value: object, path: _Path) -> object:
    """Return what stands at a path, None when nothing does."""
    for step in path:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isascii() and step.isdecimal() and len(step) < 4:
            value = value[int(step)] if int(step) < len(value) else None
        else:
            return None
    return value


def _shown(value: object) -> str | None:
    """Return a JSON text, number or boolean as text, so that ``0`` and ``"0"`` are one value in a description."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _read_form(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_FIELDS_MAX)
    except ValueError as error:
        raise ReportUnreadable("not a form") from error
    return dict(reversed(pairs))  # of a repeated name the first value


# -- reading a description -----------------------------------------------------------------------------------------


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

    def path(self, name: str, value: object) -> _Path:
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
        found = [_shown(one) for one in listed]
        if not found or None in found:
            self.tell(name, "write a text, a number, true or false, or a list of them")
        return frozenset(one for one in found if one is not None)

    def template(self, name: str, value: object, allowed: frozenset[str] = _ANYWHERE) -> _Template:
        """Read a text with placeholders; a number or boolean is taken as its text."""
        text = _shown(value)
        if text is None:
            self.tell(name, "write a text")
            return _Template(())
        pieces: list[tuple[bool, str]] = []
        end = 0
        for match in _TOKEN.finditer(text):
            pieces += [(False, text[end:match.start()])] if match.start() > end else []
            pieces.append(self._piece(name, match, allowed))
            end = match.end()
        pieces += [(False, text[end:])] if end < len(text) else []
        return _Template(tuple(pieces))

    def _piece(self, name: str, match: re.Match[str], allowed: frozenset[str]) -> tuple[bool, str]:
        inner = match[1]
        if inner is None:
            if len(match[0]) == 1:
                self.tell(name, "a brace that stands alone: write {{ or }} for the character itself")
            return False, match[0][0]
        if inner not in allowed and not (allowed is _ANYWHERE and _PARAM.fullmatch(inner)):
            there = [*sorted(allowed), *(["param.<name>"] if allowed is _ANYWHERE else [])]
            shown = _listed([f"{{{one}}}" for one in there])
            self.tell(name, f"a placeholder that cannot stand here: write {shown}")
            return False, ""
        self.used.add(inner)
        return True, inner

    def templates(self, name: str, value: object) -> dict[str, _Template]:
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


def _checked_url(check: _Check, value: object) -> _Template:
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


def _checked_headers(check: _Check, value: object, *, json: bool, form: bool) -> dict[str, _Template]:
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
        headers.setdefault("content-type", _Template(((False, kind),)))
    headers.setdefault("accept", _Template(((False, "application/json"),)))
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


def _checked_rules(check: _Check, value: object) -> list[_Rule]:
    if not isinstance(value, list | tuple) or not value:
        check.tell("answers", "write a list of rules")
        return []
    told = check.told
    rules: list[_Rule] = []
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


def _checked_rule(check: _Check, name: str, value: object) -> _Rule | None:
    told, table = check.told, check.table(name, value, ("status", "path", "value", "result", "id", "code"))
    if not table and check.told > told:
        return None
    statuses = _checked_statuses(check, f"{name}.status", table.get("status"))
    path = check.path(f"{name}.path", table.get("path"))
    values = check.scalars(f"{name}.value", table["value"]) if "value" in table else None
    if values is not None and not path:
        check.tell(f"{name}.path", "write where the value stands")
    result = _RESULTS.get(check.choice(f"{name}.result", table.get("result"), _RESULTS), SendResult.UNKNOWN)
    rule = _Rule(
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
        text = _shown(one) or ""
        if text in _CLASSES:
            found |= set(_CLASSES[text])
        elif re.fullmatch(r"[0-9]{3}", text) and int(text) in _STATUSES:
            found.add(int(text))
        else:
            check.tell(name, "write a status from 200 to 299 or 400 to 599, 2xx, 4xx, 5xx, or a list of them")
    return frozenset(found)


def _checked_reports(check: _Check, value: object) -> _Reports | None:
    known = ("in", "list", "id", "reference", "state", "sent", "delivered", "failed", "otherwise", "code")
    told, table = check.told, check.table("reports", value, known)
    if not table and check.told > told:
        return None
    place = check.choice("reports.in", table.get("in"), _PLACES)

    def where(key: str) -> _Path:
        """Return a path in JSON; a name of a form or query as it stands."""
        if place == "json" or table.get(key) is None:
            return check.path(f"reports.{key}", table.get(key))
        return (check.line(f"reports.{key}", table[key], None),)

    if place != "json" and "list" in table:
        check.tell("reports.list", "only JSON has lists")
    otherwise = check.choice("reports.otherwise", table["otherwise"], _OTHERWISE) if "otherwise" in table else ""
    reports = _Reports(
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
        for shown in check.scalars(f"reports.{state}", table[state]) if state in table else ():
            if shown in states:
                check.tell(f"reports.{state}", "a value that stands for another state too")
            states[shown] = state
    if DeliveryState.DELIVERED not in states.values() and check.told == told:
        check.tell("reports.delivered", "write the values that mean delivered")
    return states
