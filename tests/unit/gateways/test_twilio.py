"""Twilio: exact requests, every code of its dictionary that concerns an SMS, signed callbacks, polling."""

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
from sms_adapters.twilio import TwilioGateway

ACCOUNT = "AC00000000000000000000000000000001"
SERVICE = "MG00000000000000000000000000000001"
SID = "SM00000000000000000000000000000001"
TOKEN = "s3cret-token"
REFERENCE = "5-k1-abcdefghijklmnopqrstuvwxyz-1"
CALLBACK = "https://otp.example/v1/delivery-reports/twilio/p4th"
MESSAGES = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Messages"
BASIC = "QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMTpzM2NyZXQtdG9rZW4="

MESSAGE = SmsMessage(
    to="+84900000001", text="Cong DVC: 123456 & mã", template_key="registration", params=(),
    reference=REFERENCE, send_number=1, validity_s=180,
)

#: Made with ``openssl dgst -sha1 -hmac s3cret-token -binary | base64`` over the URL and the sorted fields.
SIGNATURE = "lyWO8qF597DgrTwJnIHAePxsPjY="
DELIVERED = {
    "To": "+84900000001", "MessageSid": SID, "MessageStatus": "delivered", "From": "+84900000009",
    "AccountSid": ACCOUNT,
}


def twilio(**options: Any) -> TwilioGateway:
    """Return an adapter with these options changed."""
    return TwilioGateway(**{"account_sid": ACCOUNT, "auth_token": TOKEN, "sender": "Cong DVC", **options})


