"""
Using a verdict: the one door to an account.

The verdict is redeemed once, for the phone and ID number of the flow that this portal itself kept since the form was
sent.  A verdict about anybody else is refused by the service, whatever a browser may have sent in between.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from hashlib import sha256

from aiohttp import web

from otp_service.client import (
    AlreadyRedeemed,
    Claims,
    ClaimsMismatch,
    InvalidRequest,
    NotFound,
    NotVerified,
    OtpError,
    TokenInvalid,
)
from otp_service.sample_portal.exchange import SESSION, Portal, page, portal_of
from otp_service.sample_portal.flows import Flow
from otp_service.sample_portal.starting import BEGIN_PATHS

_log = logging.getLogger(__name__)


class VerdictRefused(Exception):
    """The verdict opens nothing for this flow, now or later."""


async def redeem(request: web.Request, flow: Flow) -> Claims:
    """
    Redeem the verdict of a flow; the caller holds the flow's lock.

    The token is kept before it is redeemed, so that after a crash in between the same call is made again and its first
    answer comes back.

    Raises VerdictRefused, and OtpError when the service cannot say: then the same may be tried again.
    """
    portal = portal_of(request)
    try:
        claims = await _redeemed(request, portal, flow)
    except (AlreadyRedeemed, ClaimsMismatch, NotFound, NotVerified, TokenInvalid) as error:
        _log.warning("verdict refused: %s", error)
        raise VerdictRefused from error
    if not claims.verified or claims.verification_id != flow.verification_id or claims.purpose != flow.kind:
        _log.error("a verdict for another use")
        raise VerdictRefused
    return claims


async def _redeemed(request: web.Request, portal: Portal, flow: Flow) -> Claims:
    if token := flow.data.result_token:
        try:
            return await _call(portal, flow, token)
        except InvalidRequest as error:
            if all(one.code != "token_expired" for one in error.errors):
                raise
            # It was kept, never redeemed, and is ten minutes old: a new one says the same.
    verification = await portal.otp.get(flow.verification_id or "")
    if not verification.verified or verification.result_token is None:
        raise VerdictRefused
    token = verification.result_token
    await portal.flows.save(request[SESSION], replace(flow, data=replace(flow.data, result_token=token)))
    return await _call(portal, flow, token)


async def _call(portal: Portal, flow: Flow, token: str) -> Claims:
    return await portal.otp.redeem(
        token, phone_number=flow.data.phone_number, id_number=flow.data.id_number if flow.kind.compares else None,
        idempotency_key=f"redeem-{flow.id}-{sha256(token.encode()).hexdigest()[:16]}",
    )


def refused(request: web.Request, flow: Flow) -> web.Response:
    """Return the page for a verdict that opens nothing."""
    return page(
        request, "ended", status=409, heading="Kết quả xác thực không dùng được", again=BEGIN_PATHS[flow.kind],
        sentences=(
            "Kết quả này đã được sử dụng, hoặc không dành cho thông tin bạn đã khai.",
            "Chưa có thay đổi nào được thực hiện. Hãy làm lại từ đầu.",
        ),
    )


def not_now(error: OtpError) -> str:
    """Return what to say above a form that cannot be carried out now."""
    _log.error("verdict not redeemed: %s", error)
    return "Hệ thống đang bận nên chưa hoàn tất. Thông tin của bạn vẫn còn: hãy làm lại bước này sau ít phút."
