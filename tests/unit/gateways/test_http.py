"""The gateway described in the settings: what it sends, how it reads answers and reports, and every mistake told."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import orjson
import pytest

from otp_service.core.errors import ConfigurationError
from otp_service.core.ports import (
    DeliveryReport,
    DeliveryState,
    HttpRequest,
    HttpResponse,
    ReportingGateway,
    ReportRequest,
    ReportUnreadable,
    SendOutcome,
    SendResult,
    SmsMessage,
    Supports,
)
from sms_adapters.contract import GatewayContract
from sms_adapters.http import HttpGateway

SECRET = "s3cret-key"
REFERENCE = "5-k1-abcdefghijklmnopqrstuvwxyz-1"
CALLBACK = "https://otp.example/v1/delivery-reports/http/p4th"

MESSAGE = SmsMessage(
    to="+84900000001", text='Mã "123456" & {secret}\n100%', template_key="registration",
    params=(("brand", "Cong DVC"), ("code", "123456")), reference=REFERENCE, send_number=1, validity_s=180,
)

#: A whole description, as it stands in a file.
DESCRIPTION = """
url = "https://sms.example.vn/v1/send"
sender = "Cong DVC"
deduplicates = true
unicode = true
parts = 3
timeout_s = 8
headers.authorization = "Bearer {secret}"
query.v = "1"

[json]
to = "{to_international}"
text = "{text}"
id = "{reference}"
ttl = "{validity_s}"
from = {name = "{sender}", kind = 2, flags = [true, "{{{template}}}", "{param.code}-{param.brand}"]}

[[answers]]
status = 200
path = "code"
value = [0, "00"]
result = "accepted"
id = "data.0.id"

[[answers]]
status = 200
path = "code"
value = "41"
result = "duplicate"
id = "data.0.id"

[[answers]]
status = ["2xx", 400]
path = "code"
value = 21
result = "template_rejected"
code = "reason"

[[answers]]
status = "2xx"
path = "queued"
result = "temporary"

[[answers]]
status = [409, "404"]
result = "invalid_number"

[reports]
in = "json"
list = "results"
id = "id"
reference = "ref"
state = "status.name"
delivered = ["DELIVRD", 0]
sent = "ENROUTE"
failed = ["UNDELIV", true]
code = "error"
"""

#: The least that is a description.
LEAST: dict[str, Any] = {
    "url": "https://sms.example.vn/send", "form": {"to": "{to}", "text": "{text}"},
    "answers": [{"status": 200, "path": "code", "value": 0, "result": "accepted"}],
}


def described(**options: Any) -> HttpGateway:
    """Return the gateway of the description, with these options changed."""
    return HttpGateway(**{**tomllib.loads(DESCRIPTION), "secret": SECRET, **options})


def least(**options: Any) -> HttpGateway:
    """Return the least gateway, with these options changed."""
    return HttpGateway(**{**LEAST, **options})


def built(gateway: HttpGateway, message: SmsMessage = MESSAGE) -> HttpRequest:
    """Return the request that a gateway builds."""
    request = gateway.build_request(message)
    assert isinstance(request, HttpRequest)
    return request


def answer(status: int, body: object, gateway: HttpGateway | None = None) -> SendOutcome:
    """Return what a gateway makes of an answer."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return (gateway or described()).parse_response(HttpResponse(status, {"content-type": "application/json"}, raw))


def callback(*results: object) -> ReportRequest:
    """Return a callback of the described provider."""
    body = orjson.dumps({"results": results})
    return ReportRequest("POST", CALLBACK, {"content-type": "application/json"}, {}, body)


def report(status: object, **more: object) -> dict[str, object]:
    """Return one report of the described provider."""
    return {"id": "m-1", "ref": REFERENCE, "status": {"name": status}, **more}


class TestContract(GatewayContract):
    secrets = (SECRET,)
    accepted = HttpResponse(
        200, {"content-type": "application/json"}, b'{"code": "00", "data": [{"id": "m-1"}], "reason": "fine"}',
    )
    reports = (callback(report("DELIVRD")), callback(report("ENROUTE"), report("UNDELIV", id=None, error=7)))

    def gateway(self) -> HttpGateway:
        """Return the gateway of the description."""
        return described()


class TestFormContract(GatewayContract):
    secrets = (SECRET,)
    accepted = HttpResponse(200, {}, b'{"id": 17}')
    reports = (
        ReportRequest("GET", f"{CALLBACK}?msgid=17&s=1", {}, {"msgid": "17", "s": "1"}),
        ReportRequest("POST", f"{CALLBACK}?msgid=17&s=9", {}, {"msgid": "17", "s": "9"}),
    )

    def gateway(self) -> HttpGateway:
        """Return a gateway with a form, a key in the URL and reports in the query."""
        return HttpGateway(
            url="http://sms.example.vn/{secret}/send", form={"to": "{to_national}", "text": "{text}"}, secret=SECRET,
            answers=[{"status": 200, "id": "id", "result": "accepted"}],
            reports={"in": "query", "id": "msgid", "state": "s", "delivered": [1], "otherwise": "failed"},
        )


