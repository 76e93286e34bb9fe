"""The source described in the settings: what it sends, how it reads answers, and every mistake told at once."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from textwrap import dedent
from typing import Any
from urllib.parse import parse_qs

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otp_service.core.errors import ConfigurationError
from otp_service.core.evidence import (
    ASSURANCE_LEVELS,
    ComparedField,
    Evidence,
    OwnershipOutcome,
    OwnershipQuestion,
)
from otp_service.core.ports import HttpRequest, HttpResponse, NoAnswer, TokenFetcher
from otp_service.core.source_ports import HttpSource, SourceTraits, traits_of
from otp_service.ownership import http_match
from otp_service.ownership.http_match import HttpMatchSource

MATCH, MISMATCH = OwnershipOutcome.MATCH, OwnershipOutcome.MISMATCH
NOT_AVAILABLE, ERROR = OwnershipOutcome.NOT_AVAILABLE, OwnershipOutcome.ERROR
ID, NAME, BIRTH = ComparedField.ID_NUMBER, ComparedField.FULL_NAME, ComparedField.BIRTH_DATE

SECRET = "s3cret-key"
TOKEN = "t0ken"
CCCD = "052090000001"
CMND = "210000003"
#: 2026-01-31 12:00:00 UTC.
NOW_S = 1_769_860_800.0

QUESTION = OwnershipQuestion(
    "+84900000001", (CCCD,), full_name="Nguyễn Văn Ả", birth_date="1990-01-31", reference="5-k1-abc",
    purpose="registration", consent="2026-01",
)
BARE = OwnershipQuestion("+84900000001", (CCCD,), reference="5-k1-abc")

MATCHES: dict[str, Any] = {"status": 200, "path": "match", "value": True, "outcome": "match"}
DIFFERS: dict[str, Any] = {"status": 200, "path": "match", "value": False, "outcome": "mismatch"}

#: The least that is a description.
LEAST: dict[str, Any] = {
    "url": "https://api.example.vn/match", "assurance": "operator_match",
    "json": {"id": "{id_number}", "phone": "{phone}"}, "answers": [MATCHES, DIFFERS],
}
NAMED: dict[str, Any] = {
    "json": {"id": "{id_number}", "phone": "{phone}", "name": "{full_name}", "dob": "{birth_date}"},
    "fields": {
        "full_name": {"path": "name", "match": True, "mismatch": [False, "no"]},
        "birth_date": {"path": "dob.0", "match": ["true", 1], "mismatch": "false"},
    },
}
OAUTH: dict[str, Any] = {
    "headers": {"authorization": "Bearer {token}"}, "token_url": "https://login.example.vn/token",
    "client_id": "portal", "client_secret": SECRET, "scope": "match",
}


def example_options() -> dict[str, Any]:
    """Return the example of the module's documentation, as it stands there."""
    block = re.search(r"::\n\n(.*?)\n\n(?=\S)", http_match.__doc__ or "", re.DOTALL)
    assert block is not None
    options = tomllib.loads(dedent(block[1]))["sources"]["telco"]["options"]
    return {**options, "secret": SECRET}


def least(**options: Any) -> HttpMatchSource:
    """Return the least source, with these options changed."""
    return HttpMatchSource(**{**LEAST, **options}, clock=lambda: NOW_S)


def sent(source: HttpMatchSource, question: OwnershipQuestion = QUESTION, token: str = "") -> HttpRequest:
    """Return the first request of a talk."""
    return next(source.converse(question, token))


def told(
    source: HttpMatchSource, *answers: HttpResponse | NoAnswer, question: OwnershipQuestion = QUESTION, token: str = "",
) -> Evidence:
    """Return the evidence of a talk in which these answers come, no more and no fewer."""
    talk, waiting = source.converse(question, token), list(answers)
    try:
        next(talk)
        while True:
            talk.send(waiting.pop(0))
    except StopIteration as end:
        evidence: Evidence = end.value
    assert [] == waiting
    return evidence


