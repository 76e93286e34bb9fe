"""
The words of replies of 1414 that are known to say nothing against it.

A reply without name and birth date shows nothing that the person who asked did not know: its ID number may be the
question's own.  It counts only where something is said and every word of it is known, for nobody can list all the ways
to say no.
"""

from __future__ import annotations

import re
from typing import Final

_LABELS: Final = (
    "ho va ten chu thue bao tb khach hang kh full name ngay thang nam sinh date of birth birthday dob loai giay to tuy "
    "than gt gttt gtt hinh sim noi cap dang ky kich hoat hoa mang quoc tich gioi tinh doi tuong goi cuoc trang thai "
    "danh sach ds cac nhung so dien thoai dt di dong may sdt msisdn isdn ma cccd cmnd cmt cmtnd cc hc the can cong dan "
    "passport chung minh nhan thu dinh ca ddcn id pid chieu no number lien he tong dai hotline cskh lh"
)
#: What carriers say of good data.
_SAID: Final = (
    "da duoc dang dung la cua boi bang voi theo tai tren trong cung mot nay do quy quyet thong tu tt bkhcn nghi nd cp "
    "tin xac thuc chinh khop trung hop le so huu quan ly hien thanh xin cam on tran kinh chao gom co hai tra truoc sau "
    "chi tiet xem vui long truy cap app my de biet them kiem cuu hoac mien phi 0d phuc vu "
    "viettel mobifone vinaphone vnpt vietnamobile gmobile itel reddi wintel indochina telecom local"
)
_SAYING: Final = frozenset(f"{_SAID} danh sach ds cac nhung".split())
_KNOWN: Final = frozenset(f"{_LABELS} {_SAID}".split())

_WORD: Final = re.compile(r"\w{1,60}")


def all_known(text: str) -> bool:
    """Whether each word of a text is known."""
    return _words(text) <= _KNOWN


def says_something(text: str) -> bool:
    """Whether a text has a known word that is more than a label."""
    return not _words(text).isdisjoint(_SAYING)


def _words(text: str) -> set[str]:
    """Return the words of a text; numbers are none."""
    return {word for word in _WORD.findall(text) if not word.isdecimal()}
