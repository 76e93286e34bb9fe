"""
Vietnamese mobile numbers: every form people type in, one E.164 form out.

The numbering plan is libphonenumber's: the mobile pattern is read from its installed metadata, and one regular
expression around it decides, because parsing, validating and typing with the library cost about 17 µs a number on
the hottest path.  ``tests/unit/test_phone.py`` holds that both give the same answer.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from phonenumbers import PhoneMetadata

from otp_service.core.errors import PhoneNotMobile

#: Characters of input that are looked at; a longer text is refused unread.
MAX_INPUT: Final = 40


class Carrier(StrEnum):
    """
    The operators that were given mobile prefixes.

    IMPORTANT: a new member also gets its prefixes in ``_PREFIXES`` and rows in ``config/sample/subscribers.csv``.
    """

    VIETTEL = "viettel"
    VINAPHONE = "vinaphone"
    MOBIFONE = "mobifone"
    VIETNAMOBILE = "vietnamobile"
    GMOBILE = "gmobile"
    ITEL = "itel"
    REDDI = "reddi"
    INDOCHINA = "indochina"


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """
    A Vietnamese mobile number.

    Attributes:
        e164: E.164 with plus, always 12 characters (``+84`` and nine digits).
        carrier_hint: whom the prefix was given to, see :func:`carrier_hint`.
    """

    e164: str = field(repr=False)
    carrier_hint: Carrier | None


#: Prefixes without the national 0.  libphonenumber files 087 under VinaPhone; it is iTel's.
_PREFIXES: Final = {
    Carrier.VIETTEL: "31 32 33 34 35 36 37 38 39 86 96 97 98",
    Carrier.VINAPHONE: "81 82 83 84 85 88 91 94",
    Carrier.MOBIFONE: "30 51 70 76 77 78 79 896 897 898 899 90 93",
    Carrier.VIETNAMOBILE: "522 523 528 56 58 92",
    Carrier.GMOBILE: "59 993 994 995 996 997",
    Carrier.ITEL: "87",
    Carrier.REDDI: "559",
    Carrier.INDOCHINA: "998 999",
}

#: Three digits after ``+84`` → carrier: one look-up, whatever the prefix's length.
_CARRIER_BY_THREE_DIGITS: Final = {
    three_digits: carrier
    for carrier, prefixes in _PREFIXES.items()
    for prefix in prefixes.split()
    for three_digits in ([prefix] if len(prefix) == 3 else [f"{prefix}{digit}" for digit in range(10)])
}

#: Pre-2018 prefix of an 11-digit number → the one that replaced it, both without the national 0.
#: The change ended on 14 November 2018; the old forms reach nobody.
_RENUMBERED: Final = {
    "120": "70", "121": "79", "122": "77", "126": "76", "128": "78",
    "123": "83", "124": "84", "125": "85", "127": "81", "129": "82",
    "162": "32", "163": "33", "164": "34", "165": "35", "166": "36", "167": "37", "168": "38", "169": "39",
    "186": "56", "188": "58",
    "199": "59",
}

#: What people and address books put between digits, for ``str.translate`` after NFKC.  The second half is
#: invisible: soft hyphen, joiners, direction marks, byte order mark.
DIGIT_SEPARATORS: Final = dict.fromkeys(map(
    ord,
    " \t\r\n.·-\u2010\u2012\u2013\u2014\u2015\u2212"
    "\u00ad\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff",
))

_PHONE_SEPARATORS: Final = DIGIT_SEPARATORS | dict.fromkeys(map(ord, "/()"))


def _mobile_pattern() -> str:
    """Read the nine-digit national mobile pattern from the installed metadata."""
    metadata = PhoneMetadata.metadata_for_region("VN")
    if metadata is None or metadata.mobile is None or metadata.mobile.national_number_pattern is None:
        raise ImportError("the installed phonenumbers has no mobile metadata for VN")
    return metadata.mobile.national_number_pattern


# A plus or 00 must be followed by 84: "+90…" and "0090…" are Turkey.  A 0 kept after 84 is a common slip; a second
# one passes where the library lets it.
_LEAD: Final = r"(?i:tel:)?(?:\+?(?:00)?840?|8400|0)?"

# Numbers with a leading 1 are M2M SIMs (121, 140, 160): libphonenumber calls them mobile, nobody reads SMS there.
_MOBILE: Final = re.compile(rf"{_LEAD}((?!1)(?:{_mobile_pattern()}))", re.ASCII)

_PRE_2018: Final = re.compile(rf"{_LEAD}({'|'.join(_RENUMBERED)})(\d{{7}})", re.ASCII)


def parse_mobile(text: str) -> PhoneNumber:
    """
    Read a Vietnamese mobile number as people type it.

    Taken are ``0…``, ``84…``, ``+84…``, ``0084…``, ``tel:+84…`` and nine digits without the 0, with spaces, dots,
    dashes, slashes and parentheses anywhere, a 0 left in after 84, and full-width characters.  Letters,
    extensions and a second number are refused, not guessed at.

    Raises:
        PhoneNotMobile: for all else (landlines, 1800/1900, short codes, foreign numbers, unassigned prefixes, more
            than 40 characters); ``suggestion`` has today's form of a pre-2018 number of 11 digits, ``0376…``.
    """
    if len(text) > MAX_INPUT:
        raise PhoneNotMobile
    match = _MOBILE.fullmatch(text)  # the plain forms, at a fraction of the cost of cleaning first
    if match is None:
        digits = unicodedata.normalize("NFKC", text).translate(_PHONE_SEPARATORS)
        match = _MOBILE.fullmatch(digits)
        if match is None:
            raise PhoneNotMobile(suggestion=_todays_form(digits))
    e164 = "+84" + match[1]
    return PhoneNumber(e164, carrier_hint(e164))


def carrier_hint(e164: str) -> Carrier | None:
    """
    Name the operator the prefix was given to; None for 095, 0990 and 0991, which were given to nobody we know.

    A hint and no more: numbers move between operators since 16 November 2018 (chuyển mạng giữ số), so neither
    routing, price nor the choice of an ownership source may rest on it alone.
    """
    return _CARRIER_BY_THREE_DIGITS.get(e164[3:6])


def mask(e164: str) -> str:
    """Show a number to its owner without giving it away: ``+84900000001`` → ``+84•••••0001``."""
    return f"{e164[:3]}•••••{e164[8:12]}"


def _todays_form(digits: str) -> str | None:
    """Convert a pre-2018 number of 11 digits to today's 10, with the national 0; None for anything else."""
    match = _PRE_2018.fullmatch(digits)
    return f"0{_RENUMBERED[match[1]]}{match[2]}" if match else None
