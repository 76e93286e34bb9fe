"""What the store knows of those whom we ask, gateways and sources alike: shares of traffic, and tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from otp_service.storage import scripts
from otp_service.storage.client import StoreClient

_TOKEN_KEPT_MS = 90 * 24 * 3600 * 1000


@dataclass(slots=True)
class Tally:
    """
    What one process heard from a peer since it last told.

    Attributes:
        well: answers that were well, refusals of a number or text included.
        failed: answers that speak against the peer.
        reason: the commonest of those.
        account_refused: whether one said that the account itself is refused.
    """

    well: int = 0
    failed: int = 0
    reason: str = ""
    account_refused: bool = False


@dataclass(frozen=True, slots=True)
class Shift:
    """A peer's share of its weight that has just changed, in percent, and why."""

    name: str
    before: int
    after: int
    reason: str


@dataclass(frozen=True, slots=True)
class KeptToken:
    """A sealed token as it is kept; ``fetch`` tells this caller to fetch the next."""

    version: int
    sealed: bytes = field(repr=False)
    good: bool
    fetch: bool


class PeerStore:
    """
    Transitions about peers of one kind.

    Args:
        client: runs the scripts.
        shares_key: the key of their shares.
        key: returns a key of one of them: its name, then ``token`` or ``lease``.
        now_ms: 0, the store's clock.  Only tests give another value.
    """

    def __init__(
        self, client: StoreClient, shares_key: str, key: Callable[[str, str], str], *, now_ms: int = 0,
    ) -> None:
        self._client = client
        self._shares_key = shares_key
        self._key = key
        self.now_ms = now_ms

    async def shares(self, tallies: Sequence[tuple[str, Tally]]) -> tuple[dict[str, int], list[Shift]]:
        """Tell what was heard and learn every share; see ``scripts/shares.lua``."""
        told: list[Any] = [self.now_ms]
        for name, tally in tallies:
            told += [name, tally.well, tally.failed, tally.reason, "1" if tally.account_refused else "0"]
        _, shares, shifts = await self._run("shares", (self._shares_key,), told)
        return dict(zip((name for name, _ in tallies), shares, strict=True)), [
            Shift(shifts[at].decode(), shifts[at + 1], shifts[at + 2], shifts[at + 3].decode())
            for at in range(0, len(shifts), 4)
        ]

    async def token(self, name: str, *, not_version: int, lease_ms: int, holder: str) -> KeptToken:
        """Get the token, or the order to fetch the next; see ``scripts/token.lua``."""
        _, version, sealed, good, fetch = await self._run(
            "token", (self._key(name, "token"), self._key(name, "lease")),
            (self.now_ms, not_version, lease_ms, holder),
        )
        return KeptToken(version, sealed, bool(good), bool(fetch))

    async def keep_token(self, name: str, sealed: bytes, *, good_ms: int, holder: str) -> int:
        """Keep a fetched token or give the lease back; returns the version in force; see ``scripts/keep_token.lua``."""
        _, version = await self._run(
            "keep_token", (self._key(name, "token"), self._key(name, "lease")),
            (self.now_ms, good_ms, max(good_ms, _TOKEN_KEPT_MS), sealed, holder),
        )
        return int(version)

    async def _run(self, name: str, script_keys: Sequence[str], args: Sequence[Any]) -> list[Any]:
        answer: list[Any] = await self._client.run(scripts.load(name), script_keys, args)
        return answer
