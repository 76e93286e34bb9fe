"""
What a 1414 reply says in words: wrong syntax, no such document, nothing to show, or any no at all.

No source has a carrier's refusal, so the phrases are those that the language offers, and any no makes a reply unfit to
prove something.  What stands behind "nếu" (if) says nothing: "Nếu thông tin không đúng, liên hệ 198" stands under good
data.  That is so up to the end of the clause alone, and never from "khi" (when) on: "khi tra cứu không khớp" is a no.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final

from otp_service.core.tttb.text import blot


def _phrase(*words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)")


class Phrase(Enum):
    """
    What words can say.

    ``NO`` is any no at all, any lock, end or change of owner: whatever data stand in such a text prove nothing.
    ``ASKS`` is somebody who asks 1414, or a form that 1414 wants filled in.
    """

    WRONG_SYNTAX = _phrase(
        r"(?:sai|loi|khong dung|chua dung) cu phap"
        r"|cu phap [a-z ]{0,20}(?:sai|khong dung|chua dung|khong hop le)",
    )
    NEGATIVE = _phrase(
        r"(?:khong|chua) (?:trung )?khop|khong (?:trung|dung|chinh chu|thuoc|ton tai|hop le|so huu|phai)",
        # "Thông tin có thể chưa chính xác" is a notice to all.
        r"(?<!co the )(?:khong|chua) chinh xac",
        r"khong dang ky(?! thong tin)",
        r"khong (?:tim )?thay(?! (?:thong tin|du lieu|ket qua)(?![^.;!?]{0,80}(?:giay to|cccd|cmnd|can cuoc)))",
        r"khong co (?>(?:so )?(?:thue bao|so|tb))(?! (?:nao )?khac)",
        r"chua (?:chinh chu|dang ky (?:cho|bat ky|so|thue bao|tb))|sai (?:so )?(?:giay to|thong tin|cccd|cmnd)",
        r"(?:da|bi|tam) (?:bi )?(?:khoa|huy|chan|ngung|cham dut|thu hoi)|khoa (?:1|2|mot|hai|ca hai) chieu",
        r"not match|does not belong",
    )
    UNREGISTERED = _phrase(
        r"(?:chua|khong) (?:duoc )?(?:dang ky|cap nhat|khai bao|co) (?:day du )?(?:thong tin|giay to)",
        r"chua (?:duoc )?dang ky|not registered",
    )
    NOTHING = _phrase(r"khong (?:(?:tim )?thay|co) (?:thong tin|du lieu|ket qua)")
    NO_DATA = _phrase(
        r"vneid|ung dung|truy cap|my (?:mobifone|viettel|vnpt)|tra cuu tai|thu lai sau",
        r"he thong (?:dang )?(?:ban|bao tri|nang cap|qua tai)",
    )
    ASKS = _phrase(r"toi (?:ten|la|muon|can)|(?:giup|cho|nho) toi|kiem tra giup|nho kiem tra|xin (?:kiem tra|hoi|chao)")
    NO = _phrase(
        r"khong|chua|sai(?! gon)|ko|kg|chang|k(?:h|hg)?(?= (?:khop|dung|trung|phai|co|hop|thuoc|ton))",
        r"hong (?:khop|dung|trung|phai)|lech|trat(?! tu)|nham",
        # The same, with blanks or dots between the letters.
        r"k[ .-]?h[ .-]?o[ .-]?n[ .-]?g|c[ .-]?h[ .-]?u[ .-]?a|s[ .-]a[ .-]i",
        r"(?<!quyen )(?<!tien )(?<!thuan )loi(?! ich)|tu choi|that bai|gia mao|vi pham|nghi (?:ngo|van)|tranh chap",
        r"huy|khoa|cham dut|thu hoi|ngung|ngat|(?:tam|bi) dung|chan(?! (?:thanh|trong))|vo hieu|xoa|loai bo|go bo",
        r"(?<!thiet )(?<!chuan )(?<!trang )bi(?! mat)|het hieu luc|(?<!ngay )(?<!thoi han )het han",
        r"khac|(?:chu(?: (?:so huu|thue bao|nhan))?|so|nguoi|thong tin|giay to|cccd|cmnd) cu(?! phap)|truoc day",
        r"chuyen (?:nhuong|quyen|chu|so huu)|sang ten|dang (?:cho|xu ly)|cho (?:duyet|xac|phe duyet|xu ly|kiem)",
        # Not a person's SIM, or not this person's.
        r"chu (?:the )?hop dong|to chuc|doanh nghiep|nguoi su dung|dai dien",
        r"(?:(?<=[:=])|(?<=[:=] ))no|no(?= ?(?:[.,;)]|$))|not|never|without|cannot|does ?n|is ?n|false|invalid|wrong",
        r"incorrect|error|unknown",
        r"mismatch(?:ed)?|unmatched|differs?|different|other|inactive|denied|reject(?:ed)?|fail(?:ed)?|cancell?ed",
        r"suspended|(?:un|b)?locked|blocked|terminated|expired",
    )


#: Letters that no carrier writes, and single ones in a row: a word made to look like another.
_DISGUISED: Final = re.compile(r"[^\W\d_a-z]|(?<!\w)[a-z](?:[ .-][a-z]){3}(?!\w)")

#: People's names that are a no elsewhere: Khoa, Huy, Khắc, Lợi, Chấn, Ngát, Hồng, Nhâm, Chàng, Nở and, first, Khổng.
_ALSO_NAMES: Final = _phrase(r"khoa|huy|khac|loi(?! (?:he thong|ket noi))|chan|ngat|hong|nham|chang|no|khong")

#: What carriers add to good data although there is a "no" in it.
_BOILERPLATE: Final = (
    _phrase(r"khong co (?:so )?(?:thue bao|so|tb) (?:nao )?khac"),
    _phrase(r"(?:va|con|cung) (?:[0-9]{1,3} |nhieu |cac )?(?:so|thue bao|tb)(?: thue bao)? khac"),
    _phrase(r"khong (?:tinh|mat|thu|ton) (?:phi|cuoc|tien)"),
    _phrase(r"khong (?:cung cap|chia se|tiet lo) [a-z ]{0,30}cho (?:bat ky ai|nguoi (?:la|khac))"),
    _phrase(r"(?:de )?tu choi (?:nhan )?(?:tin nhan |tin )?(?:qc|quang cao)"),
)

# -- if ----------------------------------------------------------------------------------------------------------------

_IF: Final = _phrase(r"neu|truong hop(?! (?:cua|nay|tren))|if|de (?:khong|tranh)")
_IF_END: Final = re.compile(
    r"[,:()/]|[.;!?#]|(?<!\w)(?:vui long|lien he|xin|de nghi|goi|hay|soan|thi|please|contact)(?!\w)",
)
_SENTENCE_END: Final = re.compile(r"[.;!?](?!\w)")

#: How far an "if" reaches, in characters.
_IF_REACH: Final = 80

#: What stands between "if" and what is said of it: "Nếu thông tin (họ tên, ngày sinh) không đúng".
_SUBJECT_WORDS: Final = (
    "trong truong hop neu if cac thong tin ho va ten ngay sinh so giay to cccd cmnd can cuoc thue bao tb chu tren nay "
    "cua quy khach ban minh hoac dang ky noi cap information the"
)
_SUBJECTS: Final = frozenset(_SUBJECT_WORDS.split())
_INNER_MARKS: Final = frozenset(",:()/")


def conditions(text: str) -> list[tuple[int, int]]:
    """Return the clauses that an "if" opens, from and to."""
    return [(found.start(), _clause_end(text, found.end())) for found in _IF.finditer(text)]


def in_case(text: str) -> list[tuple[int, int]]:
    """Return what an "if" may still govern, to the end of its sentence: data there are nobody's."""
    found = []
    for one in _IF.finditer(text):
        reach = min(len(text), one.end() + _IF_REACH)
        end = _SENTENCE_END.search(text, one.end(), reach)
        found.append((one.start(), end.start() if end else reach))
    return found


