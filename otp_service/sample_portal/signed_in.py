"""Who is signed in, since which sign-in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from otp_service.sample_portal.database import Database
from otp_service.sample_portal.flows import Flow, Flows
from otp_service.sample_portal.sessions import Session, new_session

#: Seconds that somebody stays signed in.
LIFE_S: Final = 3600
#: Seconds in which the button pressed twice signs in twice: a browser may have dropped the first answer.
_SECOND_CLICK_S: Final = 30


class SignedIn:
    """Who is signed in."""

    def __init__(self, database: Database, flows: Flows, clock: Callable[[], float]) -> None:
        self._database = database
        self._flows = flows
        self._clock = clock

    async def account_id(self, session: Session) -> int | None:
        """Return the account of a session, None when nobody is signed in."""
        row = await self._database.row(
            "SELECT account_id FROM sign_ins WHERE digest = ? AND expires_at > ?", session.digest, int(self._clock()),
        )
        return None if row is None else int(row["account_id"])

    async def begin(self, flow: Flow) -> Session:
        """
        Sign the account of a flow in and use the flow up, both or neither.

        The session is new; whoever knew the old value knows nothing of this one.  Raises Conflict: the flow was used.
        """
        session, now = new_session(), int(self._clock())
        async with self._database.change() as change:
            await self._flows.finish(change, flow)
            await change("DELETE FROM sign_ins WHERE expires_at <= ?", now)
            # The account is the one whose password was right, as this portal kept it.
            await change(
                "INSERT INTO sign_ins (digest, flow, account_id, expires_at) VALUES (?, ?, ?, ?)",
                session.digest, flow.id, flow.data.account_id, now + LIFE_S,
            )
        return session

    async def again(self, flow: Flow) -> Session | None:
        """
        Sign in once more on a flow that was just used; None when that was not just now, or is over.

        Whoever has signed out, or has a new password, is not signed in again by an old page.
        """
        if flow.finished_at is None or flow.finished_at < self._clock() - _SECOND_CLICK_S:
            return None
        session = new_session()
        async with self._database.change() as change:
            added = await change(
                "INSERT INTO sign_ins (digest, flow, account_id, expires_at) "
                "SELECT ?, flow, account_id, expires_at FROM sign_ins WHERE flow = ? LIMIT 1",
                session.digest, flow.id,
            )
        return session if added else None

    async def end(self, session: Session) -> None:
        """Sign this browser out: of its session, and of any that a second click has made."""
        async with self._database.change() as change:
            await change(
                "DELETE FROM sign_ins WHERE flow = (SELECT flow FROM sign_ins WHERE digest = ?)", session.digest,
            )
