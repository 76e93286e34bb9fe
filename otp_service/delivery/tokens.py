"""
Tokens of gateways that want one: fetched once for all workers, kept sealed, renewed before they run out.

Some providers give a new refresh token with each token and void the older one.  So one worker fetches at a time, under
a lease in the store, and what it got is kept even when the lease ran out.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
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
    """

    def __init__(self, store: GatewayStore, ring: Callable[[], KeyRing]) -> None:
        self._store = store
        self._ring = ring
        self._known: dict[str, Token] = {}
        self._asking: dict[str, asyncio.Task[Token | None]] = {}

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
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

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
        holder = token_hex(8)
        lease_ms = round(account.timeout_s * 1000) + _LEASE_MARGIN_MS
        while True:
            kept = await self._store.token(account.name, not_version=not_version, lease_ms=lease_ms, holder=holder)
            found = self._open(account, kept)
            if kept.good and found is not None:
                return self._remember(account, found, kept.version)
            if kept.fetch:
                return await self._fetch(account, gateway, exchange, found, holder)
            if kept.good:
                # It cannot be read, so it is no use to anybody: ask for the next.
                not_version = kept.version
                continue
            # Another worker is fetching: it is done, or its lease ends.
            await asyncio.sleep(_PAUSE_S)

    async def _fetch(
        self, account: Account, gateway: TokenGateway, exchange: Exchange, last: AccessToken | None, holder: str,
    ) -> Token | None:
        fetched = None
        # What the last token came with; when that is refused, what the settings hold: somebody may have renewed it.
        for refresh in dict.fromkeys((last.refresh if last else None, None)):
            answer = await exchange(account, gateway.build_token_request(refresh))
            fetched = None if isinstance(answer, SendOutcome) else gateway.parse_token(answer)
            if fetched is not None:
                fetched = replace(fetched, refresh=fetched.refresh or refresh)
                break
            status = answer.provider_code if isinstance(answer, SendOutcome) else str(answer.status)
            _log.warning("no gateway token", gateway=account.name, provider_code=status)
            if isinstance(answer, SendOutcome):
                break  # nobody refused anything, and the lease is as long as one request
        if fetched is None:
            await self._store.keep_token(account.name, b"", good_ms=0, holder=holder)
            return None
        good_s = max(1.0, fetched.lives_s - min(_MAX_MARGIN_S, fetched.lives_s * _MARGIN))
        sealed = self._seal(fetched)
        version = await self._store.keep_token(account.name, sealed, good_ms=round(good_s * 1000), holder=holder)
        _log.info("gateway token fetched", gateway=account.name, lives_s=fetched.lives_s)
        return self._remember(account, fetched, version, good_s)

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


def _now() -> float:
    return asyncio.get_running_loop().time()
