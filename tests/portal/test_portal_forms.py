"""What the sample portal's forms read, and its rules for passwords."""

from __future__ import annotations

from datetime import date

import pytest

from otp_service.sample_portal.forms import read_birth_date, read_id_number
from otp_service.sample_portal.passwords import MAX_LENGTH, Passwords, broken_rules, too_long
from otp_service.sample_portal.sessions import new_session

TODAY = date(2026, 1, 31)


@pytest.mark.parametrize(("typed", "expected"), [
    ("052090000001", "052090000001"), (" 052 090 000 001 ", "052090000001"), ("052.090.000.001", "052090000001"),
    ("052-090-000-001", "052090000001"), ("０５２０９００００００１", "052090000001"), ("210000003", "210000003"),
    ("", None), ("05209000000", None), ("0520900000011", None), ("05209000000A", None), ("٠٥٢٠٩٠٠٠٠٠٠١", None),
])
def test_id_numbers(typed: str, expected: str | None) -> None:
    """CCCD and CMND are read as people type them, and nothing else is."""
    assert expected == read_id_number(typed)


@pytest.mark.parametrize(("typed", "expected"), [
    ("31/01/1990", date(1990, 1, 31)), ("1/2/1990", date(1990, 2, 1)), ("01-02-1990", date(1990, 2, 1)),
    ("01.02.1990", date(1990, 2, 1)), ("01 02 1990", date(1990, 2, 1)), ("01021990", date(1990, 2, 1)),
    ("1990-02-01", date(1990, 2, 1)), ("31/01/2026", TODAY),
    ("01/02/2026", None), ("30/02/1990", None), ("01/13/1990", None), ("01/02/90", None), ("01/01/1899", None),
    ("", None), ("hôm qua", None),
])
def test_birth_dates(typed: str, expected: date | None) -> None:
    """The day comes before the month; what is no day, or has not come yet, is refused."""
    assert expected == read_birth_date(typed, TODAY)


@pytest.mark.parametrize(("password", "lacks"), [
    ("Mat-khau-1", 0), ("Aa1!aaaa", 0), ("Mật khẩu 1!", 0), ("Aa1!aaa", 1), ("aa1!aaaa", 1), ("AA1!AAAA", 1),
    ("Aaa!aaaa", 1), ("Aa1aaaaa", 1), ("Aa1 aaaa", 1), ("", 5), ("Aa1!" + "a" * 125, 1),
])
def test_password_rules_of_2021(password: str, lacks: int) -> None:
    """At least 8 characters with lower and upper case, a digit and a special character; a blank is not special."""
    assert lacks == len(broken_rules(password))


async def test_passwords() -> None:
    """A password agrees with its own hash in whichever Unicode form it is typed, and with nothing else."""
    passwords = Passwords()
    composed, decomposed = "M\u1eadt-kh\u1ea9u-1", "Ma\u0323\u0302t-kha\u0302\u0309u-1"
    for chosen, typed in ((composed, decomposed), (decomposed, composed)):
        kept = await passwords.hash(chosen)
        assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
        assert await passwords.agrees(typed, kept)
    assert not await passwords.agrees("Mat-khau-1", kept)
    assert not await passwords.agrees("nobody", None)
    # What may be chosen may be typed, on a keyboard that writes an accent as a character of its own too.
    assert not too_long("a\u0301" * MAX_LENGTH)
    assert too_long("a" * (MAX_LENGTH + 1))


def test_sessions_seal_for_themselves() -> None:
    """What one session sealed opens for it alone, at its own place alone, and unchanged alone."""
    one, other = new_session(), new_session()
    sealed = one.seal(b"0900000001", "flow-1")
    assert b"0900000001" == one.open(sealed, "flow-1")
    assert b"0900000001" not in sealed
    assert None is other.open(sealed, "flow-1")
    assert None is one.open(sealed, "flow-2")
    assert None is one.open(sealed[:-1] + bytes([sealed[-1] ^ 1]), "flow-1")
    assert one.owns(one.form_token)
    assert not one.owns(other.form_token)
    assert not one.owns("không")
    assert one.value not in repr(one)
