"""FPT SMS: exact requests, every known answer and code, the token's life, bad options."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from typing import Any

import orjson
import pytest

from otp_service.core.errors import ConfigurationError
from otp_service.core.ports import (
    AccessToken,
    HttpRequest,
    HttpResponse,
    SendOutcome,
    SendResult,
    Supports,
    TokenGateway,
)
from sms_adapters import fpt
from sms_adapters.contract import PLAIN, GatewayContract
from sms_adapters.fpt import FptGateway

OPTIONS = {"client_id": "Cl1ent", "client_secret": "s3cret-of-fpt", "sender": "CONG DVC"}
HEADERS = {"content-type": "application/json", "accept": "application/json"}

#: sha256("Cl1ent"), its first half.
SESSION = "1b1c6c2fff5cc1fe7c281b6e3acfc320"

#: In the order of the maker's table, with what each code means for us.
CODES = [
    ("1001", "unknown"), ("1002", "authentication"), ("1005", "authentication"), ("1006", "temporary"),
    ("1007", "temporary"), ("1008", "authentication"), ("1010", "authentication"), ("1011", "authentication"),
    ("1013", "authentication"), ("1014", "unknown"), ("1015", "authentication"), ("1016", "balance"),
    ("2501", "duplicate"), ("1", "duplicate"), ("2502", "balance"), ("2503", "balance"),
    ("2504", "sender_rejected"), ("54", "sender_rejected"), ("2513", "sender_rejected"), ("2505", "blocked"),
    ("-11", "blocked"), ("2506", "temporary"), ("2507", "unknown"), ("2518", "template_rejected"),
    ("5", "template_rejected"), ("-20", "template_rejected"), ("55", "template_rejected"),
    ("2519", "template_rejected"), ("6", "template_rejected"), ("-18", "template_rejected"),
    ("2", "wrong_network"), ("-8", "wrong_network"), ("3", "temporary"), ("4", "template_rejected"),
    ("-14", "template_rejected"), ("901", "template_rejected"), ("7", "template_rejected"),
    ("8", "template_rejected"), ("53", "invalid_number"), ("-10", "invalid_number"), ("902", "invalid_number"),
]


def make(**options: Any) -> FptGateway:
    """Return a gateway with the usual options, some of them others."""
    return FptGateway(**{**OPTIONS, **options})


def read(status: int, body: bytes) -> SendOutcome:
    """Let a gateway read an answer."""
    return make().parse_response(HttpResponse(status, {}, body))


class TestContract(GatewayContract):
    secrets = ("s3cret-of-fpt", "Cl1ent")
    accepted = HttpResponse(200, {}, b'{"MessageId": 4711, "BrandName": "CONG DVC", "Telco": "viettel"}')
    token_answer = HttpResponse(200, {}, b'{"access_token": "t0ken", "expires_in": 86400, "token_type": "Bearer"}')

    def gateway(self) -> FptGateway:
        """Return a fresh gateway."""
        return make()


class TestRequest:
    def test_token_request_bytes(self) -> None:
        """The token is asked for with client id, secret, scope and a session that follows from the client."""
        assert HttpRequest(
            "POST", "https://api01.sms.fpt.net/oauth2/token", HEADERS,
            b'{"grant_type":"client_credentials","client_id":"Cl1ent","client_secret":"s3cret-of-fpt",'
            b'"scope":"send_brandname_otp","session_id":"' + SESSION.encode() + b'"}',
        ) == make().build_token_request(None)

    def test_request_bytes(self) -> None:
        """A message goes out with the token, its session, the brand name and our reference, its text in base64."""
        assert HttpRequest(
            "POST", "https://api01.sms.fpt.net/api/push-brandname-otp", HEADERS,
            b'{"access_token":"t0ken","session_id":"' + SESSION.encode() + b'","BrandName":"CONG DVC",'
            b'"Phone":"84900000001","Message":"TWEgMTIz","RequestId":"5-k1-k3t3u3rmwygiymua4yg2vugqla-1"}',
        ) == make().build_authorised(replace(PLAIN, text="Ma 123"), "t0ken")

    def test_base64_of_accents(self) -> None:
        """An accented text is UTF-8 in base64."""
        request = make().build_authorised(replace(PLAIN, text="Mã 123 ạ"), "t0ken")
        assert "Mã 123 ạ" == b64decode(orjson.loads(request.body)["Message"]).decode()

    def test_another_address(self) -> None:
        """Both calls go to the configured address, with or without a slash at its end."""
        gateway = make(url="http://sandbox.sms.fpt.net/ ")
        assert "http://sandbox.sms.fpt.net/oauth2/token" == gateway.build_token_request("old").url
        assert "http://sandbox.sms.fpt.net/api/push-brandname-otp" == gateway.build_authorised(PLAIN, "t0ken").url

    def test_all_workers_share_the_session(self) -> None:
        """Two workers ask for the same token with the same session, another client with another."""
        assert make().build_token_request(None) == make().build_token_request(None)
        assert SESSION.encode() not in make(client_id="other").build_token_request(None).body


class TestToken:
    @pytest.mark.parametrize(("life", "seconds"), [
        (b"86400", 86400), (b'"3600"', 3600), (b"1", 1), (b"null", 300), (b"0", 300), (b"-5", 300), (b'"soon"', 300),
        (b"1.5", 300), (b"99999999999", 300), (b"true", 300), (b"[" * 1000 + b"]" * 1000, 300),
    ])
    def test_life(self, life: bytes, seconds: int) -> None:
        """A token lives as long as FPT says, and five minutes when it does not say."""
        body = b'{"access_token": "t0ken", "expires_in": ' + life + b"}"
        assert AccessToken("t0ken", seconds) == make().parse_token(HttpResponse(200, {}, body))

    @pytest.mark.parametrize(("status", "body"), [
        (200, b'{"error": 1008, "error_description": "client"}'), (200, b"<html>"), (200, b""),
        (200, b'{"access_token": ""}'), (200, b'{"access_token": 5}'), (200, b'{"access_token": "two words"}'),
        (200, b'{"access_token": "line\\n"}'), (401, b'{"access_token": "t0ken"}'), (302, b'{"access_token": "t"}'),
        (500, b'{"access_token": "t0ken"}'),
    ])
    def test_none(self, status: int, body: bytes) -> None:
        """An error, a page, a redirect and a token that no request could carry are no token."""
        assert make().parse_token(HttpResponse(status, {}, body)) is None


class TestAnswers:
    @pytest.mark.parametrize(("body", "message_id"), [
        (b'{"MessageId": 4711, "Phone": "84900000001", "PartnerId": "x", "Telco": "viettel"}', "4711"),
        (b'{"MessageId": "a-1"}', "a-1"),
        (b'{"MessageId": 4711, "error": 0}', "4711"),
        (b'{"MessageId": 4711, "Error": null}', "4711"),
    ])
    def test_accepted(self, body: bytes, message_id: str) -> None:
        """A message id without an error is accepted."""
        assert SendOutcome(SendResult.ACCEPTED, message_id, "200") == read(200, body)

    def test_every_code_is_listed(self) -> None:
        """The codes tested here are those the adapter knows."""
        assert set(fpt._RESULTS) == {code for code, _ in CODES}

    @pytest.mark.parametrize("body", ['{"error": %s}', '{"error": "%s", "MessageId": 1}', '{"Error": %s}'])
    @pytest.mark.parametrize("status", [200, 400, 401])
    @pytest.mark.parametrize(("code", "result"), CODES)
    def test_codes(self, code: str, result: str, status: int, body: str) -> None:
        """Each code means the same as number or text, under either name, with either kind of status."""
        assert SendOutcome(
            SendResult(result), None, code, maybe_sent=code in {"1006", "2506", "2507", "3"},
            stale_token=code in {"1011", "1013"},
        ) == read(status, (body % code).encode())

    @pytest.mark.parametrize(("status", "body", "outcome"), [
        (200, b"", SendOutcome(SendResult.UNKNOWN, None, "200", maybe_sent=True)),
        (200, b"<html>OK</html>", SendOutcome(SendResult.UNKNOWN, None, "200", maybe_sent=True)),
        (200, b"{}", SendOutcome(SendResult.UNKNOWN, None, "200", maybe_sent=True)),
        (200, b'{"MessageId": ""}', SendOutcome(SendResult.UNKNOWN, None, "200", maybe_sent=True)),
        (200, b'{"error": 4242}', SendOutcome(SendResult.UNKNOWN, None, "4242", maybe_sent=True)),
        (200, b'{"error": "no such 84900000001", "MessageId": 1}',
         SendOutcome(SendResult.UNKNOWN, None, "200", maybe_sent=True)),
        (302, b'{"MessageId": 4711}', SendOutcome(SendResult.UNKNOWN, None, "302", maybe_sent=True)),
        (302, b'{"error": 2505}', SendOutcome(SendResult.UNKNOWN, None, "2505", maybe_sent=True)),
        (200, b'{"error": "2505 no"}', SendOutcome(SendResult.UNKNOWN, None, "200", maybe_sent=True)),
        (300, b'{"MessageId": 4711}', SendOutcome(SendResult.UNKNOWN, None, "300", maybe_sent=True)),
        (300, b'{"error": 2505}', SendOutcome(SendResult.UNKNOWN, None, "2505", maybe_sent=True)),
        (500, b'{"error": 2505}', SendOutcome(SendResult.TEMPORARY, None, "2505", maybe_sent=True)),
        (400, b'{"MessageId": 4711}', SendOutcome(SendResult.UNKNOWN, None, "400")),
        (401, b"", SendOutcome(SendResult.AUTHENTICATION, None, "401", stale_token=True)),
        (403, b"<html>", SendOutcome(SendResult.AUTHENTICATION, None, "403")),
        (429, b"", SendOutcome(SendResult.THROTTLED, None, "429")),
        (500, b'{"MessageId": 4711}', SendOutcome(SendResult.TEMPORARY, None, "500", maybe_sent=True)),
        (503, b'{"error": 2505}', SendOutcome(SendResult.TEMPORARY, None, "2505", maybe_sent=True)),
    ])
    def test_everything_else(self, status: int, body: bytes, outcome: SendOutcome) -> None:
        """Without a code that is known the status decides; a success that cannot be read may have been sent."""
        assert outcome == read(status, body)


class TestOptions:
    def test_what_it_says(self) -> None:
        """It fetches tokens, reaches phones, and admits that its contract is hearsay."""
        gateway = make(timeout_s="5")
        assert isinstance(gateway, TokenGateway)
        assert ("fpt", True, True, 5.0) == (gateway.name, gateway.real, gateway.experimental, gateway.timeout_s)
        assert Supports(deduplicates=True) == gateway.supports
        assert 60.0 == make(timeout_s=60).timeout_s

    def test_a_secret_file_ends_with_a_line_break(self) -> None:
        """Blanks around an option's value are not part of it."""
        gateway = make(client_secret="s3cret-of-fpt\n", client_id=" Cl1ent", url="https://api01.sms.fpt.net/\n")
        assert make().build_token_request(None) == gateway.build_token_request(None)

    @pytest.mark.parametrize("options", [
        {"client_id": ""}, {"client_id": 5}, {"client_secret": " "}, {"client_secret": "two\nlines"}, {"sender": None},
        {"url": "ftp://sms.example.vn"}, {"url": "sms.example.vn"}, {"url": "https://"}, {"url": "https://x/?a=b"},
        {"url": "https://x/#a"}, {"url": "http://[::1"}, {"url": "http://x:port"}, {"url": "http://mã.vn"},
        {"url": "http://x/a b"}, {"timeout_s": "soon"}, {"timeout_s": 0}, {"timeout_s": "nan"}, {"timeout_s": 61},
        {"timeout_s": True}, {"timeout_s": None}, {"timeout_s": 10**400},
    ], ids=repr)
    def test_bad_options(self, options: dict[str, Any]) -> None:
        """An option that cannot be used refuses to start, in a sentence that names it and repeats no value."""
        with pytest.raises(ConfigurationError, match=f"fpt: {next(iter(options))}: write") as refused:
            make(**options)
        assert "s3cret-of-fpt" not in str(refused.value)
        assert "two" not in str(refused.value)
