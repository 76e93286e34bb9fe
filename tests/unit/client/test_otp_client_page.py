"""docs/python-client.md says what the client does, and its examples run as they stand."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import altcha
import orjson
import pytest
from client_harness import http, lying
from fakeredis import FakeAsyncRedis
from unit.web_harness import CLIENTS, ID_NUMBER, KEY, NOW_MS, PHONE, PUBLIC_URL, Web, catalogue, serve

from otp_service import client as package
from otp_service.client import Claims, OtpClient, OtpError, Refused, TokenReader, WebhookReceiver
from otp_service.client.errors import REFUSALS
from otp_service.core import limits, webhooks
from otp_service.core.client import Client, ClientRegistry, ProofMode
from otp_service.core.verification import Status
from otp_service.service import Caller

PAGE = (Path(__file__).parents[3] / "docs" / "python-client.md").read_text("utf-8")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ORIGIN, RETURN_PATH = "https://portal.example", "/dang-ky/ket-qua"
#: As an installation registers a portal: where browsers return to, and with the proof that is shipped.
REGISTERED: Client = replace(
    next(iter(CLIENTS)), return_hosts=frozenset({"portal.example"}), proof=ProofMode.ABUSE,
)
FORM = {"phone_number": PHONE, "id_number": ID_NUMBER, "full_name": "Nguyễn Văn A", "id": "hs-1"}


def rows(title: str) -> list[list[str]]:
    """Return the rows of the table whose first column has this title."""
    table = PAGE.split(f"\n| {title} |", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


@asynccontextmanager
async def portal(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, Any]]:
    """Run the page's code as one module of a portal."""
    settings = {
        "OTP_URL": url, "OTP_ISSUER": PUBLIC_URL, "API_KEY": KEY, "WEBHOOK_SECRET": SECRET, "URL": ORIGIN,
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"PORTAL_{name}", value)
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        exec(compile(block, "python-client.md", "exec"), names)  # noqa: S102 - our own page
    yield names
    await names["client"].close()


@pytest.fixture
async def service(fake_redis: FakeAsyncRedis) -> AsyncIterator[Web]:
    """Run the service with a registered portal, behind whose address the second SMS of an hour needs a proof."""
    few = {limits.ADDRESS_UNPROVEN_SENDS: (1, 3600.0)}
    async with serve(fake_redis, counts=few, clients=ClientRegistry((REGISTERED,))) as running:
        yield running


@pytest.fixture
async def example(service: Web, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, Any]]:
    """Run the page's code against the service."""
    async with portal(str(service.http.make_url("/")), monkeypatch) as names:
        yield names


async def test_the_example_opens_an_account(example: dict[str, Any], service: Web) -> None:
    """From the form to the page and back, to the claims, and to the same again after a crash."""
    flow = dict(FORM)
    step = await example["begin"](flow, "203.0.113.7")
    assert {"id", "client_token", "page_url"} == set(step)
    assert step["client_token"].startswith("vt_")
    assert step["page_url"].endswith(f"/v/{flow['verification_id']}")
    _, links = await service.deps.service.view(Caller(REGISTERED), flow["verification_id"])
    assert f"{ORIGIN}{RETURN_PATH}" == links.return_url
    assert not await example["decided"](flow)
    await service.check(flow["verification_id"])
    assert await example["decided"](flow)

    claims = await example["finish"](flow)

    assert isinstance(claims, Claims)
    assert claims.ownership_confirmed
    service.later(3600)
    first_token = flow["result_token"]
    assert await example["decided"](flow)
    assert first_token != flow["result_token"]
    again = await example["finish"](flow)
    assert (claims.token_id, claims.verification_id) == (again.token_id, again.verification_id)


async def test_the_example_of_a_verdict_that_was_left_lying(example: dict[str, Any], service: Web) -> None:
    """A token that has expired before it was redeemed is replaced by a new one, under the same key."""
    flow = dict(FORM)
    await example["begin"](flow, "203.0.113.7")
    await service.check(flow["verification_id"])
    await example["decided"](flow)
    service.later(600)
    assert None is await example["finish"](flow)
    await example["decided"](flow)
    assert (await example["finish"](flow)).verified


async def test_the_example_opens_no_account_for_another(example: dict[str, Any], service: Web) -> None:
    """A verdict about one's own CCCD opens no account in another person's name."""
    flow = dict(FORM)
    await example["begin"](flow, "203.0.113.7")
    await service.check(flow["verification_id"])
    await example["decided"](flow)
    for changed in ({"id_number": "052090000002"}, {"phone_number": "0900000002"}):
        assert None is await example["finish"](flow | changed)


