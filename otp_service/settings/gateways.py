"""``[sending]``, ``[gateways.*]`` and ``[[routes]]``: who carries the SMS, in which order, how fast."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, Field, IPvAnyNetwork, field_validator

from otp_service.core.routing import Route, parse_tiers
from otp_service.settings.base import Listed, Section
from otp_service.settings.routing import Named, ServedSection
from otp_service.settings.sections import Options, Plugin

_SECRET = re.compile(r"[A-Za-z0-9_-]{24,128}")

GATEWAY: Final = Named("gateway", "send through", "esms=3 speedsms")

GatewayName = Annotated[str, AfterValidator(GATEWAY.name)]
Tiers = Annotated[tuple[str, ...], Listed, AfterValidator(GATEWAY.tiers)]


class SendingSection(Section):
    """``[sending]``: how an SMS is tried, and the gateways that serve what no route takes."""

    gateways: Tiers = ("console",)
    attempts: int = Field(8, ge=1, le=20)
    backoff_s: float = Field(1.0, ge=0, le=60)
    concurrency: int = Field(256, ge=1, le=10_000)


class GatewaySection(Section):
    """``[gateways.<name>]``: an account at a gateway.  ``options`` go to the adapter and may hold secrets."""

    adapter: Plugin | None = None
    accept_experimental: bool = False
    rate: float = Field(0, ge=0, le=100_000)
    burst: int = Field(1, ge=1, le=100_000)
    concurrency: int = Field(256, ge=1, le=10_000)
    report_secret: str = Field("", repr=False)
    report_networks: Annotated[tuple[IPvAnyNetwork, ...], Listed] = ()
    poll_reports: bool = False
    options: Options = Field(default_factory=dict, repr=False)

    @field_validator("report_secret")
    @classmethod
    def _unguessable(cls, secret: str) -> str:
        if secret and not _SECRET.fullmatch(secret):
            raise ValueError("24 to 128 letters, digits, - and _; a good one: openssl rand -hex 24")
        return secret


class RouteSection(ServedSection):
    """``[[routes]]``: other gateways for some carriers or purposes; the first that fits decides."""

    rest: ClassVar[str] = "sending.gateways"

    gateways: Tiers

    def route(self) -> Route:
        """Return the rule the core works with."""
        return Route(parse_tiers(self.gateways), self.carriers, self.purposes)


def routes_of(sending: SendingSection, routes: Iterable[RouteSection]) -> tuple[Route, ...]:
    """Return every route, the one for all that is left last."""
    return (*(section.route() for section in routes), Route(parse_tiers(sending.gateways)))


def adapter_of(name: str, section: GatewaySection | None) -> tuple[str, dict[str, Any]]:
    """Return the adapter of an account and its options: by default that of the same name, without options."""
    if section is None:
        return name, {}
    return section.adapter or name, dict(section.options)
