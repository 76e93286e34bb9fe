from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from otp_service.core import limits as kinds
from otp_service.core.limits import (
    LIMIT_KINDS,
    PERSONAL,
    Decision,
    Limit,
    LimitBook,
    Mode,
    Override,
    State,
    Subject,
    address_block,
    address_subject,
)

SENDS = Limit(kinds.PHONE_SENDS, 5, 86_400)
ADDRESS = Limit(kinds.ADDRESS_SENDS, 60, 3600, 30)
CLIENT = Limit(kinds.CLIENT_SENDS, 600, 60)
BOOK = LimitBook(
    [SENDS, ADDRESS, CLIENT],
    [
        Override("phone_sends", "+84900000001", 50, "a test phone"),
        Override("address_sends", "198.51.100.0/24", 600, "a school"),
        Override("address_sends", "198.51.100.7", 1, "a bot there", period_s=60, burst=1),
        Override("address_sends", "2001:db8::/32", 6, "a laboratory"),
        Override("client_sends", "portal", 10, "on trial", burst=3),
    ],
)


@pytest.mark.parametrize(
    ("subject", "count"), [("+84900000001", 50), ("+84900000002", 5), ("84900000001", 5), ("", 5)],
)
def test_an_override_is_for_its_phone(subject: str, count: int) -> None:
    """A phone's override holds for exactly that phone."""
    assert count == BOOK.get(kinds.PHONE_SENDS, subject).count


@pytest.mark.parametrize(
    ("address", "count"),
    [
        ("198.51.100.7", 1), ("198.51.100.8", 600), ("198.51.101.8", 60), ("2001:db8::1", 6), ("2001:db9::1", 60),
        ("::ffff:198.51.100.7", 1), ("::ffff:198.51.100.8", 600),
    ],
)
def test_the_most_specific_network_wins(address: str, count: int) -> None:
    """Among networks the smallest that holds the address decides, a mapped IPv4 address counting as IPv4."""
    assert count == BOOK.get(kinds.ADDRESS_SENDS, address).count


def test_an_override_changes_only_what_it_says() -> None:
    """Period, burst and mode stay the limit's own where an override leaves them out."""
    assert replace(ADDRESS, count=600) == BOOK.get(kinds.ADDRESS_SENDS, "198.51.100.8")
    assert Limit(kinds.ADDRESS_SENDS, 1, 60, 1) == BOOK.get(kinds.ADDRESS_SENDS, "198.51.100.7")
    assert replace(CLIENT, count=10, burst=3) == BOOK.get(kinds.CLIENT_SENDS, "portal")
    soft = LimitBook([replace(SENDS, mode=Mode.RECORD_ONLY)], [Override("phone_sends", "x", 1, "why")])
    assert Mode.RECORD_ONLY is soft.get(kinds.PHONE_SENDS, "x").mode


def test_an_override_is_of_its_limit_alone() -> None:
    """The same subject has its own numbers under another limit."""
    book = LimitBook([SENDS, Limit(kinds.PHONE_SENDS_TOTAL, 20, 86_400)], [Override("phone_sends", "p", 1, "why")])
    assert (1, 20) == (book.get(kinds.PHONE_SENDS, "p").count, book.get(kinds.PHONE_SENDS_TOTAL, "p").count)


def test_every_limit_has_its_own_name() -> None:
    """Names are the keys they stand under, and rates are those of addresses, clients and the service."""
    assert list(LIMIT_KINDS) == [kind.name for kind in LIMIT_KINDS.values()]
    assert {Subject.ADDRESS, Subject.CLIENT, Subject.SERVICE} == {
        kind.subject for kind in LIMIT_KINDS.values() if kind.rate
    }
    assert not PERSONAL & {Subject.ADDRESS, Subject.CLIENT, Subject.SERVICE}


@pytest.mark.parametrize(
    ("address", "block"),
    [
        ("198.51.100.7", "198.51.100.0/24"), ("198.51.100.255", "198.51.100.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"), ("::ffff:198.51.100.7", "198.51.100.0/24"),
    ],
)
def test_blocks(address: str, block: str) -> None:
    """A block is a /24, or a /48; a mapped IPv4 address is in the IPv4 block, not in one with all of IPv4."""
    assert block == address_block(ip_address(address))


@pytest.mark.parametrize(
    ("address", "subject"),
    [
        ("198.51.100.7", "198.51.100.7"), ("::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"), ("2001:db8:1:2::", "2001:db8:1:2::"),
    ],
)
def test_subjects(address: str, subject: str) -> None:
    """A rate counts an IPv4 address or the /64 a subscriber is given."""
    assert subject == address_subject(ip_address(address))


@pytest.mark.parametrize(
    ("limit", "capacity"),
    [(SENDS, 5), (ADDRESS, 30), (CLIENT, 600), (replace(SENDS, burst=9), 5)],
)
def test_capacity(limit: Limit, capacity: int) -> None:
    """At once pass as many as a cap counts, or a rate's burst, which is its count unless told."""
    assert capacity == limit.capacity


@pytest.mark.parametrize(("used", "fill"), [(0, 0.0), (15, 0.5), (30, 1.0), (45, 1.0)])
def test_fill(used: int, fill: float) -> None:
    """A limit's fill is the share of its capacity that is used, at most all of it."""
    assert fill == Decision(ADDRESS, State.ALLOWED, used).fill


def test_a_limit_of_nothing_is_full() -> None:
    """A cap of zero is full before anything passes."""
    assert 1.0 == Decision(replace(SENDS, count=0), State.REFUSED, 0).fill


def test_headers() -> None:
    """The headers tell what remains, whole seconds until more, and the policy."""
    decision = Decision(ADDRESS, State.REFUSED, 30, 1001)
    assert '"address_sends";r=0;t=2' == decision.header
    assert '"address_sends";q=60;w=3600' == ADDRESS.policy
    assert '"address_sends";r=5;t=0' == Decision(ADDRESS, State.ALLOWED, 25).header
