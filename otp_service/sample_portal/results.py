"""
What came of a flow's verification, for the page a browser comes back to.

Reading it changes nothing, and nothing is opened on it: that is ``redeeming.py``.  Whoever comes back with another
session's verification finds no such page.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from aiohttp import web

from otp_service.client import NotFound, OtpError, Status
from otp_service.sample_portal.exchange import SESSION, page, portal_of
from otp_service.sample_portal.flows import Flow, Kind
from otp_service.sample_portal.starting import BEGIN_PATHS, RESULT_PATHS

_log = logging.getLogger(__name__)

#: What each end means and what to do: heading, sentences.  The sentences after a refusal name no datum, because
#: whoever reads them need not be the SIM's owner.
_ENDS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    Status.REJECTED: ("Chưa xác nhận được SIM chính chủ", (
        "Số điện thoại này chưa được xác nhận là đăng ký đúng giấy tờ của bạn, nên chưa thể tiếp tục.",
        "Để tự kiểm tra, từ chính SIM này hãy soạn TTTB [số CCCD] gửi 1414 (miễn phí), hoặc xem trong ứng dụng VNeID.",
        "Nếu thông tin chưa đúng, hãy mang CCCD mới nhất đến cửa hàng của nhà mạng để cập nhật, rồi làm lại.",
        "Cần giúp đỡ, hãy đến bộ phận một cửa.",
    )),
    Status.EXPIRED: ("Đã hết thời gian", (
        "Mã xác thực chưa được nhập kịp, nên lần này đã hết thời gian. Hãy làm lại để nhận mã mới.",
    )),
    Status.LOCKED: ("Đã nhập sai mã quá nhiều lần", (
        "Lần này đã bị khóa để giữ an toàn cho bạn. Hãy làm lại để nhận mã mới.",
        "Khi có nhiều tin nhắn, hãy nhập mã trong tin mới nhất.",
    )),
    Status.CANCELLED: ("Lần này đã được thay bằng lần mới hơn", (
        "Bạn đã bắt đầu một lần khác sau lần này. Hãy tiếp tục ở lần mới nhất, hoặc làm lại từ đầu.",
    )),
    Status.UNDELIVERABLE: ("Không gửi được tin nhắn", (
        "Tin nhắn không đến được số điện thoại này. Hãy xem lại số điện thoại, rồi làm lại.",
    )),
}
_UNKNOWN_END: Final = ("Chưa rõ kết quả", (
    "Số điện thoại được coi là chưa xác thực. Hãy làm lại từ đầu.",
))


async def flow_of(request: web.Request, kind: Kind, verification_id: str) -> Flow:
    """Return the flow that this session began and that this verification belongs to.  Raises 404."""
    flow = await portal_of(request).flows.of_verification(request[SESSION], kind, verification_id)
    if flow is None:
        raise web.HTTPNotFound
    return flow


async def _status_of(request: web.Request, flow: Flow) -> str:
    """
    Return how a flow's verification stands: as a webhook has told, otherwise as the service answers.

    Raises OtpError when neither can be had.
    """
    portal = portal_of(request)
    if flow.verification_id is None:
        return Status.EXPIRED
    if (told := await portal.flows.told(flow.verification_id)) is not None:
        return told
    try:
        return (await portal.otp.get(flow.verification_id)).status
    except NotFound:
        # It was ours and is forgotten: days have passed.
        return Status.EXPIRED


async def shown(request: web.Request, flow: Flow, verified: Callable[[], web.Response]) -> web.Response:
    """Return the page for a flow's result, which for a verified person is the flow's own."""
    try:
        status = await _status_of(request, flow)
    except OtpError as error:
        return _unread(request, flow, error)
    return verified() if status == Status.VERIFIED else await _unverified(request, flow, status)


async def _unverified(request: web.Request, flow: Flow, status: str) -> web.Response:
    """Return the page for every status but ``verified``: enter the code, wait, or begin again."""
    begin = BEGIN_PATHS[flow.kind]
    again = f"{begin}?luot={flow.id}" if flow.kind is Kind.REGISTRATION else begin
    if status == Status.PENDING:
        return page(request, "pending", flow=flow, again=again)
    if status == Status.CHECKING_OWNERSHIP:
        return page(request, "wait", flow=flow)
    heading, sentences = _ENDS.get(status, _UNKNOWN_END)
    return page(request, "ended", heading=heading, sentences=sentences, again=again)


def _unread(request: web.Request, flow: Flow, error: OtpError) -> web.Response:
    """Return the page for a service that does not answer: nothing is lost, look again."""
    _log.error("result not read: %s", error)
    path = f"{RESULT_PATHS[flow.kind]}?verification_id={flow.verification_id}"
    return page(request, "unread", status=503, path=path)
