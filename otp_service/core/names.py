"""
People's names, compared as a form and a carrier write them: "Nguyễn Văn A" is "NGUYEN VAN A" is "A NGUYEN VAN".

Carriers print names without accents and in capitals, forms ask for them "có dấu", and some systems put the given name
first: accents, case, punctuation and the order of words say nothing.  Everything else does: a word too many, a word
abbreviated ("NGUYEN V A") or two glued together ("NGUYENVAN A") are another name.  That errs towards a mismatch on
purpose: the name only ever supports an ID number or a birth date, and a person can be asked to write it as their
document has it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from otp_service.core.evidence import OwnershipOutcome

_MATCH: Final = OwnershipOutcome.MATCH
_MISMATCH: Final = OwnershipOutcome.MISMATCH
_NOT_AVAILABLE: Final = OwnershipOutcome.NOT_AVAILABLE

#: Letters that have no decomposition: the Vietnamese đ, and two that look like it in old fonts and conversions.
_D: Final = str.maketrans({"đ": "d", "ð": "d", "ɖ": "d"})

_ZERO_WIDTH_SPACE: Final = "\u200b"

#: What stands for letters that are not shown, as :func:`plain` leaves it; a single x is a letter: "XUAN".
_MASKS: Final = str.maketrans(dict.fromkeys("•●∗✱", "*"))
#: Nobody has more names; pairing them up takes more than linear time.
_MOST_WORDS: Final = 20
_MASKED_BY_X: Final = re.compile(r"x{2,80}")


def plain(text: str) -> str:
    """
    Return text without accents and case; punctuation and blanks stay.

    Composed, decomposed and full-width forms come out the same.  Invisible characters go, except the zero-width
    space, which separates words: it becomes a blank.
    """
    bare = _without_marks(text.replace(_ZERO_WIDTH_SPACE, " "))
    # Folding the case makes new accents of some letters: the Turkish capital İ becomes an i and a dot.
    return _without_marks(bare.casefold()).translate(_D)


def fold(text: str) -> str:
    """Return letters and digits only, as :func:`plain`, with single blanks between words."""
    return " ".join("".join(char if char.isalnum() else " " for char in plain(text)).split())


def name_key(name: str) -> str:
    """Return what all ways to write a name have in common: folded words in alphabetical order; empty for no name."""
    return " ".join(sorted(fold(name).split()))


def compare_names(given: str | None, on_record: str | None) -> OwnershipOutcome:
    """
    Compare a form's name with a subscriber record's.

    A record may be masked: "NGUYEN V** A", "N***** VAN A", "NGUYEN VXX A".  It then matches when it has as many
    words, each fits one of the given words letter by letter, and at least half of its letters are shown.  Shown
    letters that fit nowhere are a mismatch.  All between is ``NOT_AVAILABLE``: a mask may have any length and may
    hide a blank.

    Returns:
        ``MATCH``, ``MISMATCH``, or ``NOT_AVAILABLE`` also when one of the two has no letter.
    """
    given_key = name_key(given or "")
    masked = _masked_words(on_record or "")
    if not given_key or not any(char.isalnum() for word in masked for char in word):
        return _NOT_AVAILABLE
    if any("*" in word for word in masked):
        return _compare_masked(given_key.split(), masked)
    return _MATCH if given_key == " ".join(sorted(masked)) else _MISMATCH


def _without_marks(text: str) -> str:
    """Decompose, and drop combining marks and characters that only steer the others."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(char for char in decomposed if unicodedata.category(char) not in {"Mn", "Me", "Cf"})


def _masked_words(name: str) -> list[str]:
    """Return a record's folded words, with ``*`` for each letter that is not shown."""
    text = _MASKED_BY_X.sub(lambda run: "*" * len(run[0]), plain(name).translate(_MASKS))
    return "".join(char if char.isalnum() or char == "*" else " " for char in text).split()


def _compare_masked(given: Sequence[str], on_record: Sequence[str]) -> OwnershipOutcome:
    """Compare words with words of which some are masked."""
    shown = Counter(word for word in on_record if "*" not in word)
    if shown - Counter(given):
        return _MISMATCH
    if len(on_record) > _MOST_WORDS:
        return _NOT_AVAILABLE
    left = list((Counter(given) - shown).elements())
    masked = [word for word in on_record if "*" in word]
    if len(left) != len(masked):
        return _NOT_AVAILABLE
    if not _pairs_up(left, masked, _may_be):
        return _MISMATCH
    letters = "".join(on_record)
    enough = 2 * letters.count("*") <= len(letters)
    return _MATCH if enough and _pairs_up(left, masked, _fits) else _NOT_AVAILABLE


def _may_be(word: str, masked: str) -> bool:
    """Whether the letters shown at both ends agree, whatever the mask's length."""
    head, tail = masked[:masked.index("*")], masked[masked.rindex("*") + 1:]
    return len(word) > len(head) + len(tail) and word.startswith(head) and word.endswith(tail)


def _fits(word: str, masked: str) -> bool:
    """Whether each letter shown agrees, one ``*`` being one letter."""
    return len(word) == len(masked) and all(two in {one, "*"} for one, two in zip(word, masked, strict=True))


def _pairs_up(words: Sequence[str], masked: Sequence[str], fit: Callable[[str, str], bool]) -> bool:
    """Whether each masked word can have a word of its own (augmenting paths; names have few words)."""
    word_of: dict[int, int] = {}

    def place(mask: int, tried: set[int]) -> bool:
        for at, word in enumerate(words):
            if at in tried or not fit(word, masked[mask]):
                continue
            tried.add(at)
            if at not in word_of or place(word_of[at], tried):
                word_of[at] = mask
                return True
        return False

    return all(place(mask, set()) for mask in range(len(masked)))
