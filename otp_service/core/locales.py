"""Which language a person is answered in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

#: Characters and ranges of an Accept-Language header that are looked at; browsers send fewer than 100 and 10.
_HEADER_MAX = 512
_RANGES_MAX = 32

_RANGE = re.compile(
    r"[ \t]*(\*|[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)"
    r"[ \t]*(?:;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?[ \t]*"
)


def negotiate_locale(
    accept_language: str | None, explicit: str | None, locales: Sequence[str], default: str = "vi",
) -> str:
    """
    Choose one of ``locales``: the explicit one, else the best of Accept-Language, else ``default``.

    ``en-GB`` is served by ``en`` (RFC 4647 section 3.4).  What is not a language range or has a bad weight (RFC
    9110 section 12.4.2) is passed over; of a long header only the beginning counts.
    """
    available = tuple(locales)
    if explicit is not None and (match := _serve(explicit.lower(), available)) is not None:
        return match
    if not accept_language:
        return default
    return _negotiate(accept_language[:_HEADER_MAX], available, default)


@lru_cache(maxsize=256)
def _negotiate(header: str, locales: tuple[str, ...], default: str) -> str:
    matches = map(_RANGE.fullmatch, header.split(",", _RANGES_MAX)[:_RANGES_MAX])
    weighted = [(float(match[2] or 1), match[1].lower()) for match in matches if match is not None]
    named = {_serve(tag, locales) for _, tag in weighted if tag != "*"}
    unnamed = [locale for locale in (default, *locales) if locale not in named]
    # The sort is stable: of two with the same weight, the one written first wins.
    for weight, tag in sorted(weighted, key=lambda pair: -pair[0]):
        if weight == 0:
            break
        if tag == "*":
            if unnamed:
                return unnamed[0]
        elif (locale := _serve(tag, locales)) is not None:
            return locale
    return default


def _serve(tag: str, locales: tuple[str, ...]) -> str | None:
    """Return the locale that serves a lower-case language tag, the longest match first (RFC 4647 section 3.4)."""
    while tag:
        if tag in locales:
            return tag
        tag = tag.rpartition("-")[0]
    return None
