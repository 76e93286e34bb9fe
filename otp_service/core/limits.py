"""
The named limits: what they count, how they are overridden, and how a decision is told.

Two kinds.  A **cap** ("5 a day") is a sliding log of (id, time), exact over any window; a refund removes the entry
by its id.  A **rate** ("60 an hour, bursts of 30") is GCRA: one number, the theoretical arrival time (TAT).  Both are
evaluated by the store's clock inside the transition that spends them (``storage/scripts``).

Every limit has a mode: ``enforce``, or ``record_only``, which counts and reports ``would_refuse`` but lets pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network


class Mode(StrEnum):
    """Whether a limit refuses or only reports."""

    ENFORCE = "enforce"
    RECORD_ONLY = "record_only"


class Subject(StrEnum):
    """What a limit is keyed by."""

    PHONE = "phone"
    ID_NUMBER = "id_number"
    ADDRESS = "address"
    CLIENT = "client"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class LimitKind:
    """What is fixed about a limit: its name, its subject and whether it is a rate."""

    name: str
    subject: Subject
    rate: bool = False


#: Every limit, in the order in which a call reports them.
#:
#: IMPORTANT: a new one also goes into ``config/default.toml``, into the script that spends it, and into the README's
#: table.
PHONE_COOLDOWN = LimitKind("phone_cooldown", Subject.PHONE)
PHONE_SENDS = LimitKind("phone_sends", Subject.PHONE)
PHONE_BLOCK_SENDS = LimitKind("phone_block_sends", Subject.PHONE)
PHONE_SENDS_TOTAL = LimitKind("phone_sends_total", Subject.PHONE)
PHONE_ASSISTED_SENDS = LimitKind("phone_assisted_sends", Subject.PHONE)
PHONE_FAILURES = LimitKind("phone_failures", Subject.PHONE)
PHONE_BLOCK_FAILURES = LimitKind("phone_block_failures", Subject.PHONE)
PHONE_OWNERSHIP_CHECKS = LimitKind("phone_ownership_checks", Subject.PHONE)
ID_OWNERSHIP_CHECKS = LimitKind("id_ownership_checks", Subject.ID_NUMBER)
ADDRESS_SENDS = LimitKind("address_sends", Subject.ADDRESS, rate=True)
ADDRESS_GUESSES = LimitKind("address_guesses", Subject.ADDRESS, rate=True)
ADDRESS_UNPROVEN_SENDS = LimitKind("address_unproven_sends", Subject.ADDRESS, rate=True)
ADDRESS_NO_SCRIPT_SENDS = LimitKind("address_no_script_sends", Subject.ADDRESS, rate=True)
CLIENT_UNPROVEN_SENDS = LimitKind("client_unproven_sends", Subject.CLIENT, rate=True)
CLIENT_NO_SCRIPT_SENDS = LimitKind("client_no_script_sends", Subject.CLIENT, rate=True)
CLIENT_SENDS = LimitKind("client_sends", Subject.CLIENT, rate=True)
SERVICE_SENDS = LimitKind("service_sends", Subject.SERVICE, rate=True)

LIMIT_KINDS = {
    kind.name: kind
    for kind in (
        PHONE_COOLDOWN, PHONE_SENDS, PHONE_BLOCK_SENDS, PHONE_SENDS_TOTAL, PHONE_ASSISTED_SENDS, PHONE_FAILURES,
        PHONE_BLOCK_FAILURES, PHONE_OWNERSHIP_CHECKS, ID_OWNERSHIP_CHECKS, ADDRESS_SENDS, ADDRESS_GUESSES,
        ADDRESS_UNPROVEN_SENDS, ADDRESS_NO_SCRIPT_SENDS, CLIENT_UNPROVEN_SENDS,
        CLIENT_NO_SCRIPT_SENDS, CLIENT_SENDS, SERVICE_SENDS,
    )
}

#: Subjects whose limits are all told as ``person``, so that nobody reads another's activity (DESIGN 4).
PERSONAL = frozenset({Subject.PHONE, Subject.ID_NUMBER})

#: Consecutive failures of a phone (invariant 2): refused from this many on, forgotten so long after the last.  The
#: waits from the tenth on stand in ``storage/scripts/_limits.lua``.
MAX_FAILURES = 100
FAILURE_MEMORY_S = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Limit:
    """
    A limit with its numbers.

    Attributes:
        kind: which one.
        count: how many per period.
        period_s: the window in seconds.
        burst: for rates, how many at once; 0 means ``count``.
        mode: whether it refuses.
        capacity: how many may pass at once.
        period_ms, emission_ms: the window, and for a rate the time one unit takes; every call asks for them.
    """

    kind: LimitKind
    count: int
    period_s: float
    burst: int = 0
    mode: Mode = Mode.ENFORCE
    capacity: int = field(init=False, repr=False, compare=False)
    period_ms: int = field(init=False, repr=False, compare=False)
    emission_ms: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        capacity = (self.burst or self.count) if self.kind.rate else self.count
        object.__setattr__(self, "capacity", capacity)
        object.__setattr__(self, "period_ms", round(self.period_s * 1000))
        object.__setattr__(self, "emission_ms", self.period_s * 1000 / self.count if self.count else 0.0)

    @property
    def name(self) -> str:
        """The limit's name: metric label and configuration key."""
        return self.kind.name

    @property
    def policy(self) -> str:
        """The ``RateLimit-Policy`` item (draft-ietf-httpapi-ratelimit-headers)."""
        return f'"{self.name}";q={self.count};w={max(1, round(self.period_s))}'


