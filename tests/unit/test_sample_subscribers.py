"""The sample subscribers keep what the README and the demo promise of them."""

from __future__ import annotations

import csv
import unicodedata
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from otp_service.core.citizen_id import parse_id_number
from otp_service.core.phone import Carrier, carrier_hint, parse_mobile

SAMPLE = Path(__file__).parents[2] / "config" / "sample" / "subscribers.csv"
HEADER = "phone_number,id_number,full_name,birth_date,status,carrier"
STATUSES = {"active", "restricted_one_way", "restricted_two_way", "blocked", "unknown"}

TEXT = SAMPLE.read_text(encoding="utf-8")
ROWS = list(csv.DictReader(TEXT.splitlines(), strict=True))
WITH_DOCUMENT = [row for row in ROWS if row["id_number"]]


def by_phone(row: dict[str, str]) -> str:
    """Name a test case after the row's phone."""
    return row["phone_number"]


def test_the_file_is_plain_utf_8_csv() -> None:
    """Header as promised, no byte order mark, one kind of line end, nothing missing or left over in any row."""
    assert HEADER == TEXT.split("\n", 1)[0]
    assert "\r" not in TEXT
    assert TEXT.endswith("\n")
    assert unicodedata.is_normalized("NFC", TEXT)
    assert {6} == {len(fields) for fields in csv.reader(TEXT.splitlines(), strict=True)}


def test_there_are_enough_rows() -> None:
    """At least 36 subscribers."""
    assert len(ROWS) >= 36


@pytest.mark.parametrize("row", ROWS, ids=by_phone)
def test_phones_are_mobile_numbers_in_e164(row: dict[str, str]) -> None:
    """Each phone is a valid mobile number, written as E.164."""
    assert row["phone_number"] == parse_mobile(row["phone_number"]).e164


def test_no_phone_appears_twice() -> None:
    """A phone has one subscriber."""
    assert {1} == set(Counter(row["phone_number"] for row in ROWS).values())


@pytest.mark.parametrize("row", ROWS, ids=by_phone)
def test_numbers_are_artificial(row: dict[str, str]) -> None:
    """Phones and ID numbers end in small serials, so that nobody's own are published."""
    assert "0000" == row["phone_number"][-5:-1]
    assert not row["id_number"] or "0000" == row["id_number"][-6:-2]


@pytest.mark.parametrize("row", WITH_DOCUMENT, ids=by_phone)
def test_id_numbers_are_plain_and_without_oddities(row: dict[str, str]) -> None:
    """Each ID number is of good form, and only the CMND's age is warned about."""
    parsed = parse_id_number(row["id_number"], today_year=2026)

    assert row["id_number"] == parsed.number
    assert set(parsed.warnings) <= {"cmnd_expired"}


@pytest.mark.parametrize("row", WITH_DOCUMENT, ids=by_phone)
def test_people_have_a_name_and_a_birthday_that_fits_the_cccd(row: dict[str, str]) -> None:
    """Names are upper case with diacritics; the CCCD spells the year of birth and the sex that the name tells."""
    born = date.fromisoformat(row["birth_date"])
    family, middle = row["full_name"].split()[:2]

    assert row["full_name"].upper() == row["full_name"]
    assert family
    assert middle in {"VĂN", "THỊ"}
    assert date(1905, 1, 1) < born < date(2012, 1, 1)
    if len(row["id_number"]) == 12:
        century_and_sex = 2 * (born.year // 100 - 19) + (middle == "THỊ")
        assert f"{century_and_sex}{born.year % 100:02}" == row["id_number"][3:6]


def test_without_a_document_nothing_is_known_of_the_person() -> None:
    """Rows without ID number exist, also for a SIM in use, and carry no name or birthday."""
    nobody = [row for row in ROWS if not row["id_number"]]

    assert len(nobody) >= 4
    assert {"unknown", "active"} == {row["status"] for row in nobody}
    assert {("", "")} == {(row["full_name"], row["birth_date"]) for row in nobody}


def test_every_status_occurs_and_no_other() -> None:
    """The statuses are the closed set, each with at least two rows; ``unknown`` always lacks a document."""
    counts = Counter(row["status"] for row in ROWS)

    assert STATUSES == set(counts)
    assert min(counts.values()) >= 2
    assert not [row for row in WITH_DOCUMENT if row["status"] == "unknown"]


def test_every_carrier_occurs_and_no_other() -> None:
    """All eight carriers have at least three subscribers."""
    counts = Counter(row["carrier"] for row in ROWS)

    assert set(Carrier) == set(counts)
    assert min(counts.values()) >= 3


def test_some_numbers_were_ported() -> None:
    """At least two numbers moved to another carrier, so that nobody takes the prefix for the truth."""
    ported = [row for row in ROWS if row["carrier"] != carrier_hint(row["phone_number"])]

    assert 2 <= len(ported) <= 4


def test_both_kinds_of_document_occur() -> None:
    """Holders of a CCCD and at least eight of an old CMND."""
    kinds = Counter(parse_id_number(row["id_number"]).kind for row in WITH_DOCUMENT)

    assert kinds["cccd"] >= 15
    assert kinds["cmnd"] >= 8


def test_one_person_holds_several_numbers() -> None:
    """One CCCD stands behind at least three numbers of at least two carriers, with one name and birthday."""
    held = [row for row in ROWS if row["id_number"] == "052090000001"]

    assert len(held) >= 3
    assert len({row["carrier"] for row in held}) >= 2
    for number in {row["id_number"] for row in WITH_DOCUMENT}:
        people = {(row["full_name"], row["birth_date"]) for row in WITH_DOCUMENT if row["id_number"] == number}
        assert 1 == len(people)


def test_the_first_rows_are_those_the_readme_uses() -> None:
    """The README's examples depend on these six rows, in this order."""
    assert [
        ("+84900000001", "052090000001", "active", "mobifone"),
        ("+84900000002", "052190000002", "active", "mobifone"),
        ("+84900000003", "210000003", "active", "mobifone"),
        ("+84900000004", "", "unknown", "mobifone"),
        ("+84900000005", "052090000005", "restricted_one_way", "mobifone"),
        ("+84900000006", "052090000006", "blocked", "mobifone"),
    ] == [(row["phone_number"], row["id_number"], row["status"], row["carrier"]) for row in ROWS[:6]]
