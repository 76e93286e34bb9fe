"""A caller of the service over HTTP: a portal with its API key, or a browser with a client token."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
from multidict import CIMultiDictProxy

from support.processes import PORTAL_KEY

#: The first sample subscriber and the document their SIM is registered under.
OWNER_PHONE, OWNER_ID = "0900000001", "052090000001"
ADDRESS = "203.0.113.7"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; ``body`` is the JSON value, or text where it is none."""

    status: int
    headers: CIMultiDictProxy[str]
    body: Any

    @property
    def code(self) -> str | None:
        """The problem's code; None when it is no problem document."""
        problem = self.headers.get("Content-Type", "").startswith("application/problem+json")
        return self.body["code"] if problem else None

    @property
    def said(self) -> tuple[int, str | None]:
        """Status, and the problem's code or the verification's status."""
        state = self.body.get("status") if isinstance(self.body, dict) else None
        return self.status, self.code or state

    def __getitem__(self, name: str) -> Any:
        return self.body[name]


class Api:
    """
    Calls one address.

    Args:
        base: scheme, host and port.
        key: the API key or client token; None sends none.
        fresh: a new connection for every call, so that nothing is retried behind the test's back.
    """

    def __init__(self, base: str, key: str | None = PORTAL_KEY, *, fresh: bool = False) -> None:
        self.base = base
        self.key = key
        self._fresh = fresh
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=self._fresh), cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=60),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def call(
        self, method: str, path: str, body: Any = None, *, idempotency_key: str | None = None,
        raw: bytes | BytesIO | None = None, **headers: str,
    ) -> Reply:
        """Make one call; underscores in names of ``headers`` stand for hyphens."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key is not None:
            sent.setdefault("Authorization", f"Bearer {self.key}")
        if idempotency_key is not None:
            sent["Idempotency-Key"] = idempotency_key
        data: bytes | BytesIO | None = raw if raw is not None or body is None else orjson.dumps(body)
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        assert self._session is not None
        async with self._session.request(
            method, self.base + path, data=data, headers=sent, allow_redirects=False,
        ) as answer:
            content = await answer.read()
            is_json = answer.content_type in {"application/json", "application/problem+json"}
            return Reply(answer.status, answer.headers, orjson.loads(content) if is_json else content.decode())

    async def get(self, path: str, **headers: str) -> Reply:
        """Read something."""
        return await self.call("GET", path, None, idempotency_key=None, raw=None, **headers)

    async def start(
        self, phone_number: str = OWNER_PHONE, purpose: str = "phone_only", *, idempotency_key: str | None = None,
        **fields: Any,
    ) -> Reply:
        """Start a verification."""
        body = {"phone_number": phone_number, "purpose": purpose, "end_user_ip": ADDRESS, **fields}
        return await self.call("POST", "/v1/verifications", body, idempotency_key=idempotency_key)

    async def check(self, verification_id: str, code: str, *, idempotency_key: str | None = None) -> Reply:
        """Check a code."""
        path = f"/v1/verifications/{verification_id}/check"
        return await self.call("POST", path, {"code": code}, idempotency_key=idempotency_key)

    async def resend(self, verification_id: str, *, idempotency_key: str | None = None) -> Reply:
        """Ask for a new code."""
        return await self.call(
            "POST", f"/v1/verifications/{verification_id}/resend", idempotency_key=idempotency_key,
        )

    async def read(self, verification_id: str, wait: int | None = None) -> Reply:
        """Read a verification."""
        query = "" if wait is None else f"?wait={wait}"
        return await self.call("GET", f"/v1/verifications/{verification_id}{query}")

    async def cancel(self, verification_id: str) -> Reply:
        """Cancel a verification."""
        return await self.call("DELETE", f"/v1/verifications/{verification_id}")

    async def redeem(self, token: str, *, idempotency_key: str | None = None, **expect: str) -> Reply:
        """Redeem a verdict."""
        body = {"token": token, "expect": expect} if expect else {"token": token}
        return await self.call("POST", "/v1/result-tokens/redeem", body, idempotency_key=idempotency_key)


def wrong(code: str, at: int = 1) -> str:
    """Return a code of the same length that is not ``code``; different for each ``at`` from 1 on."""
    return str((int(code) + at) % 10 ** len(code)).zfill(len(code))