def _clause_end(text: str, start: int) -> int:
    reach = min(len(text), start + _IF_REACH)
    at = start
    for end in _IF_END.finditer(text, start, reach):
        # A comma within what is spoken of ends nothing.
        subject = all(word in _SUBJECTS for word in re.findall(r"\w{1,40}", text[at:end.start()]))
        if not subject or end[0] not in _INNER_MARKS:
            return end.start()
        at = end.end()
    return reach


# -- what is said ------------------------------------------------------------------------------------------------------


def said(text: str, names: Iterable[tuple[int, int]]) -> frozenset[Phrase]:
    """
    Return what a prepared text (``core/tttb/text.py``) says.

    Args:
        text: the reply.
        names: where people's names stand: Khoa is one there, and "khoá" (locked) elsewhere.
    """
    text = blot(text, conditions(text))
    found = {Phrase.WRONG_SYNTAX} if Phrase.WRONG_SYNTAX.value.search(text) else set()
    # "Không đúng cú pháp" is not "không đúng": what is said of the syntax is said of nothing else.
    for pattern in (Phrase.WRONG_SYNTAX.value, *_BOILERPLATE):
        text = blot(text, (one.span() for one in pattern.finditer(text)))
    nameless = blot(text, (one.span() for name in names for one in _ALSO_NAMES.finditer(text, *name)))
    found |= {phrase for phrase in Phrase if phrase is not Phrase.NO and phrase.value.search(text)}
    if Phrase.NO.value.search(nameless) or _DISGUISED.search(nameless):
        found.add(Phrase.NO)
    return frozenset(found)


def worded(text: str) -> str:
    """Return a text without the clauses and sentences that say nothing."""
    text = blot(text, conditions(text))
    for pattern in _BOILERPLATE:
        text = blot(text, (one.span() for one in pattern.finditer(text)))
    return text


# -- forms -------------------------------------------------------------------------------------------------------------

_FILL_IN: Final = _phrase(r"soan|nhap|dien|khai bao|ke khai|cu phap|vi du|vd|mau")
_SENT: Final = re.compile(r"gui (?:den |toi )?[0-9]{3,5}(?!\w)")
_SENT_OFF: Final = re.compile(r"[ ,;)]{0,3}(?:va )?gui (?:den |toi )?[0-9]{3,5}(?!\w)")

#: How far behind "soạn" the first field of a form may stand, in characters.
_FORM_REACH: Final = 60


def is_form(text: str, values: Iterable[tuple[int, int]]) -> bool:
    """Whether values stand in what is to be written, ``values`` being where they do: "Soạn: Họ tên: … gửi 1414"."""
    values = sorted(values)
    return any(_SENT_OFF.match(text, end) for _, end in values) or any(_opens_form(text, start) for start, _ in values)


def _opens_form(text: str, value: int) -> bool:
    before = text[max(0, value - _FORM_REACH):value]
    return any(not _SENT.search(before, found.end()) for found in _last(_FILL_IN.finditer(before)))


def _last(found: Iterator[re.Match[str]]) -> list[re.Match[str]]:
    return list(found)[-1:]
