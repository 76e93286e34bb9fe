"""
Which gateway is asked first: weighted priorities per carrier and purpose.  Ownership sources are chosen the same way.

A route is a list of tiers.  Within a tier traffic is spread by weight times the share that each gateway has left
(100 percent while it is well); a tier whose gateways are all failing keeps only as much traffic as its best share, the
rest goes to the tiers behind it.  The order is drawn from the message's reference, not from a random number: a worker
that takes a message over asks the same gateways in the same order, so that the provider can drop the duplicate.

The carrier is the prefix's and so only a hint: numbers move between operators.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from math import log

from otp_service.core.errors import ConfigurationError
from otp_service.core.phone import Carrier

#: Gateways by name, with their weights.
Tier = Mapping[str, int]

#: A gateway's share while it is well, in percent.
FULL_SHARE = 100


@dataclass(frozen=True, slots=True)
class Route:
    """
    One rule.

    Attributes:
        tiers: the gateways, in the order in which they are asked.
        carriers: the carriers it serves, by prefix; empty for all.
        purposes: the purposes it serves; empty for all.
    """

    tiers: tuple[Tier, ...]
    carriers: frozenset[Carrier] = field(default_factory=frozenset)
    purposes: frozenset[str] = field(default_factory=frozenset)

    def serves(self, carrier: Carrier | None, purpose: str) -> bool:
        """Whether a message to this carrier for this purpose takes the route."""
        return (not self.carriers or carrier in self.carriers) and (not self.purposes or purpose in self.purposes)


class RouteBook:
    """
    The routes, the first that serves a message deciding.

    Args:
        routes: the last one serves everything.

    Raises:
        ConfigurationError: there is no such last one.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        if not routes or not routes[-1].serves(None, ""):
            raise ConfigurationError("the last route must serve every carrier and purpose")
        self._routes = tuple(routes)
        #: Every gateway or source that some route names, in order of appearance.
        self.names = tuple(dict.fromkeys(name for route in routes for tier in route.tiers for name in tier))

    @property
    def gateways(self) -> tuple[str, ...]:
        """The names, where these are gateways' routes."""
        return self.names

    def ranks(self, carrier: Carrier | None, purpose: str) -> dict[str, int]:
        """Return everybody's tier in the route, 0 for the best; who fails may stand further behind in an order."""
        route = next(route for route in self._routes if route.serves(carrier, purpose))
        return {name: rank for rank, tier in enumerate(route.tiers) for name in tier}

    def order(
        self, carrier: Carrier | None, purpose: str, shares: Mapping[str, int], reference: str,
    ) -> tuple[str, ...]:
        """
        Return every gateway of the message's route, the one to ask first in front.

        ``shares`` are percentages; a gateway that is not there has its full share.
        """
        route = next(route for route in self._routes if route.serves(carrier, purpose))
        kept: list[str] = []
        put_off: list[str] = []
        for at, tier in enumerate(route.tiers):
            names = _draw(tier, shares, reference) if len(tier) > 1 else list(tier)
            best = max(shares.get(name, FULL_SHARE) for name in tier)
            failing = best < FULL_SHARE and _unit(reference, str(at)) * FULL_SHARE >= best
            (put_off if failing else kept).extend(names)
        return (*kept, *put_off)


def places(routes: Iterable[Route], name: str) -> list[str]:
    """Say where a gateway or source stands in the routes: ``viettel for sign_in: tier 1, weight 3``."""
    found = []
    for route in routes:
        for at, tier in enumerate(route.tiers, 1):
            if name in tier:
                who = ", ".join(sorted(route.carriers)) or "all"
                what = f" for {', '.join(sorted(route.purposes))}" if route.purposes else ""
                found.append(f"{who}{what}: tier {at}, weight {tier[name]}")
    return found


def _draw(tier: Tier, shares: Mapping[str, int], reference: str) -> list[str]:
    """Order a tier: each gateway comes first as often as its share of the weights (weighted rendezvous hashing)."""
    return sorted(
        tier, key=lambda name: log(_unit(reference, name)) / (tier[name] * shares.get(name, FULL_SHARE)), reverse=True,
    )


def _unit(reference: str, name: str) -> float:
    """Return a number above 0 and up to 1 that reference and name alone decide."""
    digest = blake2b(f"{reference}|{name}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") + 1) / 2**64


def parse_tiers(
    written: Iterable[str], *, what: str = "gateway", example: str = "esms=3 speedsms",
) -> tuple[Tier, ...]:
    """
    Read tiers as they are written: ``["esms=3 speedsms", "fpt"]``; a weight is 1 where none is given.

    Raises ValueError with a sentence for whoever wrote it, about ``what`` and with an ``example``.
    """
    tiers: list[Tier] = []
    seen: set[str] = set()
    for text in written:
        tier: dict[str, int] = {}
        for part in text.split():
            name, weighted, weight = part.partition("=")
            if not name:
                raise ValueError(f"{part}: a {what}'s name stands before its weight")
            if weighted and not (weight.isascii() and weight.isdigit() and 1 <= int(weight) <= 1000):
                raise ValueError(f"{part}: a weight is a whole number from 1 to 1000")
            if name in seen:
                raise ValueError(f"{name} stands there twice")
            seen.add(name)
            tier[name] = int(weight or 1)
        if not tier:
            raise ValueError(f'a tier names at least one {what}: "{example}"')
        tiers.append(tier)
    if not tiers:
        raise ValueError(f"at least one {what} is needed")
    return tuple(tiers)
