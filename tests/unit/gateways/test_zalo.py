"""Zalo ZNS: exact requests, tokens that change, every known answer and code, signed reports, bad options."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from otp_service.core.errors import ConfigurationError
from otp_service.core.ports import (
    HEALED_ELSEWHERE,
    AccessToken,
    DeliveryReport,
    DeliveryState,
    HttpRequest,
    HttpResponse,
    ReportForged,
    ReportRequest,
    ReportUnreadable,
    SendOutcome,
    SendResult,
    Supports,
    TokenGateway,
)
from sms_adapters import zalo
from sms_adapters.contract import PLAIN, GatewayContract
from sms_adapters.zalo import ZaloGateway

OPTIONS = {
    "app_id": "1860000000000000001", "app_secret": "s3cret-of-the-app", "oa_secret": "s3cret-of-the-oa",
    "refresh_token": "s3cret-first-refresh",
    "templates": {
        "registration": {"id": "616000", "params": {"otp": "code"}},
        "sign_in": {"id": 616001, "params": {"ma": "code", "han": "validity"}},
    },
}
FORM = {"content-type": "application/x-www-form-urlencoded", "secret_key": "s3cret-of-the-app"}

EVENT = (
    b'{"event_name": "user_received_message", "app_id": "1860000000000000001", "timestamp": "1602560967477",'
    b' "sender": {"id": "oa"}, "recipient": {"id": "84900000001"}, "message": {"delivery_time": "1602560967432",'
    b' "msg_id": "a4d0243feee163bd3af2", "tracking_id": "5-k1-k3t3u3rmwygiymua4yg2vugqla-1"}}'
)

CODES = [
    ("-100", "temporary"), ("-101", "authentication"), ("-102", "authentication"), ("-103", "authentication"),
    ("-104", "authentication"), ("-105", "authentication"), ("-106", "unknown"), ("-108", "invalid_number"),
    ("-109", "template_rejected"), ("-110", "wrong_network"), ("-111", "template_rejected"),
    ("-112", "template_rejected"), ("-1121", "template_rejected"), ("-1122", "template_rejected"),
    ("-1124", "template_rejected"), ("-113", "template_rejected"), ("-114", "blocked"), ("-115", "balance"),
    ("-116", "template_rejected"), ("-117", "template_rejected"), ("-118", "wrong_network"), ("-119", "blocked"),
    ("-120", "sender_rejected"), ("-124", "authentication"), ("-126", "balance"), ("-127", "template_rejected"),
    ("-131", "template_rejected"), ("-133", "template_rejected"), ("-135", "sender_rejected"),
    ("-136", "sender_rejected"), ("-137", "balance"), ("-139", "blocked"), ("-140", "blocked"), ("-141", "blocked"),
    ("-144", "balance"), ("-147", "template_rejected"), ("-216", "authentication"), ("-220", "authentication"),
]


def make(**options: Any) -> ZaloGateway:
    """Return a gateway with the usual options, some of them others."""
    return ZaloGateway(**{**OPTIONS, **options})


def read(status: int, body: bytes) -> SendOutcome:
    """Let a gateway read an answer."""
    return make().parse_response(HttpResponse(status, {}, body))


def signed(body: bytes, timestamp: str = "1602560967477", key: str = "s3cret-of-the-oa") -> ReportRequest:
    """Return a callback as Zalo signs it."""
    mac = hashlib.sha256(b"1860000000000000001" + body + timestamp.encode() + key.encode()).hexdigest()
    headers = {"content-type": "application/json", "x-zevent-signature": f"mac={mac}"}
    return ReportRequest("POST", "https://otp.example.vn/v1/delivery-reports/zalo/x", headers, {}, body)


class TestContract(GatewayContract):
    secrets = ("s3cret-of-the-app", "s3cret-of-the-oa", "s3cret-first-refresh")
    accepted = HttpResponse(200, {}, (
        b'{"error": 0, "message": "Success", "data": {"msg_id": "a4d0243feee163bd3af2",'
        b' "sent_time": "1626926349402", "quota": {"dailyQuota": "500", "remainingQuota": "499"}}}'
    ))
    reports = (signed(EVENT),)
    token_answer = HttpResponse(200, {}, (
        b'{"access_token": "t0ken", "refresh_token": "n3xt", "expires_in": "90000"}'
    ))

    def gateway(self) -> ZaloGateway:
        """Return a fresh gateway."""
        return make()


class TestRequest:
    def test_first_token_request_bytes(self) -> None:
        """The first pair of tokens is bought with the configured refresh token."""
        assert HttpRequest(
            "POST", "https://oauth.zaloapp.com/v4/oa/access_token", FORM,
            b"app_id=1860000000000000001&grant_type=refresh_token&refresh_token=s3cret-first-refresh",
        ) == make().build_token_request(None)

    def test_next_token_request_bytes(self) -> None:
        """Every later pair is bought with the refresh token that came with the last one, whatever is in it."""
        assert HttpRequest(
            "POST", "https://oauth.zaloapp.com/v4/oa/access_token", FORM,
            b"app_id=1860000000000000001&grant_type=refresh_token&refresh_token=n3xt%26%3D%2B",
        ) == make().build_token_request("n3xt&=+")

    def test_request_bytes(self) -> None:
        """A message becomes its registered template and parameters, with our reference, in these bytes."""
        assert HttpRequest(
            "POST", "https://business.openapi.zalo.me/message/template",
            {"content-type": "application/json", "accept": "application/json", "access_token": "t0ken"},
            b'{"phone":"84900000001","template_id":"616000","template_data":{"otp":"739105"},'
            b'"tracking_id":"5-k1-k3t3u3rmwygiymua4yg2vugqla-1"}',
        ) == make().build_authorised(PLAIN, "t0ken")

    def test_another_template_and_address(self) -> None:
        """The template follows from the message's key, the addresses from the options."""
        gateway = make(url="https://zns.example.vn/", oauth_url="https://oauth.example.vn/")
        request = gateway.build_authorised(replace(PLAIN, template_key="sign_in"), "t0ken")
        assert isinstance(request, HttpRequest)
        assert "https://zns.example.vn/message/template" == request.url
        assert b'"template_id":"616001","template_data":{"ma":"739105","han":"3 phut"}' in request.body
        assert "https://oauth.example.vn/v4/oa/access_token" == gateway.build_token_request(None).url

    def test_templates_as_text(self) -> None:
        """Templates may come as JSON, from an environment variable."""
        gateway = make(templates='{"registration": {"id": "616000", "params": {"otp": "code"}}}')
        assert make().build_authorised(PLAIN, "t0ken") == gateway.build_authorised(PLAIN, "t0ken")

    @pytest.mark.parametrize(("changes", "why"), [
        ({"template_key": "password_reset"}, "no_template"),
        ({"params": ()}, "no_parameter"),
        ({"params": (("code", ""),)}, "no_parameter"),
    ])
    def test_refused(self, changes: dict[str, Any], why: str) -> None:
        """A message without its template or parameter is left to another gateway."""
        outcome = make().build_authorised(replace(PLAIN, **changes), "t0ken")
        assert SendOutcome(SendResult.TEMPLATE_REJECTED, provider_code=why) == outcome


