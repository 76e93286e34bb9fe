"""The portal's accounts, each opened or changed on a verdict that was redeemed for it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from otp_service.sample_portal.database import Database
from otp_service.sample_portal.flows import Flow, Flows


@dataclass(frozen=True, slots=True)
class Account:
    """
    One person's account.

    Attributes:
        id_number: CCCD or CMND: the name to sign in with, one account each.
        birth_date: ISO 8601.
        phone_number: E.164, as the verdict had it.
    """

    id: int
    id_number: str = field(repr=False)
    full_name: str = field(repr=False)
    birth_date: str = field(repr=False)
    phone_number: str = field(repr=False)
    password_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class OldAccount:
    """An account of an old provincial system; ``linked_at`` in unix seconds once it belongs to somebody here."""

    system: str
    code: str = field(repr=False)
    password_hash: str = field(repr=False)
    account_id: int | None
    linked_at: int | None


class Accounts:
    """All accounts."""

    def __init__(self, database: Database, flows: Flows, clock: Callable[[], float]) -> None:
        self._database = database
        self._flows = flows
        self._clock = clock

    async def of_id_number(self, id_number: str) -> Account | None:
        """Return the account of an ID number."""
        return _account(await self._database.row("SELECT * FROM accounts WHERE id_number = ?", id_number))

    async def of_id(self, account_id: int) -> Account | None:
        """Return an account by its own id."""
        return _account(await self._database.row("SELECT * FROM accounts WHERE id = ?", account_id))

    async def open(self, flow: Flow, phone_number: str, password_hash: str) -> None:
        """
        Open an account for the person of a flow, and use the flow up, both or neither.

        Raises Conflict: the ID number has an account, or the verdict was used.
        """
        data = flow.data
        async with self._database.change() as change:
            await self._flows.finish(change, flow)
            await change(
                "INSERT INTO accounts (id_number, full_name, birth_date, phone_number, password_hash, "
                "verification_id, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                data.id_number, data.full_name, data.birth_date, phone_number, password_hash, flow.verification_id,
                int(self._clock()),
            )

    async def replace_password(self, flow: Flow, account_id: int, password_hash: str) -> None:
        """Replace a password and sign the account out everywhere.  Raises Conflict when the flow was used."""
        async with self._database.change() as change:
            await self._flows.finish(change, flow)
            await change("UPDATE accounts SET password_hash = ? WHERE id = ?", password_hash, account_id)
            await change("DELETE FROM sign_ins WHERE account_id = ?", account_id)

    # -- accounts of the old systems ---------------------------------------------------------------------------

    async def add_old(self, system: str, code: str, password_hash: str) -> None:
        """Add an old account, unless it is there."""
        async with self._database.change() as change:
            await change(
                "INSERT INTO old_accounts (system, code, password_hash) VALUES (?, ?, ?) "
                "ON CONFLICT (system, code) DO NOTHING",
                system, code, password_hash,
            )

    async def old(self, system: str, code: str) -> OldAccount | None:
        """Return an old account by its system and registration code."""
        return _old_account(await self._database.row(
            "SELECT * FROM old_accounts WHERE system = ? AND code = ?", system, code,
        ))

    async def linked_to(self, account_id: int) -> Sequence[OldAccount]:
        """Return the old accounts that are linked to an account."""
        rows = await self._database.rows(
            "SELECT * FROM old_accounts WHERE account_id = ? ORDER BY linked_at", account_id,
        )
        return [old for row in rows if (old := _old_account(row)) is not None]

    async def link(self, flow: Flow, account_id: int) -> bool:
        """
        Link the old account of a flow, and use the flow up.

        False when it was linked meanwhile; the flow is used up all the same.  Raises Conflict when it was before.
        """
        async with self._database.change() as change:
            await self._flows.finish(change, flow)
            linked = await change(
                "UPDATE old_accounts SET account_id = ?, linked_at = ? "
                "WHERE system = ? AND code = ? AND account_id IS NULL",
                account_id, int(self._clock()), flow.data.system, flow.data.code,
            )
        return linked == 1


def _account(row: sqlite3.Row | None) -> Account | None:
    if row is None:
        return None
    return Account(
        row["id"], row["id_number"], row["full_name"], row["birth_date"], row["phone_number"], row["password_hash"],
    )


def _old_account(row: sqlite3.Row | None) -> OldAccount | None:
    if row is None:
        return None
    return OldAccount(row["system"], row["code"], row["password_hash"], row["account_id"], row["linked_at"])
