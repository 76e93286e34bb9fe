"""The portal's database: a transaction that cannot end leaves nothing behind it."""

from __future__ import annotations

import sqlite3

import aiosqlite
import pytest

from otp_service.sample_portal.database import Database

_TABLES = """
PRAGMA foreign_keys = ON;
CREATE TABLE people (id INTEGER PRIMARY KEY);
CREATE TABLE letters (person INTEGER REFERENCES people (id) DEFERRABLE INITIALLY DEFERRED);
"""


async def test_a_commit_that_fails_keeps_nobody_out() -> None:
    """What SQLite refuses only at the end is taken back, and the next transaction begins."""
    async with aiosqlite.connect(":memory:", isolation_level=None) as connection:
        connection.row_factory = aiosqlite.Row
        await connection.executescript(_TABLES)
        database = Database(connection)
        with pytest.raises(sqlite3.IntegrityError):
            async with database.change() as change:
                await change("INSERT INTO letters VALUES (1)")
        async with database.change() as change:
            await change("INSERT INTO people VALUES (7)")

        assert [(7,)] == [tuple(row) for row in await database.rows("SELECT id FROM people")]
        assert [] == await database.rows("SELECT person FROM letters")
