"""
Stringee SMS: JSON over HTTPS, each request with a short-lived JWT of ours.

::

    POST {url}   X-STRINGEE-AUTH: <JWT>
         {"sms": [{"from": "<brand name>", "to": "84900000001", "text"}]}

    JWT   {"typ": "JWT", "alg": "HS256", "cty": "stringee-api;v=1"}
          {"jti": "<key sid>-<now>", "iss": "<key sid>", "exp": <now + 3600>, "rest_api": true}   signed with the secret

    200   {"smsSent": 1, "result": [{"price", "smsType", "r": 0, "msg"}]}   accepted
    200   {"smsSent": 0, "result": [{"r": <other>, "msg"}]}                 refused
    200   {"r": <other>, "message" or "msg"}                                refused, seen by integrators

What other ``r`` mean is documented nowhere; "From number invalid", with r 1, is what integrators see for a sender that
is not registered.  The answer carries no message id, and there are no reports, no request id and no period of validity.
Source: Stringee SMS REST API reference (developer.stringee.com/docs/stringee-sms-rest-api); the rest as said here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import orjson
from joserfc import jws
from joserfc.jwk import OctKey

from otp_service.core.options import Options
from otp_service.core.ports import HttpRequest, HttpResponse, SendOutcome, SendResult, SmsMessage, Supports
from otp_service.core.reading import international, json_object, provider_code
from sms_adapters.reading import by_status

_OFFICIAL_URL = "https://api.stringee.com/v1/sms"
_JWT_HEADER = {"typ": "JWT", "alg": "HS256", "cty": "stringee-api;v=1"}

#: As long as their own samples make it: a token travels to nobody else, and a slow clock must not make it stale.
_TOKEN_LIVES_S = 3600

#: An ``r`` that refuses.
_REFUSED = re.compile(r"-?[1-9][0-9]{0,8}")

#: Below 112 bits an HMAC key is too weak (NIST SP 800-131A); theirs have 32 characters and more.
_SECRET_MIN = 14

_options = Options("stringee")


class StringeeGateway:
    """
    Stringee SMS.

    Args:
        key_sid: the API key's SID, "SK...".
        key_secret: the API key's secret.
        sender: the registered brand name or number.
        url: where SMS are posted.
        timeout_s: seconds for one attempt.
        clock: seconds since 1970.

    Raises ConfigurationError for options that cannot be used.
    """

    name = "stringee"
    real = True
    #: How many parts it takes is documented nowhere; three is what carriers commonly take of a brand name.
    supports = Supports(unicode=True, parts=3)
    contract = "Stringee SMS REST API reference"
    experimental = False

    def __init__(
        self, *, key_sid: str, key_secret: str, sender: str, url: str = _OFFICIAL_URL, timeout_s: float | str = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._key_sid = _options.text("key_sid", key_sid)
        self._key = _hmac_key(_options.text("key_secret", key_secret))
        self._sender = _options.text("sender", sender)
        self._url = _options.url("url", url)
        self._clock = clock
        self.timeout_s = _options.seconds("timeout_s", timeout_s)

    def build_request(self, message: SmsMessage) -> HttpRequest:
        """Post the message, signed as of now."""
        headers = {
            "x-stringee-auth": self._token(), "content-type": "application/json", "accept": "application/json",
        }
        sms = {"from": self._sender, "to": international(message.to), "text": message.text}
        return HttpRequest("POST", self._url, headers, orjson.dumps({"sms": [sms]}))

    def parse_response(self, response: HttpResponse) -> SendOutcome:
        """Read the answer by the table at the top of this file; never raises."""
        status = response.status
        if not (200 <= status < 300 or 400 <= status < 500):
            return by_status(status)
        answer = json_object(response.body)
        said = _our_result(answer)
        code, sent = provider_code(said.get("r")), provider_code(answer.get("smsSent"))
        if code == "0" and sent == "1" and status < 300:
            return SendOutcome(SendResult.ACCEPTED, provider_code=code)
        if code is None or not _REFUSED.fullmatch(code) or sent not in {None, "0"}:
            return by_status(status, code)
        refusal = _refusal(said)
        if refusal is SendResult.UNKNOWN and status >= 400:
            return by_status(status, code)
        return SendOutcome(refusal, provider_code=code)

    def _token(self) -> str:
        now = int(self._clock())
        claims = {
            "jti": f"{self._key_sid}-{now}", "iss": self._key_sid, "exp": now + _TOKEN_LIVES_S, "rest_api": True,
        }
        return jws.serialize_compact(_JWT_HEADER, orjson.dumps(claims), self._key, algorithms=["HS256"])


def _our_result(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what is said of the one SMS we sent; an error of the whole request stands in the answer itself."""
    results = answer.get("result")
    if results is None:
        return answer
    if isinstance(results, list) and len(results) == 1 and isinstance(results[0], dict):
        return results[0]
    return {}


def _refusal(said: dict[str, Any]) -> SendResult:
    """Return what a refusal means, as far as anybody knows."""
    sentence = said.get("msg", said.get("message"))
    if isinstance(sentence, str) and "from number invalid" in sentence.lower():
        return SendResult.SENDER_REJECTED
    return SendResult.UNKNOWN


def _hmac_key(secret: str) -> OctKey:
    if len(secret.encode()) < _SECRET_MIN:
        raise _options.wrong("key_secret", f"write the API key's secret, at least {_SECRET_MIN} characters")
    try:
        return OctKey.import_key(secret)
    except ValueError:
        # The reason is not passed on: a chained error would be printed with it.
        raise _options.wrong("key_secret", "write the API key's secret, not a public key") from None
