"""Standard Webhooks as they are signed, scheduled and read: the published vector, both signatures, every status."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from otp_service.core.verification import Status
from otp_service.core.webhook_secrets import new_secret
from otp_service.core.webhooks import (
    HOPELESS,
    SCHEDULE_S,
    Attempt,
    Result,
    endpoint_of,
    next_attempt_s,
    public_key,
    read_answer,
    sign,
    signed_headers,
    verdict_body,
    webhook_id,
)
from otp_service.core.webhooks import test_body as body_of_a_test

ID = "7-k1-abcdefghijklmnopqrstuvwxyz"


def test_the_published_vector() -> None:
    """The specification's own example is signed as it says."""
    headers = signed_headers(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
        b'{"test": 2432232314}',
    )
    assert {
        "content-type": "application/json",
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    } == headers


@pytest.mark.parametrize("with_public", [False, True])
def test_ed25519_is_checked_with_the_public_key_alone(with_public: bool) -> None:
    """A ``whsk_`` secret, with or without its public half, signs ``v1a``; ``whpk_`` checks it and nothing else."""
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    raw = private.private_bytes_raw() + (public if with_public else b"")
    secret = "whsk_" + b64encode(raw).decode()
    content = b"msg_1.1614265330.{}"
    version, signature = sign(secret, content).split(",")
    assert "v1a" == version
    assert "whpk_" + b64encode(public).decode() == public_key(secret)
    key = Ed25519PublicKey.from_public_bytes(b64decode(public_key(secret).removeprefix("whpk_")))
    key.verify(b64decode(signature), content)
    with pytest.raises(InvalidSignature):
        key.verify(b64decode(signature), content + b" ")


def test_every_secret_signs() -> None:
    """While secrets are rotated the header carries one signature of each, separated by blanks."""
    seeds = ["whsk_" + b64encode(bytes([at]) * 32).decode() for at in (1, 2)]
    secrets = [new_secret(), new_secret(), *seeds]
    header = signed_headers(secrets, "msg_1", 5, b"{}")["webhook-signature"]
    assert [sign(secret, b"msg_1.5.{}") for secret in secrets] == header.split(" ")
    assert ["v1", "v1", "v1a", "v1a"] == [part.split(",")[0] for part in header.split(" ")]


def test_one_verdict_has_one_id_and_one_body() -> None:
    """Id and body are made from the verdict alone; neither has what the format forbids (Invariant 10)."""
    body = verdict_body(ID, 'hồ sơ "1"', Status.VERIFIED, 1_790_000_000_123)
    assert body == verdict_body(ID, 'hồ sơ "1"', Status.VERIFIED, 1_790_000_000_123)
    assert {
        "type": "verification.finished", "timestamp": "2026-09-21T14:13:20.123Z",
        "data": {"id": ID, "reference": 'hồ sơ "1"', "status": "verified"},
    } == json.loads(body)
    assert b'"reference":null' in verdict_body(ID, None, Status.EXPIRED, 0)
    assert f"msg_{ID}" == webhook_id(ID)
    assert "." not in webhook_id(ID)


def test_a_test_webhook_tells_nothing() -> None:
    """What ``webhooks try`` sends has a type of its own and no data."""
    at = "1970-01-01T00:00:00.000Z"
    assert {"type": "webhook.test", "timestamp": at, "data": {}} == json.loads(body_of_a_test(0))


def test_the_schedule_is_the_specification_s() -> None:
    """From the first to the tenth attempt it is 75 hours, 35 minutes and 5 seconds."""
    assert 10 == len(SCHEDULE_S)
    assert 75 * 3600 + 35 * 60 + 5 == sum(SCHEDULE_S)


@given(st.integers(1, 12), st.floats(0, 1), st.sampled_from(sorted(Result)), st.floats(0, 100_000))
def test_no_attempt_is_early(failed: int, luck: float, result: Result, retry_after_s: float) -> None:
    """A wait is never shorter than schedule and receiver say, and never more than a tenth longer (Invariant 14)."""
    wait_s = next_attempt_s(failed, Attempt(result, retry_after_s=retry_after_s), luck)
    if result in HOPELESS or failed > 9:
        assert wait_s is None
        return
    least_s = max(SCHEDULE_S[failed], retry_after_s)
    assert wait_s is not None
    assert least_s <= wait_s <= 1.1 * least_s + 0.001


@pytest.mark.parametrize(("result", "statuses"), [
    (Result.DELIVERED, [200, 201, 202, 204, 299]),
    (Result.REDIRECTED, [300, 301, 302, 303, 304, 307, 308]),
    (Result.REFUSED, [400, 401, 403, 404, 405, 409, 413, 422, 499]),
    (Result.GONE, [410]),
    (Result.THROTTLED, [429, 502, 503, 504]),
    (Result.FAILED, [500, 501, 505, 599, 100, 600, 999]),
])
def test_every_status_means_something(result: Result, statuses: list[int]) -> None:
    """Only 2xx is a delivery; 410 is an end; all else is tried again."""
    for status in statuses:
        assert (result, f"http_{status}") == (read_answer(status).result, read_answer(status).told)


@pytest.mark.parametrize(("expected", "status"), [
    (60.0, 429), (60.0, 500), (60.0, 503), (0.0, 404), (0.0, 410), (0.0, 302), (0.0, 200),
])
def test_who_may_ask_to_be_left_alone(expected: float, status: int) -> None:
    """``Retry-After`` is heeded with 429 and 5xx, for at most a day."""
    assert expected == read_answer(status, 60.0).retry_after_s
    assert min(expected * 1e6, 86_400.0) == read_answer(status, 1e9).retry_after_s


@pytest.mark.parametrize(("expected", "url"), [
    ("https://api.example.vn/otp", "https://api.example.vn/otp?hs=1"),
    ("https://api.example.vn/", "https://API.example.vn"),
    ("https://api.example.vn:8443/otp", "https://api.example.vn:8443/otp"),
    ("https://api.example.vn/OTP", "https://api.example.vn/OTP?"),
])
def test_an_endpoint_has_no_query(expected: str, url: str) -> None:
    """What differs for each verification is not part of what a 410 is about."""
    assert expected == endpoint_of(url)
