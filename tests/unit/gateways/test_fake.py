"""The fake adapter: its reports and polls, and its answers without a provider."""

from __future__ import annotations

import hmac
from dataclasses import replace

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
from sms_adapters.console import ConsoleGateway
from sms_adapters.contract import GatewayContract
from sms_adapters.fake import FakeGateway

URL = "http://127.0.0.1:9/sms"
REPORT_KEY = "s3cret-report-key"
BODY = b'{"id":"sms-1","reference":"5-k1-abc-1","state":"delivered","code":"000"}'
ORDINARY = SmsMessage("+84900000001", "Ma 123456", "registration", (), "5-k1-abc-1", 1, 180)
ID = "fake-d43b8e7e0457b17a"


def callback(body: bytes = BODY, key: str = REPORT_KEY) -> ReportRequest:
    """Make a signed delivery report."""
    signature = hmac.new(key.encode(), body, "sha256").hexdigest()
    return ReportRequest(
        "POST", "https://otp.example/v1/delivery-reports/fake/x",
        {"content-type": "application/json", "x-fake-signature": signature}, {}, body,
    )


POLLED = HttpResponse(200, {}, b'{"messages":[%s,{"id":"sms-2","reference":"6-k1-abc-1","state":"sent"}]}' % BODY)


class TestContract(GatewayContract):
    secrets = (REPORT_KEY,)
    accepted = HttpResponse(200, {"content-type": "application/json"}, b'{"id":"sms-1"}')
    reports = (callback(),)
    polled = POLLED

    def gateway(self) -> FakeGateway:
        """Return one that posts."""
        return FakeGateway(URL, report_key=REPORT_KEY)


class TestUnsignedContract(GatewayContract):
    accepted = HttpResponse(201, {}, b'{"id":"sms-1"}')
    reports = (replace(callback(), headers={"content-type": "application/json"}),)
    polled = POLLED

    def gateway(self) -> FakeGateway:
        """Return one whose reports are not signed."""
        return FakeGateway(URL)


class TestContractWithoutProvider(GatewayContract):
    def gateway(self) -> FakeGateway:
        """Return one that answers by itself."""
        return FakeGateway()


class TestConsoleContract(GatewayContract):
    def gateway(self) -> ConsoleGateway:
        """Return the one that prints."""
        return ConsoleGateway()


def test_what_it_supports() -> None:
    """Reports come by callback and by poll where there is a provider, signed where there is a key."""
    always = {"deduplicates": True, "unicode": True, "parts": 10}

    assert Supports(callback=True, polling=True, **always) == FakeGateway(URL).supports
    assert Supports(callback=True, signed=True, polling=True, **always) == FakeGateway(URL, report_key="x").supports
    assert Supports(**always) == FakeGateway(report_key="x").supports


@pytest.mark.parametrize(("timeout", "seconds"), [(None, 5.0), ("2.5", 2.5), (60, 60.0)])
def test_timeout(timeout: float | None, seconds: float) -> None:
    """The timeout may come as text."""
    assert seconds == FakeGateway(timeout_s=timeout).timeout_s


@pytest.mark.parametrize("options", [
    {"url": "127.0.0.1/sms"}, {"url": "/sms"}, {"url": "ftp://127.0.0.1"}, {"url": "http://"},
    {"url": "http://127.0.0.1/?x=1"}, {"url": "http://127.0.0.1/#x"}, {"url": "http://127.0.0.1/a b"},
    {"url": "http://127.0.0.1:99999"}, {"url": "http://[::1"},
    {"timeout_s": "soon"}, {"timeout_s": 0}, {"timeout_s": 61}, {"timeout_s": "nan"},
])
def test_bad_options(options: dict[str, str]) -> None:
    """What cannot be used refuses to start."""
    with pytest.raises(ConfigurationError, match=r"^fake gateway: (url|timeout_s) must be"):
        FakeGateway(**options)  # type: ignore[arg-type]  # options come as text


class TestReports:
    @pytest.mark.parametrize(("body", "report"), [
        (BODY, DeliveryReport(DeliveryState.DELIVERED, "sms-1", "5-k1-abc-1", "000")),
        (b'{"id":"sms-1","state":"sent"}', DeliveryReport(DeliveryState.SENT, "sms-1")),
        (
            b'{"reference":"r","state":"failed","code":7,"id":"two words"}',
            DeliveryReport(DeliveryState.FAILED, None, "r", "7"),
        ),
        (b'{"id":"sms-1","reference":"no r\\n","state":"sent"}', DeliveryReport(DeliveryState.SENT, "sms-1")),
    ])
    def test_reports(self, body: bytes, report: DeliveryReport) -> None:
        """A report names its message by id or reference; an unusable one of them is left out."""
        assert [report] == FakeGateway(URL, report_key=REPORT_KEY).parse_report(callback(body))

    @pytest.mark.parametrize("request_", [
        callback(key="another key"), callback(key=""), replace(callback(), headers={}),
        replace(callback(), body=BODY + b" "), replace(callback(), headers={"x-fake-signature": "ạ\ud800"}),
    ])
    def test_forged(self, request_: ReportRequest) -> None:
        """Only a body with its own signature is believed."""
        with pytest.raises(ReportForged):
            FakeGateway(URL, report_key=REPORT_KEY).parse_report(request_)

    @pytest.mark.parametrize("request_", [
        callback(b""), callback(b"[]"), callback(b'{"id":"sms-1"}'), callback(b'{"id":"sms-1","state":"DELIVERED"}'),
        callback(b'{"id":"sms-1","state":["sent"]}'), callback(b'{"state":"sent"}'),
        callback(b'{"reference":"%s","state":"sent"}' % (b"r" * 49)), callback(b'{"id":7,"state":"sent"}'),
        replace(callback(), method="GET"), callback(BODY + b" " * 65_536),
    ])
    def test_unreadable(self, request_: ReportRequest) -> None:
        """What is signed and still no report is told apart from what is forged."""
        with pytest.raises(ReportUnreadable):
            FakeGateway(URL, report_key=REPORT_KEY).parse_report(request_)


