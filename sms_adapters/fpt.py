"""
FPT SMS, brand name OTP: JSON over HTTPS, a token that is fetched first.

::

    POST {url}/oauth2/token             {"grant_type": "client_credentials", "client_id", "client_secret",
                                         "scope": "send_brandname_otp", "session_id"}
    200   {"access_token", "expires_in", ...}

    POST {url}/api/push-brandname-otp   {"access_token", "session_id", "BrandName", "Phone", "Message", "RequestId"}
    200   {"MessageId", "Phone", "BrandName", "Message", "PartnerId", "Telco"}     accepted
    any   {"error": 1013 | 1011, "error_description"}                              the token is old or bad
    any   {"error", "error_description"}                                           see _RESULTS

``Message`` is base64 of the text.  ``session_id`` is the one the token was fetched with.  FPT also calls back with
``{"smsid", "status", "telco"}``, but what its statuses mean stands nowhere we could read: no reports are taken.

Source: integrators' code only (several public repositories that agree with each other); FPT publishes no manual.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from typing import Any

import orjson

from otp_service.core.options import Options
from otp_service.core.ports import (
    AccessToken,
    HttpRequest,
    HttpResponse,
    SendOutcome,
    SendResult,
    SmsMessage,
    Supports,
)
from otp_service.core.reading import code_number, international, json_object, token_life, token_text
from sms_adapters.reading import by_status, provider_id

_HEADERS = {"content-type": "application/json", "accept": "application/json"}

#: For a token that does not say how long it lives: short, so that a wrong guess does little harm.
_LIFE_UNSAID_S = 300

#: The token was not taken: fetch another and try once more.
_STALE = frozenset({"1011", "1013"})

#: The answer says that something broke after the message was taken in.
_MAYBE_SENT = frozenset({"1006", "2506", "2507", "3"})

#: FPT's codes; the small and negative ones are those of the carriers behind it.
_RESULTS = {
    "1001": SendResult.UNKNOWN,             # malformed request
    "1002": SendResult.AUTHENTICATION,      # client not allowed
    "1005": SendResult.AUTHENTICATION,      # no such scope
    "1006": SendResult.TEMPORARY,           # server error
    "1007": SendResult.TEMPORARY,           # server takes no requests now
    "1008": SendResult.AUTHENTICATION,      # client id or secret wrong
    "1010": SendResult.AUTHENTICATION,      # scope without this right
    "1011": SendResult.AUTHENTICATION,      # bad token
    "1013": SendResult.AUTHENTICATION,      # expired token
    "1014": SendResult.UNKNOWN,             # bad parameters
    "1015": SendResult.AUTHENTICATION,      # grant type not supported
    "1016": SendResult.BALANCE,             # more messages than the allowance
    "2501": SendResult.DUPLICATE,           # the same message within five minutes
    "1": SendResult.DUPLICATE,
    "2502": SendResult.BALANCE,             # allowance used up
    "2503": SendResult.BALANCE,             # no allowance configured
    "2504": SendResult.SENDER_REJECTED,     # brand name not active, or locked
    "54": SendResult.SENDER_REJECTED,
    "2513": SendResult.SENDER_REJECTED,     # brand name
    "2505": SendResult.BLOCKED,             # number blocked
    "-11": SendResult.BLOCKED,
    "2506": SendResult.TEMPORARY,           # service error
    "2507": SendResult.UNKNOWN,             # unknown error
    "2518": SendResult.TEMPLATE_REJECTED,   # template not registered, or another text
    "5": SendResult.TEMPLATE_REJECTED,
    "-20": SendResult.TEMPLATE_REJECTED,
    "55": SendResult.TEMPLATE_REJECTED,
    "2519": SendResult.TEMPLATE_REJECTED,   # banned word
    "6": SendResult.TEMPLATE_REJECTED,
    "-18": SendResult.TEMPLATE_REJECTED,
    "2": SendResult.WRONG_NETWORK,          # brand name not registered with this number's carrier
    "-8": SendResult.WRONG_NETWORK,
    "3": SendResult.TEMPORARY,              # the carrier's service failed
    "4": SendResult.TEMPLATE_REJECTED,      # longer than the carrier allows
    "-14": SendResult.TEMPLATE_REJECTED,
    "901": SendResult.TEMPLATE_REJECTED,
    "7": SendResult.TEMPLATE_REJECTED,      # accented text where only unaccented is taken
    "8": SendResult.TEMPLATE_REJECTED,      # could not be decoded
    "53": SendResult.INVALID_NUMBER,
    "-10": SendResult.INVALID_NUMBER,
    "902": SendResult.INVALID_NUMBER,
}


class FptGateway:
    """
    FPT SMS.

    Args:
        client_id: of the account's API client.
        client_secret: of the same; it comes from a secret file.
        sender: the brand name registered with FPT.
        url: where the API stands, without a path.
        timeout_s: seconds for one attempt.

    Raises ConfigurationError for options that cannot be used.
    """

    name = "fpt"
    real = True
    experimental = True
    contract = "integrators' code only; FPT publishes no manual"
    supports = Supports(deduplicates=True)

    def __init__(
        self, *, client_id: str, client_secret: str, sender: str, url: str = "https://api01.sms.fpt.net",
        timeout_s: float | str = 10.0,
    ) -> None:
        options = Options("fpt")
        self._client_id = options.text("client_id", client_id)
        self._client_secret = options.text("client_secret", client_secret)
        self._sender = options.text("sender", sender)
        self._url = options.url("url", url)
        self.timeout_s = options.seconds("timeout_s", timeout_s)
        # The token is shared by all workers, so its session is theirs too: it follows from the client alone.
        self._session_id = sha256(self._client_id.encode()).hexdigest()[:32]

    def build_token_request(self, refresh: str | None) -> HttpRequest:  # noqa: ARG002 - FPT's grant needs none
        """Ask for a token with our client id and secret."""
        body = orjson.dumps({
            "grant_type": "client_credentials", "client_id": self._client_id, "client_secret": self._client_secret,
            "scope": "send_brandname_otp", "session_id": self._session_id,
        })
        return HttpRequest("POST", f"{self._url}/oauth2/token", _HEADERS, body)

    def parse_token(self, response: HttpResponse) -> AccessToken | None:
        """Read the token; None when there is none."""
        answer = json_object(response.body)
        value = token_text(answer.get("access_token"))
        if response.status != 200 or value is None:
            return None
        return AccessToken(value, token_life(answer.get("expires_in"), unsaid=_LIFE_UNSAID_S))

    def build_authorised(self, message: SmsMessage, token: str) -> HttpRequest:
        """Post the message; FPT drops the same message for five minutes, whichever worker repeats it."""
        body = orjson.dumps({
            "access_token": token, "session_id": self._session_id, "BrandName": self._sender,
            "Phone": international(message.to), "Message": b64encode(message.text.encode()).decode(),
            "RequestId": message.reference,
        })
        return HttpRequest("POST", f"{self._url}/api/push-brandname-otp", _HEADERS, body)

    def parse_response(self, response: HttpResponse) -> SendOutcome:
        """Read the answer by the table at the top of this file; never raises."""
        status, answer = response.status, json_object(response.body)
        error = _error(answer)
        taken = 200 <= status < 300
        if error in _RESULTS and (taken or 400 <= status < 500):
            return SendOutcome(
                _RESULTS[error], provider_code=error, maybe_sent=error in _MAYBE_SENT, stale_token=error in _STALE,
            )
        message_id = provider_id(answer.get("MessageId"))
        if taken and error is None and message_id is not None:
            return SendOutcome(SendResult.ACCEPTED, message_id, str(status))
        # 401 without a code that we know: the token may be why, and another is cheap.
        return replace(by_status(status, error), stale_token=status == 401)


def _error(answer: dict[str, Any]) -> str | None:
    """Return the error code of an answer: None when it names none, empty when it names one that is no number."""
    value = answer.get("error", answer.get("Error"))
    if value is None:
        return None
    code = code_number(value)
    return None if code == "0" else code or ""
