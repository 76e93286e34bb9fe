"""Vonage: exact requests, every status, receipts by GET, form and JSON, signed and not."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlencode

import orjson
import pytest

from otp_service.core.errors import ConfigurationError
from otp_service.core.ports import (
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
from sms_adapters.contract import GatewayContract
from sms_adapters.vonage import VonageGateway

SECRET = "s3cret-api"
SIGNATURE_SECRET = "s3cret-signature"
BASIC = "YWJjZDEyMzQ6czNjcmV0LWFwaQ=="
REFERENCE = "5-k1-abcdefghijklmnopqrstuvwxyz-1"
CALLBACK = "https://otp.example/v1/delivery-reports/vonage/p4th"
ID = "0A0000001234567B"

MESSAGE = SmsMessage(
    to="+84900000001", text="Cong DVC: 123456 & ma", template_key="registration", params=(),
    reference=REFERENCE, send_number=1, validity_s=180,
)

DELIVERED = {
    "msisdn": "84900000001", "to": "Cong&DVC=", "messageId": ID, "status": "delivered", "err-code": "0",
    "client-ref": REFERENCE, "message-timestamp": "2026-01-31 12:00:00", "timestamp": "1769860800", "nonce": "n-1",
}
#: Made with ``openssl dgst -sha256 -hmac s3cret-signature`` over the sorted parameters.
SIGNATURE = "f061cdba503e2c46f2be19b1fe40add056b470fda41a99bcebc40be39285e018"
SIGNED = {**DELIVERED, "sig": SIGNATURE}


def vonage(**options: Any) -> VonageGateway:
    """Return an adapter with these options changed."""
    return VonageGateway(**{"api_key": "abcd1234", "api_secret": SECRET, "sender": "Cong DVC", **options})


def signing() -> VonageGateway:
    """Return an adapter that believes signed receipts only."""
    return vonage(signature_secret=SIGNATURE_SECRET, callback_url=CALLBACK)


def answer(status: int, body: object) -> SendOutcome:
    """Return what the adapter makes of an answer."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return vonage().parse_response(HttpResponse(status, {"content-type": "application/json"}, raw))


def messages(*statuses: object) -> dict[str, object]:
    """Return an answer with one entry for each part."""
    return {
        "message-count": str(len(statuses)),
        "messages": [
            {"to": "84900000001", "message-id": f"{ID}{number}", "status": status}
            for number, status in enumerate(statuses)
        ],
    }


def by_get(fields: dict[str, str]) -> ReportRequest:
    """Return a receipt in a query."""
    return ReportRequest("GET", f"{CALLBACK}?{urlencode(fields)}", {}, fields)


