"""Viettel bulk SMS: exact requests, what it does not take, every known answer, hostile XML, bad options."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_service.core.errors import ConfigurationError
from otp_service.core.ports import HttpRequest, HttpResponse, SendOutcome, SendResult, SmsGateway, SmsMessage, Supports
from sms_adapters import viettel
from sms_adapters.contract import PLAIN, GatewayContract
from sms_adapters.viettel import ViettelGateway

OPTIONS = {"user": "dvc", "password": "s3cret<&>", "cp_code": "CONGDVC", "sender": "CONG DVC"}

ENVELOPE = (
    '<?xml version="1.0" ?><S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body>'
    '<ns2:wsCpMtResponse xmlns:ns2="http://impl.bulkSms.ws/"><return><message>{}</message><result>{}</result></return>'
    "</ns2:wsCpMtResponse></S:Body></S:Envelope>"
)

REFUSALS = [
    ("Authenticate: Cp_code: NULL_OR_BLANK", "AUTHENTICATE", "authentication"),
    ("Authenticate: UserName: NULL_OR_BLANK", "AUTHENTICATE", "authentication"),
    ("Authenticate: Password: NULL_OR_BLANK", "AUTHENTICATE", "authentication"),
    ("Authenticate: CP_CODE_NOT_FOUND", "CP_CODE_NOT_FOUND", "authentication"),
    ("CP_CODE_NOT_FOUND", "CP_CODE_NOT_FOUND", "authentication"),
    ("Authenticate: WRONG_INFORMATION_AUTHENTICATE", "WRONG_INFORMATION_AUTHENTICATE", "authentication"),
    ("WRONG_INFORMATION_AUTHENTICATE", "WRONG_INFORMATION_AUTHENTICATE", "authentication"),
    ("Authenticate: IP_INVALID (YOUR IP: 192.0.2.7)", "IP_INVALID", "authentication"),
    ("Check RequestID: NULL_OR_BLANK", "REQUEST_ID", "unknown"),
    ("Check RequestID: REQUEST_ID_NOT_NUMBER", "REQUEST_ID", "unknown"),
    ("Check UserID: NULL_OR_BLANK", "USER_ID", "unknown"),
    ("Check ReceiverID: NULL_OR_BLANK", "RECEIVER_ID", "unknown"),
    ("Check ReceiverID: FORMAT_ERROR", "RECEIVER_FORMAT_ERROR", "invalid_number"),
    ("Length of ReceiverID is invalid.", "RECEIVER_LENGTH", "invalid_number"),
    ("UserID_NOT_EQUAL_ReceiverID", "USER_ID", "unknown"),
    ("Unable to check telco from input receiver", "NO_TELCO", "wrong_network"),
    ("Check ServiceID: DUPLICATE MESSAGE", "DUPLICATE_MESSAGE", "duplicate"),
    ("Check ServiceID: ALIAS_INVALID:TELCO=VN", "ALIAS_INVALID", "wrong_network"),
    ("Check CommandCode: NULL_OR_BLANK", "COMMAND_CODE_ERROR", "sender_rejected"),
    ("Check CommandCode: COMMAND_CODE_ERROR", "COMMAND_CODE_ERROR", "sender_rejected"),
    ("Check Content: NULL_OR_BLANK", "CONTENT_NULL_OR_BLANK", "template_rejected"),
    ("Check Content: MAXLENGTH_LIMIT_480_BYTE (YOUR_CONTENT: 481 BYTE)", "MAXLENGTH_LIMIT", "template_rejected"),
    ("Check Content: MSG_ERROR_CONTAIN_BLACKLIST", "MSG_ERROR_CONTAIN_BLACKLIST", "template_rejected"),
    ("Check template: CONTENT_NOT_MATCH_TEMPLATE", "CONTENT_NOT_MATCH_TEMPLATE", "template_rejected"),
    ("Check information error", "CHECK_INFORMATION_ERROR", "temporary"),
    ("so dien thoai 84900000001 khong ro", "0", "unknown"),
    ("", "0", "unknown"),
]

UNREADABLE = SendOutcome(SendResult.UNKNOWN, None, "200", maybe_sent=True)


def make(**options: Any) -> ViettelGateway:
    """Return a gateway with the usual options, some of them others."""
    return ViettelGateway(**{**OPTIONS, **options})


def fields(message: SmsMessage) -> dict[str, str]:
    """Return the fields of the call a message becomes, as an XML reader sees them."""
    request = make().build_request(message)
    assert isinstance(request, HttpRequest)
    [call] = ET.fromstring(request.body)[0]  # noqa: S314 - our own request
    return {field.tag: field.text or "" for field in call}


def read(status: int, body: bytes) -> SendOutcome:
    """Let a gateway read an answer."""
    return make().parse_response(HttpResponse(status, {}, body))


class TestContract(GatewayContract):
    secrets = ("s3cret",)
    accepted = HttpResponse(200, {"content-type": "text/xml"}, ENVELOPE.format("Insert MT_QUEUE: OK", 1).encode())

    def gateway(self) -> ViettelGateway:
        """Return a fresh gateway."""
        return make()


class TestRequest:
    def test_request_bytes(self) -> None:
        """A message becomes one SOAP call with these bytes, markup in the options escaped."""
        assert HttpRequest(
            "POST", "http://apismsbrand.viettel.vn:8998/bulkapi",
            {"content-type": "text/xml; charset=utf-8", "soapaction": '""'},
            b'<?xml version="1.0" encoding="UTF-8"?>'
            b'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
            b' xmlns:impl="http://impl.bulkSms.ws/"><soapenv:Body><impl:wsCpMt>'
            b"<User>dvc</User><Password>s3cret&lt;&amp;&gt;</Password><CPCode>CONGDVC</CPCode>"
            b"<RequestID>709095204</RequestID><UserID>84900000001</UserID><ReceiverID>84900000001</ReceiverID>"
            b"<ServiceID>CONG DVC</ServiceID><CommandCode>bulksms</CommandCode><Content>Ma 123</Content>"
            b"<ContentType>0</ContentType></impl:wsCpMt></soapenv:Body></soapenv:Envelope>",
        ) == make().build_request(replace(PLAIN, text="Ma 123"))

    def test_options_are_used(self) -> None:
        """Address and command code are the configured ones."""
        request = make(url="https://tunnel.example.vn:8443/bulkapi", command_code="otp").build_request(PLAIN)
        assert isinstance(request, HttpRequest)
        assert "https://tunnel.example.vn:8443/bulkapi" == request.url
        assert b"<CommandCode>otp</CommandCode>" in request.body

    @pytest.mark.parametrize(("text", "content_type"), [("Ma 123", "0"), ("Mã 123", "1")])
    def test_content_type(self, text: str, content_type: str) -> None:
        """Unaccented text goes out as type 0, accented as type 1."""
        sent = fields(replace(PLAIN, text=text))
        assert (text, content_type) == (sent["Content"], sent["ContentType"])

    @pytest.mark.parametrize("text", ["1 < 2 > 0 \"'", "]]>", "</Content><Content>x", "Ma 123\n@portal.example #123"])
    def test_markup_in_the_text(self, text: str) -> None:
        """No text gets out of its element."""
        assert text == fields(replace(PLAIN, text=text))["Content"]

    @pytest.mark.parametrize(("text", "why"), [
        ("a & b", "ampersand"), ("a" * 481, "too_long"), ("", "no_text"), (" \n", "no_text"), ("a\x0c", "not_xml"),
        ("a\x00", "not_xml"), ("a\ufffe", "not_xml"), ("a\ud800", "not_xml"),
    ], ids=repr)
    def test_refused_texts(self, text: str, why: str) -> None:
        """What Viettel or XML cannot carry is refused before anybody is asked; another gateway may carry it."""
        outcome = make().build_request(replace(PLAIN, text=text))
        assert SendOutcome(SendResult.TEMPLATE_REJECTED, provider_code=why) == outcome

    def test_the_longest_text(self) -> None:
        """480 characters are carried, accented ones too."""
        assert "ạ" * 480 == fields(replace(PLAIN, text="ạ" * 480))["Content"]

    @given(st.text("ABCXYZabcxyz0123456789-", min_size=1, max_size=48))
    def test_request_id(self, reference: str) -> None:
        """The request id follows from the reference alone and is a number of nine digits."""
        request_id = fields(replace(PLAIN, reference=reference))["RequestID"]
        assert request_id == fields(replace(PLAIN, reference=reference, text="other"))["RequestID"]
        assert 100_000_000 <= int(request_id) < 1_000_000_000

    def test_other_references_have_other_request_ids(self) -> None:
        """A thousand sends have a thousand request ids."""
        references = [f"5-k1-k3t3u3rmwygiymua4yg2vugqla-{number}" for number in range(1000)]
        assert 1000 == len({viettel._request_id(reference) for reference in references})


class TestAnswers:
    @pytest.mark.parametrize("message", ["Insert MT_QUEUE: OK", ""])
    def test_accepted(self, message: str) -> None:
        """Result 1 is accepted; Viettel gives no message id."""
        assert SendOutcome(SendResult.ACCEPTED, None, "1") == read(200, ENVELOPE.format(message, 1).encode())

    def test_blanks(self) -> None:
        """Blanks and line breaks around the values do not count."""
        body = ENVELOPE.format("Insert MT_QUEUE: OK", "\n  1\n").replace("<return>", "\n <return>\n  ")
        assert SendResult.ACCEPTED is read(200, body.encode()).result

    @pytest.mark.parametrize(("message", "code", "result"), REFUSALS)
    def test_refusals(self, message: str, code: str, result: str) -> None:
        """Each message of result 0 has its meaning; the log gets a word of ours, never Viettel's sentence."""
        outcome = SendOutcome(SendResult(result), None, code, maybe_sent=result == "temporary")
        assert outcome == read(200, ENVELOPE.format(message, 0).encode())

    def test_every_refusal_is_tested(self) -> None:
        """Each row of the adapter's table is the meaning of one message above."""
        assert {code for _, code, _ in viettel._REFUSALS} == {code for _, code, _ in REFUSALS} - {"0"}

    @pytest.mark.parametrize("body", [
        b"", b"OK", b"<html><body>1</body></html>", b"<return><result>1</result>", b"<result>1</result>",
        b'{"return": {"result": 1}}',
        ENVELOPE.format("", 2).encode(), ENVELOPE.format("Insert MT_QUEUE: OK", "").encode(),
        b"<a><return><result>1</result></return><return><result>1</result></return></a>",
        b"<a><return><result>1<b/>0</result></return></a>",
        b'<?xml version="1.0" encoding="no-such-code"?>' + b"<a><return><result>1</result></return></a>",
        b"\xff\xfe<\x00a\x00/\x00>\x00",
    ])
    def test_garbage(self, body: bytes) -> None:
        """What is not Viettel's answer is unknown, and perhaps sent."""
        assert UNREADABLE == read(200, body)

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
    @pytest.mark.parametrize("doctype", [
        "<!DOCTYPE S>", '<!DOCTYPE S [<!ENTITY one "1">]>', '<!DOCTYPE S SYSTEM "http://127.0.0.1:9/x.dtd">',
        '<!DOCTYPE S [<!ENTITY file SYSTEM "file:///etc/hostname">]>',
    ])
    def test_document_types(self, doctype: str, encoding: str) -> None:
        """An answer with a document type is not read, in whatever encoding: entities begin there."""
        good = "<S><return><message>OK</message><result>1</result></return></S>"
        assert SendResult.ACCEPTED is read(200, good.encode(encoding)).result
        assert UNREADABLE == read(200, (doctype + good).encode(encoding))

    @given(st.binary(max_size=200))
    def test_bytes(self, body: bytes) -> None:
        """Whatever bytes come, reading them gives an outcome."""
        assert SendResult.UNKNOWN is read(200, body).result

    @pytest.mark.parametrize(("status", "result", "maybe_sent"), [
        (201, "unknown", True), (301, "unknown", True), (302, "unknown", True), (400, "unknown", False),
        (401, "authentication", False), (403, "authentication", False), (404, "unknown", False),
        (429, "throttled", False), (500, "temporary", True), (502, "temporary", True),
    ])
    @pytest.mark.parametrize("message", ["Insert MT_QUEUE: OK", "Check information error"])
    def test_statuses(self, message: str, status: int, result: str, maybe_sent: bool) -> None:
        """A redirect, a SOAP fault and a proxy's answer mean what their status says, whatever their body."""
        body = ENVELOPE.format(message, int(message.endswith("OK"))).encode()
        assert SendOutcome(SendResult(result), None, str(status), maybe_sent=maybe_sent) == read(status, body)


