"""
Viettel bulk SMS: SOAP 1.1 over plain HTTP, from addresses that Viettel has on a list.

::

    POST {url}   wsCpMt(User, Password, CPCode, RequestID, UserID, ReceiverID, ServiceID, CommandCode, Content,
                        ContentType), namespace http://impl.bulkSms.ws/

    200   <return><message>Insert MT_QUEUE: OK</message><result>1</result></return>    accepted
    200   <return><message>...</message><result>0</result></return>                    see _REFUSALS
    all else                                                                           as the status says

``RequestID`` must be a number; ``UserID`` and ``ReceiverID`` are the same number, ``84...``; ``ServiceID`` is the
brand name; ``ContentType`` is 0 for unaccented text and 1 for accented.  ``Content`` has at most 480 characters and
no ``&``.  There is no message id and there are no delivery reports.

The password and the code travel in clear: reach it through a private line or a tunnel, and set ``url`` to that.

Source: integrators' code only (several public repositories that agree on the fields and the messages).
"""

from __future__ import annotations

import re
from hashlib import sha256
from html import escape
from xml.parsers import expat

from otp_service.core.options import Options
from otp_service.core.ports import HttpRequest, HttpResponse, SendOutcome, SendResult, SmsMessage, Supports
from otp_service.core.reading import international
from sms_adapters.reading import by_status

_HEADERS = {"content-type": "text/xml; charset=utf-8", "soapaction": '""'}

_ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
    ' xmlns:impl="http://impl.bulkSms.ws/"><soapenv:Body><impl:wsCpMt>{}</impl:wsCpMt></soapenv:Body>'
    "</soapenv:Envelope>"
)

_TEXT_MAX = 480

#: What XML 1.0 cannot carry, not even escaped (section 2.2).
_NOT_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")

#: What the message of a refusal contains, the first that fits: some carry our address, a length or a carrier behind
#: it.  The second of each is what the log shows.
_REFUSALS = (
    ("IP_INVALID", "IP_INVALID", SendResult.AUTHENTICATION),
    ("CP_CODE_NOT_FOUND", "CP_CODE_NOT_FOUND", SendResult.AUTHENTICATION),
    ("WRONG_INFORMATION_AUTHENTICATE", "WRONG_INFORMATION_AUTHENTICATE", SendResult.AUTHENTICATION),
    ("Authenticate: ", "AUTHENTICATE", SendResult.AUTHENTICATION),
    ("DUPLICATE MESSAGE", "DUPLICATE_MESSAGE", SendResult.DUPLICATE),
    # The brand name is not declared with the carrier of this number; with others it may be.
    ("ALIAS_INVALID", "ALIAS_INVALID", SendResult.WRONG_NETWORK),
    ("Unable to check telco", "NO_TELCO", SendResult.WRONG_NETWORK),
    ("ReceiverID: FORMAT_ERROR", "RECEIVER_FORMAT_ERROR", SendResult.INVALID_NUMBER),
    ("Length of ReceiverID", "RECEIVER_LENGTH", SendResult.INVALID_NUMBER),
    ("CONTENT_NOT_MATCH_TEMPLATE", "CONTENT_NOT_MATCH_TEMPLATE", SendResult.TEMPLATE_REJECTED),
    ("MAXLENGTH_LIMIT", "MAXLENGTH_LIMIT", SendResult.TEMPLATE_REJECTED),
    ("MSG_ERROR_CONTAIN_BLACKLIST", "MSG_ERROR_CONTAIN_BLACKLIST", SendResult.TEMPLATE_REJECTED),
    ("Content: NULL_OR_BLANK", "CONTENT_NULL_OR_BLANK", SendResult.TEMPLATE_REJECTED),
    ("CommandCode: ", "COMMAND_CODE_ERROR", SendResult.SENDER_REJECTED),
    ("RequestID: ", "REQUEST_ID", SendResult.UNKNOWN),
    ("UserID: NULL_OR_BLANK", "USER_ID", SendResult.UNKNOWN),
    ("ReceiverID: NULL_OR_BLANK", "RECEIVER_ID", SendResult.UNKNOWN),
    ("UserID_NOT_EQUAL_ReceiverID", "USER_ID", SendResult.UNKNOWN),
    ("Check information error", "CHECK_INFORMATION_ERROR", SendResult.TEMPORARY),
)