def by_form(fields: dict[str, str]) -> ReportRequest:
    """Return a receipt as a form."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return ReportRequest("POST", CALLBACK, headers, {}, urlencode(fields).encode())


def by_json(fields: dict[str, Any]) -> ReportRequest:
    """Return a receipt as JSON."""
    return ReportRequest("POST", CALLBACK, {"content-type": "application/json"}, {}, orjson.dumps(fields))


class TestContract(GatewayContract):
    secrets = (SECRET, SIGNATURE_SECRET, BASIC, "p4th")
    accepted = HttpResponse(200, {"content-type": "application/json"}, orjson.dumps(messages("0")))
    reports = (by_get(SIGNED), by_form(SIGNED), by_json(SIGNED))

    def gateway(self) -> VonageGateway:
        """Return an adapter that checks signatures."""
        return signing()


class TestUnsignedContract(GatewayContract):
    secrets = (SECRET, BASIC)
    accepted = HttpResponse(200, {"content-type": "application/json"}, orjson.dumps(messages("0", "0")))
    reports = (by_get(DELIVERED), by_form(DELIVERED), by_json(DELIVERED))

    def gateway(self) -> VonageGateway:
        """Return an adapter whose receipts are not signed."""
        return vonage()


class TestRequest:
    def test_the_request_is_what_the_manual_says(self) -> None:
        """The message goes out as a form, to a number without plus, with our reference and its life."""
        assert HttpRequest(
            "POST", "https://rest.nexmo.com/sms/json",
            {
                "authorization": f"Basic {BASIC}", "content-type": "application/x-www-form-urlencoded",
                "accept": "application/json",
            },
            b"from=Cong+DVC&to=84900000001&text=Cong+DVC%3A+123456+%26+ma&type=text&ttl=180000"
            b"&client-ref=5-k1-abcdefghijklmnopqrstuvwxyz-1"
            b"&callback=https%3A%2F%2Fotp.example%2Fv1%2Fdelivery-reports%2Fvonage%2Fp4th",
        ) == signing().build_request(MESSAGE)
        assert b"abcd1234:s3cret-api" == b64decode(BASIC)

    def test_a_callback_may_have_100_characters(self) -> None:
        """Vonage takes that many, and refuses the message with more."""
        longest = CALLBACK + "x" * (100 - len(CALLBACK))

        assert [longest] == parse_qs(vonage(callback_url=longest).build_request(MESSAGE).body.decode())["callback"]
        with pytest.raises(ConfigurationError, match="at most 100 characters"):
            vonage(callback_url=longest + "x")

    def test_without_a_callback_the_dashboard_decides(self) -> None:
        """No callback, no parameter for it; the address is configurable."""
        request = vonage(url="http://127.0.0.1:8080/").build_request(MESSAGE)

        assert "http://127.0.0.1:8080/sms/json" == request.url
        assert "callback" not in parse_qs(request.body.decode())

    @pytest.mark.parametrize(("text", "kind"), [
        ("abc {}€", "text"), ("mã", "unicode"), ("à", "text"), ("ạ", "unicode"),
    ])
    def test_the_type_is_what_the_text_needs(self, text: str, kind: str) -> None:
        """What the GSM alphabet does not have goes out as unicode, or it would arrive as question marks."""
        fields = parse_qs(vonage().build_request(replace(MESSAGE, text=text)).body.decode())

        assert ([text], [kind]) == (fields["text"], fields["type"])

    @pytest.mark.parametrize(("validity_s", "ttl"), [
        (0, "20000"), (19, "20000"), (20, "20000"), (604_800, "604800000"), (700_000, "604800000"),
    ])
    def test_the_life_stays_in_their_range(self, validity_s: int, ttl: str) -> None:
        """Vonage takes 20 seconds to 7 days, in milliseconds."""
        request = vonage().build_request(replace(MESSAGE, validity_s=validity_s))

        assert [ttl] == parse_qs(request.body.decode())["ttl"]


class TestAnswer:
    @pytest.mark.parametrize("status", ["0", 0], ids=repr)
    def test_status_0_is_accepted(self, status: object) -> None:
        """The first part's id stands for the message."""
        assert SendOutcome(SendResult.ACCEPTED, f"{ID}0", "0") == answer(200, messages(status))
        assert SendOutcome(SendResult.ACCEPTED, f"{ID}0", "0") == answer(200, messages(status, "0", "0"))

    @pytest.mark.parametrize("http_status", [200, 400, 401, 402, 420, 429])
    @pytest.mark.parametrize(("code", "result", "maybe_sent"), [
        ("1", "throttled", False), ("2", "unknown", False), ("3", "unknown", False), ("4", "authentication", False),
        ("5", "temporary", True), ("6", "invalid_number", False), ("7", "blocked", False),
        ("8", "authentication", False), ("9", "balance", False), ("10", "throttled", False),
        ("11", "authentication", False), ("12", "template_rejected", False), ("14", "authentication", False),
        ("15", "sender_rejected", False), ("22", "wrong_network", False), ("23", "unknown", False),
        ("29", "blocked", False), ("32", "authentication", False), ("33", "invalid_number", False),
    ])
    def test_every_status(self, code: str, result: str, maybe_sent: bool, http_status: int) -> None:
        """Each documented status is one result, whatever HTTP status comes with it; only 5 leaves a doubt."""
        body = {"message-count": "1", "messages": [{"status": code, "error-text": "secret"}]}

        assert SendOutcome(SendResult(result), None, code, maybe_sent=maybe_sent) == answer(http_status, body)

    def test_a_message_that_was_taken_in_part_is_refused_and_perhaps_sent(self) -> None:
        """Half a message helps nobody, but it may be on its way."""
        assert SendOutcome(SendResult.BALANCE, None, "9", maybe_sent=True) == answer(200, messages("0", "9"))

    @pytest.mark.parametrize("code", ["13", "16", "99", "x"])
    def test_a_status_that_is_not_documented_is_unknown(self, code: str) -> None:
        """Vonage said something that we do not understand."""
        assert SendOutcome(SendResult.UNKNOWN, None, code, maybe_sent=True) == answer(200, messages(code))
        assert SendOutcome(SendResult.UNKNOWN, None, code, maybe_sent=True) == answer(200, messages("0", code))

    @pytest.mark.parametrize("body", [
        b"", b"<html>", b"[]", {}, {"messages": []}, {"messages": {}}, {"messages": [[]]}, {"messages": ["0"]},
        {"messages": [{"status": "0"}]}, {"messages": [{"status": "0", "message-id": ""}]},
        {"messages": [{"status": "0", "message-id": "a b"}]}, {"messages": [{"message-id": ID}]},
        {"messages": [{"status": False, "message-id": ID}]}, {"messages": [{"status": "0", "message-id": ID}, None]},
    ])
    def test_a_success_that_cannot_be_read_is_unknown(self, body: object) -> None:
        """Nobody knows what became of the message."""
        assert SendOutcome(SendResult.UNKNOWN, None, "200", maybe_sent=True) == answer(200, body)

    @pytest.mark.parametrize(("status", "result", "maybe_sent"), [
        (201, "unknown", True), (204, "unknown", True), (301, "unknown", True), (302, "unknown", True),
        (307, "unknown", True), (400, "unknown", False), (401, "authentication", False), (402, "balance", False),
        (403, "authentication", False), (404, "unknown", False), (429, "throttled", False),
        (500, "temporary", True), (503, "temporary", True),
    ])
    def test_another_http_status_is_no_success(self, status: int, result: str, maybe_sent: bool) -> None:
        """Redirects and errors count by their status, even with the body of a success."""
        expected = SendOutcome(SendResult(result), None, str(status), maybe_sent=maybe_sent)

        assert expected == answer(status, messages("0"))
        assert status < 500 or expected == answer(status, messages("9"))
        assert expected == answer(status, b"<html>")


