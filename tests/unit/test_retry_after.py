"""``Retry-After``: seconds, dates, and all that is neither."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_service.core.retry_after import MOST_S, retry_after_s

#: Sun, 06 Nov 1994 08:49:37 GMT.
NOW_S = 784_111_777.0


def of(value: str, **headers: str) -> float | None:
    """Return what a value says, with other headers beside it."""
    return retry_after_s({"retry-after": value, **headers}, NOW_S)


@pytest.mark.parametrize(("expected", "value"), [
    (0.0, "0"), (1.0, "1"), (120.0, " 120 "), (120.0, "00120"), (3600.0, "3600"), (3600.0, "3601"),
    (3600.0, "999999999"), (3600.0, "1000000000"), (3600.0, "1790000000"), (3600.0, "9" * 5000),
    (7.0, "0" * 5000 + "7"),
])
def test_seconds(expected: float, value: str) -> None:
    """Seconds are taken as they are, up to an hour; more, such as a Unix time by mistake, is an hour and not none."""
    assert expected == of(value)


@pytest.mark.parametrize(("expected", "value"), [
    (30.0, "Sun, 06 Nov 1994 08:50:07 GMT"),
    (30.0, "Sunday, 06-Nov-94 08:50:07 GMT"),
    (30.0, "Sun Nov  6 08:50:07 1994"),
    (30.0, "Sun, 06 Nov 1994 15:50:07 +0700"),
    (0.0, "Sun, 06 Nov 1994 08:49:37 GMT"),
    (0.0, "Sun, 06 Nov 1994 08:00:00 GMT"),
    (3600.0, "Mon, 07 Nov 1994 08:49:37 GMT"),
])
def test_each_form_of_an_http_date(expected: float, value: str) -> None:
    """All forms of RFC 9110, and a zone that is not GMT, count from now; what is over means at once."""
    assert expected == of(value)


def test_a_date_counts_from_the_date_of_the_answer() -> None:
    """A host whose clock is wrong waits as long as the other side meant; an unreadable Date leaves our clock."""
    assert 7.0 == of("Tue, 20 Oct 2026 10:00:07 GMT", date="Tue, 20 Oct 2026 10:00:00 GMT")
    assert 30.0 == of("Sun, 06 Nov 1994 08:50:07 GMT", date="yesterday")


@pytest.mark.parametrize("value", [
    "", " ", "soon", "-1", "+1", "1.5", "1e3", "٣", "-1000000000", "1 000", "0x10", "NaN", "Infinity", "Sun, 06 Nov",
    "Sun, 06 Nov 1994 99:99:99 GMT", "Sun, 99 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 +999999999999",
    "x" * 10_000, "<html>", "30, 60",
])
def test_nonsense_says_nothing(value: str) -> None:
    """What is neither seconds nor a date is as good as not said."""
    assert None is of(value)


def test_nothing_said() -> None:
    """Without the header there is nothing to wait for."""
    assert None is retry_after_s({"date": "Sun, 06 Nov 1994 08:49:37 GMT"}, NOW_S)


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,5} [0-9:]{1,9} [A-Z+0-9-]{0,9}"),
       st.text())
def test_whatever_is_said_it_is_a_bounded_wait_or_none(value: str, date: str) -> None:
    """No text makes it raise, or wait for longer than an hour."""
    wait_s = of(value, date=date)

    assert wait_s is None or 0.0 <= wait_s <= MOST_S
