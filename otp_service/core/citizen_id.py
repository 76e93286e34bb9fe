"""
Numbers of Vietnamese identity papers: CCCD (12 digits) and CMND (9 digits).

Only the form is a reason to refuse.  A CCCD reads ``PPP C YY NNNNNN`` (Decree 137/2015/NĐ-CP article 13): province
or country of birth registration, century and sex, year of birth, six random digits, no check digit.  Circular
59/2021/TT-BCA, which fixed the codes, ended on 1 July 2024, and Law 26/2023/QH15 article 12 promises no more than
twelve digits: what looks odd inside is therefore a warning.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import Final, Literal

from otp_service.core.phone import DIGIT_SEPARATORS, MAX_INPUT
from otp_service.core.province_codes import PROVINCES

#: The last year in which a CMND was a valid paper: to 31 December 2024 (Law 26/2023/QH15 article 46).
CMND_LAST_YEAR: Final = 2024

#: Years of age above which a year of birth is doubted.
OLDEST_AGE: Final = 120

_CCCD_DIGITS: Final = 12
_CMND_DIGITS: Final = 9

Kind = Literal["cccd", "cmnd"]

#: ``cmnd_expired`` does not say that the number is wrong: subscriber records may still hold it.
IdWarning = Literal["unknown_province", "unlikely_century", "unlikely_year", "cmnd_expired"]


class MalformedIdNumber(ValueError):
    """The text is neither 12 nor 9 digits.  The message never repeats it."""

    def __init__(self) -> None:
        super().__init__("an ID number has 12 digits (CCCD) or 9 digits (CMND)")


@dataclass(frozen=True, slots=True)
class IdNumber:
    """
    An ID number of good form.

    Attributes:
        number: 12 or 9 ASCII digits.
        kind: ``cccd`` for 12 digits, ``cmnd`` for 9.  The 12-digit CMND of 2012–2016 cannot be told from a CCCD.
        warnings: what looks odd, in a fixed order; never a reason to refuse.
    """

    number: str = field(repr=False)
    kind: Kind
    warnings: tuple[IdWarning, ...] = ()


def parse_id_number(text: str, *, today_year: int | None = None) -> IdNumber:
    """
    Read a CCCD or CMND number as people type it: spaces, dots, dashes and full-width digits are taken.

    Args:
        text: what was typed; more than 40 characters are refused unread.
        today_year: the current year in Vietnam; without it the year of birth is not doubted.

    Raises:
        MalformedIdNumber: the form is wrong.
    """
    if len(text) > MAX_INPUT:
        raise MalformedIdNumber
    number = unicodedata.normalize("NFKC", text).translate(DIGIT_SEPARATORS)
    if not (number.isascii() and number.isdigit()):
        raise MalformedIdNumber
    if len(number) == _CCCD_DIGITS:
        return IdNumber(number, "cccd", _cccd_warnings(number, today_year))
    if len(number) == _CMND_DIGITS:
        expired = today_year is None or today_year > CMND_LAST_YEAR
        return IdNumber(number, "cmnd", ("cmnd_expired",) if expired else ())
    raise MalformedIdNumber


def mask_id_number(number: str) -> str:
    """Keep the last three digits: ``052090000001`` → ``•••••••••001``; province, sex and year stay hidden."""
    return "•" * (len(number) - 3) + number[-3:]


def _cccd_warnings(number: str, today_year: int | None) -> tuple[IdWarning, ...]:
    """Compare province, century and year of birth with what is known of CCCD numbers."""
    warnings: list[IdWarning] = []
    if number[:3] not in PROVINCES:  # legitimate for a birth registered abroad: the digits name a country
        warnings.append("unknown_province")
    century = 1900 + 100 * (int(number[3]) // 2)  # 0, 1: 1900s; 2, 3: 2000s; … 8, 9: 2300s
    if century > 2000:
        warnings.append("unlikely_century")
    year = century + int(number[4:6])
    if today_year is not None and not today_year - OLDEST_AGE <= year <= today_year:
        warnings.append("unlikely_year")
    return tuple(warnings)