class TestReceipt:
    @pytest.mark.parametrize("way", [by_get, by_form, by_json])
    def test_a_signed_receipt_is_believed(self, way: Any) -> None:
        """A receipt signed with HMAC-SHA256 is read from query, form and JSON alike."""
        expected = [DeliveryReport(DeliveryState.DELIVERED, ID, REFERENCE, "delivered")]

        assert expected == signing().parse_report(way(SIGNED))
        assert expected == signing().parse_report(way({**SIGNED, "sig": SIGNATURE.upper()}))

    @pytest.mark.parametrize("way", [by_get, by_form, by_json])
    @pytest.mark.parametrize("fields", [
        DELIVERED, {**SIGNED, "sig": ""}, {**SIGNED, "sig": "0" * 64}, {**SIGNED, "sig": "é"},
        {**SIGNED, "status": "failed"}, {**SIGNED, "more": ""}, {**SIGNED, "to": "Cong DVC"},
        {name: value for name, value in SIGNED.items() if name != "nonce"}, {"sig": SIGNATURE},
    ])
    def test_a_forged_receipt_is_refused(self, way: Any, fields: dict[str, str]) -> None:
        """With a signature secret nothing is believed that is not signed as it stands."""
        with pytest.raises(ReportForged):
            signing().parse_report(way(fields))

    @pytest.mark.parametrize("name", ["sig", "to"])
    def test_what_is_no_text_is_forged(self, name: str) -> None:
        """A value with bytes that are no UTF-8 is signed by nobody, and nothing breaks."""
        with pytest.raises(ReportForged):
            signing().parse_report(ReportRequest("GET", CALLBACK, {}, {**SIGNED, name: "\udcff"}))

    def test_another_secret_signs_nothing(self) -> None:
        """A receipt signed with another secret is forged."""
        with pytest.raises(ReportForged):
            vonage(signature_secret="another").parse_report(by_get(SIGNED))

    def test_without_a_secret_nothing_is_signed(self) -> None:
        """The adapter says of itself whether it checks signatures, and then a strange one does no harm."""
        assert vonage().supports.signed is False
        assert signing().supports.signed is True
        assert [DeliveryReport(DeliveryState.DELIVERED, ID, REFERENCE, "delivered")] == (
            vonage().parse_report(by_get({**SIGNED, "sig": "x"}))
        )

    @pytest.mark.parametrize(("status", "state"), [
        ("accepted", "sent"), ("buffered", "sent"), ("unknown", "sent"), ("delivered", "delivered"),
        ("expired", "failed"), ("failed", "failed"), ("rejected", "failed"),
    ])
    def test_every_state(self, status: str, state: str) -> None:
        """Each status of a receipt is one state; what they do not know is still on its way."""
        assert [DeliveryReport(DeliveryState(state), ID, REFERENCE, status)] == (
            vonage().parse_report(by_get({**DELIVERED, "status": status}))
        )

    @pytest.mark.parametrize("code", [*map(str, range(1, 17)), "50", "51", "52", "53", "54", "99"])
    def test_the_error_code_goes_to_the_log(self, code: str) -> None:
        """A failure is told with Vonage's err-code."""
        assert [DeliveryReport(DeliveryState.FAILED, ID, REFERENCE, code)] == (
            vonage().parse_report(by_get({**DELIVERED, "status": "failed", "err-code": code}))
        )

    @pytest.mark.parametrize("way", [by_get, by_form, by_json])
    def test_an_incoming_sms_is_no_report(self, way: Any) -> None:
        """An SMS to us is well-formed and says nothing of ours."""
        assert [] == vonage().parse_report(way({"messageId": ID, "msisdn": "84900000001", "text": "STOP"}))

    @pytest.mark.parametrize("way", [by_get, by_form, by_json])
    @pytest.mark.parametrize("fields", [
        {}, {"status": "delivered"}, {"messageId": ID}, {"messageId": "a b", "status": "delivered"},
        {"messageId": ID, "status": "no such status"}, {"messageId": "x" * 65, "status": "delivered"},
    ])
    def test_what_is_no_receipt_is_unreadable(self, way: Any, fields: dict[str, str]) -> None:
        """Without an id and a status that is theirs there is nothing to report."""
        with pytest.raises(ReportUnreadable):
            vonage().parse_report(way(fields))

    @pytest.mark.parametrize("body", [
        b"\xff", b"a=%ff", b"&".join([b"a=1"] * 300), b'{"messageId":', b'{"messageId": 1}', b'{"a": {}}', b" {",
    ])
    def test_garbage_is_unreadable(self, body: bytes) -> None:
        """Neither a form nor a JSON object of texts is read."""
        with pytest.raises(ReportUnreadable):
            vonage().parse_report(ReportRequest("POST", CALLBACK, {}, {}, body))

    def test_a_reference_that_is_not_ours_is_left_out(self) -> None:
        """What another system sent with this account names no message of ours."""
        assert [DeliveryReport(DeliveryState.DELIVERED, ID, None, "delivered")] == (
            vonage().parse_report(by_get({**DELIVERED, "client-ref": "campaign 7"}))
        )


