"""
Sessions: a random cookie, of which the database knows only the digest.

From the cookie's value also come the token against forged posts and the key that seals what a person has typed and
not finished, so that a copy of the database shows neither.  Whoever signs in or out gets a new value.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from hashlib import sha256
from secrets import token_bytes, token_urlsafe
from typing import Final

from aiohttp import web
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from otp_service.sample_portal.database import Database

COOKIE: Final = "portal_session"
#: Seconds that somebody stays signed in.
LIFE_S: Final = 3600

_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_NONCE_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class Session:
    """
    One browser's session.

    Attributes:
        value: 256 random bits, the cookie.
        fresh: whether the browser has still to be given it.
    """

    value: str = field(repr=False)
    fresh: bool = False

    @property
    def digest(self) -> bytes:
        """What the database knows it by."""
        return sha256(self.value.encode()).digest()

    @property
    def form_token(self) -> str:
        """What every form of this session carries and no other site knows."""
        return self._derived("form").hex()

    def owns(self, form_token: str) -> bool:
        """Whether a form came from this session's own pages."""
        return hmac.compare_digest(self.form_token.encode(), form_token.encode())

    def seal(self, plain: bytes, place: str) -> bytes:
        """Encrypt for this session alone; ``place`` is where it will be kept, and it opens nowhere else."""
        nonce = token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self._derived("seal")).encrypt(nonce, plain, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes | None:
        """Decrypt what this session sealed for ``place``; None when it did not."""
        try:
            return AESGCM(self._derived("seal")).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place.encode())
        except InvalidTag:
            return None

    def _derived(self, use: str) -> bytes:
        return hmac.digest(self.value.encode(), use.encode(), "sha256")


def new_session() -> Session:
    """Make a session that nobody knows yet."""
    return Session(token_urlsafe(32), fresh=True)


def read_session(request: web.Request) -> Session:
    """Return the session of the request's cookie, a new one when there is none of the right form."""
    value = request.cookies.get(COOKIE, "")
    return Session(value) if _VALUE.fullmatch(value) else new_session()


def give_session(response: web.StreamResponse, session: Session) -> None:
    """Give the browser its cookie: scripts cannot read it, and other sites' forms do not send it."""
    response.set_cookie(COOKIE, session.value, path="/", httponly=True, samesite="Lax")


class SignedIn:
    """Who is signed in."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def account_id(self, session: Session, now: int) -> int | None:
        """Return the account of a session, None when nobody is signed in."""
        row = await self._database.row(
            "SELECT account_id FROM sessions WHERE digest = ? AND expires_at > ?", session.digest, now,
        )
        return None if row is None else int(row["account_id"])

    async def begin(self, account_id: int, now: int) -> Session:
        """Sign an account in, under a session that is new; whoever knew the old value knows nothing of this one."""
        session = new_session()
        async with self._database.change() as change:
            await change("DELETE FROM sessions WHERE expires_at <= ?", now)
            await change(
                "INSERT INTO sessions (digest, account_id, expires_at) VALUES (?, ?, ?)",
                session.digest, account_id, now + LIFE_S,
            )
        return session

    async def end(self, session: Session) -> None:
        """Sign this browser out."""
        async with self._database.change() as change:
            await change("DELETE FROM sessions WHERE digest = ?", session.digest)