def answer(body: object, status: int = 200, **headers: str) -> HttpResponse:
    """Return an answer; underscores in a header's name are hyphens."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return HttpResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


class TestExample:
    def test_the_request_is_what_the_description_says(self) -> None:
        """Every datum stands where the example puts it, in the form it names."""
        assert HttpRequest(
            "POST", "https://api.example.vn/telco/v1/match",
            {
                "api-key": "s3cret-key", "x-request-id": "5-k1-abc", "content-type": "application/json",
                "accept": "application/json",
            },
            b'{"id":"052090000001","phone":"0900000001","name":"NGUYEN VAN A","dob":"31/01/1990",'
            b'"consent":{"version":"2026-01"}}',
        ) == sent(HttpMatchSource(**example_options()))

    def test_what_the_question_lacks_is_left_out(self) -> None:
        """Without name, date and consent their members are not there."""
        assert b'{"id":"052090000001","phone":"0900000001","consent":{}}' == (
            sent(HttpMatchSource(**example_options()), BARE).body
        )

    @pytest.mark.parametrize(("status", "body", "outcome", "note"), [
        (200, {"errorCode": 0, "data": {"is_match": True, "name_match": "false"}}, MATCH, None),
        (200, {"errorCode": 0, "data": {"is_match": 0}}, MISMATCH, None),
        (404, {"errorCode": 7}, NOT_AVAILABLE, "not_a_subscriber"),
        (200, {"errorCode": "9"}, NOT_AVAILABLE, "no_document"),
        (200, {"errorCode": 3}, ERROR, "answer_unknown"),
    ])
    def test_each_answer(self, status: int, body: object, outcome: OwnershipOutcome, note: str | None) -> None:
        """Each rule of the example reads its answer."""
        evidence = told(HttpMatchSource(**example_options()), answer(body, status))

        assert (outcome, note) == (evidence.outcome, evidence.note)

    def test_its_fields(self) -> None:
        """Name and birth date are read beside the ID number."""
        evidence = told(HttpMatchSource(**example_options()), answer({"data": {"is_match": 1, "name_match": "false"}}))

        assert {ID: MATCH, NAME: MISMATCH, BIRTH: NOT_AVAILABLE} == evidence.fields


class TestRequest:
    def test_a_form(self) -> None:
        """A form is escaped, and what the question lacks is left out."""
        source = least(json=None, form={
            "id": "{id_number}", "phone": "{phone}", "name": "{full_name}", "dob": "x {birth_date_vn}", "v": 2,
        })

        assert "application/x-www-form-urlencoded" == sent(source).headers["content-type"]
        assert (
            b"id=052090000001&phone=%2B84900000001&name=Nguy%E1%BB%85n+V%C4%83n+%E1%BA%A2&dob=x+31%2F01%2F1990&v=2"
            == sent(source).body
        )
        assert b"id=052090000001&phone=%2B84900000001&v=2" == sent(source, BARE).body

    def test_a_query(self) -> None:
        """GET: everything stands in the URL, which needs the word of the description for it."""
        source = least(
            method="get", json=None, personal_data_in_url=True, url="https://api.example.vn/{phone_international}?v=1",
            query={"id": "{id_number}", "name": "{full_name}", "c": "{consent}", "r": "{reference}"},
        )

        assert HttpRequest(
            "GET",
            "https://api.example.vn/84900000001?v=1&id=052090000001&name=Nguy%E1%BB%85n%20V%C4%83n%20%E1%BA%A2"
            "&c=2026-01&r=5-k1-abc",
            {"accept": "application/json"},
        ) == sent(source)
        assert "https://api.example.vn/84900000001?v=1&id=052090000001&r=5-k1-abc" == sent(source, BARE).url

    def test_a_query_of_what_nobody_has(self) -> None:
        """A query whose members are all left out leaves no question mark."""
        source = least(query={"c": "{consent}"})

        assert "https://api.example.vn/match?c=2026-01" == sent(source).url
        assert "https://api.example.vn/match" == sent(source, BARE).url

    def test_every_placeholder(self) -> None:
        """Each stands for its datum, in JSON always as text; PUT is a method too."""
        names = (
            "phone", "phone_international", "phone_national", "id_number", "reference", "secret", "full_name",
            "full_name_unaccented", "birth_date", "birth_date_vn", "consent",
        )
        source = least(method="PUT", secret=SECRET, json=[{name: f"{{{name}}}"} for name in names])

        assert "PUT" == sent(source).method
        assert [
            {"phone": "+84900000001"}, {"phone_international": "84900000001"}, {"phone_national": "0900000001"},
            {"id_number": CCCD}, {"reference": "5-k1-abc"}, {"secret": SECRET}, {"full_name": "Nguyễn Văn Ả"},
            {"full_name_unaccented": "NGUYEN VAN A"}, {"birth_date": "1990-01-31"}, {"birth_date_vn": "31/01/1990"},
            {"consent": "2026-01"},
        ] == orjson.loads(sent(source).body)

    @pytest.mark.parametrize("name", [
        'A "quoted" \\ name', "{id_number}", "{{secret}}", "a&b=c+d%41", "Đỗ Thị Ánh", "A\u0301nh", "李", "a\r\nx: y",
    ])
    def test_what_is_filled_in_is_data(self, name: str) -> None:
        """A name stays the name that was typed, in JSON, form and query; nothing in it is filled in again."""
        question = replace(QUESTION, full_name=name)
        body = {"id": "{id_number}", "phone": "{phone}", "n": "<{full_name}>"}

        assert f"<{name}>" == orjson.loads(sent(least(json=body), question).body)["n"]
        for source in (
            least(json=None, form=body), least(query={"n": "<{full_name}>"}, personal_data_in_url=True),
        ):
            request = sent(source, question)
            raw = request.body.decode() if source._described.request.form else request.url.partition("?")[2]
            assert {"n": [f"<{name}>"]}.items() <= parse_qs(raw, strict_parsing=True).items()

    @pytest.mark.parametrize("birth_date", ["", "31/01/1990", "1990-02-30", "1990", "x"])
    def test_a_date_that_is_none_is_left_out(self, birth_date: str) -> None:
        """What cannot be written as the provider wants it is not sent, and not compared."""
        source, question = least(**NAMED), replace(QUESTION, birth_date=birth_date, full_name=" ")

        assert {"id": CCCD, "phone": "+84900000001"} == orjson.loads(sent(source, question).body)
        assert {ID: MATCH} == told(source, answer({"match": True, "name": True}), question=question).fields

    def test_a_name_without_letters_is_left_out(self) -> None:
        """What comes to nothing without its accents is not sent in that form, and not compared."""
        json = {**LEAST["json"], "name": "{full_name_unaccented}"}
        source, question = least(json=json, fields={"full_name": FIELD}), replace(QUESTION, full_name="\u2014")

        assert {"id": CCCD, "phone": "+84900000001"} == orjson.loads(sent(source, question).body)
        assert {ID: MATCH} == told(source, answer({"match": True, "name": True}), question=question).fields

    @pytest.mark.parametrize("change", [
        {"id_numbers": ()}, {"id_numbers": ("\ud800",)}, {"full_name": "\ud800"}, {"reference": "a\r\nx: y"},
        {"reference": "é"}, {"id_numbers": ("..",)},
    ])
    def test_what_cannot_be_sent_is_an_error(self, change: dict[str, Any]) -> None:
        """A question that would be another question, or none, is not asked."""
        source = least(
            url="https://api.example.vn/{id_number}", personal_data_in_url=True, headers={"x-id": "{reference}"},
            **{**NAMED, "fields": None},
        )

        assert Evidence(ERROR, "http_match", note="unfit") == told(source, question=replace(QUESTION, **change))

    def test_a_retry_is_the_same_request(self) -> None:
        """The same question is the same bytes."""
        source = HttpMatchSource(**example_options())

        assert sent(source) == sent(source)


class TestAnswer:
    def test_match_and_mismatch(self) -> None:
        """What the rules say, with the described level."""
        source = least(assurance="subscriber_table")

        assert Evidence(MATCH, "http_match", "subscriber_table", None, {ID: MATCH}) == (
            told(source, answer({"match": True}))
        )
        assert Evidence(MISMATCH, "http_match", "subscriber_table", None, {ID: MISMATCH}) == (
            told(source, answer({"match": "false"}))
        )

    def test_the_first_rule_that_fits_counts(self) -> None:
        """A later rule takes what earlier ones left."""
        source = least(answers=[
            {"status": 200, "path": "expired", "value": True, "outcome": "not_available", "note": "expired"}, MATCHES,
        ])

        assert (NOT_AVAILABLE, "expired") == noted(told(source, answer({"match": True, "expired": True})))
        assert (MATCH, None) == noted(told(source, answer({"match": True, "expired": False})))

    @pytest.mark.parametrize(("outcome", "evidence"), [
        ("not_available", Evidence(NOT_AVAILABLE, "http_match", fields={ID: NOT_AVAILABLE})),
        ("not_a_subscriber", Evidence(
            NOT_AVAILABLE, "http_match", note="not_a_subscriber", fields={ID: NOT_AVAILABLE},
        )),
        ("throttled", Evidence(ERROR, "http_match", note="throttled", retry_after_s=7.0)),
        ("unauthenticated", Evidence(ERROR, "http_match", note="unauthenticated")),
        ("error", Evidence(ERROR, "http_match", note="request_refused")),
    ])
    @pytest.mark.parametrize("rule", [{"status": 400}, {"status": "4xx", "path": "code", "value": 5}], ids=str)
    def test_every_other_outcome(self, outcome: str, evidence: Evidence, rule: dict[str, Any]) -> None:
        """Each outcome is what the core knows it as."""
        source = least(answers=[MATCHES, {**rule, "outcome": outcome}])

        assert evidence == told(source, answer({"code": 5}, 400, retry_after="7"))

    @pytest.mark.parametrize("outcome", ["match", "mismatch", "not_available", "throttled", "unauthenticated", "error"])
    def test_a_rule_has_a_note_of_its_own(self, outcome: str) -> None:
        """The description's word goes to the log."""
        source = least(answers=[MATCHES, {**MATCHES, "value": 2, "outcome": outcome, "note": "word_2"}])

        assert "word_2" == told(source, answer({"match": 2})).note

    @pytest.mark.parametrize("outcome", ["not_available", "not_a_subscriber"])
    def test_a_page_says_nothing_of_a_sim(self, outcome: str) -> None:
        """A rule by the status alone reads JSON and silence, not the page that a proxy made."""
        source = least(answers=[MATCHES, {"status": 404, "outcome": outcome}])

        for body in (b"", b" \n", b"{}", b"[]"):
            assert NOT_AVAILABLE is told(source, answer(body, 404)).outcome
        for body in (b"<html>", b'{"match"', b"\xff", b'{"a": 1, "a": 2}'):
            assert (ERROR, "answer_unknown") == noted(told(source, answer(body, 404)))

    @pytest.mark.parametrize(("status", "note"), [
        (200, "answer_unknown"), (204, "answer_unknown"), (301, "answer_unknown"), (302, "answer_unknown"),
        (400, "answer_unknown"), (401, "unauthenticated"), (403, "permission_denied"), (404, "answer_unknown"),
        (429, "throttled"), (500, "unavailable"), (503, "unavailable"), (599, "unavailable"), (600, "answer_unknown"),
    ])
    def test_what_no_rule_takes_counts_by_its_status(self, status: int, note: str) -> None:
        """Garbage, redirects and what is not described are errors; so is a match that came with another status."""
        for body in (b"", b"<html>", b"[]", b"[" * 5000, b'{"match": 1', b'{"match": "maybe"}', b"\xff"):
            assert Evidence(ERROR, "http_match", note=note) == told(least(), answer(body, status))
        if status != 200:
            assert Evidence(ERROR, "http_match", note=note) == told(least(), answer({"match": True}, status))

    @pytest.mark.parametrize(("said", "waits"), [
        ("5", 5.0), ("Sat, 31 Jan 2026 12:00:30 GMT", 30.0), ("99999", 3600.0), ("soon", None), ("-1", None),
    ])
    @pytest.mark.parametrize("status", [429, 503])
    def test_a_source_may_want_to_be_left_alone(self, status: int, said: str, waits: float | None) -> None:
        """Retry-After is read as seconds or a date, with a bound."""
        assert waits == told(least(), answer(b"", status, retry_after=said)).retry_after_s

    def test_other_errors_want_nothing(self) -> None:
        """Retry-After counts only where the source says that it is too much for it."""
        assert told(least(), answer(b"", 500, retry_after="5")).retry_after_s is None

    @pytest.mark.parametrize("code", ["timeout", "connection_refused"])
    def test_no_answer_is_an_error(self, code: str) -> None:
        """What came instead of an answer is told by its code."""
        assert Evidence(ERROR, "http_match", note=code) == told(least(), NoAnswer(code, maybe_taken=True))