class TestOptions:
    def test_it_says_what_it_is(self) -> None:
        """It reaches real phones and calls back; it cannot be asked and drops no duplicate."""
        assert ("vonage", True, False) == (VonageGateway.name, VonageGateway.real, VonageGateway.experimental)
        assert Supports(callback=True, signed=True, unicode=True, parts=10) == VonageGateway.supports
        assert 10.0 == VonageGateway.timeout_s
        assert VonageGateway.contract.startswith("Vonage developer documentation")

    def test_numbers_may_come_as_text(self) -> None:
        """An environment variable is text."""
        assert 5.0 == vonage(timeout_s="5").timeout_s
        assert 0.5 == vonage(timeout_s=0.5).timeout_s
        assert 60.0 == vonage(timeout_s=60).timeout_s
        assert 10.0 == vonage().timeout_s

    @pytest.mark.parametrize(("options", "named"), [
        ({"api_key": ""}, "api_key"), ({"api_key": 1}, "api_key"), ({"api_secret": "s3cret\n1"}, "api_secret"),
        ({"sender": " "}, "sender"), ({"signature_secret": "s3cret\t1"}, "signature_secret"),
        ({"callback_url": "s3cret"}, "callback_url"), ({"callback_url": f"{CALLBACK}#s3cret"}, "callback_url"),
        ({"callback_url": f"{CALLBACK}/{'s3cret' * 10}"}, "callback_url"),
        ({"url": "ftp://s3cret.example"}, "url"), ({"url": "https://"}, "url"), ({"url": "https://[s3cret"}, "url"),
        ({"url": "https://x.example:s3cret"}, "url"), ({"url": "https://s3cret é.example"}, "url"), ({"url": 1}, "url"),
        ({"url": "https://x.example:0"}, "url"), ({"url": "https://x.example/s3cret x"}, "url"),
        ({"timeout_s": "s3cret"}, "timeout_s"), ({"timeout_s": 0}, "timeout_s"), ({"timeout_s": "nan"}, "timeout_s"),
        ({"timeout_s": 61}, "timeout_s"), ({"timeout_s": True}, "timeout_s"), ({"timeout_s": None}, "timeout_s"),
    ])
    def test_bad_options_are_named_and_not_repeated(self, options: dict[str, Any], named: str) -> None:
        """An option that cannot be used is named; its value, perhaps a secret, is not shown."""
        with pytest.raises(ConfigurationError, match=named) as caught:
            vonage(**options)
        assert "s3cret" not in str(caught.value)
