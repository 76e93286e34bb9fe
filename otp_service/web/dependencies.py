"""What the web layer is given: everything below it, and how it is reached."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol

from aiohttp import web

from otp_service.core.client import ClientRegistry
from otp_service.core.messages import Catalogue
from otp_service.delivery.accounts import Accounts
from otp_service.delivery.reports import Reports
from otp_service.service import VerificationService
from otp_service.telemetry.metrics import Metrics
from otp_service.web.fake_gateway.provider import FakeProvider

Network = IPv4Network | IPv6Network

#: Says of each thing the service needs whether it is fit: True or ``"ok"``; anything else says what is wrong.
Readiness = Callable[[], Awaitable[Mapping[str, str | bool]]]


class LongPolls(Protocol):
    """What holds long polls; see ``storage/waiters.py``."""

    async def final(self, shard: int, verification_id: str, timeout_s: float) -> None:
        """Return when the verification is final, after ``timeout_s``, on drain, or at once above the capacity."""

    def drain(self) -> None:
        """Answer everybody now, and everybody who comes later at once."""


class Drain:
    """Whether the service is on its way out: ``/readyz`` says 503, and connections are closed after their answer."""

    __slots__ = ("started",)

    def __init__(self) -> None:
        self.started = False

    def start(self) -> None:
        """Begin; there is no way back."""
        self.started = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WebDependencies:
    """
    What the handlers work with.

    Attributes:
        service: the use cases.
        clients: who may call.
        catalogue: every sentence; its first locale is the default.
        metrics: what operations watch; its ``routes`` are those of :func:`otp_service.web.routes.templates`.
        waiters: holds long polls.
        readiness: see :data:`Readiness`.
        accounts: the SMS gateways, which call back with delivery reports.
        reports: takes those over.
        public_url: where callers reach the service, without a slash at the end.
        trusted_proxies: networks whose ``X-Forwarded-For`` is believed.
        max_body_bytes: a longer body is answered 413 unread.
        drain: set when the process is about to stop.
        inbox: the demo's fake gateway; None outside the demo.
        version: of this program.
    """

    service: VerificationService
    clients: ClientRegistry
    catalogue: Catalogue
    metrics: Metrics
    waiters: LongPolls
    readiness: Readiness
    accounts: Accounts
    reports: Reports
    public_url: str = ""
    trusted_proxies: tuple[Network, ...] = ()
    max_body_bytes: int = 16_384
    drain: Drain = field(default_factory=Drain)
    inbox: FakeProvider | None = None
    version: str = "0"


DEPENDENCIES: web.AppKey[WebDependencies] = web.AppKey("dependencies", WebDependencies)
