"""CAMARA: the exact requests, what each answer and each documented refusal means, and that noise is never a match."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from otp_service.core.errors import ConfigurationError
from otp_service.core.evidence import (
    ASSURANCE_LEVELS,
    NOT_A_SUBSCRIBER,
    ComparedField,
    Evidence,
    OwnershipOutcome,
    OwnershipQuestion,
)
from otp_service.core.ports import AccessToken, HttpRequest, HttpResponse, NoAnswer, TokenFetcher
from otp_service.core.source_ports import HttpSource, OwnershipSource, SourceTraits, traits_of
from otp_service.ownership.camara import CamaraSource

NOW = 1_790_000_000
SECRET = "a-secret-that-is-artificial-0001"
TOKEN = "t0k3n"
CCCD = "052090000001"
CMND = "210000003"

QUESTION = OwnershipQuestion("+84900000001", (CCCD,), reference="5-k1-k3t3u3rmwygiymua4yg2vugqla")
NAMED = replace(QUESTION, full_name="NGUYỄN VĂN A", birth_date="1990-01-31")
WITH_PREVIOUS = replace(QUESTION, id_numbers=(CCCD, CMND))
WITH_SWAP = replace(QUESTION, sim_swap_max_age_h=240)

MATCH, MISMATCH, ERROR, NOT_AVAILABLE = (
    OwnershipOutcome.MATCH, OwnershipOutcome.MISMATCH, OwnershipOutcome.ERROR, OwnershipOutcome.NOT_AVAILABLE,
)
ID, NAME, BIRTH = ComparedField.ID_NUMBER, ComparedField.FULL_NAME, ComparedField.BIRTH_DATE

MATCH_URL = "https://api.operator.example/camara/kyc-match/v0.4/match"
SWAP_URL = "https://api.operator.example/camara/sim-swap/v2/check"
HEADERS = {
    "authorization": f"Bearer {TOKEN}", "content-type": "application/json", "accept": "application/json",
    "x-correlator": "5-k1-k3t3u3rmwygiymua4yg2vugqla",
}

#: Words for the log, all of them; what came instead of an answer keeps its own.
NOTES = {
    "answer_unreadable", "id_not_answered", "no_document", "not_a_subscriber", "not_found", "permission_denied",
    "previous_id_number", "request_refused", "sim_swap_failed", "sim_swap_not_known", "throttled", "unauthenticated",
    "unavailable",
}


def camara(**options: Any) -> CamaraSource:
    """Return a source with these options changed, whose clock stands still."""
    return CamaraSource(**{
        "api_root": "https://api.operator.example/camara", "token_url": "https://id.operator.example/token",
        "client_id": "portal", "client_secret": SECRET, "clock": lambda: NOW, "new_id": lambda: "jti-1", **options,
    })


def talk(
    question: OwnershipQuestion, *answers: HttpResponse | NoAnswer, source: CamaraSource | None = None,
) -> tuple[list[HttpRequest], Evidence]:
    """Hold a talk in which these are the answers, all of them; return what was asked and what was learnt."""
    conversation = (source or camara()).converse(question, TOKEN)
    left, asked = list(answers), []
    try:
        asked.append(next(conversation))
        while True:
            asked.append(conversation.send(left.pop(0)))
    except StopIteration as end:
        assert not left, f"{len(left)} answers were not asked for"
        return asked, end.value


def learnt(question: OwnershipQuestion, *answers: HttpResponse | NoAnswer, **options: Any) -> Evidence:
    """Return what a talk comes to."""
    return talk(question, *answers, source=camara(**options))[1]


def ok(**members: object) -> HttpResponse:
    """Return a 200."""
    return HttpResponse(200, {"content-type": "application/json"}, orjson.dumps(members))


def matched(value: object = "true", **members: object) -> HttpResponse:
    """Return a 200 of KYC Match."""
    return ok(idDocumentMatch=value, **members)


def refused(status: int, code: str, *, said_status: object = None, **headers: str) -> HttpResponse:
    """Return CAMARA's ErrorInfo."""
    body = {"status": said_status or status, "code": code, "message": "Không xử lý được"}
    return HttpResponse(status, headers, orjson.dumps(body))


def error(note: str, wait_s: float | None = None, *, stale_token: bool = False) -> Evidence:
    """Return the evidence of no answer."""
    return Evidence(ERROR, "camara", note=note, retry_after_s=wait_s, stale_token=stale_token)


# -- itself -----------------------------------------------------------------------------------------------------------