def noted(evidence: Evidence) -> tuple[OwnershipOutcome, str | None]:
    """Return outcome and note."""
    return evidence.outcome, evidence.note


class TestFields:
    @pytest.mark.parametrize(("name", "read"), [
        (True, MATCH), ("true", MATCH), (False, MISMATCH), ("no", MISMATCH), ("not_available", NOT_AVAILABLE),
        (None, NOT_AVAILABLE), ([True], NOT_AVAILABLE), ("True", NOT_AVAILABLE), (1, NOT_AVAILABLE),
    ])
    def test_a_name_is_read_by_its_values(self, name: object, read: OwnershipOutcome) -> None:
        """Only what is described agrees or differs; the ID number alone decides the outcome."""
        evidence = told(least(**NAMED), answer({"match": True, "name": name, "dob": [1]}))

        assert MATCH is evidence.outcome
        assert {ID: MATCH, NAME: read, BIRTH: MATCH} == evidence.fields

    def test_what_was_not_asked_is_not_there(self) -> None:
        """A question without a name learns nothing of names, whatever the answer says."""
        question = replace(QUESTION, full_name=None)

        assert {ID: MISMATCH, BIRTH: MISMATCH} == (
            told(least(**NAMED), answer({"match": False, "name": True, "dob": ["false"]}), question=question).fields
        )

    def test_fields_beside_no_answer(self) -> None:
        """Where the ID number could not be compared, the others may have been; an error compares nothing."""
        source = least(**NAMED, answers=[MATCHES, {**MATCHES, "value": 0, "outcome": "not_available"}])

        assert {ID: NOT_AVAILABLE, NAME: MATCH, BIRTH: NOT_AVAILABLE} == (
            told(source, answer({"match": 0, "name": True})).fields
        )
        assert {} == told(source, answer({"match": 3, "name": True})).fields


