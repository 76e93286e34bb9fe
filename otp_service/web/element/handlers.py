"""
Serving the drop-in element.

::

    GET /element.js      the script, for pages of any origin
    GET /element.d.ts    its types
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

from otp_service.core.messages import Catalogue
from otp_service.web.element import script
from otp_service.web.exchange import answer_headers
from otp_service.web.routes import ELEMENT_PATHS

_FIVE_MINUTES: Final = "public, max-age=300"


@dataclass(frozen=True, slots=True)
class _File:
    plain: bytes
    packed: bytes
    etag: str
    headers: CIMultiDict[str]


class ElementHandlers:
    """
    The two files, rendered and packed once.

    Args:
        catalogue: the texts, of every locale.
        public_url: where the script finds the service, unless a page says otherwise.
    """

    def __init__(self, catalogue: Catalogue, public_url: str) -> None:
        files = (
            _file(script.render(catalogue, public_url), "text/javascript; charset=utf-8"),
            _file(script.source(script.TYPES).encode(), "text/plain; charset=utf-8"),
        )
        self._files = dict(zip(ELEMENT_PATHS, files, strict=True))

    def routes(self) -> list[web.RouteDef]:
        """Return the routes, for ``app.router.add_routes``."""
        return [web.get(path, self.file) for path in ELEMENT_PATHS]

    async def file(self, request: web.Request) -> web.Response:
        """Answer a file, packed for whoever takes that, or 304 to whoever has it already."""
        found = self._files[request.path]
        if any(tag.value == found.etag for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=found.headers)
        if not _takes_gzip(request):
            return web.Response(body=found.plain, headers=found.headers)
        return web.Response(body=found.packed, headers=CIMultiDict({**found.headers, "Content-Encoding": "gzip"}))


def _file(body: bytes, media: str) -> _File:
    """Prepare a file that every site may use and every script may read: it is the same for everybody."""
    etag = sha256(body).hexdigest()[:32]
    headers = answer_headers(
        media, Cache_Control=_FIVE_MINUTES, Access_Control_Allow_Origin="*",
        Cross_Origin_Resource_Policy="cross-origin", Vary="Accept-Encoding",
        # Weak (RFC 9110 section 8.8.1): packed or not, it is the same file.
        ETag=f'W/"{etag}"',
    )
    return _File(body, gzip.compress(body, mtime=0), etag, headers)


def _takes_gzip(request: web.Request) -> bool:
    """Whether ``Accept-Encoding`` names gzip without forbidding it (RFC 9110 section 12.5.3)."""
    for entry in request.headers.get("Accept-Encoding", "").split(","):
        coding, _, weight = entry.partition(";")
        if coding.strip().lower() == "gzip":
            return weight.replace(" ", "").lower() not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
