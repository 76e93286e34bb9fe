"""Stringee: exact requests with their JWT, and all that is known of its answers."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from dataclasses import replace
from typing import Any

import pytest

from otp_service.core.errors import ConfigurationError
from otp_service.core.ports import HttpRequest, HttpResponse, SendOutcome, SendResult, SmsMessage, Supports
from sms_adapters.contract import GatewayContract
from sms_adapters.stringee import StringeeGateway

KEY_SID, KEY_SECRET = "SK.0.k3y", "a-secret-that-is-artificial-0001"
NOW = 1_790_000_000.9

MESSAGE = SmsMessage(
    to="+84900000001", text="Cong DVC: 123456 la ma xac nhan", template_key="registration", params=(),
    reference="5-k1-k3t3u3rmwygiymua4yg2vugqla-1", send_number=1, validity_s=180,
)

ACCEPTED = b'{"smsSent": 1, "result": [{"price": "830", "smsType": 2, "r": 0, "msg": "Success"}]}'


def stringee(**options: Any) -> StringeeGateway:
    """Return an adapter with these options changed, whose clock stands still."""
    return StringeeGateway(**{
        "key_sid": KEY_SID, "key_secret": KEY_SECRET, "sender": "Cong DVC", "clock": lambda: NOW, **options,
    })


def answer(body: bytes, status: int = 200) -> SendOutcome:
    """Return what the adapter makes of an answer."""
    return stringee().parse_response(HttpResponse(status, {"content-type": "application/json"}, body))


def segment(value: bytes) -> bytes:
    """Return a part of a JWT."""
    return urlsafe_b64encode(value).rstrip(b"=")


class TestContract(GatewayContract):
    secrets = (KEY_SECRET, KEY_SID)
    accepted = HttpResponse(200, {"content-type": "application/json"}, ACCEPTED)

    def gateway(self) -> StringeeGateway:
        """Return an adapter whose clock stands still."""
        return stringee()


def test_what_it_says_of_itself() -> None:
    """Its name, that it reaches phones, and what it can do are what the settings and the choice rest on."""
    gateway = stringee()

    assert ("stringee", True, False, 10.0) == (gateway.name, gateway.real, gateway.experimental, gateway.timeout_s)
    assert Supports(unicode=True, parts=3) == gateway.supports
    assert "Stringee SMS REST API reference" == gateway.contract


def test_the_request_is_what_the_manual_says() -> None:
    """The message goes out with a token of this second that lives an hour, signed with the key's secret."""
    signed = b".".join([
        segment(b'{"typ":"JWT","alg":"HS256","cty":"stringee-api;v=1"}'),
        segment(b'{"jti":"SK.0.k3y-1790000000","iss":"SK.0.k3y","exp":1790003600,"rest_api":true}'),
    ])
    token = signed + b"." + segment(hmac.digest(KEY_SECRET.encode(), signed, "sha256"))

    assert HttpRequest(
        "POST", "https://api.stringee.com/v1/sms",
        {"x-stringee-auth": token.decode(), "content-type": "application/json", "accept": "application/json"},
        b'{"sms":[{"from":"Cong DVC","to":"84900000001","text":"Cong DVC: 123456 la ma xac nhan"}]}',
    ) == stringee().build_request(MESSAGE)


def test_the_text_keeps_its_accents_and_the_address_is_an_option() -> None:
    """An accented text goes out as it is, in UTF-8."""
    request = stringee(url="http://127.0.0.1:8080/v1/sms").build_request(replace(MESSAGE, text="Mã: 123456"))

    assert "http://127.0.0.1:8080/v1/sms" == request.url
    assert '{"sms":[{"from":"Cong DVC","to":"84900000001","text":"Mã: 123456"}]}'.encode() == request.body


def test_accepted_has_no_id() -> None:
    """One SMS sent with r 0 is accepted; Stringee gives it no id."""
    assert SendOutcome(SendResult.ACCEPTED, None, "0") == answer(ACCEPTED)
    assert SendOutcome(SendResult.ACCEPTED, None, "0") == answer(b'{"smsSent": "1", "result": [{"r": "0"}]}')


@pytest.mark.parametrize(("body", "result", "code"), [
    (b'{"smsSent": 0, "result": [{"r": 1, "msg": "From number invalid"}]}', "sender_rejected", "1"),
    (b'{"smsSent": 0, "result": [{"r": 1, "msg": "Something else"}]}', "unknown", "1"),
    (b'{"smsSent": 0, "result": [{"r": 7}]}', "unknown", "7"),
    (b'{"smsSent": 0, "result": [{"r": -1, "msg": null}]}', "unknown", "-1"),
    (b'{"smsSent": "0", "result": [{"r": "12", "msg": "x"}]}', "unknown", "12"),
    (b'{"result": [{"r": 7, "msg": "x"}]}', "unknown", "7"),
    (b'{"r": 6, "message": "x"}', "unknown", "6"),
    (b'{"r": 1, "msg": "from number INVALID"}', "sender_rejected", "1"),
    (b'{"r": 1, "message": "From number invalid"}', "sender_rejected", "1"),
])
def test_every_other_r_is_a_refusal(body: bytes, result: str, code: str) -> None:
    """What is refused was not sent; only the sender's sentence is known, and no sentence is shown."""
    assert SendOutcome(SendResult(result), None, code) == answer(body)


