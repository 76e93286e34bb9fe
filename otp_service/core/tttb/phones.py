"""
The phone numbers of a 1414 reply: the SIM it is about, and the list of all SIMs under one document.

A mobile number needs no label: no ID number has ten digits and a 0, or eleven and an 84, in front.  A masked one does,
for a masked ID number looks the same.  What follows "liên hệ" or "hotline" is the carrier's own.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from otp_service.core.errors import PhoneNotMobile
from otp_service.core.phone import parse_mobile
from otp_service.core.tttb.fields import Field
from otp_service.core.tttb.text import DATE, blot

_FULL: Final = re.compile(r"(?<![\w*+])(?:\(?\+?84\)?|0)(?:[ .-]?[0-9]){9}(?![\w*])")
#: Eleven places at most, with 84 in front: twelve are a CCCD's.
_MASKED: Final = re.compile(r"(?<![\w*+])\+?[0-9x*]{7,11}(?![\w*])")

_SENTENCE_END: Final = re.compile(r"[.;!?](?: |$)")

#: A spreadsheet's number, without its 0; only right behind a label, for a CMND has nine digits, too.
_WITHOUT_ZERO: Final = re.compile(r"[ :=.,;-]{0,4}(?P<number>[35789][0-9]{8})(?![\w*])")

#: Numbers with no more than this between them are a list, whether it is called one or not.
_BETWEEN: Final = re.compile(r"[ ,;/&+-]{1,4}(?:(?:va|and) )?(?:[0-9]{1,2}[.)] ?)?")

#: Behind the last number of a list: it goes on elsewhere, or the SMS ended within it.
_GOES_ON: Final = re.compile(
    r"[ ,;]{0,3}(?:\.\.|(?:va|con|and) (?:[0-9]{1,3} )?(?:so|thue bao|tb|nhieu|more)|xem (?:them|tiep|day du)"
    r"|va$|[+0-9]{1,9}$)|[ ]?[,;&-] ?$",
)

_FEWEST_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class ReadPhones:
    """
    The numbers of a reply: E.164, or national digits with ``*`` where they are masked; each once.

    Attributes:
        single: those that do not stand in a list.
        listed: those that do.
        cut_off: the list goes on where the text does not.
        spans: where they stand, from and to.
    """

    single: tuple[str, ...] = field(default=(), repr=False)
    listed: tuple[str, ...] = field(default=(), repr=False)
    cut_off: bool = False
    spans: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class _Phone:
    number: str = field(repr=False)
    start: int
    end: int
    in_list: bool


def read_phones(text: str, fields: list[Field], taken: Iterable[tuple[int, int]]) -> ReadPhones:
    """
    Read the phone numbers of a prepared text.

    Args:
        text: see ``core/tttb/text.py``.
        fields: its labels.
        taken: parts of the text that were read as something else, from and to.
    """
    text = blot(text, [*taken, *(found.span() for found in DATE.finditer(text)), *contacts(text, fields)])
    found = _find(text, fields)
    single, listed, end = [], [], None
    for at, one in enumerate(found):
        if one.in_list or _has_neighbour(text, found, at):
            listed.append(one.number)
            end = one.end
        else:
            single.append(one.number)
    return ReadPhones(
        single=tuple(dict.fromkeys(single)),
        listed=tuple(dict.fromkeys(listed)),
        cut_off=end is not None and _GOES_ON.match(text, end) is not None,
        spans=tuple((one.start, one.end) for one in found),
    )


def contacts(text: str, fields: Iterable[Field]) -> Iterator[tuple[int, int]]:
    """Yield where the carrier's own numbers stand: from the label to the end of the sentence."""
    for contact in fields:
        if contact.label == "contact":
            sentence_end = _SENTENCE_END.search(text, contact.start, contact.end)
            yield contact.start, sentence_end.start() if sentence_end else contact.end


def _find(text: str, fields: list[Field]) -> list[_Phone]:
    """Return full numbers from anywhere and masked ones from behind a label, in the order of the text."""
    starts = [one.start for one in fields]
    found = []
    for match in _FULL.finditer(text):
        try:
            number = parse_mobile(match[0]).e164
        except PhoneNotMobile:
            # A landline, a hotline, digits that mean something else.
            continue
        at = bisect_right(starts, match.start()) - 1
        found.append(_Phone(number, *match.span(), at >= 0 and fields[at].label == "list"))
    for one in fields:
        if one.label not in {"phone", "list"}:
            continue
        found += _without_zero(text, one)
        for match in _MASKED.finditer(text, one.start, one.end):
            number = match[0].replace("x", "*")
            shown = len(number) - number.count("*")
            if "*" in number and shown >= _FEWEST_SHOWN:
                found.append(_Phone(_national(number), *match.span(), one.label == "list"))
    return sorted(found, key=lambda one: one.start)


def _without_zero(text: str, label: Field) -> Iterator[_Phone]:
    """Yield the numbers right behind a label that lack their 0."""
    at = label.start
    while (match := _WITHOUT_ZERO.match(text, at, label.end)) is not None:
        at = match.end()
        with suppress(PhoneNotMobile):
            number = parse_mobile("0" + match["number"]).e164
            yield _Phone(number, *match.span("number"), label.label == "list")


def _national(masked: str) -> str:
    """Return ``0900***001`` of ``+84900***001`` and ``84900***001``."""
    without = masked.removeprefix("+")
    return "0" + without[2:] if without.startswith("84") else without


def _has_neighbour(text: str, found: list[_Phone], at: int) -> bool:
    """Whether another number stands right before or behind one."""
    before = at > 0 and _BETWEEN.fullmatch(text, found[at - 1].end, found[at].start)
    behind = at + 1 < len(found) and _BETWEEN.fullmatch(text, found[at].end, found[at + 1].start)
    return bool(before or behind)