class TestToken:
    @pytest.mark.parametrize(("rest", "token"), [
        (b'"refresh_token": "n3xt", "expires_in": "90000"', AccessToken("t0ken", 90000, "n3xt")),
        (b'"refresh_token": "n3xt", "expires_in": 3600', AccessToken("t0ken", 3600, "n3xt")),
        (b'"refresh_token": "n3xt"', AccessToken("t0ken", 300, "n3xt")),
        (b'"refresh_token": "n3xt", "expires_in": "soon"', AccessToken("t0ken", 300, "n3xt")),
        (b'"refresh_token": "n3xt", "expires_in": "90000 s"', AccessToken("t0ken", 300, "n3xt")),
        (b'"refresh_token": "n3xt", "expires_in": -1', AccessToken("t0ken", 300, "n3xt")),
        (b'"refresh_token": "n3xt", "expires_in": ' + b"[" * 1000 + b"]" * 1000, AccessToken("t0ken", 300, "n3xt")),
        (b'"expires_in": "90000"', AccessToken("t0ken", 90000)),
        (b'"refresh_token": 5, "expires_in": "90000"', AccessToken("t0ken", 90000)),
        (b'"refresh_token": "a\\nb", "expires_in": "90000"', AccessToken("t0ken", 90000)),
    ])
    def test_pairs(self, rest: bytes, token: AccessToken) -> None:
        """The next refresh token is kept even where the life of the token cannot be read: there is no other."""
        body = b'{"access_token": "t0ken", ' + rest + b"}"
        assert token == make().parse_token(HttpResponse(200, {}, body))

    @pytest.mark.parametrize(("status", "body"), [
        (200, b'{"error": -14014, "error_name": "Invalid refresh token"}'), (200, b"<html>"), (200, b""),
        (200, b'{"access_token": "", "refresh_token": "n3xt"}'), (200, b'{"access_token": ["t0ken"]}'),
        (200, b'{"access_token": "a\\r\\nb"}'), (302, b'{"access_token": "t0ken"}'),
        (401, b'{"access_token": "t0ken"}'), (500, b'{"access_token": "t0ken"}'),
    ])
    def test_none(self, status: int, body: bytes) -> None:
        """An error, a page, a redirect and a token that no header could carry are no token."""
        assert make().parse_token(HttpResponse(status, {}, body)) is None