def test_what_it_says_of_itself() -> None:
    """It speaks HTTP with a token, reaches a real register, may be asked twice, and knows swaps where configured."""
    source = camara()

    assert isinstance(source, HttpSource)
    assert isinstance(source, TokenFetcher)
    assert not isinstance(source, OwnershipSource)
    assert ("camara", 5.0) == (source.name, source.timeout_s)
    assert source.assurance in ASSURANCE_LEVELS
    assert f"{source.assurance}_previous_id" in ASSURANCE_LEVELS
    assert SourceTraits(real=True, repeatable=True, knows_swaps=True, contract=source.contract) == traits_of(source)
    assert "KYC Match 0.4.0, SIM Swap 2.1.0" in source.contract
    assert not traits_of(camara(sim_swap="")).knows_swaps


@pytest.mark.parametrize(("scope", "options"), [
    ("kyc-match%3Amatch+sim-swap%3Acheck", {}),
    ("kyc-match%3Amatch", {"sim_swap": ""}),
    ("dpv%3AFraud+kyc-match%3Amatch", {"scope": "dpv:Fraud kyc-match:match"}),
])
def test_its_token_is_asked_for_what_is_used(scope: str, options: dict[str, str]) -> None:
    """The scopes are those of the APIs in use, unless they are told; the secret goes where it is told to."""
    assert (
        f"grant_type=client_credentials&scope={scope}&client_id=portal&client_secret={SECRET}".encode()
    ) == camara(secret_in="body", **options).build_token_request(None).body


def test_a_key_signs_its_token_requests() -> None:
    """With a private key there is an assertion in the form and no secret."""
    key = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    options = {"key_id": "k-1", "algorithm": "ES256", "audience": "https://id.operator.example"}
    request = camara(client_secret="", private_key=key, **options).build_token_request(None)

    assert b"&client_assertion=eyJ" in request.body
    assert "authorization" not in request.headers


def test_its_token_is_read() -> None:
    """A bearer token is one; what the provider refuses is none."""
    body = b'{"access_token":"t0k3n","token_type":"Bearer","expires_in":600}'

    assert AccessToken("t0k3n", 600) == camara().parse_token(HttpResponse(200, {}, body))
    assert None is camara().parse_token(HttpResponse(401, {}, b'{"error":"invalid_client"}'))


@pytest.mark.parametrize(("sentence", "options"), [
    ("api_root: write an address that begins with http:// or https:// without a query", {"api_root": "operator"}),
    ("kyc_match: write the version as it stands in the address: v0.4, v2", {"kyc_match": ""}),
    ("kyc_match: write the version as it stands in the address: v0.4, v2", {"kyc_match": "v0.4/../v1"}),
    ("kyc_match: write the version as it stands in the address: v0.4, v2", {"kyc_match": "0.4"}),
    ("sim_swap: write the version as it stands in the address: v0.4, v2", {"sim_swap": "2"}),
    ((
        "id_document_type: write one of passport, national_id_card, residence_permit, diplomatic_id, driver_licence, "
        "social_security_id, other, or nothing"
    ), {"id_document_type": "cccd"}),
    ("timeout_s: write seconds, more than 0 and at most 60", {"timeout_s": 0}),
    ("client_secret, private_key: write exactly one of the two", {"client_secret": ""}),
])
def test_an_option_of_no_use_is_refused(sentence: str, options: dict[str, Any]) -> None:
    """Each mistake has a sentence that names the option and says what to write."""
    with pytest.raises(ConfigurationError) as told:
        camara(**options)

    assert f"camara: {sentence}" == str(told.value)


# -- requests ---------------------------------------------------------------------------------------------------------


def test_the_match_request_of_an_id_number_alone() -> None:
    """Phone, document and its type: nothing else is told, and all of it in the body."""
    assert [HttpRequest(
        "POST", MATCH_URL, HEADERS,
        b'{"phoneNumber":"+84900000001","idDocument":"052090000001","idDocumentType":"national_id_card"}',
    )] == talk(QUESTION, matched())[0]


def test_the_match_request_with_name_and_birth_date() -> None:
    """Name and birth date go along where the question has them; the name in UTF-8 as the form has it."""
    assert [HttpRequest(
        "POST", MATCH_URL, HEADERS,
        '{"phoneNumber":"+84900000001","idDocument":"052090000001","idDocumentType":"national_id_card",'
        '"name":"NGUYỄN VĂN A","birthdate":"1990-01-31"}'.encode(),
    )] == talk(NAMED, matched())[0]