class TestPreviousNumber:
    QUESTION = replace(QUESTION, id_numbers=(CCCD, CMND))

    def test_it_is_asked_about_after_a_mismatch(self) -> None:
        """The second request differs by the number alone, also where a question is not to be repeated."""
        talk = least(repeatable=False).converse(self.QUESTION)
        first, second = next(talk), talk.send(answer({"match": False}))

        assert b'{"id":"052090000001","phone":"+84900000001"}' == first.body
        assert b'{"id":"210000003","phone":"+84900000001"}' == second.body
        assert replace(first, body=b"") == replace(second, body=b"")

    @pytest.mark.parametrize(("level", "previous"), [
        ("operator_match", "operator_match_previous_id"), ("subscriber_table", "subscriber_table_previous_id"),
        ("attested_reply", "attested_reply"), ("attested_reply_indirect", "attested_reply_indirect"),
    ])
    def test_its_match_is_weaker(self, level: str, previous: str) -> None:
        """A match by the previous number says so, at the level that stands for it."""
        answers = [{**MATCHES, "note": "word"}, DIFFERS]
        evidence = told(
            least(**NAMED, assurance=level, answers=answers), answer({"match": False, "name": False}),
            answer({"match": True, "name": True}), question=self.QUESTION,
        )

        assert previous in ASSURANCE_LEVELS
        assert Evidence(
            MATCH, "http_match", previous, "previous_id_number", {ID: MATCH, NAME: MATCH, BIRTH: NOT_AVAILABLE},
        ) == evidence

    @pytest.mark.parametrize("first", [{"match": True}, {"match": 5}, {"nobody": 1}])
    def test_it_is_not_asked_about_otherwise(self, first: object) -> None:
        """After a match nothing is left to ask; where nothing was compared, a second number helps nobody."""
        answers = [*LEAST["answers"], {"status": 200, "path": "nobody", "outcome": "not_a_subscriber"}]

        told(least(answers=answers), answer(first), question=self.QUESTION)

    def test_the_same_number_is_not_asked_about_twice(self) -> None:
        """A previous number that is the current one is no other question."""
        question = replace(QUESTION, id_numbers=(CCCD, CCCD))

        assert MISMATCH is told(least(), answer({"match": False}), question=question).outcome

    @pytest.mark.parametrize("second", [{"match": False}, {"nobody": 1}])
    def test_a_mismatch_stands(self, second: object) -> None:
        """A made-up previous number makes nothing milder of a mismatch."""
        answers = [*LEAST["answers"], {"status": 200, "path": "nobody", "outcome": "not_a_subscriber"}]

        assert Evidence(MISMATCH, "http_match", "operator_match", None, {ID: MISMATCH}) == told(
            least(answers=answers), answer({"match": False}), answer(second), question=self.QUESTION,
        )

    @pytest.mark.parametrize(("second", "note"), [(NoAnswer("timeout"), "timeout"), (answer(b"", 500), "unavailable")])
    def test_a_second_answer_that_was_lost_decides_nothing(self, second: HttpResponse | NoAnswer, note: str) -> None:
        """It may have been a match: an error is asked again, a wrong mismatch would be final."""
        assert (ERROR, note) == noted(told(least(), answer({"match": False}), second, question=self.QUESTION))


