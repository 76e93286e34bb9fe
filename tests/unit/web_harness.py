"""The service behind real sockets, over a fake store whose clock the test moves."""

from __future__ import annotations

import io
import tomllib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import fakeredis
import orjson
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer
from joserfc.jwk import ECKey
from support.inquiry import chain_of

from otp_service.core import limits
from otp_service.core.client import ApiKey, Client, ClientRegistry, Scope
from otp_service.core.codes import derive_code
from otp_service.core.keyring import KeyRing, RingKey
from otp_service.core.limits import Limit, LimitBook
from otp_service.core.messages import Catalogue
from otp_service.core.result_token import Signer, SigningKey
from otp_service.core.verification import OwnershipPolicy, Purpose
from otp_service.delivery.accounts import Account, Accounts
from otp_service.delivery.reports import Reports
from otp_service.ownership.tttb import TttbSource
from otp_service.service import Secrets, VerificationService
from otp_service.storage import scripts
from otp_service.storage.client import StoreClient
from otp_service.storage.gateways import GatewayStore
from otp_service.storage.sources import SourceStore
from otp_service.storage.store import Store
from otp_service.storage.waiters import Waiters
from otp_service.telemetry import logs
from otp_service.telemetry.metrics import Metrics
from otp_service.web.dependencies import WebDependencies
from otp_service.web.fake_gateway.provider import FakeProvider
from otp_service.web.routes import templates
from otp_service.web.server import ProblemRunner, build_app, build_private_app
from sms_adapters.fake import FakeGateway

CONFIG = Path(__file__).parents[2] / "config"
PUBLIC_URL = "https://otp.example"
REPORT_SECRET = "a-secret-of-the-fake-gateway"
NOW_MS = 1_769_846_400_000  # 2026-01-31T08:00:00Z

KEY, READER, EXPIRED, TEST_KEY, OTHER_KEY = "live-key", "reader-key", "expired-key", "test-key", "other-key"
ORIGIN, OTHER_ORIGIN = "https://portal.example", "https://other.example"

FULL_WIDTH = str.maketrans("0123456789", "０１２３４５６７８９")
PHONE, ID_NUMBER = "0900000001", "052090000001"
START = {
    "phone_number": PHONE, "purpose": "registration", "id_number": ID_NUMBER, "end_user_ip": "203.0.113.7",
    "reference": "hs-2026-000123",
}
SIMPLE = {"phone_number": PHONE, "purpose": "sign_in", "end_user_ip": "203.0.113.7"}

PURPOSES = {
    purpose.name: purpose
    for purpose in (
        Purpose("registration"), Purpose("sign_in", OwnershipPolicy.NEVER),
        Purpose("assisted_registration", assisted=True), Purpose("careful", OwnershipPolicy.BEFORE),
        Purpose("agreed", OwnershipPolicy.NEVER, consent_required=True), Purpose("unowned", OwnershipPolicy.NEVER),
    )
}
ENOUGH = {
    limits.PHONE_COOLDOWN: (1, 60), limits.PHONE_SENDS: (50, 86_400), limits.PHONE_BLOCK_SENDS: (50, 86_400),
    limits.PHONE_SENDS_TOTAL: (50, 86_400), limits.PHONE_ASSISTED_SENDS: (50, 86_400),
    limits.PHONE_FAILURES: (100, 2_592_000), limits.PHONE_BLOCK_FAILURES: (1000, 2_592_000),
    limits.PHONE_OWNERSHIP_CHECKS: (50, 86_400),
    limits.ID_OWNERSHIP_CHECKS: (50, 86_400), limits.ADDRESS_SENDS: (600, 3600), limits.ADDRESS_GUESSES: (600, 3600),
    limits.ADDRESS_UNPROVEN_SENDS: (600, 3600), limits.ADDRESS_NO_SCRIPT_SENDS: (600, 3600),
    limits.CLIENT_UNPROVEN_SENDS: (600, 60), limits.CLIENT_NO_SCRIPT_SENDS: (600, 60),
    limits.CLIENT_SENDS: (600, 60), limits.SERVICE_SENDS: (6000, 60),
}


@cache
def catalogue() -> Catalogue:
    """Read the catalogue that is shipped."""
    return Catalogue({
        locale: tomllib.loads((CONFIG / "messages" / f"{locale}.toml").read_text("utf-8")) for locale in ("vi", "en")
    })


def api_key(key: str, *scopes: Scope, expires_at: int | None = None, test: bool = False) -> ApiKey:
    """Make an API key, by default for everything."""
    return ApiKey(sha256(key.encode()).hexdigest(), frozenset(scopes or Scope), expires_at, test)


CLIENTS = ClientRegistry((
    Client(
        "tinh-portal", purposes=frozenset(PURPOSES) - {"unowned"}, origins=frozenset({ORIGIN}),
        keys=(
            api_key(KEY), api_key(READER, Scope.READ), api_key(EXPIRED, expires_at=1_700_000_000),
            api_key(TEST_KEY, test=True),
        ),
    ),
    Client("other-portal", purposes=frozenset(PURPOSES), origins=frozenset({OTHER_ORIGIN}), keys=(api_key(OTHER_KEY),)),
))