def test_the_request_about_a_change_of_the_sim() -> None:
    """After a match the operator is asked for a change within the hours of the question."""
    asked, _ = talk(WITH_SWAP, matched(), ok(swapped=False))

    assert MATCH_URL == asked[0].url
    assert [HttpRequest(
        "POST", SWAP_URL, HEADERS, b'{"phoneNumber":"+84900000001","maxAge":240}',
    )] == asked[1:]


def test_versions_and_document_type_are_options() -> None:
    """Later versions are a matter of the address; the type may be another or left out."""
    source = camara(
        api_root="http://127.0.0.1:9091/", kyc_match="v0.5rc1", sim_swap="v3", id_document_type="", timeout_s="2.5",
    )
    asked, _ = talk(WITH_SWAP, matched(), ok(swapped=False), source=source)

    assert [
        "http://127.0.0.1:9091/kyc-match/v0.5rc1/match", "http://127.0.0.1:9091/sim-swap/v3/check",
    ] == [request.url for request in asked]
    assert b'{"phoneNumber":"+84900000001","idDocument":"052090000001"}' == asked[0].body
    assert 2.5 == source.timeout_s
    other = talk(QUESTION, matched(), source=camara(id_document_type="other"))[0][0]
    assert b'"idDocumentType":"other"' in other.body


@pytest.mark.parametrize("reference", ["", "a b", "đ", "a\nb", "x" * 257, 'a"b', "a,b"])
def test_a_reference_that_does_not_fit_is_not_sent(reference: str) -> None:
    """A correlator beyond CAMARA's pattern would be answered 400: without one the question is answered."""
    asked, evidence = talk(replace(QUESTION, reference=reference), matched())

    assert "x-correlator" not in asked[0].headers
    assert MATCH is evidence.outcome


@pytest.mark.parametrize("reference", ["x", "x" * 256, "aZ09-_:;./<>{}"])
def test_a_reference_that_fits_is_sent(reference: str) -> None:
    """Every character of the pattern may be in it."""
    assert reference == talk(replace(QUESTION, reference=reference), matched())[0][0].headers["x-correlator"]


def test_nothing_personal_shows() -> None:
    """Neither requests nor source nor evidence show a person, a token or a secret when they are printed."""
    question = replace(NAMED, id_numbers=(CCCD, CMND), sim_swap_max_age_h=24)
    source = camara()
    asked, evidence = talk(question, matched("false"), matched(), ok(swapped=True), source=source)
    shown = repr([asked, evidence, source, source._credentials, question])

    assert 3 == len(asked)
    assert not [
        word for word in ("84900000001", CCCD, CMND, "VĂN", "1990-01-31", TOKEN, SECRET) if word in shown
    ]
    assert not [request for request in asked if request.url not in {MATCH_URL, SWAP_URL}]


# -- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("expected", "value"), [
    (Evidence(MATCH, "camara", "operator_match", fields={ID: MATCH}), "true"),
    (Evidence(MISMATCH, "camara", "operator_match", fields={ID: MISMATCH}), "false"),
    (Evidence(NOT_AVAILABLE, "camara", None, "no_document", {ID: NOT_AVAILABLE}), "not_available"),
])
def test_the_id_number_decides(expected: Evidence, value: object) -> None:
    """Each value of the specification has its outcome."""
    assert expected == learnt(QUESTION, matched(value))


@pytest.mark.parametrize(("name", "birth", "said"), [
    (MATCH, MATCH, {"nameMatch": "true", "birthdateMatch": "true"}),
    (MISMATCH, MATCH, {"nameMatch": "false", "nameMatchScore": 99, "birthdateMatch": "true"}),
    (MATCH, MISMATCH, {"nameMatch": "true", "birthdateMatch": "false"}),
    (NOT_AVAILABLE, NOT_AVAILABLE, {"nameMatch": "not_available", "birthdateMatch": "not_available"}),
    (NOT_AVAILABLE, MATCH, {"birthdateMatch": "true"}),
    (NOT_AVAILABLE, NOT_AVAILABLE, {"idDocumentTypeMatch": "false", "nameMatchScore": "?", "extra": {}}),
])
@pytest.mark.parametrize(("outcome", "value"), [
    (MATCH, "true"), (MISMATCH, "false"), (NOT_AVAILABLE, "not_available"),
])
def test_each_field_has_its_own_outcome(
    name: OwnershipOutcome, birth: OwnershipOutcome, said: dict[str, object], outcome: OwnershipOutcome, value: str,
) -> None:
    """Name and birth date are noted and change nothing of the outcome; scores and other members are not read."""
    evidence = learnt(NAMED, matched(value, **said))

    assert outcome is evidence.outcome
    assert {ID: outcome, NAME: name, BIRTH: birth} == evidence.fields