class TestAnswers:
    @pytest.mark.parametrize("error", [b"0", b'"0"'])
    def test_accepted(self, error: bytes) -> None:
        """Error 0 with a message id is accepted."""
        body = b'{"error": ' + error + b', "data": {"msg_id": "a4d0"}}'
        assert SendOutcome(SendResult.ACCEPTED, "a4d0", "0") == read(200, body)

    def test_every_code_is_listed(self) -> None:
        """The codes tested here are those the adapter knows."""
        assert set(zalo._RESULTS) == {code for code, _ in CODES}

    @pytest.mark.parametrize("body", ['{"error": %s, "message": "x"}', '{"error": "%s", "data": {"msg_id": "a"}}'])
    @pytest.mark.parametrize("status", [200, 400, 401])
    @pytest.mark.parametrize(("code", "result"), CODES)
    def test_codes(self, code: str, result: str, status: int, body: str) -> None:
        """Each code means the same as number or text, with either kind of status."""
        assert SendOutcome(
            SendResult(result), None, code, maybe_sent=code == "-100", stale_token=code in {"-124", "-216", "-220"},
        ) == read(status, (body % code).encode())

    @pytest.mark.parametrize("code", ["-110", "-114", "-118", "-119", "-139", "-140", "-141"])
    def test_an_sms_is_tried_next(self, code: str) -> None:
        """Whoever has no Zalo or wants nothing there is sent an SMS by another gateway."""
        assert read(200, b'{"error": %s}' % code.encode()).result in HEALED_ELSEWHERE

    @pytest.mark.parametrize(("status", "body", "outcome"), [
        (200, b"", SendOutcome(SendResult.UNKNOWN, None, "200", maybe_sent=True)),
        (200, b"<html>Success</html>", SendOutcome(SendResult.UNKNOWN, None, "200", maybe_sent=True)),
        (200, b"{}", SendOutcome(SendResult.UNKNOWN, None, "200", maybe_sent=True)),
        (200, b'{"data": {"msg_id": "a"}}', SendOutcome(SendResult.UNKNOWN, None, "200", maybe_sent=True)),
        (200, b'{"error": 0}', SendOutcome(SendResult.UNKNOWN, None, "0", maybe_sent=True)),
        (200, b'{"error": 0, "data": {"msg_id": ""}}', SendOutcome(SendResult.UNKNOWN, None, "0", maybe_sent=True)),
        (200, b'{"error": 0, "data": [1]}', SendOutcome(SendResult.UNKNOWN, None, "0", maybe_sent=True)),
        (200, b'{"error": false, "data": {"msg_id": "a"}}',
         SendOutcome(SendResult.UNKNOWN, None, "200", maybe_sent=True)),
        (200, b'{"error": -4242}', SendOutcome(SendResult.UNKNOWN, None, "-4242", maybe_sent=True)),
        (200, b'{"error": "84900000001 is bad"}', SendOutcome(SendResult.UNKNOWN, None, "200", maybe_sent=True)),
        (302, b'{"error": 0, "data": {"msg_id": "a"}}', SendOutcome(SendResult.UNKNOWN, None, "0", maybe_sent=True)),
        (302, b'{"error": -118}', SendOutcome(SendResult.UNKNOWN, None, "-118", maybe_sent=True)),
        (300, b'{"error": 0, "data": {"msg_id": "a"}}', SendOutcome(SendResult.UNKNOWN, None, "0", maybe_sent=True)),
        (300, b'{"error": -118}', SendOutcome(SendResult.UNKNOWN, None, "-118", maybe_sent=True)),
        (500, b'{"error": -118}', SendOutcome(SendResult.TEMPORARY, None, "-118", maybe_sent=True)),
        (400, b"", SendOutcome(SendResult.UNKNOWN, None, "400")),
        (401, b"", SendOutcome(SendResult.AUTHENTICATION, None, "401", stale_token=True)),
        (403, b"<html>", SendOutcome(SendResult.AUTHENTICATION, None, "403")),
        (429, b"", SendOutcome(SendResult.THROTTLED, None, "429")),
        (500, b'{"error": 0, "data": {"msg_id": "a"}}', SendOutcome(SendResult.TEMPORARY, None, "0", maybe_sent=True)),
        (502, b"<html>", SendOutcome(SendResult.TEMPORARY, None, "502", maybe_sent=True)),
    ])
    def test_everything_else(self, status: int, body: bytes, outcome: SendOutcome) -> None:
        """Without a code that is known the status decides; a success that cannot be read may have been sent."""
        assert outcome == read(status, body)


