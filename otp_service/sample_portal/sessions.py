"""
Sessions: a random cookie that this portal made, of which the database knows only the digest.

The cookie also carries a code under the server's key, so that a value which somebody else has chosen is replaced and
never taken.  From the value come the token against forged posts and the key that seals what a person has typed and
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

from otp_service.sample_portal.server_key import ServerKey

COOKIE: Final = "portal_session"

_COOKIE: Final = re.compile(r"([A-Za-z0-9_-]{43})\.([0-9a-f]{64})", re.ASCII)
_NONCE_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class Session:
    """
    One browser's session.

    Attributes:
        value: 256 random bits, which the cookie carries.
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


class Cookies:
    """The cookies that sessions travel in."""

    def __init__(self, key: ServerKey) -> None:
        self._key = key.derived("session cookie")

    def read(self, request: web.Request) -> Session:
        """Return the session of the request's cookie, a new one when this portal never made such a cookie."""
        match = _COOKIE.fullmatch(request.cookies.get(COOKIE, ""))
        if match is None or not hmac.compare_digest(match[2], self._code(match[1])):
            return new_session()
        return Session(match[1])

    def give(self, response: web.StreamResponse, session: Session) -> None:
        """Give the browser its cookie: scripts cannot read it, and other sites' forms do not send it."""
        cookie = f"{session.value}.{self._code(session.value)}"
        response.set_cookie(COOKIE, cookie, path="/", httponly=True, samesite="Lax")

    def _code(self, value: str) -> str:
        return hmac.digest(self._key, value.encode(), "sha256").hex()
