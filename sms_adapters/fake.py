"""
A gateway that reaches no phone: it posts each SMS to a fake provider, or answers by itself.

::

    POST url   {"reference", "to", "text", "send_number", "template", "validity_s"}

    200, 201   {"id": "..."}               accepted
    409        {"id": "..."}               duplicate: the reference was taken before
    429                                    throttled
    other 4xx  {"error": "<SendResult>"}   that result
    5xx                                    temporary
    all else                               unknown, perhaps sent

    callback   POST {"id", "reference", "state", "code"}, one of id and reference; state: sent, delivered, failed
               x-fake-signature: HMAC-SHA256 of the body in lower-case hex, where there is a report_key
    poll       GET url/messages?id=...&id=...   200 {"messages": [{"id", "reference", "state", "code"}, ...]}

The contract is ours; ``otp_service/web/fake_gateway.py`` is the provider's side.
"""

from __future__ import annotations

import hmac
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import orjson

from otp_service.core import magic_numbers
from otp_service.core.errors import ConfigurationError
from otp_service.core.ports import (
    DeliveryReport,
    DeliveryState,
    HttpRequest,
    HttpResponse,
    ReportForged,
    ReportRequest,
    ReportUnreadable,
    SendOutcome,
    SendResult,
    SmsMessage,
    Supports,
)
from otp_service.core.reading import json_object, provider_code
from sms_adapters import reading

SIGNATURE_HEADER: Final = "x-fake-signature"

#: More than the sender ever hands over: an answer of that size is none of ours.
_BODY_MAX: Final = 65536
_HEADERS: Final = {"content-type": "application/json", "accept": "application/json"}
_TIMEOUT_MAX_S: Final = 60
#: References whose second hand-over is answered otherwise than the first; far more than may be on their way.
_MAX_TRIED: Final = 10_000

#: What an ``error`` member can say; a 4xx that claims to have accepted contradicts itself.
_REFUSALS: Final = {result.value: result for result in SendResult if result is not SendResult.ACCEPTED}
_STATES: Final = {state.value: state for state in DeliveryState}

_ORDINARY: Final = magic_numbers.Behaviour(report=DeliveryState.DELIVERED)


