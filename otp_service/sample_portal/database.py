"""The portal's SQLite database: one file that nobody else may read, one connection, one change at a time."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiosqlite

#: Raised where a unique value stands already; named here so that others need not know which database this is.
Conflict = sqlite3.IntegrityError

_FILE: Final = "portal.sqlite3"

#: Times are whole unix seconds.  ``flows.sealed`` can be opened only with the cookie of the session that wrote it;
#: ``guesses.name`` is a digest under the server's key.
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS accounts (
    id              INTEGER PRIMARY KEY,
    id_number       TEXT NOT NULL UNIQUE,
    full_name       TEXT NOT NULL,
    birth_date      TEXT NOT NULL,
    phone_number    TEXT NOT NULL,
    password_hash   TEXT NOT NULL,
    verification_id TEXT NOT NULL UNIQUE,
    created_at      INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS sign_ins (
    digest     BLOB PRIMARY KEY,
    flow       TEXT NOT NULL,
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS flows (
    id              TEXT PRIMARY KEY,
    session         BLOB NOT NULL,
    kind            TEXT NOT NULL,
    sealed          BLOB NOT NULL,
    verification_id TEXT UNIQUE,
    created_at      INTEGER NOT NULL,
    finished_at     INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS old_accounts (
    system        TEXT NOT NULL,
    code          TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    account_id    INTEGER REFERENCES accounts (id),
    linked_at     INTEGER,
    PRIMARY KEY (system, code)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS webhooks (
    webhook_id      TEXT PRIMARY KEY,
    verification_id TEXT NOT NULL,
    status          TEXT NOT NULL,
    received_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS guesses (
    id      INTEGER PRIMARY KEY,
    name    BLOB NOT NULL,
    made_at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS guesses_by_name ON guesses (name);
CREATE INDEX IF NOT EXISTS guesses_by_age ON guesses (made_at);
CREATE INDEX IF NOT EXISTS sign_ins_by_flow ON sign_ins (flow);
CREATE INDEX IF NOT EXISTS webhooks_by_verification ON webhooks (verification_id);
CREATE INDEX IF NOT EXISTS flows_by_age ON flows (created_at);
"""


class Database:
    """The open database."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        # One connection, so a reader would see what a change has written and may still take back.
        self._lock = asyncio.Lock()

    async def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        """Return the first row, or None."""
        async with self._lock, self._connection.execute(sql, values) as cursor:
            return await cursor.fetchone()

    async def rows(self, sql: str, *values: Any) -> Sequence[sqlite3.Row]:
        """Return all rows."""
        async with self._lock:
            return list(await self._connection.execute_fetchall(sql, values))

    @asynccontextmanager
    async def change(self) -> AsyncIterator[Change]:
        """Make one transaction: all of it, or nothing when its block raises."""
        async with self._lock:
            try:
                await self._connection.execute("BEGIN IMMEDIATE")
                yield Change(self._connection)
                await self._connection.commit()
            except BaseException:
                # Also when the end itself fails: an open transaction would keep everybody after it out.
                await self._connection.rollback()
                raise


class Change:
    """A transaction at work."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def __call__(self, sql: str, *values: Any) -> int:
        """Run one statement; returns how many rows it changed.  Raises Conflict."""
        async with self._connection.execute(sql, values) as cursor:
            return cursor.rowcount


@asynccontextmanager
async def opened(data_dir: Path) -> AsyncIterator[Database]:
    """Open the database in ``data_dir``, made where it is not there; the file has mode 0600."""
    path = _made(data_dir)
    async with aiosqlite.connect(path, isolation_level=None) as connection:
        connection.row_factory = sqlite3.Row
        await connection.execute("PRAGMA foreign_keys = ON")
        await connection.execute("PRAGMA secure_delete = ON")
        await connection.executescript(_SCHEMA)
        yield Database(connection)


def _made(data_dir: Path) -> Path:
    """Make the file before SQLite opens it: the journal beside it takes over the mode."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = data_dir / _FILE
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)
    return path