def answer(status: int, body: object) -> SendOutcome:
    """Return what the adapter makes of an answer."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return twilio().parse_response(HttpResponse(status, {"content-type": "application/json"}, raw))


def callback(fields: dict[str, str], *, query: str = f"?reference={REFERENCE}", token: str = TOKEN) -> ReportRequest:
    """Return a callback as Twilio would sign it."""
    url = CALLBACK + query
    signer = twilio(auth_token=token)
    return ReportRequest(
        "POST", url,
        {
            "content-type": "application/x-www-form-urlencoded; charset=UTF-8",
            "x-twilio-signature": signer._sign(url, list(fields.items())).decode(),
        },
        {name: values[0] for name, values in parse_qs(query.lstrip("?")).items()}, urlencode(fields).encode(),
    )


class TestContract(GatewayContract):
    secrets = (TOKEN, BASIC, "p4th")
    accepted = HttpResponse(
        201, {"content-type": "application/json"}, orjson.dumps({"sid": SID, "status": "queued", "error_code": None}),
    )
    reports = (
        callback(DELIVERED),
        callback({"MessageSid": SID, "MessageStatus": "undelivered", "ErrorCode": "30003"}),
        callback({"SmsSid": SID, "SmsStatus": "sent"}, query=""),
    )
    polled = HttpResponse(200, {}, orjson.dumps({"sid": SID, "status": "delivered", "error_code": None}))

    def gateway(self) -> TwilioGateway:
        """Return an adapter that asks for callbacks."""
        return twilio(callback_url=CALLBACK)


class TestRequest:
    def test_the_request_is_what_the_manual_says(self) -> None:
        """The message goes out as a form, valid as long as its code, and the callback carries our reference."""
        assert HttpRequest(
            "POST", f"{MESSAGES}.json",
            {
                "authorization": f"Basic {BASIC}", "accept": "application/json",
                "content-type": "application/x-www-form-urlencoded",
            },
            b"To=%2B84900000001&From=Cong+DVC&Body=Cong+DVC%3A+123456+%26+m%C3%A3&ValidityPeriod=180"
            b"&StatusCallback=https%3A%2F%2Fotp.example%2Fv1%2Fdelivery-reports%2Ftwilio%2Fp4th"
            b"%3Freference%3D5-k1-abcdefghijklmnopqrstuvwxyz-1",
        ) == twilio(callback_url=CALLBACK).build_request(MESSAGE)
        assert f"{ACCOUNT}:{TOKEN}".encode() == b64decode(BASIC)

    def test_a_messaging_service_chooses_the_sender(self) -> None:
        """A messaging service stands in place of the sender, and without a callback none is asked for."""
        request = twilio(sender="", messaging_service_sid=SERVICE).build_request(MESSAGE)

        assert (
            f"To=%2B84900000001&MessagingServiceSid={SERVICE}&Body=Cong+DVC%3A+123456+%26+m%C3%A3&ValidityPeriod=180"
        ).encode() == request.body

    def test_an_api_key_takes_the_place_of_the_token(self) -> None:
        """With an API key the token stays at home, and the account stands in the URL only."""
        gateway = twilio(api_key="SK1", api_key_secret="k3y", url="http://127.0.0.1:8080/")
        request = gateway.build_request(MESSAGE)

        assert b"SK1:k3y" == b64decode(request.headers["authorization"].removeprefix("Basic "))
        assert f"http://127.0.0.1:8080/2010-04-01/Accounts/{ACCOUNT}/Messages.json" == request.url

    def test_a_callback_with_a_query_keeps_it(self) -> None:
        """The reference is one more parameter of a callback address that has some."""
        request = twilio(callback_url=f"{CALLBACK}?a=1").build_request(MESSAGE)

        assert f"{CALLBACK}?a=1&reference={REFERENCE}" == parse_qs(request.body.decode())["StatusCallback"][0]

    @pytest.mark.parametrize(("validity_s", "period"), [(0, "1"), (1, "1"), (36_000, "36000"), (90_000, "36000")])
    def test_the_validity_stays_in_their_range(self, validity_s: int, period: str) -> None:
        """Twilio takes 1 to 36,000 seconds and refuses the message otherwise (error 90007)."""
        request = twilio().build_request(replace(MESSAGE, validity_s=validity_s))

        assert [period] == parse_qs(request.body.decode())["ValidityPeriod"]


CODES = [
    (20003, "authentication"), (20005, "authentication"), (20006, "authentication"), (20008, "authentication"),
    (20404, "authentication"), (20429, "throttled"), (21211, "invalid_number"), (21212, "sender_rejected"),
    (21214, "invalid_number"), (21217, "invalid_number"), (21265, "invalid_number"), (21266, "invalid_number"),
    (21268, "invalid_number"), (21408, "blocked"), (21602, "template_rejected"), (21603, "sender_rejected"),
    (21604, "invalid_number"), (21605, "template_rejected"), (21606, "sender_rejected"), (21607, "sender_rejected"),
    (21608, "blocked"), (21610, "blocked"), (21611, "throttled"), (21612, "wrong_network"),
    (21614, "invalid_number"), (21617, "template_rejected"), (21619, "template_rejected"), (21624, "unknown"),
    (21635, "invalid_number"), (21659, "sender_rejected"), (21660, "sender_rejected"), (21701, "sender_rejected"),
    (21703, "sender_rejected"), (21709, "sender_rejected"), (21730, "temporary"), (30001, "throttled"),
    (30002, "authentication"), (30003, "temporary"), (30004, "blocked"), (30005, "invalid_number"),
    (30006, "invalid_number"), (30007, "blocked"), (30008, "unknown"), (30010, "blocked"), (30017, "temporary"),
    (30018, "sender_rejected"), (30024, "sender_rejected"), (30032, "sender_rejected"), (30034, "sender_rejected"),
    (30036, "temporary"), (30037, "authentication"), (30038, "template_rejected"), (30040, "sender_rejected"),
    (30410, "temporary"), (30450, "blocked"), (30454, "balance"), (63038, "balance"), (90007, "unknown"),
    (90014, "unknown"),
]


class TestAnswer:
    @pytest.mark.parametrize("status", ["accepted", "scheduled", "queued", "sending", "sent"])
    def test_a_message_that_was_made_is_accepted(self, status: str) -> None:
        """201 with a sid and a status that leads to delivery is accepted."""
        assert SendOutcome(SendResult.ACCEPTED, SID, status) == answer(201, {"sid": SID, "status": status})

    @pytest.mark.parametrize("http_status", [400, 401, 403, 404, 429])
    @pytest.mark.parametrize(("code", "result"), CODES)
    def test_every_code_of_a_refusal(self, code: int, result: str, http_status: int) -> None:
        """A refusal with a code is what the code says, and nothing was sent."""
        body = {"code": code, "message": "secret", "more_info": "https://x.example", "status": http_status}

        assert SendOutcome(SendResult(result), None, str(code)) == answer(http_status, body)

    @pytest.mark.parametrize("status", ["failed", "undelivered"])
    @pytest.mark.parametrize(("code", "result"), CODES)
    def test_every_code_of_a_message_that_failed_at_once(self, code: int, result: str, status: str) -> None:
        """A message that was made and failed is not accepted: its error code says why."""
        assert SendOutcome(SendResult(result), None, str(code), maybe_sent=result == "unknown") == answer(
            201, {"sid": SID, "status": status, "error_code": code},
        )

    @pytest.mark.parametrize("code", [None, 0, 39999, "x"], ids=repr)
    def test_a_message_that_failed_without_a_known_code_is_unknown(self, code: object) -> None:
        """It failed, and nobody says why."""
        shown = "failed" if code is None else str(code)

        assert SendOutcome(SendResult.UNKNOWN, None, shown, maybe_sent=True) == answer(
            201, {"sid": SID, "status": "failed", "error_code": code},
        )

    @pytest.mark.parametrize(("status", "result", "maybe_sent"), [
        (400, "unknown", False), (401, "authentication", False), (402, "balance", False),
        (403, "authentication", False), (404, "unknown", False), (405, "unknown", False), (429, "throttled", False),
        (500, "temporary", True), (503, "temporary", True), (504, "temporary", True),
    ])
    def test_an_unknown_code_counts_by_its_status(self, status: int, result: str, maybe_sent: bool) -> None:
        """A code that is not in the table leaves the HTTP status, and stands in the log."""
        assert SendOutcome(SendResult(result), None, "20999", maybe_sent=maybe_sent) == answer(
            status, {"code": 20999, "status": status},
        )
        assert SendOutcome(SendResult(result), None, str(status), maybe_sent=maybe_sent) == answer(status, b"<html>")

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    @pytest.mark.parametrize("code", [20003, 20429, 20500, 20503, 21211])
    def test_their_trouble_is_temporary_and_perhaps_sent(self, code: int, status: int) -> None:
        """With a 5xx the message may have been made, whatever the code says."""
        assert SendOutcome(SendResult.TEMPORARY, None, str(code), maybe_sent=True) == answer(status, {"code": code})

    @pytest.mark.parametrize("body", [
        b"", b"<html>", b"[]", {}, {"sid": SID}, {"status": "queued"}, {"sid": "x", "status": "queued"},
        {"sid": f"{SID}\n", "status": "queued"}, {"sid": "CA" + SID[2:], "status": "queued"}, {"sid": SID, "status": 1},
        {"sid": None, "status": "failed", "error_code": 30003},
    ])
    def test_a_success_that_cannot_be_read_is_unknown(self, body: object) -> None:
        """Without a message sid and a status nobody knows what was made."""
        assert SendOutcome(SendResult.UNKNOWN, None, "201", maybe_sent=True) == answer(201, body)

    @pytest.mark.parametrize("status", ["delivered", "canceled", "received", "no_such_status"])
    def test_a_new_message_in_a_strange_state_is_unknown(self, status: str) -> None:
        """A message that was made a moment ago cannot be there yet."""
        assert SendOutcome(SendResult.UNKNOWN, None, status, maybe_sent=True) == answer(
            201, {"sid": SID, "status": status, "error_code": None},
        )

    @pytest.mark.parametrize("status", [200, 202, 204, 301, 302, 303, 307, 308])
    def test_other_successes_and_redirects_are_unknown(self, status: int) -> None:
        """Only 201 is documented; what came otherwise may have been sent."""
        assert SendOutcome(SendResult.UNKNOWN, None, str(status), maybe_sent=True) == answer(
            status, {"sid": SID, "status": "queued", "code": 21211},
        )


class TestReport:
    def test_a_signed_callback_is_believed(self) -> None:
        """A callback signed over its URL and fields gives the state, the sid and our reference."""
        request = ReportRequest(
            "POST", f"{CALLBACK}?reference={REFERENCE}", {"x-twilio-signature": SIGNATURE},
            {"reference": REFERENCE}, urlencode(DELIVERED).encode(),
        )

        assert [DeliveryReport(DeliveryState.DELIVERED, SID, REFERENCE, "delivered")] == twilio().parse_report(request)

    @pytest.mark.parametrize("change", [
        {"headers": {}}, {"headers": {"x-twilio-signature": ""}}, {"headers": {"x-twilio-signature": "\udcff"}},
        {"headers": {"x-twilio-signature": SIGNATURE.lower()}}, {"headers": {"x-twilio-signature": SIGNATURE + "="}},
        {"url": f"{CALLBACK}?reference=6-k1-abcdefghijklmnopqrstuvwxyz-1"}, {"url": CALLBACK},
        {"url": f"http{CALLBACK[5:]}?reference={REFERENCE}"}, {"body": b""},
        {"body": urlencode({**DELIVERED, "MessageStatus": "failed"}).encode()},
        {"body": urlencode({**DELIVERED, "More": ""}).encode()},
    ])
    def test_a_forged_callback_is_refused(self, change: dict[str, Any]) -> None:
        """Without the right signature over this URL and these fields nothing is believed."""
        with pytest.raises(ReportForged):
            twilio().parse_report(replace(callback(DELIVERED), **change))

    def test_another_token_signs_nothing(self) -> None:
        """A callback signed with another token is forged."""
        with pytest.raises(ReportForged):
            twilio().parse_report(callback(DELIVERED, token="another"))

    @pytest.mark.parametrize(("status", "state"), [
        ("accepted", "sent"), ("scheduled", "sent"), ("queued", "sent"), ("sending", "sent"), ("sent", "sent"),
        ("delivered", "delivered"), ("read", "delivered"), ("undelivered", "failed"), ("failed", "failed"),
        ("canceled", "failed"),
    ])
    def test_every_status(self, status: str, state: str) -> None:
        """Each status of a message is one state, in callbacks and polls, under its new and its old name."""
        expected = [DeliveryReport(DeliveryState(state), SID, None, status)]

        assert expected == twilio().parse_report(callback({"MessageSid": SID, "MessageStatus": status}, query=""))
        assert expected == twilio().parse_report(callback({"SmsSid": SID, "SmsStatus": status}, query=""))
        assert expected == twilio().parse_poll(HttpResponse(200, {}, orjson.dumps({"sid": SID, "status": status})))

    @pytest.mark.parametrize("code", [code for code, _ in CODES if 30000 <= code < 70000])
    def test_the_error_code_goes_to_the_log(self, code: int) -> None:
        """A failure is told with Twilio's code."""
        fields = {"MessageSid": SID, "MessageStatus": "undelivered", "ErrorCode": str(code)}
        polled = orjson.dumps({"sid": SID, "status": "undelivered", "error_code": code})

        assert [DeliveryReport(DeliveryState.FAILED, SID, REFERENCE, str(code))] == (
            twilio().parse_report(callback(fields))
        )
        assert [DeliveryReport(DeliveryState.FAILED, SID, None, str(code))] == (
            twilio().parse_poll(HttpResponse(200, {}, polled))
        )

    @pytest.mark.parametrize("status", ["received", "receiving"])
    def test_an_incoming_sms_is_no_report(self, status: str) -> None:
        """An SMS to us is well-formed and says nothing of ours."""
        assert [] == twilio().parse_report(callback({"MessageSid": SID, "SmsStatus": status, "Body": "STOP"}))

    @pytest.mark.parametrize("fields", [
        {}, {"MessageSid": SID}, {"MessageStatus": "delivered"}, {"MessageSid": "x", "MessageStatus": "delivered"},
        {"MessageSid": SID, "MessageStatus": "no_such_status"}, {"MessageSid": SID, "MessageStatus": ""},
    ])
    def test_a_signed_callback_that_is_no_report_is_unreadable(self, fields: dict[str, str]) -> None:
        """Without a sid and a status that is theirs there is nothing to report."""
        with pytest.raises(ReportUnreadable):
            twilio().parse_report(callback(fields))

    @pytest.mark.parametrize("change", [
        {"method": "GET"}, {"method": "PUT"}, {"body": b"\xff"}, {"body": b"a=%ff"},
        {"body": b"&".join([b"a=1"] * 300)},
    ])
    def test_what_is_no_form_is_unreadable(self, change: dict[str, Any]) -> None:
        """Only a POST of a form of modest size is read."""
        with pytest.raises(ReportUnreadable):
            twilio().parse_report(replace(callback(DELIVERED), **change))

    def test_a_url_that_is_no_text_is_forged(self) -> None:
        """A URL with bytes that are no UTF-8 is signed by nobody, and nothing breaks."""
        with pytest.raises(ReportForged):
            twilio().parse_report(replace(callback(DELIVERED), url=f"{CALLBACK}?\udcff"))

    def test_a_reference_that_is_not_ours_is_left_out(self) -> None:
        """Whatever else stands in the callback's query does not pass for a reference."""
        report = twilio().parse_report(callback(DELIVERED, query="?reference=no%20such"))

        assert [DeliveryReport(DeliveryState.DELIVERED, SID, None, "delivered")] == report