@cache
def signer() -> Signer:
    """Make a signer with a live and a test key."""
    keys = []
    for test in (False, True):
        key = ECKey.generate_key("P-256")
        keys.append(SigningKey(key.thumbprint(), "ES256", key.as_pem(private=True), test=test))
    return Signer(keys)


@dataclass(slots=True)
class Web:
    """A running service, and what a test needs beside HTTP."""

    http: TestClient[web.Request, web.Application]
    deps: WebDependencies
    store: Store
    log: io.BytesIO

    async def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = KEY, headers: Mapping[str, str] = {},
    ) -> ClientResponse:
        """Make one call and read its answer; ``body`` is sent as JSON unless it is bytes."""
        sent = dict(headers)
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
            body = body if isinstance(body, bytes) else orjson.dumps(body)
        response = await self.http.request(method, path, data=body, headers=sent)
        await response.read()
        return response

    async def start(self, body: Mapping[str, Any] = START, **options: Any) -> dict[str, Any]:
        """Start a verification; returns the 201's body."""
        response = await self.call("POST", "/v1/verifications", body, **options)
        found: dict[str, Any] = await response.json()
        assert 201 == response.status, found
        return found

    async def check(self, verification_id: str, code: str | None = None, **options: Any) -> ClientResponse:
        """Check a code, by default the right one of the first SMS."""
        body = {"code": self.code(verification_id) if code is None else code}
        return await self.call("POST", f"/v1/verifications/{verification_id}/check", body, **options)

    def code(self, verification_id: str, send_number: int = 1) -> str:
        """Return the code an SMS carries."""
        return derive_code(self.deps.service.secrets.ring, verification_id, send_number, 6)

    def wrong_code(self, verification_id: str) -> str:
        """Return a code that no SMS carries."""
        return "000000" if self.code(verification_id) != "000000" else "000001"

    def later(self, seconds: float) -> None:
        """Move the store's clock."""
        self.store.now_ms += round(seconds * 1000)

    def lines(self, event: str = "request") -> list[dict[str, Any]]:
        """Return the log's lines of one kind."""
        found = [orjson.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in found if line["event"] == event]


class _Server(TestServer):
    async def _make_runner(self, **options: Any) -> ProblemRunner:
        # As in production: a caller that hangs up cancels nothing.
        return ProblemRunner(self.app, catalogue=catalogue(), **{**options, "handler_cancellation": False})


@asynccontextmanager
async def serve(
    redis: fakeredis.FakeAsyncRedis, *, counts: Mapping[limits.LimitKind, tuple[int, float]] = {},
    private: bool = False, queue_cap: int = 1000, **changes: Any,
) -> AsyncIterator[Web]:
    """Run the service; ``counts`` replace limits, ``changes`` members of the dependencies."""
    log = io.BytesIO()
    logs.configure(json=True, level="info", stream=log, cache=False)
    metrics = Metrics(
        purposes=PURPOSES, limits=limits.LIMIT_KINDS, gateways=("fake",), sources=("tttb", "attested"),
        scripts=scripts.NAMES, routes=templates(demo=True),
    )
    client = StoreClient(redis, metrics=metrics, retry_total_s=0.0)
    store = Store(client, now_ms=NOW_MS, queue_cap=queue_cap)
    await store.prepare()
    secrets = Secrets(KeyRing(b"a" * 32, [RingKey("k1", b"r" * 32)]), signer())
    service = VerificationService(
        store, secrets=lambda: secrets, purposes=PURPOSES, metrics=metrics, issuer=PUBLIC_URL,
        limit_book=LimitBook(Limit(kind, *numbers) for kind, numbers in {**ENOUGH, **counts}.items()),
        inquirer=chain_of(
            TttbSource(subscribers=str(CONFIG / "sample" / "subscribers.csv")), SourceStore(client, now_ms=NOW_MS),
            lambda: secrets.ring, metrics,
        ),
    )
    waiters = Waiters(store, capacity=100, gauge=metrics)

    async def fit() -> dict[str, str | bool]:
        return {"store": True, "keys": True}

    gateways = GatewayStore(client, now_ms=NOW_MS)
    accounts = Accounts([Account("fake", FakeGateway("http://127.0.0.1:1"), report_secret=REPORT_SECRET)], gateways)
    deps = replace(WebDependencies(
        service=service, clients=CLIENTS, catalogue=catalogue(), metrics=metrics, waiters=waiters, readiness=fit,
        accounts=accounts, reports=Reports(gateways, lambda: service.secrets.ring, metrics),
        public_url=PUBLIC_URL, trusted_proxies=(ip_network("10.0.0.0/8"),), inbox=FakeProvider(), version="0.1.0",
    ), **changes)
    app = build_private_app(deps) if private else build_app(deps)
    try:
        async with TestClient(_Server(app)) as http:
            yield Web(http, deps, store, log)
    finally:
        waiters.drain()
        await client.close()
        logs.reset()
