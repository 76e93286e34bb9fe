"""
What has just happened: the message at the top of the page that a form's answer redirects to.

The address carries one word of a closed set and at most one number, because the page of a refusal must survive a
refresh, and because nobody must be able to write a message of their own into a link.  The numbers that a person
reads are the verification's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from otp_service.core.errors import InvalidRequest, Refusal
from otp_service.core.limits import FAILURE_MEMORY_S
from otp_service.core.verification import Delivery, Verification
from otp_service.web.pages.situation import code_is_over, delivery_text, resend_in_s
from otp_service.web.pages.words import Words

#: The longest wait that is told in time: the longest there is (``core/limits.py``), and a day for rounding.  A link
#: that somebody else wrote says no more than that.
_LONGEST_S: Final = FAILURE_MEMORY_S + 86_400
_SECONDS: Final = re.compile(r"[0-9]{1,11}")


class Said(StrEnum):
    """What the address may say: the codes of refusals, and two words of our own."""

    RESENT = "resent"
    CODE_MALFORMED = "code_malformed"
    WRONG_CODE = "wrong_code"
    CODE_EXPIRED = "code_expired"
    GUESS_TOO_SOON = "guess_too_soon"
    RESEND_TOO_SOON = "resend_too_soon"
    SENDS_EXHAUSTED = "sends_exhausted"
    RATE_LIMITED = "rate_limited"


#: Refusals of what stands in the field.
_ABOUT_CODE: Final = frozenset({Said.WRONG_CODE, Said.CODE_MALFORMED})
#: What a page without the field does not tell.
_ABOUT_FIELD: Final = _ABOUT_CODE | {Said.GUESS_TOO_SOON}


@dataclass(frozen=True, slots=True)
class Notice:
    """
    A message.

    Attributes:
        text: the sentence.
        error: whether something came to nothing.
        code: whether that is the code in the field.
        limited: whether a limit refuses for a while, also what the cooldown alone would let pass.
        delivery: whether it tells what became of the newest SMS, so that nothing else needs to.
    """

    text: str
    error: bool = True
    code: bool = False
    limited: bool = False
    delivery: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """
    What an address says.

    Attributes:
        said: which message; None for none.
        until_s: until when to wait, unix seconds by the store's clock, so that a refresh does not begin it anew.
    """

    said: Said | None = None
    until_s: int = 0

    def query(self) -> dict[str, str]:
        """Return it for an address."""
        if self.said is None:
            return {}
        return {"said": self.said.value, **({"until": str(self.until_s)} if self.until_s else {})}


def word_of(refusal: Refusal, now_ms: int) -> Word:
    """Return what the address says of a refusal: nothing where the page itself shows how things stand."""
    said = Said.CODE_MALFORMED if isinstance(refusal, InvalidRequest) else _read(refusal.code)
    waits = said in {Said.GUESS_TOO_SOON, Said.RATE_LIMITED} and refusal.retry_after_s is not None
    return Word(said, -(-now_ms // 1000) + (refusal.retry_after_s or 0) if waits else 0)


def read_word(query: Mapping[str, str]) -> Word:
    """Read an address; what it should not say is passed over."""
    until = query.get("until", "")
    return Word(_read(query.get("said", "")), int(until) if _SECONDS.fullmatch(until) else 0)


def notice_of(word: Word, verification: Verification, words: Words) -> Notice | None:
    """Return the message, None where it is no longer true."""
    resend_s, over = resend_in_s(verification), code_is_over(verification)
    text = None if over and word.said in _ABOUT_FIELD else _refused(word, verification, words, resend_s)
    if text is not None:
        return Notice(text, code=word.said in _ABOUT_CODE, limited=word.said is Said.RATE_LIMITED)
    if over:
        again = {} if resend_s is None else {"resend_at": "later", "sends_left": verification.sends_left}
        return Notice(words.catalogue.problem(words.locale, Said.CODE_EXPIRED, again)[1])
    if verification.delivery is Delivery.FAILED:
        return Notice(delivery_text(verification, words), delivery=True)
    return Notice(words["said_resent"], error=False) if word.said is Said.RESENT else None


def _refused(word: Word, verification: Verification, words: Words, resend_s: int | None) -> str | None:
    catalogue, locale = words.catalogue, words.locale
    match word.said:
        case Said.WRONG_CODE:
            return words["said_wrong_code"]
        case Said.CODE_MALFORMED:
            return catalogue.field(locale, Said.CODE_MALFORMED)
        case Said.SENDS_EXHAUSTED if resend_s is None:
            return catalogue.problem(locale, Said.SENDS_EXHAUSTED, {})[1]
        case Said.RESEND_TOO_SOON if resend_s:
            return catalogue.problem(locale, Said.RESEND_TOO_SOON, {"retry_after": resend_s})[1]
        case (Said.GUESS_TOO_SOON | Said.RATE_LIMITED) as said:
            wait_s = word.until_s - verification.now_ms // 1000
            over = word.until_s and wait_s <= 0
            return None if over else catalogue.problem(locale, said, _told(wait_s))[1]
        case _:
            return None


def _told(wait_s: int) -> dict[str, int]:
    """Return what a sentence is filled with: no time where none is known or believable."""
    return {"retry_after": wait_s} if 0 < wait_s <= _LONGEST_S else {}


def _read(text: str) -> Said | None:
    return Said(text) if text in Said.__members__.values() else None