class FakeGateway:
    """
    The fake gateway, for the demo, test keys and tests.

    Args:
        url: where SMS are posted.  Without one it answers by itself and at once: a magic number's outcome
            (``core/magic_numbers.py``; what would come later never comes), and accepted and delivered for all others.
        report_key: what its provider signs delivery reports with; without one reports are unsigned.
        timeout_s: seconds for one attempt, at most 60.

    Raises:
        ConfigurationError: an option is not what is described here.
    """

    name = "fake"
    real = False
    timeout_s = 5.0
    supports = Supports(callback=True, signed=True, polling=True, deduplicates=True, unicode=True, parts=10)
    contract = "sms_adapters/fake.py"
    experimental = False
    poll_batch = 100

    def __init__(self, url: str = "", *, report_key: str = "", timeout_s: float | None = None) -> None:
        if url and not _is_plain_url(url):
            raise ConfigurationError("fake gateway: url must be an absolute http(s) URL without a query, or absent")
        self._url = url.rstrip("/")
        self._report_key = report_key.encode()
        if timeout_s is not None:
            self.timeout_s = _seconds(timeout_s)
        self.supports = Supports(
            callback=bool(url), signed=bool(url and report_key), polling=bool(url), deduplicates=True, unicode=True,
            parts=10,
        )
        self._tried: OrderedDict[str, int] = OrderedDict()

    def build_request(self, message: SmsMessage) -> HttpRequest | SendOutcome:
        """Post the message as JSON, ``reference`` being what a duplicate is recognised by; or answer by itself."""
        if not self._url:
            return self._answer(message)
        body = orjson.dumps({
            "reference": message.reference,
            "to": message.to,
            "text": message.text,
            "send_number": message.send_number,
            "template": message.template_key,
            "validity_s": message.validity_s,
        })
        return HttpRequest("POST", self._url, _HEADERS, body)

    def parse_response(self, response: HttpResponse) -> SendOutcome:
        """Read the answer by the table at the top of this file; never raises."""
        status, answer = response.status, _read_object(response.body)
        provider_id = _read_id(answer)
        result = SendResult.UNKNOWN
        if status in {200, 201} and provider_id is not None:
            result = SendResult.ACCEPTED
        elif status == 409 and provider_id is not None:
            result = SendResult.DUPLICATE
        elif status == 429:
            result = SendResult.THROTTLED
        elif 400 <= status < 500:
            result = _read_error(answer)
        elif 500 <= status < 600:
            result = SendResult.TEMPORARY
        outcome = SendOutcome(result, provider_code=str(status), maybe_sent=result is SendResult.UNKNOWN)
        return SendOutcome(result, provider_id, str(status)) if outcome.taken else outcome

    def parse_report(self, request: ReportRequest) -> list[DeliveryReport]:
        """Read one delivery report.  Raises ReportForged, ReportUnreadable."""
        if self._report_key:
            given = request.headers.get(SIGNATURE_HEADER, "").encode(errors="replace")
            if not hmac.compare_digest(given, sign(self._report_key, request.body).encode()):
                raise ReportForged(f"{SIGNATURE_HEADER} is missing or is not this body's")
        report = _read_report(_read_object(request.body)) if request.method == "POST" else None
        if report is None:
            raise ReportUnreadable("no POST of a JSON object with a state and an id or a reference")
        return [report]

    def build_poll(self, provider_ids: Sequence[str]) -> HttpRequest:
        """Ask for the states of messages."""
        query = urlencode([("id", one) for one in provider_ids])
        return HttpRequest("GET", f"{self._url}/messages?{query}", {"accept": "application/json"})

    def parse_poll(self, response: HttpResponse) -> list[DeliveryReport]:
        """Read the states; what is none is left out.  Never raises."""
        found = _read_object(response.body).get("messages") if response.status == 200 else None
        reports = [_read_report(one) for one in found if isinstance(one, dict)] if isinstance(found, list) else []
        return [report for report in reports if report is not None]

    def _answer(self, message: SmsMessage) -> SendOutcome:
        """Say what a provider would say that does not keep anybody waiting."""
        behaviour = magic_numbers.behaviour(message.to) or _ORDINARY
        provider_id = f"fake-{sha256(message.reference.encode()).hexdigest()[:16]}"
        result = behaviour.result
        tries = self._count(message.reference) if behaviour.fails_first or behaviour.lost or behaviour.garbage else 0
        if 0 < tries <= behaviour.fails_first:
            return SendOutcome(SendResult.TEMPORARY)
        if behaviour.lost or behaviour.garbage:
            result = SendResult.UNKNOWN if tries == 1 else SendResult.DUPLICATE
        if result not in {SendResult.ACCEPTED, SendResult.DUPLICATE}:
            return SendOutcome(result, maybe_sent=result is SendResult.UNKNOWN)
        return SendOutcome(result, provider_id, delivery=None if behaviour.report_after_ms else behaviour.report)

    def _count(self, reference: str) -> int:
        """Count a hand-over; returns how many there were of this message."""
        self._tried[reference] = self._tried.pop(reference, 0) + 1
        if len(self._tried) > _MAX_TRIED:
            self._tried.popitem(last=False)
        return self._tried[reference]


def sign(key: bytes, body: bytes) -> str:
    """Return the signature of a report's body: HMAC-SHA256 in lower-case hex."""
    return hmac.digest(key, body, "sha256").hex()


def _is_plain_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    printable = url.isascii() and url.isprintable() and " " not in url
    return printable and parts.scheme in {"http", "https"} and bool(host) and "?" not in url and "#" not in url


def _seconds(value: float | str) -> float:
    """Read an option that an environment variable may have brought as text."""
    try:
        seconds = float(value)
    except ValueError as error:
        raise ConfigurationError("fake gateway: timeout_s must be a number of seconds") from error
    if not (math.isfinite(seconds) and 0 < seconds <= _TIMEOUT_MAX_S):
        raise ConfigurationError(f"fake gateway: timeout_s must be above 0 and at most {_TIMEOUT_MAX_S}")
    return seconds


def _read_object(body: bytes) -> dict[str, Any]:
    return json_object(body) if len(body) <= _BODY_MAX else {}


def _read_id(answer: Mapping[str, object]) -> str | None:
    value = answer.get("id")
    return reading.provider_id(value) if isinstance(value, str) else None


def _read_error(answer: Mapping[str, object]) -> SendResult:
    value = answer.get("error")
    return _REFUSALS.get(value, SendResult.UNKNOWN) if isinstance(value, str) else SendResult.UNKNOWN


def _read_report(said: Mapping[str, object]) -> DeliveryReport | None:
    """Return a report; None when it has no known state or names no message."""
    state, reference, provider_id = said.get("state"), reading.reference(said.get("reference")), _read_id(said)
    if not isinstance(state, str) or state not in _STATES:
        return None
    if provider_id is None and reference is None:
        return None
    return DeliveryReport(_STATES[state], provider_id, reference, provider_code(said.get("code")))
