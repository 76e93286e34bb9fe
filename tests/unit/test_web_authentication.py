"""Who may call what: API keys, client tokens, origins, and whose address counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis
from web_harness import (
    EXPIRED,
    ID_NUMBER,
    KEY,
    ORIGIN,
    OTHER_KEY,
    OTHER_ORIGIN,
    PURPOSES,
    READER,
    SIMPLE,
    START,
    TEST_KEY,
    Web,
    api_key,
    serve,
)

from otp_service.core import limits
from otp_service.core.client import Client, ClientRegistry, Scope

NOBODYS_ID = "7-k1-abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
async def service(fake_redis: FakeAsyncRedis) -> AsyncIterator[Web]:
    """Run the service."""
    async with serve(fake_redis) as running:
        yield running


async def code_of(response: Any) -> str:
    """Return the code of a refusal."""
    found: str = (await response.json(content_type="application/problem+json"))["code"]
    return found


@pytest.mark.parametrize("header", [
    None, "", "Bearer", "Bearer ", "Bearer nothing", f"Bearer {EXPIRED}", f"Basic {KEY}", f"Bearer{KEY}", KEY,
    "Bearer kh\u00f3a", f"Bearer {KEY}, Bearer {KEY}", "Bearer vt_AAAA",
])
async def test_unauthenticated(service: Web, header: str | None) -> None:
    """A key that is missing, unknown, expired or malformed is 401 with ``WWW-Authenticate``, all alike."""
    headers = {} if header is None else {"Authorization": header}
    response = await service.call("POST", "/v1/verifications", START, key=None, headers=headers)

    assert (401, "unauthenticated", "Bearer") == (
        response.status, await code_of(response), response.headers["WWW-Authenticate"],
    )


async def test_scheme_in_any_case(service: Web) -> None:
    """The scheme's name is case-insensitive (RFC 9110 section 11.1)."""
    headers = {"Authorization": f"bearer {KEY}"}

    assert 201 == (await service.call("POST", "/v1/verifications", START, key=None, headers=headers)).status


async def test_scopes(fake_redis: FakeAsyncRedis) -> None:
    """Each call asks for its scope, and a key with that one alone may make it."""
    registry = ClientRegistry((Client(
        "tinh-portal", purposes=frozenset(PURPOSES), keys=tuple(api_key(scope.value, scope) for scope in Scope),
    ),))
    calls = {
        ("POST", "/v1/verifications"): Scope.VERIFY, ("POST", f"/v1/verifications/{NOBODYS_ID}/resend"): Scope.VERIFY,
        ("POST", f"/v1/verifications/{NOBODYS_ID}/check"): Scope.VERIFY,
        ("DELETE", f"/v1/verifications/{NOBODYS_ID}"): Scope.VERIFY,
        ("GET", f"/v1/verifications/{NOBODYS_ID}"): Scope.READ, ("POST", "/v1/result-tokens/redeem"): Scope.REDEEM,
        ("GET", "/metrics"): Scope.METRICS,
    }
    async with serve(fake_redis, clients=registry) as service:
        allowed = {
            call: {scope for scope in Scope if (await service.call(*call, key=scope.value)).status != 403}
            for call in calls
        }

    assert {call: {scope} for call, scope in calls.items()} == allowed


async def test_unknown_and_foreign_ids_look_the_same(service: Web) -> None:
    """Invariant 9: another client's id, an unknown one and a malformed one get the same answer."""
    mine = (await service.start())["id"]
    answers = []
    for one, key in ((mine, OTHER_KEY), (mine, TEST_KEY), (NOBODYS_ID, KEY), ("x", KEY), ("%C3%A9%FF", KEY)):
        for method, path, body in (
            ("GET", "", None), ("POST", "/check", {"code": "123456"}), ("POST", "/resend", None), ("DELETE", "", None),
        ):
            response = await service.call(method, f"/v1/verifications/{one}{path}", body, key=key)
            answers.append((response.status, await response.text()))

    assert 1 == len(set(answers))
    assert 404 == answers[0][0]


async def test_browser_calls(service: Web) -> None:
    """A client token opens GET, resend and check of its verification, and nothing else."""
    started = await service.start()
    token, path = started["client_token"], f"/v1/verifications/{started['id']}"
    service.later(60)
    calls = [
        ("GET", path, None), ("POST", f"{path}/resend", None),
        ("POST", f"{path}/check", {"code": service.code(started["id"], 2)}), ("DELETE", path, None),
        ("POST", "/v1/verifications", START), ("POST", "/v1/result-tokens/redeem", {"token": "x"}),
        ("GET", "/metrics", None),
    ]

    assert [200, 202, 200, 401, 401, 401, 401] == [
        (await service.call(*call, key=token)).status for call in calls
    ]


