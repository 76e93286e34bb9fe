"""
Connections to addresses that others chose: to the public internet and nowhere else (OWASP API7, SSRF).

What a name means is decided where it counts: when the socket is made, by the address that will be connected to.  A
name that changes its mind between two look-ups, an address written as ``0x7f.1`` or ``[::ffff:10.0.0.1]``, a resolver
that lies: all end there.  Redirects are not followed, no proxy is taken from the environment, no cookie is kept.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from types import TracebackType
from typing import Any, Final, Self, cast

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from otp_service.core.client import LOOPBACK_HOSTS
from otp_service.core.ports import HttpResponse, NoAnswer
from otp_service.delivery.exchange import why_not_connected

#: Bytes of an answer that are looked at; who sends more loses the connection.
ANSWER_MAX: Final = 4096
#: Bytes that may come over the connection for one answer, whatever they are: its head, "100 Continue" before it, the
#: wrapping of chunks.  Reading them is our time, and a receiver can make more of them than we can read.
_RAW_MAX: Final = 32 * 1024
#: Seconds for an answer's body: its status has said everything.
_BODY_S: Final = 1.0
#: Shorter than what servers keep an idle connection open for, so that a delivery seldom meets one that closes.
_KEEP_ALIVE_S: Final = 2.0
#: Names that are looked up at the same time, as many as may be told: a dead name server holds one thread for each.
_LOOK_UPS: Final = 256

Address = IPv4Address | IPv6Address

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
#: What the ipaddress module of some Python versions takes for public: relays into the IPv4 world (6to4, Teredo and its
#: neighbours; AMT for multicast), documentation, benchmarks, name servers that answer for private addresses (AS112).
_NOT_PUBLIC: Final = tuple(map(ip_network, (
    "100.64.0.0/10", "192.0.0.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24",
    "198.18.0.0/15", "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
    # Public to look at, but the platform's own services wherever a machine runs at Azure.
    "168.63.129.16/32",
)))


@dataclass(frozen=True, slots=True)
class Answer(HttpResponse):
    """What came back, and whether far more came than an answer needs; ``body`` is 4 KiB at most."""

    flooded: bool = False


class AddressRefused(OSError):
    """A connection to an address that is not of the public internet."""

    def __init__(self) -> None:
        # One text for all addresses: of several refusals aiohttp then keeps the first as it is.
        super().__init__("not an address of the public internet")


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet; one with an IPv4 address inside is what that one is."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(inner)
        if address not in _GLOBAL_UNICAST:
            return False
    return (
        address.is_global and not address.is_multicast and not address.is_reserved
        and not any(address in network for network in _NOT_PUBLIC)
    )


def is_loopback(address: Address) -> bool:
    """Whether an address is this machine."""
    return address.is_loopback


class _TooMuch(aiohttp.ClientError):
    """More came than an answer needs."""


class _Bounded(ResponseHandler):
    """
    One connection, which reads so much for each answer and then hangs up.

    The parser takes whatever comes before an answer's head, in one go and for ever: time and bytes of the body, which
    are all that aiohttp bounds, do not count that.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.flooded = False
        self._left = _RAW_MAX

    def set_response_params(self, **params: Any) -> None:
        """Begin another exchange."""
        self._left = _RAW_MAX
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Read what there is room for."""
        if self.flooded:
            return
        super().data_received(data[:self._left])
        self._left -= len(data)
        if self._left >= 0:
            return
        self.flooded = True
        if self.exception() is None:
            self.set_exception(_TooMuch())
        # Not `self.abort()`, which would leave whoever reads the body waiting.
        if self.transport is not None:
            self.transport.abort()


class _BoundedConnector(aiohttp.TCPConnector):
    """Makes connections that are :class:`_Bounded`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # aiohttp has no other place for it; the tests of floods fail should it move.
        self._factory = cast("partial[ResponseHandler]", partial(_Bounded, loop=self._loop))


