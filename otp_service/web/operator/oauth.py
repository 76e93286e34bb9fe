"""
The token endpoint: client credentials (RFC 6749 section 4.4) for one client.

The client proves itself with its secret, in the header or in the form (section 2.3.1), or with an assertion that it
signed (``assertions.py``).  Tokens are opaque, bearer, and forgotten at the end.
"""

from __future__ import annotations

import hmac
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

from otp_service.web.operator.assertions import AssertionCheck, AssertionRefused
from otp_service.web.operator.script import TokenFaults

TOKEN_PATH: Final = "/oauth2/token"  # noqa: S105 - a path
DISCOVERY_PATH: Final = "/.well-known/openid-configuration"

#: IMPORTANT: a new scope also goes into the paths of ``server.py``.
SCOPES: Final = ("kyc-match:match", "sim-swap:check", "sim-swap:retrieve-date", "sim-swap")

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_MAX_TOKENS: Final = 10_000


class TokenRefused(Exception):
    """A refusal of RFC 6749 section 5.2; ``challenge`` asks for the header that was tried."""

    def __init__(self, error: str, why: str, *, status: int = 400, challenge: bool = False) -> None:
        self.status = status
        self.challenge = challenge
        self.document = {"error": error, "error_description": why}
        super().__init__(error)


def _unknown_client(why: str, *, challenge: bool = False) -> TokenRefused:
    return TokenRefused("invalid_client", why, status=401, challenge=challenge)


@dataclass(slots=True)
class _Token:
    scopes: frozenset[str]
    ends_at_s: float
    calls_left: int | None


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """
    The one client.

    Attributes:
        id: its name.
        secret: empty where it has none.
    """

    id: str
    secret: str = field(repr=False)


class TokenServer:
    """
    Gives tokens and knows them again.

    Args:
        client: who gets them.
        assertions: checks what the client signed; None where no public key is known.
        life_s: seconds a token is promised to live.
        clock: seconds since the epoch.
    """

    def __init__(
        self, client: OAuthClient, assertions: AssertionCheck | None, *, life_s: int, clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._assertions = assertions
        self._life_s = life_s
        self._clock = clock
        self._tokens: OrderedDict[str, _Token] = OrderedDict()

    def methods(self) -> list[str]:
        """Return how the client may prove itself, as the discovery document names it."""
        secret = ["client_secret_basic", "client_secret_post"] if self._client.secret else []
        return secret + (["private_key_jwt"] if self._assertions else [])

    def grant(
        self, body: bytes, authorization: str | None, *, endpoint: str, faults: TokenFaults,
    ) -> dict[str, object]:
        """
        Answer a token request.

        Args:
            body: the form as it came.
            authorization: the header.
            endpoint: this endpoint's address, as the client called it.
            faults: what shall go wrong.

        Raises TokenRefused.
        """
        form = _form(body)
        self._authenticate(form, authorization, endpoint)
        if faults.reject:
            raise _unknown_client("the script says so", challenge=authorization is not None)
        if not form.get("grant_type"):
            raise TokenRefused("invalid_request", "grant_type is missing")
        if form["grant_type"] != "client_credentials":
            raise TokenRefused("unsupported_grant_type", "only client_credentials is known here")
        asked = form.get("scope", "").split()
        if not set(asked) <= set(SCOPES):
            raise TokenRefused("invalid_scope", f"scopes are {', '.join(SCOPES)}")
        return self._new(asked or list(SCOPES), faults)

    def scopes_of(self, token: str) -> frozenset[str] | None:
        """Return what a token is good for, and take one of its calls; None for one that is unknown or used up."""
        found = self._tokens.get(token)
        if found is None or self._clock() >= found.ends_at_s or found.calls_left == 0:
            return None
        if found.calls_left is not None:
            found.calls_left -= 1
        return found.scopes

    def _new(self, scopes: list[str], faults: TokenFaults) -> dict[str, object]:
        value = token_urlsafe(24)
        life_s = self._life_s if faults.lasts_s is None else min(self._life_s, faults.lasts_s)
        self._tokens[value] = _Token(frozenset(scopes), self._clock() + life_s, faults.lasts_calls)
        if len(self._tokens) > _MAX_TOKENS:
            self._tokens.popitem(last=False)
        return {
            "access_token": value, "token_type": "Bearer", "expires_in": self._life_s, "scope": " ".join(scopes),
        }

    def _authenticate(self, form: Mapping[str, str], authorization: str | None, endpoint: str) -> None:
        """Find one proof, and only one (RFC 6749 section 2.3), and look at it.  Raises TokenRefused."""
        proofs = [authorization is not None, "client_secret" in form, "client_assertion" in form]
        if sum(proofs) > 1:
            raise TokenRefused("invalid_request", "the client proved itself in more than one way")
        if authorization is not None:
            name, secret = _basic(authorization)
            self._compare(name, secret, challenge=True)
            if form.get("client_id", name) != name:
                raise TokenRefused("invalid_request", "client_id differs from the header's")
        elif "client_secret" in form:
            self._compare(form.get("client_id", ""), form["client_secret"], challenge=False)
        elif "client_assertion" in form:
            self._check_assertion(form, endpoint)
        else:
            raise _unknown_client("the client did not prove itself", challenge=True)

    def _compare(self, name: str, secret: str, *, challenge: bool) -> None:
        same = hmac.compare_digest(secret.encode(errors="replace"), self._client.secret.encode())
        if name != self._client.id or not same or not self._client.secret:
            raise _unknown_client("unknown client, or wrong secret", challenge=challenge)

    def _check_assertion(self, form: Mapping[str, str], endpoint: str) -> None:
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise TokenRefused("invalid_request", f"client_assertion_type is {ASSERTION_TYPE}")
        if self._assertions is None:
            raise _unknown_client("no public key of the client is known here")
        if form.get("client_id", self._client.id) != self._client.id:
            raise _unknown_client("unknown client")
        try:
            self._assertions.check(form["client_assertion"], audience=endpoint)
        except AssertionRefused as error:
            raise _unknown_client(str(error)) from error


def _form(body: bytes) -> dict[str, str]:
    """Read a form; a parameter twice is refused (RFC 6749 section 3.2)."""
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=50)
    except ValueError as error:
        raise TokenRefused("invalid_request", "the body is no form") from error
    form = dict(pairs)
    if len(form) != len(pairs):
        raise TokenRefused("invalid_request", "a parameter stands twice")
    return form


def _basic(authorization: str) -> tuple[str, str]:
    """Read the header; name and secret are encoded like a form's (RFC 6749 section 2.3.1)."""
    scheme, _, credentials = authorization.partition(" ")
    try:
        name, colon, secret = b64decode(credentials.strip(), validate=True).decode().partition(":")
    except ValueError:
        colon = name = secret = ""
    if scheme.lower() != "basic" or not colon:
        raise _unknown_client("the header is not Basic with name and secret", challenge=True)
    return unquote_plus(name), unquote_plus(secret)
