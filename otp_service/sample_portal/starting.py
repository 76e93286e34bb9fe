"""Starting a flow's verification: one SMS however often the button is pressed, and a refusal in people's words."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

import orjson
from aiohttp import web

from otp_service.client import (
    FieldError,
    InvalidRequest,
    OtpError,
    PhoneNotMobile,
    ProofRequired,
    RateLimited,
    Refused,
    Started,
    Unavailable,
)
from otp_service.sample_portal.exchange import SESSION, Portal, origin_of, portal_of, see_other
from otp_service.sample_portal.flows import Flow, Kind

#: Where the service's page sends the browser back to.
RESULT_PATHS: Final = {
    Kind.REGISTRATION: "/dang-ky/ket-qua",
    Kind.SIGN_IN: "/dang-nhap/ket-qua",
    Kind.PASSWORD_RESET: "/quen-mat-khau/ket-qua",
    Kind.ACCOUNT_LINK: "/tai-khoan/lien-ket/ket-qua",
}
#: Where a flow begins anew.
BEGIN_PATHS: Final = {
    Kind.REGISTRATION: "/dang-ky",
    Kind.SIGN_IN: "/dang-nhap",
    Kind.PASSWORD_RESET: "/quen-mat-khau",
    Kind.ACCOUNT_LINK: "/tai-khoan/lien-ket",
}
WEBHOOK_PATH: Final = "/webhooks/otp"

#: What a form shows; what is wrong with anything else is ours to repair.
_FIELDS: Final = frozenset({"phone_number", "id_number", "full_name", "birth_date"})

_NOT_SENT: Final = "Chưa gửi được mã xác thực. Thông tin bạn đã nhập không sai: hãy thử lại sau ít phút."

_log = logging.getLogger(__name__)


class StartRefused(Exception):
    """
    No SMS was sent.

    Attributes:
        status: of the page that tells it.
        errors: what is wrong with single fields.
        notice: what is to be said above the form.
    """

    def __init__(self, status: int, notice: str = "", errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(status)
        self.status = status
        self.notice = notice
        self.errors = errors


async def start(request: web.Request, flow: Flow, proof: str | None = None) -> web.Response:
    """
    Start the verification of a flow, unless it was started, and send the browser on its way to the code.

    Raises StartRefused.
    """
    portal, session = portal_of(request), request[SESSION]
    async with portal.flows.alone(flow.id):
        flow = await portal.flows.find(session, flow.id) or flow
        if flow.verification_id is None:
            try:
                started = await _call(request, portal, flow, proof)
            except ProofRequired as refusal:
                challenge = orjson.dumps(refusal.challenge).decode()
                await portal.flows.save(session, replace(flow, data=replace(flow.data, challenge=challenge)))
            except OtpError as error:
                await portal.flows.drop(flow)
                raise _refusal(error) from error
            else:
                if started.page_url is None:
                    raise StartRefused(502, _NOT_SENT)
                data = replace(
                    flow.data, client_token=started.client_token, page_url=started.page_url, challenge="",
                )
                await portal.flows.save(session, replace(flow, data=data, verification_id=started.id))
    return see_other(f"/xac-thuc/{flow.id}")


async def _call(request: web.Request, portal: Portal, flow: Flow, proof: str | None) -> Started:
    data = flow.data
    return await portal.otp.start(
        purpose=flow.kind, phone_number=data.phone_number, id_number=data.id_number if flow.kind.compares else None,
        full_name=data.full_name or None, birth_date=data.birth_date or None,
        # Behind a proxy this is the address that the proxy vouches for.
        end_user_ip=request.remote, reference=flow.id, locale="vi", proof=proof,
        callback_url=f"{portal.own_url}{WEBHOOK_PATH}", return_url=f"{origin_of(request)}{RESULT_PATHS[flow.kind]}",
        # The same flow is the same call: should this process die before it has kept the answer, the next press of
        # the button gets it.  A proof makes it another call, which a refused one may be.
        idempotency_key=f"start-{flow.id}",
    )


def _refusal(error: OtpError) -> StartRefused:
    """Say a refusal to a person: the service's sentences where they are meant for them."""
    match error:
        case InvalidRequest():
            told = tuple(one for one in error.errors if one.field in _FIELDS and one.message)
            if told:
                return StartRefused(422, errors=told)
        case PhoneNotMobile():
            return StartRefused(422, errors=(FieldError("phone_number", error.code, error.detail),))
        case RateLimited() | Unavailable():
            return StartRefused(error.status, error.detail or _NOT_SENT)
        case _:
            pass
    # What is left is ours to repair, not the person's: a key, a setting, a service that is away.
    _log.error("start refused: %s", error)
    return StartRefused(error.status if isinstance(error, Refused) and error.status == 503 else 502, _NOT_SENT)
