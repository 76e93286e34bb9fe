"""
What 1414 writes back, by carrier.

No carrier publishes its replies.  Each text below says where it is from: **third-party** ones were reproduced by the
author of an app that draws conversations (July 2026), with the hosts of their links replaced; **synthetic** ones were
made up here, those of VinaPhone from the labels of a police guide (2023).  No negative reply of any carrier is known.

Fields: ``number``, ``name`` and ``plain_name`` (without accents), ``born`` and ``born_dashed``, ``id_number`` and
``masked``, ``kind`` and ``plain_kind`` of the document, ``place`` and ``plain_place`` where and ``issued`` when it was
issued, ``activated``, ``numbers`` and ``lines`` (the same, one a line).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otp_service.core.phone import Carrier


@dataclass(frozen=True, slots=True, kw_only=True)
class Forms:
    """
    One carrier's replies.

    Attributes:
        record: to ``TTTB``.
        listing: to ``TTTB <number>`` with the sender's own document.
        nothing: to ``TTTB`` where the carrier has no document.
        other: to ``TTTB <number>`` with another document.
        syntax: to all else.
    """

    record: str
    listing: str
    nothing: str
    other: str
    syntax: str


_UNACCENTED: Final = {
    # Synthetic.
    "nothing": "Chua co thong tin giay to cua thue bao {number}. Vui long den cua hang de cap nhat.",
    "other": "So giay to khong khop voi thong tin thue bao. Vui long lien he tong dai.",
    "syntax": "Sai cu phap. Soan TTTB <so giay to> gui 1414.",
}
_ACCENTED: Final = {
    # Synthetic.
    "nothing": "Chưa có thông tin giấy tờ của thuê bao {number}. Vui lòng đến cửa hàng để cập nhật.",
    "other": "Số giấy tờ không khớp với thông tin thuê bao. Vui lòng liên hệ tổng đài.",
    "syntax": "Sai cú pháp. Soạn TTTB <số giấy tờ> gửi 1414.",
}

_VIETTEL: Final = Forms(
    # Third-party: the document in full, and a link that carries it, which nobody should follow or log.
    record=(
        "Thuê bao: {number}, đã xác thực theo quy định tại Thông tư 08/2026/TT-BKHCN.\n"
        "Thông tin giấy tờ thuê bao:\n"
        "Họ tên: {name}, ngày sinh: {born}.\n"
        "{kind}: {id_number}, nơi cấp: {place}, ngày cấp: {issued}.\n"
        "Loại thuê bao: trả trước, ngày kích hoạt: {activated}.\n"
        "Để tra cứu thuê bao cùng số giấy tờ sở hữu, truy cập: "
        "https://viettel.example/TTTB?idNo={id_number}&isdn={number}&otp=000000\n"
        "Liên hệ 198 (0đ).\n"
        "Trân trọng!"
    ),
    # Synthetic.
    listing=(
        "Thuê bao: {number}.\n"
        "Họ tên: {name}, ngày sinh: {born}.\n"
        "{kind}: {id_number}.\n"
        "Danh sách thuê bao cùng số giấy tờ: {numbers}.\n"
        "Liên hệ 198 (0đ)."
    ),
    **_ACCENTED,
)

#: Third-party: one line, and no number of the document.
_MOBIFONE_RECORD: Final = (
    "TB tra truoc ca nhan. Ho ten: {plain_name}, Ngay sinh: {born}. Danh sach so thue bao dang ky: {numbers}. "
    "Chi tiet truy cap app My MobiFone hoac lien he 18001090 hoac tai Cua hang MobiFone. Cam on Quy khach."
)
_MOBIFONE: Final = Forms(
    record=_MOBIFONE_RECORD, listing=_MOBIFONE_RECORD,
    # Third-party: sent in place of data, and no mismatch.
    nothing=(
        "Quy khach vui long truy cap ung dung VNeID de kiem tra va xac nhan su dung so dien thoai. Huong dan chi tiet "
        "vui long xem tai https://mobifone.example/huong-dan-vneid. Tran trong cam on Quy khach."
    ),
    other=_UNACCENTED["other"], syntax=_UNACCENTED["syntax"],
)

_VINAPHONE: Final = Forms(
    # Synthetic, as are all that follow.
    record=(
        "So TB {number}. Ho ten: {plain_name}; Ngay sinh: {born}; So giay to: {id_number}; Ngay cap: {issued}; "
        "Noi cap: {plain_place}; Loai giay to: {plain_kind}"
    ),
    listing="So giay to {id_number} ({plain_name}) dung ten cac so thue bao: {numbers}.",
    **_UNACCENTED,
)

_VIETNAMOBILE: Final = Forms(
    record=(
        "Thong tin thue bao {number}\n"
        "Ho ten: {plain_name}\n"
        "Ngay sinh: {born}\n"
        "So CCCD/CMND: {id_number}\n"
        "Ngay cap: {issued}\n"
        "Noi cap: {plain_place}"
    ),
    listing="Danh sach thue bao Vietnamobile dang ky bang giay to {id_number}:\n{lines}",
    **_UNACCENTED,
)

_GMOBILE: Final = Forms(
    record="TB {number}, ho ten {plain_name}, ngay sinh {born_dashed}, so {plain_kind} {id_number}.",
    listing="Cac TB Gmobile cua {plain_kind} {id_number}: {numbers}.",
    nothing=_UNACCENTED["nothing"], other=_UNACCENTED["other"],
    syntax="Sai cu phap. Soan TT hoac TTTB <so giay to> gui 1414.",
)

_ITEL: Final = Forms(
    record=(
        "Số thuê bao: {number}. Họ và tên: {name}. Ngày sinh: {born}. Số giấy tờ: {id_number}. "
        "Loại giấy tờ: {plain_kind}. Nơi cấp: {place}."
    ),
    listing="Các số iTel đăng ký bằng giấy tờ {id_number}: {numbers}.",
    **_ACCENTED,
)

#: Shows only the ends of the number, so that whoever reads replies meets that too; no source shows one that does.
_MASKING: Final = Forms(
    record="So TB {number}. Ho ten: {plain_name}. Ngay sinh: {born}. So giay to: {masked}.",
    listing="Giay to {masked} dung ten cac so: {numbers}.",
    **_UNACCENTED,
)

FORMS: Final = {
    Carrier.VIETTEL: _VIETTEL, Carrier.MOBIFONE: _MOBIFONE, Carrier.VINAPHONE: _VINAPHONE,
    Carrier.VIETNAMOBILE: _VIETNAMOBILE, Carrier.GMOBILE: _GMOBILE, Carrier.ITEL: _ITEL, Carrier.REDDI: _VINAPHONE,
    Carrier.INDOCHINA: _MASKING,
}
#: For a prefix that was given to nobody we know.
ANY_CARRIER: Final = _VINAPHONE
