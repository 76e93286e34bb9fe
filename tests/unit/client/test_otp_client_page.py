"""docs/python-client.md says what the client does, and its examples run as they stand."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from client_harness import http, lying
from unit.web_harness import ID_NUMBER, KEY, NOW_MS, PHONE, Web, catalogue

from otp_service import client as package
from otp_service.client import Claims, OtpClient, OtpError, Refused, TokenReader, WebhookReceiver
from otp_service.client.errors import REFUSALS
from otp_service.core import webhooks
from otp_service.core.verification import Status

PAGE = (Path(__file__).parents[3] / "docs" / "python-client.md").read_text("utf-8")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FORM = {"phone_number": PHONE, "id_number": ID_NUMBER, "full_name": "Nguyễn Văn A", "id": "hs-1"}


def rows(title: str) -> list[list[str]]:
    """Return the rows of the table whose first column has this title."""
    table = PAGE.split(f"\n| {title} |", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


async def portal(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, Any]]:
    """Run the page's code as one module of a portal."""
    for name, value in (("OTP_URL", url), ("API_KEY", KEY), ("WEBHOOK_SECRET", SECRET)):
        monkeypatch.setenv(f"PORTAL_{name}", value)
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        exec(compile(block, "python-client.md", "exec"), names)  # noqa: S102 - our own page
    yield names
    await names["client"].close()


@pytest.fixture
async def example(service: Web, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, Any]]:
    """Run the page's code against the service."""
    async for names in portal(str(service.http.make_url("/")), monkeypatch):
        yield names


async def test_the_example_opens_an_account(example: dict[str, Any], service: Web) -> None:
    """From the form to the claims, and again after a crash."""
    flow = dict(FORM)
    assert None is await example["begin"](flow, "203.0.113.7")
    assert flow["client_token"].startswith("vt_")
    assert not await example["decided"](flow)
    await service.check(flow["verification_id"])
    assert await example["decided"](flow)

    claims = await example["finish"](flow)

    assert isinstance(claims, Claims)
    assert claims.ownership_confirmed
    service.later(3600)
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


async def test_the_example_tells_what_is_wrong(
    example: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Invariant 13: what the service refuses is told in its words, and a service that is away in the portal's."""
    said = await example["begin"](FORM | {"id_number": "1"}, "203.0.113.7")
    assert f"id_number: {catalogue().field('vi', 'id_number_malformed')}" == said
    assert "0376000001" in await example["begin"](FORM | {"phone_number": "01676000001"}, "203.0.113.7")
    assert None is await example["begin"](dict(FORM), "203.0.113.7")
    assert "60" in await example["begin"](dict(FORM), "203.0.113.7")
    async with lying(http(500, b"", "text/html")) as liar:
        async for names in portal(liar.url, monkeypatch):
            assert "Hệ thống đang bận" in await names["begin"](FORM, "203.0.113.7")


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
