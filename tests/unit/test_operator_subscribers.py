"""The made-up operator's table: read in clear, found by phone, by document and carrier."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.operator import OWNER, sample, subscriber

from otp_service.core.errors import ConfigurationError
from otp_service.core.phone import Carrier
from otp_service.web.operator.subscribers import Subscribers, is_date, read_subscribers, sample_path

HEADER = "phone_number,id_number,full_name,birth_date,status,carrier\n"


def written(folder: Path, text: str) -> Path:
    """Write a table."""
    path = folder / "table.csv"
    path.write_text(HEADER + text)
    return path


def test_row(tmp_path: Path) -> None:
    """A row is read in clear; its status and carrier whatever their case, blanks around values aside."""
    path = written(tmp_path, "0900 000 001, 052 090 000001 ,NGUYỄN  VĂN A,01/01/1990,Active,VINAPHONE\n")

    assert [subscriber(carrier=Carrier.VINAPHONE)] == read_subscribers(path)


def test_carrier_by_prefix(tmp_path: Path) -> None:
    """A row that names no carrier is its prefix's."""
    assert [Carrier.VIETTEL] == [row.carrier for row in read_subscribers(written(tmp_path, "0320000001,,,,active,\n"))]


def test_sample() -> None:
    """All of the sample can be read; without a document nobody is known."""
    rows = read_subscribers(sample_path())

    assert len(rows) == len(sample())
    assert {(row.id_number != "" and row.status != "unknown") == row.known for row in rows} == {True}


def test_bad_rows(tmp_path: Path) -> None:
    """Each bad row is told with its line and reason, and nothing of its data (Invariant 5)."""
    path = written(tmp_path, (
        "0256000001,,,,active,viettel\n0900000001,123,,,active,mobifone\n0900000002,,,,gone,mobifone\n"
        "0900000003,,,,active,nobody\n0900000003,,,soon,active,viettel\n0900000008,,,,active,\n0900000008,,,,active,\n"
    ))
    with pytest.raises(ConfigurationError) as refused:
        read_subscribers(path)
    lines = str(refused.value).splitlines()

    assert f"{path}: bad rows: 6" == lines[0]
    for line, word, told in zip(
        (2, 3, 4, 5, 6, 8), ("phone_number", "id_number", "status", "carrier", "birth_date", "before"), lines[1:],
        strict=True,
    ):
        assert told.startswith(f"  line {line}: ")
        assert word in told
    assert "090000000" not in str(refused.value)


def test_many_bad_rows(tmp_path: Path) -> None:
    """Twenty bad rows are shown, the others counted."""
    path = written(tmp_path, "0256000001,,,,active,viettel\n" * 23)

    with pytest.raises(ConfigurationError, match=r"bad rows: 23\n(?s:.*)  and 3 more$") as refused:
        read_subscribers(path)
    assert 22 == len(str(refused.value).splitlines())


def test_no_table(tmp_path: Path) -> None:
    """A file that is missing or has other columns is a sentence."""
    (tmp_path / "other.csv").write_text("phone,id\n0900000001,1\n")
    for name in ("missing.csv", "other.csv"):
        with pytest.raises(ConfigurationError, match=name):
            read_subscribers(tmp_path / name)


def test_finding() -> None:
    """An operator finds its own subscribers alone; a document's numbers are those of the same carrier, in order."""
    table, viettel = sample(), sample(Carrier.VIETTEL)
    owner = table.find(OWNER)

    assert owner is not None
    assert ["+84900000001", "+84700000001"] == table.held_with(owner)
    assert (None, None) == (viettel.find(OWNER), table.find("+84967000000"))
    assert 8 == len(viettel)
    assert 0 == len(Subscribers([]))


def test_private() -> None:
    """No repr shows whose SIM it is (Invariant 5)."""
    assert "Subscriber(status='active', carrier=<Carrier.MOBIFONE: 'mobifone'>)" == repr(subscriber())


@pytest.mark.parametrize(("text", "good"), [
    ("1990-01-31", True), ("2024-02-29", True), ("1990-02-29", False), ("1990-1-31", False), ("19900131", False),
    ("1990-01-31T00:00:00Z", False), ("١٩٩٠-01-31", False), ("", False),
])
def test_dates(text: str, good: bool) -> None:
    """A date is what RFC 3339 calls one, and on the calendar."""
    assert good is is_date(text)
