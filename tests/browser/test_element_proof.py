"""The drop-in element's proof of work: a browser solves, the service's library verifies."""

from __future__ import annotations

import json
from typing import Any

import altcha
import pytest
from playwright.async_api import Page
from support.chromium import looked_at
from support.element import PortalPage, text
from support.engine import PHONE
from support.stage import Stage, staged

from otp_service.core.client import ProofMode

SECRET = "a secret of the tests"


def challenge(algorithm: str = "PBKDF2/SHA-256", cost: int = 50, **options: Any) -> dict[str, Any]:
    """Make a challenge as the service does."""
    made: dict[str, Any] = altcha.create_challenge(algorithm, cost, hmac_secret=SECRET, **options).to_dict()
    return made


@pytest.mark.parametrize("asked", [
    pytest.param({}, id="one zero byte"), pytest.param({"key_prefix": "0"}, id="half a byte"),
    pytest.param({"algorithm": "PBKDF2/SHA-512", "key_length": 64}, id="SHA-512"),
    pytest.param({"algorithm": "PBKDF2/SHA-384", "counter": 300, "key_prefix_length": 4}, id="SHA-384, one counter"),
    pytest.param({"data": {"tỉnh": "Quảng Nam"}, "expires_at": 4_000_000_000}, id="with data"),
])
async def test_solve(stage: Stage, page: Page, asked: dict[str, Any]) -> None:
    """What the browser works out is what the library asks for."""
    await PortalPage.open(page, stage)
    solve = "asked => OtpVerification.solve(asked, {signal: AbortSignal.timeout(20000)})"
    proof = await page.evaluate(solve, challenge(**asked))

    assert altcha.verify_solution(proof, SECRET).verified


async def test_page_stays_alive(stage: Stage, page: Page) -> None:
    """While it is worked out the page answers, and is told how far it is."""
    await PortalPage.open(page, stage)
    longest_ms, told = await page.evaluate(
        """async (asked) => {
          let [longest, last, told] = [0, performance.now(), []];
          const beat = setInterval(() => {
            const now = performance.now();
            [longest, last] = [Math.max(longest, now - last), now];
          }, 5);
          await OtpVerification.solve(asked, {onprogress: (...numbers) => told.push(numbers)});
          clearInterval(beat);
          return [longest, told];
        }""", challenge(cost=20_000, counter=200),
    )

    assert longest_ms < 1000
    assert sorted(told) == told
    assert 200 >= told[-1][0] > 100


async def test_stopped(stage: Stage, page: Page) -> None:
    """Work that is not wanted any more stops."""
    await PortalPage.open(page, stage)
    name = await page.evaluate(
        """async (asked) => {
          const stop = new AbortController();
          const solving = OtpVerification.solve(asked, {signal: stop.signal, onprogress: () => stop.abort()});
          const never = new Promise((resolve) => setTimeout(resolve, 20000, "it goes on"));
          return Promise.race([solving.catch((error) => error.name), never]);
        }""", challenge(key_prefix="00" * 8),
    )

    assert "AbortError" == name


async def test_unknown_kind(stage: Stage, page: Page) -> None:
    """A challenge of a later version is refused and not worked on for ever; the page hears so."""
    asked = challenge() | {"parameters": {**challenge()["parameters"], "algorithm": "ARGON2ID"}}
    portal = await PortalPage.open(page, stage, challenge=json.dumps(asked))

    assert {"code": "proof"} == await portal.hears("otp-error")
    solve = "asked => OtpVerification.solve(asked).catch((one) => [one.name, one.message])"
    refused = await page.evaluate(solve, asked)
    assert ["TypeError", "otp-verification: a challenge of a kind that this script cannot solve"] == refused


async def test_start_with_a_proof(valkey_url: str, page: Page) -> None:
    """From `proof_required` to the SMS: the element solves what the start asked for, and the start takes it."""
    async with staged(valkey_url, proof=ProofMode.ALWAYS) as stage:
        body = {"phone_number": PHONE, "purpose": "phone_only", "end_user_ip": "203.0.113.7"}
        refused = (await stage.api.call("POST", "/v1/verifications", body)).body
        assert "proof_required" == refused["code"]
        portal = await PortalPage.open(page, stage, challenge=json.dumps(refused["challenge"]))
        proof = (await portal.hears("otp-proof"))["proof"]
        started = (await stage.api.call("POST", "/v1/verifications", body | {"proof": proof})).body
        assert "pending" == started["status"]
        await page.locator("otp-verification").evaluate(
            "(one, [id, token]) => { one.verificationId = id; one.clientToken = token }",
            [started["id"], started["client_token"]],
        )
        await portal.guess(await stage.code(started))
        await portal.hears("otp-verified")
        assert ["otp-proof", "otp-ready"] == portal.names()[:2]


async def test_the_person_is_told(stage: Stage, page: Page) -> None:
    """While the browser works the person reads why nothing happens yet."""
    portal = await PortalPage.open(page, stage, challenge=json.dumps(challenge(key_prefix="00" * 8)))
    await page.get_by_text(text("page.element_proving")).wait_for()
    await looked_at(page, "element-proving")
    assert [] == portal.heard
