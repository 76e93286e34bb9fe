from __future__ import annotations

from base64 import b32encode
from collections import Counter

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_service.core.codes import code_digest, derive_code, normalise_code
from otp_service.core.keyring import KeyRing, RingKey

RING = KeyRing(b"a" * 32, [RingKey("k1", b"1" * 32), RingKey("k0", b"0" * 32)])
ONE, TWO = RING.new_id(3), RING.new_id(3)

#: RFC 4226 appendix D: the secret "12345678901234567890" and its first ten codes of six digits.
RFC_SECRET = b"12345678901234567890"
RFC_CODES = (
    "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489",
)


class FixedRing(KeyRing):
    """A ring whose every secret is the RFC's."""

    def code_secret(self, verification_id: str) -> bytes:  # noqa: ARG002
        """Return the secret of RFC 4226 appendix D."""
        return RFC_SECRET


@pytest.mark.parametrize(("counter", "code"), list(enumerate(RFC_CODES)))
def test_codes_are_hotp(counter: int, code: str) -> None:
    """Codes are those of RFC 4226 appendix D for its secret, the send number being the counter."""
    ring = FixedRing(b"a" * 32, [RingKey("k1", b"1" * 32)])
    assert code == derive_code(ring, ONE, counter, 6)


def test_longer_codes_are_the_rfcs_too() -> None:
    """Seven and eight digits are the same truncation, modulo more (RFC 4226 section 5.3: 1284755224)."""
    ring = FixedRing(b"a" * 32, [RingKey("k1", b"1" * 32)])
    assert ["755224", "4755224", "84755224"] == [derive_code(ring, ONE, 0, digits) for digits in (6, 7, 8)]


def test_the_secret_is_the_rings() -> None:
    """A code is HOTP over the verification's own secret of 160 bits."""
    secret = RING.code_secret(ONE)
    assert 20 == len(secret)
    assert pyotp.HOTP(b32encode(secret).decode()).at(7) == derive_code(RING, ONE, 7, 6)


def test_codes_are_derived_again() -> None:
    """The same verification and send number give the same code, under whichever key is current."""
    rotated = KeyRing(b"a" * 32, [RingKey("k2", b"2" * 32), RingKey("k1", b"1" * 32)])
    assert derive_code(RING, ONE, 2, 6) == derive_code(rotated, ONE, 2, 6)


def test_codes_differ_by_send_and_verification() -> None:
    """Sends and verifications have codes that tell nothing of each other."""
    codes = Counter(derive_code(RING, one, number, 8) for one in (ONE, TWO) for number in range(1, 200))
    assert 398 - len(codes) <= 2


@given(length=st.integers(6, 8), number=st.integers(1, 10_000))
def test_a_code_has_its_length(length: int, number: int) -> None:
    """A code has exactly its digits, leading zeros included."""
    code = derive_code(RING, ONE, number, length)
    assert length == len(code)
    assert code.isdecimal()


def test_codes_are_spread_evenly() -> None:
    """Each first digit opens about a tenth of the codes."""
    first = Counter(derive_code(RING, ONE, number, 6)[0] for number in range(1, 5001))
    assert set("0123456789") == set(first)
    assert all(400 < count < 600 for count in first.values())


def test_a_digest_is_bound_to_its_verification() -> None:
    """The same code has another digest under another verification, and none tells the code (Invariant 5)."""
    digest = code_digest(RING, ONE, "123456")
    assert 16 == len(digest)
    assert digest == code_digest(RING, ONE, "123456")
    assert digest not in {code_digest(RING, TWO, "123456"), code_digest(RING, ONE, "123457")}
    assert b"123456" not in digest


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("123456", "123456"), (" 123 456 ", "123456"), ("123-456", "123456"), ("１２３４５６", "123456"),
        ("1 2 3 4 5 6 7 8", "12345678"), ("012345", "012345"), ("123\u00a0456", "123456"), ("123456\t", "123456"),
    ],
)
def test_a_code_as_people_type_it(typed: str, code: str) -> None:
    """Blanks and hyphens are dropped and full-width digits folded."""
    assert code == normalise_code(typed)


@pytest.mark.parametrize(
    "typed",
    ["", "12345", "123456789", "12345a", "١٢٣٤٥٦", "123456\n", "123456\0", "12.34.56", "+123456", "1e5", "²²²²²²",
     " " * 33 + "123456", "１２３４５"],
)
def test_what_is_no_code(typed: str) -> None:
    """Anything else is no code, and costs nothing to find out."""
    assert normalise_code(typed) is None


@given(st.text(max_size=60))
def test_nothing_else_gets_through(typed: str) -> None:
    """Whatever is typed, a code is six to eight ASCII digits or nothing."""
    code = normalise_code(typed)
    assert code is None or (code.isascii() and code.isdecimal() and 6 <= len(code) <= 8)