class TestToken:
    def test_it_is_sent_and_fetched(self) -> None:
        """A described token goes into a header, and the source says how one is got."""
        source = least(**OAUTH)

        assert isinstance(source, TokenFetcher)
        assert "Bearer t0ken" == sent(source, token=TOKEN).headers["authorization"]
        assert HttpRequest(
            "POST", "https://login.example.vn/token",
            {
                "content-type": "application/x-www-form-urlencoded", "accept": "application/json",
                "authorization": "Basic cG9ydGFsOnMzY3JldC1rZXk=",
            },
            b"grant_type=client_credentials&scope=match",
        ) == source.build_token_request(None)
        token = source.parse_token(answer({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 60}))
        assert token is not None
        assert (TOKEN, 60) == (token.value, token.lives_s)

    def test_a_secret_may_go_into_the_body(self) -> None:
        """The options of the client credentials are handed on."""
        request = least(**OAUTH, secret_in="body").build_token_request(None)

        assert b"grant_type=client_credentials&scope=match&client_id=portal&client_secret=s3cret-key" == request.body

    def test_without_a_token_nobody_is_asked(self) -> None:
        """A request without its token would be refused: it is not made."""
        assert Evidence(ERROR, "http_match", note="no_token") == told(least(**OAUTH))

    def test_a_source_without_tokens_fetches_none(self) -> None:
        """Where no token is described, there is no way to get one, and a 401 is the provider's last word."""
        assert not isinstance(least(), TokenFetcher)
        assert not told(least(), answer(b"", 401)).stale_token

    @pytest.mark.parametrize("given", [answer(b"", 401), answer({"match": 7}, 200)])
    def test_a_token_that_is_not_taken_is_stale(self, given: HttpResponse) -> None:
        """401, or what the description calls unauthenticated, asks for another token."""
        source = least(**OAUTH, answers=[MATCHES, {**MATCHES, "value": 7, "outcome": "unauthenticated"}])

        assert Evidence(ERROR, "http_match", note="unauthenticated", stale_token=True) == (
            told(source, given, token=TOKEN)
        )


