"""eSMS: exact requests, every documented code, reports by GET and by asking."""

from __future__ import annotations

from dataclasses import replace
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
from sms_adapters.esms import EsmsGateway

API_KEY, SECRET_KEY = "4pi-key", "s3cret-key"
CALLBACK = "https://otp.example/v1/delivery-reports/esms/p4th"
SMSID = "434a124c7818-210100"

MESSAGE = SmsMessage(
    to="+84900000001", text="Cong DVC: 123456 la ma xac nhan", template_key="registration", params=(),
    reference="5-k1-k3t3u3rmwygiymua4yg2vugqla-1", send_number=1, validity_s=180,
)

ACCEPTED = b'{"CodeResult": "100", "CountRegenerate": 0, "SMSID": "434a124c7818-210100"}'

REPORT = {
    "SMSID": SMSID, "SendFailed": "0", "SendStatus": "5", "SendSuccess": "1", "TotalPrice": "850.0000",
    "TotalReceiver": "1", "TotalSent": "1", "RequestId": MESSAGE.reference, "TypeId": "2", "telcoid": "1",
    "phonenumber": "0900000001", "switchsmsid": "",
}

POLLED = (
    b'{"CodeResponse": "100", "SMSID": "434a124c7818-210100", "SendFailed": 0, "SendStatus": 5, "SendSuccess": 1,'
    b' "TotalPrice": 850.0000, "TotalReceiver": 1, "TotalSent": 1}'
)

#: eSMS's error table: the first half speaks of an SMS, the second of other calls.
CODES = {
    "99": "blocked", "101": "authentication", "102": "balance", "103": "balance", "104": "sender_rejected",
    "107": "sender_rejected", "108": "invalid_number", "118": "sender_rejected", "120": "sender_rejected",
    "124": "duplicate", "140": "authentication", "146": "template_rejected", "177": "wrong_network",
    "300": "sender_rejected", "301": "sender_rejected",

    "105": "unknown", "106": "unknown", "110": "unknown", "115": "unknown", "171": "unknown", "199": "unknown",
    "204": "unknown", "210": "unknown", "687": "unknown", "788": "unknown", "789": "unknown", "790": "unknown",
    "791": "unknown", "799": "unknown",
}


def esms(**options: Any) -> EsmsGateway:
    """Return an adapter with these options changed."""
    return EsmsGateway(**{"api_key": API_KEY, "secret_key": SECRET_KEY, "sender": "Cong DVC", **options})


def answer(body: bytes, status: int = 200) -> SendOutcome:
    """Return what the adapter makes of an answer."""
    return esms().parse_response(HttpResponse(status, {"content-type": "application/json"}, body))


def callback(**changes: str | None) -> ReportRequest:
    """Return a good callback with these values changed; None leaves one out."""
    query = {name: value for name, value in {**REPORT, **changes}.items() if value is not None}
    return ReportRequest("GET", CALLBACK, {}, query)


class TestContract(GatewayContract):
    secrets = (API_KEY, SECRET_KEY, "p4th")
    accepted = HttpResponse(200, {"content-type": "application/json"}, ACCEPTED)
    reports = (callback(), callback(SendStatus="7", SendSuccess="0"))
    polled = HttpResponse(200, {}, POLLED)

    def gateway(self) -> EsmsGateway:
        """Return an adapter that is told where reports go."""
        return esms(callback_url=CALLBACK)


def test_what_it_says_of_itself() -> None:
    """Its name, that it reaches phones, and what it can do are what the settings and the choice rest on."""
    gateway = esms()

    assert ("esms", True, False, 10.0) == (gateway.name, gateway.real, gateway.experimental, gateway.timeout_s)
    assert Supports(callback=True, polling=True, deduplicates=True, unicode=True, parts=3) == gateway.supports
    assert "eSMS developer documentation, V4 JSON API" == gateway.contract