def test_what_was_not_asked_is_not_read() -> None:
    """An answer about a name that nobody asked about is no field of the evidence, whatever it holds."""
    assert {ID: MATCH} == learnt(QUESTION, matched("true", nameMatch="false", birthdateMatch=7)).fields


@pytest.mark.parametrize(("note", "body"), [
    ("answer_unreadable", b""), ("answer_unreadable", b"<html><body>true</body></html>"), ("answer_unreadable", b"[]"),
    ("answer_unreadable", b'"true"'), ("answer_unreadable", b"true"), ("answer_unreadable", b"{}"),
    ("answer_unreadable", b'{"idDocumentMatch":"true"'), ("answer_unreadable", b'{"idDocumentMatch":"TRUE"}'),
    ("answer_unreadable", b'{"idDocumentMatch":" true"}'), ("answer_unreadable", b'{"idDocumentMatch":"yes"}'),
    ("answer_unreadable", b'{"idDocumentMatch":1}'), ("answer_unreadable", b'{"idDocumentMatch":1.0}'),
    ("answer_unreadable", b'{"idDocumentMatch":0}'), ("answer_unreadable", b'{"idDocumentMatch":null}'),
    ("answer_unreadable", b'{"idDocumentMatch":["true"]}'), ("answer_unreadable", b'{"idDocumentMatch":{"true":1}}'),
    ("answer_unreadable", b'{"idDocumentMatch":true}'), ("answer_unreadable", b'{"idDocumentMatch":false}'),
    ("answer_unreadable", b'{"idDocumentMatch":"true","birthdateMatch":true}'),
    ("answer_unreadable", b'{"idDocumentMatch":"false","idDocumentMatch":"true"}'),
    ("answer_unreadable", b'{"idDocumentMatch":"true","idDocumentMatch":"true"}'),
    ("answer_unreadable", b'{"idDocumentMatch":""}'), ("answer_unreadable", b"\xff\xfe"),
    ("answer_unreadable", b'{"idDocumentMatch":"true","nameMatch":"maybe"}'),
    ("answer_unreadable", b'{"idDocumentMatch":"true","nameMatch":null}'),
    ("answer_unreadable", b'{"idDocumentMatch":"true","birthdateMatch":1}'),
    ("answer_unreadable", b'{"idDocumentMatch":"false","birthdateMatch":[]}'),
    ("id_not_answered", b'{"nameMatch":"true","birthdateMatch":"true"}'),
    ("id_not_answered", b'{"iddocumentmatch":"true"}'),
])
def test_a_200_that_cannot_be_read_is_no_answer(note: str, body: bytes) -> None:
    """
    What is not in the specification, not whole, or not about the ID number is an error.

    Invariant 8.
    """
    assert error(note) == learnt(NAMED, HttpResponse(200, {}, body))


# -- the previous ID number -------------------------------------------------------------------------------------------


def test_the_previous_number_matches() -> None:
    """Where the current number is not the subscriber's the previous one is asked about: a match of a weaker level."""
    asked, evidence = talk(
        replace(WITH_PREVIOUS, full_name="NGUYỄN VĂN A"), matched("false", nameMatch="true"),
        matched("true", nameMatch="true"),
    )

    assert Evidence(
        MATCH, "camara", "operator_match_previous_id", "previous_id_number", {ID: MATCH, NAME: MATCH},
    ) == evidence
    assert [HttpRequest(
        "POST", MATCH_URL, HEADERS,
        '{"phoneNumber":"+84900000001","idDocument":"210000003","idDocumentType":"national_id_card",'
        '"name":"NGUYỄN VĂN A"}'.encode(),
    )] == asked[1:]


def test_the_previous_number_is_asked_about_after_a_refused_mismatch_too() -> None:
    """Operators that check the document first answer 403: the previous number may be the one on record."""
    mismatch = refused(403, "KNOW_YOUR_CUSTOMER.ID_DOCUMENT_MISMATCH")

    assert "operator_match_previous_id" == learnt(WITH_PREVIOUS, mismatch, matched()).assurance
    assert Evidence(
        MISMATCH, "camara", "operator_match", fields={ID: MISMATCH},
    ) == learnt(WITH_PREVIOUS, mismatch, mismatch)


