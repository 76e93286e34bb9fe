"""Style, script and icon: read once, served for ever under names that change with their content."""

from __future__ import annotations

from dataclasses import dataclass
from gzip import compress
from hashlib import sha256
from importlib.resources import files
from typing import Final

from aiohttp import web

from otp_service.core.errors import NotFound
from otp_service.web.exchange import answer_headers
from otp_service.web.routes import ASSETS

_TYPES: Final = {
    "page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml",
}
_FOR_EVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class _Asset:
    content_type: str
    plain: bytes
    packed: bytes


class Assets:
    """
    What pages load.

    Args:
        prefix: the path under which the world reaches the service, without a slash at the end; often empty.
    """

    def __init__(self, prefix: str) -> None:
        folder = files(__package__) / "static"
        self._served: dict[str, _Asset] = {}
        self._urls: dict[str, str] = {}
        for name, content_type in _TYPES.items():
            plain = (folder / name).read_bytes()
            stem, _, extension = name.rpartition(".")
            served = f"{stem}.{sha256(plain).hexdigest()[:12]}.{extension}"
            self._served[served] = _Asset(content_type, plain, compress(plain, mtime=0))
            self._urls[name] = prefix + ASSETS.format(name=served)

    def url(self, name: str) -> str:
        """Return the address of ``page.css``, ``page.js`` or ``icon.svg``."""
        return self._urls[name]

    async def get(self, request: web.Request) -> web.Response:
        """``GET /assets/{name}``.  Raises NotFound."""
        asset = self._served.get(request.match_info["name"])
        if asset is None:
            raise NotFound
        headers = answer_headers(asset.content_type, Cache_Control=_FOR_EVER, Vary="Accept-Encoding")
        if "gzip" not in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=asset.plain, headers=headers)
        headers["Content-Encoding"] = "gzip"
        return web.Response(body=asset.packed, headers=headers)
