"""Passwords: the portal's rules, argon2id, and a bound on guessing."""

from __future__ import annotations

import asyncio
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Callable
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

GUESSES: Final = 5
GUESSES_PER_S: Final = 900.0
_SUBJECTS: Final = 10_000


def broken_rules(password: str) -> list[str]:
    """Return what a new password lacks, as the form says it; empty when it is good."""
    composed = unicodedata.normalize("NFC", password)
    return [rule for rule, keeps in _RULES if not keeps(composed)]


class Passwords:
    """Hashes and compares passwords with argon2id (RFC 9106 section 4, second recommended option)."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._room = asyncio.Semaphore(_AT_ONCE)
        # Compared with when there is no account, so that an unknown one takes as long as a wrong password.
        self._nobody = self._hasher.hash("nobody")

    async def hash(self, password: str) -> str:
        """Return the hash to keep."""
        async with self._room:
            return await asyncio.to_thread(self._hasher.hash, _composed(password))

    async def agrees(self, password: str, kept: str | None) -> bool:
        """Whether this is the password behind ``kept``; None, for no account, takes as long and is never right."""
        if len(password) > MAX_LENGTH:
            return False
        async with self._room:
            same = await asyncio.to_thread(self._compare, kept or self._nobody, _composed(password))
        return same and kept is not None

    def _compare(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except VerifyMismatchError:
            return False


class Guesses:
    """
    Counts wrong passwords per account, whether or not the account exists.

    In memory, for the last ten thousand names: a restart forgets them, which a sample may.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()

    def may(self, subject: str) -> bool:
        """
        Spend one guess, if one is left in this quarter of an hour.

        Spent before the password is compared, so that many at once are counted too.
        """
        now = self._clock()
        times = [at for at in self._wrong.pop(subject, []) if at > now - GUESSES_PER_S]
        allowed = len(times) < GUESSES
        self._wrong[subject] = [*times, now] if allowed else times
        if len(self._wrong) > _SUBJECTS:
            self._wrong.popitem(last=False)
        return allowed

    def forgive(self, subject: str) -> None:
        """Forget the guesses of somebody who knew the password."""
        self._wrong.pop(subject, None)


def _composed(password: str) -> str:
    """Return one spelling of an accented letter, whatever keyboard made it."""
    return unicodedata.normalize("NFC", password)
