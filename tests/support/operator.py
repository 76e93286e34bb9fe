"""
The made-up operator in this process, over a real socket, and somebody who asks it.

::

    async with operating() as operator:
        await operator.play(down=True)
        answer = await operator.match(phoneNumber="+84900000001", idDocument="052090000001")
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from multidict import CIMultiDictProxy

from otp_service.core.phone import Carrier
from otp_service.web.operator.kyc_match import KycMatch
from otp_service.web.operator.oauth import OAuthClient
from otp_service.web.operator.server import Operator, OperatorOptions, serving
from otp_service.web.operator.subscribers import Subscriber, Subscribers, read_subscribers, sample_path

#: What ``simulate-operator`` has by default.
CLIENT_ID, SECRET = "otp-service", "secret-of-the-simulator"
#: A subscriber of the sample with their document; a SIM out of service; a number that nobody has.
OWNER, OWNER_ID = "+84900000001", "052090000001"
BLOCKED, STRANGER = "+84900000006", "+84967000000"

MATCH, CHECK, DATE = "/kyc-match/v0.4/match", "/sim-swap/v2/check", "/sim-swap/v2/retrieve-date"

#: Midnight in UTC, 1 June 2026.
NOW_S = 1_780_272_000.0


@dataclass
class Clock:
    """Seconds since the epoch that a test moves; a pause is written down and takes no time."""

    now_s: float = NOW_S
    paused: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s

    async def pause(self, seconds: float) -> None:
        """Wait without waiting."""
        self.paused.append(seconds)


@dataclass(frozen=True)
class Said:
    """An answer; ``body`` is the JSON value, or bytes where it is none."""

    status: int
    headers: CIMultiDictProxy[str]
    body: Any

    @property
    def told(self) -> tuple[int, str | None]:
        """Status, and the code of an ``ErrorInfo``."""
        return self.status, self.body.get("code") if isinstance(self.body, dict) else None

    def __getitem__(self, name: str) -> Any:
        return self.body[name]


class Caller:
    """
    Asks an operator over HTTP.

    Args:
        base: scheme, host and port.
        http: what carries it.

    Attributes:
        clock: the operator's, where it is in this process.
    """

    def __init__(self, base: str, http: aiohttp.ClientSession, clock: Clock | None = None) -> None:
        self.base = base
        self.clock = clock or Clock()
        self._http = http
        self._token: str | None = None

    async def call(
        self, method: str, path: str, *, data: bytes | None = None, headers: dict[str, str] | None = None,
    ) -> Said:
        """Make any call."""
        async with self._http.request(
            method, self.base + path, data=data, headers=headers, allow_redirects=False,
            skip_auto_headers=["Content-Type"],
        ) as answer:
            content = await answer.read()
            try:
                body = orjson.loads(content)
            except orjson.JSONDecodeError:
                body = content
            return Said(answer.status, answer.headers, body)

    async def ask_token(self, authorization: str | None = None, **form: str) -> Said:
        """Ask for a token with any form."""
        headers = {"Authorization": authorization} if authorization else {}
        async with self._http.post(f"{self.base}/oauth2/token", data=form, headers=headers) as answer:
            return Said(answer.status, answer.headers, await answer.json())

    async def token(self, **more: str) -> str:
        """Fetch an access token."""
        said = await self.ask_token(
            grant_type="client_credentials", client_id=CLIENT_ID, client_secret=SECRET, **more,
        )
        return str(said.body["access_token"])

    async def post(self, path: str, body: Any, token: str | None = None, **headers: str) -> Said:
        """Make a call with a token, of its own where none is given."""
        if token is None:
            self._token = token = self._token or await self.token()
        sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **headers}
        return await self.call("POST", path, data=orjson.dumps(body), headers=sent)

    async def match(self, **body: Any) -> Said:
        """Ask KYC Match."""
        return await self.post(MATCH, body)

    async def sms(self, sender: str, text: str, to: str = "1414") -> Said:
        """Send an SMS."""
        return await self.post("/sms", {"from": sender, "to": to, "text": text}, "not needed")

    async def play(self, **script: Any) -> Said:
        """Let things go wrong."""
        return await self.call("PUT", "/script", data=orjson.dumps(script))

    async def asked(self) -> dict[str, int]:
        """Return how many calls each endpoint got."""
        said = await self.call("GET", "/asked")
        return dict(said.body)


def sample(carrier: Carrier | None = None) -> Subscribers:
    """Return the sample's subscribers."""
    return Subscribers(read_subscribers(sample_path()), carrier)


def subscriber(**differs: Any) -> Subscriber:
    """Return a subscriber who is in order, but for what differs."""
    usual: dict[str, Any] = {
        "phone_number": OWNER, "id_number": OWNER_ID, "full_name": "NGUYỄN VĂN A", "birth_date": "1990-01-01",
        "status": "active", "carrier": Carrier.MOBIFONE,
    }
    return Subscriber(**{**usual, **differs})


@asynccontextmanager
async def operating(
    subscribers: Subscribers | None = None, *, kyc: KycMatch | None = None, **options: Any,
) -> AsyncIterator[Caller]:
    """Serve an operator whose clock stands still; gives a caller."""
    clock = Clock()
    made = OperatorOptions(
        subscribers=subscribers or sample(), client=OAuthClient(CLIENT_ID, SECRET), kyc=kyc or KycMatch(), **options,
    )
    async with (
        serving(Operator(made, clock=clock, pause=clock.pause)) as base,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http,
    ):
        yield Caller(base, http, clock)