@pytest.mark.parametrize(("expected", "answer"), [
    (Evidence(MISMATCH, "camara", "operator_match", fields={ID: MISMATCH}), matched("false")),
    (Evidence(MISMATCH, "camara", "operator_match", fields={ID: MISMATCH}), matched("not_available")),
    (error("unavailable"), refused(503, "UNAVAILABLE")),
    (error("unauthenticated", stale_token=True), refused(401, "UNAUTHENTICATED")),
    (error("timeout"), NoAnswer("timeout")),
    # What the source refuses or garbles may be the made-up number's doing.
    (Evidence(MISMATCH, "camara", "operator_match", fields={ID: MISMATCH}), HttpResponse(200, {}, b"<html>")),
    (Evidence(MISMATCH, "camara", "operator_match", fields={ID: MISMATCH}), refused(400, "INVALID_ARGUMENT")),
])
def test_a_mismatch_stands_against_all_but_a_match_and_an_outage(
    expected: Evidence, answer: HttpResponse | NoAnswer,
) -> None:
    """A previous number that is not or cannot be compared leaves the mismatch; in an outage nobody knows yet."""
    assert expected == learnt(WITH_PREVIOUS, matched("false"), answer)


@pytest.mark.parametrize("answer", [matched(), matched("not_available"), refused(404, "IDENTIFIER_NOT_FOUND"),
                                    refused(500, "INTERNAL"), NoAnswer("timeout")])
def test_the_previous_number_is_told_only_where_the_current_differs(answer: HttpResponse | NoAnswer) -> None:
    """After any other answer there is no second request."""
    assert 1 == len(talk(WITH_PREVIOUS, answer)[0])


def test_no_more_than_two_numbers_are_asked_about() -> None:
    """A question holds the current and the previous number; without any there is no answer."""
    asked, _ = talk(replace(QUESTION, id_numbers=(CCCD, CMND, "210000000")), matched("false"), matched("false"))

    assert 2 == len(asked)
    assert ([], error("nothing_asked")) == talk(replace(QUESTION, id_numbers=()))


# -- a change of the SIM ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("swapped", [True, False])
def test_a_change_of_the_sim_is_part_of_the_evidence(swapped: bool) -> None:
    """The match stays one: what a change means is the purpose's to say."""
    assert Evidence(
        MATCH, "camara", "operator_match", fields={ID: MATCH}, sim_swapped=swapped,
    ) == learnt(WITH_SWAP, matched(), ok(swapped=swapped))


def test_a_change_is_asked_about_after_a_match_by_the_previous_number_too() -> None:
    """Level and note say which number matched."""
    question = replace(WITH_PREVIOUS, sim_swap_max_age_h=24)

    assert Evidence(
        MATCH, "camara", "operator_match_previous_id", "previous_id_number", {ID: MATCH}, sim_swapped=True,
    ) == learnt(question, matched("false"), matched(), ok(swapped=True))


@pytest.mark.parametrize("answer", [
    matched("false"), matched("not_available"), refused(404, "IDENTIFIER_NOT_FOUND"), refused(500, "INTERNAL"),
    NoAnswer("timeout"),
])
def test_a_change_is_not_asked_about_without_a_match(answer: HttpResponse | NoAnswer) -> None:
    """Nothing more is told to the operator than the verdict needs."""
    asked, evidence = talk(WITH_SWAP, answer)

    assert (1, None) == (len(asked), evidence.sim_swapped)


def test_a_change_is_not_asked_about_where_it_is_switched_off() -> None:
    """An operator without SIM Swap is not asked; the match says nothing of it."""
    asked, evidence = talk(WITH_SWAP, matched(), source=camara(sim_swap=""))

    assert 1 == len(asked)
    assert Evidence(MATCH, "camara", "operator_match", fields={ID: MATCH}) == evidence


@pytest.mark.parametrize("answer", [refused(404, "IDENTIFIER_NOT_FOUND"), refused(422, "SERVICE_NOT_APPLICABLE")])
def test_an_operator_that_does_not_know_changes_of_a_number_says_so(answer: HttpResponse) -> None:
    """The match stays, and it is not known whether the SIM was changed."""
    assert Evidence(
        MATCH, "camara", "operator_match", "sim_swap_not_known", {ID: MATCH},
    ) == learnt(WITH_SWAP, matched(), answer)
    assert Evidence(
        MATCH, "camara", "operator_match_previous_id", "sim_swap_not_known", {ID: MATCH},
    ) == learnt(replace(WITH_PREVIOUS, sim_swap_max_age_h=24), matched("false"), matched(), answer)


