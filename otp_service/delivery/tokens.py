"""
Tokens of gateways that want one: fetched once for all workers, kept sealed, renewed before they run out.

Some providers give a new refresh token with each token and void the older one.  So one worker fetches at a time, under
a lease in the store, and what it got is kept even when the lease ran out, however long the store takes to answer.

What is lost all the same: what the provider gave to a process that was killed (SIGKILL, power) before the store had
it, or that stopped while the store did not answer.  The next fetch is then made with what the settings hold.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from secrets import token_hex

from otp_service.core.keyring import KeyRing, SealBroken
from otp_service.core.ports import AccessToken, HttpRequest, HttpResponse, SendOutcome, TokenGateway
from otp_service.delivery.accounts import Account
from otp_service.storage.gateways import GatewayStore, KeptToken
from otp_service.telemetry.logs import get_logger

_PLACE = "gateway token"
#: A token is renewed when this much of its life is left: requests with it may be under way.
_MARGIN = 0.1
_MAX_MARGIN_S = 60
_LEASE_MARGIN_MS = 2000
_PAUSE_S = 0.1
_KEEP_PAUSE_S = 0.5
#: How long those who wait for a token also wait until it is kept: they get the version that the store gave it.
_KEPT_WITHIN_S = 0.5
_CLOSE_S = 15.0

_log = get_logger()

Exchange = Callable[[Account, HttpRequest], Awaitable[HttpResponse | SendOutcome]]


@dataclass(frozen=True, slots=True)
class Token:
    """A token to send with; ``version`` names it when it turns out not to be taken."""

    value: str = field(repr=False)
    version: int
    good_until: float


class Tokens:
    """
    The tokens of every account that needs one.

    Args:
        store: where they are kept.
        ring: seals them.
        close_s: seconds that ``close`` waits at most.
    """

    def __init__(self, store: GatewayStore, ring: Callable[[], KeyRing], *, close_s: float = _CLOSE_S) -> None:
        self._store = store
        self._ring = ring
        self._close_s = close_s
        self._known: dict[str, Token] = {}
        self._asking: dict[str, asyncio.Task[Token | None]] = {}
        #: Tokens that were fetched and that the store does not have yet.
        self._keeping: dict[str, asyncio.Task[None]] = {}

    async def get(
        self, account: Account, gateway: TokenGateway, exchange: Exchange, *, not_version: int = 0,
    ) -> Token | None:
        """
        Return a token that is good, or None when the provider gives none.

        ``not_version`` is that of a token which the provider did not take.  Raises StoreUnavailable.
        """
        while (token := self._remembered(account, not_version)) is None:
            asking = self._asking.get(account.name) or self._ask(account, gateway, exchange, not_version)
            # A caller that gives up leaves it going: a token that was fetched must be kept, see the top of this file.
            found = await asyncio.shield(asking)
            if found is None or found.version > not_version:
                return found
        return token

    async def close(self) -> None:
        """Let what is being fetched be kept: a token that changes with each fetch would be lost otherwise."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._close_s):
                while under_way := [*self._asking.values(), *self._keeping.values()]:
                    await asyncio.wait(under_way)
        for name in {*self._asking, *self._keeping}:
            _log.error("gateway token given up", gateway=name, fetched=name in self._keeping)
        given_up = [*self._asking.values(), *self._keeping.values()]
        for task in given_up:
            task.cancel()
        await asyncio.gather(*given_up, return_exceptions=True)

    def _ask(
        self, account: Account, gateway: TokenGateway, exchange: Exchange, not_version: int,
    ) -> asyncio.Task[Token | None]:
        """Begin to get a token, for everybody in this process who wants one meanwhile."""
        def asked(task: asyncio.Task[Token | None]) -> None:
            del self._asking[account.name]
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.warning("gateway token not got", gateway=account.name, error=type(error).__name__)

        task = asyncio.create_task(self._from_store(account, gateway, exchange, not_version))
        self._asking[account.name] = task
        task.add_done_callback(asked)
        return task

    def _remembered(self, account: Account, not_version: int) -> Token | None:
        token = self._known.get(account.name)
        good = token is not None and token.version > not_version and _now() < token.good_until
        return token if good else None

    async def _from_store(
        self, account: Account, gateway: TokenGateway, exchange: Exchange, not_version: int,
    ) -> Token | None:
        if keeping := self._keeping.get(account.name):
            # The next is fetched with what this one came with, and whoever fetches it looks for that in the store.
            await asyncio.wait([keeping])
        holder = token_hex(8)
        lease_ms = _lease_ms(account)
        while True:
            kept = await self._store.token(account.name, not_version=not_version, lease_ms=lease_ms, holder=holder)
            found = self._open(account, kept)
            if kept.good and found is not None:
                return self._remember(account, found, kept.version)
            if kept.fetch:
                fetched = await self._fetch(account, gateway, exchange, found)
                if fetched is None:
                    return await self._fetched_by_others(account, not_version, holder)
                return await self._take(account, fetched, max(kept.version, not_version) + 1, holder)
            if kept.good:
                # It cannot be read, so it is no use to anybody: ask for the next.
                not_version = kept.version
                continue
            # Another worker is fetching: it is done, or its lease ends.
            await asyncio.sleep(_PAUSE_S)

    async def _fetch(
        self, account: Account, gateway: TokenGateway, exchange: Exchange, last: AccessToken | None,
    ) -> AccessToken | None:
        # What the last token came with; when that is refused, what the settings hold: somebody may have renewed it.
        for refresh in dict.fromkeys((last.refresh if last else None, None)):
            answer = await exchange(account, gateway.build_token_request(refresh))
            fetched = None if isinstance(answer, SendOutcome) else gateway.parse_token(answer)
            if fetched is not None:
                return replace(fetched, refresh=fetched.refresh or refresh)
            status = answer.provider_code if isinstance(answer, SendOutcome) else str(answer.status)
            _log.warning("no gateway token", gateway=account.name, provider_code=status)
            if isinstance(answer, SendOutcome):
                break  # nobody refused anything
        return None

    async def _fetched_by_others(self, account: Account, not_version: int, holder: str) -> Token | None:
        """Give the lease back after a fetch in vain; returns what another worker may have got meanwhile."""
        kept = await self._store.token(
            account.name, not_version=not_version, lease_ms=_lease_ms(account), holder=holder,
        )
        await self._store.keep_token(account.name, b"", good_ms=0, holder=holder)
        found = self._open(account, kept) if kept.good else None
        return self._remember(account, found, kept.version) if found else None

    async def _take(self, account: Account, fetched: AccessToken, version: int, holder: str) -> Token:
        """Have a fetched token used and kept; ``version`` is what the store will most likely give it."""
        good_s = max(1.0, fetched.lives_s - min(_MAX_MARGIN_S, fetched.lives_s * _MARGIN))
        token = self._remember(account, fetched, version, good_s)
        _log.info("gateway token fetched", gateway=account.name, lives_s=fetched.lives_s)
        keeping = asyncio.create_task(self._keep(account, fetched, token, good_s, holder))
        self._keeping[account.name] = keeping
        keeping.add_done_callback(lambda _: self._keeping.pop(account.name))
        await asyncio.wait([keeping], timeout=_KEPT_WITHIN_S)
        return self._known[account.name]

    async def _keep(self, account: Account, fetched: AccessToken, token: Token, good_s: float, holder: str) -> None:
        """Try until the store has it: the provider may take nothing else for the next one."""
        while True:
            try:
                sealed, good_ms = self._seal(fetched), round(good_s * 1000)
                version = await self._store.keep_token(account.name, sealed, good_ms=good_ms, holder=holder)
                break
            except Exception as error:  # noqa: BLE001 - whatever it is, giving up loses the token
                _log.warning("gateway token not kept", gateway=account.name, error=type(error).__name__)
            await asyncio.sleep(_KEEP_PAUSE_S)
            good_s = max(0.0, token.good_until - _now())
        # Never below what callers were told, or a token that they refuse would count as a new one.
        self._known[account.name] = replace(token, version=max(version, token.version))

    def _remember(self, account: Account, found: AccessToken, version: int, good_s: float = 5.0) -> Token:
        """Keep a token in memory; one from the store only for a moment, because only the store knows its age."""
        token = Token(found.value, version, _now() + good_s)
        self._known[account.name] = token
        return token

    def _seal(self, token: AccessToken) -> bytes:
        ring = self._ring()
        place = ring.new_id(0)
        content = json.dumps([token.value, token.lives_s, token.refresh])
        return place.encode() + b"," + ring.seal(place, _PLACE, content)

    def _open(self, account: Account, kept: KeptToken) -> AccessToken | None:
        if not kept.sealed:
            return None
        place, _, sealed = kept.sealed.partition(b",")
        try:
            return AccessToken(*json.loads(self._ring().unseal(place.decode(), _PLACE, sealed)))
        except (SealBroken, LookupError):
            # Sealed under a key that has been dropped since: fetch anew with what the settings hold.
            _log.warning("gateway token not readable", gateway=account.name)
            return None


def _lease_ms(account: Account) -> int:
    """Return how long a fetch may take: it makes two requests at most."""
    return round(2 * account.timeout_s * 1000) + _LEASE_MARGIN_MS


def _now() -> float:
    return asyncio.get_running_loop().time()
