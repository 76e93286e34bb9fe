"""Webhooks: what the reference library and the service sign is read, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from multidict import CIMultiDict
from standardwebhooks import Webhook

from otp_service.client import Status, WebhookEvent, WebhookInvalid, WebhookReceiver
from otp_service.core import webhooks as service
from otp_service.core.verification import Status as ServiceStatus

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXI="
SEED = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
WEBHOOK_ID, NOW_S = "msg_d-k1-oy2mofv5", 1_769_846_400
BODY = (
    b'{"type":"verification.finished","timestamp":"2026-01-31T08:00:00.000Z",'
    b'"data":{"id":"d-k1-oy2mofv5","reference":"hs-1","status":"verified"}}'
)


def receiver(*secrets: str, tolerance_s: float = 300.0, now_s: float = NOW_S) -> WebhookReceiver:
    """Make a receiver whose clock stands still."""
    return WebhookReceiver(*(secrets or (SECRET,)), tolerance_s=tolerance_s, now=lambda: now_s)


def signed(body: bytes = BODY, secret: str = SECRET, timestamp_s: int = NOW_S) -> dict[str, str]:
    """Sign as the reference library does."""
    at = datetime.fromtimestamp(timestamp_s, UTC)
    return {
        "webhook-id": WEBHOOK_ID, "webhook-timestamp": str(timestamp_s),
        "webhook-signature": Webhook(secret).sign(WEBHOOK_ID, at, body.decode()),
    }


def test_a_verdict() -> None:
    """What the reference library has signed is read, member by member."""
    event = receiver().read(signed(), BODY)

    assert WebhookEvent(
        webhook_id=WEBHOOK_ID, type="verification.finished", timestamp=datetime(2026, 1, 31, 8, tzinfo=UTC),
        verification_id="d-k1-oy2mofv5", reference="hs-1", status=Status.VERIFIED, data=event.data,
    ) == event
    assert event.finished


def test_the_published_vector() -> None:
    """The example of the specification is read as it stands."""
    body = b'{"test": 2432232314}'
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    with pytest.raises(WebhookInvalid, match="not of the form"):
        receiver(now_s=1_614_265_330).read(headers, body)
    with pytest.raises(WebhookInvalid, match="no signature"):
        receiver(now_s=1_614_265_330).read(headers, body.replace(b"4", b"5"))


@pytest.mark.parametrize("status", list(ServiceStatus))
def test_what_the_service_signs(status: ServiceStatus) -> None:
    """Each verdict that the service signs, with either kind of secret, is read with what a portal has."""
    body = service.verdict_body("d-k1-oy2mofv5", None, status, NOW_S * 1000)
    headers = service.signed_headers((SECRET, SEED), service.webhook_id("d-k1-oy2mofv5"), NOW_S, body)
    for known in (SECRET, service.public_key(SEED)):
        event = receiver(known).read(headers, body)
        assert (WEBHOOK_ID, status.value, None) == (event.webhook_id, event.status, event.reference)


def test_a_webhook_that_only_tries() -> None:
    """The service's trial is signed like all others, and is no verdict."""
    body = service.test_body(NOW_S * 1000)
    event = receiver().read(service.signed_headers((SECRET,), "msg_test", NOW_S, body), body)

    assert ("webhook.test", False, None, None) == (event.type, event.finished, event.verification_id, event.status)


def test_a_status_of_a_later_version() -> None:
    """A status that is not known is told, and is not verified."""
    body = BODY.replace(b'"verified"', b'"assumed"')
    event = receiver().read(signed(body), body)

    assert event.status is not None
    assert (Status("assumed"), False) == (event.status, event.status.final)


def test_a_secret_that_is_replaced() -> None:
    """While a secret is rotated either side may be ahead: one signature of two, or one secret of two, is enough."""
    both = signed() | {"webhook-signature": f"{signed(secret=OTHER)['webhook-signature']} "
                                            f"{signed()['webhook-signature']}"}
    for secrets in ((SECRET,), (OTHER,), (SECRET, OTHER)):
        assert WEBHOOK_ID == receiver(*secrets).read(both, BODY).webhook_id
    assert WEBHOOK_ID == receiver(OTHER, SECRET).read(signed(), BODY).webhook_id
    with pytest.raises(WebhookInvalid):
        receiver(OTHER).read(signed(), BODY)


def test_headers_in_any_case() -> None:
    """Names of headers are read as HTTP has them, from whatever a framework gives."""
    shouted = {name.upper(): value for name, value in signed().items()}
    assert WEBHOOK_ID == receiver().read(shouted, BODY).webhook_id
    assert WEBHOOK_ID == receiver().read(CIMultiDict(shouted), BODY).webhook_id


