"""
A gateway that speaks HTTP and is described in the settings alone: no file of code for one more provider.

How a description is written and checked stands in ``http_description.py``; here is what is done with it.

An answer that no rule matches counts by its HTTP status (``reading.by_status``); a redirect is always unknown.
Reports are not signed: the secret path and an allow-list stand for that.
Source: the description in the settings, by whoever read the provider's manual.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from otp_service.core.described.answers import at, load
from otp_service.core.described.check import shown
from otp_service.core.ports import (
    DeliveryReport,
    HttpRequest,
    HttpResponse,
    ReportRequest,
    ReportUnreadable,
    SendOutcome,
    SendResult,
    SmsMessage,
    Supports,
)
from otp_service.core.reading import international, national, provider_code
from sms_adapters.http_description import Reports, Rule, read_description
from sms_adapters.reading import by_status, provider_id, reference

_FIELDS_MAX = 200
#: What looks like a provider's code, and not like its sentence.
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,32}")


class HttpGateway:
    """
    A gateway described by its options, which are written as ``http_description.py`` says.

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
        self._described = read_description(
            url=url, answers=answers, method=method, headers=headers, query=query, form=form, json=json,
            reports=reports, templates=templates, secret=secret, sender=sender, deduplicates=deduplicates,
            unicode=unicode, parts=parts, timeout_s=timeout_s,
        )
        self.timeout_s, self.supports = self._described.timeout_s, self._described.supports
        if self._described.reports is not None:
            self.parse_report = partial(_read_callback, self._described.reports)

    def build_request(self, message: SmsMessage) -> HttpRequest | SendOutcome:
        """Fill the description in; a message without what it needs, or with what would lead elsewhere, is refused."""
        described, values = self._described, self._values(message)
        missing = described.used - values.keys()
        if missing:
            return _refused("no_template" if "template" in missing else "no_param")
        return described.request.fill(values) or _refused("unfit")

    def _values(self, message: SmsMessage) -> dict[str, str | int]:
        """Return what the placeholders stand for; without ``template`` when it is not registered."""
        values: dict[str, str | int] = {
            "to": message.to,
            "to_international": international(message.to),
            "to_national": national(message.to),
            "text": message.text,
            "reference": message.reference,
            "validity_s": message.validity_s,
            "sender": self._described.sender,
            "secret": self._described.secret,
            **{f"param.{name}": value for name, value in message.params},
        }
        registered = self._described.templates
        if registered is None or message.template_key in registered:
            values["template"] = (registered or {}).get(message.template_key, message.template_key)
        return values

    def parse_response(self, response: HttpResponse) -> SendOutcome:
        """Read the answer by the first rule that matches it; never raises."""
        answer = load(response.body)
        for rule in self._described.rules:
            if rule.takes(response.status, answer):
                return _read_answer(rule, response.status, answer)
        code = _unmatched_code(self._described.rules, answer)
        return by_status(response.status, f"{response.status}:{code}" if code else None)


def _refused(code: str) -> SendOutcome:
    return SendOutcome(SendResult.TEMPLATE_REJECTED, provider_code=code)


# -- reading answers -----------------------------------------------------------------------------------------------


def _unmatched_code(rules: Sequence[Rule], answer: object) -> str | None:
    """Return the value at the first path that some rule looks at: whoever writes the next rule needs to know it."""
    found = (at(answer, path) for rule in rules for path in (rule.code, rule.path) if path)
    codes = (shown(one) for one in found if isinstance(one, str | int))
    return next((code for code in codes if code is not None and _CODE.fullmatch(code)), None)


def _read_answer(rule: Rule, status: int, answer: object) -> SendOutcome:
    message_id = provider_id(at(answer, rule.id)) if rule.id else None
    where = rule.code or (rule.path if rule.values is not None else ())
    code = provider_code(shown(at(answer, where)) if where else None) or str(status)
    if rule.accepts and rule.id and message_id is None:
        return SendOutcome(SendResult.UNKNOWN, provider_code=code, maybe_sent=True)
    taken = rule.result in {SendResult.ACCEPTED, SendResult.DUPLICATE}
    doubtful = rule.result in {SendResult.UNKNOWN, SendResult.TEMPORARY}
    return SendOutcome(rule.result, message_id if taken else None, code, maybe_sent=doubtful)


# -- reading callbacks ---------------------------------------------------------------------------------------------


def _read_callback(described: Reports, request: ReportRequest) -> list[DeliveryReport]:
    """Read a callback: as ``ReportingGateway.parse_report``."""
    items = _items(described, request)
    reports = [report for item in items if (report := _read_report(described, item)) is not None]
    if items and not reports:
        raise ReportUnreadable("no report that names a message and a state of the description")
    return reports


def _items(described: Reports, request: ReportRequest) -> list[Any]:
    if described.place == "query":
        return [request.query]
    if request.method != "POST":
        raise ReportUnreadable("not a POST")
    if described.place == "form":
        return [_read_form(request.body)]
    document = load(request.body)
    found = at(document, described.items) if described.items else [document]
    if not isinstance(found, list):
        raise ReportUnreadable("not JSON, or without the list of the description")
    return found


def _read_form(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_FIELDS_MAX)
    except ValueError as error:
        raise ReportUnreadable("not a form") from error
    return dict(reversed(pairs))  # of a repeated name the first value


def _read_report(described: Reports, item: object) -> DeliveryReport | None:
    said = shown(at(item, described.state))
    state = None if said is None else described.states.get(said, described.otherwise)
    message_id = provider_id(at(item, described.id)) if described.id else None
    ours = reference(shown(at(item, described.reference))) if described.reference else None
    if state is None or (message_id is None and ours is None):
        return None
    code = provider_code(shown(at(item, described.code))) if described.code else None
    return DeliveryReport(state, message_id, ours, code or provider_code(said))
