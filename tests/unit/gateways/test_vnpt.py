"""VNPT brand name SMS: exact requests, registered templates, every known answer and code, bad options."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_service.core.errors import ConfigurationError
from otp_service.core.ports import HttpRequest, HttpResponse, SendOutcome, SendResult, SmsGateway, SmsMessage, Supports
from sms_adapters import vnpt
from sms_adapters.contract import PLAIN, GatewayContract
from sms_adapters.vnpt import VnptGateway

OPTIONS = {
    "url": "http://sms.example.vn:8888/smsbn/api", "api_user": "dvc-api", "api_password": "s3cret-of-vnpt",
    "username": "dvc", "agent_id": 181, "label_id": "141000", "contract_id": "13000",
    "templates": {
        "registration": {"id": "927000", "params": ["code", "validity"]},
        "sign_in": {"id": 927001, "params": ["brand", "code"]},
    },
}

#: sha256 of the plain message's reference, its first twenty digits.
REQUEST_ID = "3de1ee53ff759a24091d"

CODES = [
    ("0", "accepted"), ("-1", "temporary"), ("1", "authentication"), ("2", "unknown"), ("3", "unknown"),
    ("7", "template_rejected"), ("8", "template_rejected"), ("9", "sender_rejected"), ("10", "authentication"),
    ("11", "template_rejected"), ("12", "template_rejected"), ("13", "sender_rejected"), ("14", "sender_rejected"),
    ("15", "authentication"), ("16", "throttled"), ("17", "template_rejected"), ("20", "balance"), ("21", "balance"),
    ("22", "balance"), ("23", "invalid_number"), ("24", "unknown"), ("25", "wrong_network"), ("26", "blocked"),
    ("30", "template_rejected"), ("31", "unknown"), ("32", "template_rejected"), ("33", "duplicate"),
]


def make(**options: Any) -> VnptGateway:
    """Return a gateway with the usual options, some of them others."""
    return VnptGateway(**{**OPTIONS, **options})


def fields(message: SmsMessage) -> dict[str, Any]:
    """Return the fields of the request a message becomes."""
    request = make().build_request(message)
    assert isinstance(request, HttpRequest)
    found: dict[str, Any] = orjson.loads(request.body)["RQST"]
    return found


def read(status: int, body: bytes) -> SendOutcome:
    """Let a gateway read an answer."""
    return make().parse_response(HttpResponse(status, {}, body))


class TestContract(GatewayContract):
    secrets = ("s3cret-of-vnpt",)
    accepted = HttpResponse(200, {}, b'{"RPLY": {"name": "send_sms_list", "ERROR": "0", "ERROR_DESC": "success"}}')

    def gateway(self) -> VnptGateway:
        """Return a fresh gateway."""
        return make()


class TestRequest:
    def test_request_bytes(self) -> None:
        """A message becomes its registered template and parameters, in the template's order, with these bytes."""
        assert HttpRequest(
            "POST", "http://sms.example.vn:8888/smsbn/api",
            {"content-type": "application/json", "accept": "application/json"},
            b'{"RQST":{"name":"send_sms_list","REQID":"' + REQUEST_ID.encode() + b'","LABELID":"141000",'
            b'"CONTRACTTYPEID":"1","CONTRACTID":"13000","TEMPLATEID":"927000",'
            b'"PARAMS":[{"NUM":"1","CONTENT":"739105"},{"NUM":"2","CONTENT":"3 phut"}],"SCHEDULETIME":"",'
            b'"MOBILELIST":"84900000001","ISTELCOSUB":"0","AGENTID":"181","APIUSER":"dvc-api",'
            b'"APIPASS":"s3cret-of-vnpt","USERNAME":"dvc","DATACODING":"0","SALEORDERID":"","PACKAGEID":""}}',
        ) == make().build_request(PLAIN)

    def test_optional_ids(self) -> None:
        """Contract type, order and package are the configured ones."""
        request = make(contract_type_id=2, sale_order_id="77", package_id=8).build_request(PLAIN)
        assert isinstance(request, HttpRequest)
        assert b'"CONTRACTTYPEID":"2"' in request.body
        assert request.body.endswith(b'"SALEORDERID":"77","PACKAGEID":"8"}}')

    def test_another_template(self) -> None:
        """The template follows from the message's key."""
        sent = fields(replace(PLAIN, template_key="sign_in"))
        assert "927001" == sent["TEMPLATEID"]
        assert [{"NUM": "1", "CONTENT": "Cong DVC"}, {"NUM": "2", "CONTENT": "739105"}] == sent["PARAMS"]

    def test_templates_as_text(self) -> None:
        """Templates may come as JSON, from an environment variable."""
        gateway = make(templates='{"registration": {"id": "927000", "params": ["code", "validity"]}}')
        assert make().build_request(PLAIN) == gateway.build_request(PLAIN)

    @pytest.mark.parametrize(("validity", "coding"), [("3 phut", "0"), ("3 phút", "8")])
    def test_data_coding(self, validity: str, coding: str) -> None:
        """Unaccented parameters go out as 0, accented ones as 8."""
        assert coding == fields(replace(PLAIN, params=(("code", "1"), ("validity", validity))))["DATACODING"]

    @pytest.mark.parametrize(("changes", "why"), [
        ({"template_key": "password_reset"}, "no_template"),
        ({"params": (("code", "1"),)}, "no_parameter"),
        ({"params": (("code", ""), ("validity", "3 phut"))}, "no_parameter"),
        *[({"params": (("code", f"1{char}2"), ("validity", "3 phut"))}, "xml_character") for char in "<>&\"'"],
    ])
    def test_refused(self, changes: dict[str, Any], why: str) -> None:
        """A message without its template, parameter or harmless characters is left to another gateway."""
        outcome = make().build_request(replace(PLAIN, **changes))
        assert SendOutcome(SendResult.TEMPLATE_REJECTED, provider_code=why) == outcome

    @given(st.text("ABCXYZabcxyz0123456789-", min_size=1, max_size=48))
    def test_request_id(self, reference: str) -> None:
        """The request id follows from the reference alone: twenty letters and digits."""
        request_id = fields(replace(PLAIN, reference=reference))["REQID"]
        assert request_id == fields(replace(PLAIN, reference=reference, to="+84900000002"))["REQID"]
        assert (20, True) == (len(request_id), request_id.isalnum())

    def test_other_references_have_other_request_ids(self) -> None:
        """A thousand sends have a thousand request ids."""
        references = [f"5-k1-k3t3u3rmwygiymua4yg2vugqla-{number}" for number in range(1000)]
        assert 1000 == len({vnpt._request_id(reference) for reference in references})


