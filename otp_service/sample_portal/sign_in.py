"""Signing in with ID number and password, then a code by SMS; and signing out."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from otp_service.client import OtpError
from otp_service.sample_portal import redeeming, results
from otp_service.sample_portal.exchange import SESSION, form_of, page, portal_of, see_other
from otp_service.sample_portal.flows import Flow, FlowData, Kind
from otp_service.sample_portal.forms import Filled, read_sign_in
from otp_service.sample_portal.sessions import new_session
from otp_service.sample_portal.starting import RESULT_PATHS, StartRefused, start

_KIND: Final = Kind.SIGN_IN
#: One sentence for an unknown person and for a wrong password.
_WRONG: Final = "Số CCCD/CMND hoặc mật khẩu không đúng. Hãy nhập lại, hoặc bấm “Quên mật khẩu”."
_TOO_MANY: Final = "Đã nhập sai nhiều lần. Hãy thử lại sau 15 phút, hoặc bấm “Quên mật khẩu” để đặt mật khẩu mới."


def routes() -> list[web.RouteDef]:
    """Return the routes of this module."""
    return [
        web.get("/dang-nhap", show), web.post("/dang-nhap", begin), web.get(RESULT_PATHS[_KIND], result),
        web.post("/dang-nhap/hoan-tat", finish), web.post("/dang-xuat", leave),
    ]


async def show(request: web.Request) -> web.Response:
    """``GET /dang-nhap``: the form."""
    return page(request, "sign_in", filled=Filled())


async def begin(request: web.Request) -> web.Response:
    """``POST /dang-nhap``: compare the password, then let the service send a code to the account's phone."""
    portal, form = portal_of(request), form_of(request)
    filled, id_number = read_sign_in(form)
    if not filled.good:
        return page(request, "sign_in", status=422, filled=filled)
    async with portal.passwords.place():
        if not await portal.sign_in_guesses.may(id_number):
            filled.notice = _TOO_MANY
            return page(request, "sign_in", status=429, filled=filled)
        account = await portal.accounts.of_id_number(id_number)
        agrees = await portal.passwords.agrees(form["password"], account.password_hash if account else None)
    if account is None or not agrees:
        filled.notice = _WRONG
        return page(request, "sign_in", status=422, filled=filled)
    await portal.sign_in_guesses.forgive(id_number)
    data = FlowData(phone_number=account.phone_number, account_id=account.id)
    flow = await portal.flows.begin(request[SESSION], _KIND, data, form.get("nonce", ""))
    try:
        return await start(request, flow)
    except StartRefused as refusal:
        filled.notice = refusal.notice or " ".join(one.message for one in refusal.errors)
        return page(request, "sign_in", status=refusal.status, filled=filled)


async def result(request: web.Request) -> web.Response:
    """``GET /dang-nhap/ket-qua``: where the service's page returns to; changes nothing."""
    flow = await results.flow_of(request, _KIND, request.query.get("verification_id", ""))
    if flow.finished_at is not None:
        return see_other("/tai-khoan")
    return await results.shown(request, flow, lambda: _enter(request, flow))


async def finish(request: web.Request) -> web.Response:
    """``POST /dang-nhap/hoan-tat``: redeem the verdict for the account's own phone, and sign in."""
    portal, form = portal_of(request), form_of(request)
    flow = await results.flow_of(request, _KIND, form.get("verification_id", ""))
    async with portal.flows.alone(flow.id):
        flow = await results.flow_of(request, _KIND, flow.verification_id or "")
        if flow.finished_at is None:
            try:
                await redeeming.redeem(request, flow, await redeeming.token_of(request, flow))
            except redeeming.VerdictRefused:
                return redeeming.refused(request, flow)
            except OtpError as error:
                return _enter(request, flow, redeeming.not_now(error), status=503)
            session = await portal.signed_in.begin(flow)
        elif (again := await portal.signed_in.again(flow)) is not None:
            session = again
        else:
            return see_other("/dang-nhap")
    response = see_other("/tai-khoan")
    portal.cookies.give(response, session)
    return response


async def leave(request: web.Request) -> web.Response:
    """``POST /dang-xuat``: sign out; the browser gets a session that knows nothing of the one before."""
    portal = portal_of(request)
    await portal.signed_in.end(request[SESSION])
    response = see_other("/")
    portal.cookies.give(response, new_session())
    return response


def _enter(request: web.Request, flow: Flow, notice: str = "", *, status: int = 200) -> web.Response:
    return page(request, "enter", status=status, flow=flow, notice=notice)