async def test_token_of_another_verification(service: Web) -> None:
    """Invariant 9: a token opens neither another verification nor an unknown one, and no answer says which."""
    first, second = await service.start(), await service.start(SIMPLE | {"phone_number": "0900000002"})
    answers = [
        await service.call("GET", f"/v1/verifications/{one}", key=first["client_token"])
        for one in (second["id"], NOBODYS_ID, "x")
    ]

    assert [401] * 3 == [answer.status for answer in answers]
    assert 1 == len({await answer.text() for answer in answers})


async def test_token_of_a_removed_client(service: Web) -> None:
    """A token ends with its client."""
    started = await service.start()
    ring = service.deps.service.secrets.ring
    token = ring.client_token(started["id"], "gone-portal")

    assert 401 == (await service.call("GET", f"/v1/verifications/{started['id']}", key=token)).status


async def test_token_of_a_test_verification(service: Web) -> None:
    """The token of what a test key started opens it, and no live one."""
    started = await service.start(SIMPLE, key=TEST_KEY)
    path = f"/v1/verifications/{started['id']}"
    live_token = service.deps.service.secrets.ring.client_token(started["id"], "tinh-portal")

    assert 200 == (await service.call("GET", path, key=started["client_token"])).status
    assert 404 == (await service.call("GET", path, key=live_token)).status


async def test_browser_sees_no_verdict(service: Web) -> None:
    """Invariant 9: a browser gets no token, no ownership, and one reason for every rejection."""
    shown, reasons = {}, set()
    for phone in ("0900000001", "0900000004"):  # another's SIM, a SIM nobody knows
        started = await service.start(START | {"phone_number": phone, "id_number": "052090000099"})
        await service.check(started["id"])
        path = f"/v1/verifications/{started['id']}"
        shown = await (await service.call("GET", path, key=started["client_token"])).json()
        reasons.add((await (await service.call("GET", path)).json())["reason"])

        assert ("rejected", "ownership_not_confirmed") == (shown["status"], shown["reason"])
        assert set() == {"ownership", "result_token", "client_token", "page_url"} & set(shown)
    assert {"sim_not_owned", "subscriber_unknown"} == reasons


@pytest.mark.parametrize("call", [("GET", "", None), ("POST", "/resend", None), ("POST", "/check", {"code": "12"})])
async def test_origin_of_a_browser(service: Web, call: tuple[str, str, Any]) -> None:
    """A page of the client's origin may call and read; another client's page and a stranger's may not."""
    started = await service.start()
    method, path, body = call
    seen = {}
    for origin in (ORIGIN, OTHER_ORIGIN, "https://evil.example", "null", "https://" + "a" * 300, None):
        headers = {"Origin": origin} if origin else {}
        response = await service.call(
            method, f"/v1/verifications/{started['id']}{path}", body, key=started["client_token"], headers=headers,
        )
        seen[origin] = (response.status == 403, response.headers.get("Access-Control-Allow-Origin"))
        assert "Origin" == response.headers["Vary"]
        assert "Access-Control-Allow-Credentials" not in response.headers

    assert [
        (False, ORIGIN), (True, OTHER_ORIGIN), (True, None), (True, None), (True, None), (False, None),
    ] == list(seen.values())


async def test_exposed_headers(service: Web) -> None:
    """A page can read how long to wait, also from a refusal."""
    started = await service.start()
    response = await service.call(
        "POST", f"/v1/verifications/{started['id']}/resend", key=started["client_token"], headers={"Origin": ORIGIN},
    )

    assert (429, "60") == (response.status, response.headers["Retry-After"])
    assert {"Date", "Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-Id"} == set(
        response.headers["Access-Control-Expose-Headers"].split(", "),
    )


@pytest.mark.parametrize(("path", "methods"), [
    ("", "GET"), ("/resend", "POST"), ("/check", "POST"),
])
async def test_preflight(service: Web, path: str, methods: str) -> None:
    """A preflight carries no credential and is answered for every registered origin."""
    for origin in (ORIGIN, OTHER_ORIGIN):
        response = await service.call(
            "OPTIONS", f"/v1/verifications/{NOBODYS_ID}{path}", key=None,
            headers={"Origin": origin, "Access-Control-Request-Method": "POST"},
        )

        assert (204, origin, methods) == (
            response.status, response.headers["Access-Control-Allow-Origin"],
            response.headers["Access-Control-Allow-Methods"],
        )
        assert {"Authorization", "Content-Type", "Idempotency-Key"} <= set(
            response.headers["Access-Control-Allow-Headers"].split(", "),
        )


