"""A client: one portal, what it may do, and where its pages live."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from urllib.parse import SplitResult, urlsplit

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


class Scope(StrEnum):
    """What an API key may be used for."""

    VERIFY = "verify"
    READ = "read"
    REDEEM = "redeem"
    EVIDENCE = "evidence"
    METRICS = "metrics"


class ProofMode(StrEnum):
    """When a start needs a proof of work by the end user's browser: never, when sending looks abused, always."""

    NEVER = "never"
    ABUSE = "abuse"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """
    One API key of a client.

    Attributes:
        digest: hex SHA-256 of the key; 256 random bits need no slow hash (ASVS 11.4.2 speaks of passwords).
        expires_at: unix seconds, by the host's clock, or None.
        scopes: what it may do.
        test: a test key sends no real SMS and signs with its own issuer and key.
    """

    digest: str
    scopes: frozenset[Scope]
    expires_at: int | None = None
    test: bool = False


@dataclass(frozen=True, slots=True)
class Client:
    """
    A portal.

    Attributes:
        name: ``[a-z0-9-]``, at most 24 characters; it is the token's audience and a store field.
        display_name: as people know it.
        purposes: the purposes it may start.
        origins: browser origins that may use a ``client_token``; ``loopback`` allows any loopback origin.
        webotp_host: host of the origin-bound SMS line, or None.
        hotline: shown to citizens who need help.
        return_hosts: where ``return_url`` may point.
        webhook_hosts: where ``callback_url`` may point.
        webhook_secrets: what webhooks are signed with (Standard Webhooks): ``whsec_…`` for HMAC, ``whsk_…`` for
            Ed25519, at most two of each; all of them sign.
        webhook_url: where verdicts go when a start names no ``callback_url``.
        proof: when a start needs a proof of work.
        keys: at most two live ones.
    """

    name: str
    display_name: str = ""
    purposes: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    webotp_host: str | None = None
    hotline: str | None = None
    return_hosts: frozenset[str] = frozenset()
    webhook_hosts: frozenset[str] = frozenset()
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    webhook_url: str | None = field(default=None, repr=False)
    proof: ProofMode = ProofMode.ABUSE
    keys: tuple[ApiKey, ...] = field(default=(), repr=False)

    def allows_origin(self, origin: str) -> bool:
        """Whether a browser page of this origin may act for the client."""
        if origin in self.origins:
            return True
        return "loopback" in self.origins and _is_loopback(origin)

    def allows_host(self, url: str, hosts: frozenset[str]) -> bool:
        """Whether ``url`` points to one of the registered ``hosts``: https, or http to loopback where allowed."""
        parts = _split(url)
        if parts is None or parts.username is not None or parts.password is not None:
            return False
        host = (parts.hostname or "").lower()
        if "loopback" in hosts and host in LOOPBACK_HOSTS:
            return parts.scheme in {"http", "https"}
        return parts.scheme == "https" and host in hosts


def _is_loopback(origin: str) -> bool:
    """Whether this is an origin, scheme://host[:port] and nothing else, of this machine."""
    parts = _split(origin)
    return (
        parts is not None and parts.scheme in {"http", "https"} and (parts.hostname or "") in LOOPBACK_HOSTS
        and "@" not in parts.netloc and not (parts.path or parts.query or parts.fragment)
    )


def _split(url: str) -> SplitResult | None:
    """Split a URL; None when two readers could read it differently."""
    if not url.isascii() or not url.isprintable() or set(url) & set(" \\"):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


@dataclass(frozen=True, slots=True)
class Credential:
    """An authenticated API key: whose, for what, and whether for tests."""

    client: Client
    scopes: frozenset[Scope]
    test: bool


class ClientRegistry:
    """Finds clients by name and by API key."""

    def __init__(self, clients: tuple[Client, ...]) -> None:
        self._by_name = {client.name: client for client in clients}
        self._by_digest = {
            key.digest: (client, key, Credential(client, key.scopes, key.test))
            for client in clients
            for key in client.keys
        }

    def __iter__(self) -> Iterator[Client]:
        return iter(self._by_name.values())

    def get(self, name: str) -> Client | None:
        """Return the client of this name."""
        return self._by_name.get(name)

    def authenticate(self, api_key: str, now_s: float) -> Credential | None:
        """
        Return what ``api_key`` may do, or None when it is unknown or expired.

        The look-up is by digest: its time tells nothing about a key that was not presented.
        """
        found = self._by_digest.get(sha256(api_key.encode()).hexdigest())
        if found is None:
            return None
        _, key, credential = found
        if key.expires_at is not None and now_s >= key.expires_at:
            return None
        return credential
