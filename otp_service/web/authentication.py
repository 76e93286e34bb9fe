"""
Who calls: a portal with its API key, or a browser with the token of one verification.

Both come as ``Authorization: Bearer``.  What is missing, unknown, expired or another verification's is answered alike
(invariant 9).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from aiohttp import web

from otp_service.core.client import ClientRegistry, Scope
from otp_service.core.errors import Forbidden, Unauthenticated
from otp_service.service import Caller
from otp_service.storage.records import TEST_SUFFIX
from otp_service.web.dependencies import Network
from otp_service.web.exchange import peer_of

Address = IPv4Address | IPv6Address

_SCHEME: Final = "bearer "
_CLIENT_TOKEN: Final = "vt_"  # noqa: S105 - the prefix of a token, not one
#: Hops of X-Forwarded-For that are looked at, from the right.
_MAX_HOPS: Final = 16
#: Stands for a peer without an IP address (a Unix socket), so that its limits are counted all the same.
_NOWHERE: Final = ip_address("::")


class Authenticator:
    """
    Finds out who calls.

    Args:
        clients: the portals and the digests of their keys.
        client_of_token: tells the tenant a client token was derived for, given (verification id, token).
        trusted_proxies: networks whose ``X-Forwarded-For`` is believed.
    """

    def __init__(
        self, clients: ClientRegistry, client_of_token: Callable[[str, str], str | None],
        trusted_proxies: Sequence[Network] = (),
    ) -> None:
        self._clients = clients
        self._client_of_token = client_of_token
        self._trusted = tuple(trusted_proxies)

    def portal(self, request: web.Request, scope: Scope) -> Caller:
        """Return the portal whose key allows ``scope``.  Raises Unauthenticated, Forbidden."""
        return self._portal(_bearer(request), scope)

    def portal_or_browser(self, request: web.Request, scope: Scope, verification_id: str) -> Caller:
        """
        Return the portal, or the browser that holds this verification's token.

        A browser's ``Origin``, when there is one, must be registered for the client; a page of another origin that
        got hold of a token cannot use it.  Raises Unauthenticated, Forbidden.
        """
        token = _bearer(request)
        if not token.startswith(_CLIENT_TOKEN):
            return self._portal(token, scope)
        caller = self.browser(request, verification_id, token)
        origin = request.headers.get("Origin")
        if origin is not None and not caller.client.allows_origin(origin):
            raise Forbidden
        return caller

    def browser(self, request: web.Request, verification_id: str, token: str) -> Caller:
        """Return the browser that holds this verification's token, from wherever it calls.  Raises Unauthenticated."""
        tenant = self._client_of_token(verification_id, token)
        client = self._clients.get(tenant.removesuffix(TEST_SUFFIX)) if tenant is not None else None
        if tenant is None or client is None:
            raise Unauthenticated
        return Caller(client, test=tenant.endswith(TEST_SUFFIX), address=self.address(request))

    def address(self, request: web.Request) -> str:
        """
        Return the end user's address.

        It is the socket's; behind trusted proxies it is the right-most address of ``X-Forwarded-For`` that is no
        proxy's, because everything left of it was written by whoever stands there.
        """
        address = _peer(request)
        if not self._trusts(address):
            return str(address)
        hops = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
        for hop in reversed(hops[-_MAX_HOPS:]):
            found = _hop(hop)
            if found is None:
                break
            address = found
            if not self._trusts(address):
                break
        return str(address)

    def _portal(self, api_key: str, scope: Scope) -> Caller:
        credential = self._clients.authenticate(api_key, time.time())
        if credential is None:
            raise Unauthenticated
        if scope not in credential.scopes:
            raise Forbidden
        return Caller(credential.client, test=credential.test)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def is_browser(caller: Caller) -> bool:
    """Whether a client token was shown: such a caller sees no verdict and no reason (DESIGN 4)."""
    return caller.address is not None


def _bearer(request: web.Request) -> str:
    """Return the token of ``Authorization: Bearer`` (RFC 6750 section 2.1)."""
    header = request.headers.get("Authorization", "")
    token = header[len(_SCHEME):].strip()
    if header[: len(_SCHEME)].lower() != _SCHEME or not token.isascii():
        raise Unauthenticated
    return token


def _peer(request: web.Request) -> Address:
    peer = peer_of(request)
    return _plain(ip_address(peer)) if peer is not None else _NOWHERE


def _hop(text: str) -> Address | None:
    """Read one entry of X-Forwarded-For, with a port or without; None when it is no address."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return _plain(ip_address(text)) if "%" not in text else None
    except ValueError:
        return None


def _plain(address: Address) -> Address:
    """Return the IPv4 address of one in IPv6 clothes."""
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