class TestReports:
    def test_delivered(self) -> None:
        """A ZNS on the phone is delivered, named by Zalo's id and by our reference."""
        assert [DeliveryReport(
            DeliveryState.DELIVERED, "a4d0243feee163bd3af2", "5-k1-k3t3u3rmwygiymua4yg2vugqla-1",
            "user_received_message",
        )] == make().parse_report(signed(EVENT))

    def test_the_signature_as_written_down(self) -> None:
        """A signature that sha256sum made of application id, raw body, timestamp and OA secret key is right."""
        body = b'{"event_name":"follow","timestamp":"1602560967477"}'
        mac = "b5dedb6dcb44a123cafed339fe5943aa94912b6bd348238aec302f7f900e7645"
        request = replace(signed(body), headers={"x-zevent-signature": f"mac={mac}"})
        assert [] == make().parse_report(request)

    @pytest.mark.parametrize(("message", "provider_id", "reference"), [
        (b'{"delivery_time": 1, "msg_id": "a"}', "a", None),
        (b'{"delivery_time": "1", "tracking_id": "v-1"}', None, "v-1"),
        (b'{"delivery_time": "1", "msg_id": "a", "tracking_id": "no tracking id of ours"}', "a", None),
        (b'{"delivery_time": "1", "msg_id": ["a"], "tracking_id": "v-1"}', None, "v-1"),
        (b'{"delivery_time": "1", "msg_id": "a", "tracking_id": 5}', "a", None),
    ])
    def test_either_name_is_enough(self, message: bytes, provider_id: str | None, reference: str | None) -> None:
        """A report names its message by Zalo's id or by a reference that can be ours."""
        body = b'{"event_name": "user_received_message", "timestamp": 7, "message": ' + message + b"}"
        expected = DeliveryReport(DeliveryState.DELIVERED, provider_id, reference, "user_received_message")
        assert [expected] == make().parse_report(signed(body, "7"))

    @pytest.mark.parametrize("rest", [
        b'"event_name": "user_send_text", "message": {"delivery_time": "1", "msg_id": "a"}',
        b'"event_name": "user_received_message", "message": {"msg_id": "This is message id"}',
        b'"event_name": "user_received_message", "message": {"delivery_time": "", "msg_id": "a"}',
        b'"event_name": "user_received_message", "message": ["a"]',
        b'"event_name": "user_received_message"',
        b'"event_name": ["follow"]',
        b'"event": "follow"',
    ])
    def test_other_events(self, rest: bytes) -> None:
        """The OA's other events, and receipts for its chats, are well-formed and no reports."""
        assert [] == make().parse_report(signed(b'{"timestamp": "7", ' + rest + b"}", "7"))

    @pytest.mark.parametrize("header", [
        None, "", "mac=", "mac=" + "0" * 64, "bare", "upper", "spaces", "mac=\udcff", "mac=ạ",
    ])
    def test_forged(self, header: str | None) -> None:
        """A missing signature, another one, and the right one written otherwise are forged."""
        request = signed(EVENT)
        good = request.headers["x-zevent-signature"]
        header = {"bare": good[4:], "upper": good.upper(), "spaces": f" {good}"}.get(header or "", header)
        headers = {} if header is None else {"x-zevent-signature": header}
        with pytest.raises(ReportForged):
            make().parse_report(replace(request, headers=headers))

    @pytest.mark.parametrize("request_", [
        signed(EVENT, key="another"), signed(EVENT, key=""), signed(EVENT, "1602560967478"),
        replace(signed(EVENT), body=EVENT + b" "), replace(signed(EVENT), body=EVENT.replace(b"a4d0", b"a4d1")),
    ])
    def test_changed(self, request_: ReportRequest) -> None:
        """Another key, another time and another body do not fit the signature."""
        with pytest.raises(ReportForged):
            make().parse_report(request_)

    def test_another_application(self) -> None:
        """The event of another application is not believed, although its own id is in its body."""
        with pytest.raises(ReportForged):
            make(app_id="1860000000000000002").parse_report(signed(EVENT))

    @pytest.mark.parametrize("body", [
        b"", b"[]", b"<html>", b'{"event_name": "user_received_message"}', b'{"timestamp": true}',
        b'{"timestamp": [7]}', b'{"timestamp": 1e999}', b'{"timestamp": null}', b"\xff",
        b'{"timestamp": ' + b"9" * 5000 + b"}",
    ])
    def test_unreadable(self, body: bytes) -> None:
        """A body without the time that is part of the signature cannot be verified."""
        with pytest.raises(ReportUnreadable):
            make().parse_report(signed(body))

    def test_a_report_about_nothing(self) -> None:
        """A signed report that names no message is refused, and its words are not repeated."""
        body = b'{"event_name": "user_received_message", "timestamp": "7", "message": {"delivery_time": "84900000001"}}'
        with pytest.raises(ReportUnreadable) as refused:
            make().parse_report(signed(body, "7"))
        assert "84900000001" not in str(refused.value)


