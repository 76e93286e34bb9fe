"""
Flows: what somebody has begun here and proves by SMS; each kind is also the purpose of its verification.

A flow belongs to the session that began it.  What the person typed and the client token are kept sealed
(``sessions.py``), and the verification is redeemed for these data and no others: what a browser sends later chooses a
flow and never changes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from hashlib import sha256
from itertools import count
from typing import Any, Final
from weakref import WeakValueDictionary

import orjson

from otp_service.sample_portal.database import Change, Conflict, Database
from otp_service.sample_portal.sessions import Session

#: Seconds in which a flow must be finished, and after which it is forgotten.
LIFE_S: Final = 3600
_FORGOTTEN_S: Final = 24 * 3600


class Kind(StrEnum):
    """What a flow is for; the value is the purpose at the service."""

    REGISTRATION = "registration"
    SIGN_IN = "sign_in"
    PASSWORD_RESET = "password_reset"  # noqa: S105 - a purpose
    ACCOUNT_LINK = "account_link"

    @property
    def compares(self) -> bool:
        """Whether the purpose compares the ID number with the SIM's subscriber."""
        return self in {Kind.REGISTRATION, Kind.ACCOUNT_LINK}


@dataclass(frozen=True, slots=True)
class FlowData:
    """
    What a flow is about; all of it sealed.

    Attributes:
        phone_number: as it was typed, or the account's.
        id_number: 9 or 12 digits, where one is part of the flow.
        birth_date: ISO 8601.
        account_id: whose flow it is, where somebody has an account already.
        system, code: which old account is to be linked.
        client_token, page_url: of the verification, once it was started.
        challenge: JSON of the work that the browser must do before the first SMS.
    """

    phone_number: str = field(default="", repr=False)
    id_number: str = field(default="", repr=False)
    full_name: str = field(default="", repr=False)
    birth_date: str = field(default="", repr=False)
    account_id: int | None = None
    system: str = ""
    code: str = field(default="", repr=False)
    client_token: str = field(default="", repr=False)
    page_url: str = ""
    challenge: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Flow:
    """One flow; ``finished_at`` (unix seconds) once its verdict was used."""

    id: str
    kind: Kind
    data: FlowData
    verification_id: str | None
    created_at: int
    finished_at: int | None


class Flows:
    """The flows of all sessions; each session sees its own."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._busy: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def alone(self, flow_id: str) -> asyncio.Lock:
        """Return the lock of a flow: of two clicks on one button, the second sees what the first has done."""
        return self._busy.setdefault(flow_id, asyncio.Lock())

    async def begin(self, session: Session, kind: Kind, data: FlowData, nonce: str) -> Flow:
        """
        Return the flow of this form, begun now unless it was before.

        The same form sent twice (a double click, a reload) is the same flow, and so the same SMS.  Once that one is
        over, or with other data, it is a new flow.
        """
        now = int(self._clock())
        form = orjson.dumps([kind, asdict(data), nonce])
        for at in count():
            flow_id = sha256(session.digest + form + at.to_bytes(4, "big")).hexdigest()[:32]
            if await self._add(session, flow_id, kind, data, now):
                return Flow(flow_id, kind, data, None, now, None)
            before = await self.find(session, flow_id)
            if before is not None and before.finished_at is None and not await self._is_over(before):
                return before
        raise AssertionError("a count has no end")

    async def find(self, session: Session, flow_id: str) -> Flow | None:
        """Return a flow of this session that is not too old."""
        return await self._found(session, "id = ?", flow_id)

    async def of_verification(self, session: Session, kind: Kind, verification_id: str) -> Flow | None:
        """Return the flow of this session and kind that this verification was started for: nobody else's."""
        flow = await self._found(session, "verification_id = ?", verification_id)
        return flow if flow is not None and flow.kind is kind else None

    async def save(self, session: Session, flow: Flow) -> None:
        """Keep what a flow has learnt."""
        async with self._database.change() as change:
            await change(
                "UPDATE flows SET sealed = ?, verification_id = ? WHERE id = ? AND finished_at IS NULL",
                _sealed(session, flow.id, flow.data), flow.verification_id, flow.id,
            )

    async def drop(self, flow: Flow) -> None:
        """Forget a flow that came to nothing."""
        async with self._database.change() as change:
            await change("DELETE FROM flows WHERE id = ? AND verification_id IS NULL", flow.id)

    async def finish(self, change: Change, flow: Flow) -> None:
        """
        Use a flow up, within the change that acts on its verdict.

        Raises Conflict when it was used before: no verdict opens two accounts.
        """
        used = await change(
            "UPDATE flows SET finished_at = ? WHERE id = ? AND finished_at IS NULL", int(self._clock()), flow.id,
        )
        if used != 1:
            raise Conflict("the flow was finished before")

    async def told(self, verification_id: str) -> str | None:
        """Return the verdict that a webhook has brought, None while none has."""
        row = await self._database.row(
            "SELECT status FROM webhooks WHERE verification_id = ? ORDER BY received_at DESC LIMIT 1", verification_id,
        )
        return None if row is None else str(row["status"])

    async def hear(self, webhook_id: str, verification_id: str, status: str) -> None:
        """Keep a webhook; one that comes again is the same one."""
        async with self._database.change() as change:
            await change(
                "INSERT INTO webhooks (webhook_id, verification_id, status, received_at) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (webhook_id) DO NOTHING",
                webhook_id, verification_id, status, int(self._clock()),
            )

    async def _add(self, session: Session, flow_id: str, kind: Kind, data: FlowData, now: int) -> bool:
        """Add a flow, unless it is there; what is a day old is forgotten meanwhile."""
        async with self._database.change() as change:
            await change("DELETE FROM flows WHERE created_at < ?", now - _FORGOTTEN_S)
            await change("DELETE FROM webhooks WHERE received_at < ?", now - _FORGOTTEN_S)
            added = await change(
                "INSERT INTO flows (id, session, kind, sealed, created_at) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO NOTHING",
                flow_id, session.digest, kind, _sealed(session, flow_id, data), now,
            )
        return added == 1

    async def _is_over(self, flow: Flow) -> bool:
        """Whether its verification ended without a yes, as far as this portal was told."""
        if flow.verification_id is None:
            return False
        return await self.told(flow.verification_id) not in {None, "verified"}

    async def _found(self, session: Session, where: str, value: str) -> Flow | None:
        row = await self._database.row(
            f"SELECT * FROM flows WHERE {where} AND session = ? AND created_at > ?",  # noqa: S608 - our own words
            value, session.digest, int(self._clock()) - LIFE_S,
        )
        plain = None if row is None else session.open(row["sealed"], row["id"])
        if row is None or plain is None:
            return None
        data: dict[str, Any] = orjson.loads(plain)
        return Flow(
            row["id"], Kind(row["kind"]), FlowData(**data), row["verification_id"], row["created_at"],
            row["finished_at"],
        )


def _sealed(session: Session, flow_id: str, data: FlowData) -> bytes:
    return session.seal(orjson.dumps(asdict(data)), flow_id)