class TestAnswers:
    def test_every_code_is_listed(self) -> None:
        """The codes tested here are those the adapter knows."""
        assert set(vnpt._RESULTS) == {code for code, _ in CODES}

    @pytest.mark.parametrize("body", [
        '{"RPLY": {"name": "send_sms_list", "ERROR": "%s", "ERROR_DESC": "x"}}', '{"RPLY": {"ERROR": %s}}',
    ])
    @pytest.mark.parametrize(("code", "result"), CODES)
    def test_codes(self, code: str, result: str, body: str) -> None:
        """Each code means the same as number or text; an internal error and the odd 31 leave the message in doubt."""
        outcome = SendOutcome(SendResult(result), None, code, maybe_sent=code in {"-1", "31"})
        assert outcome == read(200, (body % code).encode())

    @pytest.mark.parametrize(("body", "code"), [
        (b"", "200"), (b"<html>success</html>", "200"), (b"{}", "200"), (b'{"ERROR": "0"}', "200"),
        (b'{"RPLY": "0"}', "200"), (b'{"RPLY": [{"ERROR": "0"}]}', "200"), (b'{"RPLY": {"ERROR": null}}', "200"),
        (b'{"RPLY": {"ERROR": false}}', "200"), (b'{"RPLY": {"ERROR": ""}}', "200"),
        (b'{"RPLY": {"ERROR": "0 to 84900000001"}}', "200"), (b'{"RPLY": {"ERROR": 0.0}}', "200"),
        (b'{"RPLY": {"ERROR": "99"}}', "99"), (b"<RPLY><ERROR>0</ERROR></RPLY>", "200"),
    ])
    def test_garbage(self, body: bytes, code: str) -> None:
        """What is not VNPT's answer, and a code nobody knows, is unknown and perhaps sent."""
        assert SendOutcome(SendResult.UNKNOWN, None, code, maybe_sent=True) == read(200, body)

    @pytest.mark.parametrize(("status", "result", "maybe_sent"), [
        (300, "unknown", True), (301, "unknown", True), (302, "unknown", True),
        (400, "unknown", False), (401, "authentication", False),
        (403, "authentication", False), (404, "unknown", False), (429, "throttled", False), (500, "temporary", True),
        (504, "temporary", True),
    ])
    @pytest.mark.parametrize("error", ["0", "26"])
    def test_statuses(self, error: str, status: int, result: str, maybe_sent: bool) -> None:
        """VNPT always answers 200: any other status is a proxy's, and means what it says."""
        body = b'{"RPLY": {"ERROR": "%s"}}' % error.encode()
        assert SendOutcome(SendResult(result), None, str(status), maybe_sent=maybe_sent) == read(status, body)