class TestPoll:
    def test_the_poll_asks_for_one_message(self) -> None:
        """A GET of the message, with our credentials."""
        assert HttpRequest(
            "GET", f"{MESSAGES}/{SID}.json", {"authorization": f"Basic {BASIC}", "accept": "application/json"},
        ) == twilio().build_poll([SID])
        assert 1 == twilio().poll_batch

    def test_an_id_cannot_leave_its_place(self) -> None:
        """An id with a slash stays one segment of the path."""
        assert f"{MESSAGES}/a%2F..%2Fb.json" == twilio().build_poll(["a/../b"]).url

    @pytest.mark.parametrize(("status", "body"), [
        (200, b""), (200, b"<html>"), (200, b'{"sid": "x", "status": "sent"}'), (200, b'{"status": "sent"}'),
        (200, b'{"sid": "%s", "status": "received"}' % SID.encode()),
        (302, b'{"sid": "%s", "status": "sent"}' % SID.encode()),
        (404, b'{"code": 20404}'), (429, b'{"code": 20429}'), (500, b""),
    ])
    def test_what_cannot_be_read_says_nothing(self, status: int, body: bytes) -> None:
        """Garbage, errors and redirects are no report."""
        assert [] == twilio().parse_poll(HttpResponse(status, {}, body))