class TestItself:
    def test_it_says_what_it_is(self) -> None:
        """It reaches a real register; level, patience and repeats are the description's."""
        source = least()

        assert isinstance(source, HttpSource)
        assert ("http_match", "operator_match", 5.0) == (source.name, source.assurance, source.timeout_s)
        assert SourceTraits(real=True, contract="the description in the settings") == traits_of(source)
        assert not traits_of(least(repeatable=False)).repeatable

    def test_options_may_come_as_text(self) -> None:
        """An environment variable is text: JSON for tables and lists."""
        source = least(
            answers=orjson.dumps(LEAST["answers"]).decode(), json=orjson.dumps(NAMED["json"]).decode(),
            fields={"full_name": orjson.dumps(NAMED["fields"]["full_name"]).decode()}, headers='{"x": "{reference}"}',
            query='{"v": 1}', repeatable="FALSE", timeout_s="2.5", personal_data_in_url="false",
        )

        assert (False, 2.5) == (source.repeatable, source.timeout_s)
        assert ("https://api.example.vn/match?v=1", "5-k1-abc") == (sent(source).url, sent(source).headers["x"])
        assert {ID: MATCH, NAME: MISMATCH} == told(source, answer({"match": True, "name": "no"})).fields
        assert b"a=052090000001&b=%2B84900000001" == (
            sent(least(json=None, form='{"a": "{id_number}", "b": "{phone}"}')).body
        )
        assert {NAME, BIRTH} < told(
            least(**{**NAMED, "fields": orjson.dumps(NAMED["fields"]).decode()}), answer({"match": True}),
        ).fields.keys()

    def test_nothing_personal_is_shown(self) -> None:
        """Neither secret nor person stands in what may be printed or logged."""
        source = least(secret=SECRET, **{**NAMED, **OAUTH, "headers": {"a": "{secret} {token}"}})
        evidence = told(source, answer({"match": True, "id": CCCD, "name": QUESTION.full_name}), token=TOKEN)
        shown = " ".join(map(repr, (
            source, source._described, source._described.request, sent(source, token=TOKEN), evidence, QUESTION,
        )))

        for word in (SECRET, TOKEN, CCCD, "900000001", "Nguy", "1990"):
            assert word not in shown


