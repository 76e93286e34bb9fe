"""The client and the real service: every refusal, and every word and member of the contract."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from datetime import datetime
from itertools import pairwise

import pytest
from client_harness import ID, asking, begun, client_of, http, lying
from fakeredis import FakeAsyncRedis
from unit.web_harness import (
    EXPIRED,
    OTHER_KEY,
    READER,
    START,
    TEST_KEY,
    Web,
    catalogue,
    serve,
)

from otp_service import client as package
from otp_service.client import (
    AlreadyFinal,
    Claims,
    CodeExpired,
    Delivery,
    FieldError,
    Forbidden,
    GuessTooSoon,
    IdempotencyKeyReused,
    InvalidRequest,
    Locked,
    NotFound,
    NotVerified,
    OtpClient,
    PhoneNotMobile,
    ProofRequired,
    RateLimited,
    Reason,
    Refused,
    SendsExhausted,
    Started,
    Status,
    Unauthenticated,
    WrongCode,
)
from otp_service.client.errors import REFUSALS
from otp_service.core import errors, limits
from otp_service.core import verification as core
from otp_service.core.errors import Refusal
from otp_service.web import problems
from otp_service.web.answers import AttestedAnswer, ClaimsAnswer, VerificationAnswer
from otp_service.web.refusals import EXAMPLES
from otp_service.web.requests import StartBody

# -- refusals ------------------------------------------------------------------------------------------------------


def test_every_code_has_a_class() -> None:
    """Each refusal of the service is a class of its own, named alike and exported; so is what comes later."""
    names = {kind.code: kind.__name__ for kind in Refusal.__subclasses__()}
    assert names | {"official_not_allowed": "OfficialNotAllowed"} == {
        code: kind.__name__ for code, kind in REFUSALS.items()
    }
    assert {kind.__name__ for kind in REFUSALS.values()} <= set(package.__all__)


def test_the_tree_is_drawn() -> None:
    """Each class stands in the tree at the top of the module, with its code."""
    drawn = package.errors.__doc__ or ""
    for code, kind in REFUSALS.items():
        assert f"── {kind.__name__} " in drawn
        assert f" {code}" in drawn


@pytest.mark.parametrize("refusal", EXAMPLES, ids=lambda refusal: f"{refusal.code}-{refusal.http_status}")
async def test_every_refusal(refusal: Refusal) -> None:
    """Whatever the service refuses with arrives as its class, with its sentences and every member."""
    document = problems.document(refusal, catalogue(), "vi")
    headers = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    async with (
        lying(http(refusal.http_status, document, "application/problem+json", **headers)) as liar,
        asking(liar, timeout_s=1.0) as (otp, _),
    ):
        with pytest.raises(Refused) as caught:
            await otp.get(ID)

    found = caught.value
    assert REFUSALS[refusal.code] is type(found)
    assert (refusal.code, refusal.http_status, document["title"], document["detail"], refusal.retry_after_s) == (
        found.code, found.status, found.title, found.detail, found.retry_after_s,
    )
    for name in set(document) - {"type", "title", "status", "detail", "code"}:
        assert document[name] == found.members[name]
        told = getattr(found, "retry_after_s" if name == "retry_after" else name, None)
        if isinstance(found, InvalidRequest):
            assert [error["field"] for error in document["errors"]] == [error.field for error in found.errors]
        elif isinstance(told, datetime):
            assert told == datetime.fromisoformat(document[name])
        elif not isinstance(found, Locked):
            # A Locked says in its name what its members repeat.
            assert document[name] == told


async def test_bad_fields(otp: OtpClient) -> None:
    """Invariant 13: every bad field at once, each with its sentence in the language asked for."""
    with pytest.raises(InvalidRequest) as caught:
        await otp.start(purpose="registration", phone_number="0", id_number="1", locale="en")

    found = {error.field: error for error in caught.value.errors}
    assert {"phone_number", "id_number", "end_user_ip"} == set(found)
    assert FieldError("id_number", "id_number_malformed", catalogue().field("en", "id_number_malformed")) == (
        found["id_number"]
    )
    assert "invalid_request (422, request " in str(caught.value)


async def test_a_number_from_before_2018(otp: OtpClient) -> None:
    """A number of 11 digits is refused with what it is today."""
    with pytest.raises(PhoneNotMobile) as caught:
        await begun(otp, phone_number="01676000001")
    assert "0376000001" == caught.value.suggestion


async def test_who_may_not(service: Web) -> None:
    """Keys that are unknown, expired, for less, or another client's are refused each in its way."""
    async with client_of(service) as otp:
        started = await begun(otp)
        with pytest.raises(Forbidden):
            await begun(otp, purpose="unowned")
    for key, refusal in (("unknown", Unauthenticated), (EXPIRED, Unauthenticated), (READER, Forbidden),
                         (OTHER_KEY, NotFound), (TEST_KEY, NotFound)):
        async with client_of(service, key) as otp:
            with pytest.raises(refusal):
                await otp.cancel(started.id)