class TestOptions:
    def test_it_says_what_it_is(self) -> None:
        """It reaches real phones, calls back with a signature, and can be asked; it drops no duplicate."""
        assert ("twilio", True, False) == (TwilioGateway.name, TwilioGateway.real, TwilioGateway.experimental)
        assert Supports(callback=True, signed=True, polling=True, unicode=True, parts=10) == TwilioGateway.supports
        assert 10.0 == TwilioGateway.timeout_s
        assert TwilioGateway.contract.startswith("Twilio documentation")

    def test_numbers_may_come_as_text(self) -> None:
        """An environment variable is text."""
        assert 5.0 == twilio(timeout_s="5").timeout_s
        assert 0.5 == twilio(timeout_s=0.5).timeout_s
        assert 60.0 == twilio(timeout_s=60).timeout_s
        assert 10.0 == twilio().timeout_s

    @pytest.mark.parametrize(("options", "named"), [
        ({"account_sid": "s3cret"}, "account_sid"), ({"account_sid": f"{ACCOUNT}0"}, "account_sid"),
        ({"account_sid": 1}, "account_sid"), ({"auth_token": ""}, "auth_token"),
        ({"auth_token": "s3cret\n1"}, "auth_token"),
        ({"sender": ""}, "sender"), ({"messaging_service_sid": SERVICE}, "sender"), ({"sender": " "}, "sender"),
        ({"sender": "", "messaging_service_sid": "s3cret"}, "messaging_service_sid"),
        ({"api_key": "SK1"}, "api_key_secret"), ({"api_key_secret": "s3cret"}, "api_key"),
        ({"callback_url": "s3cret"}, "callback_url"), ({"callback_url": f"{CALLBACK}#s3cret"}, "callback_url"),
        ({"url": "ftp://s3cret.example"}, "url"), ({"url": "https://"}, "url"), ({"url": "https://[s3cret"}, "url"),
        ({"url": "https://x.example:s3cret"}, "url"), ({"url": "https://s3cret é.example"}, "url"), ({"url": 1}, "url"),
        ({"url": "https://x.example:0"}, "url"), ({"url": "https://x.example/s3cret x"}, "url"),
        ({"timeout_s": "s3cret"}, "timeout_s"), ({"timeout_s": 0}, "timeout_s"), ({"timeout_s": "nan"}, "timeout_s"),
        ({"timeout_s": 61}, "timeout_s"), ({"timeout_s": True}, "timeout_s"), ({"timeout_s": None}, "timeout_s"),
    ])
    def test_bad_options_are_named_and_not_repeated(self, options: dict[str, Any], named: str) -> None:
        """An option that cannot be used is named; its value, perhaps a secret, is not shown."""
        with pytest.raises(ConfigurationError, match=named) as caught:
            twilio(**options)
        assert "s3cret" not in str(caught.value)
