"""
Vonage SMS API (once Nexmo): forms over HTTPS, JSON answers, receipts by GET or POST that may be signed.

::

    POST {url}/sms/json   Authorization: Basic base64("<key>:<secret>")
         to=84900000001, from, text, type=text or unicode, ttl=20000 to 604800000 milliseconds,
         client-ref=at most 100 characters, callback=at most 100 characters

    200      {"message-count": "1", "messages": [{"status": "0", "message-id", "to", ...}]}   accepted; one entry a part
             {"message-count": "1", "messages": [{"status": "4", "error-text"}]}              see _RESULTS

    GET  {callback}?messageId=&status=&err-code=&client-ref=&msisdn=&...&timestamp=&nonce=&sig=
    POST {callback}   the same as a form or as a JSON object, as the dashboard says

    sig is the hexadecimal HMAC-SHA256, keyed with the signature secret, of "&name=value" for each other parameter in
    the order of their names, with _ in place of each & and = of a value.

Signed receipts are switched on by Vonage's support and the algorithm is chosen in the dashboard: choose "SHA-256 HMAC".
A receipt that is replayed says what it said before, so its timestamp is not compared with the clock.
There is no request id, so a second hand-over is a second SMS; and an SMS of this API cannot be asked for.
Source: Vonage developer documentation: SMS API reference, troubleshooting, delivery receipts, signing messages.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import parse_qsl, urlencode

from otp_service.core.options import Options
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
from otp_service.core.reading import international, json_object, provider_code
from otp_service.core.sms_length import is_gsm7
from sms_adapters.reading import by_status, provider_id, reference

_OFFICIAL_URL = "https://rest.nexmo.com"

_ACCEPTED = "0"

#: Their statuses of a message, each a clear refusal except 5, which failed somewhere inside.
_RESULTS = {
    "1": SendResult.THROTTLED,
    "2": SendResult.UNKNOWN,            # 2, 3: a parameter is missing or wrong, and not said which
    "3": SendResult.UNKNOWN,
    "4": SendResult.AUTHENTICATION,
    "5": SendResult.TEMPORARY,
    "6": SendResult.INVALID_NUMBER,     # an unknown prefix
    "7": SendResult.BLOCKED,
    "8": SendResult.AUTHENTICATION,     # the account is suspended
    "9": SendResult.BALANCE,
    "10": SendResult.THROTTLED,         # too many connections
    "11": SendResult.AUTHENTICATION,    # the account has no SMS API
    "12": SendResult.TEMPLATE_REJECTED,  # too long
    "14": SendResult.AUTHENTICATION,    # 14, 32: the account wants other credentials
    "15": SendResult.SENDER_REJECTED,
    "22": SendResult.WRONG_NETWORK,
    "23": SendResult.UNKNOWN,           # the callback is no address to them
    # It says nothing against the account: one number must not shift every share.
    "29": SendResult.BLOCKED,           # a demo account, and a number that is not on its list
    "32": SendResult.AUTHENTICATION,
    "33": SendResult.INVALID_NUMBER,    # the number is no longer active
}

_STATES = {
    "accepted": DeliveryState.SENT, "buffered": DeliveryState.SENT, "unknown": DeliveryState.SENT,
    "delivered": DeliveryState.DELIVERED,
    "expired": DeliveryState.FAILED, "failed": DeliveryState.FAILED, "rejected": DeliveryState.FAILED,
}

_TTL_MIN_MS, _TTL_MAX_MS = 20_000, 604_800_000
_CALLBACK_MAX = 100
_FIELDS_MAX = 200

_options = Options("vonage")


class VonageGateway:
    """
    Vonage.

    Args:
        api_key: of the account.
        api_secret: of the account.
        sender: the registered name or number.
        callback_url: our public address for receipts, at most 100 characters; without it the dashboard's.
        signature_secret: the account's signature secret; with it only signed receipts are believed.
        url: where the API stands.
        timeout_s: seconds for one attempt.

    Raises ConfigurationError for options that cannot be used.
    """

    name = "vonage"
    real = True
    timeout_s = 10.0
    #: How many parts it takes is not documented: ten is what other providers take.
    supports = Supports(callback=True, signed=True, unicode=True, parts=10)
    contract = "Vonage developer documentation: SMS API reference, receipts, signing messages"
    experimental = False

    def __init__(
        self, *, api_key: str, api_secret: str, sender: str, callback_url: str = "", signature_secret: str = "",
        url: str = _OFFICIAL_URL, timeout_s: float | str = 10.0,
    ) -> None:
        user, password = _options.text("api_key", api_key), _options.text("api_secret", api_secret)
        self._headers = {
            "authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode(),
            "content-type": "application/x-www-form-urlencoded",
            "accept": "application/json",
        }
        self._sender = _options.text("sender", sender)
        self._callback_url = _options.url("callback_url", callback_url, query=True) if callback_url else ""
        if len(self._callback_url) > _CALLBACK_MAX:
            raise _options.wrong("callback_url", f"write at most {_CALLBACK_MAX} characters")
        self._signature_secret = _options.text("signature_secret", signature_secret) if signature_secret else ""
        self.supports = replace(type(self).supports, signed=bool(self._signature_secret))
        self._url = _options.url("url", url)
        self.timeout_s = _options.seconds("timeout_s", timeout_s)

    def build_request(self, message: SmsMessage) -> HttpRequest:
        """Post the message as a form."""
        fields = {
            "from": self._sender,
            "to": international(message.to),
            "text": message.text,
            "type": "text" if is_gsm7(message.text) else "unicode",
            "ttl": str(min(max(message.validity_s * 1000, _TTL_MIN_MS), _TTL_MAX_MS)),
            "client-ref": message.reference,
        }
        if self._callback_url:
            fields["callback"] = self._callback_url
        return HttpRequest("POST", f"{self._url}/sms/json", self._headers, urlencode(fields).encode())

    def parse_response(self, response: HttpResponse) -> SendOutcome:
        """Read the answer by the table at the top of this file; never raises."""
        status = response.status
        parts = json_object(response.body).get("messages") if status == 200 or 400 <= status < 500 else None
        if not isinstance(parts, list) or not parts or not all(isinstance(part, dict) for part in parts):
            return by_status(status)
        codes = [provider_code(part.get("status")) for part in parts]
        refused = next((code for code in codes if code != _ACCEPTED), None)
        if refused in _RESULTS:
            return _refusal(refused, partly=_ACCEPTED in codes)
        first = provider_id(parts[0].get("message-id"))
        if status == 200 and first is not None and all(code == _ACCEPTED for code in codes):
            return SendOutcome(SendResult.ACCEPTED, first, _ACCEPTED)
        return by_status(status, refused)

    def parse_report(self, request: ReportRequest) -> list[DeliveryReport]:
        """Check the signature when there is a secret for it, then read the receipt."""
        fields = _read_fields(request)
        if self._signature_secret and not self._is_signed(fields):
            raise ReportForged("sig is missing or wrong")
        status, code = fields.get("status", ""), fields.get("err-code", "")
        if "text" in fields and not status:
            return []  # somebody's SMS to us
        message_id, ours = provider_id(fields.get("messageId")), reference(fields.get("client-ref"))
        if message_id is None or status not in _STATES:
            raise ReportUnreadable("no messageId, or a status that is not one of theirs")
        shown = provider_code(status if code == "0" else code) or status
        return [DeliveryReport(_STATES[status], message_id, ours, shown)]

    def _is_signed(self, fields: Mapping[str, str]) -> bool:
        signed = "".join(
            f"&{name}={value.replace('&', '_').replace('=', '_')}"
            for name, value in sorted(fields.items()) if name != "sig"
        )
        key, text = self._signature_secret.encode(), signed.encode("utf-8", "backslashreplace")
        said = fields.get("sig", "").lower().encode("utf-8", "backslashreplace")
        return hmac.compare_digest(hmac.digest(key, text, "sha256").hex().encode(), said)


def _refusal(code: str, *, partly: bool) -> SendOutcome:
    """Return what a refused part means; where others were taken, the person may get half a message."""
    result = _RESULTS[code]
    return SendOutcome(result, provider_code=code, maybe_sent=partly or result is SendResult.TEMPORARY)


def _read_fields(request: ReportRequest) -> dict[str, str]:
    """Return a receipt's parameters, from wherever the dashboard puts them."""
    if request.method == "GET":
        return dict(request.query)
    if request.body.lstrip().startswith(b"{"):
        members = json_object(request.body)
        if not all(isinstance(value, str) for value in members.values()):
            raise ReportUnreadable("not a JSON object of texts")
        return members
    try:
        return dict(parse_qsl(
            request.body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_FIELDS_MAX,
        ))
    except ValueError as error:
        raise ReportUnreadable("neither a form nor a JSON object") from error
