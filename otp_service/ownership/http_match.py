"""
A source that is asked over HTTP and is described in the settings alone: no file of code for one more provider.

It asks what aggregators and carriers offer: do this ID number and this phone number belong together?

::

    [sources.telco]
    adapter = "http_match"

    [sources.telco.options]
    url = "https://api.example.vn/telco/v1/match"  # with placeholders after the host
    method = "POST"                                # GET, POST, PUT
    assurance = "operator_match"                   # the carrier itself answers; "subscriber_table" for a register
    repeatable = true                              # false: after a lost answer it is not asked again
    timeout_s = 5                                  # for one request
    secret = "..."                                 # {secret}; from a secret file
    headers.api-key = "{secret}"
    headers.x-request-id = "{reference}"

    [sources.telco.options.json]                   # or form = {...}; query = {...} is appended to the URL
    id = "{id_number}"
    phone = "{phone_national}"
    name = "{full_name_unaccented}"                # left out where the question has no name
    dob = "{birth_date_vn}"
    consent = {version = "{consent}"}

    [[sources.telco.options.answers]]              # the first that fits counts
    status = 200                                   # or "2xx", or a list
    path = "data.is_match"                         # where in the JSON answer: names and list indexes
    value = [true, "true", 1]                      # what stands there
    outcome = "match"

    [[sources.telco.options.answers]]
    status = 200
    path = "data.is_match"
    value = [false, "false", 0]
    outcome = "mismatch"

    [[sources.telco.options.answers]]
    status = [200, 404]
    path = "errorCode"
    value = 7
    outcome = "not_a_subscriber"                   # somebody else is asked

    [[sources.telco.options.answers]]
    status = 200
    path = "errorCode"
    value = [8, 9]
    outcome = "not_available"
    note = "no_document"                           # a word for the log

    [sources.telco.options.fields]                 # what else the answer compares
    full_name = {path = "data.name_match", match = [true, "true"], mismatch = [false, "false"]}
    birth_date = {path = "data.dob_match", match = [true, "true"], mismatch = [false, "false"]}

Where the provider gives tokens for client credentials (``oauth2.py``), beside ``headers.authorization =
"Bearer {token}"``: ``token_url``, ``client_id``, ``client_secret`` or ``private_key``, ``scope``, and the others that
stand there.

Placeholders: ``{phone}`` +84900000001, ``{phone_international}`` 84900000001, ``{phone_national}`` 0900000001,
``{id_number}``, ``{reference}``, ``{secret}``; in headers ``{token}`` too.  What only some questions have stands in
query, form and JSON alone, where its member is left out without it: ``{full_name}``, ``{full_name_unaccented}``
NGUYEN VAN A, ``{birth_date}`` 1990-01-31, ``{birth_date_vn}`` 31/01/1990, ``{consent}``.  How they are filled in and
escaped stands in ``core/described/templates.py``.  Personal data in the URL needs ``personal_data_in_url = true``.

Outcomes: ``match`` and ``mismatch``, which need a path and a value; ``not_available``; ``not_a_subscriber``;
``throttled``; ``unauthenticated``, after which another token is fetched; ``error``.  What no rule fits counts by its
status: 401 is unauthenticated, 403 permission_denied, 429 throttled, 5xx unavailable, and all else
``answer_unknown``: never a match.  JSON in which a member stands twice is no answer.

A person with a previous ID number whose current one is not the subscriber's is asked about once more.
Source: the description in the settings, by whoever read the provider's manual.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Final

import orjson

from otp_service.core.evidence import (
    NOT_A_SUBSCRIBER,
    ComparedField,
    Evidence,
    OwnershipOutcome,
    OwnershipQuestion,
    outweighs_mismatch,
)
from otp_service.core.names import fold
from otp_service.core.ports import AccessToken, HttpRequest, HttpResponse, NoAnswer
from otp_service.core.reading import international, json_once, national
from otp_service.core.retry_after import retry_after_s
from otp_service.core.source_ports import Conversation
from otp_service.ownership.http_match_description import (
    ABOUT_SIM,
    ADAPTER,
    PREVIOUS_ID_NUMBER,
    Rule,
    Said,
    read_description,
)

#: The notes of rules that have none.
_NOTES: Final = {
    Said.NOT_A_SUBSCRIBER: NOT_A_SUBSCRIBER,
    Said.THROTTLED: "throttled",
    Said.UNAUTHENTICATED: "unauthenticated",
    Said.ERROR: "request_refused",
}

#: What a status means by itself, as a rule would say it.
_BY_STATUS: Final = {
    401: (Said.UNAUTHENTICATED, "unauthenticated"), 403: (Said.ERROR, "permission_denied"),
    429: (Said.THROTTLED, "throttled"),
}
_UNAVAILABLE: Final = (Said.ERROR, "unavailable")
_UNKNOWN: Final = (Said.ERROR, "answer_unknown")


class HttpMatchSource:
    """
    A source described by its options, written as the top of this file says (see ``core/source_ports.py``, HttpSource).

    Args:
        url: where it is asked, with placeholders after the host.
        assurance: the level of its word.
        answers: the rules that read answers, in order.
        method: GET, POST or PUT.
        headers: names to values with placeholders.
        query: names to values with placeholders, appended to the URL.
        form: the body as a form: names to values with placeholders.
        json: the body as JSON: any values, texts with placeholders.
        fields: how the answers about name and birth date are read.
        secret: what ``{secret}`` stands for.
        repeatable: asking again does no harm.
        personal_data_in_url: the provider takes phone or person in the URL and no other way.
        timeout_s: seconds for one request.
        token_url, client_id, client_secret, private_key, key_id, algorithm, audience, scope, secret_in: as in
            ``oauth2.py``; without ``token_url`` no token is fetched.
        clock: seconds since 1970.

    A table or list may come as JSON text.  Raises ConfigurationError that tells every mistake with the dotted name of
    its option.
    """

    name = ADAPTER
    real = True
    contract = "the description in the settings"
    assurance: str
    repeatable: bool
    timeout_s: float
    #: Only where tokens are described.
    build_token_request: Callable[[str | None], HttpRequest]
    parse_token: Callable[[HttpResponse], AccessToken | None]

    def __init__(
        self, *, url: str, assurance: str, answers: Sequence[Mapping[str, Any]] | str, method: str = "POST",
        headers: Mapping[str, str] | str | None = None, query: Mapping[str, Any] | str | None = None,
        form: Mapping[str, Any] | str | None = None, json: Mapping[str, Any] | Sequence[Any] | str | None = None,
        fields: Mapping[str, Any] | str | None = None, secret: str = "", repeatable: bool | str = True,
        personal_data_in_url: bool | str = False, timeout_s: float | str = 5.0, token_url: str = "",
        client_id: str = "", client_secret: str = "", private_key: str = "", key_id: str = "", algorithm: str = "",
        audience: str = "", scope: str = "", secret_in: str = "", clock: Callable[[], float] = time.time,
    ) -> None:
        self._described = described = read_description(
            request={"url": url, "method": method, "headers": headers, "query": query, "form": form, "json": json},
            answers=answers, fields=fields, secret=secret, assurance=assurance, repeatable=repeatable,
            personal_data_in_url=personal_data_in_url, timeout_s=timeout_s, clock=clock,
            oauth={
                "token_url": token_url, "client_id": client_id, "client_secret": client_secret,
                "private_key": private_key, "key_id": key_id, "algorithm": algorithm, "audience": audience,
                "scope": scope, "secret_in": secret_in,
            },
        )
        self._clock = clock
        self.assurance, self.repeatable = described.assurance, described.repeatable
        self.timeout_s = described.timeout_s
        if described.credentials is not None:
            self.build_token_request = described.credentials.build_token_request
            self.parse_token = described.credentials.parse_token

    def converse(self, question: OwnershipQuestion, token: str = "") -> Conversation:
        """Ask about the ID number, and about the previous one where the first is not the subscriber's."""
        numbers = tuple(dict.fromkeys(question.id_numbers))
        if not numbers:
            return self._error("unfit")
        evidence = yield from self._ask(question, numbers[0], token)
        if evidence.outcome is not OwnershipOutcome.MISMATCH or len(numbers) == 1:
            return evidence
        previous = yield from self._ask(question, numbers[1], token)
        if previous.outcome is OwnershipOutcome.MATCH:
            return replace(previous, assurance=self._described.previous_assurance, note=PREVIOUS_ID_NUMBER)
        return previous if outweighs_mismatch(previous) else evidence

    # -- one request -------------------------------------------------------------------------------------------

    def _ask(self, question: OwnershipQuestion, id_number: str, token: str) -> Conversation:
        values = self._values(question, id_number, token)
        if self._described.credentials is not None and not token:
            return self._error("no_token")
        request = self._request(values)
        if request is None:
            return self._error("unfit")
        answer = yield request
        if isinstance(answer, NoAnswer):
            return self._error(answer.code)
        return self._read(answer, values)

    def _values(self, question: OwnershipQuestion, id_number: str, token: str) -> dict[str, str]:
        """Return what the placeholders stand for; without those that the question does not have."""
        full_name = (question.full_name or "").strip()
        birth_date = _date(question.birth_date)
        values = {
            "phone": question.phone_number,
            "phone_international": international(question.phone_number),
            "phone_national": national(question.phone_number),
            "id_number": id_number,
            "reference": question.reference,
            "secret": self._described.secret,
            "token": token,
        }
        sometimes = {
            "full_name": full_name,
            "full_name_unaccented": fold(full_name).upper(),
            "birth_date": birth_date.isoformat() if birth_date else "",
            "birth_date_vn": f"{birth_date:%d/%m/%Y}" if birth_date else "",
            "consent": question.consent or "",
        }
        return values | {name: value for name, value in sometimes.items() if value}

    def _request(self, values: Mapping[str, str]) -> HttpRequest | None:
        """Fill the description in; None for values that cannot be sent, or would be sent elsewhere."""
        try:
            request = self._described.request.fill(values)
        except (UnicodeEncodeError, orjson.JSONEncodeError):
            # Half a character (a lone surrogate): no text that anybody could have typed.
            return None
        if request is None or not all(value.isascii() and value.isprintable() for value in request.headers.values()):
            return None
        return request

    # -- reading an answer -------------------------------------------------------------------------------------

    def _read(self, response: HttpResponse, values: Mapping[str, str]) -> Evidence:
        answer = json_once(response.body)
        for rule in self._described.rules:
            if rule.fits(response, answer):
                return self._by_rule(rule, response, answer, values)
        said, note = _UNAVAILABLE if 500 <= response.status < 600 else _BY_STATUS.get(response.status, _UNKNOWN)
        return self._talk_failed(said, note, response)

    def _by_rule(
        self, rule: Rule, response: HttpResponse, answer: object, values: Mapping[str, str],
    ) -> Evidence:
        note = rule.note or _NOTES.get(rule.said)
        outcome = ABOUT_SIM.get(rule.said)
        if outcome is None:
            return self._talk_failed(rule.said, note, response)
        fields = {
            ComparedField.ID_NUMBER: outcome,
            **{
                field: described.read(answer) for field, described in self._described.fields.items()
                if self._described.sends(field, values)
            },
        }
        learnt = outcome is not OwnershipOutcome.NOT_AVAILABLE
        return Evidence(outcome, self.name, self.assurance if learnt else None, note, fields)

    def _talk_failed(self, said: Said, note: str | None, response: HttpResponse) -> Evidence:
        waits = said is Said.THROTTLED or response.status in {429, 503}
        return replace(
            self._error(note),
            retry_after_s=retry_after_s(response.headers, self._clock()) if waits else None,
            stale_token=said is Said.UNAUTHENTICATED and self._described.credentials is not None,
            provider_code=str(response.status),
        )

    def _error(self, note: str | None) -> Evidence:
        return Evidence(OwnershipOutcome.ERROR, self.name, note=note)


def _date(text: str | None) -> date | None:
    """Read an ISO date; None for what is none."""
    try:
        return date.fromisoformat(text or "")
    except ValueError:
        # What is no date is not sent: the ID number decides.
        return None
