"""Registration as in 2021: form, code by SMS, password twice, account; and what it says when the account exists."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from otp_service.client import OtpError
from otp_service.sample_portal import redeeming, results
from otp_service.sample_portal.database import Conflict
from otp_service.sample_portal.exchange import SESSION, form_of, page, portal_of, see_other
from otp_service.sample_portal.flows import Flow, Kind
from otp_service.sample_portal.forms import Filled, read_new_password, read_registration
from otp_service.sample_portal.pages import day
from otp_service.sample_portal.starting import RESULT_PATHS, StartRefused, start

_KIND: Final = Kind.REGISTRATION
#: The national portal's own words.
_REGISTERED: Final = "CMT hoặc CCCD đã được đăng ký."


def routes() -> list[web.RouteDef]:
    """Return the routes of this module."""
    return [
        web.get("/dang-ky", show), web.post("/dang-ky", begin), web.get(RESULT_PATHS[_KIND], result),
        web.post("/dang-ky/hoan-tat", finish),
    ]


async def show(request: web.Request) -> web.Response:
    """``GET /dang-ky``: the form, filled in again for somebody who came back to correct it."""
    flow = await portal_of(request).flows.find(request[SESSION], request.query.get("luot", ""))
    filled = Filled()
    if flow is not None and flow.kind is _KIND and flow.finished_at is None:
        data = flow.data
        filled.typed |= {
            "id_number": data.id_number, "full_name": data.full_name, "birth_date": day(data.birth_date),
            "phone_number": data.phone_number,
        }
    return page(request, "register", filled=filled)


async def begin(request: web.Request) -> web.Response:
    """``POST /dang-ky``: judge the form, then let the service send the code."""
    portal, form = portal_of(request), form_of(request)
    filled, data = read_registration(form, portal.today)
    if not filled.good:
        return page(request, "register", status=422, filled=filled)
    if await portal.accounts.of_id_number(data.id_number) is not None:
        return _registered(request, filled)
    flow = await portal.flows.begin(request[SESSION], _KIND, data, form.get("nonce", ""))
    try:
        return await start(request, flow)
    except StartRefused as refusal:
        filled.notice = refusal.notice
        filled.add_refusals(refusal.errors)
        return page(request, "register", status=refusal.status, filled=filled)


async def result(request: web.Request) -> web.Response:
    """``GET /dang-ky/ket-qua``: where the service's page returns to; changes nothing."""
    flow = await results.flow_of(request, _KIND, request.query.get("verification_id", ""))
    if flow.finished_at is not None:
        return page(request, "registered", flow=flow)
    return await results.shown(request, flow, lambda: _choose_password(request, flow, Filled()))


async def finish(request: web.Request) -> web.Response:
    """
    ``POST /dang-ky/hoan-tat``: "Đăng ký".

    The person is the flow's: of this form only the passwords count, and which of the session's flows it is.
    """
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
                await portal.accounts.open(flow, claims.phone_number, hashed)
            except redeeming.VerdictRefused:
                return redeeming.refused(request, flow)
            except OtpError as error:
                filled.notice = redeeming.not_now(error)
                return _choose_password(request, flow, filled, status=503)
            except Conflict:
                return _registered(request, Filled())
    return see_other(RESULT_PATHS[_KIND], verification_id=flow.verification_id or "")


def _choose_password(request: web.Request, flow: Flow, filled: Filled, *, status: int = 200) -> web.Response:
    return page(
        request, "password", status=status, filled=filled, flow=flow, action="/dang-ky/hoan-tat", button="Đăng ký",
        heading="Đặt mật khẩu", step="Bước 3/3", lead="Số điện thoại đã được xác thực. Hãy đặt mật khẩu cho tài khoản.",
    )


def _registered(request: web.Request, filled: Filled) -> web.Response:
    filled.notice = _REGISTERED
    filled.registered = True
    return page(request, "register", status=409, filled=filled)
