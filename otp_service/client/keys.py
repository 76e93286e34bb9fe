"""
The service's keys, kept between tokens.

Anybody may send a token that names a key nobody has, and the service may be away or silent.  Neither may hold up a
token whose key is known: that is answered from memory, and whoever must wait shares one fetch with all others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Final, Protocol

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey

from otp_service.client.errors import OtpError, TokenInvalid, Unreachable
from otp_service.client.members import text_of

#: The algorithms of the contract, each with the one kind of key it works with (RFC 8725 sections 3.1 and 3.2).
ALGORITHMS: Final[Mapping[str, tuple[str, str]]] = {"ES256": ("EC", "P-256"), "Ed25519": ("OKP", "Ed25519")}

#: How long the key set may be kept (the service says the same), and how long while no newer one can be had.
_KEEP_S: Final = 300.0
_KEEP_ALONE_S: Final = 3600.0
#: How long the service is left alone after a fetch, whatever came of it.
_AGAIN_S: Final = 10.0
_MOST_KEYS: Final = 32


class Source(Protocol):
    """Where the key set is had from."""

    async def jwks(self) -> Mapping[str, Any]:
        """Return a JWK Set (RFC 7517).  Raises OtpError."""


class KeySet:
    """
    The keys of one service.

    Attributes:
        clock: seconds, never set back.
        patience_s: how long a token whose key is kept, but old, waits for a fetch.
    """

    clock: Callable[[], float] = staticmethod(time.monotonic)
    patience_s: float = 1.0

    def __init__(self, source: Source) -> None:
        self._source = source
        self._kept: Mapping[str, tuple[str, Key]] = {}
        self._fetched_s = -inf
        #: The fetch that is under way, and when it began.
        self._fetching: asyncio.Task[None] | None = None
        self._began_s = -inf
        #: When the last one ended, and why it brought nothing.
        self._tried_s = -inf
        self._failed: OtpError | None = None

    async def close(self) -> None:
        """End the fetch that is under way, if any."""
        if (task := self._fetching) is not None:
            task.cancel()
            await asyncio.wait({task})

    async def key(self, key_id: str) -> tuple[str, Key]:
        """Return a key and its algorithm by the key's id.  Raises TokenInvalid, and what fetching the keys raises."""
        known = self._known(key_id, _KEEP_S)
        if known is not None:
            return known
        await self._refresh(patient=self._known(key_id, _KEEP_ALONE_S) is None)
        # What is kept past its time is taken only now, when the newest set that can be had still has it.
        known = self._known(key_id, _KEEP_ALONE_S)
        if known is not None:
            return known
        if self._failed is not None:
            # Without the traceback of whoever met it before: its frames hold that one's token.
            raise self._failed.with_traceback(None)
        raise TokenInvalid("signed with a key that the service does not publish")

    def _known(self, key_id: str, keep_s: float) -> tuple[str, Key] | None:
        return self._kept.get(key_id) if self.clock() - self._fetched_s < keep_s else None

    async def _refresh(self, *, patient: bool) -> None:
        """Wait for the one fetch that is under way, or begin it, unless the last one was a moment ago."""
        now_s = self.clock()
        task = self._fetching
        if task is None or task.done():
            if now_s - self._tried_s < _AGAIN_S:
                return
            self._began_s = now_s
            # A task of its own, so that nobody who gives up waiting takes it from the others.
            task = self._fetching = asyncio.create_task(self._fetch())
        left_s = None if patient else max(0.0, self._began_s + self.patience_s - now_s)
        await asyncio.wait({task}, timeout=left_s)
        if task.cancelled():
            raise Unreachable("connection_lost", maybe_done=False)
        if task.done():
            task.result()

    async def _fetch(self) -> None:
        try:
            found = await self._source.jwks()
        except OtpError as error:
            self._failed, self._tried_s = error.with_traceback(None), self.clock()
        else:
            self._kept, self._failed = _imported(found), None
            self._fetched_s = self._tried_s = self.clock()
        finally:
            self._fetching = None


def _imported(found: Mapping[str, Any]) -> Mapping[str, tuple[str, Key]]:
    """Return the keys of a set that can sign result tokens, by id; others are somebody else's business."""
    keys: dict[str, tuple[str, Key]] = {}
    listed = found.get("keys")
    for one in (listed if isinstance(listed, list) else [])[:_MOST_KEYS]:
        if not isinstance(one, dict) or text_of(one, "kid") is None:
            continue
        algorithm = text_of(one, "alg")
        if algorithm is None or ALGORITHMS.get(algorithm) != (text_of(one, "kty"), text_of(one, "crv")):
            continue
        try:
            keys[one["kid"]] = (algorithm, ECKey.import_key(one) if algorithm == "ES256" else OKPKey.import_key(one))
        except (JoseError, ValueError, TypeError):
            continue
    return keys