def test_the_request_is_what_the_manual_says() -> None:
    """The message goes out as customer-care SMS, with our reference and our address for reports."""
    expected = HttpRequest(
        "POST", "https://rest.esms.vn/MainService.svc/json/SendMultipleMessage_V4_post_json/",
        {"content-type": "application/json", "accept": "application/json"},
        b'{"ApiKey":"4pi-key","SecretKey":"s3cret-key","Phone":"0900000001",'
        b'"Content":"Cong DVC: 123456 la ma xac nhan","Brandname":"Cong DVC","SmsType":"2","IsUnicode":"0",'
        b'"Sandbox":"0","RequestId":"5-k1-k3t3u3rmwygiymua4yg2vugqla-1",'
        b'"CallbackUrl":"https://otp.example/v1/delivery-reports/esms/p4th"}',
    )

    assert expected == esms(callback_url=CALLBACK).build_request(MESSAGE)


def test_accents_sandbox_and_no_callback_change_the_request() -> None:
    """An accented text is marked as Unicode, the sandbox is asked for, and no address for reports is sent."""
    gateway = esms(sandbox="True", url="http://127.0.0.1:8080/json/")
    request = gateway.build_request(replace(MESSAGE, text="Mã của bạn: 123456"))

    assert "http://127.0.0.1:8080/json/SendMultipleMessage_V4_post_json/" == request.url
    assert (
        '{"ApiKey":"4pi-key","SecretKey":"s3cret-key","Phone":"0900000001","Content":"Mã của bạn: 123456",'
        '"Brandname":"Cong DVC","SmsType":"2","IsUnicode":"1","Sandbox":"1",'
        '"RequestId":"5-k1-k3t3u3rmwygiymua4yg2vugqla-1"}'
    ).encode() == request.body


def test_accepted_comes_with_the_id_that_reports_name() -> None:
    """Code 100 is accepted, whether eSMS writes it as text or as a number."""
    accepted = SendOutcome(SendResult.ACCEPTED, SMSID, "100")

    assert accepted == answer(ACCEPTED)
    assert accepted == answer(b'{"CodeResult": 100, "SMSID": "434a124c7818-210100"}')
    assert SendOutcome(SendResult.ACCEPTED, None, "100") == answer(b'{"CodeResult": "100"}')


@pytest.mark.parametrize(("code", "result"), CODES.items())
def test_every_documented_code_is_read(code: str, result: str) -> None:
    """Each code of the error table is a clear answer: what it refuses was not sent."""
    said = orjson.dumps({"CodeResult": code, "CountRegenerate": 0, "ErrorMessage": "x", "SMSID": "no-message-of-ours"})
    outcome = answer(said)

    assert (result, code, False) == (outcome.result, outcome.provider_code, outcome.maybe_sent)
    assert outcome == answer(said.replace(f'"{code}"'.encode(), code.encode()))
    assert (None if result != "duplicate" else "no-message-of-ours") == outcome.provider_id


def test_a_refusal_is_believed_with_a_client_error_too() -> None:
    """A documented refusal counts with any 2xx or 4xx; a duplicate, like a success, only with 2xx."""
    assert SendOutcome(SendResult.TEMPLATE_REJECTED, None, "146") == answer(b'{"CodeResult": "146"}', 400)
    assert SendOutcome(SendResult.UNKNOWN, None, "124") == answer(b'{"CodeResult": "124"}', 400)
    assert SendOutcome(SendResult.UNKNOWN, None, "100") == answer(ACCEPTED, 400)


def test_a_request_that_was_not_understood_was_not_sent() -> None:
    """The documented answer without a code says that eSMS took nothing."""
    assert SendOutcome(SendResult.UNKNOWN, None, "invalid_request") == answer(b'{"error": "Invalid request"}')
    assert SendOutcome(SendResult.AUTHENTICATION, None, "401") == answer(b'{"error": "Invalid request"}', 401)


@pytest.mark.parametrize("body", [
    b"", b"<html>OK</html>", b"[]", b"null", b'{"CodeResult": "10', b'{"CodeResult": null}', b'{"CodeResult": true}',
    b'{"CodeResult": ["100"]}', b'{"SMSID": "434a124c7818-210100"}', b'{"error": "other"}', b'{"CodeResult": 100.0}',
])
def test_garbage_is_unknown_and_perhaps_sent(body: bytes) -> None:
    """A good status whose body cannot be read may hide an SMS that was sent."""
    assert SendOutcome(SendResult.UNKNOWN, None, "200", maybe_sent=True) == answer(body)


