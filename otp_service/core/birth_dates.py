"""
Birth dates, in the forms that carriers and documents print: day before month, as in Vietnam.

============================================  =================================================================
printed                                       read as
============================================  =================================================================
01/01/1990, 1/1/1990, 01-01-1990, 01.01.1990  ``1990-01-01``
1990-01-01, 1990/1/1, 1990-01-01T00:00:00     ``1990-01-01``
19900101, 01011990                            ``1990-01-01``: no eight digits are a date both ways
01/01/90                                      ``1990-01-01``; 40 to 99 are of the last century, for no subscriber
                                              was born in 2040, and 00 to 39 might be of either: not read
1990, 00/00/1990, **/**/1990, 1990-00-00      ``1990``: only the year is known; so too when the day alone is not
============================================  =================================================================
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from typing import Final

from otp_service.core.evidence import OwnershipOutcome

#: A longer text is no date; it is not looked at.
_MAX_TEXT: Final = 40

_UNKNOWN: Final = r"\*{1,2}|x{1,2}"
_DAY_OR_MONTH: Final = rf"[0-9]{{1,2}}|{_UNKNOWN}"
#: Spreadsheets and databases print the first second of the day with a date.
_MIDNIGHT: Final = r"(?:[t ]00:00(?::00(?:\.0{1,9})?)?z?)?"

_FORMS: Final = tuple(re.compile(form, re.ASCII) for form in (
    rf"(?P<day>{_DAY_OR_MONTH}) ?([/.-]) ?(?P<month>{_DAY_OR_MONTH}) ?\2 ?(?P<year>[0-9]{{4}}|[4-9][0-9]){_MIDNIGHT}",
    rf"(?P<year>[0-9]{{4}}) ?([/.-]) ?(?P<month>{_DAY_OR_MONTH}) ?\2 ?(?P<day>{_DAY_OR_MONTH}){_MIDNIGHT}",
    r"(?P<year>(?:19|20)[0-9]{2})(?P<month>0[0-9]|1[0-2])(?P<day>[0-9]{2})",
    r"(?P<day>[0-9]{2})(?P<month>[0-9]{2})(?P<year>(?:19|20)[0-9]{2})",
    r"(?P<day>)(?P<month>)(?P<year>[0-9]{4})",
))

_FIRST_YEAR: Final = 1900
_LAST_YEAR: Final = 2099


def birth_date_key(text: str) -> str | None:
    """Return ``YYYY-MM-DD``, ``YYYY`` where only the year is known, or None for what is no date; see the table."""
    if len(text) > _MAX_TEXT:
        return None
    form = " ".join(unicodedata.normalize("NFKC", text).lower().split())
    found = next((match for pattern in _FORMS if (match := pattern.fullmatch(form))), None)
    if found is None:
        return None
    year = int(found["year"].rjust(3, "9").rjust(4, "1"))
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        return None
    day, month = _number(found["day"]), _number(found["month"])
    try:
        # A day or month that is not known is one that every year has.
        exact = date(year, month or 1, day or 1)
    except ValueError:
        # The 31st of June is no date, as little as the 40th of May.
        return None
    return exact.isoformat() if day and month else str(year)


def compare_birth_dates(given: str | None, on_record: str | None) -> OwnershipOutcome:
    """
    Compare a form's birth date, ISO 8601, with a subscriber record's in any form.

    A year alone is too little for a match, one in sixty share it: years that agree are ``NOT_AVAILABLE``, years that
    differ a ``MISMATCH``.  What is missing or cannot be read is ``NOT_AVAILABLE``.
    """
    one, two = birth_date_key(given or ""), birth_date_key(on_record or "")
    if one is None or two is None:
        return OwnershipOutcome.NOT_AVAILABLE
    if one[:4] != two[:4]:
        return OwnershipOutcome.MISMATCH
    if len(one) != len(two) or len(one) == 4:
        return OwnershipOutcome.NOT_AVAILABLE
    return OwnershipOutcome.MATCH if one == two else OwnershipOutcome.MISMATCH


def _number(part: str) -> int:
    """Return a day or month; 0 when it is not known."""
    return int(part) if part.isdigit() else 0
