"""
The portal's pages: HTML by Jinja2, one style sheet, one small script, nothing from any other host.

The script only saves a click or waits in the person's stead; every page works without it.  The policy allows no inline
script or style; where a page hands over to the service, the service's origin is added for that page alone.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from importlib.resources import files
from secrets import token_urlsafe
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from otp_service.sample_portal.settings import PortalSettings

_ASSETS: Final = {"portal.css": "text/css", "portal.js": "text/javascript", "icon.svg": "image/svg+xml"}
_YEAR_S: Final = 365 * 24 * 3600
_VIETNAM: Final = timedelta(hours=7)


class Pages:
    """Renders pages and gives them their headers."""

    def __init__(self, settings: PortalSettings) -> None:
        folder = files(__package__) / "static"
        self._bodies = {name: (folder / name).read_bytes() for name in _ASSETS}
        #: What is in the address of an asset changes with it, so that browsers may keep it.
        self._paths = {name: f"/tinh/{sha256(body).hexdigest()[:12]}/{name}" for name, body in self._bodies.items()}
        self._otp_origin = origin_of_url(settings.otp_public_url)
        self._templates = Environment(
            loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"day": day, "moment": _moment, "masked": _masked}
        self._templates.globals |= {
            "asset": self._paths, "phone_url": settings.phone_url,
            "element_url": f"{settings.otp_public_url}/element.js", "nonce": lambda: token_urlsafe(12),
        }

    def render(
        self, name: str, *, status: int = 200, form_origin: str = "", works: bool = False, **values: Any,
    ) -> web.Response:
        """
        Return a page.

        Args:
            name: of the template, without ``.html``.
            status: of HTTP.
            form_origin: the other origin that this page's form posts to.
            works: whether it runs the service's script, to work for the first SMS.
            values: what the template shows.
        """
        body = self._templates.get_template(f"{name}.html").render(values)
        scripts = f"'self' {self._otp_origin}" if works else "'self'"
        forms = f"'self' {form_origin}" if form_origin else "'self'"
        policy = (
            f"default-src 'none'; style-src 'self'; script-src {scripts}; img-src 'self'; connect-src 'self'; "
            f"form-action {forms}; base-uri 'none'; frame-ancestors 'none'"
        )
        return web.Response(
            text=body, status=status, content_type="text/html",
            headers={"Content-Security-Policy": policy, "Cache-Control": "no-store"},
        )

    async def asset(self, request: web.Request) -> web.Response:
        """``GET /tinh/{digest}/{name}``: the style sheet, the script, the icon."""
        name = request.match_info["name"]
        if self._paths.get(name) != request.path:
            raise web.HTTPNotFound
        return web.Response(
            body=self._bodies[name], content_type=_ASSETS[name], charset="utf-8",
            headers={"Cache-Control": f"public, max-age={_YEAR_S}, immutable"},
        )


def origin_of_url(url: str) -> str:
    """Return scheme, host and port of a URL, as a policy names them."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def day(text: str) -> str:
    """Write an ISO date as people here do."""
    return date.fromisoformat(text).strftime("%d/%m/%Y")


def _moment(seconds: int) -> str:
    """Write a moment in Vietnam's time."""
    return (datetime.fromtimestamp(seconds, UTC) + _VIETNAM).strftime("%H:%M ngày %d/%m/%Y")


def _masked(number: str) -> str:
    """Show the last three digits."""
    return "•" * (len(number) - 3) + number[-3:]
