"""The account page, and linking the account of an old provincial one-stop system to it, in the steps of 2021."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from aiohttp import web

from otp_service.client import OtpError
from otp_service.sample_portal import redeeming, results
from otp_service.sample_portal.accounts import Account
from otp_service.sample_portal.exchange import SESSION, account_of, form_of, page, portal_of, see_other
from otp_service.sample_portal.flows import Flow, FlowData, Kind
from otp_service.sample_portal.forms import Filled, check_password, read_id_number, text_of
from otp_service.sample_portal.people import SYSTEMS
from otp_service.sample_portal.starting import RESULT_PATHS, StartRefused, start

_KIND: Final = Kind.ACCOUNT_LINK
_PASSWORD_PATH: Final = "/tai-khoan/lien-ket/mat-khau"  # noqa: S105 - a path
_WRONG: Final = "Mã đăng ký hoặc mật khẩu của tài khoản cũ không đúng. Hãy nhập lại."
_TOO_MANY: Final = "Đã nhập sai nhiều lần. Hãy thử lại sau 15 phút, hoặc hỏi bộ phận một cửa."
_TAKEN: Final = "Tài khoản cũ này đã được liên kết trước đó."


def routes() -> list[web.RouteDef]:
    """Return the routes of this module."""
    return [
        web.get("/tai-khoan", show), web.get("/tai-khoan/lien-ket", choose), web.post("/tai-khoan/lien-ket", chosen),
        web.get(_PASSWORD_PATH, ask), web.post(_PASSWORD_PATH, begin), web.get(RESULT_PATHS[_KIND], result),
        web.post("/tai-khoan/lien-ket/hoan-tat", finish),
    ]


async def show(request: web.Request) -> web.Response:
    """``GET /tai-khoan``: whose account it is, and what is linked to it."""
    account = await account_of(request)
    linked = await portal_of(request).accounts.linked_to(account.id)
    return page(request, "account", account=account, linked=linked, systems=SYSTEMS)


async def choose(request: web.Request) -> web.Response:
    """``GET /tai-khoan/lien-ket``: which old system, and the registration code there."""
    await account_of(request)
    return page(request, "link", filled=Filled(), systems=SYSTEMS)


async def chosen(request: web.Request) -> web.Response:
    """``POST /tai-khoan/lien-ket``: remember the choice; whether there is such an account is not said here."""
    account, form = await account_of(request), form_of(request)
    filled = Filled({name: text_of(form, name) for name in ("system", "code")})
    code = read_id_number(filled.typed["code"])
    if filled.typed["system"] not in SYSTEMS:
        filled.add("system", "Hãy chọn hệ thống có tài khoản cũ.")
    if code is None:
        filled.add("code", "Mã đăng ký là số CCCD (12 chữ số) hoặc CMND (9 chữ số) của chính bạn.")
    if code is None or not filled.good:
        return page(request, "link", status=422, filled=filled, systems=SYSTEMS)
    data = FlowData(
        phone_number=account.phone_number, id_number=account.id_number, account_id=account.id,
        system=filled.typed["system"], code=code,
    )
    flow = await portal_of(request).flows.begin(request[SESSION], _KIND, data, form.get("nonce", ""))
    return see_other(_PASSWORD_PATH, luot=flow.id)


async def ask(request: web.Request) -> web.Response:
    """``GET /tai-khoan/lien-ket/mat-khau``: the password of the old account."""
    _, flow = await _flow(request, request.query.get("luot", ""))
    return _ask(request, flow, Filled())


async def begin(request: web.Request) -> web.Response:
    """``POST /tai-khoan/lien-ket/mat-khau``: compare the old password, then let the service send a code."""
    portal, form = portal_of(request), form_of(request)
    account, flow = await _flow(request, form.get("flow", ""))
    filled = Filled()
    check_password(filled, form, "Hãy nhập mật khẩu của tài khoản cũ.")
    if not filled.good:
        return _ask(request, flow, filled, status=422)
    guesser = f"{account.id}:{flow.data.system}"
    async with portal.passwords.place():
        if not await portal.linking_guesses.may(guesser):
            filled.notice = _TOO_MANY
            return _ask(request, flow, filled, status=429)
        # Only somebody's own: the SIM proves who holds this account, and says nothing of who held the old one.
        own = flow.data.code == account.id_number
        old = await portal.accounts.old(flow.data.system, flow.data.code) if own else None
        agrees = await portal.passwords.agrees(form["password"], old.password_hash if old else None)
    if old is None or not agrees:
        filled.notice = _WRONG
        return _ask(request, flow, filled, status=422)
    await portal.linking_guesses.forgive(guesser)
    if old.account_id is not None:
        filled.notice = _TAKEN
        return _ask(request, flow, filled, status=409)
    try:
        return await start(request, flow)
    except StartRefused as refusal:
        filled.notice = refusal.notice or " ".join(one.message for one in refusal.errors)
        # The start was refused and its flow dropped: the same choice again is a flow again.
        data = replace(flow.data, challenge="")
        flow = await portal.flows.begin(request[SESSION], _KIND, data, flow.id)
        return _ask(request, flow, filled, status=refusal.status)


async def result(request: web.Request) -> web.Response:
    """``GET /tai-khoan/lien-ket/ket-qua``: where the service's page returns to; changes nothing."""
    await account_of(request)
    flow = await results.flow_of(request, _KIND, request.query.get("verification_id", ""))
    if flow.finished_at is not None:
        return see_other("/tai-khoan")
    return await results.shown(
        request, flow, lambda: page(request, "confirm_link", flow=flow, systems=SYSTEMS, notice=""),
    )


async def finish(request: web.Request) -> web.Response:
    """``POST /tai-khoan/lien-ket/hoan-tat``: redeem the verdict for the account's own person, and link."""
    account, portal, form = await account_of(request), portal_of(request), form_of(request)
    flow = await results.flow_of(request, _KIND, form.get("verification_id", ""))
    async with portal.flows.alone(flow.id):
        flow = await results.flow_of(request, _KIND, flow.verification_id or "")
        if flow.finished_at is None:
            if flow.data.account_id != account.id:
                raise web.HTTPNotFound
            try:
                await redeeming.redeem(request, flow, await redeeming.token_of(request, flow))
            except redeeming.VerdictRefused:
                return redeeming.refused(request, flow)
            except OtpError as error:
                notice = redeeming.not_now(error)
                return page(request, "confirm_link", status=503, flow=flow, systems=SYSTEMS, notice=notice)
            if not await portal.accounts.link(flow, account.id):
                return page(
                    request, "ended", status=409, heading="Chưa liên kết được", sentences=(_TAKEN,),
                    again="/tai-khoan/lien-ket",
                )
    return see_other("/tai-khoan")


def _ask(request: web.Request, flow: Flow, filled: Filled, *, status: int = 200) -> web.Response:
    return page(request, "link_password", status=status, filled=filled, flow=flow, systems=SYSTEMS)


async def _flow(request: web.Request, flow_id: str) -> tuple[Account, Flow]:
    """Return who is signed in, and a linking flow of theirs.  Raises 404."""
    account = await account_of(request)
    flow = await portal_of(request).flows.find(request[SESSION], flow_id)
    if flow is None or flow.kind is not _KIND or flow.data.account_id != account.id:
        raise web.HTTPNotFound
    return account, flow
