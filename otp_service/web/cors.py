"""
Cross-origin calls of browsers (Fetch standard): three paths, registered origins, never cookies.

A preflight carries no credential, so it is answered when any client registered the origin; the call itself is then
checked against its own client (``authentication.py``).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from multidict import CIMultiDict

from otp_service.core.client import ClientRegistry

#: What a page may read beside the body; ``Date`` is the clock that the times in it are told by.
EXPOSED: Final = "Date, Retry-After, RateLimit, RateLimit-Policy, X-Request-Id"
_ALLOWED_HEADERS: Final = "Authorization, Content-Type, Idempotency-Key, X-Request-Id"
#: Seconds a browser keeps a preflight's answer; it asks again after a change of the configuration.
_MAX_AGE_S: Final = 600
_ORIGIN_MAX: Final = 256


class Cors:
    """Knows which origins may call at all."""

    def __init__(self, clients: ClientRegistry) -> None:
        self._clients = clients
        self._known = lru_cache(maxsize=256)(self._look_up)

    def knows(self, origin: str | None) -> bool:
        """Whether any client registered this origin."""
        return origin is not None and len(origin) <= _ORIGIN_MAX and self._known(origin)

    def expose(self, headers: CIMultiDict[str], origin: str | None) -> None:
        """Let a page of a known origin read the answer that has these headers."""
        headers["Vary"] = "Origin"
        if origin is not None and self.knows(origin):
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = EXPOSED

    @staticmethod
    def preflight(headers: CIMultiDict[str], methods: str) -> None:
        """Allow ``methods`` with what :meth:`expose` has said of the origin."""
        headers["Access-Control-Allow-Methods"] = methods
        headers["Access-Control-Allow-Headers"] = _ALLOWED_HEADERS
        headers["Access-Control-Max-Age"] = str(_MAX_AGE_S)

    def _look_up(self, origin: str) -> bool:
        return any(client.allows_origin(origin) for client in self._clients)
