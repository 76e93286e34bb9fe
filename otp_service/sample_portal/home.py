"""The home page: what this is, whom to try it with, and where the SMS arrive."""

from __future__ import annotations

from aiohttp import web

from otp_service.sample_portal.exchange import page
from otp_service.sample_portal.people import OLD_LOGINS, PEOPLE, SYSTEMS


def routes() -> list[web.RouteDef]:
    """Return the routes of this module."""
    return [web.get("/", show), web.get("/livez", live)]


async def show(request: web.Request) -> web.Response:
    """``GET /``."""
    return page(request, "home", people=PEOPLE, old_logins=OLD_LOGINS, systems=SYSTEMS)


async def live(request: web.Request) -> web.Response:
    """``GET /livez``: whether the process answers."""
    del request
    return web.json_response({"status": "ok"})