class TestOptions:
    def test_what_it_says(self) -> None:
        """It reaches phones, and admits that its contract is hearsay."""
        gateway = make(timeout_s="5")
        assert isinstance(gateway, SmsGateway)
        assert ("viettel", True, True, 5.0) == (gateway.name, gateway.real, gateway.experimental, gateway.timeout_s)
        assert Supports(deduplicates=True, unicode=True, parts=3) == gateway.supports
        assert 60.0 == make(timeout_s=60).timeout_s

    def test_a_secret_file_ends_with_a_line_break(self) -> None:
        """Blanks around an option's value are not part of it."""
        assert make().build_request(PLAIN) == make(password="s3cret<&>\n", user=" dvc").build_request(PLAIN)

    @pytest.mark.parametrize("options", [
        {"user": ""}, {"password": "two\nlines"}, {"password": 5}, {"cp_code": " "}, {"sender": None},
        {"command_code": ""}, {"url": "ftp://x"}, {"url": "http://x:8998/bulkapi?wsdl"}, {"url": "http://[::1"},
        {"url": "http://x:99999"},
        {"url": "http://x/ạ"}, {"url": "http://x/a b"}, {"url": "http://x:0"},
        {"timeout_s": "soon"}, {"timeout_s": -1}, {"timeout_s": "inf"},
    ], ids=repr)
    def test_bad_options(self, options: dict[str, Any]) -> None:
        """An option that cannot be used refuses to start, in a sentence that names it and repeats no value."""
        with pytest.raises(ConfigurationError, match=f"viettel: {next(iter(options))}: write") as refused:
            make(**options)
        assert "s3cret" not in str(refused.value)
        assert "two" not in str(refused.value)
