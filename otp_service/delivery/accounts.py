"""Accounts at gateways: an adapter with its options, and how fast and how wide it may be used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from otp_service.core.ports import ConnectedGateway, Gateway, Supports, TokenGateway
from otp_service.storage.gateways import GatewayStore

#: The longest wait for a place in time that is worth holding a claim for.
_LONGEST_WAIT_MS = 5000
#: How long to stay away when not even that was enough.
BUSY_S = 1.0

#: The account that test keys send through wherever the others reach real phones.
TEST_ACCOUNT = "test"

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Pace:
    """At most ``per_s`` messages per second over all workers, ``burst`` of them at once."""

    per_s: float
    burst: int = 1

    @property
    def emission_ms(self) -> float:
        """Milliseconds between two messages in the long run."""
        return 1000 / self.per_s


class Account:
    """
    One configured gateway.

    Args:
        name: its name in the settings: metric label and log value.
        gateway: the adapter.
        concurrency: hand-overs at once, per worker.
        pace: how many per second over all workers; None for as many as come.
        report_secret: the last part of the path its provider calls back; empty when it does not.
        report_networks: where those callbacks may come from; empty for anywhere.
        poll_reports: whether to ask for deliveries.

    Attributes:
        connected, with_token: the adapter where it is of that kind, else None.
    """

    def __init__(
        self, name: str, gateway: Gateway, *, concurrency: int = 256, pace: Pace | None = None,
        report_secret: str = "", report_networks: Sequence[Network] = (), poll_reports: bool = False,
    ) -> None:
        self.name = name
        self.gateway = gateway
        # Asking a protocol whether an object follows it is slow, and every message would ask.
        self.connected = gateway if isinstance(gateway, ConnectedGateway) else None
        self.with_token = gateway if isinstance(gateway, TokenGateway) else None
        self.pace = pace
        self.report_secret = report_secret
        self.report_networks = tuple(report_networks)
        self.poll_reports = poll_reports
        self._concurrency = concurrency
        self._free = asyncio.Semaphore(concurrency)
        #: Woken, one by one, as hand-overs end.
        self.waiting: dict[asyncio.Future[None], None] = {}

    @property
    def real(self) -> bool:
        """Whether it reaches real phones."""
        return self.gateway.real

    @property
    def timeout_s(self) -> float:
        """Seconds for one attempt."""
        return self.gateway.timeout_s

    @property
    def supports(self) -> Supports:
        """What its adapter can do; nothing special where it does not say."""
        found = getattr(self.gateway, "supports", None)
        return found if isinstance(found, Supports) else Supports()

    @property
    def busy(self) -> bool:
        """Whether every hand-over it may have at once is in hand."""
        return self._free.locked()

    def bound(self, most: int) -> None:
        """Let it have at most so many hand-overs at once; before it is used."""
        self._free = asyncio.Semaphore(min(self._concurrency, max(1, most)))

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold one of the hand-overs it may have at once; waits for one when it is busy, and only then."""
        async with self._free:
            try:
                yield
            finally:
                for waiter in self.waiting:
                    if not waiter.done():
                        waiter.set_result(None)
                        break

    def calls_from(self, address: str) -> bool:
        """Whether a callback may come from this address."""
        if not self.report_networks:
            return True
        try:
            found = ip_address(address)
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None)
        return any((mapped or found) in network for network in self.report_networks)


class Accounts:
    """
    The accounts in use, by name.

    Args:
        accounts: every account that a route names, and the test keys'.
        store: where places in time are reserved.
        hands: hand-overs at once of a worker; each account gets its part, so that one that hangs leaves the others
            theirs.

    Attributes:
        deduplicating: the accounts whose provider drops duplicates.
    """

    def __init__(self, accounts: Sequence[Account], store: GatewayStore, *, hands: int = 256) -> None:
        self._accounts: Mapping[str, Account] = {account.name: account for account in accounts}
        self._store = store
        self.deduplicating = frozenset(account.name for account in accounts if account.supports.deduplicates)
        asked = sum(account.name != TEST_ACCOUNT for account in accounts)  # the test keys' account asks nobody
        for account in accounts:
            account.bound(hands // max(1, asked))

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts.values())

    def __getitem__(self, name: str) -> Account:
        return self._accounts[name]

    def get(self, name: str) -> Account | None:
        """Return the account of that name."""
        return self._accounts.get(name)

    @property
    def longest_timeout_s(self) -> float:
        """The longest that one attempt can take; the test keys' account asks nobody."""
        return max(account.timeout_s for account in self if account.name != TEST_ACCOUNT)

    async def admit(self, candidates: Sequence[str]) -> tuple[Account, float] | None:
        """
        Choose the first candidate that is free now and has a place in time, else the first that is free.

        Returns it with the seconds to wait for its place in time; None when none is free, or no place is near.
        """
        free = [self._accounts[name] for name in candidates if not self._accounts[name].busy]
        for account in free:
            if await self._place(account, 0) is not None:
                return account, 0.0
        if not free:
            return None
        wait_ms = await self._place(free[0], _LONGEST_WAIT_MS)
        return None if wait_ms is None else (free[0], wait_ms / 1000)

    def all_busy(self, candidates: Sequence[str]) -> bool:
        """Whether none of them could take a message now."""
        return all(self._accounts[name].busy for name in candidates)

    async def any_free(self, candidates: Sequence[str]) -> None:
        """Wait until a hand-over of one of them ends, or a second is over."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        accounts = [self._accounts[name] for name in candidates]
        for account in accounts:
            account.waiting[waiter] = None
        try:
            async with asyncio.timeout(BUSY_S):
                if self.all_busy(candidates):
                    await waiter
        except TimeoutError:
            return
        finally:
            for account in accounts:
                del account.waiting[waiter]

    async def _place(self, account: Account, max_wait_ms: int) -> int | None:
        if account.pace is None:
            return 0
        return await self._store.place(
            account.name, emission_ms=account.pace.emission_ms,
            tolerance_ms=account.pace.emission_ms * max(1, account.pace.burst), max_wait_ms=max_wait_ms,
        )
