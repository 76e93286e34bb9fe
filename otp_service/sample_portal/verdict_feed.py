"""Where the service's webhooks arrive: signed verdicts, each taken once."""

from __future__ import annotations

import logging

from aiohttp import web

from otp_service.client import WebhookInvalid
from otp_service.sample_portal.bodies import read_bytes
from otp_service.sample_portal.exchange import portal_of
from otp_service.sample_portal.starting import WEBHOOK_PATH

_log = logging.getLogger(__name__)


def routes() -> list[web.RouteDef]:
    """Return the routes of this module."""
    return [web.post(WEBHOOK_PATH, hear)]


async def hear(request: web.Request) -> web.Response:
    """
    ``POST /webhooks/otp``: keep the verdict, then say so.

    The answer comes after the verdict is on disk: what was acknowledged is not sent again.  The id is constant per
    verdict, so one that comes twice changes nothing.
    """
    portal = portal_of(request)
    try:
        event = portal.receiver.read(request.headers, await read_bytes(request))
    except WebhookInvalid:
        _log.warning("a webhook that the service did not sign")
        return web.Response(status=400)
    if event.finished and event.verification_id is not None and event.status is not None:
        await portal.flows.hear(event.webhook_id, event.verification_id, event.status)
    return web.Response(status=204)
