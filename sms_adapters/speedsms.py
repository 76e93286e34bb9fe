"""
SpeedSMS: JSON over HTTPS, the token as user name of Basic authentication, reports by an unsigned POST.

::

    POST {url}/sms/send   Authorization: Basic base64("<token>:x")
         {"to": ["84900000001"], "content", "sms_type": 2 to 5, "sender"}

    200  {"status": "success", "code": "00", "data": {"tranId", "totalSMS", "totalPrice"}}   accepted
    200  the same with our number in "invalidPhone" of its "data"                            an invalid number
         {"status": "error", "code", "message"}                                              see _RESULTS
    429  {"name": "Too Many Requests", "message", "code": 0, "status": 429}                  more than 60 in 60 seconds

    POST <our address, set in their console>   repeated while we answer something else than 2xx
         {"type": "report", "tranId", "phone", "status"}   0 delivered, 1 to 63 failed for now, from 64 failed for good
         {"type": "incoming", ...}                         somebody's SMS to us

``sms_type``: 2 a random long number, 3 our brand name, 4 theirs (Verify, Notify), 5 our own phone with their app, whose
device id is the ``sender``.

There is no request id, so a second hand-over is a second SMS, and no period of validity to set.
Its status call is not used: the answer does not name the message it is about.
Source: SpeedSMS API page (speedsms.vn/sms-api); ``invalidPhone`` and the form of numbers from integrators' code.
"""

from __future__ import annotations

from base64 import b64encode

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
from sms_adapters.reading import by_status, provider_id

_OFFICIAL_URL = "https://api.speedsms.vn/index.php"

#: Their codes.  All parameters but the sender are ours to get right, so 101 speaks of the sender.
_RESULTS = {
    "007": SendResult.AUTHENTICATION,     # our address is locked
    "008": SendResult.AUTHENTICATION,     # our account is blocked
    "009": SendResult.AUTHENTICATION,     # our account may not use the API
    "101": SendResult.SENDER_REJECTED,
    "105": SendResult.INVALID_NUMBER,
    "110": SendResult.TEMPLATE_REJECTED,  # this kind of SMS cannot carry these letters
    "113": SendResult.TEMPLATE_REJECTED,  # too long
    "300": SendResult.BALANCE,
    "500": SendResult.TEMPORARY,
}

_BRAND_NAME = 3
_OWN_PHONE = 5

#: The first report status that is final; below it, and above 0, they try again.
_FAILED_FROM = 64

_options = Options("speedsms")


class SpeedsmsGateway:
    """
    SpeedSMS.

    Args:
        token: the account's API access token.
        sender: the registered brand name; with ``sms_type`` 5 the device's id; not needed with 2 and 4.
        sms_type: 2 to 5, see the top of this file.
        url: where the API stands.
        timeout_s: seconds for one attempt.

    Raises ConfigurationError for options that cannot be used.
    """

    name = "speedsms"
    real = True
    #: How many parts it takes is documented nowhere: it answers 113 to what is too long for it.
    supports = Supports(callback=True, unicode=True, parts=3)
    contract = "SpeedSMS API page; invalidPhone and the form of numbers from integrators' code"
    experimental = False

    def __init__(
        self, *, token: str, sender: str = "", sms_type: int | str = _BRAND_NAME, url: str = _OFFICIAL_URL,
        timeout_s: float | str = 10.0,
    ) -> None:
        user = _options.text("token", token)
        self._headers = {
            "authorization": "Basic " + b64encode(f"{user}:x".encode()).decode(),
            "content-type": "application/json",
            "accept": "application/json",
        }
        self._sms_type = _options.whole("sms_type", sms_type, 2, 5)
        needed = self._sms_type in {_BRAND_NAME, _OWN_PHONE}
        self._sender = _options.text("sender", sender) if needed or sender else ""
        self._url = _options.url("url", url)
        self.timeout_s = _options.seconds("timeout_s", timeout_s)

    def build_request(self, message: SmsMessage) -> HttpRequest:
        """Post the message."""
        body = orjson.dumps({
            "to": [international(message.to)],
            "content": message.text,
            "sms_type": self._sms_type,
            "sender": self._sender,
        })
        return HttpRequest("POST", f"{self._url}/sms/send", self._headers, body)

    def parse_response(self, response: HttpResponse) -> SendOutcome:
        """Read the answer by the table at the top of this file; never raises."""
        status = response.status
        if not (200 <= status < 300 or 400 <= status < 500):
            return by_status(status)
        answer = json_object(response.body)
        code, said = provider_code(answer.get("code")), provider_code(answer.get("status"))
        if said == "success" and code == "00" and status < 300:
            return _read_success(answer.get("data"))
        if said == "error" and code in _RESULTS:
            result = _RESULTS[code]
            return SendOutcome(result, provider_code=code, maybe_sent=result is SendResult.TEMPORARY)
        # Where they answer in another form, as when they throttle, "code" is none of theirs.
        return by_status(status, code if said == "error" else None)

    def parse_report(self, request: ReportRequest) -> list[DeliveryReport]:
        """Read their POST.  It is not signed: the secret path and an allow-list stand for that."""
        said = json_object(request.body)
        kind = provider_code(said.get("type"))
        if request.method != "POST" or kind not in {"report", "incoming"}:
            raise ReportUnreadable("not a POST of JSON whose type is report or incoming")
        if kind == "incoming":
            return []
        status, message_id = _report_status(said.get("status")), provider_id(said.get("tranId"))
        if status is None or message_id is None:
            raise ReportUnreadable("a report without a readable tranId or status")
        state = DeliveryState.FAILED if status >= _FAILED_FROM else DeliveryState.SENT
        return [DeliveryReport(DeliveryState.DELIVERED if status == 0 else state, message_id, None, str(status))]


def _read_success(data: object) -> SendOutcome:
    """Return what a success means for the one number we asked for, which it may still call invalid."""
    found = data if isinstance(data, dict) else {}
    invalid = found.get("invalidPhone")
    if isinstance(invalid, list) and invalid:
        return SendOutcome(SendResult.INVALID_NUMBER, provider_code="00")
    return SendOutcome(SendResult.ACCEPTED, provider_id(found.get("tranId")), "00")


def _report_status(value: object) -> int | None:
    text = provider_code(value) or ""
    return int(text) if text.isdecimal() else None