@pytest.mark.parametrize("change", [
    lambda headers: headers | {"webhook-id": "msg_other"},
    lambda headers: headers | {"webhook-id": ""},
    lambda headers: headers | {"webhook-id": "msg.1"},
    lambda headers: headers | {"webhook-timestamp": str(NOW_S + 1)},
    lambda headers: headers | {"webhook-timestamp": f"{NOW_S}.0"},
    lambda headers: headers | {"webhook-timestamp": f"+{NOW_S}"},
    lambda headers: headers | {"webhook-timestamp": "٣"},
    lambda headers: headers | {"webhook-timestamp": "9" * 400},
    lambda headers: headers | {"webhook-signature": ""},
    lambda headers: headers | {"webhook-signature": "v1,"},
    lambda headers: headers | {"webhook-signature": "v1,đ"},
    lambda headers: headers | {"webhook-signature": headers["webhook-signature"].replace("v1,", "v2,")},
    lambda headers: headers | {"webhook-signature": headers["webhook-signature"].replace("v1,", "v1a,")},
    lambda headers: headers | {"webhook-signature": headers["webhook-signature"].removeprefix("v1,")},
    lambda headers: headers | {"webhook-signature": "v1,AAAA " * 16 + headers["webhook-signature"]},
    lambda headers: {name: value for name, value in headers.items() if name != "webhook-id"},
    lambda headers: {name: value for name, value in headers.items() if name != "webhook-timestamp"},
    lambda headers: {name: value for name, value in headers.items() if name != "webhook-signature"},
    lambda headers: headers | {"webhook-signature": headers["webhook-signature"].replace("v1,", "v1,!")},
    lambda headers: headers | {"Webhook-Id": "msg_other"},
    lambda headers: {"Webhook-Id": "msg_other"} | headers,
    lambda _: {},
], ids=range(22))
def test_headers_that_were_changed(change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    """No header can be left out, replaced, doubled or bent."""
    with pytest.raises(WebhookInvalid):
        receiver().read(change(signed()), BODY)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("value", [None, 7, b"msg_1", ["msg_1"], "\ud800", "\x00"])
def test_headers_that_are_no_text(name: str, value: Any) -> None:
    """Whatever a framework makes of a header that is lacking or odd, it is a webhook that is not believed."""
    with pytest.raises(WebhookInvalid):
        receiver().read(signed() | {name: value}, BODY)


@pytest.mark.parametrize("name", [None, 7, b"webhook-id"])
def test_names_of_headers_that_are_no_text(name: Any) -> None:
    """A name that is no text is no header of the signature, and neither helps nor hurts."""
    headers = signed()
    assert WEBHOOK_ID == receiver().read({name: "msg_1"} | headers, BODY).webhook_id
    with pytest.raises(WebhookInvalid, match="missing"):
        receiver().read({name: headers.pop("webhook-id")} | headers, BODY)


def test_an_id_with_a_full_stop() -> None:
    """An id that could run over into the timestamp beside it is refused, even where a signature fits."""
    headers = service.signed_headers((SECRET,), "msg.1", NOW_S, BODY)
    with pytest.raises(WebhookInvalid, match="malformed"):
        receiver().read(headers, BODY)


@pytest.mark.parametrize("body", [
    b"", BODY[:-1], BODY + b" ", BODY.replace(b"verified", b"rejected"), BODY.replace(b":", b": "),
])
def test_a_body_that_was_changed(body: bytes) -> None:
    """The signature holds the bytes, not what they mean."""
    with pytest.raises(WebhookInvalid, match="no signature"):
        receiver().read(signed(), body)


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b"{}", b'{"type":"verification.finished"}',
    BODY.replace(b'"type":"verification.finished"', b'"type":7'),
    BODY.replace(b'"2026-01-31T08:00:00.000Z"', b'"now"'), BODY.replace(b'"id"', b'"other"'),
    BODY.replace(b'"verified"', b"null"), BODY.replace(b'"data":{', b'"data":[{').replace(b"}}", b"}]}"),
])
def test_a_body_that_says_nothing(body: bytes) -> None:
    """What is signed but is not a webhook of the contract is refused like what is not signed."""
    with pytest.raises(WebhookInvalid, match="form"):
        receiver().read(signed(body), body)


@pytest.mark.parametrize(("late_s", "taken"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
def test_the_time_of_a_webhook(late_s: int, *, taken: bool) -> None:
    """Five minutes either way are taken, and no more: an older one is a recording."""
    reader = receiver(now_s=NOW_S + late_s)
    if taken:
        assert WEBHOOK_ID == reader.read(signed(), BODY).webhook_id
    else:
        with pytest.raises(WebhookInvalid, match="too far"):
            reader.read(signed(), BODY)


def test_a_public_key_fits_its_own_signatures_alone() -> None:
    """An Ed25519 signature of another key, or none at all, is refused."""
    other = service.public_key("whsk_" + "B" * 43 + "=")
    body = service.verdict_body("d-k1-oy2mofv5", None, ServiceStatus.VERIFIED, NOW_S * 1000)
    headers = service.signed_headers((SEED,), WEBHOOK_ID, NOW_S, body)
    for wrong in (headers, headers | {"webhook-signature": "v1a,AAAA"}):
        with pytest.raises(WebhookInvalid, match="no signature"):
            receiver(other).read(wrong, body)


@pytest.mark.parametrize("secret", [
    "", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_AAAA", "whsec_!!!!", "whsec_" + "A" * 88,
    "whpk_AAAA", SEED, "whsec_đ",
])
def test_a_secret_that_is_none(secret: str) -> None:
    """A secret that cannot be one, or that only the service may have, is refused without being repeated."""
    with pytest.raises(ValueError, match="a webhook secret is") as caught:
        WebhookReceiver(SECRET, secret)

    assert not secret or secret not in str(caught.value).replace("whsec_ and", "")


def test_a_receiver_without_a_secret() -> None:
    """Whoever gives no secret would believe anybody."""
    with pytest.raises(ValueError, match="without a secret"):
        WebhookReceiver()


def test_secrets_are_not_shown() -> None:
    """Invariant 5: what Python shows of a receiver has no secret."""
    told = repr(receiver()) + repr(receiver(SECRET)._verifiers)
    assert SECRET.removeprefix("whsec_") not in told
    assert Ed25519PrivateKey.__name__ not in told
