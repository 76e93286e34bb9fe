"""What the store knows of SMS gateways: shares of traffic, places in time, messages under way, tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from otp_service.core.verification import Delivery
from otp_service.storage import keys, scripts
from otp_service.storage.client import StoreClient
from otp_service.storage.records import DELIVERY_LETTERS

_TOKEN_KEPT_MS = 90 * 24 * 3600 * 1000


@dataclass(slots=True)
class Tally:
    """
    What one worker heard from a gateway since it last told.

    Attributes:
        well: answers that were well, refusals of a number or text included.
        failed: answers that speak against the gateway.
        reason: the commonest of those.
        account_refused: whether one said that the account itself is refused.
    """

    well: int = 0
    failed: int = 0
    reason: str = ""
    account_refused: bool = False


@dataclass(frozen=True, slots=True)
class Shift:
    """A gateway's share of its weight that has just changed, in percent, and why."""

    gateway: str
    before: int
    after: int
    reason: str


@dataclass(frozen=True, slots=True)
class Known:
    """The send that a provider's message id stands for, and when the gateway took it (ms)."""

    verification_id: str
    send_number: int
    taken_at_ms: int
    now_ms: int


@dataclass(frozen=True, slots=True)
class KeptToken:
    """A sealed token as it is kept; ``fetch`` tells this caller to fetch the next."""

    version: int
    sealed: bytes = field(repr=False)
    good: bool
    fetch: bool


class GatewayStore:
    """
    Transitions about gateways rather than verifications.

    Args:
        client: runs the scripts.
        now_ms: 0, the store's clock.  Only tests give another value.
    """

    def __init__(self, client: StoreClient, *, now_ms: int = 0) -> None:
        self._client = client
        self.now_ms = now_ms

    async def shares(self, tallies: Sequence[tuple[str, Tally]]) -> tuple[dict[str, int], list[Shift]]:
        """Tell what was heard and learn every share; see ``scripts/shares.lua``."""
        told: list[Any] = [self.now_ms]
        for name, tally in tallies:
            told += [name, tally.well, tally.failed, tally.reason, "1" if tally.account_refused else "0"]
        _, shares, shifts = await self._run("shares", (keys.shares(),), told)
        return dict(zip((name for name, _ in tallies), shares, strict=True)), [
            Shift(shifts[at].decode(), shifts[at + 1], shifts[at + 2], shifts[at + 3].decode())
            for at in range(0, len(shifts), 4)
        ]

    async def place(self, gateway: str, *, emission_ms: float, tolerance_ms: float, max_wait_ms: int) -> int | None:
        """Reserve a place in time: milliseconds until then, None when that is too long; see ``scripts/pace.lua``."""
        _, wait_ms = await self._run(
            "pace", (keys.gateway(gateway, "rate"),), (self.now_ms, emission_ms, tolerance_ms, max_wait_ms),
        )
        return wait_ms if wait_ms >= 0 else None

    async def find(self, gateway: str, provider_id: str, state: Delivery) -> Known | str:
        """Find what a report is about, or keep it for later: ``early`` or ``full``; see ``scripts/report.lua``."""
        outcome, now_ms, found, number, taken_at_ms = await self._run(
            "report",
            (
                keys.gateway_message(gateway, provider_id), keys.gateway(gateway, "early"),
                keys.gateway(gateway, "polls"),
            ),
            (self.now_ms, DELIVERY_LETTERS[state], provider_id),
        )
        return Known(found.decode(), number, taken_at_ms, now_ms) if outcome == b"known" else outcome.decode()

    async def delivered(
        self, shard: int, verification_id: str, send_number: int, state: Delivery, *, by_reference_of: str = "",
    ) -> bool:
        """
        Take a report over into ``delivery``; says whether it was news; see ``scripts/delivered.lua``.

        ``by_reference_of`` is the gateway's name when nothing but our reference says which message it is about.
        """
        _, changed = await self._run(
            "delivered", (keys.verification(shard, verification_id),),
            (self.now_ms, verification_id, send_number, DELIVERY_LETTERS[state], by_reference_of),
        )
        return bool(changed)

    async def due_polls(self, gateway: str, most: int) -> list[str]:
        """Take the provider's ids of messages whose delivery is to be asked for; see ``scripts/due_polls.lua``."""
        answer = await self._run(
            "due_polls", (keys.gateway(gateway, "polls"),), (self.now_ms, keys.gateway_message(gateway), most),
        )
        return [provider_id.decode() for provider_id in answer[1:]]

    async def token(self, gateway: str, *, not_version: int, lease_ms: int, holder: str) -> KeptToken:
        """Get the token, or the order to fetch the next; see ``scripts/token.lua``."""
        _, version, sealed, good, fetch = await self._run(
            "token", (keys.gateway(gateway, "token"), keys.gateway(gateway, "lease")),
            (self.now_ms, not_version, lease_ms, holder),
        )
        return KeptToken(version, sealed, bool(good), bool(fetch))

    async def keep_token(self, gateway: str, sealed: bytes, *, good_ms: int, holder: str) -> int:
        """Keep a fetched token or give the lease back; returns the version in force; see ``scripts/keep_token.lua``."""
        _, version = await self._run(
            "keep_token", (keys.gateway(gateway, "token"), keys.gateway(gateway, "lease")),
            (self.now_ms, good_ms, max(good_ms, _TOKEN_KEPT_MS), sealed, holder),
        )
        return int(version)

    async def _run(self, name: str, script_keys: Sequence[str], args: Sequence[Any]) -> list[Any]:
        answer: list[Any] = await self._client.run(scripts.load(name), script_keys, args)
        return answer
