"""SpeedSMS: exact requests, every documented code, reports by POST."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import orjson
import pytest

from otp_service.core.errors import ConfigurationError
from otp_service.core.ports import (
    DeliveryReport,
    DeliveryState,
    HttpRequest,
    HttpResponse,
    ReportRequest,
    ReportUnreadable,
    SendOutcome,
    SendResult,
    SmsMessage,
    Supports,
)
from sms_adapters.contract import GatewayContract
from sms_adapters.speedsms import SpeedsmsGateway

TOKEN = "t0ken-s3cret"

MESSAGE = SmsMessage(
    to="+84900000001", text="Cong DVC: 123456 la ma xac nhan", template_key="registration", params=(),
    reference="5-k1-k3t3u3rmwygiymua4yg2vugqla-1", send_number=1, validity_s=180,
)

ACCEPTED = b'{"status": "success", "code": "00", "data": {"tranId": 80071, "totalSMS": 1, "totalPrice": 350}}'


def speedsms(**options: Any) -> SpeedsmsGateway:
    """Return an adapter with these options changed."""
    return SpeedsmsGateway(**{"token": TOKEN, "sender": "Cong DVC", **options})


def answer(body: bytes, status: int = 200) -> SendOutcome:
    """Return what the adapter makes of an answer."""
    return speedsms().parse_response(HttpResponse(status, {"content-type": "application/json"}, body))


def callback(body: bytes, method: str = "POST") -> ReportRequest:
    """Return a callback with this body."""
    headers = {"content-type": "application/json"}
    return ReportRequest(method, "https://otp.example/v1/delivery-reports/speedsms/p4th", headers, {}, body)


def report(status: int | str) -> ReportRequest:
    """Return a delivery report with this status."""
    said = {"type": "report", "tranId": 80071, "phone": "0900000001", "status": status}
    return callback(orjson.dumps(said))


class TestContract(GatewayContract):
    secrets = (TOKEN, "dDBrZW4tczNjcmV0Ong=")
    accepted = HttpResponse(200, {"content-type": "application/json"}, ACCEPTED)
    reports = (report(0), report(2), report(64))

    def gateway(self) -> SpeedsmsGateway:
        """Return an adapter with a brand name."""
        return speedsms()


def test_what_it_says_of_itself() -> None:
    """Its name, that it reaches phones, and what it can do are what the settings and the choice rest on."""
    gateway = speedsms()

    assert ("speedsms", True, False, 10.0) == (gateway.name, gateway.real, gateway.experimental, gateway.timeout_s)
    assert Supports(callback=True, unicode=True, parts=3) == gateway.supports
    assert "SpeedSMS API page; invalidPhone and the form of numbers from integrators' code" == gateway.contract


def test_the_request_is_what_the_manual_says() -> None:
    """The message goes out with our token as user name and our brand name as sender."""
    request = speedsms().build_request(MESSAGE)

    assert HttpRequest(
        "POST", "https://api.speedsms.vn/index.php/sms/send",
        {
            "authorization": "Basic dDBrZW4tczNjcmV0Ong=", "content-type": "application/json",
            "accept": "application/json",
        },
        b'{"to":["84900000001"],"content":"Cong DVC: 123456 la ma xac nhan","sms_type":3,"sender":"Cong DVC"}',
    ) == request
    assert b"t0ken-s3cret:x" == b64decode("dDBrZW4tczNjcmV0Ong=")


def test_the_kind_of_sender_is_an_option() -> None:
    """A random number needs no sender; the address is configurable."""
    gateway = SpeedsmsGateway(token=TOKEN, sms_type="2", url="http://127.0.0.1:8080/index.php/")
    request = gateway.build_request(MESSAGE)

    assert "http://127.0.0.1:8080/index.php/sms/send" == request.url
    assert (
        b'{"to":["84900000001"],"content":"Cong DVC: 123456 la ma xac nhan","sms_type":2,"sender":""}' == request.body
    )


@pytest.mark.parametrize(("data", "provider_id"), [
    (b'{"tranId": 80071, "totalSMS": 1, "totalPrice": 350}', "80071"),
    (b'{"tranId": "80071", "totalSMS": 1, "invalidPhone": []}', "80071"),
    (b'{"tranId": 80071, "invalidPhone": "none"}', "80071"),
    (b'{"tranId": null}', None),
    (b"{}", None),
    (b"[]", None),
    (b"null", None),
])
def test_success_is_accepted(data: bytes, provider_id: str | None) -> None:
    """Status "success" with code 00 is accepted; without a tranId no report can be matched, and that is all."""
    body = b'{"status": "success", "code": "00", "data": ' + data + b"}"

    assert SendOutcome(SendResult.ACCEPTED, provider_id, "00") == answer(body)


def test_a_success_that_calls_our_number_invalid_is_none() -> None:
    """The one number we asked for stands among the invalid ones: nothing was sent."""
    body = b'{"status": "success", "code": "00", "data": {"tranId": 80071, "invalidPhone": ["84900000001"]}}'

    assert SendOutcome(SendResult.INVALID_NUMBER, None, "00") == answer(body)


@pytest.mark.parametrize("status", [200, 400, 404])
@pytest.mark.parametrize(("code", "result", "maybe_sent"), [
    ("007", "authentication", False), ("008", "authentication", False), ("009", "authentication", False),
    ("101", "sender_rejected", False), ("105", "invalid_number", False), ("110", "template_rejected", False),
    ("113", "template_rejected", False), ("300", "balance", False), ("500", "temporary", True),
])
def test_every_documented_code_is_read(code: str, result: str, maybe_sent: bool, status: int) -> None:
    """Each error code is a clear answer with any 2xx or 4xx; only their internal error may have sent."""
    body = orjson.dumps({"status": "error", "code": code, "message": "sender not found"})

    assert SendOutcome(SendResult(result), None, code, maybe_sent=maybe_sent) == answer(body, status)


def test_too_many_requests_are_throttled() -> None:
    """More than 60 requests in 60 seconds are answered in another form, whose code means nothing."""
    body = b'{"name":"Too Many Requests","message":"Rate limit exceeded.","code":0,"status":429}'

    assert SendOutcome(SendResult.THROTTLED, None, "429") == answer(body, 429)


@pytest.mark.parametrize(("body", "code"), [
    (b"", "200"), (b"<html>OK</html>", "200"), (b"[]", "200"), (b'{"status": "success"', "200"),
    (b'{"status": "success", "data": {"tranId": 80071}}', "200"),
    (b'{"status": "success", "code": 0, "data": {"tranId": 80071}}', "200"),
    (b'{"status": "success", "code": "105", "data": {"tranId": 80071}}', "200"),
    (b'{"status": "error", "code": "00"}', "00"),
    (b'{"status": "error", "code": "999"}', "999"),
    (b'{"status": "error", "code": ["105"]}', "200"),
    (b'{"status": ["success"], "code": "00"}', "200"),
    (b'{"status": "error"}', "200"),
])
def test_garbage_is_unknown_and_perhaps_sent(body: bytes, code: str) -> None:
    """A good status whose body is not documented may hide an SMS that was sent."""
    assert SendOutcome(SendResult.UNKNOWN, None, code, maybe_sent=True) == answer(body)


@pytest.mark.parametrize(("status", "outcome"), [
    (302, SendOutcome(SendResult.UNKNOWN, None, "302", maybe_sent=True)),
    (308, SendOutcome(SendResult.UNKNOWN, None, "308", maybe_sent=True)),
    (401, SendOutcome(SendResult.AUTHENTICATION, None, "401")),
    (403, SendOutcome(SendResult.AUTHENTICATION, None, "403")),
    (404, SendOutcome(SendResult.UNKNOWN, None, "404")),
    (429, SendOutcome(SendResult.THROTTLED, None, "429")),
    (500, SendOutcome(SendResult.TEMPORARY, None, "500", maybe_sent=True)),
    (504, SendOutcome(SendResult.TEMPORARY, None, "504", maybe_sent=True)),
])
def test_another_status_speaks_for_itself(status: int, outcome: SendOutcome) -> None:
    """Redirects and errors are never a success, whatever their body says."""
    assert outcome == answer(ACCEPTED, status)


def test_a_refusal_with_a_server_error_may_have_been_sent() -> None:
    """A server that fails is not believed in what it says besides."""
    outcome = SendOutcome(SendResult.TEMPORARY, None, "502", maybe_sent=True)

    assert outcome == answer(b'{"status": "error", "code": "105"}', 502)


def test_nothing_recognises_a_second_hand_over() -> None:
    """SpeedSMS takes no request id: after a timeout, whoever tries again must know that it may send twice."""
    assert not SpeedsmsGateway.supports.deduplicates
    assert b"5-k1" not in speedsms().build_request(MESSAGE).body


@pytest.mark.parametrize(("status", "state"), [
    (0, "delivered"), ("00", "delivered"), (1, "sent"), (63, "sent"), (64, "failed"), (65, "failed"), (255, "failed"),
])
def test_a_callback_is_a_report(status: int | str, state: str) -> None:
    """0 is delivered, 1 to 63 are tried again, from 64 it is final."""
    expected = [DeliveryReport(DeliveryState(state), "80071", None, str(int(status)))]

    assert expected == speedsms().parse_report(report(status))


def test_an_incoming_sms_is_no_report() -> None:
    """What a citizen wrote to us is well-formed and says nothing of a delivery."""
    body = b'{"type": "incoming", "phone": "0900000001", "content": "123456"}'

    assert [] == speedsms().parse_report(callback(body))


@pytest.mark.parametrize("request_", [
    callback(b""), callback(b"<html>"), callback(b"[]"), callback(b'{"type": "other", "tranId": 1, "status": 0}'),
    callback(b'{"type": ["report"], "tranId": 1, "status": 0}'), callback(b'{"tranId": 1, "status": 0}'),
    callback(b'{"type": "report", "status": 0}'), callback(b'{"type": "report", "tranId": "", "status": 0}'),
    callback(b'{"type": "report", "tranId": 1}'), callback(b'{"type": "report", "tranId": 1, "status": -1}'),
    callback(b'{"type": "report", "tranId": 1, "status": true}'),
    callback(b'{"type": "report", "tranId": 1, "status": 0.5}'),
    callback(b'{"type": "report", "tranId": 1, "status": "ok"}'),
    callback(b'{"type": "report", "tranId": 1, "status": 0}', method="GET"),
])
def test_what_is_no_report_is_refused(request_: ReportRequest) -> None:
    """Another form, no message, no status, or another method is no report."""
    with pytest.raises(ReportUnreadable):
        speedsms().parse_report(request_)


@pytest.mark.parametrize(("option", "value"), [
    ("token", ""), ("token", "two\nlines"), ("sender", ""), ("sender", " "), ("sms_type", "1"), ("sms_type", "6"),
    ("sms_type", "brand"), ("sms_type", True), ("token", 5), ("timeout_s", "soon"), ("timeout_s", 0),
    ("timeout_s", None), ("timeout_s", "inf"), ("timeout_s", True), ("url", "https://speedsms.example/ạ"),
    ("url", "https://a b"),
    ("url", "https://speedsms.example/#a"), ("url", "https:///index.php"), ("url", "ftp://speedsms.example"),
    ("url", "https://speedsms.example:0"),
    ("url", "api.speedsms.vn"), ("url", "https://["), ("url", ""),
])
def test_bad_options_refuse_to_start(option: str, value: object) -> None:
    """The error names the option and does not repeat its value."""
    with pytest.raises(ConfigurationError, match=f"^speedsms: {option}: write ") as refusal:
        speedsms(**{option: value})

    assert "lines" not in str(refusal.value)


@pytest.mark.parametrize(("sms_type", "needed"), [("2", False), ("3", True), ("4", False), (5, True)])
def test_the_sender_is_needed_where_it_is_ours(sms_type: int | str, needed: bool) -> None:
    """A brand name of ours and a phone of ours must be named."""
    if not needed:
        body = SpeedsmsGateway(token=TOKEN, sms_type=sms_type).build_request(MESSAGE).body
        assert (int(sms_type), "") == (orjson.loads(body)["sms_type"], orjson.loads(body)["sender"])
        return
    with pytest.raises(ConfigurationError, match=r"^speedsms: sender: "):
        SpeedsmsGateway(token=TOKEN, sms_type=sms_type)


def test_options_may_come_as_text() -> None:
    """Environment variables are text, with a line break after a secret at times."""
    gateway = speedsms(token=TOKEN + "\n", timeout_s="0.5")

    assert (0.5, "Basic dDBrZW4tczNjcmV0Ong=") == (
        gateway.timeout_s, gateway.build_request(MESSAGE).headers["authorization"],
    )
