"""Between this portal and the service's page: handing over the client token, and working for the first SMS."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from otp_service.client import Status
from otp_service.sample_portal.exchange import SESSION, form_of, page, portal_of, see_other
from otp_service.sample_portal.flows import Flow
from otp_service.sample_portal.pages import origin_of_url
from otp_service.sample_portal.starting import BEGIN_PATHS, RESULT_PATHS, StartRefused, start

#: Characters of a proof that are passed on.
_PROOF_MAX: Final = 4096


def routes() -> list[web.RouteDef]:
    """Return the routes of this module."""
    return [
        web.get("/xac-thuc/{flow}", show), web.post("/xac-thuc/{flow}", prove),
        web.get("/xac-thuc/{flow}/trang-thai", state),
    ]


async def show(request: web.Request) -> web.Response:
    """
    ``GET /xac-thuc/{flow}``: the form that takes the browser to the service's page.

    The client token travels in a form's body: never in an address, which histories and logs keep.  When the service
    wants the browser to work first, the page does that instead.
    """
    flow = await _flow(request)
    if flow.finished_at is not None and flow.verification_id is not None:
        return see_other(RESULT_PATHS[flow.kind], verification_id=flow.verification_id)
    if flow.verification_id is not None:
        origin = origin_of_url(flow.data.page_url)
        return page(request, "handover", flow=flow, again=BEGIN_PATHS[flow.kind], form_origin=origin)
    if flow.data.challenge:
        return page(request, "proof", flow=flow, works=True)
    return see_other(BEGIN_PATHS[flow.kind])


async def prove(request: web.Request) -> web.Response:
    """``POST /xac-thuc/{flow}``: start again, with what the browser has worked out."""
    flow = await _flow(request)
    if not flow.data.challenge and flow.verification_id is None:
        # Only a start that was refused for it may be made here: others come with their form, and its password.
        raise web.HTTPNotFound
    proof = form_of(request).get("proof", "")[:_PROOF_MAX]
    try:
        return await start(request, flow, proof or None)
    except StartRefused as refusal:
        sentences = (refusal.notice or " ".join(one.message for one in refusal.errors),)
        return page(
            request, "ended", status=refusal.status, heading="Chưa gửi được mã", sentences=sentences,
            again=BEGIN_PATHS[flow.kind],
        )


async def state(request: web.Request) -> web.Response:
    """``GET /xac-thuc/{flow}/trang-thai``: whether a webhook has brought the verdict; for the page that waits."""
    flow = await _flow(request)
    told = await portal_of(request).flows.told(flow.verification_id or "")
    return web.json_response(
        {"status": told or Status.CHECKING_OWNERSHIP, "final": told is not None}, headers={"Cache-Control": "no-store"},
    )


async def _flow(request: web.Request) -> Flow:
    flow = await portal_of(request).flows.find(request[SESSION], request.match_info["flow"])
    if flow is None:
        raise web.HTTPNotFound
    return flow