def test_a_refusal_with_a_client_error_is_read_too() -> None:
    """The known sentence counts with a 4xx; a number without a meaning leaves the word to the status."""
    sentence = b'{"smsSent": 0, "result": [{"r": 1, "msg": "From number invalid"}]}'

    assert SendOutcome(SendResult.SENDER_REJECTED, None, "1") == answer(sentence, 400)
    assert SendOutcome(SendResult.AUTHENTICATION, None, "3") == answer(b'{"r": 3, "message": "x"}', 401)
    assert SendOutcome(SendResult.UNKNOWN, None, "3") == answer(b'{"r": 3, "message": "x"}', 400)


@pytest.mark.parametrize(("body", "code"), [
    (b"", "200"), (b"<html>OK</html>", "200"), (b"[]", "200"), (b'{"smsSent": 1, "result": [{"r": 0', "200"),
    (b"{}", "200"), (b'{"smsSent": 1}', "200"), (b'{"smsSent": 1, "result": []}', "200"),
    (b'{"smsSent": 1, "result": {"r": 0}}', "200"), (b'{"smsSent": 1, "result": [0]}', "200"),
    (b'{"smsSent": 2, "result": [{"r": 0}, {"r": 0}]}', "200"), (b'{"smsSent": 1, "result": [{"msg": "x"}]}', "200"),
    (b'{"smsSent": 1, "result": [{"r": null}]}', "200"), (b'{"smsSent": 1, "result": [{"r": 0.0}]}', "200"),
    (b'{"smsSent": 1, "result": [{"r": false}]}', "200"), (b'{"smsSent": true, "result": [{"r": 0}]}', "0"),
    (b'{"smsSent": 0, "result": [{"r": 0}]}', "0"), (b'{"result": [{"r": 0}]}', "0"), (b'{"r": 0}', "0"),
    (b'{"smsSent": 1, "result": [{"r": 1}]}', "1"), (b'{"smsSent": 0, "result": [{"r": "no"}]}', "no"),
    (b'{"smsSent": 0, "result": [{"r": "00"}]}', "00"),
])
def test_garbage_is_unknown_and_perhaps_sent(body: bytes, code: str) -> None:
    """A good status whose body cannot be read, or contradicts itself, may hide an SMS that was sent."""
    assert SendOutcome(SendResult.UNKNOWN, None, code, maybe_sent=True) == answer(body)


@pytest.mark.parametrize(("status", "outcome"), [
    (302, SendOutcome(SendResult.UNKNOWN, None, "302", maybe_sent=True)),
    (308, SendOutcome(SendResult.UNKNOWN, None, "308", maybe_sent=True)),
    (401, SendOutcome(SendResult.AUTHENTICATION, None, "0")),
    (403, SendOutcome(SendResult.AUTHENTICATION, None, "0")),
    (404, SendOutcome(SendResult.UNKNOWN, None, "0")),
    (429, SendOutcome(SendResult.THROTTLED, None, "0")),
    (500, SendOutcome(SendResult.TEMPORARY, None, "500", maybe_sent=True)),
    (504, SendOutcome(SendResult.TEMPORARY, None, "504", maybe_sent=True)),
])
def test_another_status_speaks_for_itself(status: int, outcome: SendOutcome) -> None:
    """Redirects and errors are never a success, whatever their body says."""
    assert outcome == answer(ACCEPTED, status)


def test_nothing_recognises_a_second_hand_over() -> None:
    """Stringee takes no request id and reports nothing: after a timeout a second try may send twice."""
    assert not StringeeGateway.supports.deduplicates
    assert not StringeeGateway.supports.callback
    assert b"5-k1" not in stringee().build_request(MESSAGE).body


@pytest.mark.parametrize(("option", "value"), [
    ("key_sid", ""), ("key_secret", ""), ("key_secret", "t00-short-one"), ("sender", " "), ("timeout_s", "soon"),
    ("timeout_s", "-1"), ("timeout_s", "inf"), ("timeout_s", True), ("timeout_s", None), ("sender", 5),
    ("sender", "two\nlines"), ("url", "https://stringee.example/ạ"), ("url", "https://a b"),
    ("url", "https://stringee.example/#a"), ("url", "https:///v1"), ("url", "ftp://stringee.example"),
    ("url", "https://stringee.example:0"), ("url", "api.stringee.com/v1/sms"), ("url", "https://["),
    ("key_secret", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGaxHMYRwIVR8BuEPYT13a5gzTGWfLn8HIIaU3lD0JTV"),
])
def test_bad_options_refuse_to_start(option: str, value: object) -> None:
    """The error names the option, does not repeat its value, and has no cause that could."""
    with pytest.raises(ConfigurationError, match=f"^stringee: {option}: write ") as refusal:
        stringee(**{option: value})

    assert len(str(value)) < 5 or str(value) not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_the_secret_may_be_as_short_as_112_bits() -> None:
    """Fourteen characters are the least that an HMAC key may have."""
    assert isinstance(stringee(key_secret="t00-short-one-").build_request(MESSAGE), HttpRequest)


def test_options_may_come_as_text() -> None:
    """Environment variables are text, with a line break after a secret at times."""
    gateway = stringee(key_secret=KEY_SECRET + "\n", timeout_s="0.5")

    assert 0.5 == gateway.timeout_s
    assert stringee().build_request(MESSAGE) == gateway.build_request(MESSAGE)
