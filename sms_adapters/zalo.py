"""
Zalo ZNS: a message in the Zalo app, by registered templates and their parameters, never the text.

::

    POST {oauth_url}/v4/oa/access_token    header secret_key; app_id, grant_type=refresh_token, refresh_token
    200   {"access_token", "refresh_token", "expires_in"}    both tokens are new; the old refresh token is used up

    POST {url}/message/template            header access_token
          {"phone": "84...", "template_id", "template_data": {...}, "tracking_id"}
    200   {"error": 0, "data": {"msg_id", "sent_time", "quota"}}    accepted
    200   {"error": -118, "message"}       the number has no Zalo account: an SMS may reach it
    200   {"error": -124, "message"}       the token is old or bad
    200   {"error": <other>, "message"}    see _RESULTS
    all else                               as the status says

    POST callback   header X-ZEvent-Signature: mac=sha256(app id + raw body + timestamp of the body + OA secret key)
          {"event_name": "user_received_message", "timestamp", "message": {"delivery_time", "msg_id", "tracking_id"}}

Only a ``user_received_message`` with a ``delivery_time`` is about a ZNS; without one it is about a chat of the OA.
Zalo reports no failures.  ``tracking_id`` comes back in reports; Zalo drops no duplicates by it.

Source: Zalo for Developers (ZNS API, webhook, OAuth v4); the error codes are from Zalo Cloud's table of them and, where
that was not to be had, from integrators' code.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import orjson

from otp_service.core.options import Options
from otp_service.core.ports import (
    AccessToken,
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
from otp_service.core.reading import code_number, international, json_object, token_life, token_text
from sms_adapters.reading import by_status, provider_id, reference

_ID = re.compile(r"[A-Za-z0-9]{1,64}")
#: A secret goes into a header.
_SECRET = re.compile(r"[!-~]{1,4096}")
_WHAT_ID = "write the id that Zalo shows, letters and digits"
_WHAT_SECRET = "has characters that Zalo's secrets never have, or none; paste it again"  # noqa: S105 - no secret

#: For a token that does not say how long it lives; it is kept all the same, because its refresh token is the only one.
_LIFE_UNSAID_S = 300

#: The token was not taken: fetch another and try once more.
_STALE = frozenset({"-124", "-216", "-220"})

#: Zalo's codes.  What is about one number or one template is no refusal of the account: that would shift every share.
_RESULTS = {
    "-100": SendResult.TEMPORARY,           # unknown error, try again later
    "-101": SendResult.AUTHENTICATION,      # application invalid
    "-102": SendResult.AUTHENTICATION,      # application does not exist
    "-103": SendResult.AUTHENTICATION,      # application not activated
    "-104": SendResult.AUTHENTICATION,      # application's secret key
    "-105": SendResult.AUTHENTICATION,      # application not linked to an OA
    "-106": SendResult.UNKNOWN,             # method not supported
    "-108": SendResult.INVALID_NUMBER,
    "-109": SendResult.TEMPLATE_REJECTED,   # template id
    "-110": SendResult.WRONG_NETWORK,       # the person's Zalo app is too old, or there is none
    "-111": SendResult.TEMPLATE_REJECTED,   # template data empty
    "-112": SendResult.TEMPLATE_REJECTED,   # template data invalid
    "-1121": SendResult.TEMPLATE_REJECTED,  # parameter too long
    "-1122": SendResult.TEMPLATE_REJECTED,  # parameter missing
    "-1124": SendResult.TEMPLATE_REJECTED,  # parameter malformed
    "-113": SendResult.TEMPLATE_REJECTED,   # button
    "-114": SendResult.BLOCKED,             # the person is inactive or takes no such messages
    "-115": SendResult.BALANCE,
    "-116": SendResult.TEMPLATE_REJECTED,   # text
    "-117": SendResult.TEMPLATE_REJECTED,   # OA or application without right to this template
    "-118": SendResult.WRONG_NETWORK,       # no Zalo account
    "-119": SendResult.BLOCKED,             # the account cannot receive ZNS
    "-120": SendResult.SENDER_REJECTED,     # OA without right to this function
    "-124": SendResult.AUTHENTICATION,      # access token
    "-126": SendResult.BALANCE,             # development mode's allowance used up
    "-127": SendResult.TEMPLATE_REJECTED,   # a test template goes to administrators only
    "-131": SendResult.TEMPLATE_REJECTED,   # not approved
    "-133": SendResult.TEMPLATE_REJECTED,   # such templates may not be sent at night
    "-135": SendResult.SENDER_REJECTED,     # OA without right to ZNS
    "-136": SendResult.SENDER_REJECTED,     # OA not connected to a Zalo Cloud account
    "-137": SendResult.BALANCE,             # payment failed
    "-139": SendResult.BLOCKED,             # the person refuses such messages
    "-140": SendResult.BLOCKED,             # the person may not be sent such messages
    "-141": SendResult.BLOCKED,             # the person refuses this OA
    "-144": SendResult.BALANCE,             # the OA's daily allowance used up: none of its messages goes out
    "-147": SendResult.TEMPLATE_REJECTED,   # one template's daily allowance used up: the others still go out
    "-216": SendResult.AUTHENTICATION,      # access token
    "-220": SendResult.AUTHENTICATION,      # access token expired or removed
}


@dataclass(frozen=True, slots=True)
class _Template:
    """A registered template: Zalo's id, and its parameters' names with those of the message that fill them."""

    number: str
    params: tuple[tuple[str, str], ...]


class ZaloGateway:
    """
    Zalo ZNS.

    Args:
        app_id: of the application that the OA has allowed.
        app_secret: the application's secret key; it comes from a secret file.
        oa_secret: the OA secret key of the developer console's webhook page; it comes from a secret file.
        refresh_token: the first one, from the developer console or the OA's consent; each is good once and for three
            months, and the answer to it brings the next.
        templates: the registered templates, template key of the message catalogue to
            ``{"id": "1234", "params": {"otp": "code"}}``; ``params`` is Zalo's parameter to the catalogue's
            placeholder.  As text: JSON.
        url: where the ZNS API stands.
        oauth_url: where tokens are fetched.
        timeout_s: seconds for one attempt.

    Raises ConfigurationError for options that cannot be used.
    """

    name = "zalo"
    real = True
    experimental = False
    contract = "Zalo for Developers: ZNS API, webhook, OAuth v4; Zalo Cloud and integrators: error codes"
    # No SMS is sent, so no number of segments is too many: more than any of our texts takes.
    supports = Supports(callback=True, signed=True, templates=True, unicode=True, parts=10)

    def __init__(
        self, *, app_id: str | int, app_secret: str, oa_secret: str, refresh_token: str,
        templates: Mapping[str, Any] | str, url: str = "https://business.openapi.zalo.me",
        oauth_url: str = "https://oauth.zaloapp.com", timeout_s: float | str = 10.0,
    ) -> None:
        options = Options("zalo")
        self._app_id = options.matching("app_id", app_id, _ID, _WHAT_ID)
        self._app_secret = options.matching("app_secret", app_secret, _SECRET, _WHAT_SECRET)
        self._oa_secret = options.matching("oa_secret", oa_secret, _SECRET, _WHAT_SECRET)
        self._refresh_token = options.matching("refresh_token", refresh_token, _SECRET, _WHAT_SECRET)
        self._templates = {
            key: _template(options, f"templates.{key}", entry)
            for key, entry in options.tables("templates", templates, {"id", "params"}).items()
        }
        self._url = options.url("url", url)
        self._oauth_url = options.url("oauth_url", oauth_url)
        self.timeout_s = options.seconds("timeout_s", timeout_s)

    def build_token_request(self, refresh: str | None) -> HttpRequest:
        """Trade the last refresh token, at first the configured one, for the next pair of tokens."""
        headers = {"content-type": "application/x-www-form-urlencoded", "secret_key": self._app_secret}
        body = urlencode({
            "app_id": self._app_id, "grant_type": "refresh_token", "refresh_token": refresh or self._refresh_token,
        })
        return HttpRequest("POST", f"{self._oauth_url}/v4/oa/access_token", headers, body.encode())

    def parse_token(self, response: HttpResponse) -> AccessToken | None:
        """Read the pair of tokens; None when there is none (Zalo answers 200 with an ``error``)."""
        answer = json_object(response.body)
        value = token_text(answer.get("access_token"))
        if response.status != 200 or value is None:
            return None
        life_s = token_life(answer.get("expires_in"), unsaid=_LIFE_UNSAID_S)
        return AccessToken(value, life_s, token_text(answer.get("refresh_token")))

    def build_authorised(self, message: SmsMessage, token: str) -> HttpRequest | SendOutcome:
        """Post the message's template and parameters, or refuse a message without a registered template."""
        template, values = self._templates.get(message.template_key), dict(message.params)
        if template is None:
            return SendOutcome(SendResult.TEMPLATE_REJECTED, provider_code="no_template")
        if not all(values.get(ours) for _, ours in template.params):
            return SendOutcome(SendResult.TEMPLATE_REJECTED, provider_code="no_parameter")
        headers = {"content-type": "application/json", "accept": "application/json", "access_token": token}
        body = orjson.dumps({
            "phone": international(message.to),
            "template_id": template.number,
            "template_data": {theirs: values[ours] for theirs, ours in template.params},
            "tracking_id": message.reference,
        })
        return HttpRequest("POST", f"{self._url}/message/template", headers, body)

    def parse_response(self, response: HttpResponse) -> SendOutcome:
        """Read the answer by the table at the top of this file; never raises."""
        status, answer = response.status, json_object(response.body)
        code, data = code_number(answer.get("error")), answer.get("data")
        taken = 200 <= status < 300
        if code in _RESULTS and (taken or 400 <= status < 500):
            result = _RESULTS[code]
            maybe_sent = result is SendResult.TEMPORARY
            return SendOutcome(result, provider_code=code, maybe_sent=maybe_sent, stale_token=code in _STALE)
        message_id = provider_id(data.get("msg_id")) if isinstance(data, dict) else None
        if taken and code == "0" and message_id is not None:
            return SendOutcome(SendResult.ACCEPTED, message_id, code)
        # 401 without a code that we know: the token may be why, and another is cheap.
        return replace(by_status(status, code), stale_token=status == 401)

    def parse_report(self, request: ReportRequest) -> list[DeliveryReport]:
        """Read a callback: that a message is on the phone; empty for the OA's other events."""
        event = self._verified(request)
        message = event.get("message")
        if event.get("event_name") != "user_received_message" or not isinstance(message, dict):
            return []
        if not message.get("delivery_time"):
            return []
        ours, message_id = reference(message.get("tracking_id")), provider_id(message.get("msg_id"))
        if message_id is None and ours is None:
            raise ReportUnreadable("user_received_message names no message")
        return [DeliveryReport(DeliveryState.DELIVERED, message_id, ours, "user_received_message")]

    def _verified(self, request: ReportRequest) -> dict[str, Any]:
        """Return the event of a callback whose signature is right."""
        signature = request.headers.get("x-zevent-signature", "")
        if not signature:
            raise ReportForged("no X-ZEvent-Signature")
        event = json_object(request.body)
        timestamp = event.get("timestamp")
        if isinstance(timestamp, bool) or not isinstance(timestamp, str | int):
            raise ReportUnreadable("no JSON object with a timestamp")
        # Ours, not the body's application id: another application's event is not for us.
        signed = self._app_id.encode() + request.body + str(timestamp).encode() + self._oa_secret.encode()
        expected = f"mac={sha256(signed).hexdigest()}"
        # A header may hold what is no text; what cannot be encoded matches nothing.
        if not hmac.compare_digest(expected.encode(), signature.encode(errors="replace")):
            raise ReportForged("X-ZEvent-Signature does not fit")
        return event


# -- options -------------------------------------------------------------------------------------------------------


def _template(options: Options, where: str, entry: Mapping[str, Any]) -> _Template:
    params = entry["params"]
    pairs = tuple(params.items()) if isinstance(params, Mapping) else ()
    if not all(isinstance(name, str) and name for pair in pairs for name in pair):
        raise options.wrong(f"{where}.params", "write Zalo's parameter = our placeholder, both text")
    if "code" not in {ours for _, ours in pairs}:
        raise options.wrong(f"{where}.params", "none of them is filled with code, so nobody would get one")
    return _Template(options.matching(f"{where}.id", entry["id"], _ID, _WHAT_ID), pairs)