#: Anything that JSON can hold, with the words of the description among it.
WORDS = st.sampled_from(["match", "name", "dob", "true", "false", "no"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | WORDS | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(WORDS, below, max_size=4), max_leaves=8,
)
BODIES = st.binary(max_size=40) | JSON.map(orjson.dumps)
STATUSES = st.sampled_from([200, 200, 201, 204, 301, 400, 401, 404, 429, 500, 503]) | st.integers(0, 999)
HEADERS = st.dictionaries(st.sampled_from(["retry-after", "date", "content-type"]), st.text(max_size=12))
TEXTS = st.text(st.characters(exclude_categories=()), max_size=12)
QUESTIONS = st.builds(
    OwnershipQuestion, TEXTS, st.lists(TEXTS, max_size=3).map(tuple), full_name=st.none() | TEXTS,
    birth_date=st.none() | TEXTS | st.dates().map(str), reference=TEXTS, consent=st.none() | TEXTS,
)
RESPONSES = st.builds(HttpResponse, STATUSES, HEADERS, BODIES) | st.builds(NoAnswer, st.sampled_from(["timeout"]))


class TestGarbage:
    @given(QUESTIONS, st.lists(RESPONSES, min_size=2, max_size=2))
    @example(QUESTION, [answer({"match": True}), NoAnswer("timeout")])
    @example(replace(QUESTION, id_numbers=(CCCD, CMND)), [answer({"match": False}), answer({"match": True})])
    def test_nothing_raises_and_nothing_matches_by_itself(
        self, question: OwnershipQuestion, answers: list[HttpResponse | NoAnswer],
    ) -> None:
        """Whatever is asked and answered, evidence comes of it; a match only of the described answer (Invariant 8)."""
        talk = least(**NAMED, headers={"x": "{reference}"}, query={"c": "{consent}"}).converse(question)
        given = iter(answers)
        last: HttpResponse | NoAnswer | None = None
        try:
            next(talk)
            while True:
                last = next(given)
                talk.send(last)
        except StopIteration as end:
            evidence = end.value

        assert isinstance(evidence, Evidence)
        assert (evidence.outcome is MATCH) == said(last, {True, "true"})
        assert evidence.outcome is not MISMATCH or said(answers[0], {False, "false"})


def said(given: HttpResponse | NoAnswer | None, values: set[object]) -> bool:
    """Whether an answer is one that the least description knows: 200, and one of these as ``match``."""
    if not isinstance(given, HttpResponse) or given.status != 200:
        return False
    try:
        body = orjson.loads(given.body)
    except orjson.JSONDecodeError:
        return False
    found = body.get("match") if isinstance(body, dict) else None
    return isinstance(found, bool | str) and found in values


RULE = MATCHES
FIELD: dict[str, Any] = {"path": "name", "match": True, "mismatch": False}
WITH_NAME: dict[str, Any] = {"json": {**LEAST["json"], "name": "{full_name}"}}

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no address": ({"url": "s3cret"}, "url"),
    "a placeholder in the host": ({"url": "https://{reference}.example.vn/"}, "url"),
    "a method that is none": ({"method": "PATCH"}, "method"),
    "a GET with a body": ({"method": "GET"}, "method"),
    "two bodies": ({"form": {"s3cret": 1}}, "form"),
    "JSON that is text": ({"json": '"s3cret"'}, "json"),
    "JSON that is no JSON": ({"json": "{s3cret}"}, "json"),
    "headers that are no JSON": ({"headers": "s3cret"}, "headers"),
    "a query that is a list": ({"query": "[]"}, "query"),
    "an unknown placeholder": ({"query": {"q": "{to}"}}, "query.q"),
    "the token in a query": ({"query": {"q": "{token}"}}, "query.q"),
    "the token in JSON": ({"json": {**LEAST["json"], "t": "{token}"}}, "json.t"),
    "a name in a header": ({"headers": {"x": "{full_name}"}}, "headers.x"),
    "a consent in a header": ({"headers": {"x": "{consent}"}}, "headers.x"),
    "a birth date in the path": ({"url": "https://api.example.vn/{birth_date}"}, "url"),
    "a consent in the path": ({"url": "https://api.example.vn/{consent}"}, "url"),
    "a name as an item of a list": ({"json": {**LEAST["json"], "a": [1, "{full_name}"]}}, "json.a.1"),
    "a date in a list of lists": ({"json": [*LEAST["json"].values(), ["{birth_date_vn}"]]}, "json.2.0"),
    "a secret that nothing uses": ({"secret": "s3cret"}, "secret"),
    "a secret that is not there": ({"headers": {"x": "{secret}"}}, "secret"),
    "a secret with accents": ({"headers": {"x": "{secret}"}, "secret": "s3cret é"}, "secret"),

    "a phone in the path": ({"url": "https://api.example.vn/{phone}"}, "url"),
    "an ID number in the query": ({"query": {"a": "{reference}", "q": "s3cret {id_number}"}}, "query.q"),
    "a name in the query": ({"query": {"q": "{full_name_unaccented}"}}, "query.q"),
    "a birth date in the query": ({"query": {"q": "{birth_date}"}}, "query.q"),
    "leave for nothing": ({"personal_data_in_url": True}, "personal_data_in_url"),
    "a leave that is none": ({"personal_data_in_url": "s3cret"}, "personal_data_in_url"),

    "no such level": ({"assurance": "s3cret"}, "assurance"),
    "a level of previous numbers": ({"assurance": "operator_match_previous_id"}, "assurance"),
    "a repeat that is none": ({"repeatable": "s3cret"}, "repeatable"),
    "no time": ({"timeout_s": 0}, "timeout_s"),
    "no number": ({"json": {"id": "{id_number}"}}, "placeholders"),
    "no ID number": ({"json": {"phone": "{phone_national}"}}, "placeholders"),

    "a token from nowhere": ({"headers": {"x": "{token}"}}, "token_url"),
    "a token that nothing uses": ({**OAUTH, "headers": None}, "token_url"),
    "a client without tokens": ({"client_id": "s3cret"}, "client_id"),
    "a token from no address": ({**OAUTH, "token_url": "s3cret"}, "token_url"),
    "a token for nobody": ({**OAUTH, "client_id": ""}, "client_id"),
    "two secrets": ({**OAUTH, "private_key": "s3cret"}, "client_secret, private_key"),
    "a key that is none": ({**OAUTH, "client_secret": "", "private_key": "s3cret"}, "private_key"),

    "no rules": ({"answers": []}, "answers"),
    "rules that are a table": ({"answers": "{}"}, "answers"),
    "rules that are no JSON": ({"answers": "s3cret"}, "answers"),
    "no match": ({"answers": [DIFFERS]}, "answers"),
    "a rule that is text": ({"answers": [RULE, "s3cret"]}, "answers.1"),
    "an unknown member of a rule": ({"answers": [{**RULE, "result": "s3cret"}]}, "answers.0.result"),
    "no outcome": ({"answers": [RULE, {"status": 400}]}, "answers.1.outcome"),
    "an outcome that is none": ({"answers": [RULE, {"status": 400, "outcome": "s3cret"}]}, "answers.1.outcome"),
    "no status": ({"answers": [{**RULE, "status": None}]}, "answers.0.status"),
    "a redirect": ({"answers": [RULE, {"status": 302, "outcome": "error"}]}, "answers.1.status"),
    "a match by an error": ({"answers": [{**RULE, "status": [200, 404]}]}, "answers.0.status"),
    "a match by the status alone": ({"answers": [{"status": 204, "outcome": "match"}]}, "answers.0"),
    "a match by any value": ({"answers": [{"status": 200, "path": "a", "outcome": "match"}]}, "answers.0"),
    "a mismatch by the status alone": ({"answers": [RULE, {"status": 409, "outcome": "mismatch"}]}, "answers.1"),
    "a value without a path": ({"answers": [{**RULE, "path": None}]}, "answers.0.path"),
    "a value that is a table": ({"answers": [{**RULE, "value": {"s3cret": 1}}]}, "answers.0.value"),
    "a note that is a sentence": ({"answers": [{**RULE, "note": "s3cret word"}]}, "answers.0.note"),
    "a note that is none": ({"answers": [{**RULE, "note": ""}]}, "answers.0.note"),
    "a note of another rule": ({"answers": [{**RULE, "note": "previous_id_number"}]}, "answers.0.note"),
    "a note that asks somebody else": (
        {"answers": [RULE, {"status": 404, "outcome": "not_available", "note": "not_a_subscriber"}]}, "answers.1.note",
    ),
    "a note beside its own": (
        {"answers": [RULE, {"status": 404, "outcome": "not_a_subscriber", "note": "s3cret"}]}, "answers.1.note",
    ),
    "a rule that is never reached": (
        {"answers": [RULE, {"status": "4xx", "outcome": "error"}, {"status": 404, "outcome": "not_available"}]},
        "answers.2",
    ),

    "fields that are no JSON": ({"fields": "s3cret"}, "fields"),
    "a field that is none": ({"fields": {"s3cret": FIELD}}, "fields.s3cret"),
    "the ID number as a field": ({**WITH_NAME, "fields": {"id_number": FIELD}}, "fields.id_number"),
    "a field that is a list": ({**WITH_NAME, "fields": {"full_name": "[]"}}, "fields.full_name"),
    "an unknown member of a field": (
        {**WITH_NAME, "fields": {"full_name": {**FIELD, "value": "s3cret"}}}, "fields.full_name.value",
    ),
    "a field that is not sent": ({**WITH_NAME, "fields": {"birth_date": FIELD}}, "fields.birth_date"),
    "a field without a path": (
        {**WITH_NAME, "fields": {"full_name": {"match": 1, "mismatch": 0}}}, "fields.full_name.path",
    ),
    "a field that never agrees": (
        {**WITH_NAME, "fields": {"full_name": {"path": "a", "mismatch": 0}}}, "fields.full_name.match",
    ),
    "a field that never differs": (
        {**WITH_NAME, "fields": {"full_name": {"path": "a", "match": 1}}}, "fields.full_name.mismatch",
    ),
    "a field that agrees and differs": (
        {**WITH_NAME, "fields": {"full_name": {**FIELD, "mismatch": ["s3cret", "true"]}}}, "fields.full_name.mismatch",
    ),
}


