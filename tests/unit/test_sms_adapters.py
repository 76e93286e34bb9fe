from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_service.core.ports import HttpRequest, HttpResponse, SendOutcome, SendResult, SmsGateway, SmsMessage
from sms_adapters.console import ConsoleGateway
from sms_adapters.fake import FakeGateway

URL = "http://127.0.0.1:9/sms"

MESSAGE = SmsMessage(
    to="+84900000001", text="Dịch vụ: 123456 (lan 2)\n@portal.example #123456", template_key="registration",
    params=(("code", "123456"),), reference="v-1.2", send_number=2, validity_s=180,
)


def parse(status: int, body: bytes) -> SendOutcome:
    """Let the fake gateway read an answer."""
    return FakeGateway(URL).parse_response(HttpResponse(status, {}, body))


@pytest.mark.parametrize("gateway", [FakeGateway(URL), ConsoleGateway()], ids=lambda gateway: gateway.name)
def test_gateways_keep_the_protocol_and_reach_no_phone(gateway: SmsGateway) -> None:
    """Both gateways are gateways, and the demo may use them."""
    assert isinstance(gateway, SmsGateway)
    assert gateway.real is False
    assert 5.0 == gateway.timeout_s


class TestFake:
    def test_request_bytes(self) -> None:
        """A message becomes one JSON POST with these bytes."""
        assert HttpRequest(
            "POST", URL, {"content-type": "application/json", "accept": "application/json"},
            '{"reference":"v-1.2","to":"+84900000001","text":"Dịch vụ: 123456 (lan 2)\\n@portal.example #123456",'
            '"send_number":2,"template":"registration","validity_s":180}'.encode(),
        ) == FakeGateway(URL).build_request(MESSAGE)

    def test_same_message_same_bytes(self) -> None:
        """A retry carries the same reference, so that a duplicate is recognised (Invariant 6)."""
        assert FakeGateway(URL).build_request(MESSAGE) == FakeGateway(URL).build_request(MESSAGE)

    @pytest.mark.parametrize(("status", "body", "outcome"), [
        (200, b'{"id":"m-1"}', SendOutcome(SendResult.ACCEPTED, "m-1", "200")),
        (201, b'{"id": "m-1", "more": [1]}', SendOutcome(SendResult.ACCEPTED, "m-1", "201")),
        (409, b'{"id":"m-1"}', SendOutcome(SendResult.DUPLICATE, "m-1", "409")),
        (429, b"", SendOutcome(SendResult.THROTTLED, None, "429")),
        (429, b'{"error":"blocked"}', SendOutcome(SendResult.THROTTLED, None, "429")),
        (500, b"<html>", SendOutcome(SendResult.TEMPORARY, None, "500")),
        (503, b'{"id":"m-1"}', SendOutcome(SendResult.TEMPORARY, None, "503")),
    ])
    def test_clear_answers(self, status: int, body: bytes, outcome: SendOutcome) -> None:
        """What the gateway says clearly becomes one result, and nothing is in doubt."""
        assert outcome == parse(status, body)

    @pytest.mark.parametrize("result", set(SendResult) - {SendResult.ACCEPTED, SendResult.UNKNOWN})
    @pytest.mark.parametrize("status", [400, 409, 422])
    def test_named_errors(self, status: int, result: SendResult) -> None:
        """A 4xx names its result."""
        assert SendOutcome(result, None, str(status)) == parse(status, b'{"error":"%s"}' % result.encode())

    @pytest.mark.parametrize(("status", "body"), [
        (200, b""), (200, b"{}"), (200, b"<html>OK</html>"), (200, b'{"id":""}'), (200, b'{"id":7}'),
        (200, b'{"id":null}'), (200, b'["id"]'), (200, b'{"id":"m-1"'), (200, b"\xff\xfe"), (200, b"[" * 60_000),
        (200, b'{"id":"%s"}' % (b"x" * 65)), (200, b'{"id":"m 1\\n"}'), (200, b'{"id":"m-1\\n"}'),
        (200, b'{"id":"m-1"}' + b" " * 65_536), (202, b'{"id":"m-1"}'), (204, b""), (100, b""),
        (301, b'{"id":"m-1"}'), (302, b'{"error":"blocked"}'), (400, b""), (400, b'{"error":"no such word"}'),
        (400, b'{"error":["blocked"]}'), (404, b"<html>"), (409, b""), (422, b'{"error":"accepted"}'),
        (422, b'{"error":"unknown"}'), (0, b""), (999, b'{"id":"m-1"}'),
    ])
    def test_doubtful_answers(self, status: int, body: bytes) -> None:
        """What cannot be read is never taken for accepted, and may have been sent (Invariant 8)."""
        assert SendOutcome(SendResult.UNKNOWN, None, str(status), maybe_sent=True) == parse(status, body)

    @given(
        st.integers(-1, 1000),
        st.binary(max_size=200)
        | st.builds(
            lambda key, value: b'{"%s":%s}' % (key, value), st.sampled_from([b"id", b"error"]),
            st.sampled_from([b'"x"', b"1", b"null", b"[]", b"{}", b"1e999", b'"\\ud800"', b'"blocked"']),
        ),
    )
    def test_never_raises(self, status: int, body: bytes) -> None:
        """Whatever comes back there is an outcome; only 200, 201 and 409 with an id, or a named duplicate, take."""
        outcome = parse(status, body)

        assert outcome.maybe_sent is (outcome.result is SendResult.UNKNOWN)
        assert not outcome.taken or status in {200, 201, 409}
        assert len(outcome.provider_code or "") <= 64


class TestConsole:
    def test_prints_the_sms_and_sends_nothing(self) -> None:
        """The SMS is printed with what a developer needs, no request is made, and printed is accepted."""
        stream = io.StringIO()

        assert SendOutcome(SendResult.ACCEPTED) == ConsoleGateway(stream).build_request(MESSAGE)
        assert (
            "--- SMS to +84900000001, send 2, template registration, valid 180 s (a live code: development only)\n"
            "Dịch vụ: 123456 (lan 2)\n@portal.example #123456\n---\n"
        ) == stream.getvalue()

    def test_default_stream_is_standard_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Without a stream it prints to standard error, never to standard output."""
        ConsoleGateway().build_request(MESSAGE)

        captured = capsys.readouterr()
        assert "" == captured.out
        assert MESSAGE.text in captured.err

    def test_says_what_it_is(self) -> None:
        """The documentation warns that it prints a live code."""
        assert "prints a live code" in (ConsoleGateway.__doc__ or "")
        assert "development only" in (ConsoleGateway.__doc__ or "")

    @given(st.integers(-1, 1000), st.binary(max_size=100))
    def test_no_answer_is_ours(self, status: int, body: bytes) -> None:
        """It asked nobody, so any answer is unknown."""
        assert (
            SendOutcome(SendResult.UNKNOWN, None, str(status), maybe_sent=True)
            == ConsoleGateway().parse_response(HttpResponse(status, {}, body))
        )