@pytest.mark.parametrize(("wait_s", "stale", "answer"), [
    (None, False, NoAnswer("timeout")), (None, False, NoAnswer("connection_lost", lost=True)),
    (None, False, ok()), (None, False, ok(swapped="false")), (None, False, ok(swapped=None)),
    (None, False, ok(swapped=0)), (None, False, HttpResponse(200, {}, b"<html>")),
    (None, False, HttpResponse(201, {}, b'{"swapped":false}')), (None, False, HttpResponse(302, {}, b"")),
    (None, False, refused(400, "INVALID_ARGUMENT")), (None, False, refused(400, "OUT_OF_RANGE")),
    (None, True, refused(401, "UNAUTHENTICATED")), (None, False, refused(403, "PERMISSION_DENIED")),
    (None, False, refused(403, "KNOW_YOUR_CUSTOMER.ID_DOCUMENT_MISMATCH")),
    (None, False, refused(404, "NOT_FOUND")), (None, False, HttpResponse(404, {}, b"<html>")),
    (None, False, refused(422, "MISSING_IDENTIFIER")), (None, False, refused(422, "UNNECESSARY_IDENTIFIER")),
    (7.0, False, refused(429, "QUOTA_EXCEEDED", **{"retry-after": "7"})),
    (30.0, False, refused(503, "UNAVAILABLE", **{"retry-after": "30"})), (None, False, refused(500, "INTERNAL")),
])
def test_a_change_that_could_not_be_asked_about_is_no_match(
    wait_s: float | None, stale: bool, answer: HttpResponse | NoAnswer,
) -> None:
    """
    The whole question is asked again later: a purpose that rejects changed SIMs must not be got round by an outage.

    Invariant 8.
    """
    deciding = replace(WITH_SWAP, sim_swap_decides=True)
    assert error("sim_swap_failed", wait_s, stale_token=stale) == learnt(deciding, matched(), answer)
    # Where it is only recorded, an outage of it costs nobody the verdict.
    assert Evidence(
        MATCH, "camara", "operator_match", "sim_swap_not_known", {ID: MATCH},
    ) == learnt(WITH_SWAP, matched(), answer)


# -- refusals ---------------------------------------------------------------------------------------------------------

#: What a code that is documented by KYC Match 0.4.0, SIM Swap 2.1.0 or the Commonalities means.
DOCUMENTED = [
    (400, "INVALID_ARGUMENT", ERROR, "request_refused"),
    (400, "OUT_OF_RANGE", ERROR, "request_refused"),
    (400, "KNOW_YOUR_CUSTOMER.INVALID_PARAM_COMBINATION", ERROR, "request_refused"),
    (401, "UNAUTHENTICATED", ERROR, "unauthenticated"),
    (403, "PERMISSION_DENIED", ERROR, "permission_denied"),
    (403, "INVALID_TOKEN_CONTEXT", ERROR, "permission_denied"),
    (403, "KNOW_YOUR_CUSTOMER.ID_DOCUMENT_REQUIRED", ERROR, "request_refused"),
    (403, "KNOW_YOUR_CUSTOMER.ID_DOCUMENT_MISMATCH", MISMATCH, None),
    (404, "NOT_FOUND", ERROR, "not_found"),
    (404, "IDENTIFIER_NOT_FOUND", NOT_AVAILABLE, NOT_A_SUBSCRIBER),
    (405, "METHOD_NOT_ALLOWED", ERROR, "request_refused"),
    (406, "NOT_ACCEPTABLE", ERROR, "request_refused"),
    (409, "ABORTED", ERROR, "request_refused"),
    (409, "CONFLICT", ERROR, "request_refused"),
    (410, "GONE", ERROR, "request_refused"),
    (415, "UNSUPPORTED_MEDIA_TYPE", ERROR, "request_refused"),
    (422, "SERVICE_NOT_APPLICABLE", NOT_AVAILABLE, NOT_A_SUBSCRIBER),
    (422, "MISSING_IDENTIFIER", ERROR, "request_refused"),
    (422, "UNNECESSARY_IDENTIFIER", ERROR, "request_refused"),
    (422, "UNSUPPORTED_IDENTIFIER", ERROR, "request_refused"),
    (429, "QUOTA_EXCEEDED", ERROR, "throttled"),
    (429, "TOO_MANY_REQUESTS", ERROR, "throttled"),
    (500, "INTERNAL", ERROR, "unavailable"),
    (501, "NOT_IMPLEMENTED", ERROR, "unavailable"),
    (502, "BAD_GATEWAY", ERROR, "unavailable"),
    (503, "UNAVAILABLE", ERROR, "unavailable"),
    (504, "TIMEOUT", ERROR, "unavailable"),
]