class TestQueryContract(GatewayContract):
    accepted = HttpResponse(204)

    def gateway(self) -> HttpGateway:
        """Return a gateway that knows GET alone, and says accepted by its status alone."""
        return HttpGateway(
            url="http://sms.example.vn/send", query={"to": "{to}", "text": "{text}"}, method="get",
            answers=[{"status": 204, "result": "accepted"}],
        )


class TestRequest:
    def test_the_request_is_what_the_description_says(self) -> None:
        """JSON: each placeholder is filled in as data, and what is alone and a number is a number."""
        assert HttpRequest(
            "POST", "https://sms.example.vn/v1/send?v=1",
            {"authorization": "Bearer s3cret-key", "content-type": "application/json", "accept": "application/json"},
            '{"to":"84900000001","text":"Mã \\"123456\\" & {secret}\\n100%","id":"5-k1-abcdefghijklmnopqrstuvwxyz-1",'
            '"ttl":180,"from":{"name":"Cong DVC","kind":2,"flags":[true,"{registration}","123456-Cong DVC"]}}'.encode(),
        ) == described().build_request(MESSAGE)

    def test_a_form_is_escaped(self) -> None:
        """A form: the text arrives as it was, whatever stands in it."""
        request = built(least(form={"to": "{to}", "text": "x={text}&", "n": 7, "b": True}))

        assert "application/x-www-form-urlencoded" == request.headers["content-type"]
        assert (
            b"to=%2B84900000001&text=x%3DM%C3%A3+%22123456%22+%26+%7Bsecret%7D%0A100%25%26&n=7&b=true" == request.body
        )

    @pytest.mark.parametrize("text", ["a/b?c#d&e=f", "../..", "%2e%2e", "+ +", "é\n", "{to}", "\\", ""])
    def test_a_url_is_escaped(self, text: str) -> None:
        """In a path a value stays one segment, in a query one value."""
        gateway = least(url="https://sms.example.vn/{to}/{param.code}?a={text}", query={"b c": "{text}"}, form=None)
        request = built(gateway, replace(MESSAGE, text=text, params=(("code", text.replace(".", "")),)))
        parts = urlsplit(request.url)

        assert request.url.isascii()
        assert "sms.example.vn" == parts.netloc
        assert 3 == len(parts.path.split("/"))
        assert {"a": [text], "b c": [text]} == parse_qs(parts.query, keep_blank_values=True)
        assert b"" == request.body

    @pytest.mark.parametrize(("path", "first", "second"), [
        ("/{param.a}/send", ".", ""), ("/{param.a}/send", "..", ""), ("/v1/{param.a}", "..", ""),
        ("/{param.a}{param.b}", ".", "."), ("/.{param.a}", ".", ""), ("/.{param.a}", "", ""),
        ("/%2e{param.a}/send", ".", ""), ("/../{param.a}/", ".", ""),
    ])
    def test_a_value_cannot_climb_the_path(self, path: str, first: str, second: str) -> None:
        """Dots are not escaped: a value that makes a segment of them would ask another path, so it is refused."""
        gateway = least(url=f"https://sms.example.vn{path}?b={{param.b}}")
        message = replace(MESSAGE, params=(("a", first), ("b", second)))

        assert SendOutcome(SendResult.TEMPLATE_REJECTED, provider_code="unfit") == gateway.build_request(message)

    @pytest.mark.parametrize(("path", "value", "url"), [
        ("/{param.a}", "...", "/..."), ("/{param.a}", "1.5", "/1.5"), ("/v{param.a}/", ".", "/v./"),
        ("/{param.a}", "../..", "/..%2F.."), ("/{param.a}", "%2e%2e", "/%252e%252e"), ("/../{param.a}", "1", "/../1"),
        ("/send?a=/{param.a}", "..", "/send?a=/.."), ("?a=/{param.a}/", "..", "?a=/../"),
    ])
    def test_other_dots_stay(self, path: str, value: str, url: str) -> None:
        """Dots beside other characters, in the query, or in the description itself do no harm."""
        gateway = least(url=f"https://sms.example.vn{path}")

        assert f"https://sms.example.vn{url}" == built(gateway, replace(MESSAGE, params=(("a", value),))).url

    def test_a_query_alone(self) -> None:
        """GET: everything stands in the URL."""
        gateway = least(method="GET", form=None, query={"to": "{to_national}", "text": "{text}", "i": "{reference}"})

        assert HttpRequest(
            "GET",
            "https://sms.example.vn/send?to=0900000001&text=M%C3%A3%20%22123456%22%20%26%20%7Bsecret%7D%0A100%25"
            "&i=5-k1-abcdefghijklmnopqrstuvwxyz-1",
            {"accept": "application/json"},
        ) == gateway.build_request(MESSAGE)

    def test_a_list_may_be_the_body(self) -> None:
        """JSON need not be an object at its top."""
        request = built(least(form=None, json=[{"to": "{to}", "none": None, "pi": 3.5}, "{text}"]))

        assert [{"to": "+84900000001", "none": None, "pi": 3.5}, MESSAGE.text] == orjson.loads(request.body)

    def test_a_number_among_other_words_is_text(self) -> None:
        """Only a value that is the validity and no more becomes a number."""
        request = built(least(form=None, json=["{validity_s}", "{validity_s}s", "180", "{text}", "{to}"]))

        assert [180, "180s", "180", MESSAGE.text, MESSAGE.to] == orjson.loads(request.body)

    def test_headers_may_be_the_descriptions_own(self) -> None:
        """What the description says of content-type and accept counts, in whichever letters."""
        headers = {"Content-Type": "application/vnd.x+json", "ACCEPT": "*/*", "X-Id": "{reference}/{validity_s}/{to}"}

        assert {
            "content-type": "application/vnd.x+json", "accept": "*/*", "x-id": f"{REFERENCE}/180/+84900000001",
        } == built(least(headers=headers)).headers

    def test_templates_have_the_providers_names(self) -> None:
        """A registered template is named as the provider knows it; one that is not registered is refused."""
        gateway = least(
            form=None, json={"to": "{to}", "template": "{template}", "code": "{param.code}"},
            templates={"registration": "T-17"},
        )

        assert b'{"to":"+84900000001","template":"T-17","code":"123456"}' == built(gateway).body
        assert SendOutcome(SendResult.TEMPLATE_REJECTED, provider_code="no_template") == (
            gateway.build_request(replace(MESSAGE, template_key="sign_in"))
        )
        assert gateway.supports.templates is True

    def test_a_message_without_a_parameter_is_refused(self) -> None:
        """A text that lacks what the description fills in cannot be carried."""
        assert SendOutcome(SendResult.TEMPLATE_REJECTED, provider_code="no_param") == (
            described().build_request(replace(MESSAGE, params=(("code", "123456"),)))
        )

    def test_a_retry_is_the_same_request(self) -> None:
        """The same message is the same bytes, so that the provider knows a duplicate (Invariant 6)."""
        assert described().build_request(MESSAGE) == described().build_request(MESSAGE)

    def test_it_says_what_the_description_says(self) -> None:
        """What a gateway supports is what is described; without reports it has no way to read one."""
        assert Supports(callback=True, deduplicates=True, unicode=True, parts=3) == described().supports
        assert isinstance(described(), ReportingGateway)
        assert Supports() == least().supports
        assert not isinstance(least(), ReportingGateway)

    def test_it_says_what_it_is(self) -> None:
        """Whatever is described reaches real phones; the class alone promises nothing."""
        assert ("http", True, False) == (HttpGateway.name, HttpGateway.real, HttpGateway.experimental)
        assert Supports() == HttpGateway.supports
        assert ("the description in the settings", 10.0) == (HttpGateway.contract, HttpGateway.timeout_s)

    def test_options_may_come_as_text(self) -> None:
        """An environment variable is text."""
        gateway = described(timeout_s="5.5", deduplicates="TRUE", unicode="false", parts="2", method="put")

        assert 5.5 == gateway.timeout_s
        assert (0.5, 60.0) == (least(timeout_s=0.5).timeout_s, least(timeout_s=60).timeout_s)
        assert (1, 255) == (least(parts="1").supports.parts, least(parts=255).supports.parts)
        assert (8, 10.0) == (described().timeout_s, least().timeout_s)
        assert Supports(callback=True, deduplicates=True, parts=2) == gateway.supports
        assert "PUT" == built(gateway).method


