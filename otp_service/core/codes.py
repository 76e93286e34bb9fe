"""
One-time codes: HOTP (RFC 4226) over a secret derived for one verification, counted by its send number.

Nothing is drawn at random and nothing is stored: whoever holds the key ring derives the same code again, so the
worker can render an SMS from an id and a number, and the store keeps only a keyed digest.
"""

from __future__ import annotations

import re

import pyotp

from otp_service.core.keyring import KeyRing

_CODE = re.compile(r"[0-9]{6,8}")


class _Hotp(pyotp.HOTP):
    """HOTP over bytes: pyotp would have them written in base32 and read again for each code."""

    def __init__(self, secret: bytes, digits: int) -> None:
        self._raw = secret
        super().__init__("", digits=digits)

    def byte_secret(self) -> bytes:
        return self._raw


def derive_code(ring: KeyRing, verification_id: str, send_number: int, length: int) -> str:
    """Return the code of one send: ``length`` digits, the counter being the send number (1, 2, …)."""
    return _Hotp(ring.code_secret(verification_id), length).at(send_number)


def code_digest(ring: KeyRing, verification_id: str, code: str) -> bytes:
    """Return what the store keeps of a code: 16 bytes, keyed and bound to the verification."""
    return ring.digest(verification_id, "code", code)


def normalise_code(text: str) -> str | None:
    """
    Return the digits of a code as a person types it, or None when it cannot be one.

    Blanks and hyphens between digits are dropped and full-width digits folded; nothing else is.
    """
    if len(text) > 32:
        return None
    folded = "".join(
        chr(ord(char) - 0xFEE0) if "\uff10" <= char <= "\uff19" else char
        for char in text if char not in " \u00a0-\t"
    )
    return folded if _CODE.fullmatch(folded) else None