class TestPolling:
    def test_request_bytes(self) -> None:
        """A poll names every id in its query."""
        assert HttpRequest(
            "GET", "http://127.0.0.1:9/sms/messages?id=sms-1&id=a%26b", {"accept": "application/json"},
        ) == FakeGateway(f"{URL}/").build_poll(["sms-1", "a&b"])

    def test_states(self) -> None:
        """The answer gives one report for each message it knows."""
        assert [
            DeliveryReport(DeliveryState.DELIVERED, "sms-1", "5-k1-abc-1", "000"),
            DeliveryReport(DeliveryState.SENT, "sms-2", "6-k1-abc-1"),
        ] == FakeGateway(URL).parse_poll(POLLED)

    @pytest.mark.parametrize("response", [
        replace(POLLED, status=500), replace(POLLED, status=302), HttpResponse(200, {}, b'{"messages":{"id":"sms-1"}}'),
        HttpResponse(200, {}, b'{"messages":[null,1,[],{"id":"sms-1"}]}'), HttpResponse(200, {}, b"[]"),
    ])
    def test_says_nothing(self, response: HttpResponse) -> None:
        """What cannot be read gives no report."""
        assert [] == FakeGateway(URL).parse_poll(response)


class TestWithoutProvider:
    @pytest.mark.parametrize(("tail", "outcomes"), [
        ("001", [SendOutcome(SendResult.ACCEPTED, ID, delivery=DeliveryState.DELIVERED)] * 2),
        ("900", [SendOutcome(SendResult.ACCEPTED, ID, delivery=DeliveryState.DELIVERED)] * 2),
        ("901", [SendOutcome(SendResult.INVALID_NUMBER)] * 2),
        ("906", [SendOutcome(SendResult.BALANCE)] * 2),
        ("908", [SendOutcome(SendResult.DUPLICATE, ID)] * 2),
        ("910", [SendOutcome(SendResult.TEMPORARY)] * 2),
        ("911", [SendOutcome(SendResult.UNKNOWN, maybe_sent=True)] * 2),
        ("912", [SendOutcome(SendResult.ACCEPTED, ID, delivery=DeliveryState.FAILED)] * 2),
        ("913", [SendOutcome(SendResult.ACCEPTED, ID)] * 2),
        ("914", [SendOutcome(SendResult.ACCEPTED, ID)] * 2),
        ("915", [
            SendOutcome(SendResult.UNKNOWN, maybe_sent=True),
            SendOutcome(SendResult.DUPLICATE, ID, delivery=DeliveryState.DELIVERED),
        ]),
        ("916", [SendOutcome(SendResult.ACCEPTED, ID, delivery=DeliveryState.DELIVERED)] * 2),
        ("917", [
            SendOutcome(SendResult.UNKNOWN, maybe_sent=True),
            SendOutcome(SendResult.DUPLICATE, ID, delivery=DeliveryState.DELIVERED),
        ]),
        ("918", [
            SendOutcome(SendResult.TEMPORARY),
            SendOutcome(SendResult.ACCEPTED, ID, delivery=DeliveryState.DELIVERED),
        ]),
    ])
    def test_outcomes(self, tail: str, outcomes: list[SendOutcome]) -> None:
        """A message handed over twice has the outcomes of its number; ordinary ones are delivered."""
        gateway = FakeGateway()
        message = replace(ORDINARY, to=f"+84900000{tail}")

        assert outcomes == [gateway.build_request(message) for _ in outcomes]

    def test_each_message_counts_for_itself(self) -> None:
        """Another message to the same number fails first as well."""
        gateway = FakeGateway()
        results = [
            gateway.build_request(replace(ORDINARY, to="+84900000918", reference=reference)).result  # type: ignore[union-attr]
            for reference in ("a-1", "b-1", "a-1", "b-1")
        ]

        assert [SendResult.TEMPORARY, SendResult.TEMPORARY, SendResult.ACCEPTED, SendResult.ACCEPTED] == results

    def test_memory_is_bounded(self) -> None:
        """Invariant 14: it remembers the last ten thousand messages that it answers twice in different ways."""
        gateway = FakeGateway()
        for number in range(10_050):
            gateway.build_request(replace(ORDINARY, to="+84900000918", reference=f"r-{number}"))
            gateway.build_request(replace(ORDINARY, reference=f"o-{number}"))

        assert 10_000 == len(gateway._tried)


def test_magic_numbers_mean_nothing_to_a_request() -> None:
    """With a provider it is the provider who knows magic numbers."""
    request = FakeGateway(URL).build_request(replace(ORDINARY, to="+84900000901"))

    assert isinstance(request, HttpRequest)
    assert "+84900000901" == orjson.loads(request.body)["to"]