def test_an_undocumented_code_is_unknown_and_perhaps_sent() -> None:
    """A code that stands in no table says neither yes nor no."""
    assert SendOutcome(SendResult.UNKNOWN, None, "555", maybe_sent=True) == answer(b'{"CodeResult": "555"}')


@pytest.mark.parametrize(("status", "outcome"), [
    (301, SendOutcome(SendResult.UNKNOWN, None, "301", maybe_sent=True)),
    (307, SendOutcome(SendResult.UNKNOWN, None, "307", maybe_sent=True)),
    (401, SendOutcome(SendResult.AUTHENTICATION, None, "100")),
    (403, SendOutcome(SendResult.AUTHENTICATION, None, "100")),
    (429, SendOutcome(SendResult.THROTTLED, None, "100")),
    (500, SendOutcome(SendResult.TEMPORARY, None, "500", maybe_sent=True)),
    (504, SendOutcome(SendResult.TEMPORARY, None, "504", maybe_sent=True)),
])
def test_another_status_speaks_for_itself(status: int, outcome: SendOutcome) -> None:
    """Redirects and errors are never a success, whatever their body says."""
    assert outcome == answer(ACCEPTED, status)


def test_a_hand_over_after_a_timeout_is_recognised() -> None:
    """Another worker's second try is the same request byte by byte; eSMS's 124 says that it has the message."""
    first, second = (esms(callback_url=CALLBACK).build_request(MESSAGE) for _ in range(2))
    said = answer(b'{"CodeResult": "124", "CountRegenerate": 0, "ErrorMessage": "Request exist 1", "SendStatus": "5"}')

    assert first == second
    assert SendOutcome(SendResult.DUPLICATE, None, "124") == said
    assert said.taken


@pytest.mark.parametrize(("status", "succeeded", "failed", "state"), [
    ("1", "0", "0", "sent"), ("2", "0", "0", "sent"), ("7", "0", "0", "sent"), ("4", "0", "0", "failed"),
    ("5", "1", "0", "delivered"), ("5", "0", "1", "failed"), ("5", "1", "1", "failed"), ("5", "0", "2", "failed"),
    ("5", "0", "0", "sent"), ("5", None, None, "sent"), ("5", "some", "²", "sent"),
])
def test_a_callback_is_a_report(status: str, succeeded: str | None, failed: str | None, state: str) -> None:
    """Done with a failure is failed, done with neither is still on its way."""
    request = callback(SendStatus=status, SendSuccess=succeeded, SendFailed=failed)

    assert [DeliveryReport(DeliveryState(state), SMSID, MESSAGE.reference, status)] == esms().parse_report(request)


def test_a_report_names_its_message_by_either_id() -> None:
    """Their id or our reference is enough; a reference that cannot be ours is left out."""
    gateway = esms()
    by_id, by_reference = callback(RequestId=""), callback(SMSID=None)

    assert [DeliveryReport(DeliveryState.DELIVERED, SMSID, None, "5")] == gateway.parse_report(by_id)
    assert [DeliveryReport(DeliveryState.DELIVERED, None, MESSAGE.reference, "5")] == gateway.parse_report(by_reference)
    assert [DeliveryReport(DeliveryState.DELIVERED, SMSID, None, "5")] == (
        gateway.parse_report(callback(RequestId="not/ours"))
    )


@pytest.mark.parametrize("request_", [
    callback(SendStatus="3"), callback(SendStatus=""), callback(SendStatus=None), callback(SendStatus="delivered"),
    callback(SMSID="", RequestId=""), callback(SMSID="two words", RequestId="no reference"),
    replace(callback(), query={}), replace(callback(), method="POST"),
])
def test_what_is_no_report_is_refused(request_: ReportRequest) -> None:
    """An undocumented status, no message, or another method is no report; nothing of it is repeated."""
    with pytest.raises(ReportUnreadable) as refusal:
        esms().parse_report(request_)

    assert "0900000001" not in str(refusal.value)