class TestAnswer:
    @pytest.mark.parametrize("code", [0, "0", "00"], ids=repr)
    def test_a_rule_accepts(self, code: object) -> None:
        """A value matches as text or number; the id is read where the rule says."""
        for said, kept in (("m-1", "m-1"), (17, "17")):
            assert SendOutcome(SendResult.ACCEPTED, kept, str(code)) == (
                answer(200, {"code": code, "data": [{"id": said}]})
            )

    @pytest.mark.parametrize(("status", "body", "outcome"), [
        (200, {"code": 41, "data": [{"id": "m-1"}]}, SendOutcome(SendResult.DUPLICATE, "m-1", "41")),
        (200, {"code": "41"}, SendOutcome(SendResult.DUPLICATE, None, "41")),
        (200, {"code": 21, "reason": "E7"}, SendOutcome(SendResult.TEMPLATE_REJECTED, None, "E7")),
        (299, {"code": 21}, SendOutcome(SendResult.TEMPLATE_REJECTED, None, "299")),
        (400, {"code": "21", "reason": "E7"}, SendOutcome(SendResult.TEMPLATE_REJECTED, None, "E7")),
        (202, {"queued": {}}, SendOutcome(SendResult.TEMPORARY, None, "202", maybe_sent=True)),
        (409, b"<html>", SendOutcome(SendResult.INVALID_NUMBER, None, "409")),
        (404, {"code": 0}, SendOutcome(SendResult.INVALID_NUMBER, None, "404")),
    ])
    def test_each_rule(self, status: int, body: object, outcome: SendOutcome) -> None:
        """The rule that matches status and value says the result; its code goes to the log."""
        assert outcome == answer(status, body)

    def test_the_first_match_counts(self) -> None:
        """A later rule takes what earlier ones left."""
        gateway = least(answers=[
            {"status": "2xx", "path": "a", "value": 1, "result": "accepted"},
            {"status": "2xx", "path": "a", "result": "blocked"},
            {"status": "2xx", "result": "balance"},
        ])

        assert SendResult.ACCEPTED is answer(200, {"a": 1}, gateway).result
        assert SendResult.BLOCKED is answer(200, {"a": 2}, gateway).result
        assert SendResult.BALANCE is answer(200, {"a": None}, gateway).result

    @pytest.mark.parametrize(("name", "first"), [("2xx", 200), ("4xx", 400), ("5xx", 500)])
    def test_a_class_is_all_its_statuses(self, name: str, first: int) -> None:
        """2xx, 4xx and 5xx are what they say, from the first to the last."""
        gateway = least(answers=[*LEAST["answers"], {"status": name, "result": "sender_rejected"}])
        took = [code for code in range(100, 700) if answer(code, b"{}", gateway).result is SendResult.SENDER_REJECTED]

        assert list(range(first, first + 100)) == took

    @pytest.mark.parametrize("result", list(SendResult))
    def test_every_result_can_be_described(self, result: SendResult) -> None:
        """A rule says any result; what is temporary or unknown may have been sent."""
        rule = {"status": 200, "path": "code", "value": 1, "result": result.value}
        gateway = least(answers=[*LEAST["answers"], rule])
        doubtful = result in {SendResult.TEMPORARY, SendResult.UNKNOWN}

        assert SendOutcome(result, None, "1", maybe_sent=doubtful) == answer(200, {"code": 1}, gateway)

    @pytest.mark.parametrize(("value", "body", "matches"), [
        ("true", {"v": True}, True), (True, {"v": "true"}, True), (False, {"v": 0}, False), (1, {"v": True}, False),
        ("false", {"v": False}, True), (1.5, {"v": 1.5}, True),
        ("1", {"v": 1.0}, False), ("", {"v": ""}, True), ("x", {"v": "X"}, False),
        ("x", {"v": ["x"]}, False), ("x", {"v": None}, False), ("x", {}, False), ("x", ["x"], False),
    ])
    def test_values_are_compared_as_text(self, value: object, body: object, matches: bool) -> None:
        """Text and number are one; true is not 1, and a list is never a value."""
        gateway = least(answers=[{"status": 200, "path": "v", "value": value, "result": "accepted"}])

        assert matches == (answer(200, body, gateway).result is SendResult.ACCEPTED)

    @pytest.mark.parametrize(("path", "body", "matches"), [
        ("0.a", [{"a": 1}], True), ("a.1", {"a": [0, 1]}, True), ("a.2", {"a": [0, 1]}, False),
        ("a.-1", {"a": [0, 1]}, False), ("a.01", {"a": [0, 1]}, True), ("a.9999999999", {"a": [0, 1]}, False),
        ("a.1", {"a": {"1": 1}}, True), ("a.b", {"a.b": 1}, False), ("a.b", {"a": "b"}, False), ("a", 1, False),
    ])
    def test_a_path_leads_through_names_and_indexes(self, path: str, body: object, matches: bool) -> None:
        """A step is a name of an object or an index of a list; what leads nowhere matches nothing."""
        gateway = least(answers=[{"status": 200, "path": path, "value": 1, "result": "accepted"}])

        assert matches == (answer(200, body, gateway).result is SendResult.ACCEPTED)

    @pytest.mark.parametrize("body", [
        {"code": 0}, {"code": 0, "data": []}, {"code": 0, "data": [{"id": ""}]}, {"code": 0, "data": [{"id": "a b"}]},
        {"code": 0, "data": [{"id": None}]}, {"code": 0, "data": {"id": "m-1"}},
    ])
    def test_accepted_without_the_id_is_unknown(self, body: object) -> None:
        """A success that lacks the described id is not the described success."""
        assert SendOutcome(SendResult.UNKNOWN, None, "0", maybe_sent=True) == answer(200, body)

    @pytest.mark.parametrize(("status", "result", "maybe_sent"), [
        (200, "unknown", True), (204, "unknown", True), (301, "unknown", True), (302, "unknown", True),
        (307, "unknown", True), (308, "unknown", True), (400, "unknown", False), (401, "authentication", False),
        (402, "balance", False), (403, "authentication", False), (429, "throttled", False),
        (500, "temporary", True), (503, "temporary", True),
    ])
    def test_what_no_rule_takes_counts_by_its_status(self, status: int, result: str, maybe_sent: bool) -> None:
        """Garbage, redirects and errors that are not described are what their status says."""
        for body in (b"", b"<html>", b"[]", b'{"code": "no, sorry"}', b'{"code": 0', b"\xff"):
            assert SendOutcome(SendResult(result), None, str(status), maybe_sent=maybe_sent) == answer(status, body)

    def test_what_no_rule_takes_is_told_with_its_code(self) -> None:
        """Whoever writes the next rule learns which value it must match."""
        assert SendOutcome(SendResult.UNKNOWN, None, "200:99", maybe_sent=True) == answer(200, b'{"code": 99}')

    def test_a_redirect_is_never_a_success(self) -> None:
        """The body of a success behind a redirect is not read."""
        body = {"code": 0, "data": [{"id": "m-1"}]}

        assert SendOutcome(SendResult.UNKNOWN, None, "302:0", maybe_sent=True) == answer(302, body)


