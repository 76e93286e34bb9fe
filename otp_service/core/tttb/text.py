"""
The text of a reply of 1414, made ready to be read: one form for all ways to write it, no links, no command.

The link of a reply of 2026 carries ID number, phone number and a one-time code in its query: it leads to data, it is
none.  What the person sent (``TTTB 052090000001``) often stands above the reply in a copied talk: it is the question,
not the answer.  Neither is ever looked at.

Whoever writes a pattern for a reply bounds each repeat, so that no text makes it slow; a test holds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from otp_service.core.names import plain

#: Characters of a reply that are taken; it is three SMS at most, and a talk copied with it some more.
MAX_TEXT: Final = 2_000

#: A link begins with a scheme or with a host name; "A.Ngay" is a name and a label, and "A.Ly" is, too.
_LINK: Final = re.compile(
    r"[a-z][a-z0-9+]{0,20}://|www\."
    r"|(?:[a-z0-9-]{1,63}\.){1,4}(?:(?:vn|com|net|org)(?![a-z0-9])|[a-z]{2,10}/)",
)

#: What a line break leaves of a link is known by its query.
_QUERY: Final = re.compile(r"[?&][a-z0-9_]{1,20}=")

#: Dashes, masks, and characters that are as good as a blank.
_SAME: Final = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
    | dict.fromkeys("•●∗✱", "*")
    | dict.fromkeys("_<>[]{}|\"'`‘’“”«»", " "),
)

#: The number that was asked about, as far as the command goes.
_COMMAND: Final = re.compile(
    r"(?<!\w)tttb[ :=]{0,3}(?:(?:so|cccd|cmnd|cmt|giay to|can cuoc|la)[ :/=]{0,3}){0,4}"
    r"[0-9x*](?:[ .-]?[0-9x*]){3,11}(?![\w*])",
)

#: A camera's 0 in place of an o: "giay t0".  An x before it is a mask.
_ZERO_IN_WORD: Final = re.compile(r"(?<=[a-wyz])0(?![0-9*x])")

#: A date, parts of it perhaps not shown.
DATE: Final = re.compile(
    r"(?<![\w*])(?:[0-9x*]{1,2}([/.-])[0-9x*]{1,2}\1[0-9]{4}|[0-9]{4}([/.-])[0-9x*]{1,2}\2[0-9x*]{1,2})(?!\w)",
)


def blot(text: str, parts: Iterable[tuple[int, int]]) -> str:
    """Return the text with parts made unreadable, and all else where it was."""
    chars = list(text)
    for start, end in parts:
        chars[start:end] = "#" * (end - start)
    return "".join(chars)


def prepare(text: str) -> str:
    """
    Return a reply without accents, case, links and command, on one line with single blanks.

    A longer text than :data:`MAX_TEXT` comes out empty, and so does one that grows beyond it (one Arabic character
    stands for eighteen).
    """
    if len(text) > MAX_TEXT:
        return ""
    bare = " ".join(_without_link(plain(word)) for word in text.split())
    if len(bare) > MAX_TEXT:
        return ""
    line = " ".join(bare.translate(_SAME).split())
    return " ".join(_ZERO_IN_WORD.sub("o", _COMMAND.sub(" ", line)).split())


def _without_link(word: str) -> str:
    """
    Cut a word off where a link begins; nothing is left of one with a query.

    It is one word of the text as it came: without its accents it may have blanks, and they do not end a link.
    """
    if _QUERY.search(word):
        return ""
    link = _LINK.search(word)
    return word[:link.start()] if link else word
