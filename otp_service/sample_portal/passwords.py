"""Passwords: the portal's rules, and argon2id with a bound on what it takes from the machine."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

#: Characters; a longer one is refused unhashed.
MAX_LENGTH: Final = 128

#: What the form says of each rule (the national portal's, 2021), and how it is judged.
_RULES: Final[tuple[tuple[str, Callable[[str], bool]], ...]] = (
    ("có ít nhất 8 ký tự", lambda text: len(text) >= 8),
    (f"không quá {MAX_LENGTH} ký tự", lambda text: len(text) <= MAX_LENGTH),
    ("có chữ thường (a–z)", lambda text: any(map(str.islower, text))),
    ("có chữ hoa (A–Z)", lambda text: any(map(str.isupper, text))),
    ("có chữ số (0–9)", lambda text: any(map(str.isdecimal, text))),
    ("có ký tự đặc biệt, ví dụ ! @ # ?", lambda text: any(not char.isalnum() and not char.isspace() for char in text)),
)

#: Hashes made at once: each takes 64 MiB, and half a dozen in parallel would take the machine.
_AT_ONCE: Final = 2

#: Seconds that somebody waits for a place among them: nobody looks at a page that does not come for much longer.
_PATIENCE_S: Final = 2.0


class Busy(Exception):
    """Too many passwords are being hashed; nothing was done."""


def broken_rules(password: str) -> list[str]:
    """Return what a new password lacks, as the form says it; empty when it is good."""
    composed = _composed(password)
    return [rule for rule, keeps in _RULES if not keeps(composed)]


def too_long(password: str) -> bool:
    """Whether no account can have this password: it is refused before anything is counted or hashed."""
    return len(_composed(password)) > MAX_LENGTH


class Passwords:
    """
    Hashes and compares passwords with argon2id (RFC 9106 section 4, second recommended option).

    Whoever hashes holds a place meanwhile, and what only a hashed password may change is changed inside it::

        async with passwords.place():
            kept = await passwords.hash(password)
    """

    def __init__(self, hasher: PasswordHasher | None = None, patience_s: float = _PATIENCE_S) -> None:
        self._hasher = hasher or PasswordHasher()
        self._patience_s = patience_s
        self._room = asyncio.Semaphore(_AT_ONCE)
        # Compared with when there is no account, so that an unknown one takes as long as a wrong password.
        self._nobody = self._hasher.hash("nobody")

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold one of the places to hash at.  Raises Busy when none comes free soon."""
        try:
            async with asyncio.timeout(self._patience_s):
                await self._room.acquire()
        except TimeoutError as error:
            raise Busy from error
        try:
            yield
        finally:
            self._room.release()

    async def hash(self, password: str) -> str:
        """Return the hash to keep."""
        return await asyncio.to_thread(self._hasher.hash, _composed(password))

    async def agrees(self, password: str, kept: str | None) -> bool:
        """Whether this is the password behind ``kept``; None, for no account, takes as long and is never right."""
        same = await asyncio.to_thread(self._compare, kept or self._nobody, _composed(password))
        return same and kept is not None

    def _compare(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except VerifyMismatchError:
            return False


def _composed(password: str) -> str:
    """Return one spelling of an accented letter, whatever keyboard made it."""
    return unicodedata.normalize("NFC", password)
