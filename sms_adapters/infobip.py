"""
Infobip SMS API v3: JSON over HTTPS, an API key, our message id, reports by an unsigned POST, and it can be asked.

::

    POST {url}/sms/3/messages   Authorization: App <key>
         {"messages": [{"sender", "destinations": [{"to": "84900000001", "messageId": at most 200 characters}],
           "content": {"text"}, "options": {"validityPeriod": {"amount", "timeUnit": "SECONDS"}},
           "webhooks": {"delivery": {"url"}, "contentType": "application/json"}}]}

    200  {"messages": [{"messageId", "status": {"groupId": 1, "id": 26, "name": "PENDING_ACCEPTED"}, ...}]}  accepted
         the same with groupId 2, 4 or 5                                                              see _RESULTS
    4xx  {"errorCode": "E400", "description", "action", "violations"}                                 by its HTTP status
         {"requestError": {"serviceException": {"messageId": "BAD_REQUEST", "text"}}}                 by its HTTP status

    POST {webhooks.delivery.url}
         {"results": [{"messageId", "status": {"groupId", "id", "name"}, "error": {"id", "name"}, ...}]}
    GET  {url}/sms/3/reports?messageId=<id>   the same; each report is given once, within 48 hours

Groups of status: 1 pending, 2 undeliverable, 3 delivered (2 to the operator, 5 to the handset), 4 expired, 5 rejected.
The id in reports is the one we gave, which is our reference; one that was used before is refused.
Source: Infobip documentation: SMS API v3, response status and error codes, and the models of Infobip's own client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import orjson

from otp_service.core.options import Options
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
from otp_service.core.reading import international, json_object, provider_code
from sms_adapters.reading import by_status, provider_id, reference

_OFFICIAL_URL = "https://api.infobip.com"

_PENDING, _UNDELIVERABLE, _DELIVERED, _EXPIRED, _REJECTED = 1, 2, 3, 4, 5
_TAKEN = frozenset({_PENDING, _DELIVERED})
_GIVEN_UP = frozenset({_UNDELIVERABLE, _EXPIRED, _REJECTED})

#: Their statuses that refuse, by id.
_RESULTS = {
    4: SendResult.BLOCKED,              # refused by the operator
    6: SendResult.WRONG_NETWORK,
    8: SendResult.INVALID_NUMBER,       # an unknown prefix or length
    9: SendResult.TEMPORARY,            # not delivered
    10: SendResult.BLOCKED,             # the subscriber takes no such messages
    11: SendResult.SENDER_REJECTED,     # not registered
    12: SendResult.BALANCE,
    13: SendResult.SENDER_REJECTED,     # on a block list
    14: SendResult.BLOCKED,
    15: SendResult.TEMPORARY,           # expired
    17: SendResult.BALANCE,             # the package has expired
    # It says nothing against the account: one number must not shift every share.
    18: SendResult.BLOCKED,             # a trial account, and a number that is not on its list
    19: SendResult.WRONG_NETWORK,       # no route
    # One number got too many: it says nothing against the gateway, and another one may still carry the message.
    20: SendResult.BLOCKED,
    21: SendResult.TEMPORARY,           # their system
    23: SendResult.DUPLICATE,
    24: SendResult.TEMPLATE_REJECTED,
    25: SendResult.TEMPLATE_REJECTED,   # too long
    29: SendResult.UNKNOWN,             # expired, and nobody knows whether delivered
    31: SendResult.TEMPORARY,           # not sent
    51: SendResult.INVALID_NUMBER,
    52: SendResult.INVALID_NUMBER,
    87: SendResult.BLOCKED,             # suspected SMS pumping
    100: SendResult.TEMPORARY,          # refused by the platform
}

_TO_HANDSET = 5
_DELIVERY_UNKNOWN = 29

_VALIDITY_MAX_S = 48 * 3600

_options = Options("infobip")


class InfobipGateway:
    """
    Infobip.

    Args:
        api_key: of the account.
        sender: the registered name or number.
        callback_url: our public address for delivery reports; without it they are only asked for.
        url: where the API stands; each account has an address of its own.
        timeout_s: seconds for one attempt.

    Raises ConfigurationError for options that cannot be used.
    """

    name = "infobip"
    real = True
    timeout_s = 10.0
    supports = Supports(callback=True, polling=True, deduplicates=True, unicode=True, parts=25)
    contract = "Infobip documentation: SMS API v3, response status and error codes"
    experimental = False
    poll_batch = 1

    def __init__(
        self, *, api_key: str, sender: str, callback_url: str = "", url: str = _OFFICIAL_URL,
        timeout_s: float | str = 10.0,
    ) -> None:
        key = _options.text("api_key", api_key)
        if not key.isascii():
            raise _options.wrong("api_key", "write ASCII, because it goes into a header")
        self._headers = {"authorization": f"App {key}", "accept": "application/json"}
        self._sender = _options.text("sender", sender)
        self._callback_url = _options.url("callback_url", callback_url, query=True) if callback_url else ""
        self._url = _options.url("url", url)
        self.timeout_s = _options.seconds("timeout_s", timeout_s)

    def build_request(self, message: SmsMessage) -> HttpRequest:
        """Post the message; ``messageId`` is our reference, by which Infobip knows a duplicate."""
        amount = min(max(message.validity_s, 1), _VALIDITY_MAX_S)
        body: dict[str, Any] = {
            "sender": self._sender,
            "destinations": [{"to": international(message.to), "messageId": message.reference}],
            "content": {"text": message.text},
            "options": {"validityPeriod": {"amount": amount, "timeUnit": "SECONDS"}},
        }
        if self._callback_url:
            body["webhooks"] = {"delivery": {"url": self._callback_url}, "contentType": "application/json"}
        headers = {**self._headers, "content-type": "application/json"}
        return HttpRequest("POST", f"{self._url}/sms/3/messages", headers, orjson.dumps({"messages": [body]}))

    def parse_response(self, response: HttpResponse) -> SendOutcome:
        """Read the answer by the table at the top of this file; never raises."""
        answer = json_object(response.body)
        if response.status != 200:
            return by_status(response.status, _error_code(answer) if response.status >= 400 else None)
        message = _object(answer, "messages", 0)
        status, message_id = _object(message, "status"), provider_id(message.get("messageId"))
        group, number, code = _whole(status.get("groupId")), _whole(status.get("id")), provider_code(status.get("name"))
        if group in _TAKEN and message_id is not None:
            return SendOutcome(SendResult.ACCEPTED, message_id, code)
        if group in _GIVEN_UP and number in _RESULTS:
            result = _RESULTS[number]
            taken = message_id if result is SendResult.DUPLICATE else None
            return SendOutcome(result, taken, code, maybe_sent=result is SendResult.UNKNOWN)
        return by_status(response.status, code)

    def parse_report(self, request: ReportRequest) -> list[DeliveryReport]:
        """Read their POST.  It is not signed: the secret path and an allow-list stand for that."""
        results = json_object(request.body).get("results") if request.method == "POST" else None
        if not isinstance(results, list):
            raise ReportUnreadable("not a POST of a JSON object with results")
        # An SMS that somebody sent to us has the time it was received, and no status.
        ours = [result for result in results if not (isinstance(result, dict) and "receivedAt" in result)]
        reports = _read_reports(ours)
        if ours and not reports:
            raise ReportUnreadable("no result with a messageId and a status of theirs")
        return reports

    def build_poll(self, provider_ids: Sequence[str]) -> HttpRequest:
        """Ask for the report of one message."""
        query = urlencode({"messageId": provider_ids[0]})
        return HttpRequest("GET", f"{self._url}/sms/3/reports?{query}", self._headers)

    def parse_poll(self, response: HttpResponse) -> list[DeliveryReport]:
        """Read the reports; they are given once, so a lost answer is a lost report."""
        results = json_object(response.body).get("results") if response.status == 200 else None
        return _read_reports(results) if isinstance(results, list) else []


def _read_reports(results: Sequence[object]) -> list[DeliveryReport]:
    """Read what can be read: one strange result does not take the others along."""
    return [report for report in map(_read_report, results) if report is not None]


def _read_report(result: object) -> DeliveryReport | None:
    found = result if isinstance(result, dict) else {}
    status, error = _object(found, "status"), _object(found, "error")
    message_id = provider_id(found.get("messageId"))
    state = _state(_whole(status.get("groupId")), _whole(status.get("id")))
    if message_id is None or state is None:
        return None
    reason = error if _whole(error.get("id")) else status
    return DeliveryReport(state, message_id, reference(message_id), provider_code(reason.get("name")))


def _state(group: int | None, number: int | None) -> DeliveryState | None:
    if group == _PENDING or number == _DELIVERY_UNKNOWN or (group == _DELIVERED and number != _TO_HANDSET):
        return DeliveryState.SENT
    if group == _DELIVERED:
        return DeliveryState.DELIVERED
    return DeliveryState.FAILED if group in _GIVEN_UP else None


def _whole(value: object) -> int | None:
    """Return a whole number; true is none, although Python takes it for 1."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _object(value: object, *path: str | int) -> Mapping[str, Any]:
    """Return the JSON object at a path; empty when there is none."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return {}
    return value if isinstance(value, dict) else {}


def _error_code(answer: Mapping[str, Any]) -> str | None:
    """Return the code of a refused request, in either of their two forms."""
    refused = _object(answer, "requestError", "serviceException")
    return provider_code(answer.get("errorCode")) or provider_code(refused.get("messageId"))
