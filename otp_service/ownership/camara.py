"""
CAMARA KYC Match and SIM Swap (GSMA Open Gateway): the operator itself says whether the ID number is the subscriber's.

::

    POST {token_url}                               see oauth2.py
    POST {api_root}/kyc-match/{kyc_match}/match    Authorization: Bearer <token>, x-correlator: <our reference>
         {"phoneNumber", "idDocument", "idDocumentType", "name", "birthdate"}    what the question has of them
    200  {"idDocumentMatch", "nameMatch", "birthdateMatch"}                      "true", "false" or "not_available"
    POST {api_root}/sim-swap/{sim_swap}/check      after a match, where the question asks for it
         {"phoneNumber", "maxAge"}                                               hours
    200  {"swapped": true or false}
    else {"status", "code", "message"}             see _REFUSALS

A second match request with the previous ID number follows where the first number is not the subscriber's.

Two codes come with 404.  ``IDENTIFIER_NOT_FOUND`` is about the number: this operator has no such subscriber, so
somebody else is asked.  ``NOT_FOUND`` is about what the URL names, and this URL names no subscriber: gateways answer
it for a wrong root or a version that was switched off.  Taken for "not a subscriber" such a mistake would refuse every
citizen while the source looked healthy; so it is an error, and so is a 404 without CAMARA's body.

Match scores are not read: a person's name agrees or does not, and how nearly is nobody's business here.

Sources: CAMARA KYC Match 0.4.0 and SIM Swap 2.1.0 (Commonalities 0.6); Security and Interoperability Profile.  The two
ID_DOCUMENT_… codes of 0.4 are gone from later versions; other versions are a matter of the options.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from secrets import token_hex
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
from otp_service.core.options import Options
from otp_service.core.ports import AccessToken, HttpRequest, HttpResponse, NoAnswer
from otp_service.core.reading import json_once
from otp_service.core.retry_after import retry_after_s
from otp_service.core.source_ports import Conversation
from otp_service.ownership.oauth2 import ClientCredentials

_ERROR: Final = OwnershipOutcome.ERROR
_MATCH: Final = OwnershipOutcome.MATCH
_MISMATCH: Final = OwnershipOutcome.MISMATCH
_NOT_AVAILABLE: Final = OwnershipOutcome.NOT_AVAILABLE

_UNREADABLE: Final = "answer_unreadable"
_UNAVAILABLE: Final = "unavailable"
_REFUSED: Final = "request_refused"
_DENIED: Final = "permission_denied"
_THROTTLED: Final = "throttled"
_UNAUTHENTICATED: Final = "unauthenticated"

#: What each documented refusal of either API means.  Where a status comes with another code, the status alone decides.
_REFUSALS: Final[Mapping[tuple[int, str], tuple[OwnershipOutcome, str | None]]] = {
    (400, "INVALID_ARGUMENT"): (_ERROR, _REFUSED),
    (400, "OUT_OF_RANGE"): (_ERROR, _REFUSED),
    (400, "KNOW_YOUR_CUSTOMER.INVALID_PARAM_COMBINATION"): (_ERROR, _REFUSED),
    (401, "UNAUTHENTICATED"): (_ERROR, _UNAUTHENTICATED),
    (403, "PERMISSION_DENIED"): (_ERROR, _DENIED),
    (403, "INVALID_TOKEN_CONTEXT"): (_ERROR, _DENIED),
    (403, "KNOW_YOUR_CUSTOMER.ID_DOCUMENT_REQUIRED"): (_ERROR, _REFUSED),
    (403, "KNOW_YOUR_CUSTOMER.ID_DOCUMENT_MISMATCH"): (_MISMATCH, None),
    (404, "NOT_FOUND"): (_ERROR, "not_found"),  # the path, see above
    (404, "IDENTIFIER_NOT_FOUND"): (_NOT_AVAILABLE, NOT_A_SUBSCRIBER),
    # The operator knows the number and does not serve it, or serves no such numbers: one that moved away, an MVNO's.
    (422, "SERVICE_NOT_APPLICABLE"): (_NOT_AVAILABLE, NOT_A_SUBSCRIBER),
    (422, "MISSING_IDENTIFIER"): (_ERROR, _REFUSED),
    (422, "UNNECESSARY_IDENTIFIER"): (_ERROR, _REFUSED),  # the token is a person's own, not ours
    (422, "UNSUPPORTED_IDENTIFIER"): (_ERROR, _REFUSED),
    (429, "QUOTA_EXCEEDED"): (_ERROR, _THROTTLED),
    (429, "TOO_MANY_REQUESTS"): (_ERROR, _THROTTLED),
}

#: What a status means by itself.
_BY_STATUS: Final = {401: _UNAUTHENTICATED, 403: _DENIED, 429: _THROTTLED}

_RESULTS: Final = {"true": _MATCH, "false": _MISMATCH, "not_available": _NOT_AVAILABLE}

#: The members of an answer, by the field that was asked about.
_MEMBERS: Final = {
    ComparedField.ID_NUMBER: "idDocumentMatch",
    ComparedField.FULL_NAME: "nameMatch",
    ComparedField.BIRTH_DATE: "birthdateMatch",
}

#: CAMARA's XCorrelator, less the empty one.
_CORRELATOR = re.compile(r"[a-zA-Z0-9\-_:;./<>{}]{1,256}")
_VERSION = re.compile(r"v[0-9a-z]{1,16}(\.[0-9a-z]{1,16})?")
_WHAT_VERSION: Final = "write the version as it stands in the address: v0.4, v2"
_DOCUMENT_TYPES: Final = (
    "passport", "national_id_card", "residence_permit", "diplomatic_id", "driver_licence", "social_security_id",
    "other",
)
_MATCH_SCOPE: Final = "kyc-match:match"
_SWAP_SCOPE: Final = "sim-swap:check"
_options = Options("camara")


class CamaraSource:
    """
    An operator's CAMARA APIs (see ``core/source_ports.py``, HttpSource and TokenFetcher).

    Args:
        api_root: what stands before ``/kyc-match`` and ``/sim-swap`` in the operator's addresses.
        kyc_match: version of KYC Match in the address.
        sim_swap: version of SIM Swap in the address; empty where the operator has none.
        token_url, client_id, client_secret, private_key, key_id, algorithm, audience, secret_in: see
            :class:`~otp_service.ownership.oauth2.ClientCredentials`.
        scope: what the token is asked for; by default the scopes of the APIs in use.  Operators that want a purpose
            have it stand here too: ``dpv:FraudPreventionAndDetection kyc-match:match``.
        id_document_type: what the ID number is said to be, one of CAMARA's; empty to say nothing.
        timeout_s: seconds for one request.
        clock: seconds since 1970.
        new_id: makes the ids of the client's assertions.

    Raises ConfigurationError for options that cannot be used.
    """

    name = "camara"
    assurance = "operator_match"
    real = True
    repeatable = True
    knows_swaps: bool
    contract = "CAMARA KYC Match 0.4.0, SIM Swap 2.1.0 (Commonalities 0.6); Security and Interoperability Profile"

    def __init__(
        self, *, api_root: str, token_url: str, client_id: str, client_secret: str = "", private_key: str = "",
        kyc_match: str = "v0.4", sim_swap: str = "v2", key_id: str = "", algorithm: str = "", audience: str = "",
        scope: str = "", secret_in: str = "header",  # noqa: S107 - a place, no secret
        id_document_type: str = "national_id_card", timeout_s: float | str = 5.0,
        clock: Callable[[], float] = time.time, new_id: Callable[[], str] = lambda: token_hex(16),
    ) -> None:
        root = _options.url("api_root", api_root)
        version = _options.matching("kyc_match", kyc_match, _VERSION, _WHAT_VERSION)
        self._match_url = f"{root}/kyc-match/{version}/match"
        self.knows_swaps = bool(sim_swap)
        self._swap_url = ""
        if sim_swap:
            self._swap_url = f"{root}/sim-swap/{_options.matching('sim_swap', sim_swap, _VERSION, _WHAT_VERSION)}/check"
        if id_document_type and id_document_type not in _DOCUMENT_TYPES:
            raise _options.wrong("id_document_type", f"write one of {', '.join(_DOCUMENT_TYPES)}, or nothing")
        self._document_type = id_document_type
        self._credentials = ClientCredentials(
            _options, token_url=token_url, client_id=client_id, client_secret=client_secret, private_key=private_key,
            key_id=key_id, algorithm=algorithm, audience=audience, secret_in=secret_in,
            scope=scope or (f"{_MATCH_SCOPE} {_SWAP_SCOPE}" if sim_swap else _MATCH_SCOPE), clock=clock, new_id=new_id,
        )
        self._clock = clock
        self.timeout_s = _options.seconds("timeout_s", timeout_s)

    def build_token_request(self, refresh: str | None) -> HttpRequest:
        """Ask for a token with the client's own credentials."""
        return self._credentials.build_token_request(refresh)

    def parse_token(self, response: HttpResponse) -> AccessToken | None:
        """Read the answer; None when there is no token in it.  Never raises."""
        return self._credentials.parse_token(response)

    def converse(self, question: OwnershipQuestion, token: str = "") -> Conversation:
        """
        Compare the current ID number, then the previous one where the current is not the subscriber's.

        After a match it asks for a change of the SIM, where the question wants that.  Where that decides and no answer
        comes, the evidence is ``ERROR``, and all is asked again later: a verdict must not depend on a timeout.
        """
        evidence = self._error("nothing_asked")
        levels = (self.assurance, f"{self.assurance}_previous_id")
        for number, level in zip(question.id_numbers, levels, strict=False):
            answer = yield self._post(self._match_url, self._match_body(question, number), question, token)
            found = self._compared(question, answer, level)
            if evidence.outcome is _MISMATCH and not outweighs_mismatch(found):
                break
            evidence = found
            if evidence.outcome is not _MISMATCH:
                break
        if evidence.outcome is not _MATCH or question.sim_swap_max_age_h is None or not self.knows_swaps:
            return evidence
        asked = {"phoneNumber": question.phone_number, "maxAge": question.sim_swap_max_age_h}
        answer = yield self._post(self._swap_url, asked, question, token)
        return self._with_swap(evidence, answer, decides=question.sim_swap_decides)

    # -- requests ----------------------------------------------------------------------------------------------

    def _match_body(self, question: OwnershipQuestion, number: str) -> dict[str, Any]:
        body = {"phoneNumber": question.phone_number, "idDocument": number}
        if self._document_type:
            body["idDocumentType"] = self._document_type
        if question.full_name:
            body["name"] = question.full_name
        if question.birth_date:
            body["birthdate"] = question.birth_date
        return body

    @staticmethod
    def _post(url: str, body: dict[str, Any], question: OwnershipQuestion, token: str) -> HttpRequest:
        headers = {
            "authorization": f"Bearer {token}", "content-type": "application/json", "accept": "application/json",
        }
        # A value beyond the pattern is answered 400.
        if _CORRELATOR.fullmatch(question.reference):
            headers["x-correlator"] = question.reference
        return HttpRequest("POST", url, headers, orjson.dumps(body))

    # -- answers -----------------------------------------------------------------------------------------------

    def _compared(self, question: OwnershipQuestion, answer: HttpResponse | NoAnswer, level: str) -> Evidence:
        """Read the answer to a match request; ``level`` is the assurance of a match."""
        if isinstance(answer, NoAnswer) or answer.status != 200:
            return self._not_compared(question, self._refusal(answer))
        said = _object(answer)
        if _MEMBERS[ComparedField.ID_NUMBER] not in said:
            return self._error("id_not_answered" if said else _UNREADABLE)
        fields = {}
        for one in _asked(question):
            result = _result(said, _MEMBERS[one])
            if result is None:
                return self._error(_UNREADABLE)
            fields[one] = result
        outcome = fields[ComparedField.ID_NUMBER]
        if outcome is _NOT_AVAILABLE:
            return Evidence(outcome, self.name, note="no_document", fields=fields)
        if outcome is _MATCH and level != self.assurance:
            return Evidence(outcome, self.name, level, "previous_id_number", fields)
        return Evidence(outcome, self.name, self.assurance, fields=fields)

    @staticmethod
    def _not_compared(question: OwnershipQuestion, refusal: Evidence) -> Evidence:
        """Return what a refusal says of each field: of all but the ID number, nothing."""
        if refusal.outcome is _ERROR:
            return refusal
        fields = dict.fromkeys(_asked(question), _NOT_AVAILABLE)
        return replace(refusal, fields={**fields, ComparedField.ID_NUMBER: refusal.outcome})

    def _with_swap(self, evidence: Evidence, answer: HttpResponse | NoAnswer, *, decides: bool) -> Evidence:
        """Add what was answered about a change of the SIM to a match."""
        if isinstance(answer, HttpResponse) and answer.status == 200:
            swapped = _object(answer).get("swapped")
            if isinstance(swapped, bool):
                return replace(evidence, sim_swapped=swapped)
        refusal = self._refusal(answer)
        if refusal.outcome is _NOT_AVAILABLE or not decides:
            return replace(evidence, note="sim_swap_not_known")
        failed = self._error("sim_swap_failed", refusal.retry_after_s, stale_token=refusal.stale_token)
        return replace(failed, provider_code=refusal.provider_code)

    def _refusal(self, answer: HttpResponse | NoAnswer) -> Evidence:
        """Return what it means that there is no answer, or one that is not 200."""
        if isinstance(answer, NoAnswer):
            return self._error(answer.code)
        outcome, note = _meaning(answer)
        if outcome is not _ERROR:
            return Evidence(outcome, self.name, self.assurance if outcome is _MISMATCH else None, note)
        wait = retry_after_s(answer.headers, self._clock()) if note in {_THROTTLED, _UNAVAILABLE} else None
        return replace(
            self._error(note, wait, stale_token=note == _UNAUTHENTICATED),
            provider_code=f"{answer.status} {_error_code(answer)}".strip(),
        )

    def _error(self, note: str | None, wait_s: float | None = None, *, stale_token: bool = False) -> Evidence:
        return Evidence(_ERROR, self.name, note=note, retry_after_s=wait_s, stale_token=stale_token)