class TestReport:
    @pytest.mark.parametrize(("said", "state"), [
        ("DELIVRD", "delivered"), (0, "delivered"), ("0", "delivered"), ("ENROUTE", "sent"), ("UNDELIV", "failed"),
        (True, "failed"),
    ], ids=repr)
    def test_every_described_value(self, said: object, state: str) -> None:
        """Each value that the description lists is its state; without a code the value goes to the log."""
        shown = "true" if said is True else str(said)

        assert [DeliveryReport(DeliveryState(state), "m-1", REFERENCE, shown)] == (
            described().parse_report(callback(report(said)))
        )

    def test_the_code_goes_to_the_log(self) -> None:
        """Where the description names a code, that is what the log shows."""
        assert [DeliveryReport(DeliveryState.FAILED, "m-1", REFERENCE, "7")] == (
            described().parse_report(callback(report("UNDELIV", error=7)))
        )

    def test_many_reports_in_one_callback(self) -> None:
        """Each is read for itself, by id or reference; strange ones are left out, and none is none."""
        said = described().parse_report(callback(
            report("DELIVRD", id=None), report("nonsense"), [], report("ENROUTE", ref="order 7"), {"id": "m-1"},
        ))

        assert [
            DeliveryReport(DeliveryState.DELIVERED, None, REFERENCE, "DELIVRD"),
            DeliveryReport(DeliveryState.SENT, "m-1", None, "ENROUTE"),
        ] == said
        assert [] == described().parse_report(callback())

    @pytest.mark.parametrize("one", [
        {}, [], None, "x", {"id": "m-1"}, report(None), report("nonsense"), report(["DELIVRD"]), report("delivrd"),
        report("DELIVRD", id=None, ref=None), report("DELIVRD", id="a b", ref="a b"),
        {**report(0), "status": "DELIVRD"},
    ])
    def test_what_is_no_report_is_unreadable(self, one: object) -> None:
        """Without a message and a described state there is nothing to report."""
        with pytest.raises(ReportUnreadable):
            described().parse_report(callback(one))

    @pytest.mark.parametrize("change", [
        {"body": b""}, {"body": b"<html>"}, {"body": b"[]"}, {"body": b"{}"}, {"body": b'{"results": {}}'},
        {"body": b'{"results": [{'}, {"body": b"\xff"}, {"method": "GET"},
    ])
    def test_garbage_is_unreadable(self, change: dict[str, Any]) -> None:
        """Only a POST of the described JSON is read."""
        with pytest.raises(ReportUnreadable):
            described().parse_report(replace(callback(report(0)), **change))

    def test_one_report_without_a_list(self) -> None:
        """Without a list the whole body is one report."""
        gateway = least(reports={"in": "json", "reference": "a.ref", "state": "s", "delivered": 1})
        body = orjson.dumps({"a": {"ref": REFERENCE}, "s": 1})

        assert [DeliveryReport(DeliveryState.DELIVERED, None, REFERENCE, "1")] == (
            gateway.parse_report(ReportRequest("POST", CALLBACK, {}, {}, body))
        )

    def test_a_form(self) -> None:
        """In a form the names stand as they are, dots included; of a repeated one the first counts."""
        gateway = least(reports={"in": "form", "reference": "msg.ref", "state": "s", "delivered": "1", "code": "e"})
        body = urlencode([("msg.ref", REFERENCE), ("s", "1"), ("s", "2"), ("e", "")]).encode()
        request = ReportRequest("POST", CALLBACK, {}, {}, body)

        assert [DeliveryReport(DeliveryState.DELIVERED, None, REFERENCE, "1")] == gateway.parse_report(request)
        for bad in (replace(request, method="GET"), replace(request, body=b"\xff"), replace(request, body=b"s=%ff"),
                    replace(request, body=b"&".join([b"a=1"] * 300)), replace(request, body=b"")):
            with pytest.raises(ReportUnreadable):
                gateway.parse_report(bad)

    def test_an_empty_value_is_a_value(self) -> None:
        """A form whose state is empty says what the description makes of that."""
        gateway = least(reports={"in": "form", "reference": "r", "state": "s", "delivered": "1", "sent": ""})
        body = f"r={REFERENCE}&s=".encode()

        assert [DeliveryReport(DeliveryState.SENT, None, REFERENCE, None)] == (
            gateway.parse_report(ReportRequest("POST", CALLBACK, {}, {}, body))
        )

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_a_query(self, method: str) -> None:
        """A provider that knows GET alone is read too; a value that is not listed is what ``otherwise`` says."""
        gateway = least(reports={
            "in": "query", "reference": "ref", "state": "s", "delivered": [1], "failed": [8, 9], "otherwise": "sent",
        })
        for said, state in (("1", DeliveryState.DELIVERED), ("9", DeliveryState.FAILED), ("5", DeliveryState.SENT)):
            assert [DeliveryReport(state, None, REFERENCE, said)] == (
                gateway.parse_report(ReportRequest(method, CALLBACK, {}, {"ref": REFERENCE, "s": said}))
            )
        with pytest.raises(ReportUnreadable):
            gateway.parse_report(ReportRequest(method, CALLBACK, {}, {"ref": REFERENCE}))

    def test_what_is_not_listed_may_be_failed(self) -> None:
        """``otherwise`` may say failed."""
        gateway = least(reports={**REPORTS, "otherwise": "failed"})

        assert [DeliveryReport(DeliveryState.FAILED, None, REFERENCE, "5")] == (
            gateway.parse_report(ReportRequest("GET", CALLBACK, {}, {"r": REFERENCE, "s": "5"}))
        )


