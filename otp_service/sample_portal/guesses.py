"""
A bound on guessing passwords, for names that have an account and names that have none.

Kept in the database, where a restart forgets nothing and no number of other names pushes one out: a guess goes when it
is old, and at no other time.  Only guesses whose password is hashed get here, so hashing bounds how many there are.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Final

from otp_service.sample_portal.database import Database
from otp_service.sample_portal.server_key import ServerKey

GUESSES: Final = 5
GUESSES_PER_S: Final = 900


class Guesses:
    """One book of guesses; sign-in and linking have one each."""

    def __init__(self, database: Database, key: ServerKey, book: str, clock: Callable[[], float]) -> None:
        self._database = database
        self._key = key.derived(f"guesses {book}")
        self._clock = clock

    async def may(self, name: str) -> bool:
        """
        Spend one guess, if one is left in this quarter of an hour.

        Spent before the password is compared, so that many at once are counted too.
        """
        now, digest = int(self._clock()), self._digest(name)
        async with self._database.change() as change:
            await change("DELETE FROM guesses WHERE made_at <= ?", now - GUESSES_PER_S)
            spent = await change(
                "INSERT INTO guesses (name, made_at) SELECT ?, ? "
                "WHERE (SELECT count(*) FROM guesses WHERE name = ?) < ?",
                digest, now, digest, GUESSES,
            )
        return spent == 1

    async def forgive(self, name: str) -> None:
        """Forget the guesses of somebody who knew the password, or has a new one."""
        async with self._database.change() as change:
            await change("DELETE FROM guesses WHERE name = ?", self._digest(name))

    def _digest(self, name: str) -> bytes:
        """Return what the database knows a name by: ID numbers are few enough to try all, but for the key."""
        return hmac.digest(self._key, name.encode(), "sha256")
