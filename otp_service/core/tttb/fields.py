"""
The labelled fields of a 1414 reply: where a label stands, and how the value behind it is read.

Works on prepared text (``core/tttb/text.py``): no accents, lower case, one line, single blanks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from otp_service.core.birth_dates import birth_date_key
from otp_service.core.names import fold

Label = Literal["name", "birth", "id", "phone", "list", "contact", "status", "other"]
DocumentKind = Literal["cccd", "cmnd", "passport"]

_SIM: Final = r"(?:thue bao|tb|dien thoai|dt)"
_SIM_AFTER_SO: Final = r"(?:thue bao|tb|dien thoai|dt|di dong|may)"

#: What an ID number is of; several of them are one label ("CMND/CCCD/HC"), the last ones too short to be one alone.
_PAPER: Final = (
    r"(?:giay to(?: tuy than)?|gttt|cccd|(?:the )?can cuoc(?: cong dan)?|cmnd|cmtnd|cmt|passport)"
    r"(?: ?/ ?(?:giay to|gttt|cccd|can cuoc|cmnd|cmt|cc|hc|hchieu|ho chieu|passport|dinh danh|khac)(?!\w)){0,3}"
)

#: Labels by what stands behind them; ``contact`` is a hotline, ``other`` only ends the value before it.
#:
#: Chung Minh Thư, Đình Danh, Nam Sinh, Quốc Tích, Hồ Chiêu, Tống Đại and Mây are people's names: what one may be called
#: is a label only with a colon behind it or "số" before it.
_LABELLED: Final = (
    rf"(?P<name>(?:ho (?:va |& )?)?ten (?:chu )?(?:thue bao|tb|khach hang|kh)|ho (?:va |& )?ten|chu (?:thue bao|tb)"
    r"|full name|(?<!(?:so|ao)\x20dung\x20)(?:ten|name|khach hang)(?=\s?[:=]))"
    r"|(?P<birth>ngay thang nam sinh|ngay sinh|sinh ngay(?=\s?[:=0-9])|nam sinh(?=\s?[:=])|date of birth|birthday|dob)"
    r"|(?P<other>loai (?:giay to|gt|hinh|sim|tb|thue bao)|(?:ngay|noi) (?:cap|dang ky|kich hoat|hoa mang|het han)"
    r"|(?:gioi tinh|quoc tich|dia chi|goi cuoc|gia tri den|doi tuong)(?=\s?[:=]))"
    r"|(?P<status>(?:trang thai|tinh trang|ket qua|status|result)(?: [a-z]{1,12}){0,4}(?=\s?[:=]))"
    rf"|(?P<list>(?:danh sach|ds)(?: cac)?(?: so {_SIM_AFTER_SO}| so| {_SIM})?"
    rf"|(?:cac|nhung)(?: so {_SIM_AFTER_SO}| so| thue bao| tb))"
    rf"|(?P<id>(?:so |ma )?{_PAPER}|(?:so )?chung minh nhan dan"
    r"|(?:so|ma) (?:dinh danh(?: ca nhan)?|ddcn)|so (?:ho chieu|chung minh thu)"
    r"|(?:ho chieu|chung minh thu|dinh danh(?: ca nhan)?)(?=\s?[:=])"
    r"|so gt|so id|(?:so )?pid|(?:personal )?id(?: (?:no|number))?)"
    rf"|(?P<phone>so {_SIM_AFTER_SO}|{_SIM}|sdt|msisdn|isdn)"
    r"|(?P<contact>lien he|tong dai(?=\s?(?:[:=(0-9]|ho tro|cham soc))|hotline|cskh|lh)"
)
#: "HoTen" and "SoGiayTo" are labels, too.
_LABEL: Final = re.compile(rf"(?<!\w)(?:{_LABELLED.replace(' ', ' ?')})(?!\w)")

_LABELS: Final[tuple[Label, ...]] = ("name", "birth", "other", "status", "list", "id", "phone", "contact")
_DOCUMENTS: Final[Mapping[DocumentKind, re.Pattern[str]]] = {
    "cccd": re.compile("cccd|can ?cuoc|dinh ?danh|ddcn"),
    "cmnd": re.compile("cmnd|cmt|chung ?minh"),
    "passport": re.compile("passport|ho ?chieu"),
}

#: Twelve digits that the end of a line has broken; a hotline behind fewer digits is no part of them.
_BROKEN: Final = "|".join(
    f"[0-9]{{{first}}} (?!1[89]00|0[0-9]{{9}}(?![0-9]))[0-9]{{{12 - first}}}" for first in range(1, 8)
)
#: Nine or twelve digits in one piece or in threes or fours, any of them masked.  A part of a group at the end of the
#: text is the fourth one of a CCCD, cut off.
_ID_NUMBER: Final = re.compile(
    r"[ :=.,;()/#-]{0,6}(?:(?:so|la|no) ?)?[ :=.#-]{0,4}"
    rf"(?P<value>{_BROKEN}|[0-9x*]{{6,14}}|[0-9x*]{{3,4}}(?:[ .-][0-9x*]{{3,4}}){{2,3}})"
    r"(?![\w*/]|[ .-][0-9x*]{1,3}$)",
)
_FULL_ID_NUMBER: Final = re.compile(r"[0-9]{12}|[0-9]{9}")

_BIRTH_DATE: Final = re.compile(
    r"[ :=.,;()-]{0,6}(?:la ?)?"
    r"(?P<value>[0-9x*]{1,4} ?[/.-] ?[0-9x*]{1,2} ?[/.-] ?[0-9x*]{2,4}|[0-9]{8}|[0-9]{4})(?![\w*/])",
)

#: A name needs a colon, an equals sign or a dash before it: "ho ten khong khop" is no name.
_NAME: Final = re.compile(r"[ )]{0,3}[:=-][ :=.-]{0,4}(?P<value>(?:[^\W\d_]|[* ]|(?<! )-(?! )){1,90})")

#: "Tran trong" may be a name, and so may much else: only what no name has ends one.
_AFTER_NAME: Final = re.compile(
    r"(?:^| )(?:(?:tran trong )?cam on quy khach|tran trong cam on|(?<=\w )tran trong$|vui long|quy khach"
    r"|chi tiet (?:xem|tai|vui|truy)|de (?:tra cuu|biet|kiem tra|xem)|da (?:doc|gui|xac thuc)|hom (?:nay|qua))(?!\w)",
)
#: What stands behind "khách hàng" and "chủ thuê bao" besides names.
_NO_NAMES: Final = frozenset({"ca nhan", "to chuc", "doanh nghiep", "tra truoc", "tra sau"})

#: Behind "họ tên" without a colon, and in brackets behind an ID number.
_PLAIN_NAME: Final = re.compile(r" (?P<value>[a-z]{1,20}(?: [a-z]{1,20}){1,7}) ?(?=[,.;#]|$)")
_BRACKETED_NAME: Final = re.compile(r" ?\((?P<value>[a-z]{1,20}(?: [a-z]{1,20}){1,7})\)")

#: Words of no name, and those that no name has behind its first, Khổng.
_SAYING: Final = frozenset({"da", "bi", "chua", "sai", "ko", "het", "cccd", "cmnd", "cmt", "giay"})
_BEHIND_KHONG: Final = frozenset({
    "co", "ro", "xac", "khop", "dung", "phai", "hop", "trung", "ton", "thuoc", "duoc", "tim", "thay", "chinh",
})

#: What a status may be; whatever else it is, the SIM is not simply somebody's.
_GOOD_STATUS: Final = re.compile(
    r"(?:(?:dang|da|con) )?(?:duoc )?(?:hoat dong|kich hoat|xac thuc|dang ky|binh thuong|chinh chu|(?:trung )?khop|dung"
    r"|hop le|thanh cong)(?: thong tin)?(?: (?:2|hai) chieu)?|active|ok|match(?:ed)?|true|verified|valid|yes",
)
_CLAUSE_END: Final = re.compile(r"[.,;!?()](?!\w)")

_MAX_NAME: Final = 80
_MAX_NAME_WORDS: Final = 10


@dataclass(frozen=True, slots=True)
class Field:
    """A label and the text up to the next: what stands between ``start`` and ``end``."""

    label: Label
    start: int
    end: int
    document: DocumentKind | None = None


@dataclass(frozen=True, slots=True)
class Value:
    """A value as read, and the part of the text that it was read from."""

    text: str = field(repr=False)
    start: int
    end: int


def find_fields(text: str) -> list[Field]:
    """Return the labels in the order of the text, each with the space up to the next."""
    labels = list(_LABEL.finditer(text))
    ends = [*(label.start() for label in labels), len(text)][1:]
    return [
        Field(kind, label.end(), end, _document(label["id"] or ""))
        for label, end in zip(labels, ends, strict=True)
        for kind in _LABELS if label[kind]
    ]


def _document(label: str) -> DocumentKind | None:
    """Return the paper that a label names; None when it names none or several ("CMND/CCCD")."""
    named = [kind for kind, words in _DOCUMENTS.items() if words.search(label)]
    return named[0] if len(named) == 1 else None


def read_name(text: str, name: Field) -> Value | None:
    """Return a name, folded, with ``*`` for letters that are not shown; None for what is too long to be one."""
    found = _NAME.match(text, name.start, name.end)
    if found is None:
        return None
    value = found["value"]
    if (after := _AFTER_NAME.search(value)) is not None:
        value = value[:after.start()]
    end = found.start("value") + len(value.rstrip())
    words = value.replace("-", " ").split()
    if not fold(value) or " ".join(words) in _NO_NAMES or len(words) > _MAX_NAME_WORDS or len(value) > _MAX_NAME:
        return None
    return Value(" ".join(words), found.start("value"), end)


def read_birth_date(text: str, birth: Field) -> Value | None:
    """Return a birth date, ``YYYY-MM-DD`` or ``YYYY``."""
    found = _BIRTH_DATE.match(text, birth.start, birth.end)
    key = birth_date_key(found["value"]) if found else None
    return Value(key, *found.span("value")) if found and key else None


def read_id_number(text: str, document: Field) -> Value | None:
    """Return an ID number: 12 or 9 digits, or digits with ``*`` where they are not shown, at least one shown."""
    found = _ID_NUMBER.match(text, document.start, document.end)
    if found is None:
        return None
    number = re.sub(r"[ .-]", "", found["value"]).replace("x", "*")
    masked = "*" in number and number.strip("*") != ""
    return Value(number, *found.span("value")) if masked or _FULL_ID_NUMBER.fullmatch(number) else None


def read_bracketed_name(text: str, number: Value) -> Value | None:
    """Return the name in brackets behind an ID number: "052090000001 (NGUYEN VAN A)"."""
    found = _BRACKETED_NAME.match(text, number.end)
    return Value(found["value"], *found.span("value")) if found and may_be_name(found["value"]) else None


def plain_name(text: str, name: Field) -> tuple[int, int] | None:
    """Return where a name without a colon before it stands; it is too uncertain to be read."""
    found = _PLAIN_NAME.match(text, name.start, name.end)
    return found.span("value") if found and may_be_name(found["value"]) else None


def may_be_name(value: str) -> bool:
    """Whether several words may be a person's name, as far as their words go."""
    words = value.replace("-", " ").split()
    # "Khoa" alone is none.
    if len(words) < 2 or len(words) > _MAX_NAME_WORDS or _SAYING & set(words):
        return False
    return "khong" not in words[1:] and (words[0] != "khong" or words[1] not in _BEHIND_KHONG)


def bad_status(text: str, status: Field) -> bool:
    """Whether a status is any but one that is known to be good."""
    end = _CLAUSE_END.search(text, status.start, status.end)
    value = text[status.start:end.start() if end else status.end].strip(" :=-")
    return _GOOD_STATUS.fullmatch(value) is None


def asides(text: str, fields: Iterable[Field]) -> Iterator[tuple[int, int]]:
    """Yield where values stand that may be any words: an address, a place of issue; to the end of the clause."""
    for one in fields:
        if one.label == "other":
            end = _CLAUSE_END.search(text, one.start, one.end)
            yield one.start, end.start() if end else one.end