RULE: dict[str, Any] = {"status": 200, "path": "code", "value": 0, "result": "accepted"}
REPORTS: dict[str, Any] = {"in": "query", "reference": "r", "state": "s", "delivered": [1]}

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no scheme": ({"url": "s3cret.example.vn/send"}, "url"),
    "another scheme": ({"url": "ftp://s3cret.example.vn"}, "url"),
    "no host": ({"url": "https:///s3cret"}, "url"),
    "a placeholder in the host": ({"url": "https://{reference}.example.vn/"}, "url"),
    "a placeholder at the end of the host": ({"url": "https://s3cret.vn{reference}"}, "url"),
    "a placeholder as the URL": ({"url": "{text}"}, "url"),
    "a user in the URL": ({"url": "https://s3cret@sms.example.vn/"}, "url"),
    "a fragment": ({"url": "https://sms.example.vn/#s3cret"}, "url"),
    "a blank in the URL": ({"url": "https://sms.example.vn/s3cret x"}, "url"),
    "an open bracket": ({"url": "https://[s3cret/"}, "url"),
    "a port that is none": ({"url": "https://sms.example.vn:s3cret/"}, "url"),
    "port 0": ({"url": "https://sms.example.vn:0/"}, "url"),
    "a URL that is a list": ({"url": ["s3cret"]}, "url"),
    "a method that is none": ({"method": "s3cret"}, "method"),
    "a method that is a number": ({"method": 1}, "method"),
    "a GET with a body": ({"method": "GET"}, "method"),
    "two bodies": ({"json": {"text": "{text}"}}, "form"),
    "a form that is a list": ({"form": ["s3cret"]}, "form"),
    "a table in a form": ({"form": {"to": "{to}", "a": {"s3cret": 1}}}, "form.a"),
    "a placeholder in a name of a form": ({"form": {"{text}": "{text}"}}, "form.{text}"),
    "a brace in a name": ({"query": {"s}": "x"}}, "query.s}"),
    "a placeholder in a name of JSON": ({"form": None, "json": {"a": {"{text}": 1}}}, "json.a.{text}"),
    "a date in JSON": ({"form": None, "json": {"a": [tomllib.loads("d = 2026-01-31")["d"]]}}, "json.a.0"),
    "no number of JSON": ({"form": None, "json": {"a": float("inf")}}, "json.a"),
    "a number too small for JSON": ({"form": None, "json": {"a": -2**63 - 1}}, "json.a"),
    "a number too large for JSON": ({"form": None, "json": {"a": 2**63}}, "json.a"),
    "an unknown placeholder": ({"query": {"q": "s{cret}"}}, "query.q"),
    "a parameter without a name": ({"query": {"q": "{param.}"}}, "query.q"),
    "a lonely brace": ({"query": {"q": "s3cret}"}}, "query.q"),
    "an open brace": ({"form": None, "json": {"a": [{"b": "s3cret {"}]}}, "json.a.0.b"),
    "an empty name": ({"query": {"": "s3cret"}}, "query"),
    "headers that are text": ({"headers": "s3cret"}, "headers"),
    "a header name that is none": ({"headers": {"s3cret:": "x"}}, "headers"),
    "a header twice": ({"headers": {"X-A": "s3cret", "x-a": "s3cret"}}, "headers.x-a"),
    "a header of two lines": ({"headers": {"x": "s3cret\r\ny: z"}}, "headers.x"),
    "a header with accents": ({"headers": {"x": "s3cret é"}}, "headers.x"),
    "the text in a header": ({"headers": {"x": "{text}"}}, "headers.x"),
    "a parameter in a header": ({"headers": {"x": "{param.code}"}}, "headers.x"),
    "a secret that nothing uses": ({"secret": "s3cret"}, "secret"),
    "a secret that is not there": ({"headers": {"x": "{secret}"}}, "secret"),
    "a secret of two lines": ({"headers": {"x": "{secret}"}, "secret": "s3cret\n1"}, "secret"),
    "a secret with accents": ({"headers": {"x": "{secret}"}, "secret": "s3cret é"}, "secret"),
    "a secret that is a number": ({"headers": {"x": "{secret}"}, "secret": 7}, "secret"),
    "a sender that nothing uses": ({"sender": "Cong DVC"}, "sender"),
    "a sender that is not there": ({"query": {"from": "{sender}"}}, "sender"),
    "a sender of two lines": ({"query": {"from": "{sender}"}, "sender": "s3cret\n1"}, "sender"),
    "templates that nothing uses": ({"templates": {"registration": "T"}}, "templates"),
    "a template without a name": ({"query": {"t": "{template}"}, "templates": {"sign_in": ""}}, "templates.sign_in"),
    "templates that are text": ({"query": {"t": "{template}"}, "templates": "s3cret"}, "templates"),
    "duplicates without a reference": ({"deduplicates": True}, "deduplicates"),
    "a yes that is none": ({"deduplicates": "s3cret"}, "deduplicates"),
    "another yes that is none": ({"unicode": 1}, "unicode"),
    "no parts": ({"parts": 0}, "parts"), "half a part": ({"parts": 1.5}, "parts"),
    "true parts": ({"parts": True}, "parts"), "parts in words": ({"parts": "s3cret"}, "parts"),
    "too many parts": ({"parts": "256"}, "parts"),
    "no time": ({"timeout_s": 0}, "timeout_s"), "no number of seconds": ({"timeout_s": "s3cret"}, "timeout_s"),
    "too much time": ({"timeout_s": 61}, "timeout_s"), "true time": ({"timeout_s": True}, "timeout_s"),
    "endless time": ({"timeout_s": "inf"}, "timeout_s"), "time that is none": ({"timeout_s": None}, "timeout_s"),

    "no number": ({"form": {"text": "{text}"}}, "placeholders"),
    "no code": ({"form": {"to": "{to_national}", "template": "{template}"}}, "placeholders"),

    "no rules": ({"answers": []}, "answers"),
    "rules that are a table": ({"answers": {"status": 200}}, "answers"),
    "nothing accepted": ({"answers": [{**RULE, "result": "blocked"}]}, "answers"),
    "a rule that is text": ({"answers": [RULE, "s3cret"]}, "answers.1"),
    "an unknown member of a rule": ({"answers": [{**RULE, "resutl": "s3cret"}]}, "answers.0.resutl"),
    "no status": ({"answers": [RULE, {"result": "blocked"}]}, "answers.1.status"),
    "an empty list of statuses": ({"answers": [{**RULE, "status": []}]}, "answers.0.status"),
    "a redirect": ({"answers": [RULE, {"status": 302, "result": "blocked"}]}, "answers.1.status"),
    "a class of redirects": ({"answers": [RULE, {"status": "3xx", "result": "blocked"}]}, "answers.1.status"),
    "a status beyond": ({"answers": [RULE, {"status": [400, 600], "result": "blocked"}]}, "answers.1.status"),
    "a status in words": ({"answers": [{**RULE, "status": "s3cret"}]}, "answers.0.status"),
    "accepted with an error": ({"answers": [{**RULE, "status": [200, 404]}]}, "answers.0.status"),
    "accepted by status alone": ({"answers": [{"status": 200, "result": "accepted"}]}, "answers.0"),
    "no result": ({"answers": [RULE, {"status": 400}]}, "answers.1.result"),
    "a result that is none": ({"answers": [{**RULE, "result": "s3cret"}]}, "answers.0.result"),
    "a value without a path": ({"answers": [{"status": 200, "value": 1, "result": "accepted"}]}, "answers.0.path"),
    "an empty step": ({"answers": [{**RULE, "path": "a..b"}]}, "answers.0.path"),
    "an empty path": ({"answers": [{**RULE, "path": ""}]}, "answers.0.path"),
    "a path that is a list": ({"answers": [{**RULE, "id": ["s3cret"]}]}, "answers.0.id"),
    "a code that is a number": ({"answers": [{**RULE, "code": 7}]}, "answers.0.code"),
    "a value that is a table": ({"answers": [{**RULE, "value": {"s3cret": 1}}]}, "answers.0.value"),
    "an empty list of values": ({"answers": [{**RULE, "value": []}]}, "answers.0.value"),
    "a rule that is never reached": (
        {"answers": [RULE, {"status": 400, "result": "blocked"}, {"status": [400], "path": "a", "result": "balance"}]},
        "answers.2",
    ),

    "reports that are text": ({"reports": "s3cret"}, "reports"),
    "an unknown member of reports": ({"reports": {**REPORTS, "deliverd": ["s3cret"]}}, "reports.deliverd"),
    "reports nowhere": ({"reports": {"reference": "r", "state": "s", "delivered": 1}}, "reports.in"),
    "reports elsewhere": ({"reports": {**REPORTS, "in": "s3cret"}}, "reports.in"),
    "a list in a query": ({"reports": {**REPORTS, "list": "s3cret"}}, "reports.list"),
    "a name that is a number": ({"reports": {**REPORTS, "code": 7}}, "reports.code"),
    "a path that is empty": ({"reports": {**REPORTS, "in": "json", "code": "a."}}, "reports.code"),
    "reports about nobody": ({"reports": {"in": "query", "state": "s", "delivered": 1}}, "reports.id"),
    "reports by an id that no answer gives": (
        {"reports": {"in": "query", "id": "i", "state": "s", "delivered": 1}}, "reports",
    ),
    "reports about nothing": ({"reports": {"in": "query", "reference": "r", "delivered": 1}}, "reports.state"),
    "nothing delivered": ({"reports": {"in": "query", "reference": "r", "state": "s"}}, "reports.delivered"),
    "delivered by nothing": ({"reports": {**REPORTS, "delivered": []}}, "reports.delivered"),
    "a value of two states": ({"reports": {**REPORTS, "failed": ["1"]}}, "reports.failed"),
    "delivered otherwise": ({"reports": {**REPORTS, "otherwise": "delivered"}}, "reports.otherwise"),
    "an otherwise that is none": ({"reports": {**REPORTS, "otherwise": None}}, "reports.otherwise"),
}


