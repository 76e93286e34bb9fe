"""
Twilio Programmable Messaging: forms over HTTPS, JSON answers, signed callbacks, and it can be asked.

::

    POST {url}/2010-04-01/Accounts/{account_sid}/Messages.json   Authorization: Basic
         To=+84900000001, Body, From or MessagingServiceSid, ValidityPeriod=1 to 36000 seconds, StatusCallback

    201      {"sid": "SM...", "status": "accepted" or "scheduled", "queued", "sending", "sent"}   accepted
             {"sid": "SM...", "status": "failed", "error_code": 30003}                            see _RESULTS
    4xx      {"code": 21211, "message", "more_info", "status": 400}                               see _RESULTS
    5xx      {"code": 20500, ...}                                                                 temporary

    POST {StatusCallback}   X-Twilio-Signature: base64(HMAC-SHA1(auth token, URL + each name and value, by name))
         MessageSid=SM...&MessageStatus=delivered&ErrorCode=...&To=...&From=...     order is not guaranteed
    GET  {url}/2010-04-01/Accounts/{account_sid}/Messages/{sid}.json
         {"sid", "status", "error_code"}

There is no request id, so a second hand-over is a second SMS.  Our reference rides in the callback's query, which the
signature covers: a report finds its message even when the answer to the request was lost.
In Viet Nam ``delivered`` means that the carrier's centre took the message, and senders must be registered.
Source: Twilio documentation: Messages resource, error and warning dictionary, webhooks security.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, quote, urlencode

from otp_service.core.errors import ConfigurationError
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
from otp_service.core.reading import json_object, provider_code
from sms_adapters.reading import by_status, reference

_OFFICIAL_URL = "https://api.twilio.com"

#: Their codes.  Those from 30000 come mostly with reports; a message that failed at once carries them too.
#: What is about one number or one message is no refusal of the account: that would shift every share.
_RESULTS = {
    "20003": SendResult.AUTHENTICATION,
    "20005": SendResult.AUTHENTICATION,     # the account is not active
    "20006": SendResult.AUTHENTICATION,     # access denied
    "20008": SendResult.AUTHENTICATION,     # test credentials
    "20404": SendResult.AUTHENTICATION,     # no such account
    "20429": SendResult.THROTTLED,
    "21211": SendResult.INVALID_NUMBER,
    "21212": SendResult.SENDER_REJECTED,
    "21214": SendResult.INVALID_NUMBER,
    "21217": SendResult.INVALID_NUMBER,
    "21265": SendResult.INVALID_NUMBER,     # a short code
    "21266": SendResult.INVALID_NUMBER,     # to and from are the same
    "21268": SendResult.INVALID_NUMBER,     # an information service
    "21408": SendResult.BLOCKED,            # our account may not send to this number's country
    "21602": SendResult.TEMPLATE_REJECTED,  # no text
    "21603": SendResult.SENDER_REJECTED,
    "21604": SendResult.INVALID_NUMBER,
    "21605": SendResult.TEMPLATE_REJECTED,  # too long
    "21606": SendResult.SENDER_REJECTED,
    "21607": SendResult.SENDER_REJECTED,
    "21608": SendResult.BLOCKED,            # a trial account, and a number that is not on its list
    "21610": SendResult.BLOCKED,            # the subscriber has opted out
    "21611": SendResult.THROTTLED,          # the sender's queue is full
    "21612": SendResult.WRONG_NETWORK,      # no route from this sender to this number
    "21614": SendResult.INVALID_NUMBER,
    "21617": SendResult.TEMPLATE_REJECTED,  # more than 1600 characters
    "21619": SendResult.TEMPLATE_REJECTED,
    "21635": SendResult.INVALID_NUMBER,     # a landline
    "21659": SendResult.SENDER_REJECTED,
    "21660": SendResult.SENDER_REJECTED,
    "21701": SendResult.SENDER_REJECTED,    # no such messaging service
    "21703": SendResult.SENDER_REJECTED,    # a messaging service without senders
    "21709": SendResult.SENDER_REJECTED,
    "21730": SendResult.TEMPORARY,          # maintenance
    "30001": SendResult.THROTTLED,
    "30002": SendResult.AUTHENTICATION,     # the account is suspended
    "30003": SendResult.TEMPORARY,          # the phone is off or out of reach
    "30004": SendResult.BLOCKED,
    "30005": SendResult.INVALID_NUMBER,
    "30006": SendResult.INVALID_NUMBER,     # a landline
    "30007": SendResult.BLOCKED,            # filtered by Twilio or the carrier
    "30008": SendResult.UNKNOWN,
    "30010": SendResult.BLOCKED,            # this message is dearer than the price we allow
    "30017": SendResult.TEMPORARY,          # the carrier is congested
    "30018": SendResult.SENDER_REJECTED,    # 30018, 30040: the sender is not registered with the carrier
    "30024": SendResult.SENDER_REJECTED,
    "30032": SendResult.SENDER_REJECTED,
    "30034": SendResult.SENDER_REJECTED,
    "30036": SendResult.TEMPORARY,          # its validity ended in their queue
    "30037": SendResult.AUTHENTICATION,     # outbound messages are disabled
    "30038": SendResult.TEMPLATE_REJECTED,  # the text of a one-time code was filtered
    "30040": SendResult.SENDER_REJECTED,
    "30410": SendResult.TEMPORARY,          # the next provider did not answer in time
    "30450": SendResult.BLOCKED,            # suspected SMS pumping
    "30454": SendResult.BALANCE,            # 30454, 63038: more than the account may send
    "63038": SendResult.BALANCE,
    # What we said of the validity was refused: a defect of this file, nothing that another result describes.
    "21624": SendResult.UNKNOWN,
    "90007": SendResult.UNKNOWN,
    "90014": SendResult.UNKNOWN,
}

_ON_THE_WAY = frozenset({"accepted", "scheduled", "queued", "sending", "sent"})
_STATES = {
    **dict.fromkeys(_ON_THE_WAY, DeliveryState.SENT),
    "delivered": DeliveryState.DELIVERED, "read": DeliveryState.DELIVERED,
    "undelivered": DeliveryState.FAILED, "failed": DeliveryState.FAILED, "canceled": DeliveryState.FAILED,
}

#: Statuses of an SMS that somebody sent to us.
_INCOMING = frozenset({"receiving", "received"})

_MESSAGE_SID = re.compile(r"(SM|MM)[0-9A-Fa-f]{32}")
_VALIDITY_MAX_S = 36_000
_FIELDS_MAX = 200

_options = Options("twilio")


class TwilioGateway:
    """
    Twilio.

    Args:
        account_sid: of the account, ``AC`` and 32 hexadecimal digits.
        auth_token: the account's primary token; it also signs the callbacks.
        sender: a number or registered name; exactly one of this and ``messaging_service_sid``.
        messaging_service_sid: the messaging service that chooses the sender.
        api_key: an API key to make requests with in place of the token.
        api_key_secret: the secret of that key.
        callback_url: our public address for delivery reports; without it they are only asked for.
        url: where the API stands.
        timeout_s: seconds for one attempt.

    Raises ConfigurationError for options that cannot be used.
    """

    name = "twilio"
    real = True
    timeout_s = 10.0
    #: 1600 characters are ten segments of the GSM alphabet.
    supports = Supports(callback=True, signed=True, polling=True, unicode=True, parts=10)
    contract = "Twilio documentation: Messages resource, error dictionary, webhooks security"
    experimental = False
    poll_batch = 1

    def __init__(
        self, *, account_sid: str, auth_token: str, sender: str = "", messaging_service_sid: str = "",
        api_key: str = "", api_key_secret: str = "", callback_url: str = "", url: str = _OFFICIAL_URL,
        timeout_s: float | str = 10.0,
    ) -> None:
        account = _sid("account_sid", account_sid, "AC")
        self._auth_token = _options.text("auth_token", auth_token)
        user, password = account, self._auth_token
        if api_key or api_key_secret:
            user, password = _options.text("api_key", api_key), _options.text("api_key_secret", api_key_secret)
        self._headers = {
            "authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode(),
            "accept": "application/json",
        }
        if bool(sender) == bool(messaging_service_sid):
            raise ConfigurationError("twilio: write either sender or messaging_service_sid")
        self._from = (
            {"From": _options.text("sender", sender)} if sender
            else {"MessagingServiceSid": _sid("messaging_service_sid", messaging_service_sid, "MG")}
        )
        self._callback_url = _options.url("callback_url", callback_url, query=True) if callback_url else ""
        self._messages_url = f"{_options.url('url', url)}/2010-04-01/Accounts/{account}/Messages"
        self.timeout_s = _options.seconds("timeout_s", timeout_s)

    def build_request(self, message: SmsMessage) -> HttpRequest:
        """Post the message as a form."""
        fields = {
            "To": message.to,
            **self._from,
            "Body": message.text,
            "ValidityPeriod": str(min(max(message.validity_s, 1), _VALIDITY_MAX_S)),
        }
        if self._callback_url:
            joint = "&" if "?" in self._callback_url else "?"
            fields["StatusCallback"] = f"{self._callback_url}{joint}reference={message.reference}"
        headers = {**self._headers, "content-type": "application/x-www-form-urlencoded"}
        return HttpRequest("POST", f"{self._messages_url}.json", headers, urlencode(fields).encode())

    def parse_response(self, response: HttpResponse) -> SendOutcome:
        """Read the answer by the table at the top of this file; never raises."""
        answer = json_object(response.body)
        if response.status == 201:
            return _read_message(answer)
        code = provider_code(answer.get("code")) if response.status >= 400 else None
        if code in _RESULTS and response.status < 500:
            return SendOutcome(_RESULTS[code], provider_code=code)
        return by_status(response.status, code)

    def parse_report(self, request: ReportRequest) -> list[DeliveryReport]:
        """Check the signature, then read the form."""
        fields = _read_form(request)
        said, signature = request.headers.get("x-twilio-signature", ""), self._sign(request.url, fields)
        if not hmac.compare_digest(signature, said.encode("utf-8", "backslashreplace")):
            raise ReportForged("X-Twilio-Signature is missing or wrong")
        named = dict(fields)
        status, code = named.get("MessageStatus") or named.get("SmsStatus"), named.get("ErrorCode")
        if status in _INCOMING:
            return []
        report = _read_report(named.get("MessageSid") or named.get("SmsSid"), status, code, request.query)
        if report is None:
            raise ReportUnreadable("no MessageSid, or a MessageStatus that is not one of theirs")
        return [report]

    def build_poll(self, provider_ids: Sequence[str]) -> HttpRequest:
        """Ask for one message."""
        return HttpRequest("GET", f"{self._messages_url}/{quote(provider_ids[0], safe='')}.json", self._headers)

    def parse_poll(self, response: HttpResponse) -> list[DeliveryReport]:
        """Read the message."""
        answer = json_object(response.body) if response.status == 200 else {}
        report = _read_report(answer.get("sid"), answer.get("status"), answer.get("error_code"), {})
        return [] if report is None else [report]

    def _sign(self, url: str, fields: Sequence[tuple[str, str]]) -> bytes:
        """Compute the signature: of a repeated name each different value counts once."""
        signed = url + "".join(name + value for name, value in sorted(set(fields)))
        mac = hmac.digest(self._auth_token.encode(), signed.encode("utf-8", "backslashreplace"), "sha1")
        return b64encode(mac)


def _read_message(answer: Mapping[str, object]) -> SendOutcome:
    """Return what a message that was made stands for: taken, or failed at once."""
    sid, status, code = answer.get("sid"), answer.get("status"), provider_code(answer.get("error_code"))
    if not isinstance(sid, str) or not _MESSAGE_SID.fullmatch(sid) or not isinstance(status, str):
        return SendOutcome(SendResult.UNKNOWN, provider_code="201", maybe_sent=True)
    if status in _ON_THE_WAY:
        return SendOutcome(SendResult.ACCEPTED, sid, provider_code(status))
    result = _RESULTS.get(code or "", SendResult.UNKNOWN) if status in {"failed", "undelivered"} else SendResult.UNKNOWN
    return SendOutcome(result, None, code or provider_code(status), maybe_sent=result is SendResult.UNKNOWN)


def _read_form(request: ReportRequest) -> list[tuple[str, str]]:
    if request.method != "POST":
        raise ReportUnreadable("not a POST")
    try:
        return parse_qsl(
            request.body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_FIELDS_MAX,
        )
    except ValueError as error:
        raise ReportUnreadable("not a form") from error


def _read_report(sid: object, status: object, code: object, query: Mapping[str, str]) -> DeliveryReport | None:
    if not isinstance(sid, str) or not _MESSAGE_SID.fullmatch(sid):
        return None
    if not isinstance(status, str) or status not in _STATES:
        return None
    ours = reference(query.get("reference"))
    return DeliveryReport(_STATES[status], sid, ours, provider_code(code) or provider_code(status))


# -- options -------------------------------------------------------------------------------------------------------


def _sid(name: str, value: object, prefix: str) -> str:
    text = _options.text(name, value)
    if not re.fullmatch(rf"{prefix}[0-9A-Fa-f]{{32}}", text):
        raise _options.wrong(name, f"write {prefix} and 32 hexadecimal digits")
    return text