class GuardedConnections:
    """
    HTTP for URLs that others chose; the caller has checked the host's name.

    Args:
        loopback: let the names of loopback lead to loopback, for the demo.
        resolver: looks names up; the system's by default.
        public: which addresses may be connected to; only tests give another rule.
    """

    def __init__(
        self, *, loopback: bool = False, resolver: AbstractResolver | None = None,
        public: Callable[[Address], bool] = is_public,
    ) -> None:
        self._loopback = loopback
        self._resolver = resolver
        self._public = public
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        resolver = self._resolver or _OwnThreads()
        self._closing.push_async_callback(resolver.close)
        self._world = await self._closing.enter_async_context(_session(self._public, resolver))
        self._home = await self._closing.enter_async_context(_session(is_loopback, resolver))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        await self._closing.aclose()

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, *, timeout_s: float,
    ) -> Answer | NoAnswer:
        """
        Make one POST.  What the network does instead of answering is a :class:`NoAnswer`, not an exception.

        Its ``code`` may also be ``address_refused``, ``url_refused``, or ``too_much`` where more than 32 KiB came
        before a status.  Of the answer at most 4 KiB are read, and its body is waited for no longer than a second: the
        status is what counts.
        """
        try:
            target = URL(url, encoded=True)
            session = self._home if self._loopback and (target.host or "") in LOOPBACK_HOSTS else self._world
            async with session.post(
                target, headers=headers, data=body, timeout=aiohttp.ClientTimeout(total=timeout_s),
                allow_redirects=False,
            ) as answer:
                told = {name.lower(): value for name, value in answer.headers.items()}
                # There is none any more where all has come.
                protocol = answer.connection and answer.connection.protocol
                read = await _read(answer.content)
                whole = answer.content.at_eof()
                if not whole:
                    answer.close()
                flooded = isinstance(protocol, _Bounded) and protocol.flooded
                return Answer(answer.status, told, read, whole=whole, flooded=flooded)
        except aiohttp.ClientConnectorError as error:
            refused = isinstance(error.os_error, AddressRefused)
            return NoAnswer("address_refused" if refused else why_not_connected(error))
        except aiohttp.ConnectionTimeoutError as error:
            return NoAnswer(why_not_connected(error))
        except (_TooMuch, TimeoutError) as error:
            return NoAnswer("too_much" if isinstance(error, _TooMuch) else "timeout", maybe_taken=True)
        except ValueError:
            # InvalidURL, or a name that cannot be one, such as a number that some would read as an address.
            return NoAnswer("url_refused")
        except (aiohttp.ClientError, OSError):
            # Also what is no HTTP.
            return NoAnswer("connection_lost", maybe_taken=True, lost=True)


def _session(allowed: Callable[[Address], bool], resolver: AbstractResolver) -> aiohttp.ClientSession:
    connector = _BoundedConnector(
        limit=0, resolver=resolver, socket_factory=_guard(allowed), keepalive_timeout=_KEEP_ALIVE_S,
    )
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False,
        headers={"user-agent": "otp-service"},
    )


def _guard(allowed: Callable[[Address], bool]) -> Callable[[Any], socket.socket]:
    """Return what makes the sockets, of the addresses that are allowed."""
    def make(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, where = info
        if family not in {socket.AF_INET, socket.AF_INET6} or not allowed(ip_address(where[0])):
            raise AddressRefused
        return socket.socket(family, kind, protocol)

    return make


class _OwnThreads(AbstractResolver):
    """Looks names up in threads of its own: dead name servers hold up nobody else's."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOK_UPS, thread_name_prefix="webhook-names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET,
    ) -> list[ResolveResult]:
        """Return a name's addresses.  Raises OSError."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM),
        )
        return [
            ResolveResult(
                hostname=host, host=str(where[0]), port=port, family=one, proto=protocol, flags=socket.AI_NUMERICHOST,
            )
            for one, _, protocol, _, where in found
        ]

    async def close(self) -> None:
        """Let the threads go; one that waits for a name server ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


async def _read(content: aiohttp.StreamReader) -> bytes:
    body = b""
    try:
        async with asyncio.timeout(_BODY_S):
            while len(body) < ANSWER_MAX and (part := await content.read(ANSWER_MAX - len(body))):
                body += part
    except (TimeoutError, aiohttp.ClientError):
        return body
    return body