class TestMistakes:
    @pytest.mark.parametrize("mistake", MISTAKES)
    def test_every_mistake_is_told_by_its_name(self, mistake: str) -> None:
        """A mistake is told at once, alone, with its dotted name, and without what stands there."""
        options, name = MISTAKES[mistake]
        with pytest.raises(ConfigurationError, match=rf"^http: {re.escape(name)}: [^;]+$") as caught:
            least(**options)
        assert "s3cret" not in str(caught.value)

    def test_all_mistakes_are_told_at_once(self) -> None:
        """Nobody has to start five times to learn of five mistakes."""
        with pytest.raises(ConfigurationError) as caught:
            least(url="x", method="x", timeout_s="x", parts="x", answers=[{"result": "x"}, 7, {}], reports={})

        said = str(caught.value).removeprefix("http: ").split("; ")
        assert [
            "method", "url", "answers.0.status", "answers.0.result", "answers.1", "answers.2.status",
            "answers.2.result", "reports.in", "reports.delivered", "reports.id", "reports.state", "timeout_s", "parts",
        ] == [one.partition(": ")[0] for one in said]

    def test_a_mistake_says_what_to_write(self) -> None:
        """What can stand there is listed, each placeholder as one writes it."""
        with pytest.raises(ConfigurationError) as caught:
            least(
                headers={"x": "{text}"}, query={"q": "{x}", "from": "{sender}", "t": "{template}"}, sender="a\nb",
                templates={"sign_in": ""}, reports={**REPORTS, "otherwise": "x"},
            )

        assert (
            "http: query.q: a placeholder that cannot stand here: write {reference}, {secret}, {sender}, {template}, "
            "{text}, {to}, {to_international}, {to_national}, {validity_s} or {param.<name>}; "
            "headers.x: a placeholder that cannot stand here: write {reference}, {secret}, {to}, {to_international}, "
            "{to_national} or {validity_s}; sender: write one line of text; "
            "templates.sign_in: write one line of text that is not empty; reports.otherwise: write sent or failed"
        ) == str(caught.value)

    def test_an_unknown_option_is_refused(self) -> None:
        """The options are the constructor's arguments."""
        with pytest.raises(TypeError, match="resutl"):
            least(resutl=1)
