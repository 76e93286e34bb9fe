"""The contract for adapters: a good one passes, and each way of being wrong is caught by the test made for it."""

from __future__ import annotations

import hmac
import itertools
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest

from otp_service.core.ports import (
    AccessToken,
    DeliveryReport,
    DeliveryState,
    Gateway,
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
from sms_adapters import reading
from sms_adapters.contract import GatewayContract

SECRET = "s3cret"
ACCEPTED = HttpResponse(200, {}, b'{"status": "ok", "id": "m-1"}')
STATES = {state.value: state for state in DeliveryState}


def sign(body: bytes) -> str:
    """Sign a callback."""
    return hmac.digest(SECRET.encode(), body, "sha256").hex()


def signed(body: bytes) -> ReportRequest:
    """Make a callback with its signature."""
    return ReportRequest("POST", "https://otp.example/r/x", {"x-signature": sign(body)}, {"tenant": "1"}, body)


REPORTS = (signed(b'{"id": "m-1", "state": "delivered"}'),)
POLLED = HttpResponse(200, {}, b'{"found": [{"id": "m-1", "state": "delivered"}]}')


def read_report(said: object) -> DeliveryReport | None:
    """Read one report of the provider's."""
    if not isinstance(said, dict) or not isinstance(said.get("state"), str) or said["state"] not in STATES:
        return None
    provider_id = reading.provider_id(said.get("id"))
    return None if provider_id is None else DeliveryReport(STATES[said["state"]], provider_id)


class Good:
    """A correct adapter of a provider that does not exist."""

    name = "good"
    real = True
    timeout_s = 5.0
    supports = Supports(callback=True, signed=True, polling=True, deduplicates=True)
    poll_batch = 10

    def build_request(self, message: SmsMessage) -> HttpRequest | SendOutcome:
        """Post JSON."""
        return self.post({"text": message.text, "to": message.to, "request": message.reference, "key": SECRET})

    def post(self, said: dict[str, str]) -> HttpRequest:
        """Make a request."""
        body = json.dumps(said).encode()
        return HttpRequest("POST", "https://sms.example/v1", {"content-type": "application/json"}, body)

    def parse_response(self, response: HttpResponse) -> SendOutcome:
        """Read an answer."""
        said = json_object(response.body)
        provider_id = reading.provider_id(said.get("id"))
        if response.status == 200 and said.get("status") == "ok" and provider_id is not None:
            return SendOutcome(SendResult.ACCEPTED, provider_id)
        return reading.by_status(response.status, provider_code(said.get("code")))

    def parse_report(self, request: ReportRequest) -> list[DeliveryReport]:
        """Read a callback."""
        given = request.headers.get("x-signature", "").encode(errors="replace")
        if not hmac.compare_digest(given, sign(request.body).encode()):
            raise ReportForged("the signature is missing or wrong")
        report = read_report(json_object(request.body))
        if report is None:
            raise ReportUnreadable("no id or state")
        return [report]

    def build_poll(self, provider_ids: Sequence[str]) -> HttpRequest:
        """Ask."""
        return HttpRequest("GET", f"https://sms.example/v1?ids={','.join(provider_ids)}")

    def parse_poll(self, response: HttpResponse) -> list[DeliveryReport]:
        """Read what was asked for."""
        found = json_object(response.body).get("found")
        reports = [read_report(one) for one in found] if isinstance(found, list) else []
        return [report for report in reports if report is not None]


class GoodToken:
    """A correct adapter whose provider wants a token."""

    name = "good-token"
    real = True
    timeout_s = 5.0
    parse_response = Good.parse_response

    def build_token_request(self, refresh: str | None) -> HttpRequest:
        """Ask for a token."""
        return HttpRequest("POST", "https://sms.example/token", {}, urlencode({"refresh": refresh or ""}).encode())

    def parse_token(self, response: HttpResponse) -> AccessToken | None:
        """Read the token."""
        said = json_object(response.body)
        token, lives_s = said.get("token"), said.get("lives_s")
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
            return None
        return AccessToken(token, lives_s) if type(lives_s) is int and lives_s > 0 else None

    def build_authorised(self, message: SmsMessage, token: str) -> HttpRequest | SendOutcome:
        """Post with the token."""
        return HttpRequest("POST", "https://sms.example/v1", {"authorization": token}, message.text.encode())


class GoodConnected:
    """A gateway with a connection of its own: the contract looks at its attributes alone."""

    name = "good-smpp"
    real = True
    timeout_s = 5
    supports = Supports(callback=True, deduplicates=True)

    async def open(self, on_reports: Callable[[Sequence[DeliveryReport]], Awaitable[None]]) -> None:
        """Connect."""

    async def send(self, message: SmsMessage) -> SendOutcome:
        """Hand over."""
        return SendOutcome(SendResult.ACCEPTED, message.reference)

    async def close(self) -> None:
        """Say goodbye."""


class Contract(GatewayContract):
    """The contract with an adapter that a test makes."""

    secrets = (SECRET,)
    accepted = ACCEPTED
    reports = REPORTS
    polled = POLLED

    def __init__(self, make: Callable[[], Any], **examples: Any) -> None:
        self._make = make
        for name, example in examples.items():
            setattr(self, name, example)

    def gateway(self) -> Gateway:
        """Return a fresh one."""
        made: Gateway = self._make()
        return made


NOTHING = {"accepted": None, "reports": (), "polled": None}
TOKEN = {**NOTHING, "accepted": ACCEPTED, "token_answer": HttpResponse(200, {}, b'{"token": "t0", "lives_s": 60}')}


def caught(contract: GatewayContract) -> dict[str, str]:
    """Run the whole contract; returns the tests that fail and what they say."""
    failures = {}
    for name in dir(contract):
        if name.startswith("test_"):
            try:
                getattr(contract, name)()
            except AssertionError as error:
                failures[name] = str(error)
    return failures


@pytest.mark.parametrize(("make", "examples"), [(Good, {}), (GoodToken, TOKEN), (GoodConnected, NOTHING)])
def test_good_adapters_pass(make: Callable[[], Gateway], examples: dict[str, Any]) -> None:
    """The contract finds nothing wrong with what is right."""
    assert {} == caught(Contract(make, **examples))


def like(base: type = Good, **members: Any) -> type:
    """Make an adapter that differs from a good one in these members."""
    return type("Bad", (base,), members)


def without(*names: str, **members: Any) -> type:
    """Make an adapter that lacks members of the good one."""
    kept = {name: value for name, value in vars(Good).items() if name not in names and not name.startswith("__")}
    return type("Bad", (), {**kept, **members})


@dataclass
class Shows(Good):
    """An adapter that shows its secret."""

    token: str = SECRET


def accepts(when: Callable[[HttpResponse], object]) -> Callable[[Good, HttpResponse], SendOutcome]:
    """Make a parse_response that accepts also when it should not."""
    def parse_response(self: Good, response: HttpResponse) -> SendOutcome:
        found = Good.parse_response(self, response)
        return SendOutcome(SendResult.ACCEPTED, "m-1") if when(response) else found

    return parse_response


def says(**changes: Any) -> Callable[[Good, HttpResponse], SendOutcome]:
    """Make a parse_response whose outcomes are changed."""
    return lambda self, response: replace(Good.parse_response(self, response), **changes)


def builds(change: Callable[[HttpRequest, SmsMessage], object]) -> Callable[[Good, SmsMessage], object]:
    """Make a build_request whose requests are changed."""
    def build_request(self: Good, message: SmsMessage) -> object:
        built = Good.build_request(self, message)
        assert isinstance(built, HttpRequest)
        return change(built, message)

    return build_request


def raising(*_: object) -> Any:
    """Raise what an adapter raises that reads an answer without looking."""
    raise KeyError("status")


_counter = itertools.count()


def unsigned(self: Good, request: ReportRequest) -> list[DeliveryReport]:
    """Read a callback without looking at its signature."""
    return Good.parse_report(self, signed(request.body))


def signed_if_there(self: Good, request: ReportRequest) -> list[DeliveryReport]:
    """Believe what has no signature at all."""
    return Good.parse_report(self, request if "x-signature" in request.headers else signed(request.body))


def state_from_query(self: Good, request: ReportRequest) -> list[DeliveryReport]:
    """Read a part of the report that is not signed."""
    return [replace(one, provider_code=request.query.get("tenant")) for one in Good.parse_report(self, request)]


def repeating(_self: Good, request: ReportRequest) -> list[DeliveryReport]:
    """Refuse with the words that were sent."""
    raise ReportForged(request.body.decode(errors="replace"))


def as_is(_self: Good, request: ReportRequest) -> list[DeliveryReport]:
    """Take ids as they come."""
    if request.headers.get("x-signature") != sign(request.body) and b"m-1" in request.body:
        raise ReportForged("wrong")
    return [DeliveryReport(DeliveryState.SENT, "two words")]


def as_unreadable(self: Good, request: ReportRequest) -> list[DeliveryReport]:
    """Call forged what is forged unreadable."""
    try:
        return Good.parse_report(self, request)
    except ReportForged as error:
        raise ReportUnreadable("something is wrong") from error


UNSIGNED = Supports(callback=True, polling=True)
ORACLE = "test_nothing_private_is_shown"

BAD: list[tuple[str, Any, dict[str, Any], str]] = [
    # what is wrong, the adapter, its examples, the test that must catch it
    ("no gateway", type("Nothing", (), {"name": "x", "real": True, "timeout_s": 1}), NOTHING, "test_it_is_a_gateway"),
    ("upper-case name", like(name="Good"), {}, "test_it_has_a_name"),
    ("long name", like(name="a" * 33), {}, "test_it_has_a_name"),
    ("name is no text", like(name=None), {}, "test_it_has_a_name"),
    ("real is text", like(real="true"), {}, "test_it_says_whether_it_reaches_phones"),
    ("timeout as text", like(timeout_s="5"), {}, "test_its_timeout_is_bounded"),
    ("no timeout", like(timeout_s=0), {}, "test_its_timeout_is_bounded"),
    ("long timeout", like(timeout_s=61), {}, "test_its_timeout_is_bounded"),
    ("supports is a dict", like(supports={"callback": True}), {}, "test_it_says_what_it_supports"),
    ("no parts", like(supports=replace(Good.supports, parts=0)), {}, "test_it_says_what_it_supports"),
    ("callback not declared", like(supports=Supports(polling=True)), {}, "test_it_says_what_it_supports"),
    ("callback not implemented", without("parse_report"), {"reports": ()}, "test_it_says_what_it_supports"),
    ("polling not declared", like(supports=Supports(callback=True)), {}, "test_it_says_what_it_supports"),
    ("polling not implemented", without("build_poll", "parse_poll", "poll_batch"), {"polled": None},
     "test_it_says_what_it_supports"),
    ("polling half implemented", without("parse_poll"), {"polled": None}, "test_it_says_what_it_supports"),
    ("signed without callback", without("parse_report", supports=Supports(signed=True, polling=True)), {"reports": ()},
     "test_it_says_what_it_supports"),
    ("relative URL", like(build_request=builds(lambda request, _: replace(request, url="/v1"))), {},
     "test_the_request_is_well_formed"),
    ("URL with a blank", like(build_request=builds(lambda request, _: replace(request, url="https://a.b/ c"))), {},
     "test_the_request_is_well_formed"),
    ("URL without a host", like(build_request=builds(lambda request, _: replace(request, url="https:///c"))), {},
     "test_the_request_is_well_formed"),
    ("strange method", like(build_request=builds(lambda request, _: replace(request, method="post"))), {},
     "test_the_request_is_well_formed"),
    ("body as text", like(build_request=builds(lambda request, _: replace(request, body=request.body.decode()))), {},
     "test_the_request_is_well_formed"),
    ("header as number", like(build_request=builds(lambda request, _: replace(request, headers={"x": 1}))), {},
     "test_the_request_is_well_formed"),
    ("header name with a blank", like(build_request=builds(lambda request, _: replace(request, headers={"x y": "1"}))),
     {}, "test_the_request_is_well_formed"),
    ("dict instead of a request", like(build_request=lambda *_: {}), {}, "test_the_request_is_well_formed"),
    ("refuses everything", like(build_request=lambda *_: SendOutcome(SendResult.TEMPLATE_REJECTED)), {},
     "test_the_request_is_well_formed"),
    ("text in a header", like(build_request=builds(
        lambda request, message: replace(request, headers={"x-text": message.text}),
    )), {}, "test_every_text_is_carried_or_refused"),
    ("JSON by hand", like(build_request=builds(
        lambda request, message: replace(request, body=f'{{"x":"{message.text}{message.reference}"}}'.encode()),
    )), {}, "test_every_text_is_carried_or_refused"),
    ("XML by hand", like(build_request=builds(
        lambda request, message: replace(
            request, headers={"content-type": "text/xml"}, body=f"<a>{message.text}{message.reference}</a>".encode(),
        ),
    )), {}, "test_every_text_is_carried_or_refused"),
    ("ASCII only", like(build_request=builds(
        lambda request, message: replace(request, body=(message.text + message.reference).encode("ascii"))),
    ), {}, "test_every_text_is_carried_or_refused"),
    ("raises for an unknown template", like(build_request=builds(
        lambda request, message: {"registration": request}[message.template_key],
    )), {}, "test_every_text_is_carried_or_refused"),
    ("shows its secret", Shows, {}, ORACLE),
    ("shows the code", like(parse_response=lambda _, response: SendOutcome(
        SendResult.UNKNOWN, provider_code=response.body[:64].decode(errors="replace"), maybe_sent=True,
    )), {}, ORACLE),
    ("a new id at each try", like(build_request=lambda self, message: self.post(
        {"text": message.text, "request": f"r-{next(_counter):05d}"},
    )), {}, "test_a_repeated_message_is_recognised"),
    ("no reference", like(build_request=lambda self, message: self.post({"text": message.text})), {},
     "test_a_repeated_message_is_recognised"),
    ("an id from the text", like(build_request=lambda self, message: self.post({"request": message.text[:20]})), {},
     "test_a_repeated_message_is_recognised"),
    ("no accepted example", Good, {"accepted": None}, "test_the_accepted_example_is_accepted"),
    ("refuses its example", like(parse_response=says(result=SendResult.UNKNOWN, maybe_sent=True)), {},
     "test_the_accepted_example_is_accepted"),
    ("no id for reports", like(parse_response=says(provider_id=None)), {}, "test_the_accepted_example_is_accepted"),
    ("long id", like(parse_response=says(provider_id="x" * 65)), {}, "test_the_accepted_example_is_accepted"),
    ("id with a blank", like(parse_response=says(provider_id="m 1")), {}, "test_the_accepted_example_is_accepted"),
    ("long code", like(parse_response=says(provider_code="x" * 65)), {}, "test_the_accepted_example_is_accepted"),
    ("result as text", like(parse_response=says(result="accepted")), {}, "test_the_accepted_example_is_accepted"),
    ("raises on garbage", like(parse_response=lambda _, response: SendOutcome(
        SendResult.ACCEPTED, json.loads(response.body)["id"],
    )), {}, "test_garbage_is_never_accepted"),
    ("takes any page for success", like(parse_response=accepts(lambda response: b"Success" in response.body)), {},
     "test_garbage_is_never_accepted"),
    ("sure that nothing was sent", like(parse_response=lambda self, response: replace(
        Good.parse_response(self, response), maybe_sent=False,
    )), {}, "test_garbage_is_never_accepted"),
    ("takes 204 for success", like(parse_response=accepts(lambda response: response.status == 204)), {},
     "test_a_status_alone_is_never_accepted"),
    ("ignores the status", like(parse_response=accepts(lambda response: response.body == ACCEPTED.body)), {},
     "test_the_accepted_body_needs_a_good_status"),
    ("searches in the body", like(parse_response=accepts(
        lambda response: response.status == 200 and b'"status": "ok"' in response.body,
    )), {}, "test_a_cut_off_answer_is_never_accepted"),
    ("trusts the type of the id", like(parse_response=lambda _, response: SendOutcome(
        SendResult.ACCEPTED, json_object(response.body)["id"].strip(),
    ) if json_object(response.body).get("status") == "ok" and response.status == 200
        else reading.by_status(response.status)), {}, "test_changed_answers_are_read"),
    ("trusts a line of text", like(parse_response=lambda _, response: SendOutcome(
        SendResult.ACCEPTED, response.body.removeprefix(b"OK ").decode("latin-1"),
    ) if response.body.startswith(b"OK ") and response.status == 200 else reading.by_status(response.status)),
     {"accepted": HttpResponse(200, {}, b"OK m-1")}, "test_changed_answers_are_read"),
    ("no report example", Good, {"reports": ()}, "test_good_reports_are_read"),
    ("refuses its report", Good, {"reports": (replace(REPORTS[0], headers={}),)}, "test_good_reports_are_read"),
    ("reads no report", like(parse_report=lambda *_: []), {}, "test_good_reports_are_read"),
    ("report without a message", like(parse_report=lambda *_: [DeliveryReport(DeliveryState.SENT)]), {},
     "test_good_reports_are_read"),
    ("another report each time", like(parse_report=lambda *_: [
        DeliveryReport(DeliveryState.SENT, f"m{next(_counter)}"),
    ]), {}, "test_good_reports_are_read"),
    ("a report given, none implemented", without("parse_report", supports=Supports(polling=True)), {},
     "test_good_reports_are_read"),
    ("raises on a bad report", like(parse_report=raising), {"reports": ()}, "test_bad_reports_are_refused"),
    ("repeats what was sent", like(parse_report=repeating), {}, "test_bad_reports_are_refused"),
    ("takes ids as they come", like(parse_report=as_is), {}, "test_bad_reports_are_refused"),
    ("raises on a changed report", like(supports=UNSIGNED, parse_report=lambda _, request: [
        DeliveryReport(DeliveryState(json_object(request.body)["state"]), "m-1"),
    ] if json_object(request.body) else repeating(_, replace(request, body=b""))), {},
     "test_changed_reports_are_read_or_refused"),
    ("ignores the signature", like(parse_report=unsigned), {}, "test_forged_reports_are_refused"),
    ("believes what has no signature", like(parse_report=signed_if_there), {}, "test_forged_reports_are_refused"),
    ("reads what is not signed", like(parse_report=state_from_query), {}, "test_forged_reports_are_refused"),
    ("forged is unreadable", like(parse_report=as_unreadable), {},
     "test_forged_reports_are_refused"),
    ("polls with a relative URL", like(build_poll=lambda _, ids: HttpRequest("GET", f"/v1?ids={','.join(ids)}")), {},
     "test_the_poll_asks_for_all"),
    ("polls for the first only", like(build_poll=lambda self, ids: Good.build_poll(self, ids[:1])), {},
     "test_the_poll_asks_for_all"),
    ("batch of nothing", like(poll_batch=0), {}, "test_the_poll_asks_for_all"),
    ("no poll example", Good, {"polled": None}, "test_the_polled_example_is_read"),
    ("reads no poll", like(parse_poll=lambda *_: []), {}, "test_the_polled_example_is_read"),
    ("raises on a bad poll", like(parse_poll=lambda _, response: [
        DeliveryReport(STATES[one["state"]], one["id"]) for one in json.loads(response.body)["found"]
    ]), {}, "test_bad_answers_to_a_poll_say_nothing"),
    ("delivered by default", like(parse_poll=lambda *_: [DeliveryReport(DeliveryState.DELIVERED, "m-1")]), {},
     "test_bad_answers_to_a_poll_say_nothing"),
    ("token request without a host", like(GoodToken, build_token_request=lambda *_: HttpRequest("POST", "https://")),
     TOKEN, "test_the_token_request_is_well_formed"),
    ("no token in the example", GoodToken, {**TOKEN, "token_answer": HttpResponse(200)},
     "test_the_token_example_is_read"),
    ("raises on a bad token", like(GoodToken, parse_token=lambda _, response: AccessToken(
        json.loads(response.body)["token"], 60,
    )), TOKEN, "test_a_bad_answer_is_no_token"),
    ("token that lives for no time", like(GoodToken, parse_token=lambda *_: AccessToken("t", 0)), TOKEN,
     "test_the_token_example_is_read"),
    ("takes any page for a token", like(GoodToken, parse_token=lambda *_: AccessToken("t", 60)), TOKEN,
     "test_a_bad_answer_is_no_token"),
    ("shows the token", like(GoodToken, build_authorised=lambda _, message, token: type(
        "Shown", (HttpRequest,), {"__repr__": lambda _: token},
    )("POST", "https://sms.example", {}, message.text.encode())), TOKEN, ORACLE),
    ("attributes of a connected one", like(GoodConnected, name="SMPP", timeout_s=100), NOTHING, "test_it_has_a_name"),
]


@pytest.mark.parametrize(("make", "examples", "test"), [
    pytest.param(make, examples, test, id=what) for what, make, examples, test in BAD
])
def test_bad_adapters_are_caught(make: Callable[[], Gateway], examples: dict[str, Any], test: str) -> None:
    """What is wrong with an adapter fails the test that is made for it, with a sentence that says what to change."""
    failures = caught(Contract(make, **examples))

    assert test in failures
    assert all(len(said) > 20 for said in failures.values())


def test_every_test_of_the_contract_catches_something() -> None:
    """Each rule has at least one bad adapter here, and one sentence that states it."""
    rules = {name for name in dir(GatewayContract) if name.startswith("test_")}

    assert rules == {test for *_, test in BAD}
    assert all((getattr(GatewayContract, name).__doc__ or "").endswith(".") for name in rules)


@pytest.mark.parametrize(("there", "said"), [
    ("build_poll", "parse_poll and poll_batch are missing"), ("parse_poll", "build_poll and poll_batch are missing"),
    ("poll_batch", "build_poll and parse_poll are missing"),
])
@pytest.mark.parametrize("supports", [Good.supports, replace(Good.supports, polling=False)], ids=["said", "not said"])
def test_what_polling_lacks_is_named(there: str, said: str, supports: Supports) -> None:
    """Whoever wrote a part of polling learns which parts are missing, whatever ``supports`` says."""
    missing = [name for name in ("build_poll", "parse_poll", "poll_batch") if name != there]
    two = caught(Contract(without(*missing, supports=supports), polled=None))["test_it_says_what_it_supports"]
    one = caught(Contract(without(there, supports=supports), polled=None))["test_it_says_what_it_supports"]

    assert said in two
    assert f"{there} is missing" in one


def test_options_may_support_less() -> None:
    """An adapter whose options decide says what it supports on the instance, and is not asked for the rest."""
    class Optional(Good):
        def __init__(self) -> None:
            self.supports = Supports(deduplicates=True)

    assert {} == caught(Contract(Optional, reports=(), polled=None))


def test_an_answer_without_a_body_may_be_enough() -> None:
    """A provider may accept by the status alone; then that status is exempt, and no other."""
    def parse_response(_: object, response: HttpResponse) -> SendOutcome:
        accepted = response.status == 202
        return SendOutcome(SendResult.ACCEPTED) if accepted else reading.by_status(response.status)

    plain = without("parse_report", "build_poll", "parse_poll", "poll_batch", "supports", parse_response=parse_response)
    examples = {"reports": (), "polled": None}

    assert {} == caught(Contract(plain, accepted=HttpResponse(202), **examples))
    assert "test_a_status_alone_is_never_accepted" in caught(Contract(plain, accepted=HttpResponse(201), **examples))


def test_signatures_in_forms_and_queries() -> None:
    """A signature may stand in a form or a query: there as well a missing or another one must be refused."""
    class Form(Good):
        def parse_report(self, request: ReportRequest) -> list[DeliveryReport]:
            fields = dict(parse_qsl(request.body.decode("latin-1"), keep_blank_values=True)) or dict(request.query)
            given = fields.pop("sign", "").encode(errors="replace")
            if not hmac.compare_digest(given, sign(urlencode(sorted(fields.items())).encode()).encode()):
                raise ReportForged("the signature is missing or wrong")
            report = read_report(fields)
            if report is None:
                raise ReportUnreadable("no id or state")
            return [report]

    class Trusting(Form):
        def parse_report(self, request: ReportRequest) -> list[DeliveryReport]:
            if b"sign=" not in request.body and "sign" not in request.query:
                fields = dict(parse_qsl(request.body.decode("latin-1"))) or dict(request.query)
                report = read_report(fields)
                return [] if report is None else [report]
            return Form.parse_report(self, request)

    fields = {"id": "m-1", "state": "delivered"}
    query = {**fields, "sign": sign(urlencode(sorted(fields.items())).encode())}
    form = ReportRequest("POST", "https://otp.example/r/x", {}, {}, urlencode(query).encode())
    by_get = ReportRequest("GET", f"https://otp.example/r/x?{urlencode(query)}", {}, query)

    assert {} == caught(Contract(Form, reports=(form, by_get)))
    assert "test_forged_reports_are_refused" in caught(Contract(Trusting, reports=(form,)))
    assert "test_forged_reports_are_refused" in caught(Contract(Trusting, reports=(by_get,)))
