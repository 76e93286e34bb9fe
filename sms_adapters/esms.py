"""
eSMS (ViHAT): JSON over HTTPS, our request id against duplicates, reports by an unsigned GET or on asking.

::

    POST {url}/SendMultipleMessage_V4_post_json/
         {"ApiKey", "SecretKey", "Phone": "0900000001", "Content", "Brandname", "SmsType": "2", "IsUnicode": "0" or "1",
          "Sandbox": "0" or "1", "RequestId": at most 50 characters, "CallbackUrl"}

    200  {"CodeResult": "100", "SMSID"}       accepted; that says nothing about delivery
    200  {"CodeResult": "124", "SendStatus"}  a RequestId of the same day: they have it; no SMSID
    200  {"CodeResult": <other>}              see _RESULTS
    200  {"error": "Invalid request"}         not understood, so not taken

    GET  {CallbackUrl}?SMSID=&SendStatus=&SendSuccess=&SendFailed=&RequestId=&phonenumber=...   up to five times
    GET  {url}/GetSendStatus?RefId=<SMSID>&ApiKey=&SecretKey=        the last seven days
         {"CodeResponse": "100", "SMSID", "SendStatus", "SendSuccess", "SendFailed"}

    SendStatus 1 awaits approval, 2 awaits sending, 7 at the carrier, 4 refused, 5 done: the counts say how.

There is no period of validity to set.  A request id counts for the day, which is longer than any code lives.
Source: eSMS developer documentation (developers.esms.vn), V4 JSON API, error table, callback and status pages.
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
from otp_service.core.reading import json_object, national, provider_code
from sms_adapters.reading import by_status, provider_id, reference

_OFFICIAL_URL = "https://rest.esms.vn/MainService.svc/json"
_HEADERS = {"content-type": "application/json", "accept": "application/json"}

#: Their codes, each a clear answer: what is refused here was not sent.
_RESULTS = {
    "99": SendResult.BLOCKED,
    "100": SendResult.ACCEPTED,
    "101": SendResult.AUTHENTICATION,
    "102": SendResult.BALANCE,            # no price list: the account cannot pay for this
    "103": SendResult.BALANCE,
    "104": SendResult.SENDER_REJECTED,
    "107": SendResult.SENDER_REJECTED,    # 107, 120: a brand name that is registered for advertising
    "108": SendResult.INVALID_NUMBER,
    "118": SendResult.SENDER_REJECTED,    # 118, 300, 301: the account has no customer-care SMS
    "120": SendResult.SENDER_REJECTED,
    "124": SendResult.DUPLICATE,
    "140": SendResult.AUTHENTICATION,     # our address is not on their list
    "146": SendResult.TEMPLATE_REJECTED,
    "177": SendResult.WRONG_NETWORK,
    "300": SendResult.SENDER_REJECTED,
    "301": SendResult.SENDER_REJECTED,
    # Answers to other calls (status, voice, codes that eSMS makes, Zalo): refusals that say nothing about an SMS.
    **dict.fromkeys(
        ("105", "106", "110", "115", "171", "199", "204", "210", "687", "788", "789", "790", "791", "799"),
        SendResult.UNKNOWN,
    ),
}

_STATES = {
    "1": DeliveryState.SENT, "2": DeliveryState.SENT, "7": DeliveryState.SENT, "4": DeliveryState.FAILED,
}
_DONE = "5"

_options = Options("esms")


class EsmsGateway:
    """
    eSMS.

    Args:
        api_key: ``ApiKey`` of the account.
        secret_key: ``SecretKey`` of the account.
        sender: the registered brand name.
        callback_url: our public address for delivery reports; without it they are only asked for.
        sandbox: true lets eSMS check each request and send nothing.
        url: where the API stands.
        timeout_s: seconds for one attempt.

    Raises ConfigurationError for options that cannot be used.
    """

    name = "esms"
    real = True
    #: How many parts it takes is documented nowhere; three is what carriers commonly take of a brand name.
    supports = Supports(callback=True, polling=True, deduplicates=True, unicode=True, parts=3)
    contract = "eSMS developer documentation, V4 JSON API"
    experimental = False
    poll_batch = 1

    def __init__(
        self, *, api_key: str, secret_key: str, sender: str, callback_url: str = "", sandbox: bool | str = False,
        url: str = _OFFICIAL_URL, timeout_s: float | str = 10.0,
    ) -> None:
        self._api_key = _options.text("api_key", api_key)
        self._secret_key = _options.text("secret_key", secret_key)
        self._sender = _options.text("sender", sender)
        self._callback_url = _options.url("callback_url", callback_url, query=True) if callback_url else ""
        self._sandbox = _options.boolean("sandbox", sandbox)
        self._url = _options.url("url", url)
        self.timeout_s = _options.seconds("timeout_s", timeout_s)

    def build_request(self, message: SmsMessage) -> HttpRequest:
        """Post the message; ``RequestId`` is our reference, by which eSMS knows a duplicate."""
        body = {
            "ApiKey": self._api_key,
            "SecretKey": self._secret_key,
            "Phone": national(message.to),
            "Content": message.text,
            "Brandname": self._sender,
            "SmsType": "2",
            "IsUnicode": "0" if message.text.isascii() else "1",
            "Sandbox": "1" if self._sandbox else "0",
            "RequestId": message.reference,
        }
        if self._callback_url:
            body["CallbackUrl"] = self._callback_url
        return HttpRequest("POST", f"{self._url}/SendMultipleMessage_V4_post_json/", _HEADERS, orjson.dumps(body))

    def parse_response(self, response: HttpResponse) -> SendOutcome:
        """Read the answer by the table at the top of this file; never raises."""
        status = response.status
        if not (200 <= status < 300 or 400 <= status < 500):
            return by_status(status)
        answer = json_object(response.body)
        code = provider_code(answer.get("CodeResult"))
        outcome = SendOutcome(_RESULTS.get(code or "", SendResult.UNKNOWN), provider_code=code)
        if outcome.taken and status < 300:
            return SendOutcome(outcome.result, provider_id(answer.get("SMSID")), code)
        if code in _RESULTS and not outcome.taken:
            return outcome
        if answer.get("error") == "Invalid request" and status < 300:
            return SendOutcome(SendResult.UNKNOWN, provider_code="invalid_request")
        return by_status(status, code)

    def parse_report(self, request: ReportRequest) -> list[DeliveryReport]:
        """Read the query of their GET.  It is not signed: the secret path and an allow-list stand for that."""
        if request.method != "GET":
            raise ReportUnreadable("eSMS reports by GET")
        report = _read_report(request.query)
        if report is None:
            raise ReportUnreadable("no SendStatus that is documented, or neither SMSID nor RequestId")
        return [report]

    def build_poll(self, provider_ids: Sequence[str]) -> HttpRequest:
        """Ask for one message; both keys stand in the URL, as eSMS wants it."""
        query = urlencode({"RefId": provider_ids[0], "ApiKey": self._api_key, "SecretKey": self._secret_key})
        return HttpRequest("GET", f"{self._url}/GetSendStatus?{query}", {"accept": "application/json"})

    def parse_poll(self, response: HttpResponse) -> list[DeliveryReport]:
        """Read the state; nothing when they know none yet (105), refuse us (101) or answer something else."""
        answer = json_object(response.body)
        if response.status != 200 or provider_code(answer.get("CodeResponse")) != "100":
            return []
        report = _read_report(answer)
        return [report] if report else []


def _read_report(fields: Mapping[str, Any]) -> DeliveryReport | None:
    """Read a callback's query or a poll's answer: they have the same members."""
    status = provider_code(fields.get("SendStatus"))
    state = _how_done(fields) if status == _DONE else _STATES.get(status or "")
    message_id, ours = provider_id(fields.get("SMSID")), reference(fields.get("RequestId"))
    if state is None or (message_id is None and ours is None):
        return None
    return DeliveryReport(state, message_id, ours, status)


def _how_done(counts: Mapping[str, Any]) -> DeliveryState:
    """Return what "done" means: one number was asked for, so a single failure is its failure."""
    if _count(counts.get("SendFailed")) > 0:
        return DeliveryState.FAILED
    # Done with no success counted is seen in their own samples: the carrier has not reported yet.
    return DeliveryState.DELIVERED if _count(counts.get("SendSuccess")) > 0 else DeliveryState.SENT


def _count(value: object) -> int:
    """Return a count, which comes as a number or as text; 0 when it is none."""
    text = provider_code(value) or ""
    return int(text) if text.isdecimal() else 0