async def test_preflight_of_a_stranger(service: Web) -> None:
    """An origin that nobody registered is refused, and no header lets its page read anything."""
    response = await service.call(
        "OPTIONS", f"/v1/verifications/{NOBODYS_ID}", key=None, headers={"Origin": "https://evil.example"},
    )

    assert (403, "forbidden") == (response.status, await code_of(response))
    assert "Access-Control-Allow-Origin" not in response.headers


async def test_options_without_origin(service: Web) -> None:
    """OPTIONS that is no preflight says which methods there are."""
    response = await service.call("OPTIONS", f"/v1/verifications/{NOBODYS_ID}", key=None)

    assert (204, "DELETE, GET, HEAD, OPTIONS") == (response.status, response.headers["Allow"])


async def test_no_cors_beside_the_browser_paths(service: Web) -> None:
    """A start is never readable by a page: it needs the API key, which no browser sees."""
    response = await service.call("POST", "/v1/verifications", START, headers={"Origin": ORIGIN})

    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(("forwarded", "shared"), [
    (None, True),
    ("198.51.100.1", False),
    ("203.0.113.9, 198.51.100.1", False),
    ("198.51.100.1, 10.0.0.5", False),
    ("198.51.100.1:51234, 10.0.0.5:80", False),
    ("[2001:db8::7]:443", False),
    ("::ffff:198.51.100.1", False),
    ("198.51.100.1, rubbish", True),
    ("", True),
])
async def test_forwarded_address(fake_redis: FakeAsyncRedis, forwarded: str | None, *, shared: bool) -> None:
    """Behind a trusted proxy the right-most address that is no proxy's counts; what is left of it does not."""
    async with serve_behind_proxy(fake_redis) as service:
        started = await service.start()
        await guess(service, started, None)
        response = await guess(service, started, forwarded)

    # One guess per address: a second from the same one is refused by the limit, from another it is evaluated.
    assert (429 if shared else 422) == response.status


async def test_forwarded_address_of_a_stranger(fake_redis: FakeAsyncRedis) -> None:
    """Who is no trusted proxy cannot choose the address that limits are counted by."""
    async with serve(fake_redis, counts={limits.ADDRESS_GUESSES: (1, 3600)}) as service:
        started = await service.start()
        statuses = [(await guess(service, started, f"198.51.100.{hop}")).status for hop in (1, 2)]

    assert [422, 429] == statuses


async def test_left_of_a_stranger_is_not_believed(fake_redis: FakeAsyncRedis) -> None:
    """Whoever is right-most writes what stands left of it: changing that changes nothing."""
    async with serve_behind_proxy(fake_redis) as service:
        started = await service.start()
        statuses = [
            (await guess(service, started, f"203.0.113.{made_up}, 198.51.100.1")).status for made_up in (1, 2)
        ]

    assert [422, 429] == statuses


def serve_behind_proxy(redis: FakeAsyncRedis) -> Any:
    """Serve with loopback and 10/8 as trusted proxies, and one guess per address."""
    return serve(
        redis, counts={limits.ADDRESS_GUESSES: (1, 3600)},
        trusted_proxies=(ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8")),
    )


async def guess(service: Web, started: dict[str, Any], forwarded: str | None) -> Any:
    """Guess wrong as a browser; ``forwarded`` is what the proxy says."""
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    return await service.check(
        started["id"], service.wrong_code(started["id"]), key=started["client_token"], headers=headers,
    )


async def test_back_ends_share_no_address(fake_redis: FakeAsyncRedis) -> None:
    """A portal's own address counts for nothing: its guesses are its users'."""
    async with serve(fake_redis, counts={limits.ADDRESS_GUESSES: (1, 3600)}) as service:
        started = await service.start()
        statuses = [(await service.check(started["id"], service.wrong_code(started["id"]))).status for _ in "12"]

    assert [422, 422] == statuses


async def test_reader_reads_the_verdict(service: Web) -> None:
    """A key that may only read sees the verdict and cannot cancel."""
    started = await service.start()
    await service.check(started["id"])
    path = f"/v1/verifications/{started['id']}"
    read = await (await service.call("GET", path, key=READER)).json()

    assert ("verified", "match") == (read["status"], read["ownership"]["status"])
    assert read["result_token"].count(".") == 2
    assert 403 == (await service.call("DELETE", path, key=READER)).status
    assert ID_NUMBER not in str(read)
