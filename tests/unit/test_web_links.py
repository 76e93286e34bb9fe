"""Where a verification leads: links of registered hosts alone, and the proof of work a start may need."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import altcha
import fakeredis
import pytest
from web_harness import CLIENTS, KEY, OTHER_KEY, SIMPLE, Web, serve

from otp_service.core.client import ClientRegistry, ProofMode
from otp_service.core.verification import Links
from otp_service.core.webhook_secrets import new_secret
from otp_service.service import Caller

CALLBACK, RETURN = "https://api.portal.example/otp?x=1", "https://portal.example:8443/ket-qua?b=2"
REGISTERED = replace(
    next(iter(CLIENTS)), webhook_hosts=frozenset({"api.portal.example"}), return_hosts=frozenset({"portal.example"}),
    webhook_secrets=(new_secret(),),
)


@pytest.fixture
async def service() -> AsyncIterator[Web]:
    """Run a service whose first client has registered hosts, the other none."""
    redis = fakeredis.FakeAsyncRedis()
    async with serve(redis, clients=ClientRegistry((REGISTERED, *list(CLIENTS)[1:]))) as web:
        yield web


async def refused(service: Web, changes: dict[str, Any], key: str = KEY) -> dict[str, str]:
    """Return the bad fields of a start that is refused."""
    response = await service.call("POST", "/v1/verifications", SIMPLE | changes, key=key)
    problem = await response.json(content_type="application/problem+json")
    assert (422, "invalid_request") == (response.status, problem["code"])
    return {error["field"]: error["code"] for error in problem["errors"]}


async def test_links_of_registered_hosts(service: Web) -> None:
    """Links are taken over as they are, and read back by whoever holds the verification."""
    started = await service.start(SIMPLE | {"callback_url": CALLBACK, "return_url": RETURN})

    _, links = await service.deps.service.view(Caller(REGISTERED), started["id"])
    assert Links(CALLBACK, RETURN) == links


async def test_links_are_sealed(service: Web) -> None:
    """Neither link stands in clear in the store (Invariant 5)."""
    started = await service.start(SIMPLE | {"callback_url": CALLBACK, "return_url": RETURN})

    redis = service.store.client.redis
    (key,) = [key async for key in redis.scan_iter("otp:{s??}:w:*")]
    assert key.decode().endswith(started["id"])
    assert b"portal.example" not in await redis.get(key)
    assert 0 < await redis.pttl(key)


async def test_start_without_links_leads_nowhere(service: Web) -> None:
    """Without links nothing is kept, and a client's own webhook address is used where it has one."""
    started = await service.start(SIMPLE)

    assert Links() == (await service.deps.service.view(Caller(REGISTERED), started["id"]))[1]
    assert [] == [key async for key in service.store.client.redis.scan_iter("otp:{s??}:w:*")]


async def test_clients_own_webhook_address() -> None:
    """A start that names no callback_url is told at the client's webhook_url; one that does, there."""
    client = replace(REGISTERED, webhook_url="https://api.portal.example/all")
    async with serve(fakeredis.FakeAsyncRedis(), clients=ClientRegistry((client,))) as service:
        plain = await service.start(SIMPLE)
        named = await service.start(SIMPLE | {"phone_number": "0900000002", "callback_url": CALLBACK})

        view = service.deps.service.view
        assert client.webhook_url == (await view(Caller(client), plain["id"]))[1].callback_url
        assert CALLBACK == (await view(Caller(client), named["id"]))[1].callback_url


@pytest.mark.parametrize(("changes", "code"), [
    ({"callback_url": "https://portal.example/"}, "host_not_registered"),
    ({"return_url": "https://api.portal.example/"}, "host_not_registered"),
    ({"return_url": "http://portal.example/"}, "host_not_registered"),
    ({"return_url": "https://portal.example.evil.example/"}, "host_not_registered"),
    ({"return_url": "https://portal.example@evil.example/"}, "host_not_registered"),
    ({"return_url": "https://evil.example\\@portal.example/"}, "url_malformed"),
    ({"return_url": "//portal.example/"}, "host_not_registered"),
    ({"return_url": "javascript:alert(1)"}, "host_not_registered"),
    ({"return_url": "/ket-qua"}, "host_not_registered"),
    ({"return_url": "https://portal.example/#a"}, "url_malformed"),
    ({"return_url": "https://portal.example/;a"}, "url_malformed"),
    ({"return_url": "https://portal.example/\r\nSet-Cookie: a=b"}, "url_malformed"),
    ({"return_url": "https://portal.example/đ"}, "url_malformed"),
    ({"return_url": "https://portal.example/" + "a" * 500}, "url_malformed"),
    ({"return_url": ""}, "host_not_registered"),
    ({"callback_url": "http://127.0.0.1/"}, "host_not_registered"),
    ({"callback_url": "https://api.portal.example:22/"}, "url_malformed"),
    ({"callback_url": 7}, "wrong_type"),
])
async def test_link_that_is_refused(service: Web, changes: dict[str, Any], code: str) -> None:
    """A link to another host, or one that two readers could read differently, is refused."""
    assert dict.fromkeys(changes, code) == await refused(service, changes)


async def test_webhook_needs_a_secret_to_sign_with() -> None:
    """A client without a secret cannot name a callback_url: nobody could believe what comes there."""
    bare = replace(REGISTERED, webhook_secrets=())
    async with serve(fakeredis.FakeAsyncRedis(), clients=ClientRegistry((bare,))) as plain:
        assert {"callback_url": "webhook_secret_missing"} == await refused(plain, {"callback_url": CALLBACK})


async def test_another_clients_hosts_are_not_mine(service: Web) -> None:
    """Each client's links go to its own hosts alone."""
    assert {"callback_url": "host_not_registered", "return_url": "host_not_registered"} == await refused(
        service, {"callback_url": CALLBACK, "return_url": RETURN}, OTHER_KEY,
    )


async def test_proof_is_asked_for_and_taken() -> None:
    """A client that always wants a proof answers 403 with a challenge; its solution starts the verification."""
    client = replace(REGISTERED, proof=ProofMode.ALWAYS)
    async with serve(fakeredis.FakeAsyncRedis(), clients=ClientRegistry((client,))) as service:
        response = await service.call("POST", "/v1/verifications", SIMPLE)
        problem = await response.json(content_type="application/problem+json")
        assert (403, "proof_required") == (response.status, problem["code"])
        challenge = altcha.Challenge.from_dict(problem["challenge"])
        solution = altcha.solve_challenge(challenge)
        assert solution is not None
        proof = altcha.Payload(challenge, solution).to_base64()

        assert "pending" == (await service.start(SIMPLE | {"proof": proof}))["status"]
        assert proof not in service.log.getvalue().decode()