class TestOptions:
    def test_what_it_says(self) -> None:
        """It fetches tokens, reaches phones, and its reports are signed."""
        gateway = make(timeout_s="5", app_id=1860000000000000001)
        assert isinstance(gateway, TokenGateway)
        assert ("zalo", True, False, 5.0) == (gateway.name, gateway.real, gateway.experimental, gateway.timeout_s)
        assert Supports(callback=True, signed=True, templates=True, unicode=True, parts=10) == gateway.supports
        assert 60.0 == make(timeout_s=60).timeout_s
        assert gateway.parse_report(signed(EVENT))

    def test_a_secret_file_ends_with_a_line_break(self) -> None:
        """Blanks around an option's value are not part of it."""
        gateway = make(app_id=f" {OPTIONS['app_id']}", **{
            name: f"{OPTIONS[name]}\n" for name in ("app_secret", "oa_secret", "refresh_token")
        })
        assert make().build_token_request(None) == gateway.build_token_request(None)
        assert gateway.parse_report(signed(EVENT))

    @pytest.mark.parametrize(("options", "named"), [
        ({"app_id": ""}, "app_id"), ({"app_id": True}, "app_id"), ({"app_id": "1-2"}, "app_id"),
        ({"app_secret": ""}, "app_secret"), ({"app_secret": "s3cret-of-the-äpp"}, "app_secret"),
        ({"oa_secret": "s3cret-of-the-oa\r\nx: y"}, "oa_secret"), ({"oa_secret": None}, "oa_secret"),
        ({"refresh_token": "s3cret-first-refresh two"}, "refresh_token"), ({"url": "zalo.me"}, "url"),
        ({"oauth_url": "https://"}, "oauth_url"), ({"timeout_s": "x"}, "timeout_s"),
        ({"templates": "{"}, "templates"), ({"templates": "[]"}, "templates"), ({"templates": {}}, "templates"),
        ({"templates": None}, "templates"), ({"templates": {"a": "616000"}}, "templates.a"),
        ({"templates": {"a": {"id": "1"}}}, "templates.a"),
        ({"templates": {"a": {"id": "1", "params": {"otp": "code"}, "x": 1}}}, "templates.a"),
        ({"templates": {"a": {"id": "1 2", "params": {"otp": "code"}}}}, "templates.a.id"),
        ({"templates": {"a": {"id": "1", "params": ["code"]}}}, "templates.a.params"),
        ({"templates": {"a": {"id": "1", "params": {"otp": "code", "han": 1}}}}, "templates.a.params"),
        ({"templates": {"a": {"id": "1", "params": {"otp": "code", "": "validity"}}}}, "templates.a.params"),
        ({"templates": {"a": {"id": "1", "params": {"otp": "brand"}}}}, "templates.a.params"),
    ], ids=repr)
    def test_bad_options(self, options: dict[str, Any], named: str) -> None:
        """An option that cannot be used refuses to start, in a sentence that names it and repeats no secret."""
        with pytest.raises(ConfigurationError, match=f"^zalo: {named}: ") as refused:
            make(**options)
        assert "s3cret" not in str(refused.value)
