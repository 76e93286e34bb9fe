"""The bound on password guesses: per name, whatever happens to other names and to the process."""

from __future__ import annotations

from pathlib import Path

import aiosqlite

from otp_service.sample_portal.database import opened
from otp_service.sample_portal.guesses import GUESSES, GUESSES_PER_S, Guesses
from otp_service.sample_portal.server_key import ServerKey

KEY = ServerKey(b"k" * 32)
NAME = "052090000001"


async def _spend(guesses: Guesses, name: str = NAME) -> list[bool]:
    return [await guesses.may(name) for _ in range(GUESSES + 1)]


async def test_guesses_come_back(tmp_path: Path) -> None:
    """Five wrong passwords within a quarter of an hour, then a wait until they are that old."""
    now = [1000.0]
    async with opened(tmp_path) as database:
        guesses = Guesses(database, KEY, "sign-in", lambda: now[0])
        assert [True] * GUESSES + [False] == await _spend(guesses)
        now[0] += GUESSES_PER_S - 1
        assert not await guesses.may(NAME)
        now[0] += 1
        assert [True] * GUESSES + [False] == await _spend(guesses)
        await guesses.forgive(NAME)
        assert await guesses.may(NAME)


async def test_no_other_name_and_no_restart_frees_a_spent_one(tmp_path: Path) -> None:
    """Twenty thousand other names push nothing out, nor does the other book or a new process."""
    async with opened(tmp_path) as database:
        guesses = Guesses(database, KEY, "sign-in", lambda: 1000.0)
        await _spend(guesses)
        async with database.change() as change:
            await change(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
                "INSERT INTO guesses (name, made_at) SELECT randomblob(32), 1000 FROM n",
            )
        linking = Guesses(database, KEY, "linking", lambda: 1000.0)
        assert [True] * GUESSES + [False] == await _spend(linking)
        await linking.forgive(NAME)
        assert await guesses.may("another name")
        assert not await guesses.may(NAME)
    async with opened(tmp_path) as database:
        assert not await Guesses(database, KEY, "sign-in", lambda: 1000.0).may(NAME)


async def test_names_are_kept_as_digests_under_a_key(tmp_path: Path) -> None:
    """The file shows no ID number, and whoever has it cannot try all numbers (Invariant 5)."""
    async with opened(tmp_path) as database:
        await Guesses(database, KEY, "sign-in", lambda: 1000.0).may(NAME)
        await Guesses(database, ServerKey(b"l" * 32), "sign-in", lambda: 1000.0).may(NAME)
    async with aiosqlite.connect(tmp_path / "portal.sqlite3") as connection:
        names = [row[0] for row in await connection.execute_fetchall("SELECT name FROM guesses")]
    assert (2, {32}) == (len(set(names)), {len(name) for name in names})
    assert NAME.encode() not in (tmp_path / "portal.sqlite3").read_bytes()
