"""
What a number in an Excel workbook looks like to a person: a date, digits with leading zeros, or just a number.

A cell names a format by its position; formats are built in (ISO/IEC 29500-1, 18.8.30) or spelled out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Final

from otp_service.ownership.subscribers.xlsx_package import Element

#: Formats that show a day: 14 to 17 and 22 everywhere, the others in East Asian programs.
_BUILT_IN_DATES: Final = frozenset({*range(14, 18), 22, *range(27, 32), 34, 35, 36, *range(50, 55), 57, 58})

#: What stands in a format and is no placeholder: text in quotes, an escaped character, a blank or fill, a colour.
_DECORATION: Final = re.compile(r'"[^"]*"|[\\_*].|\[[^\]]*\]', re.DOTALL)
_ZEROS: Final = re.compile(r"0{2,20}")

_LAST_DAY: Final = 2_958_465  # 9999-12-31
#: Day 60 is 29 February 1900, which never was (a fault kept for the sake of older programs).
_DAY_THAT_WAS_NOT: Final = 60
#: Larger numbers are not exact in a float.
_EXACT: Final = 1e15

_PLAIN: Final = 0
_DATE: Final = -1


class Styles:
    """
    The formats of a workbook.

    Args:
        elements: ``numFmt``, ``cellXfs``, ``cellStyleXfs`` and ``xf`` of its styles, in their order.
        from_1904: whether days are counted from 1904.
    """

    def __init__(self, elements: Iterable[Element] = (), *, from_1904: bool = False) -> None:
        self._from_1904 = from_1904
        #: By a cell's format: a date, a number, or so many digits at least.
        self._shown: list[int] = []
        codes: dict[str, str] = {}
        within = ""
        for name, attributes in elements:
            if name == "numFmt":
                codes[attributes.get("numFmtId", "")] = attributes.get("formatCode", "")
            elif name != "xf":
                within = name
            elif within == "cellXfs":
                number = attributes.get("numFmtId", "")
                self._shown.append(_shown_as(number, codes.get(number)))

    def text(self, number: str, style: str) -> str:
        """Return a number as the cell's format shows it; what is no number as it is."""
        at = int(style) if style.isdecimal() and len(style) < 9 else 0
        shown = self._shown[at] if at < len(self._shown) else _PLAIN
        try:
            value = float(number)
        except ValueError:
            return number
        if shown == _DATE and (day := self._day(value)):
            return day
        if not (value.is_integer() and abs(value) < _EXACT):
            return number
        return str(int(value)).zfill(max(0, shown))

    def _day(self, value: float) -> str:
        """Return the date of a count of days; its fraction is the time of day.  Empty when it is none."""
        if not 1 <= value <= _LAST_DAY:
            return ""
        first = date(1904, 1, 1) if self._from_1904 else date(1899, 12, 30 if value >= _DAY_THAT_WAS_NOT else 31)
        try:
            return (first + timedelta(days=int(value))).isoformat()
        except OverflowError:
            return ""


def _shown_as(number: str, code: str | None) -> int:
    if code is None:
        return _DATE if number.isdecimal() and int(number) in _BUILT_IN_DATES else _PLAIN
    bare = _DECORATION.sub("", code.split(";", 1)[0]).lower()
    if _ZEROS.fullmatch(bare):
        return len(bare)
    return _DATE if "d" in bare or "y" in bare else _PLAIN
