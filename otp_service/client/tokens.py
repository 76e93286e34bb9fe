"""
Result tokens, read off line: who signed them, for whom, of which kind, and whether they are good now.

For what wants to know before it calls, or to keep a proof.  It never replaces :meth:`OtpClient.redeem`: a signature
stays good however often a token was used, and says nothing of the ID number that you expect.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key

from otp_service.client.calls import OtpClient
from otp_service.client.claims import Claims, read_claims
from otp_service.client.errors import TokenInvalid
from otp_service.client.keys import ALGORITHMS, KeySet
from otp_service.client.members import MemberInvalid, text_of
from otp_service.client.transport import Call, Transport

VERIFIED_TYPE: Final = "phone-verification+jwt"
REFUSED_TYPE: Final = "phone-refusal+jwt"

_MOST_TOKEN: Final = 8192


class TokenReader:
    """
    Reads result tokens.

    The keys are kept for five minutes, and for an hour while the service gives no newer ones.

    ::

        async with TokenReader("https://otp.example.vn/.well-known/jwks.json", issuer="https://otp.example.vn",
                               audience="tinh-portal") as reader:
            claims = await reader.read(token)

    Args:
        keys: a client, whose service is asked for the keys, or the key set's address.
        issuer: what ``iss`` must be; a test key's tokens have another (``…/test``).
        audience: what ``aud`` must be: your client's name.
        leeway_s: how wrong this host's clock may be.
        session: connections to share, where ``keys`` is an address.
        timeout_s: seconds for the keys, the same.
        now: seconds since 1970.
    """

    def __init__(
        self, keys: OtpClient | str, *, issuer: str, audience: str, leeway_s: float = 30.0,
        session: aiohttp.ClientSession | None = None, timeout_s: float = 10.0, now: Callable[[], float] = time.time,
    ) -> None:
        self._source = _AtAddress(keys, timeout_s, session) if isinstance(keys, str) else keys
        self._issuer = issuer
        self._audience = audience
        self._leeway_s = leeway_s
        self._now = now
        self._keys = KeySet(self._source)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End what is being fetched and close the connections, if they are our own.  Close a client given after it."""
        await self._keys.close()
        if isinstance(self._source, _AtAddress):
            await self._source.close()

    async def read(self, token: str) -> Claims:
        """
        Return the claims of a verdict that is a yes.

        Raises TokenInvalid, and what fetching the keys raises.
        """
        return await self._read(token, VERIFIED_TYPE)

    async def read_refusal(self, token: str) -> Claims:
        """Return the claims of a verdict that is a no; ``members["reason"]`` says why.  Raises as :meth:`read`."""
        return await self._read(token, REFUSED_TYPE)

    async def _read(self, token: str, kind: str) -> Claims:
        header = _header(token)
        algorithm, key_id = text_of(header, "alg"), text_of(header, "kid")
        if text_of(header, "typ") != kind:
            raise TokenInvalid("a token of another kind")
        if algorithm not in ALGORITHMS or key_id is None or "crit" in header:
            raise TokenInvalid("signed in a way that is not agreed")
        expected, key = await self._keys.key(key_id)
        if expected != algorithm:
            raise TokenInvalid("signed in a way that its key is not for")
        claims = _claims(token, key, algorithm)
        self._judge(claims, kind)
        return claims

    def _judge(self, claims: Claims, kind: str) -> None:
        """Raise TokenInvalid for what is signed, but not our verdict of this kind, or not now."""
        if claims.issuer != self._issuer or claims.audience != self._audience:
            raise TokenInvalid("of another issuer, or for another client")
        if claims.verified is not (kind == VERIFIED_TYPE):
            raise TokenInvalid("kind and status disagree")
        now_s = self._now()
        if claims.expires_at.timestamp() + self._leeway_s <= now_s:
            raise TokenInvalid("expired: read the verification again for a new one")
        if claims.issued_at.timestamp() - self._leeway_s > now_s:
            raise TokenInvalid("from the future: one of the clocks is wrong")


class _AtAddress:
    """A key set at an address, for those who have no client."""

    def __init__(self, address: str, timeout_s: float, session: aiohttp.ClientSession | None) -> None:
        self._transport = Transport(address, authorization=None, timeout_s=timeout_s, session=session)

    async def jwks(self) -> Mapping[str, Any]:
        found = await self._transport.json(Call("GET"))
        return found if isinstance(found, dict) else {}

    async def close(self) -> None:
        await self._transport.close()


def _header(token: str) -> Mapping[str, Any]:
    """Return a token's header, not believed yet.  Raises TokenInvalid."""
    try:
        if len(token) <= _MOST_TOKEN:
            return jws.extract_compact(token.encode("ascii")).headers()
    except (JoseError, TypeError, AttributeError, ValueError):
        # Headers of odd types make joserfc raise what Python raises.
        pass
    raise TokenInvalid("not a token")


def _claims(token: str, key: Key, algorithm: str) -> Claims:
    """Check a token's signature and return what it signs.  Raises TokenInvalid."""
    try:
        found = jws.deserialize_compact(token.encode("ascii"), key, algorithms=[algorithm])
        return read_claims(orjson.loads(found.payload))
    except (JoseError, MemberInvalid, TypeError, ValueError):
        pass
    raise TokenInvalid("its signature does not fit, or it signs something else")