async def test_the_example_of_a_busy_address(example: dict[str, Any]) -> None:
    """Somebody behind a busy address solves the challenge, or says that they cannot, and gets their SMS."""
    await example["begin"](dict(FORM), "203.0.113.7")
    solving, unable = ({**FORM, "phone_number": f"090000000{n}", "id": f"hs-{n}"} for n in (2, 3))

    asked = await example["begin"](solving, "203.0.113.7")
    assert {"code", "challenge"} == set(asked)
    assert "proof_required" == asked["code"]
    challenge = altcha.Challenge.from_dict(orjson.loads(orjson.dumps(asked["challenge"])))
    solution = altcha.solve_challenge(challenge)
    assert solution is not None
    proof = altcha.Payload(challenge, solution).to_base64()
    step = await example["begin"](solving, "203.0.113.7", proof)
    assert solving["verification_id"] == step["id"]
    assert "id" in await example["begin"](unable, "203.0.113.7", "none")


async def test_the_example_tells_what_is_wrong(
    example: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Invariant 13: what the service refuses is told in its words, and a service that is away in the portal's."""
    said = await example["begin"](FORM | {"id_number": "1"}, "203.0.113.7")
    assert {"code": "invalid_request", "detail": catalogue().field("vi", "id_number_malformed")} == said
    said = await example["begin"](FORM | {"phone_number": "01676000001"}, "203.0.113.7")
    assert ("phone_not_mobile", 1) == (said["code"], said["detail"].count("0376000001"))
    assert "id" in await example["begin"](dict(FORM), "203.0.113.7")
    said = await example["begin"](dict(FORM), "203.0.113.8")
    assert "rate_limited" == said["code"]
    assert "60" in said["detail"]
    too_large = http(413, {"code": "invalid_request", "title": "", "detail": "Quá lớn."}, "application/problem+json")
    for answer, told in ((http(500, b"", "text/html"), "Hệ thống đang bận"), (too_large, "Quá lớn.")):
        async with lying(answer) as liar, portal(liar.url, monkeypatch) as names:
            assert told in (await names["begin"](dict(FORM), "203.0.113.7"))["detail"]


async def test_the_example_of_webhooks(example: dict[str, Any]) -> None:
    """A webhook is taken once, and what is not signed is refused."""
    assert isinstance(example["receiver"], WebhookReceiver)
    example["receiver"]._now = lambda: NOW_MS / 1000
    body = webhooks.verdict_body("d-k1-a", "hs-1", Status.VERIFIED, NOW_MS)
    headers = webhooks.signed_headers((SECRET,), "msg_d-k1-a", NOW_MS // 1000, body)
    seen: set[str] = set()

    assert [204, 204, 400] == [
        await example["receive"](headers, body, seen), await example["receive"](headers, body, seen),
        await example["receive"](headers, body + b" ", seen),
    ]
    assert {"msg_d-k1-a"} == seen


async def test_the_example_of_tokens(example: dict[str, Any]) -> None:
    """The reader is made as the page says, and reads no nonsense."""
    assert isinstance(example["reader"], TokenReader)
    with pytest.raises(OtpError, match="not a token"):
        await example["read"]("nonsense")


def test_the_table_of_errors() -> None:
    """Each error stands in the table with its code, in the order of the tree, and carries what the table says."""
    errors = [
        getattr(package, name) for name in package.__all__
        if isinstance(getattr(package, name), type) and issubclass(getattr(package, name), OtpError)
    ]
    told = {row[0].strip("`"): (row[1].strip("`"), row[2]) for row in rows("Class")}
    assert {error.__name__ for error in errors} - {"OtpError"} == set(told)
    assert [kind.__name__ for kind in REFUSALS.values()] == [
        name for name, (code, _) in told.items() if code in REFUSALS
    ]
    for code, kind in REFUSALS.items():
        assert code == told[kind.__name__][0]
        for member in vars(kind):
            assert member.startswith("_") or member == "CODE" or f"`{member}`" in told[kind.__name__][1]
    for member in vars(Refused()):
        assert f"`{member}`" in told["Refused"][1]


def test_the_table_of_calls() -> None:
    """Each call stands in the table with what it returns."""
    calls = {
        name: call.__annotations__["return"] for name, call in vars(OtpClient).items()
        if callable(call) and not name.startswith("_") and name != "close"
    }
    told = {row[0].strip("`").split("(")[0]: row[1].strip("`") for row in rows("Call")}
    assert calls | {"jwks": "a JWK Set"} == told
