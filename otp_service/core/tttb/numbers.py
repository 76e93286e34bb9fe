"""
Numbers of a 1414 reply that look like an ID number and stand behind no label that is known.

They prove nothing, but they must not be overlooked: a reply whose label nobody knows may carry somebody else's number
beside a name and a birth date that many share.  A person's eye or a camera may have broken one: an O for a 0, an l for
a 1, blanks between its groups.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from otp_service.core.tttb.text import DATE, blot

_LENGTHS: Final = frozenset({9, 12})

#: Phones, hotlines and landlines: no ID number has ten digits and a 0, or eleven and an 84, in front.
_PHONES: Final = re.compile(
    r"(?<![\w*+])(?:(?:\(?\+?84\)?|0) ?[35789](?:[ .-]?[0-9]){8}|(?:\(?\+84\)?|0)2(?:[ .-]?[0-9]){9}"
    # A hotline has no digits before it: "0002-1800-0002" is an ID number in groups.
    r"|(?<![0-9][ ./-])1[89]00(?:[ .-]?[0-9]){4}(?:[0-9]{2})?)(?![\w*])",
)

#: Digits in one piece, whatever letters stand at them ("CCCD052090000001").
_DIGITS: Final = re.compile(r"(?<![0-9*])(?:[0-9]{9}|[0-9]{12})(?![0-9*])")

_GROUP: Final = r"[0-9x*oil]{1,16}"
_RUN: Final = re.compile(rf"(?<![\w*])({_GROUP}(?:(?:[ ./-]{{1,3}}|,){_GROUP}){{0,15}})(?![\w*])")
_BETWEEN: Final = re.compile(r"[ ./,-]{1,3}")

_AS_DIGITS: Final = str.maketrans("oilx", "011*")

#: Fewer places than these, and fewer digits in what was broken, are no ID number.
_FEWEST_PLACES: Final = 6
_FEWEST_DIGITS: Final = 3


def read_unlabelled(text: str, taken: Iterable[tuple[int, int]]) -> tuple[str, ...]:
    """
    Return numbers that look like ID numbers, as digits with ``*`` where they are masked, each once.

    Args:
        text: see ``core/tttb/text.py``.
        taken: parts of the text that were read as something else, from and to.
    """
    text = blot(text, taken)
    for known in (DATE, _PHONES):
        text = blot(text, (found.span() for found in known.finditer(text)))
    numbers = [found[0] for found in _DIGITS.finditer(text)]
    for run in _RUN.finditer(text):
        numbers += _in_groups([group for group in _BETWEEN.split(run[1]) if group])
    return tuple(dict.fromkeys(numbers))


def _in_groups(groups: list[str]) -> Iterator[str]:
    """Yield the ID numbers that neighbouring groups make, a group alone first."""
    groups = [group.translate(_AS_DIGITS) if _may_be_digits(group) else "" for group in groups]
    for at, first in enumerate(groups):
        if not first:
            continue
        if "*" in first and len(first) >= _FEWEST_PLACES and first.strip("*"):
            yield first
            continue
        for number in accumulate(_until_empty(groups[at:])):
            if len(number) in _LENGTHS and sum(char != "*" for char in number) >= _FEWEST_DIGITS:
                yield number


def _until_empty(groups: Iterable[str]) -> Iterator[str]:
    for group in groups:
        if not group:
            return
        yield group


def _may_be_digits(group: str) -> bool:
    """Whether a group has a digit or a mask in it, or is an 0 written as a letter, several times."""
    return any(char in "0123456789*" for char in group) or (set(group) in ({"o"}, {"x"}) and len(group) > 1)