class ViettelGateway:
    """
    Viettel bulk SMS.

    Args:
        user: of the account.
        password: of the account; it comes from a secret file.
        cp_code: the account's partner code.
        sender: the brand name (``ServiceID``).
        url: the service's address, without ``?wsdl``.
        command_code: what Viettel said to write there.
        timeout_s: seconds for one attempt.

    Raises ConfigurationError for options that cannot be used.
    """

    name = "viettel"
    real = True
    experimental = True
    contract = "integrators' code only; Viettel publishes no manual"
    supports = Supports(deduplicates=True, unicode=True, parts=3)

    def __init__(
        self, *, user: str, password: str, cp_code: str, sender: str,
        url: str = "http://apismsbrand.viettel.vn:8998/bulkapi", command_code: str = "bulksms",
        timeout_s: float | str = 10.0,
    ) -> None:
        options = Options("viettel")
        self._user = options.text("user", user)
        self._password = options.text("password", password)
        self._cp_code = options.text("cp_code", cp_code)
        self._sender = options.text("sender", sender)
        self._url = options.url("url", url)
        self._command_code = options.text("command_code", command_code)
        self.timeout_s = options.seconds("timeout_s", timeout_s)

    def build_request(self, message: SmsMessage) -> HttpRequest | SendOutcome:
        """Call wsCpMt, or refuse a text that Viettel does not take."""
        refused = _refusal(message.text)
        if refused is not None:
            return SendOutcome(SendResult.TEMPLATE_REJECTED, provider_code=refused)
        number = international(message.to)
        fields = {
            "User": self._user, "Password": self._password, "CPCode": self._cp_code,
            "RequestID": _request_id(message.reference), "UserID": number, "ReceiverID": number,
            "ServiceID": self._sender, "CommandCode": self._command_code, "Content": message.text,
            "ContentType": "0" if message.text.isascii() else "1",
        }
        call = "".join(f"<{name}>{escape(value, quote=False)}</{name}>" for name, value in fields.items())
        return HttpRequest("POST", self._url, _HEADERS, _ENVELOPE.format(call).encode())

    def parse_response(self, response: HttpResponse) -> SendOutcome:
        """Read the answer by the table at the top of this file; never raises."""
        answer = _read(response.body) if response.status == 200 else {}
        result = answer.get("result")
        if result == "1":
            return SendOutcome(SendResult.ACCEPTED, provider_code=result)
        if result != "0":
            return by_status(response.status)
        for part, code, meaning in _REFUSALS:
            if part in answer.get("message", ""):
                return SendOutcome(meaning, provider_code=code, maybe_sent=meaning is SendResult.TEMPORARY)
        # Refused, for a reason that we do not know: it may be about this message or about all.
        return SendOutcome(SendResult.UNKNOWN, provider_code=result)


def _refusal(text: str) -> str | None:
    """Return why Viettel would not take a text; None when it would."""
    if not text.strip():
        return "no_text"
    if len(text) > _TEXT_MAX:
        return "too_long"
    if "&" in text:
        return "ampersand"
    return "not_xml" if _NOT_XML.search(text) else None


def _request_id(reference: str) -> str:
    """Return nine digits that follow from our reference alone, a number that fits into 32 bits."""
    return str(100_000_000 + int.from_bytes(sha256(reference.encode()).digest()[:8]) % 900_000_000)


# -- reading -------------------------------------------------------------------------------------------------------


class _Refused(ValueError):
    """The answer has a document type, the door to entities; no SOAP message may have one (SOAP 1.1 section 3)."""


def _read(body: bytes) -> dict[str, str]:
    """Return ``result`` and ``message`` of the answer's ``return``; empty when it cannot be read."""
    found: dict[str, str] = {}
    path: list[str] = []

    def start(name: str, _attributes: dict[str, str]) -> None:
        path.append(name.rpartition(" ")[2])

    def end(_name: str) -> None:
        path.pop()

    def text(data: str) -> None:
        if path[-2:-1] == ["return"]:
            found[path[-1]] = found.get(path[-1], "") + data

    def doctype(*_: object) -> None:
        raise _Refused

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(body, True)  # noqa: FBT003 - expat takes no keywords
    except (expat.ExpatError, ValueError, LookupError):
        # Broken XML, a document type, an encoding that nobody knows: the caller answers UNKNOWN, which is logged.
        return {}
    return {name: value.strip() for name, value in found.items()}