class TestOptions:
    def test_what_it_says(self) -> None:
        """It reaches phones, sends templates, and admits that its contract is hearsay."""
        gateway = make(timeout_s="5")
        assert isinstance(gateway, SmsGateway)
        assert ("vnpt", True, True, 5.0) == (gateway.name, gateway.real, gateway.experimental, gateway.timeout_s)
        assert Supports(deduplicates=True, templates=True) == gateway.supports
        assert 60.0 == make(timeout_s=60).timeout_s

    def test_a_secret_file_ends_with_a_line_break(self) -> None:
        """Blanks around an option's value are not part of it."""
        gateway = make(api_password="s3cret-of-vnpt\n", label_id=" 141000 ")
        assert make().build_request(PLAIN) == gateway.build_request(PLAIN)

    @pytest.mark.parametrize(("options", "named"), [
        ({"url": "sms.example.vn"}, "url"), ({"api_user": ""}, "api_user"),
        ({"api_password": "two\nlines"}, "api_password"), ({"username": None}, "username"),
        ({"agent_id": "x"}, "agent_id"), ({"agent_id": "18 1"}, "agent_id"),
        ({"agent_id": True}, "agent_id"), ({"label_id": ""}, "label_id"),
        ({"contract_id": -1}, "contract_id"), ({"contract_type_id": ""}, "contract_type_id"),
        ({"sale_order_id": "x"}, "sale_order_id"), ({"package_id": " "}, "package_id"),
        ({"timeout_s": "0"}, "timeout_s"),
        ({"templates": "{"}, "templates"), ({"templates": "[]"}, "templates"), ({"templates": {}}, "templates"),
        ({"templates": None}, "templates"), ({"templates": {"a": "927000"}}, "templates.a"),
        ({"templates": {"a": {"id": "1"}}}, "templates.a"),
        ({"templates": {"a": {"id": "1", "params": ["code"], "text": ""}}}, "templates.a"),
        ({"templates": {"a": {"id": "x", "params": ["code"]}}}, "templates.a.id"),
        ({"templates": {"a": {"id": "1", "params": "code"}}}, "templates.a.params"),
        ({"templates": {"a": {"id": "1", "params": ["code", 1]}}}, "templates.a.params"),
        ({"templates": {"a": {"id": "1", "params": ["otp"]}}}, "templates.a.params"),
    ], ids=repr)
    def test_bad_options(self, options: dict[str, Any], named: str) -> None:
        """An option that cannot be used refuses to start, in a sentence that names it and repeats no secret."""
        with pytest.raises(ConfigurationError, match=f"^vnpt: {named}: ") as refused:
            make(**options)
        assert "s3cret-of-vnpt" not in str(refused.value)
        assert "two" not in str(refused.value)