def exempt(limit: Limit) -> Limit:
    """Return a limit that only records: what magic numbers spend (``core/magic_numbers.py``)."""
    return replace(limit, mode=Mode.RECORD_ONLY)


@dataclass(frozen=True, slots=True)
class Override:
    """
    Other numbers for one named subject: a phone number (E.164), an address or network, or a client's name.

    ``comment`` says who asked for it and why; without one the configuration is refused.
    """

    limit: str
    subject: str
    count: int
    comment: str
    period_s: float | None = None
    burst: int | None = None


class State(StrEnum):
    """What a limit decided."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    WOULD_REFUSE = "would_refuse"


@dataclass(slots=True)
class Decision:
    """
    What one limit said about one call; not frozen, because a call makes nine of them and freezing is dear.

    Attributes:
        limit: the limit, overrides applied.
        state: allowed, refused, or would_refuse (``record_only``).
        used: how much of its capacity was taken after the call (before it, when refused).
        retry_after_ms: when refused, how long until the same call would pass.
    """

    limit: Limit
    state: State
    used: int
    retry_after_ms: int = 0

    @property
    def fill(self) -> float:
        """How full the limit runs, 0 to 1."""
        return min(1.0, self.used / self.limit.capacity) if self.limit.capacity else 1.0

    @property
    def header(self) -> str:
        """The ``RateLimit`` item (draft-ietf-httpapi-ratelimit-headers): what remains, and seconds to more."""
        remaining = max(0, self.limit.capacity - self.used)
        return f'"{self.limit.name}";r={remaining};t={-(-self.retry_after_ms // 1000)}'


class LimitBook:
    """Every limit with its overrides; answers which numbers hold for a subject."""

    def __init__(self, limits: Iterable[Limit], overrides: Iterable[Override] = ()) -> None:
        self._limits = {limit.name: limit for limit in limits}
        self._exact: dict[tuple[str, str], Limit] = {}
        self._networks: dict[str, list[tuple[IPv4Network | IPv6Network, Limit]]] = {}
        for override in overrides:
            self._add(override)

    def _add(self, override: Override) -> None:
        base = self._limits[override.limit]
        changed = replace(
            base, count=override.count,
            period_s=base.period_s if override.period_s is None else override.period_s,
            burst=base.burst if override.burst is None else override.burst,
        )
        if base.kind.subject is Subject.ADDRESS:
            network = ip_network(override.subject, strict=False)
            self._networks.setdefault(override.limit, []).append((network, changed))
        else:
            self._exact[override.limit, override.subject] = changed

    def get(self, kind: LimitKind, subject: str = "") -> Limit:
        """
        Return the numbers of a limit for a subject.

        The most specific network wins among overrides of an address; others match exactly.
        """
        if networks := self._networks.get(kind.name):
            address = _plain(ip_address(subject))
            hits = [(net.prefixlen, limit) for net, limit in networks if address in net]
            if hits:
                return max(hits, key=lambda hit: hit[0])[1]
        if self._exact and (exact := self._exact.get((kind.name, subject))):
            return exact
        return self._limits[kind.name]


def address_names(address: str) -> tuple[str, str]:
    """Return the subject and the block of an address in its usual form; almost all are IPv4 and need no parsing."""
    if ":" not in address:
        return address, f"{address[:address.rindex('.')]}.0/24"
    parsed = _plain(ip_address(address))
    return address_subject(parsed), address_block(parsed)


def address_block(address: IPv4Address | IPv6Address) -> str:
    """
    Return the block an address is counted with where strangers must not share a phone's allowance.

    /24 for IPv4 and /48 for IPv6: what one household, shop or operator gateway usually holds.
    """
    address = _plain(address)
    prefix = 24 if address.version == 4 else 48
    return str(ip_network((address, prefix), strict=False))


def address_subject(address: IPv4Address | IPv6Address) -> str:
    """Return what address limits are keyed by: the IPv4 address, or the /64 an IPv6 subscriber is given."""
    address = _plain(address)
    if address.version == 4:
        return str(address)
    return str(ip_network((address, 64), strict=False).network_address)


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address of one in IPv6 clothes (RFC 4291 section 2.5.5.2)."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