def test_one_message_is_asked_for_at_a_time() -> None:
    """The id and both keys stand in the query, escaped; neither shows in the request's repr."""
    request = esms(secret_key="s3cret&key").build_poll(["434a+124c"])

    assert HttpRequest(
        "GET",
        "https://rest.esms.vn/MainService.svc/json/GetSendStatus?RefId=434a%2B124c&ApiKey=4pi-key"
        "&SecretKey=s3cret%26key",
        {"accept": "application/json"},
    ) == request
    assert "s3cret" not in repr(request)
    assert 1 == EsmsGateway.poll_batch


@pytest.mark.parametrize(("status", "succeeded", "failed", "state"), [
    (1, 0, 0, "sent"), (2, 0, 0, "sent"), (7, 0, 0, "sent"), (4, 0, 0, "failed"),
    (5, 1, 0, "delivered"), (5, 0, 1, "failed"), (5, 0, 0, "sent"),
])
def test_an_answer_to_a_poll_is_a_report(status: int, succeeded: int, failed: int, state: str) -> None:
    """The counts come as numbers here and mean what they mean in a callback."""
    body = orjson.dumps({
        "CodeResponse": "100", "SMSID": SMSID, "SendFailed": failed, "SendStatus": status, "SendSuccess": succeeded,
    })

    assert [DeliveryReport(DeliveryState(state), SMSID, None, str(status))] == (
        esms().parse_poll(HttpResponse(200, {}, body))
    )


@pytest.mark.parametrize(("status", "body"), [
    (200, b'{"CodeResponse": "101", "SMSID": "434a124c7818-210100", "SendStatus": 5, "SendSuccess": 1}'),
    (200, b'{"CodeResponse": "105", "SMSID": "434a124c7818-210100"}'),
    (200, b'{"CodeResponse": "100", "SMSID": "434a124c7818-210100"}'),
    (200, b'{"CodeResponse": "100", "SendStatus": 5, "SendSuccess": 1}'),
    (200, b'{"CodeResponse": "100", "SMSID": "434a124c7818-210100", "SendStatus": 6}'),
    (200, b"<html>"), (200, b""), (302, POLLED), (401, POLLED), (500, POLLED),
])
def test_a_poll_that_cannot_be_read_says_nothing(status: int, body: bytes) -> None:
    """Not known yet, keys refused, garbage, redirects and errors are no reports."""
    assert [] == esms().parse_poll(HttpResponse(status, {}, body))


@pytest.mark.parametrize(("option", "value"), [
    ("api_key", ""), ("secret_key", " \n"), ("sender", ""), ("sender", "two\nlines"), ("sender", 5),
    ("sandbox", "perhaps"), ("timeout_s", True), ("timeout_s", None),
    ("timeout_s", "soon"), ("timeout_s", "0"), ("timeout_s", "-1"), ("timeout_s", "inf"), ("timeout_s", "nan"),
    ("url", "rest.esms.vn"), ("url", "ftp://rest.esms.vn"), ("url", "https:///json"), ("url", "https://["),
    ("url", "https://a b"), ("url", "https://esms.example/ạ"), ("url", "https://esms.example/#a"),
    ("url", "https://esms.example:port"), ("url", "https://esms.example:0"),
    ("callback_url", "v1/delivery-reports/p4th"),
])
def test_bad_options_refuse_to_start(option: str, value: object) -> None:
    """The error names the option and does not repeat its value."""
    with pytest.raises(ConfigurationError, match=f"^esms: {option}: write ") as refusal:
        esms(**{option: value})

    assert len(str(value)) < 5 or str(value) not in str(refusal.value)


def test_options_may_come_as_text() -> None:
    """Environment variables are text, with a line break after a secret at times."""
    gateway = esms(api_key=API_KEY + "\n", timeout_s="0.5", sandbox="false")
    body = orjson.loads(gateway.build_request(MESSAGE).body)

    assert (0.5, API_KEY, "0") == (gateway.timeout_s, body["ApiKey"], body["Sandbox"])
