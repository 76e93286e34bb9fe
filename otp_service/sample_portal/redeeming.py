"""
Using a verdict: the one door to an account.

The verdict is redeemed once, for the phone and ID number of the flow that this portal itself kept since the form was
sent.  A verdict about anybody else is refused by the service, whatever a browser may have sent in between.
"""

from __future__ import annotations

import logging

from aiohttp import web

from otp_service.client import (
    AlreadyRedeemed,
    Claims,
    ClaimsMismatch,
    NotFound,
    NotVerified,
    OtpError,
    TokenInvalid,
)
from otp_service.sample_portal.exchange import page, portal_of
from otp_service.sample_portal.flows import Flow
from otp_service.sample_portal.starting import BEGIN_PATHS

_log = logging.getLogger(__name__)


class VerdictRefused(Exception):
    """The verdict opens nothing for this flow, now or later."""


async def token_of(request: web.Request, flow: Flow) -> str:
    """
    Return the token of a flow's verdict: the service is asked, before anything is spent on a flow without one.

    Raises VerdictRefused, and OtpError when the service cannot say.
    """
    try:
        verification = await portal_of(request).otp.get(flow.verification_id or "")
    except NotFound as error:
        raise _refuse(error) from error
    if not verification.verified or verification.result_token is None:
        raise _refuse(verification.status)
    return verification.result_token


async def redeem(request: web.Request, flow: Flow, token: str) -> Claims:
    """
    Redeem the verdict of a flow; the caller holds the flow's lock.

    The key is the flow's, so that after a crash before the account was written the same call gives its first answer.

    Raises VerdictRefused, and OtpError when the service cannot say: then the same may be tried again.
    """
    otp = portal_of(request).otp
    try:
        claims = await otp.redeem(
            token, phone_number=flow.data.phone_number,
            id_number=flow.data.id_number if flow.kind.compares else None, idempotency_key=f"redeem-{flow.id}",
        )
    except (AlreadyRedeemed, ClaimsMismatch, NotFound, NotVerified, TokenInvalid) as error:
        raise _refuse(error) from error
    if not claims.verified or claims.verification_id != flow.verification_id or claims.purpose != flow.kind:
        _log.error("a verdict for another use")
        raise VerdictRefused
    return claims


async def redeem_for_password(request: web.Request, flow: Flow, password: str) -> tuple[Claims, str]:
    """
    Redeem a flow's verdict for a new password; returns the claims and the password's hash.

    Hashing is dear, so it comes after the question whether there is a verdict, and before the verdict is used up.
    Raises as :func:`redeem` does, and what a busy portal does.
    """
    passwords = portal_of(request).passwords
    token = await token_of(request, flow)
    async with passwords.place():
        hashed = await passwords.hash(password)
    return await redeem(request, flow, token), hashed


def refused(request: web.Request, flow: Flow) -> web.Response:
    """Return the page for a verdict that opens nothing."""
    return page(
        request, "ended", status=409, heading="Kết quả xác thực không dùng được", again=BEGIN_PATHS[flow.kind],
        sentences=(
            "Kết quả này đã được sử dụng, hoặc không dành cho thông tin bạn đã khai.",
            "Chưa có thay đổi nào được thực hiện. Hãy làm lại từ đầu.",
        ),
    )


def _refuse(why: object) -> VerdictRefused:
    _log.warning("verdict refused: %s", why)
    return VerdictRefused()


def not_now(error: OtpError) -> str:
    """Return what to say above a form that cannot be carried out now."""
    _log.error("verdict not redeemed: %s", error)
    return "Hệ thống đang bận nên chưa hoàn tất. Thông tin của bạn vẫn còn: hãy làm lại bước này sau ít phút."
