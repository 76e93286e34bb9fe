"""Magic numbers: what each produces."""

from __future__ import annotations

import re

import pytest

from otp_service.core import magic_numbers
from otp_service.core.magic_numbers import Behaviour, behaviour, is_magic
from otp_service.core.phone import parse_mobile
from otp_service.core.ports import DeliveryState, SendResult

TAKEN = Behaviour(SendResult.ACCEPTED, DeliveryState.DELIVERED)


def number(tail: int) -> str:
    """Return the number that ends so."""
    return f"+84900000{tail:03d}"


@pytest.mark.parametrize(("tail", "expected"), [
    (900, TAKEN),
    *[(900 + offset, Behaviour(result)) for offset, result in enumerate(SendResult) if offset],
    (912, Behaviour(report=DeliveryState.FAILED)),
    (913, Behaviour()),
    (914, Behaviour(report=DeliveryState.DELIVERED, report_after_ms=5_000)),
    (915, Behaviour(report=DeliveryState.DELIVERED, lost=True)),
    (916, Behaviour(report=DeliveryState.DELIVERED, latency_ms=2_000)),
    (917, Behaviour(report=DeliveryState.DELIVERED, garbage=True)),
    (918, Behaviour(report=DeliveryState.DELIVERED, fails_first=1)),
    (919, TAKEN),
    (929, TAKEN),
])
def test_each_number_produces_its_outcome(tail: int, expected: Behaviour) -> None:
    """Every result has its number, in the order of SendResult; then come the ways in which a gateway misbehaves."""
    assert expected == behaviour(number(tail))


@pytest.mark.parametrize("e164", [
    number(899), number(930), "+84900000000", "+84900000001", "0900000900", "84900000900", "900", "", "+84900000٩٠٠",
    "+849000009000", "+84900000-90",
])
def test_other_numbers_are_ordinary(e164: str) -> None:
    """Outside the range, and in any other form than E.164, nothing is magic."""
    assert not is_magic(e164)
    assert behaviour(e164) is None


def test_magic_numbers_can_be_typed() -> None:
    """Each of the thirty is a mobile number that a verification can be started for."""
    numbers = [number(tail) for tail in range(900, 930)]

    assert numbers == [parse_mobile(one).e164 for one in numbers]
    assert all(is_magic(one) for one in numbers)


def test_the_table_names_every_outcome() -> None:
    """The table that people read has a line for each number with an outcome of its own."""
    said = re.findall(r"…(\d{3})   ", str(magic_numbers.__doc__))
    results = {result.value for result in SendResult if re.search(rf"…\d+   {result}", str(magic_numbers.__doc__))}

    assert list(range(900, 919)) == sorted(map(int, said))
    assert {result.value for result in SendResult} == results