@pytest.mark.parametrize(("status", "code", "outcome", "note"), DOCUMENTED)
def test_each_documented_code(status: int, code: str, outcome: OwnershipOutcome, note: str | None) -> None:
    """Status and code together have one meaning; 401 alone asks for another token, and none is ever a match."""
    evidence = learnt(NAMED, refused(status, code))

    assert (outcome, note) == (evidence.outcome, evidence.note)
    assert (status == 401) is evidence.stale_token
    assert ("operator_match" if outcome is MISMATCH else None) == evidence.assurance
    assert (
        {} if outcome is ERROR else {ID: outcome, NAME: NOT_AVAILABLE, BIRTH: NOT_AVAILABLE}
    ) == evidence.fields
    assert None is evidence.retry_after_s


@pytest.mark.parametrize(("note", "answer"), [
    ("request_refused", refused(404, "INTERNAL")),
    ("request_refused", refused(400, "IDENTIFIER_NOT_FOUND")),
    ("request_refused", refused(422, "IDENTIFIER_NOT_FOUND")),
    ("request_refused", refused(400, "KNOW_YOUR_CUSTOMER.ID_DOCUMENT_MISMATCH")),
    ("request_refused", refused(404, "identifier_not_found")),
    ("request_refused", refused(418, "SOMETHING_NEW")),
    ("permission_denied", refused(403, "SOMETHING_NEW")),
    ("permission_denied", refused(403, "IDENTIFIER_NOT_FOUND")),
    ("throttled", refused(429, "IDENTIFIER_NOT_FOUND")),
    ("unavailable", refused(500, "IDENTIFIER_NOT_FOUND")),
    ("unavailable", refused(503, "KNOW_YOUR_CUSTOMER.ID_DOCUMENT_MISMATCH")),
    ("unavailable", refused(599, "SOMETHING_NEW")),
    ("answer_unreadable", refused(302, "IDENTIFIER_NOT_FOUND")),
])
def test_a_code_that_does_not_belong_to_its_status_does_not_count(note: str, answer: HttpResponse) -> None:
    """The status alone decides then, and never on anything but an error."""
    assert error(note) == learnt(QUESTION, answer)


@pytest.mark.parametrize("body", [
    b"", b"<html>404 Not Found</html>", b"[]", b"{}", b'{"code":"IDENTIFIER_NOT_FOUND"}',
    b'{"status":404,"code":"IDENTIFIER_NOT_FOUND"}', b'{"code":"IDENTIFIER_NOT_FOUND","message":"x"}',
    b'{"status":400,"code":"IDENTIFIER_NOT_FOUND","message":"x"}',
    b'{"status":"404","code":"IDENTIFIER_NOT_FOUND","message":"x"}',
    b'{"status":404,"code":["IDENTIFIER_NOT_FOUND"],"message":"x"}',
    b'{"status":404,"code":"IDENTIFIER_NOT_FOUND","message":null}',
    b'{"status":404,"code":"","message":"x"}',
    b'{"status":404,"code":"IDENTIFIER_NOT_FOUND","message":"x"',
])
def test_a_404_without_camaras_body_is_no_answer(body: bytes) -> None:
    """A proxy's page, a wrong root or a cut-off answer says nothing about a subscriber."""
    assert error("answer_unreadable") == learnt(QUESTION, HttpResponse(404, {}, body))


@pytest.mark.parametrize(("note", "status"), [
    ("answer_unreadable", 100), ("answer_unreadable", 201), ("answer_unreadable", 202), ("answer_unreadable", 204),
    ("answer_unreadable", 206), ("answer_unreadable", 301), ("answer_unreadable", 302), ("answer_unreadable", 307),
    ("answer_unreadable", 400), ("answer_unreadable", 422), ("permission_denied", 403), ("throttled", 429),
    ("unavailable", 500), ("unavailable", 502), ("unavailable", 504), ("answer_unreadable", 600),
])
def test_a_status_without_camaras_body(note: str, status: int) -> None:
    """The status says what it can; a match in the body of anything but 200 does not count."""
    assert error(note) == learnt(QUESTION, HttpResponse(status, {}, b'{"idDocumentMatch":"true"}'))