async def test_a_key_used_for_another_start(otp: OtpClient) -> None:
    """An idempotency key that has done its work does no other."""
    first = await otp.start(**START, idempotency_key="hs-1")  # type: ignore[arg-type]
    again = await otp.start(**START, idempotency_key="hs-1")  # type: ignore[arg-type]
    assert first.id == again.id
    with pytest.raises(IdempotencyKeyReused):
        await otp.start(**(START | {"reference": "hs-2"}), idempotency_key="hs-1")  # type: ignore[arg-type]


async def test_limits(fake_redis: FakeAsyncRedis) -> None:
    """What a limit refuses says which, and for how long."""
    counts = {limits.ADDRESS_SENDS: (2, 3600)}
    async with serve(fake_redis, counts=counts) as service, client_of(service) as otp:
        await begun(otp)
        with pytest.raises(RateLimited) as person:
            await begun(otp)
        await begun(otp, phone_number="0900000002")
        with pytest.raises(RateLimited) as address:
            await begun(otp, phone_number="0900000003")

    assert ("person", 60.0) == (person.value.limit, person.value.retry_after_s)
    assert "address_sends" == address.value.limit
    assert (address.value.retry_after_s or 0) > 60


async def test_no_sends_left(otp: OtpClient, service: Web) -> None:
    """A verification that sends no further SMS says when it ends."""
    started = await begun(otp)
    for _ in range(3):
        service.later(60)
        await otp.resend(started.id)
    service.later(60)
    with pytest.raises(SendsExhausted) as caught:
        await otp.resend(started.id)
    assert started.expires_at == caught.value.expires_at


async def test_the_language_of_refusals(otp: OtpClient) -> None:
    """``locale`` chooses the sentences of a refusal."""
    told = []
    for locale in ("vi", "en", None):
        with pytest.raises(NotFound) as caught:
            await otp.get(ID, locale=locale)
        told.append(caught.value.detail)

    vietnamese, english, default = told
    assert catalogue().problem("vi", "not_found", {})[1] == vietnamese == default
    assert catalogue().problem("en", "not_found", {})[1] == english
    with pytest.raises(NotFound) as caught:
        await otp.get(ID)
    assert caught.value.request_id


def test_members_of_odd_types_are_none() -> None:
    """A member that is not what it should be is as good as absent: a page that shows it does not break."""
    odd = {"challenge": 1, "suggestion": 1, "attempts_left": "4", "send_number": None, "resend_at": "soon",
           "sends_left": [], "expires_at": 1, "verification_status": {}, "limit": 0, "claims": "x", "errors": {"a": 1}}
    assert {} == ProofRequired(members=odd).challenge
    assert None is PhoneNotMobile(members=odd).suggestion
    assert (None, None) == (WrongCode(members=odd).attempts_left, WrongCode(members=odd).send_number)
    assert (None, None) == (CodeExpired(members=odd).resend_at, CodeExpired(members=odd).sends_left)
    assert None is SendsExhausted(members=odd).expires_at
    assert None is AlreadyFinal(members=odd).verification_status
    assert None is RateLimited(members=odd).limit
    assert {} == NotVerified(members=odd).claims
    assert () == InvalidRequest(members=odd).errors
    assert (FieldError("", "missing", "", None),) == InvalidRequest(members={"errors": [7, {"code": "missing"}]}).errors
    assert "guess_too_soon (429)" == str(GuessTooSoon(status=429))


# -- the client and the contract -----------------------------------------------------------------------------------


def test_words_are_those_of_the_service() -> None:
    """Each word of the contract is a member, and no member is unknown to the service."""
    for ours, theirs in ((Status, core.Status), (Delivery, core.Delivery)):
        assert [word.value for word in theirs] == [word.value for word in ours]
    assert [*(word.value for word in core.Reason), core.NOT_CONFIRMED] == [word.value for word in Reason]
    assert [status.final for status in core.Status] == [status.final for status in Status]


def test_members_are_those_of_the_service() -> None:
    """Each member of the service's answers is told, and each argument of a start is a field of its body."""
    assert set(VerificationAnswer.model_fields) == {field.name for field in fields(Started)}
    assert {"evidence"} == set(AttestedAnswer.model_fields) - set(VerificationAnswer.model_fields)
    told = set(StartBody.model_fields) | {"idempotency_key"}
    assert told == set(OtpClient.start.__annotations__) - {"return"}
    assert {"iss", "aud", "sub", "jti", "iat", "exp", "verified_claims", "consent"} == (
        set(ClaimsAnswer.model_fields) - {field.name for field in fields(Claims)}
    )


def test_the_client_stands_alone() -> None:
    """A portal that imports the client runs nothing else of this project."""
    program = "import sys, otp_service.client; print(*(name for name in sys.modules if name.startswith('otp_service')))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert {"otp_service", "otp_service.client"} == {".".join(name.split(".")[:2]) for name in done.stdout.split()}


def test_exports_are_in_order() -> None:
    """Each exported name exists, once, in the order of the alphabet."""
    assert all(first < second for first, second in pairwise(package.__all__))
    assert all(hasattr(package, name) for name in package.__all__)
    assert errors.Refusal.__name__ not in package.__all__
