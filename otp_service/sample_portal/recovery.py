"""
A forgotten password: a code to the phone, then a new password.

The code goes to the number that was typed, whoever's it is, so that nobody learns from this form who has an account.
Only who has proven to hold the phone is told whether it belongs to an account.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from otp_service.client import OtpError
from otp_service.sample_portal import redeeming, results
from otp_service.sample_portal.exchange import SESSION, form_of, page, portal_of, see_other
from otp_service.sample_portal.flows import Flow, Kind
from otp_service.sample_portal.forms import Filled, read_new_password, read_recovery
from otp_service.sample_portal.starting import BEGIN_PATHS, RESULT_PATHS, StartRefused, start

_KIND: Final = Kind.PASSWORD_RESET


def routes() -> list[web.RouteDef]:
    """Return the routes of this module."""
    return [
        web.get("/quen-mat-khau", show), web.post("/quen-mat-khau", begin), web.get(RESULT_PATHS[_KIND], result),
        web.post("/quen-mat-khau/hoan-tat", finish),
    ]


async def show(request: web.Request) -> web.Response:
    """``GET /quen-mat-khau``: the form."""
    return page(request, "forgotten", filled=Filled())


async def begin(request: web.Request) -> web.Response:
    """``POST /quen-mat-khau``: let the service send a code to the phone that was named."""
    form = form_of(request)
    filled, data = read_recovery(form)
    if not filled.good:
        return page(request, "forgotten", status=422, filled=filled)
    flow = await portal_of(request).flows.begin(request[SESSION], _KIND, data, form.get("nonce", ""))
    try:
        return await start(request, flow)
    except StartRefused as refusal:
        filled.notice = refusal.notice
        filled.add_refusals(refusal.errors)
        return page(request, "forgotten", status=refusal.status, filled=filled)


async def result(request: web.Request) -> web.Response:
    """``GET /quen-mat-khau/ket-qua``: where the service's page returns to; changes nothing."""
    flow = await results.flow_of(request, _KIND, request.query.get("verification_id", ""))
    if flow.finished_at is not None:
        return page(request, "replaced")
    return await results.shown(request, flow, lambda: _choose_password(request, flow, Filled()))


async def finish(request: web.Request) -> web.Response:
    """``POST /quen-mat-khau/hoan-tat``: redeem the verdict, find the account of that person and phone, replace."""
    portal, form = portal_of(request), form_of(request)
    flow = await results.flow_of(request, _KIND, form.get("verification_id", ""))
    async with portal.flows.alone(flow.id):
        flow = await results.flow_of(request, _KIND, flow.verification_id or "")
        if flow.finished_at is None:
            filled, password = read_new_password(form)
            if not filled.good:
                return _choose_password(request, flow, filled, status=422)
            try:
                claims, hashed = await redeeming.redeem_for_password(request, flow, password)
            except redeeming.VerdictRefused:
                return redeeming.refused(request, flow)
            except OtpError as error:
                filled.notice = redeeming.not_now(error)
                return _choose_password(request, flow, filled, status=503)
            account = await portal.accounts.of_id_number(flow.data.id_number)
            if account is None or account.phone_number != claims.phone_number:
                return _nobody(request)
            await portal.accounts.replace_password(flow, account.id, hashed)
            await portal.sign_in_guesses.forgive(account.id_number)
    return see_other(RESULT_PATHS[_KIND], verification_id=flow.verification_id or "")


def _choose_password(request: web.Request, flow: Flow, filled: Filled, *, status: int = 200) -> web.Response:
    return page(
        request, "password", status=status, filled=filled, flow=flow, action="/quen-mat-khau/hoan-tat",
        button="Đổi mật khẩu", heading="Đặt mật khẩu mới", step="Bước 3/3",
        lead="Số điện thoại đã được xác thực. Hãy đặt mật khẩu mới.",
    )


def _nobody(request: web.Request) -> web.Response:
    return page(
        request, "ended", status=409, heading="Chưa có tài khoản như vậy", again=BEGIN_PATHS[_KIND], sentences=(
            "Không có tài khoản nào đăng ký với số CCCD/CMND và số điện thoại này. Mật khẩu chưa được thay đổi.",
            "Hãy xem lại hai số này rồi làm lại, hoặc đăng ký tài khoản mới.",
        ),
    )
