"""
What a 1414 reply says in words where it shows no subscriber: wrong syntax, no such document, nothing to show.

No source has a carrier's refusal, so the phrases are those that the language offers.  A phrase behind "nếu" (if) or
"trường hợp" (in case) says nothing: "Nếu thông tin không đúng, liên hệ 198" stands under good data.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final


def _phrase(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{words})(?!\w)")


class Phrase(Enum):
    """
    What words can say.

    ``NO`` is any no at all: an ID number in such a text may be the one that was asked about.
    """

    WRONG_SYNTAX = _phrase(
        r"(?:sai|khong dung|chua dung) cu phap|cu phap [a-z ]{0,20}(?:sai|khong dung|chua dung|khong hop le)",
    )
    NEGATIVE = _phrase(
        r"(?:khong|chua) (?:trung )?khop|khong (?:trung|dung|chinh xac|chinh chu|thuoc|ton tai|hop le|so huu)"
        r"|khong (?:dang ky(?! thong tin)|phai (?:la )?(?:chu|cua)|(?:tim )?thay)"
        r"|khong co (?>(?:so )?(?:thue bao|so|tb))(?! (?:nao )?khac)"
        r"|chua (?:chinh chu|dang ky (?:cho|bat ky|so|thue bao|tb))|sai (?:so )?(?:giay to|thong tin|cccd|cmnd)"
        r"|not match|does not belong",
    )
    UNREGISTERED = _phrase(
        r"(?:chua|khong) (?:duoc )?(?:dang ky|cap nhat|khai bao|co) (?:day du )?(?:thong tin|giay to)"
        r"|chua (?:duoc )?dang ky|not registered",
    )
    NO_DATA = _phrase(
        r"vneid|ung dung|truy cap|my (?:mobifone|viettel|vnpt)|tra cuu tai|khong co du lieu|thu lai sau"
        r"|he thong (?:dang )?(?:ban|bao tri|nang cap|qua tai)",
    )
    NO = _phrase("khong|chua|sai|loi|tu choi|that bai|not|invalid|wrong|incorrect")


_IF: Final = _phrase("neu|truong hop|khi|if")

#: How far before a phrase an "if" still governs it, in characters.
_IF_REACH: Final = 80


def said(text: str) -> frozenset[Phrase]:
    """Return what a prepared text (``core/tttb/text.py``) says."""
    found = {Phrase.WRONG_SYNTAX} if _says(text, Phrase.WRONG_SYNTAX) else set()
    # "Không đúng cú pháp" is not "không đúng": what is said of the syntax is said of nothing else.
    rest = Phrase.WRONG_SYNTAX.value.sub(" ", text)
    return frozenset(found | {phrase for phrase in Phrase if _says(rest, phrase)})


def _says(text: str, phrase: Phrase) -> bool:
    return any(not _in_case(text, found.start()) for found in phrase.value.finditer(text))


def _in_case(text: str, start: int) -> bool:
    """Whether an "if" stands before a place, in the same sentence."""
    before = re.split(r"[.;!?]", text[max(0, start - _IF_REACH):start])[-1]
    return _IF.search(before) is not None
