"""
A gateway that reaches no phone: it posts each SMS to a URL, where the demo's inbox or a test stands.

::

    POST url   {"reference", "to", "text", "send_number", "template", "validity_s"}

    200, 201   {"id": "..."}               accepted
    409        {"id": "..."}               duplicate: the reference was taken before
    429                                    throttled
    other 4xx  {"error": "<SendResult>"}   that result
    5xx                                    temporary
    all else                               unknown, perhaps sent
"""

from __future__ import annotations

import re

import orjson

from otp_service.core.ports import HttpRequest, HttpResponse, SendOutcome, SendResult, SmsMessage

#: More than the sender ever hands over: an answer of that size is none of ours.
_BODY_MAX = 65536

#: What the store keeps in one small value.
_PROVIDER_ID = re.compile(r"[!-~]{1,64}")

_HEADERS = {"content-type": "application/json", "accept": "application/json"}

#: What an ``error`` member can say; a 4xx that claims to have accepted contradicts itself.
_REFUSALS = {result.value: result for result in SendResult if result is not SendResult.ACCEPTED}


class FakeGateway:
    """
    The fake gateway, for the demo and tests.

    Args:
        url: where SMS are posted.
    """

    name = "fake"
    real = False
    timeout_s = 5.0

    def __init__(self, url: str) -> None:
        self._url = url

    def build_request(self, message: SmsMessage) -> HttpRequest:
        """Post the message as JSON; ``reference`` is what a duplicate is recognised by."""
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


def _read_object(body: bytes) -> dict[str, object]:
    """Return the JSON object of a body, empty when there is none."""
    if len(body) > _BODY_MAX:
        return {}
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        # An HTML page or a cut-off answer says nothing; the caller answers UNKNOWN, which is counted and logged.
        return {}
    return answer if isinstance(answer, dict) else {}


def _read_id(answer: dict[str, object]) -> str | None:
    value = answer.get("id")
    return value if isinstance(value, str) and _PROVIDER_ID.fullmatch(value) else None


def _read_error(answer: dict[str, object]) -> SendResult:
    value = answer.get("error")
    return _REFUSALS.get(value, SendResult.UNKNOWN) if isinstance(value, str) else SendResult.UNKNOWN
