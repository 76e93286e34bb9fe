"""
Tokens of gateways and sources that want one: fetched once for all processes, kept sealed, renewed before they run out.

Some providers give a new refresh token with each token and void the older one.  So one process fetches at a time, under
a lease in the store, and what it got is kept even when the lease ran out, however long the store takes to answer.

What is lost all the same: what the provider gave to a process that was killed (SIGKILL, power) before the store had
it, or that stopped while the store did not answer.  The next fetch is then made with what the settings hold.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from secrets import token_hex

from otp_service.core.keyring import KeyRing, SealBroken
from otp_service.core.ports import AccessToken, HttpRequest, HttpResponse, NoAnswer, TokenFetcher
from otp_service.core.retry_after import retry_after_s
from otp_service.delivery.exchange import Peer
from otp_service.storage.peers import KeptToken, PeerStore
from otp_service.telemetry.logs import get_logger

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

Exchange = Callable[[Peer, HttpRequest], Awaitable[HttpResponse | NoAnswer]]


@dataclass(frozen=True, slots=True)
class Token:
    """A token to send with; ``version`` names it when it turns out not to be taken."""

    value: str = field(repr=False)
    version: int
    good_until: float


class Tokens:
    """
    The tokens of every gateway, or of every source, that needs one.

    Args:
        store: where they are kept.
        ring: seals them.
        kind: ``gateway`` or ``source``: what the log calls them.
        close_s: seconds that ``close`` waits at most.
    """

    def __init__(
        self, store: PeerStore, ring: Callable[[], KeyRing], *, kind: str = "gateway", close_s: float = _CLOSE_S,
    ) -> None:
        self._kind = kind
        self._place = f"{kind} token"
        self._store = store
        self._ring = ring
        self._close_s = close_s
        self._known: dict[str, Token] = {}
        self._rest_until: dict[str, float] = {}
        self._asking: dict[str, asyncio.Task[Token | None]] = {}
        #: Tokens that were fetched and that the store does not have yet.
        self._keeping: dict[str, asyncio.Task[None]] = {}

    async def get(
        self, peer: Peer, fetcher: TokenFetcher, exchange: Exchange, *, not_version: int = 0,
    ) -> Token | None:
        """
        Return a token that is good, or None when the provider gives none.

        ``not_version`` is that of a token which the provider did not take.  Raises StoreUnavailable.
        """
        while (token := self._remembered(peer, not_version)) is None:
            asking = self._asking.get(peer.name) or self._ask(peer, fetcher, exchange, not_version)
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
            _log.error("token given up", **self._who(name), fetched=name in self._keeping)
        given_up = [*self._asking.values(), *self._keeping.values()]
        for task in given_up:
            task.cancel()
        await asyncio.gather(*given_up, return_exceptions=True)

    def rests_s(self, name: str) -> float:
        """Return for how many seconds a provider wants not to be asked for a token (Retry-After); 0 when it may be."""
        return max(0.0, self._rest_until.get(name, 0.0) - _now())

    def _ask(
        self, peer: Peer, fetcher: TokenFetcher, exchange: Exchange, not_version: int,
    ) -> asyncio.Task[Token | None]:
        """Begin to get a token, for everybody in this process who wants one meanwhile."""
        def asked(task: asyncio.Task[Token | None]) -> None:
            del self._asking[peer.name]
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.warning("token not got", **self._who(peer.name), error=type(error).__name__)

        task = asyncio.create_task(self._from_store(peer, fetcher, exchange, not_version))
        self._asking[peer.name] = task
        task.add_done_callback(asked)
        return task

    def _remembered(self, peer: Peer, not_version: int) -> Token | None:
        token = self._known.get(peer.name)
        good = token is not None and token.version > not_version and _now() < token.good_until
        return token if good else None

    async def _from_store(
        self, peer: Peer, fetcher: TokenFetcher, exchange: Exchange, not_version: int,
    ) -> Token | None:
        if keeping := self._keeping.get(peer.name):
            # The next is fetched with what this one came with, and whoever fetches it looks for that in the store.
            await asyncio.wait([keeping])
        holder = token_hex(8)
        lease_ms = _lease_ms(peer)
        while True:
            kept = await self._store.token(peer.name, not_version=not_version, lease_ms=lease_ms, holder=holder)
            found = self._open(peer, kept)
            if kept.good and found is not None:
                return self._remember(peer, found, kept.version)
            if kept.fetch:
                fetched = await self._fetch(peer, fetcher, exchange, found)
                if fetched is None:
                    return await self._fetched_by_others(peer, not_version, holder)
                return await self._take(peer, fetched, max(kept.version, not_version) + 1, holder)
            if kept.good:
                # It cannot be read, so it is no use to anybody: ask for the next.
                not_version = kept.version
                continue
            # Another worker is fetching: it is done, or its lease ends.
            await asyncio.sleep(_PAUSE_S)

    async def _fetch(
        self, peer: Peer, fetcher: TokenFetcher, exchange: Exchange, last: AccessToken | None,
    ) -> AccessToken | None:
        if self.rests_s(peer.name):
            return None
        # What the last token came with; when that is refused, what the settings hold: somebody may have renewed it.
        for refresh in dict.fromkeys((last.refresh if last else None, None)):
            answer = await exchange(peer, fetcher.build_token_request(refresh))
            fetched = None if isinstance(answer, NoAnswer) else fetcher.parse_token(answer)
            if fetched is not None:
                return replace(fetched, refresh=fetched.refresh or refresh)
            status = answer.code if isinstance(answer, NoAnswer) else str(answer.status)
            _log.warning("no token", **self._who(peer.name), provider_code=status)
            if isinstance(answer, NoAnswer):
                break  # nobody refused anything
            if (wait_s := retry_after_s(answer.headers, time.time())) is not None:
                self._rest_until[peer.name] = _now() + wait_s
                break
        return None

    async def _fetched_by_others(self, peer: Peer, not_version: int, holder: str) -> Token | None:
        """Give the lease back after a fetch in vain; returns what another worker may have got meanwhile."""
        kept = await self._store.token(
            peer.name, not_version=not_version, lease_ms=_lease_ms(peer), holder=holder,
        )
        await self._store.keep_token(peer.name, b"", good_ms=0, holder=holder)
        found = self._open(peer, kept) if kept.good else None
        return self._remember(peer, found, kept.version) if found else None

    async def _take(self, peer: Peer, fetched: AccessToken, version: int, holder: str) -> Token:
        """Have a fetched token used and kept; ``version`` is what the store will most likely give it."""
        good_s = max(1.0, fetched.lives_s - min(_MAX_MARGIN_S, fetched.lives_s * _MARGIN))
        token = self._remember(peer, fetched, version, good_s)
        _log.info("token fetched", **self._who(peer.name), lives_s=fetched.lives_s)
        keeping = asyncio.create_task(self._keep(peer, fetched, token, good_s, holder))
        self._keeping[peer.name] = keeping
        keeping.add_done_callback(lambda _: self._keeping.pop(peer.name))
        await asyncio.wait([keeping], timeout=_KEPT_WITHIN_S)
        return self._known[peer.name]

    async def _keep(self, peer: Peer, fetched: AccessToken, token: Token, good_s: float, holder: str) -> None:
        """Try until the store has it: the provider may take nothing else for the next one."""
        while True:
            try:
                sealed, good_ms = self._seal(fetched), round(good_s * 1000)
                version = await self._store.keep_token(peer.name, sealed, good_ms=good_ms, holder=holder)
                break
            except Exception as error:  # noqa: BLE001 - whatever it is, giving up loses the token
                _log.warning("token not kept", **self._who(peer.name), error=type(error).__name__)
            await asyncio.sleep(_KEEP_PAUSE_S)
            good_s = max(0.0, token.good_until - _now())
        # Never below what callers were told, or a token that they refuse would count as a new one.
        self._known[peer.name] = replace(token, version=max(version, token.version))

    def _remember(self, peer: Peer, found: AccessToken, version: int, good_s: float = 5.0) -> Token:
        """Keep a token in memory; one from the store only for a moment, because only the store knows its age."""
        token = Token(found.value, version, _now() + good_s)
        self._known[peer.name] = token
        return token

    def _who(self, name: str) -> dict[str, str]:
        return {self._kind: name}

    def _seal(self, token: AccessToken) -> bytes:
        ring = self._ring()
        place = ring.new_id(0)
        content = json.dumps([token.value, token.lives_s, token.refresh])
        return place.encode() + b"," + ring.seal(place, self._place, content)

    def _open(self, peer: Peer, kept: KeptToken) -> AccessToken | None:
        if not kept.sealed:
            return None
        place, _, sealed = kept.sealed.partition(b",")
        try:
            return AccessToken(*json.loads(self._ring().unseal(place.decode(), self._place, sealed)))
        except (SealBroken, LookupError):
            # Sealed under a key that has been dropped since: fetch anew with what the settings hold.
            _log.warning("token not readable", **self._who(peer.name))
            return None


def _lease_ms(peer: Peer) -> int:
    """Return how long a fetch may take: it makes two requests at most."""
    return round(2 * peer.timeout_s * 1000) + _LEASE_MARGIN_MS


def _now() -> float:
    return asyncio.get_running_loop().time()