class TestMistakes:
    @pytest.mark.parametrize("mistake", MISTAKES)
    def test_every_mistake_is_told_by_its_name(self, mistake: str) -> None:
        """A mistake is told at once, alone, with its dotted name, and without what stands there."""
        options, name = MISTAKES[mistake]
        with pytest.raises(ConfigurationError, match=rf"^http_match: {re.escape(name)}: [^;]+$") as caught:
            least(**options)
        assert "s3cret" not in str(caught.value).replace("fields.s3cret", "")

    def test_all_mistakes_are_told_at_once(self) -> None:
        """Nobody has to start nine times to learn of nine mistakes."""
        with pytest.raises(ConfigurationError) as caught:
            least(
                url="https://api.example.vn/{phone}", method="x", headers={"x": "{full_name}"}, token_url="x",
                answers=[{"outcome": "match"}, {}], fields={"full_name": {}}, assurance="x", repeatable="x",
                timeout_s="x",
            )

        assert [
            "method", "headers.x", "url", "token_url", "token_url", "answers.0.status", "answers.1.status",
            "answers.1.outcome", "fields.full_name.path", "fields.full_name.match", "fields.full_name.mismatch",
            "fields.full_name", "assurance", "repeatable", "timeout_s",
        ] == [one.partition(": ")[0] for one in str(caught.value).removeprefix("http_match: ").split("; ")]

    def test_the_reason_is_told(self) -> None:
        """Whoever puts a phone into an address learns why not, and how all the same."""
        with pytest.raises(ConfigurationError) as caught:
            least(query={"q": "{phone}-{id_number}"})

        assert (
            "http_match: query.q: {id_number} or {phone} is personal data, and addresses are kept in logs on the way: "
            "send it in json or form, or write personal_data_in_url = true if the provider takes it no other way"
        ) == str(caught.value)