def _object(response: HttpResponse) -> dict[str, Any]:
    """Return the JSON object of an answer; empty when there is none, or none that everybody reads alike."""
    found = json_once(response.body)
    return found if isinstance(found, dict) else {}


def _asked(question: OwnershipQuestion) -> list[ComparedField]:
    """Return the fields that a question wants compared."""
    asked = [ComparedField.ID_NUMBER]
    if question.full_name:
        asked.append(ComparedField.FULL_NAME)
    if question.birth_date:
        asked.append(ComparedField.BIRTH_DATE)
    return asked


def _result(said: dict[str, Any], member: str) -> OwnershipOutcome | None:
    """
    Return what a field came to; None for a value that is not in the specification.

    Its values are texts, and JSON's own true is none of them: who sends that speaks another language, in which other
    values may mean something else.  A member that is left out was not compared.
    """
    value = said.get(member, "not_available")
    return _RESULTS.get(value) if isinstance(value, str) else None


def _meaning(response: HttpResponse) -> tuple[OwnershipOutcome, str | None]:
    """Return what an answer that is not 200 means: by status and code where both are documented, else by status."""
    status, code = response.status, _error_code(response)
    if (status, code) in _REFUSALS:
        return _REFUSALS[status, code]
    if status in _BY_STATUS:
        return _ERROR, _BY_STATUS[status]
    if 500 <= status < 600:
        return _ERROR, _UNAVAILABLE
    return _ERROR, _REFUSED if 400 <= status < 500 and code else _UNREADABLE


def _error_code(response: HttpResponse) -> str:
    """Return the code of CAMARA's ErrorInfo; empty when the body is none, or is one of another status."""
    said = _object(response)
    code = said.get("code")
    whole = said.get("status") == response.status and isinstance(said.get("message"), str)
    return code if whole and isinstance(code, str) else ""
