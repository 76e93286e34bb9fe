"""
Forms as people fill them in: what can be read is read kindly, what cannot is told beside its field.

The service judges phone number, name and date again, and its sentences take the same places; the portal itself needs
the ID number in one form, because it knows its people by it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from otp_service.client import FieldError
from otp_service.sample_portal.flows import FlowData
from otp_service.sample_portal.passwords import MAX_LENGTH, broken_rules, too_long

#: Characters of a field that are looked at.
_MOST: Final = 200
_SEPARATORS: Final = str.maketrans("", "", " .-\u00a0\u2013")
_DATE: Final = re.compile(r"([0-9]{1,2})[/.\- ]([0-9]{1,2})[/.\- ]([0-9]{4})", re.ASCII)
_DIGITS_ALONE: Final = re.compile(r"([0-9]{2})([0-9]{2})([0-9]{4})", re.ASCII)
_ISO: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", re.ASCII)

_ID_NUMBER_WANTED: Final = "Hãy nhập số CCCD gồm 12 chữ số hoặc số CMND gồm 9 chữ số."
_PHONE_WANTED: Final = "Hãy nhập số điện thoại di động, ví dụ 0900 000 001."
_DATE_WANTED: Final = "Hãy nhập ngày sinh theo dạng ngày/tháng/năm, ví dụ 31/01/1990."


@dataclass(slots=True)
class Filled:
    """
    A form as it came: what was typed, what is wrong with it, and the notice above it.

    Attributes:
        typed: field → text, to be shown again; never a password.
        errors: field → sentences.
        notice: what is said above the form, when it is about no single field.
        registered: whether the notice is that the ID number has an account, which brings two links.
    """

    typed: dict[str, str] = field(default_factory=dict, repr=False)
    errors: dict[str, list[str]] = field(default_factory=dict)
    notice: str = ""
    registered: bool = False

    def add(self, name: str, *sentences: str) -> None:
        """Tell what is wrong with a field."""
        self.errors.setdefault(name, []).extend(sentences)

    def add_refusals(self, refusals: tuple[FieldError, ...]) -> None:
        """Put the service's sentences beside the fields that people see, and drop those about what they do not."""
        for refusal in refusals:
            if refusal.field in self.typed and refusal.message:
                self.add(refusal.field, refusal.message)

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.errors and not self.notice


def text_of(form: Mapping[str, str], name: str) -> str:
    """Return a field's text, trimmed and bounded."""
    return form.get(name, "")[:_MOST].strip()


def read_id_number(text: str) -> str | None:
    """Return 12 or 9 digits, None for anything else; blanks, dots and dashes between them are taken."""
    digits = unicodedata.normalize("NFKC", text).translate(_SEPARATORS)
    return digits if digits.isascii() and digits.isdigit() and len(digits) in {9, 12} else None


def read_birth_date(text: str, today: date) -> date | None:
    """Read a day as it is written in Vietnam, day before month; None for what is no day of a life."""
    plain = " ".join(unicodedata.normalize("NFKC", text).split())
    if match := _DATE.fullmatch(plain) or _DIGITS_ALONE.fullmatch(plain):
        day, month, year = map(int, match.groups())
    elif match := _ISO.fullmatch(plain):
        year, month, day = map(int, match.groups())
    else:
        return None
    try:
        born = date(year, month, day)
    except ValueError:
        return None
    return born if date(1900, 1, 1) <= born <= today else None


def read_registration(form: Mapping[str, str], today: date) -> tuple[Filled, FlowData]:
    """Read the registration form: all that is wrong at once, and its data where nothing is."""
    filled = Filled({name: text_of(form, name) for name in ("id_number", "full_name", "birth_date", "phone_number")})
    typed = filled.typed
    id_number = read_id_number(typed["id_number"])
    if id_number is None:
        filled.add("id_number", _ID_NUMBER_WANTED)
    if not typed["full_name"]:
        filled.add("full_name", "Hãy nhập họ và tên như trên giấy tờ.")
    born = read_birth_date(typed["birth_date"], today)
    if born is None:
        filled.add("birth_date", _DATE_WANTED)
    if not typed["phone_number"]:
        filled.add("phone_number", _PHONE_WANTED)
    return filled, FlowData(
        phone_number=typed["phone_number"], id_number=id_number or "", full_name=typed["full_name"],
        birth_date=born.isoformat() if born else "",
    )


def read_recovery(form: Mapping[str, str]) -> tuple[Filled, FlowData]:
    """Read the form of a forgotten password: whose account, and where the SMS goes."""
    filled = Filled({name: text_of(form, name) for name in ("id_number", "phone_number")})
    id_number = read_id_number(filled.typed["id_number"])
    if id_number is None:
        filled.add("id_number", _ID_NUMBER_WANTED)
    if not filled.typed["phone_number"]:
        filled.add("phone_number", _PHONE_WANTED)
    return filled, FlowData(phone_number=filled.typed["phone_number"], id_number=id_number or "")


def read_sign_in(form: Mapping[str, str]) -> tuple[Filled, str]:
    """Read who wants to sign in; returns the ID number."""
    filled = Filled({"id_number": text_of(form, "id_number")})
    id_number = read_id_number(filled.typed["id_number"])
    if id_number is None:
        filled.add("id_number", _ID_NUMBER_WANTED)
    check_password(filled, form, "Hãy nhập mật khẩu.")
    return filled, id_number or ""


def check_password(filled: Filled, form: Mapping[str, str], wanted: str) -> None:
    """Tell what is wrong with a password before it is compared with any, whoever's; ``wanted`` when there is none."""
    password = form.get("password", "")
    if not password:
        filled.add("password", wanted)
    elif too_long(password):
        filled.add("password", f"Mật khẩu không dài quá {MAX_LENGTH} ký tự. Hãy nhập lại.")


def read_new_password(form: Mapping[str, str]) -> tuple[Filled, str]:
    """Read a new password, typed twice; what is wrong is told, the password itself never shown again."""
    filled = Filled()
    password, again = form.get("password", ""), form.get("password_again", "")
    if lacking := broken_rules(password):
        filled.add("password", f"Mật khẩu cần: {'; '.join(lacking)}.")
    if password != again:
        filled.add("password_again", "Hai lần nhập mật khẩu không giống nhau. Hãy nhập lại cả hai.")
    return filled, password