def test_401_asks_for_another_token_whatever_its_body() -> None:
    """Gateways before the API answer 401 with pages of their own."""
    assert error("unauthenticated", stale_token=True) == learnt(QUESTION, HttpResponse(401, {}, b"<html>"))


@pytest.mark.parametrize(("wait_s", "status", "said"), [
    (7.0, 429, "7"), (3600.0, 429, "86400"), (None, 429, "soon"), (30.0, 503, "30"), (30.0, 500, "30"),
    (10.0, 429, "Mon, 21 Sep 2026 14:13:30 GMT"), (None, 400, "7"), (None, 401, "7"), (None, 403, "7"),
])
def test_retry_after_is_kept_where_asking_later_helps(wait_s: float | None, status: int, said: str) -> None:
    """Throttled and unavailable sources are left alone for as long as they say, an hour at most."""
    assert wait_s == learnt(QUESTION, refused(status, "X", **{"retry-after": said})).retry_after_s


@pytest.mark.parametrize("code", ["timeout", "connection_lost", "connection_refused", "name_not_found", "tls_failed"])
def test_no_answer_is_an_error_with_its_own_word(code: str) -> None:
    """Silence is never a match, and the log says what kind of silence."""
    assert error(code) == learnt(WITH_SWAP, NoAnswer(code))


# -- noise ------------------------------------------------------------------------------------------------------------

_RESULT = st.sampled_from(["true", "false", "not_available", True, False, None, 1, 0, "TRUE", [], {}])
_CODE = st.sampled_from([code for _, code, _, _ in DOCUMENTED]) | st.text(max_size=10)
_BODY = st.binary(max_size=100) | st.one_of(
    st.fixed_dictionaries({}, optional={
        "idDocumentMatch": _RESULT, "nameMatch": _RESULT, "birthdateMatch": _RESULT, "swapped": _RESULT,
    }),
    st.fixed_dictionaries({"status": st.integers(100, 599), "code": _CODE, "message": st.text(max_size=5)}),
    st.lists(_RESULT),
).map(orjson.dumps)
_STATUS = st.just(200) | st.sampled_from([400, 401, 403, 404, 422, 429, 503]) | st.integers(100, 999)
_HEADERS = st.dictionaries(st.sampled_from(["retry-after", "date", "content-type"]), st.text(max_size=40))
_ANSWER = st.builds(HttpResponse, _STATUS, _HEADERS, _BODY) | st.builds(NoAnswer, st.just("timeout"))


@st.composite
def _error_info(draw: st.DrawFn) -> HttpResponse:
    """Return an answer whose body agrees with its status."""
    status = draw(_STATUS)
    return HttpResponse(status, {}, orjson.dumps({"status": status, "code": draw(_CODE), "message": ""}))


@given(st.lists(_ANSWER | _error_info(), min_size=3, max_size=3), st.booleans(), st.booleans(), st.booleans())
def test_noise_is_never_a_match(
    answers: list[HttpResponse | NoAnswer], previous: bool, named: bool, swap: bool,
) -> None:
    """
    Whatever is answered nothing raises, the talk ends, and a match has a 200 that says so of the ID number.

    Invariant 8.
    """
    question = replace(
        NAMED if named else QUESTION, id_numbers=(CCCD, CMND) if previous else (CCCD,),
        sim_swap_max_age_h=240 if swap else None,
    )
    conversation = camara().converse(question, TOKEN)
    given_answers: list[tuple[HttpRequest, HttpResponse | NoAnswer]] = []
    try:
        request = next(conversation)
        for answer in answers:
            given_answers.append((request, answer))
            request = conversation.send(answer)
        raise AssertionError("a fourth request")
    except StopIteration as end:
        evidence = end.value

    assert evidence.note is None or evidence.note in NOTES | {"timeout"}
    assert evidence.outcome is MATCH or evidence.sim_swapped is None
    if evidence.outcome is MATCH:
        last = [answer for request, answer in given_answers if request.url == MATCH_URL][-1]
        assert isinstance(last, HttpResponse)
        assert (200, "true") == (last.status, orjson.loads(last.body)["idDocumentMatch"])
        assert MATCH is evidence.fields[ID]
    if evidence.outcome is ERROR:
        assert ({}, None) == (evidence.fields, evidence.assurance)
