"""How many SMS a text takes: the GSM 7-bit alphabet, and how long texts are cut (3GPP TS 23.038 and 23.040)."""

from __future__ import annotations

import re

#: The GSM 7-bit default alphabet (3GPP TS 23.038 section 6.2.1), without the escape to the extension table.
GSM7_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)

#: Its extension table (section 6.2.1.1): each costs two septets, the escape and the character.
GSM7_EXTENSION = "\f^{}\\[~]|€"

_BASIC_ONLY = re.compile(f"[{re.escape(GSM7_BASIC)}]*")
_GSM7_ONLY = re.compile(f"[{re.escape(GSM7_BASIC + GSM7_EXTENSION)}]*")


def is_gsm7(text: str) -> bool:
    """Whether a phone network carries the text in septets; one character outside makes all of it UCS-2."""
    return _GSM7_ONLY.fullmatch(text) is not None


def segments(text: str) -> int:
    """
    Count the SMS that a text takes; an empty text takes one.

    160 septets or 70 UTF-16 units fit into one SMS.  A longer text is concatenated, 153 or 67 to a part (3GPP
    TS 23.040 section 9.2.3.24.1), and neither an extension character nor a surrogate pair is cut in two.
    """
    if len(text) <= 160 and _BASIC_ONLY.fullmatch(text):
        return 1
    if is_gsm7(text):
        return _count_parts([2 if character in GSM7_EXTENSION else 1 for character in text], 160, 153)
    return _count_parts([2 if character > "\uffff" else 1 for character in text], 70, 67)


def _count_parts(widths: list[int], single: int, part: int) -> int:
    if sum(widths) <= single:
        return 1
    parts, used = 1, 0
    for width in widths:
        if used + width > part:
            parts, used = parts + 1, 0
        used += width
    return parts
