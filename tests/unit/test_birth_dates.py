"""Birth dates: the forms that carriers print, what is no date, and what a year alone is worth."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otp_service.core.birth_dates import birth_date_key, compare_birth_dates
from otp_service.core.evidence import OwnershipOutcome

MATCH, MISMATCH, NOT_AVAILABLE = OwnershipOutcome.MATCH, OwnershipOutcome.MISMATCH, OwnershipOutcome.NOT_AVAILABLE

FORMS = [
    "{0.day:02}/{0.month:02}/{0.year}", "{0.day}/{0.month}/{0.year}", "{0.day:02}-{0.month:02}-{0.year}",
    "{0.day:02}.{0.month:02}.{0.year}", "{0.day:02} / {0.month:02} / {0.year}", "{0.year}-{0.month:02}-{0.day:02}",
    "{0.year}/{0.month}/{0.day}", "{0.year}.{0.month:02}.{0.day:02}", "{0.year}{0.month:02}{0.day:02}",
    "{0.day:02}{0.month:02}{0.year}", "{0.year}-{0.month:02}-{0.day:02}T00:00:00", " {0.day}/{0.month}/{0.year}\n",
    "{0.year}-{0.month:02}-{0.day:02} 00:00:00.000", "{0.day:02}/{0.month:02}/{0.year} 00:00",
    "{0.year}-{0.month:02}-{0.day:02}T00:00:00Z",
]

dates = st.dates(date(1900, 1, 1), date(2099, 12, 31))


@given(dates, st.sampled_from(FORMS))
def test_every_form_gives_the_same_date(born: date, form: str) -> None:
    """Day before month, with any separator or none, or the year in front; the first second of the day is a date."""
    assert born.isoformat() == birth_date_key(form.format(born))


def test_no_eight_digits_are_a_date_both_ways() -> None:
    """Day first and year first are never mistaken for one another: each day of two centuries is read back."""
    day = date(1900, 1, 1)
    while day.year < 2100:
        assert day.isoformat() == birth_date_key(f"{day:%Y%m%d}")
        assert day.isoformat() == birth_date_key(f"{day:%d%m%Y}")
        day += timedelta(days=1)


@pytest.mark.parametrize(("text", "key"), [
    ("01/01/90", "1990-01-01"),
    ("31-12-40", "1940-12-31"),
    ("31.12.99", "1999-12-31"),
    ("01/01/39", None),
    ("01/01/05", None),
    ("01/01/00", None),
    ("01/01/19", None),
    ("1990", "1990"),
    ("00/00/1990", "1990"),
    ("0/0/1990", "1990"),
    ("00/06/1990", "1990"),
    ("06/00/1990", "1990"),
    ("**/**/1990", "1990"),
    ("XX/XX/1990", "1990"),
    ("00/00/90", "1990"),
    ("1990-00-00", "1990"),
    ("1990-06-00", "1990"),
    ("19900000", "1990"),
    ("00001990", "1990"),
    ("０１／０１／１９９０", "1990-01-01"),
    ("29/02/2000", "2000-02-29"),
    ("29/02/1990", None),
    ("29/02/1900", None),
    ("31/06/1990", None),
    ("31/00/1990", "1990"),
    ("32/00/1990", None),
    ("00/13/1990", None),
    ("13/13/1990", None),
    ("01/01-1990", None),
    ("01/01/1899", None),
    ("01/01/2100", None),
    ("1899", None),
    ("0000", None),
    ("0090", None),
    ("90", None),
    ("990", None),
    ("01/01/199", None),
    ("01/01/****", None),
    ("01/1990", None),
    ("1990-01-01T12:00:00", None),
    ("1990-01-01 00:00:00 " + "0" * 40, None),
    ("01/01/1990 a", None),
    ("١٩٩٠", None),
    ("", None),
    ("không rõ", None),
])
def test_what_is_known_of_a_date(text: str, key: str | None) -> None:
    """A date, its year where day or month is not known, or nothing where it may be anything."""
    assert key == birth_date_key(text)


@pytest.mark.parametrize(("given_date", "on_record", "outcome"), [
    ("1990-01-01", "01/01/1990", MATCH),
    ("1990-01-01", "1990-01-01", MATCH),
    ("1990-02-01", "01/02/1990", MATCH),
    ("1990-01-02", "01/02/1990", MISMATCH),
    ("1990-01-01", "02/01/1990", MISMATCH),
    ("1990-01-01", "01/01/1991", MISMATCH),
    ("1990-01-01", "1990", NOT_AVAILABLE),
    ("1990-01-01", "00/00/1990", NOT_AVAILABLE),
    ("1990-01-01", "1991", MISMATCH),
    ("1990-01-01", "00/00/1991", MISMATCH),
    ("1990", "01/01/1990", NOT_AVAILABLE),
    ("1990", "1990", NOT_AVAILABLE),
    ("1990", "1991", MISMATCH),
    ("1990-01-01", "01/01/05", NOT_AVAILABLE),
    ("1990-01-01", "", NOT_AVAILABLE),
    ("1990-01-01", None, NOT_AVAILABLE),
    ("", "01/01/1990", NOT_AVAILABLE),
    (None, "01/01/1990", NOT_AVAILABLE),
    ("1990-01-01", "không rõ", NOT_AVAILABLE),
])
def test_a_year_alone_never_matches(given_date: str | None, on_record: str | None, outcome: OwnershipOutcome) -> None:
    """Days must agree to match, years that differ are enough not to, and the rest says nothing."""
    assert outcome is compare_birth_dates(given_date, on_record)


@given(dates, dates, st.sampled_from(FORMS))
def test_two_dates_match_when_they_are_one(born: date, other: date, form: str) -> None:
    """The form's date and the record's agree exactly when the day is the same."""
    assert (MATCH if born == other else MISMATCH) is compare_birth_dates(born.isoformat(), form.format(other))


@given(st.text() | st.text(alphabet="0123456789/-. *x", max_size=14))
@example("³/³/1990")
@example("٣/٣/1990")
def test_no_text_is_too_odd_to_be_no_date(text: str) -> None:
    """Whatever the text is, it has a key of ten or four characters, or none."""
    key = birth_date_key(text)

    assert key is None or len(key) in {4, 10}
