"""``Retry-After`` of an answer (RFC 9110 section 10.2.3): seconds, or an HTTP date."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

#: No source is left alone for longer on its own word: a mistake there must not put it out of use for a day.
MOST_S: Final = 3600.0

#: However many digits: who asks for years, or sends a Unix time, is left alone for the longest time, not for none.
_SECONDS: Final = re.compile(r"[0-9]+")


def retry_after_s(headers: Mapping[str, str], now_s: float, most_s: float = MOST_S) -> float | None:
    """
    Return how many seconds the other side wants to be left alone, from 0 to ``most_s``; never raises.

    None when it does not say, or says what is neither seconds nor a date.  A date counts from the answer's own
    ``Date``, so that a wrong clock on either side changes nothing; from ``now_s`` where there is none.

    Args:
        headers: with names in lower case.
        now_s: seconds since 1970.
    """
    said = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(said):
        return min(float(said), most_s)
    until_s = _seconds_of_date(said)
    if until_s is None:
        return None
    answered_s = _seconds_of_date(headers.get("date", "").strip())
    return min(max(until_s - (now_s if answered_s is None else answered_s), 0.0), most_s)


def _seconds_of_date(text: str) -> float | None:
    """Return an HTTP date in seconds since 1970; None for what is none."""
    try:
        date = parsedate_to_datetime(text)
        # The oldest of the three forms, asctime's, names no zone: it is UTC like the others.
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        # What is no date says nothing.
        return None
